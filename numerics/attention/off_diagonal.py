"""The test that the population gradient keeps weights decomposable: zero in every entry that is zero in them.

A few of thousands of entries lie beyond four standard errors by chance: errors estimated from the spread of groups
make t statistics, whose tails are longer than a normal number's.  So an entry beyond the bound is a candidate, and is
estimated again on an independent and larger sample; only what lies beyond the bound there too, with the same sign,
counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr

from ...theory.brief import Brief
from ...theory.errors import InputError
from ..problem.exact import as_float
from ..problem.kinds import takes
from ..problem.problem import FloatArray, Problem
from .gradient import population_gradient
from .weights import AttentionWeights, frame_of

_LARGER: Final = 4  # times as many prompts confirm


@dataclass(frozen=True, eq=False, repr=False)
class OffDiagonalTest(Brief):
    """What the off-diagonal part of a population gradient is, in standard errors.

    Attributes
    ----------
    statistics
        Gradient over standard error of every entry, of all heads, (N,).
    degrees
        Degrees of freedom of each: groups of prompts less one.
    independent
        How many independent entries would make the mean of t² scatter as much: N²/Σρ², with the correlations ρ of
        entries between groups (those of heads that share a task are large).
    bound
        In standard errors.
    candidates, confirmation
        Places in ``statistics`` that are beyond the bound, and what the independent sample says of them, (K,) each;
        both empty if none is.
    n_samples, n_confirming
        Prompts of the two samples.
    """

    statistics: FloatArray
    degrees: int
    independent: float
    bound: float
    candidates: NDArray[np.int64]
    confirmation: FloatArray
    n_samples: int
    n_confirming: int

    @property
    def largest(self) -> float:
        """The largest |t| of the first sample."""
        return float(np.abs(self.statistics).max())

    @property
    def p_value(self) -> float:
        """The chance of so large a ``largest`` if the gradient is zero: Student's t, times the number of entries."""
        return min(1.0, len(self.statistics) * self._tail(self.largest))

    @property
    def expected_candidates(self) -> float:
        """How many entries are beyond the bound on average if the gradient is zero."""
        return len(self.statistics) * self._tail(self.bound)

    @property
    def mean_square(self) -> tuple[float, float, float]:
        """Mean of t² over the entries; if the gradient is zero, its mean and its standard deviation."""
        expected = self.degrees / (self.degrees - 2)
        return float((self.statistics**2).mean()), expected, expected * (2 / self.independent) ** 0.5

    @property
    def holds(self) -> bool:
        """Whether no entry is beyond the bound, with one sign, in both samples."""
        first = self.statistics[self.candidates]
        return bool((np.sign(first) * self.confirmation <= self.bound).all())

    def _tail(self, value: float) -> float:
        return float(2 * stdtr(self.degrees, -value))

    def to_json(self) -> dict[str, Any]:
        """The verdict and what it rests on."""
        square, expected, scatter = self.mean_square
        return {
            "holds": self.holds,
            "entries": len(self.statistics),
            "bound": self.bound,
            "largest": self.largest,
            "p_value": self.p_value,
            "mean_square": square,
            "expected_mean_square": expected,
            "mean_square_scatter": scatter,
            "expected_candidates": self.expected_candidates,
            "candidates": self.statistics[self.candidates].tolist(),
            "confirmation": self.confirmation.tolist(),
            "n_samples": self.n_samples,
            "n_confirming": self.n_confirming,
        }

    def text(self) -> str:
        """The verdict in a few lines."""
        square, expected, scatter = self.mean_square
        lines = [
            f"off-diagonal gradient: {'zero' if self.holds else 'not zero'} within {self.bound:g} standard errors "
            f"({len(self.statistics)} entries, {self.n_samples} prompts)",
            f"  largest |t| {self.largest:.2f}, p = {self.p_value:.2g}; mean t² {square:.3f}, "
            f"expected {expected:.3f} ± {scatter:.2g}",
        ]
        if len(self.candidates):
            pairs = zip(self.statistics[self.candidates], self.confirmation, strict=True)
            shown = ", ".join(f"{first:+.2f} → {second:+.2f}" for first, second in pairs)
            lines.append(
                f"  beyond {self.bound:g}, {self.expected_candidates:.2g} expected by chance; on {self.n_confirming} "
                f"other prompts: {shown}"
            )
        return "\n".join(lines)


@takes(problem=Problem, weights=AttentionWeights)
def off_diagonal_test(
    problem: Problem,
    weights: AttentionWeights,
    n_samples: int = 20_000,
    seed: int = 0,
    *,
    rotation: ArrayLike | None = None,
    averaged: bool | None = None,
    bound: float = 4.0,
    backend: str = "auto",
    progress: bool = False,
) -> OffDiagonalTest:
    """Test decomposable weights for an off-diagonal population gradient.

    Parameters
    ----------
    problem, weights
        The problem, and weights that are decomposable in the frame of Φ = ``rotation`` (d, d); default: the identity.
    n_samples, seed
        Prompts, as of `population_gradient`; the confirming sample is four times as large, with the next seed.
    averaged
        As of `population_gradient`.
    bound
        In standard errors, > 0.

    Raises what `population_gradient` raises, and `InputError` for a rotation of another shape, and where there is no
    entry to test.
    """
    frame = frame_of(rotation, problem.total_dim)
    limit = as_float("bound", bound, positive=True)

    def sampled(
        count: int, with_seed: int, drawn: NDArray[np.bool_] | None = None
    ) -> tuple[FloatArray, NDArray[np.bool_], int]:
        """Observations in units of their spread, which entries they are of, and the number of prompts."""
        found = population_gradient(
            problem, weights, count, with_seed, averaged=averaged, backend=backend, progress=progress
        )
        groups = found.off_diagonal_groups(frame)
        spread = groups.std(axis=0, ddof=1)
        # An entry without any spread has a gradient that vanishes prompt by prompt.
        kept = spread > 0 if drawn is None else drawn
        return np.divide(groups, spread, out=np.zeros_like(groups), where=spread > 0)[:, kept], kept, found.n_samples

    def in_errors(units: FloatArray) -> FloatArray:
        return np.asarray(units.mean(axis=0) * len(units) ** 0.5)

    units, kept, first = sampled(n_samples, seed)
    if not kept.any():
        raise InputError("there is no entry off the diagonal that could have a gradient")
    statistics = in_errors(units)
    candidates = np.flatnonzero(np.abs(statistics) > limit).astype(np.int64)
    again, more = np.zeros(0), 0
    if len(candidates):
        confirming, _, more = sampled(_LARGER * n_samples, seed + 1, kept)
        again = in_errors(confirming)[candidates]
    degrees = len(units) - 1
    return OffDiagonalTest(statistics, degrees, _independent(units), limit, candidates, again, first, more)


def _independent(units: FloatArray) -> float:
    """N²/Σρ² from groups in units of their spread, (groups, N); sampled ρ² are too large by 1/(groups − 1)."""
    groups, entries = units.shape
    centred = units - units.mean(axis=0)
    squares = float(((centred @ centred.T) ** 2).sum()) / (groups - 1) ** 2
    return float(entries**2 / max(entries, squares - entries**2 / (groups - 1)))
