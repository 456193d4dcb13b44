"""Monte-Carlo risk of real softmax attention and of ridge regression (model: notes THEORY, section 1).

Model as drawn: x_l, x_q ~ N(0, I_d), y_il = <beta_i, x_l^(i)> + eps_il, beta_i ~ N(0, lam_i/d_i), L pairs,
noise-free query target; head h weights the pairs by softmax_l of sum_i omega_i^h <x_l^(i), x_q^(i)>, and its
mean of the y_il is added to prediction i with factor mu_i^h. No large-L or large-d approximation anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
Problem = Mapping[str, Any]


class Estimate(NamedTuple):
    """Mean and standard error; per task (I,) or for the total."""

    mean: Any
    error: Any


class Risk(NamedTuple):
    """Risk of every task and its sum (the errors of tasks are correlated, so the sum has its own)."""

    tasks: Estimate
    total: Estimate


class _Moments:
    """Running sums of samples (n, columns), from which mean and standard error follow."""

    def __init__(self, columns: int) -> None:
        self.count, self.first, self.second = 0, np.zeros(columns), np.zeros(columns)

    def add(self, samples: Array) -> None:
        self.count += len(samples)
        self.first += samples.sum(axis=0)
        self.second += (samples**2).sum(axis=0)

    def result(self) -> tuple[Array, Array]:
        mean = self.first / self.count
        return mean, np.sqrt((self.second / self.count - mean**2) / (self.count - 1))


def _head_weights(omega: Array, x: Array, x_query: Array, owner: Array) -> Array:
    """Softmax weights p, shape (n, H, L)."""
    scores = (x_query[:, None, :] * omega.T[None, :, owner]) @ x.transpose(0, 2, 1)
    scores -= scores.max(axis=2, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=2, keepdims=True)
    return np.asarray(scores)


def attention_risk(
    mu: Any,
    omega: Any,
    problem: Problem,
    n_samples: int,
    seed: int,
    conditional: bool = True,
    chunk: int = 500,
    noisy_target: bool = False,
    unit_covariance: bool = False,
) -> Risk:
    """Risk of the heads (mu, omega), shape (I, H).

    ``conditional`` averages over beta and the noise in closed form, given all x: a smaller variance and no
    bias. With False everything is drawn. ``noisy_target`` draws the query target with its own noise (not with
    ``conditional``); ``unit_covariance`` takes beta_i ~ N(0, lam_i Id).
    """
    if noisy_target and conditional:
        raise ValueError("a noisy target is drawn: conditional=False")
    mu, omega = np.asarray(mu, float), np.asarray(omega, float)
    lam, dims = np.asarray(problem["lam"], float), np.asarray(problem["d"], int)
    sigma2, length = float(problem["sigma2"]), int(problem["L"])
    variance = lam if unit_covariance else lam / dims
    owner = np.repeat(np.arange(len(dims)), dims)
    blocks = [np.flatnonzero(owner == i) for i in range(len(dims))]
    rng = np.random.default_rng(seed)
    moments = _Moments(len(dims) + 1)
    for start in range(0, n_samples, chunk):
        n = min(chunk, n_samples - start)
        x, x_query = rng.standard_normal((n, length, len(owner))), rng.standard_normal((n, len(owner)))
        combined = mu @ _head_weights(omega, x, x_query, owner)  # (n, I, L): sum_h mu_i^h p_l^h
        squared = np.empty((n, len(dims)))
        for i, block in enumerate(blocks):
            if conditional:
                miss = (combined[:, i, None, :] @ x[:, :, block])[:, 0] - x_query[:, block]
                squared[:, i] = variance[i] * (miss**2).sum(axis=1) + sigma2 * (combined[:, i] ** 2).sum(axis=1)
            else:
                beta = rng.standard_normal((n, dims[i], 1)) * np.sqrt(variance[i])
                y = (x[:, :, block] @ beta)[:, :, 0] + np.sqrt(sigma2) * rng.standard_normal((n, length))
                target = (x_query[:, block] * beta[:, :, 0]).sum(axis=1)
                if noisy_target:
                    target += np.sqrt(sigma2) * rng.standard_normal(n)
                squared[:, i] = ((combined[:, i] * y).sum(axis=1) - target) ** 2
        moments.add(np.column_stack([squared, squared.sum(axis=1)]))
    mean, error = moments.result()
    return Risk(Estimate(mean[:-1], error[:-1]), Estimate(float(mean[-1]), float(error[-1])))


def ridge_risk(
    signal: float, d: int, sigma2: float, length: int, n_samples: int, seed: int, conditional: bool = True
) -> Estimate:
    """Bayes risk of one task at finite (d, L): ridge regression with penalty sigma2 d / signal.

    ``conditional`` averages the trace of the posterior covariance; otherwise beta, noise and query are drawn
    and the squared error of the prediction is averaged.
    """
    rng = np.random.default_rng(seed)
    moments = _Moments(1)
    penalty = sigma2 * d / signal * np.eye(d)
    for start in range(0, n_samples, 1000):
        n = min(1000, n_samples - start)
        x = rng.standard_normal((n, length, d))
        gram = x.transpose(0, 2, 1) @ x + penalty
        if conditional:
            moments.add(sigma2 * (1 / np.linalg.eigvalsh(gram)).sum(axis=1, keepdims=True))
        else:
            beta = np.sqrt(signal / d) * rng.standard_normal((n, d, 1))
            y = x @ beta + np.sqrt(sigma2) * rng.standard_normal((n, length, 1))
            estimate = np.linalg.solve(gram, x.transpose(0, 2, 1) @ y)
            moments.add(((estimate - beta) * rng.standard_normal((n, d, 1))).sum(axis=1) ** 2)
    mean, error = moments.result()
    return Estimate(float(mean[0]), float(error[0]))
