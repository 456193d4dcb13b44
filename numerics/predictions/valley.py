"""Owns the merged flow's end: which outcome a trajectory has, and its valley's powers of time, measured and predicted.

No flow in a valley ever converges: the loss has an infimum and no minimum, and what is reported is a rate.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np

from ...theory.brief import Brief
from ...theory.errors import HypothesisError, InputError
from ...theory.flows.flow import gradient_flow
from ...theory.merged.line_valley import line_valley
from ...theory.merged.power_law import ValleyLaws
from ...theory.merged.valley import pairs_valley, simplex_valley
from ...theory.merged.valley_order import highest_order, merged_valley_order
from ...theory.optima.optimum import multi_head_optimum
from ..code import compile_system
from ..flows.allocation import IntArray
from ..optima.reference import realised_limit
from ..problem.kinds import takes
from ..problem.problem import FloatArray, Problem
from ..trajectory.trajectory import Trajectory
from .fit import Fit, power_law
from .valley_shape import ShapeConstants, resting_line, shape_constants, stretched

_ALIKE: Final = 0.02  # distance of two heads, relative to the largest head, below which they are one
_OPPOSITE: Final = 0.2  # the same for −1 times a head, which a common part of all heads may displace for long
_IDLE: Final = 1e-5  # share of the most that a head does, below which it does nothing
_NEAR: Final = 0.3  # how far the order of a state may be from the integer that it tends to
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
        Heads (from 0) that are alike, group by group, without those that do nothing.
    order
        The order of the valley, from the state at the end (see `headflow.theory.merged.valley_order`); None where
        there is none.
    reason
        Why it is undecided, else "".
    idle
        Heads (from 0) that do nothing: they keep an ω away from 0, and their μ has died.
    """

    kind: Kind
    groups: tuple[tuple[int, ...], ...]
    order: int | None
    reason: str = ""
    idle: tuple[int, ...] = ()

    def __str__(self) -> str:
        heads = "; ".join(_counted(group) for group in self.groups)
        kind = self.kind + (f" of order {self.order}" if self.order is not None else "")
        idle = f"; idle: {_counted(self.idle)}" if self.idle else ""
        return f"{kind} (heads that are alike: {heads}{idle})" + (f": {self.reason}" if self.reason else "")


def _counted(heads: tuple[int, ...]) -> str:
    return ", ".join(str(head + 1) for head in heads)


@dataclass(frozen=True, repr=False)
class ValleyReport(Brief):
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
        Of the gap, |ω|, |μ| and the fastest rate: the largest decay rate of the generated Jacobian among directions
        that move ω more than μ (where the noise is large, others are as fast for long).
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


@takes(trajectory="Trajectory")
def merged_outcome(trajectory: Trajectory) -> MergedOutcome:
    """Which end a merged trajectory has come to.

    Raises ``InputError`` for another parametrisation, and for the closure first_order: their ends are others;
    ``UnreliableError`` for a trajectory that is not reliable.
    """
    _require(trajectory, "an outcome of the merged flow", ("leading", "finite_d"))
    return _outcome_at(trajectory, float(trajectory.t[-1]))


def merged_end(trajectory: Trajectory) -> tuple[float, bool] | str:
    """The loss that a merged run tends to, and whether it is an infimum that it creeps towards; else why it is open."""
    if trajectory.closure == "first_order":
        return "in the closure first_order the merged flow has no end: its loss has no lower bound"
    outcome = merged_outcome(trajectory)
    if outcome.order is not None:
        return _infimum(trajectory.problem, len(outcome.groups)), True
    if outcome.kind == "identical heads":
        return realised_limit(trajectory.problem, [[0]], trajectory.closure), False
    return f"where this run ends is not decided: {outcome.reason}"


def _require(trajectory: Trajectory, what: str, closures: tuple[str, ...]) -> None:
    trajectory.ensure_reliable()
    if trajectory.altered is not None:
        raise InputError(f"{what} is known for the package's own flows, not for one that was changed")
    if trajectory.parametrisation != "merged" or trajectory.closure not in closures:
        raise InputError(
            f"{what} needs parametrisation merged and closure {' or '.join(closures)}, got "
            f"{trajectory.parametrisation} and {trajectory.closure}"
        )


