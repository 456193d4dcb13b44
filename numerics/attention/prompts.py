"""The data: prompts as functions of (seed, stream, step, block), in NumPy and in JAX.

A batch is made of blocks, and each block has a generator of its own: what is drawn does not depend on how many
threads draw it, nor on what was drawn before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ..problem.problem import FloatArray, Problem
from .weights import owners

# Streams of one seed: prompts on which risk and gradients are estimated, and those of training.
EVALUATION: Final = 0
TRAINING: Final = 1


@dataclass(frozen=True, eq=False)
class Data:
    """The numbers of a problem that draw prompts.

    Attributes
    ----------
    length, total_dim, n_tasks
        L, d, I.
    task_of
        One-hot task of every coordinate, (I, d).
    weight
        λ_i/d_i of every coordinate, (d,): the variance of a regressor.
    noise
        σ².
    """

    length: int
    total_dim: int
    n_tasks: int
    task_of: FloatArray
    weight: FloatArray
    noise: float

    @classmethod
    def of(cls, problem: Problem, dtype: str = "float64") -> Data:
        """The numbers of ``problem``, arrays in ``dtype``."""
        owner = owners(problem)
        power = np.array(problem.signal_power, dtype=np.float64) / np.array(problem.dims)
        return cls(
            length=problem.context_length,
            total_dim=problem.total_dim,
            n_tasks=problem.n_tasks,
            task_of=(np.arange(problem.n_tasks)[:, None] == owner).astype(dtype),
            weight=power[owner].astype(dtype),
            noise=float(problem.noise_variance),
        )


def generator(seed: int, stream: int, step: int, block: int) -> np.random.Generator:
    """The generator of one block of prompts."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(stream, step, block)))


def draw(rng: np.random.Generator, data: Data, size: int, dtype: str, labels: bool) -> dict[str, Any]:
    """``size`` prompts: ``tokens`` (n, L, d_e) or, without labels, (n, L, d); ``query`` (n, d); ``target`` (n, I)."""
    kind: Any = np.dtype(dtype)
    width = data.total_dim + (data.n_tasks if labels else 0)
    tokens = rng.standard_normal((size, data.length, width), dtype=kind)
    query = rng.standard_normal((size, data.total_dim), dtype=kind)
    if not labels:
        return {"tokens": tokens, "query": query}
    normal = rng.standard_normal((size, data.total_dim), dtype=kind)
    regressors, target = regression(np, data, normal, query)
    labelled = tokens[:, :, data.total_dim :]  # standard normal until here
    labelled *= kind.type(data.noise**0.5)
    labelled += tokens[:, :, : data.total_dim] @ regressors
    return {"tokens": tokens, "query": query, "target": target}


def draw_jax(key: Any, data: Data, size: int, dtype: str, labels: bool) -> dict[str, Any]:
    """`draw` with JAX's generator: other numbers of the same law."""
    import jax
    import jax.numpy as jnp

    first, second, third, fourth = jax.random.split(key, 4)
    covariates = jax.random.normal(first, (size, data.length, data.total_dim), dtype=dtype)
    query = jax.random.normal(second, (size, data.total_dim), dtype=dtype)
    if not labels:
        return {"tokens": covariates, "query": query}
    normal = jax.random.normal(third, (size, data.total_dim), dtype=dtype)
    regressors, target = regression(jnp, data, normal, query)
    noise = data.noise**0.5 * jax.random.normal(fourth, (size, data.length, data.n_tasks), dtype=dtype)
    tokens = jnp.concatenate([covariates, covariates @ regressors + noise], axis=2)
    return {"tokens": tokens, "query": query, "target": target}


def draw_scored(
    rng: np.random.Generator, data: Data, heads: int, size: int, dtype: str, labels: bool
) -> dict[str, Any]:
    """What the scores of ``size`` prompts need: ``along`` (n, r, L), ``query`` and, with labels, ``regressor`` (n, d).

    ``along``: components of the tokens along the frame of the probes, see `conditional`.
    """
    kind: Any = np.dtype(dtype)
    rank = frame_size(heads, data.total_dim + (data.n_tasks if labels else 0))
    drawn = {
        "along": rng.standard_normal((size, rank, data.length), dtype=kind),
        "query": rng.standard_normal((size, data.total_dim), dtype=kind),
    }
    if labels:
        drawn["regressor"] = rng.standard_normal((size, data.total_dim), dtype=kind) * np.sqrt(data.weight)
    return drawn


def draw_scored_jax(key: Any, data: Data, heads: int, size: int, dtype: str, labels: bool) -> dict[str, Any]:
    """`draw_scored` with JAX's generator: other numbers of the same law."""
    import jax

    first, second, third = jax.random.split(key, 3)
    rank = frame_size(heads, data.total_dim + (data.n_tasks if labels else 0))
    drawn = {
        "along": jax.random.normal(first, (size, rank, data.length), dtype=dtype),
        "query": jax.random.normal(second, (size, data.total_dim), dtype=dtype),
    }
    if labels:
        normal = jax.random.normal(third, (size, data.total_dim), dtype=dtype)
        drawn["regressor"] = normal * jax.numpy.sqrt(data.weight)
    return drawn


def frame_size(heads: int, width: int) -> int:
    """How many components of a token in ``width`` dimensions the scores of ``heads`` heads read."""
    return min(heads, width)


def regression(xp: Any, data: Data, normal: Any, query: Any) -> tuple[Any, Any]:
    """Regressors as matrices (n, d, I), zero outside a task's coordinates, and noise-free targets (n, I)."""
    beta = normal * xp.sqrt(data.weight)
    regressors = beta[:, :, None] * data.task_of.T
    return regressors, (query * beta) @ data.task_of.T
