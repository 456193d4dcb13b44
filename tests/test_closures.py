"""The closures finite_d and first_order: every parametrisation, the limits, and their ranges."""

from __future__ import annotations

import math
import re
import warnings

import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar
from sympy import Expr, expand

from cases import REFERENCE, START, oracle
from headflow import InitialState, Problem, compare, compare_closures, integrate
from headflow.errors import HypothesisError, InputError, ValidityWarning
from headflow.numerics import compile_system
from headflow.numerics.attention.quadrature import pooled_moments
from headflow.numerics.flows.domain import next_term
from headflow.numerics.integration.integrate import integrate_silently
from headflow.numerics.optima.reference import realised_limit
from headflow.numerics.optima.single_head import single_head_loss
from headflow.theory import gradient_flow, task_allocation_limit, to_log
from headflow.theory import notation as n
from headflow.theory.model.next_order import next_order
from headflow.theory.optima import closures
from headflow.theory.optima.closures import closure_limits, finite_d_bounds
from oracles import hand_formulas as hand

CLOSURES = ("leading", "finite_d", "first_order")
MIXED = Problem(dims=[40, 8, 17], signal_power=[1, "0.3", 2], noise_variance=0.1, context_length=200, n_heads=3)


def small_weights(shape, seed):
    draw = np.random.default_rng(seed)
    return draw.normal(0, 1.5, shape), draw.uniform(-0.35, 0.35, shape)


def differences(function, state, step=1e-6):
    columns = []
    for place in range(state.size):
        shift = np.zeros_like(state)
        shift[place] = step
        columns.append((function(state + shift) - function(state - shift)) / (2 * step))
    return np.array(columns).T


@pytest.mark.parametrize("closure", CLOSURES)
def test_loss_and_merged_velocity_equal_the_hand_formula(closure):
    system = compile_system(gradient_flow("merged", closure))
    for seed in range(20):
        problem = MIXED.replace(n_heads=2 + seed % 3)
        mu, omega = small_weights((3, problem.n_heads), seed)
        state = np.concatenate([mu.ravel(), omega.ravel()])
        loss, velocity = (kernel.bind(problem.float_values()) for kernel in (system.loss, system.velocity))

        def by_hand(flat, shape=mu.shape, problem=problem):
            one, other = flat.reshape(2, *shape)
            return hand.loss(one, other, oracle(problem), closure)

        assert float(loss(state)) == pytest.approx(by_hand(state), rel=1e-12)
        slope = differences(by_hand, state)
        slope[mu.size :] /= np.repeat(np.array(problem.dims, float), problem.n_heads)
        np.testing.assert_allclose(-velocity(state), slope, rtol=0, atol=2e-7 * np.abs(slope).max())


@pytest.mark.parametrize(
    ("parametrisation", "closure"),
    [
        ("merged", "finite_d"),
        ("merged", "first_order"),
        ("log", "finite_d"),
        pytest.param("log", "first_order", marks=pytest.mark.slow),
        ("split", "finite_d"),
        pytest.param("split", "first_order", marks=pytest.mark.slow),
    ],
)
def test_jacobian_equals_differences(closure, parametrisation):
    plain = gradient_flow("balanced" if parametrisation == "log" else parametrisation, closure)
    system = compile_system(to_log(plain) if parametrisation == "log" else plain)
    draw = np.random.default_rng(5)
    state = draw.uniform(0.1, 0.5, 6 * len(system.system.state))
    state = np.log(state) - 0.5 if parametrisation == "log" else state
    problem = MIXED.replace(n_heads=2)
    velocity, jacobian = (kernel.bind(problem.float_values()) for kernel in (system.velocity, system.jacobian))
    expected = differences(velocity, state)
    np.testing.assert_allclose(jacobian(state), expected, rtol=0, atol=1e-7 * np.abs(expected).max())


@pytest.mark.parametrize("closure", CLOSURES)
@pytest.mark.parametrize("problem", [REFERENCE, MIXED], ids=["reference", "mixed"])
def test_the_allocation_limit_is_the_minimum_for_one_head_by_hand(closure, problem):
    """Each task alone on one head: minimise the hand-typed loss over ω, with the best μ of a quadratic."""
    expected = 0.0
    for task in range(problem.n_tasks):
        one = oracle(problem.subset([task], n_heads=1))

        def profile(omega, one=one):
            at = [hand.loss(np.array([[mu]]), np.array([[omega]]), one, closure) for mu in (0.0, 1.0, -1.0)]
            slope, curvature = (at[1] - at[2]) / 2, (at[1] + at[2]) / 2 - at[0]
            return at[0] - slope**2 / (4 * curvature)

        expected += minimize_scalar(profile, bounds=(0.05, 0.4), method="bounded", options={"xatol": 1e-9}).fun
    assert task_allocation_limit(closure).loss.evaluate(problem) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("closure", "expected"),
    [
        ("finite_d", 0.7417430900951768),
        pytest.param("first_order", 0.8197005772655422, marks=pytest.mark.slow),
    ],
)
def test_the_flow_ends_at_the_limit_of_its_closure(closure, expected):
    run = integrate_silently(REFERENCE, START, closure=closure, t_final=3e3)
    assert run.phases.limit == pytest.approx(expected, rel=1e-14)
    assert run.loss[-1] == pytest.approx(expected, rel=2e-4)
    assert run.loss[-1] > expected
    # Where first_order ends the next term of its expansion is no longer small.
    assert len(run.caveats) == (closure == "first_order")


