"""Statements about the dynamics, and their checks on several problems."""

from dataclasses import replace

import numpy as np
import pytest
from sympy import Rational

import headflow as hf
from headflow.numerics import compile_system
from headflow.numerics.checks import Setting, dynamics, model, statics, valley
from headflow.numerics.predictions.fit import power_law
from headflow.numerics.trajectory.phases import before_emergence
from headflow.numerics.trajectory.record import State
from headflow.numerics.verification.verdict import outcome
from headflow.numerics.verification.verify import judged
from headflow.theory import gradient_flow
from headflow.theory.choices import CLOSURES
from headflow.theory.statements.phases import DYNAMICS_BUILDERS

CHECKS = {
    "cascade": dynamics.waiting_flow,
    "who-wins": dynamics.who_wins,
    "emergence-time": dynamics.first_emergence,
    "late-law": dynamics.late_law,
}
PROBLEMS = {
    "reference": hf.Problem(dims=[10] * 3, signal_power=[1] * 3, noise_variance=0.1, context_length=100, n_heads=3),
    "unequal": hf.Problem(dims=[4, 9, 6], signal_power=[1, 2, 0.7], noise_variance=0.1, context_length=80, n_heads=5),
    "few heads": hf.Problem(dims=[10, 5], signal_power=[1, 2], noise_variance=0.2, context_length=60, n_heads=1),
    "one task": hf.Problem(dims=[8], signal_power=[1], noise_variance=0.1, context_length=50, n_heads=2),
}


@pytest.mark.parametrize("build", DYNAMICS_BUILDERS.values(), ids=DYNAMICS_BUILDERS)
def test_statements_can_be_written_down(build):
    entry = build()
    assert entry.id in CHECKS
    assert entry.title in entry.text()
    assert entry.latex().startswith(r"\begin{theorem}")
    assert "<math" in entry.html()
    assert entry.derivation.check().holds


@pytest.mark.parametrize(
    "name", [name if name == "reference" else pytest.param(name, marks=pytest.mark.slow) for name in PROBLEMS]
)
@pytest.mark.parametrize("build", DYNAMICS_BUILDERS.values(), ids=DYNAMICS_BUILDERS)
def test_checks_hold(build, name):
    entry = build()
    finding = CHECKS[entry.id](Setting(PROBLEMS[name], seed=0, quick=True))
    assert judged(entry, finding).verdict == "holds", finding


def test_a_wrong_constant_fails(monkeypatch):
    right = dynamics.late_constant
    monkeypatch.setattr(dynamics, "late_constant", lambda *of: 1.05 * right(*of))
    finding = dynamics.late_law(Setting(PROBLEMS["reference"], seed=0, quick=True))
    assert judged(DYNAMICS_BUILDERS["late-law"](), finding).verdict == "fails"


def test_a_wrong_power_fails(monkeypatch):
    right = dynamics.exact_power
    monkeypatch.setattr(dynamics, "exact_power", lambda *of: right(*of) * (1 + Rational(1, 10**6)))
    finding = dynamics.waiting_flow(Setting(PROBLEMS["reference"], seed=0, quick=True))
    assert judged(DYNAMICS_BUILDERS["cascade"](), finding).verdict == "fails"


def test_a_wrong_winner_fails(monkeypatch):
    right = dynamics.cascade
    monkeypatch.setattr(dynamics, "cascade", lambda *of: replace(right(*of), winners=(None,)))
    finding = dynamics.who_wins(Setting(PROBLEMS["reference"], seed=0, quick=True))
    assert judged(DYNAMICS_BUILDERS["who-wins"](), finding).verdict == "fails"


@pytest.mark.slow
def test_a_wrong_time_fails(monkeypatch):
    right = dynamics.cascade

    def wrong(*of):
        found = right(*of)
        return replace(found, times=tuple(1.03 * t for t in found.times))

    monkeypatch.setattr(dynamics, "cascade", wrong)
    finding = dynamics.first_emergence(Setting(PROBLEMS["reference"], seed=0, quick=True))
    assert judged(DYNAMICS_BUILDERS["emergence-time"](), finding).verdict == "fails"


def test_another_power_of_the_late_law_is_refuted(monkeypatch):
    def wrong(*numbers, exponent, **told):
        return power_law(*numbers, exponent=1.05 * exponent, **told)

    monkeypatch.setattr(dynamics, "power_law", wrong)
    assert outcome(dynamics.late_law(Setting(PROBLEMS["reference"], 0, True))) == "fails"


