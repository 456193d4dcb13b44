"""Ties: what starts equal or opposite stays so to the last bit, on every backend, and comes to its own limit."""

from __future__ import annotations

import json
import warnings
from itertools import permutations, product

import numpy as np
import pytest

import headflow as hf
from cases import REFERENCE
from headflow.cli.dispatch import main
from headflow.errors import IntegrationError, ReliabilityWarning, ValidityWarning
from headflow.numerics import late_constant
from headflow.numerics.code.native import native_system
from headflow.numerics.compiler import compiler_installed
from headflow.numerics.flows.allocation import Allocation
from headflow.numerics.flows.derived import flow
from headflow.numerics.flows.dynamics import Dynamics, apart
from headflow.numerics.flows.near_ties import compared_starts
from headflow.numerics.flows.ties import Ties, ties_of
from headflow.numerics.steps.native import Integrator
from headflow.theory.flows.orbits import orbit_partition, tied_entries
from tied_cases import PARAMETRISATIONS, TiedCase, tied_case

PAIR = hf.Problem(dims=[10, 10], signal_power=[1, 1], noise_variance=0.1, context_length=100, n_heads=2)
EQUAL = hf.InitialState(np.full((2, 2), 0.55), np.full((2, 2), 0.55))
# Two tasks on one head: g λ e g c/(1 + e g c) with g = 2, c = .11, and the two heads act as one.
SHARED = 2 * 2 * np.e * 0.11 / (1 + 2 * np.e * 0.11)
BACKENDS = ["scipy", pytest.param("llvm", marks=pytest.mark.skipif(not compiler_installed(), reason="no llvmlite"))]


def distance(case: TiedCase, loss: float, mu: np.ndarray, omega: np.ndarray) -> float:
    end = case.end()
    return float(apart(np.array(loss), np.stack([mu, omega]), np.array(end.loss), np.stack([end.mu, end.omega]))[1])


@pytest.mark.parametrize("parametrisation", PARAMETRISATIONS)
@pytest.mark.parametrize("method", ["auto", "LSODA", "DOP853"])
def test_two_identical_heads_end_as_one(parametrisation, method):
    run = hf.integrate(PAIR, EQUAL, parametrisation, t_final=1e4 if method != "DOP853" else 500, method=method)
    assert run.final.loss == pytest.approx(SHARED, rel=1e-8)
    assert np.ptp(run.mu, axis=(1, 2)).max() == np.ptp(run.omega, axis=(1, 2)).max() == 0
    assert run.allocation.heads == (None, None)
    assert run.allocation.tied == ((0, 1), (0, 1))
    assert run.phases.limit == pytest.approx(SHARED, rel=1e-14)
    assert run.loss_at(run.phases.emergence) == pytest.approx((2 + run.phases.limit) / 2)
    assert run.reduction == (
        "heads 1 and 2 start identical, tasks 1 and 2 start alike, and stay so; "
        "integrated exactly on 1 cell of 4 entries"
    )


@pytest.mark.parametrize("number", [0, 1, 2, 5, 7, 10, 12, 23])
def test_random_ties_come_to_their_own_limit(number):
    check_integration(tied_case(number, 3, 3), "auto")


@pytest.mark.slow
@pytest.mark.parametrize("number", range(0, 240, 4))
def test_many_random_ties_come_to_their_own_limit(number):
    case = tied_case(number)
    for method in ("auto", "LSODA"):
        check_integration(case, method)
    for backend in ("llvm", "scipy") if compiler_installed() else ("scipy",):
        check_ensemble(case, backend)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(9))
def test_random_ties_by_jax(number):
    pytest.importorskip("jax")
    check_ensemble(tied_case(number, 2, 3), "jax")


def check_integration(case: TiedCase, method: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ValidityWarning)
        run = hf.integrate(*case[:5], method=method)
    assert not case.broken(run.final.mu, run.final.omega)
    assert distance(case, run.final.loss, run.final.mu, run.final.omega) <= 10 * run.error[-1] + 1e-9
    assert run.error[-1] < 1e-3


