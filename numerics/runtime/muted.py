"""Silence: what a library prints in one thread is dropped, and what other threads print meanwhile is not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock, get_ident
from typing import Any, Final

_LOCK: Final = RLock()
_muted: Final[list[int]] = []  # threads, as often as they are in a block


class _Filtered:
    """A stream without what muted threads write."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        written: int = len(text) if get_ident() in _muted else self.stream.write(text)
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def muted() -> Iterator[None]:
    """In the block nothing that this thread prints comes to standard output."""
    with _LOCK:
        if not _muted and sys.stdout is not None:
            sys.stdout = _Filtered(sys.stdout)
        _muted.append(get_ident())
    try:
        yield
    finally:
        with _LOCK:
            _muted.remove(get_ident())
            if not _muted and isinstance(sys.stdout, _Filtered):
                sys.stdout = sys.stdout.stream
