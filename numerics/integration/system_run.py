"""The integration of any ReducedSystem, a loss of the user's own among them, and the run that comes out."""

from __future__ import annotations

import math
import warnings
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike
from sympy import Add

from ..._version import __version__
from ...theory import notation as n
from ...theory.errors import InputError, IntegrationError, ReliabilityWarning
from ...theory.flows.system import ReducedSystem
from ...theory.indexed import Definition, free_symbols
from ...theory.indexed.nodes import close_sum, indexed_bases, indices_of, name_of
from ..code import BoundKernel, JacobianProduct, compile_system
from ..code.compiled import CompiledSystem
from ..code.kernel import length
from ..code.native import native_system
from ..code.unrolled import Kernel, UnrolledKernel, is_small
from ..flows.yardsticks import Yardsticks, yardsticks
from ..problem.exact import as_float, positive_integer, real_array, several
from ..problem.kinds import takes
from ..problem.problem import FloatArray
from ..runtime.reliability import LARGEST_ERROR, TIGHTER, doubt_about, relied_on, tightened
from ..runtime.remade import Remade
from ..runtime.stop import DISAGREEMENT, StopReason
from ..solving.blow_up import blow_up_time
from ..solving.solvers import Method, Segment, Stepper, Stopped, choose_method

_SMALLEST_RTOL = 1e-11
_ROWS_PER_STEP = 4
_LARGE = 200  # variables: beyond, the losses of so many rows would cost more than the steps
_REMEDY = "Lower rtol, or take a smaller t_final."
_EARLIER = "Take a smaller t_final."
# What `Problem` and `CovariateProblem` give to every system, whether it has such a parameter or not.
GIVEN_BY_PROBLEMS = frozenset({"I", "H", "D", "L", "d", "lambda", "sigma2", "Lambda", "tau"})
_STOPS = {StopReason.OVERFLOW: "The velocity is not a finite number, however short the step"}


class SystemDynamics(Remade):
    """A system's generated code bound to its parameters, as the solvers want it."""

    log = False  # the state may have any sign

    def __init__(self, system: ReducedSystem, values: Mapping[str, ArrayLike]) -> None:
        self.system, self._compiled = system, compile_system(system)
        ranges = {str(axis) for axes in self._compiled.ranges.values() for axis in axes}
        self._sizes = {name: positive_integer(f"the size {name}", values[name]) for name in values if name in ranges}
        self._values: dict[str, ArrayLike] = {
            name: self._sizes[name] if name in ranges else real_array(f"the parameter {name}", value)
            for name, value in values.items()
        }
        taken = {str(name) for name in system.parameters} | ranges
        for item in system.parameter_definitions:
            taken |= {str(name) for name in (item.base, *indexed_bases(item.body), *free_symbols(item.body))}
        if unknown := sorted(set(values) - taken - GIVEN_BY_PROBLEMS):
            raise InputError(f"the system takes no value for {', '.join(unknown)}; it takes {', '.join(sorted(taken))}")
        axes = {str(name_of(variable)): self._compiled.ranges[name_of(variable)] for variable in system.state}
        try:
            self._rate = _rate_of(system, self._compiled).loss.bind(self._values)
            self.shapes = {name: tuple(length(axis, self._sizes) for axis in ranges) for name, ranges in axes.items()}
            self.velocity, self.loss = self._kernel("velocity"), self._kernel("loss")
        except (KeyError, ValueError) as error:
            raise InputError(str(error.args[0])) from None

    def _kernel(self, name: str) -> Kernel:
        if is_small(sum(map(math.prod, self.shapes.values()))):
            return UnrolledKernel(native_system(self.system, **self._sizes), name, self._values)
        kernel: BoundKernel = getattr(self._compiled, name).bind(self._values)
        return kernel

    @cached_property
    def jacobian(self) -> Kernel:
        """∂velocity/∂state."""
        return self._kernel("jacobian")

    @cached_property
    def jacobian_product(self) -> JacobianProduct:
        """∂velocity/∂state as a map of directions."""
        return JacobianProduct(self._compiled, self._values)

    def loss_rate(self, y: FloatArray) -> float:
        """d𝓛/dt = −Σ velocity²/metric: no difference of losses, so exact where the flow is slow."""
        return -float(self._rate.evaluate(y))

    def weights(self, y: FloatArray) -> FloatArray:
        return y

    def overflow(self, weights: FloatArray) -> str:
        del weights
        return ""

    def flat(self, start: Mapping[str, ArrayLike]) -> FloatArray:
        """The start as one vector; ``InputError`` for a missing, unknown or misshapen variable."""
        if set(start) != set(self.shapes):
            raise InputError(f"the start must give {', '.join(self.shapes)}, got {', '.join(start) or 'nothing'}")
        parts = []
        for name, shape in self.shapes.items():
            array = real_array(f"the start of {name}", start[name])
            if array.shape != shape:
                raise InputError(f"the start of {name} must have shape {shape}, got {array.shape}")
            parts.append(array.ravel())
        return np.concatenate(parts)

    def yardsticks(self, flat: FloatArray, longest: float) -> Yardsticks:
        """The yardsticks of a start, for times up to ``longest``."""
        random = np.random.default_rng(0)
        others = {
            name: value if name in self._sizes else np.asarray(value) * (1 + random.uniform(-0.5, 0.5, np.shape(value)))
            for name, value in self._values.items()
        }

        def generic(y: FloatArray) -> FloatArray:
            return SystemDynamics(self.system, others).velocity(y)

        return yardsticks(self.velocity, generic, flat, list(map(math.prod, self.shapes.values())), longest)

    def named(self, rows: FloatArray) -> dict[str, FloatArray]:
        """Flat states (…, n) as arrays (…, *shape) by the names of the state variables."""
        found, begin = {}, 0
        for name, shape in self.shapes.items():
            end = begin + math.prod(shape)
            found[name] = rows[..., begin:end].reshape((*rows.shape[:-1], *shape))
            begin = end
        return found


