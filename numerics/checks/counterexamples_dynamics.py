"""Explorations of flows, phases and valleys outside their hypotheses."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from ...theory.flows.flow import gradient_flow
from ...theory.merged.identical_heads import merged_minimum
from ...theory.merged.merged_start import merged_start
from ...theory.optima.limits import task_allocation_limit
from ...theory.phases.convergence import convergence_law
from ..attention import AttentionWeights, population_gradient
from ..code import compile_system
from ..integration.integrate import integrate_reliably
from ..predictions.cascade import cascade
from ..predictions.valley import valley_report
from ..problem.initial import Imbalance, InitialState
from ..problem.problem import FloatArray, Problem
from ..trajectory.crossings import emergence_times
from ..trajectory.trajectory import Trajectory
from .counterexamples_statics import ONE, SAME, TWO
from .exploration import Case, Exploration
from .flow import warm_up_left_out
from .limits import spectrum_at_limit

NEAR = TWO.replace(context_length=100)
SMALL = 0.03


def _start(mu: ArrayLike, omega: ArrayLike = 1.0, scale: float = SMALL, imbalance: Imbalance = 0.0) -> InitialState:
    sizes = np.asarray(mu, float)
    return InitialState(scale * sizes, scale * np.broadcast_to(np.asarray(omega, float), sizes.shape), imbalance)


_APART, _TOGETHER = [[1.2, 1.0], [1.0, 1.2]], [[1.2, 1.0], [1.2, 1.0]]
_DISTINCT = Case("each task on a head of its own", NEAR, _start(_APART))
_ON_ONE = Case("both tasks choose the first head", NEAR, _start(_TOGETHER))
_ONE_HEAD = Case("one head", NEAR.replace(n_heads=1), _start([[1.2], [1.0]]))


@lru_cache(maxsize=16)
def _run_of(problem: Problem, flow: str, mu: bytes, omega: bytes, imbalance: bytes, t: float) -> Trajectory:
    shape = (problem.n_tasks, problem.n_heads)
    start, weights = (np.frombuffer(part).reshape(shape) for part in (mu, omega))
    initial = InitialState(start, weights, np.frombuffer(imbalance).reshape(2, *shape))
    return integrate_reliably(problem, initial, flow, t_final=t, rtol=1e-9)


def _run(case: Case, t: float) -> Trajectory:
    start = case.start
    arrays = (start.mu.tobytes(), start.omega.tobytes(), start.imbalance.tobytes())
    return _run_of(case.problem, case.parametrisation, *arrays, t)


def _allocation_loss(problem: Problem) -> float:
    return task_allocation_limit().loss.evaluate(problem.replace(n_heads=max(problem.n_heads, problem.n_tasks)))


def _off_the_limit(case: Case) -> float:
    return abs(float(_run(case, 1e4).loss[-1]) / _allocation_loss(case.problem) - 1)


def _late_constant_missed(case: Case) -> float:
    own = case.problem.replace(n_heads=case.problem.n_tasks)
    run = _run(case, 1e4)
    gap = float(run.loss[-1]) - (np.nan if run.phases.limit is None else run.phases.limit)
    return abs(gap * 1e8 / convergence_law().constant.evaluate(own) - 1)


def _largest_eigenvalue(case: Case) -> float:
    """Of the generated Jacobian at the task-allocation limit, over the fastest."""
    spectrum = spectrum_at_limit(case.problem, case.parametrisation)
    return float(spectrum.max() / np.abs(spectrum).max())


def _factor_velocity_missed(case: Case) -> float:
    """μ̇ of the split flow against that of the balanced flow, at the case's weights."""
    values, start = case.problem.float_values(), case.start
    mu, omega = start.mu.ravel(), start.omega.ravel()
    balanced = compile_system(gradient_flow("balanced")).velocity.bind(values)(np.concatenate([mu, omega])).copy()
    root = np.sqrt(case.problem.embedding_dim)
    (o, v), (k, q) = (
        _factors(product, imbalance)
        for product, imbalance in ((mu, start.imbalance[0].ravel()), (root * omega, start.imbalance[1].ravel()))
    )
    split = compile_system(gradient_flow("split")).velocity.bind(values)(np.concatenate([o, v, k, q]))
    by_o, by_v, *_ = split.reshape(4, -1)
    found = by_o * v + o * by_v
    return float(np.abs(found / balanced[: len(mu)] - 1).max())


