"""Checks of softmax moments and of the closures' losses: what they leave of the exact attention falls as claimed.

An expansion claims an order, not a size at a given L.  So the attention is evaluated by quadrature at growing sizes,
and what the formula leaves, times the power that it keeps, must vanish as they go to infinity.  Coefficient by
coefficient in μ, each of its own size, so that no term hides behind a larger one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from scipy.linalg import block_diag
from sympy import Expr, IndexedBase, Integer, N, S, lambdify

from ...theory import notation as n
from ...theory.indexed import substitute, unroll
from ...theory.model.attention import output_moments
from ...theory.model.loss import population_loss
from ..attention import sampled_risk
from ..attention.quadrature import RiskParts, pooled_moments, risk_by_quadrature, risk_parts
from ..predictions.fit import power_law
from ..problem.problem import FloatArray, Problem
from .extrapolation import RATIO, limit_of
from .finding import Finding, Setting, fitted
from .place import Place

# Relative to the size of a coefficient: what may be left of it in the limit, and what rounding does to that.
VANISHES: Final = 1e-6
ROUNDING: Final = 1e-7
# Of an exponent that is fitted.
ORDER: Final = 0.05
STANDARD_ERRORS: Final = 4.0
# Relative bound of a sampled risk's distance to the quadrature; how many times more samples it may take.
SAMPLED: Final = 0.02
MOST_MORE: Final = 20
_HEADS: Final = 2
_SIZES: Final = 6  # each twice the one before
_SHORTEST: Final = 400  # L at which the expansion in 1/L is begun
_SMALLEST: Final = 200  # d at which that in 1/d is begun
# Σ_j d_j ω_j², and the largest ω: then the next orders are small.
_EXPONENT: Final = 0.25
_LARGEST: Final = 0.12


def softmax_moments(setting: Setting) -> Finding:
    """Mean and covariance of two heads' outputs, by quadrature at growing L, against the formulas at order 1/L."""
    rng = np.random.default_rng(setting.seed)
    beta, tilts = rng.uniform(0.3, 0.9, 3) * [1, -1, 1], rng.uniform(0.2, 0.5, (2, 3)) * [[1, 1, -1], [1, -1, 1]]
    noise, lengths = 0.5, _lengths()
    moments = output_moments()
    values = {
        "sigma2": noise,
        "inner_a_a": (tilts @ tilts.T).tolist(),
        "inner_beta_a": [(tilts @ beta).tolist()],
        "norm2_beta": [float(beta @ beta)],
    }

    def predicted(expression: Expr, head: int, other: int, length: int) -> float:
        at = substitute(expression, {n.i: S.One, n.h: Integer(head + 1), n.k: Integer(other + 1)})
        return float(N(unroll(at, {**values, "L": length})))

    left = []
    means = [pooled_moments(tilt, tilt, lengths).mean @ beta for tilt in tilts]
    for head, mean in enumerate(means):
        told = [
            predicted(moments.mean, head, head, size) + predicted(moments.bias, head, head, size) for size in lengths
        ]
        left.append(lengths * (mean - told) / abs(tilts[head] @ beta))
    for head, other in ((0, 0), (1, 0), (1, 1)):
        pooled = pooled_moments(tilts[head], tilts[other], lengths)
        second = np.einsum("lab,a,b->l", pooled.second, beta, beta) + noise * pooled.overlap
        told = [predicted(moments.covariance, head, other, size) for size in lengths]
        left.append(lengths * (second - means[head] * means[other] - told) / (beta @ beta + noise))
    where = f"two heads on 3 coordinates, L = {lengths[0]} to {lengths[-1]}"
    what = "L times what the moments leave as L → ∞"
    return vanishing(Left(what, np.array(left).T, where, setting.seed))


def leading_loss(setting: Setting) -> tuple[Finding, Finding]:
    """The leading loss against the exact risk as d → ∞ at fixed d_i ω_i², d_i/L and ω_i μ_i; and sampled attention."""
    return vanishing(_large("leading", setting)), sampled_attention(setting)


def finite_d_loss(setting: Setting) -> tuple[Finding, Finding]:
    """The finite_d loss in the same limit; and at fixed d its noise, where the query's expectation is exact."""
    return vanishing(_large("finite_d", setting)), vanishing(_long("finite_d", setting))


def first_order_loss(setting: Setting) -> Finding:
    """The loss with every term of order 1/L against the exact risk as L → ∞ at fixed d and ω."""
    # Powers d of numbers that are 1 but for terms of order 1/d: rounding of these counts d times.
    return vanishing(_long("first_order", setting), max(setting.problem.dims) * float(np.finfo(float).eps))


def leading_order(setting: Setting) -> Finding:
    """The order of what the leading loss leaves, fitted."""
    return _order(_large("leading", setting))


