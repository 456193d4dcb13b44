"""Linear attention, zero-sum pair, context length, Hermite targets, regimes: derived, compared, refuted if wrong."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sympy import Float, N, Rational, S

from cases import REFERENCE, oracle
from headflow import Problem
from headflow.errors import HypothesisError, InputError
from headflow.numerics.checks import Setting, context
from headflow.theory.context import (
    context_length,
    hermite,
    linear_attention,
    linear_optimum,
    two_heads,
)
from headflow.theory.context import regimes as regimes_module
from headflow.theory.context.context_length import context_shift
from headflow.theory.context.hermite import hermite_transfer
from headflow.theory.context.linear_attention import linear_attention_loss
from headflow.theory.context.linear_optimum import linear_attention_optimum
from headflow.theory.context.regimes import softmax_regimes
from headflow.theory.context.two_heads import zero_sum_pair
from headflow.theory.gaussian import moment_generating_function
from headflow.theory.indexed import unroll
from headflow.theory.model.loss import population_loss
from headflow.theory.optima.limits import task_allocation_limit
from headflow.theory.optima.optimum import multi_head_optimum
from headflow.theory.parameters import PARAMETERS
from headflow.theory.statements.context import CONTEXT_BUILDERS
from oracles import context_formulas as hand

SINGLE = Problem(dims=[10], signal_power=[1], noise_variance=0.1, context_length=100, n_heads=2)
MIXED = Problem(dims=[4, 9, 2], signal_power=[1, 2, 0.3], noise_variance=0.1, context_length=30, n_heads=2)


@st.composite
def problems(draw, most_tasks=4, tasks=None, enough_heads=False):
    count = tasks or draw(st.integers(1, most_tasks))
    number = st.fractions(Fraction(1, 100), 20, max_denominator=100)
    return Problem(
        dims=draw(st.lists(st.integers(1, 40), min_size=count, max_size=count)),
        signal_power=draw(st.lists(number, min_size=count, max_size=count)),
        noise_variance=draw(number),
        context_length=draw(st.integers(1, 2000)),
        n_heads=draw(st.integers(count if enough_heads else 1, count + 2)),
    )


class TestLinearAttention:
    @given(problems(most_tasks=3), st.integers(0, 1000))
    def test_loss_equals_the_hand_formula(self, problem, seed):
        mu, omega = np.random.default_rng(seed).normal(size=(2, problem.n_tasks, problem.n_heads))
        values = {**problem.exact_values(), "mu": mu.tolist(), "omega": omega.tolist()}
        loss = linear_attention_loss()
        found = float(N(unroll(loss.expression, values, (*PARAMETERS, *loss.definitions))))
        assert found == pytest.approx(hand.linear_loss(mu, omega, oracle(problem)), rel=1e-10)

    def test_loss_is_exact_at_tiny_sizes(self):
        # Everything is drawn, regressors and noise too; L = 3, d = 2: no expansion would do.
        rng = np.random.default_rng(5)
        samples, length, dim, noise, gain = 400_000, 3, 2, 0.4, 0.6
        x = rng.standard_normal((samples, length, dim))
        query = rng.standard_normal((samples, dim))
        beta = rng.standard_normal((samples, dim)) / math.sqrt(dim)
        y = np.einsum("nld,nd->nl", x, beta) + math.sqrt(noise) * rng.standard_normal((samples, length))
        output = gain * np.einsum("nl,nld,nd->n", y, x, query) / length
        squared = (output - (beta * query).sum(axis=1)) ** 2
        problem = Problem(dims=[2], signal_power=[1], noise_variance=0.4, context_length=3, n_heads=1)
        predicted = hand.linear_loss(np.array([[gain]]), np.array([[1.0]]), oracle(problem))
        assert abs(squared.mean() - predicted) < 4 * squared.std() / math.sqrt(samples)
        assert squared.std() / math.sqrt(samples) < 0.01 * predicted

    @given(problems(tasks=1))
    def test_single_task(self, problem):
        expected = hand.linear_single_task(oracle(problem))
        assert linear_attention_optimum().evaluate(problem) == pytest.approx(expected, rel=1e-12)
        assert linear_attention_optimum().enough_heads.evaluate(problem) == pytest.approx(expected, rel=1e-12)

    @pytest.mark.parametrize("heads", [1, 2, 3, 4])
    def test_equal_tasks(self, heads):
        leading = linear_attention_optimum().homogeneous
        values = {"I": S(3), "H": S(heads), "lambda": S(1), "c": Rational(11, 100)}
        found = leading.subs({symbol: values[symbol.name] for symbol in leading.free_symbols})
        assert float(found) == pytest.approx(hand.linear_homogeneous(1.0, 0.11, 3, heads), rel=1e-14)
        # One softmax head more.
        assert float(found) == pytest.approx(multi_head_optimum().evaluate(REFERENCE, heads + 1), rel=1e-14)

    @given(problems(), st.integers(1, 4))
    def test_normalisation_costs_one_head(self, problem, heads):
        scale = 10**9
        long = problem.replace(
            dims=[dim * scale for dim in problem.dims], context_length=problem.context_length * scale
        )
        found = linear_attention_optimum().evaluate(long, heads)
        assert found == pytest.approx(multi_head_optimum().evaluate(problem, heads + 1), rel=1e-6)
        assert found == pytest.approx(hand.linear_optimum_leading(oracle(problem), heads), rel=1e-6)

    def test_enough_heads_is_required(self):
        with pytest.raises(HypothesisError, match="H = 2, I = 3"):
            linear_attention_optimum().enough_heads.evaluate(MIXED)


class TestZeroSumPair:
    @given(problems(tasks=1), st.fractions(Fraction(1, 100), 1))
    def test_profile(self, problem, scaled):
        omega = Rational(scaled.numerator, scaled.denominator) / problem.dims[0]
        expected = hand.zero_sum_profile(float(omega), oracle(problem))
        assert zero_sum_pair().evaluate(problem, omega) == pytest.approx(expected, rel=1e-7)

    def test_infimum_at_zero(self):
        assert zero_sum_pair().evaluate(SINGLE, 0) == pytest.approx(0.11 / 1.11, rel=1e-15)
        assert zero_sum_pair().evaluate(SINGLE, Rational(1, 10**6)) == pytest.approx(0.11 / 1.11, rel=1e-9)
        assert zero_sum_pair().evaluate(SINGLE, Rational(1, 10)) > 0.11 / 1.11

    def test_predictor_is_debiased_gradient_descent(self):
        rng = np.random.default_rng(1)
        x, y, query = rng.normal(size=(6, 10)), rng.normal(size=6), rng.normal(size=10)
        values = {**SINGLE.exact_values(), "L": 6, "s": (x @ query).tolist(), "y": y.tolist()}
        found = float(N(unroll(zero_sum_pair().predictor, values, PARAMETERS)))
        assert found == pytest.approx(hand.debiased_gradient_descent(x, y, query, 11 / 6), rel=1e-12)

    def test_one_task_is_required(self):
        with pytest.raises(HypothesisError, match="I = 3"):
            zero_sum_pair().evaluate(REFERENCE, 0)


class TestContextShift:
    @given(problems(enough_heads=True), st.integers(1, 10**6))
    def test_loss(self, problem, used):
        expected = hand.shifted_loss(oracle(problem), used)
        assert context_shift().evaluate(problem, used) == pytest.approx(expected, rel=1e-11)

    @pytest.mark.slow
    @given(problems(enough_heads=True))
    def test_own_length_is_the_limit(self, problem):
        shifted = context_shift().exact(problem, problem.context_length)
        assert abs(N(shifted / task_allocation_limit().loss.exact(problem) - 1, 40)) < Float(10) ** -35

    @given(problems(enough_heads=True), st.integers(1, 10**5))
    def test_never_better_than_trained_there(self, problem, used):
        trained = task_allocation_limit().loss.evaluate(problem.replace(context_length=used))
        assert context_shift().evaluate(problem, used) >= trained * (1 - 1e-14)

    def test_hypotheses(self):
        with pytest.raises(HypothesisError, match="H = 2, I = 3"):
            context_shift().evaluate(MIXED, 10)
        with pytest.raises(InputError, match="at least 1"):
            context_shift().evaluate(REFERENCE, 0)


class TestHermite:
    @pytest.mark.parametrize("degree", range(1, 9))
    def test_loss(self, degree):
        transfer = hermite_transfer()
        for strength in (Rational(-1, 3), Rational(0), Rational(2, 7)):
            expected = hand.hermite_loss(degree, float(strength))
            assert float(transfer.at(degree, strength)) == pytest.approx(expected, rel=1e-13)
        assert float(transfer.least_at(degree)) == pytest.approx(hand.hermite_least(degree), abs=1e-15)

    def test_first_degrees(self):
        assert [hermite_transfer().least_at(degree) for degree in (1, 2, 3)] == [0, Rational(1, 3), Rational(3, 5)]

    @pytest.mark.parametrize(("degree", "signs"), [(2, (1, 1)), (2, (1, -1)), (3, (1, -1))])
    def test_real_softmax_heads(self, degree, signs):
        # One coordinate, two heads at ω = ±.4 with μ = signs: S_k from the weights, a long context.
        rng = np.random.default_rng(degree)
        samples, length, omega, mu = 4000, 4000, 0.4, 0.8
        squared, scale = np.empty(samples), math.sqrt(math.factorial(degree))
        coefficients = np.eye(degree + 1)[degree]
        for place in range(samples):
            x, query = rng.standard_normal(length), rng.standard_normal()
            y = np.polynomial.hermite_e.hermeval(x, coefficients)
            output = 0.0
            for head, sign in zip((omega, -omega), signs, strict=True):
                weights = np.exp(head * query * x)
                output += mu * sign * (weights @ y) / weights.sum()
            squared[place] = ((output - np.polynomial.hermite_e.hermeval(query, coefficients)) / scale) ** 2
        strength = mu * sum(sign * head**degree for head, sign in zip((omega, -omega), signs, strict=True))
        error = 4 * squared.std() / math.sqrt(samples)
        assert abs(squared.mean() - hand.hermite_loss(degree, strength)) < error + 20 / length

    def test_degree_must_be_positive(self):
        with pytest.raises(InputError, match="at least 1"):
            hermite_transfer().least_at(0)


class TestRegimes:
    @pytest.mark.parametrize("ratio", [Rational(1, 10), Rational(1, 2), Rational(3, 5), Rational(1), Rational(2), S(5)])
    def test_exponents(self, ratio):
        found = softmax_regimes()
        assert float(found.typical_at(ratio)) == pytest.approx(hand.typical_exponent(float(ratio)), abs=1e-14)
        assert float(found.expected_at(ratio)) == pytest.approx(hand.expected_exponent(float(ratio)), abs=1e-14)
        assert found.expected_at(ratio) >= found.typical_at(ratio)

    def test_edges(self):
        found = softmax_regimes()
        assert (found.typical_edge, found.expected_edge, found.condensation) == (Rational(1, 2), Rational(2, 3), 2)

    def test_ratio_must_be_positive(self):
        with pytest.raises(InputError, match="positive"):
            softmax_regimes().typical_at(S(0))


@pytest.mark.parametrize("build", CONTEXT_BUILDERS.values(), ids=CONTEXT_BUILDERS)
def test_no_step_of_a_proof_fails(build):
    entry = build()
    report = entry.derivation.check()
    assert report.passed
    assert not report.failed
    assert r"\begin{theorem}" in entry.latex()
    assert "<math" in entry.html()
    assert entry.id in entry.text()


class TestDerivationsDependOnTheirSteps:
    """A changed step is noticed by a check further down the chain."""

    def failed(self, derive):
        return derive.__wrapped__().derivation.check().failed

    def doubled_order(self, tilt, order, *rest):
        return moment_generating_function(tilt, 2 * order, *rest)

    def test_linear_attention(self, monkeypatch):
        monkeypatch.setattr(linear_attention, "moment_generating_function", self.doubled_order)
        assert "linear loss" in self.failed(linear_attention_loss)

    def test_linear_optimum(self, monkeypatch):
        right = linear_attention_loss()
        wrong = dataclasses.replace(right, task=right.task * 2)
        monkeypatch.setattr(linear_optimum, "linear_attention_loss", lambda: wrong)
        assert "linear loss without mu" in self.failed(linear_attention_optimum)

    @pytest.mark.parametrize(
        ("module", "derive", "label"),
        [(two_heads, zero_sum_pair, "loss of a zero-sum pair"), (context_length, context_shift, "shifted loss")],
    )
    def test_population_loss(self, monkeypatch, module, derive, label):
        right = population_loss()
        wrong = dataclasses.replace(right, expression=right.expression * 2)
        monkeypatch.setattr(module, "population_loss", lambda: wrong)
        assert label in self.failed(derive)

    def test_hermite(self, monkeypatch):
        monkeypatch.setattr(hermite, "moment_generating_function", self.doubled_order)
        assert "tilted Hermite polynomial" in self.failed(hermite_transfer)

    @pytest.mark.slow
    def test_regimes(self, monkeypatch):
        def wrong(record):
            numbers, largest = levels(record)
            return 2 * numbers - 1, largest

        levels = regimes_module._levels
        monkeypatch.setattr(regimes_module, "_levels", wrong)
        assert "expected sum of squares" in self.failed(softmax_regimes)


CONTEXT_CHECKS = (
    context.linear_loss,
    context.linear_optimum,
    context.normalisation_costs_a_head,
    context.zero_sum_profile,
    context.debiased_predictor,
    context.shifted_context,
    context.hermite_targets,
    context.regimes,
)


def holds(check, problem=REFERENCE):
    return all(finding.bound - finding.measured > finding.error for finding in _findings(check, problem))


def fails(check, problem=REFERENCE):
    return any(finding.measured - finding.bound > finding.error for finding in _findings(check, problem))


def _findings(check, problem):
    found = check(Setting(problem, seed=0, quick=True))
    return found if isinstance(found, tuple) else (found,)


@pytest.mark.parametrize("check", CONTEXT_CHECKS, ids=lambda check: check.__name__)
def test_checks_hold(check):
    assert holds(check)


@pytest.mark.parametrize("problem", [MIXED, SINGLE], ids=["mixed", "single"])
@pytest.mark.parametrize("check", CONTEXT_CHECKS[:6], ids=lambda check: check.__name__)
def test_checks_hold_on_other_problems(check, problem):
    assert holds(check, problem)


class TestChecksCanFail:
    """A planted wrong constant is refuted by the statement's own check."""

    def test_linear_loss(self, monkeypatch):
        right = context.linear_attention_loss()
        wrong = dataclasses.replace(right, expression=right.expression * Rational(11, 10))
        monkeypatch.setattr(context, "linear_attention_loss", lambda: wrong)
        assert fails(context.linear_loss)

    def test_linear_optimum(self, monkeypatch):
        right = context.linear_attention_optimum()

        class Wrong:
            derivation = right.derivation

            def evaluate(self, problem):
                return right.evaluate(problem) * (1 + 1e-5)

            def exact(self, problem, heads):
                return right.exact(problem, heads) * (1 + Rational(1, 10**6))

        monkeypatch.setattr(context, "linear_attention_optimum", Wrong)
        assert fails(context.linear_optimum)
        assert fails(context.normalisation_costs_a_head)

    def test_zero_sum_pair(self, monkeypatch):
        right = context.zero_sum_pair()
        wrong = dataclasses.replace(
            right, profile=right.profile * (1 + Rational(1, 10**9)), predictor=right.predictor * Rational(101, 100)
        )
        monkeypatch.setattr(context, "zero_sum_pair", lambda: wrong)
        assert fails(context.zero_sum_profile)
        assert fails(context.debiased_predictor)

    def test_context_shift(self, monkeypatch):
        right = context.context_shift()
        wrong = dataclasses.replace(right, expression=right.expression * (1 + Rational(1, 10**30)))
        monkeypatch.setattr(context, "context_shift", lambda: wrong)
        assert fails(context.shifted_context)

    def test_hermite(self, monkeypatch):
        right = context.hermite_transfer()
        monkeypatch.setattr(
            context, "hermite_transfer", lambda: dataclasses.replace(right, loss=right.loss + Rational(1, 10**6))
        )
        assert fails(context.hermite_targets)

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["typical", "expected"])
    def test_regimes(self, monkeypatch, name):
        right = context.softmax_regimes()
        wrong = dataclasses.replace(right, **{name: getattr(right, name) * Rational(9, 10)})
        monkeypatch.setattr(context, "softmax_regimes", lambda: wrong)
        assert fails(context.regimes)
