"""Flows of attention with a loss added to the model's, or in another metric: derived, integrated, read."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
from sympy import IndexedBase, Symbol, log

import headflow as hf
from headflow.errors import InputError, InputTypeError
from headflow.numerics import CovariateProblem, integrate_system
from headflow.numerics.integration.system_run import GIVEN_BY_PROBLEMS
from headflow.theory import gradient_flow
from headflow.theory.indexed import difference_is_zero
from headflow.theory.notation import h, i, k, mu, omega, over_heads, over_tasks

PROBLEM = hf.Problem(dims=[10, 10], signal_power=[1, 1], noise_variance=0.1, context_length=100, n_heads=2)
START = hf.InitialState.random(PROBLEM, scale=0.03)
gamma, rates = Symbol("gamma"), IndexedBase("rate", real=True)
DECAY = gamma * over_tasks(over_heads(mu[i, h] ** 2 + omega[i, h] ** 2))
PER_HEAD = over_tasks(over_heads(rates[h] * mu[i, h] ** 2))
TIED = hf.InitialState(np.full((2, 2), 0.1), np.full((2, 2), 0.1))


@pytest.mark.parametrize(
    ("parametrisation", "closure"), [("merged", "first_order"), ("balanced", "finite_d"), ("split", "leading")]
)
def test_derived(parametrisation, closure):
    """Every new step checks; loss and gradient are the sums; what the split flow conserves it still does."""
    own = gradient_flow(parametrisation, closure)
    flow = own.with_loss(DECAY)
    new = [step for step in flow.derivation.steps if step.label not in {one.label for one in own.derivation.steps}]
    assert sum(step.holds() is True for step in new) == 2 * len(own.state)
    assert flow.loss == own.loss + DECAY
    assert (flow.metric, flow.definitions, flow.domain, flow.invariants) == (
        own.metric,
        own.definitions,
        own.domain,
        own.invariants,
    )
    assert "gamma" in map(str, flow.parameters)
    assert pickle.loads(pickle.dumps(flow)) == copy.deepcopy(flow) == flow


def test_changes_add_up_in_any_order():
    flow, twice = gradient_flow("merged"), {mu[i, h]: 2 * gamma}
    both = flow.with_loss(DECAY).with_metric(twice).with_loss(PER_HEAD).with_metric(twice)
    other = flow.with_metric(twice).with_loss(PER_HEAD + DECAY)
    assert both.derivation.check().failed == ()
    assert both.added == other.added
    assert all(difference_is_zero(*pair) for pair in zip(both.velocity, other.velocity, strict=True))


def test_conditions_go_where_they_do_not_hold():
    balanced, split = gradient_flow("balanced"), gradient_flow("split")
    assert len(balanced.with_loss(-over_tasks(over_heads(log(mu[i, h])))).domain) == len(balanced.domain) - 1
    assert len(balanced.with_metric({mu[i, h]: gamma}).domain) == len(balanced.domain) - 1
    assert balanced.with_metric({mu[i, h]: gamma * mu[i, h]}).domain == balanced.domain
    o = split.state[0]
    assert len(split.with_loss(over_tasks(over_heads(o**2))).invariants) == 1
    assert split.with_loss(over_tasks(over_heads(mu[i, h] ** 4))).invariants == split.invariants


@pytest.mark.parametrize("parametrisation", ["merged", "balanced"])
def test_integrated_as_by_the_general_engine(parametrisation):
    """Another chart, other code and other solvers' settings: the same weights, and what the flow descends."""
    flow = gradient_flow(parametrisation).with_loss(DECAY)
    run = hf.integrate(PROBLEM, START, flow, t_final=300.0, values={"gamma": 0.01})
    values, start = {**PROBLEM.float_values(), "gamma": 0.01}, {"mu": START.mu, "omega": START.omega}
    other = integrate_system(flow, values, start, 300.0)
    assert run.mu[-1] == pytest.approx(other.states["mu"][-1], rel=1e-7)
    assert run.objective[-1] == pytest.approx(other.loss[-1], rel=1e-9)
    squares = (run.weights**2).sum(axis=(0, 2, 3))
    assert run.objective == pytest.approx(run.loss + 0.01 * squares, rel=1e-12)
    assert (np.diff(run.objective) < 0).all()


def test_read_as_any_trajectory():
    flow = gradient_flow("balanced").with_loss(DECAY)
    run = hf.integrate(PROBLEM, START, flow, t_final=1e3, values={"gamma": 0.01})
    plain = hf.integrate(PROBLEM, START, t_final=1e3)
    assert run.allocation.heads == plain.allocation.heads
    assert run.phases.emergence == pytest.approx(plain.phases.emergence, rel=0.1)
    assert run.phases.limit is None
    assert "added loss" in run.phases.reasons["limit"]
    assert "with an added loss" in repr(run)
    assert run.to_json()["altered"] == "with an added loss, gamma = 0.01"
    assert "altered" not in plain.to_json()
    assert plain.objective is plain.loss
    compared = hf.compare(PROBLEM, run, attention=False)
    assert compared.losses["flow"].value == run.loss[-1]
    assert compared.predictions == ()
    assert any("gamma = 0.01" in sentence for sentence in compared.warnings)
    again = pickle.loads(pickle.dumps(run))
    assert again.at(7.0).loss == run.at(7.0).loss
    assert (again.objective == run.objective).all()
    with pytest.raises(InputError, match="keeps no formulas"):
        run.save("never-written.nc")


