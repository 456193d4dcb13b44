"""Checks of the Bayes risk: against sampled contexts, and of its proportional limit against growing sizes."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final

import numpy as np
from scipy.linalg import eigh_tridiagonal, eigvalsh_tridiagonal

from ...theory.optima.bayes_bounds import trace_bounds
from ...theory.optima.marchenko_pastur import bayes_limit
from ..certificates import Certified, arithmetic
from ..certificates.resolvent import enclosures, mean_trace
from ..problem.problem import FloatArray, Problem
from .extrapolation import RATIO, limit_of
from .finding import Finding, Setting, enclosed, proof

# Standard errors that a Monte-Carlo deviation may have: 4 leave a false alarm in 16,000.
STANDARD_ERRORS: Final = 4.0
# Relative bound of a sampled risk's deviation; its error is brought below a quarter of it where that can be done.
_SAMPLED: Final = 0.005
_QUADRATURE: Final = 1e-8  # relative bound of a deviation from quadrature, and what rounding does to it
_ROUNDING: Final = 1e-12
_CONVERGED: Final = 1e-4  # relative distance of two rules, above which it says nothing of their distance to the truth
_MOST_DRAWS: Final = 400_000
_MOST_WORK: Final = 2 * 10**8  # draws times the numbers in each
_WIDEST: Final = 2000  # the smaller of d and L that is sampled
_LIMIT: Final = 1e-4  # relative, of what is left in the limit
_FIRST: Final = 40  # of the smaller of d and L, in the smallest of the growing sizes


def bayes_risk_checked(setting: Setting) -> tuple[Finding, ...]:
    """The steps; the risk of one and two dimensions by quadrature; the risk of sampled contexts at the own d and L."""
    return proof(trace_bounds().derivation), _against_quadrature(setting), _against_samples(setting)


def _against_quadrature(setting: Setting) -> Finding:
    own = setting.small(3)
    problems = tuple(own.replace(dims=[dim] * own.n_tasks) for dim in (1, 2))
    deviation = error = 0.0
    for problem in problems:
        for dim, shift in _shifts(problem):
            *_, (low, high) = enclosures(dim, problem.context_length, shift)
            middle = float((low + high) / 2 * shift)
            fine, coarse = (_by_quadrature(dim, problem.context_length, float(shift), nodes) for nodes in (48, 32))
            deviation = max(deviation, abs(fine / middle - 1))
            apart = abs(fine - coarse)
            # Rules that differ much have not converged: where s is tiny both miss what lies below their first nodes.
            apart = apart / middle if apart < _CONVERGED * fine else math.inf
            error = max(error, apart + float((high - low) / (high + low)) + _ROUNDING)
    what = "relative deviation of the mean trace from quadrature"
    return Finding("float", deviation, _QUADRATURE, error, what, problem=problems)


def _by_quadrature(dim: int, length: int, shift: float, nodes: int) -> float:
    """s E tr (W + s)⁻¹ of one or two dimensions, by Gauss's rule for each of the χ² variables that W is made of."""
    width, more = sorted((dim, length))
    unseen = float(dim - width)
    first, weights = _chi_square(more, nodes)
    if width == 1:
        return unseen + float(weights @ (shift / (first + shift)))
    # Bartlett: W = T Tᵀ with squares χ²(n), χ²(n − 1) on the diagonal of T and χ²(1) beside it.
    (second, its), (beside, other) = (_chi_square(degrees, nodes) for degrees in (more - 1, 1))
    trace = first[:, None, None] + second[:, None] + beside
    determinant = (first[:, None] * second)[:, :, None]
    values = shift * (trace + 2 * shift) / (determinant + shift * trace + shift**2)
    return unseen + float(np.einsum("abc,a,b,c", values, weights, its, other))


def _chi_square(degrees: int, nodes: int) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights of Gauss's rule for a χ² variable: the Jacobi matrix of the Laguerre polynomials."""
    alpha, k = degrees / 2 - 1, np.arange(nodes, dtype=float)
    found, vectors = eigh_tridiagonal(2 * k + 1 + alpha, np.sqrt(k[1:] * (k[1:] + alpha)))
    nodes_at: FloatArray = 2.0 * np.asarray(found, dtype=np.float64)
    weights: FloatArray = vectors[0] ** 2
    return nodes_at, weights


def _against_samples(setting: Setting) -> Finding:
    problem = _narrowed(setting.small(3))
    rng = np.random.default_rng(setting.seed)
    deviation = error = 0.0
    for dim, shift in _shifts(problem):
        *_, (low, high) = enclosures(dim, problem.context_length, shift)
        middle, width = float((low + high) / 2 * shift), float((high - low) / (high + low))
        mean, spread = _sampled(rng, dim, problem.context_length, float(shift), setting.quick)
        deviation = max(deviation, abs(mean / middle - 1))
        error = max(error, STANDARD_ERRORS * spread / middle + width)
    what = "relative deviation of the posterior risk of sampled contexts"
    return Finding("monte_carlo", deviation, _SAMPLED, error, what, setting.seed, problem=problem)


