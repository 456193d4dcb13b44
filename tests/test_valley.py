"""Tests of the merged flow's valleys and of its start: theory against hand formulas and integrated trajectories."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from sympy import Rational, lambdify

from headflow import InitialState, Problem, integrate
from headflow.numerics.checks import valley as checks
from headflow.numerics.checks.finding import Setting
from headflow.numerics.predictions.merged_race import balance_threshold, race
from headflow.numerics.predictions.valley import valley_report
from headflow.numerics.predictions.valley_start import on_axes, valley_start
from headflow.numerics.trajectory.merged_end import merged_outcome
from headflow.theory.context.two_heads import pair_omega
from headflow.theory.errors import HypothesisError, InputError
from headflow.theory.merged.merged_start import merged_start
from headflow.theory.merged.pair_valley import pair_valley
from headflow.theory.merged.valley import pairs_valley, simplex_valley
from headflow.theory.merged.valley_order import highest_order, merged_valley_order

from .cases import REFERENCE
from .oracles.valley_formulas import pair_gap, triangle_coefficient
from .oracles.valley_formulas import pair_omega as hand_omega

UNEQUAL = Problem(dims=[6, 11], signal_power=[0.7, 1.6], noise_variance=0.2, context_length=70, n_heads=3)


def equal(tasks: int, heads: int, **changes: object) -> Problem:
    return REFERENCE.replace(dims=[10] * tasks, signal_power=[1] * tasks, n_heads=heads, **changes)


def random_start(problem: Problem, seed: int, scale: float = 0.03) -> InitialState:
    draw = np.random.default_rng(seed)
    shape = (problem.n_tasks, problem.n_heads)
    return InitialState(mu=scale * draw.standard_normal(shape), omega=scale * draw.standard_normal(shape))


@pytest.fixture(scope="module")
def paired() -> object:
    problem = equal(1, 2)
    return integrate(problem, random_start(problem, 0), "merged", t_final=1e8)


def test_exponents_and_classes() -> None:
    order = merged_valley_order()
    assert order.exponents(2).gap == Rational(-2, 3)
    assert order.exponents(2).omega == Rational(-1, 6)
    assert order.exponents(2).fastest == Rational(1, 3)
    assert order.exponents(1).gap == Rational(-1, 2)
    assert order.exponents(1).omega == Rational(-1, 4)
    assert order.exponents(1).fastest == Rational(1, 2)
    # The cases of the notes: pairs at I=1, H=2,3 and I=2, H=2,4; none at I=2, H=3 and I=H=3.
    assert [highest_order(*sizes) for sizes in ((1, 2), (1, 3), (2, 2), (2, 4), (2, 3), (3, 3))] == [2, 3, 2, 2, 1, 1]
    with pytest.raises(HypothesisError, match="H = 1"):
        highest_order(2, 1)


@pytest.mark.parametrize("t", [1e4, 1e9])
def test_pair_against_hand_formulas(t: float) -> None:
    problem = Problem(dims=[14], signal_power=[0.6], noise_variance=0.3, context_length=80, n_heads=2)
    numbers = (0.6, 1.5, 14, 80, t)
    assert pair_valley().omega.evaluate(problem, t) == pytest.approx(hand_omega(*numbers), rel=1e-12)
    for laws in (pair_valley().laws(), pairs_valley()):
        assert laws.gap.evaluate(problem, t) == pytest.approx(pair_gap(*numbers), rel=1e-12)
        assert laws.omega.evaluate(problem, t) == pytest.approx(math.sqrt(2) * hand_omega(*numbers), rel=1e-12)
    assert pair_valley().laws().fastest.evaluate(problem, t) == pytest.approx(
        pairs_valley().fastest.evaluate(problem, t), rel=1e-12
    )


@pytest.mark.parametrize("turn", [0.0, 0.4])
def test_simplex_against_explicit_triangle(turn: float) -> None:
    """gap = sqrt(G/(8 t)) for a gap G/rho^2 and unit learning rate; the triangle's orientation does not matter."""
    problem = Problem(dims=[12, 12], signal_power=[0.5, 0.5], noise_variance=0.2, context_length=90, n_heads=3)
    coefficient = triangle_coefficient(0.5, 1.4, 12, 90, turn)
    for t in (1e3, 1e8):
        assert simplex_valley().gap.evaluate(problem, t) == pytest.approx(math.sqrt(coefficient / (8 * t)), rel=1e-9)
        length = simplex_valley().mu.evaluate(problem, t)
        assert length == pytest.approx((8 * coefficient * t) ** 0.25, rel=1e-9)


