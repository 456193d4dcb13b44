"""Many trajectories in one call against its peers: ``python benchmarks/ensemble.py [members]``.

I = H = 3, balanced flow to T = 1e4; d, L, λ and the start are random.  ``hf.ensemble`` uses all cores (their number is
printed), integrates each member twice (the second time for its error estimate) and locates its emergence.  A peer does
one integration of a sample of the members and nothing else: a loop over SciPy's LSODA (analytic Jacobian, log time) on
one core, the same spread over two processes by joblib, and diffrax under vmap (without log time, which gains it
nothing), each with the loosest of several tolerances in half decades whose errors are as small.  The "plain" loops have
the flow and its Jacobian as one first writes them in NumPy, the others headflow's generated code.

All are timed in every round, one after the other; a ratio is the median over the rounds.  Errors are those of the
states at T against LSODA at rtol 1e-11.
"""

from __future__ import annotations

import machine  # isort: skip  (before NumPy)

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import median

import numpy as np
from ensemble_members import T_FINAL, Loop, member, one_by_scipy
from peers import diffrax_many

import headflow as hf

SAMPLE, ROUNDS = 60, 5
WORKERS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
TOLERANCES = [10.0 ** -(n / 2) for n in range(6, 17)]
States = Sequence[np.ndarray]


@dataclass
class Peer:
    """Another way to integrate the sample: the last states at a tolerance."""

    name: str
    run: Callable[[float], States]
    rtol: float = 0.0
    error: float = 0.0

    def choose(self, limit: float, error_of: Callable[[States], float]) -> None:
        """The loosest tolerance whose errors are below the limit, else the one with the smallest."""
        found = []
        for rtol in TOLERANCES:
            found.append((error_of(self.run(rtol)), rtol))
            if found[-1][0] <= limit:
                break
        self.error, self.rtol = min(found)

    def seconds(self) -> float:
        began = time.perf_counter()
        self.run(self.rtol)
        return time.perf_counter() - began


def by_joblib(stack: ExitStack, plain: bool) -> Callable[[float], States]:
    import joblib

    parallel = stack.enter_context(joblib.Parallel(2))

    def run(rtol: float) -> States:
        return parallel(joblib.delayed(one_by_scipy)(seed, rtol, plain) for seed in range(SAMPLE))

    for _ in range(3):  # until both processes have every member's code
        run(1e-3)
    return run


def by_vmap(loops: Sequence[Loop]) -> Callable[[float], States]:
    run = diffrax_many(3, 3, T_FINAL, "Kvaerno5")  # explicit ones are ten times slower
    starts = np.array([loop.dynamics.start for loop in loops])
    values = [member(seed)[0].float_values() for seed in range(SAMPLE)]
    arguments = [np.array([one[name] for one in values]) for name in ("d", "lambda", "sigma2", "L")]
    run(starts, *arguments, 1e-3)
    return lambda rtol: run(starts, *arguments, rtol)


def peers(stack: ExitStack, loops: Sequence[Loop]) -> list[Peer]:
    """Those that are installed, with all code made."""
    plain = [Loop(*member(seed), plain=True) for seed in range(SAMPLE)]
    found = [
        Peer("LSODA, plain", lambda rtol: [loop.run(rtol) for loop in plain]),
        Peer("LSODA, generated code", lambda rtol: [loop.run(rtol) for loop in loops]),
    ]
    if find_spec("joblib"):
        found += [
            Peer("joblib, two processes, plain", by_joblib(stack, plain=True)),
            Peer("joblib, two processes, generated code", by_joblib(stack, plain=False)),
        ]
    if find_spec("diffrax"):
        found.append(Peer("diffrax Kvaerno5, vmap", by_vmap(loops)))
    return found


def own_jax_rate(members: list[tuple[hf.Problem, hf.InitialState]]) -> str:
    """Members per second of ``hf.ensemble`` on JAX, both integrations of each."""
    if not find_spec("jax"):
        return "headflow on JAX: not installed, skipped"
    import jax

    some = members[:1000]
    for _ in range(2):  # the first compiles
        began = time.perf_counter()
        hf.ensemble(*zip(*some, strict=True), t_final=T_FINAL, rtol=1e-3, backend="jax")
    rate = len(some) / (time.perf_counter() - began)
    return f"headflow on JAX ({jax.devices()[0].platform}): {rate:.0f} members/s at 0.001"


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    print(machine.describe("headflow", "numpy", "scipy", "llvmlite", "joblib", "jax", "diffrax"))
    members = [member(seed) for seed in range(count)]
    loops = [Loop(*one) for one in members[:SAMPLE]]
    references = [loop.run(1e-11) for loop in loops]

    def errors_of(states: States) -> np.ndarray:
        found = zip(loops, states, references, strict=True)
        return np.array([loop.dynamics.distances(state, reference)[1] for loop, state, reference in found])

    def error_of(states: States) -> float:
        return float(np.quantile(errors_of(states), 0.95))

    hf.ensemble(*zip(*members[:8], strict=True), t_final=T_FINAL)  # compiles
    print(own_jax_rate(members), flush=True)
    with ExitStack() as stack:
        others = peers(stack, loops)
        for rtol in (1e-3, 1e-4):
            ours = hf.ensemble(*zip(*members[:SAMPLE], strict=True), t_final=T_FINAL, rtol=rtol)
            weights = np.concatenate([ours.mu.values.reshape(SAMPLE, -1), ours.omega.values.reshape(SAMPLE, -1)], 1)
            mine = errors_of([np.log(np.maximum(one, 1e-300)) for one in weights])
            for peer in others:
                peer.choose(max(float(np.quantile(mine, 0.95)), 1e-9), error_of)
            rates: list[float] = []
            seconds: list[list[float]] = []
            for _ in range(ROUNDS):
                began = time.perf_counter()
                dataset = hf.ensemble(*zip(*members, strict=True), t_final=T_FINAL, rtol=rtol, workers=WORKERS)
                rates.append(count / (time.perf_counter() - began))
                seconds.append([peer.seconds() for peer in others])
            failed = dataset.status[dataset.status != "reached_t_final"]
            print(f"rtol {rtol:g}: {median(rates):.0f} members/s with {WORKERS} workers")
            quantiles = f"median {np.median(mine):.1e}, 95 % {np.quantile(mine, 0.95):.1e}, largest {mine.max():.1e}"
            print(f"  errors at T: {quantiles}; estimates: 95 % {float(dataset.error_estimate.quantile(0.95)):.1e}")
            print(f"  failed: {len(failed)} of {count} {np.unique(failed).tolist()}")
            for peer, each in zip(others, zip(*seconds, strict=True), strict=True):
                ratios = sorted(rate * one / SAMPLE for rate, one in zip(rates, each, strict=True))
                speed = f"{SAMPLE / median(each):.0f} members/s at {peer.rtol:.1e}, 95 % of errors {peer.error:.1e}"
                print(
                    f"  {median(ratios):6.1f} × {peer.name} ({ratios[0]:.0f} to {ratios[-1]:.0f}): {speed}", flush=True
                )


if __name__ == "__main__":
    main()
