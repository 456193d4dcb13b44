"""The Bayes risk at finite d and L: its interval holds what independent integrals and sampled contexts give."""

from __future__ import annotations

import math
from fractions import Fraction
from importlib.util import find_spec
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headflow import Problem
from headflow.numerics import bayes_risk
from headflow.numerics.certificates.resolvent import enclosures, mean_trace
from headflow.theory.optima import bayes, marchenko_pastur, wishart
from headflow.theory.optima.bayes_bounds import trace_bounds
from oracles import hand_formulas, monte_carlo
from oracles import wishart as oracle

NARROW = 1e-11
ARITHMETICS = ("arb", "mpmath") if find_spec("flint") else ("mpmath",)


def one_task(d: int, length: int, noise: float | str = 0.1, power: float = 1) -> Problem:
    return Problem(dims=[d], signal_power=[power], noise_variance=noise, context_length=length, n_heads=1)


@pytest.mark.parametrize(("d", "length", "known"), [(1, 4, 0.0434), (1, 2, 0.1297), (10, 100, 0.011095)])
def test_listed_values(d, length, known):
    found = bayes_risk(one_task(d, length))
    assert found.value == pytest.approx(known, abs=1.5e-4 if d == 1 else 1.5e-6)
    assert found.lower <= found.value <= found.upper
    assert found.upper - found.lower < NARROW * found.value


def test_the_proportional_limit_lies_outside():
    for d, length in ((1, 4), (1, 2), (10, 100)):
        found = bayes_risk(one_task(d, length))
        limit = marchenko_pastur.bayes_limit().evaluate(one_task(d, length))
        assert not found.lower <= limit <= found.upper


shifts = st.fractions(min_value=Fraction(1, 10**4), max_value=10**3, max_denominator=10**4)


@settings(max_examples=12)
@given(st.integers(1, 300), shifts)
@example(1, Fraction(1, 10**6))
def test_one_dimension(n, s):
    low, high = mean_trace(1, n, s)
    exact = oracle.one_eigenvalue(n, float(s))
    assert float(low) * (1 - 1e-9) <= exact <= float(high) * (1 + 1e-9)


@pytest.mark.slow
@settings(max_examples=8)
@given(st.integers(2, 60), shifts)
@example(2, Fraction(1, 1000))
@example(3, Fraction(20))
def test_two_dimensions(n, s):
    low, high = mean_trace(2, n, s)
    exact = oracle.two_eigenvalues(n, float(s))
    assert float(low) * (1 - 1e-8) <= exact <= float(high) * (1 + 1e-8)


@pytest.mark.slow
@settings(max_examples=10)
@given(st.integers(1, 9), st.integers(1, 25), st.sampled_from([0.01, 0.1, 1.0, 30.0]), st.sampled_from([0.2, 1.0, 5.0]))
@example(3, 3, 0.1, 1.0)
@example(5, 2, 0.1, 1.0)
@example(6, 7, 0.01, 1.0)
def test_sampled_contexts(d, length, noise, power):
    found = bayes_risk(one_task(d, length, noise, power))
    sampled = monte_carlo.ridge_risk(power, d, noise, length, 4000, seed=3)
    assert abs(sampled.mean - found.value) < 5 * sampled.error + 1e-12


@pytest.mark.slow
@settings(max_examples=8)
@given(st.integers(1, 40), st.integers(1, 40), shifts)
def test_more_examples_than_dimensions_or_fewer(p, n, s):
    """XᵀX and XXᵀ: d − L directions that no example shows."""
    low, high = mean_trace(p, n, s)
    other_low, other_high = mean_trace(n, p, s)
    assert low - Fraction(p - n) / s <= other_high
    assert other_low <= high - Fraction(p - n) / s


@pytest.mark.slow
@settings(max_examples=3)
@given(st.integers(2, 30), st.integers(2, 30), shifts)
def test_both_arithmetics_and_both_ways_meet(p, n, s):
    own = [ends for name in ARITHMETICS for ends in enclosures(p, n, s, name)]
    assert max(low for low, _ in own) <= min(high for _, high in own)


@pytest.mark.slow
def test_another_example_never_hurts():
    risks = [bayes_risk(one_task(4, length)) for length in (1, 2, 3, 4, 5, 8, 16)]
    assert all(after.upper < before.lower for before, after in pairwise(risks))


@pytest.mark.parametrize(
    ("d", "length", "noise"),
    [
        (1, 1, "1e-300"),
        (1, 10**9, "1e-3"),
        (2, 10**12, "0.001"),
        (10, 20, "1e300"),
        (10, 100, "1e-12"),
        (10**6, 100, "0.1"),
        (10**6, 10**7, "0.1"),
        (2**53, 2**53, "0.1"),
    ],
)
def test_extreme_numbers(d, length, noise):
    found = bayes_risk(one_task(d, length, noise))
    assert 0 <= found.lower <= found.value <= found.upper <= 1
    assert found.upper - found.lower <= 1e-9 * found.value


def test_without_noise_only_what_is_not_shown_is_lost():
    assert bayes_risk(one_task(4, 3, 0)).value == 0.25
    assert bayes_risk(one_task(3, 4, 0)).upper == 0.0


@pytest.mark.slow
def test_where_rows_are_too_many_the_interval_is_wide_and_true():
    found = bayes_risk(one_task(3, 4, "1e-300"))
    assert 0 < found.lower < found.upper < 1e-140


@pytest.mark.slow
def test_large_sizes_tend_to_the_limit():
    for ratio in (Fraction(1, 3), Fraction(1), Fraction(3)):
        gaps = []
        for d in (60, 600, 6000):
            problem = one_task(d, int(d / ratio))
            found = bayes_risk(problem)
            limit = hand_formulas.bayes_limit({"lam": (1,), "d": (d,), "sigma2": 0.1, "L": int(d / ratio)})
            gaps.append(found.value / limit - 1)
        assert all(after == pytest.approx(before / 10, rel=0.1) for before, after in pairwise(gaps))


def test_tasks_add_up():
    problem = Problem(dims=[3, 5], signal_power=[1, 2], noise_variance=0.3, context_length=7, n_heads=2)
    found = bayes_risk(problem)
    parts = [bayes_risk(one_task(3, 7, 0.3)), bayes_risk(one_task(5, 7, 0.3, 2))]
    assert found.value == pytest.approx(math.fsum(part.value for part in parts), rel=1e-14)
    assert found.tasks == tuple((part.lower, part.upper) for part in parts)


class TestMoments:
    """Those that the derivation is compared with."""

    def test_traces_of_powers(self):
        p, n = wishart.fewer, wishart.more
        assert wishart.moment(1) == (n * p).expand()
        assert wishart.moment(2) == (n * p * (n + p + 1)).expand()
        assert wishart.moment(3) == (n * p * (n**2 + p**2 + 3 * n * p + 3 * n + 3 * p + 4)).expand()
        assert wishart.moment(1, 1) == (n**2 * p**2 + 2 * n * p).expand()

    def test_every_checked_step_holds(self):
        assert trace_bounds().derivation.check().holds

    @pytest.mark.parametrize("label", ["weight", "means", "trace in ratios", "largest trace", "smallest trace"])
    def test_a_wrong_line_fails(self, label):
        step = trace_bounds().derivation[label]
        wrong = tuple(
            (line[0], line[1] * (1 + bayes.r) if bayes.r in line[1].free_symbols else 2 * line[1])
            if isinstance(line, tuple)
            else line.func(line.lhs * Fraction(101, 100).numerator, line.rhs * 100)
            for line in step.formula
        )
        assert step.holds()
        assert not step.with_formula(wrong).holds()
