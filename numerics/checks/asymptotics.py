"""Laws fitted over a range as further evidence: κ → e, drop times of linear attention."""

from __future__ import annotations

import numpy as np
from sympy import E, Float, N, Symbol, limit, log, together

from ...theory import notation as n
from ...theory.families.staircase import linear_staircase
from ...theory.optima.limits import task_allocation_limit
from ..predictions.fit import power_law
from ..predictions.staircase import compare_staircase
from .families import covariates
from .finding import Finding, Setting, fitted


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
    times = [compare_staircase(problem, float(scale), "aligned", rtol=1e-8).measured[0].time for scale in scales]
    constant = 1 / max(linear_staircase().drives(problem))
    law = power_law("time of a drop", "ε", scales, times, exponent=-1.0, constant=constant, correction=1.0)
    return fitted("float", [law], 1e-3, 1e-6, setting.seed, problem)
