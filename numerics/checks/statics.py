"""Checks of optimum, limits and bounds on a problem."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import mpmath
import numpy as np
from scipy.optimize import minimize
from sympy import E, Expr, Integer, N

from ...theory import notation as n
from ...theory.closed_form import to_float
from ...theory.flows.flow import gradient_flow
from ...theory.indexed import substitute, unroll
from ...theory.optima.approaching_weights import approaching_directions
from ...theory.optima.bounds import factor_e, separation, single_head_optimum, universal_lower_bound
from ...theory.optima.limits import task_allocation_limit
from ...theory.optima.optimum import eliminate_mu, multi_head_optimum
from ...theory.optima.rooted_form import DIGITS as ROOT_DIGITS
from ...theory.parameters import PARAMETERS
from ...theory.precision import digits as at_digits
from ..code import compile_system
from ..optima.optimum import Profile, search_optimum
from ..predictions.fit import power_law
from ..problem.exact import LARGEST_INTEGER
from ..problem.problem import FloatArray, Problem
from .finding import NONE_FAILS, Finding, Setting, at_least_two_tasks, fitted, proof, too_long

FLOAT_ERROR = 1e-14
_BEYOND = 100  # how far beyond the context at which one head serves every task the law of its loss is looked for
LARGEST_NUMBER = int(sys.float_info.max) // 10**9


def mu_elimination(setting: Setting) -> Finding:
    """The least loss over μ, found by linear algebra on the generated gradient, is the profile loss."""
    problem = setting.small(4)
    omega = _random_omega(problem, setting.seed)
    direct = _least_loss(problem, omega)
    measured = abs(direct / Profile(problem).loss(omega) - 1)
    what = "relative deviation of the least loss over μ"
    # A loss that is small beside the signal is left of terms that cancel.
    rounding = float(np.finfo(float).eps) * float(sum(problem.signal_power)) / abs(direct)
    return Finding("float", measured, 1e-8, 1e-10 + rounding, what, setting.seed, problem=problem)


def optimum_theorem(setting: Setting) -> Finding:
    """The proof's steps; then a search of all weights ends at the infimum, and so does the explicit family."""
    problem = setting.small(4, n_heads=min(setting.problem.n_heads, 5))
    steps = proof(multi_head_optimum().derivation)
    infimum = multi_head_optimum().evaluate(problem)
    found = search_optimum(problem, starts=1 if setting.quick else 6, seed=setting.seed)
    below = found.excess < -1e-9
    reached = abs(_approached(problem, setting.digits) / infimum - 1)
    failures = steps.measured + float(below or found.excess > 1e-6) + float(reached > 1e-6)
    what = "failed proof steps, a search that ends elsewhere, or a family that does not close in"
    return Finding("symbolic", failures, NONE_FAILS, 0.0, what, setting.seed, problem=problem)


def universal_bound(setting: Setting) -> Finding:
    """The proof's steps; then no problem of any number of heads has an infimum below the bound."""
    steps = proof(universal_lower_bound().derivation)
    bound = universal_lower_bound().exact(setting.problem)
    heads = range(1, min(setting.problem.n_tasks, 6) + 2)
    gaps = (N(multi_head_optimum().exact(setting.problem, count) - bound, setting.digits) for count in heads)
    below = sum(bool(gap < -setting.residual[1]) for gap in gaps)
    what = "failed proof steps or optima below the bound"
    problems = tuple(setting.problem.replace(n_heads=count) for count in heads)
    return Finding("symbolic", steps.measured + float(below), NONE_FAILS, 0.0, what, problem=problems)


