"""The proof of the optimum theorem: each step an object, and checked wherever computation can check it.

Claim: over all weights of H heads the attainable ``x_i = d_i ω_iᵀ C⁻¹ ω_i`` fill, up to closure from below, the set
``0 ≤ x_i ≤ 1``, ``Σ_i x_i ≤ R_H`` with ``R_1 = 1/e`` (attained) and ``R_H = H − 1`` for H ≥ 2 (approached as ω → 0).
"""

from __future__ import annotations

from sympy import (
    Add,
    Expr,
    Ge,
    IndexedBase,
    KroneckerDelta,
    Le,
    Lt,
    Matrix,
    S,
    Symbol,
    cancel,
    diff,
    exp,
    expand,
    limit,
    ones,
    simplify,
    solve,
    symbols,
)

from .. import notation as n
from ..derivation import Derivation, Recorder
from ..indexed import contract_inverse, difference_is_zero, replace_indexed, rule, substitute
from ..model.loss import population_loss
from ..result import builder
from ..series import has_nonnegative_coefficients, sinh_over_argument_rises

# How much of task i's regressor the heads can express: x_i = d_i ω_iᵀ C⁻¹ ω_i.
expressed = IndexedBase("x", nonnegative=True)
gram = n.SymmetricBase("G", real=True)

# Theorems of the literature that the proof uses.
SCHUR = "Schur's product theorem"
LOEWNER = "Loewner's order of inverses"
SCHUR_HORN = "the theorem of Schur and Horn"
EXPONENTIALS = "the independence of exponentials"

_g = Symbol("g", real=True)
_p, _q, _s = symbols("p q s", real=True)
# The vector of ones, a general vector, and a column that borders a matrix, over the heads.
_v, _column = IndexedBase("v", real=True), IndexedBase("column", real=True)


@builder
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
        check=lambda line: difference_is_zero(interaction.body, exp(line[1])),
    )
    each = n.over_heads(n.omega[i, h] * n.interaction_inverse[h, k] * n.omega[i, k], h, k)
    total = n.over_heads(n.interaction_inverse[h, k] * gram[h, k], h, k)
    record(
        "sum as a trace",
        (n.over_tasks(expressed[i]), total),
        "Σ_i x_i = tr(C⁻¹ G): the sum over tasks goes inside.",
        check=lambda line: difference_is_zero(
            replace_indexed(line[0], {expressed: rule(expressed[i], n.dims[i] * each)}),
            replace_indexed(line[1], {gram: rule(gram[h, k], gram_body)}),
        ),
    )
    record(
        "C dominates G",
        Ge(n.interaction[h, k] - gram[h, k], 0),
        "As matrices, C ⪰ G: e^g − g has non-negative Taylor coefficients, and entrywise powers of a positive "
        "semidefinite matrix are positive semidefinite.",
        check=_is_positive_series,
        theorem=SCHUR,
    )
    record(
        "each share is at most one",
        Le(expressed[i], 1),
        "C ⪰ G ⪰ d_i ω_i ω_iᵀ = v vᵀ. At u = C⁻¹v this says 0 ≤ uᵀ(C − v vᵀ)u = x_i − x_i², as x_i = vᵀC⁻¹v.",
        check=_is_bound_of_share,
    )


def _is_positive_series(relation: Ge) -> bool:
    """Whether e^g less a polynomial, in C_hk and G_hk, has non-negative Taylor coefficients, of every order."""
    series = relation.lhs.xreplace({n.interaction[n.h, n.k]: exp(_g), gram[n.h, n.k]: _g})
    return isinstance(relation, Ge) and relation.rhs == 0 and has_nonnegative_coefficients(series, _g)


