"""The statements about context: linear attention, the zero-sum pair, context length, Hermite targets, regimes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sympy import Eq, IndexedBase

from .. import notation as n
from ..context.context_length import context_shift, own_gain, shifted_loss
from ..context.hermite import degree, gain, hermite_transfer, transfer_infimum, transfer_loss
from ..context.linear_attention import linear_attention_loss
from ..context.linear_optimum import linear_attention_optimum
from ..context.regimes import expected_symbol, softmax_regimes, typical_symbol
from ..context.two_heads import prediction, profile_limit_symbol, profile_symbol, zero_sum_pair
from ..hypothesis import AS_MANY_HEADS, ONE_TASK, TWO_HEADS
from ..statement import DERIVED, LEADING, Statement

H25 = "He, Pan, Chen, Yang 2025 (arXiv 2503.12734)"
LINEAR = "scores without softmax, divided by L; Gaussian tokens; any d_i and L"
PAIR = (ONE_TASK, TWO_HEADS, "key-query eigenvalues ω and −ω, μ at its best")


def _linear_loss() -> Statement:
    loss = linear_attention_loss()
    claim = (*loss.derivation["linear loss"].formula, *loss.derivation["effective matrix"].formula)
    return Statement(
        "linear-attention-loss",
        "Exact loss of linear attention",
        (LINEAR,),
        claim,
        DERIVED,
        loss.derivation,
    )


def _linear_optimum() -> Statement:
    derivation = linear_attention_optimum().derivation
    claim = tuple(line for label in ("linear optimum", "enough linear heads") for line in derivation[label].formula)
    return Statement(
        "linear-attention-optimum",
        "Optimum over all weights with H linear heads",
        (LINEAR, "0 ≤ x_i ≤ 1 minimises the sum; the second line for H ≥ I"),
        claim,
        DERIVED,
        derivation,
    )


def _normalisation() -> Statement:
    derivation = linear_attention_optimum().derivation
    claim = tuple(line for label in ("leading linear optimum", "equal tasks") for line in derivation[label].formula)
    return Statement(
        "normalisation-costs-a-head",
        "H linear heads equal H + 1 softmax heads",
        ("L → ∞ at fixed c_i", "0 ≤ x_i ≤ 1 minimises the sum; the last line for equal λ_i and c_i"),
        claim,
        DERIVED,
        derivation,
    )


def _zero_sum() -> Statement:
    pair = zero_sum_pair()
    return Statement(
        "zero-sum-pair",
        "Profile of a zero-sum pair of heads",
        (LEADING, *PAIR),
        ((profile_symbol, pair.profile), (profile_limit_symbol, pair.limit)),
        H25,
        pair.derivation,
    )


def _debiased() -> Statement:
    pair = zero_sum_pair()
    return Statement(
        "debiased-gradient",
        "A zero-sum pair tends to debiased gradient descent",
        (LEADING, *PAIR, "ω → 0"),
        ((prediction, pair.predictor),),
        H25,
        pair.derivation,
    )


def _shift() -> Statement:
    shift = context_shift()
    return Statement(
        "context-length-shift",
        "Weights of one context length used at another",
        (LEADING, AS_MANY_HEADS, "weights of the task-allocation limit at L, used at L′"),
        ((shifted_loss, shift.in_gain), (own_gain[n.i], shift.gain)),
        DERIVED,
        shift.derivation,
    )


def _hermite() -> Statement:
    transfer = hermite_transfer()
    total = n.over_heads(IndexedBase("mu", real=True)[n.h] * IndexedBase("omega", real=True)[n.h] ** degree)
    return Statement(
        "hermite-transfer",
        "Linear training does not transfer to Hermite targets",
        transfer.derivation.assumptions,
        ((transfer_loss, transfer.loss), Eq(gain, total), (transfer_infimum, transfer.least)),
        DERIVED,
        transfer.derivation,
    )


def _regimes() -> Statement:
    found = softmax_regimes()
    return Statement(
        "softmax-regimes",
        "Regimes of softmax weights",
        found.derivation.assumptions,
        ((typical_symbol, found.typical), (expected_symbol, found.expected)),
        DERIVED,
        found.derivation,
    )


CONTEXT_BUILDERS: Mapping[str, Callable[[], Statement]] = {
    "linear-attention-loss": _linear_loss,
    "linear-attention-optimum": _linear_optimum,
    "normalisation-costs-a-head": _normalisation,
    "zero-sum-pair": _zero_sum,
    "debiased-gradient": _debiased,
    "context-length-shift": _shift,
    "hermite-transfer": _hermite,
    "softmax-regimes": _regimes,
}
