"""The constant of the late law at a realised limit: K of 𝓛(t) − 𝓛_∞ ~ K/t² from the weights themselves."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from sympy import Float

from ...theory.closed_form import to_float
from ...theory.errors import InputError
from ...theory.flows.coordinates import to_log
from ...theory.flows.flow import gradient_flow
from ...theory.phases.convergence import convergence_law
from ..code import compile_system
from ..problem.initial import InitialState
from ..problem.kinds import takes
from ..problem.problem import FloatArray, Problem

_GONE: Final = 1e-9  # share of a task that is learnt: off-task μ dies exponentially, so a true limit is far below
_SETTLED: Final = 0.01  # change of log μ per change of log ω at which the spread of a task is said to stand


@takes(problem="Problem")
def late_constant(problem: Problem, mu: ArrayLike, omega: ArrayLike) -> float:
    """K of the balanced flow that is at these weights, in units of loss × (learning rate × steps)².

    Heads may host several tasks. Where a task is spread over heads of its own (possible for H > I) the head with the
    least power is the slowest and rules; the law holds once the others have fallen behind it.

    Parameters
    ----------
    problem
        The numbers of the problem.
    mu, omega
        Positive weights late on a trajectory, shape (I, H).

    Raises ``InputError`` where heads share tasks in another way, and where the spread of a task still moves: a head
    whose off-task ω is too large for its part of the task leaves it, like a power of t, and K then depends on the
    start.

    Derived here: `headflow.theory.phases.convergence`.
    """
    state = InitialState(mu=mu, omega=omega)
    state.check(problem, "merged")
    serves = state.mu * state.omega > _GONE
    powers = _powers(problem, np.where(serves, state.mu, 0.0))
    total = 0.0
    for heads in sorted({tuple(int(head) for head in np.flatnonzero(row)) for row in serves}):
        if not heads:  # tasks that every optimum leaves out: each head sees their ω
            continue
        hosted = [task for task in range(problem.n_tasks) if serves[task, list(heads)].any()]
        if len(heads) > 1:
            if len(hosted) > 1:
                raise InputError(f"heads {_counted(heads)} share the tasks {_counted(hosted)}: no allocation")
            _check_settled(problem, state, hosted[0], heads)
        away = [task for task in range(problem.n_tasks) if task not in hosted]
        total += to_float(convergence_law().of_power(problem, Float(powers[list(heads)].min()), away))
    return total


def _check_settled(problem: Problem, state: InitialState, task: int, heads: tuple[int, ...]) -> None:
    velocity = compile_system(to_log(gradient_flow("balanced"))).velocity.bind(problem.float_values())
    tiny = np.finfo(np.float64).tiny
    logs = np.log(np.maximum([state.mu, state.omega], tiny))
    rates = np.abs(velocity(logs.ravel()).reshape(logs.shape))
    for head in heads:
        creep = np.delete(rates[1, :, head], task)
        if len(creep) and rates[0, task, head] > _SETTLED * creep.max():
            raise InputError(
                f"task {task + 1} is spread over heads {_counted(heads)} and its part on head {head + 1} still moves"
            )


def _counted(places: tuple[int, ...] | list[int]) -> str:
    return ", ".join(str(place + 1) for place in places)


def _powers(problem: Problem, mu: FloatArray) -> FloatArray:
    """M_hh per head."""
    kernel = compile_system(gradient_flow("balanced")).named(("M",)).bind(problem.float_values())
    heads = problem.n_heads
    flat = np.concatenate([mu.ravel(), np.zeros(mu.size)])
    return np.asarray(kernel(flat).reshape(heads, heads).diagonal())
