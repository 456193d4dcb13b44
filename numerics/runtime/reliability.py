"""When a result's own error estimate is too large for the result to be relied on, and the words that say so.

One threshold, `LARGEST_ERROR`, serves all results of integrations; see "Reliability" in docs/conventions.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, TypeVar

from ...theory.errors import IntegrationError, UnreliableError

LARGEST_ERROR: Final = 1e-3  # relative
# By how much the tolerances of a result's two integrations differ, and of one attempt at it and the next.  With 10,
# LSODA's two errors were alike enough in 1 of 100 problems to hide the truth.
TIGHTER: Final = 100.0
REMEDY: Final = "Lower rtol, take a smaller t_final, or start farther from a tie between heads and from zero."
_UNKNOWN: Final = "the second integration that it is taken from was not finished"
_T = TypeVar("_T")


def doubt_about(error: float, where: str = "", unknown: str = _UNKNOWN) -> str | None:
    """Why a result of that estimated relative error is not to be relied on, as a sentence; None where it is small.

    For the sentence ``where`` says where the error is as large as that, ``unknown`` why it is not known if infinite.
    """
    if error <= LARGEST_ERROR:
        return None
    size = f"{error:.2g}{where}, above {LARGEST_ERROR:g}" if math.isfinite(error) else f"not known: {unknown}"
    return f"NOT RELIABLE: the estimated relative error is {size}; what would follow from the result is left out"


def tightened(
    first: _T, attempt: Callable[[float], _T], settled: Callable[[_T], bool], rtol: float, smallest: float
) -> _T:
    """``first``, made at rtol, where it is settled; else the first settled one of rtol/100, … down to ``smallest``.

    Where none is, ``first``.  An `IntegrationError` ends the attempts: the solver does not get there at that tolerance.
    """
    found = first
    try:
        while not settled(found) and rtol / TIGHTER >= smallest:
            rtol /= TIGHTER
            found = attempt(rtol)
    except IntegrationError:
        return first
    return found if settled(found) else first


def relied_on(result: _T, doubt: str | None, remedy: str = REMEDY) -> _T:
    """The result; where there is a doubt, `UnreliableError` with the remedy, and the result as its ``partial``."""
    if doubt is not None:
        raise UnreliableError(f"{doubt}.", remedy, result)
    return result
