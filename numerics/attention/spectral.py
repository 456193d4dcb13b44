"""The risk of softmax attention at decomposable weights, also where full matrices do not fit or take too long.

With ``W_X = Φ diag(ω) Φᵀ`` a score reads a token through its components along the query's parts, one for each task, of
which the query's lengths |x_q^(i)| are all that matters.  So a prompt is I lengths (χ variables) and L min(H, I) normal
numbers, whatever the d_i; only these are drawn, and the rest averages in closed form, as in `conditional`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

import numpy as np

from ...theory.errors import InputError
from ..problem.initial import checked_seed
from ..problem.kinds import takes
from ..problem.problem import FloatArray, Problem
from ..runtime.progress import progress_bar
from .conditional import frame_of_probes
from .model import softmax
from .prompts import EVALUATION, generator
from .risk import Merged, SampledRisk, attention_risk, checked_prompts
from .weights import AttentionWeights, checked_spectrum, numbers_of_matrices

_SEED: Final = 0
_MOST: Final = 40_000  # prompts
_LEAST: Final = 200  # fewer say nothing about their own error
_WORK: Final = 3 * 10**7  # numbers that are drawn or raised, about a second
_BLOCK: Final = 2**20  # of them, held at a time
_MOST_OF_MATRICES: Final = 2**22  # numbers in the matrices of all heads: 32 MB, of which several copies are made
_DEVICE: Final = "CPU, 1 thread"


@takes(problem=Problem)
def sampled_risk(
    problem: Problem,
    mu: FloatArray,
    omega: FloatArray,
    *,
    n_samples: int,
    seed: int,
    backend: str = "numpy",
    progress: bool = False,
) -> SampledRisk:
    """Monte-Carlo risk of softmax attention with decomposable weights; ``mu`` and ``omega`` have shape (I, H).

    As `attention_risk`; in NumPy, the default here, the same numbers on every machine with the same NumPy.  Where the
    matrices of all heads have more than 2²² numbers none is made: what the scores read is drawn directly, with other
    random numbers and the same law, by NumPy.
    """
    if numbers_of_matrices(problem) <= _MOST_OF_MATRICES:
        weights = AttentionWeights.spectral(problem, mu, omega)
        return attention_risk(problem, weights, n_samples, seed, backend=backend, progress=progress)
    spectrum = checked_spectrum(problem, mu, omega)
    found = _sampled(problem, *spectrum, checked_prompts(n_samples), checked_seed(seed), progress)
    if found is None:
        raise InputError("the weights are too large: the loss of some prompt overflows float64")
    return found


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
    return _sampled(problem, mu, omega, total, _SEED, progress=False)


def _sampled(
    problem: Problem, mu: FloatArray, omega: FloatArray, total: int, seed: int, progress: bool
) -> SampledRisk | None:
    """The risk from so many prompts; None where the loss of one overflows."""
    began, found = time.perf_counter(), Merged(problem.n_tasks)
    with np.errstate(all="ignore"), progress_bar(progress, "sample", total, unit="prompts") as bar:
        for losses in _losses(problem, mu, omega, total, seed):
            bar.update(found.add(losses))
        return found.risk(seed, True, "numpy", _DEVICE, began) if found.finite else None


def _per_prompt(problem: Problem) -> int:
    heads, tasks = problem.n_heads, problem.n_tasks
    return problem.context_length * (heads + min(heads, tasks)) + tasks * heads * heads


def _losses(problem: Problem, mu: FloatArray, omega: FloatArray, total: int, seed: int) -> Iterator[FloatArray]:
    """Squared errors of prompts given their scores, in blocks: (n, I)."""
    dims, power = np.array(problem.dims, float), np.array(problem.signal_power, float)
    variance, noise = power / dims, float(problem.noise_variance)
    rank = min(problem.n_heads, problem.n_tasks)
    size = max(1, min(512, _BLOCK // _per_prompt(problem)))
    for block, start in enumerate(range(0, total, size)):
        rng, count = generator(seed, EVALUATION, 0, block), min(size, total - start)
        lengths = np.sqrt(rng.chisquare(dims, size=(count, len(dims))))
        along = rng.standard_normal((count, rank, problem.context_length))
        coefficients, frame = frame_of_probes(np, omega.T * lengths[:, None, :])
        weights = softmax(np, coefficients @ along)
        pooled = (weights @ along.swapaxes(1, 2)) @ frame.swapaxes(1, 2)
        overlaps = weights @ weights.swapaxes(1, 2)
        missed = np.einsum("ih,nhi->ni", mu, pooled) - lengths
        # Of the labels: their noise, and the signal of the d_i − 1 directions, and more, that no score reads.
        unread = noise + variance * (dims - (frame**2).sum(axis=2))
        spread = ((mu @ overlaps) * mu).sum(axis=2)
        yield variance * missed**2 + spread * unread
