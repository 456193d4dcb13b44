"""Checks of the dynamics: gradient, flows, coordinates, energy, symmetry, warm-up, convergence."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from sympy import Integer, expand

from ...theory.flows.coordinates import to_log
from ...theory.flows.energy import energy_identity
from ...theory.flows.flow import gradient_flow
from ...theory.indexed import substitute, unroll
from ...theory.phases.warm_up import warm_up_flow
from ..code import BoundKernel, compile_system
from ..optima.reference import realised_limit
from ..predictions.fit import power_law
from ..problem.initial import InitialState
from ..problem.problem import FloatArray, Problem
from .finding import NONE_FAILS, Finding, Setting, fitted, holds

if TYPE_CHECKING:
    from ..trajectory.trajectory import Trajectory

# Relative deviation that two float64 evaluations of the same formula may show.
SAME = 1e-9
ROUNDING = 1e-12


def gradient(setting: Setting) -> Finding:
    """Written out for two tasks and three heads, the gradient is what SymPy's scalar calculus gives for the loss."""
    del setting
    flow = gradient_flow("merged")
    sizes = {"I": 2, "H": 3}
    loss = unroll(flow.loss, sizes, flow.definitions)
    wrong = 0
    for variable, partial in zip(flow.state, flow.gradient, strict=True):
        for task, head in product(range(1, 3), range(1, 4)):
            at = dict(zip(variable.indices, (Integer(task), Integer(head)), strict=True))
            ours = unroll(substitute(partial, at), sizes, flow.definitions)
            wrong += expand(loss.diff(substitute(variable, at)) - ours) != 0
    what = "entries that differ from the scalar derivative"
    return Finding("symbolic", float(wrong), NONE_FAILS, 0.0, what, problem="I = 2, H = 3 with symbols for all numbers")


def merged_flow(setting: Setting) -> Finding:
    """−∂loss/∂μ and −(∂loss/∂ω)/d_i by central differences of the generated loss."""
    problem = setting.small()
    system = compile_system(gradient_flow("merged"))
    velocity, loss = (kernel.bind(problem.float_values()) for kernel in (system.velocity, system.loss))
    state = _random_state(problem, setting.seed)
    step = 1e-6
    differences = np.array(
        [(loss(state + shift) - loss(state - shift)) / (2 * step) for shift in step * np.eye(len(state))]
    )
    share = np.repeat(1.0 / np.array(problem.dims), problem.n_heads)
    expected = -differences * np.concatenate([np.ones_like(share), share])
    return _same(velocity(state), expected, setting.seed, problem, bound=1e-6, error=1e-7)


def balanced_flow(setting: Setting) -> Finding:
    """The factors o = v, k = q moved by the merged flow's gradients move their products as the balanced flow."""
    problem = setting.problem
    merged, balanced = (_velocity(problem, name) for name in ("merged", "balanced"))
    state = np.abs(_random_state(problem, setting.seed))
    half = len(state) // 2
    mu, omega = state[:half], state[half:]
    root = np.sqrt(float(problem.embedding_dim))
    # Each factor's velocity is the product's merged velocity times the other factor (over √d_e for k and q).
    factor_mu, factor_omega = np.sqrt(mu), np.sqrt(root * omega)
    pull = merged(state)
    moved_mu = 2 * factor_mu * (factor_mu * pull[:half])
    moved_omega = 2 * factor_omega * (factor_omega / root * pull[half:]) / root
    return _same(balanced(state), np.concatenate([moved_mu, moved_omega]), setting.seed, problem)


def log_coordinates(setting: Setting) -> Finding:
    """Velocities of the logarithms are the plain velocities over the variables."""
    problem = setting.problem
    state = np.abs(_random_state(problem, setting.seed))
    system = compile_system(to_log(gradient_flow("balanced")))
    logarithmic = system.velocity.bind(problem.float_values())
    return _same(logarithmic(np.log(state)), _velocity(problem, "balanced")(state) / state, setting.seed, problem)


def energy(setting: Setting) -> Finding:
    """Both sides of the identity have one normal form."""
    del setting
    step = energy_identity()["energy identity"]
    return Finding("symbolic", float(not holds(step)), NONE_FAILS, 0.0, "sides that differ", problem=None)