def check_ensemble(case: TiedCase, backend: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ValidityWarning)
        found = hf.ensemble(
            case.problem, case.initial, case.t_final, case.parametrisation, case.closure, rtol=1e-6, backend=backend
        ).isel(member=0)
    assert found.status == "reached_t_final"
    assert not case.broken(found.mu.values, found.omega.values)
    assert distance(case, float(found.loss), found.mu.values, found.omega.values) <= 10 * found.error_estimate + 1e-9


@pytest.mark.parametrize("backend", [*BACKENDS, pytest.param("jax", marks=pytest.mark.slow)])
def test_ensembles_of_tied_and_other_members(backend):
    if backend == "jax":
        pytest.importorskip("jax")
    other = hf.InitialState.random(PAIR, scale=0.03)
    found = hf.ensemble(PAIR, [EQUAL, other], 1e3, rtol=1e-6, backend=backend)
    assert found.loss.values[0] == pytest.approx(SHARED, rel=1e-8)
    assert np.ptp(found.mu.values[0]) == 0
    assert found.allocation.values.tolist() == [[-1, -1], [0, 1]]
    assert found.emergence.values[0] == pytest.approx(hf.integrate(PAIR, EQUAL, t_final=1e3).phases.emergence, rel=1e-4)
    assert [bool(one) for one in found.reduction.values] == [True, False]
    alone = hf.ensemble(PAIR, other, 1e3, rtol=1e-6, backend=backend)
    assert found.loss.values[1] == pytest.approx(alone.loss.values[0], rel=1e-15)


