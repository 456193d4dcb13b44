"""Never a wrong limit, nor a silent error: every method against an independent reference on random problems.

    python benchmarks/exactness.py [300 [0]]

The arguments are how many problems, and the number of the first; Ctrl-C ends it early, with what was found until then.
All parametrisations and closures, I and H from 1 to 4; ordinary starts in turn with tied ones, nearly tied ones, ones
with zeros, and extreme numbers.  The reference is
SciPy's LSODA with rtol 1e-13, driven here; its own error is the distance to SciPy's Radau with rtol 1e-10, and is part
of no bound.  A result is judged where the reference's own error is below the result's estimate; others are counted.
What counts: no result without a caveat that is that of another limit (farther than 1e-2 from the reference, relative),
and none whose true error is more than ten times its estimate.  A method may raise, or say that it is not reliable.
"""

from __future__ import annotations

import machine  # isort: skip  (before NumPy)

import math
import sys
import warnings
from collections import Counter
from importlib.util import find_spec

import numpy as np
from scipy.integrate import solve_ivp

import headflow as hf
from headflow.errors import HeadflowError
from headflow.numerics.compiler import compiler_installed
from headflow.numerics.flows.dynamics import Dynamics, apart

METHODS = [("LSODA", 1e-8), ("LSODA", 1e-4), ("BDF", 1e-6), ("Radau", 1e-6), ("scipy", 1e-3)]
METHODS += [("Rodas5P", 1e-8), ("Rodas5P", 1e-4), ("llvm", 1e-3)] if compiler_installed() else []
METHODS += [("CVODE", 1e-7)] if find_spec("sksundae") else []
BACKENDS = ("scipy", "llvm")  # of ensembles
WRONG = 1e-2
UNDERESTIMATED = 10.0
CLOSURES = ("leading", "finite_d", "first_order")
KINDS = ("ordinary", "tied", "nearly tied", "zeros", "extreme")

Case = tuple[hf.Problem, hf.InitialState, str, str, float]
Ends = tuple[float, np.ndarray, float]  # loss, (mu, omega) and the error estimate at the end


