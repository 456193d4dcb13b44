"""Valleys of the merged flow, typed by hand (notes THEORY, section 5) or computed from explicit weights in mpmath."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np


def pair_omega(lam: float, phi: float, d: int, length: int, t: float) -> float:
    """I = 1, H = 2: omega^-6 = 8 lam (phi/L) d^3 t."""
    return float((8 * lam * phi / length * d**3 * t) ** (-1 / 6))


def pair_gap(lam: float, phi: float, d: int, length: int, t: float) -> float:
    """lam^(1/3) (phi d^3/L)^(1/3) t^(-2/3) / (24 (1 + c)^2)."""
    c = phi * d / length
    return float((lam * phi * d**3 / length) ** (1 / 3) * t ** (-2 / 3) / (24 * (1 + c) ** 2))


def loss(lam: float, phi: float, d: int, length: int, mu: Any, omega: Any) -> Any:
    """The leading loss of equal tasks; mu and omega are object arrays (I, H) of mpf."""
    exponents = d * omega.T @ omega
    pairs = np.array([[mpmath.exp(entry) for entry in row] for row in exponents], dtype=object)
    residual = 1 - (mu * omega).sum(axis=1)
    return sum(lam * (residual**2 + mpmath.mpf(phi) / length * np.einsum("ih,hk,ik->i", mu, pairs, mu)))


def triangle_coefficient(lam: float, phi: float, d: int, length: int, turn: float = 0.0) -> float:
    """G = rho^2 (loss - infimum) of two equal tasks on an equilateral triangle of heads, small enough, at 60 digits."""
    with mpmath.workdps(60):
        c, size = mpmath.mpf(phi) * d / length, mpmath.mpf(10) ** -12
        angles = [turn + 2 * mpmath.pi * corner / 3 for corner in range(3)]
        points = np.array([[mpmath.cos(a) for a in angles], [mpmath.sin(a) for a in angles]], dtype=object)
        # sum_h mu_i omega_j = delta_ij/(1 + c) at omega = size * points.
        mu, omega = points * (2 / (3 * size * (1 + c))), size * points
        infimum = 2 * lam * c / (1 + c)
        return float((loss(lam, phi, d, length, mu, omega) - infimum) * (mu**2).sum())