def test_split_descends_what_balanced_does_from_balanced_weights():
    runs = [
        hf.integrate(PROBLEM, START, gradient_flow(name).with_loss(DECAY), t_final=100.0, values={"gamma": 0.02})
        for name in ("balanced", "split")
    ]
    assert runs[1].mu[-1] == pytest.approx(runs[0].mu[-1], rel=1e-7)
    assert runs[1].objective[-1] == pytest.approx(runs[0].objective[-1], rel=1e-9)


def test_another_metric_moves_time_alone():
    """All metrics twice as large: the same path in half the time, and the same limit."""
    own = gradient_flow("balanced")
    doubled = own.with_metric({x: gamma * metric for x, metric in zip(own.state, own.metric, strict=True)})
    run = hf.integrate(PROBLEM, START, doubled, t_final=500.0, values={"gamma": 2.0})
    plain = hf.integrate(PROBLEM, START, t_final=1e3)
    assert run.mu[-1] == pytest.approx(plain.mu[-1], rel=1e-6)
    assert run.phases.limit == plain.phases.limit
    assert run.phases.emergence == pytest.approx(plain.phases.emergence / 2, rel=1e-5)


def test_the_package_s_own_flow_is_itself():
    run = hf.integrate(PROBLEM, START, gradient_flow("merged", "finite_d"), t_final=10.0)
    assert (run.parametrisation, run.closure, run.altered) == ("merged", "finite_d", None)
    assert (run.loss == hf.integrate(PROBLEM, START, "merged", "finite_d", t_final=10.0).loss).all()


def test_ties_are_kept_where_the_flow_keeps_them():
    flow = gradient_flow("balanced")
    tied = hf.integrate(PROBLEM, TIED, flow.with_loss(DECAY), t_final=100.0, values={"gamma": 0.01})
    assert "start identical" in tied.reduction
    assert (tied.mu[-1] == tied.mu[-1, 0, 0]).all()
    apart = hf.integrate(PROBLEM, TIED, flow.with_loss(PER_HEAD), t_final=100.0, values={"rate": [0.01, 0.02]})
    assert apart.reduction == ""
    assert apart.mu[-1, 0, 0] > apart.mu[-1, 0, 1]


def test_many_heads():
    """The code for large states, and arrays as parameters."""
    problem = PROBLEM.replace(n_heads=12)
    start = hf.InitialState.random(problem, scale=0.05, jitter=0.5)
    numbers = np.linspace(0, 0.02, 12)
    flow = gradient_flow("balanced").with_loss(PER_HEAD)
    run = hf.integrate(problem, start, flow, t_final=20.0, values={"rate": numbers})
    added = (numbers * run.mu**2).sum(axis=(1, 2))
    assert run.objective == pytest.approx(run.loss + added, rel=1e-12)


SPLIT = gradient_flow("split")
BAD = {
    "values=": lambda: hf.integrate(PROBLEM, START, gradient_flow("balanced").with_loss(DECAY)),
    "takes no value for x": lambda: hf.integrate(
        PROBLEM, START, gradient_flow("balanced").with_loss(DECAY), values={"gamma": 1.0, "x": 2.0}
    ),
    r"shape \(2,\)": lambda: hf.integrate(
        PROBLEM, START, gradient_flow("balanced").with_loss(PER_HEAD), values={"rate": 1.0}
    ),
    "in the place of a name": lambda: hf.integrate(PROBLEM, START, values={"gamma": 1.0}),
    "imbalances": lambda: hf.integrate(
        PROBLEM, START, SPLIT.with_loss(gamma * over_tasks(over_heads(SPLIT.state[0] ** 2))), values={"gamma": 1.0}
    ),
    "in μ and ω": lambda: hf.integrate(
        PROBLEM, START, SPLIT.with_loss(over_tasks(over_heads(SPLIT.state[0] ** 2 * SPLIT.state[1] ** 2)))
    ),
    "keep μ and ω positive": lambda: hf.integrate(
        PROBLEM, START, gradient_flow("balanced").with_metric({mu[i, h]: gamma}), values={"gamma": 1.0}
    ),
    "integrate_system": lambda: hf.integrate(
        PROBLEM, START, gradient_flow(over_tasks(over_heads(mu[i, h] ** 2)), state=[mu[i, h]])
    ),
    "does not contain omega": lambda: gradient_flow(
        over_tasks(over_heads(mu[i, h] ** 2)), state=[mu[i, h], omega[i, h]]
    ),
    "takes no value for gama": lambda: integrate_system(
        gradient_flow(over_tasks(over_heads(mu[i, h] ** 2)), state=[mu[i, h]]),
        {"I": 1, "H": 1, "gama": 2.0},
        {"mu": [[1.0]]},
        1.0,
    ),
    "minus its metric": lambda: replace(SPLIT, velocity=SPLIT.gradient).with_loss(DECAY),
    "free index": lambda: gradient_flow("merged").with_metric({mu[i, h]: mu[i, k]}),
    "not state variables": lambda: gradient_flow("merged").with_metric({mu[i, k]: mu[i, k]}),
}


@pytest.mark.parametrize("sentence", BAD)
def test_one_sentence(sentence):
    with pytest.raises((InputError, InputTypeError, ValueError), match=sentence):
        BAD[sentence]()


def test_what_problems_give_is_never_unknown():
    covariates = CovariateProblem([2, 1], [1, 1], noise_variance=0.1, context_length=20, n_heads=2)
    assert set(PROBLEM.float_values()) | set(covariates.float_values()) == GIVEN_BY_PROBLEMS
