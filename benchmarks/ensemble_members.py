"""Owns the members that `ensemble` integrates, and each of them by SciPy: a module of its own, so that other processes
find it."""

from __future__ import annotations

import machine  # noqa: F401  # isort: skip  (before NumPy: one BLAS thread)

import math
from functools import cache

import numpy as np
from scipy.integrate import solve_ivp

import headflow as hf
from headflow.numerics.dynamics import Dynamics

T_FINAL = 1e4


def member(seed: int) -> tuple[hf.Problem, hf.InitialState]:
    draw = np.random.default_rng(seed)
    problem = hf.Problem(
        dims=draw.integers(4, 25, 3).tolist(),
        signal_power=[round(float(x), 3) for x in draw.uniform(0.5, 2, 3)],
        noise_variance=0.1,
        context_length=int(draw.integers(40, 200)),
        n_heads=3,
    )
    return problem, hf.InitialState.random(problem, scale=float(10 ** draw.uniform(-2, -1.2)), seed=seed)


class Loop:
    """One member by SciPy; the generated code is bound beforehand and costs nothing here."""

    def __init__(self, problem: hf.Problem, initial: hf.InitialState) -> None:
        self.dynamics = Dynamics(problem, initial, "balanced", "leading")
        self.unit = 1 / self.dynamics.rate(self.dynamics.start)
        self.dynamics.jacobian.evaluate(self.dynamics.start)

    def run(self, rtol: float) -> np.ndarray:
        flow, unit = self.dynamics, self.unit
        found = solve_ivp(
            lambda s, y: flow.velocity.evaluate(y) * (unit * math.exp(s)),
            (0, math.log1p(T_FINAL / unit)),
            flow.start,
            "LSODA",
            jac=lambda s, y: flow.jacobian.evaluate(y) * (unit * math.exp(s)),
            rtol=rtol,
            atol=rtol,
        )
        return found.y[:, -1]


def one_by_scipy(seed: int, rtol: float) -> np.ndarray:
    return _loop(seed).run(rtol)


@cache
def _loop(seed: int) -> Loop:
    """Kept by each process, so that its second run pays for no code generation."""
    return Loop(*member(seed))
