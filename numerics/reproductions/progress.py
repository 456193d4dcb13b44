"""Owns the progress bar of the reproductions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from ..progress import progress_bar

_Item = TypeVar("_Item")


def steps(items: Sequence[_Item], progress: bool) -> Iterator[_Item]:
    """The items, with a bar that counts those done if ``progress``."""
    with progress_bar(progress, "reproduce", len(items), unit="steps") as bar:
        for item in items:
            yield item
            bar.update()
