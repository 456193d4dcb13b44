"""Everything that is called with numbers gives the same bits from many threads, and in the middle of another call."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from types import FrameType
from typing import Any

import numpy as np
import pytest

import headflow as hf
from cases import REFERENCE, START, random_case
from headflow import theory
from headflow.numerics import CovariateProblem, compile_system, integrate_system
from headflow.numerics.code import JacobianProduct, formula
from headflow.numerics.code.native import native_system
from headflow.numerics.code.unrolled import UnrolledKernel
from headflow.numerics.flows.dynamics import Chart, Dynamics
from headflow.numerics.flows.orbits import orbit_flow
from headflow.numerics.solving import solvers
from headflow.numerics.solving.krylov_steps import sundials_installed
from headflow.theory.families.linear import linear_attention_flow
from headflow.theory.optima.rooted_form import _roots

THREADS = 4


@pytest.fixture(autouse=True)
def _threads_take_turns_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def same_from_threads(function: Callable[[Any], Any], arguments: list[Any], rounds: int = 2) -> None:
    """``function`` of every argument, many at a time, is what it is alone."""
    alone = [np.array(function(argument)) for argument in arguments]
    work = [place for _ in range(rounds) for place in range(len(arguments))]
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(lambda place: np.array(function(arguments[place])), work))
    for place, one in zip(work, found, strict=True):
        np.testing.assert_array_equal(one, alone[place])


@cache
def large(parametrisation: str, n: int) -> hf.numerics.Trajectory:
    """A run so short that it costs little, of a state that generated NumPy code serves."""
    draw = np.random.default_rng(n)
    problem = hf.Problem(
        dims=draw.integers(3, 9, n).tolist(), signal_power=[1] * n, noise_variance=0.1, context_length=100, n_heads=n
    )
    start = hf.InitialState.random(problem, scale=0.05, seed=n, jitter=0.7)
    if parametrisation == "split":
        start = hf.InitialState(start.mu, start.omega, 1e-3 * draw.normal(size=(2, n, n)))
    return hf.integrate(problem, start, parametrisation, t_final=5.0, rtol=1e-4)


@pytest.mark.parametrize(("parametrisation", "n"), [("balanced", 24), ("merged", 6), ("split", 5), ("balanced", 2)])
def test_a_trajectory(parametrisation: str, n: int) -> None:
    run = large(parametrisation, n)
    times = np.random.default_rng(0).uniform(0, 5, 30).tolist()
    same_from_threads(lambda t: [run.at(t).loss, run.loss_at(t)], times)
    same_from_threads(lambda t: np.stack([run.at(t).mu, run.at(t).omega, *run.weights_at(t)]), times)


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 8))])
def test_generated_functions(seed: int) -> None:
    problem, start = random_case(seed)
    draw = np.random.default_rng(seed)
    for name in ("balanced", "merged", "split"):
        chart = Chart.of(problem, start, name, ("leading", "finite_d")[seed % 2])
        states = [chart.start + 0.1 * draw.normal(size=len(chart.start)) for _ in range(12)]
        code = compile_system(chart.system)
        own = native_system(chart.system, I=problem.n_tasks, H=problem.n_heads)
        dynamics = Dynamics(problem, start, name, "leading")
        product = JacobianProduct(code, chart.values)
        functions: list[Callable[[Any], Any]] = [
            *(UnrolledKernel(own, part, chart.values) for part in ("velocity", "jacobian", "loss")),
            *(kernel.bind(chart.values) for kernel in (code.velocity, code.jacobian, code.loss)),
            code.named(("mu", "omega")).bind(chart.values),
            lambda y, dynamics=dynamics: [*dynamics.distances(y, dynamics.start), dynamics.rate(y)],
            lambda y, product=product: product.at(y)(np.cos(y)),
        ]
        with np.errstate(all="ignore"):
            for function in functions:
                same_from_threads(function, states, rounds=2)


def test_a_map_of_directions_belongs_to_its_point() -> None:
    chart = Chart.of(REFERENCE, START, "balanced", "leading")
    code = compile_system(chart.system)
    product, jacobian = JacobianProduct(code, chart.values), code.jacobian.bind(chart.values)
    points = [chart.start, chart.start + 0.3]
    maps = [product.at(point) for point in points]
    direction = np.random.default_rng(0).normal(size=len(chart.start))
    for _ in range(2):
        for point, there in zip(points, maps, strict=True):
            np.testing.assert_allclose(there(direction), jacobian(point) @ direction, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["velocity", "loss", "jacobian"])
def test_a_call_in_the_middle_of_a_call(name: str) -> None:
    """At every line of the generated function the same kernel is called with another state."""
    chart = Chart.of(REFERENCE, START, "balanced", "leading")
    bound = getattr(compile_system(chart.system), name).bind(chart.values)
    other = chart.start + 0.5
    expected, expected_other = bound(chart.start), bound(other)
    inner = []

    def at_each_line(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line" and frame.f_code is bound.kernel.run.__code__:
            inner.append(bound(other))  # Python does not trace a trace
        return at_each_line

    before = sys.gettrace()
    sys.settrace(at_each_line)
    try:
        found = bound(chart.start)
    finally:
        sys.settrace(before)
    assert len(inner) > 5
    np.testing.assert_array_equal(found, expected)
    for one in inner:
        np.testing.assert_array_equal(one, expected_other)


def test_a_result_is_not_overwritten() -> None:
    chart = Chart.of(REFERENCE, START, "balanced", "leading")
    dynamics = Dynamics(REFERENCE, START, "balanced", "leading")
    for kernel in (dynamics.velocity, dynamics.jacobian, compile_system(chart.system).velocity.bind(chart.values)):
        first = kernel.evaluate(chart.start)
        kept = first.copy()
        kernel.evaluate(chart.start + 1.0)
        np.testing.assert_array_equal(first, kept)


def test_families_orbits_and_closed_forms() -> None:
    data = CovariateProblem([2, 1, "1/2"], [1, 1, 1], noise_variance=0.1, context_length=30, n_heads=9)
    draw = np.random.default_rng(0)
    for heads in (3, 9):  # unrolled loops, NumPy
        values = {**data.float_values(), "H": heads}
        shapes = {"v": (heads,), "k": (3, heads), "q": (3, heads)}
        start = {name: 0.1 * draw.normal(size=shape) for name, shape in shapes.items()}
        run = integrate_system(linear_attention_flow("split"), values, start, 50.0, rtol=1e-5)
        times = draw.uniform(0, 50, 25).tolist()
        same_from_threads(run.loss_at, times)
        same_from_threads(lambda t, run=run: np.concatenate([part.ravel() for part in run.at(t).values()]), times)
    flow = orbit_flow(REFERENCE, hf.InitialState(np.full((3, 3), 0.1) + np.eye(3), np.full((3, 3), 0.2)))
    states = [flow.start + 0.1 * draw.normal(size=flow.size) for _ in range(20)]
    for function in (flow.velocity, flow.loss, flow.jacobian):
        same_from_threads(function, states)
    limit = formula(theory.task_allocation_limit().loss.expression)
    problems = [REFERENCE.replace(context_length=length) for length in range(50, 70)]
    same_from_threads(lambda problem: limit(problem.float_values()), problems)


def test_digits_of_one_thread_are_not_those_of_another() -> None:
    limit = theory.task_allocation_limit("finite_d").loss
    rooted = theory.task_allocation_limit("first_order").loss
    many = [REFERENCE.replace(context_length=length) for length in (90, 100, 110)]

    def exact(problem: hf.Problem) -> Any:
        _roots.cache_clear()
        return [str(rooted.exact(problem)), limit.evaluate(problem)]

    same_from_threads(exact, many, rounds=2)


METHODS = [
    "auto",
    "LSODA",
    pytest.param("BDF", marks=pytest.mark.slow),
    "DOP853",
    *(["CVODE"] if sundials_installed() else []),
]


@pytest.mark.parametrize("method", METHODS)
def test_runs(method: str) -> None:
    starts = [hf.InitialState.random(REFERENCE, scale=0.1, seed=seed) for seed in range(4)]

    def end(start: hf.InitialState) -> Any:
        run = hf.integrate(REFERENCE, start, t_final=50.0, rtol=1e-7, method=method)
        return [run.final.loss, run.error_estimate, run.phases.limit]

    same_from_threads(end, starts, rounds=2)


@pytest.mark.slow
def test_ensembles() -> None:
    starts = [hf.InitialState.random(REFERENCE, scale=0.1, seed=seed) for seed in range(6)]
    same_from_threads(
        lambda seed: hf.ensemble(REFERENCE, starts[seed:], t_final=50.0, workers=2).loss.values, list(range(4)), 2
    )


def test_threads_leave_warnings_as_they_were() -> None:
    """A solver that warns while another one does: what is ignored then must not stay ignored."""
    starts = [hf.InitialState.random(REFERENCE, scale=0.1, seed=seed) for seed in range(4)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda start: hf.integrate(REFERENCE, start, t_final=20.0, method="LSODA"), 2 * starts))
        assert list(warnings.filters) == before
    chart = Chart.of(REFERENCE, START, "balanced", "leading")
    method = solvers.choose_method("LSODA", 18)
    two = [
        solvers.Stepper(
            Dynamics(REFERENCE, START, "balanced", "leading"), method, 1e-4, chart.start, 1.0, end
        ).segments()
        for end in (3.0, 2.0)
    ]
    before = list(warnings.filters)
    for steps in (*two, *two):  # begun and left half-way in no order
        next(steps)
    two[0].close()
    two[1].close()
    assert list(warnings.filters) == before
