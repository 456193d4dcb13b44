"""[C24]'s trainings of full softmax attention: task allocation with H ≥ I, and one task with many heads.

[C24] is Chen, Sheen, Wang and Yang, arXiv 2402.19442.  The starts have the form of its published experiments (each head
favours a task; per-head Gaussian factors on one task) at a larger scale, for from L^(−3/4) the first emergence takes a
time that goes like 1/scale².
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from ...theory.optima.limits import task_allocation_limit
from ..attention import AttentionWeights, Training, attention_risk, train
from ..attention.starts import multi_task_start
from ..comparison.closure_table import closure_losses
from ..comparison.simulate import Simulation, overlay
from ..problem.exact import shown
from ..problem.initial import InitialState
from ..problem.problem import FloatArray, Problem
from .result import Reproduction, Row

SCALE: Final = 0.4  # of K, Q, V and O at the start
_CLOSURES: Final = {"leading": "leading", "first_order": "first-order"}


@dataclass(frozen=True)
class _Size:
    problem: Problem
    training: Training
    samples: int
    gaussian_seed: int | None = None


def _size(
    dims: list[int], length: int, heads: int, t_final: float, batch: int, samples: int, seed: int | None = None
) -> _Size:
    problem = Problem(dims=dims, signal_power=[1] * len(dims), noise_variance=0.1, context_length=length, n_heads=heads)
    # Averaged: the gradient's noise is that of covariates and queries alone.
    training = Training(t_final, 0.1, batch, averaged=True, records=100, backend="numpy")
    return _Size(problem, training, samples, seed)


def allocation_size(settings: str) -> _Size:
    """ "small": two tasks, two heads; "paper": the reference case with one head more than tasks."""
    if settings == "small":
        return _size([5, 5], 40, 2, 40.0, 256, 20_000)
    return _size([10, 10, 10], 100, 4, 150.0, 512, 100_000)


def single_task_size(settings: str) -> _Size:
    """ "small": d = 10, L = 50, H = 4; "paper": d = 50, L = 100, H = 8."""
    if settings == "small":
        return _size([10], 50, 4, 60.0, 256, 20_000, 1)
    return _size([50], 100, 8, 200.0, 512, 100_000, 1)


def allocation(settings: str, progress: bool = False) -> Reproduction:
    """Several tasks, H ≥ I: every task ends on a head of its own."""
    return _reproduced("allocation", "Task allocation ([C24])", settings, allocation_size(settings), progress)


def single_task(settings: str, progress: bool = False) -> Reproduction:
    """One task, many heads of different strength: what the heads share."""
    return _reproduced("single-task", "One task, many heads ([C24])", settings, single_task_size(settings), progress)


def _reproduced(name: str, title: str, settings: str, size: _Size, progress: bool) -> Reproduction:
    problem = size.problem
    run = train(problem, multi_task_start(problem, SCALE, size.gaussian_seed), size.training, progress=progress)
    simulations = {closure: overlay(run, "balanced", closure) for closure in _CLOSURES}
    for simulation in simulations.values():
        simulation.flow.ensure_reliable()
    first = simulations["leading"]
    table = [
        Row(f"{quantity}, {_CLOSURES[closure]} flow", predicted, measured, error)
        for closure, simulation in simulations.items()
        for quantity, predicted, measured, error in _of_flow(simulation)
    ]
    final = InitialState(run.mu[-1], run.omega[-1])
    limit = task_allocation_limit()
    spectral = AttentionWeights.spectral(problem, final.mu, final.omega)
    risk = attention_risk(problem, run.weights, size.samples, seed=1, backend="numpy", progress=progress)
    diagonal = attention_risk(problem, spectral, size.samples, seed=1, backend="numpy", progress=progress)
    closures, _ = closure_losses(problem, final)
    for closure, word in (("leading", "leading"), ("finite_d", "finite-d"), ("first_order", "first-order")):
        value = closures[closure]
        if value is not None:
            table.append(Row(f"final risk, {word} at its μ, ω", float(value.sum()), risk.value, risk.standard_error))
    off_task = np.abs(run.mu[-1] * run.omega[-1])
    share = _own_share(off_task)
    table += [
        Row("final risk, its diagonal part", diagonal.value, risk.value, risk.standard_error),
        Row("final risk, allocation limit (leading)", limit.loss.evaluate(problem), risk.value, risk.standard_error),
        Row("tasks on distinct heads", _distinct(first.predicted[1][-1] * first.predicted[2][-1]), _distinct(off_task)),
        Row("least share of a task on its head", _own_share(first.predicted[1][-1] * first.predicted[2][-1]), share),
        Row("off-diagonal part of key-query", 0.0, float(run.off_diagonal[-1, 0])),
    ]
    shots = _snapshots(len(run.t))
    return Reproduction(
        name,
        f"{title}: d = {shown(list(problem.dims))}, L = {problem.context_length}, H = {problem.n_heads}",
        settings,
        problem.to_dict(),
        tuple(table),
        {
            "t": run.t.copy(),
            "loss": run.loss.copy(),
            "loss_error": run.loss_error.copy(),
            "mu": run.mu.copy(),
            "omega": run.omega.copy(),
            "spread": run.spread.copy(),
            "leading_loss": first.predicted[0].copy(),
            "leading_mu": first.predicted[1].copy(),
            "leading_omega": first.predicted[2].copy(),
            "first_order_loss": simulations["first_order"].predicted[0].copy(),
            "first_order_mu": simulations["first_order"].predicted[1].copy(),
            "first_order_omega": simulations["first_order"].predicted[2].copy(),
            "snapshots": shots,
            "key_query": run.weights.key_query[:, : problem.total_dim, : problem.total_dim].copy(),
        },
        (
            f"SGD to t = {size.training.t_final:g}, rate {size.training.rate:g}, batch {size.training.batch}, "
            f"regressors and noise averaged exactly; factors start at {SCALE:g}.",
            "The error of Σ_h μ is the standard deviation over the last tenth of the records; that of √d ω_top is the "
            "spread of its eigenvalues.",
        ),
    )


def _of_flow(simulation: Simulation) -> list[tuple[str, float, float, float]]:
    """Per task: total μ, and √d ω of its head; predicted and measured at the end."""
    run, (_, mu, omega) = simulation.run, simulation.predicted
    found = []
    for task, dim in enumerate(run.problem.dims):
        head = int((run.mu[-1, task] * run.omega[-1, task]).argmax())
        root, tenth = float(np.sqrt(dim)), max(2, len(run.t) // 10)
        total = run.mu[:, task].sum(axis=1)
        found += [
            (f"task {task + 1}: Σ_h μ", float(mu[-1, task].sum()), float(total[-1]), float(total[-tenth:].std(ddof=1))),
            (
                f"task {task + 1}: √d ω_top",
                root * float(omega[-1, task, head]),
                root * float(run.omega[-1, task, head]),
                root * float(run.spread[-1, task, head]),
            ),
        ]
    return found


def _own_share(products: FloatArray) -> float:
    return float((products.max(axis=1) / products.sum(axis=1)).min())


def _distinct(products: FloatArray) -> int:
    return len(set(products.argmax(axis=1).tolist()))


def _snapshots(count: int) -> FloatArray:
    """Which records the heat maps show: the start, the middle and the end."""
    return np.array([0, count // 4, count - 1])
