"""The Bayes risk of a problem at its own dimensions and context length, as an interval that holds it."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from ...theory.brief import Brief
from ..certificates.resolvent import mean_trace
from ..problem.kinds import takes
from ..problem.problem import Problem


@dataclass(frozen=True, repr=False)
class BayesInterval(Brief):
    """The Bayes risk lies between ``lower`` and ``upper``; proved, with every rounding outwards.

    ``value`` is the middle; ``tasks`` has the ends for each task.  An end beyond the range of floats is infinite.
    """

    value: float
    lower: float
    upper: float
    tasks: tuple[tuple[float, float], ...]


@takes(problem=Problem)
def bayes_risk(problem: Problem) -> BayesInterval:
    """The risk of the best predictor, Σ_i E |β_i − E[β_i | context]|²: ridge regression with the penalty σ²d_i/λ_i.

    The average over the inputs is `headflow.theory.optima.bayes.bayes_risk`, enclosed by
    `headflow.numerics.certificates`.  Its width is of order 1e-12 of the risk, larger only at extreme parameters (no
    signal-to-noise ratio is refused).

    Examples
    --------
    >>> found = bayes_risk(Problem([10], [1], 0.1, 100, 1))
    >>> found.lower < 0.011095862760671 < found.upper
    True
    """
    ends = [_of_task(problem, task) for task in range(problem.n_tasks)]
    low, high = (sum(own, Fraction(0)) for own in zip(*ends, strict=True))
    tasks = tuple((_down(first), _up(second)) for first, second in ends)
    return BayesInterval(_nearest((low + high) / 2), _down(low), _up(high), tasks)


# Tasks are often alike.
_mean_trace = lru_cache(maxsize=256)(mean_trace)


def _of_task(problem: Problem, task: int) -> tuple[Fraction, Fraction]:
    dim, noise = problem.dims[task], problem.noise_variance
    if not noise:  # the examples show their directions exactly
        unseen = Fraction(max(dim - problem.context_length, 0), dim) * problem.signal_power[task]
        return unseen, unseen
    low, high = _mean_trace(dim, problem.context_length, noise * dim / problem.signal_power[task])
    return noise * low, min(noise * high, problem.signal_power[task])


def _nearest(number: Fraction) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf


def _down(number: Fraction) -> float:
    near = _nearest(number)
    if math.isinf(near):
        return sys.float_info.max
    return near if Fraction(near) <= number else math.nextafter(near, -math.inf)


def _up(number: Fraction) -> float:
    near = _nearest(number)
    return near if math.isinf(near) or Fraction(near) >= number else math.nextafter(near, math.inf)
