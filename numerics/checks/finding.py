"""Owns what a check is given and what it finds: a measured number, the bound it must stay below, and its error."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from ...theory.derivation import Derivation, Step
from ..certificates import Arithmetic, arithmetic
from ..certificates.boxes import Certified
from ..fit import Fit
from ..problem import Problem

# Decimal digits of high-precision evidence unless others are asked for.
DIGITS = 50
# Bound for a count of failures: none is below it, one is above.
NONE_FAILS = 0.5

Evidence = Literal["symbolic", "enclosure", "high_precision", "float", "monte_carlo"]


@dataclass(frozen=True)
class Setting:
    """What a check is run on: a problem, the seed of its random draws, whether to be quick, and the precision.

    ``digits`` are the decimal digits of high-precision evidence; ends of enclosures have twice as many bits.
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


@dataclass(frozen=True)
class Finding:
    """The claim holds where ``measured`` stays below ``bound`` by more than ``error``.

    ``certified`` lists what an enclosure proved over boxes of parameters, with exact ends; ``fits`` the power laws
    that were fitted over a range.  What shows but a part of the claim (not ``whole``) can refute it, and never decides
    that it holds.
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


def fitted(
    evidence: Evidence, fits: Iterable[Fit], bound: float, error: float = 0.0, seed: int | None = None
) -> Finding:
    """Laws fitted over ranges as a finding: the largest deviation of an exponent or a constant from its prediction.

    Its error is half the width of the widest interval (99 %) and ``error``, that of the numbers themselves.  One
    deviation that is known and too large refutes; a law that could not be fitted leaves the claim open otherwise.
    """
    found = tuple(fits)
    what = "largest deviation of an exponent, or relative one of a constant"
    pairs = [pair for fit in found for pair in fit.deviations]
    known = [pair for pair in pairs if all(map(math.isfinite, pair))]
    for deviation, width in known:
        if deviation - width - error > bound:
            return Finding(evidence, deviation, bound, width + error, what, seed, fits=found)
    if len(known) < len(pairs) or not all(fit.deviations for fit in found) or not found:
        return Finding(evidence, math.inf, bound, math.inf, "no law could be fitted", seed, fits=found)
    deviations, errors = zip(*known, strict=True)
    return Finding(evidence, max(deviations), bound, max(errors) + error, what, seed, fits=found)


def enclosed(claims: Iterable[Certified], what: str, whole: bool = True) -> Finding:
    """Claims proved over boxes as a finding: none may be refuted; one left undecided leaves the verdict open."""
    found = tuple(claims)
    if not found:
        raise ValueError(f"no claim to prove: {what}")
    refuted = sum(claim.holds is False for claim in found)
    undecided = sum(claim.holds is None for claim in found) if not refuted else 0
    return Finding("enclosure", float(refuted), NONE_FAILS, float(undecided), what, None, found, whole=whole)


def holds(step: Step) -> bool | None:
    """The outcome of one step's check; derivations share steps, so each is run once per session."""
    return _outcome(step, step.check)


@cache
def _outcome(step: Step, check: Callable[..., bool] | None) -> bool | None:
    """``check`` makes two steps that say the same, and check it otherwise, two."""
    del check
    return step.holds()


def proof(derivation: Derivation, what: str = "steps of the proof that fail") -> Finding:
    """The checks of a derivation as a finding: the number of failed steps must be zero."""
    outcomes = [outcome for step in derivation if (outcome := holds(step)) is not None]
    if not outcomes:
        raise ValueError(f"no step of {derivation.title} carries a check: that is no symbolic evidence")
    return Finding("symbolic", float(sum(not outcome for outcome in outcomes)), NONE_FAILS, 0.0, what)
