"""The evaluation of an expression of theory over intervals: a tape of operations, shared parts once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

from sympy import Add, E, Expr, Indexed, Mul, Pow, Rational, Symbol, exp, log, nan

from .endpoints import Arithmetic
from .interval import Interval

Values = Mapping[Expr, Interval]


class Tape:
    """Expressions in symbols and indexed atoms (sums unrolled before) as a list of operations on intervals.

    The values may be of any class with the operations of an `Interval`, such as a `Jet`.

    Raises ``TypeError`` for a node other than ``+ × power exp log`` and exact numbers.
    """

    def __init__(self, *expressions: Expr) -> None:
        self.expression = expressions[0]
        self._steps: list[Callable[[list[Interval], Values, Arithmetic], Interval]] = []
        self._places: dict[Expr, int] = {}
        self._outputs = [self._place(expression) for expression in expressions]

    def __call__(self, values: Values, kit: Arithmetic) -> Interval:
        """An enclosure; ``UnboundedError`` where an operation has none, ``KeyError`` for a missing value."""
        return self.all(values, kit)[0]

    def all(self, values: Values, kit: Arithmetic) -> list[Interval]:
        """Enclosures of all expressions, in order."""
        done: list[Interval] = []
        with kit.working():
            for step in self._steps:
                done.append(step(done, values, kit))
        return [done[place] for place in self._outputs]

    def _place(self, node: Expr) -> int:
        if node not in self._places:
            step = self._step(node)
            self._places[node] = len(self._steps)
            self._steps.append(step)
        return self._places[node]

    def _step(self, node: Expr) -> Callable[[list[Interval], Values, Arithmetic], Interval]:
        if isinstance(node, Symbol | Indexed):
            return lambda done, values, kit: values[node]
        if isinstance(node, Rational) and node is not nan:
            number = Fraction(int(node.p), int(node.q))
            return lambda done, values, kit: Interval.of(kit, number, number)
        if node is E:
            return lambda done, values, kit: Interval.of(kit, Fraction(1), Fraction(1)).exp()
        if isinstance(node, Add | Mul):
            places = [self._place(argument) for argument in node.args]
            return _sum(places) if isinstance(node, Add) else _product(places)
        if isinstance(node, exp | log):
            place = self._place(node.args[0])
            if isinstance(node, exp):
                return lambda done, values, kit: done[place].exp()
            return lambda done, values, kit: done[place].log()
        if isinstance(node, Pow):
            base, exponent = node.args
            if base is E:
                place = self._place(exponent)
                return lambda done, values, kit: done[place].exp()
            if isinstance(exponent, Rational):
                place, power = self._place(base), Fraction(int(exponent.p), int(exponent.q))
                return lambda done, values, kit: done[place].power(power)
            first, second = self._place(base), self._place(exponent)
            return lambda done, values, kit: (done[first].log() * done[second]).exp()
        raise TypeError(f"no enclosure of {type(node).__name__}: {node}")


def _sum(places: list[int]) -> Callable[[list[Interval], Values, Arithmetic], Interval]:
    def step(done: list[Interval], values: Values, kit: Arithmetic) -> Interval:
        total = done[places[0]]
        for place in places[1:]:
            total = total + done[place]
        return total

    return step


def _product(places: list[int]) -> Callable[[list[Interval], Values, Arithmetic], Interval]:
    def step(done: list[Interval], values: Values, kit: Arithmetic) -> Interval:
        total = done[places[0]]
        for place in places[1:]:
            total = total * done[place]
        return total

    return step
