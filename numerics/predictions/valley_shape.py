"""The shape of heads in a valley, as numbers: the order of a state, and the constants that a shape has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from scipy.optimize import minimize
from sympy import Integer, Rational, diff, lambdify, log, symbols

from ...theory.merged.line_shape import shape_number, spread_number
from ...theory.merged.power_law import time
from ...theory.merged.valley_order import coefficient, merged_valley_order
from ...theory.merged.valley_order import order as order_symbol
from ..problem.problem import FloatArray

_PARTS: Final = 0.01  # relative difference of two extrapolations up to which a constant is told
_STANDS: Final = 0.01  # power of t up to which |ω| |μ| is said to stand
_MOST_PLACES: Final = 7  # of heads on a line, whose shape at rest is looked for
_CONVERGED: Final = 1e-10  # of log g at the shape at rest


@dataclass(frozen=True)
class ShapeConstants:
    """Constants of the four laws of a valley, as the shape of the heads has them; None where the shape still moves."""

    gap: float | None
    omega: float | None
    mu: float | None
    fastest: float | None
    # Whether all directions shrink alike, so that |ω| is a power of t with the exponent of the order.
    one_scale: bool


def shape_constants(order: int, times: FloatArray, values: FloatArray) -> ShapeConstants:
    """The constants from gap, |ω|, |μ| and fastest rate, columns of ``values``, at some times, as t → ∞.

    Products that the shape alone determines, such as gap · |μ|^(2p), are taken to ω → 0: their error is of the order of
    ω², a known power of t.
    """
    gap, omega, mu, fastest = values.T
    small = times ** (2 * float(merged_valley_order().exponents(order).omega))
    strength = _at_zero(small, gap * mu ** (2 * order))
    spread, walls = (_at_zero(small, product) for product in (omega * mu, fastest / mu**2))
    stands = abs(np.polyfit(np.log(times), np.log(omega * mu), 1)[0]) < _STANDS
    if strength is None:
        return ShapeConstants(None, None, None, None, stands)
    growth = _growth(order, strength)
    return ShapeConstants(
        strength * growth ** (-2 * order),
        spread / growth if spread is not None and stands else None,
        growth,
        None if walls is None else walls * growth**2,
        stands,
    )


def _at_zero(small: FloatArray, products: FloatArray) -> float | None:
    """Products extrapolated to where ``small`` is 0; None where two ways of doing so differ or none can be told."""
    fits = [np.polyfit(small, products, degree, full=True) for degree in (1, 2)]
    if any(rank <= degree for degree, (_, _, rank, *_) in enumerate(fits, 1)):  # the range is too narrow
        return None
    line, parabola = (coefficients[-1] for coefficients, *_ in fits)
    return float(line) if line > 0 and abs(line - parabola) < _PARTS * line else None


def _growth(order: int, strength: float) -> float:
    """|μ| over its power of t, for the coefficient G of a valley."""
    rho = merged_valley_order().rho.xreplace({order_symbol: Integer(order), time: Integer(1)})
    return float(rho.xreplace({coefficient: Rational(strength)}))


@dataclass(frozen=True)
class LineShape:
    """Heads of one task at rest: 1/y of the places, up to a factor, and the numbers g and w of the shape, exact."""

    places: tuple[float, ...]
    g: Any
    w: Any


def resting_line(points: Sequence[float], sizes: Sequence[int]) -> LineShape | None:
    """The shape at rest that places of heads on a line come to, which is where g is least; None where it is not found.

    ``points`` are y = √d ω of each place, ``sizes`` how many heads are there.
    """
    if len(points) > _MOST_PLACES or not all(points):
        return None
    places = np.array([1 / point for point in points])
    places = _scaled(places - places.mean())
    if len(points) > 2:
        # Where places meet, g is infinite: their order stays.
        order = np.argsort(places)
        slope, value = _log_shape(len(points))

        def of(free: FloatArray) -> tuple[float, FloatArray]:
            inner = free - free.mean()
            if np.any(np.diff(inner[order]) <= 0) or np.any(np.sign(inner) != np.sign(places)):
                return np.inf, np.zeros(len(free))
            return float(value(*inner, *sizes)), np.array(slope(*inner, *sizes))

        found = minimize(of, places, jac=True, method="BFGS", options={"gtol": _CONVERGED})
        if not np.isfinite(found.fun) or np.abs(found.jac).max() > 1e-5:
            return None
        places = _scaled(found.x - found.x.mean())
    exact = [Rational(one) for one in places[:-1]]
    exact.append(-sum(exact, Integer(0)))
    many = [Integer(size) for size in sizes]
    g, w = shape_number(exact, many), spread_number(exact, many) ** Rational(1, 2)
    # Of float places: fractions of thousands of digits, whose roots SymPy cannot take.
    return LineShape(tuple(map(float, places)), Rational(str(g.evalf(30))), Rational(str(w.evalf(30))))


def _scaled(places: FloatArray) -> FloatArray:
    scaled: FloatArray = places / np.abs(places).max()
    return scaled


@cache
def _log_shape(count: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The slope of log g in places of zero sum, and log g, as functions of places and sizes."""
    places, sizes = symbols(f"z1:{count + 1}"), symbols(f"n1:{count + 1}")
    value = log(shape_number(places, sizes))
    slopes = [diff(value, one) for one in places]
    mean = sum(slopes, Integer(0)) / count
    return (
        lambdify([*places, *sizes], [one - mean for one in slopes], cse=True),
        lambdify([*places, *sizes], value, cse=True),
    )