def bayes_risk_enclosed(setting: Setting) -> Finding:
    """Of every task the interval of its mean trace by integrals; it must meet the one without an integral."""
    problem = setting.problem
    claims = []
    for dim, shift in _shifts(problem):
        outer, *inner = enclosures(dim, problem.context_length, shift)
        low, high = inner[0] if inner else outer
        meets = low <= outer[1] and outer[0] <= high
        name = arithmetic().name
        claims.append(
            Certified(f"T(d = {dim}, L = {problem.context_length}, s = {shift})", (), low, high, meets, 1, name)
        )
    what = "intervals of the mean trace that do not meet those without an integral"
    return enclosed(claims, what, whole=False, problem=problem)


def _shifts(problem: Problem) -> list[tuple[int, Fraction]]:
    """d and s of every task, alike ones once."""
    tasks = zip(problem.dims, problem.signal_power, strict=True)
    return sorted({(dim, problem.noise_variance * dim / power) for dim, power in tasks})


def bayes_limit_approached(setting: Setting) -> Finding:
    """The enclosed risk at sizes kd, kL for growing k, extrapolated in 1/k, against the proportional limit."""
    problem = setting.small(3)
    first = -(-_FIRST // min(*problem.dims, problem.context_length))
    count = 4 if setting.quick else 5
    sizes = [
        problem.replace(dims=[k * dim for dim in problem.dims], context_length=k * problem.context_length)
        for k in (first * RATIO**place for place in range(count))
    ]
    predicted = Fraction(bayes_limit().evaluate(problem))
    risks = [_enclosed(size) for size in sizes]
    left = np.array([float((low + high) / (2 * predicted) - 1) for low, high in risks])
    width = max(float((high - low) / predicted) for low, high in risks)
    limit, error = limit_of(left)
    # The tableau multiplies errors of the values by less than ten.
    what = f"relative deviation of the risk in the limit, from {count} growing sizes"
    return Finding("float", abs(float(limit)), _LIMIT, float(error) + 10 * width, what, problem=tuple(sizes))


def _enclosed(problem: Problem) -> tuple[Fraction, Fraction]:
    """Ends of the Bayes risk."""
    ends = {task: mean_trace(task[0], problem.context_length, task[1]) for task in _shifts(problem)}
    own = [ends[d, problem.noise_variance * d / p] for d, p in zip(problem.dims, problem.signal_power, strict=True)]
    low, high = (problem.noise_variance * sum(side, Fraction(0)) for side in zip(*own, strict=True))
    return low, high


def _narrowed(problem: Problem) -> Problem:
    """The problem, or one of the same proportions whose matrices can be sampled."""
    widest = max(min(dim, problem.context_length) for dim in problem.dims)
    if widest <= _WIDEST:
        return problem
    scale = -(-widest // _WIDEST)
    dims = [max(1, dim // scale) for dim in problem.dims]
    return problem.replace(dims=dims, context_length=max(1, problem.context_length // scale))


def _sampled(rng: np.random.Generator, dim: int, length: int, shift: float, quick: bool) -> tuple[float, float]:
    """Mean of s tr (XᵀX + s)⁻¹ over sampled contexts, and its standard error."""
    width = min(dim, length)
    numbers = width * (max(dim, length) if _is_small(dim, length) else width)
    most = min(_MOST_DRAWS, _MOST_WORK // numbers) // (4 if quick else 1)
    total = squares = 0.0
    done, batch = 0, max(8, min(2000, 10**6 // numbers))
    while True:
        traces = shift * _traces(rng, dim, length, shift, batch)
        done, total, squares = done + batch, total + float(traces.sum()), squares + float((traces**2).sum())
        mean = total / done
        spread = math.sqrt(max(squares / done - mean**2, 0.0) / done)
        if STANDARD_ERRORS * spread < _SAMPLED / 4 * mean or done >= most:
            return mean, spread


def _is_small(dim: int, length: int) -> bool:
    return dim * length <= 4000


def _traces(rng: np.random.Generator, dim: int, length: int, shift: float, count: int) -> FloatArray:
    """tr (XᵀX + s)⁻¹ of so many contexts."""
    width, more = sorted((dim, length))
    unseen = (dim - width) / shift
    if _is_small(dim, length):
        context = rng.standard_normal((count, more, width))
        eigenvalues = np.linalg.eigvalsh(context.swapaxes(1, 2) @ context).clip(min=0)
    else:
        eigenvalues = np.array([_eigenvalues(rng, width, more) for _ in range(count)])
    found: FloatArray = unseen + (1 / (eigenvalues + shift)).sum(axis=1)
    return found


def _eigenvalues(rng: np.random.Generator, width: int, more: int) -> FloatArray:
    """Of XᵀX by its bidiagonal form, whose entries are independent χ variables (Dumitriu and Edelman 2002)."""
    diagonal = rng.chisquare(more - np.arange(width, dtype=float))
    beside = rng.chisquare(np.arange(width - 1, 0, -1, dtype=float))
    around = np.concatenate([[0.0], beside])
    found: FloatArray = eigvalsh_tridiagonal(diagonal + around, np.sqrt(diagonal[:-1] * beside)).clip(min=0)
    return found
