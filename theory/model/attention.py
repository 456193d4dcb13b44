"""Softmax attention: from the model's weights to the mean and covariance of its heads' outputs.

Head h gives task i the output ``f_i^h = Σ_l p_l^h y_{l,i}`` with ``p^h`` the softmax of ``⟨a_h, x_l⟩`` over L tokens.
Given the query and β it is a ratio of two averages over independent tokens, so its mean and covariance to
order 1/L follow from the delta method and tilted Gaussian moments.  Derived here.
"""

from __future__ import annotations

from dataclasses import dataclass

from sympy import (
    Add,
    Expr,
    Function,
    IndexedBase,
    S,
    Sum,
    Symbol,
    diff,
    exp,
    expand,
    integrate,
    log,
    oo,
    pi,
    sqrt,
    symbols,
)

from .. import notation as n
from ..derivation import Derivation, Recorder
from ..gaussian import completed_square, delta_method, moment_generating_function, tilted_moment
from ..grounds import DEFINITION, FORMAL
from ..indexed import difference_is_zero, factored, normalise
from ..result import Result, builder
from .inner_products import coordinate, in_coordinates, over_coordinates, regressor, tilt

expectation = Function("E")
covariance = Function("Cov")

_token, _other_token = n.index("l"), n.index("m")
attention_weight = IndexedBase("p", positive=True)
score = IndexedBase("s", real=True)
token_output = IndexedBase("y", real=True)
head_output = IndexedBase("f", real=True)


@dataclass(frozen=True, repr=False)
class OutputMoments(Result):
    """Moments of the heads' outputs for task i given the query and β, to order 1/L.

    ``mean`` and ``bias`` (the order-1/L part of the mean) are those of head h, ``covariance`` is that of
    heads h and k; all in the inner products of ``notation``.
    """

    mean: Expr
    bias: Expr
    covariance: Expr
    derivation: Derivation


