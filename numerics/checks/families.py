"""Checks of the families: linear and softmax attention on coordinates of any variances.

A problem of several tasks is read as one task: its coordinates get variances of their own (seeded), the noise and
the context length are the problem's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from ...theory.families.linear import linear_attention_flow, linear_covariate_loss
from ...theory.families.staircase import linear_staircase
from ...theory.families.warm_up import small_split_flow
from ...theory.indexed import unroll
from ..attention.quadrature import risk_parts
from ..code import compile_system
from ..flows.derived import softmax_covariate_flow
from ..predictions.staircase import StaircaseTable, compare_staircase
from ..problem.covariates import CovariateProblem
from ..problem.problem import FloatArray
from .context import EXACT, EXACT_ROUNDING, SAMPLED, STANDARD_ERRORS
from .extrapolation import RATIO
from .finding import Check, Finding, Setting, proof
from .losses import Left, vanishing
from .one_token import linear_covariate_risk

SCALES = (2e-3, 1e-3)  # of starts, beside the weights at rest
# Context → weights on its labels: (prompts, L, D), (prompts, D) → (prompts, L).
Attention = Callable[[FloatArray, FloatArray], FloatArray]


def linear_loss(setting: Setting) -> tuple[Finding, Finding]:
    """The risk with a full matrix A by exact quadrature, at a short context and at the problem's; and sampled."""
    own = covariates(setting, 3)
    short = covariates(setting, 3, context_length=4)
    rng = np.random.default_rng(setting.seed)
    matrix = rng.standard_normal((3, 3)) / 2
    loss = linear_covariate_loss()
    deviations = []
    for problem in (short, own):
        told = float(unroll(loss.expression, {**problem.exact_values(), "A": matrix.tolist()}, loss.definitions))
        deviations.append(abs(told / linear_covariate_risk(problem, matrix) - 1))
    what = "relative deviation of the loss from quadrature"
    place = f"3 coordinates, L = {short.context_length} and {own.context_length}"
    exact = Finding("float", max(deviations), EXACT, EXACT_ROUNDING, what, setting.seed, problem=place)

    def weights(context: FloatArray, query: FloatArray) -> FloatArray:
        found: FloatArray = np.einsum("nla,ab,nb->nl", context, matrix, query) / short.context_length
        return found

    return exact, _sampled(short, weights, linear_covariate_risk(short, matrix), rng, setting)


def split_flow(setting: Setting) -> Finding:
    """The steps: loss, invariants."""
    del setting
    return proof(linear_attention_flow("split").derivation)


def _rtol(setting: Setting) -> float:
    """Of runs whose deviations are bounded by 1e-5 at least."""
    return 1e-8 if setting.quick else 1e-9


@cache
def _aligned_runs(setting: Setting) -> tuple[StaircaseTable, ...]:
    """The runs that two statements are about, at the scales of `SCALES`."""
    problem = covariates(setting, 3)
    starts = (_small(problem, scale, 3) for scale in SCALES)
    return tuple(compare_staircase(problem, start, "aligned", rtol=_rtol(setting)) for start in starts)


def _small(problem: CovariateProblem, scale: float, factors: int) -> float:
    """The size of a start that is small beside the weights at rest, which are small themselves under strong noise.

    The product of so many ``factors`` is A* of a coordinate there.
    """
    return scale * float(min(1.0, min(linear_staircase().levels(problem)) ** (1 / factors)))


def staircase(setting: Setting) -> Finding:
    """The proof's steps; then runs from small aligned weights: number of drops, and every plateau."""
    steps = proof(linear_staircase().derivation)

    def deviation(table: StaircaseTable) -> float:
        levels = [table.measured[0].before, *(drop.after for drop in table.measured)]
        pairs = zip(levels, table.predicted_losses, strict=True)
        return max(abs(found - wanted) for found, wanted in pairs) / table.predicted_losses[0]

    what = "deviation of the plateaus, relative to the loss at zero"
    found = Finding("float", math.inf, 1e-5, 1e-7, what, problem=covariates(setting, 3))
    return _at_small_scale(found, _aligned_runs(setting), deviation, not steps.measured)


