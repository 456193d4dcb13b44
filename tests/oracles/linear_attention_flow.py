"""Full-matrix population flow of linear attention with hand gradients, and Monte-Carlo risks on anisotropic covariates.

Model: x ~ N(0, diag(s)), y = <beta, x> + eps, beta_a ~ N(0, t_a), eps ~ N(0, s2); prediction
(1/L) sum_l x_l' A x_q y_l with A = sum_h v_h U_h.  With the sample covariance S and noise vector e the prediction is
x_q' A' (S beta + e); by Wick E[S M S] = C M C (1 + 1/L) + C tr(C M)/L for symmetric M, C = diag(s).
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def loss_and_gradient(matrix: Array, s: Array, t: Array, s2: float, length: int) -> tuple[float, Array]:
    """Population loss (no half) and its gradient in A: tr(C A' R A) - 2 tr(C T C A) + tr(C T), R = E second moment."""
    c, prior = np.diag(s), np.diag(t)
    second = c @ prior @ c * (1 + 1 / length) + c * np.trace(c @ prior) / length + s2 * c / length
    loss = np.trace(c @ matrix.T @ second @ matrix) - 2 * np.trace(c @ prior @ c @ matrix) + np.trace(c @ prior)
    gradient = 2 * second @ matrix @ c - 2 * c @ prior @ c
    return float(loss), gradient


def split_velocity(v: Array, k: Array, q: Array, *data: Any) -> tuple[Array, Array, Array]:
    """Heads v (H,), keys and queries (D, H): A = k diag(v) q'."""
    _, g = loss_and_gradient((k * v) @ q.T, *data)
    return -np.einsum("ah,ab,bh->h", k, g, q), -(g @ q) * v, -(g.T @ k) * v


def merged_velocity(v: Array, u: Array, *data: Any) -> tuple[Array, Array]:
    """Heads v (H,), full matrices u (H, D, D)."""
    _, g = loss_and_gradient(np.einsum("h,hab->ab", v, u), *data)
    return -np.einsum("hab,ab->h", u, g), -v[:, None, None] * g


def runge_kutta(velocity: Any, state: list[Array], t_final: float, steps: int) -> list[Array]:
    """Classical fourth order, fixed step."""
    dt = t_final / steps
    for _ in range(steps):
        k1 = velocity(*state)
        k2 = velocity(*(x + dt / 2 * d for x, d in zip(state, k1, strict=True)))
        k3 = velocity(*(x + dt / 2 * d for x, d in zip(state, k2, strict=True)))
        k4 = velocity(*(x + dt * d for x, d in zip(state, k3, strict=True)))
        state = [x + dt / 6 * (a + 2 * b + 2 * c + d) for x, a, b, c, d in zip(state, k1, k2, k3, k4, strict=True)]
    return state


def sampled_loss(kind: str, weights: Any, s: Array, t: Array, s2: float, length: int, n: int, seed: int) -> Any:
    """Mean squared error and its standard error over n drawn prompts: everything is drawn, beta and noise too.

    ``kind`` "linear": weights = A.  "softmax": weights = (mu (H,), omega (D, H)).
    """
    rng = np.random.default_rng(seed)
    errors = []
    for _ in range(0, n, 5000):
        x = rng.standard_normal((5000, length, len(s))) * np.sqrt(s)
        xq = rng.standard_normal((5000, len(s))) * np.sqrt(s)
        beta = rng.standard_normal((5000, len(s))) * np.sqrt(t)
        y = np.einsum("nla,na->nl", x, beta) + np.sqrt(s2) * rng.standard_normal((5000, length))
        if kind == "linear":
            p = np.einsum("nla,ab,nb->nl", x, weights, xq) / length
        else:
            mu, omega = weights
            p = np.zeros((5000, length))
            for head in range(len(mu)):
                score = np.exp(np.einsum("nla,na->nl", x, xq * omega[:, head]))
                p += mu[head] * score / score.sum(axis=1, keepdims=True)
        errors.append(((p * y).sum(axis=1) - (beta * xq).sum(axis=1)) ** 2)
    drawn = np.concatenate(errors)
    return drawn.mean(), drawn.std() / np.sqrt(len(drawn))
