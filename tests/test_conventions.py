"""Other conventions: ½, a noisy query target, β_i ~ N(0, λ_i Id); against hand relations and the model itself."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from itertools import product

import numpy as np
import pytest

from cases import REFERENCE, oracle
from headflow import Problem
from headflow.cli import dispatch as cli
from headflow.cli.grammar import CONVENTIONS
from headflow.numerics import compile_system, formula
from headflow.theory import (
    Convention,
    bayes_limit,
    gradient_flow,
    in_convention,
    population_loss,
    separation,
    single_head_optimum,
    task_allocation_limit,
    to_hyperbolic,
    to_log,
    universal_lower_bound,
)
from headflow.theory import notation as n
from headflow.theory.context.linear_optimum import linear_attention_optimum
from headflow.theory.derivation import CheckReport
from headflow.theory.errors import InputError, InputTypeError
from headflow.theory.flows.flow import split_flow
from oracles import hand_formulas as hand
from oracles.monte_carlo import attention_risk

ALL = [Convention(*switches) for switches in product((False, True), repeat=3)]
OTHER = ALL[1:]
PROBLEM = Problem(dims=[3, 7, 5], signal_power=[1, "0.4", 2], noise_variance="0.3", context_length=50, n_heads=4)


def names(convention):
    return ",".join(field.name for field in fields(convention) if getattr(convention, field.name)) or "package"


each = pytest.mark.parametrize("convention", OTHER, ids=names)


def in_package(convention, problem):
    """The oracle's problem that the package's convention describes by its own λ."""
    found = oracle(problem)
    if convention.unit_covariance:
        found["lam"] = [power * dim for power, dim in zip(found["lam"], found["d"], strict=True)]
    return found


def loss_relation(convention, problem, value):
    """A loss of the package's convention, at the same model, as this convention has it."""
    noise = problem.n_tasks * float(problem.noise_variance) if convention.noisy_target else 0
    return (value + noise) / (2 if convention.half else 1)


def only_new(before, after):
    """The report on the steps that the rewriting added."""
    steps = tuple(step for step in after.steps if step not in before.steps)
    return replace(after, steps=steps).check()


@each
@pytest.mark.parametrize("parametrisation", ["merged", "balanced", "log"])
def test_velocity_and_loss_obey_the_hand_relations(parametrisation, convention):
    plain = gradient_flow("balanced" if parametrisation == "log" else parametrisation)
    system = in_convention(to_log(plain) if parametrisation == "log" else plain, convention)
    assert system.convention == str(convention)
    code, rng = compile_system(system), np.random.default_rng(0)
    problem = in_package(convention, PROBLEM)
    for _ in range(5):
        mu, omega = rng.uniform(0.1, 1.5, (3, 4)), rng.uniform(0.05, 0.4, (3, 4))
        state = np.stack([mu, omega])
        flow = hand.velocity_merged if parametrisation == "merged" else hand.velocity_balanced
        expected = np.stack(flow(mu, omega, problem)) / (2 if convention.half else 1)
        if parametrisation == "log":
            state, expected = np.log(state), expected / state
        values = PROBLEM.float_values()
        found = code.velocity.bind(values)(state.ravel()).reshape(state.shape)
        assert np.abs(found - expected).max() <= 1e-12 * np.abs(expected).max()
        loss = float(code.loss.bind(values)(state.ravel()))
        assert loss == pytest.approx(loss_relation(convention, PROBLEM, hand.loss(mu, omega, problem)), rel=1e-12)


@pytest.mark.parametrize(
    "convention",
    [item if len(names(item).split(",")) == 1 else pytest.param(item, marks=pytest.mark.slow) for item in OTHER],
    ids=names,
)
def test_every_added_step_holds(convention):
    balanced = gradient_flow("balanced")
    limit = task_allocation_limit()
    results = [balanced, to_log(balanced), split_flow(), to_log(split_flow()), to_hyperbolic(split_flow())]
    results += [population_loss(), limit.mu, limit.loss, universal_lower_bound(), single_head_optimum().form]
    results += [bayes_limit(), linear_attention_optimum().enough_heads]
    for result in results:
        report: CheckReport = only_new(result.derivation, in_convention(result, convention).derivation)
        assert report.failed == report.unchecked == ()
        assert report.passed


def test_a_wrong_rewriting_fails_its_check():
    """The checks look at the result: with a flow whose velocity is not its own they fail."""
    flow = gradient_flow("merged")
    strange = replace(flow, velocity=tuple(rhs + n.noise_variance**2 for rhs in flow.velocity))
    report = only_new(flow.derivation, in_convention(strange, Convention(half=True)).derivation)
    assert len(report.failed) == 1


@each
def test_closed_forms_obey_the_hand_relations(convention):
    wide = PROBLEM.replace(n_heads=3)
    problem = in_package(convention, wide)
    limit = task_allocation_limit()
    losses = {
        limit.loss: hand.task_allocation_limit(problem).loss,
        single_head_optimum().form: hand.single_head_all_active(problem),
        universal_lower_bound(): hand.universal_bound(problem),
        bayes_limit(): hand.bayes_limit(problem),
    }
    for form, value in losses.items():
        found = in_convention(form, convention)
        expected = loss_relation(convention, wide, float(value))
        assert found.evaluate(wide) == pytest.approx(expected, rel=1e-12)
        # Generated code has no other meaning of φ and c either.
        assert formula(found.expression)(wide.float_values()) == pytest.approx(expected, rel=1e-12)


