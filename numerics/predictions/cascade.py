"""The cascade's numbers: all emergence times and winners from an initial state, without the full flow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from typing import Any, Final, Literal

import numpy as np
from scipy.integrate import solve_ivp
from scipy.linalg import norm  # BLAS: no square leaves the range of float64
from sympy import Expr, Integer

from ...theory.brief import Brief
from ...theory.errors import InputError, IntegrationError
from ...theory.flows.coordinates import to_log
from ...theory.indexed import substitute, unroll
from ...theory.notation import h, over_heads
from ...theory.optima.optimum import multi_head_optimum
from ...theory.parameters import PARAMETERS
from ...theory.phases.cascade import cascade_flow
from ..code import CompiledSystem, compile_system, formula
from ..flows.allocation import CLEAR
from ..problem.initial import InitialState
from ..problem.problem import FloatArray, Problem
from ..runtime.progress import stage
from ..solving.solvers import LARGE_STATE

_RTOL: Final = 1e-10
_NEAR: Final = 1e-9  # the flow has blown up when the time left is this share of the time passed
# It never will when all rates have fallen to this share of the first, and of what strong noise makes of them: their
# decay is by a factor like c faster than the growth that follows.
_FADED: Final = 1e-40
_MOST_EVALUATIONS: Final = 50_000
# Weights moved from emergence to emergence, of all waiting tasks: some three minutes.
_MOST_MOVED: Final = 4e7
# In e-foldings of the weights. A blow-up is reached within some hundred, but a head that dies meanwhile can take its
# weights through any number of them.
_LONGEST: Final = 1e9


@dataclass(frozen=True, repr=False)
class Cascade(Brief):
    """When each task emerges and on which head, to leading order in the scale of the initial state.

    Attributes
    ----------
    times
        Per task its emergence time, learning rate × steps; None if it emerges on no head.
    winners
        Per task the 0-based head that takes it, None if there is none or if the task is driven off again.
    plain
        Per task its blow-up time with no head occupied: ``times`` if tasks did not see each other.
    order
        The tasks in the order in which they emerge.
    reasons
        For each task (0-based) without time or winner, why.

    Examples
    --------
    >>> problem = Problem(dims=[10] * 3, signal_power=[1] * 3, noise_variance=0.1, context_length=100, n_heads=3)
    >>> found = cascade(problem, InitialState.random(problem, scale=1e-3))
    >>> print(found)
    task 2 emerges at t = 1272.49 on head 3
    task 1 emerges at t = 1276.63 on head 1
    task 3 emerges at t = 1303.52 on head 2
    >>> found.shared
    False
    """

    times: tuple[float | None, ...]
    winners: tuple[int | None, ...]
    plain: tuple[float | None, ...]
    order: tuple[int, ...]
    reasons: Mapping[int, str] = field(default_factory=dict)

    @property
    def shared(self) -> bool:
        """Whether two tasks have one head."""
        taken = [head for head in self.winners if head is not None]
        return len(set(taken)) < len(taken)

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Per occupied head, in the heads' order, the 0-based tasks it has."""
        occupied = sorted({head for head in self.winners if head is not None})
        return tuple(tuple(task for task, head in enumerate(self.winners) if head == one) for one in occupied)

    def to_json(self) -> dict[str, Any]:
        """The attributes by name; heads and tasks counted from 0."""
        return {
            "times": list(self.times),
            "winners": list(self.winners),
            "plain": list(self.plain),
            "order": list(self.order),
            "shared": self.shared,
            "groups": [list(group) for group in self.groups],
            "reasons": {str(task): reason for task, reason in self.reasons.items()},
        }

    def text(self) -> str:
        """In words, in order of time; heads and tasks counted from 1."""
        lines = []
        for task in self.order:
            head = self.winners[task]
            where = self.reasons[task] if head is None else f"on head {head + 1}"
            lines.append(f"task {task + 1} emerges at t = {self.times[task]:.6g} {where}")
        waiting = [task for task in range(len(self.times)) if task not in self.order]
        return "\n".join([*lines, *(f"task {task + 1} does not emerge: {self.reasons[task]}" for task in waiting)])

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return f"<pre>{self}</pre>"


