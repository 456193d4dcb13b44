"""What a check is given and what it finds: a measured number, the bound it must stay below, and its error."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from ...theory.brief import Brief
from ...theory.choices import unknown
from ...theory.derivation import Derivation, Step
from ...theory.errors import HeadflowError, InputError, InputTypeError
from ..certificates import Arithmetic, arithmetic
from ..certificates.boxes import Certified
from ..predictions.fit import Fit
from ..problem.covariates import CovariateProblem
from ..problem.exact import shown
from ..problem.problem import Problem
from .place import IN_A_BOX, NOWHERE, UNNAMED, Place

# Decimal digits of high-precision evidence unless others are asked for.
DIGITS = 50
# Bound for a count of failures: none is below it, one is above.
NONE_FAILS = 0.5
_LONGEST = 300  # characters of an error's message: some hold numbers of hundreds of digits

# "none": the check could not be carried out.
Evidence = Literal["symbolic", "enclosure", "high_precision", "float", "monte_carlo", "none"]
# From strong to weak.
STRENGTH: tuple[Evidence, ...] = get_args(Evidence)


@dataclass(frozen=True)
class Setting:
    """What a check is run on: a problem, the seed of its random draws, whether to be quick, and the precision.

    ``digits`` are the decimal digits of high-precision evidence; ends of enclosures have twice as many bits.

    A check measures on ``problem``, or on what `small`, `with_enough_heads` and `allocated` make of it, and gives that
    very problem to its `Finding`.
    """

    problem: Problem
    seed: int
    quick: bool
    digits: int = DIGITS

    @property
    def kit(self) -> Arithmetic:
        """The arithmetic of enclosures: the best that is installed."""
        return arithmetic(bits=2 * self.digits)

    @property
    def residual(self) -> tuple[float, float]:
        """Bound and error of a number that vanishes: 1e-35 and 1e-40 at 50 digits, of which cancellation takes some."""
        return 10 ** (-0.7 * self.digits), 10 ** (-0.8 * self.digits)

    def small(self, most: int = 3, n_heads: int | None = None) -> Problem:
        """The problem cut to its first tasks (and as many heads unless given), where cost grows fast with size."""
        tasks = range(min(self.problem.n_tasks, most))
        heads = min(self.problem.n_heads, most) if n_heads is None else n_heads
        return self.problem.subset(tasks, n_heads=heads)

    def with_enough_heads(self, most: int | None = None) -> Problem:
        """The problem (cut to ``most`` tasks and heads if given), with H = I where it has fewer heads than tasks."""
        own = self.problem if most is None else self.small(most)
        return own if own.n_heads >= own.n_tasks else own.replace(n_heads=own.n_tasks)

    def allocated(self, most: int = 3) -> Problem:
        """The first tasks with one head each: H = I."""
        small = self.small(most)
        return small.replace(n_heads=small.n_tasks)


def at_least_two_tasks(problem: Problem) -> Problem:
    """The problem; its task twice, on two heads or more, where it has but one."""
    if problem.n_tasks > 1:
        return problem
    heads = max(problem.n_heads, 2)
    return problem.replace(dims=problem.dims * 2, signal_power=problem.signal_power * 2, n_heads=heads)


@dataclass(frozen=True, repr=False)
class Finding(Brief):
    """The claim holds where ``measured`` stays below ``bound`` by more than ``error``.

    ``problem`` is what it was measured on, which the verdict names: the problem that the check was given, or the other
    one that it used; several; words for what is no problem; None for what holds in general, for every I and H.
    ``certified`` lists what an enclosure proved over boxes of parameters, with exact ends; ``fits`` the power laws
    that were fitted over a range.  What shows but a part of the claim (not ``whole``) can refute it, and never decides
    that it holds.

    Raises ``InputTypeError`` for fields of another kind, ``InputError`` for an unknown kind of evidence and for a
    negative error.
    """

    evidence: Evidence
    measured: float
    bound: float
    error: float
    what: str
    seed: int | None = None
    certified: tuple[Certified, ...] = ()
    fits: tuple[Fit, ...] = ()
    whole: bool = True
    problem: Place = UNNAMED

    def __post_init__(self) -> None:
        if self.evidence not in STRENGTH:
            raise InputError(unknown("kind of evidence", str(self.evidence), STRENGTH))
        for name in ("measured", "bound", "error"):
            object.__setattr__(self, name, _real(name, getattr(self, name)))
        if self.error < 0:
            raise InputError(f"error of a finding must be at least 0, got {self.error:g}")
        for name, kind in (("certified", Certified), ("fits", Fit)):
            object.__setattr__(self, name, _several(name, getattr(self, name), kind))
        for name, allowed in (("what", str), ("seed", int | np.integer | None), ("whole", bool | np.bool_)):
            value = getattr(self, name)
            if not isinstance(value, allowed) or (name == "seed" and isinstance(value, bool)):
                wanted = {"what": "text", "seed": "an integer or None", "whole": "True or False"}[name]
                raise _wrong(name, wanted, value)
        places = self.problem if isinstance(self.problem, tuple) else (self.problem,)
        if not all(isinstance(place, Problem | CovariateProblem | str | None) for place in places):
            raise _wrong("problem", "a problem, several in a tuple, words, or None", self.problem)

    @property
    def holds(self) -> bool:
        """Whether the margin, bound − measured, is larger than the error."""
        return self.bound - self.measured > self.error


def _real(name: str, value: Any) -> float:
    try:
        if isinstance(value, str | bytes | bool) or np.ndim(value):
            raise _wrong(name, "a real number", value)
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise _wrong(name, "a real number", value) from None


def _several(name: str, values: Any, kind: type) -> tuple[Any, ...]:
    if not isinstance(values, tuple | list) or not all(isinstance(value, kind) for value in values):
        raise _wrong(name, f"a tuple, each of its entries a {kind.__name__}", values)
    return tuple(values)


def _wrong(name: str, wanted: str, value: object) -> InputTypeError:
    return InputTypeError(f"{name} of a finding must be {wanted}, got {shown(value)} ({type(value).__name__})")


def unmeasured(what: str, error: BaseException | None = None) -> Finding:
    """A finding that leaves its claim open: nothing was measured, and why."""
    reason = "" if error is None else f"{_message(error)} ({type(error).__name__})"
    return Finding("none", math.nan, math.nan, math.inf, what + reason, problem=NOWHERE)


def _message(error: BaseException) -> str:
    """What an error says after a colon, in one line that can be read: of a system's error the words, not the number."""
    said = error.args[-1] if isinstance(error, ArithmeticError) and error.args else error
    words = " ".join(str(said).split()).rstrip(".")
    return f": {words[:_LONGEST]}{'…' * (len(words) > _LONGEST)}" if words else ""


