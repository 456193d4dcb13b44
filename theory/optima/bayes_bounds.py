"""Bounds of what the Bayes risk is made of that need no integral: of T = E tr (W + s)⁻¹, and of ratios of D.

Derived here.  Up to the size of fluctuations they are the equation of the proportional limit.
"""

from __future__ import annotations

from dataclasses import dataclass

from sympy import Expr, Le, Pow, S, Symbol, cancel, fraction, log, rem, sqrt, together

from ..derivation import Derivation, Recorder
from ..result import Result, builder
from .bayes import ORDERS, bayes_risk, determinant_mean, partial, point, shift, size, term, trace, vanishes
from .wishart import fewer, more, parts_series


@dataclass(frozen=True, repr=False)
class TraceBounds(Result):
    """Bounds for p ≤ n.

    Attributes
    ----------
    smallest
        T = E tr (W + s)⁻¹ is at least as large as either.
    largest
        T is at most this.
    least_slope, most_slope
        Bounds of ∂ log D(m, n, t)/∂t for m ≤ n.
    derivation
        The steps.
    """

    smallest: tuple[Expr, Expr]
    largest: Expr
    least_slope: Expr
    most_slope: Expr
    derivation: Derivation


@builder
def trace_bounds() -> TraceBounds:
    """Bounds by integration by parts, and by the equation that D satisfies."""
    record = Recorder("Bounds of the Bayes risk")
    record.include(bayes_risk().derivation)
    least_slope, most_slope = _slope_bounds(record)
    smallest, largest = _elementary_bounds(record)
    return TraceBounds(smallest, largest, least_slope, most_slope, record.freeze())


def _slope_bounds(record: Recorder) -> tuple[Expr, Expr]:
    """Bounds of the slope a = ∂ log D/∂t, which are 1/m apart, relative to it."""
    j, m, degrees = (Symbol(name, integer=True, positive=True) for name in "jmn")
    slope, change, linear = Symbol("a", positive=True), Symbol("a_dot", real=True), point + more - size
    record(
        "equation of the slope",
        (
            (slope, partial(log(determinant_mean(size, more, point)), point)),
            (size, point * (slope**2 + change) + (linear + 1) * slope),
        ),
        "Laguerre's equation t D'' + (n − m + 1 + t) D' = m D over D, with the derivative of a in t under a dot.",
        check=lambda: vanishes(
            point * term(m, degrees, j).diff(point, 2),
            (degrees - m + 1) * term(m, degrees, j).diff(point),
            point * term(m, degrees, j + 1).diff(point),
            -m * term(m, degrees, j + 1),
        ),
    )
    least, most = _positive_root(point * (1 - 1 / size), linear + 1, size), _positive_root(point, linear, size)
    record(
        "bounds of the slope",
        (Le(least, slope), Le(slope, most)),
        "D is a product of t + x_k, x_k > 0, so that −t da/dt = Σ_k t/(t + x_k)² lies between t a²/m (Cauchy and "
        "Schwarz) and a: t (1 − 1/m) a² + (t + n − m + 1) a ≥ m, and t a² + (t + n − m) a ≤ m.",
        theorem="the zeros of Laguerre polynomials are positive",
    )
    return least, most


def _elementary_bounds(record: Recorder) -> tuple[tuple[Expr, Expr], Expr]:
    """Bounds of T without an integral: two from below, one from above."""
    linear = shift + more - fewer - 1
    of_square, squared, variance = (Symbol(name, positive=True) for name in ("S_1", "S_2", "V"))
    record(
        "integration by parts",
        (fewer, linear * trace + shift * of_square + shift * squared),
        "Of E tr X R Xᵀ with R = (W + s)⁻¹, in every entry of X; S_1 = E tr R² and S_2 = E (tr R)².",
        check=lambda: parts_series(ORDERS) == [fewer, *[S.Zero] * ORDERS],
        scope=f"any p and n, as a power series in 1/s to order {ORDERS}",
    )
    square = shift * (1 + 1 / fewer)
    largest = _positive_root(square, linear, fewer)
    record(
        "largest trace",
        (Le(square * trace**2 + linear * trace, fewer), Le(trace, largest)),
        "S_2 ≥ T² and S_1 ≥ S_2/p (Cauchy and Schwarz); the second line is the positive root.",
        check=lambda first, second: _is_root(first.lhs - first.rhs, second.rhs),
    )
    wider = linear + 1 + 1 / shift
    smallest = _positive_root(shift, wider, fewer)
    record(
        "smallest trace",
        (
            Le(variance, of_square / shift),
            Le(fewer, shift * trace**2 + wider * trace),
            Le(smallest, trace),
            Le(fewer / (more + shift), trace),
        ),
        "The variance V = S_2 − T² of tr R is at most E |∇ tr R|² = 4 E tr W R⁴ (Poincaré), with W R² ≤ 1/(4s); and "
        "S_1 ≤ T/s.  The last line: tr R is convex in W, and E W = n (Jensen).",
        check=lambda _, second, third, __: _is_root(second.rhs - second.lhs, third.lhs),
        theorem="Poincaré's inequality for normal variables",
    )
    return (smallest, fewer / (more + shift)), largest


def _positive_root(square: Expr, linear: Expr, right: Expr) -> Expr:
    """Of square x² + linear x = right, without cancellation where linear is positive."""
    return 2 * right / (linear + sqrt(linear**2 + 4 * right * square))


def _is_root(quadratic: Expr, root: Expr) -> bool:
    """Whether a polynomial of degree two in T vanishes at a root with one square root in it."""
    (radical,) = (atom for atom in root.atoms(Pow) if atom.exp == S.Half)
    plain = Symbol("R", positive=True)
    value = together(quadratic.xreplace({trace: root.xreplace({radical: plain})}))
    return bool(cancel(rem(fraction(value)[0], plain**2 - radical.base, plain)) == 0)
