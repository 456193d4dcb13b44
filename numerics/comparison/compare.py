"""The comparison: limit, optimum, bounds, Bayes risk and a trajectory side by side for one problem."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any, Literal

from ...theory.brief import Brief
from ...theory.choices import checked_closure
from ...theory.errors import HypothesisError, InputError
from ...theory.optima.bounds import universal_lower_bound
from ...theory.optima.limits import task_allocation_limit
from ...theory.optima.marchenko_pastur import bayes_limit
from ...theory.optima.optimum import multi_head_optimum
from ..optima.bayes import bayes_risk
from ..optima.single_head import single_head_loss
from ..predictions.predictions import Prediction, prediction_lines, predictions
from ..problem.kinds import takes
from ..problem.problem import Problem
from ..runtime.json_object import json_object
from ..runtime.word_table import aligned, with_error
from ..trajectory.real_risk import RealRisk
from .balance import balance_caveat

if TYPE_CHECKING:
    from ..trajectory.trajectory import Trajectory

Kind = Literal["closed_form", "numeric", "flow", "enclosure", "sampled"]

# Rounding of a closed form that is evaluated at 30 digits: one unit in the last place of a float.
ROUNDING = 2.0**-52

_OF_THE_MODEL = ("attention", "bayes", "bayes_limit")
# Relative width from which on an interval is shown as one.
_WIDE = 1e-6

TITLES: Mapping[str, str] = {
    "universal_lower_bound": "universal lower bound",
    "multi_head_optimum": "optimum over all weights",
    "task_allocation_limit": "task-allocation limit",
    "flow": "flow at its end",
    "attention": "attention at that end",
    "single_head_optimum": "single-head optimum",
    "bayes": "Bayes risk",
    "bayes_limit": "Bayes risk, d, L → ∞",
}


@dataclass(frozen=True, repr=False)
class LossEntry(Brief):
    """One loss: its value with an interval that holds the true one.

    Of ``flow`` the interval is what its estimated error gives, of a sampled loss four standard errors.

    ``closure`` is the one that it is a number of, None for a number of the model itself.  ``attained`` says whether
    some weights have this loss (an infimum may only be approached); where ``applicable`` is false, ``value`` is None
    and ``reason`` says why.
    """

    value: float | None
    lower: float | None
    upper: float | None
    kind: Kind
    attained: bool | None
    applicable: bool
    reason: str | None
    closure: str | None = None
    standard_error: float | None = None

    @property
    def shown(self) -> str:
        """The value as tables show it."""
        if self.value is None:
            return "—"
        return f"{self.value:.10g}" if self.standard_error is None else with_error(self.value, self.standard_error)

    @property
    def of(self) -> str:
        """Of what it is a number, in words."""
        if self.closure is not None:
            return f"{self.closure} closure"
        return {"sampled": "real attention", "enclosure": "exact"}.get(self.kind, "limit")


@dataclass(frozen=True, repr=False)
class Comparison(Brief):
    """Losses of one problem by name, ratios between them, and what the trajectory did beside what was predicted.

    ``warnings`` says what to keep in mind, ``reduction`` which weights of the trajectory were integrated as one,
    ``real`` what the real attention loses with the trajectory's last weights (None where that was not sampled).
    Where the trajectory is not reliable ``doubt`` says so: its end then is no entry, and nothing is compared with
    predictions.
    """

    problem: Problem
    closure: str
    losses: dict[str, LossEntry]
    ratios: dict[str, float | None]
    allocation: tuple[int | None, ...] | None
    shared: bool | None
    warnings: tuple[str, ...] = ()
    predictions: tuple[Prediction, ...] = ()
    doubt: str | None = None
    reduction: str = ""
    real: RealRisk | None = None

    @property
    def in_brief(self) -> str:
        known = [name for name, entry in self.losses.items() if entry.value is not None]
        return f"{self.closure}, losses of {', '.join(TITLES[name] for name in known)}; {self.problem!r}"

    def to_json(self) -> dict[str, Any]:
        """The comparison as the JSON object of the command line."""
        return {
            **json_object(self.problem.to_dict(), self.closure),
            "losses": {name: asdict(entry) for name, entry in self.losses.items()},
            "ratios": self.ratios,
            "allocation": None if self.allocation is None else list(self.allocation),
            "shared": self.shared,
            "reliable": self.doubt is None,
            "reduction": self.reduction,
            "warnings": list(self.warnings),
            "predictions": [row.to_json() for row in self.predictions],
        }

    def text(self) -> str:
        """The table as text, under what makes the trajectory unreliable, if anything does."""
        rows = [("loss", "value", "of", "")]
        for name, entry in self.losses.items():
            note = {True: "", False: "approached, not attained", None: ""}[entry.attained]
            rows.append((TITLES[name], entry.shown, entry.of, "; ".join(filter(None, (note, entry.reason)))))
        lines = [*([] if self.doubt is None else [self.doubt, ""]), *aligned(rows)]
        ratios = [f"{name} = {value:.6g}" for name, value in self.ratios.items() if value is not None]
        phases = prediction_lines(self.predictions)
        return "\n".join([*lines, *(["", *ratios] if ratios else []), *(["", *phases] if phases else [])]) + "\n"

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(TITLES[name])}</td>"
            f"<td>{entry.shown}</td><td>{escape(entry.of)}</td>"
            f"<td>{escape(entry.kind.replace('_', ' '))}</td><td>{escape(entry.reason or '')}</td></tr>"
            for name, entry in self.losses.items()
        )
        doubt = "" if self.doubt is None else f"<caption><b>{escape(self.doubt)}</b></caption>"
        head = "<tr><th>loss</th><th>value</th><th>of</th><th>kind</th><th>note</th></tr>"
        return f"<table>{doubt}{head}{rows}</table>"


@takes(problem=Problem, run="Trajectory")
def compare(
    problem: Problem, run: Trajectory | None = None, closure: str = "leading", *, attention: bool = True
) -> Comparison:
    """Put the limit, the optimum, the bounds and (if given) a trajectory side by side.

    Parameters
    ----------
    problem
        The problem.
    run
        A trajectory of the same problem; without one the flow's entry is not applicable.
    closure
        ``"leading"``, ``"finite_d"`` or ``"first_order"``: limit, optimum, bounds and flow are numbers of it.
    attention
        Sample the risk of the real attention with the trajectory's last weights, which takes about a second.

    Raises ``InputError`` for an unknown closure, or a trajectory of another problem or closure.
    """
    checked_closure(closure)
    if run is not None and (run.problem != problem or run.closure != closure):
        raise InputError("the trajectory belongs to another problem or closure than the one compared")
    single = _single_head(problem, closure)
    real = None if run is None or not attention or run.doubt is not None else run.real_risk
    losses = {
        "universal_lower_bound": _universal(problem, closure),
        "multi_head_optimum": single if problem.n_heads == 1 else _optimum(problem, closure),
        "task_allocation_limit": _closed_form(
            lambda: task_allocation_limit(closure).loss.evaluate(problem), attained=True
        ),
        "flow": _flow(run),
        "attention": _attention(real),
        "single_head_optimum": single,
        "bayes": _bayes(problem),
        "bayes_limit": _closed_form(
            lambda: bayes_limit().evaluate(problem), attained=None, reason="at fixed d_i/L; no bound"
        ),
    }
    losses = {
        name: entry if name in _OF_THE_MODEL else replace(entry, closure=closure) for name, entry in losses.items()
    }
    value = {name: entry.value for name, entry in losses.items()}
    ratios = {
        "task_allocation_limit/universal_lower_bound": _ratio(value, "task_allocation_limit", "universal_lower_bound"),
        "task_allocation_limit/multi_head_optimum": _ratio(value, "task_allocation_limit", "multi_head_optimum"),
        "single_head_optimum/task_allocation_limit": _ratio(value, "single_head_optimum", "task_allocation_limit"),
        "flow/task_allocation_limit": _ratio(value, "flow", "task_allocation_limit"),
        "flow/multi_head_optimum": _ratio(value, "flow", "multi_head_optimum"),
        "attention/flow": _ratio(value, "attention", "flow"),
    }
    return Comparison(
        problem,
        closure,
        losses,
        ratios,
        None if run is None else run.allocation.heads,
        None if run is None or run.doubt is not None else run.allocation.shared,
        _warnings(run, real),
        () if run is None else predictions(run),
        None if run is None else run.doubt,
        "" if run is None else run.reduction,
        real,
    )


def _closed_form(evaluate: Callable[[], float], attained: bool | None, reason: str | None = None) -> LossEntry:
    try:
        value = evaluate()
    except HypothesisError as excluded:
        return LossEntry(None, None, None, "closed_form", None, False, str(excluded))
    return LossEntry(value, value * (1 - ROUNDING), value * (1 + ROUNDING), "closed_form", attained, True, reason)


def _universal(problem: Problem, closure: str) -> LossEntry:
    return _bound(lambda: universal_lower_bound().evaluate(problem), closure)


def _optimum(problem: Problem, closure: str) -> LossEntry:
    return _bound(lambda: multi_head_optimum().evaluate(problem), closure)


def _bound(evaluate: Callable[[], float], closure: str) -> LossEntry:
    """A bound of the theorem for H ≥ 2: the same in finite_d (`theory.optima.closures`), none in first_order."""
    if closure == "first_order":
        reason = "first_order is an expansion: outside its range of validity its loss has no lower bound"
        return LossEntry(None, None, None, "closed_form", None, False, reason)
    return _closed_form(evaluate, attained=False)


def _single_head(problem: Problem, closure: str) -> LossEntry:
    try:
        found = single_head_loss(problem, closure)
    except HypothesisError as excluded:
        return LossEntry(None, None, None, "numeric", None, False, str(excluded))
    kind: Kind = "closed_form" if found.closed_form else "numeric"
    spread = found.value * found.error
    return LossEntry(found.value, found.value - spread, found.value + spread, kind, True, True, None)


def _bayes(problem: Problem) -> LossEntry:
    found = bayes_risk(problem)
    reason = None
    if found.upper - found.lower > _WIDE * found.value:
        reason = f"known to lie between {found.lower:.4g} and {found.upper:.4g}"
    return LossEntry(found.value, found.lower, found.upper, "enclosure", None, True, reason)


def _warnings(run: Trajectory | None, real: RealRisk | None) -> tuple[str, ...]:
    if run is None:
        return ()
    changed = (
        None
        if run.altered is None
        else f"the flow is one {run.altered.in_brief}; limits and optima are those of the model's own loss"
    )
    further = (None if real is None else real.caveat, balance_caveat(run), changed)
    return (*run.caveats, *(sentence for sentence in further if sentence is not None))


def _attention(real: RealRisk | None) -> LossEntry:
    if real is None:
        return LossEntry(None, None, None, "sampled", None, False, "not sampled")
    if real.value is None or real.interval is None:
        return LossEntry(None, None, None, "sampled", None, False, real.reason)
    how = f"sampled: {real.n_samples} prompts, ± one standard error"
    return LossEntry(real.value, *real.interval, "sampled", True, True, how, None, real.standard_error)


def _flow(run: Trajectory | None) -> LossEntry:
    if run is None:
        return LossEntry(None, None, None, "flow", None, False, "no trajectory was given")
    value = float(run.loss[-1])
    if run.doubt is not None:
        reason = f"{value:.6g} at t = {run.t[-1]:.6g}, which is not to be relied on"
        return LossEntry(None, None, None, "flow", None, False, reason)
    error = abs(value) * float(run.loss_error[-1])
    return LossEntry(value, value - error, value + error, "flow", True, True, None)


def _ratio(values: Mapping[str, float | None], above: str, below: str) -> float | None:
    numerator, denominator = values[above], values[below]
    return None if numerator is None or denominator is None else numerator / denominator
