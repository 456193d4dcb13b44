"""The regimes of softmax weights: exponents of ``Σ_l p_l²`` when |a|² grows with log L (derived here).

Scores s_l ~ N(0, |a|²) independent, |a|² = r log L, L → ∞: the random-energy model.  All quantities are powers of L up
to logarithms, and exponents follow from a maximisation over the score level x, s = x log L.
"""

from __future__ import annotations

from dataclasses import dataclass

from sympy import Expr, Function, Le, Lt, Piecewise, S, Symbol, cancel, diff, expand, powdenest, simplify, solve, sqrt

from ..derivation import Derivation, Recorder
from ..equations import Equations
from ..errors import InputError
from ..grounds import FORMAL
from ..printing import Equation
from ..result import builder
from ..scalars import only

# r = |a|²/log L, the level x of a score and the inverse temperature of a sum of e^{b s}.
ratio = Symbol("r", positive=True)
level = Symbol("x", positive=True)
inverse_temperature = Symbol("b", positive=True)
typical_symbol = Symbol("rho_typ", real=True)
expected_symbol = Symbol("rho_mean", real=True)
number_exponent = Function("n")
sum_exponent = Function("zeta")


@dataclass(frozen=True, repr=False)
class SoftmaxRegimes(Equations):
    """Exponents of ``Σ_l p_l²`` in L, in r = |a|²/log L: of its typical value and of its expectation.

    ``typical_edge`` is where the typical value leaves ``e^{|a|²}/L``, ``expected_edge`` where the expectation does,
    ``condensation`` where the largest score takes a finite share.
    """

    typical: Expr
    expected: Expr
    typical_edge: Expr
    expected_edge: Expr
    condensation: Expr
    derivation: Derivation

    def typical_at(self, value: Expr) -> Expr:
        """The typical exponent at r = ``value`` > 0."""
        return self.typical.subs(ratio, _positive(value))

    def expected_at(self, value: Expr) -> Expr:
        """The exponent of the expectation at r = ``value`` > 0."""
        return self.expected.subs(ratio, _positive(value))

    @property
    def lines(self) -> list[Equation]:
        """What is printed."""
        return [(typical_symbol, self.typical), (expected_symbol, self.expected)]


def _positive(value: Expr) -> Expr:
    if not value > 0:
        raise InputError(f"r = |a|²/log L must be positive, got {value}")
    return value


@builder
def softmax_regimes() -> SoftmaxRegimes:
    """The exponents of the typical value and of the expectation of Σ_l p_l², regime by regime."""
    assumed = "|a|² = r log L, L → ∞ at fixed r; exponents of L, logarithms dropped"
    record = Recorder("Regimes of softmax weights", (assumed,))
    numbers, largest = _levels(record)
    free, frozen, edge = _sums(record, numbers, largest)
    condensation = edge.subs(inverse_temperature, 1)
    typical_edge = edge.subs(inverse_temperature, 2)
    typical = _typical(record, free, frozen, typical_edge, condensation)
    expected, expected_edge = _expected(record, numbers, free, condensation)
    record(
        "regimes",
        ((typical_symbol, typical), (expected_symbol, expected)),
        "Both start as e^{|a|²}/L; from r = 2 on the largest score takes a finite share (condensation).",
        check=lambda first, second: (
            (first[1], second[1]) == (typical, expected)
            and _continuous(typical, (typical_edge, condensation))
            and _continuous(expected, (expected_edge, condensation))
        ),
        scope=FORMAL,
    )
    return SoftmaxRegimes(typical, expected, typical_edge, expected_edge, condensation, record.freeze())


def _levels(record: Recorder) -> tuple[Expr, Expr]:
    """How many scores lie at a level, and the largest level."""
    # −s²/(2|a|²) at s = x log L and |a|² = r log L, over log L.
    numbers = 1 - level**2 / (2 * ratio)
    record(
        "scores at a level",
        (number_exponent(level), numbers),
        "L tokens times the Gaussian density e^{−s²/(2|a|²)} at s = x log L: L^{n(x)} scores where n ≥ 0, one with "
        "probability L^{n(x)} where n < 0.",
        check=lambda line: line[0] == number_exponent(level) and cancel(line[1] - _exponent_of_density()) == 0,
        scope=FORMAL,
    )
    largest = only(solve(numbers, level), level)
    record(
        "largest score",
        (level, largest),
        "The level at which one score is left, n(x) = 0.",
        check=lambda line: cancel(numbers.subs(level, line[1])) == 0 and bool(line[1].is_positive),
        scope=FORMAL,
    )
    return numbers, largest


