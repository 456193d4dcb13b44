"""The orbit reduction: a flow on the cells of a coherent partition, one number for all entries of a cell.

Every sum over tasks or heads becomes a sum over groups of equal terms with integer multiplicities.  That is exact
where each sum can be done one index at a time, an index meeting at most two others when its turn comes: then each
step is a matrix product, a transpose or an entrywise function, which keep matrices that are constant on the cells
(`orbits` has the argument).  A sum that cannot be done so is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from sympy import Add, Expr, Indexed, IndexedBase, Integer, KroneckerDelta, Mul, Pow, Sum, Symbol, exp, sympify

from .. import notation as n
from ..derivation import Derivation, Recorder
from ..errors import HypothesisError, InputError
from ..indexed import Definition, difference_is_zero, inline
from ..indexed.monomial import Term
from ..indexed.nodes import free_symbols, indexed_bases, indices_of, rebuild
from ..indexed.normal import terms
from ..notation import SymmetricBase
from ..result import Result, built
from .orbits import Orbits
from .system import ReducedSystem

# One or two vertices, and the ranges that they are from.
Place = tuple[int, ...]
Kinds = tuple[range, ...]
# The vertex that an index stands for.
Scope = Mapping[Symbol, int]


@dataclass(frozen=True, repr=False)
class OrbitReduction(Result):
    """A flow on the cells; loss convention and time are those of ``system``.

    Attributes
    ----------
    system, orbits
        What was reduced, and the partition.
    state
        One symbol per state variable and cell of entries, variable by variable: mu_1, mu_2, …, omega_1, …
    gradient, velocity
        For each of ``state``: the entry of ∂𝓛/∂x at one member of the cell, and its time derivative.
    definitions
        Per cell: derived parameters, then r, C, M, …, each using those before it.
    loss
        The loss on the cells.
    """

    system: ReducedSystem
    orbits: Orbits
    state: tuple[Symbol, ...]
    gradient: tuple[Expr, ...]
    velocity: tuple[Expr, ...]
    definitions: tuple[Definition, ...]
    loss: Expr
    derivation: Derivation


@built
def orbit_reduction(system: ReducedSystem, orbits: Orbits, values: Mapping[str, Any] | None = None) -> OrbitReduction:
    """The flow on the cells of a partition of its entries; derived here.

    Parameters
    ----------
    system
        Any flow whose state variables have a task and a head, written with the index names of `notation`.
    orbits
        From `orbit_partition`, whose colours must tell apart what the flow's parameters tell apart.
    values
        Exact numbers by parameter name (one, or a sequence per task); what is missing stays a symbol, one per cell:
        lambda_1 is the signal power of the tasks of the first class.

    Raises ``HypothesisError`` for a flow that the partition need not keep, ``InputError`` for values that differ
    within a cell.  The result has one line per cell: ask for it where the cells are few.
    """
    cells = _Cells(system, orbits, dict(values or {}))
    record = Recorder(
        "Orbit reduction",
        (f"I = {orbits.n_tasks} and H = {orbits.n_heads}", "parameters and start are equal on each cell"),
    )
    record.include(system.derivation)
    members = cells.members(system.state[0])
    state = tuple(cells.name(variable.base, alike[0]) for variable in system.state for alike in members)
    record(
        "cells",
        tuple(
            (variable.base[task + 1, head + 1], cells.name(variable.base, (task, orbits.n_tasks + head)))
            for variable in system.state
            for (task, head), *_ in orbits.cells
        ),
        "One member of each cell of the coarsest coherent partition finer than equal parameters and equal start. "
        "Matrix products, transposes and entrywise functions keep the matrices that are constant on the cells, so the "
        "flow stays on them.",
        check=orbits.is_coherent,
    )
    definitions: list[Definition] = []
    for item in (*_parameter_definitions(system), *system.definitions):
        definitions += _recorded_definitions(record, item, cells)

    def at_entries(expressions: Sequence[Expr], places: Sequence[Place]) -> tuple[Expr, ...]:
        return tuple(
            cells.of(expression, dict(zip(variable.indices, place, strict=True)))
            for variable, expression in zip(system.state, expressions, strict=True)
            for place in places
        )

    first, last = [first for first, _, _ in members], [last for _, last, _ in members]
    gradient, velocity = at_entries(system.gradient, first), at_entries(system.velocity, first)
    record(
        "flow of the cells",
        tuple((Symbol(f"{name}{n.DOT}", real=True), rhs) for name, rhs in zip(state, velocity, strict=True)),
        "Sums over tasks and heads grouped into terms that are alike. The velocity of the last member of a cell is "
        "that of the first.",
        check=lambda: at_entries(system.velocity, last) == velocity,
    )
    loss = cells.of(system.loss, {})
    sizes = [count for _, _, count in members] * len(system.state)
    record(
        "loss on the cells",
        (n.loss, loss),
        "Its partial derivatives are the gradients of the entries times the sizes of the cells.",
        check=lambda: _is_gradient(loss, state, gradient, sizes, definitions),
    )
    return OrbitReduction(system, orbits, state, gradient, velocity, tuple(definitions), loss, record.freeze())


def _parameter_definitions(system: ReducedSystem) -> list[Definition]:
    """Those of the derived parameters that the system uses."""
    used: set[Expr] = set(system.parameters)
    chosen: list[Definition] = []
    for item in reversed(system.parameter_definitions):
        if item.base in used:
            chosen.insert(0, item)
            used |= indexed_bases(item.body) | free_symbols(item.body)
    return chosen


def _recorded_definitions(record: Recorder, item: Definition, cells: _Cells) -> list[Definition]:
    if not item.indices:
        found, others = [Definition(item.head, cells.of(item.body, {}))], []
    else:
        members = cells.members(item.head)
        found = [Definition(cells.name(item.base, alike[0]), cells.at(item, alike[0])) for alike in members]
        others = [alike[1] for alike in members]
    record(
        f"{item.base} on the cells",
        tuple((own.head, own.body) for own in found),
        "The definition at one member of each cell, sums grouped into terms that are alike; at the last member it is "
        "the same.",
        check=lambda: all(cells.at(item, place) == own.body for place, own in zip(others, found, strict=False)),
    )
    return found


def _is_gradient(
    loss: Expr, state: Sequence[Symbol], gradient: Sequence[Expr], sizes: Sequence[int], definitions: list[Definition]
) -> bool:
    opened = inline(loss, definitions)
    return all(
        difference_is_zero(opened.diff(name), size * inline(partial, definitions))
        for name, partial, size in zip(state, gradient, sizes, strict=True)
    )


class _Cells:
    """Evaluates index expressions at vertices: an indexed name becomes the symbol (or the value) of its cell."""

    def __init__(self, system: ReducedSystem, orbits: Orbits, values: Mapping[str, Any]) -> None:
        self._orbits = orbits
        self._values = values
        defined = (*system.definitions, *system.parameter_definitions)
        self._named = {*system.state_bases, *(item.base for item in defined)}
        self._ranges = {n.n_tasks: orbits.task_vertices, n.n_heads: orbits.head_vertices}
        self._entries: Kinds = (orbits.task_vertices, orbits.head_vertices)
        self._kinds: dict[IndexedBase, Kinds] = {}
        self._tables: dict[tuple[Kinds, bool], dict[int, tuple[Place, Place, int]]] = {}
        self._numbers: dict[tuple[IndexedBase, int], Expr] = {}
        self._names: dict[tuple[IndexedBase, int], Symbol] = {}
        for variable in system.state:
            if tuple(map(self._range_of, variable.indices)) != self._entries:
                raise _refusal("state variables of a task and a head, such as mu[i, h]", variable)

    def members(self, head: Indexed) -> list[tuple[Place, Place, int]]:
        """The first and the last place of each cell on which a name lives, and how many they are."""
        kinds = tuple(self._range_of(entry) for entry in head.indices)
        return list(self._table(head.base, kinds).values())

    def name(self, base: IndexedBase, place: Place) -> Symbol:
        """The symbol of a name on the cell of a place; cells are numbered from 1."""
        kinds = tuple(
            self._orbits.task_vertices if u < self._orbits.n_tasks else self._orbits.head_vertices for u in place
        )
        if self._kinds.setdefault(base, kinds) != kinds:
            raise _refusal("names whose indices run over tasks or heads, each place always over the same", base)
        cell = self._cell(base, place)
        if (base, cell) not in self._names:
            number = 1 + list(self._table(base, kinds)).index(cell)
            sign = "positive" if base.is_positive else "real"
            self._names[base, cell] = Symbol(f"{base.label}_{number}", **{sign: True})
        return self._names[base, cell]

    def at(self, item: Definition, place: Place) -> Expr:
        """The body of a definition at a place."""
        return self.of(item.body, dict(zip(item.indices, place, strict=True)))

    def of(self, node: Expr, scope: Scope) -> Expr:
        """The value of an expression, its free indices standing for the vertices in ``scope``."""
        if isinstance(node, Symbol):
            if node in self._ranges:
                return Integer(len(self._ranges[node]))
            known = node not in self._named and node.name in self._values
            return sympify(self._values[node.name]) if known else node
        if isinstance(node, Indexed):
            return self._indexed(node.base, self._place(node, scope))
        if isinstance(node, KroneckerDelta):
            first, second = self._place(node, scope)
            if (first < self._orbits.n_tasks) != (second < self._orbits.n_tasks):
                raise _refusal("deltas of two tasks or of two heads", node)
            return Integer(first == second)
        if isinstance(node, Sum):
            return Add(*(self._term(term, scope) for term in terms(node)))
        return rebuild(node, [self.of(argument, scope) for argument in node.args]) if node.args else node

    def _indexed(self, base: IndexedBase, place: Place) -> Expr:
        name = self.name(base, place)
        if base in self._named:
            return name
        if self._kinds[base] not in (self._entries[:1], self._entries):
            raise _refusal("parameters of a task, or of a task and a head", base)
        if str(base.label) not in self._values:
            return name
        cell = self._cell(base, place)
        if (base, cell) not in self._numbers:
            alike = (other for other in product(*self._kinds[base]) if self._cell(base, other) == cell)
            found = set(map(sympify, {self._value(base, other) for other in alike}))
            if len(found) > 1:
                raise InputError(
                    f"{base} must be equal on each cell of the partition, got "
                    f"{' and '.join(sorted(map(str, found)))}: its values belong into the colours"
                )
            self._numbers[base, cell] = found.pop()
        return self._numbers[base, cell]

    def _value(self, base: IndexedBase, place: Place) -> Any:
        value = self._values[str(base.label)]
        for vertex in place:
            value = value[vertex if vertex < self._orbits.n_tasks else vertex - self._orbits.n_tasks]
        return value

    def _term(self, term: Term, scope: Scope) -> Expr:
        """A monomial under sums, outermost first: the last index of the elimination order is summed last."""
        pieces = [Pow(*pair) for pair in term.factors]
        pieces += [exp(argument) for argument in Add.make_args(term.exponent) if argument != 0]
        return term.coefficient * self._total(dict(term.bounds), pieces, scope)

    def _total(self, pending: Mapping[Symbol, Expr], pieces: Sequence[Expr], scope: Scope) -> Expr:
        """The product of the pieces, summed over the pending indices."""
        own = [piece for piece in pieces if not free_symbols(piece) & set(pending)]
        result = Mul(*(self.of(piece, scope) for piece in own))
        for indices, connected in _components([piece for piece in pieces if piece not in own], set(pending)):
            last, met = _eliminated_last(indices, connected, set(scope))
            vertices = self._ranges.get(pending[last])
            if vertices is None:
                raise _refusal("sums over the tasks or the heads", pending[last])
            inner = {index: pending[index] for index in indices if index != last}
            result *= Add(
                *(
                    count * self._total(inner, connected, {**scope, last: first})
                    for first, count in self._orbits.groups(vertices, [scope[other] for other in met])
                )
            )
        return result

    def _place(self, node: Expr, scope: Scope) -> Place:
        entries = indices_of(node)
        if loose := [entry for entry in entries if entry not in scope]:
            raise _refusal(f"indices that run over all tasks or heads (not {loose[0]})", node)
        return tuple(scope[entry] for entry in entries)

    def _range_of(self, entry: Expr) -> range:
        if str(entry) in n.TASK_INDEX_NAMES:
            return self._orbits.task_vertices
        if str(entry) in n.HEAD_INDEX_NAMES:
            return self._orbits.head_vertices
        raise _refusal("the index names of tasks (i, j, …) and heads (h, k, …)", entry)

    def _cell(self, base: IndexedBase, place: Place) -> int:
        if len(place) > 2:
            raise _refusal("names with at most two indices", base)
        first, second = place[0], place[-1]
        pairs = self._orbits.pairs
        symmetric = isinstance(base, SymmetricBase)
        return min(pairs[first][second], pairs[second][first]) if symmetric else pairs[first][second]

    def _table(self, base: IndexedBase, kinds: Kinds) -> dict[int, tuple[Place, Place, int]]:
        """The first and the last place of each cell and how many they are, in order of appearance."""
        key = (kinds, isinstance(base, SymmetricBase))
        if key not in self._tables:
            table = self._tables[key] = {}
            for u in kinds[0]:
                columns = kinds[1] if len(kinds) == 2 else range(u, u + 1)
                row = self._orbits.pairs[u][columns.start : columns.stop]
                for found in dict.fromkeys(row):
                    ends = columns[row.index(found)], columns[len(row) - 1 - row[::-1].index(found)]
                    first, last = ((u, v) if len(kinds) == 2 else (u,) for v in ends)
                    cell = self._cell(base, first)
                    before, after, count = table.get(cell, (first, last, 0))
                    table[cell] = min(before, first), max(after, last), count + row.count(found)
        return self._tables[key]


def _refusal(hypothesis: str, got: object) -> HypothesisError:
    return HypothesisError("the orbit reduction", hypothesis, str(got))


def _components(pieces: Sequence[Expr], pending: set[Symbol]) -> list[tuple[set[Symbol], list[Expr]]]:
    """Pieces that share pending indices, together, with these indices."""
    found: list[tuple[set[Symbol], list[Expr]]] = []
    for piece in pieces:
        indices, members = free_symbols(piece) & pending, [piece]
        for group in [group for group in found if group[0] & indices]:
            found.remove(group)
            indices, members = indices | group[0], [*group[1], *members]
        found.append((indices, members))
    return found


def _eliminated_last(pending: set[Symbol], pieces: Sequence[Expr], given: set[Symbol]) -> tuple[Symbol, list[Symbol]]:
    """The index to be summed last and the given ones that it meets, each index meeting two others at its turn.

    Summing an index leaves a function of those it meets.  Where the sums can be done at all, taking at each turn an
    index that meets at most two finds the order (the width of the graph of indices is then at most two).
    """
    neighbours = {index: set[Symbol]() for index in pending}
    for piece in pieces:
        together = free_symbols(piece) & (pending | given)
        for index in together & pending:
            neighbours[index] |= together - {index}
    while True:
        index = min(neighbours, key=lambda one: (len(neighbours[one]), one.name))
        met = neighbours.pop(index)
        if len(met) > 2:
            raise _refusal(
                "sums that can be done one index at a time, each index meeting at most two others",
                f"a sum over {', '.join(sorted(map(str, pending)))} of {Mul(*pieces)}",
            )
        if not neighbours:
            return index, sorted(met, key=str)
        for other in met & set(neighbours):
            neighbours[other] |= met - {other}
            neighbours[other].discard(index)
