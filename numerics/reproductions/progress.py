"""Owns the progress bar of the reproductions: on standard error, only on a terminal, after two seconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

from tqdm import tqdm

_DELAY: Final = 2.0  # seconds without a bar
_Item = TypeVar("_Item")


def steps(items: Sequence[_Item], progress: bool) -> Iterator[_Item]:
    """The items, with a bar that counts those done if ``progress``."""
    yield from tqdm(items, delay=_DELAY, leave=False, disable=None if progress else True, unit="step")
