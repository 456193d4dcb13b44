"""Stepping: SciPy's own solver classes, driven one step at a time, with every way to end named."""

from __future__ import annotations

import math
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import numpy as np

from ...theory.choices import unknown
from ...theory.errors import InputError, InputTypeError
from ..code import JacobianProduct
from ..compiler import compiler_installed
from ..flows.ties import IntArray, TiedProduct
from ..problem.problem import FloatArray
from ..runtime.stop import StopReason
from .disturbance import disturbance
from .krylov_steps import krylov_steps, sundials_installed
from .stiffness import StiffnessWatch

if TYPE_CHECKING:
    from scipy.integrate import OdeSolver

    from ..steps.native import Integrator

_SCIPY: Final = ("LSODA", "BDF", "Radau", "DOP853")
COMPILED: Final = "Rodas5P"  # our own, with explicit steps where it is not stiff: see `headflow.numerics.engine`
KRYLOV: Final = "CVODE"  # see `headflow.numerics.solving.krylov_steps`
METHODS: Final = ("auto", *_SCIPY, COMPILED, KRYLOV)

MAX_EVALUATIONS = 500_000  # of the velocity, in one integration: nothing runs for ever
_KRYLOV_STATE = 350  # from here on CVODE is ahead of LSODA
_SMALLEST_TOLERANCE = 1e-14  # that CVODE is given
LARGE_STATE: Final = 1_000  # from here on the linear algebra of an implicit step outweighs many explicit steps
_LARGEST_MATRIX = 8_000  # the Jacobian and its factors then take 1 GB
_LARGEST_COMPILED = 200  # beyond, its factorisation in plain loops falls behind LAPACK's
_EXPLICIT_EVALUATIONS = 100_000  # what "auto" spends on explicit steps before it turns to implicit ones
# By how much a compiled step may be longer than the one before.  Slower in the run that is reported: where this and not
# the tolerance decides on steps, they must be shorter than the other run's all the same, whose error is the larger one.
GROWTH: Final = 6.0
CAREFUL_GROWTH: Final = 2.0
# The longest step of SciPy's solvers and CVODE, as a share of the log time: on a flow that hardly moves it decides and
# not the tolerance, and were it the same in both runs, so would be their errors, and nothing of them would be seen.
LONGEST: Final = 1 / 8
CAREFUL_LONGEST: Final = 1 / 32
_RETRIES = 12  # each from the last good step, with a first step ten times shorter


@dataclass(frozen=True)
class Method:
    """The solvers to use, one after the other, and why.

    ``stages`` holds (name of the solver, the number of evaluations after which the next one takes over); explicit steps
    that are ``watched`` also end where the flow turns stiff.
    """

    name: str
    reason: str
    stages: tuple[tuple[str, int], ...]
    watched: bool = False


def choose_method(method: object, size: int, compiled: bool = True) -> Method:
    """The solvers for a state of length ``size``; ``compiled`` says whether its flow has compiled steps.

    Raises
    ------
    InputTypeError, InputError
        If ``method`` is no string, is none of `METHODS`, or needs a matrix that does not fit.
    """
    if not isinstance(method, str):
        raise InputTypeError(f"method must be a string, got {method!r} ({type(method).__name__})")
    name = {known.lower(): known for known in METHODS}.get(method.lower())
    if name is None:
        raise InputError(unknown("method", method, METHODS))
    if name in ("LSODA", "BDF", "Radau") and size > 2 * _LARGEST_MATRIX:
        raise InputError(
            f"the method {name} needs a Jacobian matrix of {size} × {size}, which is too large; "
            "use the method auto, CVODE or DOP853"
        )
    if name == COMPILED and not compiled:
        raise InputError(f"the method {COMPILED} is for the flows of attention; use the method auto")
    if name == COMPILED and not compiler_installed():
        raise InputError(f"the method {COMPILED} needs llvmlite: install headflow[fast], or use the method auto")
    if name == KRYLOV and not sundials_installed():
        raise InputError(f"the method {KRYLOV} needs scikit-sundae: install headflow[fast], or use the method auto")
    if name != "auto":
        return Method(name, "as asked for", ((name, MAX_EVALUATIONS),))
    if compiled and size <= _LARGEST_COMPILED and compiler_installed():
        return Method(
            COMPILED,
            "auto: llvmlite is installed and the state is small, so that compiled Rosenbrock steps are fastest",
            ((COMPILED, MAX_EVALUATIONS),),
        )
    if not compiled and size >= _KRYLOV_STATE:
        return _until_stiff(size)
    if size >= _KRYLOV_STATE and sundials_installed():
        reason = (
            f"auto: scikit-sundae is installed, and at {size} variables Krylov solves with the generated "
            "Jacobian-vector product are cheaper than a factorised Jacobian"
        )
        return Method(KRYLOV, reason, ((KRYLOV, MAX_EVALUATIONS),))
    if size < LARGE_STATE:
        return Method(
            "LSODA",
            "auto: the flow turns stiff, and LSODA needs the fewest evaluations",
            (("LSODA", MAX_EVALUATIONS),),
        )
    if size <= _LARGEST_MATRIX:
        reason = (
            f"auto: at {size} variables explicit steps are cheaper than one factorised Jacobian, "
            f"and LSODA takes over after {_EXPLICIT_EVALUATIONS} evaluations"
        )
        return Method("DOP853, LSODA", reason, (("DOP853", _EXPLICIT_EVALUATIONS), ("LSODA", MAX_EVALUATIONS)))
    return Method("DOP853", f"auto: a Jacobian of {size} × {size} is too large", (("DOP853", MAX_EVALUATIONS),))