def single_head(setting: Setting) -> Finding:
    """The least profile loss of one head over ω, by numerical minimisation from several starts."""
    problem = setting.small(4, n_heads=1)
    exact = single_head_optimum().evaluate(problem)
    scale = np.sqrt(np.array(problem.dims, dtype=float))
    rng = np.random.default_rng(setting.seed)

    profile = Profile(problem)
    useless = float(sum(problem.signal_power))  # what a head does whose C overflows: a long step may end there

    def objective(scaled: FloatArray) -> float:
        omega = (scaled / scale)[:, None]
        # In units of what is looked for, as the search's tolerances are absolute.
        return (profile.loss(omega) if profile.inside(omega) else useless) / exact

    starts = rng.uniform(0.2, 1.0, (4 if setting.quick else 12, problem.n_tasks))
    # A task that one head leaves out sits at ω = 0, on the boundary.
    bounds = [(0.0, None)] * problem.n_tasks
    options: Any = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 500}
    best = min(minimize(objective, start, method="L-BFGS-B", bounds=bounds, options=options).fun for start in starts)
    what = "relative deviation of the found minimum"
    return Finding("float", abs(best - 1), 1e-6, 1e-9, what, setting.seed, problem=problem)


def allocation_stationary(setting: Setting) -> Finding:
    """At high precision: no gradient on task, the loss is the closed form, a positive μ-gradient off task."""
    return stationary_at("leading", setting)


def stationary_at(closure: str, setting: Setting) -> Finding:
    """`allocation_stationary` in a closure."""
    if closure == "first_order":  # its root has so many digits
        setting = replace(setting, digits=min(setting.digits, ROOT_DIGITS))
    given = setting.allocated()
    problem = given.in_units_of(max(given.signal_power))  # of which the residuals are shares
    limit = task_allocation_limit(closure)
    count = problem.n_tasks
    values: dict[str, Any] = dict(problem.exact_values())
    for name, form in (("mu", limit.mu), ("omega", limit.omega)):
        at = form.at_tasks(problem)
        values[name] = tuple(tuple(at[task] if task == head else 0 for head in range(count)) for task in range(count))
    flow = gradient_flow("balanced", closure)
    definitions = (*PARAMETERS, *flow.definitions)
    residuals = [abs(N(unroll(flow.loss, values, definitions) - limit.loss.exact(problem), setting.digits))]
    for place, partial in enumerate(flow.gradient):
        for task in range(count):
            for head in range(count):
                where = {n.i: Integer(task + 1), n.h: Integer(head + 1)}
                value = N(unroll(substitute(partial, where), values, definitions), setting.digits)
                if task == head or place == 1:
                    residuals.append(abs(value))
                elif value <= 0:
                    residuals.append(abs(value) + 1)
    return Finding("high_precision", float(max(residuals)), *setting.residual, "largest residual", problem=given)


def factor_e_bound(setting: Setting) -> tuple[Finding, ...]:
    """The proof's steps, and the ratio for this problem (at H = I) against e, both exact; then the way up to e."""
    steps = proof(factor_e().derivation)
    problem = setting.with_enough_heads()

    def ratio(at: Problem) -> Expr:
        return task_allocation_limit().loss.exact(at) / universal_lower_bound().exact(at)

    measured = to_float(ratio(problem)) if steps.measured == 0 else math.inf
    what = "limit over universal bound; the bound is e"
    within = Finding("symbolic", measured, float(E), FLOAT_ERROR, what, problem=problem)
    return within, *approached(setting, "1 − ratio/e", "L", longer(problem), lambda at: 1 - ratio(at) / E)


def strict_separation(setting: Setting) -> tuple[Finding, ...]:
    """The proof's steps, and the ratio of limit to single-head optimum for this problem (at H = I); then up to one."""
    steps = proof(separation().derivation)
    problem = at_least_two_tasks(setting.with_enough_heads())

    def ratio(at: Problem) -> Expr:
        return task_allocation_limit().loss.exact(at) / single_head_optimum().exact(at)

    measured = to_float(ratio(problem)) if steps.measured == 0 else math.inf
    within = Finding("symbolic", measured, 1.0, FLOAT_ERROR, "limit over single-head optimum", problem=problem)
    return within, *approached(setting, "1 − ratio", "σ²", _noisier(problem), lambda at: 1 - ratio(at))


