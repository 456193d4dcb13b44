"""Taylor series to all orders: coefficients from the differential equation that a function solves."""

from __future__ import annotations

from functools import cache

from sympy import Expr, Poly, Symbol, combsimp, diff, exp, expand, factorial, simplify

_order = Symbol("n", integer=True, nonnegative=True)


@cache
def inverse_factorials_are_exponential() -> bool:
    """Whether a_n = 1/n! are the Taylor coefficients of e^g, its own slope and 1 at 0: (n + 1) a_{n+1} = a_n."""
    g, coefficient = Symbol("g", real=True), 1 / factorial(_order)
    recursion = combsimp((_order + 1) * coefficient.subs(_order, _order + 1) - coefficient)
    return bool(diff(exp(g), g) == exp(g) and exp(g).subs(g, 0) == coefficient.subs(_order, 0) == 1 and recursion == 0)


def has_nonnegative_coefficients(function: Expr, variable: Symbol) -> bool:
    """Whether e^g less a polynomial in g has no negative Taylor coefficient, of any order."""
    polynomial = expand(exp(variable) - function)
    if not polynomial.is_polynomial(variable):
        return False
    taken = Poly(polynomial, variable)
    coefficient = 1 / factorial(_order)
    places = range(taken.degree() + 1)
    return (
        inverse_factorials_are_exponential()
        and bool(coefficient.is_positive)
        and all(coefficient.subs(_order, place) >= taken.coeff_monomial(variable**place) for place in places)
    )


@cache
def sinh_over_argument_rises() -> bool:
    """Whether (sinh u)/u = Σ u^(2n)/(2n + 1)!: above 1, and rising, for u > 0.

    The odd part of e^u, which is its own second derivative: coefficients a_n = 1/n! at odd n, none at even n.
    """
    u = Symbol("u", positive=True)
    odd = (exp(u) - exp(-u)) / 2
    ends = [odd.subs(u, 0), diff(odd, u).subs(u, 0)]
    coefficient = 1 / factorial(2 * _order + 1)
    recursion = combsimp((2 * _order + 3) * (2 * _order + 2) * coefficient.subs(_order, _order + 1) - coefficient)
    return bool(
        simplify(diff(odd, u, 2) - odd) == 0 and ends == [0, 1] and simplify(recursion) == 0 and coefficient.is_positive
    )
