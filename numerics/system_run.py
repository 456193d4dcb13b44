"""Owns the integration of any ReducedSystem, a loss of the user's own among them, and the run that comes out."""

from __future__ import annotations

import math
import warnings
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sympy import Add, Sum

from .._version import __version__
from ..theory import notation as n
from ..theory.errors import InputError, IntegrationError, ReliabilityWarning
from ..theory.indexed import Definition
from ..theory.system import ReducedSystem
from .codegen import BoundKernel, JacobianProduct, compile_system
from .codegen.compiled import CompiledSystem
from .codegen.kernel import length
from .codegen.native import native_system
from .codegen.unrolled import Kernel, UnrolledKernel, is_small
from .exact import as_float
from .problem import FloatArray
from .reliability import doubt_about, relied_on
from .solvers import Segment, Stepper, Stopped, choose_method
from .stop import DISAGREEMENT, StopReason

_TIGHTER = 100.0  # the second integration has this times smaller a tolerance, as `integrate` has
_ROWS_PER_STEP = 4


class SystemDynamics:
    """A system's generated code bound to its parameters, as the solvers want it."""

    log = False  # the state may have any sign

    def __init__(self, system: ReducedSystem, values: Mapping[str, ArrayLike]) -> None:
        self._system, self._compiled = system, compile_system(system)
        self._values = dict(values)
        ranges = {str(axis) for axes in self._compiled.ranges.values() for axis in axes}
        self._sizes = {name: int(np.asarray(value)) for name, value in values.items() if name in ranges}
        axes = {str(variable.base.label): self._compiled.ranges[variable.base] for variable in system.state}
        try:
            self._rate = _rate_of(system, self._compiled).loss.bind(self._values)
            self.shapes = {name: tuple(length(axis, self._sizes) for axis in ranges) for name, ranges in axes.items()}
            self.velocity, self.loss = self._kernel("velocity"), self._kernel("loss")
        except (KeyError, ValueError) as error:
            raise InputError(str(error.args[0])) from None

    def _kernel(self, name: str) -> Kernel:
        if is_small(sum(map(math.prod, self.shapes.values()))):
            return UnrolledKernel(native_system(self._system, **self._sizes), name, self._values)
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
            array = np.asarray(start[name], dtype=np.float64)
            if array.shape != shape:
                raise InputError(f"the start of {name} must have shape {shape}, got {array.shape}")
            parts.append(array.ravel())
        flat = np.concatenate(parts)
        if not np.isfinite(flat).all():
            raise InputError("the start must consist of finite numbers")
        return flat

    def named(self, rows: FloatArray) -> dict[str, FloatArray]:
        """Flat states (…, n) as arrays (…, *shape) by the names of the state variables."""
        found, begin = {}, 0
        for name, shape in self.shapes.items():
            end = begin + math.prod(shape)
            found[name] = rows[..., begin:end].reshape(*rows.shape[:-1], *shape)
            begin = end
        return found


@lru_cache(maxsize=64)
def _rate_of(system: ReducedSystem, compiled: CompiledSystem) -> CompiledSystem:
    """The system with Σ velocity²/metric in the place of its loss, every velocity a definition."""
    moves = [Definition(n.time_derivative(one), rhs) for one, rhs in zip(system.state, system.velocity, strict=True)]
    parts = []
    for variable, move, metric in zip(system.state, moves, system.metric, strict=True):
        ranges = zip(variable.indices, compiled.ranges[variable.base], strict=True)
        parts.append(Sum(move.head**2 / metric, *((index, 1, upper) for index, upper in ranges)))
    return CompiledSystem(replace(system, loss=Add(*parts), definitions=(*system.definitions, *moves)))


