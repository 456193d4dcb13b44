"""The optimum of linear attention over all weights with H heads, exact at finite d and L (derived here).

Eliminating μ leaves a sum over shares x_i, the diagonal of a projector of rank min(H, I): water-filling, attained.
"""

from __future__ import annotations

from dataclasses import dataclass

from sympy import (
    Add,
    Dummy,
    Expr,
    Ge,
    IndexedBase,
    Integer,
    KroneckerDelta,
    Le,
    Min,
    Poly,
    S,
    Symbol,
    cancel,
    denom,
    factor,
    limit,
    oo,
    sqrt,
    symbols,
)
from sympy.core.relational import Relational

from .. import notation as n
from ..closed_form import ENOUGH_HEADS, ClosedForm, HasValues, Value, parameters_of, to_float
from ..derivation import Derivation, Recorder
from ..errors import InputError
from ..indexed import (
    Definition,
    contract_inverse,
    difference_is_zero,
    fold,
    gradient,
    inline,
    normalise,
    replace_indexed,
    rule,
    substitute,
    unroll,
)
from ..optima.optimum import eliminate_mu, multi_head_optimum
from ..optima.optimum_proof import SCHUR_HORN, expressed, gram, is_rotation
from ..optima.water_filling import WaterFilling, water_filling
from ..printing import Equation
from ..result import builder
from ..scalars import plain_symbols, positive_solution, summand
from .linear_attention import EFFECTIVE, effective, linear_attention_loss, linear_loss_symbol

own_gain = IndexedBase("s", real=True)
gram_inverse = n.SymmetricBase("G_inverse", real=True)
projector = n.SymmetricBase("P", real=True)
linear_infimum = Symbol("loss_linear_star", positive=True)
GRAM = Definition(gram[n.h, n.k], n.over_tasks(n.dims[n.i] * n.omega[n.i, n.h] * n.omega[n.i, n.k]))


@dataclass(frozen=True, repr=False)
class LinearAttentionOptimum(Value):
    """The least loss of H linear heads over all weights, attained; exact at finite d and L.

    ``objective`` is to be minimised over ``0 ≤ x_i ≤ 1``, ``Σ_i x_i ≤ min(H, I)``; ``filling`` are the parts
    (f, a, c′) of its terms ``f + a c′/(c′ + x_i)``, ``leading_objective`` is its limit L → ∞ at fixed c_i.
    ``enough_heads`` is the optimum for H ≥ I, ``separate`` the loss of diagonal A, ``homogeneous`` the leading order
    for equal tasks (λ, c).
    """

    objective: Expr
    filling: tuple[Expr, Expr, Expr]
    leading_objective: Expr
    separate: Expr
    enough_heads: ClosedForm
    homogeneous: Expr
    derivation: Derivation

    @property
    def expression(self) -> Expr:
        """The objective, in the shares x_i."""
        return self.objective

    def solve(self, problem: HasValues, n_heads: int | None = None) -> WaterFilling:
        """The exact minimum and shares, for the problem's own number of heads unless one is given."""
        values = parameters_of(problem)
        heads = values["H"] if n_heads is None else n_heads
        if heads < 1:
            raise InputError(f"the number of heads must be at least 1, got {heads}")
        tasks = range(1, int(values["I"]) + 1)
        floors, weights, costs = (
            [unroll(substitute(part, {n.i: Integer(task)}), values) for task in tasks] for part in self.filling
        )
        inner = water_filling(weights, costs, Integer(min(int(heads), len(tasks))))
        minimum = inner.minimum + Add(*floors)
        return WaterFilling(inner.shares, minimum, inner.empty, inner.partial, inner.full)

    def exact(self, problem: HasValues, n_heads: int | None = None) -> Expr:
        """The optimum as an exact SymPy number."""
        return self.solve(problem, n_heads).minimum

    def evaluate(self, problem: HasValues, n_heads: int | None = None) -> float:
        """The optimum as a float, rounded once."""
        return to_float(self.exact(problem, n_heads))

    @property
    def lines(self) -> list[Equation]:
        """What is printed."""
        return list(self.derivation["linear optimum"].formula)


