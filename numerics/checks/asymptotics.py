"""Owns laws fitted over a range as further evidence: orders of the closures, κ → e, drop times of linear attention."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from sympy import E, Float, N, Symbol, limit, log, together

from ...theory import notation as n
from ...theory.families.staircase import linear_staircase
from ...theory.limits import task_allocation_limit
from ..closure_table import closure_losses
from ..fit import power_law
from ..problem import FloatArray, Problem
from ..reproductions.closures import PREDICTED_ORDERS, pair_at, single_task_risk
from ..staircase import compare_staircase
from .families import covariates
from .finding import Finding, Setting, fitted

_OMEGA = 0.15  # inside the range ω² < 1/6 of the order in 1/L


def leading_order(setting: Setting) -> Finding:
    """The sampled risk of a zero-sum pair less the leading loss: ∝ 1/L, with the constant of the first order."""
    return _closure_order("leading", setting)


def finite_d_order(setting: Setting) -> Finding:
    """The same of finite_d."""
    return _closure_order("finite_d", setting)


def first_order_order(setting: Setting) -> Finding:
    """The same of first_order: ∝ 1/L², the constant unknown."""
    return _closure_order("first_order", setting)


def kappa(setting: Setting) -> Finding:
    """κ(d)/e − 1 over six decades of d, at high precision: ∝ 1/d."""
    form = task_allocation_limit("finite_d").kappa
    assert form is not None
    dim, small = Symbol("d", positive=True), Symbol("x", positive=True)
    own = form.expression.xreplace({n.dims[n.i]: dim})
    dims = [10**power for power in range(2, 9)]
    # With integers SymPy would write out the powers.
    values = [float(N(own.xreplace({dim: Float(size, setting.digits)}) / E - 1, setting.digits)) for size in dims]
    # κ/e − 1 and log κ − 1 have one leading order.
    logarithm = together(log(own).expand(force=True).xreplace({dim: 1 / small}))
    constant = float(limit((logarithm - 1) / small, small, 0))
    law = power_law("κ/e − 1", "d", dims, values, exponent=-1.0, constant=constant, correction=-1.0)
    return fitted("high_precision", [law], 1e-2, 1e-6, problem=f"d = {dims[0]} to {dims[-1]}")


def drop_time(setting: Setting) -> Finding:
    """The drop of linear attention on one coordinate from small aligned weights: 1/(γ ε), next order smaller by ε."""
    problem = covariates(setting, 1)
    scales = np.geomspace(1e-4, 1e-2, 5)
    times = [
        compare_staircase(problem, float(scale), "aligned", rtol=1e-6 if setting.quick else 1e-8).measured[0].time
        for scale in scales
    ]
    constant = 1 / max(linear_staircase().drives(problem))
    law = power_law("time of a drop", "ε", scales, times, exponent=-1.0, constant=constant, correction=1.0)
    return fitted("float", [law], 1e-3, 1e-6, setting.seed, problem)


def _closure_order(closure: str, setting: Setting) -> Finding:
    task = setting.problem.subset([0], n_heads=2)
    problem = task.replace(dims=[min(task.dims[0], 8)])
    lengths, risk, spread = _sampled(problem, setting.seed, setting.quick)
    sized = problem.replace(context_length=int(lengths[0]))
    losses = {name: _loss(sized, name) for name in (closure, "first_order")}
    missing = risk - np.array([_loss(problem.replace(context_length=int(length)), closure) for length in lengths])
    # Of leading and finite_d all of order 1/L that they lack is what first_order has.
    lacks = (losses["first_order"] - losses[closure]) * lengths[0]
    sign = math.copysign(1.0, missing[0] if closure == "first_order" else lacks)
    law = power_law(
        f"risk less {closure}",
        "L",
        lengths,
        sign * missing,
        exponent=-PREDICTED_ORDERS[closure],
        constant=None if closure == "first_order" else abs(lacks),
        correction=-1.0,
        errors=spread,
    )
    problems = tuple(problem.replace(context_length=int(length)) for length in lengths)
    return fitted("monte_carlo", [law], 0.5, seed=setting.seed, problem=problems)


def _loss(problem: Problem, closure: str) -> float:
    found = closure_losses(problem, pair_at(_OMEGA))[0][closure]
    assert found is not None
    return float(found.sum())


@lru_cache(maxsize=4)
def _sampled(problem: Problem, seed: int, quick: bool) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Context lengths, sampled risks and their standard errors."""
    lengths = np.array([30.0, 60.0, 120.0, 240.0, 480.0])
    scores = 2_000_000 if quick else 30_000_000
    runs = [
        single_task_risk(problem.replace(context_length=int(length)), pair_at(_OMEGA), int(scores / length), seed)
        for length in lengths
    ]
    risk, spread = (np.array(column) for column in zip(*runs, strict=True))
    return lengths, risk, spread
