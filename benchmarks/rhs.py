"""Generated right-hand side against a hand-written NumPy one: ``python benchmarks/rhs.py``.

Balanced flow in logarithms, I = H from 8 to 256, one BLAS thread.  On both sides parameters are hoisted and buffers
preallocated; the two are timed in turn, and the median of the ratios is what counts.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"  # before NumPy is imported

import platform
import sys
from pathlib import Path
from statistics import median
from timeit import timeit

import numpy as np
import scipy
import sympy

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import headflow
from headflow.numerics import Problem, compile_system
from headflow.theory import gradient_flow, to_log
from oracles.hand_rhs import make_rhs

SIZES = (8, 16, 32, 64, 128, 256)
REPETITIONS = 15
SECONDS = 0.1  # of each side in each repetition


def measure(size: int) -> tuple[float, float, float]:
    """Median microseconds of generated and hand-written code, and the median of their ratios."""
    problem = Problem(dims=[10] * size, signal_power=[1] * size, noise_variance=0.1, context_length=100, n_heads=size)
    generated = compile_system(to_log(gradient_flow("balanced"))).velocity.bind(problem.float_values())
    oracle = {"lam": np.ones(size), "d": np.full(size, 10.0), "sigma2": 0.1, "L": 100.0}
    hand = make_rhs(oracle, size, "balanced_log")
    state = np.log(0.03) + 0.1 * np.random.default_rng(0).random(2 * size * size)
    if not np.allclose(generated(state), hand(0.0, state), rtol=1e-12):
        raise SystemExit("the two right-hand sides differ")
    once = timeit(lambda: generated.evaluate(state), number=10) / 10
    number = max(3, int(SECONDS / once))
    pairs = [
        (
            timeit(lambda: generated.evaluate(state), number=number) / number,
            timeit(lambda: hand(0.0, state), number=number) / number,
        )
        for _ in range(REPETITIONS)
    ]
    ours, theirs = zip(*pairs, strict=True)
    return 1e6 * median(ours), 1e6 * median(theirs), median(a / b for a, b in pairs)


def main() -> None:
    print(f"{platform.machine()}, {os.cpu_count()} cores, one BLAS thread, Python {platform.python_version()}")
    print(
        f"headflow {headflow.__version__}, numpy {np.__version__}, scipy {scipy.__version__}, sympy {sympy.__version__}"
    )
    print(f"{'I = H':>6} {'generated':>12} {'hand-written':>13} {'ratio':>7}   (µs, medians of {REPETITIONS})")
    for size in SIZES:
        ours, theirs, ratio = measure(size)
        print(f"{size:>6} {ours:>12.1f} {theirs:>13.1f} {ratio:>7.3f}")


if __name__ == "__main__":
    main()
