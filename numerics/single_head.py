"""Owns the best loss of one head in any closure: a closed form where there is one, else a checked minimisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.optimize import minimize

from ..theory.bounds import single_head_optimum
from ..theory.choices import checked_closure
from ..theory.errors import HypothesisError
from ..theory.flow import gradient_flow
from ..theory.limits import task_allocation_limit
from ..theory.optimum import multi_head_optimum
from .codegen import compile_system
from .domain import largest_omega
from .problem import FloatArray, Problem

ROUNDING: Final = 2.0**-52
_EMPTY: Final = 1e-5  # of √d ω: below, a task is left out, and its ω at the minimum is 0
_POLISH: Final = 20  # Newton steps at most; five are usual


@dataclass(frozen=True)
class SingleHeadLoss:
    """The least loss that one head can have on all tasks of a problem, its relative error, and how it was found."""

    value: float
    error: float
    closed_form: bool


def single_head_loss(problem: Problem, closure: str = "leading") -> SingleHeadLoss:
    """The optimum of one head on the tasks of ``problem`` (its number of heads does not matter).

    ``leading`` has a closed form, and so has a single task in every closure; otherwise the generated loss is
    minimised over ω with the best μ for each ω, and polished by Newton steps.

    Raises `HypothesisError` if the closure's loss has no minimum where the closure holds.
    """
    if checked_closure(closure) == "leading":
        return SingleHeadLoss(single_head_optimum().evaluate(problem), ROUNDING, True)
    one = problem.replace(n_heads=1)
    if problem.n_tasks == 1:
        return SingleHeadLoss(task_allocation_limit(closure).loss.evaluate(one), ROUNDING, True)
    return _Minimisation(one, closure).result()


class _Minimisation:
    """The loss of one head over u = √d ω ≥ 0, with μ at its best."""

    def __init__(self, problem: Problem, closure: str) -> None:
        system = gradient_flow("merged", closure)
        compiled = compile_system(system)
        values = problem.float_values()
        self._problem = problem
        self._closure = closure
        self._velocity = compiled.velocity.bind(values)
        self._jacobian = compiled.jacobian.bind(values)
        self._loss = compiled.loss.bind(values)
        self._dims = np.array(problem.dims, dtype=float)
        self._count = problem.n_tasks
        self._most = np.sqrt(self._dims) * largest_omega(system)

    def result(self) -> SingleHeadLoss:
        shares = multi_head_optimum().solve(self._problem, 1).shares
        starts = [np.full(self._count, self._count**-0.5), np.sqrt(np.array([0.01 + float(x) for x in shares]) * np.e)]
        bounds = [(0.0, 0.999 * most) for most in self._most]
        found = [
            minimize(self._profile, np.minimum(start, 0.9 * self._most), jac=True, method="L-BFGS-B", bounds=bounds)
            for start in starts
        ]
        best = min(found, key=lambda candidate: float(candidate.fun)).x
        value, error = self._polished(best)
        return SingleHeadLoss(value, error, False)

    def _state(self, u: FloatArray) -> FloatArray:
        """(μ, ω) with the best μ: the gradient is affine in each μ_i, and does not couple them."""
        omega = u / np.sqrt(self._dims)
        flat, steep = (
            self._velocity(np.concatenate([mu, omega]))[: self._count]
            for mu in (np.zeros(self._count), np.ones(self._count))
        )
        return np.concatenate([flat / (flat - steep), omega])

    def _profile(self, u: FloatArray) -> tuple[float, FloatArray]:
        state = self._state(u)
        by_omega = -self._velocity(state)[self._count :] * self._dims
        return float(self._loss(state)), by_omega / np.sqrt(self._dims)

    def _polished(self, u: FloatArray) -> tuple[float, float]:
        """Newton's method on the tasks that are served; the loss, and its relative error from the last step."""
        state = self._state(np.where(u < _EMPTY, 0.0, u))
        served = np.flatnonzero(np.tile(u >= _EMPTY, 2))
        metric = np.concatenate([np.ones(self._count), self._dims])
        error = np.inf
        for _ in range(_POLISH):
            gradient = (-self._velocity(state) * metric)[served]
            hessian = (-self._jacobian(state) * metric[:, None])[np.ix_(served, served)]
            try:
                step = cho_solve(cho_factor(hessian), gradient)
            except LinAlgError:
                break
            decrease = float(gradient @ step)
            state[served] -= step
            value = float(self._loss(state))
            error = decrease / abs(value) + 8 * ROUNDING
            if error < 16 * ROUNDING:
                break
        inside = state[self._count :] * np.sqrt(self._dims) < 0.998 * self._most
        if not (error < 1e-10 and inside.all()):
            raise HypothesisError(
                f"the optimum of one head in the {self._closure} closure",
                f"a minimum with every ω_i < {largest_omega(gradient_flow('merged', self._closure)):.4g}",
                f"none for the dimensions {list(self._problem.dims)} and L = {self._problem.context_length}",
            )
        return value, error