def test_slow_flow_along_the_manifold(paired) -> None:
    """The time that the slow flow takes between two ω of the trajectory, by quadrature of 1/velocity."""
    values = {"lambda[1]": 1.0, "phi[1]": 1.1, "d[1]": 10.0, "L": 100.0}
    slow = pair_valley().slow_flow
    slow = slow.xreplace({atom: values[str(atom)] for atom in slow.free_symbols if str(atom) in values})
    slow = slow.xreplace({atom: values[str(atom)] for atom in slow.atoms() if str(atom) in values})
    velocity = lambdify(pair_omega, slow)
    early, late = (abs(float(paired.at(t).omega[0, 0])) for t in (1e3, 1e5))
    assert quad(lambda w: 1 / velocity(w), early, late)[0] == pytest.approx(99e3, rel=1e-3)


def test_report_of_a_pair(paired) -> None:
    report = valley_report(paired)
    assert report.outcome.kind == "pairs"
    assert not report.converged
    assert "not converged" in str(report)
    assert report.window[1] == pytest.approx(1e8)
    for law in report.laws:
        assert law.exponent == pytest.approx(law.predicted_exponent, rel=1e-3)
        assert law.constant == pytest.approx(law.predicted_constant, rel=1e-3)
    assert report.to_json()["laws"]["gap"]["predicted_constant"] == pytest.approx(
        pair_gap(1, 1.1, 10, 100, 1.0), rel=1e-12
    )


@pytest.mark.parametrize(("tasks", "heads"), [(2, 3), (3, 3), (2, 4), (1, 3)])
def test_constants_of_equal_tasks(tasks: int, heads: int) -> None:
    problem = equal(tasks, heads)
    report = valley_report(integrate(problem, random_start(problem, 0), "merged", t_final=1e8))
    assert report.outcome.kind == ("pairs" if heads >= 2 * tasks else "unpaired valley")
    for law in report.laws:
        assert law.exponent == pytest.approx(law.predicted_exponent, rel=0.005)
        assert law.constant == pytest.approx(law.predicted_constant, rel=0.005)


def test_unequal_tasks_have_the_constants_of_their_shape() -> None:
    report = valley_report(integrate(UNEQUAL, random_start(UNEQUAL, 1), "merged", t_final=1e7))
    assert report.outcome.order == 1
    for law in report.laws:
        assert law.exponent == pytest.approx(law.predicted_exponent, rel=0.02)
        assert law.constant == pytest.approx(law.predicted_constant, rel=0.02)
    with pytest.raises(HypothesisError, match="equal tasks"):
        simplex_valley().gap.evaluate(UNEQUAL, 1e6)


def test_outcomes() -> None:
    problem = equal(1, 2)
    alike = InitialState(mu=[[0.03, 0.02]], omega=[[0.03, 0.02]])
    run = integrate(problem, alike, "merged", t_final=1e3)
    outcome = merged_outcome(run)
    assert outcome.kind == "identical heads"
    assert outcome.groups == ((0, 1),)
    with pytest.raises(HypothesisError, match="in a valley"):
        valley_report(run)
    early = integrate(problem, random_start(problem, 0), "merged", t_final=1.0)
    assert merged_outcome(early).kind == "undecided"
    with pytest.raises(InputError, match="balanced"):
        merged_outcome(integrate(REFERENCE, InitialState.random(REFERENCE), t_final=1.0))


def test_counts_of_merged_heads() -> None:
    with pytest.raises(InputError, match="both sides"):
        pair_valley().laws(2, 0)
    problem = equal(1, 3)
    ratio = pair_valley().laws(2, 1).gap.evaluate(problem, 1e6) / pair_valley().laws().gap.evaluate(problem, 1e6)
    assert ratio == pytest.approx(0.75 ** (2 / 3), rel=1e-12)


def test_emergence_at_long_context() -> None:
    problem = equal(1, 3, context_length=10**7)
    start = random_start(problem, 4, scale=1e-3)
    told = merged_start().emergence_at(problem, 0, start.mu[0].tolist(), start.omega[0].tolist())
    run = integrate(problem, start, "merged", t_final=2 * told)
    assert run.loss_at(told) == pytest.approx(run.loss[0] / 2, rel=2e-3)
    with pytest.raises(InputError, match="one per head"):
        merged_start().emergence_at(problem, 0, [0.1], [0.1])
    with pytest.raises(InputError, match="never leaves zero"):
        merged_start().emergence_at(problem, 0, [0.0] * 3, [0.0] * 3)


