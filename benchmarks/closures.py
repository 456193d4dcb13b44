"""Which closure to trust where: ``python benchmarks/closures.py [PROMPTS]`` prints the table of docs/closures.md.

Every row is a problem with weights from some state of training: the loss in every closure, relative to the risk of
the real softmax attention, sampled with 100,000 prompts, and how large the next term of the expansion in 1/L is.
Takes a few minutes.
"""

from __future__ import annotations

import machine  # isort: skip  (before NumPy)

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

import headflow as hf
from headflow.numerics.attention import SampledRisk, sampled_risk
from headflow.numerics.comparison.closure_table import closure_losses
from headflow.numerics.flows.domain import next_term

CLOSURES = ("leading", "finite_d", "first_order")
HEAD = ("problem", "weights", "attention", *CLOSURES, "next term")


@dataclass
class Case:
    """Weights of a problem, and words for both."""

    problem: hf.Problem
    words: str
    state: str
    at: Callable[[hf.Problem], hf.InitialState]

    @cached_property
    def weights(self) -> hf.InitialState:
        return self.at(self.problem)

    def row(self, risk: SampledRisk) -> list[str]:
        """A line of the table."""
        losses, _ = closure_losses(self.problem, self.weights)
        cells = []
        for closure in CLOSURES:
            tasks = losses[closure]
            cells.append("—" if tasks is None else relative(float(tasks.sum()) / risk.value - 1))
        size, _ = next_term(self.problem, self.weights.mu, self.weights.omega)
        shown = "∞" if math.isinf(size) else f"{size:.2g}"
        return [self.words, self.state, f"{risk.value:.4f} ± {risk.standard_error:.4f}", *cells, shown]


def relative(difference: float) -> str:
    return f"{100 * difference:+.1f} %" if abs(difference) < 10 else "beyond ±1000 %"


def task(dim: int, count: int, length: int, heads: int | None = None) -> hf.Problem:
    """Equal tasks of signal power one and noise .1."""
    return hf.Problem([dim] * count, [1] * count, 0.1, length, count if heads is None else heads)


def allocated(problem: hf.Problem) -> hf.InitialState:
    """The task-allocation limit of the leading closure; more tasks than heads share them."""
    groups = [range(head, problem.n_tasks, problem.n_heads) for head in range(problem.n_heads)]
    mu, omega = np.zeros((2, problem.n_tasks, problem.n_heads))
    for head, group in enumerate(groups):
        for task_ in group:
            width = len(group) * problem.dims[task_]
            cost = 1.1 * problem.dims[task_] / problem.context_length
            omega[task_, head] = 1 / math.sqrt(width)
            mu[task_, head] = math.sqrt(width) / (1 + math.e * len(group) * cost)
    return hf.InitialState(mu=mu, omega=omega)


def half_way(problem: hf.Problem) -> hf.InitialState:
    """The balanced flow when half of the way is done."""
    run = hf.integrate(problem, hf.InitialState.random(problem), t_final=1e4)
    emergence = run.phases.emergence
    assert emergence is not None
    state = run.at(emergence)
    return hf.InitialState(mu=state.mu, omega=state.omega)


def pair(problem: hf.Problem, omega: float, mu: float) -> hf.InitialState:
    return hf.InitialState(mu=[[mu, -mu]], omega=[[omega, -omega]])


def cases() -> list[Case]:
    """All rows, in the order of the table."""
    found = []
    for dim, count, length in (
        (10, 3, 100),
        (2, 2, 50),
        (5, 2, 40),
        (10, 2, 400),
        (15, 2, 400),
        (50, 2, 500),
        (30, 2, 3000),
    ):
        problem, words = task(dim, count, length), f"{count} tasks, d = {dim}, L = {length}, H = {count}"
        found.append(Case(problem, words, "half-way", half_way))
        found.append(Case(problem, words, "allocation limit", allocated))
    shared = task(10, 2, 400, heads=1)
    found.append(Case(shared, "2 tasks, d = 10, L = 400, H = 1", "shared head", allocated))
    for dim, length, omega, mu in ((10, 100, 0.1, 4.0), (5, 40, 0.13, 3.45), (10, 100, 0.02, 22.5)):
        problem = task(dim, 1, length, heads=2)
        words = f"1 task, d = {dim}, L = {length}, H = 2"
        found.append(Case(problem, words, f"pair, ω = ±{omega:g}", partial(pair, omega=omega, mu=mu)))
    return found


def table(prompts: int) -> list[str]:
    """The table in Markdown."""
    lines = [f"| {' | '.join(HEAD)} |", f"|{' --- |' * len(HEAD)}"]
    for case in cases():
        risk = sampled_risk(case.problem, case.weights.mu, case.weights.omega, n_samples=prompts, seed=1)
        lines.append(f"| {' | '.join(case.row(risk))} |")
    return lines


if __name__ == "__main__":
    print("\n".join(table(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)))
    print(machine.describe("headflow", "numpy"), file=sys.stderr)
