"""The valleys of equal tasks with their constants: heads as a regular simplex, or as pairs ±ω (derived here).

Both are self-similar: the shape of the heads rests while ρ = |μ| grows (`theory.merged.valley_order`).  By symmetry
each shape is a critical point of the gap at fixed ρ; that flows end there is measured, not proved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

from sympy import (
    Expr,
    IndexedBase,
    Integer,
    KroneckerDelta,
    Matrix,
    Rational,
    S,
    Sum,
    Symbol,
    diff,
    factor,
    factorial,
    powdenest,
    powsimp,
    simplify,
    solve,
    sqrt,
    symbols,
)

from .. import notation as n
from ..closed_form import ClosedForm
from ..derivation import Recorder
from ..hypothesis import Hypothesis, sizes
from ..indexed import Definition, normalise, unroll
from ..optima.approaching_weights import projector_frame, zero_sum_frame
from ..optima.corollaries import EQUAL_TASKS, equal_tasks_optimum
from ..phases.linearised import perturbation
from ..result import builder
from ..scalars import only
from .power_law import PowerLaw, ValleyLaws, time
from .valley_order import coefficient, gap, merged_valley_order, moment_loss, mu_length, rank
from .valley_order import order as order_symbol

fastest = Symbol("gamma_fast", positive=True)
# Length of a head's point √d ω^h, and what the first moments reach: Σ_h μ_i^h √d ω_j^h = κ P_ij.
point_length = Symbol("x", positive=True)
reach = Symbol("kappa", positive=True)
frame = IndexedBase("f", real=True)
projector = IndexedBase("P", real=True)
_gram = IndexedBase("F", real=True)
_power, _cost, _dim = (Symbol(name, positive=True) for name in ("lambda", "c", "d"))
OMEGA_LENGTH = Symbol("abs_omega", positive=True)
MU_LENGTH = Symbol("abs_mu", positive=True)


@dataclass(frozen=True)
class _Shape:
    """A regular arrangement of heads: unit vectors f^h with Σ_h f^h = 0, their inner products, their number."""

    name: str
    order: int
    heads: Expr  # in R
    gram_sum: Callable[[int], Expr]  # Σ_hk F_hk^m, in R
    gram_lines: tuple[tuple[Expr, Expr], ...]
    head_frame: Callable[[int], Matrix]  # (R, H), orthonormal rows, zero-sum
    hypotheses: tuple[Hypothesis, ...]
    rank_definition: Definition
    examples: tuple[tuple[int, int], ...]  # (I, R)
    why: str


def _simplex_sum(power: int) -> Expr:
    total = normalise(n.over_heads(_simplex_gram() ** power, n.h, n.k))
    return factor(total.xreplace({n.n_heads: rank + 1}))


def _simplex_gram() -> Expr:
    return (n.n_heads * KroneckerDelta(n.h, n.k) - 1) / (n.n_heads - 1)


def _pair_sum(power: int) -> Expr:
    """Over both signs of both heads; heads of different pairs are orthogonal."""
    h, k = n.h, n.k
    return sum(
        (
            normalise(Sum((first * second * KroneckerDelta(h, k)) ** power, (h, 1, rank), (k, 1, rank)))
            for first, second in product((1, -1), repeat=2)
        ),
        S.Zero,
    )


def _pair_frame(size: int) -> Matrix:
    return Matrix.hstack(Matrix.eye(size), -Matrix.eye(size)) / sqrt(Integer(2))


UNPAIRED_HEADS = Hypothesis("3 ≤ H ≤ I + 1", lambda values: bool(3 <= values["H"] <= values["I"] + 1), sizes)
PAIRED_HEADS = Hypothesis("H = 2 or H = 2 I", lambda values: values["H"] in (2, 2 * values["I"]), sizes)
SIMPLEX = _Shape(
    "simplex",
    1,
    rank + 1,
    _simplex_sum,
    ((_gram[n.h, n.k], _simplex_gram()), (rank, n.n_heads - 1)),
    lambda size: zero_sum_frame(size + 1),
    (
        EQUAL_TASKS,
        UNPAIRED_HEADS,
    ),
    Definition(rank, n.n_heads - 1),
    ((2, 2), (3, 2)),
    "H heads at the corners of a regular simplex in R = H − 1 directions.",
)
PAIRS = _Shape(
    "pairs",
    2,
    2 * rank,
    _pair_sum,
    ((_gram[n.h, n.k], KroneckerDelta(n.h, n.k) - KroneckerDelta(n.h, n.k + rank)), (rank, n.n_heads / 2)),
    _pair_frame,
    (
        EQUAL_TASKS,
        PAIRED_HEADS,
    ),
    Definition(rank, n.n_heads / 2),
    ((1, 1), (2, 1), (2, 2)),
    "H = 2 R heads in pairs ±ω, head h + R opposite to head h, along R orthogonal directions.",
)


@builder
def simplex_valley() -> ValleyLaws:
    """The valley of I equal tasks with 3 ≤ H ≤ I + 1 heads: gap ~ t^(−1/2), |ω| ~ t^(−1/4), fastest ~ t^(1/2)."""
    return _laws(SIMPLEX)


@builder
def pairs_valley() -> ValleyLaws:
    """The valley of I equal tasks with H = 2 or H = 2I: gap ~ t^(−2/3), |ω| ~ t^(−1/6), fastest ~ t^(1/3)."""
    return _laws(PAIRS)


def _laws(shape: _Shape) -> ValleyLaws:
    valley = merged_valley_order()
    record = Recorder(f"Valley of equal tasks: {shape.name}", ("λ_i, d_i and c_i are the same for all tasks",))
    record.include(valley.derivation)
    i, j, h = n.i, n.j, n.h
    record(
        f"symmetric heads, {shape.name}",
        (
            (n.omega[i, h], point_length * frame[i, h] / sqrt(_dim)),
            (n.mu[i, h], reach * rank / (n.n_heads * point_length) * frame[i, h]),
            (n.over_tasks(frame[i, h] * frame[i, n.k]), _gram[h, n.k]),
            (n.over_heads(frame[i, h] * frame[j, h]), n.n_heads / rank * projector[i, j]),
            *shape.gram_lines,
        ),
        f"{shape.why} P is the projector on these directions, P_ii = R/I. Then Σ_h μ_i^h ω_j^h = κ P_ij/√d at the "
        "least |μ| for given |ω|, and Σ_h μ_i^h = 0.",
    )
    strength = _recorded_reach(record, shape)
    in_rho, own = _recorded_gap(record, shape)
    rate = _recorded_rate(record, shape)
    p, exponents = shape.order, valley.exponents(shape.order)
    rho = valley.rho.xreplace({order_symbol: Integer(p), coefficient: own})
    spread = reach * rank / (sqrt(_dim) * mu_length)  # √H x/√d
    laws = {
        gap: (in_rho, exponents.gap),
        OMEGA_LENGTH: (spread, exponents.omega),
        MU_LENGTH: (mu_length, exponents.mu),
        fastest: (rate, exponents.fastest),
    }
    constants = {}
    for symbol, (form, exponent) in laws.items():
        constant = _tidy(form.xreplace({mu_length: rho}) / time**exponent).xreplace({reach: strength})
        constants[symbol] = _tidy(constant)
    record(
        f"laws of the valley, {shape.name}",
        tuple((symbol, _of_task(constants[symbol]) * time**exponent) for symbol, (_, exponent) in laws.items()),
        "ρ(t) inserted, and κ. |ω|² = Σ_i Σ_h (ω_i^h)², |μ|² likewise; −γ is the most negative eigenvalue.",
        check=lambda: all(not constant.has(time, mu_length, reach) for constant in constants.values()),
    )
    derivation = record.freeze()

    def law(symbol: Symbol, title: str) -> PowerLaw:
        form = ClosedForm(
            f"{title} in the valley ({shape.name})",
            symbol,
            _of_task(constants[symbol]),
            derivation,
            shape.hypotheses,
            (shape.rank_definition,),
        )
        return PowerLaw(form, laws[symbol][1])

    return ValleyLaws(
        p,
        law(gap, "the gap"),
        law(OMEGA_LENGTH, "the length of omega"),
        law(MU_LENGTH, "the length of mu"),
        law(fastest, "the fastest rate"),
        derivation,
    )


def _recorded_reach(record: Recorder, shape: _Shape) -> Expr:
    """κ in the problem's parameters."""
    share = rank / n.n_tasks
    linear = _power * n.n_tasks * ((1 - reach * share / sqrt(_dim)) ** 2 + _cost / _dim * reach**2 * share)
    record(
        f"first moments, {shape.name}",
        (n.loss, linear),
        "The loss at ω → 0: P² = P, so Σ_ij P_ij² = R.",
        check=lambda: all(
            _vanishes(_loss_up_to_one(shape, tasks, size) - _at(linear, tasks, size)) for tasks, size in shape.examples
        ),
    )
    strength = only(solve(diff(linear, reach), reach), reach)

    def is_infimum() -> bool:
        known = equal_tasks_optimum().expression
        for tasks, size in shape.examples:
            heads = shape.heads.xreplace({rank: Integer(size)})
            best = _at(linear.xreplace({reach: strength}), tasks, size)
            if not _vanishes(best - known.subs({n.n_tasks: tasks, n.n_heads: heads})):
                return False
        return True

    return record(
        f"reach, {shape.name}",
        (reach, factor(strength)),
        "Its minimum over κ, the infimum of the optimum theorem.",
        check=is_infimum,
    )[1]


