"""The bounds around the limit: universal lower bound, single-head optimum, factor e and separation.

All follow from the optimum theorem and the task-allocation limit; derived here ([C24] has the separation up to
constants).
"""

from __future__ import annotations

from dataclasses import dataclass

from sympy import Dummy, Expr, KroneckerDelta, Le, Lt, Mul, S, Symbol, cancel, exp, limit, oo, simplify, sqrt

from .. import notation as n
from ..closed_form import ClosedForm, HasValues, Value
from ..derivation import Derivation, Recorder
from ..indexed import difference_is_zero, inline, normalise, replace_indexed
from ..parameters import PARAMETERS
from ..printing import Equation
from ..result import builder
from ..scalars import plain_symbols, positive_solution, summand
from .limits import loss_infinity, task_allocation_limit
from .optimum import head_budget, multi_head_optimum, water_level
from .optimum_proof import expressed

universal = Symbol("loss_universal", positive=True)
single_head = Symbol("loss_single", positive=True)
separation_limit_symbol = Symbol("rho", positive=True)


@builder
def universal_lower_bound() -> ClosedForm:
    """Below every loss of every number of heads; the infimum itself iff H ≥ I + 1."""
    i = n.i
    theorem = multi_head_optimum()
    record = Recorder("Universal lower bound")
    record.include(theorem.derivation)
    task = plain_symbols(summand(theorem.objective))
    share = task.symbol(expressed[i])
    full = task.restored(task.expression.xreplace({share: S.One}))
    bound = n.over_tasks(full)

    def theorem_at(value: Expr) -> Expr:
        """The summand of the theorem's objective at that share."""
        return replace_indexed(summand(theorem.objective), {expressed: lambda _: value})

    record(
        "universal bound",
        (universal, bound),
        "λ_i c_i/(c_i + x_i) decreases in x_i and x_i ≤ 1; all x_i = 1 fit in the budget iff R_H ≥ I: H ≥ I + 1.",
        check=lambda line: bool(
            difference_is_zero(line[1], n.over_tasks(theorem_at(S.One))) and task.expression.diff(share) < 0
        ),
    )
    return ClosedForm("the universal lower bound", universal, bound, record.freeze())


@dataclass(frozen=True, repr=False)
class SingleHeadOptimum(Value):
    """The optimum of one head: ``form`` where every task is served, ``evaluate`` for any problem."""

    form: ClosedForm

    @property
    def lines(self) -> list[tuple[Expr, Expr]]:
        """Those of ``form``."""
        return self.form.lines

    @property
    def derivation(self) -> Derivation:
        return self.form.derivation

    @property
    def expression(self) -> Expr:
        """That of ``form``: where every task is served."""
        return self.form.expression

    def exact(self, problem: HasValues) -> Expr:
        """The exact optimum, tasks that one head leaves out included."""
        return multi_head_optimum().exact(problem, n_heads=1)


@builder
def single_head_optimum() -> SingleHeadOptimum:
    """𝓛*_1 where all tasks are active: the budget 1/e shared by water-filling."""
    i = n.i
    theorem = multi_head_optimum()
    record = Recorder("Single-head optimum")
    record.include(theorem.derivation)
    root_level = Symbol("s", positive=True)
    share = theorem.interior_share.subs(water_level, root_level**-2)
    task = plain_symbols(summand(theorem.objective))
    slope = task.expression.diff(task.symbol(expressed[i]))
    record(
        "interior shares",
        (expressed[i], share),
        "Water-filling with no task cut off, s = ν^{−1/2}.",
        check=lambda line: simplify(slope.subs(task.symbol(expressed[i]), task.plain(line[1])) + root_level**-2) == 0,
    )
    used = normalise(n.over_tasks(share))
    level_value = positive_solution(used - head_budget(1), root_level)
    record(
        "level",
        (root_level, level_value),
        "The shares use up the budget R_1 = 1/e.",
        check=lambda line: difference_is_zero(used.xreplace({root_level: line[1]}), head_budget(1)),
    )
    inserted = task.restored(task.expression.xreplace({task.symbol(expressed[i]): share}))
    per_level = normalise(n.over_tasks(plain_symbols(inserted).factored()))
    total = plain_symbols(per_level.xreplace({root_level: level_value})).factored()
    record(
        "in c",
        (single_head, total),
        "Inserted in Σ_i λ_i c_i/(c_i + x_i).",
        check=lambda line: difference_is_zero(
            line[1],
            normalise(n.over_tasks(task.restored(simplify(task.plain(inserted))))).xreplace({root_level: level_value}),
        ),
    )
    in_problem = _in_problem_parameters(total)
    record(
        "single-head optimum",
        (single_head, in_problem),
        "c_i = φ_i d_i/L.",
        check=lambda line: difference_is_zero(line[1], inline(total, PARAMETERS[1:2])),
    )
    return SingleHeadOptimum(ClosedForm("the single-head optimum", single_head, in_problem, record.freeze()))


