"""The forward pass of softmax attention, written once for NumPy and JAX, and its backward pass in NumPy.

``read`` is W on the query's covariates and ``write`` the label rows of U (see `AttentionWeights.acting`).  Sampled:
tokens hold labels, ``read`` is (H, d_e, d), ``write`` (H, I, d_e).  Averaged: regressors and noise are averaged
exactly given the covariates; tokens are covariates, ``read`` is (H, d, d), ``write`` (H, I, I).  Losses have no ½ and a
noise-free target.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..problem.problem import FloatArray
from .prompts import Data


def attention(xp: Any, tokens: Any, query: Any, read: Any) -> tuple[Any, Any]:
    """Softmax weights (n, H, L) and the tokens that they average to, (n, H, width)."""
    heads, width, d = read.shape
    probes = (query @ read.reshape(heads * width, d).T).reshape(-1, heads, width)
    weights = softmax(xp, probes @ xp.swapaxes(tokens, 1, 2))
    return weights, weights @ tokens


def softmax(xp: Any, scores: Any) -> Any:
    """Softmax over the last axis; overwrites ``scores`` in NumPy, where temporaries cost more than arithmetic."""
    scores -= scores.max(axis=-1, keepdims=True)
    raised = np.exp(scores, out=scores) if xp is np else xp.exp(scores)
    raised /= raised.sum(axis=-1, keepdims=True)
    return raised


def sampled_losses(xp: Any, prompts: dict[str, Any], read: Any, write: Any) -> Any:
    """Squared error of every prompt and task, (n, I)."""
    _, pooled = attention(xp, prompts["tokens"], prompts["query"], read)
    return _errors(xp, prompts, pooled, write) ** 2


def _errors(xp: Any, prompts: dict[str, Any], pooled: Any, write: Any) -> Any:
    return pooled.reshape(len(pooled), -1) @ _stacked(xp, write).T - prompts["target"]


def _stacked(xp: Any, write: Any) -> Any:
    """(I, H·width): all heads side by side."""
    return xp.swapaxes(write, 0, 1).reshape(write.shape[1], -1)


def averaged_losses(xp: Any, data: Data, prompts: dict[str, Any], read: Any, write: Any) -> Any:
    """Squared error of every prompt and task, averaged over regressors and noise: (n, I).

    Task i errs by ``Σ_j ⟨β_j, R_ij⟩`` plus the noise in the pooled labels, with
    ``R_ij = Σ_h U_ij^h Σ_l p_l^h x_l^(j) − δ_ij x_q^(i)``.
    """
    weights, pooled = attention(xp, prompts["tokens"], prompts["query"], read)
    missed = misses(data, prompts["query"], pooled, write)
    return _averaged(data, missed, weights @ xp.swapaxes(weights, 1, 2), _pairs(write))


def _averaged(data: Data, missed: Any, overlaps: Any, pairs: Any) -> Any:
    """Signal missed and noise let in, from R and the overlaps Σ_l p_l^h p_l^k, (n, H, H)."""
    noise = overlaps.reshape(len(overlaps), -1) @ pairs.reshape(data.n_tasks, -1).T
    return missed**2 @ data.weight + data.noise * noise


def misses(data: Data, query: Any, pooled: Any, write: Any) -> Any:
    """R, (n, I, d)."""
    wide = write @ data.task_of  # (H, I, d)
    return (wide * pooled[:, :, None, :]).sum(axis=1) - data.task_of * query[:, None, :]


def _pairs(write: Any) -> Any:
    """Σ_j U_ij^h U_ij^k, (I, H, H)."""
    rows = write.swapaxes(0, 1)
    return rows @ rows.swapaxes(1, 2)


def sampled_gradient(
    data: Data, prompts: dict[str, Any], read: FloatArray, write: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Losses (n, I), and the gradients of their sum in ``read`` and ``write``."""
    tokens, query = prompts["tokens"], prompts["query"]
    weights, pooled = attention(np, tokens, query, read)
    errors = _errors(np, prompts, pooled, write)
    flat = pooled.reshape(len(pooled), -1)
    by_write = np.swapaxes((2 * errors.T @ flat).reshape(data.n_tasks, *pooled.shape[1:]), 0, 1)
    by_pooled = (2 * errors @ _stacked(np, write)).reshape(pooled.shape)
    by_read = _through_softmax(tokens, query, weights, by_pooled @ np.swapaxes(tokens, 1, 2))
    return errors**2, by_read, by_write


def averaged_gradient(
    data: Data, prompts: dict[str, Any], read: FloatArray, write: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """As `sampled_gradient`, averaged over regressors and noise."""
    tokens, query = prompts["tokens"], prompts["query"]
    weights, pooled = attention(np, tokens, query, read)
    missed = misses(data, query, pooled, write)
    overlaps = weights @ np.swapaxes(weights, 1, 2)
    pairs = _pairs(write)
    losses = _averaged(data, missed, overlaps, pairs)
    by_missed = 2 * data.weight * missed
    # Over prompts coordinate by coordinate: (d, H, n) @ (d, n, I).
    signal = pooled.transpose(2, 1, 0) @ by_missed.transpose(2, 0, 1)
    by_write = np.tensordot(signal, data.task_of, axes=([0], [1]))  # (H, I, I)
    by_write += 2 * data.noise * np.tensordot(overlaps.sum(axis=0), write, axes=([1], [0]))
    by_pooled = ((write @ data.task_of) * by_missed[:, None]).sum(axis=2)
    by_weights = by_pooled @ np.swapaxes(tokens, 1, 2) + 2 * data.noise * (pairs.sum(axis=0) @ weights)
    return losses, _through_softmax(tokens, query, weights, by_weights), by_write


def _through_softmax(tokens: FloatArray, query: FloatArray, weights: FloatArray, by_weights: FloatArray) -> FloatArray:
    """The gradient in ``read``, summed over prompts, from that in the softmax weights."""
    by_scores = weights * (by_weights - (weights * by_weights).sum(axis=2, keepdims=True))
    by_probes = by_scores @ tokens
    heads, width = by_probes.shape[1:]
    gradient: FloatArray = (by_probes.reshape(len(query), -1).T @ query).reshape(heads, width, -1)
    return gradient