def _outcome_at(trajectory: Trajectory, until: float) -> MergedOutcome:
    problem, end = trajectory.problem, trajectory.at(until)
    does = np.abs(end.mu * end.omega).max(axis=0)
    busy = np.flatnonzero(does > _IDLE * does.max())
    idle = tuple(int(head) for head in np.flatnonzero(does <= _IDLE * does.max()))
    points = np.sqrt(np.array(problem.dims, float))[:, None] * end.omega
    groups = _groups(points, busy)

    def undecided(reason: str) -> MergedOutcome:
        return MergedOutcome("undecided", groups, None, reason, idle)

    if not groups:
        return undecided("all weights are zero")
    if len(groups) == 1:
        if problem.n_tasks == 1 and problem.n_heads > 1:
            return MergedOutcome("identical heads", groups, None, idle=idle)
        return undecided("all heads are alike, which is no end for several tasks")
    infimum = _infimum(problem, len(groups))
    last = _last_trusted(trajectory, infimum, until)
    if last is None:
        return undecided("the gap to the infimum does not exceed its error")
    slope = _slope(trajectory, infimum, last)
    if not slope < _CREEPS:
        return undecided(
            f"the gap to the infimum does not fall like a power of t (slope {slope:.3g} at t = {last:.3g})"
        )
    end = trajectory.at(last)
    own = stretched(problem, trajectory.closure, end.mu, end.omega) / (end.loss - infimum)
    highest = highest_order(problem.n_tasks, len(groups))
    order = min(range(1, highest + 1), key=lambda whole: abs(own - whole))
    if not abs(own - order) <= _NEAR:
        return undecided(
            f"the shape of the heads has not come to rest: the order of its valley is {own:.3g} by now, where whole "
            f"numbers up to {highest} are possible"
        )
    centres = np.stack([points[:, list(group)].mean(axis=1) for group in groups])
    apart = np.linalg.norm(centres[:, None] + centres[None], axis=-1).min(axis=1)
    paired = order > 1 and bool((apart <= _OPPOSITE * np.linalg.norm(centres, axis=1).max()).all())
    return MergedOutcome("pairs" if paired else "unpaired valley", groups, order, idle=idle)


@takes(trajectory="Trajectory")
def valley_report(trajectory: Trajectory, until: float | None = None) -> ValleyReport:
    """The powers of time of a valley over the last trusted factor of ten in t, with constants where theory has them.

    Where the shape at rest is not known in closed form, constants are those of the shape that the heads have there.
    ``until`` takes an earlier time for the end.

    Raises
    ------
    InputError
        For a trajectory that is not merged and leading, and an ``until`` outside it.
    HypothesisError
        For one that has not come to a valley.
    UnreliableError
        For one that is not reliable.
    """
    _require(trajectory, "the laws of a valley", ("leading",))
    until = float(trajectory.t[-1]) if until is None else until
    outcome = _outcome_at(trajectory, until)
    if outcome.order is None:
        raise HypothesisError("the laws of a valley", "a merged flow in a valley", str(outcome))
    problem, infimum = trajectory.problem, _infimum(trajectory.problem, len(outcome.groups))
    end = _last_trusted(trajectory, infimum, until)
    assert end is not None
    times = np.geomspace(end / 10, end, _POINTS)
    jacobian = compile_system(gradient_flow("merged")).jacobian.bind(problem.float_values())
    values = np.array([_quantities(trajectory, infimum, jacobian, float(min(t, end))) for t in times])
    shape = shape_constants(outcome.order, times, values)
    powers = merged_valley_order().exponents(outcome.order)
    exponents = (powers.gap, powers.omega if shape.one_scale else None, powers.mu, powers.fastest)
    constants = _constants(problem, trajectory, outcome, shape)
    # ω is small, not zero: the next order is smaller by its square.
    following = 2 * float(powers.omega)
    laws = tuple(
        power_law(
            name,
            "t",
            times,
            values[:, place],
            exponent=None if (power := exponents[place]) is None else float(power),
            constant=constants[place],
            correction=following,
        )
        for place, name in enumerate(_NAMES)
    )
    return ValleyReport(outcome, infimum, (end / 10, end), laws)