@lru_cache(maxsize=64)
def _rate_of(system: ReducedSystem, compiled: CompiledSystem) -> CompiledSystem:
    """The system with Σ velocity²/metric in the place of its loss, every velocity a definition."""
    moves = [Definition(n.time_derivative(one), rhs) for one, rhs in zip(system.state, system.velocity, strict=True)]
    parts = []
    for variable, move, metric in zip(system.state, moves, system.metric, strict=True):
        ranges = zip(indices_of(variable), compiled.ranges[name_of(variable)], strict=True)
        parts.append(close_sum(move.head**2 / metric, tuple(ranges)))
    return CompiledSystem(replace(system, loss=Add(*parts), definitions=(*system.definitions, *moves)))


@dataclass(frozen=True, eq=False, repr=False)
class SystemRun:
    """A trajectory of a system.

    Attributes
    ----------
    system, values
        What was integrated, with which parameters.
    t
        Times, shape (T,), in learning rate × steps; several per step of the solver, one for a large system.
    states
        Name → array of shape (T, *shape of the variable).
    loss
        Shape (T,), as the system's loss is written.
    loss_rate
        d𝓛/dt, shape (T,), by the energy identity.
    error_estimate
        The largest difference of the loss, at these times, from a run at a hundred times larger tolerance.
    relative_error
        The same for loss and state: the difference relative to the largest |loss| of the run, and in each variable
        relative to the largest entry that it has had by then, or to a thousandth of what the velocity makes of it where
        that is more; the largest of all.
    method, rtol, evaluations
        How it was made; evaluations of the velocity in both runs.
    """

    system: ReducedSystem
    values: Mapping[str, Any]
    t: FloatArray
    states: dict[str, FloatArray]
    loss: FloatArray
    loss_rate: FloatArray
    error_estimate: float
    relative_error: float
    method: str
    rtol: float
    evaluations: int
    _path: _Path

    @property
    def doubt(self) -> str | None:
        """Why the run is not to be relied on, as a sentence; None where `relative_error` is small."""
        return doubt_about(self.relative_error)

    @property
    def reliable(self) -> bool:
        """Whether its error estimate is small."""
        return self.doubt is None

    def ensure_reliable(self) -> SystemRun:
        """The run itself; ``UnreliableError`` if its error estimate is not small."""
        return relied_on(self, self.doubt, _REMEDY)

    def __repr__(self) -> str:
        doubt = "" if self.doubt is None else f", {self.doubt}"
        return f"SystemRun({self.system.parametrisation} to t = {self.t[-1]:.6g}, loss {self.loss[-1]:.6g}{doubt})"

    def at(self, t: float | Iterable[float]) -> dict[str, FloatArray]:
        """The state at a time from 0 to the last one, or at T times, each array (T, …) as in `states`.

        ``InputError`` outside, ``InputTypeError`` for what is no time.
        """
        if several(t):
            rows = [self._flat(time) for time in t]
            return self._path.dynamics.named(np.array(rows).reshape(len(rows), -1 if rows else self._size))
        return self._path.dynamics.named(self._flat(t))

    @overload
    def loss_at(self, t: float) -> float: ...

    @overload
    def loss_at(self, t: Iterable[float]) -> FloatArray: ...

    def loss_at(self, t: float | Iterable[float]) -> float | FloatArray:
        """The loss at a time from 0 to the last one, or at T times as an array (T,); ``InputError`` outside."""
        if several(t):
            return np.array([self._loss_at(time) for time in t])
        return self._loss_at(t)

    @property
    def _size(self) -> int:
        return sum(math.prod(rows.shape[1:]) for rows in self.states.values())

    def _loss_at(self, t: object) -> float:
        return float(self._path.dynamics.loss.evaluate(self._flat(t)))

    def _flat(self, t: object) -> FloatArray:
        time = as_float("t", t, least=0)
        if time > self.t[-1]:
            raise InputError(f"the run ends at t = {self.t[-1]:.6g}, got {time:.6g}")
        return self._path.state(time)

    def to_json(self) -> dict[str, Any]:
        """The end of the run and how it was made, as a JSON object."""
        return {
            "schema": 1,
            "version": __version__,
            "parametrisation": self.system.parametrisation,
            "closure": self.system.closure,
            "t": float(self.t[-1]),
            "loss": float(self.loss[-1]),
            "state": {name: rows[-1].tolist() for name, rows in self.states.items()},
            "error_estimate": self.error_estimate,
            "relative_error": self.relative_error,
            "reliable": self.reliable,
            "warnings": [] if self.doubt is None else [self.doubt],
            "method": self.method,
            "rtol": self.rtol,
            "evaluations": self.evaluations,
        }


