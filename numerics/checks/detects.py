"""Owns the smallest planted error that each statement's checks refute, as measured with planted wrong constants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Detected:
    """The smallest error of a kind that is refuted.

    Attributes
    ----------
    planted
        What was made wrong, in words: "the variance term, by a factor".
    quick, full
        Its smallest relative size that quick and full runs refute on the reference case; None: no size tried is.
    """

    planted: str
    quick: float | None
    full: float | None


DETECTED: Mapping[str, Detected] = {}
