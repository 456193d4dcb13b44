"""Owns the orbit reduction in numbers: one problem's flow from one start, on the cells that these leave alike."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sympy import Add, Integer, Symbol

from ..theory.coordinates import to_log
from ..theory.errors import InputError
from ..theory.flow import gradient_flow
from ..theory.orbits import Orbits, orbit_partition
from ..theory.reduction import OrbitReduction, orbit_reduction
from .codegen.printer import generated, source_of
from .initial import InitialState
from .problem import FloatArray, Problem

_LARGEST_EXACT: Final = 64  # tasks and heads
_HASHES: Final = 2**20  # with fewer than 2¹³ tasks and heads a sum of products of two stays below 2⁵³


def orbits_of(problem: Problem, initial: InitialState) -> Orbits:
    """The cells of tasks, heads and their pairs that problem and start leave alike.

    Tasks are told apart by d_i and λ_i, entries by μ_i^h and ω_i^h, all compared exactly.
    """
    if initial.mu.shape != (problem.n_tasks, problem.n_heads):
        raise InputError(
            f"mu and omega must have the shape (I, H) = {(problem.n_tasks, problem.n_heads)} of the problem, "
            f"got {initial.mu.shape}"
        )
    tasks = list(zip(problem.dims, problem.signal_power, strict=True))
    if problem.n_tasks + problem.n_heads > _LARGEST_EXACT:
        return _hashed_partition(tasks, initial.mu, initial.omega)
    weights = np.stack([initial.mu, initial.omega], axis=-1).tolist()
    return orbit_partition(tasks, [[tuple(entry) for entry in row] for row in weights])


def _hashed_partition(tasks: Sequence[Hashable], mu: FloatArray, omega: FloatArray) -> Orbits:
    """`orbit_partition` for many tasks and heads: cells are told apart by random numbers.

    What a pair (u, v) sees through all w is summed up in Σ_w x(u, w) y(w, v), for x and y random integers per cell so
    small that the sum, a matrix product, has no rounding errors.  Different cells look alike with probability below
    1e-9; `OrbitDynamics` compares the velocity that comes out with that of the full flow.
    """
    n_tasks, n_heads = mu.shape
    numbers: dict[Hashable, int] = {}
    of_task = [numbers.setdefault(task, len(numbers)) for task in tasks]
    mixed = _ranked(_ranked(mu.view(np.uint64)) * np.uint64(mu.size + 1) + _ranked(omega.view(np.uint64)))
    entries = mixed + np.uint64(3 + len(numbers))
    size = n_tasks + n_heads
    cells = np.zeros((size, size), np.uint64)
    cells[n_tasks:, n_tasks:] = 1
    cells[:n_tasks, n_tasks:] = entries
    cells[n_tasks:, :n_tasks] = entries.T + entries.max() + np.uint64(1)
    np.fill_diagonal(cells, [*(number + 3 for number in of_task), *[2] * n_heads])
    draw = np.random.default_rng(0)
    cells = _ranked(cells)
    count = int(cells.max()) + 1
    while True:
        seen = [_ranked(cells), _ranked(cells.T)]
        for _ in range(2):
            left, right = draw.integers(1, _HASHES, (2, count)).astype(np.float64)
            seen.append((left[cells] @ right[cells]).astype(np.uint64))
        odd = draw.integers(0, 2**63, len(seen), dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        cells = _ranked(sum((part * factor for part, factor in zip(seen, odd, strict=True)), np.zeros_like(cells)))
        finer = int(cells.max()) + 1
        if finer == count:
            return Orbits(n_tasks, n_heads, tuple(map(tuple, cells.tolist())))
        count = finer


def _ranked(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The place of each value among the different ones."""
    different = np.unique(values)
    return np.searchsorted(different, values).astype(np.uint64)


