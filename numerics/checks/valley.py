"""Owns checks of the merged flow's valleys and of its start: laws against integrated trajectories."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from scipy.optimize import brentq

from ...theory.closed_form import parameters_of
from ...theory.errors import HypothesisError
from ...theory.phases.merged_start import merged_start
from ...theory.phases.merged_zero import merged_at_zero
from ..fit import Fit, power_law
from ..initial import InitialState
from ..integrate import integrate_reliably
from ..merged_race import balance_threshold, race
from ..problem import Problem
from ..valley import valley_report
from .finding import NONE_FAILS, Finding, Setting, fitted

# What an exponent (absolute) or a constant (relative) may be off by at the end of an integration.
SAME = 0.005
LOSS_ERROR = 1e-4
# How long, in units of the slowest decay time d/(λc) of weights that do not creep.
LONG = 1e6
_STARTS = 12  # random starts tried until one comes to the valley
_RTOL = 1e-8


def order(setting: Setting) -> Finding:
    """Powers of t for unequal tasks, in both orders: two tasks on three and on four heads, exponents only."""
    problem = setting.problem
    first, power = problem.dims[0], float(problem.signal_power[0])
    two = problem.replace(dims=[first, first + 3], signal_power=[power, 0.6 * power], n_heads=3)
    four = two.replace(n_heads=4)
    valleys = [_laws_of(setting, two, "unpaired valley"), _laws_of(setting, four, "pairs")]
    return _found(setting, valleys, (two, four))


def pairs(setting: Setting) -> Finding:
    """Exponents and constants for two equal tasks on two and on four heads."""
    problems = tuple(_equal(setting, 2, heads) for heads in (2, 4))
    valleys = [_laws_of(setting, problem, "pairs") for problem in problems]
    return _found(setting, map(_with_constants, valleys), problems)


def simplex(setting: Setting) -> Finding:
    """Exponents and constants for two and for three equal tasks on three heads."""
    problems = tuple(_equal(setting, tasks, 3) for tasks in (2, 3))
    valleys = [_laws_of(setting, problem, "unpaired valley") for problem in problems]
    return _found(setting, map(_with_constants, valleys), problems)


def one_task(setting: Setting) -> Finding:
    """Exponents and constants for one task on two heads and on three, of which two merge."""
    problems = tuple(_equal(setting, 1, heads) for heads in (2, 3))
    valleys = [_laws_of(setting, problem, "pairs") for problem in problems]
    return _found(setting, map(_with_constants, valleys), problems)


def start(setting: Setting) -> Finding:
    """Two heads of one task: at two scales every start ends on the side of the threshold on which its Q lies."""
    problem = _equal(setting, 1, 2)
    low, high = balance_threshold(problem, tolerance=0.1)
    rng = np.random.default_rng(setting.seed)
    wrong = 0
    for scale in (1e-3, 1e-5):
        for _ in range(3 if setting.quick else 12):
            mu, omega = (
                scale * rng.standard_normal((2, 1, 2)) / np.array([1, math.sqrt(problem.dims[0])])[:, None, None]
            )
            balance = merged_start().balance_of(problem, 0, mu[0].tolist(), omega[0].tolist())
            merged = race(problem, InitialState(mu=mu, omega=omega)).kind == "identical heads"
            # The threshold is that of small starts: within 5 % of it either side is allowed.
            wrong += (merged and balance < low / 1.05) or (not merged and balance > high * 1.05)
    return Finding(
        "float", float(wrong), NONE_FAILS, 0.0, "starts that end on the wrong side", setting.seed, problem=problem
    )


def emergence(setting: Setting) -> Finding:
    """Growth by T_0 over a range of scales, at long context and for the first task alone: e^{2ρ T_0} ∝ scale^−2."""
    base = _equal(setting, 1, setting.small(3, n_heads=3).n_heads)
    problem = base.replace(context_length=10**6 * base.dims[0])
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
    return fitted("float", laws, 2e-3, 1e-6, setting.seed, problem)


def _equal(setting: Setting, tasks: int, heads: int) -> Problem:
    """That many tasks, all like the problem's first one."""
    problem = setting.problem
    return problem.replace(
        dims=[problem.dims[0]] * tasks, signal_power=[problem.signal_power[0]] * tasks, n_heads=heads
    )


def _with_constants(laws: Sequence[Fit]) -> Sequence[Fit]:
    """The laws, or () if a constant that is due is not known: then there is nothing to compare."""
    return laws if all(law.predicted_constant is not None for law in laws) else ()


def _found(setting: Setting, valleys: Iterable[Sequence[Fit]], problems: tuple[Problem, ...]) -> Finding:
    """The laws of several valleys as a finding; one that no start came to leaves the claim open."""
    each = [tuple(laws) for laws in valleys]
    laws = [law for laws in each for law in laws] if all(each) else []
    return fitted("float", laws, SAME, LOSS_ERROR, setting.seed, problems)


def _laws_of(setting: Setting, problem: Problem, kind: str) -> tuple[Fit, ...]:
    """The laws of the first random start that comes to such a valley; () if none does."""
    rng = np.random.default_rng(setting.seed)
    values = parameters_of(problem)
    unit = max(float(d / (power * c)) for d, power, c in zip(values["d"], values["lambda"], values["c"], strict=True))
    for _ in range(_STARTS):
        shape = (problem.n_tasks, problem.n_heads)
        initial = InitialState(mu=0.03 * rng.standard_normal(shape), omega=0.03 * rng.standard_normal(shape))
        run = integrate_reliably(problem, initial, "merged", t_final=LONG * unit, rtol=_RTOL)
        try:
            report = valley_report(run)
        except HypothesisError:  # identical heads: a minimum, not a valley
            continue
        if report.outcome.kind == kind:
            return report.laws
    return ()