def finite_d_order(setting: Setting) -> Finding:
    """The order of what the finite_d loss leaves, fitted."""
    return _order(_large("finite_d", setting))


def first_order_order(setting: Setting) -> Finding:
    """The order of what the first_order loss leaves, fitted."""
    return _order(_long("first_order", setting))


def sampled_attention(setting: Setting) -> Finding:
    """The sampled attention against the quadrature of its risk, at a short context where both are quick."""
    problem = _two(setting)
    problem = problem.replace(
        dims=[min(dim, 20) for dim in problem.dims], context_length=min(problem.context_length, 100)
    )
    return _sampled(problem, setting.seed, setting.quick)


@lru_cache(maxsize=4)
def _sampled(problem: Problem, seed: int, quick: bool) -> Finding:
    omega = _weights(problem, seed)
    mu = np.resize([1.0, -1.0], omega.shape) * np.sqrt(np.array(problem.dims, float))[:, None]
    exact = float(risk_by_quadrature(problem, mu, omega).sum())
    samples = 8_000 if quick else 80_000
    risk = sampled_risk(problem, mu, omega, n_samples=samples, seed=seed)
    more = (2 * STANDARD_ERRORS * risk.standard_error / (exact * SAMPLED)) ** 2
    if more > 1:  # as many as the bound asks for
        risk = sampled_risk(problem, mu, omega, n_samples=math.ceil(samples * min(more, MOST_MORE)), seed=seed)
    measured, error = abs(risk.value / exact - 1), STANDARD_ERRORS * risk.standard_error / exact
    what = "relative distance of the sampled risk to the quadrature"
    return Finding("monte_carlo", measured, SAMPLED, error, what, seed, problem=problem)


@dataclass(frozen=True)
class Left:
    """What a formula leaves of the exact attention at sizes that double, times the power of the size that it keeps.

    ``values`` are relative to the size of each coefficient, (sizes, coefficients), ``place`` the sizes.
    """

    what: str
    values: FloatArray
    place: Place
    seed: int


def vanishing(left: Left, cancelled: float = 0.0) -> Finding:
    """The limit of what is left must be zero; ``cancelled`` is what rounding takes of it besides."""
    limit, error = limit_of(left.values)
    worst = int((np.abs(limit) - error).argmax())
    what = f"{left.what}; its limit, relative"
    bound, rounding = VANISHES, ROUNDING + cancelled + float(error[worst])
    return Finding("float", float(abs(limit[worst])), bound, rounding, what, left.seed, problem=left.place)


def _order(left: Left) -> Finding:
    """What is left falls with the next power: its norm over all coefficients, fitted."""
    sizes = float(RATIO) ** np.arange(len(left.values))
    norm = np.linalg.norm(left.values, axis=1)
    law = power_law(left.what, "size", sizes, norm, exponent=-1.0, correction=-1.0)
    return fitted("float", [law], ORDER, ROUNDING, left.seed, left.place)


def _long(closure: str, setting: Setting) -> Left:
    """What a closure leaves of every coefficient at growing L, times L: of the noise's alone in finite_d."""
    first = _two(setting)
    omega, parts = _at_growing_length(first, setting.seed)
    problems = tuple(first.replace(context_length=length) for length in _lengths())
    told = _Coefficients(closure, first.n_tasks)
    left = []
    for place, problem in enumerate(problems):
        length = float(problem.context_length)
        signal, noise = told.missing(problem, omega, parts, place, (length / np.abs(omega), length))
        left.append(noise if closure == "finite_d" else np.concatenate([signal, noise]))
    part = "the noise's coefficients" if closure == "finite_d" else "the coefficients in μ"
    return Left(f"L times what {closure} leaves of {part} as L → ∞", np.array(left), problems, setting.seed)


def _large(closure: str, setting: Setting) -> Left:
    """What a closure leaves of every coefficient as all d_i and L grow together."""
    problems, omegas, found = _at_growing_size(_two(setting), setting.seed)
    told = _Coefficients(closure, problems[0].n_tasks)
    left = [
        np.concatenate(told.missing(problem, omega, parts, 0, (1 / np.abs(omega), float(problem.context_length))))
        for problem, omega, parts in zip(problems, omegas, found, strict=True)
    ]
    what = f"what {closure} leaves of the coefficients in μ as d_i and L → ∞"
    return Left(what, np.array(left), problems, setting.seed)


