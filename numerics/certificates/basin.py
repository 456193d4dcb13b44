"""The proof that a flow ends at its allocation: the bound on the trajectory until it is in a trapping region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from ...theory.errors import InputError
from ..problem.kinds import takes
from .endpoints import Arithmetic, arithmetic
from .trajectory import TrajectoryCertificate, certified_states
from .trapping import NotTrapping, TrappingRegion, trapping_region

if TYPE_CHECKING:
    from ..problem.initial import InitialState
    from ..problem.problem import Problem

# Distances of log ω from its limit that are tried, and how much larger than the tube off-task weights may be.
RADII = (Fraction(1, 100), Fraction(1, 50), Fraction(1, 30), Fraction(1, 20), Fraction(1, 10))
ROOM = Fraction(9, 8)
# The region is looked for each time that the flow has gone on by this factor.
PATIENCE = 1.25


@dataclass(frozen=True)
class ConvergenceCertificate:
    """The exact balanced flow (leading closure) from a start converges to the task-allocation limit.

    At ``tube.t_final`` (learning rate × steps) every state within ``tube.radius`` of the computed one lies in the
    ``region``, which no flow leaves and in which every flow converges to the limit of ``region.allocation``.
    """

    tube: TrajectoryCertificate
    region: TrappingRegion


@takes(problem="Problem", initial="InitialState")
def certify_convergence(
    problem: Problem,
    initial: InitialState,
    t_final: float,
    allocation: Sequence[int] | None = None,
    kit: Arithmetic | None = None,
) -> ConvergenceCertificate:
    """Prove that the flow from a start ends at an allocation (default: the one that it realises).

    For small problems with as many heads as tasks: I·H ≤ 4.  Raises ``InputError`` where the flow was not shown to
    enter a trapping region by ``t_final``, with the reason, and as `certify_trajectory` does.
    """
    kit = kit or arithmetic()
    why, again = "no step was made", 0.0
    for reached in certified_states(problem, initial, t_final, kit):
        if reached.time < again and reached.time < t_final:
            continue
        again = PATIENCE * reached.time
        tube = reached.certificate()
        try:
            return ConvergenceCertificate(tube, region_around(problem, tube, allocation, kit))
        except NotTrapping as reason:
            why = str(reason)
    raise InputError(f"not shown by t = {t_final:g} to be where every flow ends at one allocation: {why}")


def region_around(
    problem: Problem,
    tube: TrajectoryCertificate,
    allocation: Sequence[int] | None = None,
    kit: Arithmetic | None = None,
) -> TrappingRegion:
    """A trapping region that holds all states of a tube at its end; raises `NotTrapping` where none was found."""
    heads = tube.allocation() if allocation is None else tuple(allocation)
    known = tuple(head for head in heads if head is not None)
    if len(set(known)) < len(heads):
        raise NotTrapping(f"the tasks are not on heads of their own at t = {tube.t_final:g}")
    off = [(task, head) for task in range(len(heads)) for head in range(problem.n_heads) if heads[task] != head]
    largest_mu, largest_omega = (
        _rounded(max((ranges[task][head][1] for task, head in off), default=Fraction(0)) * ROOM)
        for ranges in (tube.mu, tube.omega)
    )
    why = ""
    for radius in RADII:
        try:
            region = trapping_region(problem, known, radius, largest_mu, largest_omega, kit)
        except NotTrapping as reason:
            why = why or str(reason)
            continue
        if region.holds(tube.mu, tube.omega):
            return region
        why = f"the flow is not yet within {float(radius):.2g} of the limit"
    raise NotTrapping(why)


def _rounded(value: Fraction) -> Fraction:
    """A short number nearby: exact ends of intervals are long."""
    return Fraction(float(value))