@builder
def output_moments() -> OutputMoments:
    """Mean, bias and covariance of the heads' outputs, derived from the softmax model."""
    i, h, k, length = n.i, n.h, n.k, n.context_length
    record = Recorder("Moments of a softmax head's output")
    l, m = _token, _other_token
    softmax = exp(score[l, h]) / Sum(exp(score[m, h]), (m, 1, length))
    record(
        "softmax weights",
        (attention_weight[l, h], softmax),
        "The model: softmax over the L context tokens of the scores s_l^h = ⟨a_h, x_l⟩.",
        scope=DEFINITION,
    )
    ratio = Sum(exp(score[l, h]) * token_output[l, i], (l, 1, length)) / Sum(exp(score[m, h]), (m, 1, length))
    record(
        "head output",
        (head_output[i, h], ratio),
        "Head h averages the outputs y of task i: a ratio of two sums over independent tokens.",
        check=lambda line: difference_is_zero(line[1], Sum(softmax * token_output[l, i], (l, 1, length))),
    )

    gram = {
        ("a_h", "a_h"): n.head_head[h, h],
        ("a_h", "a_k"): n.head_head[h, k],
        ("a_k", "a_k"): n.head_head[k, k],
        ("a_h", "beta"): n.beta_head[i, h],
        ("a_k", "beta"): n.beta_head[i, k],
        ("beta", "beta"): n.beta_beta[i],
    }
    z, t, u, w = symbols("z t u w", real=True)
    record(
        "tilt",
        (completed_square(z, t), (expectation(exp(t * z)), exp(t**2 / 2))),
        "Completing the square: weighting a normal law by e^{tz} shifts its mean to t, and E e^{tz} = e^{t²/2}.",
        check=lambda square, mean: difference_is_zero(*square) and mean[1] == _normal_mean(square[1], z, t),
    )
    generating = moment_generating_function({"a_h": S.One}, u, gram, n.noise_variance)
    record(
        "moment generating function",
        (expectation(exp(score[l, h] + u * token_output[l, i])), generating),
        "The tilt in every coordinate of x, and in the independent noise of y = ⟨β_i, x⟩ + ε.",
        check=lambda line: difference_is_zero(*_in_coordinates(line, u)),
    )

    def moment(tilt: dict[str, Expr], power: int) -> Expr:
        return tilted_moment(tilt, power, gram, n.noise_variance)

    def head_moments(head: str) -> tuple[Expr, Expr]:
        """E[e^s y] and E[e^s]: what the sums N and Z of a head tend to, per token."""
        return moment({head: S.One}, 1), moment({head: S.One}, 0)

    numerator, denominator = head_moments("a_h")
    mean = normalise(numerator / denominator)
    record(
        "mean",
        (expectation(head_output[i, h]), mean),
        "Leading order in L: E[e^s y]/E[e^s], the mean of y under the tilted law N(a_h, Id).",
        check=lambda line: difference_is_zero(line[1], slope(log(generated({"a_h": u})), u)),
        scope=FORMAL,
    )

    def token_covariance(first: tuple[str, int], second: tuple[str, int]) -> Expr:
        """Cov(e^{s} y^p, e^{s'} y^q) over one token; ``first`` is (head, p)."""
        (head, p), (other, q) = first, second
        both = {head: S(2)} if head == other else {head: S.One, other: S.One}
        return moment(both, p + q) - moment({head: S.One}, p) * moment({other: S.One}, q)

    # Another way to the same moments: the output as the slope of a logarithm.
    def generated(*orders: dict[str, Expr]) -> Expr:
        """E e^{Σ (s + u y)} over one token, each summand given by its head and u."""
        tilt: dict[str, Expr] = {}
        for head in (head for order in orders for head in order):
            tilt[head] = tilt.get(head, S.Zero) + 1
        order = Add(*(value for order in orders for value in order.values()))
        return moment_generating_function(tilt, order, gram, n.noise_variance)

    def spread(first: dict[str, Expr], second: dict[str, Expr]) -> Expr:
        """The covariance of both e^{s + u y} over one token, over their means."""
        return generated(first, second) / (generated(first) * generated(second)) - 1

    def slope(function: Expr, *variables: Symbol) -> Expr:
        return diff(function, *variables).subs(dict.fromkeys(variables, 0))

    first_h, second_h, (delta_n, delta_z) = delta_method(numerator, denominator)
    fluctuations = {delta_n: 1, delta_z: 0}  # δN carries y, δZ does not
    bias = S.Zero
    for one in fluctuations:
        for other in fluctuations:
            coefficient = second_h.diff(one, other) / 2
            bias += coefficient * token_covariance(("a_h", fluctuations[one]), ("a_h", fluctuations[other]))
    bias = normalise(bias / length)
    record(
        "bias",
        (expectation(head_output[i, h]) - mean, bias),
        "Second order of the ratio (delta method), token covariances from the generating function. The same from "
        "f = ∂_u log Σ_l e^{s_l + u y_l} at u = 0, with log(1 + X) = X − X²/2 + … for the mean X of L centred tokens.",
        check=lambda line: (
            line[0] == expectation(head_output[i, h]) - mean
            and difference_is_zero(line[1], slope(-spread({"a_h": u}, {"a_h": u}) / (2 * length), u))
        ),
        scope=FORMAL,
    )

    first_k, _, (delta_n_k, delta_z_k) = delta_method(*head_moments("a_k"))
    fluctuations_k = {delta_n_k: 1, delta_z_k: 0}
    covariance_hk = S.Zero
    for one, p in fluctuations.items():
        for other, q in fluctuations_k.items():
            weight = first_h.diff(one) * first_k.diff(other)
            covariance_hk += weight * token_covariance(("a_h", p), ("a_k", q))
    covariance_hk = factored(covariance_hk / length)
    record(
        "covariance",
        (covariance(head_output[i, h], head_output[i, k]), covariance_hk),
        "First order of both ratios: heads share their tokens, so all pairs (h, k) are correlated.",
        check=lambda line: difference_is_zero(line[1], slope(spread({"a_h": u}, {"a_k": w}) / length, u, w)),
        scope=FORMAL,
    )
    return OutputMoments(mean, bias, covariance_hk, record.freeze())


def _normal_mean(exponent: Expr, variable: Symbol, shift: Symbol) -> Expr:
    """The integral of e^exponent over a standard normal's, moved by ``shift`` so that one square is left."""
    rest = expand(exponent.subs(variable, variable + shift) + variable**2 / 2)
    return exp(rest) * integrate(exp(-(variable**2) / 2), (variable, -oo, oo)) / sqrt(2 * pi)


def _in_coordinates(line: tuple[Expr, Expr], order: Symbol) -> tuple[Expr, Expr]:
    """The exponent that is claimed, and the sum of t²/2 over all coordinates of x and over ε."""
    each = tilt[coordinate, n.h] + order * regressor[coordinate, n.i]
    return in_coordinates(log(line[1])), over_coordinates(each**2 / 2) + order**2 * n.noise_variance / 2
