"""Problems and starts that several tests of the flows share."""

from __future__ import annotations

from typing import Any

import numpy as np

from headflow import InitialState, Problem

REFERENCE = Problem(dims=[10, 10, 10], signal_power=[1, 1, 1], noise_variance=0.1, context_length=100, n_heads=3)
START = InitialState.random(REFERENCE, scale=0.03)


def oracle(problem: Problem) -> dict[str, Any]:
    """The problem as the oracles take it."""
    return {
        "lam": [float(power) for power in problem.signal_power],
        "d": list(problem.dims),
        "sigma2": float(problem.noise_variance),
        "L": problem.context_length,
    }


def random_case(seed: int) -> tuple[Problem, InitialState]:
    """I from 1 to 4, H from 1 to 5, unequal tasks; every third start favours one head in all tasks."""
    draw = np.random.default_rng(seed)
    n_tasks, n_heads = int(draw.integers(1, 5)), int(draw.integers(1, 6))
    problem = Problem(
        dims=draw.integers(2, 30, n_tasks).tolist(),
        signal_power=[round(float(x), 3) for x in np.exp(draw.normal(0, 0.7, n_tasks))],
        noise_variance=round(float(np.exp(draw.normal(-2, 1))), 4) + 1e-4,
        context_length=int(draw.integers(30, 500)),
        n_heads=n_heads,
    )
    scale = float(10 ** draw.uniform(-2.3, -0.7))
    if seed % 3 == 0:
        return problem, InitialState.random(problem, scale=scale, seed=seed)
    mu, omega = (scale * np.exp(draw.normal(0, 0.7, (n_tasks, n_heads))) for _ in range(2))
    if seed % 3 == 1:
        mu[:, 0] *= 3
    return problem, InitialState(mu=mu, omega=omega)