class _Path:
    """Accepted steps in log time ``s = log(1 + t/unit)`` with their interpolants."""

    def __init__(
        self, dynamics: SystemDynamics, segments: Sequence[Segment], start: FloatArray, unit: float, last: float
    ) -> None:
        self.dynamics = dynamics
        self._segments, self._start, self._unit, self.last = segments, start, unit, last
        self._ends = [segment.end for segment in segments]

    def times(self) -> FloatArray:
        count = _ROWS_PER_STEP if len(self._start) <= _LARGE else 1
        places = [np.linspace(one.start, one.end, count, endpoint=False) for one in self._segments]
        t: FloatArray = self._unit * np.expm1(np.concatenate([np.zeros(0), *places]))
        return np.append(t, self.last)  # as it was asked for, not as it comes back from log time

    def state(self, t: float) -> FloatArray:
        s = math.log1p(t / self._unit)
        if s <= 0:
            return self._start
        place = min(bisect_left(self._ends, s), len(self._ends) - 1)
        return np.asarray(self._segments[place].dense(min(s, self._ends[place])), dtype=np.float64)

    def blow_up(self) -> float | None:
        """When the path grows beyond all bounds, where it came near to that."""
        return blow_up_time(self.dynamics.velocity.evaluate, self._segments, self._unit)


