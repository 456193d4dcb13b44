"""One trajectory at equal delivered error, compiled against SciPy: ``python benchmarks/trajectory.py``.

I = H = 3, d = 10, L = 100, balanced flow in logarithms to T = 1e4.  Every method gets the analytic Jacobian where it
takes one and is tried at tolerances from 1e-2 to 1e-10 in half decades; of those that deliver the error asked for the
fastest counts.  "plain NumPy" is the flow and its Jacobian as one first writes them by hand; the other SciPy methods
have headflow's generated NumPy code, and so has scikit-sundae's dense CVODE.  That, JiTCODE, pyodesys and diffrax take
part where they are installed, and odeint with the generated loops compiled by numba; "headflow without a compiler" is
what ``auto`` takes where llvmlite is not installed.  Errors are of loss,
μ and ω, relative, at T and (the largest) at 60 times on the way, against Radau at rtol 1e-12.  Times are for the state
at T; methods take turns, and what is shown are medians and medians of ratios.
"""

from __future__ import annotations

import machine  # isort: skip  (before NumPy)

import math
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from statistics import median

import numpy as np
from peers import cvode_run, diffrax_run, jitcode_run, plain_code, pyodesys_run
from scipy.integrate import odeint, solve_ivp

import headflow as hf
from headflow.numerics.code.native import native_system
from headflow.numerics.compiler import Program, compiler_installed
from headflow.numerics.flows.dynamics import Dynamics
from headflow.numerics.solving.solvers import GROWTH, Stepper, choose_method
from headflow.numerics.solving.stepping import NO_CODES, CompiledSteps

T_FINAL, ROUNDS = 1e4, 9
TOLERANCES = [10.0 ** -(n / 2) for n in range(4, 21)]  # half decades: none pays for more accuracy than is asked for
TARGETS = (1e-5, 1e-6)
BASELINES = ("LSODA, plain NumPy", "SciPy LSODA")
MANY = """
def many(number: int, values: Vector, y: Vector, work: Vector, out: Vector) -> None:
    for n in range(number):
        y[0] = y[0] + 0.0 * out[0]  # else one call would do for all
        {0}(values, y, work, out)
"""

problem = hf.Problem(dims=[10] * 3, signal_power=[1] * 3, noise_variance=0.1, context_length=100, n_heads=3)
dynamics = Dynamics(problem, hf.InitialState.random(problem, scale=0.03), "balanced", "leading")
start, shape = dynamics.start, dynamics.shape
unit = 1 / dynamics.rate(start)
end = math.log1p(T_FINAL / unit)
on_the_way = np.linspace(0, end, 61)[1:]
times = np.minimum(unit * np.expm1(on_the_way), T_FINAL)


Code = Callable[[float, np.ndarray], np.ndarray]


def velocity(t, y):
    return dynamics.velocity.evaluate(y).copy()


def jacobian(t, y):
    return dynamics.jacobian.evaluate(y).copy()


def in_log_time(function):
    return lambda s, y: function(s, y) * (unit * math.exp(s))


def by_solve_ivp(method: str, log: bool, code: tuple[Code, Code] = (velocity, jacobian)) -> Callable[..., np.ndarray]:
    f, j = map(in_log_time, code) if log else code
    stop, points = (end, on_the_way) if log else (T_FINAL, times)

    def run(rtol: float, path: bool = False) -> np.ndarray:
        found = solve_ivp(f, (0, stop), start, method, jac=j, rtol=rtol, atol=rtol, t_eval=points if path else None)
        return found.y.T if path else found.y[:, -1]

    return run


def by_odeint(rtol: float, path: bool = False) -> np.ndarray:
    points = np.array([0.0, *times]) if path else np.array([0.0, T_FINAL])
    found = odeint(velocity, start, points, Dfun=jacobian, tfirst=True, rtol=rtol, atol=rtol, mxstep=10**6)
    return found[1:] if path else found[-1]


def odeint_with_numba() -> Callable[..., np.ndarray] | None:
    """odeint with the generated loops of this size, compiled by numba."""
    if not find_spec("numba"):
        return None
    from numba import njit

    native = native_system(dynamics.chart.system, I=shape[0], H=shape[1])
    compiled = njit(native.function("velocity", compiled=False))
    values, out, work = native.bound(dynamics.chart.values), np.empty(18), np.empty(native.n_work)

    def f(t, y):
        compiled(values, y, work, out)
        return out

    def run(rtol: float, path: bool = False) -> np.ndarray:
        points = np.array([0.0, *times] if path else [0.0, T_FINAL])
        found = odeint(f, start, points, tfirst=True, rtol=rtol, atol=rtol, mxstep=10**6)
        return found[1:] if path else found[-1]

    return run


def by_scipy_default(rtol: float, path: bool = False) -> np.ndarray:
    """What `integrate` does without llvmlite, once."""
    steps = Stepper(dynamics, choose_method("LSODA", len(start)), rtol, start, unit, end)
    found, ahead = start, list(on_the_way)
    states = []
    for segment in steps.segments():
        while path and ahead and ahead[0] <= segment.end:
            states.append(segment.dense(ahead.pop(0)))
        found = steps._y
    return np.array(states) if path else found


