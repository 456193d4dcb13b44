"""Flows that solvers see reduced to orbits: one number per cell in the place of one per task and head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ...theory.errors import HypothesisError, InputError
from ..problem.initial import InitialState
from ..problem.problem import FloatArray, Problem
from .dynamics import AGREEMENT, Dynamics, apart
from .orbits import OrbitFlow, orbit_flow, orbits_of
from .ties import NO_CODES, IntArray

if TYPE_CHECKING:
    from ..steps.native import Integrator

_FEWEST_ENTRIES: Final = 36  # of tasks and heads: below, the full flow is as cheap
_MOST_CELLS: Final = 8


@dataclass(frozen=True)
class _Function:
    function: Callable[[FloatArray], FloatArray]

    def evaluate(self, state: FloatArray, factor: float = 1.0) -> FloatArray:
        return self.function(state) * factor


class OrbitDynamics:
    """What `Dynamics` is to a flow, for its reduction to the cells that problem and start leave alike.

    The flat state has one number per variable and cell; `weights` gives the full arrays.  Exact, not an
    approximation: see `headflow.theory.flows.orbits`.  ``full`` is the flow that is reduced.
    """

    def __init__(self, full: Dynamics, flow: OrbitFlow) -> None:
        self.full, self.flow, self.log = full, flow, full.log
        self.velocity = _Function(flow.velocity)
        self.jacobian = _Function(flow.jacobian)

    def integrator(self) -> tuple[Integrator, FloatArray, IntArray]:
        """As `Dynamics.integrator`."""
        from ..steps.native import integrator

        return integrator(self.flow.loops), self.flow.values, NO_CODES

    @property
    def size(self) -> int:
        """Length of the flat state."""
        return self.flow.size

    @property
    def start(self) -> FloatArray:
        """The flat state at time 0."""
        return self.flow.start

    def weights(self, y: FloatArray) -> FloatArray:
        """μ and ω of flat states: shape (2, …, I, H)."""
        rows = [self.flow.expand(row) for row in self.full.chart.undone(y).reshape(-1, self.size)]
        full = np.stack(rows, axis=1)
        return full.reshape(2, *y.shape[:-1], *full.shape[-2:])

    def factors(self, y: FloatArray) -> FloatArray:
        """Refused: only split weights have factors, and those are not reduced."""
        return self.full.factors(y)

    def loss(self, y: FloatArray) -> float:
        """The loss of one flat state."""
        return self.flow.loss(y)

    def rate(self, y: FloatArray) -> float:
        """As `Dynamics.rate`."""
        return self.full.rate(self.flow.expand(y).ravel())

    def check(self) -> None:
        """As `Dynamics.check`."""
        self.full.check()

    def overflow(self, weights: FloatArray) -> str:
        """As `Dynamics.overflow`."""
        return self.full.overflow(weights)

    def distances(self, y: FloatArray, reference: FloatArray) -> tuple[FloatArray, FloatArray]:
        """As `Dynamics.distances`."""
        return apart(*self._loss_and_weights(y), *self._loss_and_weights(reference))

    def _loss_and_weights(self, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Weights once per cell, (…, 2, cells, 1)."""
        losses = np.array([self.loss(row) for row in y.reshape(-1, self.size)])
        return losses.reshape(y.shape[:-1]), self.full.chart.undone(y).reshape(*y.shape[:-1], 2, -1, 1)

    def agrees(self, y: FloatArray) -> bool:
        """Whether the full flow moves the expanded state as the reduced flow moves ``y``."""
        whole = self.full.velocity.evaluate(self.flow.expand(y).ravel())
        ours = self.flow.expand(self.flow.velocity(y)).ravel()
        return bool(np.abs(whole - ours).max() <= AGREEMENT * np.abs(whole).max())


def rebuilt_dynamics(
    full: Dynamics, problem: Problem, initial: InitialState, parametrisation: str, closure: str, size: int
) -> OrbitDynamics:
    """The reduction with flat states of ``size`` numbers, whether it is worth it or not.

    Raises `InputError` where problem and start have none.
    """
    orbits = orbits_of(problem, initial)
    if 2 * len(orbits.cells) != size:
        raise InputError(
            f"the states have {size} numbers, but problem and start have {len(orbits.cells)} cells of μ and ω each"
        )
    return OrbitDynamics(full, orbit_flow(problem, initial, parametrisation, closure, orbits))


def reduced_dynamics(
    full: Dynamics, problem: Problem, initial: InitialState, parametrisation: str, closure: str
) -> OrbitDynamics | None:
    """The reduction of a flow of ``balanced`` or ``merged`` weights, where it leaves few cells of many entries."""
    if parametrisation == "split" or initial.mu.size < _FEWEST_ENTRIES:
        return None
    if any(len(np.unique(array)) > _MOST_CELLS for array in (initial.mu, initial.omega)):
        return None
    try:
        orbits = orbits_of(problem, initial)
        if len(orbits.cells) > _MOST_CELLS or 4 * len(orbits.cells) > initial.mu.size:
            return None
        if full.ties is not None and full.ties.size < len(orbits.cells):  # opposite entries: cells know equal ones only
            return None
        found = OrbitDynamics(full, orbit_flow(problem, initial, parametrisation, closure, orbits))
    except HypothesisError:
        return None
    elsewhere = found.start * (1 + 0.1 * np.random.default_rng(0).random(found.size))
    return found if found.agrees(found.start) and found.agrees(elsewhere) else None
