"""Checks of the merged flow's valleys and of its start: laws against integrated trajectories."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from ...theory.closed_form import parameters_of
from ...theory.errors import HypothesisError, InputError
from ...theory.indexed import unroll
from ...theory.merged.merged_start import merged_start
from ...theory.merged.merged_zero import merged_at_zero
from ...theory.notation import noise_factor
from ...theory.parameters import PARAMETERS
from ...theory.statements import statement
from ..integration.integrate import integrate_reliably
from ..predictions.fit import Fit, power_law
from ..predictions.merged_race import balance_threshold, race
from ..predictions.valley import valley_report
from ..predictions.valley_start import on_axes, valley_start
from ..problem.exact import LARGEST_INTEGER
from ..problem.initial import InitialState
from ..problem.problem import FloatArray, Problem
from .finding import NONE_FAILS, Finding, Setting, fitted, too_long

# What an exponent (absolute) or a constant (relative) may be off by at the end of an integration.
SAME = 0.005
LOSS_ERROR = 1e-4
LONG = 1e6  # how long, in units of the slowest decay time of weights that do not creep
_WIDE = 1.2  # √d ω of the largest head where a run starts near a valley: less takes it longer to be there
_DRIFTS = 2.0  # how often what a law changes over a factor √10 of t fits into its error
_MOST_WEIGHTS = 24  # tasks times heads of a problem that is integrated from many starts
_STARTS = 12  # random starts tried until one comes to the valley
_RTOL = 1e-8
_LONGEST = 100.0  # a logarithm that is beyond any context
_LONG_CONTEXT = 10  # examples per dimension and noise factor, where the problem's own context is too short
_NEAR, _BESIDE = 1.05, 1.06  # how far from a threshold, as a factor, an outcome counts, and is looked for


@dataclass(frozen=True)
class Laws:
    """The laws of one valley, and the most by which an exponent or a constant changes over the last factor √10 of t."""

    laws: tuple[Fit, ...]
    drift: float


def order(setting: Setting) -> Finding:
    """Powers of t where a random start of this problem leads; one task on three heads, in valleys of order 2 and 3."""
    own = setting.small(3)
    own = own if own.n_heads > 1 else own.replace(n_heads=2)
    one = _equal(setting, 1, 3)
    rng = np.random.default_rng(setting.seed)
    valleys = [_laws_of(setting, own)]
    for places in (2, 3):
        points, weights = on_axes(1, 3, places, rng)
        start = valley_start(one, points, _WIDE, weights)
        valleys.append(_laws_from(one, start, places))
    return _found(setting, valleys, (own, one))


def pairs(setting: Setting) -> Finding:
    """Exponents and constants of this problem, if it has equal tasks and paired heads; else of its first task twice."""
    fixed = tuple(_equal(setting, 2, heads) for heads in (2, 4))
    return _of_statement(setting, "merged-valley-pairs", "pairs", fixed)


def simplex(setting: Setting) -> Finding:
    """Exponents and constants of this problem, if it has equal tasks and unpaired heads; else of its first task."""
    fixed = tuple(_equal(setting, tasks, 3) for tasks in (2, 3))
    return _of_statement(setting, "merged-valley-simplex", "unpaired valley", fixed)


def one_task(setting: Setting) -> Finding:
    """Exponents and constants of this problem, if it has one task; else of its first, on two heads and on three."""
    fixed = tuple(_equal(setting, 1, heads) for heads in (2, 3))
    return _of_statement(setting, "merged-valley-one-task", "pairs", fixed)


def start(setting: Setting) -> Finding:
    """Two heads of one task: at two scales every start ends on the side of the threshold on which its Q lies.

    Of random starts, and of those whose sum mode brings Q close to the threshold, on either side of it.
    """
    problem = _equal(setting, 1, 2)
    try:
        low, high = balance_threshold(problem, tolerance=0.02)
    except InputError:  # under strong noise the sum mode hardly grows: no small start shows both ends
        problem = problem.replace(context_length=_LONG_CONTEXT * problem.dims[0] * _noise(problem))
        low, high = balance_threshold(problem, tolerance=0.02)
    rng = np.random.default_rng(setting.seed)
    wrong = 0
    for scale in (1e-3, 1e-5):
        size = scale / np.array([1, math.sqrt(problem.dims[0])])[:, None, None]
        for draw in range(3 if setting.quick else 12):
            weights = size * rng.standard_normal((2, 1, 2))
            together = weights.mean(axis=-1, keepdims=True)
            balance = _balance(problem, weights)
            # Q is proportional to the sum mode.
            beside = [together * (aim / balance - 1) for aim in (low / _BESIDE, high * _BESIDE)]
            for moved in (0 * together, *(beside if draw == 0 else ())):
                mu, omega = weights + moved
                merged = race(problem, InitialState(mu=mu, omega=omega)).kind == "identical heads"
                balance = _balance(problem, weights + moved)
                # The threshold is that of small starts: within 5 % of it either side is allowed.
                wrong += (merged and balance < low / _NEAR) or (not merged and balance > high * _NEAR)
    return Finding(
        "float", float(wrong), NONE_FAILS, 0.0, "starts that end on the wrong side", setting.seed, problem=problem
    )


def _balance(problem: Problem, weights: FloatArray) -> float:
    """Q of a start (2, 1, H) in μ and ω."""
    return merged_start().balance_of(problem, 0, weights[0, 0].tolist(), weights[1, 0].tolist())


def emergence(setting: Setting) -> Finding:
    """Growth by T_0 over a range of scales, at long context and for the first task alone: e^{2ρ T_0} ∝ scale^−2."""
    base = _equal(setting, 1, setting.small(3, n_heads=3).n_heads)
    # By T_0 a pair of heads has d ω² of about √d/4, and what is left of a finite context has grown by its exponential.
    grown = math.exp(min(math.sqrt(base.dims[0]) / 4, _LONGEST))
    length = math.ceil(10**6 * base.dims[0] * _noise(base) * grown)
    if length > LARGEST_INTEGER:
        return too_long(length)
    given = base.replace(context_length=length)
    problem = given.in_units_of(given.signal_power[0])  # growth by T_0 has no unit
    rate = merged_at_zero().evaluate(problem).zero_sum[0]
    rng = np.random.default_rng(setting.seed)
    laws = []
    for draw in range(2 if setting.quick else 6):
        mu, omega = rng.standard_normal((2, 1, problem.n_heads))
        scales = np.geomspace(1e-4, 1e-2, 5)
        growth, predicted = [], 0.0
        for scale in scales[::-1]:
            told = merged_start().emergence_at(problem, 0, (scale * mu[0]).tolist(), (scale * omega[0]).tolist())
            run = integrate_reliably(
                problem, InitialState(mu=scale * mu, omega=scale * omega), "merged", t_final=2 * told, rtol=_RTOL
            )
            half = float(run.loss[0]) / 2
            found = brentq(lambda t, run=run, half=half: run.loss_at(t) - half, told / 2, 2 * told)
            growth.append(math.exp(2 * rate * float(found)))
            predicted = math.exp(2 * rate * told) * scale**2
        laws.append(
            power_law(
                f"e^(2ρ T_0), start {draw + 1}",
                "scale",
                scales,
                growth[::-1],
                exponent=-2.0,
                constant=predicted,
                correction=2.0,
            )
        )
    return fitted("float", laws, 2e-3, 1e-6, setting.seed, given)


def _of_statement(setting: Setting, id: str, kind: str, fixed: tuple[Problem, ...]) -> Finding:
    """Laws of the problem itself, where it satisfies the statement's hypotheses and a start comes to such a valley.

    Else, and where it is too large to try many starts, of smaller ones made of its first task.
    """
    own = setting.problem
    if own.n_tasks * own.n_heads <= _MOST_WEIGHTS and not statement(id).unmet(own):
        found = _with_constants(_laws_of(setting, own, kind))
        if found.laws:
            return _found(setting, [found], (own,))
    return _found(setting, [_with_constants(_laws_of(setting, problem, kind)) for problem in fixed], fixed)


def _noise(problem: Problem) -> int:
    """φ of the first task, rounded up."""
    above: int = math.ceil(unroll(noise_factor[1], problem.exact_values(), PARAMETERS))
    return above


def _equal(setting: Setting, tasks: int, heads: int) -> Problem:
    """That many tasks, all like the problem's first one."""
    problem = setting.problem
    return problem.replace(
        dims=[problem.dims[0]] * tasks, signal_power=[problem.signal_power[0]] * tasks, n_heads=heads
    )


