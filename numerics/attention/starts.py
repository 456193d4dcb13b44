"""Owns initial weights of published experiments on softmax attention."""

from __future__ import annotations

from typing import Final

import numpy as np

from ...theory.choices import unknown
from ...theory.errors import InputError
from ..exact import as_float
from ..problem import FloatArray, Problem
from .prompts import checked_seed
from .weights import AttentionWeights

PAIRS: Final = ("identity", "opposite", "random")


def multi_task_start(
    problem: Problem, scale: float | None = None, gaussian_seed: int | None = None
) -> AttentionWeights:
    """Split weights as in the published experiments of [C24]: each head has a task that it favours.

    K = Q = scale · Id; V is zero but for the labels' diagonal, ``scale`` off the head's task and twice that on it;
    O = Vᵀ.  Head h favours task h (modulo I).  [C24] is Chen, Sheen, Wang and Yang, arXiv 2402.19442.

    Parameters
    ----------
    scale
        Of every factor, > 0; default L^(−3/4).
    gaussian_seed
        If given, K and Q of every head are multiplied by a standard normal number of the head's own, drawn with
        this seed.
    """
    size = problem.context_length**-0.75 if scale is None else as_float("scale", scale, positive=True)
    heads, d, width = problem.n_heads, problem.total_dim, problem.embedding_dim
    key = np.broadcast_to(size * np.eye(width), (heads, width, width)).copy()
    if gaussian_seed is not None:
        key *= np.random.default_rng(checked_seed(gaussian_seed)).standard_normal((heads, 1, 1))
    value = np.zeros_like(key)
    for head in range(heads):
        labels = np.full(problem.n_tasks, size)
        labels[head % problem.n_tasks] *= 2
        value[head, range(d, width), range(d, width)] = labels
    return AttentionWeights.split(problem, key, key, value, np.swapaxes(value, 1, 2))


def small_start(problem: Problem, kind: str, scale: float = 0.01, seed: int = 0) -> AttentionWeights:
    """Merged weights as in the experiments of [H25]: He, Pan, Chen and Yang, arXiv 2503.12734.

    Parameters
    ----------
    kind
        "identity": W_X = scale · Id and U_Y = scale · Id in every head; "opposite": with the sign of every other
        head turned; "random": all entries that act are normal with standard deviation ``scale``.
    scale
        > 0.
    seed
        Of a random start.

    Raises `InputError` for what is not allowed.
    """
    if kind not in PAIRS:
        raise InputError(unknown("start", str(kind), PAIRS))
    size = as_float("scale", scale, positive=True)
    if kind == "random":
        rng = np.random.default_rng(checked_seed(seed))
        shape = (problem.n_heads, problem.embedding_dim, problem.embedding_dim)
        d = problem.total_dim
        key_query: FloatArray = size * rng.standard_normal(shape)
        output_value: FloatArray = size * rng.standard_normal(shape)
        key_query[:, :, d:] = 0.0
        output_value[:, :d] = 0.0
        return AttentionWeights.merged(problem, key_query, output_value)
    sign = np.where((np.arange(problem.n_heads) % 2 == 1) & (kind == "opposite"), -1.0, 1.0)
    spectral = np.broadcast_to(size * sign, (problem.n_tasks, problem.n_heads))
    return AttentionWeights.spectral(problem, spectral, spectral)
