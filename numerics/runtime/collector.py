"""How often Python looks for cycles of objects, in processes that are headflow's own."""

from __future__ import annotations

import atexit
import gc
from typing import Final

_NEW_OBJECTS: Final = 100_000  # between two searches; Python's own 700 are for programs of few objects


def collect_rarely() -> None:
    """For the command line and for helping processes: call it first.

    Expressions are trees of millions of objects with hardly a cycle among them: looking for those takes 7 % of a
    verification, and the last search of all, at the end of the process, .7 s.
    """
    gc.set_threshold(_NEW_OBJECTS)
    atexit.register(gc.freeze)