@pytest.mark.parametrize("number", [3, 7, 16, 20, 25, 43, 47, 52])
def test_the_jacobian_of_tied_rates_is_the_derivative_of_the_tied_velocity(number):
    case = tied_case(number)
    dynamics = Dynamics(*case[:4])
    assert dynamics.ties is not None
    noise = 0.1 * np.random.default_rng(number).standard_normal(dynamics.size)
    y = dynamics.start + 0.1 * dynamics.ties.moved(noise)
    velocity, step = dynamics.velocity, 1e-6
    columns = [(velocity(y + step * e) - velocity(y - step * e)) / (2 * step) for e in np.eye(dynamics.size)]
    jacobian = dynamics.jacobian(y)
    np.testing.assert_allclose(jacobian, np.transpose(columns), atol=1e-6 * max(1.0, np.abs(jacobian).max()))
    map_of_directions = dynamics.jacobian_product.at(y)
    np.testing.assert_allclose(map_of_directions.evaluate(noise), jacobian @ noise, atol=1e-10 * np.abs(jacobian).max())
    # A state that rounding has moved off the ties is that whose cells have the values of their first entries.
    np.testing.assert_array_equal(velocity(dynamics.ties.spread(y + noise, dynamics.start)), velocity(y + noise))
    loops = Integrator(native_system(flow("merged", "leading"), I=case.problem.n_tasks, H=case.problem.n_heads), False)
    flat = np.random.default_rng(1).standard_normal((dynamics.size, dynamics.size))
    expected, rates = dynamics.ties.matrix(flat), noise.copy()
    loops.function("tie_matrix")(dynamics.ties.codes, given := flat.ravel().copy())
    loops.function("tie")(dynamics.ties.codes, rates)
    np.testing.assert_allclose(given.reshape(flat.shape), expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(rates, dynamics.ties.moved(noise))


@pytest.mark.parametrize("seed", range(12))
def test_signed_cells_are_the_orbits_of_the_signed_permutations(seed):
    """The exact partition can only be coarser; with so few tasks and heads it is the same."""
    draw = np.random.default_rng(seed)
    n_tasks, n_heads = (int(one) for one in draw.integers(1, 4, 2))
    tasks = draw.integers(0, 2, n_tasks).tolist()
    weights = draw.integers(-1, 2, (n_tasks, n_heads))
    doubled = orbit_partition(tasks * 2, [*weights.tolist(), *(-weights).tolist()])
    found = np.array(tied_entries(doubled, True))
    kept: set[tuple[tuple[int, int], tuple[int, int], int]] = set()
    for rows, columns in product(permutations(range(n_tasks)), permutations(range(n_heads))):
        for signs in product((1, -1), repeat=n_tasks):
            moved = weights[list(rows)][:, list(columns)] * np.array(signs)[:, None]
            if [tasks[row] for row in rows] == tasks and (moved == weights).all():
                kept |= {((i, h), (rows[i], columns[h]), signs[i]) for i in range(n_tasks) for h in range(n_heads)}
    for (i, h), (j, k) in product(np.ndindex(*found.shape), repeat=2):
        for sign in (1, -1):
            assert (found[i, h] == sign * found[j, k]) == (((i, h), (j, k), sign) in kept) or found[i, h] == 0


def test_words():
    def said(mu, omega, parametrisation="merged", problem=PAIR):
        found = ties_of(problem, hf.InitialState(mu, omega), parametrisation)
        return None if found is None else str(found)

    unequal = hf.Problem(dims=[10, 8], signal_power=[1, 1], noise_variance=0.1, context_length=100, n_heads=2)
    heads = [[0.1, 0.1], [0.2, 0.2]]
    assert said(heads, heads) == "heads 1 and 2 start identical and stay so; integrated exactly on 2 cells of 4 entries"
    opposite = [[0.1, -0.1], [0.2, -0.2]]
    assert (
        said(opposite, opposite)
        == "heads 1 and 2 start opposite and stay so; integrated exactly on 2 cells of 4 entries"
    )
    assert said([[0.1, -0.1], [0, 0]], [[0.3, -0.3], [0, 0]]) == (
        "heads 1 and 2 start opposite and stay so; task 2 stays at zero; integrated exactly on 1 cell of 4 entries"
    )
    assert said([[0.1, 0.2], [0, 0]], [[0.3, 0.1], [0, 0]]) == (
        "task 2 stays at zero; integrated exactly on 2 cells of 4 entries"
    )
    crossed = [[0.1, 0.2], [0.2, 0.1]]
    assert said(crossed, crossed, "balanced") == (
        "a symmetry exchanges heads and tasks, and stays; integrated exactly on 2 cells of 4 entries"
    )
    assert said(crossed, crossed, "balanced", unequal) is None
    assert said(np.transpose(heads), np.transpose(heads), "balanced", unequal) is None
    assert said([[0.1, 0.1], [0.2, 0.3]], np.full((2, 2), 0.1), "balanced") is None


def test_tied_heads_in_an_allocation():
    mu, omega = np.array([[1.0, 1.0, 0.1], [0.0, 0.0, 2.0]]), np.array([[0.2, 0.2, 0.1], [0.1, 0.1, 0.3]])
    found = Allocation.of(mu, omega)
    assert (found.heads, found.tied, found.limit_groups) == ((None, 2), ((0, 1), ()), ((0,), (1,)))
    assert str(found) == "task 2 on head 3; task 1 on heads 1 and 2, which are tied"
    assert not found.shared
    both = Allocation.of(mu[:, :2] + 1, omega[:, :2])
    assert both.shared
    assert both.limit_groups == ((0, 1),)
    # Opposite heads have a task together, but not the limit of one head.
    opposite = Allocation.of(np.array([[1.0, -1.0]]), np.array([[0.2, -0.2]]))
    assert (opposite.tied, opposite.limit_groups) == (((0, 1),), None)


def test_late_law_of_identical_heads():
    """Each of m identical heads has 1/m² of the power that one head in their place had, so that K is m² as large."""
    initial = hf.InitialState([[0.3, 0.3, 0.1], [0.1, 0.1, 0.4]], [[0.2, 0.2, 0.1], [0.1, 0.1, 0.2]])
    problem = hf.Problem(dims=[10, 8], signal_power=[1, 1], noise_variance=0.1, context_length=100, n_heads=3)
    run = hf.integrate(problem, initial, t_final=1e6, times=[1e5])
    assert run.phases.limit is not None
    gap = (run.loss_at(1e5) - run.phases.limit) * 1e10
    assert late_constant(problem, run.final.mu, run.final.omega) == pytest.approx(gap, rel=5e-3)


@pytest.mark.parametrize("parametrisation", PARAMETRISATIONS)
@pytest.mark.parametrize("method", ["auto", "LSODA"])
def test_a_difference_of_one_rounding_error_is_not_decided_by_rounding(parametrisation, method):
    mu = np.full((2, 2), 0.55)
    mu[0, 0] = np.nextafter(0.55, 1)
    with pytest.raises(IntegrationError, match="different"):
        hf.integrate(PAIR, hf.InitialState(mu, EQUAL.omega), parametrisation, t_final=1e3, method=method)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nor_in_ensembles(backend):
    mu = np.full((2, 2), 0.55)
    mu[0, 0] = np.nextafter(0.55, 1)
    starts = [hf.InitialState(mu, EQUAL.omega), EQUAL, hf.InitialState.random(PAIR, scale=0.03)]
    with pytest.warns(ReliabilityWarning, match="1 of 3 members"):
        found = hf.ensemble(PAIR, starts, 1e3, rtol=1e-6, backend=backend)
    assert found.status.values.tolist() == ["disagreement", "reached_t_final", "reached_t_final"]


def test_what_counts_as_nearly_tied():
    def count(mu, omega, parametrisation="balanced", imbalance=0.0, problem=PAIR):
        initial = hf.InitialState(mu, omega, imbalance)
        start = Dynamics(problem, initial, parametrisation, "leading").start
        found = compared_starts(problem, initial, parametrisation, start)
        assert all(0 < np.abs(one - start).max() < 1e-13 for one in found) or found == (start,)
        return len(found)

    same = np.full((2, 2), 0.1)
    near = same * [[1, 1 + 1e-12], [1, 1]]
    assert count(same, same) == 1
    assert count(near, same) == 2
    assert count(same * [[1, 1.001], [1, 1]], same) == 1
    random = hf.InitialState.random(PAIR)
    assert count(random.mu, random.omega) == 1
    # Signed weights: what is small beside the others of its task moves with them; opposite ones may be near too.
    assert count([[0, 1e-12], [0, 0]], same, "merged") == 2
    assert count([[0.1, -0.1], [0.1, -0.1]], [[0.1, -0.1 - 1e-13], [0.1, -0.1]], "merged") == 2
    assert count([[0.1, -0.1], [0.2, -0.1]], [[0.1, -0.1 - 1e-13], [0.1, -0.1]], "merged") == 1
    # Imbalances, and powers of tasks.
    tiny = np.array([[0, 1e-20], [0, 0]])
    assert count(same, same, "split", (tiny, 0.0)) == 2
    powers = ["1", "1.0000000000000000001"]
    tasks = hf.Problem(dims=[10, 10], signal_power=powers, noise_variance=0.1, context_length=100, n_heads=1)
    assert count(same[:, :1], same[:, :1], problem=tasks) == 2


@pytest.mark.parametrize("parametrisation", ["merged", "split"])
def test_weights_that_start_at_zero_stay_there(parametrisation):
    nothing = hf.InitialState(np.zeros((2, 2)), np.zeros((2, 2)), (1e-6, 1e-7) if parametrisation == "split" else 0.0)
    run = hf.integrate(PAIR, nothing, parametrisation, t_final=1e3)
    assert not run.weights.any()
    assert run.error_estimate < 1e-13
    assert run.reduction == "tasks 1 and 2 stay at zero; integrated exactly on 0 cells of 4 entries"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::headflow.errors.ReliabilityWarning")
@pytest.mark.parametrize("difference", [1e-13, 1e-11, 1e-9, 1e-7])
def test_errors_of_near_ties_are_within_their_estimates(difference):
    from oracles import high_precision

    numbers = {"lam": [1.0, 1.0], "d": [10, 10], "sigma2": 0.1, "L": 100}
    mu, omega = np.full((2, 2), 0.05), np.full((2, 2), 0.05)
    mu[0, 0] *= 1 + difference
    times = [50.0, 100.0, 200.0, 300.0]
    run = hf.integrate(PAIR, hf.InitialState(mu, omega), t_final=times[-1], times=times)
    for state, exact in zip(run.states, high_precision.integrate(numbers, mu, omega, times, 26), strict=True):
        error = run.error[int(np.searchsorted(run.t, state.t))]
        assert np.abs(state.mu - exact.mu.astype(float)).max() <= 10 * error * state.mu.max()


@pytest.mark.filterwarnings("ignore::headflow.errors.ValidityWarning")
def test_files_of_tied_trajectories(tmp_path):
    case = tied_case(7)
    run = hf.integrate(*case[:5])
    run.save(tmp_path / "run.nc")
    loaded = hf.Trajectory.load(tmp_path / "run.nc")
    np.testing.assert_array_equal(loaded.weights, run.weights)
    assert loaded.reduction == run.reduction
    assert not any(case.broken(*pair) for pair in zip(loaded.mu, loaded.omega, strict=True))


def test_large_ties_are_reduced_on_cells_or_as_they_are():
    """More than 64 tasks and heads (told apart by random numbers), and opposite heads among many."""
    shape = (36, 30)
    problem = hf.Problem(dims=[2] * 36, signal_power=[1] * 36, noise_variance=0.1, context_length=100, n_heads=30)
    run = hf.integrate(problem, hf.InitialState(np.full(shape, 0.02), np.full(shape, 0.02)), t_final=1)
    assert "on 1 cell of 1080 entries" in run.reduction
    assert "1 cell" in run.method
    signs = np.where(np.arange(30) < 15, 1.0, -1.0)
    opposite = hf.InitialState(np.full(shape, 0.02) * signs, np.full(shape, 0.02) * signs)
    turned = hf.integrate(problem, opposite, "merged", t_final=1)
    assert "on 1 cell of 1080 entries" in turned.reduction
    np.testing.assert_array_equal(turned.final.mu, np.broadcast_to(turned.final.mu[0, 0] * signs, shape))


def test_no_ties_no_words():
    run = hf.integrate(REFERENCE, hf.InitialState.random(REFERENCE, scale=0.03), t_final=1)
    assert run.reduction == ""
    assert run.to_json()["reduction"] == ""
    assert isinstance(ties_of(PAIR, EQUAL, "balanced"), Ties)


def test_the_command_line_says_so(tmp_path, capsys):
    start = "mu = [[0.55, 0.55], [0.55, 0.55]]\nomega = [[0.55, 0.55], [0.55, 0.55]]"
    path = tmp_path / "problem.toml"
    path.write_text(
        "[problem]\ndims = [10, 10]\nsignal_power = [1, 1]\nnoise_variance = 0.1\ncontext_length = 100\nn_heads = 2\n"
        f'[flow]\nparametrisation = "balanced"\nt_final = 1e4\n[flow.initial]\n{start}\n'
    )
    for verb in ("integrate", "compare"):
        assert main([verb, str(path)]) == 0
        words = capsys.readouterr().out
        assert "heads 1 and 2 start identical" in words
        assert "tasks 1, 2 on heads 1 and 2, which are tied" in words
        assert "limit     0.7484527765, of this allocation" in words
        assert main([verb, str(path), "--json"]) == 0
        assert "heads 1 and 2 start identical" in json.loads(capsys.readouterr().out)["reduction"]


@pytest.mark.parametrize("start", ["identity", "opposite"])
def test_the_flow_beside_a_training_from_heads_that_are_alike(start, capsys):
    given = "--dims 4,4 --signal 1,1 --noise 0.1 --context 30 --heads 2 --t-final 3 --batch 16 --json --train --start"
    assert main(["simulate", *given.split(), start]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["predicted"]["error_estimate"] < 1e-5
    mu = np.array(found["predicted"]["mu"])
    np.testing.assert_array_equal(mu[:, :, 1], mu[:, :, 0] * (1 if start == "identity" else -1))
    assert "heads 1 and 2 start" in found["reduction"]
