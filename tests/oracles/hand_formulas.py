"""Loss, gradients, flows, limits, optimum, bounds typed by hand (THEORY, sections 2-5; [C24] 2402.19442).

A problem is a mapping with ``lam`` (I,), ``d`` (I,), ``sigma2``, ``L``; ``mu``, ``omega`` have shape (I, H).
Loss without the factor 1/2, noise-free query target, time = learning rate x steps. Only NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
Problem = Mapping[str, Any]

REFERENCE: dict[str, Any] = {"lam": (1.0, 1.0, 1.0), "d": (10, 10, 10), "sigma2": 0.1, "L": 100}


def constants(problem: Problem) -> tuple[Array, Array, Array, float]:
    """(lam, d, phi, L) with phi_i = 1 + sigma^2 / lam_i."""
    lam, d = np.asarray(problem["lam"], float), np.asarray(problem["d"], float)
    return lam, d, np.asarray(1.0 + float(problem["sigma2"]) / lam), float(problem["L"])


def noise_ratio(problem: Problem) -> Array:
    """c_i = phi_i d_i / L."""
    _, d, phi, length = constants(problem)
    return np.asarray(phi * d / length)


def embedding(problem: Problem) -> float:
    """d_e = sum_i d_i + I."""
    d = np.asarray(problem["d"], float)
    return float(d.sum()) + len(d)


def _exponential(omega: Array, problem: Problem, closure: str) -> Array:
    """C_hk, shape (H, H)."""
    _, d, _, _ = constants(problem)
    products = omega[:, :, None] * omega[:, None, :]
    if closure == "leading":
        return np.asarray(np.exp(np.sum(d[:, None, None] * products, axis=0)))
    if not np.all(2 * products < 1):
        raise ValueError("finite_d needs 2 omega_j^h omega_j^k < 1")
    return np.asarray(np.prod((1 - 2 * products) ** (-d[:, None, None] / 2), axis=0))


def loss(mu: Array, omega: Array, problem: Problem, closure: str = "leading") -> float:
    """Population loss in one of the closures leading, finite_d, first_order."""
    return float(task_losses(mu, omega, problem, closure).sum())


def task_losses(mu: Array, omega: Array, problem: Problem, closure: str = "leading") -> Array:
    """Contribution of every task to the population loss, shape (I,)."""
    lam, _, phi, length = constants(problem)
    if closure in ("leading", "finite_d"):
        c = _exponential(omega, problem, closure)
        bias = 1 - np.sum(mu * omega, axis=1)
        return np.asarray(lam * (bias**2 + phi / length * np.einsum("ih,hk,ik->i", mu, c, mu)))
    if closure != "first_order":
        raise ValueError(f"unknown closure {closure!r}")
    c = _exponential(omega, problem, "finite_d")
    result = np.empty(len(lam))
    for i in range(len(lam)):
        b = np.diag(c) / ((1 - 2 * omega[i] ** 2) * length)
        w = np.outer(omega[i], omega[i])
        quadratic = w * (1 - b[:, None] - b[None, :]) + c / length * (phi[i] + w / (1 - 2 * w))
        result[i] = lam[i] * (1 - 2 * np.sum(mu[i] * omega[i] * (1 - b)) + mu[i] @ quadratic @ mu[i])
    return result


def gradients(mu: Array, omega: Array, problem: Problem, closure: str = "leading") -> tuple[Array, Array]:
    """(g_mu, g_omega), each (I, H), in the closures leading and finite_d."""
    if closure not in ("leading", "finite_d"):
        raise ValueError(f"no hand gradient for closure {closure!r}")
    lam, d, phi, length = constants(problem)
    n_tasks, n_heads = mu.shape
    c = _exponential(omega, problem, closure)
    g_mu, g_omega = np.empty_like(mu), np.empty_like(omega)
    for i in range(n_tasks):
        r = 1 - np.sum(mu[i] * omega[i])
        for h in range(n_heads):
            g_mu[i, h] = -2 * lam[i] * r * omega[i, h] + 2 * lam[i] * phi[i] / length * np.sum(c[h] * mu[i])
            drag = 0.0
            for k in range(n_heads):
                m = np.sum(lam * phi / length * mu[:, h] * mu[:, k])
                pole = 1 - 2 * omega[i, h] * omega[i, k] if closure == "finite_d" else 1.0
                drag += m * c[h, k] * omega[i, k] / pole
            g_omega[i, h] = -2 * lam[i] * r * mu[i, h] + 2 * d[i] * drag
    return g_mu, g_omega


def velocity_merged(mu: Array, omega: Array, problem: Problem, closure: str = "leading") -> tuple[Array, Array]:
    """(d mu/dt, d omega/dt) of the merged flow."""
    g_mu, g_omega = gradients(mu, omega, problem, closure)
    return -g_mu, -g_omega / np.asarray(problem["d"], float)[:, None]


def velocity_balanced(mu: Array, omega: Array, problem: Problem, closure: str = "leading") -> tuple[Array, Array]:
    """(d mu/dt, d omega/dt) of the balanced flow of [C24]."""
    rate_mu, rate_omega = _balanced_rates(mu, omega, problem, closure)
    return mu * rate_mu, omega * rate_omega


def velocity_balanced_log(
    log_mu: Array, log_omega: Array, problem: Problem, closure: str = "leading"
) -> tuple[Array, Array]:
    """(d log mu/dt, d log omega/dt) of the balanced flow, at given logarithms."""
    return _balanced_rates(np.exp(log_mu), np.exp(log_omega), problem, closure)


def _balanced_rates(mu: Array, omega: Array, problem: Problem, closure: str) -> tuple[Array, Array]:
    g_mu, g_omega = gradients(mu, omega, problem, closure)
    d = np.asarray(problem["d"], float)[:, None]
    return -2 * g_mu, -2 / math.sqrt(embedding(problem)) * g_omega / d


def velocity_split(
    o: Array, v: Array, k: Array, q: Array, problem: Problem, closure: str = "leading"
) -> tuple[Array, Array, Array, Array]:
    """(do/dt, dv/dt, dk/dt, dq/dt) of the split flow: mu = o v, omega = k q / sqrt(d_e)."""
    root = math.sqrt(embedding(problem))
    g_mu, g_omega = gradients(o * v, k * q / root, problem, closure)
    g_omega = g_omega / (root * np.asarray(problem["d"], float)[:, None])
    return -v * g_mu, -o * g_mu, -q * g_omega, -k * g_omega


class Allocation(NamedTuple):
    """A task-allocation limit."""

    mu: Array
    omega: Array
    loss: float


def task_allocation_limit(problem: Problem, winners: list[int] | None = None, n_heads: int | None = None) -> Allocation:
    """Limit of the balanced leading flow: task i alone on head winners[i] (default i), H >= I."""
    lam, d, _, _ = constants(problem)
    c = noise_ratio(problem)
    heads = list(range(len(d))) if winners is None else winners
    if len(set(heads)) != len(heads):
        raise ValueError(f"winners {heads} share a head")
    mu, omega = np.zeros((2, len(d), n_heads or len(d)))
    for i, h in enumerate(heads):
        omega[i, h] = 1 / math.sqrt(d[i])
        mu[i, h] = math.sqrt(d[i]) / (1 + math.e * c[i])
    return Allocation(mu, omega, float(np.sum(lam * math.e * c / (1 + math.e * c))))


def universal_bound(problem: Problem) -> float:
    """sum_i lam_i c_i / (1 + c_i): a lower bound for every number of heads."""
    c = noise_ratio(problem)
    return float(np.sum(np.asarray(problem["lam"], float) * c / (1 + c)))


class SingleHead(NamedTuple):
    """Global optimum of one head: residuals r_i = 1 - mu_i omega_i, inactive tasks have r_i = 1."""

    loss: float
    residual: Array
    active: Array


def single_head_optimum(problem: Problem) -> SingleHead:
    """Optimum at H = 1: choose the active set, largest lam_i / (phi_i d_i) first.

    With s_i = mu_i omega_i and sum_j d_j omega_j^2 = 1 the loss is sum_i lam_i [(1 - s_i)^2] plus
    (e/L) (sum_i sqrt(lam_i phi_i d_i) s_i)^2 after optimising the direction of omega (Cauchy-Schwarz).
    """
    lam, d, phi, length = constants(problem)
    order = np.argsort(-lam / (phi * d), kind="stable")
    best = SingleHead(float(lam.sum()), np.ones(len(d)), np.zeros(len(d), bool))
    for count in range(1, len(d) + 1):
        chosen = order[:count]
        price = np.sqrt(lam * phi * d)[chosen]
        # Stationarity: lam_i (1 - s_i) = (e/L) price_i T with T = sum_i price_i s_i.
        total = price.sum() / (1 + math.e / length * np.sum(phi[chosen] * d[chosen]))
        residual = np.ones(len(d))
        residual[chosen] = math.e / length * price * total / lam[chosen]
        if np.all(residual <= 1):
            value = float(np.sum(lam * residual**2) + math.e / length * total**2)
            if value < best.loss:
                best = SingleHead(value, residual, residual < 1)
    return best


def single_head_all_active(problem: Problem) -> float:
    """e (sum_i sqrt(lam_i phi_i d_i))^2 / (L + e sum_i phi_i d_i): the optimum when every task is active."""
    lam, d, phi, length = constants(problem)
    return float(math.e * np.sum(np.sqrt(lam * phi * d)) ** 2 / (length + math.e * np.sum(phi * d)))


def budget(n_heads: int) -> float:
    """R_1 = 1/e, R_H = H - 1."""
    return 1 / math.e if n_heads == 1 else n_heads - 1.0


def water_filling(lam: Array, c: Array, total: float) -> tuple[float, Array]:
    """min sum lam c / (c + x) over 0 <= x <= 1, sum x <= total: (value, x), by bisection on log nu."""
    if total >= len(lam):
        x = np.ones(len(lam))
        return float(np.sum(lam * c / (c + x))), x

    def fill(log_nu: float) -> Array:
        return np.asarray(np.clip(np.sqrt(lam * c) * math.exp(-log_nu / 2) - c, 0.0, 1.0))

    low = math.log(float(np.min(lam * c / (c + 1) ** 2))) - 1  # every x_i = 1
    high = math.log(float(np.max(lam / c))) + 1  # every x_i = 0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if fill(middle).sum() > total else (low, middle)
    x = fill(high)
    return float(np.sum(lam * c / (c + x))), x


def multi_head_optimum(problem: Problem, n_heads: int) -> float:
    """inf of the leading loss for H heads (attained for H = 1 only)."""
    return water_filling(np.asarray(problem["lam"], float), noise_ratio(problem), budget(n_heads))[0]


def homogeneous_optimum(signal: float, c: float, n_tasks: int, n_heads: int) -> float:
    """lam I c / (min(1, (H - 1)/I) + c), H >= 2."""
    return signal * n_tasks * c / (min(1.0, (n_heads - 1) / n_tasks) + c)


def separation_ratio(problem: Problem) -> float:
    """Single-head optimum over task-allocation limit."""
    return single_head_optimum(problem).loss / task_allocation_limit(problem).loss


def separation_limit(problem: Problem) -> float:
    """Limit of the separation ratio as L -> infinity: (sum sqrt(lam phi d))^2 / sum lam phi d."""
    lam, d, phi, _ = constants(problem)
    return float(np.sum(np.sqrt(lam * phi * d)) ** 2 / np.sum(lam * phi * d))


def bayes_task_risks(problem: Problem) -> Array:
    """Ridge risk per task in the proportional limit (Marchenko-Pastur), shape (I,)."""
    lam, d, _, length = constants(problem)
    gamma = d / length
    z = float(problem["sigma2"]) * gamma / lam
    a = 1 - gamma + z
    return np.asarray(lam * (-a + np.sqrt(a**2 + 4 * gamma * z)) / (2 * gamma))


def bayes_limit(problem: Problem) -> float:
    """Sum of the ridge risks of the tasks."""
    return float(bayes_task_risks(problem).sum())


def shared_head_limit(problem: Problem, groups: list[list[int]]) -> float:
    """Loss when every group of tasks sits on a head of its own, at the single-head optimum of the group."""
    total = 0.0
    for group in groups:
        part = {
            "lam": np.asarray(problem["lam"], float)[group],
            "d": np.asarray(problem["d"], float)[group],
            "sigma2": problem["sigma2"],
            "L": problem["L"],
        }
        total += single_head_optimum(part).loss
    return total


def tail_constant(problem: Problem) -> float:
    """K of loss - limit ~ K / t^2 for the balanced flow with one task per head, H = I."""
    lam, d, phi, length = constants(problem)
    mu = task_allocation_limit(problem).mu.diagonal()
    strength = lam * phi * mu**2 / length
    pairs = [d[j] / strength[h] for h in range(len(d)) for j in range(len(d)) if j != h]
    return float(embedding(problem) / (16 * math.e) * sum(pairs))


def symmetric_state(m: float, n: float, p: float, q: float, n_tasks: int) -> tuple[Array, Array]:
    """(mu, omega) with m, p on task (diagonal) and n, q off task."""
    eye = np.eye(n_tasks)
    return m * eye + n * (1 - eye), p * eye + q * (1 - eye)


def symmetric_gradients(
    m: float, n: float, p: float, q: float, n_tasks: int, d: float, signal: float, noise: float, length: float
) -> tuple[float, float, float, float]:
    """(g_m, g_n, g_p, g_q): entries of g_mu and g_omega on and off task, homogeneous tasks, H = I."""
    k, j = signal * (1 + noise / signal) / length, n_tasks - 1
    r = 1 - m * p - j * n * q
    c_d, c_o = math.exp(d * (p * p + j * q * q)), math.exp(d * (2 * p * q + (j - 1) * q * q))
    m_d, m_o = k * (m * m + j * n * n), k * (2 * m * n + (j - 1) * n * n)
    return (
        -2 * signal * r * p + 2 * k * (c_d * m + j * c_o * n),
        -2 * signal * r * q + 2 * k * (c_d * n + c_o * (m + (j - 1) * n)),
        -2 * signal * r * m + 2 * d * (m_d * c_d * p + j * m_o * c_o * q),
        -2 * signal * r * n + 2 * d * (m_d * c_d * q + m_o * c_o * (p + (j - 1) * q)),
    )
