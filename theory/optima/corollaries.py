"""Corollaries of the optimum theorem: when the universal bound is reached, equal tasks, one head in general.

All follow from ``theory.optima.optimum`` and its water-filling solution; derived here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sympy import Eq, Expr, Integer, Max, Min, S, Symbol, cancel, expand, factor, simplify, solve, sympify

from .. import notation as n
from ..closed_form import HasValues, Hypothesis, Value, parameters_of, require, to_float
from ..derivation import Derivation, Recorder
from ..equations import Equations
from ..flows.symmetry import task_power
from ..hypothesis import values_of
from ..indexed import difference_is_zero, normalise, replace_indexed
from ..printing import Equation
from ..result import builder
from ..scalars import only, plain_symbols, positive_solution, summand
from .bounds import universal, universal_lower_bound
from .optimum import head_budget, infimum, multi_head_optimum, water_level
from .optimum_proof import expressed
from .shared_heads import task_cost

least_heads = Symbol("H_min", integer=True, positive=True)
# The water level of one head in the problem's own parameters: ν/L.
own_level = Symbol("nu_1", positive=True)
common_share = Symbol("x", positive=True)


@dataclass(frozen=True, repr=False)
class BoundReached(Value):
    """The universal bound is the infimum itself iff H ≥ ``least_heads`` = I + 1."""

    least_heads: Expr
    derivation: Derivation

    @property
    def expression(self) -> Expr:
        """The least number of heads."""
        return self.least_heads

    @property
    def lines(self) -> list[Equation]:
        """The condition."""
        return list(self.derivation.result.formula)

    def exact(self, problem: HasValues) -> Expr:
        """The least number of heads for a problem."""
        return self.least_heads.subs(n.n_tasks, values_of(problem)["I"])

    def holds(self, problem: HasValues, n_heads: int | None = None) -> bool:
        """Whether it is for a problem, with its own number of heads unless one is given."""
        values = values_of(problem)
        heads = values["H"] if n_heads is None else n_heads
        return bool(heads >= self.least_heads.subs(n.n_tasks, values["I"]))


@builder
def universal_bound_reached() -> BoundReached:
    """Exactly when all shares x_i = 1 fit in the budget R_H is the universal bound the infimum."""
    theorem = multi_head_optimum()
    record = Recorder("When the universal bound is reached")
    record.include(theorem.derivation)
    record.include(universal_lower_bound().derivation)
    task = plain_symbols(summand(theorem.objective))
    slope = factor(cancel(task.expression.diff(task.symbol(expressed[n.i]))))
    record(
        "full shares needed",
        (n.over_tasks(expressed[n.i]), n.n_tasks),
        "Each λ_i c_i/(c_i + x_i) falls strictly in x_i: the sum is the bound only where every x_i = 1.",
        check=lambda line: (
            line == (n.over_tasks(expressed[n.i]), n.n_tasks)
            and bool(slope.is_negative)
            and difference_is_zero(normalise(replace_indexed(line[0], {expressed: lambda _: S.One})), line[1])
        ),
    )
    (one, _), (many, _) = theorem.budget.args
    enough = only(solve(many - n.n_tasks, n.n_heads), n.n_heads)
    record(
        "heads for the universal bound",
        (Eq(least_heads, enough), Eq(infimum, universal)),
        "R_H = H − 1 grows with H and is I at H = I + 1; R_1 = 1/e < 1 ≤ I never suffices.",
        check=lambda least, reached: bool(
            reached == Eq(infimum, universal)
            and least.lhs == least_heads
            and many.diff(n.n_heads) == 1
            and one < 1
            and many.subs(n.n_heads, least.rhs) == n.n_tasks
        ),
    )
    return BoundReached(enough, record.freeze())


EQUAL_TASKS = Hypothesis(
    "equal tasks (the same d and λ)",
    lambda values: len(set(zip(values["d"], values["lambda"], strict=True))) == 1,
    lambda values: f"d = {tuple(values['d'])}, λ = {tuple(map(str, values['lambda']))}",
)
MANY_HEADS = Hypothesis(
    "at least two heads (H ≥ 2)", lambda values: bool(values["H"] >= 2), lambda values: f"H = {values['H']}"
)


@dataclass(frozen=True, repr=False)
class EqualTasksOptimum(Value):
    """The infimum for I equal tasks and H ≥ 2 heads: ``expression`` in λ, c, I, H, and the share of every task."""

    share: Expr
    expression: Expr
    derivation: Derivation

    @property
    def lines(self) -> list[Equation]:
        """The infimum."""
        return list(self.derivation.result.formula)

    def exact(self, problem: HasValues) -> Expr:
        """The infimum for a problem; ``HypothesisError`` unless its tasks are equal and H ≥ 2."""
        values = parameters_of(problem)
        require("the optimum of equal tasks", (EQUAL_TASKS, MANY_HEADS), values)
        numbers = {task_power: values["lambda"][0], task_cost: values["c"][0]}
        return self.expression.subs({**numbers, n.n_tasks: values["I"], n.n_heads: values["H"]})


@builder
def equal_tasks_optimum() -> EqualTasksOptimum:
    """``inf 𝓛_H = λ I c/(min(1, (H − 1)/I) + c)`` for H ≥ 2."""
    theorem = multi_head_optimum()
    record = Recorder("Optimum for equal tasks", ("λ_i = λ and c_i = c for every task, and H ≥ 2",))
    record.include(theorem.derivation)

    def at_equal(expression: Expr) -> Expr:
        equal = {n.signal_power: task_power, n.noise_to_context: task_cost, expressed: common_share}
        return normalise(replace_indexed(expression, {base: (lambda _, own=own: own) for base, own in equal.items()}))

    interior = at_equal(theorem.interior_share)
    marginal = -at_equal(summand(theorem.objective)).diff(common_share)
    record(
        "equal shares",
        (expressed[n.i], Min(1, Max(0, interior))),
        "At equal λ, c every task has the same share x of the same water level.",
        check=lambda line: (
            n.i not in line[1].free_symbols
            and line[1] == Min(1, Max(0, interior))
            and simplify(marginal.subs(common_share, interior) - water_level) == 0
        ),
    )
    (many, _) = theorem.budget.args[1]
    used = at_equal(n.over_tasks(expressed[n.i]))
    full = only(solve(used - many, common_share), common_share)
    share = Min(1, full)
    record(
        "share of each",
        (common_share, share),
        "I x = R_H = H − 1 uses the budget up, unless all are full.",
        check=lambda line: isinstance(line[1], Min) and _least(n.n_tasks * line[1]) == {n.n_tasks, n.n_heads - 1},
    )
    total = at_equal(theorem.objective).xreplace({common_share: share})
    record(
        "optimum for equal tasks",
        (infimum, total),
        "Inserted in Σ_i λ_i c_i/(c_i + x_i).",
        check=lambda line: difference_is_zero(
            line[1].xreplace({share: common_share}), n.n_tasks * at_equal(summand(theorem.objective))
        ),
    )
    return EqualTasksOptimum(share, total, record.freeze())


@dataclass(frozen=True, repr=False)
class SingleHeadResiduals(Equations):
    """The best single head in general: what is left of task i, ``residual`` = r_i = 1 − μ_i ω_i in the level ν_1.

    ``budget`` is the left side of ``budget = 1``, the equation for ν_1; ``level_of_share`` is ν_1 where the share x_i
    of a served task is known.
    """

    residual: Expr
    budget: Expr
    level_of_share: Expr
    derivation: Derivation

    @property
    def expression(self) -> Expr:
        """That of the residual of task i."""
        return self.residual

    @property
    def lines(self) -> list[Equation]:
        """The residual, and the equation for ν_1."""
        return [(n.residual[n.i], self.residual), (self.budget, Integer(1))]

    def evaluate(self, problem: HasValues) -> tuple[float, ...]:
        """The residuals as floats, each rounded once."""
        return tuple(map(to_float, self.exact(problem)))

    def exact(self, problem: HasValues) -> tuple[Expr, ...]:
        """The residuals of a problem's tasks at the optimum of one head, exact; 1 for a task that is left out."""
        values, level = parameters_of(problem), self.level(problem)
        return tuple(
            self.residual.xreplace({own_level: level, **_numbers_of_task(values, task)})
            for task in range(int(values["I"]))
        )

    def level(self, problem: HasValues) -> Expr:
        """ν_1, exact, from a task that is served."""
        solution = multi_head_optimum().solve(problem, 1)
        task = solution.partial[0]
        numbers = {expressed[n.i]: solution.shares[task], n.context_length: sympify(parameters_of(problem)["L"])}
        return self.level_of_share.xreplace({**numbers, **_numbers_of_task(parameters_of(problem), task)})


