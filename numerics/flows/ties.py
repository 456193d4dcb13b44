"""Ties: entries of μ and ω that start equal or opposite and that the flow keeps so, integrated as one number each.

A tie is exact, but mostly unstable: rounding errors that differ between tied entries grow until the computed flow
leaves the manifold that the exact flow stays on, for another limit.  So no solver is given the chance: each entry has
the rate of the first entry of its cell, and the Jacobian is that of these rates.  What a solver integrates is then the
flow on the cells (`headflow.theory.flows.orbits` has the proof that there is one) in the coordinates of the full flow.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...theory.flows.orbits import tied_entries
from ..code import BoundKernel, JacobianProduct
from ..code.unrolled import Kernel
from ..problem.initial import InitialState
from ..problem.problem import FloatArray, Problem
from .allocation import named
from .orbits import partition

IntArray: TypeAlias = NDArray[np.int64]

NO_CODES: Final = np.empty(0, np.int64)


@dataclass(frozen=True, eq=False)
class Ties:
    """Which entries are tied.

    Attributes
    ----------
    cells
        Per entry (I, H) the number of its cell from 1, negative for the opposite of the cell's first entry; 0 for an
        entry that stays zero.
    """

    cells: IntArray

    @property
    def size(self) -> int:
        """How many cells there are that do not stay zero."""
        return int(np.abs(self.cells).max())

    @cached_property
    def first(self) -> NDArray[np.intp]:
        """Per entry of the flat (μ, ω) the place of the first entry of its cell; of a zero its own."""
        numbers = np.abs(self.cells).ravel()
        _, places, back = np.unique(numbers, return_index=True, return_inverse=True)
        alone = np.where(numbers == 0, np.arange(numbers.size), places[back])
        return np.concatenate([alone, alone + numbers.size])

    @cached_property
    def side(self) -> FloatArray:
        """Per entry of the flat (μ, ω) 1 or −1, 0 for a zero."""
        return np.tile(np.sign(self.cells).ravel(), 2).astype(np.float64)

    @cached_property
    def codes(self) -> IntArray:
        """±(1 + place of the first), 0 for a zero: `headflow.numerics.steps.loops` has no other tables."""
        return (self.side * (1 + self.first)).astype(np.int64)

    def moved(self, rates: FloatArray) -> FloatArray:
        """Flat rates of change, shape (…, 2IH), with those of the cells' firsts."""
        found: FloatArray = self.side * rates[..., self.first]
        return found

    def spread(self, y: FloatArray, start: FloatArray) -> FloatArray:
        """Flat states with the entries of the cells' firsts, as moved from ``start``."""
        shift = start - self.moved(start)  # of numbers that mean opposite weights and are not opposite themselves
        return np.where(shift == 0, self.moved(y), self.moved(y) + shift)

    def matrix(self, jacobian: FloatArray) -> FloatArray:
        """The Jacobian of `moved` rates at a `spread` state, by the flat state."""
        order = np.argsort(self.first, kind="stable")
        kept, starts = np.unique(self.first[order], return_index=True)
        columns = np.zeros_like(jacobian)
        columns[:, kept] = np.add.reduceat((jacobian * self.side)[:, order], starts, axis=1)
        found: FloatArray = self.side[:, None] * columns[self.first]
        return found

    def __str__(self) -> str:
        """One sentence, heads and tasks counted from 1."""
        empty = [task for task, row in enumerate(self.cells) if not row.any()]
        found = [
            *_alike("head", self.cells.T, "start identical"),
            *_opposite("head", self.cells.T),
            *_alike("task", self.cells, "start alike"),
            *_opposite("task", self.cells),
        ]
        said = [f"{', '.join(found)}{', ' if len(found) > 1 else ' '}and stay so"] if found else []
        said += [f"{named('task', empty)} stay{'s' if len(empty) == 1 else ''} at zero"] if empty else []
        cells = f"{self.size} cell{'' if self.size == 1 else 's'}"
        return "; ".join(
            [
                *(said or ["a symmetry exchanges heads and tasks, and stays"]),
                f"integrated exactly on {cells} of {self.cells.size} entries",
            ]
        )


def _alike(name: str, rows: IntArray, how: str) -> list[str]:
    groups: dict[bytes, list[int]] = {}
    for place, row in enumerate(rows):
        if row.any():
            groups.setdefault(row.tobytes(), []).append(place)
    return [f"{named(name, group)} {how}" for group in groups.values() if len(group) > 1]


