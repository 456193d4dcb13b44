"""The oracles checked against each other and the numbers of the notes; nothing here imports headflow."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy as sp

from oracles import bruteforce, global_optimum, hand_formulas, hand_rhs, high_precision, monte_carlo, plain_rhs

REFERENCE = hand_formulas.REFERENCE

n_tasks, n_heads = (
    sp.Symbol("n_tasks", integer=True, positive=True),
    sp.Symbol("n_heads", integer=True, positive=True),
)
i, j, h, k = sp.symbols("i j h k", integer=True, positive=True)
mu, omega, d, lam, C = (sp.IndexedBase(name) for name in ("mu", "omega", "d", "lam", "C"))
sigma2, L = sp.symbols("sigma2 L", positive=True)

PHI = 1 + sigma2 / lam[i]
LOSS = sp.Sum(
    lam[i] * (1 - sp.Sum(mu[i, h] * omega[i, h], (h, 1, n_heads))) ** 2
    + lam[i] * PHI / L * sp.Sum(mu[i, h] * C[h, k] * mu[i, k], (h, 1, n_heads), (k, 1, n_heads)),
    (i, 1, n_tasks),
)
LEADING = [(C[h, k], sp.exp(sp.Sum(d[j] * omega[j, h] * omega[j, k], (j, 1, n_tasks))))]
FINITE_D = [(C[h, k], sp.Product((1 - 2 * omega[j, h] * omega[j, k]) ** (-d[j] / 2), (j, 1, n_tasks)))]


def random_problem(rng: np.random.Generator, tasks: int) -> dict[str, Any]:
    return {
        "lam": rng.uniform(0.2, 3.0, tasks),
        "d": rng.integers(3, 20, tasks),
        "sigma2": float(rng.uniform(0.02, 0.5)),
        "L": int(rng.integers(40, 300)),
    }


def random_weights(rng: np.random.Generator, tasks: int, heads: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(size=(tasks, heads)), 0.2 * rng.normal(size=(tasks, heads))


def index_values(problem: dict[str, Any], mu0: np.ndarray, omega0: np.ndarray) -> dict[str, Any]:
    return {**problem, "mu": mu0, "omega": omega0, "n_tasks": mu0.shape[0], "n_heads": mu0.shape[1]}


# Brute force.


def test_lexical_scoping() -> None:
    x = sp.IndexedBase("x")
    n = sp.Symbol("n", integer=True)
    values = {"x": [1.0, 2.0, 4.0], "n": 3, "k": 10.0}
    dummy = sp.Dummy("k")
    # The free k and the dummy k print alike and are different variables.
    assert bruteforce.evaluate(k * sp.Sum(x[dummy] + k, (dummy, 1, n)), values) == 10 * (7 + 30)
    # The inner sum shadows the outer variable; the limit is read in the outer scope.
    shadow = sp.Sum(x[k] * sp.Sum(x[k], (k, 1, k)), (k, 1, n))
    assert bruteforce.evaluate(shadow, values) == 1 * 1 + 2 * 3 + 4 * 7
    # SymPy lists the innermost limits first; they may depend on the outer variable.
    assert bruteforce.evaluate(sp.Sum(x[h] * x[k], (h, 1, k), (k, 1, n)), values) == 1 + 2 * 3 + 4 * 7
    # The same name with other assumptions is not bound by the sum.
    other = sp.Symbol("k", real=True)
    assert bruteforce.evaluate(sp.Sum(other, (k, 1, n)), {"n": 3, "k": 5.0}) == 15
    with pytest.raises(KeyError, match="assumptions"):
        bruteforce.evaluate(sp.Sum(other, (k, 1, n)), {"n": 3})


def test_definitions_do_not_see_the_indices_of_their_user() -> None:
    x, f, g = (sp.IndexedBase(name) for name in "xfg")
    values = {"x": [[1.0, 2.0], [3.0, 5.0]]}
    definitions = [(f[h, k], sp.Sum(x[h, i] * x[k, i], (i, 1, 2))), (g[i], f[i, 1] + i)]
    found = bruteforce.evaluate_array(sp.Sum(f[k, h] * x[h, i], (h, 1, 2)), [("i", 2), ("k", 2)], values, definitions)
    array = np.array(values["x"])
    assert np.allclose(found, (array @ array.T @ array).T, rtol=1e-15)
    assert bruteforce.evaluate(g[2], values, definitions=definitions) == 13 + 2
    with pytest.raises(KeyError, match="free symbol h"):
        bruteforce.evaluate(f[1, 1] + h, values, {"h": 1}, [(f[i, j], x[h, i])])
    with pytest.raises(ValueError, match="itself"):
        bruteforce.evaluate(g[1], values, definitions=[(g[i], g[i])])


def test_bruteforce_node_types_and_errors() -> None:
    x = sp.IndexedBase("x")
    values = {"x": [0.3, -0.7], "a": 0.4, "L": 7}
    a = sp.Symbol("a")
    expr = sp.sqrt(a) + sp.sinh(x[2]) / 3 + sp.exp(-(a**2)) + sp.log(a) + sp.KroneckerDelta(h, 2) + sp.E + sp.pi / L
    expected = 0.4**0.5 + math.sinh(-0.7) / 3 + math.exp(-0.16) + math.log(0.4) + 1 + math.e + math.pi / 7
    assert bruteforce.evaluate(expr, values, {"h": 2}) == pytest.approx(expected, rel=1e-15)
    with mpmath.workdps(40):
        precise = bruteforce.evaluate(expr, {**values, "a": mpmath.mpf("0.4")}, {"h": 2})
        assert isinstance(precise, mpmath.mpf)
        seventh = bruteforce.evaluate(sp.Rational(1, 7) + 0 * a + a / L, {"a": mpmath.mpf(0), "L": 7})
        assert abs(seventh * 7 - 1) < mpmath.mpf(10) ** -38
    with pytest.raises(IndexError, match=r"1\.\.n"):
        bruteforce.evaluate(x[h], values, {"h": 0})
    with pytest.raises(TypeError, match="Piecewise"):
        bruteforce.evaluate(sp.Piecewise((1, a > 0), (2, True)), values)


@pytest.mark.parametrize("definitions", [LEADING, FINITE_D], ids=["leading", "finite_d"])
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (3, 2)])
def test_hand_loss_and_gradients_against_bruteforce(definitions: list[Any], shape: tuple[int, int]) -> None:
    """The gradient typed by hand equals the numerical derivative of the index expression of the loss."""
    rng = np.random.default_rng(7)
    closure = "leading" if definitions is LEADING else "finite_d"
    problem = random_problem(rng, shape[0])
    mu0, omega0 = random_weights(rng, *shape)
    values = index_values(problem, mu0, omega0)
    expected = bruteforce.evaluate(LOSS, values, definitions=definitions)
    assert hand_formulas.loss(mu0, omega0, problem, closure) == pytest.approx(expected, rel=1e-13)
    for name, hand in zip(("mu", "omega"), hand_formulas.gradients(mu0, omega0, problem, closure), strict=True):
        numeric = bruteforce.gradient(LOSS, name, values, definitions=definitions, digits=40)
        assert np.max(np.abs(hand - numeric)) < 1e-12 * max(1.0, np.max(np.abs(numeric)))


# Formulas typed by hand.


def test_closures_at_the_listed_weights() -> None:
    two = {"lam": (1, 1), "d": (15, 15), "sigma2": 0.1, "L": 400}
    weights = np.array([[3, 0.1], [0, 3]]), np.array([[0.26, 0.05], [0.06, 0.26]])
    listed = {"leading": (0.1208, 0.1192), "finite_d": (0.1265, 0.1248), "first_order": (0.1351, 0.1333)}
    for closure, values in listed.items():
        assert np.allclose(hand_formulas.task_losses(*weights, two, closure), values, atol=6e-5)
    one = {"lam": (1,), "d": (10,), "sigma2": 0.1, "L": 100}
    pair = np.array([[4.0, -4.0]]), np.array([[0.1, -0.1]])
    assert hand_formulas.loss(*pair, one) == pytest.approx(0.1105, abs=5e-5)
    assert hand_formulas.loss(*pair, one, "first_order") == pytest.approx(0.1207, abs=5e-5)


def test_first_order_and_finite_d_tend_to_leading() -> None:
    """At d -> infinity with d omega^2 fixed and L -> infinity with d/L fixed the three closures agree."""
    gaps = []
    for scale in (1, 100):
        problem = {"lam": (1.0, 2.0), "d": (10 * scale, 20 * scale), "sigma2": 0.1, "L": 100 * scale}
        omega0 = np.array([[0.1, -0.05], [0.02, 0.12]]) / math.sqrt(scale)
        mu0 = np.array([[2.0, 0.1], [0.2, 3.0]]) * math.sqrt(scale)
        values = [
            hand_formulas.loss(mu0, omega0, problem, closure) for closure in ("leading", "finite_d", "first_order")
        ]
        gaps.append(max(values) - min(values))
    assert gaps[1] < 0.02 * gaps[0]


def test_reference_case() -> None:
    limit = hand_formulas.task_allocation_limit(REFERENCE)
    assert limit.loss == pytest.approx(0.6905507363762284, rel=1e-15)
    assert hand_formulas.universal_bound(REFERENCE) == pytest.approx(0.29729729729729726, rel=1e-15)
    assert hand_formulas.multi_head_optimum(REFERENCE, 3) == pytest.approx(0.42489, abs=5e-6)
    assert hand_formulas.multi_head_optimum(REFERENCE, 4) == pytest.approx(0.29729729729729726, rel=1e-15)
    assert hand_formulas.single_head_optimum(REFERENCE).loss == pytest.approx(1.41858, abs=5e-6)
    assert hand_formulas.single_head_all_active(REFERENCE) == pytest.approx(1.41858, abs=5e-6)
    assert hand_formulas.homogeneous_optimum(1.0, 0.11, 3, 3) == pytest.approx(0.42489, abs=5e-6)
    assert hand_formulas.tail_constant(REFERENCE) == pytest.approx(698.4, abs=0.05)


@pytest.mark.parametrize("permutation", [[0, 1, 2], [2, 0, 1]])
def test_allocation_limit_is_stationary_and_attains_its_loss(permutation: list[int]) -> None:
    problem = {"lam": (1.0, 2.0, 0.7), "d": (4, 9, 6), "sigma2": 0.1, "L": 80}
    limit = hand_formulas.task_allocation_limit(problem, winners=permutation, n_heads=4)
    assert hand_formulas.loss(limit.mu, limit.omega, problem) == pytest.approx(limit.loss, rel=1e-14)
    for velocity in hand_formulas.velocity_balanced(limit.mu, limit.omega, problem):
        assert np.max(np.abs(velocity)) < 1e-13
    assert hand_formulas.tail_constant(problem) == pytest.approx(386.275, abs=5e-4)


def test_single_head_with_an_inactive_task() -> None:
    problem = {"lam": (4, 1, 0.1), "d": (5, 10, 20), "sigma2": 0.1, "L": 100}
    single = hand_formulas.single_head_optimum(problem)
    assert single.loss == pytest.approx(1.2629161042, abs=5e-11)
    assert single.active.tolist() == [True, True, False]
    assert hand_formulas.multi_head_optimum(problem, 1) == pytest.approx(single.loss, rel=1e-13)


def test_water_filling_at_the_listed_problems() -> None:
    # The notes round these ratios to 0.147, 0.315, 0.089.
    lam, c = np.array([1.0, 2.0, 0.3]), np.array([0.44 / 3, 0.315, 0.8 / 9])
    assert hand_formulas.water_filling(lam, c, 1)[0] == pytest.approx(1.1580289, abs=5e-8)
    assert hand_formulas.water_filling(lam, c, 2)[0] == pytest.approx(0.7206072, abs=5e-8)
    lam, c = np.array([1.0, 0.2, 3.0, 0.5]), np.array([0.65, 1.25, 2.2, 0.48])
    value, x = hand_formulas.water_filling(lam, c, 1)
    assert value == pytest.approx(3.6502404, abs=5e-8)
    assert x[1] == 0
    assert hand_formulas.water_filling(lam, c, 2)[0] == pytest.approx(3.0512027, abs=5e-8)


def test_bounds_are_ordered_on_random_problems() -> None:
    rng = np.random.default_rng(11)
    for _ in range(50):
        tasks = int(rng.integers(1, 6))
        problem = random_problem(rng, tasks)
        optima = [hand_formulas.multi_head_optimum(problem, heads) for heads in range(1, tasks + 3)]
        assert all(low <= high * (1 + 1e-12) for high, low in pairwise(optima))
        assert optima[tasks] == pytest.approx(hand_formulas.universal_bound(problem), rel=1e-14)
        limit = hand_formulas.task_allocation_limit(problem).loss
        single = hand_formulas.single_head_optimum(problem).loss
        assert optima[0] == pytest.approx(single, rel=1e-12)
        assert optima[tasks - 1] <= limit * (1 + 1e-14) <= single * (1 + 1e-12)
        assert limit <= math.e * hand_formulas.universal_bound(problem)
        ratios = [hand_formulas.separation_ratio({**problem, "L": length}) for length in (1e6, 1e8, 1e10)]
        assert ratios[-1] == pytest.approx(hand_formulas.separation_limit(problem), rel=1e-4)
        assert hand_formulas.bayes_limit(problem) <= hand_formulas.universal_bound(problem)


def test_shared_heads() -> None:
    assert hand_formulas.shared_head_limit(REFERENCE, [[0], [1], [2]]) == pytest.approx(0.6905507363762284, rel=1e-14)
    c = hand_formulas.noise_ratio(REFERENCE)[0]
    pair = 2 * math.e * 2 * c / (1 + math.e * 2 * c)
    single = math.e * c / (1 + math.e * c)
    assert hand_formulas.shared_head_limit(REFERENCE, [[0, 2], [1]]) == pytest.approx(pair + single, rel=1e-14)


def test_symmetric_reduction() -> None:
    m, n, p, q = 0.7, 0.3, 0.2, -0.1
    problem = {"lam": (1.5,) * 4, "d": (8,) * 4, "sigma2": 0.2, "L": 60}
    g_mu, g_omega = hand_formulas.gradients(*hand_formulas.symmetric_state(m, n, p, q, 4), problem)
    reduced = hand_formulas.symmetric_gradients(m, n, p, q, 4, 8, 1.5, 0.2, 60)
    full = (g_mu[1, 1], g_mu[1, 2], g_omega[1, 1], g_omega[1, 2])
    assert np.allclose(reduced, full, rtol=1e-13)


def test_split_with_equal_factors_is_balanced() -> None:
    rng = np.random.default_rng(3)
    problem = random_problem(rng, 3)
    mu0, omega0 = np.abs(random_weights(rng, 3, 2)[0]), np.abs(random_weights(rng, 3, 2)[1])
    o, key = np.sqrt(mu0), np.sqrt(omega0 * math.sqrt(hand_formulas.embedding(problem)))
    do, dv, dk, dq = hand_formulas.velocity_split(o, o, key, key, problem)
    d_mu, d_omega = hand_formulas.velocity_balanced(mu0, omega0, problem)
    assert np.allclose(do * o + o * dv, d_mu, rtol=1e-13)
    assert np.allclose((dk * key + key * dq) / math.sqrt(hand_formulas.embedding(problem)), d_omega, rtol=1e-13)


# The benchmarks' yardsticks.


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (2, 5), (9, 4)])
@pytest.mark.parametrize("flow", hand_rhs.FLOWS)
def test_hand_rhs_equals_the_formulas(shape: tuple[int, int], flow: str) -> None:
    rng = np.random.default_rng(5)
    problem = random_problem(rng, shape[0])
    mu0, omega0 = random_weights(rng, *shape)
    if flow == "balanced_log":
        mu0, omega0 = np.abs(mu0), np.abs(omega0)
        expected = hand_formulas.velocity_balanced_log(np.log(mu0), np.log(omega0), problem)
        y = np.log(np.concatenate([mu0.ravel(), omega0.ravel()]))
    else:
        velocity = {"balanced": hand_formulas.velocity_balanced, "merged": hand_formulas.velocity_merged}[flow]
        expected = velocity(mu0, omega0, problem)
        y = np.concatenate([mu0.ravel(), omega0.ravel()])
    found = hand_rhs.make_rhs(problem, shape[1], flow)(0.0, y)
    wanted = np.concatenate([part.ravel() for part in expected])
    assert np.max(np.abs(found - wanted)) < 1e-13 * max(1.0, np.max(np.abs(wanted)))


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (2, 5)])
def test_plain_rhs_equals_the_formulas_and_its_jacobian_their_differences(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(6)
    problem = random_problem(rng, shape[0])
    y = np.log(np.abs(np.concatenate([part.ravel() for part in random_weights(rng, *shape)])))
    velocity, jacobian = plain_rhs.make_plain(problem, shape[1])

    def by_formulas(y: np.ndarray) -> np.ndarray:
        return np.concatenate(
            [part.ravel() for part in hand_formulas.velocity_balanced_log(*y.reshape(2, *shape), problem)]
        )

    wanted = by_formulas(y)
    assert np.max(np.abs(velocity(0.0, y) - wanted)) < 1e-13 * max(1.0, np.max(np.abs(wanted)))
    step = 1e-5
    columns = [(by_formulas(y + shift) - by_formulas(y - shift)) / (2 * step) for shift in step * np.eye(len(y))]
    wanted = np.stack(columns, axis=1)
    assert np.max(np.abs(jacobian(0.0, y) - wanted)) < 1e-8 * np.max(np.abs(wanted))


# High precision.


def relative_gap(first: high_precision.State, second: high_precision.State) -> float:
    pairs = [
        *zip(first.mu.flat, second.mu.flat, strict=True),
        *zip(first.omega.flat, second.omega.flat, strict=True),
    ]
    with mpmath.workdps(50):
        return float(max(abs(mpmath.mpf(a) / mpmath.mpf(b) - 1) for a, b in pairs))


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (2, 4)])
def test_fixed_point_rhs_equals_the_formulas(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(23)
    problem = random_problem(rng, shape[0])
    log_mu, log_omega = rng.normal(size=shape), rng.normal(size=shape) - 2
    expected = hand_formulas.velocity_balanced_log(log_mu, log_omega, problem)
    bits = 120
    state = [int(mpmath.ldexp(mpmath.mpf(float(x)), bits)) for x in np.stack([log_mu, log_omega]).flat]
    found = np.array([value / 2**bits for value in high_precision.fixed_rhs(problem, shape[1], bits)(state)])
    wanted = np.concatenate([part.ravel() for part in expected])
    assert np.max(np.abs(found - wanted)) < 1e-13 * np.max(np.abs(wanted))


@pytest.mark.slow
def test_integrator_at_two_tolerances_and_against_double_precision() -> None:
    start = high_precision.random_start(3, 3, 0.03)
    times = (20.0, 40.0, 60.0, 100.0)
    precise = high_precision.integrate(REFERENCE, start.mu, start.omega, times, digits=30)
    tighter = high_precision.integrate(REFERENCE, start.mu, start.omega, times, digits=36)
    assert max(map(relative_gap, precise, tighter)) < 1e-29
    double = high_precision.integrate_double(REFERENCE, start.mu, start.omega, times)
    assert max(map(relative_gap, double, tighter)) < 2e-12


def test_integrator_reproduces_a_solution_by_quadrature() -> None:
    """I = H = 1, L -> infinity: mu - d sqrt(d_e) omega is conserved, and the time is an integral over mu."""
    signal, dim, mu0, omega0, time = 1.25, 6, 0.25, 0.125, 5.0
    problem = {"lam": (signal,), "d": (dim,), "sigma2": 0.1, "L": mpmath.mpf(10) ** 60}
    (state,) = high_precision.integrate(problem, [[mu0]], [[omega0]], [time], digits=30)
    with mpmath.workdps(40):
        a = dim * mpmath.sqrt(dim + 1)

        def omega_at(value: mpmath.mpf) -> mpmath.mpf:
            return omega0 + (value - mu0) / a

        def inverse_speed(value: mpmath.mpf) -> mpmath.mpf:
            return 1 / (4 * signal * value * omega_at(value) * (1 - value * omega_at(value)))

        end = state.mu[0, 0]
        assert 2 < end < 10
        assert abs(omega_at(end) - state.omega[0, 0]) < mpmath.mpf(10) ** -29
        assert abs(mpmath.quad(inverse_speed, mpmath.linspace(mu0, end, 9)) - time) < mpmath.mpf(10) ** -27


def random_start_problem(seed: int) -> tuple[dict[str, Any], high_precision.State]:
    rng = np.random.default_rng(seed)
    tasks, heads = int(rng.integers(1, 5)), int(rng.integers(1, 5))
    return random_problem(rng, tasks), high_precision.random_start(tasks, heads, 0.03, seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_double_precision_reference_on_random_problems(seed: int) -> None:
    problem, start = random_start_problem(seed)
    (precise,) = high_precision.integrate(problem, start.mu, start.omega, [50.0], digits=20)
    (double,) = high_precision.integrate_double(problem, start.mu, start.omega, [50.0])
    assert relative_gap(double, precise) < 1e-10


# Monte Carlo.

ONE = {"lam": (1,), "d": (10,), "sigma2": 0.1, "L": 100}
PAIR = [[4.0, -4.0]], [[0.1, -0.1]]


def test_attention_risk_quick() -> None:
    closed = monte_carlo.attention_risk(*PAIR, ONE, n_samples=20_000, seed=1).total
    drawn = monte_carlo.attention_risk(*PAIR, ONE, n_samples=20_000, seed=2, conditional=False).total
    assert abs(closed.mean - 0.1195) < 4 * math.hypot(closed.error, 0.0004)
    assert abs(closed.mean - drawn.mean) < 4 * math.hypot(closed.error, drawn.error)


def test_uniform_attention_is_exact() -> None:
    """omega = 0: the softmax weights are 1/L and the leading closure is exact."""
    problem = {"lam": (1.0, 2.0), "d": (3, 5), "sigma2": 0.3, "L": 20}
    mu0 = np.array([[1.0, 2.0], [-0.5, 1.5]])
    expected = hand_formulas.task_losses(mu0, np.zeros((2, 2)), problem)
    for conditional in (True, False):
        found = monte_carlo.attention_risk(mu0, np.zeros((2, 2)), problem, 20_000, 3, conditional).tasks
        assert np.all(np.abs(found.mean - expected) < 4 * found.error)


def test_ridge_risk() -> None:
    closed = monte_carlo.ridge_risk(1.0, 10, 0.1, 100, 10_000, seed=1)
    drawn = monte_carlo.ridge_risk(1.0, 10, 0.1, 100, 10_000, seed=2, conditional=False)
    assert abs(closed.mean - drawn.mean) < 4 * math.hypot(closed.error, drawn.error)
    # The proportional limit is approached like 1/d.
    gaps = []
    for d in (10, 40):
        limit = hand_formulas.bayes_limit({"lam": (1,), "d": (d,), "sigma2": 0.1, "L": 2 * d})
        gaps.append(monte_carlo.ridge_risk(1.0, d, 0.1, 2 * d, 4_000, seed=5).mean / limit - 1)
    assert 0 < gaps[1] < 0.4 * gaps[0] < 0.1


@pytest.mark.slow
def test_attention_risk_at_the_listed_weights() -> None:
    found = monte_carlo.attention_risk(*PAIR, ONE, n_samples=200_000, seed=4).total
    assert abs(found.mean - 0.1195) < 4 * math.hypot(found.error, 0.0004)
    two = {"lam": (1, 1), "d": (15, 15), "sigma2": 0.1, "L": 400}
    weights = [[3, 0.1], [0, 3]], [[0.26, 0.05], [0.06, 0.26]]
    tasks = monte_carlo.attention_risk(*weights, two, n_samples=60_000, seed=4, chunk=100).tasks
    assert np.all(np.abs(tasks.mean - [0.1304, 0.1299]) < 4 * np.hypot(tasks.error, 0.0005))


# Global optimum.

THREE = {"lam": (1, 2, 0.3), "d": (4, 9, 2), "sigma2": 0.1, "L": 30}
FOUR = {"lam": (1, 0.2, 3, 0.5), "d": (5, 5, 20, 3), "sigma2": 0.3, "L": 10}


def test_profile_loss_is_stable_near_zero() -> None:
    rng = np.random.default_rng(2)
    for scale in (1.0, 1e-2, 1e-5):
        omega0 = scale * rng.normal(size=(3, 4)) / 5
        value = global_optimum.profile_loss(omega0, THREE)
        assert value == pytest.approx(global_optimum.profile_loss_mp(omega0, THREE), rel=1e-11)


@pytest.mark.parametrize(
    ("problem", "heads", "value"),
    [(THREE, 2, 1.1580289), (THREE, 3, 0.7206072), (FOUR, 2, 3.6502404), (FOUR, 3, 3.0512027)],
)
def test_search_finds_the_listed_optima(problem: dict[str, Any], heads: int, value: float) -> None:
    found = global_optimum.search(problem, heads, starts=6)
    assert found.loss == pytest.approx(value, abs=3e-7)
    assert found.loss == pytest.approx(hand_formulas.multi_head_optimum(problem, heads), abs=1e-8)
    assert found.loss == pytest.approx(global_optimum.profile_loss_mp(found.omega, problem), rel=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_search_equals_water_filling_on_random_problems(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    tasks = int(rng.integers(1, 5))
    problem = random_problem(rng, tasks)
    for heads in range(1, tasks + 2):
        found = global_optimum.search(problem, heads, starts=8, seed=seed)
        assert found.loss == pytest.approx(hand_formulas.multi_head_optimum(problem, heads), abs=1e-7)
