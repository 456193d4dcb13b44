"""The compiled integrator: its order, its agreement with SciPy and the oracles, its failures."""

from __future__ import annotations

import math

import numpy as np
import pytest

import headflow as hf
from cases import REFERENCE, START, random_case
from headflow.errors import InputError, IntegrationError
from headflow.numerics.code.native import native_system
from headflow.numerics.compiler import Program, compiler_installed
from headflow.numerics.flows.dynamics import Chart
from headflow.numerics.runtime.stop import StopReason
from headflow.numerics.solving import solvers
from headflow.numerics.solving.stepping import CompiledSteps
from headflow.numerics.steps import explicit_tableau, tableau
from headflow.numerics.steps.native import integrator, loops_text, tableaus

needs_llvm = pytest.mark.skipif(not compiler_installed(), reason="llvmlite is not installed (extra fast)")


def matrices() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """α, Γ and b of the method as it is published, from the transformed coefficients."""

    def square(rows: tuple[tuple[float, ...], ...]) -> np.ndarray:
        return np.array([[*row, *[0.0] * (tableau.STAGES - len(row))] for row in rows])

    inverse = np.eye(tableau.STAGES) / tableau.GAMMA - square(tableau.C)
    gamma = np.linalg.inv(inverse)
    last = np.array([*tableau.A[7], 1.0])
    return square(tableau.A) @ gamma, gamma, last @ gamma


def test_the_tableau_meets_the_order_conditions() -> None:
    alpha, gamma, b = matrices()
    beta = alpha + gamma
    c, row = alpha.sum(axis=1), beta.sum(axis=1)
    conditions = {
        1: b.sum(),
        1 / 2: b @ row,
        1 / 3: b @ c**2,
        1 / 6: b @ beta @ row,
        1 / 4: b @ c**3,
        1 / 8: b @ (c * (alpha @ row)),
        1 / 12: b @ beta @ c**2,
        1 / 24: b @ beta @ beta @ row,
        1 / 5: b @ c**4,
        1 / 20: b @ beta @ c**3,
        1 / 60: b @ beta @ beta @ c**2,
        1 / 120: b @ beta @ beta @ beta @ row,
    }
    for expected, found in conditions.items():
        assert found == pytest.approx(expected, abs=1e-12)
    np.testing.assert_allclose(c, tableau.NODES, atol=1e-12)
    np.testing.assert_allclose(gamma.sum(axis=1), tableau.SLOPES, atol=1e-12)


def test_it_is_l_stable() -> None:
    alpha, gamma, b = matrices()
    for z in (-1e8, -1e3, -10.0, 1e3j, 1j, -5 + 20j):
        stability = 1 + z * b @ np.linalg.solve(np.eye(8) - z * (alpha + gamma), np.ones(8))
        assert abs(stability) < (1e-4 if z == -1e8 else 1)


def test_the_explicit_tableau_meets_the_order_conditions_inside_steps_too() -> None:
    size = explicit_tableau.STAGES
    a = np.array([[*row, *[0.0] * (size - len(row))] for row in explicit_tableau.A])
    c, last, error, dense = a.sum(axis=1), a[-1], np.array(explicit_tableau.ERROR), np.array(explicit_tableau.DENSE)
    np.testing.assert_allclose(c, explicit_tableau.NODES, atol=1e-14)
    conditions = [c**0, c, c**2, a @ c, c**3, c * (a @ c), a @ c**2, a @ a @ c]
    values = [1, 1 / 2, 1 / 3, 1 / 6, 1 / 4, 1 / 8, 1 / 12, 1 / 24]
    orders = [1, 2, 3, 3, 4, 4, 4, 4]
    for vector, value, order in zip(conditions, values, orders, strict=True):
        assert last @ vector == pytest.approx(value, abs=1e-14)
        assert error @ vector == pytest.approx(0, abs=1e-14)
        for part in (0.3, 0.8):
            inside = part * (last + (1 - part) * (dense[0] + part * (dense[1] + part * dense[2])))
            assert inside @ vector == pytest.approx(value * part**order, abs=1e-14)
    assert last @ c**4 == pytest.approx(1 / 5, abs=1e-12)
    assert last @ (c**2 * (a @ c)) == pytest.approx(1 / 10, abs=1e-12)
    assert last @ (a @ a @ a @ c) == pytest.approx(1 / 120, abs=1e-12)


def loops_of(size: int) -> Program:
    """The integrator's loops for states of that length, without a flow."""
    return Program("steps", [loops_text()], {"N": size, "WORK": 1, **tableaus()})


@pytest.mark.parametrize("seed", range(3))
def test_the_bound_on_stiffness_is_one(seed: int) -> None:
    matrix = np.random.default_rng(seed).standard_normal((6, 6)) * np.logspace(0, 2, 6)[:, None]
    bound = loops_of(6).plain("stiffness")(matrix.ravel())
    assert bound >= np.abs(np.linalg.eigvals(matrix)).max()
    assert bound == pytest.approx(min(np.linalg.norm(matrix, 1), np.linalg.norm(matrix, np.inf)))