@dataclass(frozen=True, eq=False, repr=False)
class SystemRun:
    """A trajectory of a system.

    Attributes
    ----------
    system, values
        What was integrated, with which parameters.
    t
        Times, shape (T,), in learning rate × steps; several per step of the solver.
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
        relative to the largest entry that it has had by then; the largest of all.
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
        return relied_on(self, self.doubt)

    def __repr__(self) -> str:
        doubt = "" if self.doubt is None else f", {self.doubt}"
        return f"SystemRun({self.system.parametrisation} to t = {self.t[-1]:.6g}, loss {self.loss[-1]:.6g}{doubt})"

    def at(self, t: float) -> dict[str, FloatArray]:
        """The state at a time from 0 to the last one; ``InputError`` outside."""
        return self._path.dynamics.named(self._flat(t))

    def loss_at(self, t: float) -> float:
        """The loss at a time from 0 to the last one; ``InputError`` outside."""
        return float(self._path.dynamics.loss.evaluate(self._flat(t)))

    def _flat(self, t: float) -> FloatArray:
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
        self._segments, self._start, self._unit, self._last = segments, start, unit, last
        self._ends = [segment.end for segment in segments]

    def times(self) -> FloatArray:
        places = [np.linspace(one.start, one.end, _ROWS_PER_STEP, endpoint=False) for one in self._segments]
        t: FloatArray = self._unit * np.expm1(np.concatenate(places))
        return np.append(t, self._last)  # as it was asked for, not as it comes back from log time

    def state(self, t: float) -> FloatArray:
        s = math.log1p(t / self._unit)
        if s <= 0:
            return self._start
        place = min(bisect_left(self._ends, s), len(self._ends) - 1)
        return np.asarray(self._segments[place].dense(min(s, self._ends[place])), dtype=np.float64)


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
        Relative tolerance of the looser of the two integrations; the reported one has ``rtol/100``.
    method
        "auto", "LSODA", "BDF", "Radau" or "DOP853".

    Raises ``InputError`` for values or a start that do not fit, ``IntegrationError`` where a solver cannot go on or the
    two runs go to different places.  Warns by ``ReliabilityWarning`` where they differ too much: see `SystemRun.doubt`.
    """
    run = _integrated(system, values, start, t_final, rtol, method)
    if run.doubt is not None:
        warnings.warn(run.doubt, ReliabilityWarning, stacklevel=2)
    return run


def integrate_system_reliably(*arguments: Any, **options: Any) -> SystemRun:
    """`integrate_system` for what rests on the run; ``UnreliableError`` where its error estimate is not small."""
    return _integrated(*arguments, **options).ensure_reliable()


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
    if not 1e-11 <= tolerance <= 1e-2:
        raise InputError(f"rtol must lie between 1e-11 and 1e-2, got {tolerance:g}")
    chosen = choose_method(method, len(flat), compiled=False)
    speed = dynamics.velocity(flat)
    if not np.isfinite(speed).all():
        raise InputError("the velocity at the start is not finite: the start lies outside the domain of the system")
    moving = float(np.abs(speed).max())
    unit = min(float(np.abs(flat).max()) / moving, last) if moving > 0 and flat.any() else last
    paths, evaluations = [], 0
    for rtol_of_run in (tolerance, tolerance / _TIGHTER):
        checking = rtol_of_run == tolerance
        stepper = Stepper(dynamics, chosen, rtol_of_run, flat, unit, math.log1p(last / unit), checking)
        try:
            with np.errstate(all="ignore"):
                segments = list(stepper.segments())
        except Stopped as stopped:
            raise IntegrationError(
                f"{stopped.reason.sentence} {stopped.detail}".strip(), stopped.reason.remedy
            ) from None
        paths.append(_Path(dynamics, segments, flat, unit, last))
        evaluations += stepper.counter.evaluations
    loose, tight = paths
    t = tight.times()
    rows = np.array([tight.state(time) for time in t])
    others = np.array([loose.state(time) for time in t])
    loss, other = (np.array([float(dynamics.loss.evaluate(row)) for row in each]) for each in (rows, others))
    relative = _relative(dynamics, rows, others, loss, other)
    run = SystemRun(
        system,
        dict(values),
        t,
        dynamics.named(rows),
        loss,
        np.array([dynamics.loss_rate(row) for row in rows]),
        float(np.abs(loss - other).max()),
        relative,
        chosen.name,
        tolerance / _TIGHTER,
        evaluations,
        tight,
    )
    if not relative < DISAGREEMENT:
        stop = StopReason.DISAGREEMENT
        raise IntegrationError(stop.sentence, stop.remedy, run)
    return run


def _relative(
    dynamics: SystemDynamics, rows: FloatArray, others: FloatArray, loss: FloatArray, other: FloatArray
) -> float:
    """`SystemRun.relative_error`."""
    found = [np.abs(loss - other) / max(float(np.abs(loss).max()), np.finfo(np.float64).tiny)]
    own, apart = dynamics.named(rows), dynamics.named(others - rows)
    for name, values in own.items():
        size = np.maximum.accumulate(np.abs(values).reshape(len(rows), -1).max(axis=1))
        moved = np.abs(apart[name]).reshape(len(rows), -1).max(axis=1)
        found.append(np.divide(moved, size, out=np.where(moved > 0, np.inf, 0.0), where=size > 0))
    return float(np.max(found))
