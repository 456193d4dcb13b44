"""Checks of context results: linear attention, the zero-sum pair, context length, Hermite targets, regimes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.optimize import least_squares
from sympy import Expr, Float, Integer, Matrix, N, Rational, S

from ...theory import notation as n
from ...theory.context.context_length import context_shift
from ...theory.context.hermite import hermite_transfer
from ...theory.context.linear_attention import effective, linear_attention_loss
from ...theory.context.linear_optimum import linear_attention_optimum
from ...theory.context.regimes import softmax_regimes
from ...theory.context.two_heads import zero_sum_pair
from ...theory.indexed import substitute, unroll
from ...theory.model.loss import population_loss
from ...theory.optima.limits import task_allocation_limit
from ...theory.optima.optimum import multi_head_optimum
from ...theory.parameters import PARAMETERS
from ..predictions.fit import Fit, power_law
from ..problem.problem import FloatArray, Problem
from .finding import Finding, Setting, fitted, proof
from .one_token import linear_risk

STANDARD_ERRORS = 4.0
# Relative: what an exact formula may differ from quadrature by, and what rounding does; a sampled risk's bound.
EXACT, EXACT_ROUNDING = 1e-10, 1e-12
SAMPLED = 0.02
# Of an exponent in a regime of softmax.
REGIME = 3e-3


def linear_loss(setting: Setting) -> tuple[Finding, Finding]:
    """The risk at random weights by exact quadrature, at a short context and at the problem's; and sampled."""
    own = setting.small(3)
    short = own.replace(context_length=3)
    rng = np.random.default_rng(setting.seed)
    mu, omega = (rng.standard_normal((own.n_tasks, own.n_heads)) for _ in range(2))
    omega *= 0.3
    loss = linear_attention_loss()
    deviations = []
    for problem in (short, own):
        values = {**problem.exact_values(), "mu": mu.tolist(), "omega": omega.tolist()}
        told = float(N(unroll(loss.expression, values, (*PARAMETERS, *loss.definitions))))
        deviations.append(abs(told / float(linear_risk(problem, mu @ omega.T).sum()) - 1))
    what = "relative deviation of the loss from quadrature"
    exact = Finding("float", max(deviations), EXACT, EXACT_ROUNDING, what, setting.seed, problem=(short, own))
    few = short.replace(dims=[min(dim, 3 + task) for task, dim in enumerate(short.dims)])
    mean, spread = _sampled_risk(few, mu @ omega.T, 100_000 if setting.quick else 1_000_000, rng)
    right = float(linear_risk(few, mu @ omega.T).sum())
    what, error = "relative distance of the sampled risk to the quadrature", STANDARD_ERRORS * spread / right
    return exact, Finding("monte_carlo", abs(mean / right - 1), SAMPLED, error, what, setting.seed, problem=few)


_TURNS: Final = 50


