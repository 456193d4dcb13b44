"""Owns the check of the Bayes risk against sampled contexts."""

from __future__ import annotations

import math
import statistics

import numpy as np

from ...theory.bayes import bayes_risk
from .finding import Finding, Setting

# Standard errors that a Monte-Carlo deviation may have: 4 leave a false alarm in 16,000.
STANDARD_ERRORS = 4.0


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