def by_rodas() -> Callable[..., np.ndarray]:
    """headflow's compiled steps, their parameters bound beforehand like those of all others."""
    made, values, _ = dynamics.integrator()
    advance = made.advance

    def run(rtol: float, path: bool = False) -> np.ndarray:
        if path:
            steps = CompiledSteps(made, values, start, rtol, rtol, unit, end, GROWTH, True, np.zeros(len(start)))
            found, ahead = [], list(on_the_way)
            for reached, dense in steps.until_evaluations(10**6):
                while ahead and ahead[0] <= reached:
                    found.append(dense(ahead.pop(0)))
            return np.array(found)
        y = start.copy()
        position = np.array([0.0, made.first_step(rtol, end), np.nan, np.inf])
        counts, records = np.zeros(5, np.int64), made.empty_records(0)
        how = (unit, end, rtol, rtol, np.nan, 10**6, GROWTH, True, np.zeros(len(y)))
        advance(values, NO_CODES, *how, y, y.copy(), position, counts, *records)
        return y

    return run


METHODS: dict[str, Callable[..., np.ndarray] | None] = {
    "LSODA, plain NumPy": by_solve_ivp("LSODA", False, plain_code(problem)),
    "SciPy LSODA": by_solve_ivp("LSODA", False),
    "SciPy LSODA, log time": by_solve_ivp("LSODA", True),
    "SciPy BDF, log time": by_solve_ivp("BDF", True),
    "SciPy Radau, log time": by_solve_ivp("Radau", True),
    "SciPy odeint": by_odeint,
    "headflow without a compiler": by_scipy_default,
}
if compiler_installed():
    METHODS["Rodas5P (headflow)"] = by_rodas()


def timed(run: Callable[..., np.ndarray], rtol: float) -> float:
    began = time.perf_counter()
    run(rtol)
    return time.perf_counter() - began


def main() -> None:
    np.seterr(over="ignore")  # of trial steps far out, which solvers reject
    print(machine.describe("headflow", "numpy", "scipy", "llvmlite", "numba"))
    began = time.perf_counter()
    METHODS["JiTCODE, LSODA"] = jitcode_run(problem, start, times)
    print(f"JiTCODE: {time.perf_counter() - began:.0f} s of code generation and compilation")
    METHODS["odeint, numba velocity"] = odeint_with_numba()
    METHODS["pyodesys, LSODA"] = pyodesys_run(problem, start, times)
    METHODS["CVODE dense"] = cvode_run(velocity, jacobian, start, times)
    for solver in ("Tsit5", "Kvaerno5"):
        METHODS[f"diffrax {solver}"] = diffrax_run(problem, start, times, solver)
    for name in [name for name, run in METHODS.items() if run is None]:
        print(f"{name}: not installed, skipped")
        del METHODS[name]
    reference = by_solve_ivp("Radau", True)(1e-12, path=True)
    errors: dict[str, dict[float, tuple[float, float]]] = {}
    for name, run in METHODS.items():
        run(1e-4)
        for rtol in TOLERANCES:
            path = run(rtol, path=True)
            apart = [dynamics.distances(one, other)[1] for one, other in zip(path, reference, strict=True)]
            errors.setdefault(name, {})[rtol] = (max(apart), apart[-1])
    for place, what in enumerate(("on the way", "at T")):
        for target in TARGETS:
            enough = {
                name: [rtol for rtol in TOLERANCES if found[rtol][place] <= target] for name, found in errors.items()
            }
            chosen = {
                name: min(tolerances, key=lambda rtol, run=METHODS[name]: min(timed(run, rtol) for _ in range(3)))
                for name, tolerances in enough.items()
                if tolerances
            }
            rounds = [{name: timed(METHODS[name], rtol) for name, rtol in chosen.items()} for _ in range(ROUNDS)]
            print(f"\nerror {what} ≤ {target:g}:  rtol, delivered, median ms, {' / this, '.join(BASELINES)} / this")
            for name, rtol in chosen.items():
                ratios = (median(one[base] / one[name] for one in rounds) for base in BASELINES)
                taken = 1e3 * median(one[name] for one in rounds)
                told = " ".join(f"{ratio:8.1f}" for ratio in ratios)
                print(f"  {name:24} {rtol:6.0e} {errors[name][rtol][place]:9.1e} {taken:9.3f} {told}")
    if compiler_installed():
        _kernels()


def _kernels() -> None:
    """Velocity, Jacobian and loss by themselves, called from compiled code."""
    native = native_system(dynamics.chart.system, I=shape[0], H=shape[1])
    values, work, out = native.bound(dynamics.chart.values), np.empty(native.n_work), np.empty(324)
    print("\nmicroseconds, median of 9: compiled, NumPy")
    for name in ("velocity", "jacobian", "loss"):
        kernel = {"velocity": dynamics.velocity, "jacobian": dynamics.jacobian}.get(name)
        many = Program(f"many_{name}", [*native.program.texts, MANY.format(name)], native.program.constants)
        run = many.compiled("many")
        run(1, values, start, work, out)
        ours, theirs = [], []
        for _ in range(9):
            began = time.perf_counter()
            run(5000, values, start, work, out)
            ours.append((time.perf_counter() - began) / 5000)
            began = time.perf_counter()
            for _ in range(200 if kernel else 0):
                kernel.evaluate(start)
            theirs.append((time.perf_counter() - began) / 200)
        print(f"  {name:10} {1e6 * median(ours):7.2f} {1e6 * median(theirs):8.1f}")


if __name__ == "__main__":
    sys.exit(main())