def linear_optimum(setting: Setting) -> Finding:
    """The proof's steps; then the least loss over all weights, found by numerical minimisation."""
    problem = setting.small(3, n_heads=min(setting.problem.n_heads, setting.problem.n_tasks, 2))
    steps = proof(linear_attention_optimum().derivation)
    exact = linear_attention_optimum().evaluate(problem)
    shape = (problem.n_tasks, problem.n_heads)
    rng = np.random.default_rng(setting.seed)
    constant, linear, matrix = _quadratic(problem)
    # The loss is its least value at any rank and a sum of squares, which is searched in units that make entries alike.
    curvatures = np.log(np.diag(matrix)).reshape(shape[0], shape[0])
    rows, columns = curvatures.mean(axis=1), curvatures.mean(axis=0) - curvatures.mean()
    units = np.exp(-(rows[:, None] + columns) / 2).ravel()
    unlimited, eye = np.linalg.solve(matrix, -linear / 2), np.eye(shape[0])
    apart = np.linalg.cholesky(matrix).T
    goal = apart @ unlimited / math.sqrt(constant)

    def by_mu(omega: FloatArray) -> FloatArray:
        found: FloatArray = apart @ (units[:, None] * np.kron(eye, omega))
        return found

    def by_omega(mu: FloatArray) -> FloatArray:
        found: FloatArray = apart @ (units[:, None] * np.einsum("ih,jk->ijkh", mu, eye).reshape(shape[0] ** 2, -1))
        return found

    def best_of(factors: FloatArray) -> FloatArray:
        return np.asarray(np.linalg.lstsq(factors, goal, rcond=None)[0], np.float64).reshape(shape)

    def residual(flat: FloatArray) -> FloatArray:
        mu, omega = flat.reshape(2, *shape)
        found: FloatArray = by_mu(omega) @ mu.ravel() - goal
        return found

    def slope(flat: FloatArray) -> FloatArray:
        mu, omega = flat.reshape(2, *shape)
        return np.hstack([by_mu(omega), by_omega(mu)])

    def least(omega: FloatArray) -> float:
        """Twice the cost: from turns at μ and ω, each the best beside the other, on by Gauss and Newton."""
        for _ in range(_TURNS):
            mu = best_of(by_mu(omega))
            omega = best_of(by_omega(mu))
        found = least_squares(residual, np.stack([mu, omega]).ravel(), slope, **options)
        return 2 * float(found.cost)

    options: Any = {"x_scale": "jac", "ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15, "max_nfev": 2000}
    squares = min(least(rng.standard_normal(shape)) for _ in range(4 if setting.quick else 12))
    best = squares + float(1 + linear @ unlimited / 2 / constant)
    deviation = abs(best * constant / exact - 1) if steps.measured == 0 else math.inf
    return Finding(
        "float", deviation, 1e-6, 1e-9, "relative deviation of the found minimum", setting.seed, problem=problem
    )


def normalisation_costs_a_head(setting: Setting) -> Finding:
    """H linear heads over a range of large L at fixed c against H + 1 softmax heads, both exact: a gap ∝ 1/L."""
    problem = setting.problem
    scales = [10**power for power in range(6, 11)]
    laws, problems = [], []
    for heads in range(1, min(problem.n_tasks, 5) + 1):
        gaps = []
        for scale in scales:
            long = problem.replace(
                dims=[dim * scale for dim in problem.dims], context_length=problem.context_length * scale
            )
            problems.append(long.replace(n_heads=heads))
            linear = linear_attention_optimum().exact(long, heads)
            softmax = multi_head_optimum().exact(long, heads + 1)
            gaps.append(float(N(linear / softmax - 1, setting.digits)))
        lengths = [problem.context_length * scale for scale in scales]
        laws.append(
            power_law(f"gap between {heads} and {heads + 1}", "L", lengths, gaps, exponent=-1.0, correction=-1.0)
        )
    return fitted("high_precision", laws, 1e-2, 1e-9, problem=tuple(problems))


def zero_sum_profile(setting: Setting) -> Finding:
    """The proof's steps; then on a grid of ω, at high precision the least loss over both μ by linear algebra."""
    steps = proof(zero_sum_pair().derivation)
    problem = setting.problem.subset([0], n_heads=2)
    loss = population_loss()
    worst = steps.measured
    for numerator in (1, 3, 10, 20):
        omega = Rational(numerator, 10) / math.isqrt(problem.dims[0] + 1)

        def value(first: int, second: int, at: Expr = omega) -> Expr:
            numbers = {**problem.exact_values(), "mu": [[first, second]], "omega": [[at, -at]]}
            return N(unroll(loss.expression, numbers, (*PARAMETERS, *loss.definitions)), setting.digits)

        worst = max(
            worst, abs(float(N(_least_of_two(value), setting.digits)) / zero_sum_pair().evaluate(problem, omega) - 1)
        )
    return Finding("high_precision", worst, 1e-12, 1e-14, "relative deviation of the profile", problem=problem)


def debiased_predictor(setting: Setting) -> Finding:
    """Outputs of the real pair at a small ω against the debiased gradient-descent predictor, prompt by prompt."""
    derivation = zero_sum_pair().derivation
    steps = proof(derivation)
    one = setting.problem.subset([0], n_heads=2)
    problem = one.replace(context_length=min(one.context_length, 12))
    dim, length = problem.dims[0], problem.context_length
    omega = Rational(1, 10**4) / math.isqrt(dim + 1)
    pair = zero_sum_pair()
    mu = pair.best_mu(problem, omega)
    rng = np.random.default_rng(setting.seed)
    prompts = 5 if setting.quick else 50
    difference, size = 0.0, 0.0
    for _ in range(prompts):
        context, query, beta = rng.standard_normal((length, dim)), rng.standard_normal(dim), rng.standard_normal(dim)
        labels = context @ (beta / math.sqrt(dim)) + 0.3 * rng.standard_normal(length)
        scores = context @ query
        weights = [np.exp(sign * float(omega) * scores) for sign in (1, -1)]
        output = mu * float((weights[0] / weights[0].sum() - weights[1] / weights[1].sum()) @ labels)
        predicted = _predicted(pair.predictor, problem, scores, labels)
        difference += (output - predicted) ** 2
        size += predicted**2
    measured = math.sqrt(difference / size) + steps.measured
    what = "relative distance of the pair's output to the predictor"
    return Finding("float", measured, 1e-5, 1e-8, what, setting.seed, problem=problem)


def shifted_context(setting: Setting) -> Finding:
    """At high precision: the leading loss at other lengths, with the weights of L put in as numbers."""
    problem = setting.allocated()
    limit, loss, count = task_allocation_limit(), population_loss(), problem.n_tasks
    weights = {
        name: tuple(
            tuple(_of_task(form.expression, problem, task) if task == head else 0 for head in range(count))
            for task in range(count)
        )
        for name, form in (("mu", limit.mu), ("omega", limit.omega))
    }
    worst = proof(context_shift().derivation).measured
    for used in (1, problem.context_length, 2 * problem.context_length + 1, 10**6):
        values = {**problem.exact_values(), **weights, "L": used}
        direct = unroll(loss.expression, values, (*PARAMETERS, *loss.definitions))
        worst = max(worst, float(abs(N(context_shift().exact(problem, used) / direct - 1, setting.digits))))
    # What is left at the length L′ falls like 1/L′, from as much as powers and dimensions of any size make it.
    far = N(context_shift().exact(problem, 10**90) / context_shift().plateau.exact(problem) - 1, setting.digits)
    worst = max(worst, float(abs(far)) if abs(far) > Float(10) ** -25 else 0.0)
    return Finding(
        "high_precision", worst, *setting.residual, "largest relative deviation of the loss", problem=problem
    )


def hermite_targets(setting: Setting) -> Finding:
    """Tilted means and transfer losses by Gauss–Hermite quadrature, exact for polynomials, at random values."""
    steps = proof(hermite_transfer().derivation)
    rng = np.random.default_rng(setting.seed)
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()
    worst = steps.measured
    for degree in range(1, 8):
        coefficients = np.eye(degree + 1)[degree]
        shift, strength = rng.uniform(0.3, 1.5), rng.uniform(-1, 1)
        tilted = weights @ np.polynomial.hermite_e.hermeval(nodes + shift, coefficients)
        values = np.polynomial.hermite_e.hermeval(nodes, coefficients)
        scale = math.factorial(degree)
        direct = weights @ (values - strength * nodes**degree) ** 2 / scale
        least = 1 - (weights @ (values * nodes**degree)) ** 2 / (weights @ nodes ** (2 * degree)) / scale
        found = float(hermite_transfer().at(degree, Float(strength)))
        worst = max(
            worst,
            abs(tilted / shift**degree - 1),
            abs(found / direct - 1),
            abs(float(hermite_transfer().least_at(degree)) - least),
        )
    return Finding(
        "float", worst, 1e-8, 1e-10, "largest deviation from quadrature", setting.seed, problem="degrees 1 to 7"
    )


def regimes(setting: Setting) -> Finding:
    """Exponents by exact quadrature over the law of Σ_l e^{s_l}, over a range of huge context lengths."""
    found = softmax_regimes()
    steps = proof(found.derivation)
    sizes = np.geomspace(45.0, 105.0, 6) if setting.quick else np.geomspace(80.0, 240.0, 8)
    laws = []
    for name, first, measure, predicted in (
        ("typical Σp²", Rational(1, 4), _typical_log_of_squares, found.typical_at),
        ("mean Σp²", Rational(1, 3), _log_mean_of_squares, found.expected_at),
    ):
        for value in (first, Rational(1), Rational(3)):  # one in each regime
            logs = np.array([measure(size, float(value)) for size in sizes])
            laws.append(_exponent(f"{name}, r = {value}", sizes, logs, float(predicted(value))))
    fits = fitted("float", laws, REGIME, problem=f"L = e^{sizes[0]:g} to e^{sizes[-1]:g}")
    return fits if steps.measured == 0 else steps


def _exponent(quantity: str, sizes: FloatArray, logs: FloatArray, predicted: float) -> Fit:
    """The exponent p of ``A L^p (log L)^a (1 + B/log L)``, from logarithms; what B changes is its error."""
    basis = np.stack([sizes, np.log(sizes), np.ones_like(sizes), 1 / sizes], axis=1)
    (exponent, _, constant, _), (coarse, _, other) = (np.linalg.lstsq(basis[:, :terms], logs)[0] for terms in (4, 3))
    error, spread = abs(exponent - coarse), math.exp(constant) * abs(math.expm1(other - constant))
    span = float(np.exp(sizes[0])), float(np.exp(sizes[-1]))
    return Fit(
        quantity, "L", float(exponent), float(error), predicted, math.exp(constant), spread, None, span, len(sizes)
    )


def _sampled_risk(
    problem: Problem, combined: FloatArray, samples: int, rng: np.random.Generator, chunk: int = 20_000
) -> tuple[float, float]:
    """Mean risk and its standard error; regressors and label noise are averaged exactly, given the tokens."""
    task_of = np.repeat(np.arange(problem.n_tasks), problem.dims)
    power = np.array([float(value) for value in problem.signal_power])
    risk = np.zeros(samples)
    for start in range(0, samples, chunk):
        part = risk[start : start + chunk]
        context = rng.standard_normal((len(part), problem.context_length, problem.total_dim))
        query = rng.standard_normal((len(part), problem.total_dim))
        for task, dim in enumerate(problem.dims):
            weights = np.einsum("nld,nd->nl", context, query * combined[task][task_of]) / problem.context_length
            own = task_of == task
            miss = np.einsum("nl,nld->nd", weights, context[:, :, own]) - query[:, own]
            part += power[task] / dim * (miss**2).sum(axis=1)
            part += float(problem.noise_variance) * (weights**2).sum(axis=1)
    return float(risk.mean()), float(risk.std(ddof=1) / math.sqrt(samples))


def _quadratic(problem: Problem) -> tuple[float, FloatArray, FloatArray]:
    """Constant, slope and quadratic form of the derived loss in the entries of A, row by row."""
    tasks = range(1, problem.n_tasks + 1)
    polynomial = unroll(linear_attention_loss().expression, problem.exact_values(), PARAMETERS)
    atoms = [effective[row, column] for row in tasks for column in tasks]
    slopes = [polynomial.diff(atom) for atom in atoms]
    at_zero = dict.fromkeys(atoms, 0)
    return (
        float(polynomial.xreplace(at_zero)),
        np.array([float(slope.xreplace(at_zero)) for slope in slopes]),
        np.array([[float(slope.diff(atom)) / 2 for atom in atoms] for slope in slopes]),
    )


def _of_task(expression: Expr, problem: Problem, task: int) -> Expr:
    """A closed form of task i at a (0-based) task of the problem."""
    return unroll(substitute(expression, {n.i: Integer(task + 1)}), problem.exact_values(), PARAMETERS)


def _least_of_two(value: Callable[[int, int], Expr]) -> Expr:
    """The minimum of a quadratic function of two variables, from its values at integer points."""
    origin, right, left, up, down = (value(*point) for point in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)))
    slopes = ((right - left) / 2, (up - down) / 2)
    curvature = Matrix([[right + left - 2 * origin, S.Zero], [S.Zero, up + down - 2 * origin]])
    mixed = value(1, 1) - right - up + origin
    curvature[0, 1] = curvature[1, 0] = mixed
    slope = Matrix(slopes)
    return origin - (slope.T * curvature.inv() * slope)[0] / 2


