"""The optimum theorem, limits and bounds: derived expressions, exact numbers, hypotheses, independent oracles."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sympy import E, Integer, N, Rational, eye, simplify, sympify

from headflow import Problem
from headflow.errors import HypothesisError, InputError
from headflow.theory import (
    bayes_limit,
    eliminate_mu,
    factor_e,
    multi_head_optimum,
    separation,
    single_head_optimum,
    task_allocation_limit,
    to_latex,
    universal_lower_bound,
)
from headflow.theory.optima.approaching_weights import projector_frame
from headflow.theory.optima.optimum_proof import optimum_proof
from headflow.theory.optima.water_filling import water_filling
from oracles import hand_formulas as hand

REFERENCE = Problem(dims=[10, 10, 10], signal_power=[1, 1, 1], noise_variance=0.1, context_length=100, n_heads=3)
# THEORY §4: c = (.44/3, .315, .8/9) and (.65, 1.25, 2.2, .48).
THREE = Problem(dims=[4, 9, 2], signal_power=[1, 2, 0.3], noise_variance=0.1, context_length=30, n_heads=2)
FOUR = Problem(dims=[5, 5, 20, 3], signal_power=[1, 0.2, 3, 0.5], noise_variance=0.3, context_length=10, n_heads=2)


def as_oracle(problem: Problem) -> dict:
    return {
        "lam": np.array([float(power) for power in problem.signal_power]),
        "d": np.array(problem.dims, dtype=float),
        "sigma2": float(problem.noise_variance),
        "L": float(problem.context_length),
    }


@st.composite
def problems(draw, most_tasks=5, enough_heads=False):
    count = draw(st.integers(1, most_tasks))
    number = st.fractions(Fraction(1, 100), 20, max_denominator=100)
    return Problem(
        dims=draw(st.lists(st.integers(1, 40), min_size=count, max_size=count)),
        signal_power=draw(st.lists(number, min_size=count, max_size=count)),
        noise_variance=draw(number),
        context_length=draw(st.integers(1, 2000)),
        n_heads=draw(st.integers(count if enough_heads else 1, count + 3)),
    )


class TestReferenceCase:
    def test_limit(self):
        limit = task_allocation_limit()
        assert simplify(limit.loss.exact(REFERENCE) - 33 * E / (100 + 11 * E)) == 0
        # The correctly rounded value; 0.6905507363762284 is the next float.
        assert limit.loss.evaluate(REFERENCE) == pytest.approx(0.6905507363762284, rel=2**-52)

    def test_bounds(self):
        assert universal_lower_bound().exact(REFERENCE) == Rational(33, 111)
        assert universal_lower_bound().evaluate(REFERENCE) == pytest.approx(0.29729729729729726, rel=2**-52)
        assert single_head_optimum().evaluate(REFERENCE) == pytest.approx(1.41858, abs=5e-6)
        assert multi_head_optimum().evaluate(REFERENCE) == pytest.approx(0.42489, abs=5e-6)

    def test_separation(self):
        assert separation().limit.exact(REFERENCE) == 3
        assert separation().evaluate(REFERENCE) == pytest.approx(hand.separation_ratio(as_oracle(REFERENCE)))


@pytest.mark.parametrize(
    ("problem", "n_heads", "value"),
    [(THREE, 2, 1.1580289), (THREE, 3, 0.7206072), (FOUR, 2, 3.6502404), (FOUR, 3, 3.0512027)],
)
def test_heterogeneous_optima(problem, n_heads, value):
    assert multi_head_optimum().evaluate(problem, n_heads) == pytest.approx(value, abs=5e-8)


def test_optimum_may_drop_a_task():
    assert multi_head_optimum().solve(FOUR).empty == (1,)
    one = Problem(dims=[5, 10, 20], signal_power=[4, 1, 0.1], noise_variance=0.1, context_length=100, n_heads=1)
    solution = multi_head_optimum().solve(one)
    assert solution.empty == (2,)
    assert float(N(solution.minimum, 20)) == pytest.approx(1.2629161042, abs=5e-11)
    assert single_head_optimum().evaluate(one) == pytest.approx(1.2629161042, abs=5e-11)


@given(problems())
def test_optimum_equals_bisection(problem):
    value = multi_head_optimum().evaluate(problem)
    assert value == pytest.approx(hand.multi_head_optimum(as_oracle(problem), problem.n_heads), rel=1e-9)


@given(problems(enough_heads=True))
def test_bound_optimum_limit_single_head_in_order(problem):
    bound = universal_lower_bound().evaluate(problem)
    best = multi_head_optimum().evaluate(problem)
    limit = task_allocation_limit().loss.evaluate(problem)
    one = single_head_optimum().evaluate(problem)
    slack = 1 + 1e-15
    assert bound <= best * slack
    assert best <= limit * slack
    assert limit <= one * slack
    assert limit < math.e * bound
    if problem.n_tasks >= 2:
        assert limit < one
    if problem.n_heads > problem.n_tasks:
        assert best == bound


@given(problems(enough_heads=True))
def test_limit_and_bayes_equal_hand_formulas(problem):
    values = as_oracle(problem)
    expected = hand.task_allocation_limit(values).loss
    assert task_allocation_limit().loss.evaluate(problem) == pytest.approx(expected, rel=1e-12)
    assert universal_lower_bound().evaluate(problem) == pytest.approx(hand.universal_bound(values), rel=1e-12)
    # The hand formula in floats cancels where γ and z are small.
    assert bayes_limit().evaluate(problem) == pytest.approx(hand.bayes_limit(values), rel=1e-6)


@given(problems(most_tasks=4))
def test_shares_are_feasible_and_meet_the_budget(problem):
    solution = multi_head_optimum().solve(problem)
    shares = [float(N(share, 30)) for share in solution.shares]
    budget = 1 / math.e if problem.n_heads == 1 else problem.n_heads - 1
    assert all(0 <= share <= 1 for share in shares)
    assert sum(shares) == pytest.approx(min(budget, problem.n_tasks))
    assert sorted((*solution.empty, *solution.partial, *solution.full)) == list(range(problem.n_tasks))


def test_water_filling_when_the_budget_is_exactly_some_full_tasks():
    # Task 0 is full before task 1 enters: with R = 1 the level lies anywhere between.
    solution = water_filling([Integer(100), Rational(1, 100)], [Integer(1), Integer(1)], Integer(1))
    assert solution.shares == (1, 0)
    assert solution.minimum == 50 + Rational(1, 100)


def test_formulas_print_like_the_paper():
    limit = task_allocation_limit()
    assert to_latex(limit.omega.expression) == r"\frac{1}{\sqrt{d_i}}"
    assert "1 + e c_i" in limit.mu.latex()
    assert r"\sqrt{\lambda_i \varphi_i d_i}" in single_head_optimum().latex()
    assert factor_e().derivation["factor e"]


class TestProofs:
    @pytest.mark.parametrize(
        "derivation",
        [
            optimum_proof,
            lambda: eliminate_mu().derivation,
            lambda: factor_e().derivation,
            lambda: separation().derivation,
        ],
    )
    def test_every_check_passes(self, derivation):
        report = derivation().check()
        assert report.passed
        assert not report.failed

    @pytest.mark.parametrize(
        "shares",
        [
            (1, 1),
            (Rational(1, 2), Rational(3, 4), Rational(3, 4)),
            (Rational(1, 3),) * 3,
            (0, 1, Rational(2, 5), Rational(3, 5)),
        ],
    )
    def test_projector_frame(self, shares):
        frame = projector_frame(tuple(map(sympify, shares)))
        assert simplify(frame.T * frame) == eye(frame.cols)
        assert [simplify(frame.row(row).dot(frame.row(row))) for row in range(frame.rows)] == list(shares)

    def test_projector_frame_needs_an_integer_sum(self):
        with pytest.raises(ValueError, match="integer sum"):
            projector_frame((Rational(1, 2), Rational(1, 4)))


class TestHypotheses:
    def test_allocation_limit_needs_enough_heads(self):
        with pytest.raises(HypothesisError, match=r"at least as many heads as tasks \(H ≥ I\); got H = 2, I = 3"):
            task_allocation_limit().loss.evaluate(REFERENCE.replace(n_heads=2))

    def test_a_head_is_needed(self):
        with pytest.raises(InputError, match="at least 1, got 0"):
            multi_head_optimum().evaluate(REFERENCE, n_heads=0)