def permutation_equivariance(setting: Setting) -> Finding:
    """Permuting tasks and heads and then taking the velocity is taking the velocity and then permuting."""
    problem = setting.problem
    rng = np.random.default_rng(setting.seed)
    tasks, heads = rng.permutation(problem.n_tasks), rng.permutation(problem.n_heads)
    state = np.abs(_random_state(problem, setting.seed))
    shape = (2, problem.n_tasks, problem.n_heads)
    moved = problem.subset(tasks.tolist(), n_heads=problem.n_heads)

    def permuted(flat: FloatArray) -> FloatArray:
        return flat.reshape(shape)[:, tasks][:, :, heads].ravel()

    return _same(
        _velocity(moved, "balanced")(permuted(state)),
        permuted(_velocity(problem, "balanced")(state)),
        setting.seed,
        problem,
    )


def warm_up_order(setting: Setting) -> Finding:
    """The neglected part is smaller by the scale squared."""
    direction = np.abs(_random_state(setting.problem, setting.seed)).reshape(2, setting.problem.n_tasks, -1)
    scales = np.geomspace(1e-4, 1e-2, 7)
    left_out = [warm_up_left_out(setting.problem, InitialState(*(scale * direction))) for scale in scales]
    law = power_law("neglected part", "scale", scales, left_out, exponent=2.0, correction=2.0)
    return fitted("float", [law], 0.01, 1e-6, setting.seed, setting.problem)


def warm_up_left_out(problem: Problem, state: InitialState) -> float:
    """What the warm-up neglects of the balanced flow's velocity, relative to its largest entry."""
    flat = np.concatenate([state.mu.ravel(), state.omega.ravel()])
    exact = _velocity(problem, "balanced")(flat).copy()
    warm_up = replace(gradient_flow("balanced"), velocity=warm_up_flow().velocity)
    truncated = compile_system(warm_up).velocity.bind(problem.float_values())(flat)
    return float(np.abs(truncated - exact).max() / np.abs(exact).max())


def convergence(setting: Setting) -> Finding:
    """Integrate from the default start until the gap to the realised allocation's limit has closed to 0.1 %."""
    from ..integration.integrate import integrate_reliably

    problem = setting.with_enough_heads(most=3)
    initial = InitialState.random(problem, seed=setting.seed)
    gap, error = np.inf, np.inf
    for t_final in (1e4, 1e5) if setting.quick else (1e4, 1e5, 1e6, 1e7):
        run = integrate_reliably(problem, initial, t_final=t_final)
        gap, error = _gap(problem, run), float(run.loss_error[-1])
        if abs(gap) < 1e-3:
            break
    else:
        # Algebraic convergence may need longer than was integrated: that refutes nothing.  A loss below the limit does.
        error = max(error, gap)
    return Finding("float", abs(gap), 1e-3, error, "relative gap to the limit", setting.seed, problem=problem)


def _gap(problem: Problem, run: Trajectory) -> float:
    """By how much of the limit the last loss is above it."""
    groups = run.allocation.limit_groups
    if groups is None:
        return float("inf")
    return float(run.loss[-1]) / realised_limit(problem, groups) - 1.0


def _velocity(problem: Problem, parametrisation: str) -> BoundKernel:
    return compile_system(gradient_flow(parametrisation)).velocity.bind(problem.float_values())


def _random_state(problem: Problem, seed: int) -> FloatArray:
    """Flat (μ, ω) of both signs, at the size that the weights have in the flow."""
    rng = np.random.default_rng(seed)
    size = np.sqrt(np.repeat(np.array(problem.dims, dtype=float), problem.n_heads))
    draws = rng.uniform(0.1, 1.0, (2, len(size))) * rng.choice([-1.0, 1.0], (2, len(size)))
    # Exponents Σ_j d_j ω_j^h ω_j^k then stay below one, whatever the number of tasks.
    return np.concatenate([draws[0] * size, draws[1] / (size * np.sqrt(problem.n_tasks))])


def _same(
    found: FloatArray,
    expected: FloatArray,
    seed: int,
    problem: Problem,
    bound: float = SAME,
    error: float = ROUNDING,
) -> Finding:
    measured = float(np.abs(found - expected).max() / np.abs(expected).max())
    return Finding("float", measured, bound, error, "largest relative deviation", seed, problem=problem)
