"""Symbolic checks: each holds, and a wrong constant in what it takes from theory is refuted, however small."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from sympy import Integer, Rational

from headflow import Problem, verify
from headflow.numerics.checks import CHECKS, IDENTITIES, Setting, identities
from headflow.numerics.verification.verdict import outcome
from headflow.theory import notation as n

REFERENCE = Problem(dims=[10, 10, 10], signal_power=[1, 1, 1], noise_variance=0.1, context_length=100, n_heads=3)
SETTING = Setting(REFERENCE, seed=0, quick=True)
TINY = 1 + Rational(1, 10**40)


def times(value: Any, factor: Any) -> Any:
    if isinstance(value, tuple):
        return (*value[:-1], times(value[-1], factor))
    if hasattr(value, "expression"):
        return dataclasses.replace(value, expression=value.expression * factor)
    return value * factor


def wrong(field: str, factor: Any = TINY) -> Callable[[Any], Any]:
    """A copy with a field (or the last entry of it) multiplied."""
    return lambda right: dataclasses.replace(right, **{field: times(getattr(right, field), factor)})


def only(parametrisation: str, change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda right: change(right) if right.parametrisation == parametrisation else right


WRONG = [
    ("merged-flow", "gradient_flow", wrong("velocity")),
    ("balanced-flow", "gradient_flow", wrong("velocity")),
    ("log-coordinates", "to_log", wrong("velocity")),
    ("split-flow", "gradient_flow", wrong("velocity")),
    ("split-logarithms", "to_log", wrong("velocity")),
    ("split-logarithms", "gradient_flow", wrong("invariants")),
    ("hyperbolic-angles", "to_hyperbolic", wrong("velocity")),
    ("symmetric-reduction", "symmetric_reduction", wrong("gradient")),
    ("symmetric-reduction", "symmetric_reduction", wrong("loss")),
    ("mu-elimination", "eliminate_mu", wrong("mu")),
    ("mu-elimination", "eliminate_mu", wrong("loss")),
    ("task-allocation-limit", "task_allocation_limit", wrong("mu")),
    ("task-allocation-limit", "task_allocation_limit", wrong("omega")),
    ("task-allocation-limit", "task_allocation_limit", wrong("loss")),
    ("merged-at-zero", "merged_at_zero", wrong("zero_sum")),
    ("merged-at-zero", "merged_at_zero", wrong("sum")),
    # One head by its number, a head in the place of a task, an index as a number, half of a range.
    ("permutation-equivariance", "gradient_flow", wrong("velocity", n.mu[n.i, Integer(1)])),
    ("permutation-equivariance", "gradient_flow", wrong("velocity", n.mu[n.h, n.i])),
    ("permutation-equivariance", "gradient_flow", wrong("velocity", n.h)),
    ("permutation-equivariance", "gradient_flow", wrong("velocity", n.dims[n.h])),
]


@pytest.mark.parametrize("id", IDENTITIES)
def test_the_identity_holds(id):
    finding = IDENTITIES[id](SETTING)
    assert (finding.evidence, outcome(finding)) == ("symbolic", "holds")


def test_a_loss_that_is_right_for_three_tasks_only_is_refuted(monkeypatch):
    right = identities.symmetric_reduction()
    tasks, off = n.n_tasks, right.state[1]
    extra = (tasks - 3) * off**2
    gradient = list(right.gradient)
    gradient[1] += 2 * (tasks - 3) * off / (tasks * (tasks - 1))
    planted = dataclasses.replace(right, loss=right.loss + extra, gradient=tuple(gradient))
    monkeypatch.setattr(identities, "symmetric_reduction", lambda: planted)
    assert outcome(IDENTITIES["symmetric-reduction"](SETTING)) == "fails"


@pytest.mark.parametrize(("id", "name", "change"), WRONG, ids=[f"{id}-{place}" for place, (id, *_) in enumerate(WRONG)])
def test_a_wrong_constant_is_refuted(id, name, change, monkeypatch):
    right = getattr(identities, name)
    monkeypatch.setattr(identities, name, lambda *args: change(right(*args)))
    assert outcome(IDENTITIES[id](SETTING)) == "fails"


def test_every_identity_is_refuted_by_something():
    assert {id for id, *_ in WRONG} == set(IDENTITIES) <= set(CHECKS)


def test_the_verdict_is_symbolic_and_names_the_measurement_too():
    (verdict,) = verify(REFERENCE, ["balanced-flow"], quick=True).verdicts
    assert (verdict.verdict, verdict.evidence) == ("holds", "symbolic")
    assert [finding.evidence for finding in verdict.findings] == ["symbolic", "float"]
