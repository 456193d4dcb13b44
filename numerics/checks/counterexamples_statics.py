"""Explorations of limits, optimum, bounds and closures outside their hypotheses."""

from __future__ import annotations

import numpy as np
from sympy import E, N

from ...theory.closed_form import parameters_of, to_float
from ...theory.context.linear_optimum import linear_attention_optimum
from ...theory.families.staircase import linear_staircase
from ...theory.flows.flow import gradient_flow
from ...theory.flows.symmetry import task_dim, task_power
from ...theory.notation import n_heads, n_tasks
from ...theory.optima.bounds import single_head_optimum, universal_lower_bound
from ...theory.optima.corollaries import equal_tasks_optimum
from ...theory.optima.limits import task_allocation_limit
from ...theory.optima.optimum import multi_head_optimum
from ...theory.optima.shared_heads import group_size, shared_head, task_cost
from ..code import compile_system
from ..comparison.closure_table import closure_losses
from ..optima.optimum import search_optimum
from ..optima.reference import realised_limit
from ..optima.single_head import single_head_loss
from ..problem.covariates import CovariateProblem
from ..problem.initial import InitialState
from ..problem.problem import Problem
from ..reproductions.closures import pair_at, single_task_risk
from .exploration import NO_CLAIM, Case, Exploration

TWO = Problem(dims=[10, 10], signal_power=[1, 1], noise_variance=0.1, context_length=1000, n_heads=2)
ONE = TWO.subset([0], n_heads=1)
UNEQUAL = TWO.replace(dims=[5, 15])
SAME = 1e-9
_OWN_HEADS = "I = 2 tasks on heads of their own"


def _limit(case: Case) -> float:
    """The limit of the tasks on as many heads as the problem has: each on its own, or all on one."""
    problem = case.problem
    tasks = range(problem.n_tasks)
    return realised_limit(problem, [[task] for task in tasks] if problem.n_heads >= len(tasks) else [tasks])


def _claimed_limit(problem: Problem) -> float:
    return task_allocation_limit().loss.evaluate(problem.replace(n_heads=problem.n_tasks))


def _single(problem: Problem) -> float:
    return multi_head_optimum().evaluate(problem, 1)


def _formula_of_one_head(problem: Problem) -> float:
    """The closed form for a head that serves every task, put to use for any."""
    return single_head_optimum().form.evaluate(problem)


def _equal_tasks(case: Case) -> float:
    """The closed form for equal tasks, put to use for any."""
    values, found = parameters_of(case.problem), equal_tasks_optimum()
    numbers = {task_power: values["lambda"][0], task_cost: values["c"][0]}
    told = found.expression.subs({**numbers, n_tasks: values["I"], n_heads: values["H"]})
    return abs(to_float(multi_head_optimum().exact(case.problem) / told) - 1)


