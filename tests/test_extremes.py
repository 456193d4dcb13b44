"""Extreme sizes and scales: the right number or one sentence, never a hang, a warning or an error of another kind."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import replace

import mpmath
import numpy as np
import pytest
from sympy import N, Rational

import headflow as hf
from headflow.errors import HeadflowError
from headflow.numerics import CovariateProblem
from headflow.numerics.checks import CHECKS, Setting, dynamics
from headflow.numerics.checks.finding import carried_out
from headflow.numerics.optima.single_head import single_head_loss
from headflow.numerics.predictions.cascade import cascade
from headflow.numerics.predictions.valley_shape import _at_zero
from headflow.numerics.verification.verdict import judged
from headflow.theory import task_allocation_limit
from headflow.theory.indexed.large_power import LargePower, power
from headflow.theory.optima.marchenko_pastur import bayes_limit
from headflow.theory.statements import statement
from oracles.single_head_finite_d import single_head_finite_d


class TestLargePowers:
    @pytest.mark.parametrize(("base", "exponent"), [(Rational(3, 2), 5), (Rational(4, 9), Rational(1, 2)), (2, 100)])
    def test_small_powers_are_worked_out(self, base, exponent):
        assert power(Rational(base), Rational(exponent)) == Rational(base) ** Rational(exponent)

    @pytest.mark.parametrize("dim", [4001, 10**6, 10**9 + 1, 2**53 - 1, 2**53])
    def test_large_powers_have_every_digit_asked_for(self, dim):
        found = power(Rational(dim + 2, dim), Rational(dim + 2, 2))
        assert isinstance(found, LargePower)
        for digits in (15, 60):
            value = str(N(found, digits))  # at whatever precision mpmath happens to have
            with mpmath.workdps(digits + 40):
                right = (1 + mpmath.mpf(2) / dim) ** (mpmath.mpf(dim) / 2 + 1)
                assert abs(mpmath.mpf(value) / right - 1) < mpmath.mpf(10) ** (2 - digits)

    @pytest.mark.parametrize("dims", [(10**6, 10), (2**53, 2**53 - 1), (10**12 + 1, 1)])
    def test_limit_of_the_closure_finite_d(self, dims):
        problem = hf.Problem(dims=dims, signal_power=[1, 2], noise_variance=0.1, context_length=100, n_heads=2)
        right = mpmath.mpf(0)
        with mpmath.workdps(40):
            for dim, signal in zip(dims, (1, 2), strict=True):
                c = (1 + mpmath.mpf("0.1") / signal) * dim / 100
                kappa = (1 + mpmath.mpf(2) / dim) ** (mpmath.mpf(dim) / 2 + 1)
                right += signal * kappa * c / (1 + kappa * c)
            assert task_allocation_limit("finite_d").loss.evaluate(problem) == pytest.approx(float(right), rel=1e-15)


def _drawn(rng: np.random.Generator) -> hf.Problem:
    """Dimensions up to 1e7, noise up to 1e12, signal powers that differ by hundreds of decades or not at all."""
    n_tasks = int(rng.integers(2, 5))
    dims = np.round(10 ** rng.uniform(0, rng.choice([1.5, 4, 7]), n_tasks)).astype(int).tolist()
    far = 10.0 ** rng.choice([0, 0, 300, -300, 8, -8], n_tasks if rng.random() < 0.3 else 1)
    return hf.Problem(
        dims=dims,
        signal_power=[float(f"{x:.3g}") for x in 10 ** rng.uniform(-1, 1, n_tasks) * far],
        noise_variance=float(f"{10 ** rng.uniform(-2, rng.choice([1, 6, 12])):.3g}"),
        context_length=int(10 ** rng.uniform(0, 5)),
        n_heads=1,
    )


def _against_nested_roots(seeds: range) -> None:
    for seed in seeds:
        problem = _drawn(np.random.default_rng(seed))
        found = single_head_loss(problem, "finite_d")
        right = single_head_finite_d(
            problem.dims, list(map(float, problem.signal_power)), float(problem.noise_variance), problem.context_length
        )
        assert abs(float(found.value / right - 1)) < max(1e-11, 10 * found.error), problem


class TestOneHead:
    """A minimum that exists is found at every scale."""

    @pytest.mark.slow
    def test_against_nested_roots(self):
        _against_nested_roots(range(2))

    @pytest.mark.slow
    def test_many_against_nested_roots(self):
        _against_nested_roots(range(2, 8))


class TestCascade:
    """The truncated flow has no scale of its own: weights in other units, or powers, change the unit of time alone."""

    @pytest.mark.parametrize(
        ("scale", "unit"), [(1e-300, 1), (1e-160, 1), (1e-3, 10**300), (1e-3, Rational(1, 10**300))]
    )
    def test_any_scale(self, scale, unit):
        unit = hf.Problem([1], [str(unit)], 1, 1, 1).signal_power[0]
        powers, noise = [1, 2, 3], Rational(1, 10)
        problem = hf.Problem([10, 4, 7], powers, str(noise), 100, 3)
        same = problem.replace(signal_power=[x * unit for x in problem.signal_power], noise_variance=unit / 10)
        one = cascade(problem, hf.InitialState.random(problem, scale=1.0))
        other = cascade(same, hf.InitialState.random(same, scale=scale))
        assert other.winners == one.winners
        assert np.array(other.times) * scale * float(unit) == pytest.approx(one.times, rel=1e-8)

    @pytest.mark.parametrize("noise", [300, 3000, 1e5])
    def test_under_strong_noise_the_task_still_emerges_as_in_the_full_flow(self, noise):
        """Weights fall first, by a factor like c faster than they grow then."""
        problem = hf.Problem([3], [1], noise, 100, 2)
        start = hf.InitialState.random(problem, scale=1e-4, seed=3)
        found = cascade(problem, start)
        (time,) = found.times
        run = hf.integrate(problem, start, t_final=1.2 * time)
        assert run.allocation.heads == found.winners
        assert run.phases.emergence == pytest.approx(time, rel=1e-3)

    def test_powers_that_float64_cannot_hold_together(self):
        problem = hf.Problem([3, 3], [1e300, 1e-300], 0.1, 100, 2)
        with pytest.raises(hf.errors.InputError, match="more than float64 can hold beside each other"):
            cascade(problem, hf.InitialState.random(problem))


def test_that_weights_shrink_at_first_is_no_emergence():
    problem = hf.Problem([10], [1], 1e4, 100, 2)
    run = hf.integrate(problem, hf.InitialState.random(problem, scale=1e-2, seed=0), t_final=1e6)
    assert run.loss[0] > 1 > run.phases.limit
    assert run.loss_at(run.phases.emergence) == pytest.approx((1 + run.phases.limit) / 2)
    members = hf.ensemble(problem, [run.initial], t_final=1e6)
    assert members.emergence.values == pytest.approx([run.phases.emergence], rel=1e-3)


EXTREMES = {
    "many coordinates": ([10**6, 10], [1, 1], 0.1, 100, 2),
    "few and many under noise": ([2, 1000], [1, 1], 1e6, 100, 2),
    "one example under noise": ([10**6, 10, 2], [1, 1, 1], 1e12, 1, 3),
    "strong": ([10, 10], [1e300, 1e300], 0.1, 100, 2),
    "weak": ([10, 10], [1e-300, 1e-300], 0.1, 100, 2),
    "unequal": ([10, 10], [1, 1e-300], 0.1, 100, 2),
    "the largest dimension": ([2**53, 10], [1, 1], 0.1, 100, 2),
    "one of each": ([1], [1], 0.1, 1, 1),
}


@pytest.mark.parametrize("closure", ["leading", "finite_d"])
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in ("strong", "few and many under noise") else name
        for name in EXTREMES
    ],
)
def test_compare_gives_numbers_or_one_sentence(name, closure):
    dims, powers, noise, length, heads = EXTREMES[name]
    problem = hf.Problem(dims, powers, noise, length, heads)
    start = hf.InitialState.random(problem, scale=min(length**-0.75, 0.2 / math.sqrt(sum(dims))))
    run = None
    with suppress(HeadflowError):  # one sentence
        run = hf.integrate(problem, start, closure=closure, t_final=1e3)
    found = hf.compare(problem, run, closure)
    json.dumps(found.to_json(), allow_nan=False)
    assert str(found)
    entry = found.losses["single_head_optimum"]
    assert entry.applicable, entry.reason
    assert 0 < entry.value <= sum(map(float, problem.signal_power)) * (1 + 1e-12)


@pytest.mark.parametrize("scale", [1e-300, 1e-160])
def test_compare_from_tiny_starts(scale):
    """No float64 can tell times within an emergence at 1e160 apart; when it comes is predicted all the same."""
    problem = hf.Problem([10, 10], [1, 1], 0.1, 100, 2)
    run = hf.integrate(problem, hf.InitialState.random(problem, scale=scale), t_final=1e4)
    rows = {row.quantity: row for row in hf.compare(problem, run).predictions}
    one = cascade(problem, hf.InitialState.random(problem, scale=1.0))
    for task in (1, 2):
        assert rows[f"emergence of task {task}"].predicted == pytest.approx(one.times[task - 1] / scale, rel=1e-8)
        assert rows[f"emergence of task {task}"].measured is None


@pytest.mark.filterwarnings("ignore::headflow.errors.ValidityWarning")
@pytest.mark.parametrize(
    ("parametrisation", "closure"), [("merged", "first_order"), ("balanced", "finite_d"), ("split", "leading")]
)
def test_flows_without_noise(parametrisation, closure):
    """Nothing is singular at σ² = 0: runs, limits and comparisons are those of a noise of 1e-12, to its order."""
    none, little = (hf.Problem([10, 8], [1, 2], noise, 100, 2) for noise in (0, 1e-12))
    start = hf.InitialState.random(none, scale=0.1, jitter=0.5)
    runs = [hf.integrate(problem, start, parametrisation, closure=closure, t_final=100) for problem in (none, little)]
    assert runs[0].loss[-1] == pytest.approx(runs[1].loss[-1], rel=1e-6)
    pairs = zip(*(hf.compare(run.problem, run, closure).losses.items() for run in runs), strict=True)
    for (name, entry), (_, near) in pairs:
        if name != "flow" and entry.value:  # the Bayes risk is 0
            assert entry.value == pytest.approx(near.value, rel=1e-10), name
    json.dumps(hf.compare(none, runs[0], closure).to_json(), allow_nan=False)


def test_covariates_without_noise():
    problem = CovariateProblem([2, 1], [1, 1], noise_variance=0, context_length=20, n_heads=2)
    assert problem.noise_variance == 0


FAR = {
    "few and many under noise": ([1000, 2], [1, 1], 1e6, 100, 2),
    "one example under noise": ([10**6, 10, 2], [1, 1, 1], 1e12, 1, 3),
    "unequal": ([10, 10], ["1e-12", "1e12"], 0.1, 100, 2),
    "many coordinates": ([10**6, 10], [1, 1], 0.1, 100, 2),
    "few and many": ([1000, 2], [1, 1], 0.1, 100, 2),
    "noise": ([10] * 3, [1] * 3, 1000, 100, 3),
}


@pytest.mark.parametrize(
    "id", ["finite-d-allocation-limit", "separation-limit", "idle-head", "merged-at-zero", "task-allocation-limit"]
)
@pytest.mark.parametrize("name", FAR)
def test_what_is_true_is_not_refuted(id, name):
    problem = hf.Problem(*FAR[name])
    verdict = judged(statement(id), *carried_out(CHECKS[id], Setting(problem, 0, True)))
    assert verdict.verdict in ("holds", "inconclusive")
    assert verdict.verdict == "holds" or verdict.reason


@pytest.mark.slow
@pytest.mark.parametrize("id", ["who-wins", "late-law", "cascade", "merged-emergence"])
@pytest.mark.parametrize("name", ["few and many under noise", "noise"])
def test_what_is_true_of_trajectories_is_not_refuted(id, name):
    test_what_is_true_is_not_refuted(id, name)


@pytest.mark.parametrize("ratio", [1e-300, 1e-200, 1e-60, 1e60, 1e200, 1e300])
def test_closed_forms_are_right_however_much_cancels(ratio):
    """The proportional limit of the Bayes risk: of weak signals nothing is learnt, of strong ones what noise leaves."""
    problem = hf.Problem(dims=[10], signal_power=[ratio], noise_variance=1, context_length=100, n_heads=1)
    expected = ratio if ratio < 1 else 0.1 / 0.9  # λ, and σ² γ/(1 − γ)
    assert bayes_limit().evaluate(problem) == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{"signal_power": ["1e-200"] * 3}, {"signal_power": ["1e200"] * 3}, {"noise_variance": "1e200"}],
    ids=["weak", "strong", "noisy"],
)
def test_signals_and_noise_of_any_size_refute_nothing(changes):
    """Residuals are shares of what they are left of, gaps are exact, and what rounding hides is no refutation."""
    problem = hf.Problem([10, 10, 5], [1, 2, 0.5], 0.1, 100, 4).replace(**changes)
    exact = ["first-order-allocation-limit", "universal-bound-reached", "idle-head", "shared-head", "split-task"]
    for name in (*exact, "bayes-limit", "merged-at-zero", "who-wins"):
        verdict = judged(statement(name), *carried_out(CHECKS[name], Setting(problem, seed=0, quick=True)))
        by_floats = name in ("merged-at-zero", "who-wins")
        assert verdict.verdict in ("holds", "inconclusive")[: 1 + by_floats], verdict


def test_an_exponent_that_is_hardly_determined_refutes_no_late_law(monkeypatch):
    fit = dynamics.power_law

    def vague(*args, **kwargs):
        return replace(fit(*args, **kwargs), exponent=-0.48, exponent_error=1.0)

    monkeypatch.setattr(dynamics, "power_law", vague)
    setting = Setting(hf.Problem([10, 10], [1, 2], 0.1, 100, 2), 0, True)
    verdict = judged(statement("late-law"), *carried_out(dynamics.late_law, setting))
    assert verdict.verdict == "inconclusive"
    assert "exponent" in verdict.reason


@pytest.mark.parametrize(
    ("id", "dims", "length"),
    [
        ("mu-elimination", [10, 10], 2**53),
        ("split-limit-saddle", [10, 10], 2**53),
        ("first-order-loss", [2**53, 5], 100),
        *(("linear-merged-drop", [10, 10], 2**power) for power in range(43, 54)),
    ],
)
def test_what_rounding_hides_at_the_largest_sizes_is_no_refutation(id, dims, length):
    problem = hf.Problem(dims, [1, 1], 0.1, length, 2)
    verdict = judged(statement(id), *carried_out(CHECKS[id], Setting(problem, 0, True)))
    assert verdict.verdict in ("holds", "inconclusive")


def test_signals_of_any_size_do_not_refute_emergence_of_the_merged_flow():
    problem = hf.Problem([10, 10], ["1e200", "1e200"], 0.1, 100, 2)
    verdict = judged(statement("merged-emergence"), *carried_out(CHECKS["merged-emergence"], Setting(problem, 0, True)))
    assert verdict.verdict in ("holds", "inconclusive")


def test_products_at_times_that_do_not_differ_leave_a_constant_undecided(recwarn):
    assert _at_zero(np.full(6, 0.5), np.ones(6)) is None
    assert not recwarn.list
    small = np.linspace(0.01, 0.1, 6)
    assert _at_zero(small, 2 + 1e-3 * small) == pytest.approx(2)


@pytest.mark.parametrize("id", ["linear-merged-drop", "linear-cascade", "linear-staircase", "linear-drop-times"])
def test_starts_are_small_beside_weights_that_strong_noise_keeps_small(id):
    problem = hf.Problem([24698, 82055], [1.34, 0.108], 5.34e5, 6, 5)
    verdict = judged(statement(id), *carried_out(CHECKS[id], Setting(problem, 0, True)))
    assert verdict.verdict == "holds"
