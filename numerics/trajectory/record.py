"""The rows of an integration, and the state at any time between them: what phases and events are read off."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any, Self, overload

import numpy as np

from ...theory.brief import Brief
from ..flows.allocation import Allocation
from ..flows.altered import Altered
from ..flows.derived import flow
from ..flows.domain import where_invalid, where_next_term_counts
from ..flows.dynamics import Dynamics
from ..flows.orbit_dynamics import OrbitDynamics, rebuilt_dynamics
from ..flows.ties import ties_of
from ..problem.exact import as_float, no_later, several
from ..problem.initial import InitialState
from ..problem.problem import FloatArray, Problem
from ..runtime.reliability import doubt_about, relied_on
from ..runtime.stop import StopReason
from ..solving.panels import DEGREE, interpolate


@dataclass(frozen=True, eq=False, repr=False)
class State(Brief):
    """The weights at one time.

    Attributes
    ----------
    t
        Time = learning rate × steps.
    mu, omega
        Output-value and key-query eigenvalues, read-only arrays of shape (I, H).
    loss
        The population loss, without ½.
    """

    t: float
    mu: FloatArray
    omega: FloatArray
    loss: float

    @property
    def allocation(self) -> Allocation:
        """Which head has which task."""
        return Allocation.of(self.mu, self.omega)

    def to_json(self) -> dict[str, Any]:
        """t, mu, omega (nested lists) and loss."""
        return {"t": self.t, "mu": self.mu.tolist(), "omega": self.omega.tolist(), "loss": self.loss}


@dataclass(frozen=True)
class Stats:
    """The cost of both integrations together; ``seconds`` is wall time, ``products`` are of Jacobian and vector."""

    evaluations: int
    jacobians: int
    steps: int
    seconds: float
    products: int = 0


@dataclass(frozen=True, eq=False, repr=False)
class Record:
    """The rows of a gradient flow, from its initial state to where it stopped, and its state at any time.

    Time t = learning rate × steps; the loss has no ½ and a noise-free query target.

    Attributes
    ----------
    problem, initial, parametrisation, closure, altered
        What was integrated; ``altered`` is what the user has changed of the flow, None for the package's own.
    t_final, times
        As asked for, in that order; ``times`` is () if none were.
    rtol
        The tolerance used: the one asked for, or a tighter one where that left an error that is not small.
    method, method_reason
        The solver or solvers used, and why.
    stop, stop_detail
        Why it ended; with details where it ended early or is not reliable.
    stats
        The cost.
    t_unit
        The unit of log time s = log(1 + t/t_unit); see `headflow.numerics.flows.dynamics`.
    t, loss
        Times of the rows and the loss there, shape (N,); rows lie evenly in log time, closer where the state
        moves fast, and include 0, ``t_final`` and ``times``.
    error, loss_error
        Estimated relative errors per row, shape (N,): of loss, μ and ω together, and of the loss alone; the largest
        since (t + t_unit)/e, as at one moment two integrations can be near to each other by chance.
    error_estimate
        The largest entry of ``error``: how far this trajectory, computed with rtol/100, is from a second one computed
        with rtol; infinite if there is no second one.  It is an estimate, no bound: where the two errors happen to be
        alike it is too small.  The loss counts relative to itself, μ and ω relative to their largest entry then.
    interpolation_error
        The same distance between `at` and the solver's own dense output, the largest that was seen.
    """

    problem: Problem
    initial: InitialState
    parametrisation: str
    closure: str
    t_final: float
    times: tuple[float, ...]
    rtol: float
    method: str
    method_reason: str
    stop: StopReason
    stop_detail: str
    stats: Stats
    t_unit: float
    t: FloatArray
    loss: FloatArray
    error: FloatArray
    loss_error: FloatArray
    interpolation_error: float
    # The solver's flat states per row (see Dynamics); which rows are panel points; the panels' ends.
    states_flat: FloatArray = field(repr=False)
    is_node: FloatArray = field(repr=False)
    edges: FloatArray = field(repr=False)
    # Where the panels are too coarse for the loss: rows of (left, right, loss at Chebyshev points) in log time.
    loss_panels: FloatArray = field(repr=False, default_factory=lambda: np.empty(0))
    # Whether the flat states have one number per cell of entries (see OrbitDynamics) instead of one per entry.
    reduced: bool = field(repr=False, default=False)
    altered: Altered | None = None

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, np.ndarray):
                value.flags.writeable = False

    def __getstate__(self) -> dict[str, Any]:
        return {item.name: getattr(self, item.name) for item in fields(self)}  # generated code stays behind

    @cached_property
    def _dynamics(self) -> Dynamics | OrbitDynamics:
        what = (self.problem, self.initial, self.parametrisation, self.closure)
        full = Dynamics(*what, self.altered)
        return rebuilt_dynamics(full, *what, self.states_flat.shape[1]) if self.reduced else full

    @cached_property
    def _panel_states(self) -> FloatArray:
        kept = self.is_node.astype(bool)
        found: FloatArray = self.states_flat if kept.all() else self.states_flat[kept]
        return found

    @property
    def error_estimate(self) -> float:
        """See the class."""
        return float(self.error.max())

    @property
    def completed(self) -> bool:
        """Whether t_final was reached, with an error that is small by its own estimate."""
        return self.stop.completed

    @cached_property
    def doubt(self) -> str | None:
        """Why the trajectory is not to be relied on, as a sentence; None where its error estimate is small.

        See "Reliability" in docs/conventions.md: nothing that would follow from the numbers is derived then.
        """
        worst = int(np.argmax(self.error))  # the first that is not a number, if any
        return doubt_about(float(self.error[worst]), f" at t = {self.t[worst]:.6g}")

    @property
    def reliable(self) -> bool:
        """Whether its error estimate is small."""
        return self.doubt is None

    def ensure_reliable(self) -> Self:
        """The trajectory itself.

        Raises
        ------
        UnreliableError
            If its error estimate is not small.
        """
        return relied_on(self, self.doubt)

    @cached_property
    def caveats(self) -> tuple[str, ...]:
        """Sentences on what to keep in mind: `doubt` first, then where the closure is outside its range of validity."""
        return (*([] if self.doubt is None else [self.doubt]), *self._validity)

    @cached_property
    def _validity(self) -> tuple[str, ...]:
        validity = flow(self.parametrisation, self.closure).validity
        if not validity:
            return ()
        said = (where_invalid(self.closure, validity, self), where_next_term_counts(self.closure, self))
        return tuple(sentence for sentence in said if sentence is not None)

    @cached_property
    def reduction(self) -> str:
        """Which weights start equal or opposite, stay so, and were integrated as one, in a sentence; "" if none."""
        ties = ties_of(self.problem, self.initial, self.parametrisation)
        if self.altered is not None and isinstance(self._dynamics, Dynamics):
            ties = self._dynamics.ties
        return "" if ties is None else str(ties)

    @cached_property
    def weights(self) -> FloatArray:
        """μ and ω of every row: shape (2, N, I, H)."""
        with np.errstate(all="ignore"):
            found = self._dynamics.weights(self.states_flat)
        found.flags.writeable = False
        return found

    @property
    def mu(self) -> FloatArray:
        """μ of every row, shape (N, I, H)."""
        found: FloatArray = self.weights[0]
        return found

    @property
    def omega(self) -> FloatArray:
        """ω of every row, shape (N, I, H)."""
        found: FloatArray = self.weights[1]
        return found

    @cached_property
    def objective(self) -> FloatArray:
        """What the flow descends, at every row, shape (N,): `loss`, with the added loss if there is one."""
        if self.altered is None:
            return self.loss
        parts = self.factors if self.parametrisation == "split" else self.weights
        kernel = self.altered.objective(self.problem)
        rows = np.moveaxis(parts, 1, 0).reshape(len(self.t), -1)
        found = np.array([kernel.evaluate(row).item() for row in rows])
        found.flags.writeable = False
        return found

    @cached_property
    def factors(self) -> FloatArray:
        """The factors o, v, k, q of every row of a ``split`` flow: shape (4, N, I, H); μ = o v, ω = k q/√d_e.

        Raises ``InputError`` for another parametrisation.
        """
        found = self._dynamics.factors(self.states_flat)
        found.flags.writeable = False
        return found

    @overload
    def at(self, t: float) -> State: ...

    @overload
    def at(self, t: Iterable[float]) -> tuple[State, ...]: ...

    def at(self, t: float | Iterable[float]) -> State | tuple[State, ...]:
        """The state at time ``t``, anywhere from 0 to the last row; of several times a tuple of states, in their order.

        Between rows it interpolates to degree 7 in log time; `interpolation_error` says how well.

        Raises
        ------
        InputTypeError, InputError
            If ``t`` is no number or lies outside.
        """
        if several(t):
            return tuple(map(self._state_at, t))
        return self._state_at(t)

    def _state_at(self, t: object) -> State:
        time = self._inside(t)
        y = self._flat(time)
        with np.errstate(all="ignore"):
            mu, omega = self._dynamics.weights(y)
            loss = self._dynamics.loss(y)
        mu.flags.writeable = omega.flags.writeable = False
        return State(time, mu, omega, loss)

    def weights_at(self, t: float | Iterable[float]) -> FloatArray:
        """μ and ω at time ``t``, shape (2, I, H), or at T times, (T, 2, I, H); as `at`, without the loss."""
        if several(t):
            return np.array([self.weights_at(time) for time in t]).reshape(-1, 2, *self.initial.mu.shape)
        with np.errstate(all="ignore"):
            return self._dynamics.weights(self._flat(self._inside(t)))

    @overload
    def loss_at(self, t: float) -> float: ...

    @overload
    def loss_at(self, t: Iterable[float]) -> FloatArray: ...

    def loss_at(self, t: float | Iterable[float]) -> float | FloatArray:
        """The loss at time ``t``, or at T times as an array (T,).

        It is from the solver's own dense output where panels do not reproduce it.
        """
        if several(t):
            return np.array([self._loss_at(time) for time in t])
        return self._loss_at(t)

    def _loss_at(self, t: object) -> float:
        time = self._inside(t)
        with np.errstate(all="ignore"):
            if len(self.loss_panels) and time not in (self.t[0], self.t[-1]):
                s = math.log1p(time / self.t_unit)
                place = int(np.searchsorted(self.loss_panels[:, 0], s, side="right")) - 1
                left, right, *values = self.loss_panels[max(place, 0)]
                if left <= s <= right:
                    return float(interpolate(left, right, np.array(values)[:, None], s)[0])
            return self._dynamics.loss(self._flat(time))

    def _inside(self, t: object) -> float:
        return no_later("t", as_float("t", t), float(self.t[-1]), "the trajectory's end")

    def _flat(self, t: float) -> FloatArray:
        row = int(np.searchsorted(self.t, t))
        if self.t[row] == t:
            found: FloatArray = self.states_flat[row]
            return found
        s = math.log1p(t / self.t_unit)
        panel = min(max(int(np.searchsorted(self.edges, s)) - 1, 0), len(self.edges) - 2)
        values = self._panel_states[panel * DEGREE : (panel + 1) * DEGREE + 1]
        return interpolate(float(self.edges[panel]), float(self.edges[panel + 1]), values, s)

    def _row(self, row: int) -> State:
        with np.errstate(all="ignore"):
            mu, omega = self._dynamics.weights(self.states_flat[row])
        mu.flags.writeable = omega.flags.writeable = False
        return State(float(self.t[row]), mu, omega, float(self.loss[row]))

    @property
    def final(self) -> State:
        """The last state."""
        return self._row(len(self.t) - 1)

    @property
    def states(self) -> tuple[State, ...]:
        """The states at the ``times`` asked for, in their order, as far as they were reached."""
        rows = np.searchsorted(self.t, [time for time in self.times if time <= self.t[-1]])
        return tuple(self._row(int(row)) for row in rows)

    @cached_property
    def allocation(self) -> Allocation:
        """Which head has which task at the end; not known where the trajectory is not reliable."""
        if self.doubt is not None:
            return Allocation.unknown(self.problem.n_tasks, self.doubt)
        return self.final.allocation

    def __repr__(self) -> str:
        changed = "" if self.altered is None else f" {self.altered.title}"
        return (
            f"{type(self).__name__}({self.problem.n_tasks} tasks, {self.problem.n_heads} heads, "
            f"{self.parametrisation}{changed}, {len(self.t)} rows to t = {self.t[-1]:.6g}, "
            f"loss {self.loss[-1]:.6g}, {self.stop.value})"
        )

    def stats_json(self) -> dict[str, Any]:
        """The cost by name."""
        return asdict(self.stats)