def _is_bound_of_share(relation: Le) -> bool:
    """uᵀ(C − v vᵀ)u = x − x² with u = C⁻¹v, x = vᵀC⁻¹v, for any number of heads; and what follows from x ≥ x²."""
    h, k, l, p = (n.index(name) for name in "hklp")
    matrix, inverse = n.interaction, n.interaction_inverse

    def u(head: Expr, other: Expr) -> Expr:
        return n.over_heads(inverse[head, other] * _v[other], other)

    share = n.over_heads(_v[h] * inverse[h, k] * _v[k], h, k)
    form = n.over_heads(u(h, l) * (matrix[h, k] - _v[h] * _v[k]) * u(k, p), h, k)
    x = Symbol("x", real=True)
    claimed = relation.subs(expressed[n.i], x)
    return (
        difference_is_zero(contract_inverse(form, matrix, inverse), share - share**2)
        and isinstance(relation, Le)
        and Ge(x - x**2, 0).as_set().is_subset(claimed.as_set()) is True
        and claimed.rhs == 1
    )


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
        check=lambda relation: (
            isinstance(relation, Le)
            and (relation.lhs, relation.rhs) == (total, total.subs(u, 1))
            and stationary == [1]
            and diff(total, u, 2).subs(u, 1) < 0
            and limit(total, u, S.Infinity) == total.subs(u, 0) == 0
        ),
    )


def _further_heads(record: Recorder) -> None:
    """(c) one more head adds at most one."""
    added, whole = Symbol("g_w", nonnegative=True), Symbol("c_w", positive=True)
    record(
        "one more head",
        Le(added / whole, 1),
        "Bordering: with w = (−C⁻¹b, 1) for the new column b, the inverse grows by w wᵀ/(wᵀCw), so tr(C⁻¹G) by "
        "wᵀGw/wᵀCw = g_w/c_w, at most 1 as C ⪰ G. Hence R_{H+1} ≤ R_H + 1.",
        check=lambda relation: (
            isinstance(relation, Le) and relation.rhs == 1 and _bordering(relation.lhs, added, whole)
        ),
    )


def _bordering(growth: Expr, added: Symbol, whole: Symbol) -> bool:
    """The inverse of C bordered by a column b and a corner c, and how much tr(C⁻¹G) grows, for any number of heads.

    The four blocks of C' (C'⁻¹) = 1, with C'⁻¹ = C⁻¹ + w wᵀ/c_w; and the trace with a bordered G, (G, f; f, γ).
    """
    h, k, l, inner = (n.index(name) for name in ("h", "k", "l", "inner"))
    matrix, inverse = n.interaction, n.interaction_inverse
    side, corner, gram_corner = IndexedBase("side", real=True), Symbol("corner"), Symbol("gram_corner")

    def w(head: Expr) -> Expr:
        return -n.over_heads(inverse[head, inner] * _column[inner], inner)

    def zero(expression: Expr) -> bool:
        return difference_is_zero(contract_inverse(expression, matrix, inverse), S.Zero)

    c_w = corner + n.over_heads(_column[h] * w(h), h)
    blocks = (
        n.over_heads(matrix[h, l] * inverse[l, k], l)
        + n.over_heads(matrix[h, l] * w(l), l) * w(k) / c_w
        + _column[h] * w(k) / c_w
        - KroneckerDelta(h, k),
        (n.over_heads(matrix[h, l] * w(l), l) + _column[h]) / c_w,
        n.over_heads(_column[l] * inverse[l, k], l) + (n.over_heads(_column[h] * w(h), h) + corner) * w(k) / c_w,
        (n.over_heads(_column[h] * w(h), h) + corner) / c_w - 1,
    )
    g_w = n.over_heads(w(h) * gram[h, k] * w(k), h, k) + 2 * n.over_heads(side[h] * w(h), h) + gram_corner
    quadratic = n.over_heads(w(h) * matrix[h, k] * w(k), h, k) + 2 * n.over_heads(_column[h] * w(h), h) + corner
    old = n.over_heads(inverse[h, k] * gram[h, k], h, k)
    new = (
        n.over_heads((inverse[h, k] + w(h) * w(k) / c_w) * gram[h, k], h, k)
        + 2 * n.over_heads(side[h] * w(h) / c_w, h)
        + gram_corner / c_w
    )
    claimed = substitute(growth, {added: g_w, whole: c_w})
    return all(map(zero, blocks)) and zero(quadratic - c_w) and difference_is_zero(new - old, claimed)


