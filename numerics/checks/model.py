"""Owns checks against the sampled model: moments of softmax heads, the population loss, the Bayes risk."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import Any

import numpy as np
from sympy import Expr, Integer, N, S

from ...theory import notation as n
from ...theory.attention import output_moments
from ...theory.bayes import bayes_risk
from ...theory.flow import gradient_flow
from ...theory.indexed import substitute, unroll
from ...theory.limits import task_allocation_limit
from ..attention import sampled_risk
from ..codegen import compile_system
from ..problem import FloatArray
from .finding import Finding, Setting

# Standard errors that a Monte-Carlo deviation may have: 4 leave a false alarm in 16,000.
STANDARD_ERRORS = 4.0
# How many times more samples than usual are drawn where the error of the usual number is too large.
MOST_MORE = 20


def softmax_moments(setting: Setting) -> Finding:
    """Sampled mean and covariance of two heads' outputs against the formulas at order 1/L."""
    length, dim, noise = 200, 3, 0.5
    samples = 20_000 if setting.quick else 100_000
    rng = np.random.default_rng(setting.seed)
    beta = np.array([0.9, -0.6, 0.3])
    tilts = np.array([[0.5, 0.2, -0.1], [0.1, -0.4, 0.3]])
    outputs = np.empty((samples, 2))
    for start in range(0, samples, 1000):
        size = min(1000, samples - start)
        context = rng.standard_normal((size, length, dim))
        labels = context @ beta + math.sqrt(noise) * rng.standard_normal((size, length))
        weights = np.exp(context @ tilts.T)
        outputs[start : start + size] = (weights * labels[:, :, None]).sum(axis=1) / weights.sum(axis=1)
    values = {
        "L": length,
        "sigma2": noise,
        "inner_a_a": (tilts @ tilts.T).tolist(),
        "inner_beta_a": [(tilts @ beta).tolist()],
        "norm2_beta": [float(beta @ beta)],
    }
    moments = output_moments()

    def predicted(expression: Expr, head: int, other: int) -> float:
        return float(N(unroll(substitute(expression, {n.i: S.One, n.h: Integer(head), n.k: Integer(other)}), values)))

    deviations = []
    for head in (1, 2):
        sample = outputs[:, head - 1]
        mean = predicted(moments.mean, head, head) + predicted(moments.bias, head, head)
        deviations.append((abs(sample.mean() - mean), sample.std() / math.sqrt(samples), abs(mean)))
    centred = outputs - outputs.mean(axis=0)
    for head, other in ((1, 1), (1, 2), (2, 2)):
        product = centred[:, head - 1] * centred[:, other - 1]
        covariance = predicted(moments.covariance, head, other)
        scale = math.sqrt(predicted(moments.covariance, head, head) * predicted(moments.covariance, other, other))
        deviations.append((abs(product.mean() - covariance), product.std() / math.sqrt(samples), scale))
    # Relative to each moment's own size; what the expansion leaves out is of relative order 1/L.
    measured = max(deviation / scale for deviation, _, scale in deviations)
    error = max(STANDARD_ERRORS * spread / scale for _, spread, scale in deviations)
    what, place = "largest relative deviation of a moment", f"d = {dim}, L = {length}, σ² = {noise}"
    return Finding("monte_carlo", measured, 0.1, error, what, setting.seed, problem=place)


def population_loss_sampled(setting: Setting) -> Finding:
    """Sampled risk of the real attention against the leading loss; the first-order loss tells what it leaves out."""
    return sampled_against("leading", setting)


def sampled_against(closure: str, setting: Setting) -> Finding:
    """Sampled risk of the real attention against a closure, within twice what it leaves out at order 1/L."""
    problem = setting.small(2, n_heads=2)
    count = problem.n_tasks
    limit = task_allocation_limit()
    omega = np.zeros((count, 2))
    mu = np.zeros((count, 2))
    peaks, gains = limit.omega.at_tasks(problem.replace(n_heads=2)), limit.mu.at_tasks(problem.replace(n_heads=2))
    # Small dimensions are kept in the range where 1/L is the order of what is left out, (ω_i^h)² < 1/6.
    # Weights on the way to the allocation: both heads carry every task, at exponents where 1/L corrections are small.
    for task in range(count):
        peak, gain = min(float(peaks[task]), 0.5), float(gains[task])
        omega[task] = 0.15 * peak
        mu[task] = 0.4 * gain
        omega[task, task % 2] = 0.6 * peak
        mu[task, task % 2] = 0.8 * gain
    predicted, corrected = (_loss(problem.float_values(), mu, omega, name) for name in (closure, "first_order"))
    # first_order leaves out so little that its bound asks for a small error.
    base = (8_000 if setting.quick else 40_000) * (3 if closure == "first_order" else 1)
    samples = base * max(1, 4_000 // (problem.context_length * problem.total_dim))
    bound = 2 * abs(corrected - predicted) / predicted + 0.02
    risk = sampled_risk(problem, mu, omega, n_samples=samples, seed=setting.seed)
    # Where few coordinates make rare long queries weigh much, as many samples as the bound asks for.
    more = (2 * STANDARD_ERRORS * risk.standard_error / (predicted * bound)) ** 2
    if more > 1:
        risk = sampled_risk(problem, mu, omega, n_samples=math.ceil(samples * min(more, MOST_MORE)), seed=setting.seed)
    measured = abs(risk.value - predicted) / predicted
    error = STANDARD_ERRORS * risk.standard_error / predicted
    what = "relative deviation of the sampled risk"
    return Finding("monte_carlo", measured, bound, error, what, setting.seed, problem=problem)


def _loss(values: Mapping[str, Any], mu: FloatArray, omega: FloatArray, closure: str) -> float:
    kernel = compile_system(gradient_flow("merged", closure)).loss.bind({**values, "H": mu.shape[1]})
    return float(kernel(np.concatenate([mu.ravel(), omega.ravel()])))


def bayes_risk_sampled(setting: Setting) -> Finding:
    """Exact posterior risk of sampled contexts at two sizes d and 2d, extrapolated to the proportional limit.

    What a finite d changes is of order 1/d, and large where d_i is close to L and the noise small.
    """
    problem = setting.small(3)
    rng = np.random.default_rng(setting.seed)
    predicted, bound = bayes_risk().evaluate(problem), 0.015
    noise, length = float(problem.noise_variance), problem.context_length

    def risk(dim: int, power: float, grow: int) -> float:
        context = rng.standard_normal((length * grow, dim * grow))
        return float(np.trace(np.linalg.inv(context.T @ context / noise + dim * grow / power * np.eye(dim * grow))))

    def drawn() -> float:
        """The extrapolated risk from contexts of every task, over the predicted one."""
        total = 0.0
        for dim, power in zip(problem.dims, map(float, problem.signal_power), strict=True):
            grow = math.ceil(60 / dim)
            total += 2 * risk(dim, power, 2 * grow) - risk(dim, power, grow)
        return total / predicted

    def error() -> float:
        return STANDARD_ERRORS * statistics.stdev(draws) / math.sqrt(len(draws))

    draws = [drawn() for _ in range(10 if setting.quick else 40)]
    # How much one context says depends on the problem: go on until the error is small against the bound.
    while error() > bound / 3 and len(draws) < (1000 if setting.quick else 4000):
        draws.append(drawn())
    measured = abs(statistics.mean(draws) - 1)
    what = "relative deviation of the posterior risk, extrapolated in 1/d"
    return Finding("monte_carlo", measured, bound, error(), what, setting.seed, problem=problem)
