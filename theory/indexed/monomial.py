"""The monomial, the unit of the normal form, and how it is written as a SymPy expression."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import gcd, lcm

from sympy import Add, Expr, Mul, Pow, Rational, S, Symbol

from .nodes import close_sum, exponential, free_symbols

Bounds = tuple[tuple[Symbol, Expr], ...]
Factors = tuple[tuple[Expr, Rational], ...]


@dataclass(frozen=True)
class Term:
    """``coefficient * exp(exponent) * Π atom**power``, summed over ``bounds``."""

    coefficient: Rational = S.One
    bounds: Bounds = ()
    factors: Factors = ()
    exponent: Expr = S.Zero

    @property
    def bound_indices(self) -> frozenset[Symbol]:
        """The indices that the term is summed over."""
        return frozenset(index for index, _ in self.bounds)

    def body(self) -> Expr:
        """The monomial without its sums and its coefficient."""
        return Mul(*(Pow(atom, power) for atom, power in self.factors), exponential(self.exponent))


def content_of(parts: Iterable[Term]) -> Rational:
    """The positive rational that divides every coefficient."""
    coefficients = [part.coefficient for part in parts]
    return Rational(gcd(*(abs(int(value.p)) for value in coefficients)), lcm(*(int(value.q) for value in coefficients)))


def scaled(term: Term, number: Rational) -> Term:
    return Term(term.coefficient * number, term.bounds, term.factors, term.exponent)


def to_expression(parts: Iterable[Term]) -> Expr:
    """The SymPy sum of the terms, each written as products of the smallest possible sums."""
    return Add(*(term_expression(part) for part in parts))


def term_expression(term: Term) -> Expr:
    """One term: factors without a bound index outside, connected factors under one sum each."""
    factors, exponents, sums = separated(term)
    outside = (Pow(atom, power) for atom, power in factors)
    return Mul(term.coefficient, *outside, *(exponential(exponent) for exponent in exponents), *sums)


def separated(term: Term) -> tuple[Factors, list[Expr], list[Expr]]:
    """Factors and parts of the exponent without a bound index, and the smallest sums of the others."""
    outside = tuple(pair for pair in term.factors if not free_symbols(pair[0]) & term.bound_indices)
    exponents: list[Expr] = []
    pieces = [(Pow(*pair), free_symbols(pair[0]) & term.bound_indices) for pair in term.factors]
    for argument in Add.make_args(term.exponent) if term.exponent != 0 else ():
        used = free_symbols(argument) & term.bound_indices
        pieces.append((exponential(argument), used))
        if not used:
            exponents.append(argument)
    sums = []
    for group in _connected([used for _, used in pieces if used]):
        body = Mul(*(piece for piece, used in pieces if used and used <= group))
        sums.append(close_sum(body, tuple(pair for pair in term.bounds if pair[0] in group)))
    return outside, exponents, sums


def _connected(sets: list[set[Symbol]]) -> list[set[Symbol]]:
    groups: list[set[Symbol]] = []
    for current in sets:
        touching = [group for group in groups if group & current]
        groups = [group for group in groups if not group & current]
        groups.append(set(current).union(*touching))
    return groups