@each
def test_weights_and_the_population_loss(convention):
    problem = in_package(convention, PROBLEM)
    mu = in_convention(task_allocation_limit().mu, convention)
    total = formula(n.over_tasks(mu.expression))(PROBLEM.float_values())
    assert total == pytest.approx(hand.task_allocation_limit(problem).mu.sum(), rel=1e-12)
    loss = in_convention(population_loss(), convention)
    code = compile_system(replace(gradient_flow("merged"), loss=loss.expression))  # with the package's own φ
    state = np.random.default_rng(1).uniform(0.1, 0.4, (2, 3, 4))
    found = float(code.loss.bind(PROBLEM.float_values())(state.ravel()))
    assert found == pytest.approx(loss_relation(convention, PROBLEM, hand.loss(*state, problem)), rel=1e-12)


def test_changing_coordinates_and_convention_commute():
    convention = Convention(half=True, unit_covariance=True)
    plain = gradient_flow("balanced")
    first, second = to_log(in_convention(plain, convention)), in_convention(to_log(plain), convention)
    state = np.log(np.random.default_rng(2).uniform(0.1, 0.4, 24))
    found = [compile_system(system).velocity.bind(PROBLEM.float_values())(state) for system in (first, second)]
    assert found[0] == pytest.approx(found[1], rel=1e-13)
    assert first.convention == second.convention == str(convention)


@pytest.mark.parametrize("unit_covariance", [False, True])
def test_the_real_softmax_risk_with_a_noisy_target(unit_covariance):
    """Everything drawn, regressors and target noise included; leading closure, L = 200."""
    problem = Problem(
        dims=[4, 6],
        signal_power=["0.2", "0.1"] if unit_covariance else [1, "0.5"],
        noise_variance="0.4",
        context_length=200,
        n_heads=2,
    )
    mu, omega = np.array([[2.0, 0.1], [0.2, 2.5]]), np.array([[0.2, 0.02], [0.03, 0.18]])
    convention = Convention(noisy_target=True, unit_covariance=unit_covariance)
    code = compile_system(in_convention(gradient_flow("merged"), convention))
    found = float(code.loss.bind(problem.float_values())(np.concatenate([mu.ravel(), omega.ravel()])))
    drawn = attention_risk(
        mu, omega, oracle(problem), 8000, 0, conditional=False, noisy_target=True, unit_covariance=unit_covariance
    ).total
    same = in_package(convention, problem)
    closure = abs(hand.loss(mu, omega, same, "first_order") - hand.loss(mu, omega, same))
    assert closure < 0.05
    assert abs(found - drawn.mean) < 4 * drawn.error + closure
    assert 4 * drawn.error + closure < 0.4  # less than half of what the switch adds


def test_what_has_no_other_convention_is_refused():
    half, flow = Convention(half=True), gradient_flow("merged")
    assert in_convention(flow, Convention()) is flow
    assert flow.convention == str(Convention())
    with pytest.raises(InputTypeError, match="knows losses and weights; the separation limit is neither"):
        in_convention(separation().limit, half)
    with pytest.raises(InputTypeError, match="takes a ReducedSystem"):
        in_convention("merged", half)
    with pytest.raises(InputTypeError, match="half must be True or False, got 1"):
        Convention(half=1)
    for result in (flow, population_loss(), task_allocation_limit().loss):
        with pytest.raises(InputError, match="rewritten before"):
            in_convention(in_convention(result, half), half)
    own = gradient_flow(n.over_tasks(n.over_heads(n.mu[n.i, n.h] ** 2)), state=[n.mu[n.i, n.h]])
    with pytest.raises(InputError, match="loss as given"):
        in_convention(own, half)


def test_the_command_line(capsys):
    assert set(CONVENTIONS) == {field.name for field in fields(Convention)}
    assert cli.main(["derive", "flow", "--convention", "half,noisy_target", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["convention"] == str(Convention(half=True, noisy_target=True))
    steps = [step for derivation in found["derivations"] for step in derivation["steps"]]
    assert "½" in next(step for step in steps if step["label"].startswith("half of the balanced flow in log"))["why"]
    assert all(step["checked"] for step in steps if step["label"].endswith("in another convention"))
    for words in (["all"], ["limit", "--format", "latex"], ["optimum", "--format", "html"], ["loss"]):
        assert cli.main(["derive", *words, "--convention", "unit_covariance"]) == 0
        assert "in another convention" in capsys.readouterr().out
    for topic in ("phases", "statements"):
        assert cli.main(["derive", topic, "--convention", "half"]) == 2
        assert f"unknown topic for another convention '{topic}'" in capsys.readouterr().err
    assert cli.main(["derive", "--convention", "half,halff"]) == 2
    assert "unknown convention 'halff'; did you mean 'half'?" in capsys.readouterr().err


def test_the_reference_case_in_numbers():
    """33e/(100 + 11e), halved, with three noises of .1."""
    limit = in_convention(task_allocation_limit().loss, Convention(half=True, noisy_target=True))
    assert limit.evaluate(REFERENCE) == pytest.approx((0.69055073637622836881 + 0.3) / 2, rel=1e-15)


@pytest.mark.parametrize("closure", ["leading", "finite_d", "first_order"])
def test_the_allocation_limit_of_every_closure_with_unit_covariance(closure):
    """λ_i as the variance of a coordinate is the signal power d_i λ_i of the package's own convention."""
    problem = Problem(dims=[10, 8], signal_power=[1, "0.5"], noise_variance="0.1", context_length=100, n_heads=2)
    same = problem.replace(signal_power=[10, 4])
    limit = task_allocation_limit(closure)
    for form in (limit.loss, limit.mu, limit.omega):
        found = in_convention(form, Convention(unit_covariance=True))
        if form is limit.loss:
            assert found.evaluate(problem) == pytest.approx(form.evaluate(same), rel=1e-14)
        else:
            pairs = zip(found.at_tasks(problem), form.at_tasks(same), strict=True)
            assert all(float(one) == pytest.approx(float(other), rel=1e-14) for one, other in pairs)
