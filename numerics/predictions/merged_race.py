"""The race of the merged flow's modes: from which balance of a small start on two heads end as one (measured)."""

from __future__ import annotations

from typing import Final

import numpy as np

from ...theory.closed_form import to_float
from ...theory.errors import HypothesisError, InputError
from ...theory.indexed import unroll
from ...theory.merged.merged_start import merged_start
from ...theory.merged.pair_valley import pair_valley
from ...theory.parameters import PARAMETERS
from ..integration.integrate import integrate_reliably
from ..problem.initial import InitialState
from ..problem.kinds import takes
from ..problem.problem import Problem
from ..trajectory.merged_end import MergedOutcome, merged_outcome

_SCALE: Final = 1e-4
_LEAST, _MOST = 1.0, 64.0  # of the sum mode over the zero-sum mode
_RTOL: Final = 1e-8
_EMERGED: Final = 1e3  # long after small weights have grown
_LIFETIMES: Final = 30.0  # of the slowest mode across the manifold of pairs: by then heads have parted or merged


@takes(problem="Problem")
def balance_threshold(problem: Problem, tolerance: float = 1e-2) -> tuple[float, float]:
    """Two values of Q between which the outcome of two heads of one task changes (see `theory.merged.merged_start`).

    Below the first they part with zero sum, above the second they end as identical heads.  By bisection on starts of
    scale 1e-4; the ratio of the two values is 1 + ``tolerance`` at most.

    Raises ``HypothesisError`` unless I = 1 and H = 2, ``InputError`` where no start of that scale shows both outcomes.
    """
    if (problem.n_tasks, problem.n_heads) != (1, 2):
        raise HypothesisError(
            "the threshold of the balance", "I = 1 and H = 2", f"I = {problem.n_tasks}, H = {problem.n_heads}"
        )
    root = float(np.sqrt(problem.dims[0]))

    def start(ratio: float) -> InitialState:
        """Heads with amplitudes (ratio ± 1), along the growing direction of zero-sum modes."""
        mu = _SCALE * np.array([[ratio + 1, ratio - 1]])
        return InitialState(mu=mu, omega=mu / root)

    def balance(ratio: float) -> float:
        state = start(ratio)
        return merged_start().balance_of(problem, 0, state.mu[0].tolist(), state.omega[0].tolist())

    def merges(ratio: float) -> bool:
        return race(problem, start(ratio)).kind == "identical heads"

    low, high = _LEAST, _MOST
    while high > low * (1 + tolerance):
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if merges(middle) else (middle, high)
    # Where the bisection ran to an end of its range, that end must be a side of the threshold too.
    if (high == _MOST and not merges(high)) or (low == _LEAST and merges(low)):
        raise InputError(
            f"no threshold of the balance: from scale {_SCALE:g} two heads end alike at all ratios of their modes from "
            f"{_LEAST:g} to {_MOST:g}; the noise is strong for this context length"
        )
    return balance(low), balance(high)


def race(problem: Problem, initial: InitialState) -> MergedOutcome:
    """The outcome of a start of one task, integrated as far as it takes to tell."""
    across = [abs(to_float(unroll(rate, problem.exact_values(), PARAMETERS))) for rate in pair_valley().transversal]
    return merged_outcome(
        integrate_reliably(problem, initial, "merged", t_final=_EMERGED + _LIFETIMES / min(across), rtol=_RTOL)
    )