def approached(
    setting: Setting, quantity: str, variable: str, ladder: Mapping[float, Problem], gap: Callable[[Problem], Expr]
) -> tuple[Finding, ...]:
    """Whether an inequality is sharp: along a ladder of problems its relative gap falls like one over the variable.

    At most problems an inequality has room in it, and would hold with another constant too.  With a wrong constant
    the gap does not vanish, or changes its sign.  No finding where the ladder has fewer than five problems.
    """
    if len(ladder) < 5:
        return ()
    gaps = [float(N(gap(problem), setting.digits)) for problem in ladder.values()]
    law = power_law(quantity, variable, list(ladder), gaps, exponent=-1.0, correction=-1.0)
    if min(gaps) <= 0:
        what = f"{quantity} where the inequality is all but attained: not positive"
        return (Finding("high_precision", -min(gaps), 0.0, setting.residual[1], what, problem=(*ladder.values(),)),)
    return (fitted("high_precision", [law], 1e-2, 1e-9, problem=(*ladder.values(),)),)


def longer(problem: Problem) -> dict[float, Problem]:
    """The problem at contexts long for every task, by their length."""
    lengths = [length for power in range(2, 11) if (length := 10**power * _long(problem)) <= LARGEST_INTEGER]
    return {float(length): problem.replace(context_length=length) for length in lengths}


def _long(problem: Problem) -> int:
    """A context from which on every task has more examples than it needs."""
    costs = (
        unroll(n.noise_to_context[task + 1], problem.exact_values(), PARAMETERS) for task in range(problem.n_tasks)
    )
    factor: int = max(1, math.ceil(max(costs)))
    return problem.context_length * factor


def _noisier(problem: Problem) -> dict[float, Problem]:
    """The problem at label noise from which no number of heads learns much of any task, by its variance."""
    tasks = zip(problem.dims, problem.signal_power, strict=True)
    strong = problem.n_tasks * max(
        power * max(Fraction(1), Fraction(problem.context_length, dim)) for dim, power in tasks
    )
    variances = [noise for power in range(2, 11) if (noise := 10**power * strong) <= LARGEST_NUMBER]
    return {float(noise): problem.replace(noise_variance=noise) for noise in variances}


def separation_for_long_contexts(setting: Setting) -> Finding:
    """The exact ratio where L is long for every task: its deviation from the limit falls like 1/L."""
    problem = at_least_two_tasks(setting.with_enough_heads())
    limit = separation().limit.exact(problem)
    # One head gives the weakest task its share last: the law begins long after that.
    long = {size: each for size, each in longer(problem).items() if _serves_all(each, _BEYOND)}
    problems = tuple(long.values())
    deviations = [abs(N(separation().exact(each) / limit - 1, setting.digits)) for each in problems]
    if deviations and max(deviations) < setting.residual[1]:
        what = "the ratio equals its limit at every L"
        return Finding("high_precision", 0.0, 1e-2, 1e-6, what, problem=problems)
    if len(long) < 4:
        return too_long(max(map(int, longer(problem)), default=_long(problem)))
    law = power_law("ratio/ρ − 1", "L", list(long), list(map(float, deviations)), exponent=-1.0, correction=-1.0)
    return fitted("high_precision", [law], 1e-2, 1e-9, problem=problems)


