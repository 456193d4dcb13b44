"""Integration: accuracy against the oracles, honest errors, symmetries, every way to fail."""

from __future__ import annotations

import itertools
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headflow as hf
from cases import REFERENCE, START, oracle, random_case
from headflow.errors import InputError, InputTypeError, IntegrationError
from headflow.numerics.code import compile_system
from headflow.numerics.flows import dynamics
from headflow.numerics.runtime.stop import IntegrationInterrupted, StopReason
from headflow.numerics.solving import panels, solvers
from headflow.numerics.trajectory.trajectory import Trajectory
from headflow.theory.choices import PARAMETRISATIONS
from oracles import hand_formulas, high_precision
from tied_cases import tied_case

TIMES = (20.0, 40.0, 60.0, 100.0)


def true_error(run: Trajectory) -> float:
    """The error of the states asked for against the double-precision oracle, as `error_estimate` counts it."""
    problem = oracle(run.problem)
    exact = high_precision.integrate_double(problem, run.initial.mu, run.initial.omega, run.times)
    worst = 0.0
    for state, other in zip(run.states, exact, strict=True):
        loss = hand_formulas.loss(other.mu, other.omega, problem)
        worst = max(
            worst,
            abs(state.loss - loss) / loss,
            np.abs(state.mu - other.mu).max() / np.abs(other.mu).max(),
            np.abs(state.omega - other.omega).max() / np.abs(other.omega).max(),
        )
    return worst


def run_random(seed: int, **options: Any) -> Trajectory:
    problem, initial = random_case(seed)
    return hf.integrate(problem, initial, t_final=2e3, times=np.geomspace(0.5, 2e3, 25), **options)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_the_error_estimate_bounds_the_true_error(seed: int) -> None:
    run = run_random(seed)
    assert true_error(run) < run.error_estimate < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("method", ["auto", "BDF"])
def test_the_error_estimate_bounds_the_true_error_on_40_problems(method: str) -> None:
    margins = []
    for seed in range(40):
        run = run_random(seed, method=method)
        margins.append(run.error_estimate / true_error(run))
    assert min(margins) > 1, f"seed {int(np.argmin(margins))}"


@pytest.mark.filterwarnings("ignore::headflow.errors.ReliabilityWarning")
@pytest.mark.parametrize("method", ["LSODA", "BDF", "Radau", "DOP853"])
@pytest.mark.parametrize("rtol", [1e-4, 1e-6, 1e-8, 1e-10])
def test_every_method_is_honest_at_every_tolerance(method: str, rtol: float) -> None:
    run = hf.integrate(REFERENCE, START, t_final=100, times=TIMES, rtol=rtol, method=method)
    assert run.method == method
    assert true_error(run) < run.error_estimate


@pytest.mark.slow
@pytest.mark.parametrize("method", ["auto", "BDF"])
def test_30_digits(method: str) -> None:
    problem = {**oracle(REFERENCE), "sigma2": "0.1"}
    exact = high_precision.integrate(problem, START.mu, START.omega, TIMES)
    run = hf.integrate(REFERENCE, START, t_final=100, times=TIMES, rtol=1e-12, method=method)
    for state, other in zip(run.states, exact, strict=True):
        np.testing.assert_allclose(state.mu, other.mu.astype(float), rtol=1e-9)
        np.testing.assert_allclose(state.omega, other.omega.astype(float), rtol=1e-9)
        loss = hand_formulas.loss(other.mu.astype(float), other.omega.astype(float), oracle(REFERENCE))
        assert state.loss == pytest.approx(loss, rel=1e-9)


@pytest.mark.slow
def test_merged_agrees_with_another_method() -> None:
    runs = [
        hf.integrate(REFERENCE, START, "merged", t_final=1e3, times=[3, 30, 300], method=method)
        for method in ("auto", "Radau")
    ]
    for one, other in zip(runs[0].states, runs[1].states, strict=True):
        largest = np.abs(other.mu).max()
        assert np.abs(one.mu - other.mu).max() < largest * sum(run.error_estimate for run in runs)


def test_interpolation_is_as_good_as_it_says() -> None:
    run = hf.integrate(REFERENCE, START, t_final=1e3, rtol=1e-10)
    assert run.interpolation_error <= 1e-10
    between = np.sort(np.random.default_rng(0).uniform(0, 120, 40))
    exact = high_precision.integrate_double(oracle(REFERENCE), START.mu, START.omega, between)
    for other in exact:
        state = run.at(other.t)
        assert np.abs(state.mu - other.mu).max() < other.mu.max() * (run.error_estimate + 2e-10)


