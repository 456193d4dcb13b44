"""The partition of entries that a problem and its start leave alike: a coherent configuration.

Tasks and heads are vertices; a task's colour is what the flow knows of it (d_i, λ_i), the colour of a task and a head
is what the flow starts from there (μ_i^h, ω_i^h).  A partition of the ordered pairs of vertices is *coherent* if it
keeps the diagonal apart, holds the transpose of each of its cells, and if the number of vertices w with (u, w) in cell
a and (w, v) in cell b depends on the cell of (u, v) alone (its intersection number).  The coarsest coherent partition
finer than the colours is found by refinement (Weisfeiler and Leman, 1968, in dimension two).

Why the flow keeps it.  Let 𝒜 be the matrices that are constant on each cell.  𝒜 is closed under entrywise functions
and transposes, trivially, and under matrix products: the entry (u, v) of A B is Σ_{a,b} p_ab A_a B_b with the
intersection numbers p_ab of the cell of (u, v); so is Σ_w f(A_uw, B_wv, D_uv) = Σ_{a,b} p_ab f(A_a, B_b, D_uv) for any
f.  The velocity of the flow is made of these operations (see `reduction`, which refuses any other), so at a state in 𝒜
it lies in 𝒜, and by uniqueness of solutions a flow that starts in 𝒜 stays there.  The partition is at least as coarse
as the orbits of the permutations of tasks and heads that fix problem and start (they fix every number that refinement
looks at), and unlike those it costs polynomial time.

Entries of opposite sign.  The loss does not change if all weights of one task, (μ_i^h, ω_i^h) for every head h, change
sign.  So a flow of signed weights is half of a flow on twice the tasks: beside each task stands its mirror, with the
same parameters and opposite weights, and every sum over tasks counts both with the factor ½.  What is coherent there
stays so: two entries in one cell of the doubled partition stay equal, an entry and a mirrored entry stay opposite, and
an entry in the cell of its own mirror stays zero.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from operator import add

from ..errors import InputError
from ..result import Record

Pairs = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, repr=False)
class Orbits(Record):
    """Cells of pairs of vertices; vertices 0, …, I − 1 are the tasks, I, …, I + H − 1 the heads.

    Attributes
    ----------
    n_tasks, n_heads
        I, H.
    pairs
        The cell of each ordered pair of vertices, shape (I + H, I + H); the diagonal holds the cells of vertices.
    """

    n_tasks: int
    n_heads: int
    pairs: Pairs

    @cached_property
    def tasks(self) -> tuple[int, ...]:
        """The cell of each task, counted from 0 in order of appearance."""
        return _counted([[self.pairs[u][u] for u in self.task_vertices]])[0]

    @cached_property
    def heads(self) -> tuple[int, ...]:
        """The cell of each head, counted from 0 in order of appearance."""
        return _counted([[self.pairs[u][u] for u in self.head_vertices]])[0]

    @cached_property
    def entries(self) -> Pairs:
        """The cell of each (task, head), shape (I, H), counted from 0 in order of appearance."""
        return self._block(self.task_vertices, self.head_vertices)

    @cached_property
    def head_pairs(self) -> Pairs:
        """The cell of each ordered pair of heads, shape (H, H), counted from 0 in order of appearance."""
        return self._block(self.head_vertices, self.head_vertices)

    @cached_property
    def task_pairs(self) -> Pairs:
        """The cell of each ordered pair of tasks, shape (I, I), counted from 0 in order of appearance."""
        return self._block(self.task_vertices, self.task_vertices)

    @property
    def task_vertices(self) -> range:
        return range(self.n_tasks)

    @property
    def head_vertices(self) -> range:
        return range(self.n_tasks, self.n_tasks + self.n_heads)

    @cached_property
    def cells(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """The (task, head) positions of each cell of ``entries``, all counted from 0."""
        found: dict[int, list[tuple[int, int]]] = {}
        for task, row in enumerate(self.entries):
            for head, cell in enumerate(row):
                found.setdefault(cell, []).append((task, head))
        return tuple(map(tuple, found.values()))

    def _block(self, rows: Sequence[int], columns: Sequence[int]) -> Pairs:
        return _counted([[self.pairs[u][v] for v in columns] for u in rows])

    def groups(self, vertices: Sequence[int], seen_from: Sequence[int]) -> list[tuple[int, int]]:
        """Vertices that look alike from the given ones: (the first of each group, how many they are).

        From two vertices u, v the numbers are the intersection numbers of the cell of (u, v).
        """
        counts: dict[tuple[int, ...], list[int]] = {}
        for w in vertices:
            counts.setdefault((self.pairs[w][w], *(self.pairs[u][w] for u in seen_from)), []).append(w)
        return [(alike[0], len(alike)) for alike in counts.values()]

    def is_coherent(self) -> bool:
        """Whether the partition has the three properties; every pair is looked at."""
        count = len(self.pairs)
        diagonal = {self.pairs[u][u] for u in range(count)}
        apart = all((self.pairs[u][v] in diagonal) == (u == v) for u in range(count) for v in range(count))
        mirrored = {(self.pairs[u][v], self.pairs[v][u]) for u in range(count) for v in range(count)}
        cells = _number_of_cells(self.pairs)
        return apart and len(mirrored) == cells and _number_of_cells(_refined(self.pairs)) == cells


def orbit_partition(task_colours: Sequence[Hashable], edge_colours: Sequence[Sequence[Hashable]]) -> Orbits:
    """The coarsest coherent partition finer than the colours; source: see the module.

    Colours are compared by ``==`` only, so exact numbers (or floats taken as they are) give an exact partition.

    Parameters
    ----------
    task_colours
        One per task: every parameter that the flow has per task, such as (d_i, λ_i).
    edge_colours
        Shape (I, H): the initial values of every state variable there, such as (μ_i^h, ω_i^h), and what parameters
        the flow has per entry.

    Raises ``InputError`` for shapes that do not fit.  Time grows like (I + H)³ log(I + H) per round of refinement.
    """
    n_tasks = len(task_colours)
    widths = {len(row) for row in edge_colours}
    if not n_tasks or len(edge_colours) != n_tasks or len(widths) != 1 or 0 in widths:
        raise InputError(
            f"edge_colours must have the shape (I, H), a row per task, got {len(edge_colours)} rows of lengths "
            f"{sorted(widths)} for {n_tasks} tasks"
        )
    n_heads = widths.pop()
    numbers: dict[Hashable, int] = {}

    def number(*colour: Hashable) -> int:
        return numbers.setdefault(colour, len(numbers))

    def first_colour(u: int, v: int) -> int:
        if u < n_tasks <= v:
            return number("entry", edge_colours[u][v - n_tasks])
        if v < n_tasks <= u:
            return number("transposed entry", edge_colours[v][u - n_tasks])
        if u < n_tasks:
            return number("task", task_colours[u]) if u == v else number("tasks")
        return number("head") if u == v else number("heads")

    everything = range(n_tasks + n_heads)
    pairs: Pairs = tuple(tuple(first_colour(u, v) for v in everything) for u in everything)
    while True:
        finer = _refined(pairs)
        if _number_of_cells(finer) == _number_of_cells(pairs):
            return Orbits(n_tasks, n_heads, pairs)
        pairs = finer


def tied_entries(orbits: Orbits, mirrored: bool) -> Pairs:
    """Which entries (task, head) the flow keeps equal or opposite, shape (I, H).

    Each has the number of its cell, counted from 1, with a minus sign where it is the negative of the first entry of
    that cell, and 0 where it stays zero.

    Parameters
    ----------
    orbits
        The partition; if ``mirrored``, of the doubled problem: I tasks, then their mirrors in the same order.
    """
    cells = orbits.entries
    if not mirrored:
        return tuple(tuple(cell + 1 for cell in row) for row in cells)
    half = orbits.n_tasks // 2
    numbers: dict[int, int] = {}
    signs: dict[int, int] = {}
    for row, other in zip(cells[:half], cells[half:], strict=True):
        for cell, mirror in zip(row, other, strict=True):
            if cell not in signs:
                signs[cell], signs[mirror] = 1, -1
                if cell == mirror:
                    signs[cell] = 0
                else:
                    numbers[cell] = numbers[mirror] = 1 + len(numbers) // 2
    return tuple(tuple(signs[cell] * numbers.get(cell, 0) for cell in row) for row in cells[:half])


def _refined(pairs: Pairs) -> Pairs:
    """One round: pairs of one cell stay together if as many vertices see them in each pair of cells.

    The transposed cell of a cell is split as the cell is, so only one of the two is looked at.
    """
    cells = _number_of_cells(pairs)
    members: dict[int, list[tuple[int, int]]] = {}
    for u, row in enumerate(pairs):
        for v, cell in enumerate(row):
            members.setdefault(cell, []).append((u, v))
    scaled = [[cell * cells for cell in row] for row in pairs]
    columns = list(zip(*pairs, strict=True))
    finer = [[0] * len(pairs) for _ in pairs]
    count = 0
    for cell, alike in members.items():
        first, second = alike[0]
        mirror = pairs[second][first]
        if mirror < cell:
            continue  # done with its transpose
        numbers: dict[tuple[int, ...], int] = {}
        for u, v in alike:
            # A cell of one pair cannot be split.
            seen = tuple(sorted(map(add, scaled[u], columns[v]))) if len(alike) > 1 else ()
            finer[u][v] = numbers.setdefault(seen, count + len(numbers))
        count += len(numbers)
        if mirror != cell:
            for u, v in alike:
                finer[v][u] = finer[u][v] + len(numbers)
            count += len(numbers)
    return tuple(map(tuple, finer))


def _number_of_cells(pairs: Pairs) -> int:
    return len(set(chain.from_iterable(pairs)))


def _counted(rows: Sequence[Sequence[int]]) -> Pairs:
    """The same partition, its cells counted from 0 in order of appearance."""
    numbers: dict[int, int] = {}
    return tuple(tuple(numbers.setdefault(cell, len(numbers)) for cell in row) for row in rows)
