"""Checks of the flows linearised at their limits: each against the Jacobian of the generated code."""

from __future__ import annotations

import math

import numpy as np
from sympy import Integer, N

from ...theory import notation as n
from ...theory.closed_form import to_float
from ...theory.indexed import substitute, unroll
from ...theory.merged.identical_heads import merged_minimum
from ...theory.merged.merged_zero import merged_at_zero
from ...theory.optima.limits import task_allocation_limit
from ...theory.parameters import PARAMETERS
from ...theory.phases.linearisation import linearised_flow
from ..code.native import native_system
from ..flows.derived import flow
from ..problem.problem import FloatArray, Problem
from .finding import Finding, Setting, at_least_two_tasks

# Relative deviation that eigenvalues of a float64 Jacobian may show, and what rounding does to simple ones.
SAME = 1e-6
ROUNDING = 1e-9


def balanced_limit_stable(setting: Setting) -> Finding:
    """The spectrum of the balanced flow at the limit; none of it positive."""
    problem = setting.allocated()
    spectrum = np.array(linearised_flow("balanced").evaluate(problem).spectrum)
    deviation = _deviation(spectrum_at_limit(problem, "balanced"), spectrum)
    measured = deviation if spectrum.max() <= 0 else math.inf
    what = "largest deviation of an eigenvalue, relative to the fastest"
    return Finding("float", measured, SAME, ROUNDING, what, problem=problem)


def split_limit_saddle(setting: Setting) -> Finding:
    """The spectrum of the split flow at the limit; its largest eigenvalue is the largest escape rate."""
    problem = at_least_two_tasks(setting.allocated())
    rates = linearised_flow("split").evaluate(problem)
    found = spectrum_at_limit(problem, "split")
    deviation = _deviation(found, np.array(rates.spectrum))
    escape = max(pair[0] for pair in rates.off_task)
    measured = max(deviation, abs(float(found.max()) / escape - 1)) if escape > 0 else math.inf
    # Rounding is a share of the fastest rate, of which a slow escape is a small part.
    rounding = ROUNDING + float(np.finfo(float).eps * np.abs(found).max() / escape) if escape > 0 else ROUNDING
    return Finding("float", measured, SAME, rounding, "largest relative deviation of an eigenvalue", problem=problem)


def merged_zero(setting: Setting) -> Finding:
    """Growing eigenvalues of the merged flow at zero."""
    problem = setting.small(3)
    problem = problem if problem.n_heads > 1 else problem.replace(n_heads=2)
    rates = merged_at_zero().evaluate(problem)
    expected = np.sort([*rates.sum, *((problem.n_heads - 1) * rates.zero_sum)])
    zero = np.zeros((problem.n_tasks, problem.n_heads))
    found = _eigenvalues(problem, "merged", (zero, zero))
    growing = found[zero.size :]
    measured = _deviation(growing, expected)
    # Where noise makes decay much faster than growth, the growth rates are what rounding leaves of a difference.
    error = max(ROUNDING, 1e3 * float(np.finfo(float).eps * np.abs(found).max() / np.abs(expected).max()))
    return Finding("float", measured, SAME, error, "largest deviation of a growth rate", problem=problem)


def merged_degenerate_minimum(setting: Setting) -> Finding:
    """The second variation at identical heads, for μ of one sign and of both: random, neutral and tilted directions."""
    problem = setting.problem.subset([0], n_heads=max(2, min(setting.problem.n_heads, 4)))
    heads, minimum = problem.n_heads, merged_minimum()
    rng = np.random.default_rng(setting.seed)
    omega = np.full(heads, minimum.omega.evaluate(problem))
    positive = rng.uniform(0.5, 1.5, heads)
    mixed = positive.copy()
    mixed[0] *= -0.5
    measured = 0.0
    for weights, sign in ((positive, 1), (mixed, -1)):
        mu = weights / weights.sum() * minimum.total.evaluate(problem)
        # The velocity is minus the gradient, over d_1 for ω.
        slowness = np.repeat([1.0, float(problem.dims[0])], heads)
        hessian = -slowness[:, None] * _jacobian(problem, "merged", (mu, omega))
        tilt = np.stack([np.zeros(heads), omega[0] * (np.eye(heads)[0] - mu[0] / mu.sum())])
        random = list(rng.standard_normal((3, 2, heads)) * np.array([[mu.max()], [omega[0]]]))
        for direction in (tilt, *random):
            flat = direction.ravel()
            size = float(np.abs(flat) @ np.abs(hessian) @ np.abs(flat))
            told = _second_variation(problem, mu, direction)
            measured = max(measured, abs(float(flat @ hessian @ flat) - told) / size)
            if direction is tilt and told * sign <= 0:
                measured = math.inf
        neutral = np.concatenate([random[0][0] - random[0][0].mean(), np.zeros(heads)])
        size = float((np.abs(hessian) @ np.abs(neutral)).max())
        measured = max(measured, float(np.abs(hessian @ neutral).max()) / size)
    what = "largest relative deviation of the second variation; unbounded for a wrong sign"
    return Finding("float", measured, SAME, ROUNDING, what, setting.seed, problem=problem)


def spectrum_at_limit(problem: Problem, parametrisation: str) -> FloatArray:
    """Real parts of the generated Jacobian's eigenvalues at the limit of the balanced or the split flow, in order."""
    mu, omega = _limit_weights(problem)
    if parametrisation == "balanced":
        return _eigenvalues(problem, parametrisation, (mu, omega))
    factor, other = np.sqrt(mu), np.sqrt(math.sqrt(problem.embedding_dim) * omega)
    return _eigenvalues(problem, parametrisation, (factor, factor, other, other))


def _second_variation(problem: Problem, mu: FloatArray, direction: FloatArray) -> float:
    """The derived form at weights ``mu`` (H,) in a direction (2, H) of μ and ω."""
    values = {**problem.exact_values(), "mu": [mu.tolist()]}
    values |= {name: [row.tolist()] for name, row in zip(("mu_tilde", "omega_tilde"), direction, strict=True)}
    return float(N(unroll(merged_minimum().second_variation, values, PARAMETERS)))


def _limit_weights(problem: Problem) -> tuple[FloatArray, FloatArray]:
    limit, values = task_allocation_limit(), problem.exact_values()
    mu, omega = (
        np.diag(
            [
                to_float(unroll(substitute(form.expression, {n.i: Integer(task)}), values, PARAMETERS))
                for task in range(1, problem.n_tasks + 1)
            ]
        )
        for form in (limit.mu, limit.omega)
    )
    return mu, omega


def _jacobian(problem: Problem, parametrisation: str, state: tuple[FloatArray, ...]) -> FloatArray:
    own = native_system(flow(parametrisation, "leading"), I=problem.n_tasks, H=problem.n_heads)
    found = np.empty((own.n_state, own.n_state))
    y = np.concatenate([part.ravel() for part in state])
    own.function("jacobian", compiled=False)(own.bound(problem.float_values()), y, np.empty(own.n_work), found.ravel())
    return found


def _eigenvalues(problem: Problem, parametrisation: str, state: tuple[FloatArray, ...]) -> FloatArray:
    """Real parts of the generated Jacobian's eigenvalues, in order."""
    return np.sort(np.linalg.eigvals(_jacobian(problem, parametrisation, state)).real)


def _deviation(found: FloatArray, expected: FloatArray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())
