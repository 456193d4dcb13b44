"""The order in which a theorist writes: factors in a product, terms in a sum, signs in front."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sympy import (
    Add,
    E,
    Expr,
    Indexed,
    IndexedBase,
    Limit,
    Mul,
    Order,
    Piecewise,
    Pow,
    Product,
    Rational,
    S,
    Sum,
    Symbol,
    exp,
)

from ..notation import GRADIENT, TASK_BELOW_HEAD_ABOVE

_HALF = Rational(1, 2)
_PARAMETER_ORDER = ("lambda", "phi", "d", "c", "L", "d_e")
_DEFINITION_ORDER = ("r", "M", "C")
_STATE_ORDER = ("mu", "omega", "log_mu", "log_omega", "o", "v", "k", "q")

# Ranks of factors: numbers, parameters, definitions, state, exponentials, functions, brackets, big operators.
NUMBER, PARAMETER, DEFINITION, STATE, EXPONENTIAL, FUNCTION, BRACKET, BIG = range(8)


@dataclass(frozen=True)
class Monomial:
    """A sign, a positive rational coefficient, and powers ``(base, exponent)`` in writing order."""

    negative: bool
    coefficient: Any
    powers: tuple[tuple[Expr, Expr], ...]

    @property
    def is_number(self) -> bool:
        """Whether nothing but numbers is in it."""
        return all(base.is_number for base, _ in self.powers)


def monomial(expr: Expr) -> Monomial:
    """``expr`` as a sign, a coefficient and ordered powers."""
    negative = False
    coefficient = Rational(1)
    powers = []
    for factor in _flat_factors(expr):
        if isinstance(factor, Rational):
            coefficient *= factor
            continue
        if factor is S.NegativeInfinity:
            negative = not negative
            factor = S.Infinity
        base, exponent = _as_power(factor)
        flipped = _without_sign(base, exponent)
        if flipped is not None:
            # Even powers lose the sign; odd ones hand it to the whole product.
            negative ^= bool(exponent.is_odd)
            base = flipped
        powers.append((base, exponent))
    negative ^= bool(coefficient < 0)
    return Monomial(negative, abs(coefficient), tuple(sorted(_with_joined_roots(powers), key=_power_key)))


def ordered_terms(expr: Expr) -> list[Monomial]:
    """The terms of a sum: constants first, then without and with big operators, positive before negative."""
    monomials = [monomial(term) for term in Add.make_args(expr)]
    numbers = sorted((m for m in monomials if m.is_number), key=_number_key)
    others = [m for m in monomials if not m.is_number]
    if numbers and not numbers[0].negative:
        # 1 - 2x + x^2: after a constant, ascending degree reads best.
        return numbers + sorted(others, key=lambda m: (_sums(m), _degree(m), m.negative, _monomial_key(m)))
    others.sort(key=lambda m: (_sums(m), m.negative, _degree(m), _monomial_key(m)))
    # H - 1 rather than -1 + H; but never behind a big operator, which would seem to swallow it.
    plain = sum(1 for m in others if _sums(m) == 0)
    place = plain if plain and not others[0].negative else 0
    return others[:place] + numbers + others[place:]


def rank(base: Expr, exponent: Expr = S.One) -> int:
    """The place of a power among the factors of a product."""
    if base.is_number and exponent.is_number:
        return NUMBER
    match base:
        case Symbol() | Indexed() | IndexedBase():
            return _name_rank(_label(base))
        case exp():
            return EXPONENTIAL
        case Sum() | Product() | Limit():
            return BIG if exponent == 1 else BRACKET
        case Mul() if abs(exponent) == _HALF:
            return min(BRACKET, max(rank(*_as_power(factor)) for factor in base.args))
        case Add() | Piecewise() | Mul() | Pow():
            return FUNCTION if exponent == _HALF else BRACKET
    return EXPONENTIAL if base.is_number else FUNCTION


def merged_limits(expr: Expr) -> tuple[Expr, list[tuple[Symbol, Expr, Expr]]]:
    """The innermost summand of directly nested sums (or products) and all their ranges, outermost first."""
    ranges = [tuple(limit) for limit in reversed(expr.limits)]
    body = expr.function
    while type(body) is type(expr):
        ranges += [tuple(limit) for limit in reversed(body.limits)]
        body = body.function
    return body, ranges


def _flat_factors(expr: Expr) -> Iterable[Expr]:
    for factor in Mul.make_args(expr):
        if isinstance(factor, Mul):
            yield from _flat_factors(factor)
        else:
            yield factor


def _as_power(factor: Expr) -> tuple[Expr, Expr]:
    if isinstance(factor, exp) and factor.exp.is_Rational:
        return E, factor.exp
    return (factor.base, factor.exp) if isinstance(factor, Pow) else (factor, S.One)


def _without_sign(base: Expr, exponent: Expr) -> Expr | None:
    """``-base`` where that shows the base with a leading plus and the power keeps its value up to sign."""
    if not exponent.is_Integer:
        return None
    if isinstance(base, Add):
        if exponent.is_even:
            return -base if _leads_with_minus(base) else None
        return -base if ordered_terms(base)[0].negative else None
    if isinstance(base, Sum) and not isinstance(base.function, Add) and monomial(base.function).negative:
        return base.func(-base.function, *base.limits)
    return None


def _with_joined_roots(powers: list[tuple[Expr, Expr]]) -> list[tuple[Expr, Expr]]:
    """Square roots of non-negative factors, which SymPy keeps apart, under one root sign."""

    def bases(exponent: Expr) -> list[Expr]:
        return [base for base, e in powers if e == exponent and base.is_nonnegative]

    above, below = bases(_HALF), bases(-_HALF)
    if len(above) + len(below) < 2:
        return powers
    others = [(b, e) for b, e in powers if not ((b in above and e == _HALF) or (b in below and e == -_HALF))]
    joined = Mul(*above, *(1 / base for base in below)) if above else Mul(*below)
    return [*others, (joined, _HALF if above else -_HALF)]


def _leads_with_minus(expr: Expr) -> bool:
    monomials = [monomial(term) for term in Add.make_args(expr)]
    numbers = sorted((m for m in monomials if m.is_number), key=_number_key)
    if numbers:
        return numbers[0].negative
    return min(monomials, key=lambda m: (_sums(m), _degree(m), _monomial_key(m))).negative


def _number_key(m: Monomial) -> tuple[Any, ...]:
    return m.negative, len(m.powers), str(m.powers), m.coefficient


def _monomial_key(m: Monomial) -> tuple[Any, ...]:
    return tuple(map(_power_key, m.powers)), m.coefficient


def _power_key(power: tuple[Expr, Expr]) -> tuple[Any, ...]:
    """Sort key of a factor; among equals roots come last, where nothing can slip under them."""
    base, exponent = power
    place = rank(base, exponent)
    label = _label(base) if isinstance(base, Symbol | Indexed | IndexedBase) else ""
    order = {PARAMETER: _PARAMETER_ORDER, DEFINITION: _DEFINITION_ORDER, STATE: _STATE_ORDER}.get(place, ())
    position = order.index(label) if label in order else len(order)
    indices = str(base.indices) if isinstance(base, Indexed) else ""
    sums = _big_indices(base) if place == BIG else 0
    return (
        place,
        sums,
        abs(exponent) == _HALF,
        position,
        label.lower(),
        label,
        indices,
        str(base),
        str(exponent),
    )


def _name_rank(label: str) -> int:
    if label in _DEFINITION_ORDER:
        return DEFINITION
    # Gradients (g_mu, g_omega) follow the state they move.
    return STATE if label in TASK_BELOW_HEAD_ABOVE or label.startswith(GRADIENT) else PARAMETER


def _label(base: Expr) -> str:
    if isinstance(base, Indexed):
        base = base.base
    return str(base.name if isinstance(base, Symbol) else base.label)


def _sums(m: Monomial) -> int:
    """How many bound indices stand open at the end of the product; remainder terms come after everything."""
    if any(isinstance(base, Order) or str(base.func) == "O" for base, _ in m.powers):
        return 1000
    return sum(_big_indices(base) for base, exponent in m.powers if rank(base, exponent) == BIG)


def _big_indices(base: Expr) -> int:
    if isinstance(base, Limit):
        return 1
    body, ranges = merged_limits(base)
    return len(ranges) + sum(_big_indices(inner) for inner in Mul.make_args(body) if isinstance(inner, Sum | Product))


def _degree(m: Monomial) -> Any:
    """The total degree; a remainder in 1/L counts like one in L, an exponential like a first power."""
    return sum(abs(exponent) if exponent.is_Rational else 1 for base, exponent in m.powers if not base.is_number)