@builder
def linear_attention_optimum() -> LinearAttentionOptimum:
    """The optimum of H linear heads: μ eliminated, then shares on the diagonal of a projector of rank H."""
    record = Recorder("Optimum of linear attention")
    record.include(linear_attention_loss().derivation)
    separate = _separate_tasks(record)
    objective = _without_mu(record)
    _shares(record)
    record(
        "linear optimum",
        ((linear_infimum, objective), (n.over_tasks(expressed[n.i]), Min(n.n_heads, n.n_tasks))),
        "Each term decreases and is convex in x_i; attained at ω = D^{−1/2}V with V the frame of the projector.",
        check=lambda whole, used: (
            whole[1] == objective
            and _decreasing_and_convex(objective)
            and used == (n.over_tasks(expressed[n.i]), Min(n.n_heads, n.n_tasks))
        ),
        theorem="the conditions of Karush, Kuhn and Tucker",
    )
    filling = _as_water_filling(record, objective)
    full = n.over_tasks(_task_at(objective, S.One))
    full = _in_problem_parameters(full)
    record(
        "enough linear heads",
        (linear_infimum, full),
        "H ≥ I: every share is 1. For one task this is its optimum with any number of heads.",
        check=lambda line: difference_is_zero(line[1], _least_separate(separate)),
    )
    leading = n.over_tasks(_limit(summand(objective), n.context_length))
    record(
        "leading linear optimum",
        ((linear_infimum, leading), (n.over_tasks(expressed[n.i]), Min(n.n_heads, n.n_tasks))),
        "L → ∞ at fixed c_i: the softmax objective with R = min(H, I), which is R_{H+1} of softmax attention. H linear "
        "heads equal H + 1 softmax heads: normalisation costs one head.",
        check=lambda whole, used: (
            difference_is_zero(whole[1], eliminate_mu().loss)
            and used == (n.over_tasks(expressed[n.i]), Min(n.n_heads, n.n_tasks))
            and multi_head_optimum().budget.args[1][0].subs(n.n_heads, n.n_heads + 1) == n.n_heads
        ),
    )
    share = Min(1, n.n_heads / n.n_tasks)
    power, cost = Symbol("lambda", positive=True), Symbol("c", positive=True)
    per_task = plain_symbols(summand(leading))

    def at_equal(own_share: Expr) -> Expr:
        """A task's part of the loss at common λ and c."""
        values = {expressed: own_share, n.signal_power: power, n.noise_to_context: cost}
        return per_task.expression.xreplace({per_task.symbol(base[n.i]): value for base, value in values.items()})

    homogeneous = n.n_tasks * at_equal(share)
    record(
        "equal tasks",
        (linear_infimum, homogeneous),
        "Equal λ and c: by convexity and symmetry all shares are min(1, H/I).",
        check=lambda line: (
            difference_is_zero(line[1].xreplace({share: expressed[n.i]}), n.n_tasks * at_equal(expressed[n.i]))
            and n.n_tasks * share.subs(n.n_heads, n.n_tasks / 2) == n.n_tasks / 2
            and share.subs(n.n_heads, 2 * n.n_tasks) == 1
        ),
    )
    derivation = record.freeze()
    enough = ClosedForm("the optimum of linear attention", linear_infimum, full, derivation, (ENOUGH_HEADS,))
    return LinearAttentionOptimum(objective, filling, leading, separate, enough, homogeneous, derivation)


def _separate_tasks(record: Recorder) -> Expr:
    """The loss where every task is served on its own: A_ij = s_i δ_ij."""
    i = n.i
    diagonal = {effective: lambda task, other: own_gain[task] * KroneckerDelta(task, other)}
    task = normalise(replace_indexed(linear_attention_loss().task, diagonal))
    shrink = n.signal_power[i] * (
        (1 - own_gain[i]) ** 2 + own_gain[i] ** 2 * (n.noise_factor[i] * n.dims[i] + 1) / n.context_length
    )
    record(
        "separate tasks",
        (linear_loss_symbol, n.over_tasks(shrink)),
        "A_ij = s_i δ_ij: each task on its own (always so for one task).",
        check=lambda line: difference_is_zero(line[1], n.over_tasks(task)),
    )
    return n.over_tasks(shrink)


def _least_separate(separate: Expr) -> Expr:
    """The minimum over s_i of the separate loss, by its stationary point."""
    plain = plain_symbols(summand(separate))
    gain = plain.symbol(own_gain[n.i])
    stationary = positive_solution(summand(separate).diff(own_gain[n.i]), own_gain[n.i])
    inner = plain_symbols(plain.restored(plain.expression.xreplace({gain: stationary})))
    return n.over_tasks(inner.factored())


