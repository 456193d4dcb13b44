"""Owns the members of an ensemble: integrated twice, compared, and described, whatever happens to them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Final, TypeAlias

import numpy as np

from ...theory.errors import InputError, IntegrationError
from ..allocation import CLEAR, Allocation, busiest
from ..codegen.native import native_system
from ..disturbance import disturbance
from ..dynamics import Chart, Dynamics, apart
from ..initial import InitialState
from ..integrate import ROUNDING, TIGHTEST, integrate_silently
from ..near_ties import compared_starts, may_be_near
from ..phases import before_emergence, phases_of
from ..problem import FloatArray, Problem
from ..reference import estimated_limit, realised_limit
from ..reliability import TIGHTER, doubt_about
from ..solvers import CAREFUL_GROWTH, GROWTH, MAX_EVALUATIONS, absolute_tolerance
from ..stop import DISAGREEMENT, StopReason
from ..ties import codes_of, ties_of
from ..trajectory import Trajectory
from . import batched, loops
from .native import MAKING, Integrator, integrator
from .stepping import FAILURES

BACKENDS: Final = ("llvm", "jax", "scipy")
BAD_INPUT: Final = "bad_input"
Member: TypeAlias = tuple[Problem, InitialState]
_Groups: TypeAlias = tuple[tuple[int, ...], ...]


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
        Per task its 0-based head, −1 where no head does 90 % of its work, or the member failed or is not reliable.
    emergence
        T_0, the time of half the drop to the limit of the allocation; NaN where there is none, for a member that
        failed, and where the other integration ends in another allocation.
    error
        Estimated relative error of loss, μ and ω at the end: the distance between two integrations.
    reduction
        As `Trajectory.reduction`.
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
    reduction: str = ""


@dataclass(frozen=True)
class Task:
    """What every member is asked for, and by which of `BACKENDS`."""

    parametrisation: str
    closure: str
    t_final: float
    rtol: float
    backend: str

    def outcomes(self, members: Sequence[Member]) -> list[Outcome]:
        """Integrate members of equal shape; what goes wrong with one is part of its outcome, not raised."""
        with np.errstate(all="ignore"):
            if self.backend == "scipy":
                return [self._guarded(self._by_scipy, *member) for member in members]
            startable = [self._startable(*member) for member in members]
            fit = [member for member, good in zip(members, startable, strict=True) if good]
            done = iter(self._together(fit) if fit else ())
            return [
                next(done) if good else self._guarded(self._refused, *member)
                for member, good in zip(members, startable, strict=True)
            ]

    def _guarded(self, integrated: Callable[[Problem, InitialState], Outcome], *member: Any) -> Outcome:
        problem, initial = member
        try:
            initial.check(problem, self.parametrisation)
            return integrated(problem, initial)
        except (InputError, IntegrationError, ArithmeticError) as error:
            nothing = np.full((problem.n_tasks, problem.n_heads), np.nan)
            heads = (-1,) * problem.n_tasks
            return Outcome(BAD_INPUT, str(error), nothing, nothing, 0.0, np.nan, heads, np.nan, np.inf)

    def _startable(self, problem: Problem, initial: InitialState) -> bool:
        """Whether `InitialState.check` finds no fault; a tenth of its time."""
        mu, omega = initial.mu, initial.omega
        return (
            mu.shape == (problem.n_tasks, problem.n_heads)
            and (self.parametrisation == "split" or not initial.imbalance.any())
            and (self.parametrisation != "balanced" or min(mu.min(), omega.min()) > 0)
        )

    def _refused(self, problem: Problem, initial: InitialState) -> Outcome:
        """Raise what `integrate` raises, naming what overflows at the start."""
        Dynamics(problem, initial, self.parametrisation, self.closure).check()
        raise InputError("the initial mu and omega are too large: the velocity of the flow overflows float64")

    def _by_scipy(self, problem: Problem, initial: InitialState) -> Outcome:
        what, detail = (problem, initial, self.parametrisation, self.closure), ""
        try:  # caveats are told for the whole ensemble
            run = integrate_silently(*what, t_final=self.t_final, rtol=self.rtol)
        except IntegrationError as error:
            if not isinstance(error.partial, Trajectory):
                raise
            run, detail = error.partial, str(error)
        final, distance = run.final, float(run.error[-1])
        stop = run.stop
        if stop in (StopReason.REACHED_T_FINAL, StopReason.UNRELIABLE, StopReason.DISAGREEMENT):
            stop, detail = _judged(distance), ""  # of an ensemble only ends are kept
        emergence = phases_of(run).emergence if stop.completed else None
        heads = tuple(-1 if head is None else head for head in final.allocation.heads)
        return Outcome(
            status=stop.value,
            detail=detail or _detail(stop),
            mu=final.mu,
            omega=final.omega,
            t=final.t,
            loss=final.loss,
            heads=heads if stop.completed else (-1,) * problem.n_tasks,
            emergence=math.nan if emergence is None else emergence,
            error=distance,
            reduction=run.reduction,
        )

    def _together(self, members: Sequence[Member]) -> list[Outcome]:
        flows = _Flows(members, self)
        unwatched = np.full(len(members), np.nan)
        coarse, *others = (flows.run(self.rtol, unwatched, starts, checking=True) for starts in flows.compared_starts)
        aims = flows.groups(coarse)
        careful = max(self.rtol / TIGHTER, TIGHTEST)
        tight = flows.run(careful, flows.levels(coarse, aims), flows.start)
        came = [aim == groups for aim, groups in zip(aims, flows.groups(tight), strict=True)]
        runs = (coarse, *others)
        errors = np.max([tight.errors(run) for run in runs], axis=0)
        best, shares = busiest(tight.weights[:, 0], tight.weights[:, 1])
        heads = np.where(shares >= CLEAR, best, -1).tolist()
        outcomes = []
        for place, (member, ties) in enumerate(zip(members, flows.ties, strict=True)):
            if tight.status[place] == loops.UNSOUND:
                outcomes.append(self._guarded(self._refused, *member))
                continue
            failures = (FAILURES.get(run.status[place]) for run in (tight, *runs))
            failure = next((failure for failure in failures if failure), None)
            error = math.inf if failure else float(errors[place])
            stop = failure or _judged(error)
            outcomes.append(
                Outcome(
                    status=stop.value,
                    detail=_detail(stop),
                    mu=tight.weights[place, 0],
                    omega=tight.weights[place, 1],
                    t=float(tight.t[place]),
                    loss=float(tight.loss[place]),
                    heads=tuple(heads[place]) if stop.completed else (-1,) * len(heads[place]),
                    emergence=float(tight.emergence[place]) if stop.completed and came[place] else math.nan,
                    error=error,
                    reduction="" if ties is None else str(ties),
                )
            )
        return outcomes


def _judged(error: float) -> StopReason:
    """How a member ended that came to t_final, by its error there."""
    if not error < DISAGREEMENT:
        return StopReason.DISAGREEMENT
    return StopReason.REACHED_T_FINAL if doubt_about(error) is None else StopReason.UNRELIABLE


def _detail(stop: StopReason) -> str:
    return "" if stop.completed else f"{stop.sentence} {stop.remedy}"


@dataclass(frozen=True, eq=False)
class _Ends:
    """Where members ended and when they crossed a level; the statuses of `loops`, weights of shape (…, 2, I, H).

    ``beside`` is where the embedded formula of the last step ends.
    """

    status: list[int]
    t: FloatArray
    loss: FloatArray
    start_loss: FloatArray
    emergence: FloatArray
    weights: FloatArray
    beside_loss: FloatArray
    beside: FloatArray

    def errors(self, other: _Ends) -> FloatArray:
        """Estimated relative errors: the distance to the other run's ends or, if larger, to the states beside.

        Where a flow converges, errors made early die out, and two runs are as near to each other as the chance lengths
        of their last steps have it: then the last step's own error is what is left.
        """
        loss, weights = np.stack([other.loss, self.beside_loss]), np.stack([other.weights, self.beside])
        found: FloatArray = apart(loss, weights, self.loss, self.weights)[1].max(axis=0) + ROUNDING
        return found


class _Flows:
    """The flows of members of equal shape, compiled by LLVM or JAX."""

    def __init__(self, members: Sequence[Member], task: Task) -> None:
        self._problems, self._task = [problem for problem, _ in members], task
        self._shape = members[0][1].mu.shape
        known = {id(problem): problem.float_values() for problem in self._problems}
        self._values = each = [known[id(problem)] for problem in self._problems]
        values: dict[str, float | FloatArray] = {name: np.array([one[name] for one in each]) for name in each[0]}
        weights = np.array([(initial.mu, initial.omega) for _, initial in members])
        imbalance = np.array([initial.imbalance for _, initial in members])
        near = may_be_near(weights, imbalance)
        self.ties = [
            ties_of(*member, task.parametrisation) if candidate else None
            for member, candidate in zip(members, near, strict=True)
        ]
        self._codes = codes_of(self.ties, weights[0].size)
        with MAKING:  # the first one derives
            self._chart = Chart.of_arrays(values, weights, imbalance, task.parametrisation, task.closure)
        self.start = self._chart.start
        self.compared_starts = [self.start]
        for place in np.flatnonzero(near).tolist():
            sides = compared_starts(*members[place], task.parametrisation, self.start[place])
            if len(sides) > 1:
                if len(self.compared_starts) == 1:
                    self.compared_starts = [self.start.copy(), self.start.copy()]
                for starts, side in zip(self.compared_starts, sides, strict=True):
                    starts[place] = side

    def run(self, rtol: float, levels: FloatArray, starts: FloatArray, checking: bool = False) -> _Ends:
        chart, growth, pushes = replace(self._chart, start=starts), CAREFUL_GROWTH, np.zeros(starts.shape)
        if checking:
            growth, pushes = GROWTH, disturbance(starts)
        atols = np.array([absolute_tolerance(rtol, chart.log, start) for start in starts])
        tolerances, ways = (rtol, atols, levels, MAX_EVALUATIONS), (growth, pushes)
        if self._task.backend == "jax":
            weights, reports = batched.follow(chart, self._codes, self._shape, self._task.t_final, *tolerances, *ways)
        else:
            weights, reports = self._by_loops(starts, (*tolerances, *ways))
        status, t, loss, start_loss, emergence, beside_loss = reports.T
        ends, beside = weights.reshape(2, len(status), 2, *self._shape)
        return _Ends([int(one) for one in status], t, loss, start_loss, emergence, ends, beside_loss, beside)

    def _by_loops(self, starts: FloatArray, how: tuple[Any, ...]) -> tuple[FloatArray, FloatArray]:
        made, values = self._bound
        states, weights, reports = starts.copy(), np.empty((2, *starts.shape)), np.empty((len(starts), 6))
        made.follow(
            *(values, self._codes, self._task.t_final, self._chart.log, *how),
            *(states, *weights, reports),
        )
        return weights, reports

    @cached_property
    def _bound(self) -> tuple[Integrator, FloatArray]:
        """The integrator, and the members' parameters."""
        with MAKING:
            own = native_system(self._chart.system, I=self._shape[0], H=self._shape[1])
            return integrator(own), own.bound_members(self._chart.values, len(self._problems))

    def groups(self, ends: _Ends) -> list[_Groups | None]:
        """Per member the groups of tasks that have one head; None where it has not ended in an allocation."""
        found: list[_Groups | None] = [None] * len(self._problems)
        best, shares = busiest(ends.weights[:, 0], ends.weights[:, 1])
        clear = np.all(shares >= CLEAR, axis=1)
        for place, heads in enumerate(best.tolist()):
            if ends.status[place] != loops.REACHED:
                continue
            if clear[place] and len(set(heads)) == len(heads):
                found[place] = tuple((task,) for task in range(len(heads)))
            else:
                found[place] = Allocation.of(*ends.weights[place]).limit_groups
        return found

    def levels(self, ends: _Ends, aims: Sequence[_Groups | None]) -> FloatArray:
        """Per member the loss at emergence on the way to the limit of those groups; NaN where there is none."""
        found = np.full(len(self._problems), np.nan)
        for place, groups in enumerate(aims):
            limit = math.inf if groups is None else self._limit(place, groups)
            start = before_emergence(self._problems[place], float(ends.start_loss[place]))
            if limit < start:
                found[place] = (start + limit) / 2
        return found

    def _limit(self, place: int, groups: _Groups) -> float:
        try:
            if self._task.closure == "leading":
                return estimated_limit(self._values[place], groups)
            return _searched_limit(self._problems[place], groups, self._task.closure)
        except (ValueError, ArithmeticError):  # outside a hypothesis there is no limit to have half the way to
            return math.nan


_searched_limit = lru_cache(maxsize=4096)(realised_limit)
