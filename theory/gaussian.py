"""The Gaussian tilt calculus: moments of tokens under softmax scores, from generating functions.

A context token is ``(x, y)`` with ``x ~ N(0, Id)``, ``y = ⟨β, x⟩ + ε``, ``ε ~ N(0, σ²)``; a head scores it by
``⟨a, x⟩``.  Everything the theory needs about a head's output is a derivative of one moment generating
function.  Vectors enter through their inner products only, so all formulas here are scalar.  Derived here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import product

from sympy import Dummy, Expr, S, Symbol, diff, exp, expand, integrate, oo, pi, sqrt

# A linear combination of named vectors, and the inner products of those vectors by (sorted) names.
Vector = Mapping[str, Expr]
Gram = Mapping[tuple[str, str], Expr]


def inner_product(left: Vector, right: Vector, gram: Gram) -> Expr:
    """⟨left, right⟩ by bilinearity."""
    pairs = product(left.items(), right.items())
    return sum((a * b * gram[min(v, w), max(v, w)] for (v, a), (w, b) in pairs), S.Zero)


def moment_generating_function(tilt: Vector, order: Expr, gram: Gram, noise_variance: Expr) -> Expr:
    """``E exp(⟨t, x⟩ + u y) = exp(|t + uβ|²/2 + u²σ²/2)`` for one token; ``tilt`` is t, ``order`` is u.

    x enters through ``⟨t + uβ, x⟩`` with ``E e^{⟨t, x⟩} = e^{|t|²/2}``; ε is independent of x.
    """
    shifted = {**tilt, "beta": tilt.get("beta", S.Zero) + order}
    return exp((inner_product(shifted, shifted, gram) + order**2 * noise_variance) / 2)


def tilted_moment(tilt: Vector, power: int, gram: Gram, noise_variance: Expr) -> Expr:
    """``E[e^{⟨t, x⟩} y^power]``: a derivative of the generating function at u = 0."""
    u = Dummy("u", real=True)
    return diff(moment_generating_function(tilt, u, gram, noise_variance), u, power).subs(u, 0)


def completed_square(variable: Symbol, tilt: Symbol) -> tuple[Expr, Expr]:
    """Both sides of ``t z − z²/2 = t²/2 − (z − t)²/2``: the tilted normal law is N(t, 1), its mass e^{t²/2}."""
    return tilt * variable - variable**2 / 2, tilt**2 / 2 - (variable - tilt) ** 2 / 2


def chi_square_generating_function(weight: Expr) -> Expr:
    """``E exp(w z²) = (1 − 2w)^{−1/2}`` for a standard normal z, finite iff 2w < 1.

    The exponent ``w z² − z²/2`` is ``−s²/2`` in ``s = z √(1 − 2w)``, and dz = ds / √(1 − 2w).
    """
    z = Dummy("z", real=True)
    stretch_squared = -2 * expand(weight * z**2 - z**2 / 2).coeff(z, 2)
    return 1 / sqrt(stretch_squared)


@cache
def is_gaussian_integral() -> bool:
    """Whether ``∫ e^{−c z²/2} dz/√(2π) = c^{−1/2}`` for c > 0: the integral behind the generating functions."""
    z, c = Dummy("z", real=True), Dummy("c", positive=True)
    return bool(integrate(exp(-c * z**2 / 2), (z, -oo, oo)) / sqrt(2 * pi) == 1 / sqrt(c))


def delta_method(numerator: Expr, denominator: Expr) -> tuple[Expr, Expr, tuple[Symbol, Symbol]]:
    """First- and second-order fluctuation of ``(n + δn)/(z + δz)``, with the symbols δn and δz."""
    eta = Dummy("eta", real=True)
    delta_n, delta_z = Dummy("delta_n", real=True), Dummy("delta_z", real=True)
    ratio = (numerator + eta * delta_n) / (denominator + eta * delta_z)
    first = diff(ratio, eta).subs(eta, 0)
    second = diff(ratio, eta, 2).subs(eta, 0) / 2
    return expand(first), expand(second), (delta_n, delta_z)
