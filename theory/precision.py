"""mpmath's precision, which is one for all threads of a process: beyond floats one of them works at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Final

import mpmath

_WORKING: Final = RLock()


@contextmanager
def digits(count: int) -> Iterator[None]:
    """mpmath at ``count`` decimal digits, to the end of the block."""
    with _WORKING, mpmath.workdps(count):
        yield
