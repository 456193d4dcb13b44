"""Owns the merged flow's valley in general: the loss order by order as ω → 0, and the powers of time that follow.

With H ≥ 2 heads the infimum lies at ω → 0 and μ → ∞ (`headflow.theory.optimum`).  There the loss is a sum of squared
moments ``Σ_h μ_i^h (√d ω^h)^{⊗n}``; the first one above n = 1 that the heads cannot make vanish sets the speed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from sympy import (
    Add,
    Expr,
    IndexedBase,
    Matrix,
    Max,
    Min,
    Rational,
    S,
    Symbol,
    diff,
    eye,
    factorial,
    powsimp,
    simplify,
    solve,
    symbols,
)

from .. import notation as n
from ..derivation import Derivation, Recorder
from ..errors import HypothesisError
from ..flow import gradient_flow
from ..indexed import difference_is_zero, directional_derivative, normalise, replace_indexed
from ..indexed.asymptotics import leading_order
from ..optimum import multi_head_optimum
from .linearised import perturbation
from .power_law import time

HIGHEST_MOMENT = 3
_DIRECTION = perturbation(n.omega)

# The length of μ, the gap to the infimum and its coefficient.
mu_length = Symbol("rho", positive=True)
gap = Symbol("loss_gap", positive=True)
coefficient = Symbol("G", positive=True)
order = Symbol("p", integer=True, positive=True)
rank = Symbol("R", integer=True, positive=True)
moment_loss = IndexedBase("T", nonnegative=True)
rho_dot = Symbol("rho_dot", real=True)
# How many directions zero-sum weights span at the infimum; 2 R heads or more: order 2, fewer: order 1.
DIRECTIONS = Min(n.n_tasks, n.n_heads - 1)
_ORDER = 1 + Max(0, Min(1, n.n_heads - 2 * rank + 1))


@dataclass(frozen=True)
class Exponents:
    """Powers of t in a valley: of the gap to the infimum, of |ω|, of |μ|, and of the fastest eigenvalue."""

    gap: Rational
    omega: Rational
    mu: Rational
    fastest: Rational


@dataclass(frozen=True)
class ValleyOrder:
    """What a valley of order p is: ``𝓛 − inf 𝓛 = G ρ^(−2p)`` with ρ = |μ|, so that ``rho`` grows as a power of t.

    Attributes
    ----------
    moments
        The noise part of the loss by moments: entry n is quadratic in ``Σ_h μ_i^h (√d ω^h)^{⊗n}``.
    curvature
        D²𝓛 in a direction ω̃ where it is largest, to leading order as ω → 0 at ω μ of order one.
    rho
        |μ| as a function of G, p and t.
    """

    moments: tuple[Expr, ...]
    curvature: Expr
    rho: Expr
    derivation: Derivation

    def exponents(self, p: int) -> Exponents:
        """The powers of t in a valley of order p ≥ 1."""
        slope = Rational(1, 2 * p + 2)
        return Exponents(gap=-2 * p * slope, omega=-slope, mu=slope, fastest=2 * slope)


def valley_order(n_tasks: int, n_heads: int) -> int:
    """The order of the valley: 2 where heads can pair as ±ω in every direction that they use, else 1.

    Raises ``HypothesisError`` for H = 1, whose minimum is attained.
    """
    if n_heads < 2:
        raise HypothesisError("the valley of the merged flow", "at least two heads (H ≥ 2)", f"H = {n_heads}")
    sizes = {n.n_tasks: n_tasks, n.n_heads: n_heads}
    return int(_ORDER.xreplace({rank: DIRECTIONS.xreplace(sizes), **sizes}))


@cache
def merged_valley_order() -> ValleyOrder:
    """The loss by moments, the order of the valley, and the slow flow along it."""
    record = Recorder("Valley of the merged flow", ("H ≥ 2", "ω → 0 with ω μ of order one, as the infimum demands"))
    record.include(multi_head_optimum().derivation)
    record.include(gradient_flow("merged").derivation)
    moments = _recorded_moments(record)
    _record_order(record)
    curvature = _recorded_curvature(record)
    rho = _recorded_slow_flow(record)
    return ValleyOrder(moments, curvature, rho, record.freeze())


def _taylor(highest: int) -> list[Expr]:
    """The parts of the loss by their order in ω, from 0."""
    flow = gradient_flow("merged")
    varied, parts = flow.loss, []
    for order_in_omega in range(highest + 1):
        if order_in_omega:
            varied = directional_derivative(varied, {n.omega: lambda *at: _DIRECTION[at]}, flow.definitions)
        at_zero = replace_indexed(flow.opened(varied), {n.omega: lambda *_: S.Zero})
        back = replace_indexed(normalise(at_zero), {_DIRECTION: lambda *at: n.omega[at]})
        parts.append(normalise(back / factorial(order_in_omega)))
    return parts


def noise_moment(power: int) -> Expr:
    """``Σ_i λ_i (φ_i/L) Σ_hk μ_i^h μ_i^k (Σ_j d_j ω_j^h ω_j^k)^n / n!``."""
    i, j, h, k = n.i, n.j, n.h, n.k
    overlap = n.over_tasks(n.dims[j] * n.omega[j, h] * n.omega[j, k], j)
    pairs = n.over_heads(n.mu[i, h] * n.mu[i, k] * overlap**power, h, k)
    weight = n.signal_power[i] * n.noise_factor[i] / n.context_length
    return n.over_tasks(weight * pairs) / factorial(power)


def _recorded_moments(record: Recorder) -> tuple[Expr, ...]:
    i, h = n.i, n.h
    signal = n.over_tasks(n.signal_power[i] * (1 - n.over_heads(n.mu[i, h] * n.omega[i, h])) ** 2)
    moments = tuple(noise_moment(power) for power in range(HIGHEST_MOMENT + 1))

    def matches() -> bool:
        by_order: dict[int, Expr] = {2 * power: term for power, term in enumerate(moments)}
        reached = n.over_heads(n.mu[i, h] * n.omega[i, h])
        by_order[0] += n.over_tasks(n.signal_power[i])
        by_order[1] = -2 * n.over_tasks(n.signal_power[i] * reached)
        by_order[2] += n.over_tasks(n.signal_power[i] * reached**2)
        return all(
            difference_is_zero(part, by_order.get(power, S.Zero))
            for power, part in enumerate(_taylor(2 * HIGHEST_MOMENT))
        )

    record(
        "loss by moments",
        (
            (n.loss, Add(signal, *(moment_loss[power] for power in range(HIGHEST_MOMENT + 1)), evaluate=False)),
            *((moment_loss[power], term) for power, term in enumerate(moments)),
        ),
        "C_hk in powers of its exponent. T_n is the squared length of the moments Σ_h μ_i^h (√d ω^h)^{⊗n}, over n!; "
        "what follows is smaller by the square of ω.",
        check=matches,
    )
    return moments


def _record_order(record: Recorder) -> None:
    """R directions need 2R heads before second moments can vanish."""
    record(
        "directions in use",
        (rank, DIRECTIONS),
        "The infimum asks for T_0 = 0, μ with zero sum, and for first moments that span as many directions as zero-sum "
        "weights can.",
    )
    record(
        "order of the valley",
        ((order, _ORDER), (gap, coefficient * mu_length ** (-2 * order))),
        "2 R heads in pairs ±ω with ±μ: even moments vanish, T_3 stays: p = 2. With fewer heads T_2 stays, p = 1: "
        "for R independent vectors over heads that are orthogonal to 1 and to all quadratic functions of the points, "
        "1 and the quadratic functions span at most H − R dimensions; but one linear function, not zero at a point "
        "other than 0, times R linear functions are R independent quadratic functions, so H ≥ 2 R. "
        "T_n is of degree 2 in μ and 2 n in ω = O(1/μ).",
        check=lambda: (
            all(sum(sign * sign**power for sign in (1, -1)) == 0 for power in (0, 2))
            and all(valley_order(size, 2 * size) == 2 for size in (1, 2, 3))
            and valley_order(2, 3) == valley_order(3, 3) == valley_order(3, 5) == 1
            and not any(_second_moments_vanish(size) for size in (2, 3))
            and _second_moments_vanish(1)
        ),
    )


def _second_moments_vanish(size: int) -> bool:
    """Whether R + 1 points in R dimensions can have first moments 1 and second moments 0, up to a linear map."""
    shift = Matrix(symbols(f"s1:{size + 1}", real=True))
    axes = [eye(size)[:, place] for place in range(size)]
    # The points s and s + e_i: first moments 1 leave one choice of μ, +1 at s + e_i and −1 at s.
    conditions = [entry for axis in axes for entry in (shift + axis) * (shift + axis).T - shift * shift.T if entry != 0]
    return bool(solve(conditions, list(shift), dict=True))


def _recorded_curvature(record: Recorder) -> Expr:
    flow = gradient_flow("merged")
    varied = flow.loss
    for _ in range(2):
        varied = directional_derivative(varied, {n.omega: lambda *at: _DIRECTION[at]}, flow.definitions)
    steepest = leading_order(flow.opened(varied), {n.mu: S.One, n.omega: -S.One})
    i, j, h = n.i, n.j, n.h
    own = n.over_heads(n.mu[i, h] * _DIRECTION[i, h]) ** 2
    spread = n.over_tasks(n.dims[j] * n.over_heads(n.mu[i, h] * _DIRECTION[j, h]) ** 2, j)
    shown = 2 * n.over_tasks(n.signal_power[i] * (own + n.noise_factor[i] / n.context_length * spread))
    return record(
        "walls of the valley",
        (Symbol("V", real=True), shown),
        "D²𝓛 in a direction ω̃, to leading order in μ → ∞: the walls steepen like the square of μ.",
        check=lambda: difference_is_zero(steepest, shown),
    )[1]


def _recorded_slow_flow(record: Recorder) -> Expr:
    slope = -diff(coefficient * mu_length ** (-2 * order), mu_length)
    record(
        "slow flow",
        (rho_dot, slope),
        "ω relaxes at once; what moves far is μ, outwards where the shape of the heads rests: gradient flow of "
        "the gap in ρ = |μ|. (ω moves too, by a length O(1/ρ²) per length of μ.)",
    )
    rho = (4 * order * (order + 1) * coefficient * time) ** (1 / (2 * order + 2))
    record(
        "growth of mu in a valley",
        (mu_length, rho),
        "Solved; what the start adds to t is forgotten.",
        check=lambda: (
            simplify(powsimp(diff(rho ** (2 * order + 2), time)))
            == simplify((2 * order + 2) * mu_length ** (2 * order + 1) * slope)
        ),
    )
    p = order
    record(
        "powers of time",
        (gap, coefficient * (4 * p * (p + 1) * coefficient * time) ** (-p / (p + 1))),
        "So gap ~ t^{−p/(p + 1)}, ω ~ 1/μ ~ t^{−1/(2 p + 2)}, fastest eigenvalue ~ μ² ~ t^{1/(p + 1)}. There is no "
        "minimiser: the flow never converges.",
        check=lambda: (
            simplify(powsimp(rho ** (-2 * p), force=True) - (4 * p * (p + 1) * coefficient * time) ** (-p / (p + 1)))
            == 0
        ),
    )
    return rho
