"""Owns one member of an ensemble: integrated twice, compared, and described, whatever happens to it."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from ...theory.errors import InputError, IntegrationError, ValidityWarning
from ...theory.limits import task_allocation_limit
from ..allocation import Allocation
from ..codegen.formula import formula
from ..codegen.native import native_system
from ..dynamics import Chart, Dynamics, apart
from ..initial import InitialState
from ..integrate import DISAGREEMENT, ROUNDING, TIGHTER, TIGHTEST, integrate
from ..problem import FloatArray, Problem
from ..reference import realised_limit
from ..solvers import MAX_EVALUATIONS, absolute_tolerance
from ..stop import StopReason
from ..trajectory import Trajectory
from .native import empty_records, engine
from .stepping import FAILURES, FIRST_STEP

BAD_INPUT: Final = "bad_input"


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a member.

    Attributes
    ----------
    status
        The word of a `StopReason`, or "bad_input".
    detail
        What went wrong; "" if nothing did.
    mu, omega
        The last weights that were reached, shape (I, H); NaN where there are none.
    t, loss
        When that was, and the loss there (without ½).
    heads
        Per task its 0-based head, −1 where no head does 90 % of its work.
    emergence
        T_0, the time of half the drop to the limit of the allocation; NaN where there is none.
    error
        Estimated relative error of loss, μ and ω at the end: the distance between two integrations.
    """

    status: str
    detail: str
    mu: FloatArray
    omega: FloatArray
    t: float
    loss: float
    heads: tuple[int, ...]
    emergence: float
    error: float


@dataclass(frozen=True)
class Task:
    """What every member is asked for."""

    parametrisation: str
    closure: str
    t_final: float
    rtol: float
    compiled: bool

    def outcome(self, problem: Problem, initial: InitialState) -> Outcome:
        """Integrate one member; what goes wrong with it is part of the outcome, not raised."""
        try:
            with np.errstate(all="ignore"):
                initial.check(problem, self.parametrisation)
                return self._compiled(problem, initial) if self.compiled else self._by_scipy(problem, initial)
        except (InputError, IntegrationError, ArithmeticError) as error:
            nothing = np.full((problem.n_tasks, problem.n_heads), np.nan)
            heads = (-1,) * problem.n_tasks
            return Outcome(BAD_INPUT, str(error), nothing, nothing, 0.0, np.nan, heads, np.nan, np.inf)

    def _by_scipy(self, problem: Problem, initial: InitialState) -> Outcome:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ValidityWarning)  # told for the whole ensemble
            detail = ""
            try:
                run = integrate(
                    problem, initial, self.parametrisation, self.closure, t_final=self.t_final, rtol=self.rtol
                )
            except IntegrationError as error:
                if not isinstance(error.partial, Trajectory):
                    raise
                run, detail = error.partial, str(error)
        final = run.final
        emergence = run.phases.emergence if run.completed else None
        return Outcome(
            status=run.stop.value,
            detail=detail,
            mu=final.mu,
            omega=final.omega,
            t=final.t,
            loss=final.loss,
            heads=_heads(final.allocation),
            emergence=math.nan if emergence is None else emergence,
            error=float(run.error[-1]),
        )

    def _compiled(self, problem: Problem, initial: InitialState) -> Outcome:
        flow = _Flow(problem, initial, self)
        if not flow.sound:
            Dynamics(problem, initial, self.parametrisation, self.closure).check()  # names what overflows
        coarse, _, failure = flow.run(self.rtol, math.nan)
        level = flow.level(coarse) if failure is None else math.nan
        end, position, tight_failure = flow.run(max(self.rtol / TIGHTER, TIGHTEST), level)
        loss, weights = flow.loss(end), flow.weights(end)
        error = math.inf
        if failure is None and tight_failure is None:
            error = apart(flow.loss(coarse), flow.weights(coarse), loss, weights)[1] + ROUNDING
        stop = tight_failure or failure or StopReason.REACHED_T_FINAL
        if stop.completed and not error < DISAGREEMENT:
            stop = StopReason.DISAGREEMENT
        mu, omega = weights
        return Outcome(
            status=stop.value,
            detail="" if stop.completed else f"{stop.sentence} {stop.remedy}",
            mu=mu,
            omega=omega,
            t=self.t_final if tight_failure is None else float(flow.unit * math.expm1(position[0])),
            loss=loss,
            heads=_heads(Allocation.of(mu, omega)),
            emergence=float(flow.unit * math.expm1(position[2])),
            error=error,
        )