def cascade(problem: Problem, initial: InitialState) -> Cascade:
    """Follow the waiting tasks from emergence to emergence; derived here, see `headflow.theory.phases.cascade`.

    Between two emergences the truncated balanced flow of the waiting tasks is integrated to its blow-up. The task
    that blows up goes to its winner, whose interaction and power change the flow of the others.  Times are right up
    to a term that stays bounded as the scale of the initial state goes to 0; winners in the limit of small scales.

    Parameters
    ----------
    problem
        Any numbers of tasks and heads.
    initial
        Small positive arrays of shape (I, H).

    Raises
    ------
    InputError
        For an initial state that the balanced flow cannot start from, and where heads tie for a task: then no head
        wins.
    IntegrationError
        If the truncated flow cannot be followed.
    """
    initial.check(problem, "balanced")
    # The truncated flow is quadratic, so that weights, like signal powers, can be measured in units of their largest:
    # then neither tiny starts nor huge powers leave the range of float64.
    strongest = max(problem.signal_power)
    scaled = problem.in_units_of(strongest)
    logs = np.log(np.stack([initial.mu, initial.omega]))
    largest = float(logs.max())
    logs -= largest
    follow = _Waiting(scaled, logs)
    for number in range(1, problem.n_tasks + 1):
        with stage(f"emergence {number} of {problem.n_tasks} in the cascade"):
            if not follow.advance():
                break

    def in_time(scaled_time: float | None) -> float | None:
        """Learning rate × steps."""
        if scaled_time is None:
            return None
        try:
            return math.exp(math.log(scaled_time) - largest - math.log(strongest))
        except OverflowError:
            raise InputError("an emergence time is beyond the range of float64: start from larger weights") from None

    with stage("emergence of each task alone"):
        plain = tuple(in_time(_alone(scaled, logs, task)) for task in range(problem.n_tasks))
    return Cascade(
        times=tuple(in_time(follow.times.get(task)) for task in range(problem.n_tasks)),
        winners=tuple(follow.winners.get(task) for task in range(problem.n_tasks)),
        plain=plain,
        order=tuple(follow.times),
        reasons=follow.reasons,
    )


def cascade_takes_long(problem: Problem) -> bool:
    """Whether `cascade` takes longer than some minutes, which grow like I² H."""
    return problem.n_tasks**2 * problem.n_heads > _MOST_MOVED


class _Waiting:
    """The tasks that wait, their small weights, and the heads that are occupied."""

    def __init__(self, problem: Problem, logs: FloatArray) -> None:
        self.problem = problem
        self.t = 0.0
        self.waiting = list(range(problem.n_tasks))
        self.logs = logs
        self.hosted: list[tuple[int, ...]] = [()] * problem.n_heads
        self.times: dict[int, float] = {}
        self.winners: dict[int, int] = {}
        self.reasons: dict[int, str] = {}

    def advance(self) -> bool:
        """Go to the next emergence; False if there is none."""
        found = _blow_up(self.problem, self.waiting, self.logs, self.hosted, self.t)
        if found is None:
            taken = "every head that it could grow on is taken by stronger tasks"
            self.reasons |= dict.fromkeys(self.waiting, taken)
            return False
        self.t, self.logs, place, head = found
        task = self.waiting.pop(place)
        self.logs = np.delete(self.logs, place, axis=1)
        self.times[task], self.winners[task] = self.t, head
        group = (*self.hosted[head], task)
        kept = _supported(self.problem, group)
        for driven in set(group) - set(kept):
            del self.winners[driven]
            self.reasons[driven] = f"on head {head + 1}, and is driven off when task {task + 1} comes there"
        self.hosted[head] = kept
        return True


def _alone(problem: Problem, logs: FloatArray, task: int) -> float | None:
    found = _blow_up(problem, [task], logs[:, [task]], [()] * problem.n_heads, 0.0)
    return None if found is None else found[0]