_NAMES: Final = ("gap", "omega", "mu", "fastest rate")


def _groups(points: FloatArray, heads: IntArray) -> tuple[tuple[int, ...], ...]:
    """Those of the heads together whose columns lie together."""
    near = _ALIKE * float(np.linalg.norm(points[:, heads], axis=0).max(initial=0.0))
    groups: list[list[int]] = []
    for head in map(int, heads):
        for group in groups:
            if np.linalg.norm(points[:, head] - points[:, group[0]]) <= near:
                group.append(head)
                break
        else:
            groups.append([head])
    return tuple(map(tuple, groups))


def _infimum(problem: Problem, n_heads: int) -> float:
    return multi_head_optimum().evaluate(problem, n_heads=n_heads)


def _last_trusted(trajectory: Trajectory, infimum: float, until: float) -> float | None:
    """The last time up to ``until`` at which the gap exceeds its error by the clearance; None if there is none."""
    error = np.maximum.accumulate(trajectory.loss_error[::-1])[::-1] * trajectory.loss
    trusted = np.flatnonzero((trajectory.loss - infimum > _CLEARANCE * error) & (trajectory.t > 0))
    if not len(trusted):
        return None
    return min(until, float(trajectory.t[trusted[-1]]))


def _slope(trajectory: Trajectory, infimum: float, last: float) -> float:
    """d log gap/d log t over a factor of two up to that time; not a number where the gap is not positive."""
    before, after = (trajectory.loss_at(t) - infimum for t in (last / 2, last))
    return math.log(after / before) / math.log(2) if min(before, after) > 0 else math.nan


def _quantities(trajectory: Trajectory, infimum: float, jacobian: Any, t: float) -> tuple[float, float, float, float]:
    """Gap, |ω|, |μ|, and the fastest rate of the directions that move √d ω more than μ.

    Those are the valley's walls, and outgrow all others in the end; where the noise is large that takes long.
    """
    state = trajectory.at(t)
    matrix = jacobian(np.concatenate([state.mu.ravel(), state.omega.ravel()]))
    units = np.ones((2, *state.omega.shape))
    units[1] *= np.sqrt(np.array(trajectory.problem.dims, float))[:, None]
    # In these units the flow is a gradient flow, and its Jacobian symmetric.
    rates, modes = np.linalg.eigh(units.ravel()[:, None] * matrix / units.ravel())
    walls = (modes[state.mu.size :] ** 2).sum(axis=0) > 0.5
    fastest = -float(rates[walls].min())
    return state.loss - infimum, float(np.linalg.norm(state.omega)), float(np.linalg.norm(state.mu)), fastest


def _constants(
    problem: Problem, trajectory: Trajectory, outcome: MergedOutcome, shape: ShapeConstants
) -> tuple[float | None, ...]:
    """From the shape at rest where theory has it, else from the shape that the heads have."""
    laws = _laws(problem, trajectory, outcome)
    if laws is None:
        return (shape.gap, shape.omega, shape.mu, shape.fastest)
    forms = (laws.gap, laws.omega, laws.mu, laws.fastest)
    return tuple(form.constant.evaluate(problem) for form in forms)


def _laws(problem: Problem, trajectory: Trajectory, outcome: MergedOutcome) -> ValleyLaws | None:
    """The laws with constants, where the theory has the shape at rest for this problem and outcome."""
    groups = [list(group) for group in outcome.groups]
    if problem.n_tasks == 1 and outcome.order == len(groups):
        points = trajectory.omega[-1][0]
        line = resting_line([float(points[group].mean()) for group in groups], [len(group) for group in groups])
        return None if line is None else line_valley().laws(outcome.order, line.g, line.w)
    if problem.n_tasks == 1 or len(groups) < problem.n_heads:
        return None
    laws = pairs_valley() if outcome.kind == "pairs" else simplex_valley()
    try:
        laws.gap.constant.exact(problem)
    except HypothesisError:
        return None
    return laws if laws.order == outcome.order else None
