"""Mean trace E tr (W + s)^-1 of a real Wishart matrix by its eigenvalue density, for one and two eigenvalues.

Density of the eigenvalues x of W = X^T X, X of n x p standard normal numbers (Muirhead 1982, theorem 3.2.18):
prod_i x_i^((n - p - 1)/2) e^(-x_i/2) prod_(i<j) |x_i - x_j|, up to its normalisation, which is integrated too.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.polynomial.legendre import leggauss


def one_eigenvalue(n: int, s: float, nodes: int = 40) -> float:
    """In the root of the eigenvalue, by composite Gauss-Legendre panels."""
    edges = _edges(n, s)
    base, weights = leggauss(nodes)
    norm = mean = 0.0
    for left, right in pairwise(edges):
        x = left + (right - left) * (base + 1) / 2
        value = weights * (right - left) * np.exp((n - 1) * np.log(x / np.sqrt(n)) - (x**2 - n) / 2)
        norm += float(value.sum())
        mean += float((value / (x**2 + s)).sum())
    return mean / norm


def _edges(n: int, s: float) -> np.ndarray:
    first = min(1e-3, np.sqrt(s)) / 10
    return np.concatenate([[0.0], np.geomspace(first, np.sqrt(n) + 12, 60)])


def two_eigenvalues(n: int, s: float, nodes: int = 40) -> float:
    """Roots of the eigenvalues in composite Gauss-Legendre panels; within a panel the larger one is split off."""
    edges = _edges(n, s)[::2]
    base, weights = leggauss(nodes)
    unit = (base + 1) / 2, weights / 2
    norm = mean = 0.0

    def density(x: np.ndarray, y: np.ndarray) -> np.ndarray:  # of the roots x > y
        return (x * y) ** (n - 2) * np.exp(-(x**2 + y**2) / 2) * (x**2 - y**2)

    for left, right in pairwise(edges):
        x = left + (right - left) * unit[0]
        outer = (right - left) * unit[1]
        for low, high in pairwise(edges):
            if low >= right:
                break
            ends = np.minimum(high, x)  # up to the diagonal in the panel that holds it
            y = low + (ends - low)[:, None] * unit[0]
            area = outer[:, None] * (ends - low)[:, None] * unit[1]
            value = area * density(x[:, None], y)
            norm += float(value.sum())
            mean += float((value * (1 / (x[:, None] ** 2 + s) + 1 / (y**2 + s))).sum())
    return mean / norm
