"""Never a wrong limit: every method against a reference on random problems.

    python benchmarks/exactness.py [300 [0]]

The arguments are how many problems, and the number of the first.  All parametrisations and closures, I and H from 1 to
4, signed starts for ``merged``, balanced and imbalanced ones for ``split``.  The reference is LSODA with rtol 1e-10.  A
method may raise; what counts is that no final state that is given is that of another limit: farther than 1e-2 from the
reference, relative, where other limits are of order one apart.  Prints every problem on which a method raised, how far
the others are from the reference, and where that is more than the sum of the two error estimates: an estimate is the
distance of two integrations, too small in the rare case that their errors are alike.
"""

from __future__ import annotations

import machine  # isort: skip  (before NumPy)

import sys
import warnings

import numpy as np

import headflow as hf
from headflow.errors import HeadflowError
from headflow.numerics.dynamics import apart

METHODS = (("Rodas5P", 1e-8), ("Rodas5P", 1e-4), ("LSODA", 1e-8), ("ensemble", 1e-3))
REFERENCE = ("LSODA", 1e-10)  # results are computed with rtol/100
WRONG = 1e-2
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


Ends = tuple[float, np.ndarray, float]  # loss, (mu, omega) and the error estimate at the end


def ends(number: int, method: str, rtol: float) -> Ends | None:
    """None where the method raised, or recorded a failure."""
    problem, initial, parametrisation, closure, t_final = case(number)
    what = f"{number} {parametrisation} {closure}: {method} at {rtol:g}"
    if method == "ensemble":
        found = hf.ensemble(problem, initial, t_final, parametrisation, closure, rtol)
        if found.status.item() != "reached_t_final":
            print(f"{what}: {found.detail.item()}")
            return None
        return float(found.loss[0]), np.stack([found.mu[0], found.omega[0]]), float(found.error_estimate[0])
    try:
        run = hf.integrate(problem, initial, parametrisation, closure, t_final, method=method, rtol=rtol)
    except HeadflowError as error:
        print(f"{what} raised: {error}")
        return None
    return run.final.loss, np.stack([run.final.mu, run.final.omega]), float(run.error[-1])


def main() -> int:
    count, first = (int(given) for given in (*sys.argv[1:], *("300", "0")[len(sys.argv) - 1 :]))
    print(machine.describe("headflow", "numpy", "scipy", "llvmlite"))
    warnings.simplefilter("ignore")  # of states outside a closure's range
    distances: dict[tuple[str, float], list[float]] = {one: [] for one in METHODS}
    wrong, beyond, unknown = [], [], 0
    for number in range(first, first + count):
        reference = ends(number, *REFERENCE)
        if reference is None:
            unknown += 1
            continue
        for one in METHODS:
            found = ends(number, *one)
            if found is None:
                continue
            apart_by = float(apart(np.array(found[0]), found[1], np.array(reference[0]), reference[1])[1])
            distances[one].append(apart_by)
            estimates = found[2] + reference[2]
            if not apart_by <= WRONG:
                wrong.append((number, *one))
            if not apart_by <= estimates:
                beyond.append(apart_by / estimates)
            if not apart_by <= min(WRONG, estimates):
                print(f"{number} {one}: {apart_by:.2e} apart, estimates {estimates:.2e}", flush=True)
    print(f"{count} problems, {unknown} without a reference")
    for (method, rtol), found in distances.items():
        median, most = np.quantile(found, [0.5, 0.95])
        shown = f"median {median:.1e}, 95 % {most:.1e}, largest {max(found):.1e}"
        print(f"{method:9} {rtol:6.0e}: {len(found)} compared, distances {shown}")
    compared = sum(map(len, distances.values()))
    most = f", at most {max(beyond):.1f} times" if beyond else ""
    print(f"farther apart than the error estimates: {len(beyond)} of {compared}{most}")
    print(f"another limit: {wrong or 'none'}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
