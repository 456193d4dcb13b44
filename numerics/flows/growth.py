"""Split starts in numbers: from μ, ω and their imbalances to log growth, and from it to the factors.

``u`` is the flat state of `headflow.theory.flows.coordinates.to_growth`: (o + v)²/4 = exp(ξ + u) and
(o − v)²/4 = exp(η − u).  Its offset is chosen so that the larger of the two has offset 0: where the factors are
balanced, u is log μ (of negative μ, −log |μ|), to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from ..problem.initial import InitialState
from ..problem.problem import FloatArray, Problem

OFFSETS: Final = ("xi", "eta", "zeta", "chi")  # the parameters of the chart, those of μ before those of ω


@dataclass(frozen=True, eq=False)
class Growth:
    """A split start in the chart of log growth; all arrays have the shape (…, 2, I, H), μ before ω.

    Attributes
    ----------
    start
        The log growth at time 0.
    plus, minus
        Offsets ξ and η; −∞ where o + v or o − v vanishes.
    sum_sign, difference_sign
        Signs of o + v and o − v (of k + q, k − q), which the flow keeps.
    scale
        What a product has to be multiplied by to be that of the factors: 1 and √d_e.
    """

    start: FloatArray
    plus: FloatArray
    minus: FloatArray
    sum_sign: FloatArray
    difference_sign: FloatArray
    scale: FloatArray

    @classmethod
    def of(cls, problem: Problem, initial: InitialState) -> Growth:
        """The start ``initial`` of ``problem``: o ≥ 0 and k ≥ 0, v > 0 or q > 0 where these are 0.

        The flow does not tell (o, v) from (−o, −v).
        """
        return cls.of_arrays(np.stack([initial.mu, initial.omega]), initial.imbalance, float(problem.embedding_dim))

    @classmethod
    def of_arrays(cls, products: FloatArray, imbalance: FloatArray, embedding_dim: FloatArray | float) -> Growth:
        """The start of many problems at once: μ and ω, Δ and Γ of shape (…, 2, I, H), d_e of shape (…)."""
        root = np.sqrt(np.asarray(embedding_dim))
        scale = np.stack([np.ones_like(root), root], axis=-1)[..., None, None]
        imbalances = imbalance / scale
        below = products < 0
        with np.errstate(divide="ignore", over="ignore"):  # an infinite start is refused
            # Of the two squares the larger is a sum of positive numbers; their product is (Δ/4)².
            larger = np.log((np.hypot(imbalances, 2 * products) + 2 * np.abs(products)) / 4)
            both = 2 * np.log(np.abs(imbalances) / 4)
        absent = np.isneginf(larger)
        start = np.where(absent, 0.0, np.where(below, -larger, larger))
        sum_sign = np.where((imbalances < 0) & below, -1.0, 1.0)
        return cls(
            start=start,
            plus=np.where(below | absent, both, 0.0),
            minus=np.where(below & ~absent, 0.0, both),
            sum_sign=sum_sign,
            difference_sign=np.where(imbalances < 0, -sum_sign, 1.0),
            scale=scale,
        )

    def values(self) -> dict[str, FloatArray]:
        """The offsets by the names that generated code knows."""
        arrays = [offset[..., part, :, :] for part in (0, 1) for offset in (self.plus, self.minus)]
        return dict(zip(OFFSETS, arrays, strict=True))

    def factors(self, y: FloatArray) -> FloatArray:
        """o, v, k and q of flat states of the shape (…, 2IH): shape (4, …, I, H)."""
        u = y.reshape(*y.shape[:-1], *self.start.shape)
        root = np.sqrt(self.scale)
        half_sum = root * self.sum_sign * np.exp((self.plus + u) / 2)
        half_difference = root * self.difference_sign * np.exp((self.minus - u) / 2)
        first, second = half_sum + half_difference, half_sum - half_difference
        return np.stack([first[..., 0, :, :], second[..., 0, :, :], first[..., 1, :, :], second[..., 1, :, :]])
