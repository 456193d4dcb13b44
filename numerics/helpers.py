"""Owns helping processes, which can be started before the imports of whoever needs them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

from .collector import collect_rarely


@contextmanager
def helpers(count: int) -> Iterator[ProcessPoolExecutor | None]:
    """So many processes, none for 0; they import what verification needs at once, and end with the block.

    Spawned, not forked: whoever calls may have threads.
    """
    if count == 0:
        yield None
        return
    with ProcessPoolExecutor(count, get_context("spawn"), collect_rarely) as pool:
        for _ in range(count):
            pool.submit(_import)
        yield pool


def _import() -> None:
    from . import verify  # noqa: F401
