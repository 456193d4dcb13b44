"""The optimum over all weights with H heads: μ eliminated, and the exact infimum (derived here).

Eliminating μ leaves ``𝓛 = Σ_i λ_i c_i/(c_i + x_i)`` with ``x_i = d_i ω_iᵀ C⁻¹ ω_i``.  The theorem: for every problem
the infimum is the minimum of that sum over ``0 ≤ x_i ≤ 1``, ``Σ_i x_i ≤ R_H`` with ``R_1 = 1/e`` and ``R_H = H − 1``
for H ≥ 2.  ``theory.optima.optimum_proof`` carries the proof, ``theory.optima.water_filling`` solves the
minimisation exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

from sympy import (
    Eq,
    Expr,
    IndexedBase,
    Integer,
    Max,
    Min,
    Piecewise,
    Rational,
    S,
    Symbol,
    diff,
    exp,
    expand,
    limit,
    oo,
    simplify,
    solve,
)
from sympy.core.relational import Relational

from .. import notation as n
from ..closed_form import HasValues, Value, parameters_of, to_float
from ..derivation import Derivation, Recorder
from ..errors import InputError
from ..flows.flow import attention_gradient
from ..grounds import DEFINITION
from ..indexed import (
    Definition,
    contract_inverse,
    difference_is_zero,
    fold,
    normalise,
    replace_indexed,
    rule,
    substitute,
)
from ..printing import Equation
from ..result import Result, builder
from ..scalars import only, plain_symbols, positive_solution, summand
from ..whole import whole
from .optimum_proof import SCHUR, expressed, optimum_proof
from .water_filling import WaterFilling, water_filling

budget = Symbol("R_H", positive=True)
infimum = Symbol("infimum", positive=True)
water_level = Symbol("nu", positive=True)


@dataclass(frozen=True, repr=False)
class Elimination(Result):
    """The loss with μ at its best for given ω: ``loss`` in x and c, ``mu`` in ω and C⁻¹."""

    mu: Expr
    expressed: Expr
    loss: Expr
    derivation: Derivation


@builder
def eliminate_mu() -> Elimination:
    """Solve ∂𝓛/∂μ = 0 for μ at given ω and insert it (the loss is a positive definite quadratic in μ)."""
    i, h, k = n.i, n.h, n.k
    base = attention_gradient()
    by_mu = base.partials[0]
    record = Recorder("Elimination of μ")
    record.include(base.derivation)
    inverse = n.interaction_inverse
    aim = n.index("l")
    resolved = contract_inverse(n.over_heads(inverse[aim, h] * by_mu), n.interaction, inverse)
    record(
        "apply the inverse",
        (S.Zero, resolved),
        "Stationarity in μ times C⁻¹, summed over heads: Σ_k C_hk (C⁻¹)_kl = δ_hl frees μ.",
        check=lambda line: difference_is_zero(
            contract_inverse(n.over_heads(n.interaction[h, aim] * (line[1] - line[0]), aim), n.interaction, inverse),
            by_mu,
        ),
    )
    mu = positive_solution(resolved, n.mu[i, aim])
    best_mu = normalise(substitute(mu, {aim: h}))
    record(
        "best mu",
        (n.mu[i, h], best_mu),
        "That equation is linear in μ_i^h.",
        check=lambda line: difference_is_zero(
            contract_inverse(replace_indexed(by_mu, {n.mu: rule(line[0], line[1])}), n.interaction, inverse), S.Zero
        ),
    )
    form = n.dims[i] * n.over_heads(n.omega[i, h] * inverse[h, k] * n.omega[i, k], h, k)
    record("expressed part", (expressed[i], form), "The quadratic form that the heads make of ω_i.", scope=DEFINITION)

    def with_best_mu(expression: Expr) -> Expr:
        replaced = replace_indexed(expression, {n.mu: lambda task, head: substitute(best_mu, {i: task, h: head})})
        return _in_expressed(contract_inverse(replaced, n.interaction, inverse))

    residual_equation = n.residual[i] - with_best_mu(base.definitions[0].body)
    residual = positive_solution(residual_equation, n.residual[i])
    record(
        "residual",
        (n.residual[i], residual),
        "r_i = 1 − Σ_h μ_i^h ω_i^h, with φ_i = c_i L/d_i.",
        check=lambda line: difference_is_zero(residual_equation.xreplace({n.residual[i]: line[1]}), S.Zero),
    )
    task_loss = with_best_mu(summand(base.loss.expression))
    task_loss = plain_symbols(task_loss.xreplace({n.residual[i]: residual})).factored()
    record(
        "loss without mu",
        (n.loss, n.over_tasks(task_loss)),
        "Inserted in the loss; C is positive definite, so this is the minimum over μ. A quadratic is, where it is "
        "stationary, its constant and half of its linear term: λ_i (1 − Σ_h μ_i^h ω_i^h).",
        check=lambda line: difference_is_zero(summand(line[1]), n.signal_power[i] * residual),
        theorem=SCHUR,
    )
    return Elimination(best_mu, form, n.over_tasks(task_loss), record.freeze())


def _in_expressed(expression: Expr) -> Expr:
    """Rewrite ``Σ_hk ω_h (C⁻¹)_hk ω_k`` as x/d and φ as c L/d."""
    i = n.i
    quadratic = IndexedBase("quadratic", nonnegative=True)
    a, b = n.index("h"), n.index("k")
    body = n.over_heads(n.omega[i, a] * n.interaction_inverse[a, b] * n.omega[i, b], a, b)
    folded = fold(expression, Definition(quadratic[i], body))
    in_c = n.noise_to_context[i] * n.context_length / n.dims[i]
    return normalise(folded.xreplace({quadratic[i]: expressed[i] / n.dims[i], n.noise_factor[i]: in_c}))


@dataclass(frozen=True, repr=False)
class MultiHeadOptimum(Value):
    """The infimum of the loss over all weights with H heads: a minimisation over shares, solved exactly.

    ``objective`` is to be minimised over ``0 ≤ x_i ≤ 1``, ``Σ_i x_i ≤ budget``; ``share`` is the minimiser at level ν
    (``interior_share`` before it is cut to [0, 1]).
    """

    objective: Expr
    interior_share: Expr
    share: Expr
    budget: Expr
    derivation: Derivation

    @property
    def expression(self) -> Expr:
        """The objective, in the shares x_i."""
        return self.objective

    @property
    def lines(self) -> tuple[Equation, ...]:
        """The minimisation, with what it is written in."""
        return self.derivation.result.formula

    def solve(self, problem: HasValues, n_heads: int | None = None) -> WaterFilling:
        """The exact minimum and shares, for the problem's own number of heads unless one is given."""
        values = parameters_of(problem)
        heads = values["H"] if n_heads is None else n_heads
        return water_filling(values["lambda"], values["c"], head_budget(heads))

    def exact(self, problem: HasValues, n_heads: int | None = None) -> Expr:
        """The infimum as an exact SymPy number."""
        return self.solve(problem, n_heads).minimum

    def evaluate(self, problem: HasValues, n_heads: int | None = None) -> float:
        """The infimum as a float, rounded once."""
        return to_float(self.exact(problem, n_heads))


