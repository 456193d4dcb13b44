"""Checks of the optimum's corollaries and of shared, split and idle heads on a problem."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sympy import Expr, Integer, N, Rational, S, floor, log, sqrt

from ...theory import notation as n
from ...theory.closed_form import parameters_of, to_float
from ...theory.flows.flow import gradient_flow
from ...theory.flows.symmetry import task_dim, task_power
from ...theory.indexed import substitute, unroll
from ...theory.optima.bounds import universal_lower_bound
from ...theory.optima.corollaries import equal_tasks_optimum, single_head_residuals, universal_bound_reached
from ...theory.optima.limits import task_allocation_limit
from ...theory.optima.optimum import multi_head_optimum
from ...theory.optima.shared_heads import (
    group_size,
    idle_head,
    scaled_weight,
    shared_head,
    split_task,
    task_cost,
)
from ...theory.parameters import PARAMETERS
from ..optima.optimum import search_optimum
from ..problem.problem import Problem
from .finding import NONE_FAILS, Finding, Setting, proof


def bound_reached(setting: Setting) -> Finding:
    """The proof's steps; then for every number of heads up to I + 2 whether infimum and bound are equal, exactly."""
    found = universal_bound_reached()
    steps = proof(found.derivation)
    problem = setting.small(6)
    bound = universal_lower_bound().exact(problem)
    wrong = 0
    for heads in range(1, problem.n_tasks + 3):
        wrong += (multi_head_optimum().exact(problem, heads) == bound) != found.holds(problem, heads)
    problems = tuple(problem.replace(n_heads=heads) for heads in range(1, problem.n_tasks + 3))
    what = "failed proof steps or numbers of heads"
    return Finding("symbolic", steps.measured + wrong, NONE_FAILS, 0.0, what, problem=problems)


def equal_tasks(setting: Setting) -> Finding:
    """The least loss found by a search over all weights of 2 to I + 1 heads, for copies of the first task."""
    steps = proof(equal_tasks_optimum().derivation)
    count = max(2, min(setting.problem.n_tasks, 2 if setting.quick else 3))
    one = setting.problem.subset([0], n_heads=1)
    worst, copies = steps.measured, one.replace(dims=one.dims * count, signal_power=one.signal_power * count)
    problems = tuple(copies.replace(n_heads=heads) for heads in range(2, count + 2))
    for problem in problems:
        exact = to_float(equal_tasks_optimum().exact(problem))
        worst = max(worst, abs(search_optimum(problem, starts=2, seed=setting.seed).loss / exact - 1))
    what = "relative distance of the least loss found to the closed form"
    return Finding("float", worst, 1e-7, 1e-12, what, setting.seed, problem=problems)


def residuals_of_one_head(setting: Setting) -> Finding:
    """Residuals 1 − μ_i ω_i at the best weights of one head that a search finds."""
    found = single_head_residuals()
    steps = proof(found.derivation)
    problem = setting.small(5, n_heads=1)
    searched = search_optimum(problem, starts=2 if setting.quick else 6, seed=setting.seed)
    expected = np.array([to_float(residual) for residual in found.exact(problem)])
    left = 1 - (searched.mu * searched.omega)[:, 0]
    # A task that is left out sits at ω = 0, where the loss is flat to second order in ω²: there r is found last.
    measured = steps.measured + float(np.abs(left - expected).max())
    return Finding("float", measured, 1e-4, 1e-7, "largest deviation of a residual", setting.seed, problem=problem)


def shared_heads(setting: Setting) -> Finding:
    """At high precision: three copies of the first task on one head, the last task on another."""
    found = shared_head()
    steps = proof(found.derivation)
    base = setting.problem.subset(sorted({0, setting.problem.n_tasks - 1}), n_heads=2)
    first, last = (base.subset([place], n_heads=2) for place in (0, base.n_tasks - 1))
    problem = base.replace(dims=first.dims * 3 + last.dims, signal_power=first.signal_power * 3 + last.signal_power)
    heads, sizes = (0, 0, 0, 1), (3, 3, 3, 1)

    def value(expression: Expr, task: int) -> Expr:
        values = parameters_of(problem)
        numbers = {task_dim: values["d"][task], task_power: values["lambda"][task], task_cost: values["c"][task]}
        return expression.subs({**numbers, group_size: sizes[task]})

    mu, omega = (
        [[value(form, task) if heads[task] == head else S.Zero for head in (0, 1)] for task in range(4)]
        for form in (found.mu, found.omega)
    )
    expected = value(found.loss, 0) + value(found.loss, 3)
    point = _Point(problem, mu, omega, setting.digits)
    worst = max([steps.measured, abs(N(point.loss() / expected - 1, setting.digits))])
    for task in range(4):
        for head in (0, 1):
            g_mu, g_omega = point.gradient(task, head)
            off = heads[task] != head
            worst = max(worst, abs(g_omega), (0 if g_mu > 0 else 1) if off else abs(g_mu))
    return Finding("high_precision", float(worst), *setting.residual, "largest residual", problem=problem)


