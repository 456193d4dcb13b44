"""The yardsticks of a system's own variables: how large each of them is where its velocity takes it, and how soon.

A solver's absolute tolerance says what is small.  The size of the start cannot tell it where a variable starts at zero,
so that the velocity is asked: how far does it carry each variable before it has changed by half of itself?  Nothing of
this has a unit of its own, so that a system and the same one in other units get the same steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from ..problem.problem import FloatArray

SMALL: Final = 1e-3  # what is small against the size of a variable: an error there counts absolutely
_ROUNDING: Final = 4 * float(np.finfo(np.float64).eps)
_HIDDEN: Final = 1e-6  # of a generic size: what is left of a sum whose terms cancel
_LEAST: Final = 1e-290
_CHANGE: Final = 0.5  # of the velocity
_HALVINGS: Final = 12  # of the logarithm of the time in which it changes so

Velocity = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True)
class Yardsticks:
    """Of a start: a time, and per entry of the flat state what it is to be measured by.

    Attributes
    ----------
    time
        In which the velocity at the start would change wholly, at the pace at which it changes by half.
    sizes
        Of the variable that an entry belongs to: its largest entry at the start, or what the velocity makes of it.
    rounding
        What rounding errors of the velocity do in that time.
    """

    time: float
    sizes: FloatArray
    rounding: FloatArray

    @property
    def small(self) -> FloatArray:
        """Per entry what is small against its variable."""
        return SMALL * self.sizes

    def absolute(self, rtol: float) -> FloatArray:
        """The absolute tolerance that goes with a relative one."""
        return np.maximum(rtol * self.small, self.rounding)


def yardsticks(
    velocity: Velocity, generic: Velocity, start: FloatArray, lengths: Sequence[int], longest: float
) -> Yardsticks:
    """The yardsticks of a start.

    Parameters
    ----------
    velocity
        Of the system; a number that is not finite stands for outside its domain.
    generic
        The same with parameters of the same size but other digits.  Where a velocity is small because large terms of
        it cancel, that one is not, and shows how large the terms are, and with them their rounding errors.
    start
        Flat state; the velocity is finite there.
    lengths
        How many entries each variable has, one after the other.
    longest
        No time is longer.
    """
    blocks = [slice(end - length, end) for end, length in zip(np.cumsum(lengths), lengths, strict=True)]
    first = velocity(start)
    share = _time_of_change(velocity, start, first, blocks, longest)
    sizes, path = _largest(start, blocks), start
    for _ in blocks:  # one variable may move another, which is still where it started, and that one a third
        speed = velocity(path)
        if not np.isfinite(speed).all():
            break
        sizes = np.maximum(sizes, share * _largest(speed, blocks))
        path = path + share * speed
        if (sizes > 0).all():
            break
    terms = generic(start + sizes * np.random.default_rng(0).uniform(-1.0, 1.0, len(start)))
    scale = share * _largest(np.where(np.isfinite(terms), terms, 0.0), blocks)
    sizes = np.maximum(sizes, np.maximum(_HIDDEN * scale, _LEAST))
    return Yardsticks(
        min(share / _CHANGE, longest), sizes, _ROUNDING * np.where(_largest(start, blocks) > 0, 0.0, scale)
    )


def _largest(flat: FloatArray, blocks: Sequence[slice]) -> FloatArray:
    """Per entry the largest |entry| of its variable."""
    found = np.empty(len(flat))
    for block in blocks:
        found[block] = np.abs(flat[block]).max()
    return found


def _time_of_change(
    velocity: Velocity, start: FloatArray, first: FloatArray, blocks: Sequence[slice], longest: float
) -> float:
    """About how long the velocity of the start can be followed until that of some variable has changed by half."""
    moving = _largest(first, blocks)
    if not moving.any():
        return longest

    def changed(time: float) -> bool:
        there = velocity(start + time * first)
        return not bool((np.abs(there - first)[moving > 0] <= _CHANGE * moving[moving > 0]).all())

    if not changed(longest):
        return longest
    late = longest
    for early in _shorter(longest):
        if not changed(early):
            break
        late = early
    else:
        return late
    for _ in range(_HALVINGS):
        middle = float(np.sqrt(early) * np.sqrt(late))
        if changed(middle):
            late = middle
        else:
            early = middle
        if late < 1.2 * early:
            break
    return early


def _shorter(longest: float) -> Iterator[float]:
    """Times that fall, faster and faster."""
    power = 0.5
    while longest * 10.0**-power > 0 and power < 300:
        yield longest * 10.0**-power
        power *= 2