def _sums(record: Recorder, numbers: Expr, largest: Expr) -> tuple[Expr, Expr, Expr]:
    """Exponent of Σ_l e^{b s_l}: free below the edge in r, frozen at the largest score above it."""
    b = inverse_temperature
    total = numbers + b * level
    best = only(solve(diff(total, level), level), level)
    free, frozen = expand(total.subs(level, best)), total.subs(level, largest)
    edge = only(solve(best**2 - largest**2, ratio), ratio)
    record(
        "sum of exponentials",
        (sum_exponent(b), Piecewise((free, Le(ratio, edge)), (frozen, True))),
        "Σ_l e^{b s_l}: the largest n(x) + b x up to the largest score; the maximiser x = b r passes it at r = 2/b².",
        check=lambda line: (
            line[0] == sum_exponent(b)
            and bool(diff(total, level, 2).is_negative)
            and cancel(diff(total, level).subs(level, best)) == 0
            and cancel(numbers.subs(level, largest)) == 0
            and _is_piecewise(line[1], (total.subs(level, best), total.subs(level, largest)), (edge,))
            and simplify((best - largest).subs(ratio, edge)) == 0
        ),
        scope=FORMAL,
    )
    return free, frozen, edge


def _typical(record: Recorder, free: Expr, frozen: Expr, early: Expr, late: Expr) -> Expr:
    """Typical Σ p² = Σ e^{2s}/(Σ e^s)²."""
    b = inverse_temperature
    first = expand(free.subs(b, 2) - 2 * free.subs(b, 1))
    middle = expand(frozen.subs(b, 2) - 2 * free.subs(b, 1))
    last = expand(frozen.subs(b, 2) - 2 * frozen.subs(b, 1))
    square = -((sqrt(2) - sqrt(ratio)) ** 2)
    typical = Piecewise((first, Le(ratio, early)), (square, Lt(ratio, late)), (last, True))
    record(
        "typical sum of squares",
        (typical_symbol, typical),
        "ζ(2) − 2 ζ(1): Σ e^{2s} freezes at r = 1/2, Σ e^s at r = 2.",
        check=lambda line: _is_piecewise(line[1], (first, middle, last), (early, late)),
        scope=FORMAL,
    )
    return typical


def _expected(record: Recorder, numbers: Expr, free: Expr, late: Expr) -> tuple[Expr, Expr]:
    """E Σ p²: one token at level x, also where it is rare, against the typical sum of the others."""
    others = free.subs(inverse_temperature, 1)
    below = numbers + 2 * (level - others)
    best = only(solve(diff(below, level), level), level)
    edge = only(solve(best - others, ratio), ratio)
    first = expand(below.subs(level, best))
    middle = numbers.subs(level, others)
    square = -((1 - ratio / 2) ** 2) / (2 * ratio)
    expected = Piecewise((first, Le(ratio, edge)), (square, Lt(ratio, late)), (S.Zero, True))
    record(
        "expected sum of squares",
        (expected_symbol, expected),
        "max over x of n(x) + 2 min(0, x − ζ(1)), for r < 2: the maximiser x = 2r passes ζ(1) = 1 + r/2 at r = 2/3; "
        "then one rare token that outweighs all others counts most.",
        check=lambda line: (
            bool(diff(below, level, 2).is_negative)
            and cancel(diff(below, level).subs(level, best)) == 0
            and cancel((best - others).subs(ratio, edge)) == 0
            and _is_piecewise(line[1], (below.subs(level, best), middle, S.Zero), (edge, late))
        ),
        scope=FORMAL,
    )
    return expected, edge


def _exponent_of_density() -> Expr:
    """log(L e^{−s²/(2|a|²)})/log L at s = x log L and |a|² = r log L."""
    logarithm = Symbol("log_L", positive=True)
    return 1 - (level * logarithm) ** 2 / (2 * ratio * logarithm) / logarithm


def _is_piecewise(told: Expr, pieces: tuple[Expr, ...], edges: tuple[Expr, ...]) -> bool:
    """Whether an exponent has these pieces, one after the other, with these edges in r between them."""
    if not isinstance(told, Piecewise) or len(told.args) != len(pieces):
        return False
    conditions = [condition for _, condition in told.args]
    return all(
        powdenest(expand(own - piece), force=True) == 0 for (own, _), piece in zip(told.args, pieces, strict=True)
    ) and all(
        condition.lhs == ratio and condition.rhs == edge for condition, edge in zip(conditions, edges, strict=False)
    )


def _continuous(exponent: Expr, edges: tuple[Expr, ...]) -> bool:
    """Whether neighbouring pieces agree at their edge, in value and slope."""
    pieces = [piece for piece, _ in exponent.args]
    return all(
        cancel((pieces[place] - pieces[place + 1]).subs(ratio, edge)) == 0
        and cancel(diff(pieces[place] - pieces[place + 1], ratio).subs(ratio, edge)) == 0
        for place, edge in enumerate(edges)
    )
