"""Checks of the split flow: factors, invariants, energy, its coordinates; and of the symmetric reduction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from sympy import N, Rational

from ...theory.flows.coordinates import to_hyperbolic, to_log
from ...theory.flows.flow import gradient_flow, split_flow
from ...theory.flows.invariants import is_invariant
from ...theory.flows.symmetry import STATE, symmetric_reduction
from ...theory.flows.system import ReducedSystem
from ...theory.indexed import difference_is_zero, unroll
from ...theory.model.decomposability import decomposability
from ..code import compile_system
from ..problem.problem import FloatArray, Problem
from .finding import NONE_FAILS, Finding, Setting, proof

# Relative deviation that two float64 evaluations of the same formula may show.
SAME = 1e-9
ROUNDING = 1e-12


def split(setting: Setting) -> Finding:
    """Each factor moves with its product's merged velocity times the other factor (over √d_e for k and q)."""
    problem = setting.problem
    o, v, key, query = factors = _random_factors(problem, setting.seed)
    root = np.sqrt(float(problem.embedding_dim))
    merged = compile_system(gradient_flow("merged")).velocity.bind(problem.float_values())
    on_mu, on_omega = merged(np.concatenate([o * v, key * query / root])).reshape(2, -1)
    expected = [v * on_mu, o * on_mu, query * on_omega / root, key * on_omega / root]
    found = compile_system(split_flow()).velocity.bind(problem.float_values())(factors.ravel())
    return _closest(found.reshape(4, -1), expected, setting.seed, problem)


def invariants(setting: Setting) -> Finding:
    """Both sides of each d/dt (first² − second²) = 0 have one normal form."""
    del setting
    flow = split_flow()
    wrong = sum(not is_invariant(flow, invariant) for invariant in flow.invariants)
    # No invariant found would be as wrong as one that drifts.
    wrong += abs(len(flow.invariants) - 2)
    return Finding("symbolic", float(wrong), NONE_FAILS, 0.0, "invariants missing or not conserved", problem=None)


def energy(setting: Setting) -> Finding:
    """Each factor's velocity is minus its gradient: by the chain rule the loss falls by the squared speed.

    Unless quick, the two sides themselves have one normal form too.
    """
    flow = split_flow()
    wrong = 0
    for variable, velocity, metric in zip(flow.state, flow.velocity, flow.metric, strict=True):
        pull = -metric * flow.partial(flow.loss, variable)
        wrong += not difference_is_zero(flow.opened(velocity), flow.opened(pull))
    if not setting.quick:
        along, speed = flow.energy_identity()
        wrong += not difference_is_zero(flow.opened(along), flow.opened(speed))
    return Finding("symbolic", float(wrong), NONE_FAILS, 0.0, "velocities or sides that differ", problem=None)


def hyperbolic_angles(setting: Setting) -> Finding:
    """Angles of factors with invariants of both signs give μ, ω and their velocities as the factors do."""
    problem = setting.problem
    o, v, key, query = _random_factors(problem, setting.seed)
    angles = [np.log(np.abs((a + b) / (a - b))) / 2 for a, b in ((o, v), (key, query))]
    values = {"abs_Delta": np.abs(o**2 - v**2), "abs_Gamma": np.abs(key**2 - query**2)}
    return _as_the_factors(setting, to_hyperbolic(split_flow()), np.concatenate(angles), values, 1.0)


def split_logarithms(setting: Setting) -> Finding:
    """The logarithms of the sums of the factors give μ, ω and their velocities as the factors do."""
    problem = setting.problem
    o, v, key, query = _random_factors(problem, setting.seed)
    root = np.sqrt(float(problem.embedding_dim))
    logarithms = [np.log((o + v) ** 2 / 4), np.log((key + query) ** 2 / (4 * root))]
    values = {"Delta": o**2 - v**2, "Gamma": key**2 - query**2}
    # The coordinate is twice the hyperbolic angle, up to a constant.
    return _as_the_factors(setting, to_log(split_flow()), np.concatenate(logarithms), values, 0.5)