def _until_stiff(size: int) -> Method:
    """Explicit steps for as long as these are not held back by stability."""
    implicit = "LSODA" if size <= LARGE_STATE or not sundials_installed() else KRYLOV
    if implicit == "LSODA" and size > _LARGEST_MATRIX:
        return Method("DOP853", f"auto: a Jacobian of {size} × {size} is too large", (("DOP853", MAX_EVALUATIONS),))
    reason = f"auto: explicit steps are cheap at {size} variables, and {implicit} takes over where the flow turns stiff"
    stages = (("DOP853", MAX_EVALUATIONS), (implicit, MAX_EVALUATIONS))
    return Method(f"DOP853, {implicit}", reason, stages, watched=True)


def on_cells(cells: int, entries: int) -> Method:
    """The solver of a flow reduced to a few cells of many entries, and why."""
    reason = (
        f"auto: problem and start leave the {entries} entries of mu alike in {cells} cells, which the flow keeps "
        "exactly (a perturbation of the start might not), so that one number per cell is integrated"
    )
    solver = COMPILED if compiler_installed() else "LSODA"
    return Method(f"{solver} on {cells} cell{'s' if cells > 1 else ''}", reason, ((solver, MAX_EVALUATIONS),))


class Evaluates(Protocol):
    """A function of flat states, whose result it multiplies."""

    def evaluate(self, state: FloatArray, factor: float, /) -> FloatArray: ...


class Flow(Protocol):
    """What SciPy's solvers need of a flow (our own and CVODE need more); ``log``: the state holds logarithms."""

    @property
    def log(self) -> bool: ...
    @property
    def velocity(self) -> Evaluates: ...
    @property
    def jacobian(self) -> Evaluates: ...
    def weights(self, y: FloatArray) -> FloatArray: ...
    def overflow(self, weights: FloatArray) -> str: ...


class CompiledFlow(Flow, Protocol):
    """What compiled steps need besides: the integrator made for the flow, its parameters, and the codes of its ties."""

    def integrator(self) -> tuple[Integrator, FloatArray, IntArray]: ...


class KrylovFlow(Flow, Protocol):
    """What CVODE needs besides: the Jacobian as a map."""

    @property
    def jacobian_product(self) -> JacobianProduct | TiedProduct: ...


def absolute_tolerance(rtol: float, log: bool, start: FloatArray) -> float:
    """The absolute tolerance that goes with a relative one.

    In log coordinates an absolute error is the relative error of a weight.  Signed weights start near a saddle: what
    counts there is small even against the small start.
    """
    return rtol if log else rtol * max(1e-3 * float(np.abs(start).max()), 1e-290)


@dataclass
class Counter:
    """What an integration has cost so far: ``products`` are of Jacobian and vector, ``seconds`` is wall time."""

    evaluations: int = 0
    jacobians: int = 0
    products: int = 0
    steps: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Segment:
    """One accepted step from ``start`` to ``end`` in log time; ``dense`` interpolates between.

    Where the stepper does not keep it, ``dense`` is good until the next step only, and costs nothing if it is not used.
    """

    start: float
    end: float
    dense: Callable[[float], FloatArray]


