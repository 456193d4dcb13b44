"""Many trajectories in one call against a loop over SciPy: ``python benchmarks/ensemble.py [members]``.

I = H = 3, balanced flow to T = 1e4; d, L, λ and the start are random.  ``hf.ensemble`` uses all cores (their number is
printed), the loop one.  ``hf.ensemble`` integrates each member twice (the second time for its error estimate) and
locates its emergence; the loop over LSODA (analytic Jacobian, log time,
the loosest of several tolerances in half decades whose errors are as small) does one integration and nothing else, and
so do both loops spread over two processes by joblib and vmap over diffrax, where they are installed, on samples.  The
"plain" loop has the flow and its Jacobian as one first writes them in NumPy, the other headflow's generated NumPy code.
Errors are those of the states at T against LSODA at rtol 1e-11.
"""

from __future__ import annotations

import machine  # isort: skip  (before NumPy)

import os
import sys
import time
from importlib.util import find_spec
from statistics import median

import numpy as np
from ensemble_members import T_FINAL, Loop, member, one_by_scipy
from peers import diffrax_many

import headflow as hf

SAMPLE, ROUNDS = 60, 3
WORKERS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
LOOP_TOLERANCES = [10.0 ** -(n / 2) for n in range(6, 17)]
VMAP_TOLERANCES = {"Tsit5": 1e-4, "Kvaerno5": 1e-4}


def joblib_rate(rtol: float, plain: bool) -> str:
    """Members per second of one of the loops in two processes."""
    if not find_spec("joblib"):
        return "joblib: not installed, skipped"
    import joblib

    with joblib.Parallel(2) as parallel:
        jobs = [joblib.delayed(one_by_scipy)(seed, rtol, plain) for seed in range(SAMPLE)]
        for _ in range(3):  # until both processes have every member's code
            parallel(jobs)
        began = time.perf_counter()
        parallel(jobs)
        rate = SAMPLE / (time.perf_counter() - began)
        return f"joblib, two processes{', plain' if plain else ''}: {rate:.0f} members/s at {rtol:g}"


def vmap_rates(loops: list[Loop], references: list[np.ndarray]) -> list[str]:
    """Members per second of diffrax under vmap, and the 95 % quantile of its errors."""
    lines = []
    for solver, rtol in VMAP_TOLERANCES.items():
        run = diffrax_many(3, 3, T_FINAL, solver)
        if run is None:
            return ["diffrax: not installed, skipped"]
        starts = np.array([loop.dynamics.start for loop in loops])
        values = [member(seed)[0].float_values() for seed in range(SAMPLE)]
        arguments = [np.array([one[name] for one in values]) for name in ("d", "lambda", "sigma2", "L")]
        run(starts, *arguments, rtol)
        began = time.perf_counter()
        states = run(starts, *arguments, rtol)
        rate = SAMPLE / (time.perf_counter() - began)
        errors = [one.dynamics.distances(y, ref)[1] for one, y, ref in zip(loops, states, references, strict=True)]
        lines.append(f"diffrax {solver}, vmap: {rate:.0f} members/s at {rtol:g}, 95 % {np.quantile(errors, 0.95):.1e}")
    return lines


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
    print(machine.describe("headflow", "numpy", "scipy", "llvmlite"))
    members = [member(seed) for seed in range(count)]
    loops = [Loop(*one) for one in members[:SAMPLE]]
    plain = [Loop(*one, plain=True) for one in members[:SAMPLE]]
    references = [loop.run(1e-11) for loop in loops]

    def errors_of(states: list[np.ndarray]) -> np.ndarray:
        found = zip(loops, states, references, strict=True)
        return np.array([loop.dynamics.distances(state, reference)[1] for loop, state, reference in found])

    theirs = {rtol: errors_of([loop.run(rtol) for loop in loops]) for rtol in LOOP_TOLERANCES}
    hf.ensemble(*zip(*members[:8], strict=True), t_final=T_FINAL)  # compiles
    print(own_jax_rate(members), *vmap_rates(loops, references), sep="\n", flush=True)
    for rtol in (1e-3, 1e-4):
        ours = hf.ensemble(*zip(*members[:SAMPLE], strict=True), t_final=T_FINAL, rtol=rtol)
        weights = np.concatenate([ours.mu.values.reshape(SAMPLE, -1), ours.omega.values.reshape(SAMPLE, -1)], axis=1)
        mine = errors_of([np.log(np.maximum(one, 1e-300)) for one in weights])
        limit = max(np.quantile(mine, 0.95), 1e-9)
        loose = next((r for r, found in theirs.items() if np.quantile(found, 0.95) <= limit), LOOP_TOLERANCES[-1])
        rates, ratios, plain_ratios = [], [], []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            dataset = hf.ensemble(*zip(*members, strict=True), t_final=T_FINAL, rtol=rtol, workers=WORKERS)
            rates.append(count / (time.perf_counter() - began))
            for one, found in ((loops, ratios), (plain, plain_ratios)):
                began = time.perf_counter()
                for loop in one:
                    loop.run(loose)
                found.append(rates[-1] * (time.perf_counter() - began) / SAMPLE)
        print(joblib_rate(loose, plain=False), joblib_rate(loose, plain=True), sep="\n", flush=True)
        failed = dataset.status[dataset.status != "reached_t_final"]
        bound = f"LSODA at {loose:g}, 95 % of its errors below {np.quantile(theirs[loose], 0.95):.1e}"
        times = f"{median(ratios):.1f} × the loop on one core, {median(plain_ratios):.1f} × the plain one"
        print(f"rtol {rtol:g}: {median(rates):.0f} members/s with {WORKERS} workers, {times} ({bound})")
        quantiles = f"median {np.median(mine):.1e}, 95 % {np.quantile(mine, 0.95):.1e}, largest {mine.max():.1e}"
        print(f"  errors at T: {quantiles}; estimates: 95 % {float(dataset.error_estimate.quantile(0.95)):.1e}")
        print(f"  failed: {len(failed)} of {count} {np.unique(failed).tolist()}")


if __name__ == "__main__":
    main()
