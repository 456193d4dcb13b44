"""Owns softmax attention: from the model's weights to the mean and covariance of its heads' outputs.

Head h gives task i the output ``f_i^h = Σ_l p_l^h y_{l,i}`` with ``p^h`` the softmax of ``⟨a_h, x_l⟩`` over L tokens.
Given the query and β it is a ratio of two averages over independent tokens, so its mean and covariance to
order 1/L follow from the delta method and tilted Gaussian moments.  Derived here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from sympy import Expr, Function, IndexedBase, S, Sum, Symbol, exp

from . import notation as n
from .derivation import Derivation, Recorder
from .gaussian import completed_square, delta_method, moment_generating_function, tilted_moment
from .indexed import factored, normalise

expectation = Function("E")
covariance = Function("Cov")

_token, _other_token = n.index("l"), n.index("m")
attention_weight = IndexedBase("p", positive=True)
score = IndexedBase("s", real=True)
token_output = IndexedBase("y", real=True)
head_output = IndexedBase("f", real=True)


@dataclass(frozen=True)
class OutputMoments:
    """Moments of the heads' outputs for task i given the query and β, to order 1/L.

    ``mean`` and ``bias`` (the order-1/L part of the mean) are those of head h, ``covariance`` is that of
    heads h and k; all in the inner products of ``notation``.
    """

    mean: Expr
    bias: Expr
    covariance: Expr
    derivation: Derivation


@cache
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
    )
    ratio = Sum(exp(score[l, h]) * token_output[l, i], (l, 1, length)) / Sum(exp(score[m, h]), (m, 1, length))
    record(
        "head output",
        (head_output[i, h], ratio),
        "Head h averages the outputs y of task i: a ratio of two sums over independent tokens.",
    )

    gram = {
        ("a_h", "a_h"): n.head_head[h, h],
        ("a_h", "a_k"): n.head_head[h, k],
        ("a_k", "a_k"): n.head_head[k, k],
        ("a_h", "beta"): n.beta_head[i, h],
        ("a_k", "beta"): n.beta_head[i, k],
        ("beta", "beta"): n.beta_beta[i],
    }
    z, t, u = Symbol("z", real=True), Symbol("t", real=True), Symbol("u", real=True)
    left, right = completed_square(z, t)
    record(
        "tilt",
        (left, right),
        "Completing the square: weighting a normal law by e^{tz} shifts its mean to t, and E e^{tz} = e^{t²/2}.",
        check=lambda: normalise(left - right) == 0,
    )
    generating = moment_generating_function({"a_h": S.One}, u, gram, n.noise_variance)
    record(
        "moment generating function",
        (expectation(exp(score[l, h] + u * token_output[l, i])), generating),
        "The tilt in every coordinate of x, and in the independent noise of y = ⟨β_i, x⟩ + ε.",
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
    )

    def token_covariance(first: tuple[str, int], second: tuple[str, int]) -> Expr:
        """Cov(e^{s} y^p, e^{s'} y^q) over one token; ``first`` is (head, p)."""
        (head, p), (other, q) = first, second
        both = {head: S(2)} if head == other else {head: S.One, other: S.One}
        return moment(both, p + q) - moment({head: S.One}, p) * moment({other: S.One}, q)

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
        (expectation(head_output[i, h]) - n.beta_head[i, h], bias),
        "Second order of the ratio (delta method), token covariances from the generating function.",
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
    )
    return OutputMoments(mean, bias, covariance_hk, record.freeze())
