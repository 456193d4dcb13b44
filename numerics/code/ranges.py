"""Shapes: which range each axis of each indexed name runs over, read off the sums it occurs in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sympy import Indexed, IndexedBase, Sum, Symbol

from ...theory.flows.system import ReducedSystem
from ...theory.indexed.nodes import bounds

Expr = Any
Ranges = dict[IndexedBase | Symbol, tuple[Expr, ...]]  # of a scalar state variable ()


def axis_ranges(system: ReducedSystem) -> Ranges:
    """The range (such as the symbol I or H) of every axis of every indexed name in the system.

    Raises ``ValueError`` where a range cannot be told or two uses contradict each other.
    """
    found: dict[tuple[IndexedBase, int], Expr] = {}

    def note(base: IndexedBase, place: int, upper: Expr) -> None:
        if found.setdefault((base, place), upper) != upper:
            raise ValueError(f"axis {place + 1} of {base} runs over {found[base, place]} and over {upper}")

    def visit(node: Expr, scope: Mapping[Symbol, Expr]) -> None:
        if isinstance(node, Indexed):
            for place, index in enumerate(node.indices):
                if index in scope:
                    note(node.base, place, scope[index])
        elif isinstance(node, Sum):
            visit(node.function, {**scope, **dict(bounds(node))})
        else:
            for argument in node.args:
                visit(argument, scope)

    heads: list[tuple[Expr, Expr]] = [
        *zip(system.state, system.velocity, strict=True),
        *zip(system.state, system.gradient, strict=True),
        *((item.head, item.body) for item in (*system.definitions, *system.parameter_definitions)),
    ]
    visit(system.loss, {})
    while True:
        before = dict(found)
        for head, body in heads:
            scope = _scope(head, found)
            visit(body, scope)
            visit(head, {**scope, **_free_scope(head, body, found)})
        if found == before:
            break
    scalars: Ranges = {variable: () for variable in system.state if isinstance(variable, Symbol)}
    return scalars | _complete(found, [*(head for head, _ in heads), system.loss, *(body for _, body in heads)])


def _scope(head: Expr, found: Mapping[tuple[IndexedBase, int], Expr]) -> dict[Symbol, Expr]:
    """Ranges of the head's own indices, where its axes are known."""
    if not isinstance(head, Indexed):
        return {}
    places = enumerate(head.indices)
    return {index: found[head.base, place] for place, index in places if (head.base, place) in found}


def _free_scope(head: Expr, body: Expr, found: Mapping[tuple[IndexedBase, int], Expr]) -> dict[Symbol, Expr]:
    """Ranges of the head's indices, read off known names in the body."""
    if not isinstance(head, Indexed):
        return {}
    scope = {}
    for atom in body.atoms(Indexed):
        for place, index in enumerate(atom.indices):
            if index in head.indices and (atom.base, place) in found:
                scope[index] = found[atom.base, place]
    return scope


def _complete(found: Mapping[tuple[IndexedBase, int], Expr], expressions: Iterable[Expr]) -> Ranges:
    ranges: Ranges = {}
    for expression in expressions:
        for atom in expression.atoms(Indexed):
            missing = [place for place in range(len(atom.indices)) if (atom.base, place) not in found]
            if missing:
                raise ValueError(f"the range of index {missing[0] + 1} of {atom.base} cannot be told: it is in no sum")
            ranges[atom.base] = tuple(found[atom.base, place] for place in range(len(atom.indices)))
    return ranges
