"""The orbit reduction in numbers: one problem's flow from one start, on the cells that these leave alike."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...theory.errors import InputError
from ...theory.flows.coordinates import to_log
from ...theory.flows.flow import gradient_flow
from ...theory.flows.orbits import Orbits, orbit_partition
from ...theory.flows.reduction import OrbitReduction, orbit_reduction
from ...theory.result import Record
from ..code.cell_loops import CellLoops, cell_loops
from ..problem.initial import InitialState
from ..problem.kinds import takes
from ..problem.problem import FloatArray, Problem
from ..runtime.store import remembered
from .derived import flow

_LARGEST_EXACT: Final = 64  # tasks and heads
_NO_WORK: Final = np.empty(0)
_HASHES: Final = 2**20  # with fewer than 2¹³ tasks and heads a sum of products of two stays below 2⁵³


@takes(problem=Problem, initial=InitialState)
def orbits_of(problem: Problem, initial: InitialState) -> Orbits:
    """The cells of tasks, heads and their pairs that problem and start leave alike.

    Tasks are told apart by d_i and λ_i, entries by μ_i^h and ω_i^h, all compared exactly.
    """
    if initial.mu.shape != (problem.n_tasks, problem.n_heads):
        raise InputError(
            f"mu and omega must have the shape (I, H) = {(problem.n_tasks, problem.n_heads)} of the problem, "
            f"got {initial.mu.shape}"
        )
    _, edges = np.unique(np.stack([initial.mu.ravel(), initial.omega.ravel()]), axis=1, return_inverse=True)
    return partition(list(zip(problem.dims, problem.signal_power, strict=True)), edges.reshape(initial.mu.shape))


def partition(tasks: Sequence[Hashable], edges: NDArray[np.intp]) -> Orbits:
    """`orbit_partition` of tasks with these colours, and entries with these numbers for colours, shape (I, H)."""
    if sum(edges.shape) > _LARGEST_EXACT:
        return _hashed_partition(tasks, edges)
    return orbit_partition(tasks, edges.tolist())


def _hashed_partition(tasks: Sequence[Hashable], edges: NDArray[np.intp]) -> Orbits:
    """`orbit_partition` for many tasks and heads: cells are told apart by random numbers.

    What a pair (u, v) sees through all w is summed up in Σ_w x(u, w) y(w, v), for x and y random integers per cell so
    small that the sum, a matrix product, has no rounding errors.  Different cells look alike with probability below
    1e-9; `OrbitDynamics` compares the velocity that comes out with that of the full flow.
    """
    n_tasks, n_heads = edges.shape
    numbers: dict[Hashable, int] = {}
    of_task = [numbers.setdefault(task, len(numbers)) for task in tasks]
    size = n_tasks + n_heads
    if _all_differ(np.array(of_task), edges):
        return Orbits(n_tasks, n_heads, tuple(map(tuple, np.arange(size**2).reshape(size, size).tolist())))
    entries = edges.astype(np.uint64) + np.uint64(3 + len(numbers))
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


def _all_differ(of_task: NDArray[np.intp], edges: NDArray[np.intp]) -> bool:
    """Whether tasks and heads are told apart already by their entries, and those by whose they are.

    Then pairs are too, and the matrices of all pairs are not needed.  Where random sums happen to be equal it says no.
    """
    draw = np.random.default_rng(0)
    colours, known = [of_task, np.zeros(edges.shape[1], np.intp)], 0
    while (found := sum(len(np.unique(one)) for one in colours)) > known:
        if found == sum(edges.shape):
            return True
        known = found
        for own, seen in ((0, edges), (1, edges.T)):
            keys = seen * (colours[1 - own].max() + 1) + colours[1 - own]
            _, places = np.unique(keys, return_inverse=True)
            sums = draw.integers(0, 2**63, places.max() + 1)[places.reshape(seen.shape)].sum(axis=1)
            _, places = np.unique(np.stack([colours[own], sums]), axis=1, return_inverse=True)
            colours[own] = places.reshape(-1)
    return False


def _ranked(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The place of each value among the different ones."""
    different = np.unique(values)
    return np.searchsorted(different, values).astype(np.uint64)


