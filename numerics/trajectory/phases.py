"""The phases of training, read off a trajectory: emergence, its width, convergence, escape."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import numpy as np

from ...theory.brief import Brief
from ...theory.errors import HypothesisError
from ..problem.problem import FloatArray, Problem

if TYPE_CHECKING:
    from ..flows.allocation import Allocation
    from .record import Record

_HALF_WINDOW: Final = 0.1  # in log t, of the slope
_PER_DECADE: Final = 40  # places where the slope is looked at
_CLEARANCE: Final = 20.0  # how often the error fits into a gap whose slope is believed
_ATTESTED: Final = 2.0  # the factor in t over which the slope must have been seen to hold
_NEAR: Final = 0.1  # of the drop from 𝓛(0) to a limit: so near it a flow counts as having come to it

_Groups: TypeAlias = tuple[tuple[int, ...], ...]


class _Flow(Protocol):
    @property
    def parametrisation(self) -> str: ...

    @property
    def closure(self) -> str: ...


@dataclass(frozen=True, repr=False)
class Phases(Brief):
    """When training passed its stations, in learning rate × steps; None with a reason where there is none.

    Attributes
    ----------
    limit
        The loss that the allocation at the end of the trajectory tends to; of a merged run the infimum of its valley,
        or the minimum of identical heads; where there is none any more, that of the last allocation whose limit the
        loss came near (within 10 % of the drop to it), as the split flow does before it escapes.
    emergence
        T_0, the first t at which half of the drop to the limit is done, from 𝓛 at t = 0 or, where that is above it,
        from the loss Σ λ_i without output; equal to t_50.
    t_25, t_50, t_75
        When a quarter, half and three quarters of the drop are done.
    width
        t_75 − t_25.
    convergence_onset
        The first t from which on the slope d log(𝓛 − limit)/d log t stays within 10 % of −2; none where the flow
        escapes, however long it was near the limit.
    escape
        The first t after emergence with 𝓛 < limit − 3·error.
    groups
        Per occupied head of that allocation the 0-based tasks it has.
    reasons
        For each quantity that is None, why.
    """

    limit: float | None = None
    emergence: float | None = None
    t_25: float | None = None
    t_50: float | None = None
    t_75: float | None = None
    width: float | None = None
    convergence_onset: float | None = None
    escape: float | None = None
    groups: tuple[tuple[int, ...], ...] | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def shared(self) -> bool:
        """Whether two tasks have one head in the allocation of `limit`."""
        return any(len(group) > 1 for group in self.groups or ())

    def to_json(self) -> dict[str, Any]:
        """The quantities by name, None where there is none, and ``reasons``."""
        values = {name: getattr(self, name) for name in QUANTITIES}
        return {**values, "reasons": dict(self.reasons)}

    def __str__(self) -> str:
        return "\n".join(
            f"{name.replace('_', ' ')}: "
            + (self.reasons[name] if getattr(self, name) is None else f"{getattr(self, name):.6g}")
            for name in QUANTITIES
        )

    def _repr_html_(self) -> str:
        rows = "".join("<tr><th>{}</th><td>{}</td></tr>".format(*line.split(": ", 1)) for line in str(self).split("\n"))
        return f"<table>{rows}</table>"


QUANTITIES: Final = tuple(item.name for item in fields(Phases) if item.name not in ("groups", "reasons"))


def phases_of(trajectory: Record, limit_of: Callable[..., float] | None = None) -> Phases:
    """The phases of a trajectory.

    Parameters
    ----------
    trajectory
        Any; most quantities need one that has reached its allocation.
    limit_of
        (problem, groups, closure) → the loss of that allocation; default
        `headflow.numerics.optima.reference.realised_limit`.
    """
    if trajectory.altered is not None and trajectory.altered.system.added != 0:
        return _of_added(trajectory)
    if not ends_in_allocation(trajectory, trajectory.final.allocation, trajectory.problem.n_heads):
        return _of_merged(trajectory)
    if limit_of is None:
        from ..optima.reference import realised_limit

        limit_of = realised_limit
    try:
        station = _station(trajectory, limit_of)
    except HypothesisError as excluded:
        return Phases(reasons=dict.fromkeys(QUANTITIES, str(excluded)))
    if station is None:
        allocation = trajectory.final.allocation
        one = allocation.undecided[0]
        reason = (
            f"at t = {trajectory.t[-1]:.6g} no head does 90 % of the work of task {one + 1} "
            f"(the largest share is {allocation.shares[one]:.3g}), and its heads work for other tasks too: "
            "there is no allocation to have a limit"
        )
        return Phases(reasons=dict.fromkeys(QUANTITIES, reason))
    groups, limit = station
    found: dict[str, float] = {"limit": limit}
    reasons: dict[str, str] = {}
    _emergence(trajectory, limit, found, reasons)
    for name, search in (("escape", _escape), ("convergence_onset", _convergence_onset)):
        result = search(trajectory, limit, found)
        if isinstance(result, str):
            reasons[name] = result
        else:
            found[name] = result
    return Phases(**found, groups=groups, reasons=reasons)


def _of_added(trajectory: Record) -> Phases:
    """The phases of a flow with an added loss, whose limit is not known: how it came to the loss at its end."""
    end = float(trajectory.loss[-1])
    found: dict[str, float] = {}
    reasons = {"limit": f"the limit of a flow with an added loss is not known; times are those to its end, {end:.6g}"}
    _emergence(trajectory, end, found, reasons)
    reasons |= dict.fromkeys(("convergence_onset", "escape"), "the limit of a flow with an added loss is not known")
    return Phases(**found, groups=trajectory.final.allocation.limit_groups, reasons=reasons)


def ends_in_allocation(flow: _Flow, allocation: Allocation, n_heads: int) -> bool:
    """Whether what ends so tends to the limit of an allocation.

    Merged weights do on one head, and where heads are tied; else they creep on, to an infimum that no allocation has.
    """
    if flow.parametrisation != "merged" or any(allocation.tied):
        return True
    return n_heads == 1 and flow.closure != "first_order"  # its merged loss has no lower bound


def _of_merged(trajectory: Record) -> Phases:
    """The phases of a merged run, whose end is an infimum that it creeps towards, or a minimum of identical heads."""
    from .merged_end import merged_end  # here, because it takes a third of a second

    end = merged_end(trajectory)
    if isinstance(end, str):
        return Phases(reasons=dict.fromkeys(QUANTITIES, end))
    limit, creeps = end
    found: dict[str, float] = {"limit": limit}
    reasons: dict[str, str] = {}
    _emergence(trajectory, limit, found, reasons)
    if creeps:
        reasons["convergence_onset"] = "the flow creeps down a valley, and its gap falls like another power of t"
    else:
        reasons["convergence_onset"] = "the flow comes to a minimum of identical heads, whose gap is no power of t"
    reasons["escape"] = "the limit is where this flow ends: it does not leave it"
    return Phases(**found, groups=None, reasons=reasons)


def _station(trajectory: Record, limit_of: Callable[..., float]) -> tuple[_Groups, float] | None:
    """The allocation at the end with its limit, else the last one to whose limit the loss came near."""
    groups = trajectory.final.allocation.limit_groups
    if groups is not None:
        return groups, limit_of(trajectory.problem, groups, trajectory.closure)
    limits: dict[_Groups, float] = {}
    for row in reversed(range(len(trajectory.t))):
        groups = trajectory.at(float(trajectory.t[row])).allocation.limit_groups
        if groups is None:
            continue
        if groups not in limits:
            limits[groups] = limit_of(trajectory.problem, groups, trajectory.closure)
        limit = limits[groups]
        if abs(trajectory.loss[row] - limit) <= _NEAR * (trajectory.loss[0] - limit):
            return groups, limit
    return None


def before_emergence(problem: Problem, start: float) -> float:
    """The loss that an emergence falls from: at the start, or without output (Σ λ_i) where the start has a larger one.

    Strong noise makes the loss of small weights large; that weights shrink at first is no emergence.
    """
    return min(start, float(sum(problem.signal_power)))


def _emergence(trajectory: Record, limit: float, found: dict[str, float], reasons: dict[str, str]) -> None:
    start = before_emergence(trajectory.problem, float(trajectory.loss[0]))
    names = ("t_25", "t_50", "t_75")
    if start <= limit:
        reason = f"the flow starts at the loss {trajectory.loss[0]:.6g}, not above the limit {limit:.6g}"
        reasons |= dict.fromkeys((*names, "emergence", "width"), reason)
        return
    for name, share in zip(names, (0.25, 0.5, 0.75), strict=True):
        level = start - share * (start - limit)
        time = first_below(trajectory, level)
        if time is None:
            reasons[name] = f"by t = {trajectory.t[-1]:.6g} the loss has not fallen {share:.0%} of the way to the limit"
        else:
            found[name] = time
    if "t_50" in found:
        found["emergence"] = found["t_50"]
    else:
        reasons["emergence"] = reasons["t_50"]
    if "t_75" in found:
        found["width"] = found["t_75"] - found["t_25"]
    else:
        reasons["width"] = reasons["t_75"]


def first_below(trajectory: Record, level: float, after: float = 0.0) -> float | None:
    """The first t ≥ ``after`` with loss < ``level``, by root finding between stored rows."""
    rows = np.flatnonzero((trajectory.loss < level) & (trajectory.t >= after))
    if not len(rows):
        return None
    row = int(rows[0])
    left, right = max(after, float(trajectory.t[max(row - 1, 0)])), float(trajectory.t[row])
    if trajectory.loss_at(left) <= level or trajectory.loss_at(right) >= level:
        return left if trajectory.loss_at(left) <= level else right
    from scipy.optimize import brentq  # here, because it takes a third of a second

    root: float = brentq(lambda t: trajectory.loss_at(t) - level, left, right, xtol=1e-12 * right, rtol=1e-14)
    return root


def _convergence_onset(trajectory: Record, limit: float, found: Mapping[str, float]) -> float | str:
    emergence = found.get("emergence")
    if emergence is None:
        return "there is no emergence before it"
    if "escape" in found:
        return f"the flow leaves the limit: from t = {found['escape']:.6g} on the loss is below it"
    last = _last_believable(trajectory, limit)
    stretch = math.exp(_HALF_WINDOW)
    believed = last == float(trajectory.t[-1])
    why_last = (
        f"the trajectory ends at t = {last:.6g}"
        if believed
        else f"after t = {last:.6g} the gap to the limit is below {_CLEARANCE:g} × its error"
    )
    begin, end = max(emergence, float(trajectory.t[1])) * stretch, last / stretch
    if end <= begin:
        return f"there is no slope to see: {why_last}"
    times = np.geomspace(begin, end, 2 + int(_PER_DECADE * math.log10(end / begin)))
    slopes = np.array([_slope(trajectory, limit, float(t)) for t in times])
    wrong = np.flatnonzero(~(np.abs(slopes + 2) <= 0.2))
    if len(wrong) and wrong[-1] == len(times) - 1:
        seen = f"the slope of the gap is {slopes[-1]:.3g} at t = {end:.6g}, not within 10 % of −2"
        return f"{seen}, and {why_last}"
    onset = float(times[0])
    if len(wrong):
        left, right = float(times[wrong[-1]]), float(times[wrong[-1] + 1])
        for _ in range(40):
            middle = math.sqrt(left * right)
            left, right = (left, middle) if abs(_slope(trajectory, limit, middle) + 2) <= 0.2 else (middle, right)
        onset = right
    if end < _ATTESTED * onset:
        return f"a slope near −2 is seen only from t = {onset:.6g} to {end:.6g}: {why_last}"
    return onset


def _slope(trajectory: Record, limit: float, t: float) -> float:
    """d log(𝓛 − limit)/d log t as a central difference; not a number where the gap is not positive."""
    stretch = math.exp(_HALF_WINDOW)
    before = trajectory.loss_at(t / stretch) - limit
    after = trajectory.loss_at(min(t * stretch, float(trajectory.t[-1]))) - limit
    return math.log(after / before) / (2 * _HALF_WINDOW) if before > 0 and after > 0 else math.nan


def _last_believable(trajectory: Record, limit: float) -> float:
    """The last t up to which the gap exceeds the loss's error by the clearance."""
    # Errors made early die out as the flow converges: at a row the largest error from there on counts.
    error: FloatArray = np.maximum.accumulate(trajectory.loss_error[::-1])[::-1] * trajectory.loss
    doubtful = np.flatnonzero(trajectory.loss - limit <= _CLEARANCE * error)
    late = doubtful[trajectory.t[doubtful] > 0]
    return float(trajectory.t[-1] if not len(late) else trajectory.t[max(int(late[0]) - 1, 0)])


def _escape(trajectory: Record, limit: float, found: Mapping[str, float]) -> float | str:
    emergence = found.get("emergence")
    if emergence is None:
        return "there is no emergence before it"
    if not math.isfinite(trajectory.error_estimate):
        return "the error of the trajectory is not known"
    level = limit - 3 * trajectory.error_estimate * limit
    time = first_below(trajectory, level, after=emergence)
    if time is None:
        return f"the loss stays above the limit, within its error, up to t = {trajectory.t[-1]:.6g}"
    return time
