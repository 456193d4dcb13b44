"""How a trajectory is stored between its steps: panels of log time with Chebyshev–Lobatto points.

A panel holds the state at 8 points (neighbours share one), and interpolates by the polynomial of degree 7
through them (Berrut and Trefethen, Barycentric Lagrange interpolation, SIAM Rev. 46, 2004).  Panels are halved
where that polynomial does not reproduce the solver's own dense output.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

import numpy as np

from ..problem.problem import FloatArray

DEGREE: Final = 7


@cache
def _nodes(degree: int) -> FloatArray:
    found: FloatArray = -np.cos(np.pi * np.arange(degree + 1) / degree)
    return found


@cache
def _weights(degree: int) -> FloatArray:
    found: FloatArray = np.cos(np.pi * np.arange(degree + 1)) * np.array([0.5, *[1.0] * (degree - 1), 0.5])
    return found


# Where in [−1, 1] a panel is controlled.
PROBES: Final[FloatArray] = (_nodes(DEGREE)[:-1] + _nodes(DEGREE)[1:])[[0, 1, 3, 5]] / 2
_DEEPEST = 16

# The panel's ends, the states at its points and the error at its points of control.
Panel = tuple[float, float, FloatArray, float]


def nodes(left: float, right: float, degree: int = DEGREE) -> FloatArray:
    """The Chebyshev–Lobatto points of a panel, ends included exactly."""
    points = left + (right - left) * (1 + _nodes(degree)) / 2
    points[0], points[-1] = left, right
    return points


def interpolate(left: float, right: float, values: FloatArray, s: float) -> FloatArray:
    """The state at ``s`` from a panel's values, shape (number of points, n)."""
    degree = len(values) - 1
    offset = s - nodes(left, right, degree)
    if not offset.all():
        found: FloatArray = values[int(np.flatnonzero(offset == 0)[0])].copy()
        return found
    # In units of the smallest offset, so that times as short as 1e-300 overflow nothing.
    factors = _weights(degree) / (offset / np.abs(offset).min())
    result: FloatArray = factors @ values / factors.sum()
    return result


class PanelTree:
    """Cuts one panel until its polynomial reproduces a given function.

    Parameters
    ----------
    function
        Log time → flat state.
    distance
        (states, references), both (N, n) → the largest distance between a state and its reference.
    tolerance
        Largest allowed distance at the points of control.
    """

    def __init__(
        self,
        function: Callable[[float], FloatArray],
        distance: Callable[[FloatArray, FloatArray], float],
        tolerance: float,
    ) -> None:
        self.function = function
        self.distance = distance
        self.tolerance = tolerance

    def cut(
        self, left: float, right: float, most: int, parent: float = np.inf, depth: int = 0, futile: int = 0
    ) -> list[Panel]:
        """Panels (left, right, values, error) that cover the interval, at most ``most`` of them."""
        values = np.array([self.function(s) for s in nodes(left, right)])
        probes = left + (right - left) * (1 + PROBES) / 2
        seen = np.array([interpolate(left, right, values, s) for s in probes])
        error = self.distance(seen, np.array([self.function(s) for s in probes]))
        # Halving a panel of a smooth function divides the error by 2⁸.  Where halving twice in a row does not
        # help, jumps between the solver's own interpolants are left, and no panel follows those.
        futile = futile + 1 if error > parent / 4 else 0
        floor = futile >= 2 and error < 1e3 * self.tolerance
        middle = (left + right) / 2
        if error <= self.tolerance or floor or most < 2 or depth == _DEEPEST or not left < middle < right:
            return [(left, right, values, error)]
        first = self.cut(left, middle, most - 1, error, depth + 1, futile)
        return first + self.cut(middle, right, most - len(first), error, depth + 1, futile)
