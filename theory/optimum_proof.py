"""Owns the proof of the optimum theorem: each step an object, and checked wherever computation can check it.

Claim: over all weights of H heads the attainable ``x_i = d_i ω_iᵀ C⁻¹ ω_i`` fill, up to closure from below, the set
``0 ≤ x_i ≤ 1``, ``Σ_i x_i ≤ R_H`` with ``R_1 = 1/e`` (attained) and ``R_H = H − 1`` for H ≥ 2 (approached as ω → 0).
"""

from __future__ import annotations

from functools import cache

from sympy import (
    Expr,
    Ge,
    IndexedBase,
    Le,
    Matrix,
    Rational,
    S,
    Symbol,
    cancel,
    diff,
    exp,
    expand,
    eye,
    factorial,
    limit,
    nsimplify,
    ones,
    solve,
    symbols,
)

from . import notation as n
from .approaching_weights import projector_frame
from .derivation import Derivation, Recorder
from .indexed import difference_is_zero
from .loss import population_loss

# How much of task i's regressor the heads can express: x_i = d_i ω_iᵀ C⁻¹ ω_i.
expressed = IndexedBase("x", nonnegative=True)
gram = n.SymmetricBase("G", real=True)

_g = Symbol("g", real=True)
_p, _q, _s = symbols("p q s", real=True)
# The power series of e^g is compared with g + (non-negative terms) up to this order.
SERIES_ORDER = 12


@cache
def optimum_proof() -> Derivation:
    """The steps (a)–(d) of the proof, for any I and H."""
    record = Recorder("Optimum over the weights of H heads")
    _linear_part(record)
    _one_head(record)
    _further_heads(record)
    _two_heads(record)
    _tightness(record)
    return record.freeze()


def _linear_part(record: Recorder) -> None:
    """(a) each x_i is at most 1, and their sum is a trace."""
    i, h, k = n.i, n.h, n.k
    gram_body = n.over_tasks(n.dims[i] * n.omega[i, h] * n.omega[i, k])
    (interaction,) = (item for item in population_loss().definitions if item.base == n.interaction)
    record(
        "gram matrix",
        (gram[h, k], gram_body),
        "Inner products of the heads; C_hk = e^{G_hk}, entry by entry.",
        check=lambda: difference_is_zero(interaction.body, exp(gram_body)),
    )
    each = n.over_heads(n.omega[i, h] * n.interaction_inverse[h, k] * n.omega[i, k], h, k)
    total = n.over_heads(n.interaction_inverse[h, k] * gram[h, k], h, k)
    record(
        "sum as a trace",
        (n.over_tasks(expressed[i]), total),
        "Σ_i x_i = tr(C⁻¹ G): the sum over tasks goes inside.",
        check=lambda: difference_is_zero(
            n.over_tasks(n.dims[i] * each), n.over_heads(n.interaction_inverse[h, k] * gram_body, h, k)
        ),
    )
    remainder = exp(_g) - _g
    record(
        "C dominates G",
        Ge(n.interaction[h, k] - gram[h, k], 0),
        "As matrices, C ⪰ G: e^g − g has non-negative Taylor coefficients, and entrywise powers of a positive "
        "semidefinite matrix are positive semidefinite (Schur product theorem).",
        check=lambda: all(_coefficient(remainder, order) >= 0 for order in range(SERIES_ORDER)),
    )
    record(
        "each share is at most one",
        Le(expressed[i], 1),
        "C ⪰ G ⪰ d_i ω_i ω_iᵀ = v vᵀ; where C = v vᵀ + K, vᵀC⁻¹v = κ/(1 + κ) with κ = vᵀK⁻¹v ≥ 0 (Sherman–Morrison).",
        check=_rank_one_update,
    )


def _coefficient(function: Expr, order: int) -> Expr:
    return diff(function, _g, order).subs(_g, 0) / factorial(order)


def _rank_one_update() -> bool:
    """vᵀ(vvᵀ + K)⁻¹v = κ/(1 + κ) for a general symmetric 2×2 matrix K and vector v."""
    a, b, c, v1, v2 = symbols("a b c v1 v2", real=True)
    matrix, vector = Matrix([[a, b], [b, c]]), Matrix([v1, v2])
    kappa = (vector.T * matrix.inv() * vector)[0]
    updated = (vector.T * (vector * vector.T + matrix).inv() * vector)[0]
    return bool(cancel(updated - kappa / (1 + kappa)) == 0)


def _one_head(record: Recorder) -> None:
    """(b) H = 1."""
    u = Symbol("u", nonnegative=True)
    total = u * exp(-u)
    stationary = solve(diff(total, u), u)
    record(
        "one head",
        Le(total, total.subs(u, stationary[0])),
        "H = 1: C = e^u with u = Σ_j d_j ω_j², so Σ_i x_i = u e^{−u}, largest at u = 1. Hence R_1 = 1/e, attained, "
        "and every split of it among the tasks is reached by the choice of the ω_j.",
        check=lambda: stationary == [1] and diff(total, u, 2).subs(u, 1) < 0 and limit(total, u, S.Infinity) == 0,
    )


def _further_heads(record: Recorder) -> None:
    """(c) one more head adds at most one."""
    added, whole = Symbol("g_w", nonnegative=True), Symbol("c_w", positive=True)
    record(
        "one more head",
        Le(added / whole, 1),
        "Bordering: with w = (−C⁻¹b, 1) for the new column b, tr(C⁻¹G) grows by wᵀGw/wᵀCw = g_w/c_w, at most 1 as "
        "C ⪰ G. Hence R_{H+1} ≤ R_H + 1.",
        check=lambda: _bordering(1) and _bordering(2),
    )


