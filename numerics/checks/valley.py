"""Owns checks of the merged flow's valleys and of its start: laws against integrated trajectories."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq

from ...theory.closed_form import parameters_of
from ...theory.errors import HypothesisError
from ...theory.phases.merged_start import merged_start
from ..initial import InitialState
from ..integrate import integrate
from ..merged_race import balance_threshold, race
from ..problem import Problem
from ..valley import MeasuredLaw, valley_report
from .finding import NONE_FAILS, Finding, Setting

# What an exponent or a constant may be off by at the end of an integration, relative.
SAME = 0.02
# How long, in units of the slowest decay time d/(λc) of weights that do not creep.
LONG = 1e6
_STARTS = 12  # random starts tried until one comes to the valley
_RTOL = 1e-8


def order(setting: Setting) -> Finding:
    """Powers of t for unequal tasks, in both orders: two tasks on three and on four heads, exponents only."""
    problem = setting.problem
    first, power = problem.dims[0], float(problem.signal_power[0])
    two = problem.replace(dims=[first, first + 3], signal_power=[power, 0.6 * power], n_heads=3)
    laws = _laws_of(setting, two, "unpaired valley") + _laws_of(setting, two.replace(n_heads=4), "pairs")
    return _compared(setting, laws, "largest relative deviation of an exponent")


def pairs(setting: Setting) -> Finding:
    """Exponents and constants for two equal tasks on two and on four heads."""
    laws = [law for heads in (2, 4) for law in _laws_of(setting, _equal(setting, 2, heads), "pairs")]
    return _compared(setting, laws, "largest relative deviation of an exponent or a constant", constants=True)


def simplex(setting: Setting) -> Finding:
    """Exponents and constants for two and for three equal tasks on three heads."""
    laws = [law for tasks in (2, 3) for law in _laws_of(setting, _equal(setting, tasks, 3), "unpaired valley")]
    return _compared(setting, laws, "largest relative deviation of an exponent or a constant", constants=True)


def one_task(setting: Setting) -> Finding:
    """Exponents and constants for one task on two heads and on three, of which two merge."""
    laws = [law for heads in (2, 3) for law in _laws_of(setting, _equal(setting, 1, heads), "pairs")]
    return _compared(setting, laws, "largest relative deviation of an exponent or a constant", constants=True)


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
    return Finding("float", float(wrong), NONE_FAILS, 0.0, "starts that end on the wrong side", setting.seed)


def emergence(setting: Setting) -> Finding:
    """T_0 at long context, for the first task alone."""
    base = _equal(setting, 1, setting.small(3, n_heads=3).n_heads)
    problem = base.replace(context_length=10**6 * base.dims[0])
    rng = np.random.default_rng(setting.seed)
    measured = 0.0
    for _ in range(2 if setting.quick else 6):
        mu, omega = 1e-3 * rng.standard_normal((2, 1, problem.n_heads))
        told = merged_start().emergence_at(problem, 0, mu[0].tolist(), omega[0].tolist())
        run = integrate(problem, InitialState(mu=mu, omega=omega), "merged", t_final=2 * told, rtol=_RTOL)
        half = float(run.loss[0]) / 2
        found = brentq(lambda t, run=run, half=half: run.loss_at(t) - half, told / 2, 2 * told)
        measured = max(measured, abs(float(found) / told - 1))
    return Finding("float", measured, 2e-3, 1e-6, "largest relative deviation of T_0", setting.seed)


def _equal(setting: Setting, tasks: int, heads: int) -> Problem:
    """That many tasks, all like the problem's first one."""
    problem = setting.problem
    return problem.replace(
        dims=[problem.dims[0]] * tasks, signal_power=[problem.signal_power[0]] * tasks, n_heads=heads
    )


def _laws_of(setting: Setting, problem: Problem, kind: str) -> tuple[MeasuredLaw, ...]:
    """The laws of the first random start that comes to such a valley; () if none does."""
    rng = np.random.default_rng(setting.seed)
    values = parameters_of(problem)
    unit = max(float(d / (power * c)) for d, power, c in zip(values["d"], values["lambda"], values["c"], strict=True))
    for _ in range(_STARTS):
        shape = (problem.n_tasks, problem.n_heads)
        initial = InitialState(mu=0.03 * rng.standard_normal(shape), omega=0.03 * rng.standard_normal(shape))
        run = integrate(problem, initial, "merged", t_final=LONG * unit, rtol=_RTOL)
        try:
            report = valley_report(run)
        except HypothesisError:  # identical heads: a minimum, not a valley
            continue
        if report.outcome.kind == kind:
            return report.laws
    return ()


def _compared(setting: Setting, laws: Sequence[MeasuredLaw], what: str, constants: bool = False) -> Finding:
    """The largest deviation; without any law, or without a constant that is due, unbounded."""
    measured = 0.0 if laws else math.inf
    for law in laws:
        if law.predicted_exponent is None or (constants and law.predicted_constant is None):
            return Finding("float", math.inf, SAME, 0.0, what, setting.seed)
        measured = max(measured, abs(law.exponent / law.predicted_exponent - 1))
        if constants and law.predicted_constant is not None:
            measured = max(measured, abs(law.constant / law.predicted_constant - 1))
    return Finding("float", measured, SAME, 1e-4, what, setting.seed)
