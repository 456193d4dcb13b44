"""Never a wrong limit: Rodas5P against LSODA at 1e-11 on random problems: ``python benchmarks/exactness.py [300]``.

All parametrisations and closures, I and H from 1 to 4, signed starts for ``merged``, balanced and imbalanced ones for
``split``.  A method may raise; what counts is that two final states that are both given agree within the sum of the two
error estimates.  Prints every problem on which a method raised, and how far the others are apart.
"""

from __future__ import annotations

import machine  # isort: skip  (before NumPy)

import sys
import warnings

import numpy as np

import headflow as hf
from headflow.errors import HeadflowError
from headflow.numerics.dynamics import Dynamics

METHODS = (("Rodas5P", 1e-8), ("LSODA", 1e-9))  # results are computed with rtol/100
CLOSURES = ("leading", "finite_d", "first_order")


def case(number: int) -> tuple[hf.Problem, hf.InitialState, str, str, float]:
    draw = np.random.default_rng(10_000 + number)
    n_tasks, n_heads = int(draw.integers(1, 5)), int(draw.integers(1, 5))
    problem = hf.Problem(
        dims=draw.integers(3, 25, n_tasks).tolist(),
        signal_power=[round(float(x), 3) for x in draw.uniform(0.3, 2, n_tasks)],
        noise_variance=round(float(draw.uniform(0.05, 0.5)), 3),
        context_length=int(draw.integers(40, 300)),
        n_heads=n_heads,
    )
    parametrisation = ("balanced", "merged", "split")[number % 3]
    closure = CLOSURES[number // 3 % 3] if number % 2 else "leading"
    scale = float(10 ** draw.uniform(-2.5, -1))
    if parametrisation == "merged":
        mu, omega = scale * draw.standard_normal((2, n_tasks, n_heads))
        return problem, hf.InitialState(mu, omega), parametrisation, closure, float(10 ** draw.uniform(2, 4))
    imbalance = (0.0, 0.0)
    if parametrisation == "split" and number % 2 == 0:
        first, second = 10 ** draw.uniform(-8, -3, 2)
        imbalance = (float(first), float(second))
    initial = hf.InitialState.random(problem, scale=scale, seed=number, imbalance=imbalance)
    return problem, initial, parametrisation, closure, float(10 ** draw.uniform(2, 5))


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    print(machine.describe("headflow", "numpy", "scipy", "numba"))
    warnings.simplefilter("ignore")  # of states outside a closure's range
    distances, wrong, raised = [], [], {name: 0 for name, _ in METHODS}
    for number in range(count):
        problem, initial, parametrisation, closure, t_final = case(number)
        runs = []
        for method, rtol in METHODS:
            try:
                runs.append(hf.integrate(problem, initial, parametrisation, closure, t_final, method=method, rtol=rtol))
            except HeadflowError as error:
                raised[method] += 1
                print(f"{number} {parametrisation} {closure}: {method} raised: {error}")
        if len(runs) < len(METHODS):
            continue
        dynamics = Dynamics(problem, initial, parametrisation, closure)
        ours, theirs = (run.states_flat[-1] for run in runs)
        distances.append(dynamics.distances(ours, theirs)[1])
        if distances[-1] > sum(float(run.error[-1]) for run in runs):
            wrong.append((number, distances[-1]))
    found = np.array(distances)
    print(f"{count} problems, {len(found)} compared, raised: {raised}")
    print(f"apart: median {np.median(found):.1e}, 95 % {np.quantile(found, 0.95):.1e}, largest {found.max():.1e}")
    print(f"farther apart than the error estimates allow: {wrong or 'none'}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