def _shared(case: Case) -> float:
    """The closed form of a group with its mean d, against the optimum of one head on the group."""
    problem = case.problem
    values = parameters_of(problem.replace(dims=[problem.total_dim // problem.n_tasks] * problem.n_tasks))
    numbers = {task_dim: values["d"][0], task_power: values["lambda"][0], task_cost: values["c"][0]}
    told = shared_head().loss.subs({**numbers, group_size: problem.n_tasks})
    return abs(float(N(told)) / _single(problem) - 1)


def _loss(case: Case) -> float:
    """The population loss at the case's weights."""
    kernel = compile_system(gradient_flow("merged", case.closure)).loss.bind(case.problem.float_values())
    return float(kernel(np.concatenate([case.start.mu.ravel(), case.start.omega.ravel()])))


def _below(case: Case) -> float:
    return 1 - _loss(case) / universal_lower_bound().evaluate(case.problem)


def _below_infimum(case: Case) -> float:
    return 1 - _loss(case) / multi_head_optimum().evaluate(case.problem)


def _searched(case: Case) -> float:
    found = search_optimum(case.problem, starts=2, closure=case.closure).loss
    return 1 - found / universal_lower_bound().evaluate(case.problem)


def _infimum_moved(case: Case) -> float:
    """The least loss found in the case's closure against the infimum of leading."""
    problem = case.problem
    if problem.n_heads == 1:
        found = single_head_loss(problem, case.closure).value
    else:
        found = search_optimum(problem, starts=2, closure=case.closure).loss
    return abs(found / multi_head_optimum().evaluate(problem) - 1)


def _out_of_order(case: Case) -> float:
    """The larger of optimum over limit and limit over single-head optimum."""
    return max(multi_head_optimum().evaluate(case.problem) / _limit(case), _limit(case) / _single(case.problem))


def _sampled(case: Case) -> float:
    """The sampled risk of a pair less its loss in the closure, which both are of order 1/L."""
    losses = closure_losses(case.problem, case.start)[0][case.closure]
    if losses is None:
        return NO_CLAIM
    samples = 4_000_000 // case.problem.context_length
    return abs(single_task_risk(case.problem, case.start, samples, seed=0)[0] - float(losses.sum()))


def _one_head_dearer(case: Case) -> float:
    linear = linear_attention_optimum().exact(case.problem)
    return abs(to_float(linear / multi_head_optimum().exact(case.problem, case.problem.n_heads + 1)) - 1)


def _closures_apart(case: Case) -> float:
    """finite_d against leading for one head at d ω² = 1, relative."""
    return abs(single_head_loss(case.problem, "finite_d").value / _single(case.problem) - 1)


def _leading_time(case: Case) -> float:
    """The exact drop time against 1/(γ ε), at the scale of the case's start."""
    problem = CovariateProblem([1], [1], case.problem.noise_variance, case.problem.context_length, 1)
    scale = float(case.start.mu[0, 0])
    exact, leading = (linear_staircase().times(problem, scale, leading=flag)[0] for flag in (False, True))
    return abs(exact / leading - 1)


def _pair(dim: int, length: int, omega: float, closure: str) -> Case:
    problem = ONE.replace(dims=[dim], context_length=length, n_heads=2)
    return Case(f"d = {dim}, L = {length}, heads at ±{omega:g}", problem, pair_at(omega), closure, "merged")


def _of_length(statement: str, closure: str, hypothesis: str, long: Case, short: Case) -> Exploration:
    what = f"distance of the sampled risk to the {closure} loss"
    return Exploration(statement, hypothesis, "fails", long, short, _sampled, 0.05, 0.005, what)


_FAR = InitialState([[1e4]], [[0.67]])
_ONE_HEAD = Case("both tasks on one head", TWO.replace(n_heads=1))
_OWN = Case(_OWN_HEADS, TWO)
_ALONE = Case("I = 1", ONE)

STATICS: tuple[Exploration, ...] = (
    Exploration(
        "task-allocation-limit",
        "H ≥ I",
        "fails",
        _OWN,
        _ONE_HEAD,
        lambda case: abs(_limit(case) / _claimed_limit(case.problem) - 1),
        1e-6,
        SAME,
        "relative distance of the limit to the claimed one",
    ),
    Exploration(
        "factor-e",
        "H ≥ I",
        "fails",
        _OWN,
        _ONE_HEAD,
        lambda case: _limit(case) / universal_lower_bound().evaluate(case.problem),
        float(E),
        SAME,
        "limit over universal bound",
    ),
    Exploration(
        "separation",
        "H ≥ I",
        "fails",
        _OWN,
        _ONE_HEAD,
        lambda case: _limit(case) / _single(case.problem),
        1 - 1e-6,
        SAME,
        "limit over single-head optimum",
    ),
    Exploration(
        "separation",
        "I ≥ 2",
        "fails",
        _OWN,
        _ALONE,
        lambda case: _limit(case) / _single(case.problem),
        1 - 1e-6,
        SAME,
        "limit over single-head optimum",
    ),
    Exploration(
        "separation-limit",
        "I ≥ 2",
        "fails",
        Case("I = 2, L = 10⁹", TWO.replace(context_length=10**9)),
        Case("I = 1, L = 10⁹", ONE.replace(context_length=10**9)),
        lambda case: _limit(case) / _single(case.problem),
        1 - 1e-6,
        SAME,
        "1/ρ",
    ),
    Exploration(
        "ordering",
        "H ≥ I",
        "still holds",
        _OWN,
        _ONE_HEAD,
        _out_of_order,
        1 + 10 * SAME,
        SAME,
        "larger of optimum over limit and limit over single-head optimum",
    ),
    Exploration(
        "universal-bound",
        "the leading closure",
        "fails",
        Case("ω = .67, μ = 10⁴, leading", ONE, _FAR, "leading", "merged"),
        Case("ω = .67, μ = 10⁴, first_order: unbounded below", ONE, _FAR, "first_order", "merged"),
        _below,
        0,
        SAME,
        "1 − loss over universal bound",
    ),
    Exploration(
        "universal-bound",
        "the leading closure",
        "still holds",
        Case("three heads, leading", TWO.replace(n_heads=3)),
        Case("three heads, finite_d", TWO.replace(n_heads=3), closure="finite_d"),
        _searched,
        10 * SAME,
        SAME,
        "1 − least loss found over universal bound",
    ),
    Exploration(
        "multi-head-optimum",
        "the leading closure",
        "fails",
        Case("ω = .67, μ = 10⁴, leading", ONE, _FAR, "leading", "merged"),
        Case("ω = .67, μ = 10⁴, first_order: no infimum", ONE, _FAR, "first_order", "merged"),
        _below_infimum,
        0,
        SAME,
        "1 − loss over infimum",
    ),
    Exploration(
        "finite-d-bounds",
        "H ≥ 2 for the infimum",
        "fails",
        Case("H = 2, finite_d", ONE.replace(n_heads=2), closure="finite_d"),
        Case("H = 1, finite_d", ONE, closure="finite_d"),
        _infimum_moved,
        1e-3,
        1e-6,
        "relative distance of the least loss in finite_d to the infimum of leading",
    ),
    Exploration(
        "single-head-optimum",
        "H = 1",
        "fails",
        _ONE_HEAD,
        Case("H = 2", TWO),
        lambda case: abs(multi_head_optimum().evaluate(case.problem) / _single(case.problem) - 1),
        1e-6,
        SAME,
        "relative distance of the infimum to the formula of one head",
    ),
    Exploration(
        "single-head-optimum",
        "every task is served",
        "fails",
        Case("λ = (1, 1)", TWO.replace(n_heads=1)),
        Case("λ = (1, .001): the second task is left out", TWO.replace(signal_power=[1, 0.001], n_heads=1)),
        lambda case: abs(_formula_of_one_head(case.problem) / _single(case.problem) - 1),
        1e-6,
        SAME,
        "relative distance of the optimum to the formula",
    ),
    Exploration(
        "equal-tasks-optimum",
        "H ≥ 2",
        "fails",
        _OWN,
        Case("H = 1", TWO.replace(n_heads=1)),
        _equal_tasks,
        1e-6,
        SAME,
        "relative distance of the infimum to the formula",
    ),
    Exploration(
        "equal-tasks-optimum",
        "λ_i = λ and c_i = c for every task",
        "fails",
        _OWN,
        Case("d = (5, 15)", UNEQUAL),
        _equal_tasks,
        1e-6,
        SAME,
        "relative distance of the infimum to the formula at the first task's c",
    ),
    Exploration(
        "shared-head",
        "tasks of equal d and λ",
        "fails",
        _ONE_HEAD,
        Case("d = (5, 15) on one head", UNEQUAL.replace(n_heads=1)),
        _shared,
        1e-6,
        SAME,
        "relative distance of the optimum of the group to the formula at the mean d",
    ),
    _of_length("population-loss", "leading", "L → ∞", _pair(10, 1000, 0.1, "leading"), _pair(10, 4, 0.1, "leading")),
    _of_length("finite-d-loss", "finite_d", "L → ∞", _pair(10, 1000, 0.1, "finite_d"), _pair(10, 4, 0.1, "finite_d")),
    _of_length(
        "first-order-loss", "first_order", "L → ∞", _pair(5, 200, 0.1, "first_order"), _pair(5, 4, 0.1, "first_order")
    ),
    _of_length(
        "first-order-loss",
        "first_order",
        "(ω_i^h)² < 1/6",
        _pair(5, 200, 0.1, "first_order"),
        _pair(5, 200, 0.6, "first_order"),
    ),
    Exploration(
        "closure-limits",
        "d_i → ∞",
        "fails",
        Case("d = 1000, L = 10⁵", ONE.replace(dims=[1000], context_length=10**5)),
        Case("d = 2, L = 200", ONE.replace(dims=[2], context_length=200)),
        _closures_apart,
        1e-2,
        SAME,
        "relative distance of the least losses of one head in finite_d and leading",
    ),
    Exploration(
        "normalisation-costs-a-head",
        "L → ∞ at fixed c_i",
        "fails",
        Case("d = (10⁷, 10⁷), L = 10⁹", TWO.replace(dims=[10**7] * 2, context_length=10**9)),
        Case("d = (1, 1), L = 100", TWO.replace(dims=[1, 1], context_length=100)),
        _one_head_dearer,
        1e-3,
        SAME,
        "relative distance of H linear to H + 1 softmax heads",
    ),
    Exploration(
        "linear-drop-times",
        "ε → 0",
        "fails",
        Case("ε = 10⁻⁴", ONE, InitialState([[1e-4]], [[1e-4]])),
        Case("ε = .5", ONE, InitialState([[0.5]], [[0.5]])),
        _leading_time,
        0.01,
        SAME,
        "relative distance of the time to 1/(γ ε)",
    ),
)
