"""Assignments of tasks to heads: the limit of one, and the best one against brute force."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from sympy import Rational

from cases import oracle
from headflow import InitialState, Problem, integrate
from headflow.errors import HypothesisError, InputError, InputTypeError
from headflow.numerics.optima import assignment
from headflow.numerics.optima.assignment import assignment_limit, best_assignment
from headflow.numerics.optima.reference import _FLOATS, estimated_limit, realised_limit
from headflow.theory import multi_head_optimum, task_allocation_limit
from headflow.theory.optima.water_filling import water_filling
from oracles import hand_formulas as hand


def drawn(seed, n_tasks, n_heads):
    draw = np.random.default_rng(seed)
    return Problem(
        dims=draw.integers(1, 30, n_tasks).tolist(),
        signal_power=[round(float(x), 2) + 0.01 for x in np.exp(draw.normal(0, 1.2, n_tasks))],
        noise_variance=0.2,
        context_length=int(draw.integers(10, 200)),
        n_heads=n_heads,
    )


def partitions(n_tasks, n_heads):
    """Every assignment of tasks to heads, as groups."""
    for heads in product(range(n_heads), repeat=n_tasks):
        yield [[task for task in range(n_tasks) if heads[task] == head] for head in set(heads)]


@pytest.mark.parametrize("n_tasks", [2, 3, 4, 5])
@pytest.mark.parametrize("seed", [0, 1])
def test_best_is_that_of_brute_force(n_tasks, seed):
    for n_heads in range(1, n_tasks + 1):
        problem = drawn(seed, n_tasks, n_heads)
        brute = min(hand.shared_head_limit(oracle(problem), groups) for groups in partitions(n_tasks, n_heads))
        found = best_assignment(problem)
        assert found.exact
        assert found.loss == pytest.approx(brute, rel=1e-12)
        assert found.lower_bound == found.loss
        assert len(found.groups) == n_heads
        assert sorted(task for group in found.groups for task in group) == list(range(n_tasks))


def test_equal_tasks_are_interchangeable():
    problem = Problem(dims=[10] * 14, signal_power=[1] * 14, noise_variance=0.1, context_length=100, n_heads=4)
    found = best_assignment(problem)
    assert found.exact
    # g equal tasks on one head: THEORY §4, g e g c/(1 + e g c).
    sizes = np.array([len(group) for group in found.groups])
    assert sorted(sizes) == [3, 3, 4, 4]
    load = np.e * 0.11 * sizes
    assert found.loss == pytest.approx(float(np.sum(sizes * load / (1 + load))), rel=1e-12)


def test_two_kinds_of_tasks_are_kept_apart_by_number():
    problem = Problem(dims=[20, 5, 20, 5], signal_power=[1, 4, 1, 4], noise_variance=0.1, context_length=60, n_heads=2)
    brute = min(hand.shared_head_limit(oracle(problem), groups) for groups in partitions(4, 2))
    found = best_assignment(problem)
    assert found.loss == pytest.approx(brute, rel=1e-12)
    assert assignment_limit(problem, found.groups) == found.loss


def test_enough_heads_give_the_allocation_limit():
    problem = drawn(3, 4, 5)
    found = best_assignment(problem)
    assert found.exact
    assert found.groups == ((0,), (1,), (2,), (3,))
    assert found.loss == pytest.approx(task_allocation_limit().loss.evaluate(problem), rel=1e-15)
    assert best_assignment(problem, n_heads=1).loss == pytest.approx(
        hand.single_head_optimum(oracle(problem)).loss, rel=1e-12
    )


def test_a_head_may_leave_a_task_out():
    problem = Problem(dims=[5, 20], signal_power=[4, 0.1], noise_variance=0.1, context_length=100, n_heads=1)
    alone = multi_head_optimum().evaluate(problem.subset([0], n_heads=1))
    assert multi_head_optimum().solve(problem).empty == (1,)
    assert assignment_limit(problem, [[0, 1]]) == pytest.approx(alone + 0.1, rel=1e-15)


def test_the_heuristic_says_so_and_finds_the_best_of_small_problems(monkeypatch):
    monkeypatch.setattr(assignment, "MOST_PAIRS", 0)
    for seed in range(3):
        problem = drawn(seed, 5, 2)
        brute = min(hand.shared_head_limit(oracle(problem), groups) for groups in partitions(5, 2))
        found = best_assignment(problem)
        assert not found.exact
        assert "local searches" in found.reason
        assert found.loss == pytest.approx(brute, rel=1e-12)
        assert found.lower_bound == multi_head_optimum().evaluate(problem) < found.loss


def test_bad_input():
    problem = drawn(0, 3, 2)
    with pytest.raises(HypothesisError, match="at most H groups; got 3 groups, H = 2"):
        assignment_limit(problem, [[0], [1], [2]])
    with pytest.raises(InputError, match="each of the 3 tasks once"):
        assignment_limit(problem, [[0, 1], [1, 2]])
    with pytest.raises(InputError, match="n_heads"):
        best_assignment(problem, n_heads=0)
    with pytest.raises(InputTypeError, match="n_heads"):
        best_assignment(problem, n_heads=1.5)


@pytest.mark.slow
def test_the_flow_ends_at_the_limit_of_its_assignment():
    problem = Problem(dims=[6, 10, 8], signal_power=[1, 2, 1], noise_variance=0.1, context_length=100, n_heads=2)
    mu = 0.05 * np.array([[1.5, 0.5], [0.5, 1.5], [1.5, 0.5]])
    run = integrate(problem, InitialState(mu=mu, omega=np.full((3, 2), 0.05)), t_final=1e5)
    groups = [[0, 2], [1]]
    assert run.allocation.heads == (0, 1, 0)
    assert run.data["loss"][-1] == pytest.approx(assignment_limit(problem, groups), rel=1e-5)
    assert run.data["loss"][-1] >= best_assignment(problem).loss


@pytest.mark.slow
def test_assignments_at_finite_d():
    """Equal tasks go two and one; the loss is gλκ(gd)gc/(1 + κ(gd)gc) for each group."""
    problem = Problem(dims=[7, 7, 7], signal_power=[1, 1, 1], noise_variance=0.1, context_length=60, n_heads=2)
    found = best_assignment(problem, closure="finite_d")
    expected = 0.0
    for size in (1, 2):
        cost, dim = 1.1 * 7 / 60 * size, 7 * size
        kappa = (1 + 2 / dim) ** (dim / 2 + 1)
        expected += size * kappa * cost / (1 + kappa * cost)
    assert found.exact
    assert sorted(map(len, found.groups)) == [1, 2]
    assert found.loss == pytest.approx(expected, rel=1e-12)
    assert assignment_limit(problem, [[0, 1], [2]], "first_order") > expected
    with pytest.raises(InputError, match="no lower bound"):
        best_assignment(problem, closure="first_order")


@pytest.mark.parametrize("seed", range(8))
def test_the_limit_in_floats_is_the_exact_one_rounded(seed):
    problem = drawn(seed, 5, 5)
    heads = np.random.default_rng(seed).integers(0, 3, 5)
    groups = [np.flatnonzero(heads == head).tolist() for head in set(heads.tolist())]
    assert estimated_limit(problem.float_values(), groups) == pytest.approx(realised_limit(problem, groups), rel=1e-14)


@pytest.mark.parametrize("total", [0, 1, "3/2", 2, 3])
def test_water_filling_in_floats_is_the_exact_one(total):
    weights, costs = [Rational(3), Rational(1, 2), Rational(2)], [Rational(1, 3), Rational(2), Rational(1, 10)]
    exact = water_filling(weights, costs, Rational(total))
    floats = water_filling([float(a) for a in weights], [float(c) for c in costs], float(Rational(total)), _FLOATS)
    assert floats.minimum == pytest.approx(float(exact.minimum), rel=1e-14)
    assert floats.shares == pytest.approx([float(share) for share in exact.shares], abs=1e-14)
    assert (floats.empty, floats.partial, floats.full) == (exact.empty, exact.partial, exact.full)