class _Later:
    """Dense output that is made when it is first asked for: it takes evaluations, and many steps are never asked."""

    def __init__(self, make: Callable[[], Callable[[float], FloatArray]]) -> None:
        self._make = make

    @cached_property
    def _made(self) -> Callable[[float], FloatArray]:
        return self._make()

    def __call__(self, s: float) -> FloatArray:
        return self._made(s)


class Stopped(Exception):
    """The stepping ended early: why, and what is known about it."""

    def __init__(self, reason: StopReason, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class _NonFinite(Exception):
    """A trial state at which velocity or Jacobian is not finite."""


class Stepper:
    """Steps a flow in log time from s = 0 to ``end``.

    Parameters
    ----------
    dynamics
        The flow.
    method
        From `choose_method`.
    rtol
        Relative tolerance of each step, for log weights also the absolute one.
    start
        Flat state at s = 0.
    unit
        t_unit, in units of time (learning rate × steps).
    end
        log(1 + t_final/t_unit).
    checking
        Whether this is the second integration, which only shows how far the first is from the truth: its compiled steps
        may grow faster, and it is disturbed.
    atol
        Absolute tolerance per entry; by default from `absolute_tolerance`.  Compiled steps take the smallest for all.
    kept
        Whether segments are looked at also after the next step.
    """

    def __init__(
        self,
        dynamics: Flow,
        method: Method,
        rtol: float,
        start: FloatArray,
        unit: float,
        end: float,
        checking: bool = False,
        atol: FloatArray | None = None,
        kept: bool = True,
    ) -> None:
        self.dynamics = dynamics
        self._kept = kept
        self.method = method
        self.rtol = rtol
        self.atol: float | FloatArray = absolute_tolerance(rtol, dynamics.log, start) if atol is None else atol
        self.unit = unit
        self.end = end
        self.growth = GROWTH if checking else CAREFUL_GROWTH
        self._longest = end * (LONGEST if checking else CAREFUL_LONGEST)
        self._checking = checking
        self._pushes = disturbance(start) if checking else np.zeros(len(start))
        self.counter = Counter()
        self._s = 0.0
        self._y = start
        self._trouble: FloatArray | None = None

    @property
    def position(self) -> float:
        """How far it has come in log time."""
        return self._s

    def segments(self) -> Iterator[Segment]:
        """The accepted steps in order.

        Raises
        ------
        Stopped
            When the end cannot be reached.
        """
        began = time.perf_counter()
        for name, allowance in self.method.stages:
            for segment in self._stage(name, allowance):
                self.counter.steps += 1
                self.counter.seconds = time.perf_counter() - began
                yield segment
            if self._s == self.end:
                return
        raise Stopped(StopReason.TOO_MANY_EVALUATIONS, f"{self.counter.evaluations} evaluations were made.")

    def _stage(self, name: str, allowance: int) -> Iterator[Segment]:
        first_step: float | None = None
        for _ in range(_RETRIES):
            before = self._s
            try:
                yield from self._solve(name, allowance, first_step)
                return
            except _NonFinite:
                shorter = (self.end - self._s) / 100 if first_step is None or self._s > before else first_step / 10
                first_step = min(shorter, self.end - self._s)
        self._give_up()

    def _solve(self, name: str, allowance: int, first_step: float | None) -> Iterator[Segment]:
        if name == COMPILED:
            yield from self._compiled(allowance)
            return
        if name == KRYLOV:
            yield from self._krylov(allowance)
            return
        from scipy import integrate  # here, because it takes a third of a second

        explicit = name == "DOP853"
        options: dict[str, Any] = {} if explicit else {"jac": self._jacobian}
        # LSODA accepts a step whose error is not a number; the others shorten it by themselves.
        velocity = self._finite_velocity if name == "LSODA" else self._velocity
        watch = StiffnessWatch(self._longest) if explicit and self.method.watched else None
        # SciPy measures a step's error by its mean square over all variables, of which few may be the fast ones.
        share = 1.0 if watch is None else len(self._y) ** -0.25
        with _without_warnings():
            solver: OdeSolver[np.float64] = getattr(integrate, name)(
                velocity,
                self._s,
                self._y,
                self.end,
                rtol=max(self.rtol * share, _SMALLEST_TOLERANCE),
                atol=self.atol * share,
                first_step=first_step,
                max_step=self._longest,
                **options,
            )
        stuck = 0
        while self._s < self.end and self.counter.evaluations < allowance:
            try:
                with _without_warnings():
                    solver.step()
            except (ValueError, np.linalg.LinAlgError):  # a matrix that is not finite, or singular
                raise _NonFinite from None
            if solver.status == "failed" or stuck > 20 or not _is_finite(solver.y):
                self._give_up()
            stuck = stuck + 1 if solver.t <= self._s else 0
            if stuck:
                continue
            segment = Segment(self._s, float(solver.t), self._dense(solver.dense_output))
            self._s, self._y, self._trouble = segment.end, solver.y.copy(), None
            yield segment
            if watch is not None and watch.held_back(solver):
                return

    def _compiled(self, allowance: int) -> Iterator[Segment]:
        from .stepping import CompiledSteps  # here, so that the others need no compiler

        made, values, codes = cast(CompiledFlow, self.dynamics).integrator()  # `choose_method` sees to it
        ways = self.growth, self.dynamics.log, self._pushes, codes
        atol = float(np.min(self.atol))
        steps = CompiledSteps(made, values, self._y, self.rtol, atol, self.unit, self.end, *ways)
        for end, dense in steps.until_evaluations(allowance):
            self.counter.evaluations, self.counter.jacobians = steps.evaluations, steps.jacobians
            segment = Segment(self._s, end, dense)
            self._s = end
            yield segment
        if steps.failure is not None:
            raise Stopped(steps.failure)

    def _krylov(self, allowance: int) -> Iterator[Segment]:
        jacobian = cast(KrylovFlow, self.dynamics).jacobian_product  # reduced flows come with their own method

        def product_at(y: FloatArray) -> Callable[[float, FloatArray], FloatArray]:
            self.counter.jacobians += 1
            there = jacobian.at(y)

            def product(s: float, direction: FloatArray) -> FloatArray:
                self.counter.products += 1
                return there.evaluate(direction, self.unit * math.exp(s))

            return product

        # CVODE measures a step's error by its mean square over all variables, of which few move at a time.
        share = len(self._y) ** -0.25
        rtol, atol = max(self.rtol * share, _SMALLEST_TOLERANCE), self.atol * share
        # A rate that is not a number makes Newton's iteration fail, upon which CVODE shortens the step.
        steps = krylov_steps(self._velocity, product_at, self._s, self._y, self.end, rtol, atol, self._longest)
        for reached, state, dense in steps:
            segment = Segment(self._s, reached, self._dense(dense))
            self._s, self._y, self._trouble = reached, state, None
            yield segment
            if self.counter.evaluations + self.counter.products >= allowance:
                return
        if self._s < self.end:
            self._give_up()

    def _dense(self, make: Callable[[], Callable[[float], FloatArray]]) -> Callable[[float], FloatArray]:
        return make() if self._kept else _Later(make)

    def _give_up(self) -> None:
        where = ""
        if self._trouble is not None:
            where = self.dynamics.overflow(self.dynamics.weights(self._trouble).ravel())
            raise Stopped(StopReason.OVERFLOW, f"A step led to where {where}." if where else "")
        raise Stopped(StopReason.STEP_TOO_SMALL)

    def _velocity(self, s: float, y: FloatArray) -> FloatArray:
        self.counter.evaluations += 1
        result = self.dynamics.velocity.evaluate(y, self.unit * math.exp(s))
        if self._checking:
            result += self._pushes * (1.0 + np.abs(y) if self.dynamics.log else y)
        if not _is_finite(result):
            self._trouble = np.array(y)
        return result

    def _finite_velocity(self, s: float, y: FloatArray) -> FloatArray:
        known = self._trouble
        result = self._velocity(s, y)
        if self._trouble is not known:
            raise _NonFinite
        return result

    def _jacobian(self, s: float, y: FloatArray) -> FloatArray:
        self.counter.jacobians += 1
        result = self.dynamics.jacobian.evaluate(y, self.unit * math.exp(s))
        if not _is_finite(result):
            self._trouble = np.array(y)
            raise _NonFinite
        return result


_WARNINGS: Final = threading.RLock()


@contextmanager
def _without_warnings() -> Iterator[None]:
    """SciPy warns where we raise.  One thread at a time: what is ignored is the same for all of them."""
    with _WARNINGS, warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.filterwarnings("ignore", module=r"scipy\.")
        yield


def _is_finite(array: FloatArray) -> bool:
    """A sum has no end that an infinite or undefined entry has not, and takes a third of the time of `isfinite`."""
    return math.isfinite(np.add.reduce(array, axis=None))
