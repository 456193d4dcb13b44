"""The disturbance of the second of two integrations: what rounding errors might do, at the least.

Two heads that start almost alike can come so near to each other that float64 does not tell them apart any more.  Then
both integrations follow them as one, and agree on where the flow never goes.  So the second one is pushed on its way,
by little more than its own rounding errors: a result that rests on less than that shows in the distance of the two.

Entries that start with equal numbers, or with opposite ones, are pushed alike, and zero is not pushed: a symmetry of
the start is kept, as the flow keeps it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ..problem.problem import FloatArray

SIZE: Final = 1e-14  # relative, per unit of log time


def disturbance(start: FloatArray) -> FloatArray:
    """Per entry of flat states a number between −SIZE and SIZE that looks random, and depends on its start alone."""
    mixed = np.abs(start).view(np.uint64)
    with np.errstate(over="ignore"):
        for factor in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB):  # of the generator SplitMix64
            mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(factor)
    shares: FloatArray = (mixed >> np.uint64(11)).astype(np.float64) / 2.0**52 - 1.0
    return np.where(start == 0, 0.0, SIZE * shares)
