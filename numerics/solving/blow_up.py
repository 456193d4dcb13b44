"""How a path that grows beyond all bounds in finite time is told from one that is only hard to follow."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from ..problem.problem import FloatArray
from .solvers import Segment

_SHRINKS: Final = 4.0  # how much shorter its own time gets over the piece that is extended to the blow-up
_SHORT: Final = 1e-2  # of the time passed: what grows by itself in less may be on the way to a blow-up
_NEAR: Final = 1e-6  # of the time passed: a path that came as near as that has blown up as far as numbers show


def blow_up_time(
    velocity: Callable[[FloatArray], FloatArray], segments: Sequence[Segment], unit: float
) -> float | None:
    """When the path of these steps in log time grows beyond all bounds, if it came near to that; None otherwise.

    The time x/ẋ in which the fastest growing entry grows by itself falls to zero in a straight line where it grows like
    a power of the time left; the line through two of the steps says when.  With exponential growth it stays as it is.
    """
    if not segments:
        return None
    last = segments[-1]
    state = last.dense(last.end)
    with np.errstate(all="ignore"):
        speed = velocity(state)
        if not np.isfinite(speed).all():
            return None
        place = int(np.argmax(np.where(state != 0, speed / state, -np.inf)))
        own = float(state[place] / speed[place])
    reached = unit * math.expm1(last.end)
    if not 0 < own <= _SHORT * reached:  # it grows slowly, if at all: rounding errors of a state at rest
        return None
    for segment in reversed(segments):
        state = segment.dense(segment.start)
        earlier = float(state[place] / speed[place]) if (speed := velocity(state))[place] else math.inf
        if earlier < own:
            return None
        if earlier >= _SHRINKS * own:
            passed = unit * math.exp(segment.start) * math.expm1(last.end - segment.start)
            left = passed * own / (earlier - own) if math.isfinite(earlier) else 0.0
            return reached + left if left <= _NEAR * reached else None
    return None
