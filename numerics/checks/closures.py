"""Checks of how the closures hang together, and of the limits of finite_d and first_order."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import chain

from sympy import Expr, Integer, N

from ...theory import notation as n
from ...theory.closed_form import to_float
from ...theory.indexed import substitute, unroll
from ...theory.optima.bounds import universal_lower_bound
from ...theory.optima.closures import closure_limits, finite_d_bounds
from ...theory.optima.limits import task_allocation_limit
from ..problem.problem import Problem
from .finding import Finding, Setting, proof
from .statics import FLOAT_ERROR, approached, longer, stationary_at


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


def finite_d_factor(setting: Setting) -> tuple[Finding, ...]:
    """The proof's steps, and the ratio for this problem (at H = I) against its largest κ; then each task up to κ."""
    steps = proof(finite_d_bounds())
    enough = setting.with_enough_heads()
    problem = enough.replace(n_heads=max(enough.n_heads, 2))

    def ratio(at: Problem) -> Expr:
        return task_allocation_limit("finite_d").loss.exact(at) / universal_lower_bound().exact(at)

    measured = to_float(ratio(problem)) if steps.measured == 0 else math.inf
    what = "limit over universal bound"
    within = Finding("symbolic", measured, _largest_kappa(problem), FLOAT_ERROR, what, problem=problem)
    alone = dict.fromkeys(problem.subset([task], n_heads=2) for task in range(problem.n_tasks))
    ways = (
        approached(setting, "1 − ratio/κ", "L", longer(one), lambda at: 1 - ratio(at) / _kappas(at)[0]) for one in alone
    )
    return within, *chain.from_iterable(ways)


def _largest_kappa(problem: Problem) -> float:
    return float(max(N(kappa) for kappa in _kappas(problem)))


def _kappas(problem: Problem) -> list[Expr]:
    """κ of every task."""
    kappa = task_allocation_limit("finite_d").kappa
    assert kappa is not None
    values = problem.exact_values()
    tasks = (Integer(task + 1) for task in range(problem.n_tasks))
    return [unroll(substitute(kappa.expression, {n.i: task}), values) for task in tasks]