def test_a_state_at_the_limit_stays() -> None:
    limit = hand_formulas.task_allocation_limit(oracle(REFERENCE))
    initial = hf.InitialState(mu=limit.mu + 1e-12, omega=limit.omega + 1e-12)
    run = hf.integrate(REFERENCE, initial)
    assert run.loss[-1] == pytest.approx(limit.loss, rel=1e-9)
    zero = hf.InitialState(mu=np.zeros((3, 3)), omega=np.zeros((3, 3)))
    assert hf.integrate(REFERENCE, zero, "merged").loss[-1] == 3


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), parametrisation=st.sampled_from(["balanced", "merged"]))
def test_the_loss_never_increases(seed: int, parametrisation: str) -> None:
    problem, initial = random_case(seed)
    run = hf.integrate(problem, initial, parametrisation, t_final=300, rtol=1e-7)
    assert (np.diff(run.loss) <= 2 * run.loss[:-1] * run.error_estimate).all()


@pytest.mark.slow
@settings(max_examples=10)
@given(seed=st.integers(0, 10**6), data=st.data())
def test_tasks_and_heads_can_be_permuted(seed: int, data: st.DataObject) -> None:
    problem, initial = random_case(seed)
    tasks = data.draw(st.permutations(range(problem.n_tasks)))
    heads = data.draw(st.permutations(range(problem.n_heads)))
    other = problem.replace(
        dims=[problem.dims[i] for i in tasks], signal_power=[problem.signal_power[i] for i in tasks]
    )
    moved = hf.InitialState(mu=initial.mu[np.ix_(tasks, heads)], omega=initial.omega[np.ix_(tasks, heads)])
    times = [1, 10, 50, 200]
    run, permuted = (
        hf.integrate(p, start, t_final=200, times=times) for p, start in ((problem, initial), (other, moved))
    )
    tolerance = run.error_estimate + permuted.error_estimate
    for one, two in zip(run.states, permuted.states, strict=True):
        assert np.abs(one.mu[np.ix_(tasks, heads)] - two.mu).max() <= tolerance * one.mu.max()
        assert one.loss == pytest.approx(two.loss, rel=tolerance)


def test_many_variables_start_with_explicit_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = hf.integrate(REFERENCE, START, t_final=500).final
    monkeypatch.setattr(solvers, "_LARGEST_COMPILED", 0)
    monkeypatch.setattr(solvers, "LARGE_STATE", 1)
    monkeypatch.setattr(solvers, "_EXPLICIT_EVALUATIONS", 800)
    run = hf.integrate(REFERENCE, START, t_final=500)
    assert run.method == "DOP853, LSODA"
    assert run.stats.jacobians > 0
    assert np.abs(run.final.mu - expected.mu).max() < 1e-5
    monkeypatch.setattr(solvers, "_LARGEST_MATRIX", 1)
    assert hf.integrate(REFERENCE, START, t_final=50).method == "DOP853"
    with pytest.raises(InputError, match="the method BDF needs a Jacobian matrix of 18 × 18"):
        hf.integrate(REFERENCE, START, method="BDF")


def test_it_takes_few_evaluations() -> None:
    """Two integrations over four decades of time; benchmarks measure seconds."""
    assert hf.integrate(REFERENCE, START, t_final=1e4).stats.evaluations < 12_000