def _two_heads(record: Recorder) -> None:
    """(c) the start of the induction: R_2 ≤ 1."""
    lower = ones(2, 2) + _gram2() + _gram2().multiply_elementwise(_gram2()) / 2
    record(
        "truncated interaction",
        Ge(n.interaction[n.h, n.k] - 1 - gram[n.h, n.k] - gram[n.h, n.k] ** 2 / 2, 0),
        "For two heads C ⪰ C₀ = 11ᵀ + G + G∘G/2 (the same series), so tr(C⁻¹G) ≤ tr(C₀⁻¹G).",
        check=_is_positive_series,
        theorem=LOEWNER,
    )
    rest = lower - _gram2()
    gap = expand(rest.det() - _gram2().det())
    det_0, trace_0, trace = Symbol("D_0"), Symbol("t_0"), (lower.inv() * _gram2()).trace()
    record(
        "two by two",
        (det_0 * (1 - trace_0), gap),
        "t_0 = tr(C₀⁻¹G), D_0 = det C₀, G = (p, s; s, q): for 2×2 matrices "
        "det(B + G)(1 − tr((B + G)⁻¹G)) = det B − det G, with B = 11ᵀ + G∘G/2.",
        check=lambda line: cancel(line[0].subs({det_0: lower.det(), trace_0: trace}) - line[1]) == 0,
    )
    squares = (_p - _q) ** 2 / 2 + (_p * _q - _s**2) * (_p * _q + _s**2) / 4
    record(
        "two heads",
        ((gap, squares), Ge(squares, 0)),
        "A sum of non-negative terms, as s² ≤ pq (Cauchy–Schwarz). Hence R_2 ≤ 1 and by induction R_H ≤ H − 1.",
        check=lambda equation, relation: (
            expand(equation[0] - gap) == expand(equation[1] - gap) == 0
            and isinstance(relation, Ge)
            and expand(relation.lhs - gap) == relation.rhs == 0
            and _is_nonnegative_on_grams(relation.lhs)
        ),
    )


def _is_nonnegative_on_grams(form: Expr) -> bool:
    """Whether a form in p, q, s is non-negative where p, q > 0 and p q = s² + t with t ≥ 0; with p q = 0, s is 0."""
    p, t = Symbol("p", positive=True), Symbol("t", nonnegative=True)
    inside = form.subs({_p: p, _q: (_s**2 + t) / p}, simultaneous=True)
    parts = Add.make_args(expand(simplify(inside - (p - (_s**2 + t) / p) ** 2 / 2)))
    return all(part.is_nonnegative for part in parts) and form.subs({_q: 0, _s: 0}) == _p**2 / 2


def _gram2() -> Matrix:
    return Matrix([[_p, _s], [_s, _q]])


