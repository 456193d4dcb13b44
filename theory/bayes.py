"""Owns the Bayes risk: what the best predictor (ridge with the right penalty) loses, in the proportional limit.

Derived here from the Marchenko–Pastur equation for the sample covariance of Gaussian covariates, d_i/L = γ_i fixed.
"""

from __future__ import annotations

from functools import cache

from sympy import IndexedBase, S, Symbol, solve

from . import notation as n
from .closed_form import ClosedForm
from .derivation import Recorder
from .scalars import only

bayes_risk_symbol = Symbol("loss_bayes", positive=True)
aspect_ratio = IndexedBase("gamma", positive=True)
penalty = IndexedBase("z", positive=True)
stieltjes = IndexedBase("m_MP", positive=True)


@cache
def bayes_risk() -> ClosedForm:
    """Σ_i of the posterior risk of task i, d_i, L → ∞ at fixed d_i/L."""
    i, signal = n.i, n.signal_power[n.i]
    ratio, ridge, transform = aspect_ratio[i], penalty[i], stieltjes[i]
    record = Recorder("Bayes risk", ("d_i, L → ∞ at fixed γ_i = d_i/L",))
    record(
        "posterior",
        (bayes_risk_symbol, n.over_tasks(n.noise_variance * ratio * transform)),
        "β_i given the context is Gaussian with covariance (σ²/L)(Σ̂ + z_i)⁻¹, z_i = σ² γ_i/λ_i; "
        "its trace is σ² γ_i m_i with m_i the normalised trace of (Σ̂ + z_i)⁻¹.",
    )
    linear = 1 - ratio + ridge
    record(
        "Marchenko–Pastur equation",
        (ratio * ridge * transform**2 + linear * transform, S.One),
        "The Stieltjes transform of the limiting spectrum of Σ̂ at −z_i (Marchenko and Pastur 1967).",
    )
    b, unknown = Symbol("b", real=True), Symbol("m", real=True)
    g, z = Symbol("g", positive=True), Symbol("z", positive=True)
    roots = solve(g * z * unknown**2 + b * unknown - 1, unknown)
    # The product of the roots is −1/(g z) < 0, so exactly one is positive whatever the sign of b.
    positive = only([root for root in roots if root.subs({g: 1, z: 1, b: 0}) > 0], transform)
    root = positive.xreplace({g: ratio, z: ridge}).subs(b, linear)
    record("positive root", (transform, root), "The roots have the product −1/(γ_i z_i) < 0: one is positive.")
    task = signal * ridge * root
    record(
        "Bayes risk in gamma and z",
        (bayes_risk_symbol, n.over_tasks(task)),
        "σ² γ_i = λ_i z_i.",
    )
    in_problem = task.xreplace({ridge: n.noise_variance * ratio / signal})
    expression = n.over_tasks(in_problem.xreplace({ratio: n.dims[i] / n.context_length}))
    record("Bayes risk", (bayes_risk_symbol, expression), "γ_i = d_i/L and z_i = σ² d_i/(λ_i L).")
    return ClosedForm("the Bayes risk", bayes_risk_symbol, expression, record.freeze())
