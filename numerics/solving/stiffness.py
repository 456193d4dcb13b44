"""How a run of explicit steps is found to be held back by stability: then implicit ones go farther.

E. Hairer and G. Wanner, Solving Ordinary Differential Equations II, section IV.2: the last two stages of DOP853 are at
the same time, so that the difference of their velocities over that of their states shows the largest rate of the flow.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from scipy.integrate import OdeSolver

_EDGE: Final = 3.0  # step times rate: beyond, what is interpolated between the steps loses its accuracy
_STIFF: Final = 8  # steps in a row that would have been longer
_NEVER: Final = 1e-300


class StiffnessWatch:
    """Looks at the accepted steps of SciPy's DOP853, one after the other, and limits the next one."""

    def __init__(self, longest: float = math.inf) -> None:
        self._longest = longest
        self._limited = 0

    def held_back(self, solver: OdeSolver[np.float64]) -> bool:
        """Whether the rate of the flow, not the accuracy asked for, has set the length of the last steps."""
        own: Any = solver  # its stages and its step are not part of SciPy's interface
        last = len(own.A) - 1
        with np.errstate(all="ignore"):
            state = own.y_old + own.step_size * (own.K[:last].T @ own.A[last, :last])
            apart = max(float(np.linalg.norm(own.y - state)), _NEVER)
            rate = float(np.linalg.norm(own.K[last + 1] - own.K[last])) / apart
        edge = _EDGE / max(rate, _NEVER)
        own.max_step = min(edge, self._longest)
        self._limited = self._limited + 1 if own.h_abs > edge else 0
        return self._limited >= _STIFF