def integrate_system(
    system: ReducedSystem,
    values: Mapping[str, ArrayLike],
    start: Mapping[str, ArrayLike],
    t_final: float,
    *,
    rtol: float = 1e-8,
    method: str = "auto",
) -> SystemRun:
    """Integrate ``dx/dt = velocity`` with the generated velocity and Jacobian.

    Parameters
    ----------
    system
        From ``theory.gradient_flow`` with a loss of your own, or from a family.
    values
        Name → number or array: every parameter, and the sizes (I, H, D) as integers.
    start
        Name of a state variable → array of its shape, at t = 0.
    t_final
        In learning rate × steps, > 0.
    rtol
        Relative tolerance of the looser of the two integrations; the reported one has ``rtol/100``.  Where they come
        out more than 1e-3 apart, both are made anew with a smaller one, if that helps.
    method
        "LSODA", "BDF", "Radau", "DOP853", with the extra ``fast`` "CVODE"; or "auto": LSODA, and for a large state
        explicit steps (DOP853) until the system turns stiff.

    Raises
    ------
    InputError, InputTypeError
        For values or a start that do not fit or lie outside the domain of the system.
    IntegrationError
        If the state grows beyond all bounds, its loss is not a number any more, or a solver cannot go on: ``partial``
        is then the run up to where both integrations agree.  If the two go to different places: ``partial`` is it all.
    ReliabilityWarning
        A warning: the two differ too much; see `SystemRun.doubt`.
    """
    run = _integrated(system, values, start, t_final, rtol, method)
    if run.doubt is not None:
        warnings.warn(run.doubt, ReliabilityWarning, stacklevel=2)
    return run


def integrate_system_reliably(*arguments: Any, **options: Any) -> SystemRun:
    """`integrate_system` for what rests on the run; ``UnreliableError`` where its error estimate is not small."""
    return _integrated(*arguments, **options).ensure_reliable()


@takes(system=ReducedSystem, values=Mapping, start=Mapping)
def _integrated(
    system: ReducedSystem,
    values: Mapping[str, ArrayLike],
    start: Mapping[str, ArrayLike],
    t_final: float,
    rtol: float = 1e-8,
    method: str = "auto",
) -> SystemRun:
    dynamics = SystemDynamics(system, values)
    flat = dynamics.flat(start)
    last = as_float("t_final", t_final, positive=True)
    tolerance = as_float("rtol", rtol, positive=True)
    if not _SMALLEST_RTOL <= tolerance <= 1e-2:
        raise InputError(f"rtol must lie between {_SMALLEST_RTOL:g} and 1e-2, got {tolerance:g}")
    chosen = choose_method(method, len(flat), compiled=False)
    with np.errstate(all="ignore"):
        for what, found in (("velocity", dynamics.velocity(flat)), ("loss", dynamics.loss(flat))):
            if not np.isfinite(found).all():
                raise InputError(
                    f"the {what} at the start is not finite: the start lies outside the domain of the system"
                )

        def attempt(rtol: float) -> _Both:
            return _Both(dynamics, dict(values), chosen, flat, last, rtol)

        both = attempt(tolerance)
        if both.unclear:
            both = tightened(both, attempt, lambda one: one.reliable, tolerance, _SMALLEST_RTOL)
        return both.run()


