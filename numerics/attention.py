"""Owns the real softmax attention: sampled risk of given weights (a check on the reduced theory)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .problem import FloatArray, Problem


@dataclass(frozen=True, eq=False)
class SampledRisk:
    """Mean over sampled prompts of the loss with its standard error: summed over tasks, and of each task, (I,)."""

    value: float
    standard_error: float
    tasks: FloatArray
    task_errors: FloatArray
    n_samples: int

    def to_json(self) -> dict[str, Any]:
        """value, standard_error, tasks, task_errors, n_samples."""
        return {**vars(self), "tasks": self.tasks.tolist(), "task_errors": self.task_errors.tolist()}


def sampled_risk(
    problem: Problem, mu: FloatArray, omega: FloatArray, *, n_samples: int, seed: int, chunk: int = 256
) -> SampledRisk:
    """Monte-Carlo risk ``E Σ_i (ŷ_i − ⟨β_i, x_q⟩)²`` of softmax attention with decomposable weights.

    ``mu`` and ``omega`` have shape (I, H).  Prompts are sampled; given covariates and query, regressors and label
    noise are averaged exactly: task i contributes ``(λ_i/d_i) |Σ_l P_l x_l − x_q|² + σ² Σ_l P_l²`` with
    ``P = Σ_h μ_i^h p^h``.  Memory is bounded by ``chunk`` prompts.
    """
    rng = np.random.default_rng(seed)
    task_of = np.repeat(np.arange(problem.n_tasks), problem.dims)
    key_query = omega[task_of]  # (d, H): one eigenvalue per coordinate
    weight = np.array([float(power) for power in problem.signal_power]) / np.array(problem.dims)
    # Per task, and last their sum.
    total, squares, done = np.zeros(problem.n_tasks + 1), np.zeros(problem.n_tasks + 1), 0
    while done < n_samples:
        size = min(chunk, n_samples - done)
        context = rng.standard_normal((size, problem.context_length, problem.total_dim))
        query = rng.standard_normal((size, problem.total_dim))
        scores = context @ (query[:, :, None] * key_query)  # (size, L, H)
        scores -= scores.max(axis=1, keepdims=True)
        attention = np.exp(scores)
        attention /= attention.sum(axis=1, keepdims=True)
        combined = attention @ mu.T  # (size, L, I)
        predictor = np.swapaxes(combined, 1, 2) @ context  # (size, I, d)
        own = np.take_along_axis(predictor, task_of[None, None, :], axis=1)[:, 0, :]
        error = (own - query) ** 2
        signal = np.stack([error[:, task_of == task].sum(axis=1) for task in range(problem.n_tasks)], axis=1)
        risk = signal * weight + float(problem.noise_variance) * (combined**2).sum(axis=1)
        risk = np.column_stack([risk, risk.sum(axis=1)])
        total += risk.sum(axis=0)
        squares += (risk**2).sum(axis=0)
        done += size
    mean = total / n_samples
    errors = np.sqrt(np.maximum(squares / n_samples - mean**2, 0.0) / n_samples)
    return SampledRisk(float(mean[-1]), float(errors[-1]), mean[:-1], errors[:-1], n_samples)
