"""The mean trace T = E tr (W + s)⁻¹ of a Wishart matrix, enclosed: a trapezoid rule whose error is proved.

`headflow.theory.optima.bayes` writes T by integrals over r, τ > 0 of positive functions f.  In x = log r, y = log τ:

- *Step.*  A function of x that is analytic for |Im x| < η, whose absolute values have integrals of at most M times its
  own along every such line, is summed by the trapezoid rule of step h with a relative error of at most
  2M/(e^{2πη/h} − 1).  Here |f(x, y + iη)| ≤ f with τ cos η for τ, so M = (cos η)^{−k} with k the power of τ; and
  |f(x + iη, y)| ≤ f with c r for r, c = cos 2η, as Re (1 + r e^{iη})² ≥ (1 + c r)²: so M = c^{1−p}.
- *Ends.*  f is log-concave in (x, y), hence so are its rows' sums up to the error of the rule in y: what lies beyond
  the last row is at most a geometric series.  Small τ are summed in closed form: f/τ^k falls from its value at 0.

All that is computed is rounded outwards.  Bounds without an integral serve where rows would be too many.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from typing import Any, Final

from sympy import Expr, Integer

from ...theory.optima.bayes import bayes_risk, integrals, point, r, ratio, shift, size, slopes, tau
from ...theory.optima.bayes_bounds import trace_bounds
from ...theory.optima.wishart import fewer, more
from .endpoints import Arithmetic, arithmetic
from .interval import Interval
from .tape import Tape

# Grid of τ: a step of log(5/4) < 0.224, analytic up to |Im y| = 1.4, whose cosine is above 0.169: for τ or τ² the
# error is below 2 · 0.169⁻²/(e^{39.2} − 1), and e^{39.2} > 2^56.
_GROWTH: Final = Fraction(5, 4)
_TAU_ERROR: Final = 2 * Fraction(1000, 169) ** 2 / (2**56 - 1)
_SMALL: Final = math.log(1e-7)  # the first τ relative to the scale of what is summed
_LARGE: Final = 34.0  # −log of what is summed over that at its scale, at the last τ
_LEFT: Final = 30.0  # −log of what the rule in x may leave
_BEYOND: Final = Fraction(1, 2**45)  # of a sum, what may lie beyond the last row
_MOST_ROWS: Final = 1500, 120  # and for numbers of many digits
_MANY_BITS: Final = 400
_MOST_RATIOS: Final = 2000


Ends = tuple[Fraction, Fraction]


def mean_trace(p: int, n: int, s: Fraction, name: str | None = None) -> Ends:
    """Both ends of an enclosure of E tr (W + s)⁻¹, W = XᵀX with X of n × p standard normal numbers, s > 0.

    ``name`` is that of the arithmetic (default: the best that is installed).
    """
    lows, highs = zip(*enclosures(p, n, s, name), strict=True)
    low, high = max(lows), min(highs)
    if low > high:
        raise ArithmeticError(f"two enclosures of one mean trace are disjoint (p = {p}, n = {n}, s = {float(s):.6g})")
    return low, high


def enclosures(p: int, n: int, s: Fraction, name: str | None = None) -> tuple[Ends, ...]:
    """An enclosure by bounds without an integral, and one by integrals unless that would take too many rows."""
    if p > n:
        unseen = Fraction(p - n) / s
        return tuple((low + unseen, high + unseen) for low, high in enclosures(n, p, s, name))
    # Small s need their digits, powers of n those of n.
    scale = s.numerator.bit_length() - s.denominator.bit_length()
    kit = arithmetic(name, bits=128 + n.bit_length() + 2 * max(-scale, 0))
    with kit.working():
        outer, found = _without_integral(p, n, s, kit), _Sums(p, n, s, kit).trace()
    return (outer,) if found is None else (outer, found.ends)


def _without_integral(p: int, n: int, s: Fraction, kit: Arithmetic) -> Ends:
    known = trace_bounds()
    values: dict[Expr, Interval] = {fewer: _exact(kit, p), more: _exact(kit, n), shift: _exact(kit, s)}
    *least, most = Tape(*known.smallest, known.largest).all(values, kit)
    return max(own.ends[0] for own in least), most.ends[1]


@dataclass(frozen=True)
class _Product:
    """One of the products whose integrals make the J: of which, its factor in r, its function of τ by place."""

    integral: int
    in_r: Tape
    in_tau: int


class _Sums:
    """The sums over r and τ for one matrix."""

    def __init__(self, p: int, n: int, s: Fraction, kit: Arithmetic) -> None:
        self.p, self.n, self.s, self.kit = p, n, s, kit
        self.known = known = bayes_risk()
        self.log_s = math.log(s.numerator) - math.log(s.denominator)
        at = {fewer: Integer(p), more: Integer(n)}
        self.along, self.rate = Tape((known.along * r).xreplace(at)), Tape(known.rate)
        functions: list[Expr] = []
        self.products: list[_Product] = []
        for place, terms in enumerate(known.terms):
            for in_r, in_tau in terms:
                functions += [] if in_tau in functions else [in_tau]
                self.products.append(_Product(place, Tape(in_r), functions.index(in_tau)))
        # As τ → 0 the functions tend to one, or to τ.
        self.powers = [2 if function.subs(tau, 0) == 0 else 1 for function in functions]
        self.across = Tape(*((known.across * tau * function).xreplace(at) for function in functions))
        self.nodes: dict[int, tuple[Any, list[Any]]] = {}

    def trace(self) -> Interval | None:
        """T; None where rows are too many."""
        exact = self._exact
        if self.p == 1:
            half = self.known.one_dimension
            row = self._row(-math.inf, self.rate({r: exact(0), shift: exact(self.s)}, self.kit))
            # The integral over y is the sum times the step.
            step = exact(_GROWTH).log()
            return exact(Fraction(int(half.p), int(half.q))) * step * row[0] * self._within(exact(_TAU_ERROR))
        found = self._rows()
        if found is None:
            return None
        sums, error = found
        within = self._within(error) * self._within(exact(_TAU_ERROR))
        values: dict[Expr, Interval] = {shift: exact(self.s), more: exact(self.n)}
        for place, (integral, slope) in enumerate(zip(integrals, slopes, strict=True)):
            own = [total for total, product in zip(sums, self.products, strict=True) if product.integral == place]
            values[integral] = sum(own[1:], own[0]) * within
            values[slope] = self._slope(self.n - place)
        return Tape(self.known.trace)(values, self.kit)

    def _rows(self) -> tuple[list[Interval], Interval] | None:
        """The sum of every product over all r and τ, and the relative error of the rule in x."""
        steps, error = self._step()
        growth, h = self._exact(Fraction(steps + 1, steps)), math.log1p(1 / steps)
        x = _mode(self.p, self.n, self.log_s)
        first = self._exact(Fraction(math.exp(x)) if abs(x) < 700 else Fraction(2) ** round(x / math.log(2)))
        # In every row the rule in y leaves an error.
        slack = self._exact((1 + _TAU_ERROR) / (1 - _TAU_ERROR))
        sums = begun = self._products(first, x)
        rows, at_zero = 1, self._products(self._exact(0), -math.inf)
        for direction in (1, -1):
            before = begun
            for k in count(1):
                rows += 1
                if rows > _MOST_ROWS[self.kit.bits > _MANY_BITS]:
                    return None
                at = first * growth.power(Fraction(direction * k))
                current = self._products(at, x + direction * k * h)
                sums = [total + row for total, row in zip(sums, current, strict=True)]
                beyond = [self._from_zero(rest) for rest in self._beyond(current, before, slack)]
                if direction < 0 and not self._are_small(beyond, sums):
                    # Of all smaller r: what is summed over r^{p−1} falls from its value at r = 0 to that in this row.
                    geometric = self._exact(1) / (growth.power(Fraction(self.p - 1)) - self._exact(1))
                    powers = at.power(Fraction(self.p - 1)) * geometric
                    beyond = [
                        Interval(self.kit, (row * geometric).low, (most * powers).high)
                        for row, most in zip(current, at_zero, strict=True)
                    ]
                if self._are_small(beyond, sums):
                    sums = [total + rest for rest, total in zip(beyond, sums, strict=True)]
                    break
                before = current
        return sums, error

    def _step(self) -> tuple[int, Interval]:
        """N of the step log(1 + 1/N) ≤ 1/N in x, and the relative error of the rule; e^{2πηN} ≥ 2^{9ηN}."""

        def needed(eta: float) -> int:
            grows = -(self.p - 1) * math.log1p(-2 * eta**2)
            return math.ceil((_LEFT + grows) / (9 * math.log(2) * eta))

        widest = min(0.65, 8 / math.sqrt(self.p))
        eta = min((widest * k / 40 for k in range(1, 41)), key=needed)
        steps, exact = needed(eta), Fraction(eta)
        above = self._exact(2 ** math.floor(9 * exact * steps) - 1)
        # cos 2η ≥ 1 − 2η².
        return steps, self._exact(2) * self._exact(1 - 2 * exact**2).power(Fraction(1 - self.p)) / above

    def _products(self, at: Interval, x: float) -> list[Interval]:
        """The sum over τ of every product at one r = e^x."""
        values: dict[Expr, Interval] = {r: at, shift: self._exact(self.s)}
        # At r = 0 over r^{p−1}, where the rest of `along` is one.
        along = self.along(values, self.kit) if x > -math.inf else self._exact(1)
        row = self._row(x, self.rate(values, self.kit))
        return [along * product.in_r(values, self.kit) * row[product.in_tau] for product in self.products]

    def _beyond(self, current: list[Interval], before: list[Interval], slack: Interval) -> list[Interval]:
        """At most this lies beyond the last row; nothing where rows do not fall yet."""
        found = []
        for last, other in zip(current, before, strict=True):
            falls = last / other * slack
            if not falls.high < 1:
                return []
            found.append(last * slack * falls / (self._exact(1) - falls))
        return found

    def _row(self, x: float, rate: Interval) -> list[Interval]:
        """Σ τ across(τ) f(τ) e^{−rate τ} over the grid of τ, for every function f."""
        log_rate = self.log_s - math.log(2) + 2 * _softplus(x)
        step = math.log(_GROWTH)
        start = math.floor((_SMALL - max(math.log(self.n / 2 + 1), log_rate)) / step)
        falls, exp = -self._ball(rate), self.kit.exp
        sums = self._smaller(start, falls)
        before: list[Any] = []
        for place in count(start):
            at, values = self._node(place)
            factor = exp(falls * at)
            terms = [value * factor for value in values]
            sums = [total + term for total, term in zip(sums, terms, strict=True)]
            log_tau = place * step
            lost = math.exp(min(log_rate + log_tau, 50)) + self.n / 2 * _softplus(log_tau) - max(log_tau, 0)
            if lost > _LARGE and before:
                beyond = self._beyond(self._intervals(terms), self._intervals(before), self._exact(1))
                if beyond:
                    found = self._intervals(sums)
                    return [total + self._from_zero(rest) for total, rest in zip(found, beyond, strict=True)]
            before = terms
        raise AssertionError("the grid of τ has no end")

    def _smaller(self, place: int, falls: Any) -> list[Any]:
        """The sums over all smaller τ, as balls: f/τ^k falls from one at τ = 0 to what it is at the first node."""
        at, values = self._node(place)
        factor = self.kit.exp(falls * at)
        found = []
        for value, power in zip(values, self.powers, strict=True):
            geometric = self._ball(self._exact(1 / (_GROWTH**power - 1)))
            ends = self._intervals([value * factor * geometric, at**power * geometric])
            found.append(self.kit.hull(ends[0].low, ends[1].high))
        return found

    def _node(self, place: int) -> tuple[Any, list[Any]]:
        """τ and what depends on it alone, as balls."""
        if place not in self.nodes:
            at = self._exact(_GROWTH).power(Fraction(place))
            self.nodes[place] = self._ball(at), [*map(self._ball, self.across.all({tau: at}, self.kit))]
        return self.nodes[place]

    def _ball(self, interval: Interval) -> Any:
        return self.kit.hull(interval.low, interval.high)

    def _intervals(self, balls: Iterable[Any]) -> list[Interval]:
        return [Interval(self.kit, self.kit.down(ball), self.kit.up(ball)) for ball in balls]

    def _slope(self, degrees: int) -> Interval:
        """∂ log D(p − 2, n, s)/∂s = m D(m − 1)/D(m) at m = p − 2: from m = 1 on or, if that is far, from bounds."""
        last = self.p - 2
        if not last:
            return self._exact(0)
        first = max(1, last - _MOST_RATIOS)
        values: dict[Expr, Interval] = {point: self._exact(self.s), more: self._exact(degrees)}
        found = self._exact(self.s + degrees)  # D_1/D_0
        if first > 1:
            bounds = Tape(trace_bounds().least_slope, trace_bounds().most_slope)
            least, most = bounds.all({**values, size: self._exact(first)}, self.kit)
            found = self._exact(first) / Interval(self.kit, least.low, most.high)
        following = Tape(self.known.next_ratio)
        for m in range(first, last):
            found = following({**values, size: self._exact(m), ratio: found}, self.kit)
        return self._exact(last) / found

    def _exact(self, number: Fraction | int) -> Interval:
        return _exact(self.kit, number)

    def _within(self, error: Interval) -> Interval:
        """What to multiply by after a relative error of at most ``error``, which is below one."""
        one = self._exact(1)
        return Interval(self.kit, (one / (one + error)).low, (one / (one - error)).high)

    def _from_zero(self, most: Interval) -> Interval:
        return Interval(self.kit, self._exact(0).low, most.high)

    def _are_small(self, rests: list[Interval], totals: list[Interval]) -> bool:
        """Whether every rest is known well enough, as to the size of its sum; not so if there are none."""
        most = self._exact(_BEYOND)
        pairs = zip(rests, totals, strict=bool(rests))
        return bool(rests) and all(self.kit.up(rest.high - rest.low) < (most * total).low for rest, total in pairs)


def _exact(kit: Arithmetic, number: Fraction | int) -> Interval:
    return Interval.of(kit, Fraction(number), Fraction(number))


def _softplus(x: float) -> float:
    """log(1 + e^x)."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _mode(p: int, n: int, log_s: float) -> float:
    """About where the sums over τ are largest in x = log r: the weight at its best τ falls from there on."""

    def slope(x: float) -> float:
        share = math.exp(x - _softplus(x))  # r/(1 + r)
        log_rate = log_s - math.log(2) + 2 * _softplus(x)
        rate = math.exp(min(log_rate, 300.0))
        linear = rate + n / 2 - 1
        times = 2 * rate / (linear + math.hypot(linear, 2 * math.sqrt(rate)))  # rate · τ ≤ 1
        return (p - 1) - (n - 2) * share - math.exp(min(log_s + x, 300.0)) - 2 * share * times

    low, high = -2000.0, 2000.0
    while high - low > 1e-3 / math.sqrt(p) and low < (low + high) / 2 < high:
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return low
