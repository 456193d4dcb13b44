"""Intervals: pairs of points between which an exact value lies, every operation rounded outwards."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from .endpoints import Arithmetic


class UnboundedError(ArithmeticError):
    """An operation has no bounded enclosure: a division by an interval around zero, a root of negative numbers."""


class Interval:
    """All numbers from ``low`` to ``high``, points of an arithmetic."""

    __slots__ = ("high", "kit", "low")

    def __init__(self, kit: Arithmetic, low: Any, high: Any) -> None:
        self.kit, self.low, self.high = kit, low, high

    @classmethod
    def of(cls, kit: Arithmetic, low: Fraction, high: Fraction) -> Interval:
        """The smallest interval of the arithmetic around exact ends."""
        return cls(kit, kit.down(kit.point(low)), kit.up(kit.point(high)))

    @property
    def ends(self) -> tuple[Fraction, Fraction]:
        """Both ends, exactly."""
        return self.kit.fraction(self.low), self.kit.fraction(self.high)

    def _new(self, low: Any, high: Any) -> Interval:
        return Interval(self.kit, self.kit.down(low), self.kit.up(high))

    def __add__(self, other: Interval) -> Interval:
        if not isinstance(other, Interval):
            return NotImplemented
        return self._new(self.low + other.low, self.high + other.high)

    def __sub__(self, other: Interval) -> Interval:
        return self._new(self.low - other.high, self.high - other.low)

    def __neg__(self) -> Interval:
        return self._new(-self.high, -self.low)

    def __mul__(self, other: Interval) -> Interval:
        if not isinstance(other, Interval):
            return NotImplemented
        if self.low >= 0 and other.low >= 0:
            return self._new(self.low * other.low, self.high * other.high)
        products = [mine * its for mine in (self.low, self.high) for its in (other.low, other.high)]
        down, up = self.kit.down, self.kit.up
        return Interval(self.kit, min(map(down, products)), max(map(up, products)))

    def inverse(self) -> Interval:
        """1 over the interval; `UnboundedError` if it holds zero."""
        if not (self.low > 0 or self.high < 0):
            raise UnboundedError("division by an interval that holds zero")
        return self._new(1 / self.high, 1 / self.low)

    def __truediv__(self, other: Interval) -> Interval:
        return self * other.inverse()

    def power(self, exponent: Fraction) -> Interval:
        """The power; of numbers ≥ 0 unless the exponent is an integer."""
        if exponent < 0:
            return self.power(-exponent).inverse()
        if exponent.denominator == 1:
            return self._integer_power(exponent.numerator)
        if exponent.denominator == 2:
            return self.sqrt()._integer_power(exponent.numerator)
        return (self.log() * Interval.of(self.kit, exponent, exponent)).exp()

    def _integer_power(self, exponent: int) -> Interval:
        low, high = self.low**exponent, self.high**exponent
        if exponent % 2 or self.low >= 0:
            return self._new(low, high)
        if self.high <= 0:
            return self._new(high, low)
        zero = self.low - self.low
        return Interval(self.kit, zero, max(self.kit.up(low), self.kit.up(high)))

    def sqrt(self) -> Interval:
        if not self.low >= 0:
            raise UnboundedError("root of an interval that holds negative numbers")
        return self._new(self.kit.sqrt(self.low), self.kit.sqrt(self.high))

    def exp(self) -> Interval:
        return self._new(self.kit.exp(self.low), self.kit.exp(self.high))

    def log(self) -> Interval:
        if not self.low > 0:
            raise UnboundedError("logarithm of an interval that is not positive")
        return self._new(self.kit.log(self.low), self.kit.log(self.high))

    def inside(self, other: Interval) -> bool:
        """Whether the interval lies in the interior of another."""
        return bool(self.low > other.low and self.high < other.high)

    def __repr__(self) -> str:
        low, high = self.ends
        return f"[{float(low)!r}, {float(high)!r}]"