def _in_problem_parameters(expression: Expr) -> Expr:
    """c_i = φ_i d_i/L put in, sums normalised, and one fraction made of it."""
    opened = normalise(
        replace_indexed(
            expression,
            {n.noise_to_context: lambda task: n.noise_factor[task] * n.dims[task] / n.context_length},
        )
    )
    return plain_symbols(opened).factored()


@dataclass(frozen=True, repr=False)
class FactorE(Value):
    """limit / universal bound ≤ e: ``ratio`` task by task, ``expression`` that of the sums."""

    ratio: Expr
    derivation: Derivation

    @property
    def expression(self) -> Expr:
        """The limit over the bound."""
        return task_allocation_limit().expression / universal_lower_bound().expression

    @property
    def lines(self) -> list[Equation]:
        """The ratio of task i, and the bound."""
        return [*self.derivation["ratio of task i"].formula, *self.derivation.result.formula]

    def exact(self, problem: HasValues) -> Expr:
        """The limit over the bound, at most e; ``HypothesisError`` for H < I."""
        return task_allocation_limit().exact(problem) / universal_lower_bound().exact(problem)


@builder
def factor_e() -> FactorE:
    """The allocation limit is optimal up to the factor e: for all I, H ≥ I, d, L, σ."""
    record = Recorder("Optimal up to the factor e")
    record.include(universal_lower_bound().derivation)
    record.include(task_allocation_limit().derivation)
    at_limit, at_bound = (summand(form.expression) for form in (task_allocation_limit().loss, universal_lower_bound()))
    ratio = plain_symbols(at_limit / at_bound).factored()
    record(
        "ratio of task i",
        (Symbol("q_i"), ratio),
        "The limit's loss of task i over the bound's.",
        check=lambda line: difference_is_zero(line[1] * at_bound, at_limit),
    )
    margin = plain_symbols(exp(1) - ratio).factored()
    record(
        "below e",
        (exp(1) - Symbol("q_i"), margin),
        "Positive, as e > 1: so each task, and with it the sum over tasks, is within the factor e.",
        check=lambda line: difference_is_zero(line[0].xreplace({Symbol("q_i"): ratio}), line[1]) and _positive(line[1]),
    )
    record(
        "factor e",
        Le(loss_infinity, exp(1) * universal),
        "Summed over tasks. The bound is below every loss, so the limit is within e of the optimum for every H ≥ I.",
        check=lambda relation: (
            relation == Le(loss_infinity, exp(1) * universal)
            and all(
                difference_is_zero(n.over_tasks(task), form.expression)
                for task, form in ((at_limit, task_allocation_limit().loss), (at_bound, universal_lower_bound()))
            )
        ),
    )
    return FactorE(ratio, record.freeze())


def _positive(expression: Expr) -> bool:
    """Whether an expression of positive symbols is positive factor by factor."""
    return all(
        bool(factor.is_positive) or bool((factor.evalf() if factor.is_number else factor).is_positive)
        for factor in Mul.make_args(plain_symbols(expression).expression)
    )


@dataclass(frozen=True, repr=False)
class Separation(Value):
    """Single-head optimum over allocation limit: the ratio, and its limit as L → ∞."""

    ratio: Expr
    limit: ClosedForm

    @property
    def derivation(self) -> Derivation:
        return self.limit.derivation

    @property
    def expression(self) -> Expr:
        """The ratio where every task is served by one head."""
        return self.ratio

    @property
    def lines(self) -> list[Equation]:
        """The ratio, and its limit for long contexts."""
        return [(single_head / loss_infinity, self.ratio), *self.limit.lines]

    def exact(self, problem: HasValues) -> Expr:
        """The ratio itself for a problem, exact, tasks that one head leaves out included."""
        return single_head_optimum().exact(problem) / task_allocation_limit().exact(problem)