def split_tasks(setting: Setting) -> Finding:
    """At high precision: the last task split over its own head and a further one, in several proportions."""
    found = split_task()
    steps = proof(found.derivation)
    small = setting.small(3)
    count = small.n_tasks
    problem = small.replace(n_heads=count + 1)
    limit = task_allocation_limit()
    worst: Any = steps.measured
    for part in (Rational(1, 3), Rational(7, 2)):
        mu, omega = _allocated(problem)
        total = _of_task(found.total_mu, problem, count - 1)
        mu[-1][-2:] = [part * total, (1 - part) * total]
        omega[-1][-2:] = [_of_task(found.omega, problem, count - 1)] * 2
        point = _Point(problem, mu, omega, setting.digits)
        worst = max(worst, abs(N(point.loss() / limit.loss.exact(problem) - 1, setting.digits)))
        for task in range(count):
            for head in range(count + 1):
                g_mu, g_omega = point.gradient(task, head)
                on = head == task or (task == count - 1 and head == count)
                worst = max(worst, abs(g_omega), abs(g_mu) if on else 0)
    return Finding("high_precision", float(N(worst)), *setting.residual, "largest residual", problem=problem)


def idle_heads(setting: Setting) -> Finding:
    """At high precision: the velocity of a further head with random ω and vanishing μ, beside the allocation limit."""
    found = idle_head()
    steps = proof(found.derivation)
    small = setting.small(3)
    count = small.n_tasks
    problem = small.replace(n_heads=count + 1)
    rng = np.random.default_rng(setting.seed)
    weights = [Rational(int(value), 1000) for value in rng.integers(-3000, 3000, count)]
    mu, omega = _allocated(problem)
    least = min(N(log(mu[task][task], 10)) for task in range(count))
    tiny = Integer(10) ** (floor(least) - setting.digits + 5)  # small beside the heads that serve
    for task, weight in enumerate(weights):
        mu[task][count] = tiny
        omega[task][count] = weight / sqrt(Integer(problem.dims[task]))
    point = _Point(problem, mu, omega, setting.digits)
    worst: Any = steps.measured
    for task, weight in enumerate(weights):
        rate = N(_of_task(found.rate, problem, task).subs(scaled_weight, weight), setting.digits)
        fall, drift = point.velocity(task, count)
        drift *= sqrt(Integer(problem.dims[task])) / rate  # of a weight of size 1, in the time of the fall
        worst = max(worst, abs(-fall / tiny / rate - 1), abs(drift), 0 if rate >= 0 else 1)
    return Finding(
        "high_precision", float(worst), *setting.residual, "largest deviation", setting.seed, problem=problem
    )


def _allocated(problem: Problem) -> tuple[list[list[Expr]], list[list[Expr]]]:
    """μ and ω of the task-allocation limit, task i on head i."""
    limit = task_allocation_limit()
    mu, omega = ([[S.Zero] * problem.n_heads for _ in range(problem.n_tasks)] for _ in range(2))
    for task in range(problem.n_tasks):
        mu[task][task] = _of_task(limit.mu.expression, problem, task)
        omega[task][task] = _of_task(limit.omega.expression, problem, task)
    return mu, omega


class _Point:
    """The balanced flow at given exact weights."""

    def __init__(
        self, problem: Problem, mu: Sequence[Sequence[Expr]], omega: Sequence[Sequence[Expr]], digits: int
    ) -> None:
        self._flow, self._digits = gradient_flow("balanced"), digits + 10  # 10 more: terms cancel
        self._values = {**problem.exact_values(), "mu": mu, "omega": omega}

    def _at(self, expression: Expr, task: int, head: int) -> Expr:
        where = {n.i: Integer(task + 1), n.h: Integer(head + 1)}
        definitions = (*PARAMETERS, *self._flow.definitions)
        return N(unroll(substitute(expression, where), self._values, definitions), self._digits)

    def loss(self) -> Expr:
        return self._at(self._flow.loss, 0, 0)

    def gradient(self, task: int, head: int) -> tuple[Expr, Expr]:
        by_mu, by_omega = self._flow.gradient
        return self._at(by_mu, task, head), self._at(by_omega, task, head)

    def velocity(self, task: int, head: int) -> tuple[Expr, Expr]:
        of_mu, of_omega = self._flow.velocity
        return self._at(of_mu, task, head), self._at(of_omega, task, head)


def _of_task(expression: Expr, problem: Problem, task: int) -> Expr:
    """A closed form of task i at a (0-based) task of the problem."""
    return unroll(substitute(expression, {n.i: Integer(task + 1)}), problem.exact_values(), PARAMETERS)