def _factors(product: FloatArray, imbalance: FloatArray) -> tuple[FloatArray, FloatArray]:
    first = np.sqrt((np.hypot(imbalance, 2 * product) + imbalance) / 2)
    return first, product / first


def _wrong_winner(case: Case) -> float:
    """Tasks that another head than that of the largest μ(0) wins, in the cascade."""
    winners = cascade(case.problem, case.start).winners
    return float(sum(winner != int(row.argmax()) for winner, row in zip(winners, case.start.mu, strict=True)))


def _wrong_winner_of_the_flow(case: Case) -> float:
    """The same in the full flow."""
    heads = _run(case, 1e4).allocation.heads
    return float(sum(head != int(row.argmax()) for head, row in zip(heads, case.start.mu, strict=True)))


def _time_missed(case: Case) -> float:
    found = cascade(case.problem, case.start)
    told = found.times[found.order[0]]
    assert told is not None
    seen = [t for t in emergence_times(_run(case, 1.5 * told + 1e3)) if t is not None]
    return abs(min(seen) / told - 1)


def _merged_time_missed(case: Case) -> float:
    start = case.start
    told = merged_start().emergence_at(case.problem, 0, start.mu[0].tolist(), start.omega[0].tolist())
    run = _run(case, 20 * told)
    half = float(run.loss[0]) / 2
    rows = np.flatnonzero(run.loss < half)
    return abs(float(run.t[rows[0]]) / told - 1) if len(rows) else np.inf


def _neutral_directions(case: Case) -> float:
    """Zero eigenvalues of the second variation at identical heads, beyond H − 1."""
    minimum, heads = merged_minimum(), case.problem.n_heads
    mu = case.start.mu[0] / case.start.mu[0].sum() * minimum.total.evaluate(case.problem)
    state = np.concatenate([mu, np.full(heads, minimum.omega.evaluate(case.problem))])
    jacobian = compile_system(gradient_flow("merged")).jacobian.bind(case.problem.float_values())(state)
    rates = np.abs(np.linalg.eigvals(jacobian))
    return float((rates < 1e-9 * rates.max()).sum() - (heads - 1))


def _omega_rests(case: Case) -> float:
    """|ω| at t = 10⁶ over |ω| at t = 10⁴: in a valley it falls like a power of t, at a minimum it rests."""
    run = _run(case, 1e6)
    return float(np.linalg.norm(run.omega[-1]) / np.linalg.norm(run.at(1e4).omega))


def _gap_exponent(claimed: float, case: Case) -> float:
    gap = valley_report(_run(case, 1e7)).laws[0]
    return abs(gap.exponent - claimed)


def _spread_of_velocities(case: Case) -> float:
    """On-task velocities of μ at symmetric weights: how far tasks are from moving alike."""
    problem, start = case.problem, case.start
    state = np.concatenate([start.mu.ravel(), start.omega.ravel()])
    velocity = compile_system(gradient_flow("balanced")).velocity.bind(problem.float_values())(state)
    own = velocity[: start.mu.size].reshape(start.mu.shape).diagonal()
    return float(np.ptp(own) / np.abs(own).max())


def _off_diagonal(case: Case) -> float:
    """The largest off-diagonal entry of the population gradient, in standard errors."""
    weights = AttentionWeights.of(case.problem, case.start, "merged")
    if case.parametrisation == "not decomposable":
        read, write = (part.copy() for part in weights.parts)
        read[:, 0, 1] += 0.1
        weights = weights.replaced((read, write))
    found, error = population_gradient(case.problem, weights, 20_000, seed=0, backend="numpy").off_diagonal()
    seen = error > 0
    return float(np.abs(found[seen] / error[seen]).max())


def _pairs_start(problem: Problem) -> InitialState:
    draw = np.random.default_rng(0)
    shape = (problem.n_tasks, problem.n_heads)
    return InitialState(SMALL * draw.standard_normal(shape), SMALL * draw.standard_normal(shape))


