"""Infimum of the leading loss over all weights of H heads, by numerical search (hand-derived).

The loss is a quadratic in mu_i for given omega, eliminated by a linear solve:
    min = lam_i (1 - omega_i' (omega_i omega_i' + (phi_i/L) C)^-1 omega_i).
No use is made of the theorem on the optimum. For H >= 2 the infimum is approached as omega -> 0, where C ->
11' is singular. The remedy is to write heads in the basis (head 1, differences from head 1, divided by the
scale s of omega), and differences of exp as differences of expm1: the transformed C keeps full relative
accuracy and stays regular, so that s = 1e-4 is harmless.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import mpmath
import numpy as np
from scipy.optimize import minimize

Array = np.ndarray[Any, Any]
Problem = Mapping[str, Any]


class Optimum(NamedTuple):
    """Smallest loss found, where, and the fraction of the local minimisations that came within 1e-6 of it."""

    loss: float
    omega: Array
    hit_rate: float


def profile_loss(omega: Array, problem: Problem) -> float:
    """min over mu of the leading loss at given omega, shape (I, H)."""
    lam, d = np.asarray(problem["lam"], float), np.asarray(problem["d"], float)
    phi, length = 1 + problem["sigma2"] / lam, problem["L"]
    scale = float(np.sqrt(np.sum(d[:, None] * omega**2)))
    growth = np.expm1(omega.T @ (d[:, None] * omega))
    c = np.empty_like(growth)
    c[0, 0] = 1 + growth[0, 0]
    c[0, 1:] = c[1:, 0] = (growth[0, 1:] - growth[0, 0]) / scale
    c[1:, 1:] = (growth[1:, 1:] - growth[:1, 1:] - growth[1:, :1] + growth[0, 0]) / scale**2
    basis = np.concatenate([omega[:, :1], (omega[:, 1:] - omega[:, :1]) / scale], axis=1)
    rows, columns = basis[:, :, None], basis[:, None, :]
    solution = np.linalg.solve(rows * columns + (phi / length)[:, None, None] * c, rows)
    return float(np.sum(lam * (1 - (columns @ solution)[:, 0, 0])))


def profile_loss_mp(omega: Array, problem: Problem, digits: int = 60) -> float:
    """The same without any change of basis, in mpmath: a check of ``profile_loss`` near omega = 0."""
    n_tasks, n_heads = omega.shape
    with mpmath.workdps(digits):
        w = [[mpmath.mpf(float(x)) for x in row] for row in omega]
        d, length = [int(x) for x in problem["d"]], mpmath.mpf(problem["L"])
        c = mpmath.matrix(n_heads)
        for h in range(n_heads):
            for k in range(n_heads):
                c[h, k] = mpmath.exp(mpmath.fsum(d[j] * w[j][h] * w[j][k] for j in range(n_tasks)))
        total = mpmath.mpf(0)
        for i in range(n_tasks):
            lam = mpmath.mpf(float(problem["lam"][i]))
            phi = 1 + mpmath.mpf(float(problem["sigma2"])) / lam
            row = mpmath.matrix(w[i])
            mu = mpmath.lu_solve(row * row.T + phi / length * c, row)
            bias = 1 - (row.T * mu)[0]
            total += lam * (bias**2 + phi / length * (mu.T * c * mu)[0])
        return float(total)


def search(
    problem: Problem,
    n_heads: int,
    starts: int = 24,
    seed: int = 0,
    smallest: float = 1e-4,
    largest: float = 4.0,
) -> Optimum:
    """Best of ``starts`` local minimisations over omega, sqrt(sum_i d_i |omega_i|^2) in [smallest, largest].

    For H >= 2 the value exceeds the infimum by O(smallest^2). H <= I + 1: further heads make the transformed
    C singular in the limit, and bring nothing.
    """
    d = np.asarray(problem["d"], float)
    n_tasks = len(d)
    if n_heads > n_tasks + 1:
        raise ValueError(f"n_heads = {n_heads} must be at most the number of tasks plus one, {n_tasks + 1}")
    rng = np.random.default_rng(seed)
    low, high = np.log(smallest), np.log(largest)

    def weights(parameters: Array) -> Array:
        direction = parameters[1:].reshape(n_tasks, n_heads)
        omega = direction * np.exp(np.clip(parameters[0], low, high)) / np.linalg.norm(direction)
        return np.asarray(omega / np.sqrt(d)[:, None])

    def objective(parameters: Array) -> float:
        return profile_loss(weights(parameters), problem)

    bounds: list[Any] = [(low, high)] + [(None, None)] * (n_tasks * n_heads)
    options: Any = {"maxiter": 2000, "maxfun": 200_000, "ftol": 1e-15, "gtol": 1e-10}
    values, best = [], None
    for _ in range(starts):
        scale = np.exp(rng.uniform(np.log(0.05), np.log(2.0)))
        x0: Any = np.concatenate([[np.log(scale)], rng.standard_normal(n_tasks * n_heads)])
        # The valley towards omega = 0 is long: continue from its far end as well and keep the better value.
        for _ in range(2):
            found = minimize(objective, x0, method="L-BFGS-B", bounds=bounds, options=options)
            x0 = np.concatenate([[low if n_heads > 1 else found.x[0]], found.x[1:] / np.linalg.norm(found.x[1:])])
            if best is None or found.fun < best.fun:
                best = found
            values.append(found.fun)
    assert best is not None
    hit_rate = float(np.mean(np.array(values) < best.fun + 1e-6))
    return Optimum(float(best.fun), weights(best.x), hit_rate)
