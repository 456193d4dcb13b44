"""Checks of the phases of the balanced flow: cascade, who wins, emergence times, late law."""

from __future__ import annotations

from dataclasses import replace

import mpmath
import numpy as np
from sympy import Expr, Integer, N

from ...theory.errors import InputError
from ...theory.flows.flow import gradient_flow
from ...theory.indexed import substitute, unroll
from ...theory.notation import i
from ...theory.optima.limits import task_allocation_limit
from ...theory.parameters import PARAMETERS
from ...theory.phases.cascade import cascade_flow
from ..code import functions
from ..predictions.cascade import cascade, exact_power
from ..predictions.convergence import late_constant
from ..predictions.fit import power_law
from ..problem.initial import InitialState
from ..problem.problem import Problem
from ..trajectory.crossings import emergence_times
from ..trajectory.phases import before_emergence
from ..trajectory.record import State
from .finding import NONE_FAILS, Finding, Setting, fitted, unmeasured

_USUAL = 20  # d for which the scales of starts are small enough
LAW = 0.005  # what an exponent (absolute) or a constant (relative) may be off by
_DIGITS = 160  # scales are 40 of them
# Where the late law is looked for first; later where a flow is not near its limit by 100 times that.
LATE = tuple(10.0**k for k in range(4, 14))
SETTLED = 0.2  # of each task's own limit: the least task may count for nothing in what all can gain
_TIE = 1e-3  # by how much of it each head starts with more than the next, in a start that is all but tied
NEAR = 0.01  # of what the tasks can gain: whatever the law's power, the flow is late then


def waiting_flow(setting: Setting) -> Finding:
    """The full velocity with the first task at rest on the first head: what is left out falls like the scale.

    At many digits and tiny scales: of tasks of very different powers the next order is smaller by far more than the
    scale only then.
    """
    given = setting.problem
    problem = given if given.n_tasks > 1 else given.replace(dims=given.dims * 2, signal_power=given.signal_power * 2)
    others = problem.subset(range(1, problem.n_tasks), n_heads=problem.n_heads)
    occupied = np.arange(problem.n_heads) == 0
    truncated = functions(cascade_flow().system, "mpmath", n_tasks=others.n_tasks, n_heads=others.n_heads)
    full = functions(gradient_flow("balanced"), "mpmath", n_tasks=problem.n_tasks, n_heads=problem.n_heads)
    uniform = np.random.default_rng(setting.seed).uniform(0.5, 1.5, (2, problem.n_tasks, problem.n_heads))
    scales = np.geomspace(1e-40, 1e-38, 7)
    left_out = []
    with mpmath.workdps(_DIGITS):
        rest = np.array([[[mpmath.mpf(N(size, _DIGITS))]] for size in _at_rest(problem)])
        values = {
            **others.exact_values(),
            "d_e": problem.embedding_dim,
            "E": np.where(occupied, mpmath.e + mpmath.mpf(0), mpmath.mpf(1)),
            "P": np.where(occupied, mpmath.mpf(N(exact_power(problem, (0,)), _DIGITS)), mpmath.mpf(0)),
        }
        for scale in map(mpmath.mpf, scales):
            state = scale * rest * uniform  # at their own sizes all entries count alike
            small = state[:, 1:].ravel()
            state[:, 0, :] = np.where(occupied, rest[:, 0], np.stack([0 * occupied, state[1, 0]]))
            exact = full.velocity(state.ravel(), problem.exact_values()).reshape(state.shape)[:, 1:].reshape(2, -1)
            found = truncated.velocity(small, values).reshape(2, -1)
            left_out.append(float(np.max(np.abs(found - exact).max(axis=1) / np.abs(exact).max(axis=1))))
    # With one head it is two: there is no other head to be seen weakly.
    order = 1.0 if problem.n_heads > 1 else 2.0
    law = power_law("neglected part", "scale", scales, left_out, exponent=order, correction=1.0)
    return fitted("float", [law], 0.01, 1e-5, setting.seed, problem)


def who_wins(setting: Setting) -> Finding:
    """Starts at a common ω, at random and all but tied: each task alone goes to the head with the largest μ."""
    wrong, problem = 0, setting.small(3)
    alone = [problem.subset([task], n_heads=problem.n_heads) for task in range(problem.n_tasks)]
    for seed in range(setting.seed, setting.seed + (2 if setting.quick else 10)):
        for task, one in enumerate(alone):
            initial = InitialState.random(one, scale=1e-3, seed=seed + task)
            ranks = initial.mu.argsort().argsort()
            tied = InitialState(mu=initial.mu.mean() * (1 + _TIE * ranks), omega=initial.omega)
            winners = (cascade(one, start).winners[0] for start in (initial, tied))
            wrong += sum(winner != int(initial.mu.argmax()) for winner in winners)
    what = "tasks, each alone, that another head wins"
    return Finding("float", float(wrong), NONE_FAILS, 0.0, what, setting.seed, problem=tuple(alone))


