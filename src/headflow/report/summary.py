"""How results are put into words: numbers, the flow in a few lines, the answer in a few sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..plot.plotting import power_of_ten

if TYPE_CHECKING:
    from ..numerics.comparison.compare import Comparison
    from ..numerics.trajectory.real_risk import RealRisk
    from ..numerics.trajectory.trajectory import Trajectory
    from ..numerics.verification.verify import Verification

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


def flow_summary(trajectory: Trajectory, attention: bool = True) -> list[str]:
    """What a trajectory did, line by line; with ``attention`` also what the real one loses with its last weights."""
    problem, phases = trajectory.problem, trajectory.phases
    end = number(float(trajectory.t[-1]))
    lines = [
        *caveats(trajectory.caveats),
        f"flow      {trajectory.parametrisation}, closure {trajectory.closure}, "
        f"{problem.n_tasks} tasks, {problem.n_heads} heads",
        f"time      0 to {end} = learning rate × steps; {trajectory.stop.sentence}",
        f"loss      {number(float(trajectory.loss[0]), 8)} → {number(float(trajectory.loss[-1]), 8)} "
        f"in the {trajectory.closure} closure, relative error {number(trajectory.error_estimate, 2)}",
        *([attention_summary(trajectory.real_risk)] if attention and trajectory.reliable else []),
        *allocation_summary(trajectory),
    ]
    if not trajectory.reliable:
        return lines
    for name, title in _PHASES.items():
        value = getattr(phases, name)
        lines.append(f"{title}: {phases.reasons[name] if value is None else number(value, 5)}")
    lines += [f"event     {event}" for event in trajectory.events[:_MOST_EVENTS] if event.task is not None]
    return lines


def attention_summary(real: RealRisk) -> str:
    """What the real attention loses with the last weights, in a line."""
    if real.value is None:
        return f"attention {real.reason}"
    return f"attention {real.shown} with the last weights (sampled), {real.beside_closure}"


def caveats(said: Iterable[str]) -> list[str]:
    """What to keep in mind, line by line."""
    return [f"warning   {caveat}" for caveat in said]


def allocation_summary(trajectory: Trajectory) -> list[str]:
    """What start and flow keep alike, which head ended with which task, and the loss that this allocation tends to."""
    if not trajectory.reliable:
        return []
    allocation, phases = trajectory.allocation, trajectory.phases
    named = f"in the {trajectory.closure} closure"
    whose = "this allocation" if phases.escape is None else "an allocation that the flow has left"
    return [
        *([f"symmetry  {trajectory.reduction}"] if trajectory.reduction else []),
        f"heads     {allocation}{'; heads are shared' if allocation.shared else ''}",
        *([f"limit     {number(phases.limit, 10)}, of {whose}, {named}"] if phases.limit is not None else []),
    ]


def answer(trajectory: Trajectory, comparison: Comparison, verification: Verification) -> list[str]:
    """The result of the main job in a few sentences."""
    from ..numerics.comparison.balance import balance_caveat

    problem, phases = trajectory.problem, trajectory.phases
    heads = f"{problem.n_heads} head{'s' if problem.n_heads > 1 else ''}"
    end = float(trajectory.loss[-1])
    flow = (
        f"In the {trajectory.closure} closure the loss falls from {number(float(trajectory.loss[0]), 4)} to "
        f"{number(end)} at t = {number(float(trajectory.t[-1]))}. "
    )
    if trajectory.doubt is not None:
        flow = f"{trajectory.doubt}. As computed, i{flow[1:].rstrip()}"
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
        levels = (
            f"In the {comparison.closure} closure the best of a single head is {number(single)}; "
            f"{losses['multi_head_optimum'].reason}."
        )
    else:
        levels = (
            f"In the {comparison.closure} closure the best any weights with {heads} can do is {number(best)}, the "
            f"bound for any number of heads {number(bound)}, the best of a single head {number(single)}; no predictor "
            f"from the context loses less than the Bayes risk, {number(losses['bayes'].value)}."
        )
    kept = [f"{sentence[0].upper()}{sentence[1:]}." for sentence in [balance_caveat(trajectory)] if sentence]
    return [flow, *kept, *_attention_sentence(comparison), levels, verification.sentence]


def _attention_sentence(comparison: Comparison) -> list[str]:
    """What the real attention loses; nothing where that was not asked for."""
    real = comparison.real
    if real is None:
        return []
    if real.value is None:
        return [f"What the real softmax attention loses with these weights was {real.reason}."]
    return [f"Real softmax attention with the weights at the end loses {real.shown} (sampled), {real.beside_closure}."]
