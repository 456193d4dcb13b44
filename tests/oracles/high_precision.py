"""The balanced leading flow in log coordinates to 30 digits and more, and a reference in double precision.

Right-hand side typed by hand (notes THEORY, section 3): with r_i = 1 - sum_h mu omega and
kappa_i = lam_i phi_i / L,
    d log mu_ih / dt = 4 lam_i r_i omega_ih - 4 kappa_i sum_k C_hk mu_ik,
    d log omega_ih / dt = (4 / sqrt(d_e)) (lam_i r_i mu_ih / d_i - sum_k M_hk C_hk omega_ik),
where C_hk = exp(sum_j d_j omega_jh omega_jk) and M_hk = sum_j kappa_j mu_jh mu_jk.

The method is Gragg's midpoint rule with polynomial extrapolation in the squared step (Bulirsch and Stoer;
Hairer, Norsett, Wanner, Solving ODEs I, II.9). Numbers are integers in units of 2^-bits and exp is mpmath's
fixed-point exponential (a product costs an eighth of an mpf product); an absolute error in a logarithm is
a relative error of the weight, so nothing is lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import mpmath
import numpy as np
from mpmath.libmp.libelefun import exp_fixed
from scipy.integrate import solve_ivp

Problem = Mapping[str, Any]
Vector = list[int]
Array = np.ndarray[Any, Any]


class State(NamedTuple):
    """Weights of shape (I, H) at time t: mpf entries from ``integrate``, floats from ``integrate_double``."""

    t: float
    mu: Array
    omega: Array


def _fixed(value: Any, bits: int) -> int:
    """Nearest integer to value * 2^bits; strings are exact decimals, floats exact binary numbers."""
    with mpmath.workprec(bits + 40):
        return int(mpmath.nint(mpmath.ldexp(mpmath.mpf(value), bits)))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def fixed_rhs(problem: Problem, n_heads: int, bits: int) -> Callable[[Vector], Vector]:
    """Right-hand side on the integer state [log mu (row by row), log omega] in units of 2^-bits."""
    dims = [int(n) for n in problem["d"]]
    tasks, heads = range(len(dims)), range(n_heads)
    size = len(dims) * n_heads
    with mpmath.workprec(bits + 40):
        lam = [mpmath.mpf(_plain(x)) for x in problem["lam"]]
        noise, length = mpmath.mpf(_plain(problem["sigma2"])), mpmath.mpf(_plain(problem["L"]))
        push = [_fixed(4 * x, bits) for x in lam]
        drag = [_fixed(4 * x * (1 + noise / x) / length, bits) for x in lam]
        root = 1 / mpmath.sqrt(sum(dims) + len(dims))
        push_omega = [_fixed(4 * root * x / n, bits) for x, n in zip(lam, dims, strict=True)]
        drag_omega = [_fixed(4 * root * x * (1 + noise / x) / length, bits) for x in lam]
    one = 1 << bits

    def rhs(y: Vector) -> Vector:
        weights = [exp_fixed(value, bits) for value in y]
        mu = [weights[i * n_heads : (i + 1) * n_heads] for i in tasks]
        omega = [weights[size + i * n_heads : size + (i + 1) * n_heads] for i in tasks]
        c = [[0] * n_heads for _ in heads]
        m = [[0] * n_heads for _ in heads]
        for h in heads:
            for k in range(h, n_heads):
                overlap = sum([n * row[h] * row[k] for n, row in zip(dims, omega, strict=True)]) >> bits
                c[h][k] = c[k][h] = exp_fixed(overlap, bits)
                mass = sum([a * row[h] * row[k] for a, row in zip(drag_omega, mu, strict=True)]) >> 2 * bits
                m[h][k] = m[k][h] = mass * c[h][k] >> bits
        log_mu: Vector = []
        log_omega: Vector = []
        for i in tasks:
            mu_i, omega_i = mu[i], omega[i]
            r = one - (sum([a * b for a, b in zip(mu_i, omega_i, strict=True)]) >> bits)
            gain, gain_omega = push[i] * r >> bits, push_omega[i] * r >> bits
            for h in heads:
                mixed = sum([a * b for a, b in zip(c[h], mu_i, strict=True)]) >> bits
                log_mu.append((gain * omega_i[h] - drag[i] * mixed) >> bits)
                mixed = sum([a * b for a, b in zip(m[h], omega_i, strict=True)])
                log_omega.append((gain_omega * mu_i[h] - mixed) >> bits)
        return log_mu + log_omega

    return rhs


def _extrapolation_step(
    rhs: Callable[[Vector], Vector], y: Vector, slope: Vector, step: int, bits: int, tolerance: int, rows: int
) -> tuple[Vector, int, int]:
    """One step: (value, error estimate, rows used); stops early once the error is below the tolerance."""
    table: list[Vector] = []
    error = 0
    for row in range(rows):
        n = 2 * (row + 1)
        small = step // n
        previous, current = y, [a + (small * b >> bits) for a, b in zip(y, slope, strict=True)]
        for _ in range(n - 1):
            derivative = rhs(current)
            following = [a + (2 * small * b >> bits) for a, b in zip(previous, derivative, strict=True)]
            previous, current = current, following
        derivative = rhs(current)
        new = [[(a + b + (small * s >> bits)) >> 1 for a, b, s in zip(current, previous, derivative, strict=True)]]
        for column in range(row):
            below = (2 * (row - column)) ** 2
            scale = n * n - below
            new.append([a + (a - b) * below // scale for a, b in zip(new[column], table[column], strict=True)])
        if row:
            error = max(abs(a - b) for a, b in zip(new[row], new[row - 1], strict=True))
            if error <= tolerance:
                return new[row], error, row + 1
        table = new
    return table[-1], error, rows


def integrate(
    problem: Problem, mu0: Any, omega0: Any, times: Sequence[float], digits: int = 30, rows: int | None = None
) -> list[State]:
    """States at increasing ``times`` from t = 0; the local error in the logarithms is 10^-digits.

    ``mu0`` and ``omega0`` are positive (I, H) arrays of floats or mpf; the result has mpf entries. Working
    precision is digits + 14, because extrapolation with 2, 4, 6, ... substeps amplifies rounding by up to
    10^8.
    """
    bits = math.ceil((digits + 14) * math.log2(10))
    rows = rows or max(5, round(0.45 * digits))
    start = [_plain(x) for array in (mu0, omega0) for x in np.asarray(array).flat]
    shape = np.shape(mu0)
    with mpmath.workprec(bits + 40):
        y = [_fixed(mpmath.log(mpmath.mpf(x)), bits) for x in start]
        tolerance = _fixed(mpmath.mpf(10) ** -digits, bits)
    rhs = fixed_rhs(problem, shape[1], bits)
    states: list[State] = []
    now, proposed = 0, _fixed(0.5, bits)
    for time in times:
        end = _fixed(float(time), bits)
        slope = rhs(y)
        while now < end:
            step = min(proposed, end - now)
            value, error, used = _extrapolation_step(rhs, y, slope, step, bits, tolerance, rows)
            if error <= tolerance:
                now, y, slope = now + step, value, rhs(value)
                if step < proposed:
                    continue
            elif step >> bits // 2 == 0:
                raise RuntimeError(f"the step size underflowed at t = {now / 2**bits}")
            ratio = (tolerance / max(error, 1)) ** (1 / (2 * used - 1)) if used == rows else 1.25
            proposed = step * max(1, round(1024 * min(1.5, max(0.2, 0.9 * ratio)))) // 1024
        with mpmath.workdps(digits + 14):
            weights = np.array([mpmath.exp(mpmath.ldexp(mpmath.mpf(v), -bits)) for v in y], dtype=object)
        states.append(State(float(time), *weights.reshape(2, *shape)))
    return states


def integrate_double(
    problem: Problem, mu0: Any, omega0: Any, times: Sequence[float], rtol: float = 1e-13
) -> list[State]:
    """The same states in double precision (SciPy DOP853, log coordinates, absolute tolerance = rtol)."""
    mu0, omega0 = np.asarray(mu0, float), np.asarray(omega0, float)
    lam, d = np.asarray(problem["lam"], float)[:, None], np.asarray(problem["d"], float)[:, None]
    kappa = lam * (1 + problem["sigma2"] / lam) / problem["L"]
    root = math.sqrt(d.sum() + len(d))
    size, shape = mu0.size, mu0.shape

    def rhs(_: float, y: Array) -> Array:
        mu, omega = np.exp(y[:size]).reshape(shape), np.exp(y[size:]).reshape(shape)
        c = np.exp((d * omega).T @ omega)
        r = 1 - (mu * omega).sum(axis=1, keepdims=True)
        log_mu = 4 * lam * r * omega - 4 * kappa * (mu @ c)
        log_omega = 4 / root * (lam * r * mu / d - omega @ (((kappa * mu).T @ mu) * c))
        return np.concatenate([log_mu.ravel(), log_omega.ravel()])

    y0 = np.log(np.concatenate([mu0.ravel(), omega0.ravel()]))
    found = solve_ivp(rhs, (0.0, float(times[-1])), y0, method="DOP853", rtol=rtol, atol=rtol, t_eval=list(times))
    if not found.success:
        raise RuntimeError(found.message)
    return [
        State(float(t), np.exp(y[:size]).reshape(shape), np.exp(y[size:]).reshape(shape))
        for t, y in zip(found.t, found.y.T, strict=True)
    ]


def random_start(n_tasks: int, n_heads: int, scale: float, jitter: float = 0.2, seed: int = 0) -> State:
    """The project's default random start: omega = scale, mu = scale (1 + jitter u)."""
    u = np.random.default_rng(seed).random((n_tasks, n_heads))
    return State(0.0, scale * (1 + jitter * u), np.full((n_tasks, n_heads), scale))