def _tightness(record: Recorder) -> None:
    """(d) the bound is approached."""
    record(
        "small weights",
        (n.over_tasks(expressed[n.i]), n.n_heads - 1),
        "ω² = ε Ω², ε → 0: C = 11ᵀ + ε G + O(ε²), and ε C⁻¹ tends to Q = G₁⁻¹ − G₁⁻¹11ᵀG₁⁻¹/(1ᵀG₁⁻¹1) with "
        "G₁ = G + 11ᵀ, invertible for I ≥ H − 1 and generic Ω: Q1 = 0, QGQ = Q, tr(QG) = H − 1. So x_i tends to the "
        "diagonal of a projector of rank H − 1. (The inverse is of order 1/ε: O(ε²) in C changes it by O(1).)",
        check=lambda line: line[0] == n.over_tasks(expressed[n.i]) and _is_rank_of_limit(line[1]),
    )
    longer, shorter = symbols("a b", nonnegative=True)
    along = (expressed[n.i] - shorter) / (longer - shorter)
    record(
        "every split is reached",
        (
            (expressed[n.i], along * longer + (1 - along) * shorter),
            (longer + shorter - expressed[n.i], (1 - along) * longer + along * shorter),
        ),
        "Every x in [0, 1]^I with Σ_i x_i = H − 1 is the diagonal of such a projector VVᵀ: from rows of V with squared "
        "lengths 1 and 0, rotations of two orthogonal rows, of squared lengths a ≥ x_i ≥ b, fix one length after the "
        "other; the rest of the two stays orthogonal to the rows that are left.",
        check=lambda *lines: (
            all(cancel(told - rotated) == 0 for told, rotated in lines) and is_rotation(along, longer, shorter)
        ),
        theorem=SCHUR_HORN,
    )
    record(
        "never attained",
        Lt(n.over_tasks(expressed[n.i]), n.n_heads - 1),
        "For H ≥ 2 and ω ≠ 0: heads that are alike count once, and at distinct ones C − G is positive definite, so "
        "that the steps above are strict: x_i < 1, and one more head adds less than 1. Two heads: the sum of "
        "non-negative terms vanishes only at ±ω, where Σ_i x_i = p/sinh p < 1.",
        check=_is_strict,
        theorem=EXPONENTIALS,
    )


def _is_rank_of_limit(rank: Expr) -> bool:
    """The inverse of (1 − ε) 11ᵀ + ε G₁ = 11ᵀ + ε G, ε times it at ε = 0, and what that is, for any number of heads."""
    h, k, l, p, inner = (n.index(name) for name in ("h", "k", "l", "p", "inner"))
    matrix, inverse = n.SymmetricBase("G_1", real=True), n.SymmetricBase("G_1_inverse", real=True)
    small = Symbol("epsilon", positive=True)

    def rows(head: Expr) -> Expr:
        return n.over_heads(inverse[head, inner], inner)

    def zero(expression: Expr) -> bool:
        return difference_is_zero(contract_inverse(expression, matrix, inverse), S.Zero)

    total = n.over_heads(inverse[h, k], h, k)

    def limit_at(scale: Expr, a: Expr, b: Expr) -> Expr:
        """ε times the inverse."""
        return inverse[a, b] - (1 - scale) * rows(a) * rows(b) / (scale + (1 - scale) * total)

    whole = (1 - small) + small * matrix[h, l]

    def q(a: Expr, b: Expr) -> Expr:
        return limit_at(S.Zero, a, b)

    trace = n.over_heads(q(h, k) * (matrix[h, k] - 1), h, k)
    product = n.over_heads(q(h, l) * (matrix[l, p] - 1) * q(p, k), l, p)
    return (
        zero(n.over_heads(whole * limit_at(small, l, k), l) - small * KroneckerDelta(h, k))
        and zero(n.over_heads(q(h, k), k))
        and zero(product - q(h, k))
        and zero(trace - rank)
    )


def is_rotation(cosine: Expr, longer: Symbol, shorter: Symbol) -> bool:
    """Whether cos² lies in [0, 1] for a > x ≥ b: at x = b + t, a = b + t + u it and its rest are not negative."""
    over, under = Symbol("over", positive=True), Symbol("under", nonnegative=True)
    inside = cosine.subs({longer: shorter + over + under, expressed[n.i]: shorter + under}, simultaneous=True)
    return bool(simplify(inside).is_nonnegative and simplify(1 - inside).is_nonnegative)


def _is_strict(relation: Lt) -> bool:
    """At s = −p, q = p the trace of two heads is p/sinh p, below 1."""
    gram2 = Matrix([[_p, -_p], [-_p, _p]])
    trace = (gram2.applyfunc(exp).inv() * gram2).trace()
    return bool(
        relation == Lt(n.over_tasks(expressed[n.i]), n.n_heads - 1)
        and simplify(trace * (exp(_p) - exp(-_p)) / (2 * _p)) == 1
        and sinh_over_argument_rises()
    )
