"""Corollaries of the optimum, shared, split and idle heads: hand formulas, independent flows, statements, checks."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy.optimize import minimize
from sympy import E, Integer, N, Rational, Symbol

from cases import REFERENCE, oracle
from headflow import Problem
from headflow.errors import HypothesisError, InputError
from headflow.numerics.checks import optimum as checks
from headflow.numerics.checks.finding import Setting
from headflow.theory import (
    equal_tasks_optimum,
    gradient_flow,
    idle_head,
    multi_head_optimum,
    shared_head,
    single_head_residuals,
    split_task,
    universal_bound_reached,
    universal_lower_bound,
)
from headflow.theory import notation as n
from headflow.theory.flows.symmetry import task_dim, task_power
from headflow.theory.indexed import substitute, unroll
from headflow.theory.optima import corollaries, shared_heads
from headflow.theory.optima.corollaries import own_level
from headflow.theory.optima.shared_heads import group_size, scaled_weight, task_cost
from headflow.theory.parameters import PARAMETERS
from oracles import hand_formulas as hand

MIXED = Problem(dims=[5, 10, 20], signal_power=[4, 1, 0.1], noise_variance=0.1, context_length=100, n_heads=2)
ONE = Problem(dims=[8], signal_power=[1], noise_variance=0.2, context_length=60, n_heads=1)


def of_task(expression, problem, task):
    return unroll(substitute(expression, {n.i: Integer(task + 1)}), problem.exact_values(), PARAMETERS)


class TestUniversalBound:
    @pytest.mark.parametrize("problem", [REFERENCE, MIXED, ONE])
    def test_is_reached_from_one_head_more_than_tasks(self, problem):
        bound = universal_lower_bound().exact(problem)
        for heads in range(1, problem.n_tasks + 4):
            reached = abs(N(multi_head_optimum().exact(problem, heads) - bound, 40)) < 1e-35
            assert reached == (heads >= problem.n_tasks + 1) == universal_bound_reached().holds(problem, heads)

    def test_formula(self):
        assert universal_bound_reached().least_heads == n.n_tasks + 1
        assert not universal_bound_reached().holds(REFERENCE)


class TestEqualTasks:
    @pytest.mark.parametrize("n_heads", [2, 3, 4, 5])
    def test_reference(self, n_heads):
        problem = REFERENCE.replace(n_heads=n_heads)
        value = equal_tasks_optimum().exact(problem)
        assert float(value) == pytest.approx(hand.homogeneous_optimum(1.0, 0.11, 3, n_heads), rel=1e-15)
        assert value == multi_head_optimum().exact(problem)

    def test_hypotheses(self):
        with pytest.raises(HypothesisError, match=r"equal tasks \(the same d and λ\); got d = \(5, 10, 20\)"):
            equal_tasks_optimum().exact(MIXED)
        with pytest.raises(HypothesisError, match=r"at least two heads \(H ≥ 2\); got H = 1"):
            equal_tasks_optimum().exact(REFERENCE.replace(n_heads=1))


class TestSingleHeadResiduals:
    @pytest.mark.parametrize("problem", [REFERENCE, MIXED, ONE])
    def test_equal_hand_residuals(self, problem):
        expected = hand.single_head_optimum(oracle(problem)).residual
        assert [float(x) for x in single_head_residuals().exact(problem)] == pytest.approx(expected, rel=1e-14)

    @pytest.mark.parametrize("problem", [REFERENCE, MIXED, ONE])
    def test_level_solves_the_budget_equation(self, problem):
        level = float(single_head_residuals().level(problem))
        _, d, phi, length = hand.constants(oracle(problem))
        lam = np.array([float(power) for power in problem.signal_power])
        shares = d * phi * np.maximum(np.sqrt(lam / (phi * d * level)) - 1, 0)
        assert math.e / length * shares.sum() == pytest.approx(1, rel=1e-13)

    def test_a_task_left_out_has_residual_one(self):
        assert single_head_residuals().exact(MIXED)[2] == 1

    def test_printed_budget_is_that_equation(self):
        (task,) = single_head_residuals().budget.atoms(type(n.over_tasks(n.dims[n.i])))
        numbers = {
            n.dims[n.i]: 9,
            n.noise_factor[n.i]: Rational(4, 1),
            n.signal_power[n.i]: 1,
            own_level: Rational(1, 144),
        }
        assert task.function.xreplace({key: Integer(1) * value for key, value in numbers.items()}) == 36


class TestSharedHead:
    @pytest.mark.parametrize("size", [1, 2, 5])
    def test_equals_the_single_head_optimum_of_the_group(self, size):
        problem = Problem(dims=[7] * size, signal_power=[2] * size, noise_variance=0.3, context_length=50, n_heads=1)
        c = Rational(23, 20) * 7 / 50
        numbers = {group_size: size, task_dim: 7, task_power: 2, task_cost: c}
        loss, mu, omega = (
            N(form.subs(numbers), 30) for form in (shared_head().loss, shared_head().mu, shared_head().omega)
        )
        assert float(loss) == pytest.approx(hand.single_head_optimum(oracle(problem)).loss, rel=1e-14)
        weights = (np.full((size, 1), float(mu)), np.full((size, 1), float(omega)))
        assert hand.loss(*weights, oracle(problem)) == pytest.approx(float(loss), rel=1e-14)
        for gradient in hand.gradients(*weights, oracle(problem)):
            assert np.abs(gradient).max() < 1e-13

    def test_formulas(self):
        found = shared_head()
        load = group_size * task_cost * E
        assert (found.omega**2 * group_size * task_dim - 1).simplify() == 0
        assert (found.mu * found.omega - 1 / (1 + load)).simplify() == 0
        assert (found.loss - group_size * task_power * load / (1 + load)).simplify() == 0


@pytest.mark.parametrize("part", [0.2, 0.5, 3.0])
def test_a_split_task_rests_with_the_loss_of_one_head(part):
    problem = MIXED.replace(n_heads=4)
    limit = hand.task_allocation_limit(oracle(problem), n_heads=4)
    mu, omega = limit.mu.copy(), limit.omega.copy()
    omega[1, 3] = float(of_task(split_task().omega, problem, 1))
    total = float(of_task(split_task().total_mu, problem, 1))
    mu[1, 1], mu[1, 3] = part * total, (1 - part) * total
    assert hand.loss(mu, omega, oracle(problem)) == pytest.approx(limit.loss, rel=1e-14)
    g_mu, g_omega = hand.gradients(mu, omega, oracle(problem))
    assert np.abs(g_omega).max() < 1e-13
    assert np.abs(g_mu[1, [1, 3]]).max() < 1e-13


@pytest.mark.parametrize("u", [-2.0, 0.0, 0.4, 1.0, 2.5])
def test_an_idle_head_decays_at_the_rate(u):
    problem = MIXED.replace(n_heads=4)
    limit = hand.task_allocation_limit(oracle(problem), n_heads=4)
    omega = limit.omega.copy()
    omega[:, 3] = u / np.sqrt(np.array(problem.dims))
    g_mu, g_omega = hand.gradients(limit.mu, omega, oracle(problem))
    for task in range(3):
        rate = float(of_task(idle_head().rate, problem, task).subs(scaled_weight, Rational(u)))
        c = hand.noise_ratio(oracle(problem))[task]
        lam, d = float(problem.signal_power[task]), problem.dims[task]
        by_hand = 4 * lam * c / ((1 + math.e * c) * math.sqrt(d)) * (math.exp(u) - math.e * u)
        assert rate == pytest.approx(by_hand, rel=1e-13, abs=1e-15)
        assert 2 * g_mu[task, 3] == pytest.approx(rate, rel=1e-12, abs=1e-14)
        assert rate >= -1e-15
    assert np.abs(g_omega[:, 3]).max() == 0


class TestMutatedChains:
    """What a derivation starts from is what it ends with: a changed step changes the result or fails a check."""

    def mutated_flow(self, monkeypatch):
        flow = gradient_flow("balanced")
        squared = [
            dataclasses.replace(item, body=item.body**2) if item.base == n.interaction else item
            for item in flow.definitions
        ]
        wrong = dataclasses.replace(flow, definitions=tuple(squared))
        monkeypatch.setattr(shared_heads, "gradient_flow", lambda *_: wrong)

    def test_shared_head(self, monkeypatch):
        self.mutated_flow(monkeypatch)
        wrong = shared_heads._shared_head.__wrapped__("leading")
        assert wrong.mu != shared_head().mu
        assert "loss of a shared head" in wrong.derivation.check().failed

    def test_split_task(self, monkeypatch):
        self.mutated_flow(monkeypatch)
        wrong = split_task.__wrapped__()
        assert wrong.total_mu != split_task().total_mu
        assert {"mu of a split task", "loss of a split task"} <= set(wrong.derivation.check().failed)

    def test_idle_head(self, monkeypatch):
        self.mutated_flow(monkeypatch)
        wrong = idle_head.__wrapped__()
        assert wrong.rate != idle_head().rate
        assert "never grows" in wrong.derivation.check().failed

    def test_budget(self, monkeypatch):
        right = multi_head_optimum()
        (one, _), (many, rest) = right.budget.args
        wrong = dataclasses.replace(right, budget=right.budget.func((one, right.budget.args[0][1]), (many + 1, rest)))
        monkeypatch.setattr(corollaries, "multi_head_optimum", lambda: wrong)
        assert universal_bound_reached.__wrapped__().least_heads == n.n_tasks
        assert equal_tasks_optimum.__wrapped__().share != equal_tasks_optimum().share

    def test_interior_share(self, monkeypatch):
        right = multi_head_optimum()
        wrong = dataclasses.replace(right, interior_share=2 * right.interior_share)
        monkeypatch.setattr(corollaries, "multi_head_optimum", lambda: wrong)
        assert single_head_residuals.__wrapped__().residual != single_head_residuals().residual


CHECKS = (
    checks.bound_reached,
    checks.equal_tasks,
    checks.residuals_of_one_head,
    checks.shared_heads,
    checks.split_tasks,
    checks.idle_heads,
)


@pytest.mark.parametrize("problem", [REFERENCE, MIXED, ONE], ids=["reference", "mixed", "one"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_checks_hold(check, problem):
    finding = check(Setting(problem, seed=0, quick=True))
    assert finding.bound - finding.measured > finding.error


class TestChecksCanFail:
    """A planted wrong constant is refuted by the statement's own check."""

    tiny = 1 + Symbol("L") ** -3

    def fails(self, check):
        finding = check(Setting(MIXED, seed=0, quick=True))
        return finding.bound - finding.measured < -finding.error

    def plant(self, monkeypatch, name, **changes):
        wrong = dataclasses.replace(getattr(checks, name)(), **changes)
        monkeypatch.setattr(checks, name, lambda: wrong)

    def test_bound_reached(self, monkeypatch):
        self.plant(monkeypatch, "universal_bound_reached", least_heads=n.n_tasks)
        assert self.fails(checks.bound_reached)

    def test_equal_tasks(self, monkeypatch):
        self.plant(
            monkeypatch, "equal_tasks_optimum", expression=equal_tasks_optimum().expression * Rational(100001, 100000)
        )
        assert self.fails(checks.equal_tasks)

    def test_residuals(self, monkeypatch):
        self.plant(
            monkeypatch, "single_head_residuals", residual=single_head_residuals().residual * Rational(1001, 1000)
        )
        assert self.fails(checks.residuals_of_one_head)

    @pytest.mark.parametrize("field", ["mu", "omega", "loss"])
    def test_shared_heads(self, monkeypatch, field):
        self.plant(monkeypatch, "shared_head", **{field: getattr(shared_head(), field) * (1 + Rational(1, 10**20))})
        assert self.fails(checks.shared_heads)

    @pytest.mark.parametrize("field", ["omega", "total_mu"])
    def test_split_tasks(self, monkeypatch, field):
        self.plant(monkeypatch, "split_task", **{field: getattr(split_task(), field) * self.tiny})
        assert self.fails(checks.split_tasks)

    def test_idle_heads(self, monkeypatch):
        self.plant(monkeypatch, "idle_head", rate=idle_head().rate * self.tiny)
        assert self.fails(checks.idle_heads)


def test_shared_head_at_finite_d_against_a_minimisation_of_the_hand_formula():
    """g equal tasks on one head in finite_d: ω² = 1/(g d + 2), κ(g d) in place of e."""
    found = shared_head("finite_d")
    assert found.derivation.check().holds
    one = {"lam": (1.5,) * 3, "d": (7,) * 3, "sigma2": 0.2, "L": 60}

    def loss(pair):
        mu, omega = pair
        return hand.loss(np.full((3, 1), mu), np.full((3, 1), omega), one, "finite_d")

    best = minimize(loss, (3.0, 0.2), method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-14})
    numbers = {"g": 3, "d": 7, "lambda": Rational(3, 2), "c": Rational(17, 15) * Rational(7, 60)}
    kappa = unroll(found.kappa, numbers)
    values = [unroll(form, {**numbers, "kappa_g": kappa}) for form in (found.mu, found.omega, found.loss)]
    assert [float(value) for value in values] == pytest.approx([*best.x, best.fun], rel=1e-6)
    with pytest.raises(InputError, match="no closed form in first_order"):
        shared_head("first_order")
