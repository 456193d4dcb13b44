"""The inner products of the model written out in coordinates, for checks that look through their names."""

from __future__ import annotations

from sympy import Expr, Indexed, IndexedBase, S, Sum, Symbol

from .. import notation as n
from ..indexed import gradient, replace_indexed

coordinate = n.index("e")
dimension = Symbol("D", integer=True, positive=True)
# Coordinate first: of head h's tilt a_h, of task i's regressor and of the query in its coordinates.
tilt = IndexedBase("a", real=True)
regressor = IndexedBase("beta", real=True)
query = IndexedBase("x", real=True)


def over_coordinates(summand: Expr) -> Expr:
    """The sum over all D coordinates."""
    return Sum(summand, (coordinate, 1, dimension))


def in_coordinates(expression: Expr) -> Expr:
    """The expression with the inner products of one token written out over all D coordinates."""
    e = coordinate
    return replace_indexed(
        expression,
        {
            n.head_head: lambda h, k: over_coordinates(tilt[e, h] * tilt[e, k]),
            n.beta_head: lambda i, h: over_coordinates(regressor[e, i] * tilt[e, h]),
            n.beta_beta: lambda i: over_coordinates(regressor[e, i] ** 2),
        },
    )


def in_task_coordinates(expression: Expr) -> Expr:
    """The inner products with β_i and |x_q^(i)|² over the D = d_i coordinates of task i, where a_h is ω_i^h x_q."""
    e = coordinate
    return replace_indexed(
        expression,
        {
            n.beta_head: lambda i, h: over_coordinates(regressor[e, i] * n.omega[i, h] * query[e, i]),
            n.beta_query: lambda i: over_coordinates(regressor[e, i] * query[e, i]),
            n.beta_beta: lambda i: over_coordinates(regressor[e, i] ** 2),
            n.query_query: lambda i: over_coordinates(query[e, i] ** 2),
            n.dims: lambda _: dimension,
        },
    )


def mean_over(expression: Expr, entry: Indexed, variance: Expr, upper: Expr) -> Expr:
    """E over independent centred normal entries of a quadratic: its value at 0 and half of Σ variance · ∂²."""
    (index, *_) = entry.indices
    zero = {entry.base: lambda *_: S.Zero}
    curvature = replace_indexed(gradient(gradient(expression, entry), entry), zero)
    return replace_indexed(expression, zero) + Sum(variance * curvature / 2, (index, 1, upper))


def mean_over_regressor(expression: Expr) -> Expr:
    """E over β_i ~ N(0, (λ_i/D) Id) of a quadratic in its coordinates."""
    return mean_over(expression, regressor[coordinate, n.i], n.signal_power[n.i] / dimension, dimension)