class _Coefficients:
    """The coefficients of a closure's loss as a polynomial in all μ_i^h, as functions of the other numbers."""

    def __init__(self, closure: str, n_tasks: int) -> None:
        loss = population_loss(closure)
        written = unroll(loss.expression, {"I": n_tasks, "H": _HEADS}, loss.definitions)
        shape = (n_tasks, _HEADS)
        mu, omega = (_entries(base, shape) for base in (n.mu, n.omega))
        by_task = [_entries(base, shape[:1]) for base in (n.dims, n.signal_power, n.noise_factor)]
        at_zero = dict.fromkeys(mu, S.Zero)
        slopes = [written.diff(entry) for entry in mu]
        coefficients = [
            written.xreplace(at_zero),
            [slope.xreplace(at_zero) for slope in slopes],
            [[slope.diff(entry) / 2 for entry in mu] for slope in slopes],
        ]
        self._at = lambdify([omega, *by_task, n.context_length], coefficients, "numpy")
        self._n_tasks = n_tasks

    def missing(
        self, problem: Problem, omega: FloatArray, parts: RiskParts, place: int, scale: tuple[FloatArray, float]
    ) -> tuple[FloatArray, FloatArray]:
        """Exact coefficients less those of the closure, over λ: of the signal (φ = 1), and of φ − 1.

        ``scale`` is what the coefficients of μ_i^h and of μ_i^h μ_j^k are multiplied by.
        """
        power = np.array(problem.signal_power, float)
        constant, linear, pairs = self._of(problem, omega, power, 1.0)
        # Another λ: that all coefficients are proportional to it is part of the formula.
        _, _, noisy = self._of(problem, omega, 1.5 * power, 2.0)
        of_constant = np.atleast_1d(1 - constant) * scale[1]
        of_linear = (-2 * parts.linear[place] - linear) * scale[0]
        of_pairs = (_by_task(parts.quadratic[place]) - pairs) * scale[1]
        of_noise = (_by_task(np.stack([parts.overlap[place]] * self._n_tasks)) - (noisy - pairs)) * scale[1]
        return np.concatenate([of_constant, of_linear.ravel(), of_pairs.ravel()]), of_noise.ravel()

    def _of(
        self, problem: Problem, omega: FloatArray, power: FloatArray, noise_factor: float
    ) -> tuple[float, FloatArray, FloatArray]:
        """Constant, slopes (I, H) and quadratic form (I H, I H), each over λ."""
        dims, noise = map(float, problem.dims), [noise_factor] * self._n_tasks
        constant, linear, pairs = self._at(omega.ravel(), list(dims), power, noise, float(problem.context_length))
        root = np.sqrt(np.repeat(power, _HEADS))
        slopes = np.array(linear, float).reshape(omega.shape) / power[:, None]
        return float(constant) / power.sum(), slopes, np.array(pairs, float) / np.outer(root, root)


def _entries(base: IndexedBase, shape: tuple[int, ...]) -> list[Expr]:
    return [base[tuple(Integer(place + 1) for place in at)] for at in np.ndindex(shape)]


def _by_task(blocks: FloatArray) -> FloatArray:
    """(I, H, H) → (I H, I H): a task's μ meets no other task's."""
    found: FloatArray = block_diag(*blocks)
    return found


def _two(setting: Setting) -> Problem:
    """The first two tasks on two heads: what couples more of them is sums over pairs."""
    return setting.small(2, n_heads=_HEADS)


def _weights(problem: Problem, seed: int) -> FloatArray:
    """ω of both signs, such that exponents stay small."""
    rng = np.random.default_rng(seed)
    shape = (problem.n_tasks, _HEADS)
    signs = np.resize([1.0, -1.0, -1.0, 1.0], shape)
    size = np.sqrt(_EXPONENT / (problem.n_tasks * np.array(problem.dims, float)))
    return signs * rng.uniform(0.5, 1.0, shape) * np.minimum(size, _LARGEST)[:, None]


def _lengths() -> list[int]:
    return [_SHORTEST * RATIO**place for place in range(_SIZES)]


@lru_cache(maxsize=4)
def _at_growing_length(problem: Problem, seed: int) -> tuple[FloatArray, RiskParts]:
    omega = _weights(problem, seed)
    return omega, risk_parts(problem.dims, omega, _lengths(), 6)


@lru_cache(maxsize=4)
def _at_growing_size(problem: Problem, seed: int) -> tuple[tuple[Problem, ...], list[FloatArray], list[RiskParts]]:
    """Problems whose d_i and L double from one to the next, ω falling like 1/√d, and the parts of their risk.

    L is brought to the size of d where it is far from it: there no term of the loss is negligible.
    """
    widest = max(problem.dims)
    length = min(max(problem.context_length, math.ceil(widest / 10)), 100 * widest)
    first = max(math.ceil(_SMALLEST / min(problem.dims)), math.ceil(_SHORTEST / length))
    problems = tuple(
        problem.replace(dims=[dim * grow for dim in problem.dims], context_length=length * grow)
        for grow in (first * RATIO**place for place in range(_SIZES))
    )
    omegas = [_weights(grown, seed) for grown in problems]
    # The query's length hardly varies: few nodes do.
    found = [
        risk_parts(grown.dims, omega, [grown.context_length], 4) for grown, omega in zip(problems, omegas, strict=True)
    ]
    return problems, omegas, found
