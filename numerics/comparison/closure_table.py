"""The comparison of the closures with the real attention: per-task losses of given weights side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from sympy import IndexedBase

from ...theory import notation as n
from ...theory.brief import Brief
from ...theory.choices import CLOSURES
from ...theory.errors import InputError
from ...theory.flows.flow import gradient_flow
from ...theory.indexed import Definition
from ..attention import SampledRisk, sampled_risk
from ..code import compile_system
from ..code.compiled import CompiledSystem
from ..flows.domain import NOTABLE, next_term, next_term_note, violation
from ..problem.initial import InitialState
from ..problem.kinds import takes
from ..problem.problem import FloatArray, Problem
from ..runtime.json_object import json_object
from ..runtime.word_table import WordTable, aligned, with_error

_TASK_LOSS = IndexedBase("task_loss", real=True)[n.i]


@dataclass(frozen=True, eq=False, repr=False)
class ClosureTable(WordTable, Brief):
    """Losses of one set of weights: in each closure, and sampled from the real softmax attention.

    Attributes
    ----------
    problem, weights
        What was evaluated; the weights as arrays of shape (I, H).
    closures
        Closure → loss of each task, shape (I,); None where the weights lie outside its domain.
    sampled
        The Monte-Carlo risk of each task with its standard error.
    notes
        Closure → why there is no value, or why it is not to be trusted.
    seed
        Of the sampled prompts.
    """

    problem: Problem
    weights: InitialState
    closures: dict[str, FloatArray | None]
    sampled: SampledRisk
    notes: dict[str, str]
    seed: int

    def to_json(self) -> dict[str, Any]:
        """The table as a JSON object."""
        return {
            **json_object(self.problem.to_dict(), None),
            "weights": {"mu": self.weights.mu.tolist(), "omega": self.weights.omega.tolist()},
            "closures": {
                name: {
                    "value": None if tasks is None else float(tasks.sum()),
                    "tasks": None if tasks is None else tasks.tolist(),
                    "reason": self.notes.get(name),
                }
                for name, tasks in self.closures.items()
            },
            "monte_carlo": {**self.sampled.to_json(), "seed": self.seed},
        }

    def rows(self) -> list[list[str]]:
        """The table as words: a heading, the closures, the sampled attention."""
        tasks = range(self.problem.n_tasks)
        found = [["loss", *(f"task {task + 1}" for task in tasks), "sum", "note"]]
        for name, values in self.closures.items():
            numbers = [] if values is None else [*values, values.sum()]
            cells = [f"{value:.6g}" for value in numbers] or ["—"] * (len(tasks) + 1)
            found.append([name, *cells, self.notes.get(name, "")])
        risk = self.sampled
        pairs = [*zip(risk.tasks, risk.task_errors, strict=True), (risk.value, risk.standard_error)]
        cells = [with_error(value, error) for value, error in pairs]
        return [*found, ["sampled attention", *cells, f"{risk.n_samples} prompts, ± one standard error"]]

    def text(self) -> str:
        """The table as text."""
        return "\n".join(aligned(self.rows()))


@takes(problem=Problem, weights=InitialState)
def compare_closures(problem: Problem, weights: InitialState, n_samples: int = 20_000, seed: int = 0) -> ClosureTable:
    """The loss of ``weights`` in every closure, per task, beside the sampled risk of the real softmax attention.

    Parameters
    ----------
    problem
        The problem.
    weights
        Signed μ and ω of shape (I, H).
    n_samples
        How many prompts to sample, at least 2.
    seed
        Of the prompts.

    Raises ``InputError`` for weights of another shape, or fewer than two prompts.
    """
    if n_samples < 2:
        raise InputError(f"the number of sampled prompts must be at least 2, got {n_samples}")
    closures, notes = closure_losses(problem, weights)
    return ClosureTable(
        problem,
        weights,
        closures,
        sampled_risk(problem, weights.mu, weights.omega, n_samples=n_samples, seed=seed),
        notes,
        seed,
    )


def closure_losses(problem: Problem, weights: InitialState) -> tuple[dict[str, FloatArray | None], dict[str, str]]:
    """The loss of each task, (I,), in every closure, and notes: why there is none, or why it is not to be trusted.

    Raises ``InputError`` for weights of another shape than the problem's.
    """
    weights.check(problem, "merged")
    closures: dict[str, FloatArray | None] = {}
    notes: dict[str, str] = {}
    state = np.concatenate([weights.mu.ravel(), weights.omega.ravel()])
    for name in CLOSURES:
        system = gradient_flow("merged", name)
        if outside := violation(system.domain, weights.omega):
            closures[name], notes[name] = None, f"requires {outside[0]}; {outside[1]}"
            continue
        with np.errstate(all="ignore"):
            values = _task_losses(name).named(("task_loss",)).bind(problem.float_values())(state)
        closures[name] = values if np.isfinite(values).all() else None
        if closures[name] is None:
            notes[name] = "overflows float64"
        elif outside := violation(system.validity, weights.omega):
            notes[name] = f"accurate only where {outside[0]}; {outside[1]}"
        elif system.validity:
            size, head = next_term(problem, weights.mu, weights.omega)
            if size > NOTABLE:
                notes[name] = next_term_note(size, head)
    return closures, notes


@cache
def _task_losses(closure: str) -> CompiledSystem:
    """The flow's system with the loss of each task named."""
    system = gradient_flow("merged", closure)
    return compile_system(
        replace(system, definitions=(*system.definitions, Definition(_TASK_LOSS, system.loss.args[0])))
    )
