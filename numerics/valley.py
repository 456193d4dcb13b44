"""Owns the merged flow's end: which outcome a trajectory has, and its valley's powers of time, measured and predicted.

No flow in a valley ever converges: the loss has an infimum and no minimum, and what is reported is a rate.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np

from ..theory.errors import HypothesisError, InputError
from ..theory.flow import gradient_flow
from ..theory.optimum import multi_head_optimum
from ..theory.phases.pair_valley import pair_valley
from ..theory.phases.power_law import ValleyLaws
from ..theory.phases.valley import pairs_valley, simplex_valley
from ..theory.phases.valley_order import merged_valley_order, valley_order
from .codegen import compile_system
from .fit import Fit, power_law
from .problem import FloatArray, Problem
from .trajectory import Trajectory

_ALIKE: Final = 0.02  # distance of two heads, relative to the largest head, below which they are one
_OPPOSITE: Final = -0.98  # cosine of the angle between two heads of a pair
_CREEPS: Final = -0.1  # a gap that falls faster than this power of t is that of a valley
_POINTS: Final = 21  # per fit
_CLEARANCE: Final = 100.0  # how often the error of the loss fits into a gap that is trusted

Kind = Literal["pairs", "unpaired valley", "identical heads", "undecided"]


@dataclass(frozen=True)
class MergedOutcome:
    """Where a merged flow is at the end of its trajectory.

    Attributes
    ----------
    kind
        "pairs": heads in zero-sum pairs ±ω, creeping; "unpaired valley": creeping otherwise; "identical heads": one
        task on heads that are all alike, a degenerate minimum; "undecided".
    groups
        Heads (from 0) that are alike, group by group.
    order
        The order of the valley (see `headflow.theory.phases.valley_order`); None where there is none.
    reason
        Why it is undecided, else "".
    """

    kind: Kind
    groups: tuple[tuple[int, ...], ...]
    order: int | None
    reason: str = ""

    def __str__(self) -> str:
        heads = "; ".join(", ".join(str(head + 1) for head in group) for group in self.groups)
        return f"{self.kind} (heads that are alike: {heads})" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True)
class ValleyReport:
    """The laws of a valley, measured on a trajectory, beside those of the theory.

    Attributes
    ----------
    outcome
        Which valley.
    infimum
        The loss that is approached and never reached, of as many heads as differ.
    window
        Times of the fit (learning rate × steps); its end is that of the trajectory, or where the gap is no longer
        100 times the error of the loss.
    laws
        Of the gap, |ω|, |μ| and the fastest rate (the largest decay rate of the generated Jacobian).
    """

    outcome: MergedOutcome
    infimum: float
    window: tuple[float, float]
    laws: tuple[Fit, ...]

    @property
    def converged(self) -> bool:
        """False: a flow in a valley never converges."""
        return False

    def to_json(self) -> dict[str, Any]:
        """Everything by name; heads from 0."""
        return {
            "outcome": asdict(self.outcome),
            "infimum": self.infimum,
            "window": list(self.window),
            "laws": {law.quantity: {k: v for k, v in law.to_row().items() if k != "quantity"} for law in self.laws},
            "converged": False,
        }

    def __str__(self) -> str:
        lines = [
            str(self.outcome),
            f"creeping towards the infimum {self.infimum:.8g}, which no weights reach: not converged",
            f"from t = {self.window[0]:.3g} to {self.window[1]:.3g}, measured (predicted):",
        ]
        for law in self.laws:
            known = "no constant" if law.predicted_constant is None else f"{law.predicted_constant:.5g}"
            power = "no exponent" if law.predicted_exponent is None else f"{law.predicted_exponent:.4f}"
            lines.append(f"  {law.quantity}: {law.constant:.5g} ({known}) × t^{law.exponent:.4f} ({power})")
        return "\n".join(lines)


def merged_outcome(trajectory: Trajectory) -> MergedOutcome:
    """Which end a merged trajectory has come to, from its last rows.

    Raises ``InputError`` for another parametrisation or closure: their ends are others.  ``UnreliableError`` for a
    trajectory that is not reliable.
    """
    trajectory.ensure_reliable()
    if (trajectory.parametrisation, trajectory.closure) != ("merged", "leading"):
        raise InputError(
            "an outcome of the merged flow needs parametrisation merged and closure leading, got "
            f"{trajectory.parametrisation} and {trajectory.closure}"
        )
    problem = trajectory.problem
    points = np.sqrt(np.array(problem.dims, float))[:, None] * trajectory.omega[-1]
    groups = _groups(points)
    if len(groups) == 1:
        if problem.n_tasks == 1 and problem.n_heads > 1:
            return MergedOutcome("identical heads", groups, None)
        return MergedOutcome("undecided", groups, None, "all heads are alike, which is no end for several tasks")
    slope = _slope(trajectory, _infimum(problem, len(groups)))
    if not slope < _CREEPS:
        reason = f"the gap to the infimum does not fall like a power of t (slope {slope:.3g} at the end)"
        return MergedOutcome("undecided", groups, None, reason)
    order = valley_order(problem.n_tasks, len(groups))
    centres = np.stack([points[:, list(group)].mean(axis=1) for group in groups])
    lengths = np.linalg.norm(centres, axis=1)
    cosines = centres @ centres.T / np.outer(lengths, lengths)
    paired = order == 2 and bool((cosines.min(axis=1) < _OPPOSITE).all())
    return MergedOutcome("pairs" if paired else "unpaired valley", groups, order)


def valley_report(trajectory: Trajectory) -> ValleyReport:
    """The powers of time of a valley over the last trusted factor of ten in t, with constants where theory has them.

    Raises
    ------
    InputError
        For a trajectory that is not merged and leading.
    HypothesisError
        For one that has not come to a valley.
    UnreliableError
        For one that is not reliable.
    """
    outcome = merged_outcome(trajectory)
    if outcome.order is None:
        raise HypothesisError("the laws of a valley", "a merged flow in a valley", str(outcome))
    problem, infimum = trajectory.problem, _infimum(trajectory.problem, len(outcome.groups))
    error = np.maximum.accumulate(trajectory.loss_error[::-1])[::-1] * trajectory.loss
    trusted = np.flatnonzero((trajectory.loss - infimum > _CLEARANCE * error) | (trajectory.t == 0))
    end = float(trajectory.t[trusted[-1]])
    if end <= 0:
        raise HypothesisError("the laws of a valley", "a gap that exceeds its error", "none")
    times = np.geomspace(end / 10, end, _POINTS)
    jacobian = compile_system(gradient_flow("merged")).jacobian.bind(problem.float_values())
    values = np.array([_quantities(trajectory, infimum, jacobian, float(min(t, end))) for t in times])
    powers = _powers(problem, outcome)
    constants = _constants(problem, trajectory, outcome)
    # ω is small, not zero: the next order is smaller by its square.
    following = 2 * float(merged_valley_order().exponents(outcome.order).omega)
    laws = tuple(
        power_law(
            name,
            "t",
            times,
            values[:, place],
            exponent=powers[place],
            constant=constants[place],
            correction=following,
        )
        for place, name in enumerate(_NAMES)
    )
    return ValleyReport(outcome, infimum, (end / 10, end), laws)


_NAMES: Final = ("gap", "omega", "mu", "fastest rate")


def _groups(points: FloatArray) -> tuple[tuple[int, ...], ...]:
    """Columns that lie together."""
    near = _ALIKE * float(np.linalg.norm(points, axis=0).max())
    groups: list[list[int]] = []
    for head in range(points.shape[1]):
        for group in groups:
            if np.linalg.norm(points[:, head] - points[:, group[0]]) <= near:
                group.append(head)
                break
        else:
            groups.append([head])
    return tuple(map(tuple, groups))


def _infimum(problem: Problem, n_heads: int) -> float:
    return multi_head_optimum().evaluate(problem, n_heads=n_heads)


def _slope(trajectory: Trajectory, infimum: float) -> float:
    """d log gap/d log t over the last factor of two; not a number where the gap is not positive."""
    last = float(trajectory.t[-1])
    before, after = (trajectory.loss_at(t) - infimum for t in (last / 2, last))
    return math.log(after / before) / math.log(2) if min(before, after) > 0 else math.nan


def _quantities(trajectory: Trajectory, infimum: float, jacobian: Any, t: float) -> tuple[float, float, float, float]:
    state = trajectory.at(t)
    matrix = jacobian(np.concatenate([state.mu.ravel(), state.omega.ravel()]))
    fastest = -float(np.linalg.eigvals(matrix).real.min())
    return state.loss - infimum, float(np.linalg.norm(state.omega)), float(np.linalg.norm(state.mu)), fastest


def _powers(problem: Problem, outcome: MergedOutcome) -> tuple[float | None, ...]:
    """The exponents in the order of the names.

    With R + 2 to 2 R − 1 heads for R directions some heads may pair and others not: the slower ω are those of pairs.
    """
    assert outcome.order is not None
    powers = merged_valley_order().exponents(outcome.order)
    mixed = outcome.order == 1 and len(outcome.groups) > problem.n_tasks + 1
    return float(powers.gap), None if mixed else float(powers.omega), float(powers.mu), float(powers.fastest)


def _constants(problem: Problem, trajectory: Trajectory, outcome: MergedOutcome) -> tuple[float | None, ...]:
    laws = _laws(problem, trajectory, outcome)
    if laws is None:
        return (None, None, None, None)
    forms = (laws.gap, laws.omega, laws.mu, laws.fastest)
    return tuple(form.constant.evaluate(problem) for form in forms)


def _laws(problem: Problem, trajectory: Trajectory, outcome: MergedOutcome) -> ValleyLaws | None:
    """The laws with constants, where the theory has them for this problem and outcome."""
    if outcome.kind == "pairs" and problem.n_tasks == 1:
        above = int((trajectory.omega[-1] > 0).sum())
        return pair_valley().laws(above, problem.n_heads - above)
    if len(outcome.groups) < problem.n_heads:
        return None
    laws = pairs_valley() if outcome.kind == "pairs" else simplex_valley()
    try:
        laws.gap.constant.exact(problem)
    except HypothesisError:
        return None
    return laws
