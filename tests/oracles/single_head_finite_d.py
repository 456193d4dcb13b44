"""The least loss of one head in the closure finite_d, by another route than the package: nested root finding.

With μ eliminated the loss is Σ_i λ_i c_i/(c_i + x_i), x_i = d_i v_i/(2 C), v_i = 2 ω_i² in [0, 1),
C = Π_j (1 − v_j)^(−d_j/2).  At a given C the best v solves λ_i c_i (1 − v_i) = ν (c_i + d_i v_i/(2 C))² (or v_i = 0), a
quadratic equation for each task, with ν found by bisection; what is left is a minimum over one number, log C.
"""

from __future__ import annotations

from collections.abc import Sequence

from mpmath import mp, mpf, sqrt


def single_head_finite_d(dims: Sequence[int], powers: Sequence[object], noise: object, length: int) -> mpf:
    """The least loss, to some 15 digits."""
    with mp.workdps(40):
        tasks = [
            (mpf(d), mpf(power), (1 + mpf(noise) / mpf(power)) * d / length)
            for d, power in zip(dims, powers, strict=True)
        ]

        def shares(log_spread: mpf, level: mpf) -> list[mpf]:
            found = []
            for d, power, c in tasks:
                slope = d / (2 * mp.exp(log_spread))
                # level (c + slope v)² + power c v − power c = 0
                linear = 2 * level * c * slope + power * c
                constant = level * c * c - power * c
                if constant >= 0:
                    found.append(mpf(0))
                else:
                    found.append(-2 * constant / (linear + sqrt(linear**2 - 4 * level * slope**2 * constant)))
            return found

        def loss(log_spread: mpf) -> mpf:
            low, high = mpf(-2000), mp.log(max(power / c for _, power, c in tasks))
            for _ in range(140):
                middle = (low + high) / 2
                v = shares(log_spread, mp.exp(middle))
                reached = -sum(d * mp.log1p(-part) for (d, _, _), part in zip(tasks, v, strict=True)) / 2
                low, high = (middle, high) if reached > log_spread else (low, middle)
            v = shares(log_spread, mp.exp(high))
            slope = [d / (2 * mp.exp(log_spread)) for d, _, _ in tasks]
            return sum(power * c / (c + s * part) for (_, power, c), s, part in zip(tasks, slope, v, strict=True))

        # log C of one task of dimension d is (d/2) log(1 + 2/d), between .549 and 1; golden section.
        low, high = mpf("0.2"), mpf("1.5")
        ratio = (sqrt(mpf(5)) - 1) / 2
        first, second = high - ratio * (high - low), low + ratio * (high - low)
        at_first, at_second = loss(first), loss(second)
        for _ in range(45):
            if at_first < at_second:
                high, second, at_second = second, first, at_first
                first = high - ratio * (high - low)
                at_first = loss(first)
            else:
                low, first, at_first = first, second, at_second
                second = low + ratio * (high - low)
                at_second = loss(second)
        return min(at_first, at_second)
