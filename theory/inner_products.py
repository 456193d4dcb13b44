"""Owns the inner products of the model written out in coordinates, for checks that look through their names."""

from __future__ import annotations

from sympy import Expr, IndexedBase, S, Sum, Symbol

from . import notation as n
from .indexed import gradient, replace_indexed

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


def mean_over_regressor(expression: Expr) -> Expr:
    """E over β_i ~ N(0, (λ_i/D) Id) of a quadratic in its coordinates: the value at 0 and half the Laplacian's."""
    entry, zero = regressor[coordinate, n.i], {regressor: lambda *_: S.Zero}
    curvature = replace_indexed(gradient(gradient(expression, entry), entry), zero)
    return replace_indexed(expression, zero) + n.signal_power[n.i] / dimension * over_coordinates(curvature) / 2