def _numbers_of_task(values: Mapping[str, Any], task: int) -> dict[Expr, Expr]:
    names = {"d": n.dims, "lambda": n.signal_power, "phi": n.noise_factor}
    return {base[n.i]: sympify(values[name][task]) for name, base in names.items()}


@builder
def single_head_residuals() -> SingleHeadResiduals:
    """``r_i = min(1, √(φ_i d_i ν/λ_i))`` with ``(e/L) Σ_i d_i φ_i (√(λ_i/(φ_i d_i ν)) − 1)_+ = 1``."""
    i = n.i
    theorem = multi_head_optimum()
    record = Recorder("Residuals of the best single head", ("H = 1",))
    record.include(theorem.derivation)
    (_, left) = theorem.derivation["residual"].formula[0]
    served = plain_symbols(left.xreplace({expressed[i]: theorem.interior_share}))
    in_level = _in_own_level(served.factored())
    record(
        "residual of a served task",
        (n.residual[i], in_level),
        "r_i = c_i/(c_i + x_i) at the water level ν = L ν_1, with c_i = φ_i d_i/L.",
        check=lambda line: difference_is_zero(line[1] ** 2, _squared_residual()),
    )
    unserved = left.xreplace({expressed[i]: S.Zero})
    residual = Min(unserved, in_level)
    record(
        "residual of one head",
        (n.residual[i], residual),
        "A task is left out (x_i = 0, r_i = 1) where its share would be negative: there r_i would exceed 1. "
        "No share reaches 1, as R_1 = 1/e < 1.",
        check=lambda line: (
            line[1] == Min(1, in_level)
            and bool(unserved == 1 and head_budget(1) < 1)
            and _exceeds_one_where_negative(left)
        ),
    )
    share = _in_own_level(theorem.interior_share)
    weight = n.noise_factor[i] * n.dims[i]
    served_share = Max(0, normalise(share * n.context_length / weight))
    used = n.over_tasks(weight * served_share) / (n.context_length * head_budget(1))
    record(
        "level of one head",
        (used, S.One),
        "Σ_i x_i = R_1 = 1/e, negative shares cut off; the sum falls in ν_1 while positive: there is one solution.",
        check=lambda line: (
            line[1] == 1
            and _is_cut(line[0], share, weight)
            and bool(plain_symbols(share).expression.diff(own_level).is_negative)
        ),
    )
    level = positive_solution(share - expressed[i], own_level)
    record(
        "level from a share",
        (own_level, level),
        "The share of a served task, solved for the level.",
        check=lambda line: _is_zero(share.xreplace({own_level: line[1]}) - expressed[i]),
    )
    return SingleHeadResiduals(residual, used, level, record.freeze())


