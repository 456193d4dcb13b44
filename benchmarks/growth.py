"""Growth of `integrate` with size and time: ``python benchmarks/growth.py [LARGEST]`` (I = H up to 256).

Each case is a process of its own with an empty cache of its own, so that its peak memory is its own and nothing is
generated or compiled before.  Random starts to T = 1e4 for I = H = 1, 2, 4, …; the same with a start equal on and off
the diagonal, which is reduced to two cells; and I = H = 1, 3 and 32 for T from 1e2 to 1e8.  Shown are the method
chosen, seconds of both integrations (wall and CPU, generation and compilation of code included), velocities and
Jacobian-vector products, the error estimate and the peak memory.  I = H = 1024 starts with a favoured head for each
task (a random start of so many heads is near ties, whose outcome takes much longer to follow), runs to T = 2e4 at rtol
1e-4 and takes a quarter of an hour.
"""

from __future__ import annotations

import machine  # isort: skip  (before NumPy)

import json
import os
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np

import headflow as hf

LARGEST, LONGEST = 256, 7200.0


def case(size: int, t_final: float, start: str, rtol: float) -> dict[str, object]:
    """One run, in this process."""
    problem = hf.Problem(
        dims=[10] * size, signal_power=[1] * size, noise_variance=0.1, context_length=100, n_heads=size
    )
    initial = hf.InitialState.random(problem, scale=0.03)
    if start == "symmetric":
        initial = hf.InitialState(mu=0.03 + 0.01 * np.eye(size), omega=np.full((size, size), 0.03))
    if start == "favoured":
        draw = np.random.default_rng(0)
        lead = 2 * np.eye(size)[draw.permutation(size)]
        initial = hf.InitialState(*(0.01 * (draw.uniform(0.5, 1, (2, size, size)) + lead)))
    wall, cpu = time.perf_counter(), time.process_time()
    run = hf.integrate(problem, initial, t_final=t_final, rtol=rtol)
    return {
        "method": run.method,
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "evaluations": run.stats.evaluations,
        "products": run.stats.products,
        "error": run.error_estimate,
        "emergence": run.phases.emergence,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def show(size: int, t_final: float, start: str, rtol: float = 1e-8) -> None:
    words = [sys.executable, __file__, "case", str(size), str(t_final), start, str(rtol)]
    try:
        with tempfile.TemporaryDirectory() as cache:
            environment = {**os.environ, "HEADFLOW_CACHE_DIR": cache}
            done = subprocess.run(words, capture_output=True, text=True, timeout=LONGEST, check=True, env=environment)
        found = json.loads(done.stdout)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as failed:
        print(f"{size:>6} {t_final:>8.0e} {start:10} {type(failed).__name__}: {str(failed.stderr)[-200:]}", flush=True)
        return
    emergence = "-" if found["emergence"] is None else f"{found['emergence']:.1f}"
    print(
        f"{size:>6} {t_final:>8.0e} {start:10} {found['method']:18} {found['wall']:8.2f} {found['cpu']:8.2f} "
        f"{found['evaluations']:>8} {found['products']:>8} {found['error']:>8.1e} {emergence:>9} {found['peak']:>7.0f}",
        flush=True,
    )


def main() -> None:
    if sys.argv[1:2] == ["case"]:
        size, t_final, start, rtol = sys.argv[2:]
        print(json.dumps(case(int(size), float(t_final), start, float(rtol))))
        return
    largest = int(sys.argv[1]) if sys.argv[1:] else LARGEST
    print(machine.describe("headflow", "numpy", "scipy", "llvmlite", "scikit-sundae"))
    print(
        f"{'I = H':>6} {'T':>8} {'start':10} {'method':18} {'wall s':>8} {'CPU s':>8} {'velocity':>8} {'products':>8} "
        f"{'error':>8} {'emergence':>9} {'MB':>7}"
    )
    for size in (1, 3, 32):
        for power in range(2, 9):
            show(size, 10.0**power, "random")
    for size in (2**n for n in range(11)):
        if size <= largest:
            show(size, *((2e4, "favoured", 1e-4) if size == 1024 else (1e4, "random")))
            show(size, 1e4, "symmetric")


if __name__ == "__main__":
    main()
