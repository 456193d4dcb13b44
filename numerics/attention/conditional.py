"""The loss of a prompt given its scores, averaged exactly over all that the scores leave open (derived here).

A score reads a token only through its components along the H probes ``W^{(h)} z_q``.  In coordinates in which tokens
are standard normal, these are r = min(H, width) normal numbers along an orthonormal frame of the probes, and what is
orthogonal to the frame is normal and independent of the scores: given the scores it enters the pooled tokens with
covariance ``Σ_l p_l^h p_l^k`` between heads, so its square averages in closed form.  So L r numbers are drawn for a
prompt instead of L d_e, with the same mean loss and a smaller variance, for any weights.

Written once for NumPy and JAX; shapes, losses and the two ways with labels are those of `model`.
"""

from __future__ import annotations

from typing import Any, Final

from .model import misses, softmax
from .prompts import Data

_ROUNDING: Final = 100  # units of rounding by which a dependent probe may seem independent


def averaged_losses(xp: Any, data: Data, drawn: dict[str, Any], read: Any, write: Any) -> Any:
    """Squared error of every prompt and task, averaged over regressors, noise and all but the scores: (n, I)."""
    query = drawn["query"]
    probes = _probes(query, read)
    pooled, overlaps, frame = _pooled(xp, probes, drawn["along"])
    missed = misses(data, query, pooled, write)
    # Of every task's labels: their noise, and the signal of what is orthogonal to the frame.
    unread = data.noise + (data.weight * (1 - (frame**2).sum(axis=2))) @ data.task_of.T
    rows = write.swapaxes(0, 1).swapaxes(1, 2).reshape(data.n_tasks**2, -1)  # (I·I, H)
    pairs = (rows[:, :, None] * rows[:, None, :]).reshape(data.n_tasks**2, -1)
    spread = (overlaps.reshape(len(query), -1) @ pairs.T).reshape(-1, data.n_tasks, data.n_tasks)
    return missed**2 @ data.weight + (spread * unread[:, None, :]).sum(axis=2)


def sampled_losses(xp: Any, data: Data, drawn: dict[str, Any], read: Any, write: Any) -> Any:
    """Squared error of every prompt and task given its regressors, averaged over all but the scores: (n, I)."""
    query, regressor = drawn["query"], drawn["regressor"]
    probes = _whitened(xp, data, regressor[:, None], _probes(query, read))
    pooled, overlaps, frame = _pooled(xp, probes, drawn["along"])
    # (n, I, H, width), or H and width flat: all heads side by side.
    outputs = _whitened(xp, data, regressor[:, None, None], write.swapaxes(0, 1)[None])
    flat = (len(query), data.n_tasks, -1)
    predicted = (outputs.reshape(flat) @ pooled.reshape(len(query), -1, 1))[:, :, 0]
    target = (query * regressor) @ data.task_of.T
    along = outputs @ frame[:, None]
    unread = outputs @ xp.swapaxes(outputs, 2, 3) - along @ xp.swapaxes(along, 2, 3)
    return (predicted - target) ** 2 + (unread * overlaps[:, None]).sum(axis=(2, 3))


def _probes(query: Any, read: Any) -> Any:
    """What scores are inner products of tokens with, (n, H, width)."""
    heads, width, d = read.shape
    return (query @ read.reshape(heads * width, d).T).reshape(-1, heads, width)


def _pooled(xp: Any, probes: Any, along: Any) -> tuple[Any, Any, Any]:
    """Mean given the scores of what each head pools (n, H, width), overlaps Σ_l p_l^h p_l^k, frame (n, width, r)."""
    coefficients, frame = frame_of_probes(xp, probes)
    weights = softmax(xp, coefficients @ along)
    pooled = (weights @ xp.swapaxes(along, 1, 2)) @ xp.swapaxes(frame, 1, 2)
    return pooled, weights @ xp.swapaxes(weights, 1, 2), frame


def frame_of_probes(xp: Any, probes: Any) -> tuple[Any, Any]:
    """Probes as coefficients (n, H, r) of an orthonormal frame (n, width, r), by Gram and Schmidt's procedure.

    What the probes before leave of one, up to rounding, is the direction that it adds; a dependent one adds none, and
    its direction is zero.  So the same numbers mean nearly the same prompts for nearly the same weights.
    """
    heads, width = probes.shape[1:]
    if heads >= width:
        return probes, xp.broadcast_to(xp.eye(width, dtype=probes.dtype), (len(probes), width, width))
    directions: list[Any] = []
    for head in range(heads):
        rest = probes[:, head : head + 1]
        least = _ROUNDING * xp.finfo(probes.dtype).eps * _length(xp, rest)
        if directions:
            known = xp.concatenate(directions, axis=1)
            for _ in range(2):  # the second time removes what rounding left
                rest = rest - (rest @ xp.swapaxes(known, 1, 2)) @ known
        left = _length(xp, rest)
        directions.append(rest / xp.where(left > least, left, xp.inf))
    frame = xp.swapaxes(xp.concatenate(directions, axis=1), 1, 2)
    return probes @ frame, frame


def _length(xp: Any, vectors: Any) -> Any:
    return xp.sqrt((vectors**2).sum(axis=2, keepdims=True))


def _whitened(xp: Any, data: Data, regressor: Any, form: Any) -> Any:
    """A linear form on tokens (…, d_e) as one on standard normal covariates and noises, given the regressor (…, d)."""
    covariates, labels = form[..., : data.total_dim], form[..., data.total_dim :]
    through = covariates + (labels @ data.task_of) * regressor
    return xp.concatenate([through, xp.broadcast_to(data.noise**0.5 * labels, (*through.shape[:-1], data.n_tasks))], -1)
