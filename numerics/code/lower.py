"""Lowering: index expressions become operations on whole arrays, definitions and shared parts once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sympy import Dummy, Indexed, KroneckerDelta, S, Symbol, log

from ...theory.flows.system import ReducedSystem
from ...theory.indexed import Definition
from ...theory.indexed.factoring import common_factor
from ...theory.indexed.monomial import Term
from ...theory.indexed.nodes import indices_of, name_of
from ...theory.indexed.normal import terms
from .contraction import product
from .graph import Graph, Node, Stage, Value
from .ranges import Ranges

Expr = Any

# Index labels and the ranges they run over.
Scope = Mapping[Symbol, Expr]

_POWERS = {-1: "reciprocal", 2: "square"}


class Lowering:
    """Lowers the expressions of one system into one graph."""

    def __init__(self, system: ReducedSystem, ranges: Ranges) -> None:
        self.graph = Graph()
        self.ranges = ranges
        self._variables = system.state
        self._state = set(system.state_bases)
        definitions = (*system.parameter_definitions, *system.definitions)
        self._definitions = {definition.base: definition for definition in definitions}
        self._opened: dict[Any, Value] = {}

    def state_nodes(self) -> tuple[Node, ...]:
        """The state variables' arrays, in order."""
        return tuple(
            self.graph.leaf(str(name_of(variable)), self.ranges[name_of(variable)], "run")
            for variable in self._variables
        )

    def names(self) -> dict[int, str]:
        """Names for the arrays of definitions, by node number."""
        return {
            value.node.number: str(getattr(base, "label", base))
            for base, value in self._opened.items()
            if value.node.operation not in ("leaf", "number")
        }

    def expression(self, expression: Expr, wanted: Scope) -> Value:
        """The array of an expression whose free indices are among ``wanted``, which gives their ranges."""
        return self.sum_of(terms(expression), wanted)

    def sum_of(self, parts: Sequence[Term], wanted: Scope) -> Value:
        """A sum of terms: scalars that all share are multiplied in once, at the end."""
        if not parts:
            return self.graph.number(S.Zero)
        if len(parts) == 1:
            return self._term(parts[0], wanted)
        common, rest = _common_scalar(tuple(parts))
        signed = [(bool(term.coefficient < 0), _magnitude(term)) for term in rest]
        signed.sort(key=lambda pair: pair[0])  # a positive term first: then the rest is added or subtracted
        total: Value | None = None
        for negative, term in signed:
            value = self._term(term, wanted)
            if total is None:
                total = self._negated(value) if negative else value
            else:
                total = self.graph.elementwise("subtract" if negative else "add", total, value)
        assert total is not None
        if common == 1:
            return total
        return self.graph.elementwise("multiply", total, self.expression(common, {}))

    def _negated(self, value: Value) -> Value:
        return self.graph.elementwise("multiply", value, self.graph.number(S.NegativeOne))

    def _term(self, term: Term, wanted: Scope) -> Value:
        scope = {**wanted, **dict(term.bounds)}
        values = [] if term.coefficient == 1 else [self.graph.number(term.coefficient)]
        values += [self._power(self._atom(atom, scope), power) for atom, power in term.factors]
        if term.exponent != 0:
            values.append(self.graph.unary("exp", self.expression(term.exponent, scope)))
        # A definition need not depend on all of its indices: the sum over such a one multiplies by its range.
        present = set().union(*(value.label_set for value in values))
        values += [self._size(upper) for index, upper in term.bounds if index not in present]
        if not values:
            return self.graph.number(S.One)
        return product(self.graph, values, tuple(wanted))

    def _atom(self, atom: Expr, scope: Scope) -> Value:
        if isinstance(atom, Indexed):
            return self._indexed(atom)
        if isinstance(atom, Symbol):
            if atom in self._definitions:
                return self._definition(self._definitions[atom], ())
            return Value(self.graph.leaf(atom.name, (), "run" if atom in self._state else "bind"), ())
        if atom.is_number:
            return self.graph.number(atom)
        if isinstance(atom, KroneckerDelta):
            return self._identity(atom, scope)
        if isinstance(atom, log):
            return self.graph.unary("log", self.expression(atom.args[0], scope))
        return self.expression(atom, scope)

    def _indexed(self, atom: Indexed) -> Value:
        if any(index.is_Integer for index in atom.indices):
            return self._entry(atom)
        if atom.base in self._definitions:
            return self._definition(self._definitions[atom.base], atom.indices)
        stage: Stage = "run" if atom.base in self._state else "bind"
        node = self.graph.leaf(str(atom.base.label), self.ranges[atom.base], stage)
        return Value(node, tuple(atom.indices))

    def _entry(self, atom: Indexed) -> Value:
        """At concrete indices: the sum with a unit vector for each, as generated code works on whole arrays."""
        labels = tuple(Dummy("n", integer=True) if index.is_Integer else index for index in atom.indices)
        ranges = self.ranges[atom.base]
        units = [
            self._unit(int(index), label, upper)
            for index, label, upper in zip(atom.indices, labels, ranges, strict=True)
            if index.is_Integer
        ]
        kept = tuple(dict.fromkeys(index for index in atom.indices if not index.is_Integer))
        return product(self.graph, [self._indexed(atom.base[labels]), *units], kept)

    def _unit(self, place: int, label: Symbol, upper: Expr) -> Value:
        """1 at a place of a range, 0 elsewhere."""
        return Value(self.graph.node("unit", [self._size(upper).along(())], (upper,), str(place)), (label,))

    def _definition(self, definition: Definition, indices: Iterable[Symbol]) -> Value:
        if definition.base not in self._opened:
            axes = self.ranges[definition.base] if definition.indices else ()
            scope = dict(zip(definition.indices, axes, strict=True))
            self._opened[definition.base] = self.expression(definition.body, scope)
        value = self._opened[definition.base]
        renamed = dict(zip(definition.indices, indices, strict=True))
        return Value(value.node, tuple(renamed[label] for label in value.labels))

    def _identity(self, delta: Expr, scope: Scope) -> Value:
        """δ between two indices of the result (all others are collapsed) as an identity matrix, or a row of it."""
        first, second = sorted(indices_of(delta), key=lambda index: not index.is_Integer)
        if first.is_Integer:
            return self._unit(int(first), second, scope[second])
        size = self._size(scope[first]).along(())
        return Value(self.graph.node("eye", [size], (scope[first], scope[second])), (first, second))

    def _size(self, upper: Expr) -> Value:
        """The length of a range, as a number or a parameter."""
        return self.graph.number(upper) if upper.is_Integer else Value(self.graph.leaf(upper.name, (), "bind"), ())

    def _power(self, value: Value, power: Expr) -> Value:
        if power == 1:
            return value
        if power == S.Half:
            return self.graph.unary("sqrt", value)
        if power.is_Integer and int(power) in _POWERS:
            return self.graph.unary(_POWERS[int(power)], value)
        return self.graph.unary("power", value, str(power))


def _common_scalar(parts: tuple[Term, ...]) -> tuple[Expr, list[Term]]:
    """The number and scalar symbols that all terms share, and the terms without them."""
    scalars = []
    for part in parts:
        kept = tuple((atom, power) for atom, power in part.factors if isinstance(atom, Symbol) or atom.is_number)
        scalars.append(Term(part.coefficient, (), kept))
    common, _ = common_factor(tuple(scalars))
    inverse = terms(1 / common)[0]
    rest = []
    for part in parts:
        powers = dict(part.factors)
        for atom, power in inverse.factors:
            powers[atom] = powers.get(atom, S.Zero) + power
        factors = tuple((atom, power) for atom, power in powers.items() if power != 0)
        rest.append(Term(part.coefficient * inverse.coefficient, part.bounds, factors, part.exponent))
    return common, rest


def _magnitude(term: Term) -> Term:
    return Term(abs(term.coefficient), term.bounds, term.factors, term.exponent)
