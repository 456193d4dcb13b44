"""Hand formulas of the flows linearised at their limits: eigenvalues and the second variation at identical heads."""

from __future__ import annotations

import math

import numpy as np


def _rows(problem):
    tasks = zip(problem["lam"], problem["d"], strict=True)
    return [(lam, d, (1 + problem["sigma2"] / lam) * d / problem["L"]) for lam, d in tasks]


def embedding(problem):
    return sum(problem["d"]) + len(problem["d"])


def allocation_weights(problem):
    """μ and ω of the task-allocation limit, head i for task i."""
    rows = _rows(problem)
    mu = np.diag([math.sqrt(d) / (1 + math.e * c) for _, d, c in rows])
    return mu, np.diag([1 / math.sqrt(d) for _, d, _ in rows])


def balanced_block(lam, d, c, d_e):
    """In (μ, ω) of a task on its own head."""
    s = 1 / (1 + math.e * c)
    return np.array(
        [
            [-4 * lam / math.sqrt(d), -4 * lam * math.sqrt(d) * s],
            [-4 * lam / (d**1.5 * math.sqrt(d_e)), -4 * lam * s * (3 - 2 * s) / math.sqrt(d * d_e)],
        ]
    )


def escape_rates(problem):
    """g_i = 2 λ_i φ_i μ_i/L."""
    weights = np.diag(allocation_weights(problem)[0])
    return [2 * lam * c / d * mu for (lam, d, c), mu in zip(_rows(problem), weights, strict=True)]


def allocation_spectrum(problem, parametrisation):
    """Every eigenvalue at H = I, in order."""
    d_e, others = embedding(problem), len(problem["d"]) - 1
    found = []
    for (lam, d, c), g in zip(_rows(problem), escape_rates(problem), strict=True):
        found += list(np.linalg.eigvals(balanced_block(lam, d, c, d_e)).real)
        if parametrisation == "balanced":
            found += others * [-2 * g, 0.0]
        else:
            found += [0.0, 0.0] + others * [g, -g, 0.0, 0.0]
    return np.sort(found)


def zero_rates(problem, n_heads):
    """Growth of zero-sum modes and of the sum mode of each task in the merged flow at zero."""
    zero_sum, together = [], []
    for lam, d, c in _rows(problem):
        drag = lam * c / d * n_heads
        zero_sum.append(2 * lam / math.sqrt(d))
        together.append(-drag + math.sqrt(drag**2 + 4 * lam**2 / d))
    return zero_sum, together


def second_variation(mu, moved_mu, moved_omega, lam, d, c):
    """D²𝓛 of a single task at identical heads, Σ μ = √d/(1 + ec), ω = 1/√d."""
    x, y, z = moved_mu.sum(), (mu * moved_omega).sum(), (mu * moved_omega**2).sum()
    e = math.e
    mean = (x / math.sqrt(d) + y) ** 2 * 2 * lam
    spread = 2 * lam * e * c * (x**2 / d + 2 * x * y / math.sqrt(d) + 2 * y**2)
    return mean + spread + 2 * lam * e * c * math.sqrt(d) / (1 + e * c) * z