def _with_constants(found: Laws) -> Laws:
    """The laws, or none if a constant that is due is not known: then there is nothing to compare."""
    return found if all(law.predicted_constant is not None for law in found.laws) else Laws((), 0.0)


def _found(setting: Setting, valleys: Iterable[Laws], problems: tuple[Problem, ...]) -> Finding:
    """The laws of several valleys as a finding; one that no start came to leaves the claim open.

    A law is reached as t → ∞.  What fits still change within their range tells how far off it is, and is an error: a
    range that the valley has not come to, or that rounding ends too early, refutes nothing.
    """
    each = list(valleys)
    laws = [law for valley in each for law in valley.laws] if all(valley.laws for valley in each) else []
    error = LOSS_ERROR + max((_DRIFTS * valley.drift for valley in each), default=0.0)
    return fitted("float", laws, SAME, error, setting.seed, problems)


def _laws_of(setting: Setting, problem: Problem, kind: str | None = None) -> Laws:
    """The laws of the first random start that comes to a valley, of that kind if one is given; none if none does."""
    rng = np.random.default_rng(setting.seed)
    for _ in range(_STARTS):
        shape = (problem.n_tasks, problem.n_heads)
        initial = InitialState(mu=0.03 * rng.standard_normal(shape), omega=0.03 * rng.standard_normal(shape))
        found = _laws_from(problem, initial, kind)
        if found.laws:
            return found
    return Laws((), 0.0)


def _laws_from(problem: Problem, initial: InitialState, wanted: str | int | None) -> Laws:
    """The laws of one start, where it comes to a valley of the wanted kind or order; none where it does not."""
    values = parameters_of(problem)
    # How long a valley takes to be reached, and for what is left of other powers of t to be small: longer, the farther
    # c is from 1.
    unit = max(
        float(d / power * max(c, 1 / c)) for d, power, c in zip(values["d"], values["lambda"], values["c"], strict=True)
    )
    run = integrate_reliably(problem, initial, "merged", t_final=LONG * unit, rtol=_RTOL)
    try:
        report = valley_report(run)
        before = valley_report(run, until=report.window[1] / math.sqrt(10))
    except HypothesisError:  # identical heads, which are a minimum, or a valley that is not reached
        return Laws((), 0.0)
    if wanted not in (None, report.outcome.kind, report.outcome.order):
        return Laws((), 0.0)
    drift = max(
        max(abs(late.exponent - early.exponent), abs(late.constant / early.constant - 1))
        for late, early in zip(report.laws, before.laws, strict=True)
    )
    return Laws(report.laws, drift)