def first_emergence(setting: Setting) -> Finding:
    """T_0 of the full flow over a range of scales: τ/ε with the predicted τ, and a next order smaller by ε."""
    from ..integration.integrate import integrate_reliably

    problem = setting.small(3)
    # What is small is ε √d; in units of the strongest signal times are those of its own growth.
    strongest = max(problem.signal_power)
    scaled = problem.in_units_of(strongest)
    smaller = min(1.0, (_USUAL / max(problem.dims)) ** 0.5)
    scales = smaller * np.geomspace(1e-4, 3e-3, 5 if setting.quick else 9)
    measured, blow_up = [], 0.0
    for scale in scales[::-1]:
        initial = InitialState.random(scaled, scale=float(scale), seed=setting.seed)
        found = cascade(scaled, initial)
        t = found.times[found.order[0]]
        assert t is not None
        blow_up = t * scale
        run = integrate_reliably(scaled, initial, t_final=1.5 * t + 1e3)
        measured.append(min(t for t in emergence_times(run) if t is not None))
    times, constant = np.array(measured[::-1]) / float(strongest), blow_up / float(strongest)
    law = power_law("T_0", "scale", scales, times, exponent=-1.0, constant=constant, correction=1.0)
    return fitted("float", [law], LAW, 1e-6, setting.seed, problem)


def late_law(setting: Setting) -> Finding:
    """𝓛 − limit over two decades of t late on a trajectory: t^−2 with K from the closed form."""
    from ..integration.integrate import integrate_reliably

    problem = setting.with_enough_heads(most=3)
    initial = InitialState.random(problem, seed=setting.seed)

    def open_(why: str) -> Finding:
        return replace(unmeasured(why), problem=problem)

    for begin in LATE:
        run = integrate_reliably(problem, initial, t_final=100 * begin, rtol=1e-12)
        limit, onset = run.phases.limit, run.phases.convergence_onset
        if limit is None:
            continue
        near = run.loss_at(begin) - limit <= NEAR * (before_emergence(problem, float(run.loss[0])) - limit)
        if near and _has_settled(problem, run.at(begin)):
            break
    else:
        return open_(f"the flow has not come near its limit by t = {100 * begin:.0e}")
    if onset is not None and 10 * onset > begin:  # the law is not there yet
        begin = 10 * onset
        run = integrate_reliably(problem, initial, t_final=100 * begin, rtol=1e-12)
    times = np.geomspace(begin, 100 * begin, 9)
    last = run.at(float(times[-1]))
    try:
        constant = late_constant(problem, last.mu, last.omega)
    except InputError as unknown:
        return open_(str(unknown))
    gaps = [run.loss_at(float(t)) - limit for t in times]
    error = float(run.loss_error[-1]) * limit
    if constant == 0:  # one task: no pair is left, and the gap closes exponentially
        return Finding("float", abs(gaps[-1]), 1e-9, error, "gap with one task", setting.seed, problem=problem)
    if min(gaps) <= 0:
        return open_("rounding errors are larger than the gap to the limit")
    if onset is None:
        return open_("the trajectory has no onset of convergence to take the law from")
    law = power_law("gap", "t", times, gaps, exponent=-2.0, constant=constant, correction=-1.0)
    if not law.exponent_error <= LAW:
        return open_("the gap to the limit does not determine an exponent to within the bound")
    return fitted("float", [law], LAW, error / abs(gaps[-1]), setting.seed, problem)


def _at_rest(problem: Problem, task: int = 0) -> tuple[Expr, Expr]:
    """μ and ω of a (0-based) task on a head of its own."""
    limit, values = task_allocation_limit(), problem.exact_values()
    mu, omega = (
        unroll(substitute(form.expression, {i: Integer(task + 1)}), values, PARAMETERS)
        for form in (limit.mu, limit.omega)
    )
    return mu, omega


def _has_settled(problem: Problem, state: State) -> bool:
    """Whether each task's largest product μ ω is near that of the limit: weak tasks count as much as strong ones."""
    limits = np.array([float(mu * omega) for mu, omega in (_at_rest(problem, task) for task in range(problem.n_tasks))])
    products = (state.mu * state.omega).max(axis=1)
    return bool((np.abs(products - limits) <= SETTLED * limits).all())
