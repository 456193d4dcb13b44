"""Owns how results are put into words: numbers, the flow in a few lines, the answer in a few sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .plotting import power_of_ten

if TYPE_CHECKING:
    from .numerics.compare import Comparison
    from .numerics.trajectory import Trajectory
    from .numerics.verify import Verification

_PHASES = {
    "emergence": "emergence T₀",
    "width": "its width (t₇₅ − t₂₅)",
    "convergence_onset": "convergence from",
    "escape": "escape from the limit",
}


_MOST_EVENTS = 20  # as lines of text: the JSON has them all


def number(value: float | None, digits: int = 6) -> str:
    """A number as tables show it; a dash where there is none.

    >>> number(0.69055073, 4), number(1290.4, 3), number(1e4), number(-2.5e-7), number(None)
    ('0.6906', '1290', '10⁴', '−2.5·10⁻⁷', '—')
    """
    if value is None or not math.isfinite(value):
        return "—"
    sign = "−" if value < 0 else ""
    rounded = abs(float(f"{value:.{digits}g}"))
    if rounded and not 1e-3 <= rounded < 1e4:
        return sign + power_of_ten(rounded)
    return f"{sign}{rounded:.{max(digits, 4)}g}"


def flow_summary(trajectory: Trajectory) -> list[str]:
    """What a trajectory did, line by line."""
    problem, phases = trajectory.problem, trajectory.phases
    end = number(float(trajectory.t[-1]))
    lines = [
        *caveats(trajectory),
        f"flow      {trajectory.parametrisation}, closure {trajectory.closure}, "
        f"{problem.n_tasks} tasks, {problem.n_heads} heads",
        f"time      0 to {end} = learning rate × steps; {trajectory.stop.sentence}",
        f"loss      {number(float(trajectory.loss[0]), 8)} → {number(float(trajectory.loss[-1]), 8)}, "
        f"relative error {number(trajectory.error_estimate, 2)}",
        *allocation_summary(trajectory),
    ]
    if not trajectory.reliable:
        return lines
    for name, title in _PHASES.items():
        value = getattr(phases, name)
        lines.append(f"{title}: {phases.reasons[name] if value is None else number(value, 5)}")
    lines += [f"event     {event}" for event in trajectory.events[:_MOST_EVENTS] if event.task is not None]
    return lines


def caveats(trajectory: Trajectory) -> list[str]:
    """What to keep in mind about a trajectory, line by line."""
    return [f"warning   {caveat}" for caveat in trajectory.caveats]


def allocation_summary(trajectory: Trajectory) -> list[str]:
    """What start and flow keep alike, which head ended with which task, and the loss that this allocation tends to."""
    if not trajectory.reliable:
        return []
    allocation, phases = trajectory.allocation, trajectory.phases
    whose = "this allocation" if phases.escape is None else "an allocation that the flow has left"
    return [
        *([f"symmetry  {trajectory.reduction}"] if trajectory.reduction else []),
        f"heads     {allocation}{'; heads are shared' if allocation.shared else ''}",
        *([f"limit     {number(phases.limit, 10)}, of {whose}"] if phases.limit is not None else []),
    ]


def answer(trajectory: Trajectory, comparison: Comparison, verification: Verification) -> list[str]:
    """The result of the main job in a few sentences."""
    problem, phases = trajectory.problem, trajectory.phases
    heads = f"{problem.n_heads} head{'s' if problem.n_heads > 1 else ''}"
    end = float(trajectory.loss[-1])
    flow = (
        f"The loss falls from {number(float(trajectory.loss[0]), 4)} to {number(end)} "
        f"at t = {number(float(trajectory.t[-1]))}. "
    )
    if trajectory.doubt is not None:
        flow = f"{trajectory.doubt}. As computed, t{flow[1:].rstrip()}"
    elif phases.limit is None:
        flow += "The flow has not settled on an allocation of tasks to heads."
    elif phases.escape is not None:
        flow += (
            f"It came near the limit of an allocation of tasks to heads, {number(phases.limit)}, "
            f"and left it at t = {number(phases.escape, 4)}."
        )
    else:
        allocation = trajectory.allocation
        kind = "Each task has a head of its own"
        if allocation.shared or allocation.undecided:
            kind = "Tasks share a head" if allocation.shared else "A task is spread over several heads"
        if any(allocation.tied):
            kind = "Heads are tied"
        where = str(allocation).replace(";", ",")
        if problem.n_tasks > 4:
            where = f"{problem.n_tasks} tasks on {len(allocation.groups)} heads"
        flow += f"{kind} ({where}), and the limit of this allocation is {number(phases.limit)}."
    if trajectory.reduction:
        flow += f" {trajectory.reduction[0].upper()}{trajectory.reduction[1:]}."
    losses = comparison.losses
    best, bound, single = (
        losses[name].value for name in ("multi_head_optimum", "universal_lower_bound", "single_head_optimum")
    )
    if best is None or bound is None:
        levels = f"The best of a single head is {number(single)}; {losses['multi_head_optimum'].reason}."
    else:
        levels = (
            f"The best any weights with {heads} can do is {number(best)}; the bound for any number of heads "
            f"is {number(bound)}, the best of a single head {number(single)}."
        )
    return [flow, levels, verification.sentence]
