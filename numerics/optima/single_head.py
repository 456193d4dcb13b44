"""The best loss of one head in any closure: a closed form where there is one, else a checked minimisation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.optimize import minimize

from ...theory.choices import checked_closure
from ...theory.errors import HypothesisError
from ...theory.flows.flow import gradient_flow
from ...theory.optima.bounds import single_head_optimum
from ...theory.optima.limits import task_allocation_limit
from ...theory.optima.optimum import multi_head_optimum
from ..code import compile_system
from ..flows.domain import largest_omega
from ..problem.problem import FloatArray, Problem

ROUNDING: Final = 2.0**-52
_EMPTY: Final = 1e-5  # of √d ω: below, a task is left out, and its ω at the minimum is 0
_POLISH: Final = 40  # Newton steps at most; five are usual
_CONVERGED: Final = 1e-10  # relative: what the last Newton step may still change of the loss
# At the minimum every √d ω is below 1 in `leading` (where the sum of their squares is 1) and in `finite_d` (where that
# of d ω²/(1 − 2 ω²) is).  Far beyond, the exponentials overflow; a minimum at this bound is none.
_WIDEST: Final = 1.5
# A task whose signal is so much weaker than the strongest one's is lost in the rounding of the loss, which is at least
# 2⁻⁵³ of the strongest signal: it is left out.  So is all that can be learnt under noise so much stronger.
_LOST: Final = Fraction(1, 10**40)


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
    # In units of the strongest signal nothing overflows; the loss is linear in signal powers and noise together.
    strongest = max(one.signal_power)
    if strongest < _LOST * one.noise_variance:
        return SingleHeadLoss(float(sum(one.signal_power)), ROUNDING, False)
    heard = [task for task, power in enumerate(one.signal_power) if power > _LOST * strongest]
    value, error = _Minimisation(one.subset(heard, n_heads=1).in_units_of(strongest), closure).result()
    return SingleHeadLoss(value * float(strongest), error, False)


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
        self._root = np.sqrt(self._dims)
        self._count = problem.n_tasks
        self._most = np.minimum(0.999 * self._root * largest_omega(system), _WIDEST)

    def result(self) -> tuple[float, float]:
        """The least loss, and its relative error."""
        shares = multi_head_optimum().solve(self._problem, 1).shares
        # From √(e x), where `leading` has its minimum, and from equal weights.
        starts = [
            np.sqrt(math.e * np.array([float(share) for share in shares])),
            np.full(self._count, self._count**-0.5),
        ]
        found = [self._polished(self._minimum(np.minimum(start, 0.9 * self._most))) for start in starts]
        value, error = min(found, key=lambda candidate: candidate[0] if candidate[1] < _CONVERGED else np.inf)
        if not error < _CONVERGED:
            raise HypothesisError(
                f"the optimum of one head in the {self._closure} closure",
                f"a minimum with every ω_i < {largest_omega(gradient_flow('merged', self._closure)):.4g}",
                f"none for the dimensions {list(self._problem.dims)} and L = {self._problem.context_length}",
            )
        return value, error

    def _minimum(self, start: FloatArray) -> FloatArray:
        state, gained = self._state(start)
        loss = float(self._loss(state))
        unit = min(loss, gained)  # so that the minimum is not flat, be it the loss that is small or what is gained

        def objective(u: FloatArray) -> tuple[float, FloatArray]:
            state, gained = self._state(u)
            by_u = -self._velocity(state)[self._count :] * self._root
            return (float(self._loss(state)) if loss <= unit else -gained) / unit, by_u / unit

        bounds = [(0.0, most) for most in self._most]
        options: Any = {"ftol": 0.0, "gtol": 1e-12, "maxiter": 500}
        u: FloatArray = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
        return u

    def _state(self, u: FloatArray) -> tuple[FloatArray, float]:
        """(μ, ω) with the best μ, and how much of the loss at μ = 0 it takes away.

        The gradient is affine in each μ_i, and does not couple them: half of its part at μ = 0 is what is gained.
        """
        omega = u / self._root
        flat, steep = (
            self._velocity(np.concatenate([mu, omega]))[: self._count]
            for mu in (np.zeros(self._count), np.ones(self._count))
        )
        mu = flat / (flat - steep)
        return np.concatenate([mu, omega]), float(flat @ mu) / 2

    def _polished(self, u: FloatArray) -> tuple[float, float]:
        """Newton's method on the tasks that are served; the loss, and its relative error from the last step."""
        state, _ = self._state(np.where(u < _EMPTY, 0.0, u))
        served = np.flatnonzero(np.tile(u >= _EMPTY, 2))
        metric = np.concatenate([np.ones(self._count), self._dims])
        value, error = float(self._loss(state)), np.inf
        for _ in range(_POLISH):
            gradient = (-self._velocity(state) * metric)[served]
            hessian = (-self._jacobian(state) * metric[:, None])[np.ix_(served, served)]
            diagonal = np.diag(hessian)
            if not (diagonal > 0).all():  # far from a minimum; not-a-number too
                break
            unit = 1 / np.sqrt(diagonal)  # entries of very different size
            try:
                step = unit * cho_solve(cho_factor(hessian * np.outer(unit, unit)), unit * gradient)
            except LinAlgError:  # not positive definite: far from a minimum
                break
            # Never beyond the domain: there is no loss there.
            ahead = step[len(step) // 2 :] < 0
            room = (self._most / self._root)[served[len(step) // 2 :] - self._count] - state[served[len(step) // 2 :]]
            shrink = min(1.0, float(np.min(room[ahead] / -step[len(step) // 2 :][ahead], initial=np.inf)) / 2)
            state[served] -= shrink * step
            value = float(self._loss(state))
            error = float(gradient @ step) / abs(value) + 8 * ROUNDING
            if error < 16 * ROUNDING:
                break
        inside = state[self._count :] * self._root < 0.998 * self._most
        return value, error if inside.all() else np.inf
