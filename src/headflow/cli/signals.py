"""The signals that end the program: they interrupt it as Ctrl-C does, so that what was done is kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_ENDING: Final = ("SIGTERM", "SIGHUP", "SIGBREAK")  # those that the system has


@contextmanager
def ending_signals() -> Iterator[list[int]]:
    """In the block a signal that would end the process raises `KeyboardInterrupt` and is added to the list.

    Only where nobody handles or ignores it (as nohup does with SIGHUP), and in the main thread, which receives signals.
    """
    received: list[int] = []

    def interrupt(number: int, _: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt

    ours: list[int] = []
    if threading.current_thread() is threading.main_thread():
        known = [int(getattr(signal, name)) for name in _ENDING if hasattr(signal, name)]
        ours = [number for number in known if signal.getsignal(number) == signal.SIG_DFL]
    try:
        for number in ours:
            signal.signal(number, interrupt)
        yield received
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
