"""Softmax attention against a plain JAX forward pass: ``python benchmarks/attention.py``.

Prompts per second, made and evaluated: each side draws its own data (covariates, regressors, noise) in its own
way.  The two are timed in turn, and the median of the ratios is what counts.  Then training steps per second in NumPy.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from statistics import median

import jax
import jax.numpy as jnp
import numpy as np

import headflow
from headflow import InitialState, Problem
from headflow.numerics import AttentionWeights, Training, train
from headflow.numerics.attention.backends import make_backend
from headflow.numerics.attention.prompts import EVALUATION
from headflow.numerics.attention.risk import acting_weights

# dims, context length, heads: a small model, the setting of the training test, the papers' largest.
SIZES = (((5,), 40, 2), ((15, 15), 60, 2), ((50,), 100, 8))
REPETITIONS = 7
PROMPTS = 4096


def plain_forward(problem: Problem, dtype: str) -> Callable[[jax.Array, jax.Array, jax.Array], jax.Array]:
    """What a user would write: draw a batch, attend, square."""
    n, d = problem.context_length, problem.total_dim
    owner = np.repeat(np.arange(problem.n_tasks), problem.dims)
    task_of = jnp.asarray(owner[:, None] == np.arange(problem.n_tasks), dtype=dtype)
    spread = jnp.sqrt(jnp.asarray(np.array([float(p) for p in problem.signal_power]) / problem.dims, dtype=dtype))[
        owner
    ]
    noise = float(problem.noise_variance) ** 0.5

    @jax.jit
    def losses(key: jax.Array, read: jax.Array, write: jax.Array) -> jax.Array:
        keys = jax.random.split(key, 4)
        x = jax.random.normal(keys[0], (PROMPTS, n, d), dtype)
        query = jax.random.normal(keys[1], (PROMPTS, d), dtype)
        beta = jax.random.normal(keys[2], (PROMPTS, d), dtype) * spread
        y = jnp.einsum("nld,nd,di->nli", x, beta, task_of)
        y += noise * jax.random.normal(keys[3], y.shape, dtype)
        z = jnp.concatenate([x, y], axis=2)
        p = jax.nn.softmax(jnp.einsum("nlc,hcd,nd->nhl", z, read, query), axis=2)
        prediction = jnp.einsum("nhl,nlc,hic->ni", p, z, write)
        return (prediction - (query * beta) @ task_of) ** 2

    return losses


def seconds(work: Callable[[int], object]) -> float:
    began = time.perf_counter()
    work(0)
    return time.perf_counter() - began


def measure(dims: tuple[int, ...], length: int, heads: int, dtype: str) -> tuple[float, float, float]:
    """Prompts per second of headflow and of plain JAX, and the median ratio."""
    problem = Problem(dims, [1] * len(dims), 0.1, length, heads)
    rng = np.random.default_rng(0)
    shape = (heads, problem.embedding_dim, problem.embedding_dim)
    weights = AttentionWeights.merged(problem, 0.1 * rng.standard_normal(shape), rng.standard_normal(shape))
    engine = make_backend(problem, "auto", dtype, 0, averaged=False)
    acting = acting_weights(weights, averaged=False)

    def ours(_: int) -> float:
        parts = engine.map(
            lambda block, size: engine.losses(acting, (EVALUATION, 0, block), size).sum(), PROMPTS, engine.block_size
        )
        return float(sum(parts))

    with jax.enable_x64(dtype == "float64"):
        forward = plain_forward(problem, dtype)
        read, write = (jnp.asarray(part, dtype=dtype) for part in acting)

        def theirs(number: int) -> float:
            return float(forward(jax.random.key(number), read, write).sum())

        first, second = ours(0) / PROMPTS, theirs(0) / PROMPTS  # compiled, and seen to be the same model
        if abs(first / second - 1) > 0.2:
            raise SystemExit(f"the two risks differ: {first} and {second}")
        pairs = [(seconds(ours), seconds(theirs)) for _ in range(REPETITIONS)]
    return (
        PROMPTS / median(a for a, _ in pairs),
        PROMPTS / median(b for _, b in pairs),
        median(b / a for a, b in pairs),
    )


def main() -> None:
    print(f"{platform.machine()}, {os.cpu_count()} cores, JAX on {jax.devices()[0].device_kind}")
    print(
        f"headflow {headflow.__version__}, numpy {np.__version__}, jax {jax.__version__}, "
        f"Python {platform.python_version()}"
    )
    print(f"{'d':>8} {'L':>4} {'H':>3} {'dtype':>8} {'headflow':>10} {'plain JAX':>10} {'ratio':>6}   (prompts/s)")
    for dims, length, heads in SIZES:
        for dtype in ("float64", "float32"):
            ours, theirs, ratio = measure(dims, length, heads, dtype)
            print(
                f"{'+'.join(map(str, dims)):>8} {length:>4} {heads:>3} {dtype:>8} {ours:>10.0f} {theirs:>10.0f} "
                f"{ratio:>6.2f}"
            )
    problem = Problem([15, 15], [1, 1], 0.1, 60, 2)
    start = InitialState(mu=np.full((2, 2), 0.05), omega=np.full((2, 2), 0.05))
    for dtype in ("float64", "float32"):
        run = train(problem, AttentionWeights.of(problem, start, "balanced"), Training(10, 0.05, 512, dtype=dtype))
        print(f"training, d = 15+15, L = 60, H = 2, batch 512, {dtype}: {200 / run.seconds:.0f} steps/s, {run.backend}")


if __name__ == "__main__":
    main()