def _recorded_gap(record: Recorder, shape: _Shape) -> tuple[Expr, Expr]:
    """The gap in ρ = |μ| and its coefficient G, both in κ."""
    heads, power = shape.heads, shape.order + 1
    of_length = reach * rank / (sqrt(heads) * point_length)
    record(
        f"lengths, {shape.name}",
        (mu_length, of_length),
        "Σ_i Σ_h (μ_i^h)², each f^h of length one.",
        check=lambda: all(
            _vanishes(sum(entry**2 for entry in _weights(shape, tasks, size)[0]) - _at(of_length, tasks, size) ** 2)
            for tasks, size in shape.examples
        ),
    )
    first = _power * _cost / _dim * (reach * rank / heads) ** 2
    by_point = factor(first * point_length ** (2 * power - 2) * shape.gram_sum(power + 1) / factorial(power))
    lower = [shape.gram_sum(m + 1) for m in range(2, power)]

    def matches() -> bool:
        moments = merged_valley_order().moments
        return all(total == 0 for total in lower) and all(
            _vanishes(_unrolled(moments[power], shape, tasks, size) - _at(by_point, tasks, size))
            for tasks, size in shape.examples
        )

    record(
        f"gap of the shape, {shape.name}",
        ((gap, moment_loss[power]), (moment_loss[power], by_point)),
        f"T_n = λ (c/d) (κ R/H)² x^(2n−2) Σ_hk F_hk^(n+1)/n!; n = {power} is the first n > 1 at which it is not zero.",
        check=matches,
    )
    in_rho = factor(by_point.xreplace({point_length: solve(of_length - mu_length, point_length)[0]}))
    own = factor(in_rho * mu_length ** (2 * shape.order))
    record(
        f"gap in rho, {shape.name}",
        ((gap, in_rho), (coefficient, own)),
        f"x = κ R/(√H ρ): the order is p = {shape.order}.",
        check=lambda: not own.has(mu_length, point_length),
    )
    return in_rho, own


