"""Large states: the Jacobian-vector product, CVODE, bounded rows, the loss where they are coarse."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import headflow as hf
from cases import REFERENCE, START
from headflow.errors import InputError, IntegrationError
from headflow.numerics.code import JacobianProduct, compile_system
from headflow.numerics.flows.dynamics import Chart, Dynamics
from headflow.numerics.integration import recorder
from headflow.numerics.solving import solvers
from headflow.numerics.solving.krylov_steps import krylov_steps, sundials_installed
from headflow.theory import gradient_flow, to_log
from headflow.theory.flows.tangent import tangent
from oracles.hand_rhs import make_rhs

needs_sundials = pytest.mark.skipif(not sundials_installed(), reason="scikit-sundae is not installed (extra fast)")
PROBLEM = hf.Problem(dims=[4, 5, 6], signal_power=[1, 0.5, 2], noise_variance=0.1, context_length=60, n_heads=2)


def chart(parametrisation: str, closure: str) -> Chart:
    draw = np.random.default_rng(1)
    start = hf.InitialState.random(PROBLEM, scale=0.1, jitter=0.5)
    if parametrisation == "split":
        start = hf.InitialState(start.mu, start.omega, 0.05 * draw.normal(size=(2, 3, 2)))
    return Chart.of(PROBLEM, start, parametrisation, closure)


@pytest.mark.parametrize("closure", ["leading", "finite_d"])
@pytest.mark.parametrize("parametrisation", ["merged", "balanced", "split"])
def test_the_product_is_the_jacobian_times_the_direction(parametrisation: str, closure: str) -> None:
    found = chart(parametrisation, closure)
    code, draw = compile_system(found.system), np.random.default_rng(2)
    product, jacobian = JacobianProduct(code, found.values), code.jacobian.bind(found.values)
    for _ in range(2):  # at a second point nothing of the first is left
        y, direction = found.start + 0.1 * draw.normal(size=12), draw.normal(size=12)
        expected = jacobian(y) @ direction
        np.testing.assert_allclose(product.at(y)(direction), expected, atol=1e-13 * np.abs(expected).max())


def test_the_product_is_the_derivative_of_a_hand_written_velocity() -> None:
    found = chart("balanced", "leading")
    hand = make_rhs({"lam": [1, 0.5, 2], "d": [4, 5, 6], "sigma2": 0.1, "L": 60}, 2, "balanced_log")
    direction, step = np.random.default_rng(3).normal(size=12), 1e-6
    product = JacobianProduct(compile_system(found.system), found.values).at(found.start)
    ends = [np.array(hand(0.0, found.start + sign * step * direction)) for sign in (1, -1)]
    np.testing.assert_allclose(product(direction), (ends[0] - ends[1]) / (2 * step), rtol=1e-7, atol=1e-9)


def test_transposed_products_are_computed_once() -> None:
    flow = to_log(gradient_flow("balanced"))
    operations = [line.operation for line in compile_system(flow).jacobian_product.program.lines]
    assert operations.count("matmul") == 7
    names = {str(item.base.label) for item in tangent(flow).definitions}
    assert {"C", "C_tangent", "M", "M_tangent", "r", "r_tangent"} <= names


@needs_sundials
@pytest.mark.parametrize("parametrisation", ["balanced", "merged", "split"])
def test_cvode_and_radau_agree(parametrisation: str) -> None:
    runs = [
        hf.integrate(REFERENCE, START, parametrisation, t_final=300, times=[30, 45], rtol=1e-7, method=method)
        for method in ("CVODE", "Radau")
    ]
    assert runs[0].method == "CVODE"
    assert runs[0].stats.products > 0
    for one, two in zip(runs[0].states, runs[1].states, strict=True):
        limit = runs[0].error_estimate + runs[1].error_estimate
        assert np.abs(one.mu - two.mu).max() <= limit * np.abs(two.mu).max()
    assert runs[0].loss_at(33.3) == pytest.approx(runs[1].loss_at(33.3), rel=1e-3)


@needs_sundials
def test_large_states_get_cvode(monkeypatch: pytest.MonkeyPatch) -> None:
    assert solvers.choose_method("auto", 2048).name == "CVODE"
    assert "scikit-sundae is installed" in solvers.choose_method("auto", 2_000_000).reason
    monkeypatch.setattr(solvers, "sundials_installed", lambda: False)
    assert solvers.choose_method("auto", 2048).name == "DOP853, LSODA"
    with pytest.raises(InputError, match=r"CVODE needs scikit-sundae: install headflow\[fast\]"):
        hf.integrate(REFERENCE, START, method="cvode")


@needs_sundials
def test_steps_to_where_there_is_no_velocity_are_not_taken() -> None:
    def velocity(s: float, y: np.ndarray) -> np.ndarray:
        return np.where(y < 2, 1.0, np.nan)

    def nothing(s: float, direction: np.ndarray) -> np.ndarray:
        return 0 * direction

    steps = krylov_steps(velocity, lambda y: nothing, 0.0, np.zeros(1), 10.0, 1e-6, 1e-6)
    ends = [(reached, float(y[0])) for reached, y, _ in steps]
    assert 1.9 < ends[-1][0] <= 2
    assert all(y == pytest.approx(reached, abs=1e-5) for reached, y in ends)


@needs_sundials
def test_rows_of_large_states_are_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fine = hf.integrate(REFERENCE, START, t_final=1e4, times=[40.0], method="CVODE")
    monkeypatch.setattr(recorder, "_MOST_NUMBERS", 100)
    monkeypatch.setattr(recorder, "_MOST_STREAMED", 6 * 7 * 18)
    run = hf.integrate(REFERENCE, START, t_final=1e4, times=[40.0], method="CVODE")
    assert len(run.t) == 6 * 7 + 2 < len(fine.t)
    assert run.interpolation_error > 1e-4 > fine.interpolation_error
    # States asked for, losses and their roots come from the solver's own dense output.
    np.testing.assert_array_equal(run.at(40.0).mu, fine.at(40.0).mu)
    for t in (35.0, 42.0, 50.0, 3e3):
        assert run.loss_at(t) == pytest.approx(fine.loss_at(t), rel=1e-9)
    assert abs(run.at(42.0).loss / fine.at(42.0).loss - 1) > 1e-7
    assert run.phases.emergence == pytest.approx(fine.phases.emergence, rel=1e-9)
    run.save(tmp_path / "run.nc")
    assert hf.Trajectory.load(tmp_path / "run.nc").loss_at(42.0) == run.loss_at(42.0)
    monkeypatch.setattr(solvers, "MAX_EVALUATIONS", 900)
    with pytest.raises(IntegrationError) as stopped:
        hf.integrate(REFERENCE, START, t_final=1e4, method="CVODE")
    partial = stopped.value.partial
    assert 0 < partial.t[-1] < 1e4
    assert partial.loss[-1] == pytest.approx(fine.loss_at(float(partial.t[-1])), rel=1e-6)


def test_steps_that_are_not_asked_cost_no_dense_output() -> None:
    """Of the second integration few steps hold a row; the states are the same."""
    dynamics = Dynamics(PROBLEM, hf.InitialState.random(PROBLEM, scale=0.1, jitter=0.5), "balanced", "leading")
    method = solvers.choose_method("DOP853", dynamics.size)
    ends, evaluations, steps = [], [], []
    for kept in (True, False):
        stepper = solvers.Stepper(dynamics, method, 1e-8, dynamics.start, 1.0, 5.0, kept=kept)
        asked = [segment.dense(segment.end) for number, segment in enumerate(stepper.segments()) if number % 10 == 0]
        ends.append(np.array(asked))
        evaluations.append(stepper.counter.evaluations)
        steps.append(stepper.counter.steps)
    np.testing.assert_array_equal(*ends)
    assert steps[0] == steps[1]
    assert evaluations[0] - evaluations[1] == 3 * (steps[0] - len(ends[0]))


def test_memory_of_rows_and_steps_grows_like_the_root_of_the_steps() -> None:
    size, total, most = 60_000, 3_000, 0
    nothing = SimpleNamespace(size=size, distances=lambda *_: (np.zeros(1), np.zeros(1)), loss=lambda _: 1.0)
    kept = recorder.Recorder(nothing, np.zeros(size), 1.0, [], 1e-8)
    for step in range(total):
        kept.add(solvers.Segment(step / total, (step + 1) / total, lambda _: np.zeros(size)))
        most = max(most, len(kept._window.segments) + len(kept.edges))
    kept.finish()
    assert kept.edges[-1] == 1.0
    assert most < 3 * total**0.5
