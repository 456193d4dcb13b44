"""Existence and uniqueness of a solution in a box: the Krawczyk test, its derivatives from SymPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
from sympy import Expr

from .boxes import Box, Range
from .endpoints import Arithmetic, arithmetic
from .interval import Interval, UnboundedError
from .tape import Tape, Values

_NEWTON_STEPS = 12
_CLOSE = 1e-13  # a relative step of Newton's method after which only rounding errors are left


class Equations:
    """Equations ``expression = 0`` in unknowns and parameters, with their derivatives by the unknowns."""

    def __init__(self, expressions: Sequence[Expr], unknowns: Sequence[Expr]) -> None:
        if len(expressions) != len(unknowns):
            raise ValueError(f"{len(expressions)} equations for {len(unknowns)} unknowns")
        self.unknowns = tuple(unknowns)
        self._tape = Tape(*expressions, *(one.diff(unknown) for one in expressions for unknown in unknowns))

    def at(self, values: Values, kit: Arithmetic) -> tuple[list[Interval], list[list[Interval]]]:
        """Enclosures of the expressions, and of their derivatives, a row for each expression.

        Raises ``UnboundedError`` where there is none.
        """
        count = len(self.unknowns)
        found = self._tape.all(values, kit)
        return found[:count], [found[begin : begin + count] for begin in range(count, len(found), count)]

    def near(self, values: Mapping[Expr, Fraction], start: Sequence[float], kit: Arithmetic) -> list[Fraction]:
        """A point near a solution, by Newton's method in floats from a start; nothing is proved about it."""
        point = np.array(start)
        fixed = {atom: Interval.of(kit, value, value) for atom, value in values.items()}
        for _ in range(_NEWTON_STEPS):
            unknowns = (Interval.of(kit, Fraction(x), Fraction(x)) for x in point.tolist())
            found, rows = self.at({**fixed, **dict(zip(self.unknowns, unknowns, strict=True))}, kit)
            step = np.linalg.solve([[_middle(entry) for entry in row] for row in rows], [_middle(x) for x in found])
            point = point - step
            if (np.abs(step) <= _CLOSE * np.abs(point)).all():
                break
        return [Fraction(x) for x in point.tolist()]


def _middle(interval: Interval) -> float:
    return float(sum(interval.ends)) / 2


def unique_solution(
    equations: Equations, parameters: Box, box: Sequence[Range], kit: Arithmetic | None = None
) -> list[Range] | None:
    """A box within ``box`` that holds, for every value of the parameters, the only solution in ``box``; else None.

    The Krawczyk operator ``K = x − Y f(x) + (1 − Y J)(X − x)`` of the box X, with x its middle, Y an approximate
    inverse of the Jacobian there and J an enclosure of the Jacobian over X, maps X into its interior: then for each
    value of the parameters X holds exactly one solution, and it lies in K.  None says that this was not shown, not
    that there is no solution.
    """
    kit = kit or arithmetic()
    with kit.working():
        image = _krawczyk(equations, parameters, box, kit)
    return None if image is None else [found.ends for found in image]


def _krawczyk(equations: Equations, parameters: Box, box: Sequence[Range], kit: Arithmetic) -> list[Interval] | None:
    """The image of the box under the operator, if it lies in the box's interior."""
    size = range(len(box))
    given = {atom: Interval.of(kit, *ends) for atom, ends in parameters.items()}
    whole = [Interval.of(kit, *ends) for ends in box]
    middle = [(low + high) / 2 for low, high in box]
    centre = [Interval.of(kit, value, value) for value in middle]
    try:
        at_centre = {**given, **dict(zip(equations.unknowns, centre, strict=True))}
        over_box = {**given, **dict(zip(equations.unknowns, whole, strict=True))}
        value, there = equations.at(at_centre, kit)
        _, slope = equations.at(over_box, kit)
    except UnboundedError:
        return None
    approximate = np.array([[_middle(entry) for entry in row] for row in there])
    if not np.isfinite(approximate).all() or np.linalg.matrix_rank(approximate) < len(box):
        return None
    inverse = [[Interval.of(kit, Fraction(e), Fraction(e)) for e in row] for row in np.linalg.inv(approximate).tolist()]
    one, zero = (Interval.of(kit, Fraction(number), Fraction(number)) for number in (1, 0))
    image = []
    for row in size:
        total = centre[row]
        for k in size:
            total = total - inverse[row][k] * value[k]
        for column in size:
            entry = one if row == column else zero
            for k in size:
                entry = entry - inverse[row][k] * slope[k][column]
            total = total + entry * (whole[column] - centre[column])
        image.append(total)
    return image if all(found.inside(old) for found, old in zip(image, whole, strict=True)) else None