@dataclass(frozen=True)
class OrbitFlow:
    """A flow on the cells of one problem and start, as generated functions of a short flat state.

    The flat state y has one number per state variable and cell of entries, in the order of ``reduction.state``:
    (log μ, log ω) for ``balanced``, (μ, ω) for ``merged``.  Time t = learning rate × steps; the loss has no ½.

    Attributes
    ----------
    reduction
        The equations, their numbers put in.
    start
        y at time 0.
    """

    reduction: OrbitReduction
    start: FloatArray

    @property
    def size(self) -> int:
        """Length of y."""
        return len(self.reduction.state)

    def velocity(self, y: ArrayLike) -> FloatArray:
        """dy/dt."""
        return np.array(self._velocity(*self._checked(y)), dtype=np.float64)

    def jacobian(self, y: ArrayLike) -> FloatArray:
        """∂(dy/dt)/∂y, by the chain rule through the definitions."""
        return np.array(self._jacobian(*self._checked(y)), dtype=np.float64).reshape(self.size, self.size)

    def loss(self, y: ArrayLike) -> float:
        """The loss."""
        return float(self._loss(*self._checked(y))[0])

    def expand(self, y: ArrayLike) -> FloatArray:
        """The full arrays of the state variables, shape (number of variables, I, H)."""
        values = self._checked(y).reshape(len(self.reduction.system.state), -1)
        return values[:, self._cells]

    def collapse(self, arrays: ArrayLike) -> FloatArray:
        """y of full arrays (number of variables, I, H); `InputError` where they are not equal on each cell."""
        full = np.asarray(arrays, dtype=np.float64)
        y: FloatArray = full[:, *self._first].ravel()
        if not np.array_equal(self.expand(y), full):
            raise InputError("the arrays must be equal on each cell of the partition")
        return y

    @property
    def source(self) -> str:
        """The generated functions as Python text: velocity, then loss."""
        return f"{source_of(self._velocity, 'velocity')}\n{source_of(self._loss, 'loss')}"

    @cached_property
    def _cells(self) -> NDArray[np.intp]:
        return np.array(self.reduction.orbits.entries)

    @cached_property
    def _first(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        tasks, heads = np.array([cell[0] for cell in self.reduction.orbits.cells]).T
        return tasks, heads

    @cached_property
    def _velocity(self) -> Callable[..., Any]:
        return self._generated("velocity", self.reduction.velocity)

    @cached_property
    def _jacobian(self) -> Callable[..., Any]:
        state = self.reduction.state
        steps: list[tuple[str, Any]] = []
        known: dict[Any, dict[Any, Any]] = {name: {name: Integer(1)} for name in state}

        def partial(expression: Any, name: Symbol) -> Any:
            inner = [other for other in expression.free_symbols if name in known.get(other, {})]
            return Add(*(expression.diff(other) * known[other][name] for other in inner))

        for item in self.reduction.definitions:
            steps.append((item.head.name, item.body))
            found = {name: value for name in state if (value := partial(item.body, name)) != 0}
            known[item.head] = {name: Symbol(f"{item.head.name}_by_{name.name}") for name in found}
            steps += [(known[item.head][name].name, value) for name, value in found.items()]
        entries = [partial(rhs, name) for rhs in self.reduction.velocity for name in state]
        results = [(f"jacobian_{place}", value) for place, value in enumerate(entries, 1)]
        names = [name.name for name in state]
        doc = f"The Jacobian on the cells, row by row.\n\nArguments, in order: {', '.join(names)}."
        return generated(names, [*steps, *results], [result for result, _ in results], doc)

    @cached_property
    def _loss(self) -> Callable[..., Any]:
        return self._generated("loss", [self.reduction.loss])

    def _generated(self, name: str, values: Sequence[Any]) -> Callable[..., Any]:
        reduction = self.reduction
        names = [symbol.name for symbol in reduction.state]
        steps = [(item.head.name, item.body) for item in reduction.definitions]
        results = [(f"{name}_{place}", value) for place, value in enumerate(values, 1)]
        doc = f"The {name} on the cells.\n\nArguments, in order: {', '.join(names)}."
        return generated(names, [*steps, *results], [result for result, _ in results], doc)

    def _checked(self, y: ArrayLike) -> FloatArray:
        array = np.asarray(y, dtype=np.float64)
        if array.shape != (self.size,):
            raise InputError(f"the state must have shape ({self.size},), got {array.shape}")
        return array


def orbit_flow(
    problem: Problem,
    initial: InitialState,
    parametrisation: str = "balanced",
    closure: str = "leading",
    orbits: Orbits | None = None,
) -> OrbitFlow:
    """The flow of a problem from a start, one number per cell of entries instead of I·H.

    Its formulas are written out cell by cell: worth it where the cells are few (``orbits_of`` says how many;
    ``orbits`` takes its answer, where it is known).  Raises `InputError` for unknown names and for a start that the
    parametrisation does not have.
    """
    initial.check(problem, parametrisation)
    plain = gradient_flow(parametrisation, closure)
    log = parametrisation == "balanced"
    if orbits is None:
        orbits = orbits_of(problem, initial)
    reduction = orbit_reduction(to_log(plain) if log else plain, orbits, problem.exact_values())
    tasks, heads = np.array([cell[0] for cell in orbits.cells]).T
    start = np.concatenate([initial.mu[tasks, heads], initial.omega[tasks, heads]])
    return OrbitFlow(reduction, np.log(start) if log else start)
