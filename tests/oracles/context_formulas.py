"""Linear attention, zero-sum pair, context-length shift, Hermite targets, softmax regimes typed by hand (THEORY §4).

A problem is a mapping with ``lam`` (I,), ``d`` (I,), ``sigma2``, ``L``. Only NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .hand_formulas import constants, noise_ratio, water_filling

Array = np.ndarray[Any, Any]
Problem = Mapping[str, Any]


def linear_loss(mu: Array, omega: Array, problem: Problem) -> float:
    """Exact population loss of linear attention through A = mu omega^T."""
    lam, d, phi, length = constants(problem)
    a = mu @ omega.T
    own = np.diag(a)
    return float(np.sum(lam * ((1 - own) ** 2 + (phi * (a**2 @ d) + own**2) / length)))


def linear_single_task(problem: Problem) -> float:
    """lam (phi d + 1) / (L + phi d + 1)."""
    lam, d, phi, length = constants(problem)
    return float(lam[0] * (phi[0] * d[0] + 1) / (length + phi[0] * d[0] + 1))


def linear_homogeneous(lam: float, c: float, n_tasks: int, n_heads: int) -> float:
    """lam I c / (min(1, H / I) + c), leading order."""
    return lam * n_tasks * c / (min(1, n_heads / n_tasks) + c)


def linear_optimum_leading(problem: Problem, n_heads: int) -> float:
    """Water-filling with budget min(H, I): what H + 1 softmax heads reach."""
    lam, d, _, _ = constants(problem)
    return float(water_filling(lam, noise_ratio(problem), float(min(n_heads, len(d))))[0])


def zero_sum_profile(omega: float, problem: Problem) -> float:
    """lam (1 - omega^2 / (omega^2 + (phi / L) sinh(d omega^2))), single task."""
    lam, d, phi, length = constants(problem)
    squared = omega**2
    return float(lam[0] * (1 - squared / (squared + phi[0] / length * math.sinh(d[0] * squared))))


def debiased_gradient_descent(x: Array, y: Array, query: Array, c: float) -> float:
    """<(1/L) sum_l y_l (x_l - x_mean), x_q> / (1 + c)."""
    return float((y @ (x - x.mean(axis=0)) / len(y)) @ query / (1 + c))


def shifted_loss(problem: Problem, used_length: float) -> float:
    """sum_i lam_i [(1 - s_i)^2 + e (phi_i d_i / L') s_i^2], s_i = 1 / (1 + e c_i)."""
    lam, d, phi, _ = constants(problem)
    s = 1 / (1 + math.e * noise_ratio(problem))
    return float(np.sum(lam * ((1 - s) ** 2 + math.e * phi * d / used_length * s**2)))


def odd_factorial(k: int) -> int:
    """(2k - 1)!!"""
    return math.prod(range(1, 2 * k, 2))


def hermite_loss(k: int, s: float) -> float:
    """1 - 2 S_k + S_k^2 (2k - 1)!! / k!"""
    return 1 - 2 * s + s**2 * odd_factorial(k) / math.factorial(k)


def hermite_least(k: int) -> float:
    """1 - k! / (2k - 1)!!"""
    return 1 - math.factorial(k) / odd_factorial(k)


def typical_exponent(r: float) -> float:
    """Exponent in L of the typical sum_l p_l^2 at |a|^2 = r log L."""
    if r <= 0.5:
        return r - 1
    return -((math.sqrt(2) - math.sqrt(r)) ** 2) if r < 2 else 0.0


def expected_exponent(r: float) -> float:
    """Exponent in L of the expectation of sum_l p_l^2 at |a|^2 = r log L."""
    if r <= 2 / 3:
        return r - 1
    return -((1 - r / 2) ** 2) / (2 * r) if r < 2 else 0.0
