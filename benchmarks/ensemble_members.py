"""The members that `ensemble` integrates, and each of them by SciPy: a module of its own, so that other processes
find it."""

from __future__ import annotations

import machine  # noqa: F401  # isort: skip  (before NumPy: one BLAS thread)

import math
from functools import cache

import numpy as np
from peers import plain_code
from scipy.integrate import solve_ivp

import headflow as hf
from headflow.numerics.flows.dynamics import Dynamics

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
    """One member by SciPy; the generated code is bound beforehand and costs nothing here.

    ``plain``: with the flow and its Jacobian written by hand instead.
    """

    def __init__(self, problem: hf.Problem, initial: hf.InitialState, plain: bool = False) -> None:
        flow = self.dynamics = Dynamics(problem, initial, "balanced", "leading")
        self.unit = 1 / flow.rate(flow.start)
        self.velocity, self.jacobian = (
            plain_code(problem)
            if plain
            else (lambda t, y: flow.velocity.evaluate(y), lambda t, y: flow.jacobian.evaluate(y))
        )
        self.jacobian(0, flow.start)

    def run(self, rtol: float) -> np.ndarray:
        unit = self.unit
        found = solve_ivp(
            lambda s, y: self.velocity(s, y) * (unit * math.exp(s)),
            (0, math.log1p(T_FINAL / unit)),
            self.dynamics.start,
            "LSODA",
            jac=lambda s, y: self.jacobian(s, y) * (unit * math.exp(s)),
            rtol=rtol,
            atol=rtol,
        )
        return found.y[:, -1]


def one_by_scipy(seed: int, rtol: float, plain: bool) -> np.ndarray:
    return _loop(seed, plain).run(rtol)


@cache
def _loop(seed: int, plain: bool) -> Loop:
    """Kept by each process, so that its second run pays for no code generation."""
    return Loop(*member(seed), plain=plain)
