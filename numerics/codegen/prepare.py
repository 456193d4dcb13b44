"""Owns the bind stage: what depends on parameters alone, written as ordinary formulas of vectors and scalars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sympy import Add, Mul, Pow, Rational, Symbol, exp, log, sympify

from .graph import Node, Operand, plain
from .printer import ArrayCall
from .program import identifier

Expr = Any


class Preparation:
    """Collects the assignments that compute a program's constants from its parameters."""

    def __init__(self, constants: Mapping[str, Node]) -> None:
        self.parameters: dict[str, Node] = {}
        self.assignments: list[tuple[str, Expr]] = []
        self._names: dict[int, str] = {}
        for name, node in constants.items():
            self._assign(node, name)
        self.results = tuple(constants)

    def _assign(self, node: Node, name: str) -> Symbol:
        if node.number not in self._names:
            expression = self._expression(node, inline=False)
            if expression != Symbol(name):
                self.assignments.append((name, expression))
            self._names[node.number] = name
        elif self._names[node.number] != name:
            self.assignments.append((name, Symbol(self._names[node.number])))
        return Symbol(name)

    def _expression(self, node: Node, *, inline: bool = True) -> Expr:
        """The formula of a node; an elementwise operation on plain operands is written inline."""
        if inline and node.number in self._names:
            return Symbol(self._names[node.number])
        if node.operation == "leaf":
            name = identifier(node.detail)
            if not node.detail.startswith("eye("):
                self.parameters[name] = node
                return Symbol(name)
            return ArrayCall("eye", [str(axis) for axis in node.axes])
        if node.operation == "number":
            return sympify(node.detail)
        if node.operation in _FORMULAS and all(self._broadcasts(operand, node) for operand in node.operands):
            operands = [self._expression(operand.node) for operand in node.operands]
            return _FORMULAS[node.operation](*operands, *([Rational(node.detail)] if node.detail else []))
        arguments = [self._viewed(operand) for operand in node.operands]
        if node.operation == "sum":
            axes = tuple(range(-int(node.detail), 0))
            return ArrayCall("reduce", arguments, extra=f"axis={axes}")
        return ArrayCall(node.operation, arguments, extra=node.detail)

    @staticmethod
    def _broadcasts(operand: Operand, node: Node) -> bool:
        return not operand.node.axes or (operand.is_plain and operand.node.axes == node.axes)

    def _viewed(self, operand: Operand) -> str:
        """The operand as Python text, assigned to a name first where it is not a parameter."""
        name = str(self._assign(operand.node, self._name(operand.node)))
        if operand.is_plain or not operand.node.axes:
            return name
        kept = [place[0] for place in operand.places if place]
        if any(len(place) > 1 for place in operand.places):
            letters = "abcdefgh"
            spelled = ["?"] * len(operand.node.axes)
            for letter, place in zip(letters, operand.places, strict=False):
                for axis in place:
                    spelled[axis] = letter
            out = "".join(letter for letter, place in zip(letters, operand.places, strict=False) if place)
            name = f"einsum({''.join(spelled)!r}, {name})"
        elif kept != sorted(kept):
            name = f"transpose({name}, {tuple(kept)})"
        new = tuple(axis for axis, place in enumerate(operand.places) if not place)
        return f"expand_dims({name}, {new})" if new else name

    def _name(self, node: Node) -> str:
        known = self._names.get(node.number)
        return known or (identifier(node.detail) if node.operation == "leaf" else f"p{node.number}")


_FORMULAS = {
    "multiply": Mul,
    "add": Add,
    "subtract": lambda left, right: left - right,
    "reciprocal": lambda value: 1 / value,
    "square": lambda value: value**2,
    "sqrt": lambda value: Pow(value, Rational(1, 2)),
    "power": Pow,
    "exp": exp,
    "log": log,
}