def test_shared_heads_at_finite_d_have_the_closed_form_of_equal_tasks():
    """g equal tasks on one head: the loss gλκ(gd)gc/(1 + κ(gd)gc) with κ(d) = (1 + 2/d)^(d/2 + 1)."""
    together, c = 20, 0.11 * 2
    kappa = (1 + 2 / together) ** (together / 2 + 1)
    alone, c_alone = 10, 0.11
    kappa_alone = (1 + 2 / alone) ** (alone / 2 + 1)
    expected = 2 * kappa * c / (1 + kappa * c) + kappa_alone * c_alone / (1 + kappa_alone * c_alone)
    assert realised_limit(REFERENCE, [(0, 2), (1,)], "finite_d") == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("closure", ["finite_d", "first_order"])
def test_unequal_tasks_on_one_head_against_a_minimisation_of_the_hand_formula(closure):
    scale = np.sqrt(np.array(MIXED.dims))

    def loss(flat):
        mu, omega = flat.reshape(2, 3, 1)
        return hand.loss(mu * scale[:, None], omega / scale[:, None], oracle(MIXED), closure)

    found = minimize(loss, np.full(6, 0.5), method="BFGS", options={"gtol": 1e-10})
    result = single_head_loss(MIXED, closure)
    assert result.value == pytest.approx(found.fun, rel=1e-9)
    assert 0 < result.error < 1e-12


def test_compare_in_each_closure():
    by_closure = {closure: compare(REFERENCE, closure=closure).losses for closure in CLOSURES}
    limits = [by_closure[closure]["task_allocation_limit"].value for closure in CLOSURES]
    assert limits == sorted(limits)
    assert by_closure["finite_d"]["multi_head_optimum"].value == by_closure["leading"]["multi_head_optimum"].value
    assert by_closure["finite_d"]["single_head_optimum"].kind == "numeric"
    for name in ("universal_lower_bound", "multi_head_optimum"):
        entry = by_closure["first_order"][name]
        assert (entry.value, entry.applicable) == (None, False)
        assert "no lower bound" in entry.reason


def test_first_order_has_no_lower_bound():
    """Two heads ±ω with the same sign of μ ω b: what is claimed of the expansion outside its range."""
    one = Problem(dims=[10], signal_power=[1], noise_variance=0.1, context_length=100, n_heads=2)
    omega = np.array([[0.6, -0.55]])
    losses = [hand.loss(size * np.array([[-1.0, -1.1]]), omega, oracle(one), "first_order") for size in (0, 1, 2, 4)]
    assert min(losses) < -1


def test_outside_the_domain_raises_with_the_hypothesis_named():
    start = InitialState(mu=np.full((3, 3), 0.1), omega=np.array([[0.1, 0.2, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.1]]))
    with pytest.raises(
        HypothesisError, match=r"the finite_d closure requires ω_i\^h ω_i\^k < 1/2; got .*task 2 and head 2"
    ):
        integrate(REFERENCE, start, closure="finite_d")
    assert integrate(REFERENCE, start, t_final=1.0).completed


def test_first_order_warns_where_it_is_not_valid():
    narrow = Problem(dims=[3, 3], signal_power=[1, 1], noise_variance=0.1, context_length=100, n_heads=2)
    start = InitialState.random(narrow, scale=0.03)
    with pytest.warns(ValidityWarning) as said:
        run = integrate(narrow, start, closure="first_order", t_final=100)
    assert run.to_json()["warnings"] == list(run.caveats) == [str(warning.message) for warning in said]
    by_omega, by_size = run.caveats
    assert re.match(r"the first_order .* only where \(ω_i\^h\)² < 1/6", by_omega)
    assert "e^(|a|²)/L is small" in by_size
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert integrate(narrow, start, closure="finite_d", t_final=100).caveats == ()