def _as_the_factors(
    setting: Setting, system: ReducedSystem, state: FloatArray, invariants: Mapping[str, FloatArray], angle: float
) -> Finding:
    """Compare (μ, ω) and their velocities in the system's coordinates with those of the random factors.

    ``angle`` is the change of a hyperbolic angle per change of its coordinate:
    d(first · second) = (first² + second²) d(angle).
    """
    problem = setting.problem
    o, v, key, query = factors = _random_factors(problem, setting.seed)
    root = np.sqrt(float(problem.embedding_dim))
    o_dot, v_dot, key_dot, query_dot = (
        compile_system(split_flow()).velocity.bind(problem.float_values())(factors.ravel()).reshape(4, -1)
    )
    expected = [o * v, key * query / root, o_dot * v + o * v_dot, (key_dot * query + key * query_dot) / root]
    shape = (problem.n_tasks, problem.n_heads)
    values = {**problem.float_values(), **{name: value.reshape(shape) for name, value in invariants.items()}}
    code = compile_system(system)
    products = code.named(("mu", "omega")).bind(values)(state).reshape(2, -1)
    turn_mu, turn_omega = angle * code.velocity.bind(values)(state).reshape(2, -1)
    found = [*products, (o**2 + v**2) * turn_mu, (key**2 + query**2) / root * turn_omega]
    return _closest(found, expected, setting.seed, problem)


def decomposable(setting: Setting) -> Finding:
    """The symmetries of the model, and what they leave of the gradient, by the index calculus."""
    del setting
    return proof(decomposability())


def symmetric_reduction_restricts(setting: Setting) -> Finding:
    """The four gradients of the reduction against the merged flow's at a symmetric state of equal tasks."""
    given = setting.problem
    count = max(2, min(given.n_tasks, 5))
    problem = Problem(
        dims=[given.dims[0]] * count,
        signal_power=[given.signal_power[0]] * count,
        noise_variance=given.noise_variance,
        context_length=given.context_length,
        n_heads=count,
    )
    rng = np.random.default_rng(setting.seed)
    size = np.sqrt(float(problem.dims[0]))
    scales = np.array([size, 0.3 * size, 0.7 / size, 0.2 / size])
    m, off_mu, p, off_omega = entries = scales * rng.uniform(0.5, 1.0, 4) * rng.choice([-1.0, 1.0], 4)
    eye = np.eye(count)
    state = np.concatenate([(m * eye + off_mu * (1 - eye)).ravel(), (p * eye + off_omega * (1 - eye)).ravel()])
    velocity = compile_system(gradient_flow("merged")).velocity.bind(problem.float_values())(state)
    full = -velocity.reshape(2, count, count) * np.array([1.0, problem.dims[0]])[:, None, None]
    reduced = symmetric_reduction()
    power, noise = problem.signal_power[0], problem.noise_variance
    values = {
        "I": count,
        "L": problem.context_length,
        "d": problem.dims[0],
        "lambda": power,
        "phi": 1 + noise / power,
        **{name.name: Rational(float(value)) for name, value in zip(STATE, entries, strict=True)},
    }
    g = [float(N(unroll(partial, values, reduced.definitions))) for partial in reduced.gradient]
    found = [g[0] * eye + g[1] * (1 - eye), g[2] * eye + g[3] * (1 - eye)]
    return _closest(found, full, setting.seed, problem)


def _random_factors(problem: Problem, seed: int) -> FloatArray:
    """(o, v, k, q), one row each, of both signs and with invariants of both signs."""
    rng = np.random.default_rng(seed)
    dims = np.repeat(np.array(problem.dims, dtype=float), problem.n_heads)
    on_mu = dims**0.25
    # Exponents Σ_j d_j ω_j^h ω_j^k then stay below one, whatever the number of tasks.
    on_omega = (float(problem.embedding_dim) / (dims * problem.n_tasks)) ** 0.25
    draws = rng.uniform(0.1, 1.0, (4, len(dims))) * rng.choice([-1.0, 1.0], (4, len(dims)))
    return np.asarray(draws * np.stack([on_mu, on_mu, on_omega, on_omega]))


def _closest(found: Iterable[FloatArray], expected: Iterable[FloatArray], seed: int, problem: Problem) -> Finding:
    """The largest deviation of an array, each relative to its own largest entry."""
    pairs = zip(found, expected, strict=True)
    measured = max(float(np.abs(one - other).max() / np.abs(other).max()) for one, other in pairs)
    return Finding("float", measured, SAME, ROUNDING, "largest relative deviation", seed, problem=problem)