class _Both:
    """The two integrations of one call, each as far as it came, and what comes of them."""

    def __init__(
        self,
        dynamics: SystemDynamics,
        values: Mapping[str, Any],
        method: Method,
        start: FloatArray,
        last: float,
        rtol: float,
    ) -> None:
        self._dynamics, self._values, self._method, self._rtol = dynamics, values, method, rtol
        self._measure = dynamics.yardsticks(start, last)
        self._evaluations = 0
        self._stop: StopReason | None = None
        unit = self._measure.time
        paths = []
        for tolerance in (rtol, rtol / TIGHTER):
            end, atol = math.log1p(last / unit), self._measure.absolute(tolerance)
            stepper = Stepper(dynamics, method, tolerance, start, unit, end, tolerance == rtol, atol)
            segments: list[Segment] = []
            reached = last
            try:
                segments.extend(stepper.segments())  # those before a stop are kept
            except Stopped as stopped:
                self._stop, reached = stopped.reason, min(last, unit * math.expm1(stepper.position))
            paths.append(_Path(dynamics, segments, start, unit, reached))
            self._evaluations += stepper.counter.evaluations
        self._loose, self._tight = paths
        t = self._tight.times()
        self._t = t[t <= self._loose.last]
        self._rows = np.array([self._tight.state(time) for time in self._t])
        self._others = np.array([self._loose.state(time) for time in self._t])
        self._loss = np.array([float(dynamics.loss.evaluate(row)) for row in self._rows])
        self._other = np.array([float(dynamics.loss.evaluate(row)) for row in self._others])

    @cached_property
    def reliable(self) -> bool:
        """Whether both came to the end, and are as near to each other all the way as a result must be."""
        return self._stop is None and float(self._errors.max()) <= LARGEST_ERROR

    @property
    def unclear(self) -> bool:
        """Whether both came to the end and only their distance speaks against them: a tighter tolerance may help."""
        return self._stop is None and not self.reliable and self._tight.blow_up() is None

    def run(self) -> SystemRun:
        """The run; `IntegrationError` where there is none up to the end, with the part that can be relied on."""
        errors = self._errors
        relative = float(errors.max())  # NaN where one is
        if self.reliable:
            return self._first(len(self._t), relative)
        bad = np.flatnonzero(~(errors <= LARGEST_ERROR))
        count = max(1, int(bad[0]) if len(bad) else len(self._t))
        part = self._first(count, float(errors[:count].max()))
        came = f"the integration came to t = {part.t[-1]:.6g}"
        blows_up = self._tight.blow_up()
        if blows_up is not None:
            raise IntegrationError(
                f"The state grows beyond all bounds near t = {blows_up:.6g}; {came}.", _EARLIER, part
            )
        if not np.isfinite(self._loss).all():
            raise IntegrationError(
                f"The loss is not a number any more: the state left its domain; {came}.", _EARLIER, part
            )
        if self._stop is StopReason.TOO_MANY_EVALUATIONS and self._method.name == "DOP853":
            raise IntegrationError(
                f"{self._stop.sentence[:-1]}; {came}.", "Explicit steps may be too short: use auto.", part
            )
        if self._stop is not None:
            sentence = _STOPS.get(self._stop, self._stop.sentence).rstrip(".")
            raise IntegrationError(f"{sentence}; {came}.", f"{_EARLIER[:-1]}, or a larger rtol.", part)
        run = self._first(len(self._t), relative)
        if not relative < DISAGREEMENT:
            raise IntegrationError(StopReason.DISAGREEMENT.sentence, _REMEDY, run)
        return run

    def _first(self, count: int, relative: float) -> SystemRun:
        """The run up to that row."""
        t, rows = self._t[:count], self._rows[:count]
        return SystemRun(
            self._dynamics.system,
            self._values,
            t,
            self._dynamics.named(rows),
            self._loss[:count],
            np.array([self._dynamics.loss_rate(row) for row in rows]),
            float(np.abs(self._loss[:count] - self._other[:count]).max()),
            relative,
            self._method.name,
            self._rtol / TIGHTER,
            self._evaluations,
            self._tight,
        )

    @cached_property
    def _errors(self) -> FloatArray:
        """Row by row what `SystemRun.relative_error` is the largest of."""
        largest = float(np.nanmax(np.abs(self._loss)))
        found: FloatArray = np.abs(self._loss - self._other) / max(largest, np.finfo(np.float64).tiny)
        own, apart = self._dynamics.named(self._rows), self._dynamics.named(self._others - self._rows)
        small = self._dynamics.named(self._measure.small)
        for name, values in own.items():
            size = np.maximum.accumulate(np.abs(values).reshape(len(found), -1).max(axis=1))
            moved = np.abs(apart[name]).reshape(len(found), -1).max(axis=1)
            found = np.maximum(found, moved / np.maximum(size, small[name].max()))
        return found
