"""The array graph: operations on whole arrays, each value computed once.

A node is an array-valued operation; an operand is a node seen through a view (transposed, with new axes, or
along a diagonal).  Nodes that need only parameters belong to the ``bind`` stage, all others to ``run``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sympy import Symbol

Expr = Any
Stage = Literal["bind", "run"]
# For each axis of a view, the axes of the array that it walks along: one, several (a diagonal), none (new).
Places = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, eq=False)
class Node:
    """One array: ``operation`` applied to ``operands``; ``axes`` are the ranges of its axes."""

    number: int
    operation: str
    operands: tuple[Operand, ...]
    axes: tuple[Expr, ...]
    stage: Stage
    detail: str = ""


@dataclass(frozen=True)
class Operand:
    """A node seen through a view."""

    node: Node
    places: Places

    @property
    def is_plain(self) -> bool:
        return self.places == plain(self.node)


@dataclass(frozen=True)
class Value:
    """A node with an index label per axis (a label twice means the diagonal)."""

    node: Node
    labels: tuple[Symbol, ...]

    @property
    def label_set(self) -> frozenset[Symbol]:
        return frozenset(self.labels)

    def along(self, order: Sequence[Symbol]) -> Operand:
        """The view whose axes are ``order``; a label that the value lacks becomes a new axis."""
        return Operand(
            self.node,
            tuple(tuple(axis for axis, own in enumerate(self.labels) if own == label) for label in order),
        )


def plain(node: Node) -> Places:
    return tuple((axis,) for axis in range(len(node.axes)))


class Graph:
    """Makes nodes, giving the same node for the same operation on the same operands."""

    def __init__(self) -> None:
        self._known: dict[object, Node] = {}

    def node(
        self,
        operation: str,
        operands: Sequence[Operand] = (),
        axes: Sequence[Expr] = (),
        detail: str = "",
        stage: Stage | None = None,
    ) -> Node:
        """The node for an operation; its stage is ``bind`` when all operands are."""
        if stage is None:
            stage = "bind" if all(operand.node.stage == "bind" for operand in operands) else "run"
        key = _key(operation, operands, axes, detail)
        if key not in self._known:
            self._known[key] = Node(len(self._known), operation, tuple(operands), tuple(axes), stage, detail)
        return self._known[key]

    def known(self, operation: str, operands: Sequence[Operand], axes: Sequence[Expr]) -> Node | None:
        """The node for an operation, if there is one."""
        return self._known.get(_key(operation, operands, axes, ""))

    def leaf(self, name: str, axes: Sequence[Expr], stage: Stage) -> Node:
        return self.node("leaf", (), axes, name, stage)

    def number(self, value: Expr) -> Value:
        return Value(self.node("number", (), (), str(value), "bind"), ())

    def unary(self, operation: str, value: Value, detail: str = "") -> Value:
        """An elementwise function of one value."""
        labels = tuple(dict.fromkeys(value.labels))
        operand = value.along(labels)
        return Value(self.node(operation, (operand,), view_axes(operand), detail), labels)

    def elementwise(self, operation: str, left: Value, right: Value) -> Value:
        """``left op right`` with broadcasting over labels."""
        first, second = sorted((left, right), key=lambda value: -len(value.label_set))
        labels = tuple(dict.fromkeys((*first.labels, *second.labels)))
        operands = [left.along(labels), right.along(labels)]
        axes = broadcast_axes(operands)
        if operation in ("multiply", "add"):  # commutative: one order, so that equal products are found
            operands.sort(key=lambda operand: (operand.node.number, operand.places))
        return Value(self.node(operation, operands, axes), labels)


def _key(operation: str, operands: Sequence[Operand], axes: Sequence[Expr], detail: str) -> object:
    return operation, tuple((operand.node.number, operand.places) for operand in operands), tuple(axes), detail


def view_axes(operand: Operand) -> tuple[Expr, ...]:
    """Ranges of a view's axes (1 for a new axis)."""
    return tuple(operand.node.axes[place[0]] if place else 1 for place in operand.places)


def broadcast_axes(operands: Sequence[Operand]) -> tuple[Expr, ...]:
    columns = zip(*(view_axes(operand) for operand in operands), strict=True)
    return tuple(next((axis for axis in column if axis != 1), 1) for column in columns)
