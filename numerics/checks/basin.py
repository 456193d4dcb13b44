"""The proof that flows end at their allocation: a trapping region, and a flow bounded until it is there."""

from __future__ import annotations

from fractions import Fraction

from ...theory.errors import InputError
from ..certificates import Arithmetic, Certified
from ..certificates.basin import RADII, certify_convergence
from ..certificates.boxes import Range
from ..certificates.trapping import NotTrapping, TrappingRegion, trapping_region
from ..problem.initial import InitialState
from ..problem.problem import Problem
from .finding import Finding, Setting, enclosed

# Off-task weights of the box are so much over the largest d; the longest time that a flow is followed.
OFF_TASK_MU, OFF_TASK_OMEGA = Fraction(1, 10**5), Fraction(1, 50)
LONGEST = 1e3


def ends_at_its_allocation(setting: Setting) -> Finding:
    """A box around the limit of two tasks that traps the flow; unless quick, one task's flow bounded from its start.

    What is not shown is left undecided: a flow may converge without ever being in a box that was proved.  And what is
    shown is a part of the statement, which is about small random starts: it does not decide that it holds.
    """
    problems = [setting.allocated(2)]
    claims = [_trapped(problems[0], setting.kit)]
    if not setting.quick:
        one = setting.problem.subset([0], n_heads=1)
        problems.append(one)
        claims.append(_arrives(one, InitialState.random(one, seed=setting.seed), setting.kit))
    what = "claims refuted: a box traps the flow, which ends at its allocation"
    return enclosed(claims, what, whole=False, problem=tuple(problems))


def _trapped(problem: Problem, kit: Arithmetic) -> Certified:
    claim = (
        f"every balanced flow from the box (dims {problem.dims}, L = {problem.context_length}, H = {problem.n_heads}) "
        "converges to the allocation limit; upper: the logarithmic norm"
    )
    mu, omega = (Fraction(max(problem.dims)) ** -1 * unit for unit in (OFF_TASK_MU, OFF_TASK_OMEGA))
    for radius in RADII:
        try:
            region = trapping_region(problem, range(problem.n_tasks), radius, mu, omega, kit)
        except NotTrapping:
            continue
        return Certified(claim, _box(region), None, region.log_norm, True, 1, kit.name)
    return Certified(claim, (), None, None, None, len(RADII), kit.name)


def _arrives(problem: Problem, initial: InitialState, kit: Arithmetic) -> Certified:
    start = f"mu = {initial.mu.tolist()}, omega = {initial.omega.tolist()}"
    claim = f"the balanced flow of the first task from {start} comes into the box; lower, upper: the time"
    try:
        found = certify_convergence(problem, initial, LONGEST, kit=kit)
    except InputError:
        return Certified(claim, (), None, None, None, 0, kit.name)
    entry = Fraction(found.tube.t_final)
    return Certified(claim, _box(found.region), Fraction(0), entry, True, found.tube.steps, kit.name)


def _box(region: TrappingRegion) -> tuple[tuple[str, Range], ...]:
    """Shares μ ω and ω on task, by task and head from one; what holds off task where there is any."""
    on_task = [
        (f"{name}[{task}, {region.allocation[task - 1] + 1}]", ends)
        for name, ranges in (("share", region.share), ("omega", region.omega))
        for task, ends in enumerate(ranges, start=1)
    ]
    zero = Fraction(0)
    off_task = [("mu off task", (zero, region.largest_mu)), ("omega off task", (zero, region.largest_omega))]
    return (*on_task, *(off_task if len(region.allocation) > 1 else ()))