def head_budget(n_heads: int) -> Expr:
    """R_H: how much H heads can express in total. R_1 = 1/e, R_H = H − 1."""
    n_heads = whole("the number of heads", n_heads)
    if n_heads < 1:
        raise InputError(f"the number of heads must be at least 1, got {n_heads}")
    return exp(-1) if n_heads == 1 else Integer(n_heads - 1)


@builder
def multi_head_optimum() -> MultiHeadOptimum:
    """The optimum theorem, for every number of heads and every problem."""
    i = n.i
    elimination = eliminate_mu()
    record = Recorder("Optimum over all weights with H heads")
    record.include(elimination.derivation)
    record.include(optimum_proof())
    budget_of_heads = Piecewise((exp(-1), Eq(n.n_heads, 1)), (n.n_heads - 1, True))
    record(
        "budget",
        (budget, budget_of_heads),
        "R_1 from one head, R_H from the induction and its tightness.",
        check=_is_budget,
    )
    plain = plain_symbols(summand(elimination.loss))
    unknown = plain.symbol(expressed[i])
    roots = solve(diff(plain.expression, unknown) + water_level, unknown)
    interior = plain.restored(only(roots, expressed[i]))
    share = Min(1, Max(0, interior))
    slope = diff(plain.expression, unknown) + water_level
    record(
        "water level",
        (expressed[i], share),
        "∂/∂x_i (λ_i c_i/(c_i + x_i) + ν x_i) = 0, cut to [0, 1].",
        check=lambda line: (
            line[1] == Min(1, Max(0, interior)) and simplify(slope.subs(unknown, plain.plain(interior))) == 0
        ),
    )
    record(
        "infimum",
        ((infimum, elimination.loss), (n.over_tasks(expressed[i]), Min(n.n_tasks, budget))),
        "The sum decreases and is convex in each x_i: the water level ν is where the shares use up the budget.",
        check=lambda objective, used: (
            objective[1] == elimination.loss
            and bool(plain.expression.diff(unknown) < 0 < plain.expression.diff(unknown, 2))
            and limit(plain.plain(interior), water_level, 0) == oo
            and bool(limit(plain.plain(interior), water_level, oo) < 0)
            and used[0] == n.over_tasks(expressed[i])
            and [used[1].subs(budget, n.n_tasks * part) for part in (2, Rational(1, 2))] == [n.n_tasks, n.n_tasks / 2]
        ),
        theorem="the conditions of Karush, Kuhn and Tucker",
    )
    return MultiHeadOptimum(elimination.loss, interior, share, budget_of_heads, record.freeze())


def _is_budget(line: tuple[Expr, Expr]) -> bool:
    """Whether R_1 is the value of the step for one head, and R_H, from R_2 = 1 on, grows by one with each head."""
    heads = n.n_heads
    if not isinstance(line[1], Piecewise):
        return False
    (one, single), (many, otherwise) = line[1].args
    return bool(
        single == Eq(heads, 1)
        and otherwise == S.true
        and one == _bound("one head")
        and many.subs(heads, 2) == 1
        and expand(many.subs(heads, heads + 1) - many) == _bound("one more head")
    )


def _bound(label: str) -> Expr:
    """The right side of a step of the proof that is an inequality."""
    (relation,) = optimum_proof()[label].formula
    assert isinstance(relation, Relational)
    return relation.rhs