class TestNextTerm:
    """The term of order 1/L² of a head's overlap, over that of order 1/L."""

    def test_it_is_what_quadrature_leaves(self):
        """At a fixed query: (E Σ p_h p_k − e^{g_hk}/L) L² tends to the second coefficient."""
        one, other = np.array([0.5, 0.2]), np.array([-0.1, 0.6])
        overlap = next_order().derivation["overlap of two heads"].formula[0][1]
        values = {"g_hh": one @ one, "g_kk": other @ other, "g_hk": one @ other}
        term = expand(overlap).coeff(n.context_length, -2)
        second = float(term.subs({symbol: values[symbol.name] for symbol in term.free_symbols}))
        lengths = [400, 800, 1600]
        found = pooled_moments(one, other, lengths).overlap
        left = [(value - math.exp(one @ other) / size) * size**2 for value, size in zip(found, lengths, strict=True)]
        assert 2 * left[2] - left[1] == pytest.approx(second, rel=2e-3)

    def test_by_hand(self):
        """E of (2e^g − 1)(e^{2g} − e^g) over E e^g L, by the χ² generating function."""
        mean = {k: (1 - 2 * k / 10) ** -5 for k in (1, 2, 3)}
        by_hand = (2 * mean[3] - 3 * mean[2] + mean[1]) / (100 * mean[1])
        size, head = next_term(REFERENCE, 3 * np.eye(3), np.eye(3) / math.sqrt(10))
        assert size == pytest.approx(by_hand, rel=1e-12)
        assert head == 0

    def test_heads_that_do_nothing_do_not_count(self):
        mu, omega = np.diag([3.0, 0.0, 3.0]), np.diag([0.1, 2.0, 0.05])
        assert next_term(REFERENCE, mu, omega) == next_term(REFERENCE, mu, np.diag([0.1, 0.0, 0.05]))

    def test_where_long_queries_weigh_without_bound(self):
        assert next_term(REFERENCE, np.eye(3), 0.5 * np.eye(3))[0] == math.inf

    def test_no_warning_while_it_is_small(self):
        long = REFERENCE.replace(context_length=4000)
        assert integrate(long, InitialState.random(long, scale=0.03), closure="first_order", t_final=300).caveats == ()

    def test_the_reference_case_warns(self):
        start = InitialState.random(REFERENCE)
        with pytest.warns(ValidityWarning, match=r"e\^\(\|a\|²\)/L is small, which it is until t = "):
            integrate(REFERENCE, start, closure="first_order", t_final=300)

    def test_the_table_of_closures_says_it(self):
        weights = InitialState(mu=3 * np.eye(3), omega=np.eye(3) / math.sqrt(10))
        notes = compare_closures(REFERENCE, weights, n_samples=100).notes
        assert list(notes) == ["first_order"]
        assert "the next term of its expansion in e^(|a|²)/L is 52 % of the one that it keeps" in notes["first_order"]


def test_no_limit_where_no_root_is_in_the_range():
    narrow = Problem(dims=[2, 10], signal_power=[1, 1], noise_variance=0.1, context_length=100, n_heads=2)
    with pytest.raises(HypothesisError, match="one stationary point with 0 < ω_i < sqrt"):
        task_allocation_limit("first_order").loss.evaluate(narrow)
    assert not compare(narrow, closure="first_order").losses["task_allocation_limit"].applicable


@pytest.mark.slow
def test_the_limits_between_the_closures_are_checked_steps():
    for derivation in (closure_limits(), finite_d_bounds()):
        report = derivation.check()
        assert report.holds
    assert {"finite_d tends to leading", "first_order tends to leading", "kappa tends to e"} <= set(
        closure_limits().check().passed
    )


def test_a_changed_loss_no_longer_tends_to_the_leading_one(monkeypatch):
    right = closures.population_loss

    def changed(closure):
        loss = right(closure)
        if closure != "first_order":
            return loss
        wrong: Expr = loss.expression + n.over_tasks(n.signal_power[n.i] * n.residual[n.i] ** 2)
        return type(loss)(wrong, loss.definitions, closure, loss.derivation)

    monkeypatch.setattr(closures, "population_loss", changed)
    assert closures.closure_limits.__wrapped__().check().failed == ("first_order tends to leading",)


def test_kappa_of_the_limit():
    form = task_allocation_limit("finite_d").kappa
    assert form is not None
    for dim, value in zip(MIXED.dims, form.at_tasks(MIXED), strict=True):
        assert float(value) == pytest.approx((1 + 2 / dim) ** (dim / 2 + 1), rel=1e-14)
    assert task_allocation_limit("first_order").kappa is None
    with pytest.raises(InputError, match="unknown closure"):
        task_allocation_limit("first")
