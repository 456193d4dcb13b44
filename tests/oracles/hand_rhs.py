"""Right-hand sides of the leading flow as an expert writes them in NumPy: the yardstick of the benchmarks.

Formulas: notes THEORY, section 3 (g_mu, g_omega), typed by hand. The state is
``concatenate([mu.ravel(), omega.ravel()])`` with (I, H) arrays, or their logarithms. Constants are folded and
hoisted, every temporary is preallocated, the four contractions are matrix products: C = exp(omega' D omega),
M = mu' K mu, mu C, omega (M o C). ``A.T @ A``, which NumPy hands to syrk, was measured slower up to n = 128
(2 to 15 %) and within 8 % either way at 256, depending on the number of threads.

The returned array is a buffer that the next call overwrites; copy it to keep it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Rhs = Callable[[float, np.ndarray], np.ndarray]

FLOWS = ("balanced_log", "balanced", "merged")


def make_rhs(problem: Mapping[str, Any], n_heads: int, flow: str = "balanced_log") -> Rhs:
    """``f(t, y) -> dy`` for one of FLOWS, with ``dy`` preallocated."""
    lam = np.asarray(problem["lam"], float)[:, None]
    d = np.asarray(problem["d"], float)[:, None]
    kappa = lam * (1 + problem["sigma2"] / lam) / problem["L"]
    n_tasks, size = len(lam), len(lam) * n_heads
    shape = (n_tasks, n_heads)

    # With M = mu' (weight mu): d log mu/dt = push r omega - (weight mu) C,
    # d log omega/dt = s (push r mu / d - omega (M o C)).
    push, weight, s = {
        "balanced_log": (4 * lam, 4 * kappa, 1 / math.sqrt(d.sum() + n_tasks)),
        "balanced": (4 * lam, 4 * kappa, 1 / math.sqrt(d.sum() + n_tasks)),
        "merged": (2 * lam, 2 * kappa, 1.0),
    }[flow]
    push_omega = s * push / d

    exp, matmul, multiply, subtract, vecdot = np.exp, np.matmul, np.multiply, np.subtract, np.vecdot
    out, temporary = np.empty(2 * size), np.empty(shape)
    d_mu, d_omega = out[:size].reshape(shape), out[size:].reshape(shape)
    weighted_mu, weighted_omega = np.empty(shape), np.empty(shape)
    weighted_omega_t = weighted_omega.T
    weighted_mu_t = weighted_mu.T
    c, m = np.empty((n_heads, n_heads)), np.empty((n_heads, n_heads))
    residual, factor = np.empty((n_tasks, 1)), np.empty((n_tasks, 1))
    residual_flat = residual[:, 0]

    def rates(mu: np.ndarray, omega: np.ndarray) -> None:
        multiply(d, omega, out=weighted_omega)
        matmul(weighted_omega_t, omega, out=c)
        exp(c, out=c)
        multiply(weight, mu, out=weighted_mu)
        matmul(weighted_mu_t, mu, out=m)
        multiply(m, c, out=m)
        vecdot(mu, omega, out=residual_flat)
        subtract(1.0, residual, out=residual)

        multiply(push, residual, out=factor)
        multiply(factor, omega, out=d_mu)
        matmul(weighted_mu, c, out=temporary)
        subtract(d_mu, temporary, out=d_mu)

        multiply(push_omega, residual, out=factor)
        multiply(factor, mu, out=d_omega)
        matmul(omega, m, out=temporary)
        if s != 1.0:
            multiply(s, temporary, out=temporary)
        subtract(d_omega, temporary, out=d_omega)

    if flow == "balanced_log":
        state = np.empty(2 * size)
        mu_state, omega_state = state[:size].reshape(shape), state[size:].reshape(shape)

        def balanced_log(t: float, y: np.ndarray) -> np.ndarray:
            exp(y, out=state)
            rates(mu_state, omega_state)
            return out

        return balanced_log

    if flow == "balanced":

        def balanced(t: float, y: np.ndarray) -> np.ndarray:
            rates(y[:size].reshape(shape), y[size:].reshape(shape))
            multiply(out, y, out=out)
            return out

        return balanced

    def merged(t: float, y: np.ndarray) -> np.ndarray:
        rates(y[:size].reshape(shape), y[size:].reshape(shape))
        return out

    return merged