def _serves_all(problem: Problem, beyond: int) -> bool:
    """Whether one head, at its best, leaves out no task even in a context shorter by the factor ``beyond``."""
    shorter = problem.replace(context_length=max(1, problem.context_length // beyond))
    return all(share > 0 for share in multi_head_optimum().solve(shorter, 1).shares)


def ordering(setting: Setting) -> Finding:
    """Bound ≤ optimum ≤ limit ≤ single head, exactly, for this problem (at H = I where H < I).

    And where noise is so strong that the four all but meet, so that none of them has room to be wrong.
    """
    problem = setting.with_enough_heads()
    problems = (problem, *_noisier(problem).values())
    worst = max(_disorder(setting, each) for each in problems)
    what = "largest excess of a lower over the next higher loss"
    return Finding("high_precision", worst, *setting.residual, what, problem=problems)


def _disorder(setting: Setting, problem: Problem) -> float:
    """The largest relative excess of a lower over the next higher of the four losses."""
    chain = [
        universal_lower_bound().exact(problem),
        multi_head_optimum().exact(problem),
        task_allocation_limit().loss.exact(problem),
        single_head_optimum().exact(problem),
    ]
    return max(float(N(low / high - 1, setting.digits)) for low, high in pairwise(chain))


def _least_loss(problem: Problem, omega: FloatArray) -> float:
    """Minimise over μ: the gradient is affine in each task's row, so H + 1 evaluations give its matrix."""
    system = compile_system(gradient_flow("merged"))
    velocity, loss = (kernel.bind(problem.float_values()) for kernel in (system.velocity, system.loss))
    shape = omega.shape

    def slope(mu: FloatArray) -> FloatArray:
        return -velocity(np.concatenate([mu.ravel(), omega.ravel()]))[: mu.size].reshape(shape)

    constant = slope(np.zeros(shape))
    columns = []
    for head in range(shape[1]):
        unit = np.zeros(shape)
        unit[:, head] = 1.0
        columns.append(slope(unit) - constant)
    mu = np.stack(
        [
            np.linalg.solve(np.stack([column[task] for column in columns], axis=1), -constant[task])
            for task in range(shape[0])
        ]
    )
    return float(loss(np.concatenate([mu.ravel(), omega.ravel()])))


def _approached(problem: Problem, digits: int) -> float:
    """The profile loss of the explicit weights that approach the optimum (attained for one head)."""
    heads = min(problem.n_heads, problem.n_tasks + 1)
    shares = multi_head_optimum().solve(problem, heads).shares
    dims = [Integer(dim) for dim in problem.dims]
    with at_digits(digits):
        if heads == 1:
            omega = mpmath.matrix([mpmath.sqrt(mpmath.e * _mp(x) / int(d)) for x, d in zip(shares, dims, strict=True)])
        else:
            directions = approaching_directions(problem.dims, shares, heads)
            omega = mpmath.mpf(10) ** -6 * mpmath.matrix(
                [[_mp(directions[task, head]) for head in range(heads)] for task in range(problem.n_tasks)]
            )
        flow = gradient_flow("merged")
        interaction = next(item for item in flow.definitions if item.base == n.interaction)
        values = {
            **problem.exact_values(),
            "H": heads,
            "omega": [[omega[task, head] for head in range(heads)] for task in range(problem.n_tasks)],
        }
        matrix = mpmath.matrix(
            [
                [_mp(unroll(interaction.at(Integer(a + 1), Integer(b + 1)), values)) for b in range(heads)]
                for a in range(heads)
            ]
        )
        inverse = mpmath.inverse(matrix)
        values["C_inverse"] = [[inverse[a, b] for b in range(heads)] for a in range(heads)]
        elimination = eliminate_mu()
        values["x"] = [
            _mp(unroll(substitute(elimination.expressed, {n.i: Integer(task + 1)}), values))
            for task in range(problem.n_tasks)
        ]
        return float(_mp(unroll(elimination.loss, values, PARAMETERS)))


def _mp(number: object) -> mpmath.mpf:
    return mpmath.mpf(str(N(number, mpmath.mp.dps)))


def _random_omega(problem: Problem, seed: int) -> FloatArray:
    rng = np.random.default_rng(seed)
    scale = np.sqrt(np.array(problem.dims, dtype=float))[:, None]
    omega: FloatArray = rng.standard_normal((problem.n_tasks, problem.n_heads)) / scale
    return omega / math.sqrt(problem.n_tasks)