def kind_of(number: int) -> str:
    return KINDS[number // 9 % len(KINDS)]


def case(number: int) -> Case:
    draw = np.random.default_rng(10_000 + number)
    kind, parametrisation = kind_of(number), ("balanced", "merged", "split")[number % 3]
    closure = CLOSURES[number // 3 % 3] if number % 2 else "leading"
    n_tasks, n_heads = int(draw.integers(1, 5)), int(draw.integers(1, 5))
    extreme = kind == "extreme"
    dims = 10 ** draw.uniform(0.5, 4, n_tasks) if extreme else draw.integers(3, 25, n_tasks)
    powers = 10 ** draw.uniform(-3, 3, n_tasks) if extreme else draw.uniform(0.3, 2, n_tasks)
    noise = draw.choice([0.0, 1e-9, 10 ** draw.uniform(-3, 2)]) if extreme else draw.uniform(0.05, 0.5)
    length = int(10 ** draw.uniform(0.5, 6)) if extreme else int(draw.integers(40, 300))
    if kind == "tied" and n_tasks > 1:
        dims[1], powers[1] = dims[0], powers[0]
    problem = hf.Problem(
        dims=[int(dim) for dim in dims],
        signal_power=[float(f"{power:.3g}") for power in powers],
        noise_variance=float(f"{noise:.3g}"),
        context_length=length,
        n_heads=n_heads,
    )
    scale = float(10 ** (draw.uniform(-10, -0.5) if extreme else draw.uniform(-2.5, -1)))
    mu, omega = scale * draw.uniform(1, 1.4, (2, n_tasks, n_heads))
    if parametrisation != "balanced" and number % 4 < 2:
        mu, omega = mu * draw.choice([-1, 1], mu.shape), omega * draw.choice([-1, 1], mu.shape)
    imbalance = tuple(10 ** draw.uniform(-8, -3, 2)) if parametrisation == "split" and number % 2 == 0 else (0.0, 0.0)
    if kind in ("tied", "nearly tied"):
        sign = -1 if parametrisation == "merged" and number % 2 else 1
        mu[:, -1], omega[:, -1] = sign * mu[:, 0], sign * omega[:, 0]
        if kind == "nearly tied":
            mu[:, -1] *= 1 + 10 ** draw.uniform(-15, -6)
    if kind == "zeros" and parametrisation != "balanced":
        place = (int(draw.integers(n_tasks)), int(draw.integers(n_heads)))
        mu[place] = 0
        omega[place] *= int(draw.integers(2))
    initial = hf.InitialState(mu, omega, imbalance=imbalance)
    return problem, initial, parametrisation, closure, float(10 ** draw.uniform(2, 4))


def by_scipy(given: Case, method: str, rtol: float) -> tuple[float, np.ndarray] | None:
    """Where the flow ends, by SciPy alone, in log time; None where it does not get there."""
    problem, initial, parametrisation, closure, t_final = given
    flow = Dynamics(problem, initial, parametrisation, closure)
    rate = flow.rate(flow.start)
    unit = min(1 / rate, t_final) if rate > 0 else t_final
    found = solve_ivp(
        lambda s, y: flow.velocity.evaluate(y) * (unit * math.exp(s)),
        (0.0, math.log1p(t_final / unit)),
        flow.start,
        method,
        jac=lambda s, y: flow.jacobian.evaluate(y) * (unit * math.exp(s)),
        rtol=rtol,
        atol=rtol * (1.0 if flow.log else max(1e-3 * float(np.abs(flow.start).max()), 1e-300)),
    )
    if not found.success or not np.isfinite(found.y[:, -1]).all():
        return None
    return flow.loss(found.y[:, -1]), flow.weights(found.y[:, -1])


def distance(one: tuple[float, np.ndarray], other: tuple[float, np.ndarray]) -> float:
    return float(apart(np.array(one[0]), one[1], np.array(other[0]), other[1])[1])


def reference(given: Case) -> Ends | None:
    """The end, and the reference's own error; None where there is none."""
    try:
        best, other = by_scipy(given, "LSODA", 1e-13), by_scipy(given, "Radau", 1e-10)
    except (HeadflowError, ValueError, ArithmeticError):  # of a state out of range
        return None
    return None if best is None or other is None else (*best, distance(other, best))


def ends(given: Case, method: str, rtol: float) -> Ends | str:
    """What it says, or the word for the caveat that it has; a failure is one."""
    problem, initial, parametrisation, closure, t_final = given
    if method in BACKENDS:
        found = hf.ensemble(problem, initial, t_final, parametrisation, closure, rtol, backend=method).isel(member=0)
        if found.status != "reached_t_final":
            return str(found.status.values)
        return float(found.loss), np.stack([found.mu, found.omega]), float(found.error_estimate)
    try:
        run = hf.integrate(problem, initial, parametrisation, closure, t_final, method=method, rtol=rtol)
    except HeadflowError as error:
        return type(error).__name__
    if not run.reliable:
        return run.stop.value
    return run.final.loss, np.stack([run.final.mu, run.final.omega]), float(run.error[-1])


def main() -> int:
    count, first = (int(given) for given in (*sys.argv[1:], *("300", "0")[len(sys.argv) - 1 :]))
    print(machine.describe("headflow", "numpy", "scipy", "llvmlite", "scikit-sundae"))
    warnings.simplefilter("ignore")  # of caveats, which are counted, and of SciPy at a tolerance that is this small
    ratios: dict[tuple[str, float], list[float]] = {one: [] for one in METHODS}
    counts: dict[tuple[str, float], Counter[str]] = {one: Counter() for one in METHODS}
    wrong, beyond, own, missing = [], [], [], 0
    try:
        for number in range(first, first + count):
            given = case(number)
            best = reference(given)
            if best is None:
                missing += 1
                continue
            own.append(best[2])
            for one in METHODS:
                found = ends(given, *one)
                if isinstance(found, str):
                    counts[one]["caveat"] += 1
                    continue
                true = distance(found[:2], best[:2])
                which = f"{number} {kind_of(number)} {given[2]} {given[3]} {one[0]} {one[1]:g}"
                what = f"{which}: {true:.1e} from the reference"
                if not true <= WRONG + best[2]:
                    wrong.append((number, *one))
                    print(f"{what}, which is {best[2]:.1e} off itself", flush=True)
                if best[2] > found[2]:
                    counts[one]["not judged"] += 1
                    continue
                ratios[one].append(true / found[2])
                if true > UNDERESTIMATED * found[2]:
                    beyond.append((number, *one))
                    print(f"{what}, its estimate is {found[2]:.1e}, the reference is {best[2]:.1e} off", flush=True)
    except KeyboardInterrupt:
        print("interrupted; until then:")
    middle, most = np.quantile(own or [np.nan], [0.5, 0.95])
    print(
        f"{len(own) + missing} problems, {missing} without a reference; own error of the others: median {middle:.1e},"
    )
    print(f"  95 % {most:.1e}, above 1e-3 in {sum(not error <= 1e-3 for error in own)}")
    for one, found_ratios in ratios.items():
        over = sum(ratio > 1 for ratio in found_ratios)
        print(
            f"{one[0]:8}{one[1]:6.0e}: {len(found_ratios)} judged, {counts[one]['not judged']} not (the reference is "
            f"not good enough), {counts[one]['caveat']} with a caveat; true error/estimate: median "
            f"{np.median(found_ratios or [np.nan]):.1e}, above 1 in {over}, at most {max(found_ratios, default=0):.1f}"
        )
    print(f"errors of more than {UNDERESTIMATED:g} estimates without a caveat: {beyond or 'none'}")
    print(f"another limit without a caveat: {wrong or 'none'}")
    return bool(wrong or beyond)


if __name__ == "__main__":
    sys.exit(main())