@dataclass(frozen=True, repr=False)
class OrbitFlow(Record):
    """A flow on the cells of one problem and start, as generated functions of a short flat state.

    The flat state y has one number per state variable and cell of entries, in the order of ``reduction.state``:
    (log μ, log ω) for ``balanced``, (μ, ω) for ``merged``.  Time t = learning rate × steps; the loss has no ½.

    Attributes
    ----------
    problem, parametrisation, closure
        Whose flow it is.
    orbits
        The cells.
    start
        y at time 0.
    """

    problem: Problem
    parametrisation: str
    closure: str
    orbits: Orbits
    start: FloatArray

    @property
    def size(self) -> int:
        """Length of y."""
        return len(self.start)

    @cached_property
    def reduction(self) -> OrbitReduction:
        """The equations, the problem's numbers put in, with their derivation."""
        plain = gradient_flow(self.parametrisation, self.closure)
        system = to_log(plain) if self.parametrisation == "balanced" else plain
        return orbit_reduction(system, self.orbits, self.problem.exact_values())

    @cached_property
    def loops(self) -> CellLoops:
        """Velocity, loss and Jacobian as loops, the parameters being names; kept on disk."""
        return self._kept(jacobian=True)

    @cached_property
    def _short_loops(self) -> CellLoops:
        """Those without the Jacobian, which takes long to derive where the cells are many."""
        return self._kept(jacobian=False)

    @cached_property
    def _named_reduction(self) -> OrbitReduction:
        system = flow(self.parametrisation, self.closure, "log" if self.parametrisation == "balanced" else "plain")
        return orbit_reduction(system, self.orbits)

    def _kept(self, jacobian: bool) -> CellLoops:
        shape = (jacobian, self.orbits.n_tasks, self.orbits.n_heads, self.parametrisation, self.closure)
        cells = hashlib.sha256(repr(shape).encode() + np.array(self.orbits.pairs).tobytes())
        return remembered(f"cells_{cells.hexdigest()[:16]}", lambda: cell_loops(self._named_reduction, jacobian))

    @cached_property
    def values(self) -> FloatArray:
        """The parameters of the loops."""
        known: dict[str, Any] = {}
        for name, value in self.problem.float_values().items():
            if np.ndim(value) == 0:
                known[name] = value
            else:  # per task: one number per class of tasks
                known |= {
                    f"{name}_{cell + 1}": one for cell, one in zip(self.orbits.tasks, np.ravel(value), strict=True)
                }
        return np.array([known[name] for name in self._short_loops.parameters], dtype=np.float64)

    def velocity(self, y: ArrayLike) -> FloatArray:
        """dy/dt."""
        return self._result("velocity", y, self.size)

    def jacobian(self, y: ArrayLike) -> FloatArray:
        """∂(dy/dt)/∂y, by the chain rule through the definitions."""
        return self._result("jacobian", y, self.size**2).reshape(self.size, self.size)

    def loss(self, y: ArrayLike) -> float:
        """The loss."""
        return float(self._result("loss", y, 1)[0])

    def expand(self, y: ArrayLike) -> FloatArray:
        """The full arrays of the state variables, shape (number of variables, I, H)."""
        values = self._checked(y).reshape(2, -1)
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
        """The generated functions as Python text: velocity and loss."""
        return self._short_loops.source

    @cached_property
    def _cells(self) -> NDArray[np.intp]:
        return np.array(self.orbits.entries)

    @cached_property
    def _first(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        tasks, heads = np.array([cell[0] for cell in self.orbits.cells]).T
        return tasks, heads

    def _result(self, name: str, y: ArrayLike, size: int) -> FloatArray:
        out = np.empty(size)
        loops = self.loops if name == "jacobian" else self._short_loops
        loops.program.plain(name)(self.values, self._checked(y), _NO_WORK, out)
        return out

    def _checked(self, y: ArrayLike) -> FloatArray:
        array = np.asarray(y, dtype=np.float64)
        if array.shape != (self.size,):
            raise InputError(f"the state must have shape ({self.size},), got {array.shape}")
        return array


@takes(problem=Problem, initial=InitialState)
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
    parametrisation does not have, `HypothesisError` for a flow that the cells need not keep.
    """
    initial.check(problem, parametrisation)
    if orbits is None:
        orbits = orbits_of(problem, initial)
    tasks, heads = np.array([cell[0] for cell in orbits.cells]).T
    start = np.concatenate([initial.mu[tasks, heads], initial.omega[tasks, heads]])
    found = OrbitFlow(
        problem, parametrisation, closure, orbits, np.log(start) if parametrisation == "balanced" else start
    )
    found._short_loops  # noqa: B018  (derives: what is refused is refused here)
    return found
