"""Cascade against the full flow: winners, sharing and emergence times over many starts.

    python benchmarks/cascade.py [starts] [scale ...]

For each scale of the initial state: the share of tasks whose winner the cascade names, the share of starts with two
tasks on one head (flow, cascade), and quantiles of T_i − (predicted time), in learning rate × steps.
"""

from __future__ import annotations

import sys
import time

import numpy as np

import headflow as hf
from headflow.numerics.predictions.cascade import cascade
from headflow.numerics.trajectory.crossings import emergence_times

CASES = {
    "reference": hf.Problem(dims=[10] * 3, signal_power=[1] * 3, noise_variance=0.1, context_length=100, n_heads=3),
    "heterogeneous": hf.Problem(
        dims=[4, 9, 6], signal_power=[1, 2, 0.7], noise_variance=0.1, context_length=80, n_heads=4
    ),
    "few heads": hf.Problem(dims=[10] * 3, signal_power=[1] * 3, noise_variance=0.1, context_length=100, n_heads=2),
}


def compared(problem: hf.Problem, scale: float, starts: int) -> str:
    right, shared, late = 0, np.zeros(2), []
    begun = time.perf_counter()
    for seed in range(starts):
        initial = hf.InitialState.random(problem, scale=scale, seed=seed)
        predicted = cascade(problem, initial)
        last = max(t for t in predicted.times if t is not None)
        run = hf.integrate(problem, initial, t_final=1.5 * last + 2e3)
        right += sum(one == other for one, other in zip(predicted.winners, run.allocation.heads, strict=True))
        shared += run.allocation.shared, predicted.shared
        late += [
            measured - t
            for measured, t in zip(emergence_times(run), predicted.times, strict=True)
            if measured is not None and t is not None
        ]
    low, middle, high = np.quantile(late, [0.05, 0.5, 0.95])
    return (
        f"winners {right / starts / problem.n_tasks:.2%}  sharing {shared[0] / starts:.1%}, {shared[1] / starts:.1%}  "
        f"T − predicted {low:.2f}, {middle:.2f}, {high:.2f}  ({time.perf_counter() - begun:.0f} s)"
    )


if __name__ == "__main__":
    starts = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    for scale in map(float, sys.argv[2:] or ("3e-4",)):
        for name, problem in CASES.items():
            print(f"{name:>14}  scale {scale:g}  {compared(problem, scale, starts)}", flush=True)
