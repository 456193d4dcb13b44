"""One of everything public that a user can hold, by name: what theory derives, and what numerics makes of it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from sympy import IndexedBase, exp

import headflow as hf
from headflow import numerics, theory
from headflow.numerics.checks import Setting
from headflow.numerics.code import JacobianProduct, functions
from headflow.shipped import default_problem
from headflow.theory.notation import h, i, k, over_heads, over_tasks

PROBLEM = hf.Problem(dims=[4, 5], signal_power=[1, 2], noise_variance=0.1, context_length=50, n_heads=2)
START = hf.InitialState.random(PROBLEM, scale=0.1)
EQUAL = hf.InitialState(mu=[[0.1, 0.1], [0.1, 0.1]], omega=[[0.1, 0.1], [0.1, 0.1]])
COVARIATES = numerics.CovariateProblem(
    variances=[1, 2], regressor_variances=[1, 1], noise_variance=0.1, context_length=10, n_heads=2
)
VALUES = {"a": [1.0, 2.0], "I": 2, "H": 2}
a, x = IndexedBase("a", positive=True), IndexedBase("x", real=True)


@cache
def own_flow() -> theory.ReducedSystem:
    loss = over_tasks(a[i] * (1 - over_heads(x[i, h])) ** 2) + over_heads(exp(over_tasks(x[i, h] * x[i, k])), h, k)
    return theory.gradient_flow(loss, state=[x[i, h]])


def own_run(method: str = "auto") -> numerics.SystemRun:
    return numerics.integrate_system(own_flow(), VALUES, {"x": [[0.1, 0.2], [0.3, 0.4]]}, 1.0, method=method)


@cache
def trajectory(parametrisation: str = "balanced") -> hf.Trajectory:
    return hf.integrate(PROBLEM, START, parametrisation=parametrisation, t_final=100.0)


def of_theory() -> Iterator[tuple[str, Any]]:
    """What every public function of theory returns that needs no argument, and flows and their like."""
    for name in sorted(set(dir(theory))):
        function = getattr(theory, name)
        if name.startswith("_") or inspect.isclass(function) or not callable(function):
            continue
        parameters = inspect.signature(function).parameters.values()
        if all(item.default is not item.empty or item.kind is item.VAR_KEYWORD for item in parameters):
            yield name, function()
    for name in ("merged", "balanced", "split"):
        yield f"{name} flow", theory.gradient_flow(name)
    yield "own flow", own_flow()
    yield "one statement", theory.statements()[0]
    yield "logarithms", theory.to_log(theory.gradient_flow("balanced"))
    yield "halved flow", theory.in_convention(theory.gradient_flow("balanced"), theory.Convention(half=True))
    yield "first order", theory.task_allocation_limit("first_order")


def of_numerics() -> Iterator[tuple[str, Any]]:
    run = trajectory()
    yield "problem", PROBLEM
    yield "start", START
    yield "run", run
    yield "state", run.final
    yield "phases", run.phases
    yield "allocation", run.allocation
    yield "events", run.events
    yield "real risk", run.real_risk
    yield "dataset", run.data
    yield "comparison", hf.compare(PROBLEM, run)
    verification = hf.verify(PROBLEM, ["factor-e", "separation"], quick=True)
    yield "verification", verification
    yield "verdict", verification.verdicts[0]
    yield "finding", verification.verdicts[0].findings[0]
    yield "setting", Setting(PROBLEM, 0, quick=True)
    for method in ("auto", "LSODA", "BDF", "Radau", "DOP853"):
        yield f"own run by {method}", own_run(method)
    compiled = numerics.compile_system(own_flow())
    yield "compiled", compiled
    yield "kernel", compiled.velocity
    yield "Jacobian", compiled.jacobian
    yield "named", numerics.compile_system(theory.gradient_flow("merged")).named(("C",))
    yield "bound", compiled.velocity.bind(VALUES)
    yield "Jacobian product", JacobianProduct(compiled, VALUES)
    yield "functions", functions(own_flow(), n_tasks=2, n_heads=2)
    yield "formula", numerics.formula(theory.task_allocation_limit().loss.expression)
    yield "ensemble", hf.ensemble(PROBLEM, [START, START], t_final=10.0)
    yield "Bayes risk", numerics.bayes_risk(PROBLEM)
    yield "search", numerics.search_optimum(PROBLEM, starts=2)
    yield "assignment", numerics.best_assignment(PROBLEM)
    cells = numerics.orbit_flow(PROBLEM, EQUAL)
    cells.velocity(cells.start)  # its program is made then
    yield "orbit flow", cells
    yield "orbits", cells.orbits
    yield "reduction", cells.reduction
    yield "covariates", COVARIATES
    yield "staircase", numerics.compare_staircase(COVARIATES, scale=1e-3)
    weights = hf.AttentionWeights.of(PROBLEM, START, "balanced")
    yield "weights", weights
    yield "gradient", numerics.population_gradient(PROBLEM, weights, n_samples=1000)
    yield "off the diagonal", numerics.off_diagonal_test(PROBLEM, weights, n_samples=1000)
    yield "closures", hf.compare_closures(PROBLEM, START, n_samples=1000)
    yield "gradients", hf.compare_gradients(PROBLEM, START, n_samples=1000)
    yield "sampled risk", hf.simulate(PROBLEM, START, n_samples=1000)
    simulation = hf.simulate(PROBLEM, START, training=hf.Training(t_final=0.5, batch=16))
    yield "simulation", simulation
    yield "training run", simulation.run
    yield "merged", numerics.merged_outcome(trajectory("merged"))
    yield "certificate", numerics.certify_trajectory(PROBLEM, START, 1.0)
    yield "training", hf.Training(t_final=1.0)
    text = default_problem().read_text(encoding="utf-8")
    yield "problem file", numerics.ProblemFile.parse(text)
    yield "cascade", numerics.emergence_times(run)
    yield "stop", run.stop


def shown(value: Any) -> str:
    """What a value prints, evaluates and holds, as far as it shows."""
    if isinstance(value, hf.Trajectory):
        return f"{value!r} {value.at(7.0).to_json()}"
    if isinstance(value, numerics.SystemRun):
        return f"{value!r} {value.at(0.5)} {value.loss_at(0.5)}"
    with np.printoptions(threshold=10_000):
        if type(value).__name__ in ("Kernel", "CompiledSystem"):
            return f"{value!r} {getattr(value, 'velocity', value).source}"
        if type(value).__name__ in ("BoundKernel", "JacobianProduct"):
            y = np.linspace(0.1, 0.4, 4)
            return f"{value!r} {value(y) if callable(value) else value.at(y)(y)}"
        if type(value).__name__ in ("Functions", "Formula"):
            return f"{value!r} {value.source}"
        return f"{value!r} {value} {vars(value) if type(value).__name__ == 'State' else ''}"
