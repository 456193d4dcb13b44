"""The members of an ensemble: integrated twice, compared, and described, whatever happens to them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Final, TypeAlias

import numpy as np

from ...theory.errors import InputError, IntegrationError
from ..code.native import native_system
from ..flows.allocation import CLEAR, Allocation, busiest
from ..flows.dynamics import Chart, Dynamics, apart
from ..flows.near_ties import compared_starts, may_be_near
from ..flows.ties import codes_of, ties_of
from ..optima.reference import estimated_limit, realised_limit
from ..problem.initial import InitialState
from ..problem.problem import FloatArray, Problem
from ..runtime.reliability import TIGHTER, doubt_about
from ..runtime.stop import DISAGREEMENT, StopReason
from ..solving.disturbance import disturbance
from ..solving.solvers import CAREFUL_GROWTH, GROWTH, MAX_EVALUATIONS, absolute_tolerance
from ..solving.stepping import FAILURES
from ..steps import loops
from ..steps.native import MAKING, RECORDS, Integrator, integrator
from ..trajectory.phases import before_emergence, ends_in_allocation, first_below
from ..trajectory.trajectory import Trajectory
from . import batched
from .integrate import ROUNDING, SMALLEST_RTOL, TIGHTEST, integrate_silently

BACKENDS: Final = ("llvm", "jax", "scipy")
BAD_INPUT: Final = "bad_input"
Member: TypeAlias = tuple[Problem, InitialState]
_Groups: TypeAlias = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, eq=False)
class Curves:
    """Loss (T,), estimated relative error (T,), and μ and ω (2, T, I, H) if asked for; NaN after the end of a run."""

    loss: FloatArray
    error: FloatArray
    weights: FloatArray | None

    @classmethod
    def unknown(cls, task: Task, shape: tuple[int, ...]) -> Curves:
        """Curves of what did not begin."""
        count = len(task.times)
        weights = np.full((2, count, *shape), np.nan) if task.weights else None
        return cls(np.full(count, np.nan), np.full(count, np.inf), weights)


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
    shared
        Whether two tasks have one head, or one group of tied heads; False where `heads` is not known.
    emergence
        T_0, the time of half the drop to the limit of the allocation; NaN where there is none, for a member that
        failed, and where the other integration ends in another allocation.
    error
        Estimated relative error of loss, μ and ω at the end: the distance between two integrations.
    reduction
        As `Trajectory.reduction`.
    curves
        At the times asked for.
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
    shared: bool
    curves: Curves
    reduction: str = ""


@dataclass(frozen=True)
class Task:
    """What every member is asked for, and by which of `BACKENDS`; curves at ``times``, with ``weights`` or without."""

    parametrisation: str
    closure: str
    t_final: float
    rtol: float
    backend: str
    times: tuple[float, ...] = ()
    weights: bool = False

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
            return Outcome(
                status=BAD_INPUT,
                detail=str(error),
                mu=nothing,
                omega=nothing,
                t=0.0,
                loss=math.nan,
                heads=(-1,) * problem.n_tasks,
                emergence=math.nan,
                error=math.inf,
                shared=False,
                curves=Curves.unknown(self, nothing.shape),
            )

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
            run = integrate_silently(*what, t_final=self.t_final, times=self.times, rtol=self.rtol, settled=_settled)
        except IntegrationError as error:
            if not isinstance(error.partial, Trajectory):
                raise
            run, detail = error.partial, str(error)
        final, distance = run.final, float(run.error[-1])
        stop = run.stop
        if stop in (StopReason.REACHED_T_FINAL, StopReason.UNRELIABLE, StopReason.DISAGREEMENT):
            stop, detail = _judged(distance), ""  # of an ensemble only ends are kept
        allocation = final.allocation
        heads = tuple(-1 if head is None else head for head in allocation.heads)
        level = math.nan
        if stop.completed and ends_in_allocation(self, allocation, problem.n_heads):
            level = self.level(problem, problem.float_values(), allocation.limit_groups, float(run.loss[0]))
        emergence = None if math.isnan(level) else first_below(run, level)
        asked = np.searchsorted(run.t, [t for t in self.times if t <= run.t[-1]])
        curves = Curves.unknown(self, final.mu.shape)
        curves.loss[: len(asked)], curves.error[: len(asked)] = run.loss[asked], run.error[asked]
        if curves.weights is not None:
            curves.weights[:, : len(asked)] = run.weights[:, asked]
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
            shared=stop.completed and allocation.shared,
            curves=curves,
            reduction=run.reduction,
        )

    def level(self, problem: Problem, values: Mapping[str, Any], groups: _Groups | None, start_loss: float) -> float:
        """The loss at emergence on the way to the limit of those groups; NaN where there is none."""
        if groups is None:
            return math.nan
        start = before_emergence(problem, start_loss)
        try:
            if self.closure == "leading":
                limit = estimated_limit(values, groups)
            else:
                limit = _searched_limit(problem, groups, self.closure)
        except (ValueError, ArithmeticError):  # outside a hypothesis there is no limit to have half the way to
            return math.nan
        return (start + limit) / 2 if limit < start else math.nan

    def _together(self, members: Sequence[Member]) -> list[Outcome]:
        """Those that are not reliable are made anew with smaller tolerances, as `integrate` does it."""
        outcomes = self._attempt(members)
        trying, rtol = [place for place, one in enumerate(outcomes) if one.status in _LOOSE], self.rtol
        while trying and rtol / TIGHTER >= SMALLEST_RTOL:
            rtol /= TIGHTER
            again = replace(self, rtol=rtol)._attempt([members[place] for place in trying])
            for place, one in zip(trying, again, strict=True):
                if one.status == StopReason.REACHED_T_FINAL.value:
                    outcomes[place] = one
            trying = [place for place, one in zip(trying, again, strict=True) if one.status in _LOOSE]
        return outcomes

    def _attempt(self, members: Sequence[Member]) -> list[Outcome]:
        flows = _Flows(members, self)
        unwatched = np.full(len(members), np.nan)
        coarse, *others = (flows.run(self.rtol, unwatched, starts, checking=True) for starts in flows.compared_starts)
        aims, _ = flows.ends_of(coarse)
        careful = max(self.rtol / TIGHTER, TIGHTEST)
        tight = flows.run(careful, flows.levels(coarse, aims), flows.start)
        groups, shared = flows.ends_of(tight)
        runs = (coarse, *others)
        errors = np.max([tight.errors(run) for run in runs], axis=0)
        curve_errors = np.max([tight.curve_errors(run) for run in runs], axis=0)
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
                    emergence=float(tight.emergence[place])
                    if stop.completed and aims[place] == groups[place]
                    else math.nan,
                    error=error,
                    shared=stop.completed and shared[place],
                    curves=Curves(
                        tight.curve_loss[place],
                        curve_errors[place],
                        np.moveaxis(tight.curves[place], 1, 0).copy() if self.weights else None,
                    ),
                    reduction="" if ties is None else str(ties),
                )
            )
        return outcomes


def _judged(error: float) -> StopReason:
    """How a member ended that came to t_final, by its error there."""
    if not error < DISAGREEMENT:
        return StopReason.DISAGREEMENT
    return StopReason.REACHED_T_FINAL if doubt_about(error) is None else StopReason.UNRELIABLE


_LOOSE: Final = (StopReason.UNRELIABLE.value, StopReason.DISAGREEMENT.value)


def _settled(run: Trajectory) -> bool:
    return _judged(float(run.error[-1])).completed


def _detail(stop: StopReason) -> str:
    return "" if stop.completed else f"{stop.sentence} {stop.remedy}"


@dataclass(frozen=True, eq=False)
class _Ends:
    """Where members ended and when they crossed a level; the statuses of `loops`, weights of shape (…, 2, I, H).

    ``beside`` is where the embedded formula of the last step ends; ``curves`` and ``curve_loss`` are at the times asked
    for, NaN after the end.
    """

    status: list[int]
    t: FloatArray
    loss: FloatArray
    start_loss: FloatArray
    emergence: FloatArray
    weights: FloatArray
    beside_loss: FloatArray
    beside: FloatArray
    curve_loss: FloatArray
    curves: FloatArray

    def errors(self, other: _Ends) -> FloatArray:
        """Estimated relative errors: the distance to the other run's ends or, if larger, to the states beside.

        Where a flow converges, errors made early die out, and two runs are as near to each other as the chance lengths
        of their last steps have it: then the last step's own error is what is left.
        """
        loss, weights = np.stack([other.loss, self.beside_loss]), np.stack([other.weights, self.beside])
        found: FloatArray = apart(loss, weights, self.loss, self.weights)[1].max(axis=0) + ROUNDING
        return found

    def curve_errors(self, other: _Ends) -> FloatArray:
        """Of the states at the times asked for, (members, T): the distance to the other run's; infinite if unknown."""
        found = apart(other.curve_loss, other.curves, self.curve_loss, self.curves)[1] + ROUNDING
        return np.where(np.isnan(found), np.inf, found)


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
        times = np.array(self._task.times)
        if self._task.backend == "jax":
            weights, reports, curves, curve_loss = batched.follow(
                chart, self._codes, self._shape, self._task.t_final, *tolerances, *ways, times
            )
        else:
            weights, reports, curves, curve_loss = self._by_loops(starts, (*tolerances, *ways), times)
        status, t, loss, start_loss, emergence, beside_loss = reports.T
        ends, beside = weights.reshape(2, len(status), 2, *self._shape)
        return _Ends(
            *([int(one) for one in status], t, loss, start_loss, emergence, ends, beside_loss, beside),
            *(curve_loss, curves.reshape(*curve_loss.shape, 2, *self._shape)),
        )

    def _by_loops(self, starts: FloatArray, how: tuple[Any, ...], times: FloatArray) -> tuple[FloatArray, ...]:
        made, values = self._bound
        states, weights, reports = starts.copy(), np.empty((2, *starts.shape)), np.empty((len(starts), 6))
        losses = np.full((len(starts), len(times)), np.nan)
        curves = np.full((*losses.shape, starts.shape[1]), np.nan)
        made.follow(
            *(values, self._codes, self._task.t_final, self._chart.log, *how),
            *(states, *weights, reports, times, curves, losses, *made.empty_records(RECORDS if len(times) else 0)),
        )
        return weights, reports, curves, losses

    @cached_property
    def _bound(self) -> tuple[Integrator, FloatArray]:
        """The integrator, and the members' parameters."""
        with MAKING:
            own = native_system(self._chart.system, I=self._shape[0], H=self._shape[1])
            return integrator(own), own.bound_members(self._chart.values, len(self._problems))

    def ends_of(self, ends: _Ends) -> tuple[list[_Groups | None], list[bool]]:
        """Per member the groups of tasks to whose limit it tends, if to any, and whether two tasks have one head."""
        count, n_heads = len(self._problems), self._shape[1]
        groups: list[_Groups | None] = [None] * count
        shared = [False] * count
        best, shares = busiest(ends.weights[:, 0], ends.weights[:, 1])
        clear = np.all(shares >= CLEAR, axis=1)
        creeps = self._task.parametrisation == "merged" and n_heads > 1
        for place, heads in enumerate(best.tolist()):
            if ends.status[place] != loops.REACHED:
                continue
            if clear[place] and (creeps or len(set(heads)) == len(heads)):  # what follows, without its time
                shared[place] = len(set(heads)) < len(heads)
                groups[place] = None if creeps else tuple((task,) for task in range(len(heads)))
                continue
            allocation = Allocation.of(*ends.weights[place])
            shared[place] = allocation.shared
            if ends_in_allocation(self._task, allocation, n_heads):
                groups[place] = allocation.limit_groups
        return groups, shared

    def levels(self, ends: _Ends, aims: Sequence[_Groups | None]) -> FloatArray:
        """Per member the loss at emergence on the way to the limit of those groups; NaN where there is none."""
        each = zip(self._problems, self._values, aims, ends.start_loss.tolist(), strict=True)
        return np.array([self._task.level(*one) for one in each])


_searched_limit = lru_cache(maxsize=4096)(realised_limit)
