"""Inequalities over boxes of parameters: the supremum of an expression enclosed by adaptive bisection.

A cell in whose whole extent a derivative keeps its sign is reduced to the face where the supremum lies, so that
monotone expressions need no bisection.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import count

from sympy import Expr, Indexed, Symbol, factor

from ...theory.brief import Brief
from .endpoints import PRECISION, Arithmetic, arithmetic
from .interval import Interval, UnboundedError
from .tape import Tape

Range = tuple[Fraction, Fraction]
Box = Mapping[Expr, Range]

# Cells looked at before a question is left undecided.
BUDGET = 4000


@dataclass(frozen=True)
class Enclosure:
    """The supremum of an expression over a box lies in [lower, upper]; both ends are exact.

    ``lower`` is a value that is taken (or exceeded) at a point of the box, ``upper`` one that is nowhere exceeded; None
    where no such number was found within the budget of cells.
    """

    expression: str
    box: tuple[tuple[str, Range], ...]
    lower: Fraction | None
    upper: Fraction | None
    cells: int
    arithmetic: str
    bits: int = PRECISION

    def below(self, bound: Expr | Fraction, or_equal: bool = False) -> bool | None:
        """Whether the expression is below an exact bound in the whole box: True, False, or None for undecided."""
        limit = _fraction_range(bound, arithmetic(self.arithmetic, self.bits))
        if self.upper is not None and _is_below(self.upper, limit[0], or_equal):
            return True
        return False if self.lower is not None and not _is_below(self.lower, limit[1], True) else None


@dataclass(frozen=True, repr=False)
class Certified(Brief):
    """A claim about a box of parameters: whether it was proved (True), refuted (False) or left undecided (None).

    ``lower`` and ``upper`` enclose the number that the claim is about; exact, None where there is no bound.
    """

    claim: str
    box: tuple[tuple[str, Range], ...]
    lower: Fraction | None
    upper: Fraction | None
    holds: bool | None
    cells: int
    arithmetic: str


def _is_below(value: Fraction, limit: Fraction, or_equal: bool) -> bool:
    return value < limit or (or_equal and value == limit)


def _fraction_range(bound: Expr | Fraction, kit: Arithmetic) -> Range:
    return (bound, bound) if isinstance(bound, Fraction) else Tape(bound)({}, kit).ends


@dataclass(order=True)
class _Cell:
    """A part of the box, in order of the largest upper bound."""

    key: float
    place: int
    ranges: dict[Expr, Range] = field(compare=False)
    upper: Fraction | None = field(compare=False)


def supremum(
    expression: Expr,
    box: Box,
    below: Expr | Fraction | None = None,
    budget: int = BUDGET,
    kit: Arithmetic | None = None,
    tolerance: Fraction = Fraction(1, 1000),
    or_equal: bool = False,
) -> Enclosure:
    """Enclose the supremum of an expression over a box.

    Parameters
    ----------
    expression
        In the atoms of the box (symbols or indexed symbols), sums unrolled.
    box
        The exact range of each atom.
    below
        A bound: cells known to stay below it are not looked at again, and one value above it ends the search.
    budget
        The most cells to look at.
    kit
        The arithmetic (default: the best that is installed).
    tolerance
        Without a bound: the width of the enclosure, relative to its size, at which the search ends.
    or_equal
        Whether a cell that may touch the bound counts as below it.
    """
    kit = kit or arithmetic()
    with kit.working():
        return _supremum(expression, box, below, budget, kit, tolerance, or_equal)


def _supremum(
    expression: Expr,
    box: Box,
    below: Expr | Fraction | None,
    budget: int,
    kit: Arithmetic,
    tolerance: Fraction,
    or_equal: bool,
) -> Enclosure:
    search = _Search(expression, box, kit)
    limit = None if below is None else _fraction_range(below, kit)
    numbers = count()
    first = search.bounded(dict(box))
    queue = [_Cell(_key(first[1]), next(numbers), first[0], first[1])]
    settled: Fraction | None = None  # the largest upper bound of a cell that is settled
    while queue and next(numbers) < budget:
        worst = queue[0]
        if worst.upper is not None:
            if limit is not None and _is_below(worst.upper, limit[0], or_equal):
                break
            narrow = search.lower is not None and worst.upper - search.lower <= tolerance * abs(worst.upper)
            if limit is None and narrow:
                break
        if limit is not None and search.lower is not None and search.lower > limit[1]:
            break
        heapq.heappop(queue)
        halves = _halves(worst.ranges)
        if not halves:  # a point: no bisection makes its enclosure smaller
            settled = worst.upper if settled is None or worst.upper is None else max(settled, worst.upper)
            if worst.upper is None:
                return _enclosure(search, box, None)
            continue
        for half in halves:
            ranges, upper = search.bounded(half)
            heapq.heappush(queue, _Cell(_key(upper), next(numbers), ranges, upper))
    uppers = [cell.upper for cell in queue] + ([] if settled is None else [settled])
    known = [upper for upper in uppers if upper is not None]
    return _enclosure(search, box, max(known) if len(known) == len(uppers) else None)


def bounded_above(
    expression: Expr,
    bound: Expr | Fraction,
    box: Box,
    or_equal: bool = False,
    budget: int = BUDGET,
    kit: Arithmetic | None = None,
) -> Certified:
    """Prove that an expression is below an exact bound (at most the bound: ``or_equal``) in the whole box."""
    found = supremum(expression, box, below=bound, budget=budget, kit=kit, or_equal=or_equal)
    claim = f"{expression} {'<=' if or_equal else '<'} {bound}"
    holds = found.below(bound, or_equal)
    return Certified(claim, found.box, found.lower, found.upper, holds, found.cells, found.arithmetic)


def positive(
    expression: Expr, box: Box, or_zero: bool = False, budget: int = BUDGET, kit: Arithmetic | None = None
) -> Certified:
    """Prove that an expression is positive (not negative: ``or_zero``) in the whole box; its infimum is enclosed."""
    found = supremum(-expression, box, below=Fraction(0), budget=budget, kit=kit, or_equal=or_zero)
    lower, upper = (None if end is None else -end for end in (found.upper, found.lower))
    claim = f"{expression} {'>=' if or_zero else '>'} 0"
    return Certified(claim, found.box, lower, upper, found.below(Fraction(0), or_zero), found.cells, found.arithmetic)


def _enclosure(search: _Search, box: Box, upper: Fraction | None) -> Enclosure:
    named = tuple((str(atom), ends) for atom, ends in sorted(box.items(), key=lambda item: str(item[0])))
    return Enclosure(str(search.expression), named, search.lower, upper, search.cells, search.kit.name, search.kit.bits)


def _key(upper: Fraction | None) -> float:
    """The largest upper bound first; a cell without one before all others."""
    return -math.inf if upper is None else -float(upper)


class _Search:
    """Bounds of one expression on cells, and the largest value met."""

    def __init__(self, expression: Expr, box: Box, kit: Arithmetic) -> None:
        self.expression, self.kit, self.cells = expression, kit, 0
        missing = {str(atom) for atom in atoms(expression)} - {str(atom) for atom in box}
        if missing:
            raise ValueError(f"the box has no range for {', '.join(sorted(missing))}")
        self._tape = Tape(expression)
        self._slopes = {atom: _slope(expression, atom) for atom, (low, high) in box.items() if low < high}
        self.lower: Fraction | None = None
        self._raise_lower(box)

    def bounded(self, ranges: dict[Expr, Range]) -> tuple[dict[Expr, Range], Fraction | None]:
        """The cell, or the face of it where the supremum lies, and an upper bound there (None: no bound)."""
        self.cells += 1
        faced, slopes = self._faced(ranges)
        try:
            upper: Fraction | None = self._value(faced).ends[1]
        except UnboundedError:
            upper = None
        centre = self._raise_lower(faced)
        if centre is not None and slopes is not None:
            # The mean value form: its excess falls with the square of the cell's size.
            for atom, slope in slopes.items():
                low, high = faced[atom]
                centre = centre + slope * Interval.of(self.kit, (low - high) / 2, (high - low) / 2)
            upper = centre.ends[1] if upper is None else min(upper, centre.ends[1])
        return faced, upper

    def _faced(self, ranges: dict[Expr, Range]) -> tuple[dict[Expr, Range], dict[Expr, Interval] | None]:
        """The face, and the derivatives over the cell along it (None where one has no bound)."""
        values = self._intervals(ranges)
        faced = dict(ranges)
        slopes: dict[Expr, Interval] = {}
        bounded = True
        for atom, slope in self._slopes.items():
            low, high = ranges[atom]
            if low == high:
                continue
            try:
                found = slope(values, self.kit)
            except UnboundedError:
                bounded = False
                continue
            if found.low >= 0 or found.high <= 0:
                end = high if found.low >= 0 else low
                faced[atom] = (end, end)
                values[atom] = Interval.of(self.kit, end, end)
            else:
                slopes[atom] = found
        return faced, slopes if bounded else None

    def _raise_lower(self, ranges: Box) -> Interval | None:
        """The value at the middle of a cell, which the supremum is not below."""
        try:
            value = self._value(_middle(ranges))
        except UnboundedError:
            return None
        low = value.ends[0]
        self.lower = low if self.lower is None else max(self.lower, low)
        return value

    def _value(self, ranges: Box) -> Interval:
        return self._tape(self._intervals(ranges), self.kit)

    def _intervals(self, ranges: Box) -> dict[Expr, Interval]:
        return {atom: Interval.of(self.kit, low, high) for atom, (low, high) in ranges.items()}


@lru_cache(maxsize=256)
def _slope(expression: Expr, atom: Expr) -> Tape:
    """The derivative as products, whose signs a cell shows at once."""
    return Tape(factor(expression.diff(atom)))


def atoms(expression: Expr) -> set[Expr]:
    """The symbols and indexed symbols that an unrolled expression is written in."""
    indexed: set[Expr] = expression.atoms(Indexed)
    hidden = {symbol for atom in indexed for symbol in atom.free_symbols}
    plain: set[Expr] = expression.atoms(Symbol) - hidden
    return indexed | plain


def _middle(box: Box) -> dict[Expr, Range]:
    return {atom: ((low + high) / 2, (low + high) / 2) for atom, (low, high) in box.items()}


def _halves(ranges: dict[Expr, Range]) -> list[dict[Expr, Range]]:
    """The cell cut across its relatively widest range, at the geometric mean where the range spans magnitudes."""

    def width(ends: Range) -> float:
        low, high = map(float, ends)
        return math.log(high / low) if low > 0 else high - low

    widest = max(ranges, key=lambda atom: width(ranges[atom]), default=None)
    if widest is None or ranges[widest][0] == ranges[widest][1]:
        return []
    low, high = ranges[widest]
    cut = (low + high) / 2
    if low > 0 and high > 4 * low:
        cut = Fraction(math.sqrt(float(low) * float(high))).limit_denominator(10**6) or cut
        cut = cut if low < cut < high else (low + high) / 2
    return [{**ranges, widest: (low, cut)}, {**ranges, widest: (cut, high)}]