@pytest.mark.slow
def test_a_thousand_pairs_of_task_and_head() -> None:
    problem = hf.Problem(dims=[10] * 32, signal_power=[1] * 32, noise_variance=0.1, context_length=100, n_heads=32)
    run = hf.integrate(problem, hf.InitialState.random(problem, scale=0.03), t_final=1e4)
    assert None not in run.allocation.heads
    assert run.phases.limit is not None
    assert run.states_flat.nbytes < 100e6


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"t_final": 0}, InputError, "t_final must be positive, got 0"),
        ({"t_final": float("inf")}, InputError, "t_final must be finite, got inf"),
        ({"t_final": "long"}, InputTypeError, "t_final must be a number"),
        ({"rtol": 1e-13}, InputError, "rtol must lie between 1e-12 and 0.01, got 1e-13"),
        ({"rtol": 0.1}, InputError, "rtol must lie between"),
        ({"rtol": float("nan")}, InputError, "rtol must be finite"),
        ({"times": [1, 2e4]}, InputError, r"times\[1\] must lie between 0 and t_final = 10000, got 20000"),
        ({"times": [1e4 + 1e-5]}, InputError, "t_final = 10000, got 10000.00001"),
        ({"times": [-1]}, InputError, r"times\[0\] must be at least 0, got -1"),
        ({"times": "1,2"}, InputTypeError, "times must be a list of numbers"),
        ({"times": 3.0}, InputTypeError, "times must be a list of numbers, got 3.0"),
        (
            {"method": "RK45"},
            InputError,
            r"unknown method 'RK45'.*allowed: auto, LSODA, BDF, Radau, DOP853, Rodas5P, CVODE",
        ),
        ({"method": 3}, InputTypeError, "method must be a string"),
        ({"parametrisation": "ballanced"}, InputError, "did you mean 'balanced'"),
        ({"closure": "trailing"}, InputError, "unknown closure"),
        ({"initial": "random"}, InputTypeError, "initial must be an InitialState, got 'random'"),
        ({"problem": {}}, InputTypeError, "problem must be a Problem"),
        ({"initial": hf.InitialState([[1.0]], [[1.0]])}, InputError, "must have the shape"),
        ({"initial": hf.InitialState(-START.mu, START.omega)}, InputError, "to be positive"),
        ({"initial": hf.InitialState(1e170 * START.mu, START.omega)}, InputError, "overflows float64"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        hf.integrate(**{"problem": REFERENCE, "initial": START, **options})


def test_an_overflowing_exponent_names_heads_and_tasks() -> None:
    omega = START.omega.copy()
    omega[1, 2] = 12
    message = r"Σ_j d_j ω_j\^h ω_j\^k of head 3 is 1440 \(exp overflows above 709\), mostly from task 2$"
    for parametrisation in ("balanced", "merged"):
        with pytest.raises(InputError, match=message):
            hf.integrate(REFERENCE, hf.InitialState(START.mu, omega), parametrisation)


def test_times_keep_their_order_and_number() -> None:
    run = hf.integrate(REFERENCE, START, t_final=100, times=[100, 1, 50, 50])
    assert run.times == (100, 1, 50, 50)
    assert [state.t for state in run.states] == [100, 1, 50, 50]
    assert [state["t"] for state in run.to_json()["states"]] == [100, 1, 50, 50]
    assert (np.diff(run.t) > 0).all()
    assert run.states[1].loss == run.at(1).loss


def test_a_time_that_only_rounding_puts_beyond_the_end() -> None:
    times = 0.1 * np.arange(4)
    assert times[-1] > 0.3
    run = hf.integrate(REFERENCE, START, t_final=0.3, times=times)
    assert run.times == (0, 0.1, 0.2, 0.3)
    assert run.at(times[-1]).loss == run.final.loss == run.states[-1].loss


def test_the_limit_on_evaluations_leaves_a_partial_trajectory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solvers, "MAX_EVALUATIONS", 300)
    with pytest.raises(IntegrationError, match="limit on the number of evaluations") as caught:
        hf.integrate(REFERENCE, START, times=[10, 1e4], method="LSODA")
    partial = caught.value.partial
    assert isinstance(partial, Trajectory)
    assert partial.stop is StopReason.TOO_MANY_EVALUATIONS
    assert partial.error_estimate == np.inf
    assert 40 < partial.t[-1] < 100
    assert [state.t for state in partial.states] == [10]
    short = hf.integrate(REFERENCE, START, t_final=40, method="LSODA")
    assert partial.at(40).loss == pytest.approx(short.loss[-1], rel=1e-6)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert copy.partial.at(40).loss == partial.at(40).loss


@pytest.mark.parametrize("calls", [200, 3000])
@pytest.mark.parametrize("method", ["LSODA", "Radau"])
def test_an_interruption_keeps_what_there_is(monkeypatch: pytest.MonkeyPatch, calls: int, method: str) -> None:
    left = itertools.count(calls, -1)
    original = solvers.Stepper._velocity

    def interrupted(self: solvers.Stepper, s: float, y: Any) -> Any:
        if next(left) == 0:
            raise KeyboardInterrupt
        return original(self, s, y)

    monkeypatch.setattr(solvers.Stepper, "_velocity", interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"The integration was interrupted at t = \d") as caught:
        hf.integrate(REFERENCE, START, t_final=1e8, method=method)
    assert isinstance(caught.value, IntegrationInterrupted)
    partial = caught.value.partial
    assert isinstance(partial, Trajectory)
    assert partial.stop is StopReason.INTERRUPTED
    assert np.isfinite(partial.loss).all()