def too_long(length: int) -> Finding:
    """A finding that leaves its claim open: what it needs is a context longer than can be computed with."""
    return unmeasured(f"a context is long for this problem from {float(length):.0e} examples on: too many to compute")


# One finding, or several where a check finds out more than one thing.
Check: TypeAlias = Callable[[Setting], Finding | tuple[Finding, ...]]


def carried_out(check: Check, setting: Setting) -> tuple[Finding, ...]:
    """What a check finds; where it cannot be carried out, whatever the reason, one finding that says why.

    A number of high precision that is not below its bound is measured again with two and four times the digits:
    cancellation, of which parameters of very different sizes have much, falls with them; a wrong formula stays.
    """
    for more in (1, 2, 4):
        findings = _once(check, replace(setting, digits=more * setting.digits))
        if not any(finding.evidence == "high_precision" and not finding.holds for finding in findings):
            break
    return findings


def _once(check: Check, setting: Setting) -> tuple[Finding, ...]:
    name = getattr(check, "__name__", type(check).__name__)
    try:
        found: object = check(setting)
    except (Exception, SystemExit) as error:  # one check that fails must not take the verdicts on all others with it
        how = "computed at these numbers" if isinstance(error, ArithmeticError | HeadflowError) else "carried out"
        return (unmeasured(f"the check {name} could not be {how}", error),)
    findings = tuple(found) if isinstance(found, tuple | list) else (found,)
    if not findings or not all(isinstance(finding, Finding) for finding in findings):
        wanted = "must return a Finding, or several in a tuple"
        return (unmeasured(f"the check {name} {wanted}; it returned {shown(found)} ({type(found).__name__})"),)
    return findings


