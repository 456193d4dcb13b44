"""Published experiments done again, one function each: a table of predicted and measured numbers, arrays for a figure.

``reproduce(name, settings)`` runs one of `NAMES`; "small" settings take seconds, "paper" settings up to minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ...theory.choices import unknown
from ...theory.errors import InputError
from .allocation import allocation, single_task
from .closures import closure_study
from .context_length import context_length
from .estimators import estimators
from .result import Reproduction, Row
from .staircase import staircase
from .zero_sum import zero_sum

_FUNCTIONS: Final[dict[str, Callable[[str, bool], Reproduction]]] = {
    "allocation": allocation,
    "single-task": single_task,
    "zero-sum-pair": zero_sum,
    "estimators": estimators,
    "context-length": context_length,
    "staircase": staircase,
    "closures": closure_study,
}
NAMES: Final = tuple(_FUNCTIONS)
SETTINGS: Final = ("small", "paper")


def reproduce(name: str, settings: str = "small", progress: bool = False) -> Reproduction:
    """Run the reproduction ``name``, one of `NAMES`, in settings "small" or "paper" (of the published size).

    Everything is seeded.  With ``progress`` a bar is shown on standard error, if that is a terminal and it takes more
    than two seconds.  Raises ``InputError`` for another name or other settings, and what `train` raises.

    Examples
    --------
    >>> found = reproduce("context-length")
    >>> abs(found.row("two heads at L′ = 160, first-order").deviation) < 0.05
    True
    """
    if name not in _FUNCTIONS:
        raise InputError(unknown("reproduction", str(name), NAMES))
    if settings not in SETTINGS:
        raise InputError(unknown("settings", str(settings), SETTINGS))
    return _FUNCTIONS[name](settings, progress)


__all__ = ["NAMES", "SETTINGS", "Reproduction", "Row", "reproduce"]