def _recorded_rate(record: Recorder, shape: _Shape) -> Expr:
    """The fastest decay rate in ρ."""
    rate = 2 * _power / _dim * mu_length**2 * (1 / n.n_tasks + _cost / rank)

    def is_eigenvalue() -> bool:
        return all(_fastest_matches(rate, shape, tasks, size) for tasks, size in shape.examples)

    return record(
        f"fastest eigenvalue, {shape.name}",
        (fastest, rate),
        "Of the walls of the valley, for the change of task i's ω alone: Σ_i μ_i μ_iᵀ is ρ²/R times a projector whose "
        "range holds every μ_i, and |μ_i|² = ρ²/I. Coordinates of ω move with weight 1/d.",
        check=is_eigenvalue,
    )[1]


def _fastest_matches(rate: Expr, shape: _Shape, tasks: int, size: int) -> bool:
    """Task 1's own block of the walls at an exact example: its eigenvector μ_1, and its trace."""
    mu, omega = _weights(shape, tasks, size)
    heads = mu.cols
    changes = symbols(f"w1:{heads + 1}", real=True)
    moved = [list(changes), *([S.Zero] * heads for _ in range(tasks - 1))]
    values = {**_values(tasks, mu, omega), str(perturbation(n.omega).label): moved}
    form = unroll(merged_valley_order().curvature, values)
    block = Matrix(heads, heads, lambda a, b: diff(form, changes[int(a)], changes[int(b)]) / (2 * _dim))
    of_point = reach * rank / (sqrt(shape.heads) * point_length)
    expected = _at(rate.xreplace({mu_length: of_point}), tasks, size)
    others = _at((2 * _power * _cost / _dim / rank * mu_length**2).xreplace({mu_length: of_point}), tasks, size)
    first = mu.row(0).T
    return all(_vanishes(entry) for entry in block * first - expected * first) and _vanishes(
        block.trace() - expected - (size - 1) * others
    )