def _opposite(name: str, rows: IntArray) -> list[str]:
    seen: dict[bytes, int] = {}
    found = []
    for place, row in enumerate(rows):
        other = seen.get((-row).tobytes())
        if other is not None and row.any():
            found.append(f"{named(name, [other, place])} start opposite")
        seen.setdefault(row.tobytes(), place)
    return found


def ties_of(problem: Problem, initial: InitialState, parametrisation: str) -> Ties | None:
    """The ties that problem and start leave to a flow, None where there are none; all numbers are compared exactly."""
    numbers = numbers_of(initial)
    if any(len(np.unique(np.abs(row))) == row.size for row in numbers[:2]):  # quick, and no two are alike
        return None
    return ties_of_numbers(list(zip(problem.dims, problem.signal_power, strict=True)), numbers, parametrisation)


def numbers_of(initial: InitialState) -> FloatArray:
    """What the flow knows of each entry, shape (4, IH): μ, ω, |Δ| and |Γ|, whose signs change no weight."""
    return np.stack([initial.mu, initial.omega, *np.abs(initial.imbalance)]).reshape(4, -1)


def ties_of_numbers(tasks: Sequence[Hashable], numbers: FloatArray, parametrisation: str) -> Ties | None:
    """`ties_of` for the colours of the tasks and the numbers of the entries."""
    size = numbers.shape[1]
    empty = (numbers[:2] == 0).all(axis=0).reshape(len(tasks), -1).all(axis=1)  # a task that is its own mirror
    mirrored = parametrisation != "balanced" and bool((numbers[:2] < 0).any() or empty.any())
    if mirrored:
        numbers = np.concatenate([numbers, numbers * [[-1.0], [-1.0], [1.0], [1.0]] + 0.0], axis=1)
    _, edges = np.unique(numbers, axis=1, return_inverse=True)
    kinds: dict[Hashable, int] = {}
    colours = tuple(kinds.setdefault(task, len(kinds)) for task in tasks) * (1 + mirrored)
    found = _ties(colours, edges.astype(np.int64).tobytes(), size // len(tasks), mirrored)
    return found if found.size < size else None


def codes_of(ties: Sequence[Ties | None], size: int) -> IntArray:
    """Per member of an ensemble the codes of its ties, shape (members, ``size``); (members, 0) if no member has any."""
    if not any(ties):
        return np.empty((len(ties), 0), np.int64)
    own = np.arange(1, 1 + size)
    return np.stack([own if one is None else one.codes for one in ties])


@lru_cache(maxsize=4096)
def _ties(tasks: tuple[int, ...], edges: bytes, n_heads: int, mirrored: bool) -> Ties:
    numbers = np.frombuffer(edges, np.int64).reshape(-1, n_heads)
    return Ties(np.array(tied_entries(partition(tasks, numbers), mirrored)))


@dataclass(frozen=True, eq=False)
class TiedKernel:
    """A velocity, or its Jacobian, of the flow whose tied entries all have the rates of the first of their cell."""

    kernel: Kernel
    ties: Ties
    start: FloatArray

    def evaluate(self, state: FloatArray, factor: float | None = None) -> FloatArray:
        """The result for a flat state, times ``factor``, as a new array."""
        found = self.kernel.evaluate(self.ties.spread(state, self.start), factor)
        return self.ties.moved(found) if found.ndim == 1 else self.ties.matrix(found)

    __call__ = evaluate


@dataclass(frozen=True, eq=False)
class TiedProduct:
    """`JacobianProduct` of such a flow."""

    product: JacobianProduct
    ties: Ties
    start: FloatArray

    def at(self, y: FloatArray) -> TiedDirections:
        """Flat direction → the Jacobian at this flat state times it."""
        return TiedDirections(self.product.at(self.ties.spread(y, self.start)), self.ties)


@dataclass(frozen=True, eq=False)
class TiedDirections:
    """The Jacobian of such a flow at one state, as a map of directions."""

    kernel: BoundKernel
    ties: Ties

    def evaluate(self, direction: FloatArray, factor: float | None = None) -> FloatArray:
        """The Jacobian times a direction, times ``factor``."""
        return self.ties.moved(self.kernel.evaluate(self.ties.moved(direction), factor))
