"""Limits, bounds and optima are used alike: an expression, LaTeX, an exact number and a float for a problem."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sympy import Expr, N

import headflow as hf
from headflow import numerics, theory
from headflow.errors import HypothesisError

EQUAL = hf.Problem(dims=[4, 4], signal_power=[1, 1], noise_variance=0.1, context_length=50, n_heads=3)
ALONE = EQUAL.subset([0], n_heads=2)
COVARIATES = numerics.CovariateProblem(
    variances=[1, 2], regressor_variances=[1, 1], noise_variance=0.1, context_length=10, n_heads=2
)
VALUES: dict[str, tuple[Callable[[], Any], Any, float]] = {
    "universal_lower_bound": (theory.universal_lower_bound, EQUAL, 11 / 68),
    "multi_head_optimum": (theory.multi_head_optimum, EQUAL, 11 / 68),
    "equal_tasks_optimum": (theory.equal_tasks_optimum, EQUAL, 11 / 68),
    "universal_bound_reached": (theory.universal_bound_reached, EQUAL, 3),
    "task_allocation_limit": (theory.task_allocation_limit, EQUAL, 0.3860669819804657),
    "finite_d limit": (lambda: theory.task_allocation_limit("finite_d"), EQUAL, 2 * 0.297 / 1.297),
    "first_order limit": (lambda: theory.task_allocation_limit("first_order"), EQUAL, 0.5651178171222729),
    "split_task": (theory.split_task, EQUAL, 0.3860669819804657),
    "context_shift": (theory.context_shift, EQUAL, 0.3860669819804657),
    "single_head_optimum": (theory.single_head_optimum, EQUAL, 0.6472022535763439),
    "shared_head": (theory.shared_head, EQUAL, 0.6472022535763439),
    "shared_head in finite_d": (lambda: theory.shared_head("finite_d"), EQUAL, 0.6988564167725541),
    "factor_e": (theory.factor_e, EQUAL, 2.3865958886065153),
    "separation": (theory.separation, EQUAL, 1.676398873211828),
    "bayes_limit": (theory.bayes_limit, EQUAL, 0.017228585166085126),
    "linear_attention_optimum": (theory.linear_attention_optimum, EQUAL, 54 / 277),
    "zero_sum_pair": (theory.zero_sum_pair, ALONE, 11 / 136),
    "linear_staircase": (theory.linear_staircase, COVARIATES, 0.6971546438360035),
    "merged minimum": (lambda: theory.merged_minimum().total, ALONE, 2 / (1 + 0.088 * 2.718281828459045)),
}


@pytest.mark.parametrize("name", VALUES)
def test_they_are_used_alike(name: str) -> None:
    derive, problem, value = VALUES[name]
    found = derive()
    assert isinstance(found.expression, Expr)
    assert found.latex() in (found.latex(), str(found))
    assert r"\begin{aligned}" in found.latex() or "=" in found.latex()
    assert found.text() == str(found)
    assert found._repr_html_().startswith("<")
    exact = found.exact(problem)
    assert isinstance(exact, Expr)
    assert not exact.free_symbols
    assert found.evaluate(problem) == float(N(exact, 30))
    assert found.evaluate(problem) == pytest.approx(value, rel=1e-6)


def test_they_agree_with_the_assignments_that_they_are_about() -> None:
    for closure in ("leading", "finite_d"):
        shared = theory.shared_head(closure).evaluate(EQUAL)
        assert shared == pytest.approx(numerics.assignment_limit(EQUAL, [[0, 1]], closure), rel=1e-12)
        with pytest.raises(HypothesisError, match="the loss of a shared head requires equal tasks"):
            theory.shared_head(closure).exact(EQUAL.replace(dims=[4, 5]))
    assert theory.single_head_residuals().evaluate(EQUAL) == pytest.approx((0.3236011267881719,) * 2)
    longer = theory.context_shift()
    assert longer.exact(EQUAL, 50) == longer.exact(EQUAL)
    with pytest.raises(HypothesisError, match="requires at least as many heads"):
        theory.split_task().exact(EQUAL.replace(n_heads=1))


def test_theory_lists_its_statements() -> None:
    import headflow.theory.statements as package

    assert theory.statements is package
    listed = theory.statements()
    assert listed == package.statements()
    assert all(isinstance(entry, theory.Statement) for entry in listed)
    assert {entry.id for entry in listed} == set(numerics.checks.registry.CHECKS)


def test_what_has_no_equations_prints_its_parts() -> None:
    text = str(theory.attention_gradient())
    assert text.startswith("loss = PopulationLoss(")
    assert "state = μ_i^h, ω_i^h" in text
    assert theory.attention_gradient()._repr_html_().startswith("<pre>loss = ")
