"""Starts that are nearly tied: what rounding errors can make of them has to be seen in the error estimate.

The difference of two heads that start almost alike grows by many orders of magnitude before it decides which of them
takes a task.  Where it starts so small that rounding errors matter, two integrations can be wrong in the same way.  So
the result is compared with two others, one on either side: they start as many rounding errors away as an integration
makes, in the direction in which the difference grows and in that in which it shrinks, or changes sign.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..problem.initial import InitialState
from ..problem.problem import FloatArray, Problem
from .ties import numbers_of, ties_of_numbers

_NEAR: Final = 1e-6  # relative difference from which on rounding errors change nothing that a tolerance would not
_ROUNDING: Final = 16 * float(np.finfo(np.float64).eps)  # what the steps before the difference grows add up to


def may_be_near(weights: FloatArray, imbalance: FloatArray) -> NDArray[np.bool_]:
    """Whether two entries may be nearly tied, or tied: of arrays (…, 2, I, H) an array of shape (…).

    Quick, and right where it says no.
    """
    flat = np.abs(weights).reshape(*weights.shape[:-2], -1)
    scale = np.maximum(flat.max(axis=(-2, -1)), np.abs(imbalance).max(axis=(-3, -2, -1)))
    gaps = np.diff(np.sort(flat, axis=-1), axis=-1)
    return np.asarray((gaps <= _NEAR * scale[..., None, None]).any(axis=-1).all(axis=-1))


def compared_starts(
    problem: Problem, initial: InitialState, parametrisation: str, start: FloatArray
) -> tuple[FloatArray, ...]:
    """The flat states from which the integrations begin that the result is compared with.

    It is ``start`` alone where nothing is nearly tied.  ``start`` is that of `headflow.numerics.flows.dynamics.Chart`.
    Entries that are exactly tied stay so.
    """
    if not may_be_near(np.stack([initial.mu, initial.omega]), initial.imbalance):
        return (start,)
    numbers, scales = numbers_of(initial), _scales(problem, initial, parametrisation)
    powers = np.array([float(power) for power in problem.signal_power])
    alike: list[Hashable] = list(zip(problem.dims, _clustered(powers, powers).tolist(), strict=True))
    rounded = [*numbers[:2], *(scales if parametrisation == "split" else np.zeros_like(scales))]
    clustered = np.array([_clustered(row, scale) for row, scale in zip(rounded, [*scales, *scales], strict=True)])
    near = ties_of_numbers(alike, clustered, parametrisation)
    own: list[Hashable] = list(zip(problem.dims, problem.signal_power, strict=True))
    exact = ties_of_numbers(own, numbers, parametrisation)
    if near is None or (exact is not None and exact.size == near.size):
        return (start,)
    flat, scale = numbers[:2].ravel(), scales.ravel()
    oriented = flat * near.side
    count = np.bincount(near.first, minlength=flat.size)[near.first]
    mean = np.bincount(near.first, oriented, flat.size)[near.first] / count
    apart = np.where(near.side == 0, flat, near.side * (oriented - mean))
    apart = np.divide(apart, scale, out=np.zeros_like(apart), where=scale > 0)
    if not apart.any():  # tasks whose powers are nearly equal, or imbalances
        apart = np.random.default_rng(0).standard_normal(flat.size)
        apart = apart if exact is None else exact.moved(apart)
    size = scale if parametrisation == "merged" else max(1.0, float(np.abs(start).max()))
    shift = _ROUNDING * size * apart / np.abs(apart).max()
    return start + shift, start - shift


def _scales(problem: Problem, initial: InitialState, parametrisation: str) -> FloatArray:
    """Against what a difference of μ, of ω is small, shape (2, IH).

    A balanced weight moves in proportion to itself, a split one to the larger of its factors, a merged one to all that
    its task has.
    """
    weights = np.stack([initial.mu, initial.omega])
    if parametrisation == "merged":
        row = np.abs(weights).max(axis=(0, 2), keepdims=True)
        return np.broadcast_to(row, weights.shape).reshape(2, -1)
    root = np.array([1.0, np.sqrt(problem.embedding_dim)])[:, None, None]
    larger = (np.hypot(initial.imbalance / root, 2 * weights) + 2 * np.abs(weights)) / 4
    return np.asarray(larger.reshape(2, -1))


def _clustered(values: FloatArray, scales: FloatArray) -> FloatArray:
    """Each value with its sign, its size that of the smallest to which neighbours lead, each near to the next."""
    order = np.argsort(np.abs(values), kind="stable")
    sizes, scale = np.abs(values)[order], scales[order]
    begins = np.concatenate([[True], np.diff(sizes) > _NEAR * np.maximum(scale[1:], scale[:-1])])
    first = np.where(sizes > _NEAR * scale, sizes, 0.0)[begins]
    found = np.empty_like(sizes)
    found[order] = first[np.cumsum(begins) - 1]
    return np.copysign(found, values) + 0.0