def _merged(words: str, problem: Problem) -> Case:
    return Case(words, problem, _pairs_start(problem), parametrisation="merged")


_ALONE = NEAR.subset([0], n_heads=2)
_LONG = _ALONE.replace(context_length=10**7)
_MERGED_START = InitialState([[1e-3, -5e-4]], [[4e-4, 2e-4]])
_TWO_ON_FOUR = _merged("I = 2, H = 4: pairs", NEAR.replace(n_heads=4))
_TWO_ON_THREE = _merged("I = 2, H = 3: a triangle", NEAR.replace(n_heads=3))
_PAIR = _merged("I = 1, H = 2: a pair", _ALONE)
_FEW = Problem(dims=[3, 3], signal_power=[1, 1], noise_variance=0.1, context_length=20, n_heads=2)
_WEIGHTS = InitialState([[2.0, 0.3], [0.2, 1.5]], [[0.3, 0.1], [0.05, 0.3]])
_SYMMETRIC = InitialState([[2.0, 0.3], [0.3, 2.0]], [[0.3, 0.1], [0.1, 0.3]])
_BALANCED, _SPLIT = "exactly balanced weights", "split"

DYNAMICS: tuple[Exploration, ...] = (
    Exploration(
        "convergence",
        "H ≥ I",
        "fails",
        _DISTINCT,
        _ONE_HEAD,
        _off_the_limit,
        1e-3,
        1e-6,
        "relative distance of the final loss to the limit",
    ),
    Exploration(
        "convergence",
        "tasks choose distinct heads",
        "fails",
        _DISTINCT,
        _ON_ONE,
        _off_the_limit,
        1e-3,
        1e-6,
        "relative distance of the final loss to the limit",
    ),
    Exploration(
        "convergence",
        _BALANCED,
        "fails",
        _DISTINCT,
        Case("split, Δ = .1: the flow escapes", NEAR, _start(_APART, imbalance=0.1), parametrisation=_SPLIT),
        _off_the_limit,
        1e-3,
        1e-6,
        "relative distance of the final loss to the limit",
    ),
    Exploration(
        "late-law",
        "H ≥ I",
        "fails",
        _DISTINCT,
        _ONE_HEAD,
        _late_constant_missed,
        0.05,
        1e-4,
        "relative distance of gap t² at t = 10⁴ to K",
    ),
    Exploration(
        "balanced-limit-stable",
        _BALANCED,
        "fails",
        Case("balanced, H = I = 2", NEAR),
        Case("split: a saddle", NEAR, parametrisation=_SPLIT),
        _largest_eigenvalue,
        1e-6,
        SAME,
        "largest eigenvalue at the limit over the fastest",
    ),
    Exploration(
        "split-limit-saddle",
        "I ≥ 2",
        "fails",
        Case("I = 2", NEAR, parametrisation=_SPLIT),
        Case("I = 1: stable", ONE.replace(context_length=100), parametrisation=_SPLIT),
        lambda case: -_largest_eigenvalue(case),
        -1e-6,
        SAME,
        "minus the largest eigenvalue at the limit, over the fastest",
    ),
    Exploration(
        "balanced-flow",
        "o = v and k = q",
        "fails",
        Case("Δ = Γ = 0", NEAR, InitialState(_WEIGHTS.mu, _WEIGHTS.omega)),
        Case("Δ = 1", NEAR, InitialState(_WEIGHTS.mu, _WEIGHTS.omega, (1.0, 0.0))),
        _factor_velocity_missed,
        1e-6,
        SAME,
        "relative distance of dμ/dt to the balanced flow's",
    ),
    Exploration(
        "who-wins",
        "a common ω(0)",
        "fails",
        Case("ω(0) = (1, 1)", _ALONE, _start([[1.1, 1.0]], scale=1e-3)),
        Case("ω(0) = (1, 1.5)", _ALONE, _start([[1.1, 1.0]], [[1.0, 1.5]], scale=1e-3)),
        _wrong_winner,
        0.5,
        0,
        "tasks that another head wins",
    ),
    Exploration(
        "who-wins",
        "ε → 0",
        "fails",
        Case("ε = 10⁻³", NEAR, _start([[1.2, 1.0], [1.2, 1.15]], scale=1e-3)),
        Case("ε = .01", NEAR, _start([[1.2, 1.0], [1.2, 1.15]], scale=0.01)),
        _wrong_winner_of_the_flow,
        0.5,
        0,
        "tasks that another head has at the end",
    ),
    Exploration(
        "emergence-time",
        "ε → 0",
        "fails",
        Case("ε = 10⁻⁴", NEAR, _start(_APART, scale=1e-4)),
        Case("ε = .1", NEAR, _start(_APART, scale=0.1)),
        _time_missed,
        0.02,
        1e-6,
        "relative distance of T_0 to τ/ε",
    ),
    Exploration(
        "warm-up",
        "μ and ω of one small scale ε",
        "fails",
        Case("ε = 10⁻³", NEAR, _start(_APART, scale=1e-3)),
        Case("ε = .3", NEAR, _start(_APART, scale=0.3)),
        lambda case: warm_up_left_out(case.problem, case.start),
        0.1,
        SAME,
        "neglected part of the velocity",
    ),
    Exploration(
        "merged-emergence",
        "L → ∞",
        "fails",
        Case("L = 10⁷", _LONG, _MERGED_START, parametrisation="merged"),
        Case("L = 50", _ALONE.replace(context_length=50), _MERGED_START, parametrisation="merged"),
        _merged_time_missed,
        0.02,
        1e-4,
        "relative distance of T_0 to the formula",
    ),
    Exploration(
        "merged-degenerate-minimum",
        "every μ_1^h > 0",
        "fails",
        Case("μ ∝ (1, 2)", _ALONE, InitialState([[1.0, 2.0]], [[1.0, 1.0]]), parametrisation="merged"),
        Case("μ ∝ (1, 0)", _ALONE, InitialState([[1.0, 0.0]], [[1.0, 1.0]]), parametrisation="merged"),
        _neutral_directions,
        0.5,
        0,
        "neutral directions beyond H − 1",
    ),
    Exploration(
        "merged-valley",
        "H ≥ 2",
        "fails",
        _PAIR,
        Case("H = 1: a minimum", ONE.replace(context_length=100), _start([[1.0]]), parametrisation="merged"),
        _omega_rests,
        0.9,
        1e-6,
        "|ω| at t = 10⁶ over |ω| at t = 10⁴",
    ),
    Exploration(
        "merged-valley-pairs",
        "H = 2 or H = 2 I",
        "fails",
        _TWO_ON_FOUR,
        _TWO_ON_THREE,
        lambda case: _gap_exponent(-2 / 3, case),
        0.02,
        1e-3,
        "distance of the gap's exponent to −2/3",
    ),
    Exploration(
        "merged-valley-simplex",
        "3 ≤ H ≤ I + 1",
        "fails",
        _TWO_ON_THREE,
        _TWO_ON_FOUR,
        lambda case: _gap_exponent(-1 / 2, case),
        0.02,
        1e-3,
        "distance of the gap's exponent to −1/2",
    ),
    Exploration(
        "merged-valley-one-task",
        "I = 1",
        "fails",
        _PAIR,
        _TWO_ON_THREE,
        lambda case: _gap_exponent(-2 / 3, case),
        0.02,
        1e-3,
        "distance of the gap's exponent to −2/3",
    ),
    Exploration(
        "symmetric-reduction",
        "the tasks are alike",
        "fails",
        Case("λ = (1, 1)", NEAR, _SYMMETRIC),
        Case("λ = (1, 2)", NEAR.replace(signal_power=[1, 2]), _SYMMETRIC),
        _spread_of_velocities,
        1e-6,
        SAME,
        "spread of on-task velocities",
    ),
    Exploration(
        "decomposability",
        "decomposable weights of every head",
        "fails",
        Case("diagonal W_X", _FEW, _WEIGHTS, parametrisation="merged"),
        Case("(W_X)_12 = .1 besides", _FEW, _WEIGHTS, parametrisation="not decomposable"),
        _off_diagonal,
        5.0,
        0.5,
        "largest off-diagonal entry of the gradient, in standard errors",
    ),
)
