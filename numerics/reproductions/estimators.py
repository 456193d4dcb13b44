"""[H25]'s comparison of estimators over L: one head, two heads, a gradient step, a debiased step, ridge.

[H25] is He, Pan, Chen and Yang, arXiv 2503.12734.  The three estimators without softmax are sampled here, averaged
exactly over the query, the regressor and the noise.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ...theory.context.linear_optimum import linear_attention_optimum
from ...theory.context.two_heads import zero_sum_pair
from ...theory.optima.limits import task_allocation_limit
from ..attention import sampled_risk
from ..comparison.closure_table import closure_losses
from ..optima.bayes import bayes_risk
from ..problem.initial import InitialState
from ..problem.problem import FloatArray, Problem
from ..runtime.progress import steps
from .result import Reproduction, Row
from .zero_sum import PUBLISHED_OMEGA, best_pair, pair_problem

LENGTHS: Final = {"small": (20, 40, 80, 160), "paper": (10, 20, 40, 80, 160, 320, 640)}
SAMPLES: Final = {"small": 8000, "paper": 100_000}
_BLOCK: Final = 1000
_SMALL_OMEGA: Final = 0.01  # a pair there is the debiased step up to about d ω⁴

ESTIMATORS: Final = ("one head", "two heads", "gradient step", "debiased step", "ridge")


def one_head(problem: Problem) -> InitialState:
    """The task-allocation limit of the first head; all others are idle."""
    limit = task_allocation_limit()
    mu, omega = np.zeros((2, 1, problem.n_heads))
    mu[0, 0], omega[0, 0] = (float(form.at_tasks(problem)[0]) for form in (limit.mu, limit.omega))
    return InitialState(mu, omega)


def two_heads(problem: Problem) -> InitialState:
    """The zero-sum pair at [H25]'s ω = ±.13 with the best μ of the leading closure."""
    mu = zero_sum_pair().best_mu(problem, PUBLISHED_OMEGA)
    return InitialState([[mu, -mu]], [[PUBLISHED_OMEGA, -PUBLISHED_OMEGA]])


def estimators(settings: str, progress: bool = False) -> Reproduction:
    """The risk of each estimator over the context length, predicted and sampled."""
    lengths, samples = LENGTHS[settings], SAMPLES[settings]
    predicted, measured, error = np.full((3, len(ESTIMATORS), len(lengths)), np.nan)
    table = []
    for column, length in steps(list(enumerate(lengths)), progress, "reproduce"):
        problem = pair_problem(length)
        found = sampled_estimators(problem, samples, seed=0)
        for weights in (one_head(problem), two_heads(problem)):
            risk = sampled_risk(problem, weights.mu, weights.omega, n_samples=samples, seed=0)
            found = np.vstack([found, [risk.value, risk.standard_error]])
        order = [3, 4, 0, 1, 2]
        measured[:, column], error[:, column] = found[order].T
        predicted[:, column] = _predictions(problem)
        for row, name in enumerate(ESTIMATORS):
            first, second, third = (float(array[row, column]) for array in (predicted, measured, error))
            table.append(Row(f"{name}, L = {length}", first, second, third))
    return Reproduction(
        "estimators",
        "Estimators of one task over the context length ([H25]: d = 5, σ² = .1)",
        settings,
        {key: value for key, value in pair_problem().to_dict().items() if key != "context_length"},
        tuple(table),
        {"lengths": np.array(lengths), "predicted": predicted, "measured": measured, "error": error},
        (
            "Predicted: one head (ω = 1/√d) by the leading closure; two heads (ω = ±.13, best μ of the leading "
            "closure) by the first-order one; the gradient step exactly; the debiased step by the best pair at "
            f"ω = ±{_SMALL_OMEGA:g} in the first-order closure; ridge exactly.",
        ),
    )


def _predictions(problem: Problem) -> FloatArray:
    """In the order of `ESTIMATORS`."""
    limit = task_allocation_limit().loss.evaluate(problem)  # ω² = 1/d is beyond where first_order is accurate
    pair = closure_losses(problem, two_heads(problem))[0]["first_order"]
    step = linear_attention_optimum().enough_heads.evaluate(problem)
    debiased = best_pair(problem, _SMALL_OMEGA)[1]
    return np.array([limit, np.nan if pair is None else pair.sum(), step, debiased, bayes_risk(problem).value])


def sampled_estimators(problem: Problem, n_samples: int, seed: int) -> FloatArray:
    """Risk and standard error, (3, 2), of the gradient step, the debiased step and ridge on a single task.

    Steps: ``η S`` applied to the regressor, S the second-moment or the covariance matrix of the tokens, with the η that
    is best for the sampled contexts (a risk that is a quadratic in η; its bias is of the order of the squared error).
    """
    dim, length = problem.dims[0], problem.context_length
    power, noise = float(problem.signal_power[0]) / dim, float(problem.noise_variance)
    rng = np.random.default_rng(seed)
    pieces = []
    for _ in range(max(1, n_samples // _BLOCK)):
        tokens = rng.standard_normal((_BLOCK, length, dim))
        moment = np.swapaxes(tokens, 1, 2) @ tokens / length
        mean = tokens.mean(axis=1)
        centred = moment - mean[:, :, None] * mean[:, None, :]
        values = np.linalg.eigvalsh(moment)
        ridge = noise / length * (1 / (values + noise / (power * length))).sum(axis=1)
        pieces.append(
            np.column_stack(
                [*_quadratic(moment, power, noise / length), *_quadratic(centred, power, noise / length), ridge]
            )
        )
    drawn = np.concatenate(pieces)
    found = []
    for first in (0, 2):
        slope, square = drawn[:, first], drawn[:, first + 1]
        rate = slope.mean() / square.mean()
        found.append(power * dim - 2 * rate * slope + rate**2 * square)
    found.append(drawn[:, 4])
    return np.array([[losses.mean(), losses.std(ddof=1) / np.sqrt(len(losses))] for losses in found])


def _quadratic(matrix: FloatArray, power: float, noise: float) -> tuple[FloatArray, FloatArray]:
    """a, b of the risk ``λ − 2 η a + η² b`` of ``η matrix``, of every context."""
    trace = np.trace(matrix, axis1=1, axis2=2)
    return power * trace, power * (matrix**2).sum(axis=(1, 2)) + noise * trace