@pytest.mark.parametrize("size", [1, 2, 7, 30])
def test_factors_solve(size: int) -> None:
    draw = np.random.default_rng(size)
    matrix, x = draw.standard_normal((size, size)), draw.standard_normal(size)
    matrix[0, 0] = 0.0 if size > 1 else 1.0  # rows must be exchanged
    right, pivots, factors = matrix @ x, np.zeros(size, np.int64), matrix.T.copy()
    factorise, solve = (loops_of(size).plain(name) for name in ("factorise", "solve"))
    assert factorise(factors, pivots)
    solve(factors, pivots, right)
    np.testing.assert_allclose(right, x, rtol=1e-9)
    assert size == 1 or not factorise(np.ones((size, size)), pivots)
    assert not factorise(np.full((size, size), np.nan), pivots)


def steps(compiled: bool, rtol: float = 1e-4, t_final: float = 100.0) -> CompiledSteps:
    chart = Chart.of(REFERENCE, START, "balanced", "leading")
    own, unit = native_system(chart.system, I=3, H=3), 15.0
    made = integrator(own, compiled=compiled)
    return CompiledSteps(
        made,
        own.bound(chart.values),
        chart.start,
        rtol,
        rtol,
        unit,
        math.log1p(t_final / unit),
        6.0,
        True,
        np.zeros(len(chart.start)),
    )


def walk(run: CompiledSteps, most: int = 10**6) -> tuple[list[float], np.ndarray]:
    """Ends of the steps, and the states at nine points of each."""
    ends, states, before = [], [], 0.0
    for end, dense in run.until_evaluations(most):
        states += [dense(s) for s in np.linspace(before, end, 9)]
        ends.append(end)
        before = end
    return ends, np.array(states)


def test_plain_python_takes_the_steps_and_they_join() -> None:
    run = steps(compiled=False)
    ends, states = walk(run)
    assert run.failure is None
    assert ends[-1] == math.log1p(100 / 15.0)
    np.testing.assert_allclose(states[8:-1:9], states[9::9], rtol=1e-14)
    final = hf.integrate(REFERENCE, START, t_final=100, method="Radau").states_flat[-1]
    np.testing.assert_allclose(states[-1], final, rtol=1e-3)


def test_steps_are_explicit_first_and_implicit_where_it_is_stiff() -> None:
    run = steps(compiled=False, t_final=1e3)
    ends, _ = walk(run)
    assert len(ends) / 4 < run.jacobians < len(ends)  # each implicit step needs one, four explicit steps share one
    assert run.evaluations < 8.5 * len(ends)


@needs_llvm
def test_compiled_steps_are_those_of_plain_python() -> None:
    (ends, states), (others, plain) = walk(steps(True)), walk(steps(False))
    np.testing.assert_allclose(ends, others, rtol=1e-9)
    np.testing.assert_allclose(states, plain, rtol=1e-9)


def test_a_limit_on_evaluations_is_kept() -> None:
    run = steps(compiled=False)
    ends, _ = walk(run, most=100)
    assert run.failure is StopReason.TOO_MANY_EVALUATIONS
    assert 100 <= run.evaluations < 110
    assert ends[-1] < math.log1p(100 / 15.0)


@needs_llvm
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("parametrisation", ["balanced", "merged"])
def test_it_agrees_with_scipy(seed: int, parametrisation: str) -> None:
    problem, initial = random_case(seed)
    runs = [hf.integrate(problem, initial, parametrisation, t_final=1e3, method=m) for m in ("Rodas5P", "Radau")]
    for t in np.geomspace(1, 1e3, 15):
        one, other = (run.at(t) for run in runs)
        allowed = sum(run.error_estimate for run in runs) + 1e-7
        assert np.abs(one.mu - other.mu).max() <= allowed * np.abs(other.mu).max()
        assert one.loss == pytest.approx(other.loss, rel=allowed)


@needs_llvm
def test_it_is_what_auto_takes_for_small_states() -> None:
    run = hf.integrate(REFERENCE, START, t_final=50)
    assert run.method == "Rodas5P"
    assert "llvmlite is installed" in run.method_reason
    assert run.stats.jacobians > 0


def test_without_a_compiler_scipy_is_the_default_and_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solvers, "compiler_installed", lambda: False)
    assert hf.integrate(REFERENCE, START, t_final=50).method == "LSODA"
    with pytest.raises(InputError, match=r"Rodas5P needs llvmlite: install headflow\[fast\]"):
        hf.integrate(REFERENCE, START, method="rodas5p")


@needs_llvm
def test_it_gives_up_with_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solvers, "MAX_EVALUATIONS", 1500)
    with pytest.raises(IntegrationError, match="limit on the number of evaluations") as caught:
        hf.integrate(REFERENCE, START, method="Rodas5P")
    assert caught.value.partial.stop is StopReason.TOO_MANY_EVALUATIONS
    assert caught.value.partial.t[-1] > 1


@pytest.mark.slow
@needs_llvm
@pytest.mark.parametrize("rtol", [1e-4, 1e-10, 1e-12])
def test_errors_are_honest_at_every_tolerance(rtol: float) -> None:
    run = hf.integrate(REFERENCE, START, t_final=100, rtol=rtol, method="Rodas5P")
    reference = hf.integrate(REFERENCE, START, t_final=100, rtol=1e-11, method="Radau", times=[40, 60, 100])
    for state in reference.states:
        found = run.at(state.t)
        allowed = run.error_estimate + reference.error_estimate + run.interpolation_error
        assert np.abs(found.mu - state.mu).max() <= allowed * state.mu.max()