def drop_times(setting: Setting) -> Finding:
    """The proof's steps; then measured times of the drops against the solved flow."""
    steps = proof(linear_staircase().derivation)
    what = "relative deviation of the drop times"
    found = Finding("float", math.inf, 1e-5, 1e-7, what, problem=covariates(setting, 3))
    return _at_small_scale(found, _aligned_runs(setting), lambda table: max(table.time_deviations), not steps.measured)


def cascade(setting: Setting) -> Finding:
    """The steps; then, from a random start at two scales, the number of drops and their times."""
    steps = proof(small_split_flow().derivation)
    problem = covariates(setting, 2)
    starts = (_small(problem, scale, 3) for scale in SCALES)
    tables = [compare_staircase(problem, start, "split", setting.seed, _rtol(setting)) for start in starts]
    what = "relative deviation of the drop times"
    found = Finding("float", math.inf, 2e-3, 1e-4, what, setting.seed, problem=problem)
    return _at_small_scale(found, tables, lambda table: max(table.time_deviations), not steps.measured)


def _at_small_scale(
    found: Finding, tables: Sequence[StaircaseTable], deviation: Callable[[StaircaseTable], float], proved: bool
) -> Finding:
    """The finding with the deviation at the smaller scale; what it fell by from the larger one adds to its error.

    The laws are those of small weights: what falls at least in proportion to the scale refutes nothing yet.
    """
    larger, last = tables
    if not proved or not last.same_number:
        return found
    left = deviation(last)
    fallen = max(0.0, deviation(larger) - left) if larger.same_number else math.inf
    return replace(found, measured=left, error=found.error + fallen)


def merged_drop(setting: Setting) -> Finding:
    """The proof's steps; then one drop of a merged run with equal coordinates, its time and its final loss."""
    steps = proof(linear_staircase().derivation)
    unequal = covariates(setting, 3)
    problem = CovariateProblem(
        [1, 1, 1], [1, 1, 1], unequal.noise_variance, unequal.context_length, max(unequal.n_heads, 2)
    )
    table = compare_staircase(problem, _small(problem, 1e-4, 2), "merged", setting.seed, _rtol(setting))
    worst = math.inf
    if steps.measured == 0 and table.same_number:
        worst = max(*table.time_deviations, table.final_deviation)
    what = "relative deviation of the time and of the final loss"
    # A final loss that is small beside the one at zero is left of terms that cancel.
    rounding = 8 * float(np.finfo(float).eps) * table.predicted_losses[0] / table.predicted_losses[-1]
    return Finding("float", worst, 1e-4, 1e-6 + rounding, what, setting.seed, problem=problem)


def softmax_loss(setting: Setting) -> tuple[Finding, Finding]:
    """The loss with every term of order 1/L against the exact risk as L → ∞, coefficient by coefficient in μ."""
    first = covariates(setting, 2)
    rng = np.random.default_rng(setting.seed)
    power, noise = np.array(first.regressor_variances, float), float(first.noise_variance)
    width = np.array(first.variances, float)
    # Scores ⟨a, x⟩ have variances (Λ_a ω_a x_a)², small enough for the expansion in 1/L.
    scaled = rng.uniform(0.06, 0.12, (2, 2)) * [[1, -1], [1, 1]]
    omega = scaled / width[:, None]
    lengths = [400 * RATIO**place for place in range(6)]
    parts = risk_parts([1, 1], scaled, lengths, 6)
    left = []
    for place, length in enumerate(lengths):
        constant, slopes, pairs = _in_mu(covariates(setting, 2, length), omega)
        linear = -2 * np.einsum("a,ah->h", power * width, parts.linear[place])
        quadratic = np.einsum("a,ahk->hk", power * width, parts.quadratic[place]) + noise * parts.overlap[place]
        signal = float(power @ width)
        missing = [np.array([(signal - constant) / signal]), (linear - slopes) / np.abs(linear)]
        left.append(length * np.concatenate([*missing, ((quadratic - pairs) / (signal + noise)).ravel()]))
    what = "L times what the loss leaves of the coefficients in μ as L → ∞"
    where = f"2 coordinates, L = {lengths[0]} to {lengths[-1]}"
    found = vanishing(Left(what, np.array(left), where, setting.seed))
    # The slopes are differences of losses, to which strong noise adds much that cancels.
    rounding = lengths[-1] * 8 * float(np.finfo(float).eps) * (1 + noise / signal)
    found = replace(found, error=found.error + rounding)
    short = covariates(setting, 2, 50)
    mu = np.array([3.0, -2.0])

    def weights(context: FloatArray, query: FloatArray) -> FloatArray:
        scores = np.exp(np.einsum("nla,ah,na->nlh", context, omega, query))
        pooled: FloatArray = (scores / scores.sum(axis=1, keepdims=True)) @ mu
        return pooled

    at = risk_parts([1, 1], scaled, [50])
    quadratic = np.einsum("a,ahk->hk", power * width, at.quadratic[0]) + noise * at.overlap[0]
    risk = float(power @ width - 2 * (power * width) @ at.linear[0] @ mu + mu @ quadratic @ mu)
    return found, _sampled(short, weights, risk, rng, setting)


