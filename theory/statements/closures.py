"""The statements about the closures ``finite_d`` and ``first_order``, and how they hang together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..errors import HypothesisError
from ..hypothesis import AS_MANY_HEADS, SEVERAL_HEADS, Hypothesis, Numbers, tasks_in_words
from ..model.loss import population_loss
from ..optima.closures import closure_limits, finite_d_bounds
from ..optima.limits import task_allocation_limit
from ..statement import DERIVED, Statement

LARGE_CONTEXT = "L → ∞ (order 1/L kept)"
FINITE_D = "the closure finite_d: the expectation over the query is exact, and 2 ω_j^h ω_j^k < 1"

LIMIT_EXISTS = replace(AS_MANY_HEADS, statement="H ≥ I for the limit")


def _has_roots(values: Mapping[str, Any]) -> bool:
    """Whether the limit of first_order lies in its range for every task."""
    try:
        task_allocation_limit("first_order").omega.at_tasks(Numbers({**values, "H": values["I"]}))
    except HypothesisError:
        return False
    return True


IN_RANGE = Hypothesis("ω_i < 1/√6", _has_roots, lambda values: f"{tasks_in_words(values)}; L = {values['L']}")


def _loss(closure: str, title: str, hypotheses: tuple[str, ...]) -> Statement:
    loss = population_loss(closure)
    claim = (*loss.derivation.result.formula, *((item.head, item.body) for item in loss.definitions[1:]))
    id_ = f"{closure.replace('_', '-')}-loss"
    return Statement(id_, title, hypotheses, claim, DERIVED, loss.derivation)


def _finite_d_loss() -> Statement:
    return _loss("finite_d", "Population loss at finite d", (LARGE_CONTEXT, FINITE_D))


def _first_order_loss() -> Statement:
    return _loss("first_order", "Population loss with every term of order 1/L", ("L → ∞", "(ω_i^h)² < 1/6"))


def _limits() -> Statement:
    derivation = closure_limits()
    claim = (*derivation["first_order tends to leading"].formula, *derivation["kappa tends to e"].formula)
    return Statement(
        "closure-limits",
        "The closures tend to the leading one",
        ("d_i → ∞ at fixed d_i ω_i², d_i/L and ω_i μ_i",),
        claim,
        DERIVED,
        derivation,
    )


def _allocation() -> Statement:
    limit = task_allocation_limit("finite_d")
    assert limit.kappa is not None
    forms = (limit.omega, limit.mu, limit.loss, limit.kappa)
    return Statement(
        "finite-d-allocation-limit",
        "Task-allocation limit at finite d",
        (FINITE_D, AS_MANY_HEADS, "task i on head i alone"),
        tuple((form.symbol, form.expression) for form in forms),
        DERIVED,
        limit.derivation,
    )


def _first_order_allocation() -> Statement:
    limit = task_allocation_limit("first_order")
    return Statement(
        "first-order-allocation-limit",
        "Task-allocation limit with every term of order 1/L",
        (IN_RANGE, AS_MANY_HEADS, "task i on head i alone"),
        tuple(limit.loss.lines),
        DERIVED,
        limit.derivation,
    )


def _bounds() -> Statement:
    derivation = finite_d_bounds()
    return Statement(
        "finite-d-bounds",
        "Optimum and factor at finite d",
        (FINITE_D, replace(SEVERAL_HEADS, statement="H ≥ 2 for the infimum"), LIMIT_EXISTS),
        (*derivation["same infimum"].formula, *derivation["termwise"].formula),
        DERIVED,
        derivation,
    )


CLOSURE_BUILDERS: Mapping[str, Callable[[], Statement]] = {
    "finite-d-loss": _finite_d_loss,
    "first-order-loss": _first_order_loss,
    "closure-limits": _limits,
    "finite-d-allocation-limit": _allocation,
    "first-order-allocation-limit": _first_order_allocation,
    "finite-d-bounds": _bounds,
}
