"""The Bayes risk at any dimension and context length: a mean over two numbers of a function that is elementary.

The posterior risk of a task is σ² E tr (XᵀX + s)⁻¹ over a real Wishart matrix.  One determinant in the denominator is a
Gaussian integral over a complex vector, of which only the Gram matrix of its real and imaginary part matters: a 2 × 2
matrix, whose trace and determinant are the two numbers (derived here).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sympy import (
    Add,
    Expr,
    Function,
    IndexedBase,
    Max,
    Min,
    Mul,
    S,
    Sum,
    Symbol,
    cancel,
    combsimp,
    exp,
    expand,
    expand_log,
    factorial,
    ff,
    log,
    together,
)

from .. import notation as n
from ..derivation import Derivation, Recorder
from ..grounds import DEFINITION
from ..result import Result, builder
from .wishart import agrees_with_moments, fewer, moment, more, one_agrees_with_moments

Terms: TypeAlias = tuple[tuple[Expr, Expr], ...]

bayes_risk_symbol = Symbol("loss_bayes", positive=True)
# Of a task: the penalty of the posterior, and the smaller and the larger of its dimension and the context length.
shift_of_task, fewer_of_task, more_of_task = (IndexedBase(name, positive=True) for name in ("s", "p", "n"))
# The same for one matrix of p × p, n degrees of freedom.
shift, r, tau, point = (Symbol(name, positive=True) for name in ("s", "r", "tau", "t"))
trace_mean, determinant_mean = Function("T"), Function("D")
# Trace and determinant of the Gram matrix, in r and τ.
_TRACE = r + (1 + r) ** 2 * tau / 2
_DETERMINANT = r**2 / 4
ORDERS = 3  # powers of 1/s to which the formula is compared with the moments of the matrix

size = Symbol("m", integer=True, positive=True)
ratio = Symbol("rho", positive=True)
integrals = tuple(Symbol(f"J_{place}", positive=True) for place in range(3))
slopes = tuple(Symbol(f"a_{place}", positive=True) for place in range(3))

_FACTORS = tuple(Symbol(f"Q_{place}", positive=True) for place in range(3))
_mean, _ratio, partial, _det = Function("E"), Function("rho"), Function("partial"), Function("det")
_matrix = Symbol("W", positive=True)
trace = trace_mean(fewer, more, shift)
_place = n.index("k")


@dataclass(frozen=True, repr=False)
class BayesRisk(Result):
    """How the Bayes risk is computed: for one task of p = min(d, L), n = max(d, L), s = σ²d/λ.

    Attributes
    ----------
    along, across, rate
        The weight of r, τ > 0 is ``along · across · e^(−rate τ)``: ``along`` and ``rate`` depend on r, ``across`` on τ.
    terms
        J_0, J_1, J_2 are the integrals of sums of products (in r, in τ) over the weight.
    trace
        T for p ≥ 2, in `integrals` (J_0, J_1, J_2), and `slopes`: ∂ log D(p − 2, n − j, s)/∂s for j = 0, 1, 2.
    one_dimension
        For p = 1, T is this number times the integral of ``across · e^(−rate τ)`` at r = 0.
    next_ratio
        D_{m+1}/D_m in `ratio`, which is D_m/D_{m−1}, and the symbol `size`, m.
    derivation
        The steps.
    """

    along: Expr
    across: Expr
    rate: Expr
    terms: tuple[Terms, ...]
    trace: Expr
    one_dimension: Expr
    next_ratio: Expr
    derivation: Derivation


@builder
def bayes_risk() -> BayesRisk:
    """The posterior risk of every task in one formula, without a limit."""
    record = Recorder("Bayes risk")
    _posterior(record)
    _by_determinants(record)
    terms = _means(record)
    along, across, rate = _weight(record)
    weight, averaged = along * across * exp(-rate * tau), tuple(map(_written, terms))
    record(
        "trace of the resolvent",
        (trace, _dot([partial(factor, shift) for factor in _FACTORS], integrals) / _dot(_FACTORS, integrals)),
        "For p ≥ 2, with Q_j(s) at t = s and J_j the mean over the weight w: the derivative in t of the mean of "
        "det(W + t)/det(W + s), which is one at t = s.",
        check=lambda: agrees_with_moments(weight, averaged, (r, tau, shift), ORDERS),
        scope=f"any p and n, as a power series in 1/s to order {ORDERS}",
    )
    one = S.Half
    record(
        "one dimension",
        (trace_mean(1, more, shift), _mean((1 + tau) ** (-more / 2)) / shift),
        "For p = 1: 1/(w + s) = ∫ e^{−u(w+s)} du and E e^{−uw} = (1 + 2u)^{−n/2} with w a χ² variable of n degrees of "
        "freedom; the mean is over τ = 2u of density (s/2) e^{−sτ/2}.",
        check=lambda: one_agrees_with_moments(one * across * exp(-rate.subs(r, 0) * tau), (tau, shift), ORDERS),
        scope=f"any n, as a power series in 1/s to order {ORDERS}",
    )
    in_ratios, step = _in_ratios(record)
    each = trace_mean(fewer_of_task[n.i], more_of_task[n.i], shift_of_task[n.i])
    unseen = n.signal_power[n.i] * (n.dims[n.i] - fewer_of_task[n.i]) / n.dims[n.i]
    record(
        "Bayes risk",
        (
            (bayes_risk_symbol, n.over_tasks(unseen + n.noise_variance * each)),
            (shift_of_task[n.i], n.noise_variance * n.dims[n.i] / n.signal_power[n.i]),
            (fewer_of_task[n.i], Min(n.dims[n.i], n.context_length)),
            (more_of_task[n.i], Max(n.dims[n.i], n.context_length)),
        ),
        "The directions that no example shows, d_i − p_i of them, keep their variance λ_i/d_i.",
    )
    return BayesRisk(along, across, rate, terms, in_ratios, one, step, record.freeze())


def _posterior(record: Recorder) -> None:
    mean = trace_mean(n.dims[n.i], n.context_length, shift_of_task[n.i])
    record(
        "posterior",
        (bayes_risk_symbol, n.over_tasks(n.noise_variance * mean)),
        "β_i given the context is Gaussian with covariance σ² (X_iᵀX_i + s_i)⁻¹, s_i = σ² d_i/λ_i, X_i the L × d_i "
        "matrix of the inputs; the risk is its mean trace.",
        theorem="Bayes' formula for normal variables",
    )
    record(
        "resolvent",
        (trace_mean(fewer, more, shift), _mean(Function("trace")(Function("inverse")(_matrix + shift)))),
        "W = XᵀX with X of n × p independent standard normal numbers (a Wishart matrix).",
        scope=DEFINITION,
    )
    record(
        "fewer examples than dimensions",
        (
            trace_mean(more, fewer, shift),
            (more - fewer) / shift + trace_mean(fewer, more, shift),
        ),
        "XᵀX and XXᵀ have the same eigenvalues but for zeros: so n ≥ p from here on.",
        check=lambda: all(
            expand(moment(power) - moment(power).subs({fewer: more, more: fewer}, simultaneous=True)) == 0
            for power in range(1, ORDERS)
        ),
        scope=f"moments of order 1 to {ORDERS - 1}, any p and n",
    )


def _by_determinants(record: Recorder) -> None:
    """T by the mean of det(W + t)/det(W + s), and that over the Gram matrix of a complex vector."""
    record(
        "derivative of a ratio",
        (trace, partial(_mean(_det(_matrix + point) / _det(_matrix + shift)), point)),
        "At t = s, for ∂ log det(W + t) = tr (W + t)⁻¹.",
        theorem="Jacobi's formula for determinants",
    )
    gram = Symbol("G", positive=True)
    record(
        "complex vector",
        (
            Symbol("w", positive=True),
            _det(gram) ** ((fewer - 3) / 2) * exp(-shift * Function("trace")(gram)) * _det(1 + 2 * gram) ** (-more / 2),
        ),
        "1/det(W + s) is π^{−p} times the integral of e^{−z*(W+s)z} over z in C^p; G is the Gram matrix of Re z and "
        "Im z, and each of the n rows of X has the mean E e^{−|⟨x,z⟩|²} = det(1 + 2G)^{−1/2}: the weight w of G. "
        "Under it rows are normal, of variance 1/(1 + 2g_1) and 1/(1 + 2g_2) in two directions, one in all others.",
    )
    record(
        "determinant of normal rows",
        (
            (determinant_mean(size, more, point), Sum(term(size, more, _place), (_place, 0, size))),
            *((factor, _prefactor(j) * _determinant(j, point)) for j, factor in enumerate(_FACTORS)),
        ),
        "E det(W + t) = Σ_k t^{p−k} n!/(n−k)! e_k, e_k the elementary symmetric polynomials of the variances; with "
        "p − 2 of them one, e_k = Σ_j (p−2 choose k−j) e_j of the other two: Q_0 + Q_1 e_1 + Q_2 e_2.",
        check=lambda _, *lines: all(_is_part(j, line[1]) for j, line in enumerate(lines)),
        theorem="Cauchy and Binet's formula for minors",
    )


def _means(record: Recorder) -> tuple[Terms, ...]:
    """What J_j averages: e_0, e_1, e_2 of the two variances."""
    terms: tuple[Terms, ...] = (
        ((S.One, S.One),),
        ((S.One, tau / (1 + tau)), (2 / (1 + r), 1 / (1 + tau))),
        (((1 + r) ** -2, 1 / (1 + tau)),),
    )
    g1, g2 = Symbol("g_1", positive=True), Symbol("g_2", positive=True)
    variances = 1 / (1 + 2 * g1), 1 / (1 + 2 * g2)

    def are_symmetric(*lines: tuple[Expr, Expr]) -> bool:
        """In trace and determinant of G, and these in r and τ."""
        both = 1 + 2 * (g1 + g2) + 4 * g1 * g2
        spread = 1 + 2 * _TRACE + 4 * _DETERMINANT
        known = (S.One, 1, 1), (Add(*variances), 2 + 2 * (g1 + g2), 2 + 2 * _TRACE), (Mul(*variances), 1, 1)
        return all(
            (j == 0 or cancel(own - at_g / both) == 0) and cancel(at_r / (spread if j else 1) - line[1].args[0]) == 0
            for j, (line, (own, at_g, at_r)) in enumerate(zip(lines, known, strict=True))
        )

    record(
        "means",
        tuple(zip(integrals, (_mean(_written(own)) for own in terms), strict=True)),
        "One, and e_1 and e_2 of the variances in r and τ: the trace of G is r + (1 + r)² τ/2, its determinant r²/4.",
        check=are_symmetric,
    )
    return terms


def _weight(record: Recorder) -> tuple[Expr, Expr, Expr]:
    along = r ** (fewer - 2) * (1 + r) ** (2 - more) * exp(-shift * r)
    across, rate = (1 + tau) ** (-more / 2), shift * (1 + r) ** 2 / 2

    def follows(line: tuple[Expr, Expr]) -> bool:
        """The weight of G, and its measure dtr ddet, in r and τ: up to a factor that depends on p alone."""
        jacobian = _TRACE.diff(tau) * _DETERMINANT.diff(r) - _TRACE.diff(r) * _DETERMINANT.diff(tau)
        spread = (1 + r) ** 2 * (1 + tau)
        own = _DETERMINANT ** ((fewer - 3) / 2) * jacobian * spread ** (-more / 2) * exp(expand(-shift * _TRACE))
        change = expand(expand_log(log(own / line[1]), force=True))
        return cancel(1 + 2 * _TRACE + 4 * _DETERMINANT - spread) == 0 and not change.has(r, tau)

    record(
        "weight",
        (Function("w")(r, tau), along * across * exp(-rate * tau)),
        "Of r, τ > 0: |g_1 − g_2| dg_1 dg_2 is dtr ddet, and det(1 + 2G) = (1 + r)² (1 + τ); in r and τ the weight is "
        "smooth, and log-concave in log r and log τ.",
        check=follows,
    )
    return along, across, rate


def _in_ratios(record: Recorder) -> tuple[Expr, Expr]:
    """T without large numbers: in ratios of determinants, which have a recurrence of positive terms."""
    j, m, degrees = (Symbol(name, integer=True, positive=True) for name in "jmn")
    step = point + more - size + size * point / ratio
    record(
        "ratios of determinants",
        (_ratio(size + 1), step.xreplace({ratio: _ratio(size)})),
        "ρ(m) = D(m, n, t)/D(m − 1, n, t): D(m + 1) = (t + n − m) D(m) + m t D(m − 1), all terms positive.",
        check=lambda: vanishes(
            term(m + 1, degrees, j),
            -point * term(m, degrees, j),
            -(degrees - m) * term(m, degrees, j - 1),
            -m * point * term(m - 1, degrees, j - 1),
        ),
    )
    smaller = determinant_mean(size - 1, more, point)
    record(
        "derivatives of determinants",
        (
            (partial(determinant_mean(size, more, point), point), size * smaller),
            (determinant_mean(size, more + 1, point), determinant_mean(size, more, point) + size * smaller),
        ),
        "Term by term in t.",
        check=lambda: (
            vanishes(term(m, degrees, j).diff(point), -m * term(m - 1, degrees, j))
            and vanishes(term(m, degrees + 1, j), -term(m, degrees, j), -m * term(m - 1, degrees, j - 1))
        ),
    )
    # D(p − 2, n) : D(p − 2, n − 1) : D(p − 2, n − 2).
    chain = ((1 + slopes[1]) * (1 + slopes[2]), 1 + slopes[2], S.One)
    parts = tuple((_prefactor(place) * factor).xreplace({point: shift}) for place, factor in enumerate(chain))
    changes = tuple((2 - place) / shift + slope for place, slope in enumerate(slopes))
    changed = [change * part for change, part in zip(changes, parts, strict=True)]
    found = _dot(changed, integrals) / _dot(parts, integrals)
    record(
        "trace in ratios",
        ((trace, found), *((slope, partial(log(_determinant(j, shift)), shift)) for j, slope in enumerate(slopes))),
        "Q_j in its own D, and D(m, n + 1) = D(m, n) (1 + ∂ log D(m, n)).",
        check=lambda line, *_: _is_trace(line[1]),
    )
    return found, step


def _dot(left: Sequence[Expr], right: Sequence[Expr]) -> Expr:
    return Add(*(a * b for a, b in zip(left, right, strict=True)))


def _written(terms: Terms) -> Expr:
    return Add(*(in_r * in_tau for in_r, in_tau in terms))


def term(size: Expr, degrees: Expr, place: Expr) -> Expr:
    """The term of E det(W + t) in t^{m−k}, W of size m."""
    chosen = factorial(size) / (factorial(place) * factorial(size - place))
    return chosen * factorial(degrees) / factorial(degrees - place) * point ** (size - place)


def vanishes(*terms: Expr) -> bool:
    """Whether terms in factorials cancel."""
    return bool(cancel(combsimp(Add(*(term / terms[0] for term in terms)).expand())) == 0)


def _prefactor(place: int) -> Expr:
    """Q_j over its D."""
    return ff(more, place) * point ** (2 - place)


def _determinant(place: int, at: Expr) -> Expr:
    return determinant_mean(fewer - 2, more - place, at)


def _is_part(place: int, part: Expr) -> bool:
    """Whether t^{p−k} n!/(n−k)! (p−2 choose k−j) is a term of Q_j, for every k."""
    m, degrees, k = (Symbol(name, integer=True, positive=True) for name in ("m", "n", "k"))
    front, _ = part.as_independent(determinant_mean)
    whole = term(m + 2, degrees, k) * factorial(k) * factorial(m + 2 - k) / factorial(m + 2)
    chosen = factorial(m) / (factorial(k - place) * factorial(m - k + place))
    return vanishes(whole * chosen, -front.xreplace({more: degrees}) * term(m, degrees - place, k - place))


def _is_trace(found: Expr) -> bool:
    """Whether T in ratios is Σ_j Q_j'J_j/Σ_j Q_jJ_j, for D and D' in terms of D(p − 2, n − 2) and the slopes."""
    last = Symbol("D", positive=True)
    values = [last * (1 + slopes[2]) * (1 + slopes[1]), last * (1 + slopes[2]), last]
    fronts = [_prefactor(place).xreplace({point: shift}) for place in range(3)]
    changed = [
        front.diff(shift) * value + front * value * slope
        for front, value, slope in zip(fronts, values, slopes, strict=True)
    ]
    known = _dot(changed, integrals) / _dot([a * b for a, b in zip(fronts, values, strict=True)], integrals)
    return bool(cancel(together(found - known)) == 0)
