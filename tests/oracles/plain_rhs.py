"""The balanced leading flow in logarithms as one first writes it in NumPy: einsum, nothing preallocated.

Formulas: notes THEORY, section 3, typed by hand; the Jacobian too. Slower than ``hand_rhs`` and easier to read: what a
user of SciPy has without headflow. State: ``concatenate([log mu.ravel(), log omega.ravel()])``, (I, H) arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Function = Callable[[float, np.ndarray], np.ndarray]


def make_plain(problem: Mapping[str, Any], n_heads: int) -> tuple[Function, Function]:
    """``f(t, y) -> dy`` and its Jacobian ``(t, y) -> (2IH, 2IH)``."""
    lam, d = np.asarray(problem["lam"], float), np.asarray(problem["d"], float)
    kappa = lam * (1 + problem["sigma2"] / lam) / problem["L"]
    n_tasks = len(lam)
    root = np.sqrt(d.sum() + n_tasks)

    def parts(y):
        mu, omega = np.exp(y).reshape(2, n_tasks, n_heads)
        c = np.exp(np.einsum("i,ih,ik->hk", d, omega, omega))
        m = np.einsum("i,ih,ik->hk", kappa, mu, mu)
        return mu, omega, c, m, 1 - np.sum(mu * omega, axis=1)

    def velocity(t, y):
        mu, omega, c, m, r = parts(y)
        d_mu = 4 * (lam * r)[:, None] * omega - 4 * kappa[:, None] * (mu @ c)
        d_omega = 4 / root * ((lam * r / d)[:, None] * mu - omega @ (m * c))
        return np.concatenate([d_mu.ravel(), d_omega.ravel()])

    def sums(c, first, second):
        return np.einsum("hl,jl,il->ihj", c, first, second)

    def jacobian(t, y):
        mu, omega, c, m, r = parts(y)
        task, head = np.eye(n_tasks), np.eye(n_heads)
        moved = mu * omega
        mc = m * c
        on_task = -np.einsum("i,ih,ik->ihk", lam, omega, moved)
        mu_mu = on_task - np.einsum("i,hk,ik->ihk", kappa, c, mu)
        mu_omega = on_task + np.einsum("i,i,ih,hk->ihk", lam, r, omega, head)
        pull = np.einsum("i,ih,ik->ihk", lam / d, mu, moved)
        omega_mu = -pull + np.einsum("i,i,ih,hk->ihk", lam / d, r, mu, head)
        omega_omega = -pull - np.einsum("hk,ik->ihk", mc, omega)
        blocks = np.zeros((2, n_tasks, n_heads, 2, n_tasks, n_heads))
        blocks[0, :, :, 0] = np.einsum("ihk,ij->ihjk", mu_mu, task)
        blocks[0, :, :, 1] = np.einsum("ihk,ij->ihjk", mu_omega, task)
        blocks[0, :, :, 1] -= np.einsum("i,j,jk,ihj,hk->ihjk", kappa, d, omega, sums(c, omega, mu), head)
        blocks[0, :, :, 1] -= np.einsum("i,j,jh,jk,hk,ik->ihjk", kappa, d, omega, omega, c, mu)
        blocks[1, :, :, 0] = np.einsum("ihk,ij->ihjk", omega_mu, task)
        blocks[1, :, :, 0] -= np.einsum("j,jk,ihj,hk->ihjk", kappa, mu, sums(c, mu, omega), head)
        blocks[1, :, :, 0] -= np.einsum("j,jh,jk,hk,ik->ihjk", kappa, mu, mu, c, omega)
        blocks[1, :, :, 1] = np.einsum("ihk,ij->ihjk", omega_omega, task)
        blocks[1, :, :, 1] -= np.einsum("j,jk,ihj,hk->ihjk", d, omega, sums(mc, omega, omega), head)
        blocks[1, :, :, 1] -= np.einsum("j,jh,jk,hk,ik->ihjk", d, omega, omega, mc, omega)
        blocks[0] *= 4
        blocks[1] *= 4 / root
        return blocks.reshape(len(y), len(y))

    return velocity, jacobian
