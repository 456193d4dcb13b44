"""Generated right-hand side against a hand-written NumPy one and the peak: ``python benchmarks/rhs.py [LARGEST]``.

Balanced flow in logarithms, I = H from 8 to 256 (up to 1024 if asked), one BLAS thread.  On both sides parameters are
hoisted and buffers preallocated; the two are timed in turn, and the median of the ratios is what counts.  The peak is
that of the four products of I × I matrices that the right-hand side needs: four times one ``matmul``, timed with them.
"""

from __future__ import annotations

import machine  # isort: skip  (before NumPy)

import sys
from pathlib import Path
from statistics import median
from timeit import timeit

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from headflow.numerics import Problem, compile_system
from headflow.theory import gradient_flow, to_log
from oracles.hand_rhs import make_rhs

SIZES = (8, 16, 32, 64, 128, 256, 512, 1024)
PRODUCTS = 4  # exp(ω′Dω), μ′Kμ, and μ and ω times a square matrix
REPETITIONS = 15
SECONDS = 0.1  # of each side in each repetition


def measure(size: int) -> tuple[float, float, float, float]:
    """Median microseconds of generated and hand-written code, the median of their ratios, and the share of the peak."""
    problem = Problem(dims=[10] * size, signal_power=[1] * size, noise_variance=0.1, context_length=100, n_heads=size)
    generated = compile_system(to_log(gradient_flow("balanced"))).velocity.bind(problem.float_values())
    oracle = {"lam": np.ones(size), "d": np.full(size, 10.0), "sigma2": 0.1, "L": 100.0}
    hand = make_rhs(oracle, size, "balanced_log")
    state = np.log(0.03) + 0.1 * np.random.default_rng(0).random(2 * size * size)
    if not np.allclose(generated(state), hand(0.0, state), rtol=1e-12):
        raise SystemExit("the two right-hand sides differ")
    once = timeit(lambda: generated.evaluate(state), number=10) / 10
    number = max(3, int(SECONDS / once))
    left, right, product = np.random.default_rng(1).random((3, size, size))
    rounds = [
        (
            timeit(lambda: generated.evaluate(state), number=number) / number,
            timeit(lambda: hand(0.0, state), number=number) / number,
            timeit(lambda: np.matmul(left, right, out=product), number=number) / number,
        )
        for _ in range(REPETITIONS)
    ]
    ours, theirs, _ = zip(*rounds, strict=True)
    share = median(PRODUCTS * one / a for a, _, one in rounds)
    return 1e6 * median(ours), 1e6 * median(theirs), median(a / b for a, b, _ in rounds), share


def main() -> None:
    largest = int(sys.argv[1]) if sys.argv[1:] else 256
    print(machine.describe("headflow", "numpy", "sympy"))
    print(f"{'I = H':>6} {'generated':>12} {'hand-written':>13} {'ratio':>7} {'of peak':>8}   (µs, medians)")
    for size in (size for size in SIZES if size <= largest):
        ours, theirs, ratio, share = measure(size)
        print(f"{size:>6} {ours:>12.1f} {theirs:>13.1f} {ratio:>7.3f} {share:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
