"""Shift covariance: the interaction of heads knows their differences only, but for a scale of each head.

Derived here, in the leading closure: ω_j^h → ω_j^h + s_j for all heads at once rescales C by one factor per head, which
μ can take up.
"""

from __future__ import annotations

from dataclasses import dataclass

from sympy import IndexedBase, exp

from .. import notation as n
from ..derivation import Derivation, Recorder
from ..indexed import Definition, difference_is_zero, replace_indexed, rule
from ..result import Result, builder
from .loss import population_loss

head_scale = IndexedBase("D", positive=True)
head_difference = n.SymmetricBase("E", positive=True)
scaled_mu = IndexedBase("nu", real=True)
shift = IndexedBase("s", real=True)
_shifted = n.SymmetricBase("C_prime", positive=True)


@dataclass(frozen=True, repr=False)
class ShiftCovariance(Result):
    """``C_hk = D_h E_hk D_k``: ``scale`` is D_h, ``difference`` is E_hk, which a common shift of all heads keeps."""

    scale: Definition
    difference: Definition
    derivation: Derivation


@builder
def shift_covariance() -> ShiftCovariance:
    """The interaction of the leading closure as a function of differences of heads, scaled head by head."""
    i, j, h, k = n.i, n.j, n.h, n.k
    loss = population_loss()
    (interaction,) = (item for item in loss.definitions if item.base == n.interaction)
    record = Recorder("Shift covariance")
    record.include(loss.derivation, given=True)
    scale = Definition(head_scale[h], exp(n.over_tasks(n.dims[j] * n.omega[j, h] ** 2, j) / 2))
    apart = n.over_tasks(n.dims[j] * (n.omega[j, h] - n.omega[j, k]) ** 2, j)
    difference = Definition(head_difference[h, k], exp(-apart / 2))
    factors = head_scale[h] * head_difference[h, k] * head_scale[k]
    record(
        "scale and difference of heads",
        ((interaction.head, factors), *((item.head, item.body) for item in (scale, difference))),
        "2 ω^h ω^k = (ω^h)² + (ω^k)² − (ω^h − ω^k)² in the exponent.",
        check=lambda whole, *parts: difference_is_zero(
            replace_indexed(whole[1], {told[0].base: rule(*told) for told in parts}), interaction.body
        ),
    )
    variance = n.over_heads(scaled_mu[i, h] * head_difference[h, k] * scaled_mu[i, k], h, k)
    record(
        "variance in scaled weights",
        (n.over_heads(n.mu[i, h] * n.interaction[h, k] * n.mu[i, k], h, k), variance),
        "ν_i^h = D_h μ_i^h: the variance of the output is a form in differences of heads.",
        check=lambda line: difference_is_zero(
            replace_indexed(line[1], {scaled_mu: lambda task, head: head_scale[head] * n.mu[task, head]}),
            replace_indexed(line[0], {n.interaction: rule(interaction.head, factors)}),
        ),
    )
    moved = {n.omega: lambda task, head: n.omega[task, head] + shift[task]}
    gain = exp(n.over_tasks(n.dims[j] * shift[j] * (n.omega[j, h] + shift[j] / 2), j))
    gain_k = exp(n.over_tasks(n.dims[j] * shift[j] * (n.omega[j, k] + shift[j] / 2), j))
    record(
        "common shift of all heads",
        (_shifted[h, k], gain * interaction.head * gain_k),
        "ω_j^h + s_j for every head: E stays, and each head gets a factor.",
        check=lambda line: (
            difference_is_zero(replace_indexed(difference.body, moved), difference.body)
            and difference_is_zero(
                replace_indexed(interaction.body, moved),
                replace_indexed(line[1], {n.interaction: rule(interaction.head, interaction.body)}),
            )
        ),
    )
    return ShiftCovariance(scale, difference, record.freeze())