def _without_mu(record: Recorder) -> Expr:
    """Eliminate μ at given ω: the loss in the shares x_i = d_i ω_iᵀ G⁻¹ ω_i."""
    i, h, k, length = n.i, n.h, n.k, n.context_length
    task = _in_gram(linear_attention_loss().task)
    record(
        "linear loss in the gram matrix",
        task,
        "A put in; Σ_j d_j ω_j^h ω_j^k = G_hk, r_i = 1 − A_ii: a positive definite quadratic in μ_i.",
        check=lambda line: difference_is_zero(
            inline(line, (_RESIDUAL, GRAM)), inline(linear_attention_loss().task, (EFFECTIVE,))
        ),
    )
    by_mu = gradient(task, n.mu[i, h], (_RESIDUAL,))
    aim = n.index("l")
    resolved = contract_inverse(n.over_heads(gram_inverse[aim, h] * by_mu), gram, gram_inverse)
    best = normalise(substitute(positive_solution(resolved, n.mu[i, aim]), {aim: h}))
    record(
        "best mu of linear heads",
        (n.mu[i, h], best),
        "Stationarity in μ times G⁻¹, solved for μ_i^h.",
        check=lambda line: difference_is_zero(
            contract_inverse(replace_indexed(by_mu, {n.mu: rule(*line)}), gram, gram_inverse), S.Zero
        ),
    )
    quadratic = IndexedBase("quadratic", nonnegative=True)
    body = n.over_heads(n.omega[i, h] * gram_inverse[h, k] * n.omega[i, k], h, k)

    def with_best_mu(expression: Expr) -> Expr:
        put_in = replace_indexed(expression, {n.mu: lambda task, head: substitute(best, {i: task, h: head})})
        folded = fold(contract_inverse(put_in, gram, gram_inverse), Definition(quadratic[i], body))
        in_c = n.noise_to_context[i] * length / n.dims[i]
        return normalise(folded.xreplace({quadratic[i]: expressed[i] / n.dims[i], n.noise_factor[i]: in_c}))

    residual = positive_solution(n.residual[i] - with_best_mu(_RESIDUAL.body), n.residual[i])
    least = with_best_mu(task).xreplace({n.residual[i]: residual})
    least = plain_symbols(least).factored()
    shown = n.signal_power[i] * (1 - expressed[i] / (n.noise_to_context[i] + (1 + 1 / length) * expressed[i]))
    record(
        "linear loss without mu",
        (linear_loss_symbol, n.over_tasks(shown)),
        "Inserted, with x_i = d_i ω_iᵀ G⁻¹ ω_i and c_i = φ_i d_i/L.",
        check=lambda line: difference_is_zero(least, summand(line[1])),
    )
    return n.over_tasks(shown)


_RESIDUAL = Definition(n.residual[n.i], 1 - n.over_heads(n.mu[n.i, n.h] * n.omega[n.i, n.h]))


def _in_gram(task: Expr) -> Expr:
    """Task i's loss with A_ii = 1 − r_i and the sum over j folded into G."""
    i, j, h, k = n.i, n.j, n.h, n.k
    squares = n.over_tasks(n.dims[j] * effective[i, j] ** 2, j)
    held = Dummy("squares", nonnegative=True)
    closed = task.xreplace({squares: held, effective[i, i]: 1 - n.residual[i]})
    if closed.atoms(type(effective[i, j])) & {effective[i, j]}:
        raise ArithmeticError(f"A is left in {closed}")
    form = n.over_heads(n.mu[i, h] * gram[h, k] * n.mu[i, k], h, k)
    return closed.xreplace({held: form})


