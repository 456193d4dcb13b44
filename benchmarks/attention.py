"""Softmax attention against a plain JAX forward pass: ``python benchmarks/attention.py``.

Microseconds per prompt, of ``attention_risk`` (its default back end, drawing included) and of what a user would write
in JAX, compiled, at the batch size that suits it best: with its own prompts drawn each time, and the forward pass
alone on prompts that are there already.  Same model, precision and number of prompts; the three are timed in turn, and
medians count.  Ratios below 1 say that headflow is faster.  "CPU" is the ratio of processor times of all threads,
"eq. err." that of wall times to the same standard error, against the forward pass alone.
Then training steps per second in NumPy.
"""

from __future__ import annotations

import machine  # isort: skip  (before NumPy)

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median

import jax
import jax.numpy as jnp
import numpy as np

from headflow import InitialState, Problem
from headflow.numerics import AttentionWeights, Training, attention_risk, train
from headflow.numerics.attention.backends import make_backend

# dims, context length, heads: a small model, the setting of the training test, the papers' largest.
SIZES = (((5,), 40, 2), ((15, 15), 60, 2), ((50,), 100, 8))
BATCHES = (256, 2048)
PROMPTS = 4096
ROUNDS = 5


@dataclass(frozen=True)
class Plain:
    """What a user would write: draw a batch, attend, square."""

    problem: Problem
    dtype: str

    def prompts(self, key: jax.Array, size: int) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Tokens (n, L, d_e), queries (n, d) and targets (n, I)."""
        problem, dtype = self.problem, self.dtype
        owner = np.repeat(np.arange(problem.n_tasks), problem.dims)
        task_of = jnp.asarray(owner[:, None] == np.arange(problem.n_tasks), dtype=dtype)
        power = np.array([float(power) for power in problem.signal_power]) / problem.dims
        keys = jax.random.split(key, 4)
        x = jax.random.normal(keys[0], (size, problem.context_length, problem.total_dim), dtype)
        query = jax.random.normal(keys[1], (size, problem.total_dim), dtype)
        beta = jax.random.normal(keys[2], query.shape, dtype) * jnp.asarray(np.sqrt(power)[owner], dtype)
        y = jnp.einsum("nld,nd,di->nli", x, beta, task_of)
        y += float(problem.noise_variance) ** 0.5 * jax.random.normal(keys[3], y.shape, dtype)
        return jnp.concatenate([x, y], axis=2), query, (query * beta) @ task_of

    def forward(
        self, read: jax.Array, write: jax.Array, z: jax.Array, query: jax.Array, target: jax.Array
    ) -> jax.Array:
        """Loss of every prompt, (n,)."""
        p = jax.nn.softmax(jnp.einsum("nlc,hcd,nd->nhl", z, read, query), axis=2)
        return ((jnp.einsum("nhl,nlc,hic->ni", p, z, write) - target) ** 2).sum(axis=1)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def at_its_best(make: Callable[[int], Callable[[], np.ndarray]]) -> Callable[[], np.ndarray]:
    """The fastest of the batch sizes."""
    choices = [make(batch) for batch in BATCHES]
    for choice in choices:
        choice()  # compiled
    return min(choices, key=lambda choice: median(timed(choice)[1] for _ in range(3)))


def measure(problem: Problem, weights: AttentionWeights, dtype: str) -> str:
    """The numbers of a row."""
    plain = Plain(problem, dtype)
    with jax.enable_x64(dtype == "float64"):
        read, write = (jnp.asarray(part, dtype=dtype) for part in weights.acting)

        def drawing(batch: int) -> Callable[[], np.ndarray]:
            one = jax.jit(lambda key: plain.forward(read, write, *plain.prompts(key, batch)))
            keys = list(jax.random.split(jax.random.key(1), PROMPTS // batch))
            return lambda: np.concatenate([one(key) for key in keys])

        def alone(batch: int) -> Callable[[], np.ndarray]:
            one = jax.jit(partial(plain.forward, read, write))
            make = jax.jit(plain.prompts, static_argnums=1)
            drawn = [make(key, batch) for key in jax.random.split(jax.random.key(1), PROMPTS // batch)]
            return lambda: np.concatenate([one(*prompts) for prompts in drawn])

        theirs, forward = at_its_best(drawing), at_its_best(alone)

        def ours() -> object:
            return attention_risk(problem, weights, PROMPTS, dtype=dtype)

        risk, losses = attention_risk(problem, weights, PROMPTS, dtype=dtype), theirs()
        error = float(losses.std()) / PROMPTS**0.5
        if abs(risk.value - losses.mean()) > 5 * (risk.standard_error + error):
            raise SystemExit(f"the two risks differ: {risk.value} and {losses.mean()}")
        rounds = [[timed(work) for work in (ours, theirs, forward)] for _ in range(ROUNDS)]
    times = [median(one[which][0] for one in rounds) / PROMPTS * 1e6 for which in range(3)]
    ratios = [
        median(one[0][kind] / one[which][kind] for one in rounds) for which, kind in ((1, 0), (2, 0), (1, 1), (2, 1))
    ]
    ratios.append(ratios[1] * (risk.standard_error / error) ** 2)
    return "".join(f"{value:>9.2f}" for value in (*times, *ratios))


def main() -> None:
    print(machine.describe("headflow", "numpy", "jax"))
    problem = Problem([15, 15], [1, 1], 0.1, 60, 2)
    print(f"headflow on {make_backend(problem, 'auto', 'float64', 0, True).device}, JAX on {jax.devices()[0]}")
    print("us per prompt; ratios headflow/JAX, to JAX with its drawing and to its forward pass alone\n")
    columns = ("headflow", "JAX", "forward", "ratio", "to fwd", "CPU", "to fwd", "eq. err.")
    print(f"{'d':>6} {'L':>4} {'H':>2} {'weights':>13} {'dtype':>8}{''.join(name.rjust(9) for name in columns)}")
    for dims, length, heads in SIZES:
        sized = Problem(dims, [1] * len(dims), 0.1, length, heads)
        rng = np.random.default_rng(0)
        shape = (heads, sized.embedding_dim, sized.embedding_dim)
        spectral = rng.uniform(0, 1, (2, len(dims), heads))
        kinds = {
            "all entries": AttentionWeights.merged(sized, 0.1 * rng.standard_normal(shape), rng.standard_normal(shape)),
            "decomposable": AttentionWeights.spectral(sized, spectral[0], 0.2 * spectral[1]),
        }
        for kind, weights in kinds.items():
            for dtype in ("float64", "float32"):
                row = measure(sized, weights, dtype)
                print(f"{'+'.join(map(str, dims)):>6} {length:>4} {heads:>2} {kind:>13} {dtype:>8}{row}", flush=True)
    start = InitialState(mu=np.full((2, 2), 0.05), omega=np.full((2, 2), 0.05))
    print()
    for dtype in ("float64", "float32"):
        run = train(problem, AttentionWeights.of(problem, start, "balanced"), Training(10, 0.05, 512, dtype=dtype))
        print(f"training, d = 15+15, L = 60, H = 2, batch 512, {dtype}: {200 / run.seconds:.0f} steps/s, {run.backend}")


if __name__ == "__main__":
    main()