def _in_mu(problem: CovariateProblem, omega: FloatArray) -> tuple[float, FloatArray, FloatArray]:
    """Constant, slopes (H,) and quadratic form (H, H) in μ of the softmax loss, a polynomial, from its values."""
    heads = omega.shape[1]
    loss = compile_system(softmax_covariate_flow("first_order")).loss.bind({**problem.float_values(), "H": heads})

    def at(mu: FloatArray) -> float:
        return float(loss(np.concatenate([mu, omega.ravel()])))

    unit, constant = np.eye(heads), at(np.zeros(heads))
    slopes = np.array([(at(row) - at(-row)) / 2 for row in unit])

    def even(mu: FloatArray) -> float:
        return (at(mu) + at(-mu)) / 2 - constant

    pairs = np.array([[(even(one + other) - even(one - other)) / 4 for other in unit] for one in unit])
    return constant, slopes, pairs


def _sampled(
    problem: CovariateProblem, attention: Attention, risk: float, rng: np.random.Generator, setting: Setting
) -> Finding:
    """The sampled risk against the one by quadrature."""
    samples = 100_000 if setting.quick else 1_000_000
    mean, error = sampled(problem, attention, samples, rng)
    what, spread = "relative distance of the sampled risk to the quadrature", STANDARD_ERRORS * error / risk
    return Finding("monte_carlo", abs(mean / risk - 1), SAMPLED, spread, what, setting.seed, problem=problem)


def covariates(setting: Setting, size: int, context_length: int | None = None) -> CovariateProblem:
    """Coordinates of well separated drives, with the noise of the problem and as many heads as coordinates."""
    rng = np.random.default_rng(setting.seed)
    variances = [round(0.6**at * float(rng.uniform(0.9, 1.1)), 4) for at in range(size)]
    length = setting.problem.context_length if context_length is None else context_length
    return CovariateProblem(variances, [1] * size, setting.problem.noise_variance, length, size)


def sampled(
    problem: CovariateProblem, attention: Attention, samples: int, rng: np.random.Generator, chunk: int = 2_000
) -> tuple[float, float]:
    """Mean risk and its standard error; regressors and label noise are averaged exactly, given the tokens."""
    width = np.sqrt(np.array([float(value) for value in problem.variances]))
    power = np.array([float(value) for value in problem.regressor_variances])
    risk = np.zeros(samples)
    for start in range(0, samples, chunk):
        part = risk[start : start + chunk]
        context = rng.standard_normal((len(part), problem.context_length, len(width))) * width
        query = rng.standard_normal((len(part), len(width))) * width
        weights = attention(context, query)
        miss = np.einsum("nl,nla->na", weights, context) - query
        part += (power * miss**2).sum(axis=1) + float(problem.noise_variance) * (weights**2).sum(axis=1)
    return float(risk.mean()), float(risk.std(ddof=1) / math.sqrt(samples))


FAMILY_CHECKS: dict[str, Check] = {
    "linear-covariate-loss": linear_loss,
    "linear-split-flow": split_flow,
    "linear-staircase": staircase,
    "linear-drop-times": drop_times,
    "linear-cascade": cascade,
    "linear-merged-drop": merged_drop,
    "softmax-covariate-loss": softmax_loss,
}