def _bordering(size: int) -> bool:
    """The growth of tr(C⁻¹G) by a bordered row and column, for general symmetric matrices of that size.

    In polynomials: C⁻¹ is the adjugate over the determinant, and w is taken times the determinant of the old C.
    """

    def symmetric(name: str) -> Matrix:
        return Matrix(size + 1, size + 1, lambda a, b: Symbol(f"{name}{min(a, b)}{max(a, b)}", real=True))

    c, g = symmetric("c"), symmetric("g")
    old_c, old_g, column = c[:size, :size], g[:size, :size], c[:size, size]
    old, new = old_c.det(), c.det()
    w = Matrix([*(-old_c.adjugate() * column), old])
    weight = (w.T * c * w)[0] - old * new
    growth = old * (c.adjugate() * g).trace() - new * (old_c.adjugate() * old_g).trace() - (w.T * g * w)[0]
    return bool(expand(weight) == 0 and expand(growth) == 0)


def _two_heads(record: Recorder) -> None:
    """(c) the start of the induction: R_2 ≤ 1."""
    lower = ones(2, 2) + _gram2() + _gram2().multiply_elementwise(_gram2()) / 2
    record(
        "truncated interaction",
        Ge(n.interaction[n.h, n.k] - 1 - gram[n.h, n.k] - gram[n.h, n.k] ** 2 / 2, 0),
        "For two heads C ⪰ C₀ = 11ᵀ + G + G∘G/2 (the same series), so tr(C⁻¹G) ≤ tr(C₀⁻¹G).",
        check=lambda: all(_coefficient(exp(_g) - 1 - _g - _g**2 / 2, order) >= 0 for order in range(SERIES_ORDER)),
    )
    rest = lower - _gram2()
    gap = expand(rest.det() - _gram2().det())
    record(
        "two by two",
        (Symbol("D_0") * (1 - Symbol("t_0")), gap),
        "t_0 = tr(C₀⁻¹G), D_0 = det C₀, G = (p, s; s, q): for 2×2 matrices "
        "det(B + G)(1 − tr((B + G)⁻¹G)) = det B − det G, with B = 11ᵀ + G∘G/2.",
        check=lambda: bool(cancel(lower.det() * (1 - (lower.inv() * _gram2()).trace()) - gap) == 0),
    )
    squares = (_p - _q) ** 2 / 2 + (_p * _q - _s**2) * (_p * _q + _s**2) / 4
    record(
        "two heads",
        ((gap, squares), Ge(squares, 0)),
        "A sum of non-negative terms, as s² ≤ pq (Cauchy–Schwarz). Hence R_2 ≤ 1 and by induction R_H ≤ H − 1.",
        check=lambda: expand(gap - squares) == 0,
    )


def _gram2() -> Matrix:
    return Matrix([[_p, _s], [_s, _q]])


def _tightness(record: Recorder) -> None:
    """(d) the bound is approached."""
    record(
        "small weights",
        (n.over_tasks(expressed[n.i]), n.n_heads - 1),
        "ω = ε Ω, ε → 0: ε²C⁻¹ tends to N(NᵀGN)⁻¹Nᵀ, N a basis of the zero-sum vectors, so x_i tends to the "
        "diagonal of a projector of rank H − 1 (for I ≥ H − 1 and generic Ω).",
        check=lambda: _small_weight_limit(2) and _small_weight_limit(3),
    )
    record(
        "every split is reached",
        Le(expressed[n.i], 1),
        "Schur–Horn: every x in [0, 1]^I with Σ_i x_i = H − 1 is the diagonal of such a projector. For H ≥ 2 the "
        "infimum is approached, never attained: at ω ≠ 0 the inequalities above are strict for distinct heads, and "
        "equal heads count once.",
        check=_schur_horn_examples,
    )


def _small_weight_limit(size: int) -> bool:
    """lim ε²(11ᵀ + ε²G)⁻¹ = N(NᵀGN)⁻¹Nᵀ for a general symmetric G, and its trace with G is size − 1."""
    g = Matrix(size, size, lambda a, b: Symbol(f"g{min(a, b)}{max(a, b)}", real=True))
    e = Symbol("e", positive=True)
    matrix = ones(size, size) + e * g
    zero_sum = Matrix(size, size - 1, lambda a, b: 1 if a == b else (-1 if a == size - 1 else 0))
    expected = zero_sum * (zero_sum.T * g * zero_sum).inv() * zero_sum.T
    adjugate, determinant = matrix.adjugate() * e, expand(matrix.det())
    power = size - 1
    leading_determinant = determinant.coeff(e, power)
    leading = adjugate.applyfunc(lambda entry: expand(entry).coeff(e, power) / leading_determinant)
    lower_orders = [determinant.coeff(e, order) for order in range(power)]
    lower_orders += [expand(entry).coeff(e, order) for entry in adjugate for order in range(power)]
    same = (leading - expected).applyfunc(cancel)
    return all(value == 0 for value in (*lower_orders, *same)) and cancel((leading * g).trace()) == power


def _schur_horn_examples() -> bool:
    """The construction of ``approaching_weights`` gives orthonormal columns with rows of the wanted lengths."""
    examples = [(1, 1), (Rational(1, 2), Rational(3, 4), Rational(3, 4)), (Rational(1, 5), Rational(4, 5), 1, 0)]
    for shares in examples:
        frame = projector_frame(tuple(map(S, shares)))
        orthonormal = (frame.T * frame).applyfunc(nsimplify) == eye(frame.cols)
        if not orthonormal or [nsimplify(row.dot(row)) for row in map(frame.row, range(frame.rows))] != list(shares):
            return False
    return True
