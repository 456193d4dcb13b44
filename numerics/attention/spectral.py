"""Owns the risk of softmax attention at decomposable weights in about a second: only what the scores read is drawn.

With ``W_X = Φ diag(ω) Φᵀ`` a score reads a token through its components along the query's parts, one for each task, of
which the query's lengths |x_q^(i)| are all that matters.  So a prompt is I lengths (χ variables) and L min(H, I) normal
numbers, whatever the d_i; the rest averages in closed form, as in `conditional`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

import numpy as np

from ..problem import FloatArray, Problem
from .conditional import frame_of_probes
from .model import softmax
from .prompts import EVALUATION, generator
from .risk import SampledRisk

_SEED: Final = 0
_MOST: Final = 40_000  # prompts
_LEAST: Final = 200  # fewer say nothing about their own error
_WORK: Final = 3 * 10**7  # numbers that are drawn or raised, about a second
_BLOCK: Final = 2**20  # of them, held at a time


def affordable_prompts(problem: Problem) -> int:
    """How many prompts `quick_risk` draws: what takes about a second, at most 40,000; 0 if that is too few."""
    count = min(_MOST, _WORK // _per_prompt(problem))
    return count if count >= _LEAST else 0


def quick_risk(problem: Problem, mu: FloatArray, omega: FloatArray) -> SampledRisk | None:
    """The risk ``E Σ_i (ŷ_i − ⟨β_i, x_q⟩)²`` of softmax attention with weights (I, H), sampled in about a second.

    The same numbers come with every call.  None where a second is not enough (see `affordable_prompts`), and where the
    loss of some prompt overflows.
    """
    total = affordable_prompts(problem)
    if not total:
        return None
    began = time.perf_counter()
    with np.errstate(all="ignore"):
        losses = np.concatenate(list(_losses(problem, mu, omega, total)))
        tasks, errors = losses.mean(axis=0), losses.std(axis=0, ddof=1) / np.sqrt(total)
        summed = losses.sum(axis=1)
        value, error = float(summed.mean()), float(summed.std(ddof=1) / np.sqrt(total))
    if not np.isfinite([value, error]).all():
        return None
    seconds = time.perf_counter() - began
    return SampledRisk(value, error, tasks, errors, total, _SEED, True, "numpy", "CPU, 1 thread", seconds)


def _per_prompt(problem: Problem) -> int:
    heads, tasks = problem.n_heads, problem.n_tasks
    return problem.context_length * (heads + min(heads, tasks)) + tasks * heads * heads


def _losses(problem: Problem, mu: FloatArray, omega: FloatArray, total: int) -> Iterator[FloatArray]:
    """Squared errors of prompts given their scores, in blocks: (n, I)."""
    dims, power = np.array(problem.dims, float), np.array(problem.signal_power, float)
    variance, noise = power / dims, float(problem.noise_variance)
    rank = min(problem.n_heads, problem.n_tasks)
    size = max(1, min(512, _BLOCK // _per_prompt(problem)))
    for block, start in enumerate(range(0, total, size)):
        rng, count = generator(_SEED, EVALUATION, 0, block), min(size, total - start)
        lengths = np.sqrt(rng.chisquare(dims, size=(count, len(dims))))
        along = rng.standard_normal((count, rank, problem.context_length))
        coefficients, frame = frame_of_probes(np, omega.T * lengths[:, None, :])
        weights = softmax(np, coefficients @ along)
        pooled = (weights @ along.swapaxes(1, 2)) @ frame.swapaxes(1, 2)
        overlaps = weights @ weights.swapaxes(1, 2)
        missed = np.einsum("ih,nhi->ni", mu, pooled) - lengths
        # Of the labels: their noise, and the signal of the d_i − 1 directions, and more, that no score reads.
        unread = noise + variance * (dims - (frame**2).sum(axis=2))
        spread = np.einsum("ih,nhk,ik->ni", mu, overlaps, mu, optimize=True)
        yield variance * missed**2 + spread * unread