def fitted(
    evidence: Evidence,
    fits: Iterable[Fit],
    bound: float,
    error: float = 0.0,
    seed: int | None = None,
    problem: Place = UNNAMED,
) -> Finding:
    """Laws fitted over ranges as a finding: the largest deviation of an exponent or a constant from its prediction.

    Its error is half the width of the widest interval (99 %) and ``error``, that of the numbers themselves.  One
    deviation that is known and too large refutes; a law that could not be fitted leaves the claim open otherwise.
    The constant of a law refutes only where its exponent is known to within the bound: elsewhere the range is not yet
    that of the law.
    """
    found = tuple(fits)
    what = "largest deviation of an exponent, or relative one of a constant"
    pairs = [pair for fit in found for pair in fit.deviations]
    known = [pair for pair in pairs if all(map(math.isfinite, pair))]
    telling = [pair for fit in found for pair in fit.deviations[: 2 if _seen(fit, bound) else 1]]
    for deviation, width in telling:
        if bound < deviation - width - error < math.inf:
            return Finding(evidence, deviation, bound, width + error, what, seed, fits=found, problem=problem)
    if len(known) < len(pairs) or not all(fit.deviations for fit in found) or not found:
        return Finding(evidence, math.inf, bound, math.inf, "no law could be fitted", seed, fits=found, problem=problem)
    deviations, errors = zip(*known, strict=True)
    widest = max(errors) + error if all(_seen(fit, bound) for fit in found) else math.inf
    return Finding(evidence, max(deviations), bound, widest, what, seed, fits=found, problem=problem)


def _seen(fit: Fit, bound: float) -> bool:
    """Whether the range of a fit shows its law: the exponent, where one is predicted, to within the bound."""
    return fit.predicted_exponent is None or fit.exponent_error <= bound


def enclosed(claims: Iterable[Certified], what: str, whole: bool = True, problem: Place = IN_A_BOX) -> Finding:
    """Claims proved over boxes as a finding: none may be refuted; one left undecided leaves the verdict open."""
    found = tuple(claims)
    if not found:
        raise ValueError(f"no claim to prove: {what}")
    refuted = sum(claim.holds is False for claim in found)
    undecided = sum(claim.holds is None for claim in found) if not refuted else 0
    return Finding(
        "enclosure", float(refuted), NONE_FAILS, float(undecided), what, None, found, whole=whole, problem=problem
    )


def holds(step: Step) -> bool | None:
    """The outcome of one step's check; derivations share steps, so each is run once per session."""
    return _outcome(step, step.check)


@cache
def _outcome(step: Step, check: Callable[..., bool] | None) -> bool | None:
    """``check`` makes two steps that say the same, and check it otherwise, two."""
    del check
    return step.holds()


def proof(derivation: Derivation, what: str = "steps of the proof that fail") -> Finding:
    """The checks of a derivation as a finding: the number of failed steps must be zero.

    It is one in general only if none of the steps is checked at instances.
    """
    outcomes = [outcome for step in derivation if (outcome := holds(step)) is not None]
    if not outcomes:
        raise ValueError(f"no step of {derivation.title} carries a check: that is no symbolic evidence")
    failed = float(sum(not outcome for outcome in outcomes))
    scopes = [scope for _, scope in derivation.grounds.instances]
    place = f"{'; '.join(dict.fromkeys(scopes))} in {len(scopes)} of {len(outcomes)} steps" if scopes else None
    return Finding("symbolic", failed, NONE_FAILS, 0.0, what, problem=place)