class _Flow:
    """One member's flow in compiled loops."""

    def __init__(self, problem: Problem, initial: InitialState, task: Task) -> None:
        self._problem, self._task = problem, task
        chart = Chart.of(problem, initial, task.parametrisation, task.closure)
        self._chart, self._shape = chart, (problem.n_tasks, problem.n_heads)
        self._native = native_system(chart.system)
        self._values = self._native.bound(chart.values, *self._shape)
        self._work = np.empty(self._native.sizes(*self._shape)[2])
        speeds = self._call(self._native.velocity, chart.start, len(chart.start))
        self._start_loss = self.loss(chart.start)
        self.sound = bool(np.isfinite(speeds).all()) and math.isfinite(self._start_loss)
        largest = 1.0 if chart.log else float(np.abs(chart.start).max())
        fastest = float(np.abs(speeds).max())
        rate = fastest / largest if largest else fastest
        longest = task.t_final
        self.unit = min(max(1 / rate, longest * 1e-300), longest) if rate > 0 else longest

    def run(self, rtol: float, level: float) -> tuple[FloatArray, FloatArray, StopReason | None]:
        """The last state, the position (see `loops.advance`) and the failure, if there was one."""
        end = math.log1p(self._task.t_final / self.unit)
        y = self._chart.start.copy()
        atol = absolute_tolerance(rtol, self._chart.log, self._chart.start)
        position = np.array([0.0, min(FIRST_STEP, end), np.nan, self._start_loss])
        status = engine().advance(
            *(*self._native.callbacks, *self._shape, self._values, self._work),
            *(self.unit, end, rtol, atol, level, MAX_EVALUATIONS, y, position),
            *(np.zeros(4, np.int64), *empty_records(0, len(y))),
        )
        return y, position, FAILURES.get(int(status))

    def level(self, y: FloatArray) -> float:
        """The loss at emergence on the way to the allocation at ``y``; NaN where it has no limit."""
        groups = Allocation.of(*self.weights(y)).limit_groups
        if groups is None:
            return math.nan
        limit = _limit(self._problem, groups, self._task.closure)
        return (self._start_loss + limit) / 2 if limit < self._start_loss else math.nan

    def loss(self, y: FloatArray) -> float:
        return float(self._call(self._native.loss, y, 1)[0])

    def weights(self, y: FloatArray) -> FloatArray:
        return self._call(self._native.weights, y, 2 * self._shape[0] * self._shape[1]).reshape(2, *self._shape)

    def _call(self, function: object, y: FloatArray, size: int) -> FloatArray:
        out = np.empty(size)
        function(*self._shape, self._values, y, self._work, out)  # type: ignore[operator]
        return out


@lru_cache(maxsize=4096)
def _limit(problem: Problem, groups: tuple[tuple[int, ...], ...], closure: str) -> float:
    """`realised_limit`; by the allocation limit's own generated code where no head is shared (much faster)."""
    if closure == "leading" and all(len(group) == 1 for group in groups):
        return formula(task_allocation_limit().loss.expression)(problem.float_values())
    try:
        return realised_limit(problem, groups, closure)
    except ValueError:  # outside a hypothesis there is no limit to have half the way to
        return math.nan


def _heads(allocation: Allocation) -> tuple[int, ...]:
    return tuple(-1 if head is None else head for head in allocation.heads)
