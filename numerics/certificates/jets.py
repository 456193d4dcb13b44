"""Jets: value, first and half the second derivative in time, as intervals, under the operations of a tape."""

from __future__ import annotations

from fractions import Fraction

from .interval import Interval

_HALF = Fraction(1, 2)


class Jet:
    """Coefficients of 1, s and s² of a function of time around every time of an interval."""

    __slots__ = ("first", "second", "value")

    def __init__(self, value: Interval, first: Interval, second: Interval) -> None:
        self.value, self.first, self.second = value, first, second

    @staticmethod
    def _lifted(other: Jet | Interval) -> Jet:
        if isinstance(other, Jet):
            return other
        zero = Interval.of(other.kit, Fraction(0), Fraction(0))
        return Jet(other, zero, zero)

    def __add__(self, other: Jet | Interval) -> Jet:
        it = self._lifted(other)
        return Jet(self.value + it.value, self.first + it.first, self.second + it.second)

    __radd__ = __add__

    def __mul__(self, other: Jet | Interval) -> Jet:
        it = self._lifted(other)
        return Jet(
            self.value * it.value,
            self.value * it.first + self.first * it.value,
            self.value * it.second + self.first * it.first + self.second * it.value,
        )

    __rmul__ = __mul__

    def _of(self, value: Interval, slope: Interval, half_curvature: Interval) -> Jet:
        """The chain rule, for a function with these derivatives at ``value``."""
        return Jet(value, slope * self.first, slope * self.second + half_curvature * self.first.power(Fraction(2)))

    def exp(self) -> Jet:
        value = self.value.exp()
        return self._of(value, value, value * self._number(_HALF))

    def log(self) -> Jet:
        inverse = self.value.inverse()
        return self._of(self.value.log(), inverse, inverse.power(Fraction(2)) * self._number(-_HALF))

    def power(self, exponent: Fraction) -> Jet:
        def of(less: int, factor: Fraction) -> Interval:
            return self.value.power(exponent - less) * self._number(factor)

        return self._of(self.value.power(exponent), of(1, exponent), of(2, exponent * (exponent - 1) / 2))

    def _number(self, value: Fraction) -> Interval:
        return Interval.of(self.value.kit, value, value)
