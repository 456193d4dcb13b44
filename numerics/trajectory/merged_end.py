"""Where a merged run ends: in a valley whose order its heads' shape tells, with identical heads, or undecided."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from ...theory.errors import InputError
from ...theory.merged.valley_order import highest_order
from ...theory.optima.optimum import multi_head_optimum
from ..code import compile_system
from ..flows.allocation import IntArray
from ..flows.derived import flow
from ..optima.reference import realised_limit
from ..problem.kinds import takes
from ..problem.problem import FloatArray, Problem
from .record import Record

_ALIKE: Final = 0.02  # distance of two heads, relative to the largest head, below which they are one
_OPPOSITE: Final = 0.2  # the same for −1 times a head, which a common part of all heads may displace for long
_IDLE: Final = 1e-5  # share of the most that a head does, below which it does nothing
_NEAR: Final = 0.3  # how far the order of a state may be from the integer that it tends to
_CREEPS: Final = -0.1  # a gap that falls faster than this power of t is that of a valley
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


@takes(trajectory="Trajectory")
def merged_outcome(trajectory: Record) -> MergedOutcome:
    """Which end a merged trajectory has come to.

    Raises ``InputError`` for another parametrisation, and for the closure first_order: their ends are others;
    ``UnreliableError`` for a trajectory that is not reliable.
    """
    require_merged(trajectory, "an outcome of the merged flow", ("leading", "finite_d"))
    return outcome_at(trajectory, float(trajectory.t[-1]))


def merged_end(trajectory: Record) -> tuple[float, bool] | str:
    """The loss that a merged run tends to, and whether it is an infimum that it creeps towards; else why it is open."""
    if trajectory.closure == "first_order":
        return "in the closure first_order the merged flow has no end: its loss has no lower bound"
    outcome = merged_outcome(trajectory)
    if outcome.order is not None:
        return infimum_of(trajectory.problem, len(outcome.groups)), True
    if outcome.kind == "identical heads":
        return realised_limit(trajectory.problem, [[0]], trajectory.closure), False
    return f"where this run ends is not decided: {outcome.reason}"


def require_merged(trajectory: Record, what: str, closures: tuple[str, ...]) -> None:
    trajectory.ensure_reliable()
    if trajectory.altered is not None:
        raise InputError(f"{what} is known for the package's own flows, not for one that was changed")
    if trajectory.parametrisation != "merged" or trajectory.closure not in closures:
        raise InputError(
            f"{what} needs parametrisation merged and closure {' or '.join(closures)}, got "
            f"{trajectory.parametrisation} and {trajectory.closure}"
        )


def outcome_at(trajectory: Record, until: float) -> MergedOutcome:
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
    infimum = infimum_of(problem, len(groups))
    last = last_trusted(trajectory, infimum, until)
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


def infimum_of(problem: Problem, n_heads: int) -> float:
    return multi_head_optimum().evaluate(problem, n_heads=n_heads)


def last_trusted(trajectory: Record, infimum: float, until: float) -> float | None:
    """The last time up to ``until`` at which the gap exceeds its error by the clearance; None if there is none."""
    error = np.maximum.accumulate(trajectory.loss_error[::-1])[::-1] * trajectory.loss
    trusted = np.flatnonzero((trajectory.loss - infimum > _CLEARANCE * error) & (trajectory.t > 0))
    if not len(trusted):
        return None
    return min(until, float(trajectory.t[trusted[-1]]))


def _slope(trajectory: Record, infimum: float, last: float) -> float:
    """d log gap/d log t over a factor of two up to that time; not a number where the gap is not positive."""
    before, after = (trajectory.loss_at(t) - infimum for t in (last / 2, last))
    return math.log(after / before) / math.log(2) if min(before, after) > 0 else math.nan


def stretched(problem: Problem, closure: str, mu: FloatArray, omega: FloatArray) -> float:
    """−½ d𝓛/dτ along μ → e^τ μ, ω → e^(−τ) ω: p times the gap in a valley of order p (`theory.merged.valley_order`)."""
    velocity = compile_system(flow("merged", closure)).velocity.bind(problem.float_values())
    mu_dot, omega_dot = velocity(np.concatenate([mu.ravel(), omega.ravel()])).reshape(2, *mu.shape)
    dims = np.array(problem.dims, float)[:, None]
    return float((mu * mu_dot).sum() - (dims * omega * omega_dot).sum()) / 2
