"""Owns when a result's own error estimate is too large for the result to be relied on, and the words that say so.

One threshold, `LARGEST_ERROR`, serves all results of integrations; see "Reliability" in docs/conventions.md.
"""

from __future__ import annotations

import math
from typing import Final, TypeVar

from ..theory.errors import UnreliableError

LARGEST_ERROR: Final = 1e-3  # relative
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


def relied_on(result: _T, doubt: str | None, remedy: str = REMEDY) -> _T:
    """The result; where there is a doubt, `UnreliableError` with the remedy, and the result as its ``partial``."""
    if doubt is not None:
        raise UnreliableError(f"{doubt}.", remedy, result)
    return result