def _blow_up(
    problem: Problem, tasks: Sequence[int], logs: FloatArray, hosted: Sequence[tuple[int, ...]], start: float
) -> tuple[float, FloatArray, int, int] | None:
    """The next blow-up of waiting tasks: its time, log weights (2, tasks, H) there, place of the task, its head.

    The independent variable is the arc length s in log weights: dy/ds = v/|v|, dt/ds = 1/|v|.  Then a blow-up is
    approached exponentially and every step is of one size.  Many variables get explicit steps, whose memory is linear:
    the matrix of LSODA has 51 GB for 200 tasks and heads.
    """
    part = problem.subset(tasks, n_heads=problem.n_heads)
    values = {
        **part.float_values(),
        "d_e": float(problem.embedding_dim),
        "E": np.array([np.e if group else 1.0 for group in hosted]),
        "P": np.array([occupied_power(problem, group) for group in hosted]),
    }
    velocity = _code().velocity.bind(values)
    unit = 1.0 / float(norm(velocity(logs.ravel())))  # of time, whose error the solver controls
    # As a logarithm, which noise of any size leaves in the range of float64.
    shares = (math.log(power) - math.log(power + problem.noise_variance) for power in part.signal_power)
    gone = math.log(_FADED) + min(shares)

    def moving(y: FloatArray) -> tuple[FloatArray, float]:
        moved = velocity.evaluate(y[:-1], unit)
        return moved, float(norm(moved))

    def speed(y: FloatArray) -> float:
        return moving(y)[1]

    evaluations = count()

    def slope(_: float, y: FloatArray) -> FloatArray:
        # Where weights move at paces that differ by more than rounding shows, no step is ever small enough.
        if next(evaluations) > _MOST_EVALUATIONS:
            most = f"within {_MOST_EVALUATIONS} evaluations of its velocity"
            raise IntegrationError(f"the truncated flow could not be followed to its blow-up {most}")
        moved, pace = moving(y)
        return np.append(moved, 1.0) / pace

    def blown_up(_: float, y: FloatArray) -> float:
        return float(np.log(speed(y) * (start / unit + y[-1] + 1.0) * _NEAR))

    def faded(_: float, y: FloatArray) -> float:
        return float(np.log(speed(y))) - gone

    blown_up.terminal = faded.terminal = True  # type: ignore[attr-defined]
    y = np.append(logs.ravel(), 0.0)
    if blown_up(0.0, y) < 0:
        method: Literal["LSODA", "DOP853"] = "LSODA" if len(y) < LARGE_STATE else "DOP853"
        nothing_kept = np.empty(0)  # of what lies before the event
        events = (blown_up, faded)
        run = solve_ivp(slope, (0, _LONGEST), y, method, nothing_kept, events=events, rtol=_RTOL, atol=_RTOL)
        if run.status != 1:
            why = run.message if run.status else f"within {_LONGEST:g} e-foldings it neither blew up nor died out"
            raise IntegrationError(f"the truncated flow could not be followed to its blow-up: {why}")
        assert run.y_events is not None
        at_blow_up, died_out = run.y_events
        if len(died_out):
            return None
        y = at_blow_up[0]
    logs = y[:-1].reshape(logs.shape)
    growth = velocity(y[:-1]).reshape(logs.shape)
    place, head = (int(at) for at in np.unravel_index(int(growth[1].argmax()), growth[1].shape))
    products = np.exp(logs[:, place].sum(axis=0) - logs[:, place].sum(axis=0).max())
    if products[head] < CLEAR * products.sum():
        tied = ", ".join(str(int(one) + 1) for one in np.flatnonzero(products > 0.1 * products.max()))
        raise InputError(f"heads {tied} tie for task {tasks[place] + 1}: none of them wins")
    # On its last stretch ω grows like 1/(T − t).
    return start + float(y[-1]) * unit + 1.0 / float(growth[1, place, head]), logs, place, head


@cache
def _code() -> CompiledSystem:
    return compile_system(to_log(cascade_flow().system))


@cache
def occupied_power(problem: Problem, group: tuple[int, ...]) -> float:
    """P of a head at rest with the 0-based tasks that it hosts (0 for none), from the derived closed form."""
    hosts = np.zeros((problem.n_tasks, 1))
    hosts[list(group)] = 1.0
    return formula(over_heads(cascade_flow().power.expression))({**problem.float_values(), "H": 1, "s": hosts})


def exact_power(problem: Problem, group: tuple[int, ...]) -> Expr:
    """`occupied_power` exactly."""
    hosts = [[int(task in group)] for task in range(problem.n_tasks)]
    values = {**problem.exact_values(), "H": 1, "s": hosts}
    return unroll(substitute(cascade_flow().power.expression, {h: Integer(1)}), values, PARAMETERS)


@cache
def _supported(problem: Problem, group: tuple[int, ...]) -> tuple[int, ...]:
    """The tasks of a group that one head keeps: those with a share in its optimum."""
    if len(group) == 1:
        return group
    shares = multi_head_optimum().solve(problem.subset(group, n_heads=1)).shares
    return tuple(task for task, share in zip(group, shares, strict=True) if share > 0)