def test_balance_is_kept_by_small_weights() -> None:
    problem = equal(1, 3)
    start = random_start(problem, 2, scale=1e-6)
    run = integrate(problem, start, "merged", t_final=8.0, rtol=1e-10)
    first, last = (
        merged_start().balance_of(problem, 0, state.mu[0].tolist(), state.omega[0].tolist())
        for state in (run.at(4.0), run.at(8.0))
    )
    falling = math.exp(-2 * 2 / math.sqrt(10) * 4.0)
    assert last == pytest.approx(first, rel=falling)
    grown = [
        merged_start().amplitudes(problem, 0, s.mu[0].tolist(), s.omega[0].tolist()) for s in (run.at(0), run.at(8.0))
    ]
    assert grown[1][0] / grown[0][0] == pytest.approx(math.exp(2 / math.sqrt(10) * 8.0), rel=1e-6)


@pytest.mark.slow
def test_threshold_sorts_all_scales() -> None:
    problem = equal(1, 2)
    low, high = balance_threshold(problem)
    for scale in (1e-3, 1e-5):
        for seed in range(10):
            start = random_start(problem, seed, scale)
            balance = merged_start().balance_of(problem, 0, start.mu[0].tolist(), start.omega[0].tolist())
            if low < balance < high:
                continue
            assert (race(problem, start).kind == "identical heads") == (balance > low)


@pytest.mark.slow
@pytest.mark.parametrize(("heads", "least", "most"), [(2, 10, 20), (3, 0, 4)])
def test_how_many_starts_end_identical(heads: int, least: int, most: int) -> None:
    """The notes counted 15 of 40 at H = 2 and 1 of 40 at H = 3, with starts of their own."""
    problem = equal(1, heads)
    found = sum(race(problem, random_start(problem, seed)).kind == "identical heads" for seed in range(40))
    assert least <= found <= most


@pytest.mark.slow
@pytest.mark.parametrize("name", ["order", "pairs", "simplex", "one_task", "start", "emergence"])
def test_checks_hold_elsewhere(name: str) -> None:
    finding = getattr(checks, name)(Setting(UNEQUAL, 3, True))
    assert finding.measured + finding.error < finding.bound


THREE_PLACES = InitialState(
    mu=[[-0.9384384384384385, -5.067567567567567, 6.006006006006006]], omega=[[0.24, -0.08, 0.12]]
)


def test_a_valley_of_order_three() -> None:
    """Three heads whose places cancel two Taylor terms: the gap falls like t^(−3/4), not t^(−2/3)."""
    problem = equal(1, 3)
    run = integrate(problem, THREE_PLACES, "merged", t_final=1e10)
    report = valley_report(run)
    assert (report.outcome.kind, report.outcome.order) == ("unpaired valley", 3)
    laws = {law.quantity: law for law in report.laws}
    assert laws["gap"].predicted_exponent == -0.75
    assert laws["omega"].predicted_exponent == -0.125
    for law in report.laws:
        assert law.exponent == pytest.approx(law.predicted_exponent, abs=1e-3)
        assert law.constant == pytest.approx(law.predicted_constant, rel=1e-3)
    # By hand: the gap itself, in units of t^(−3/4).
    c = 0.11
    gap = run.loss_at(1e10) - c / (1 + c)
    assert gap * 1e10**0.75 == pytest.approx(laws["gap"].predicted_constant, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("n_heads", "order"), [(3, 2), (3, 3), (4, 2), (4, 3), (4, 4), (5, 3)])
def test_every_order_of_one_task(n_heads: int, order: int) -> None:
    """Started near the shape at rest of an order, a run keeps it and follows its laws."""
    problem = equal(1, n_heads)
    points, weights = on_axes(1, n_heads, order, np.random.default_rng(0))
    run = integrate(problem, valley_start(problem, points, 1.2, weights), "merged", t_final=1e9)
    report = valley_report(run)
    assert report.outcome.order == order
    gap = report.laws[0]
    assert gap.predicted_exponent == pytest.approx(-order / (order + 1))
    assert gap.exponent == pytest.approx(gap.predicted_exponent, abs=0.01)
    assert gap.constant == pytest.approx(gap.predicted_constant, rel=0.03)


@pytest.mark.parametrize(
    ("check", "tasks", "heads"),
    [(checks.pairs, 3, 6), (checks.simplex, 3, 4), (checks.one_task, 1, 4), (checks.pairs, 2, 3)],
)
def test_a_check_uses_the_problem_where_it_meets_the_hypotheses(check, tasks, heads):
    problem = Problem(dims=[7] * tasks, signal_power=[2] * tasks, noise_variance=0.2, context_length=60, n_heads=heads)
    finding = check(Setting(problem, 0, True))
    assert finding.holds
    assert (finding.problem == (problem,)) == (heads != 3)