def _in_own_level(expression: Expr) -> Expr:
    """c_i = φ_i d_i/L and ν = L ν_1 put in."""
    i, length = n.i, n.context_length
    cost = n.noise_factor[i] * n.dims[i] / length
    return normalise(expression.xreplace({n.noise_to_context[i]: cost, water_level: length * own_level}))


def _exceeds_one_where_negative(left: Expr) -> bool:
    """c/(c + x) − 1 has the sign of −x (for c + x > 0)."""
    plain = plain_symbols(left)
    share = plain.symbol(expressed[n.i])
    whole = plain.expression.as_numer_denom()[1]
    return bool(cancel((plain.expression - 1) * whole + share) == 0)


def _squared_residual() -> Expr:
    """r² by the water level itself: −∂/∂x_i (λ_i c_i/(c_i + x_i)) = λ_i r_i²/c_i = L ν_1."""
    i = n.i
    return own_level * n.noise_factor[i] * n.dims[i] / n.signal_power[i]


def _is_cut(used: Expr, share: Expr, weight: Expr) -> bool:
    """Whether a sum is 1/R_1 times Σ_i x_i, each x_i = ``share`` where that is positive and else nothing."""
    cuts = list(used.atoms(Max))
    if len(cuts) != 1 or set(cuts[0].args) != {S.Zero, inside := _positive_part(cuts[0])}:
        return False
    scale = weight / n.context_length  # what is written before the cut
    opened = used.xreplace({cuts[0]: inside})
    return difference_is_zero(scale * inside, share) and difference_is_zero(
        opened * head_budget(1), n.over_tasks(share)
    )


def _positive_part(cut: Expr) -> Expr:
    (inside,) = (argument for argument in cut.args if argument != 0)
    return inside


def _least(expression: Expr) -> set[Expr]:
    """a and b of min(a, b), times what stands before it."""
    (minimum,) = expression.atoms(Min)
    scale = cancel(expression / minimum)
    return {expand(scale * argument) for argument in minimum.args}


def _is_zero(expression: Expr) -> bool:
    return bool(simplify(plain_symbols(expression).expression) == 0)
