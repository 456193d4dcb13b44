"""The proportional limit of the Bayes risk, in which d_i and L grow together: a closed form.

Derived here from the Marchenko–Pastur equation for the sample covariance of Gaussian covariates, d_i/L = γ_i fixed.
"""

from __future__ import annotations

from sympy import Expr, IndexedBase, S, Symbol, solve

from .. import notation as n
from ..closed_form import ClosedForm
from ..derivation import Recorder
from ..result import builder
from ..scalars import only

bayes_limit_symbol = Symbol("loss_bayes_limit", positive=True)
aspect_ratio = IndexedBase("gamma", positive=True)
penalty = IndexedBase("z", positive=True)
# The penalty of the best ridge regression.
penalty_of_task = n.noise_variance * aspect_ratio[n.i] / n.signal_power[n.i]
stieltjes = IndexedBase("m_MP", positive=True)


@builder
def bayes_limit() -> ClosedForm:
    """Σ_i of the posterior risk of task i, d_i, L → ∞ at fixed d_i/L."""
    i, signal = n.i, n.signal_power[n.i]
    ratio, ridge, transform = aspect_ratio[i], penalty[i], stieltjes[i]
    record = Recorder("Proportional limit of the Bayes risk", ("d_i, L → ∞ at fixed γ_i = d_i/L",))
    posterior = n.noise_variance * ratio * transform
    record(
        "posterior in the limit",
        (bayes_limit_symbol, n.over_tasks(posterior)),
        "β_i given the context is Gaussian with covariance (σ²/L)(Σ̂ + z_i)⁻¹, z_i = σ² γ_i/λ_i; "
        "its trace is σ² γ_i m_i with m_i the normalised trace of (Σ̂ + z_i)⁻¹.",
    )
    equation = _marchenko_pastur(ratio, ridge, transform)
    record(
        "Marchenko–Pastur equation",
        (equation, S.One),
        "The Stieltjes transform of the limiting spectrum of Σ̂ at −z_i (Marchenko and Pastur 1967).",
    )
    a, b, unknown = Symbol("a", positive=True), Symbol("b", real=True), Symbol("m", real=True)
    square, linear = (equation.coeff(transform, power) for power in (2, 1))
    # The product of the roots is −1/a < 0, so exactly one is positive whatever the sign of b.
    roots = solve(a * unknown**2 + b * unknown - 1, unknown)
    positive = only([root for root in roots if root.subs({a: 1, b: 0}) > 0], transform)
    root = positive.subs({a: square, b: linear})
    record(
        "positive root",
        (transform, root),
        "The roots have the product −1/(γ_i z_i) < 0: one is positive.",
        check=lambda: bool((equation.xreplace({transform: root}) - 1).expand() == 0 and square.is_positive),
    )
    task = posterior.xreplace({n.noise_variance: signal * ridge / ratio, transform: root})
    record(
        "limit in gamma and z",
        (bayes_limit_symbol, n.over_tasks(task)),
        "σ² γ_i = λ_i z_i.",
    )
    in_problem = task.xreplace({ridge: penalty_of_task})
    expression = n.over_tasks(in_problem.xreplace({ratio: n.dims[i] / n.context_length}))
    record("proportional limit", (bayes_limit_symbol, expression), "γ_i = d_i/L and z_i = σ² d_i/(λ_i L).")
    return ClosedForm("the proportional limit of the Bayes risk", bayes_limit_symbol, expression, record.freeze())


def _marchenko_pastur(ratio: Expr, ridge: Expr, transform: Expr) -> Expr:
    """The left side of ``γ z m² + (1 − γ + z) m = 1``, solved by m = lim tr(Σ̂ + z)⁻¹/d."""
    return ratio * ridge * transform**2 + (1 - ratio + ridge) * transform
