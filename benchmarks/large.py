"""One large trajectory at equal delivered error: ``python benchmarks/large.py [SIZE ...]`` (I = H = 32 and 128).

Balanced flow in logarithms, d = 10, L = 100, random start, to T = 1e4.  SciPy's methods integrate in time as they come,
with the generated velocity and, where they take one and it fits, the generated Jacobian; CVODE is the package's, in log
time with the generated Jacobian-vector product and dense output.  Each is tried at tighter and tighter tolerances until
it delivers the error asked for, of loss, μ and ω at T, relative, against DOP853 at rtol 1e-10.  Then those that
took less than a minute take turns; shown are median CPU seconds and the ratios to CVODE.
"""

from __future__ import annotations

import machine  # isort: skip  (before NumPy)

import math
import sys
import time
from collections.abc import Callable
from statistics import median

import numpy as np
from scipy.integrate import solve_ivp

import headflow as hf
from headflow.numerics.flows.dynamics import Dynamics
from headflow.numerics.solving.solvers import Stepper, choose_method

T_FINAL, TARGET, ROUNDS, SHORT = 1e4, 5e-6, 3, 60.0
TOLERANCES = [10.0**-n for n in range(5, 12)]
LARGEST_MATRIX = 4_000


def dynamics_of(size: int) -> Dynamics:
    problem = hf.Problem(
        dims=[10] * size, signal_power=[1] * size, noise_variance=0.1, context_length=100, n_heads=size
    )
    return Dynamics(problem, hf.InitialState.random(problem, scale=0.03), "balanced", "leading")


def by_scipy(dynamics: Dynamics, method: str) -> Callable[[float], np.ndarray]:
    options = {} if method in ("RK45", "DOP853") else {"jac": lambda t, y: dynamics.jacobian.evaluate(y).copy()}

    def run(rtol: float) -> np.ndarray:
        found = solve_ivp(
            lambda t, y: dynamics.velocity.evaluate(y).copy(),
            (0, T_FINAL),
            dynamics.start,
            method,
            rtol=rtol,
            atol=rtol,
            t_eval=[T_FINAL],
            **options,
        )
        return found.y[:, -1]

    return run


def by_cvode(dynamics: Dynamics) -> Callable[[float], np.ndarray]:
    unit = 1 / dynamics.rate(dynamics.start)

    def run(rtol: float) -> np.ndarray:
        method = choose_method("CVODE", dynamics.size)
        stepper = Stepper(dynamics, method, rtol, dynamics.start, unit, math.log1p(T_FINAL / unit))
        *_, last = stepper.segments()
        return last.dense(last.end)

    return run


def timed(run: Callable[[float], np.ndarray], rtol: float) -> tuple[float, np.ndarray]:
    began = time.process_time()
    found = run(rtol)
    return time.process_time() - began, found


def compare(size: int) -> None:
    dynamics = dynamics_of(size)
    reference = by_scipy(dynamics, "DOP853")(1e-10)
    runs = {"CVODE (headflow)": by_cvode(dynamics)}
    runs |= {name: by_scipy(dynamics, name) for name in ("RK45", "DOP853")}
    if dynamics.size <= LARGEST_MATRIX:
        runs |= {name: by_scipy(dynamics, name) for name in ("LSODA", "BDF")}
    chosen: dict[str, tuple[float, float, float]] = {}
    for name, run in runs.items():
        for rtol in TOLERANCES:
            taken, found = timed(run, rtol)
            error = dynamics.distances(found, reference)[1]
            if error <= TARGET:
                chosen[name] = (rtol, error, taken)
                break
    times = {name: [taken] for name, (_, _, taken) in chosen.items()}
    for _ in range(ROUNDS - 1):
        for name, (rtol, _, taken) in chosen.items():
            if taken < SHORT:
                times[name].append(timed(runs[name], rtol)[0])
    print(f"\nI = H = {size}, {dynamics.size} variables, error at T ≤ {TARGET:g}")
    print(f"  {'':18} {'rtol':>6} {'delivered':>10} {'CPU s':>9} {'/ CVODE':>8}")
    ours = median(times.get("CVODE (headflow)", [math.nan]))
    for name in runs:
        if name not in chosen:
            print(f"  {name:18} does not deliver that error at any tolerance down to {TOLERANCES[-1]:.0e}", flush=True)
            continue
        rtol, error, _ = chosen[name]
        taken = median(times[name])
        print(f"  {name:18} {rtol:6.0e} {error:10.1e} {taken:9.3f} {taken / ours:8.1f}", flush=True)


def main() -> None:
    print(machine.describe("headflow", "numpy", "scipy", "scikit-sundae"))
    for size in [int(word) for word in sys.argv[1:]] or [32, 128]:
        compare(size)


if __name__ == "__main__":
    main()
