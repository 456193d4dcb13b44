"""Limits by extrapolation: the value at h → 0 of what has a power series in h, and how well it is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from ..problem.problem import FloatArray

RATIO: Final = 2  # of neighbouring steps h


def limit_of(values: Sequence[FloatArray] | FloatArray) -> tuple[FloatArray, FloatArray]:
    """The limit h → 0 of values at h, h/2, h/4, … (first axis), by Richardson's tableau, and an estimate of its error.

    The estimate is what the last step of the tableau changes.  Of what does not have a power series (it diverges, or
    falls with a broken power) limit and error stay of one size.
    """
    row, before = np.asarray(values, float), np.asarray(values, float)
    for order in range(1, len(row)):
        before, row = row, (RATIO**order * row[1:] - row[:-1]) / (RATIO**order - 1)
    return row[-1], np.abs(row[-1] - before[-1])
