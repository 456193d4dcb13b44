"""What `first_order` leaves out first: the term of order 1/L² of softmax overlaps, and its size over the query.

The overlap E Σ_l p_l^h p_l^k of two heads is the derivative of cov(log Z_h, log Z_k) in ⟨a_h, a_k⟩, where
Z = Σ_l e^{⟨a, x_l⟩} (derived here).  Its expansion is one in e^{|a|²}/L: where its second term is not small against its
first, no closure at order 1/L is to be trusted for it.
"""

from __future__ import annotations

from dataclasses import dataclass

from sympy import Add, Expr, Function, Poly, Rational, S, Symbol, binomial, diff, exp, expand, factorial, log

from .. import notation as n
from ..derivation import Derivation, Recorder
from ..gaussian import chi_square_generating_function
from ..grounds import FORMAL
from ..indexed import normalise
from ..result import Result, builder

# |a_h|², |a_k|² and ⟨a_h, a_k⟩ at a query.
_own, _other, _both = (Symbol(name, real=True) for name in ("g_hh", "g_kk", "g_hk"))
exponent = Symbol("k", positive=True)
_power = Symbol("e_g", positive=True)  # e^{|a|²}
_first_log, _second_log = log(Symbol("Z_h")), log(Symbol("Z_k"))
_MOST = 4  # powers of the fluctuations of Z that are of order 1/L²


@dataclass(frozen=True, repr=False)
class NextOrder(Result):
    """The first two terms of a head's overlap with itself, E Σ_l p_l², averaged over the query.

    Attributes
    ----------
    first, second
        Power k → coefficient of e^{k|a|²} at order 1/L and at order 1/L².
    log_mean
        log E e^{k|a|²} over the query, in ω_i^h, d_i and `exponent`, k; finite while 2k(ω_i^h)² < 1.
    derivation
        The steps.
    """

    first: dict[int, Expr]
    second: dict[int, Expr]
    log_mean: Expr
    derivation: Derivation


@builder
def next_order() -> NextOrder:
    """The overlap at orders 1/L and 1/L²."""
    record = Recorder("What first_order leaves out", ("L → ∞ at fixed ω",))
    covariance = _covariance()
    record(
        "covariance of log Z",
        (Function("cov")(_first_log, _second_log), covariance),
        "log Z = log L + |a|²/2 + log(1 + X) with X a mean of L independent terms of mean zero: its moments by "
        "cumulants, and these by E e^{p⟨a_h,x⟩ + q⟨a_k,x⟩} = e^{|p a_h + q a_k|²/2}.",
        check=lambda line: (
            line[1].subs(_both, 0).expand() == 0
            and (line[1] - line[1].subs({_own: _other, _other: _own}, simultaneous=True)).expand() == 0
        ),
        scope=FORMAL,
    )
    overlap = expand(diff(covariance, _both))
    record(
        "overlap of two heads",
        (Function("E")(Symbol("p_h") * Symbol("p_k")), overlap),
        "Its derivative in ⟨a_h, a_k⟩.  Without scores the overlap is 1/L.",
        check=lambda line: line[1].subs({_own: 0, _other: 0, _both: 0}) == 1 / n.context_length,
        scope=FORMAL,
    )
    one = expand(overlap.xreplace({_own: log(_power), _other: log(_power), _both: log(_power)}))
    first, second = (
        {powers[0]: value for powers, value in Poly(one.coeff(n.context_length, -order), _power).terms()}
        for order in (1, 2)
    )
    factor = chi_square_generating_function(exponent * n.omega[n.i, n.h] ** 2)
    log_mean = normalise(n.over_tasks(n.dims[n.i] * log(factor)))
    record(
        "powers over the query",
        (log(Function("E")(exp(exponent * Symbol("norm2_a")))), log_mean),
        "|a_h|² = Σ_i (ω_i^h)² |x_q^{(i)}|²: independent chi-square factors.",
    )
    return NextOrder(first, second, log_mean, record.freeze())


def _covariance() -> Expr:
    """cov(log(1 + X), log(1 + Y)) to order 1/L², by the series of the logarithm."""
    moments = _mean_moments()
    total = S.Zero
    for a in range(1, _MOST):
        for b in range(1, _MOST + 1 - a):
            joint = moments.get((a, b), S.Zero) - moments.get((a, 0), S.Zero) * moments.get((0, b), S.Zero)
            total += Rational((-1) ** (a + b), a * b) * joint
    return Add(*(term for term in Add.make_args(expand(total)) if _order(term) <= 2))


def _mean_moments() -> dict[tuple[int, int], Expr]:
    """E X^a Y^b to order 1/L² for a + b ≤ 4, from the second and third cumulants of a term."""
    s, t = Symbol("s"), Symbol("t")
    pairs = [(a, total - a) for total in (2, 3) for a in range(total + 1)]
    cumulants = Add(
        *(
            _term_moment(a, b) * s**a * t**b / (factorial(a) * factorial(b)) * n.context_length ** (1 - a - b)
            for a, b in pairs
        )
    )
    generating = Poly(expand(cumulants + cumulants**2 / 2), s, t)
    return {
        powers: expand(value * factorial(powers[0]) * factorial(powers[1]))
        for powers, value in generating.terms()
        if sum(powers) <= _MOST
    }


def _term_moment(a: int, b: int) -> Expr:
    """E ξ^a η^b for ξ = e^{s − |a_h|²/2} − 1 and η likewise: up to order three also the joint cumulant."""
    return Add(
        *(
            binomial(a, p)
            * binomial(b, q)
            * (-1) ** (a - p + b - q)
            * exp(((p**2 - p) * _own + (q**2 - q) * _other) / 2 + p * q * _both)
            for p in range(a + 1)
            for q in range(b + 1)
        )
    )


def _order(term: Expr) -> int:
    """The power of 1/L in a term."""
    return -int(term.as_coeff_exponent(n.context_length)[1])