@pytest.mark.parametrize("closure", CLOSURES)
def test_what_an_emergence_falls_from_is_the_derived_loss_without_output(closure):
    problem = PROBLEMS["unequal"]
    loss = compile_system(gradient_flow("merged", closure)).loss.bind(problem.float_values())
    shape = (problem.n_tasks, problem.n_heads)
    without = np.concatenate([np.zeros(shape).ravel(), np.full(shape, 0.05).ravel()])
    assert before_emergence(problem, np.inf) == pytest.approx(float(loss(without)), rel=1e-14)
    assert before_emergence(problem, 0.5) == 0.5


def test_tasks_of_very_different_powers_refute_nothing():
    """There the orders that checks part lie far from their usual places, and searches are badly conditioned."""
    problems = (
        hf.Problem([6, 21, 484100, 339], [1.98e7, 1.68e-6, 13.2, 2.95], 2.49, 32277302, 4),
        hf.Problem([2, 29029, 380656], [4.04e10, 1.65e-10, 8.01e9], 1.11e4, 54255992, 3),
        hf.Problem([30495], [4.69e10], 3.42, 1, 1),
    )
    claims = ["cascade", "linear-attention-optimum", "context-length-shift"]
    for problem in problems:
        for verdict in hf.verify(problem, claims, quick=True).verdicts:
            assert verdict.verdict in ("holds", "not_applicable"), verdict


def test_the_late_law_waits_for_the_weakest_task():
    problem = hf.Problem([6, 6], [1e7, 1e-6], 0.1, 100, 2)
    limits = np.array([[float(size) for size in dynamics._at_rest(problem, task)] for task in range(2)])
    mu, omega = (np.diag(values) for values in limits.T)
    assert dynamics._has_settled(problem, State(1e4, mu, omega, 0.0))
    mu[1, 1] = 1e-6  # for the loss it is as good
    assert not dynamics._has_settled(problem, State(1e4, mu, omega, 0.0))


def test_a_context_that_is_not_long_for_a_wide_task_refutes_nothing():
    """What is left of a finite context grows with the exponential of √d by the time of emergence."""
    finding = valley.emergence(Setting(hf.Problem([30000], [1], 0.1, 100, 3), seed=0, quick=True))
    assert outcome(finding) == "inconclusive"
    assert "a context is long for this problem from" in finding.what


@pytest.mark.parametrize(
    "problem",
    [
        hf.Problem([88394], [1.66e-6], 56.5, 472465730, 1),
        hf.Problem([5], [3.19e-6], 4.03e-10, 676922899, 1),
        hf.Problem([3, 9699], [2410, 0.00146], 0.00784, 789853162, 1),
    ],
)
def test_losses_of_any_size_are_searched_alike(problem):
    finding = statics.single_head(Setting(problem, seed=0, quick=True))
    assert outcome(finding) == "holds", finding


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (hf.Problem([135461, 73475, 37], [5.19e10, 538, 1.16e-12], 0.00273, 76202, 5), "inconclusive"),
        (hf.Problem([4, 9, 6], [1e3, 2, 7e-5], 0.1, 80, 3), "holds"),
    ],
)
def test_the_ratio_of_long_contexts_is_looked_at_where_one_head_serves_all_tasks(problem, expected):
    finding = statics.separation_for_long_contexts(Setting(problem, seed=0, quick=True))
    assert outcome(finding) == expected, finding


@pytest.mark.parametrize(("power", "expected"), [(0.1, "holds"), (2.76e10, "inconclusive")])
def test_a_quadrature_that_has_not_converged_refutes_nothing(power, expected):
    finding = model._against_quadrature(Setting(hf.Problem([564], [power], 1.45, 1, 2), seed=0, quick=True))
    assert outcome(finding) == expected, finding


@pytest.mark.slow
def test_a_wide_task_emerges_as_predicted_from_starts_that_are_small_for_it():
    problem = hf.Problem([838805, 82, 53863], [7.54e8, 0.00243, 0.0323], 1.92e-5, 748, 2)
    finding = dynamics.first_emergence(Setting(problem, seed=0, quick=True))
    assert outcome(finding) == "holds", finding
    assert finding.fits[0].predicted_constant < 1e-3  # in the units of the problem