def _weights(shape: _Shape, tasks: int, size: int) -> tuple[Matrix, Matrix]:
    """Exact μ and ω, each (I, H), of a symmetric arrangement."""
    directions = projector_frame([Rational(size, tasks)] * tasks)
    heads = int(shape.heads.xreplace({rank: Integer(size)}))
    vectors = sqrt(Rational(heads, size)) * directions * shape.head_frame(size)
    return reach * size / (heads * point_length) * vectors, point_length / sqrt(_dim) * vectors


def _values(tasks: int, mu: Matrix, omega: Matrix) -> dict[str, object]:
    noise = Symbol("phi", positive=True)
    return {
        "I": tasks,
        "H": mu.cols,
        "lambda": [_power] * tasks,
        "d": [_dim] * tasks,
        "phi": [noise] * tasks,
        "L": noise * _dim / _cost,
        "mu": mu.tolist(),
        "omega": omega.tolist(),
    }


def _unrolled(expression: Expr, shape: _Shape, tasks: int, size: int) -> Expr:
    return unroll(expression, _values(tasks, *_weights(shape, tasks, size)))


def _loss_up_to_one(shape: _Shape, tasks: int, size: int) -> Expr:
    """Signal, T_0 and T_1 at an exact example."""
    moments = merged_valley_order().moments
    signal = n.over_tasks(n.signal_power[n.i] * (1 - n.over_heads(n.mu[n.i, n.h] * n.omega[n.i, n.h])) ** 2)
    return sum((_unrolled(part, shape, tasks, size) for part in (signal, *moments[:2])), S.Zero)


def _at(expression: Expr, tasks: int, size: int) -> Expr:
    return expression.xreplace({n.n_tasks: Integer(tasks), rank: Integer(size)})


def _vanishes(expression: Expr) -> bool:
    return bool(simplify(expression) == 0)


def _tidy(expression: Expr) -> Expr:
    return powsimp(powdenest(factor(expression), force=True), force=True)


def _of_task(expression: Expr) -> Expr:
    return expression.xreplace({_power: n.signal_power[1], _cost: n.noise_to_context[1], _dim: n.dims[1]})
