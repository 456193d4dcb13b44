"""How the weights move when their factors are trained: μ = o v and ω = k q/√d_e, and the metrics that follow.

``merged`` trains μ and ω themselves, ``split`` the four factors; ``balanced`` is ``split`` on its invariant set
o = v, k = q, written in the products ([C24]).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sympy import Add, Expr, Indexed, IndexedBase, S, sqrt

from .. import notation as n
from ..derivation import Recorder
from ..grounds import DEFINITION
from ..indexed import (
    Definition,
    difference_is_zero,
    directional_derivative,
    gradient,
    normalise,
    replace_indexed,
    rule,
)
from ..model.inner_products import coordinate, dimension, over_coordinates

_AT = (n.i, n.h)
FACTORS = (n.o[_AT], n.v[_AT], n.key[_AT], n.query[_AT])
PRODUCTS = (
    Definition(n.mu[_AT], n.o[_AT] * n.v[_AT]),
    Definition(n.omega[_AT], n.key[_AT] * n.query[_AT] / sqrt(n.embedding_dim)),
)
# Δ = o² − v² and Γ = k² − q², the constants of the flow of the factors; and their absolute values.
IMBALANCES = (IndexedBase("Delta", real=True)[_AT], IndexedBase("Gamma", real=True)[_AT])
ABSOLUTE_IMBALANCES = (IndexedBase("abs_Delta", positive=True)[_AT], IndexedBase("abs_Gamma", positive=True)[_AT])
# The hyperbolic angles of (o, v) and of (k, q).
ANGLES = (IndexedBase("theta", real=True)[_AT], IndexedBase("vartheta", real=True)[_AT])
# Logarithms of (o + v)²/4 and (o − v)²/4 where the log growth is zero, and the same of (k, q); −∞ where one vanishes.
GROWTH_OFFSETS = tuple(
    tuple(IndexedBase(name, extended_real=True)[_AT] for name in pair) for pair in (("xi", "eta"), ("zeta", "chi"))
)


def merged_metric(record: Recorder) -> tuple[Expr, Expr]:
    """Metric of the merged weights, in which U and W are trained themselves."""
    task_dim = n.dims[n.i]
    record(
        "merged metric",
        (n.time_derivative(n.omega[n.i, n.h]), -n.partial_derivative(n.omega[n.i, n.h]) / task_dim),
        "The d_i coordinates of task i share ω_i^h: each has the gradient g_ω/d_i, and they move together.",
        check=lambda line: _is_shared(line, n.omega[n.i, n.h]),
    )
    return S.One, 1 / task_dim


def split_metric(record: Recorder) -> dict[Indexed, Expr]:
    """Metric of the factors: each follows its gradient as the product does that it is part of."""
    blocks = merged_metric(record)
    metric = {
        factor: block
        for product, block in zip(PRODUCTS, blocks, strict=True)
        for factor in FACTORS
        if gradient(product.body, factor) != 0
    }
    record(
        "factors",
        tuple((product.head, product.body) for product in PRODUCTS),
        "Q, K, V, O trained: the weights are products of what is trained.",
        scope=DEFINITION,
    )
    record(
        "split metric",
        tuple((n.time_derivative(factor), -pace * n.partial_derivative(factor)) for factor, pace in metric.items()),
        "The d_i coordinates of task i share k_i^h and q_i^h, as they share ω_i^h.",
        check=lambda *lines: all(
            _is_shared(line, factor) if factor in FACTORS[2:] else line[1] == -n.partial_derivative(factor)
            for factor, line in zip(metric, lines, strict=True)
        ),
    )
    return metric


def balanced_metric(record: Recorder) -> tuple[Expr, Expr]:
    """Metric of μ = o v and ω = k q/√d_e on the invariant set o = v, k = q."""
    i, h = n.i, n.h
    metric = split_metric(record)
    on_mu, on_omega = (_product_metric(product.body, metric) for product in PRODUCTS)
    record(
        "metric of the products",
        (
            (n.time_derivative(n.mu[i, h]), -on_mu * n.partial_derivative(n.mu[i, h])),
            (n.time_derivative(n.omega[i, h]), -on_omega * n.partial_derivative(n.omega[i, h])),
        ),
        "Q, K, V, O trained: μ = o v and ω = k q/√d_e move by the chain rule through both factors.",
        check=lambda *lines: all(
            difference_is_zero(line[1], _along(product.body, metric))
            for product, line in zip(PRODUCTS, lines, strict=True)
        ),
    )
    record(
        "balance",
        ((n.o[i, h] ** 2 - n.v[i, h] ** 2, S.Zero), (n.key[i, h] ** 2 - n.query[i, h] ** 2, S.Zero)),
        "Constant along the flow, so that o = v and k = q stay so.",
        check=lambda *lines: all(
            difference_is_zero(_along(form, metric), value) and difference_is_zero(_balanced(form), value)
            for form, value in lines
        ),
    )
    balanced_mu = _on_balanced_set(on_mu, n.o, n.v, lambda task, head: sqrt(n.mu[task, head]))
    balanced_omega = _on_balanced_set(
        on_omega, n.key, n.query, lambda task, head: sqrt(sqrt(n.embedding_dim) * n.omega[task, head])
    )
    record(
        "balanced metric",
        (
            (n.time_derivative(n.mu[i, h]), -balanced_mu * n.partial_derivative(n.mu[i, h])),
            (n.time_derivative(n.omega[i, h]), -balanced_omega * n.partial_derivative(n.omega[i, h])),
        ),
        "o = v = √μ and k = q = (√d_e ω)^{1/2}, for positive μ and ω.",
        check=lambda *lines: all(
            difference_is_zero(
                _balanced(replace_indexed(line[1], {item.base: item.at for item in PRODUCTS})),
                _balanced(-pace * n.partial_derivative(item.head)),
            )
            for line, pace, item in zip(lines, (on_mu, on_omega), PRODUCTS, strict=True)
        ),
    )
    return balanced_mu, balanced_omega


def _is_shared(line: tuple[Expr, Expr], variable: Indexed) -> bool:
    """Whether the velocity of one of D = d_i coordinates that share a variable is minus its own part of the gradient.

    The loss enters by its slope g alone: Σ g x with x the mean of the coordinates' own.
    """
    i, h = n.i, n.h
    slope = n.partial_derivative(variable).base
    own = IndexedBase("own_entry", real=True)[coordinate, i, h]
    total = n.over_tasks(n.over_heads(slope[i, h] * over_coordinates(own) / dimension))
    return difference_is_zero(replace_indexed(line[1], {n.dims: lambda _: dimension}), -gradient(total, own))


def _along(form: Expr, metric: Mapping[Indexed, Expr]) -> Expr:
    """d form/dt where each factor follows minus its gradient, the product's own times the other factor."""
    pull = {
        factor: Add(*(n.partial_derivative(item.head) * gradient(item.body, factor) for item in PRODUCTS))
        for factor in metric
    }
    return directional_derivative(
        form, {factor.base: rule(factor, -metric[factor] * pull[factor]) for factor in metric}
    )


def _balanced(form: Expr) -> Expr:
    """A form of the factors at v = o and q = k."""
    return replace_indexed(form, {n.v: lambda *at: n.o[at], n.query: lambda *at: n.key[at]})


def _product_metric(product: Expr, metric: Mapping[Indexed, Expr]) -> Expr:
    """``Σ metric (∂ product/∂ factor)²``: how a product moves when its factors follow the gradient."""
    return normalise(Add(*(pace * gradient(product, factor) ** 2 for factor, pace in metric.items())))


def _on_balanced_set(metric: Expr, first: IndexedBase, second: IndexedBase, value: Callable[..., Expr]) -> Expr:
    return normalise(replace_indexed(metric, {first: value, second: value}))
