"""The risk of softmax attention by quadrature: no sampling and no expansion in 1/L (derived here).

With ``Z_h = Σ_l e^{s_l^h}``, ``1/(Z_h Z_k) = ∫∫ e^{−t Z_h − t' Z_k} dt dt'`` turns every average of softmax weights
into integrals of averages over one token, as tokens are independent: with ``y = t e^s``, ``y' = t' e^{s'}`` and
``φ = E e^{−y−y'}``,

    E Σ_l p_l^h p_l^k = L ∫∫ E[y y' e^{−y−y'}] φ^{L−1} d log t d log t'

and so on for the tokens that heads pool.  Only two coordinates of a token enter the scores of two heads, so all of it
is Gauss–Hermite quadrature in these, the trapezoid rule in log t (the integrands are analytic in a strip), and
Gauss–Laguerre quadrature over the lengths of the query's parts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, product
from typing import Final

import numpy as np
from scipy.linalg import eigh_tridiagonal

from ..problem.problem import FloatArray, Problem

# Of log t: the trapezoid rule then errs by e^{−π²/step}, relative.
_STEP: Final = 0.3
# How far below and above 1/Z the integrands, of order t and of order e^{−tZ}, still count in log t.
_BELOW: Final = 32.0
_ABOVE: Final = 6.0
# Two tilts whose angle is below this are one direction.
_PARALLEL: Final = 1e-14
_TOKEN_NODES: Final = 28  # exact to 1e-12 for |a|² up to about one
_QUERY_NODES: Final = 10


@dataclass(frozen=True, eq=False)
class RiskParts:
    """What the risk is made of, for every context length, averaged over prompts.

    The risk of task i is ``λ_i (1 − 2 μ_i·linear_i + μ_i·quadratic_i μ_i) + σ² μ_i·overlap μ_i``.

    Attributes
    ----------
    linear
        (lengths, I, H): how much of the target each head expresses.
    quadratic
        (lengths, I, H, H): second moments of what two heads express, over the target's.
    overlap
        (lengths, H, H): E Σ_l p_l^h p_l^k.
    """

    linear: FloatArray
    quadratic: FloatArray
    overlap: FloatArray


def risk_parts(
    dims: Sequence[int], omega: FloatArray, lengths: Sequence[int], query_nodes: int = _QUERY_NODES
) -> RiskParts:
    """The parts of the risk at key-query eigenvalues ``omega`` (I, H), for several context lengths at once.

    ``query_nodes`` for each task (their number grows like the I-th power); the rest is accurate to about 1e-12 for
    exponents |a|² up to one.
    """
    n_tasks, n_heads = omega.shape
    linear = np.zeros((len(lengths), n_tasks, n_heads))
    quadratic = np.zeros((len(lengths), n_tasks, n_heads, n_heads))
    overlap = np.zeros((len(lengths), n_heads, n_heads))
    width = np.asarray(dims, float)
    rules = [squared_length(dim, query_nodes) for dim in dims]
    for nodes in product(*(zip(*rule, strict=True) for rule in rules)):
        squares, weights = np.array(nodes).T
        length, weight = np.sqrt(squares), float(np.prod(weights))
        tilts = (omega * length[:, None]).T
        for h, k in combinations_with_replacement(range(n_heads), 2):
            pooled = pooled_moments(tilts[h], tilts[k], lengths)
            shared, own = pooled.overlap, pooled.second.diagonal(axis1=1, axis2=2)
            both = weight * (own + (width - 1) * shared[:, None]) / width
            quadratic[:, :, h, k] += both
            overlap[:, h, k] += weight * shared
            if h == k:
                linear[:, :, h] += weight * pooled.mean * length / width
            else:
                quadratic[:, :, k, h] += both
                overlap[:, k, h] += weight * shared
    return RiskParts(linear, quadratic, overlap)


def risk_by_quadrature(
    problem: Problem, mu: FloatArray, omega: FloatArray, query_nodes: int = _QUERY_NODES
) -> FloatArray:
    """The risk of each task, (I,), at weights ``mu`` and ``omega`` of shape (I, H)."""
    parts = risk_parts(problem.dims, omega, [problem.context_length], query_nodes)
    power, noise = np.array(problem.signal_power, float), float(problem.noise_variance)
    linear, quadratic, overlap = parts.linear[0], parts.quadratic[0], parts.overlap[0]
    signal = 1 - 2 * (mu * linear).sum(axis=1) + np.einsum("ih,ihk,ik->i", mu, quadratic, mu)
    found: FloatArray = power * signal + noise * np.einsum("ih,hk,ik->i", mu, overlap, mu)
    return found


@dataclass(frozen=True, eq=False)
class PooledMoments:
    """Moments of the tokens x in R^D that two softmax heads pool, for every context length.

    Attributes
    ----------
    overlap
        E Σ_l p_l p'_l, (lengths,).
    second
        E (Σ_l p_l x_l) (Σ_m p'_m x_m)ᵀ, (lengths, D, D).
    mean
        E Σ_l p_l x_l of the first head, (lengths, D).
    """

    overlap: FloatArray
    second: FloatArray
    mean: FloatArray


def pooled_moments(one: FloatArray, other: FloatArray, lengths: Sequence[int]) -> PooledMoments:
    """Two heads with scores ⟨one, x_l⟩ and ⟨other, x_l⟩ on tokens x_l ~ N(0, Id)."""
    size = float(np.linalg.norm(one))
    first = one / size if size > 0 else np.eye(1, len(one))[0]
    along = float(other @ first)
    rest = other - along * first
    across = float(np.linalg.norm(rest))
    rule = other_rule = hermite(_TOKEN_NODES)
    frame = [first]
    if across > _PARALLEL * np.linalg.norm(other):
        frame.append(rest / across)
    else:  # no score reads another coordinate: two nodes average its square exactly
        across, other_rule = 0.0, hermite(2)
    overlap, moments, mean = _in_frame(size, along, across, rule, other_rule, lengths)
    axes = np.array(frame)
    unread = np.eye(len(one)) - axes.T @ axes
    seen = axes.T @ moments[:, : len(axes), : len(axes)] @ axes
    return PooledMoments(overlap, seen + np.multiply.outer(overlap, unread), np.multiply.outer(mean, first))


def _in_frame(
    size: float,
    along: float,
    across: float,
    rule: tuple[FloatArray, FloatArray],
    other_rule: tuple[FloatArray, FloatArray],
    lengths: Sequence[int],
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Scores ``size u`` and ``along u + across v`` of tokens with normal coordinates u, v.

    Overlap (lengths,), second moments in (u, v) (lengths, 2, 2) and the first head's mean in u (lengths,).
    """
    (u, weight_u), (v, weight_v) = rule, other_rule
    log_t, log_s = (_lattice(square, lengths) for square in (size**2, along**2 + across**2))
    y = np.exp(log_t[:, None] + size * u)
    gone, served = np.exp(-y) * weight_u, y * np.exp(-y) * weight_u
    left_out = -np.expm1(-y) @ weight_u
    other = np.exp(log_s[:, None, None] + (along * u)[:, None] + across * v)
    fallen = np.exp(-other)
    # Averages over v, as functions of t' and u; of 1 − e^{−y'}, which may be tiny, by itself.
    other_gone, other_served = (
        [(part * v**power) @ weight_v for power in range(3)] for part in (fallen, other * fallen)
    )
    other_left_out = -np.expm1(-other) @ weight_v
    log_phi = _log_rest(left_out[:, None] + gone @ other_left_out.T)
    both = served @ other_served[0].T
    one_token = ((served * u**2) @ other_served[0].T, (served * u) @ other_served[1].T, served @ other_served[2].T)
    first = (served * u) @ other_gone[0].T, served @ other_gone[1].T
    second = (gone * u) @ other_served[0].T, gone @ other_served[1].T
    overlap, moments, mean = np.empty(len(lengths)), np.empty((len(lengths), 2, 2)), np.empty(len(lengths))
    for place, length in enumerate(lengths):
        alone, together = np.exp((length - 1) * log_phi), (length - 1) * np.exp((length - 2) * log_phi)
        overlap[place] = (both * alone).sum()
        for i, j in np.ndindex(2, 2):
            moments[place, i, j] = (one_token[i + j] * alone).sum() + (first[i] * second[j] * together).sum()
        mean[place] = (served @ u) @ np.exp((length - 1) * _log_rest(left_out))
    area = np.asarray(lengths, float) * _STEP**2
    return overlap * area, moments * area[:, None, None], mean * area / _STEP


def _log_rest(part: FloatArray) -> FloatArray:
    """log(1 − part), at least −1000: a power of it is as good as zero, and its power zero is one."""
    found: FloatArray = np.log1p(-np.minimum(part, 1 - 1e-16))
    return np.maximum(found, -1000.0)


def _lattice(square: float, lengths: Sequence[int]) -> FloatArray:
    """log t about −log Z, for scores of variance ``square``."""
    centre = -square / 2
    low = centre - math.log(max(lengths)) - _BELOW
    return np.arange(low, centre - math.log(min(lengths)) + _ABOVE + 6 * math.sqrt(square), _STEP)


def hermite(count: int) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights for a standard normal variable."""
    return _golub_welsch(np.zeros(count), np.sqrt(np.arange(1.0, count)))


def squared_length(dim: int, count: int) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights for chi-square with ``dim`` degrees of freedom; none overflows for any ``dim``."""
    order, place = dim / 2 - 1, np.arange(float(count))
    nodes, weights = _golub_welsch(2 * place + order + 1, np.sqrt(place[1:] * (place[1:] + order)))
    return 2 * nodes, weights


def _golub_welsch(diagonal: FloatArray, beside: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights (of sum one) from the recurrence of the orthogonal polynomials."""
    nodes, vectors = (np.asarray(part, float) for part in eigh_tridiagonal(diagonal, beside))
    return nodes, vectors[0] ** 2