@pytest.mark.parametrize("method", ["LSODA", "BDF", "Radau", "DOP853"])
def test_a_velocity_that_stops_existing_is_reported(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    original = solvers.Stepper._velocity

    def breaking(self: solvers.Stepper, s: float, y: Any) -> Any:
        result = original(self, s, y)
        if s > 2:
            result[0] = np.nan
            self._trouble = np.array(y)
        return result

    monkeypatch.setattr(solvers.Stepper, "_velocity", breaking)
    with pytest.raises(IntegrationError) as caught:
        hf.integrate(REFERENCE, START, method=method)
    partial = caught.value.partial
    assert isinstance(partial, Trajectory)
    assert partial.stop in (StopReason.OVERFLOW, StopReason.STEP_TOO_SMALL)
    assert caught.value.remedy == partial.stop.remedy
    assert np.isfinite(partial.states_flat).all()
    assert partial.t[-1] > 1


def test_two_integrations_that_part_are_no_result() -> None:
    mu = np.full((3, 3), 0.1)
    mu[0, 0] = np.nextafter(0.1, 1)
    nearly = hf.InitialState(mu, np.full((3, 3), 0.1))
    with pytest.raises(IntegrationError, match="They parted before t = ") as caught:
        hf.integrate(REFERENCE, nearly, "merged")
    assert isinstance(caught.value.partial, Trajectory)
    assert caught.value.partial.stop is StopReason.DISAGREEMENT


def test_every_reason_is_a_sentence_with_a_remedy() -> None:
    for reason in StopReason:
        assert reason.sentence.endswith(".")
        assert reason.completed == (not reason.remedy)
        assert StopReason.named(reason.value) is reason
    with pytest.raises(ValueError, match="no stop reason is called 'bored'"):
        StopReason.named("bored")


def test_distances_are_relative_to_the_largest_entry() -> None:
    flow = dynamics.Dynamics(REFERENCE, START, "balanced", "leading")
    y = flow.start
    moved = y.copy()
    moved[4] += 1e-6
    by_loss, largest = flow.distances(moved, y)
    assert largest == pytest.approx(1e-6 * START.mu[1, 1] / START.mu.max(), rel=1e-5)
    assert 0 < by_loss < largest


@pytest.mark.parametrize("parametrisation", PARAMETRISATIONS)
@pytest.mark.parametrize("number", range(4))
def test_many_states_are_each_of_them(parametrisation: str, number: int) -> None:
    """Weights and distances of rows are those of one after the other, and weights those of the derivation."""
    case = tied_case(number)
    initial = case.initial
    if parametrisation == "balanced":  # positive, and tied all the same
        initial = hf.InitialState(abs(initial.mu) + 0.1, abs(initial.omega) + 0.1)
    flow = dynamics.Dynamics(case.problem, initial, parametrisation, "leading")
    rows = flow.start * np.linspace(1, 0.7, 30)[:, None]
    weights, distances = flow.weights(rows), flow.distances(rows, rows[::-1])
    derived = compile_system(flow.chart.system).named(("mu", "omega")).bind(flow.chart.values)
    for row, y in enumerate(rows):
        np.testing.assert_array_equal(weights[:, row], flow.weights(y))
        np.testing.assert_allclose(weights[:, row].ravel(), derived(flow._spread(y)), rtol=1e-14)
        alone = flow.distances(y, rows[::-1][row])
        np.testing.assert_allclose([part[row] for part in distances], alone, rtol=1e-9, atol=1e-14)


def test_panels_follow_a_steep_function() -> None:
    def steep(s: float) -> Any:
        return np.array([np.tanh(200 * (s - 0.3)), s])

    tree = panels.PanelTree(steep, lambda a, b: float(np.abs(a - b).max()), 1e-9)
    found = tree.cut(0.0, 1.0, 500)
    assert len(found) < 120
    assert found[0][0] == 0
    assert found[-1][1] == 1
    for left, right, values, _ in found:
        assert all(
            np.abs(panels.interpolate(left, right, values, s) - steep(s)).max() < 1e-8
            for s in np.linspace(left, right, 9)
        )
    assert len(tree.cut(0.0, 1.0, 10)) <= 10


def test_a_bar_appears_only_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    hf.integrate(REFERENCE, START, t_final=100, progress=True)
    assert capsys.readouterr().err == ""