def _shares(record: Recorder) -> None:
    """What shares are possible: the diagonals of projectors of rank min(H, I)."""
    i, j, h, k = n.i, n.j, n.h, n.k
    m = n.index("m")

    def entry(first: Expr, second: Expr) -> Expr:
        form = n.over_heads(n.omega[first, h] * gram_inverse[h, k] * n.omega[second, k], h, k)
        return sqrt(n.dims[first]) * sqrt(n.dims[second]) * form

    share_body = n.dims[i] * n.over_heads(n.omega[i, h] * gram_inverse[h, k] * n.omega[i, k], h, k)

    def put_in(expression: Expr) -> Expr:
        """P by its entries, Σ_j d_j ω_j ω_jᵀ folded into G and G⁻¹G into deltas."""
        return _contracted(replace_indexed(expression, {projector: entry}))

    record(
        "projector",
        ((expressed[i], projector[i, i]), (n.over_tasks(projector[i, j] * projector[j, m], j), projector[i, m])),
        "P_ij = √(d_i d_j) ω_iᵀ G⁻¹ ω_j is symmetric and P² = P, since Σ_j d_j ω_j ω_jᵀ = G.",
        check=lambda share, idempotent: (
            difference_is_zero(put_in(idempotent[0]), put_in(idempotent[1]))
            and difference_is_zero(put_in(share[1]), share_body)
        ),
    )
    squared_share = expressed[i] - expressed[i] ** 2  # Σ_j P_ij² − P_ii²
    record(
        "linear share at most one",
        (Ge(expressed[i] - expressed[i] ** 2, 0), Le(expressed[i], 1)),
        "P_ii = Σ_j P_ij² ≥ P_ii².",
        check=lambda power, bound: (
            (power.lhs, power.rhs, bound.rhs) == (expressed[i] - expressed[i] ** 2, 0, 1)
            and _says(Ge(squared_share, 0), power)
            and _says(power, bound)
        ),
    )
    trace = n.over_tasks(entry(i, i))
    record(
        "linear budget",
        (n.over_tasks(expressed[i]), n.n_heads),
        "tr P = tr(G⁻¹G) = H for independent heads (H ≤ I); heads beyond that change nothing: R = min(H, I).",
        check=lambda line: line[0] == n.over_tasks(expressed[i]) and difference_is_zero(_contracted(trace), line[1]),
    )
    longer, shorter = symbols("a b", nonnegative=True)
    along = (expressed[i] - shorter) / (longer - shorter)
    record(
        "every split is attained",
        ((expressed[i], along * longer + (1 - along) * shorter),),
        "Every x in [0, 1]^I with Σ_i x_i = min(H, I) is the diagonal of such a projector, P = VVᵀ, ω = D^{−1/2}V, by "
        "rotations of two rows of V, of squared lengths a ≥ x_i ≥ b: the optimum is attained at any scale of ω.",
        check=lambda line: cancel(line[0] - line[1]) == 0 and is_rotation(along, longer, shorter),
        theorem=SCHUR_HORN,
    )


def _says(known: Relational, claimed: Relational) -> bool:
    """Whether one inequality in x_i implies another."""
    x = Symbol("x", real=True)
    ours, theirs = (relation.subs(expressed[n.i], x).as_set() for relation in (known, claimed))
    return ours.is_subset(theirs) is True


def _contracted(expression: Expr) -> Expr:
    """Σ_j d_j ω_j^h ω_j^k folded into G, and G⁻¹ G into deltas."""
    return normalise(contract_inverse(fold(expression, GRAM), gram, gram_inverse))


def _task_at(objective: Expr, share: Expr) -> Expr:
    plain = plain_symbols(summand(objective))
    return plain.restored(plain.expression.xreplace({plain.symbol(expressed[n.i]): share}))


def _in_problem_parameters(total: Expr) -> Expr:
    """c_i = φ_i d_i/L put in, and one fraction per task."""
    ratio = n.noise_factor[n.i] * n.dims[n.i] / n.context_length
    return n.over_tasks(plain_symbols(summand(total).xreplace({n.noise_to_context[n.i]: ratio})).factored())


def _limit(expression: Expr, variable: Symbol) -> Expr:
    plain = plain_symbols(expression)
    return plain.restored(limit(plain.expression, variable, oo))


def _decreasing_and_convex(objective: Expr) -> bool:
    plain = plain_symbols(summand(objective))
    share = plain.symbol(expressed[n.i])
    slope, curvature = (factor(cancel(plain.expression.diff(share, order))) for order in (1, 2))
    return bool(slope.is_negative) and bool(curvature.is_positive)


def _as_water_filling(record: Recorder, objective: Expr) -> tuple[Expr, Expr, Expr]:
    """The parts (f, a, c′) of a term ``f + a c′/(c′ + x)``: its limit, its fall, and minus its pole in x."""
    plain = plain_symbols(summand(objective))
    share = plain.symbol(expressed[n.i])
    slope, constant = Poly(denom(cancel(plain.expression)), share).all_coeffs()
    floor = limit(plain.expression, share, oo)
    fall = cancel(plain.expression.subs(share, 0) - floor)
    parts = tuple(plain.restored(factor(part)) for part in (floor, fall, constant / slope))
    form = parts[0] + parts[1] * parts[2] / (parts[2] + expressed[n.i])
    record(
        "water-filling of linear heads",
        (linear_infimum, n.over_tasks(form)),
        "The same sum as water-filling solves it.",
        check=lambda line: difference_is_zero(summand(line[1]), summand(objective)),
    )
    return parts[0], parts[1], parts[2]
