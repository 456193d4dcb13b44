"""The verb ``integrate``: from a problem and an initial state to a checked Trajectory."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from itertools import chain, pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from ...theory.choices import checked_closure, checked_parametrisation
from ...theory.errors import InputError, InputTypeError, IntegrationError, ReliabilityWarning, ValidityWarning
from ...theory.flows.system import ReducedSystem
from ..flows.altered import Altered, altered_flow
from ..flows.dynamics import Dynamics
from ..flows.near_ties import compared_starts
from ..flows.orbit_dynamics import OrbitDynamics, reduced_dynamics
from ..problem.exact import as_float, no_later, shown
from ..problem.initial import InitialState
from ..problem.problem import FloatArray, Problem
from ..runtime.progress import Bar, progress_bar
from ..runtime.reliability import LARGEST_ERROR, TIGHTER, tightened
from ..runtime.stop import DISAGREEMENT, IntegrationInterrupted, StopReason
from ..solving.panels import nodes
from ..solving.solvers import Method, Stepper, Stopped, choose_method, on_cells
from ..trajectory.record import Stats as Stats
from ..trajectory.trajectory import Trajectory as Trajectory
from .recorder import Comparison, Recorder

SMALLEST_RTOL: Final = 1e-12
LARGEST_RTOL: Final = 1e-2
TIGHTEST: Final = 1e-13  # below, rounding errors rule
ROUNDING: Final = 64 * np.finfo(np.float64).eps  # two integrations can agree by more than either is right


def integrate(
    problem: Problem,
    initial: InitialState,
    parametrisation: str | ReducedSystem = "balanced",
    closure: str = "leading",
    t_final: float = 1e4,
    times: Iterable[float] | None = None,
    rtol: float = 1e-8,
    method: str = "auto",
    progress: bool = False,
    values: Mapping[str, ArrayLike] | None = None,
) -> Trajectory:
    """Integrate the gradient flow from ``initial`` to ``t_final``.

    The flow is integrated twice, with rtol/100 (1e-13 at least) and with rtol; the first is the result, its
    distance from the second the result's ``error_estimate``.  Where that is above 1e-3, both are made anew with a
    smaller rtol, if that helps.  Where heads start nearly alike, the result is compared with two
    others, which start some rounding errors to either side.  ``balanced`` runs in log μ and log ω, ``merged`` in μ and
    ω, ``split`` at its fixed imbalances in the log growth of its factors, which is twice their hyperbolic angle; all in
    log time.  What starts equal or opposite and stays so is integrated as one: see `Trajectory.reduction`.

    Parameters
    ----------
    problem
        The numbers of the problem.
    initial
        Where the flow starts; arrays of shape (I, H).
    parametrisation, closure
        Which flow; see `headflow.theory.choices`.  Or, in the place of the name, the flow itself, which knows its
        closure: ``theory.gradient_flow("balanced")`` or what `ReducedSystem.with_loss` (weight decay, say) and
        `ReducedSystem.with_metric` make of it.  `Trajectory.loss` is the model's loss all the same,
        `Trajectory.objective` the one that such a flow descends.
    t_final
        How long to integrate, > 0, in units of learning rate × steps.
    times
        Times from 0 to ``t_final`` that become rows of the result besides its own.  Rows are sorted and each time is
        there once; `Trajectory.states` has the states in the order and number that were asked for.
    rtol
        Relative tolerance, from 1e-12 to 1e-2; ``rtol`` of the result is smaller where it had to be.
    method
        "LSODA", "BDF", "Radau", "DOP853"; with the extra ``fast`` "Rodas5P" (compiled Rosenbrock steps) and "CVODE"
        (Krylov solves with the generated Jacobian-vector product); or "auto": with that extra Rodas5P where the
        state is small and CVODE where it is large, else LSODA, after explicit steps where the state is large.
        `Trajectory.method_reason` says why.  Where problem and start leave many entries of ``balanced`` or
        ``merged`` weights alike in a few cells, "auto" integrates one number per cell.  That is exact: the flow keeps
        the symmetry of its start.  But it may be unstable: from a perturbed start, or with rounding errors that
        differ from entry to entry as another method has them, the flow can leave it.
    progress
        Show a bar on standard error, if that is a terminal (or a notebook) and it takes more than a second.
    values
        Name → number or array of the parameters that an added loss or another metric brings.

    Raises
    ------
    InputTypeError, InputError
        For a value of the wrong kind or one that is not allowed, and for an initial state at which the
        velocity overflows.
    HypothesisError
        For an initial state outside the domain of the closure.
    IntegrationError
        If ``t_final`` cannot be reached: with the reason, a remedy and the partial trajectory.
    ReliabilityWarning
        A warning: the error estimate is not small, and nothing is derived from the numbers; see `Trajectory.doubt`.
    ValidityWarning
        A warning: the flow came to where the closure is less accurate than it claims.
    IntegrationInterrupted
        On Ctrl-C, a `KeyboardInterrupt` with the partial trajectory.

    Examples
    --------
    >>> problem = Problem(dims=[10, 10], signal_power=[1, 1], noise_variance=0.1, context_length=100, n_heads=2)
    >>> run = integrate(problem, InitialState.random(problem, scale=0.03), t_final=1e3)
    >>> print(run.allocation)
    task 1 on head 1; task 2 on head 2
    >>> run.error_estimate < 1e-5
    True
    """
    trajectory = integrate_silently(
        problem, initial, parametrisation, closure, t_final, times, rtol, method, progress, values
    )
    for caveat in trajectory.caveats:
        kind = ReliabilityWarning if caveat == trajectory.doubt else ValidityWarning
        warnings.warn(caveat, kind, stacklevel=2)
    return trajectory


def integrate_silently(
    problem: Problem,
    initial: InitialState,
    parametrisation: str | ReducedSystem = "balanced",
    closure: str = "leading",
    t_final: float = 1e4,
    times: Iterable[float] | None = None,
    rtol: float = 1e-8,
    method: str = "auto",
    progress: bool = False,
    values: Mapping[str, ArrayLike] | None = None,
    settled: Callable[[Trajectory], bool] = lambda run: run.stop.completed,
) -> Trajectory:
    """`integrate` for callers that say the trajectory's caveats themselves.

    What is not ``settled`` is made anew with smaller tolerances.
    """
    if not isinstance(problem, Problem):
        raise InputTypeError(f"problem must be a Problem, got {shown(problem)} ({type(problem).__name__})")
    if not isinstance(initial, InitialState):
        raise InputTypeError(f"initial must be an InitialState, got {shown(initial)} ({type(initial).__name__})")
    altered: Altered | None = None
    if isinstance(parametrisation, ReducedSystem):
        given = parametrisation
        altered = altered_flow(given, problem, values or {})
        parametrisation, closure = given.parametrisation, given.closure
    elif values:
        raise InputError(
            "values are those of a flow with an added loss or another metric, given in the place of a name"
        )
    initial.check(problem, checked_parametrisation(parametrisation))
    end, asked = checked_times(t_final, times)
    with progress_bar(progress, "integrate") as bar:
        run = _Run(
            problem,
            initial,
            parametrisation,
            checked_closure(closure),
            altered,
            t_final=end,
            rtol=checked_rtol(rtol),
            method=method,
            bar=bar,
        )
        run.times = asked
        with np.errstate(all="ignore"):
            return run.trajectory(settled)


def checked_rtol(rtol: float) -> float:
    """``rtol`` as a float in the allowed range; `InputError` or `InputTypeError` otherwise."""
    value = as_float("rtol", rtol, positive=True)
    if not SMALLEST_RTOL <= value <= LARGEST_RTOL:
        raise InputError(f"rtol must lie between {SMALLEST_RTOL:g} and {LARGEST_RTOL:g}, got {shown(rtol)}")
    return value


def checked_times(t_final: float, times: Iterable[float] | None) -> tuple[float, tuple[float, ...]]:
    """Both as floats, the times from 0 to ``t_final``; `InputError` or `InputTypeError` otherwise."""
    t_final = as_float("t_final", t_final, positive=True)
    if times is None:
        return t_final, ()
    if isinstance(times, str | bytes) or not isinstance(times, Iterable):
        raise InputTypeError(f"times must be a list of numbers, got {shown(times)} ({type(times).__name__})")
    asked = [(f"times[{n}]", value) for n, value in enumerate(times)]
    return t_final, tuple(no_later(name, as_float(name, value, least=0), t_final, "t_final") for name, value in asked)


def integrate_reliably(*arguments: Any, **options: Any) -> Trajectory:
    """`integrate` for what rests on the trajectory; `UnreliableError` where its error estimate is not small."""
    return integrate_silently(*arguments, **options).ensure_reliable()


class _Run:
    """The arguments of one call of `integrate`, and the work."""

    def __init__(
        self,
        problem: Problem,
        initial: InitialState,
        parametrisation: str,
        closure: str,
        altered: Altered | None,
        *,
        t_final: float,
        rtol: float,
        method: str,
        bar: Bar,
    ) -> None:
        self.what: dict[str, Any] = {
            "problem": problem,
            "initial": initial,
            "parametrisation": parametrisation,
            "closure": closure,
            "altered": altered,
            "t_final": t_final,
            "rtol": rtol,
        }
        self.t_final = t_final
        self.bar = bar
        self.times: tuple[float, ...] = ()
        self.method: Method = choose_method(method, 2 * problem.n_tasks * problem.n_heads)
        self.dynamics: Dynamics | OrbitDynamics = Dynamics(problem, initial, parametrisation, closure, altered)
        with np.errstate(all="ignore"):
            self.dynamics.check()
            if isinstance(method, str) and method.lower() == "auto" and altered is None:
                reduced = reduced_dynamics(self.dynamics, problem, initial, parametrisation, closure)
                if reduced is not None:
                    self.dynamics = reduced
                    self.method = on_cells(reduced.size // 2, initial.mu.size)
            self.start = self.dynamics.start
            self.compared_starts = self._compared_starts(problem, initial, parametrisation)
            rate = self.dynamics.rate(self.start)
        longest, shortest = t_final, t_final * 1e-300
        self.unit = min(max(1 / rate, shortest), longest) if rate > 0 else longest
        self.end = math.log1p(t_final / self.unit)
        self.steppers: list[Stepper] = []

    def _compared_starts(self, problem: Problem, initial: InitialState, parametrisation: str) -> tuple[FloatArray, ...]:
        """Where the integrations begin that the result is compared with: `headflow.numerics.flows.near_ties`."""
        if isinstance(self.dynamics, Dynamics):
            return compared_starts(problem, initial, parametrisation, self.start)
        flow, shape = self.dynamics.flow, (2, *initial.mu.shape)
        full = compared_starts(problem, initial, parametrisation, self.dynamics.full.start)
        return tuple(flow.collapse(start.reshape(shape)) for start in full)

    def trajectory(self, settled: Callable[[Trajectory], bool]) -> Trajectory:
        """The result; made anew, tighter, where it is not settled, until it is or cannot be made so."""
        began = time.perf_counter()

        def attempt(rtol: float) -> Trajectory:
            self.what["rtol"] = rtol
            return self._attempt(began)

        rtol = self.what["rtol"]
        found = tightened(attempt(rtol), attempt, settled, rtol, SMALLEST_RTOL)
        if found.stop is StopReason.DISAGREEMENT:
            raise IntegrationError(f"{found.stop.sentence} {found.stop_detail}", found.stop.remedy, found)
        return found

    def _attempt(self, began: float) -> Trajectory:
        """Both integrations to the end, at the tolerance of now; `IntegrationError` where one does not come there."""
        asked = [self._log_time(t) for t in self.rows_asked]
        rtol = self.what["rtol"]
        recorder = Recorder(self.dynamics, self.start, self.end, asked, rtol)
        comparisons: list[Comparison] = []
        stop, detail = StopReason.REACHED_T_FINAL, ""
        rows: _Rows | None = None
        try:
            self.bar.begin("integrate", (1 + len(self.compared_starts)) * self.end)
            self._integrate(max(rtol / TIGHTER, TIGHTEST), self.start, recorder)
            recorder.finish()
            rows = _Rows(self, recorder)
            for start in self.compared_starts:
                comparisons.append(Comparison(self.dynamics, rows.s, rows.states))
                self._integrate(rtol, start, comparisons[-1])
        except Stopped as stopped:
            stop, detail = stopped.reason, stopped.detail
        except KeyboardInterrupt as interrupt:
            partial = self._partial(recorder, rows, StopReason.INTERRUPTED, "", began)
            reached = f"{StopReason.INTERRUPTED.sentence[:-1]} at t = {partial.t[-1]:.6g}."
            raise IntegrationInterrupted(reached, StopReason.INTERRUPTED.remedy, partial) from interrupt
        if stop is not StopReason.REACHED_T_FINAL:
            partial = self._partial(recorder, rows, stop, detail, began)
            where = f"That was at t = {self._reached():.6g}"
            if rows is not None:
                where += " of the second integration, from which the error would have been estimated"
            raise IntegrationError(f"{stop.sentence} {where}. {detail}".rstrip(), stop.remedy, partial)
        assert rows is not None
        errors = np.max([comparison.errors for comparison in comparisons], axis=0)
        apart = np.flatnonzero(~(errors[:, 1] < DISAGREEMENT))
        large = np.flatnonzero(~(errors[:, 1] <= LARGEST_ERROR))
        if len(apart):
            stop, detail = StopReason.DISAGREEMENT, f"They parted before t = {rows.t[apart[0]]:.6g}."
        elif len(large):
            stop, detail = StopReason.UNRELIABLE, f"It is so from t = {rows.t[large[0]]:.6g} on."
        return self._finished(rows, recorder, errors, stop, detail, began)

    def _integrate(self, rtol: float, start: FloatArray, keeper: Recorder | Comparison) -> None:
        checking = isinstance(keeper, Comparison)
        where = start, self.unit, self.end
        stepper = Stepper(self.dynamics, self.method, rtol, *where, checking=checking, kept=not checking)
        self.steppers.append(stepper)
        for segment in stepper.segments():
            keeper.add(segment)
            self.bar.update(segment.end - segment.start)

    def _partial(
        self, recorder: Recorder, rows: _Rows | None, stop: StopReason, detail: str, began: float
    ) -> Trajectory:
        if rows is None:
            recorder.finish()
            rows = _Rows(self, recorder)
        return self._finished(rows, recorder, np.full((len(rows.s), 2), np.inf), stop, detail, began)

    def _finished(
        self,
        rows: _Rows,
        recorder: Recorder,
        errors: FloatArray,
        stop: StopReason,
        detail: str,
        began: float,
    ) -> Trajectory:
        errors = errors + ROUNDING
        reduced = isinstance(self.dynamics, OrbitDynamics)
        trajectory = Trajectory(
            **self.what,
            times=self.times,
            method=self.method.name,
            method_reason=self.method.reason,
            stop=stop,
            stop_detail=detail,
            stats=Stats(
                evaluations=sum(stepper.counter.evaluations for stepper in self.steppers),
                jacobians=sum(stepper.counter.jacobians for stepper in self.steppers),
                steps=sum(stepper.counter.steps for stepper in self.steppers),
                seconds=time.perf_counter() - began,
                products=sum(stepper.counter.products for stepper in self.steppers),
            ),
            t_unit=self.unit,
            t=rows.t,
            loss=np.array([self.dynamics.loss(y) for y in rows.states]),
            error=errors[:, 1],
            loss_error=errors[:, 0],
            interpolation_error=recorder.interpolation_error,
            states_flat=rows.states,
            is_node=rows.is_node,
            edges=np.array(recorder.edges),
            loss_panels=np.array(recorder.loss_panels),
            reduced=reduced,
        )
        if reduced:  # the partition of many entries is not found twice
            trajectory.__dict__["_dynamics"] = self.dynamics
        return trajectory

    @property
    def rows_asked(self) -> list[float]:
        """The times asked for as rows: sorted, each once."""
        return sorted(set(self.times))

    def _log_time(self, t: float) -> float:
        return self.end if t == self.t_final else min(math.log1p(t / self.unit), self.end)

    def _reached(self) -> float:
        return self.unit * math.expm1(self.steppers[-1].position)


class _Rows:
    """The recorded states in the order of time, one row per time."""

    def __init__(self, run: _Run, recorder: Recorder) -> None:
        points = [np.zeros(1)]
        edges = recorder.edges
        points += [nodes(left, right)[1:] for left, right in pairwise(edges)]
        s = np.concatenate(points)
        t = run.unit * np.expm1(s)
        t[s == run.end] = run.t_final
        # Rounding: a time asked for wins over a panel point that is, as a number, the same time.
        count = len(recorder.asked_states)
        extra = np.array(run.rows_asked[:count])
        all_s = np.concatenate([s, [run._log_time(float(value)) for value in extra]])
        all_t = np.concatenate([t, extra])
        fresh = np.flatnonzero(np.concatenate([np.ones(len(s), bool), ~np.isin(extra, t)]))
        order = fresh[np.argsort(all_t[fresh], kind="stable")]
        self.s: FloatArray = all_s[order]
        self.t: FloatArray = all_t[order]
        self.is_node: FloatArray = (order < len(s)).astype(np.float64)
        # One large array, and no copy of it.
        states = [*chain.from_iterable(recorder.states), *recorder.asked_states]
        self.states: FloatArray = np.stack([states[place] for place in order])


__all__ = [
    "LARGEST_RTOL",
    "SMALLEST_RTOL",
    "Stats",
    "Trajectory",
    "integrate",
    "integrate_reliably",
    "integrate_silently",
]
