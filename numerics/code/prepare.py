"""The bind stage: what depends on parameters alone, written as ordinary formulas of vectors and scalars."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sympy import Add, Mul, Pow, Rational, Symbol, exp, log, sympify

from .graph import Node, Operand
from .names import unique
from .printer import ArrayCall

Expr = Any


class Preparation:
    """Collects the assignments that compute a program's constants from its parameters."""

    def __init__(self, constants: Mapping[str, Node]) -> None:
        self.parameters: dict[str, Node] = {}
        self.assignments: list[tuple[str, Expr]] = []
        self.results = tuple(constants)
        self._names = {node.number: name for name, node in constants.items()}
        self._taken = set(constants)
        self._assigned: set[int] = set()
        self._axes: dict[Expr, tuple[Expr, ...]] = {}
        for node in constants.values():
            self._assign(node)

    def _assign(self, node: Node) -> Expr:
        """The name of a node, as a symbol, once its value is assigned to it."""
        symbol = Symbol(self._name(node))
        if node.number not in self._assigned:
            expression = self._expression(node)
            if expression != symbol:
                self.assignments.append((symbol.name, expression))
            self._assigned.add(node.number)
            self._axes[symbol] = node.axes
        return symbol

    def _inline(self, node: Node) -> Expr:
        """The node's name if it has a value, its formula otherwise."""
        return self._assign(node) if node.number in self._assigned else self._expression(node)

    def _expression(self, node: Node) -> Expr:
        """The formula of a node; an elementwise operation on plain operands is written inline."""
        if node.operation == "number":
            return sympify(node.detail)
        if node.operation == "leaf":
            symbol = Symbol(self._name(node))
            self.parameters[symbol.name] = node
            self._axes[symbol] = node.axes
            return symbol
        if node.operation in _FORMULAS and all(_broadcasts(operand, node) for operand in node.operands):
            operands = [self._inline(operand.node) for operand in node.operands]
            formula = _FORMULAS[node.operation](*operands, *([Rational(node.detail)] if node.detail else []))
            if self._spans(formula, node.axes):
                return formula
        return self._call(node)

    def _call(self, node: Node) -> ArrayCall:
        arguments = [self._viewed(operand) for operand in node.operands]
        extra = node.detail
        if node.operation == "sum":
            extra = f"axis={tuple(range(-int(node.detail), 0))}"
        elif node.operation == "power":
            arguments, extra = [*arguments, repr(float(Rational(node.detail)))], ""
        call = ArrayCall("reduce" if node.operation == "sum" else node.operation, arguments, extra=extra)
        self._axes[call] = node.axes
        return call

    def _spans(self, formula: Expr, axes: tuple[Expr, ...]) -> bool:
        """Whether a formula still has all axes: SymPy makes 1 of x/x, a number where an array was."""
        return not axes or any(self._axes.get(atom) == axes for atom in formula.atoms(Symbol))

    def _viewed(self, operand: Operand) -> str:
        """The operand as Python text, assigned to a name first."""
        if operand.node.operation == "number":
            return repr(float(sympify(operand.node.detail)))
        name = str(self._assign(operand.node))
        if operand.is_plain or not operand.node.axes:
            return name
        kept = [place[0] for place in operand.places if place]
        if any(len(place) > 1 for place in operand.places):
            spelled = ["?"] * len(operand.node.axes)
            letters = [(letter, place) for letter, place in zip("abcdefghijkl", operand.places, strict=False) if place]
            for letter, place in letters:
                for axis in place:
                    spelled[axis] = letter
            subscripts = "".join(spelled) + "->" + "".join(letter for letter, _ in letters)
            name = f"einsum({subscripts!r}, {name})"
        elif kept != sorted(kept):
            name = f"transpose({name}, {tuple(kept)})"
        new = tuple(axis for axis, place in enumerate(operand.places) if not place)
        return f"expand_dims({name}, {new})" if new else name

    def _name(self, node: Node) -> str:
        if node.number not in self._names:
            self._names[node.number] = self._new(node.detail if node.operation == "leaf" else f"p{node.number}")
        return self._names[node.number]

    def _new(self, preferred: str) -> str:
        name = unique(preferred, self._taken)
        self._taken.add(name)
        return name


def _broadcasts(operand: Operand, node: Node) -> bool:
    return not operand.node.axes or (operand.is_plain and operand.node.axes == node.axes)


_FORMULAS: Mapping[str, Callable[..., Expr]] = {
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
