"""Enclosures of e^x and log x in whole numbers alone: sums of positive terms, each rounded down or up."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache

# Beyond those that are asked for: sums round a hundred terms or so.
_SPARE_BITS = 16
# A number times 2^places, rounded down and up: what lies between is no further apart than the rounding of its terms.
Ends = tuple[int, int]


def exp_ends(value: Fraction, bits: int) -> tuple[Ends, int]:
    """``ends, power`` with e^value between ``ends`` × 2^power, which agree to about so many bits."""
    halvings = math.isqrt(bits) // 2  # as many as shorten the sum by more than they cost
    places = bits + int(abs(value)).bit_length() + halvings + _SPARE_BITS
    low, high = _log_of_two(places)
    scaled = (value.numerator << places) // value.denominator
    # One less than the quotient: what is left of the value is then positive, and below 1.5.
    doublings = scaled // low - 1
    around = sorted((doublings * low, doublings * high))
    ends = _exp_down(scaled - around[1], places, halvings), _exp_up(scaled + 1 - around[0], places, halvings)
    return ends, doublings - places


def log_ends(value: Fraction, bits: int) -> tuple[Ends, int]:
    """``ends, power`` with log value between ``ends`` × 2^power, about 2^−bits apart, for a value > 0."""
    doublings = value.numerator.bit_length() - value.denominator.bit_length()
    places = bits + doublings.bit_length() + _SPARE_BITS
    rest = value / Fraction(2) ** doublings
    if rest < 1:
        doublings, rest = doublings - 1, 2 * rest
    low, high = _twice_atanh((rest - 1) / (rest + 1), places)
    around = sorted(doublings * end for end in _log_of_two(places))
    return (low + around[0], high + around[1]), -places


def _exp_down(x: int, places: int, halvings: int) -> int:
    """e^x of some x ≥ 0 by Σ_n y^n/n! at y = x/2^halvings, every term and square rounded down."""
    x >>= halvings
    term = total = 1 << places
    count = 0
    while term:
        count += 1
        term = ((term * x) >> places) // count
        total += term
    for _ in range(halvings):
        total = total * total >> places
    return total


def _exp_up(x: int, places: int, halvings: int) -> int:
    """The same for x < 1.5, everything rounded up; from the third on each term is below half the one before it."""
    x = -(-x >> halvings)
    term = total = 1 << places
    count = 0
    while term > 1 or count < 3:
        count += 1
        term = -((-term * x >> places) // count)
        total += term
    total += term  # the terms that are left are less than the last
    for _ in range(halvings):
        total = -(-total * total >> places)
    return total


def _twice_atanh(x: Fraction, places: int) -> Ends:
    """2 Σ_n x^(2n+1)/(2n+1) for 0 ≤ x ≤ 1/3, where each term is below a ninth of the one before it."""
    low, over = divmod(x.numerator << places, x.denominator)
    high = low + bool(over)
    low_square, high_square = low * low >> places, -(-high * high >> places)
    low_sum = high_sum = 0
    odd = 1
    while high > 1:
        low_sum, high_sum = low_sum + low // odd, high_sum - (-high // odd)
        low, high, odd = low * low_square >> places, -(-high * high_square >> places), odd + 2
    return 2 * low_sum, 2 * (high_sum + 2 * high)  # the terms that are left add up to less than twice the first


@cache
def _log_of_two(places: int) -> Ends:
    return _twice_atanh(Fraction(1, 3), places)
