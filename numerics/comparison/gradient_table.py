"""The comparison of the reduced gradient with that of the real attention, entry by entry with errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...theory.brief import Brief
from ...theory.choices import CLOSURES
from ...theory.flows.flow import gradient_flow
from ..attention import AttentionWeights, PopulationGradient, population_gradient
from ..attention.off_diagonal import OffDiagonalTest, off_diagonal_test
from ..code import compile_system
from ..flows.domain import violation
from ..problem.initial import InitialState
from ..problem.kinds import takes
from ..problem.problem import FloatArray, Problem
from ..runtime.json_object import json_object
from ..runtime.word_table import WordTable, aligned


@dataclass(frozen=True, eq=False, repr=False)
class GradientTable(WordTable, Brief):
    """The gradient of the risk in μ and ω at decomposable weights: of every closure, and of the real attention.

    Attributes
    ----------
    problem, weights
        Where it was taken.
    closures
        Closure → ∂𝓛/∂μ and ∂𝓛/∂ω, (2, I, H); None where the weights lie outside its domain.
    gradient
        The sampled one, in all entries of W and U.
    off_diagonal
        Whether it is zero where decomposable weights are.
    """

    problem: Problem
    weights: InitialState
    closures: dict[str, FloatArray | None]
    gradient: PopulationGradient
    off_diagonal: OffDiagonalTest

    def rows(self) -> list[list[str]]:
        """The table as words: a heading, then ∂μ and ∂ω of every task and head."""
        mu, omega, mu_error, omega_error = self.gradient.spectral()
        found = [["gradient in", *self.closures, "sampled attention"]]
        for place, (symbol, values, errors) in enumerate((("μ", mu, mu_error), ("ω", omega, omega_error))):
            for task, head in np.ndindex(values.shape):
                cells = [
                    "—" if closure is None else f"{closure[place, task, head]:.4g}"
                    for closure in self.closures.values()
                ]
                measured = f"{values[task, head]:.4g} ± {errors[task, head]:.1g}"
                found.append([f"{symbol} of task {task + 1}, head {head + 1}", *cells, measured])
        return found

    def text(self) -> str:
        """The table and the test as text."""
        rows = self.rows()
        lines = aligned(rows, right=range(1, len(rows[0])))
        return "\n".join([*lines, "± one standard error", self.off_diagonal.text()])

    def to_json(self) -> dict[str, Any]:
        """The table and the test as a JSON object."""
        names = ("mu", "omega", "mu_error", "omega_error")
        return {
            **json_object(self.problem.to_dict(), None),
            "initial": self.weights.to_dict(),
            "closures": {
                name: None if values is None else {"mu": values[0].tolist(), "omega": values[1].tolist()}
                for name, values in self.closures.items()
            },
            "sampled": {
                **{name: part.tolist() for name, part in zip(names, self.gradient.spectral(), strict=True)},
                "n_samples": self.gradient.n_samples,
                "seed": self.gradient.seed,
                "averaged": self.gradient.averaged,
            },
            "off_diagonal": self.off_diagonal.to_json(),
        }


@takes(problem=Problem, weights=InitialState)
def compare_gradients(
    problem: Problem, weights: InitialState, n_samples: int = 20_000, seed: int = 0, progress: bool = False
) -> GradientTable:
    """The gradient of the risk at ``weights`` in every closure beside that of the real softmax attention.

    Gradients in W and U (no factors): that in ω_i^h moves all d_i coordinates of a task.  Regressors and noise are
    averaged exactly, but not for the test of what is off the diagonal, which so holds for every entry.

    Parameters
    ----------
    weights
        Signed μ and ω of shape (I, H).
    n_samples, seed
        Prompts, at least 1000; see `population_gradient` and `off_diagonal_test`.

    Raises `InputError` for what is not allowed.
    """
    placed = AttentionWeights.spectral(problem, weights.mu, weights.omega)
    return GradientTable(
        problem,
        weights,
        {closure: _reduced(problem, weights, closure) for closure in CLOSURES},
        population_gradient(problem, placed, n_samples, seed, progress=progress),
        off_diagonal_test(problem, placed, n_samples, seed, averaged=False, progress=progress),
    )


def _reduced(problem: Problem, weights: InitialState, closure: str) -> FloatArray | None:
    """∂𝓛/∂μ and ∂𝓛/∂ω of the reduced loss, from the merged flow: ω̇_i = −(∂𝓛/∂ω_i)/d_i."""
    system = gradient_flow("merged", closure)
    if violation(system.domain, weights.omega) is not None:
        return None
    velocity = compile_system(system).velocity.bind(problem.float_values())
    state = np.concatenate([weights.mu.ravel(), weights.omega.ravel()])
    with np.errstate(all="ignore"):
        gradient: FloatArray = -velocity(state).reshape(2, problem.n_tasks, problem.n_heads)
    gradient[1] *= np.array(problem.dims)[:, None]
    return gradient if np.isfinite(gradient).all() else None