@builder
def separation() -> Separation:
    """𝓛*_1/𝓛_∞ and its limit as L → ∞, in (1, I] for I ≥ 2 tasks."""
    i, j, length = n.i, n.j, n.context_length
    record = Recorder("Separation of one head from many")
    record.include(single_head_optimum().derivation)
    record.include(task_allocation_limit().derivation)
    shares_of_limit = plain_symbols(summand(multi_head_optimum().objective))
    at_budget = shares_of_limit.restored(
        shares_of_limit.expression.xreplace({shares_of_limit.symbol(expressed[i]): head_budget(1)})
    )
    record(
        "limit as shares",
        (loss_infinity, n.over_tasks(at_budget)),
        "At the limit every task has x_i = 1/e. One head has Σ_i x_i ≤ 1/e, so with I ≥ 2 some task has less "
        "and none more: the limit is strictly below the single head at every L.",
        check=lambda line: difference_is_zero(line[1], task_allocation_limit().loss.expression),
    )
    one = single_head_optimum().form.expression
    many = _in_problem_parameters(task_allocation_limit().loss.expression)
    ratio = one / many
    record(
        "ratio",
        (single_head / loss_infinity, ratio),
        "At finite L, every task active for one head.",
        check=lambda line: (
            line[0] == single_head / loss_infinity
            and difference_is_zero(line[1] * inline(task_allocation_limit().loss.expression, PARAMETERS[1:2]), one)
        ),
    )
    scaled_one, scaled_many = _limit(length * one, length), _limit_of_sum(length * many, length)
    value = plain_symbols(scaled_one / normalise(scaled_many)).factored()
    record(
        "long context",
        (separation_limit_symbol, value),
        "L → ∞: L 𝓛*_1 → e (Σ_i √(λ_i φ_i d_i))² and L 𝓛_∞ → e Σ_i λ_i φ_i d_i.",
        check=lambda line: difference_is_zero(
            line[1] * n.over_tasks(_at_infinite_length(summand(many))), _at_infinite_length(one)
        ),
    )
    weight = sqrt(n.signal_power[i] * n.noise_factor[i] * n.dims[i])
    weight_j = sqrt(n.signal_power[j] * n.noise_factor[j] * n.dims[j])
    lagrange = n.n_tasks * n.over_tasks(weight**2) - n.over_tasks(weight) ** 2
    squares = n.over_tasks((weight - weight_j) ** 2, i, j) / 2
    record(
        "at most I",
        ((lagrange, squares), Le(separation_limit_symbol, n.n_tasks)),
        "Lagrange's identity: equality iff λ_i φ_i d_i = (λ_i + σ²) d_i is the same for all tasks.",
        check=lambda identity, below: (
            difference_is_zero(*identity)
            and difference_is_zero(identity[0], lagrange)
            and below == Le(separation_limit_symbol, n.n_tasks)
            and difference_is_zero(value * n.over_tasks(weight**2), n.over_tasks(weight) ** 2)
        ),
    )
    cross = n.over_tasks(weight) ** 2 - n.over_tasks(weight**2)
    record(
        "more than one",
        ((cross, n.over_tasks((1 - KroneckerDelta(i, j)) * weight * weight_j, i, j)), Lt(1, separation_limit_symbol)),
        "For I ≥ 2 the mixed products are positive: many heads are strictly better.",
        check=lambda identity, above: (
            difference_is_zero(*identity)
            and difference_is_zero(identity[0], cross)
            and above == Lt(1, separation_limit_symbol)
            and difference_is_zero(value * n.over_tasks(weight**2), n.over_tasks(weight) ** 2)
        ),
    )
    return Separation(ratio, ClosedForm("the separation limit", separation_limit_symbol, value, record.freeze()))


def _at_infinite_length(expression: Expr) -> Expr:
    """L times a fraction, at L → ∞: at s = 1/L, in lowest terms, s = 0."""
    s, plain = Dummy("s", positive=True), plain_symbols(expression)
    return plain.restored(cancel(plain.expression.subs(n.context_length, 1 / s) / s).subs(s, 0))


def _limit(expression: Expr, variable: Symbol) -> Expr:
    """Limit at infinity of an expression whose sums do not contain the variable."""
    plain = plain_symbols(expression)
    return plain.restored(limit(plain.expression, variable, oo))


def _limit_of_sum(total: Expr, variable: Symbol) -> Expr:
    """Limit at infinity of a finite sum over tasks, term by term."""
    return n.over_tasks(_limit(summand(total), variable))