def _predicted(predictor: Expr, problem: Problem, scores: FloatArray, labels: FloatArray) -> float:
    values = {**problem.exact_values(), "s": scores.tolist(), "y": labels.tolist()}
    return float(N(unroll(predictor, values, PARAMETERS)))


class _ScoreLaw:
    """Σ_l e^{b s_l} for e^size independent s_l ~ N(0, r size): its Laplace transform at t = e^{−τ}, on a lattice.

    ``unserved[k]`` is L E[1 − e^{−e^{b s − τ_k}}], so that E e^{−t Σ} = e^{−unserved} up to 1/L; ``pairs[k]`` is
    L E[y² e^{−y}], y = e^{b s − τ_k}.
    """

    # In s and τ: the integrands are analytic in |Im| < π/2, so the trapezoid sum errs by e^{−π²/0.75} = 2e-6.
    STEP = 0.75

    def __init__(self, size: float, power: int, ratio: float) -> None:
        variance = power**2 * ratio * size
        reach = (math.sqrt(2 * size) + 8) * math.sqrt(variance)
        scores = np.arange(-reach, reach, self.STEP)
        self.tau = np.arange(-30.0, size + variance / 2 + 40 + reach, self.STEP)
        log_mass = size - scores**2 / (2 * variance) + math.log(self.STEP / math.sqrt(2 * math.pi * variance))
        # Scores and tau lie on one lattice, and so do their differences: row k of a view has those to tau_k.
        gaps = np.arange(len(scores) + len(self.tau) - 1) * self.STEP + (scores[0] - self.tau[-1])
        y = np.exp(np.minimum(gaps, 40.0))
        served = np.where(gaps < -20, gaps, np.log(-np.expm1(-np.maximum(y, 1e-12))))
        self.unserved, self.pairs = (
            np.exp(np.minimum(log_mass + sliding_window_view(part, len(scores))[::-1], 600.0)).sum(axis=1)
            for part in (served, 2 * gaps - y)
        )


def _mean_log_sum(size: float, power: int, ratio: float) -> float:
    """E log Σ_l e^{b s_l} = ∫ (e^{−t} − E e^{−t Σ}) dt/t, with t = e^{−τ}."""
    law = _ScoreLaw(size, power, ratio)
    difference = np.exp(-np.exp(-law.tau)) - np.exp(-law.unserved)
    return float(difference.sum() * law.STEP)


def _typical_log_of_squares(size: float, ratio: float) -> float:
    """E log Σ_l p_l²."""
    return _mean_log_sum(size, 2, ratio) - 2 * _mean_log_sum(size, 1, ratio)


def _log_mean_of_squares(size: float, ratio: float) -> float:
    """log E Σ_l p_l², from 1/Σ² = ∫ t e^{−tΣ} dt."""
    law = _ScoreLaw(size, 1, ratio)
    return math.log(float((law.pairs * np.exp(-law.unserved)).sum() * law.STEP))
