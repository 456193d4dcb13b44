"""Owns checks of how the closures hang together, and of the limits of finite_d and first_order."""

from __future__ import annotations

import math
from dataclasses import replace

from sympy import Integer, N

from ...theory import notation as n
from ...theory.bounds import universal_lower_bound
from ...theory.closed_form import to_float
from ...theory.closures import closure_limits, finite_d_bounds
from ...theory.indexed import substitute, unroll
from ...theory.limits import task_allocation_limit
from ..problem import Problem
from .finding import Finding, Setting, proof
from .statics import FLOAT_ERROR, stationary_at


def limits(setting: Setting) -> Finding:
    """The steps: both losses have the leading one as their leading order, κ tends to e."""
    del setting
    return proof(closure_limits())


def finite_d_allocation(setting: Setting) -> Finding:
    """At high precision: the closed form is stationary, and its loss is that of the derived loss."""
    return stationary_at("finite_d", setting)


def first_order_allocation(setting: Setting) -> Finding:
    """At high precision: the root of the equation is stationary; every task must have d_i ≥ 8 for it to exist."""
    problem = setting.problem
    # Where a task has no root in the range of validity, the statement says nothing: take larger dimensions.
    large = problem.replace(dims=[max(dim, 8) for dim in problem.dims], context_length=max(problem.context_length, 50))
    return stationary_at("first_order", replace(setting, problem=large))


def finite_d_factor(setting: Setting) -> Finding:
    """The proof's steps, and the ratio for this problem (at H = I) against its largest κ, both exact."""
    steps = proof(finite_d_bounds())
    enough = setting.with_enough_heads()
    problem = enough.replace(n_heads=max(enough.n_heads, 2))
    limit = task_allocation_limit("finite_d")
    ratio = to_float(limit.loss.exact(problem) / universal_lower_bound().exact(problem))
    measured = ratio if steps.measured == 0 else math.inf
    return Finding(
        "symbolic", measured, _largest_kappa(problem), FLOAT_ERROR, "limit over universal bound", problem=problem
    )


def _largest_kappa(problem: Problem) -> float:
    kappa = task_allocation_limit("finite_d").kappa
    assert kappa is not None
    values = problem.exact_values()
    tasks = (Integer(task + 1) for task in range(problem.n_tasks))
    return max(float(N(unroll(substitute(kappa.expression, {n.i: task}), values))) for task in tasks)
