"""The steps of CVODE: backward differentiation with Krylov solves, for states too large for a matrix.

A. C. Hindmarsh et al., SUNDIALS, ACM Trans. Math. Softw. 31, 2005, through scikit-sundae (extra ``fast``).  GMRES
needs the Jacobian only as a map of directions, which is generated code.  It is not preconditioned: of the 2IH modes of
a flow of attention only about 2I are fast, and a Krylov space soon holds those.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

import numpy as np

from ..problem.problem import FloatArray
from ..runtime.extras import works
from ..runtime.muted import muted
from .panels import interpolate, nodes

_KRYLOV_DIMENSION: Final = 30
_ORDER: Final = 5  # the highest of the method, so that its dense output is a polynomial of degree 5 at most
_SHORTEST: Final = 1e-14  # step, as a share of the whole: below, time hardly moves
_MOST_STUCK: Final = 20  # steps too short to change the time


@cache
def sundials_installed() -> bool:
    """Whether CVODE is there (the extra ``fast``) and can be loaded; where it cannot, a warning says so, once."""
    instead = "SciPy's solvers are used instead of CVODE"
    return find_spec("sksundae") is not None and works(
        "scikit-sundae", lambda: import_module("sksundae.cvode"), instead
    )


def krylov_steps(
    velocity: Callable[[float, FloatArray], FloatArray],
    product_at: Callable[[FloatArray], Callable[[float, FloatArray], FloatArray]],
    start: float,
    y: FloatArray,
    end: float,
    rtol: float,
    atol: float | FloatArray,
    longest: float = math.inf,
) -> Iterator[tuple[float, FloatArray, Callable[[], _Polynomial]]]:
    """(time, state, what makes the dense output since the last one) of each accepted step; stops where one fails.

    Dense output can be made until the next step.

    Parameters
    ----------
    velocity
        (time, state) → its rate of change.
    product_at
        State → the function (time, direction) → the Jacobian at that state times the direction.
    longest
        No step is longer.
    """
    from sksundae.cvode import CVODE, CVODEJacTimes

    def right_hand_side(s: float, y: FloatArray, out: FloatArray) -> None:
        out[:] = velocity(s, y)

    product = product_at(y)

    def set_up(s: float, y: FloatArray, rate: FloatArray) -> None:
        nonlocal product
        del s, rate
        product = product_at(y)

    def times(s: float, y: FloatArray, rate: FloatArray, direction: FloatArray, out: FloatArray) -> None:
        del y, rate
        out[:] = product(s, direction)

    solver: Any = CVODE(
        right_hand_side,
        method="BDF",
        linsolver="gmres",
        krylov_dim=min(_KRYLOV_DIMENSION, len(y)),
        jactimes=CVODEJacTimes(set_up, times),
        rtol=rtol,
        atol=atol,
        max_order=_ORDER,
        min_step=_SHORTEST * end,
        max_step=max(min(end - start, longest), _SHORTEST * end),
    )
    with muted():  # the solver prints why a step fails
        solver.init_step(start, y)
    stuck = 0
    while start < end:
        with muted():
            found = solver.step(end, method="onestep", tstop=end)
        if found.status < 0 or not np.isfinite(found.y).all():
            return
        if found.t <= start:  # asked for a state inside of the last step, CVODE first says again where that ended
            stuck += 1
            if stuck > _MOST_STUCK:
                return
            continue
        stuck = 0

        def dense(
            left: float = start, first: FloatArray = y, right: float = found.t, last: FloatArray = found.y
        ) -> _Polynomial:
            within = nodes(left, right, _ORDER)[1:-1]
            with muted():
                inner = [solver.step(float(s), method="normal").y for s in within]
            return _Polynomial(left, right, np.array([first, *inner, last]))

        yield found.t, found.y, dense
        start, y = found.t, found.y


class _Polynomial:
    """The dense output of one step, from its values at the Chebyshev points."""

    def __init__(self, left: float, right: float, values: FloatArray) -> None:
        self._left, self._right, self._values = left, right, values

    def __call__(self, s: float) -> FloatArray:
        return interpolate(self._left, self._right, self._values, s)
