"""The merged flow's valley in general: the loss order by order as ω → 0, its order p, and the powers of time.

With H ≥ 2 heads the infimum lies at ω → 0 and μ → ∞ (`headflow.theory.optima.optimum`).  There the loss is a sum of
squared moments ``Σ_h μ_i^h (√d ω^h)^{⊗n}``; the first one above n = 1 that the heads do not make vanish sets the speed.
"""

from __future__ import annotations

from dataclasses import dataclass

from sympy import (
    Add,
    Expr,
    Function,
    Gt,
    IndexedBase,
    Integer,
    Le,
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
from ..flows.flow import gradient_flow
from ..grounds import FORMAL
from ..indexed import difference_is_zero, directional_derivative, normalise, replace_indexed, unroll
from ..indexed.asymptotics import leading_order
from ..optima.optimum import multi_head_optimum
from ..phases.linearised import perturbation
from ..result import Result, builder
from .line_shape import resting_weights
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
shape_dot = Symbol("m_dot", real=True)
# How many directions zero-sum weights span at the infimum.
DIRECTIONS = Min(n.n_tasks, n.n_heads - 1)
_AXES = ((1, 2), (1, 3), (2, 2), (2, 3), (3, 2))  # R and p of heads on R axes
_IN_WORDS = "R = 1, p = 2, 3; R = 2, p = 2, 3; R = 3, p = 2"


@dataclass(frozen=True)
class Exponents:
    """Powers of t in a valley: of the gap to the infimum, of |ω|, of |μ|, and of the fastest eigenvalue."""

    gap: Rational
    omega: Rational
    mu: Rational
    fastest: Rational


@dataclass(frozen=True, repr=False)
class ValleyOrder(Result):
    """What a valley of order p is: ``𝓛 − inf 𝓛 = G ρ^(−2p)`` with ρ = |μ|, so that ``rho`` grows as a power of t.

    Attributes
    ----------
    moments
        The noise part of the loss by moments: entry n is quadratic in ``Σ_h μ_i^h (√d ω^h)^{⊗n}``.
    stretched
        −½ d𝓛/dτ along μ → e^τ μ, ω → e^(−τ) ω: in a valley p times the gap.
    curvature
        D²𝓛 in a direction ω̃ where it is largest, to leading order as ω → 0 at ω μ of order one.
    rho
        |μ| as a function of G, p and t.
    """

    moments: tuple[Expr, ...]
    stretched: Expr
    curvature: Expr
    rho: Expr
    derivation: Derivation

    def exponents(self, p: int) -> Exponents:
        """The powers of t in a valley of order p ≥ 1."""
        slope = Rational(1, 2 * p + 2)
        return Exponents(gap=-2 * p * slope, omega=-slope, mu=slope, fastest=2 * slope)


def highest_order(n_tasks: int, n_heads: int) -> int:
    """The highest order that a valley of so many tasks and heads can have: ⌊H/R⌋ for R = min(I, H − 1), or 1.

    Raises ``HypothesisError`` for H = 1, whose minimum is attained.
    """
    if n_heads < 2:
        raise HypothesisError("the valley of the merged flow", "at least two heads (H ≥ 2)", f"H = {n_heads}")
    return max(1, n_heads // int(DIRECTIONS.xreplace({n.n_tasks: Integer(n_tasks), n.n_heads: Integer(n_heads)})))


@builder
def merged_valley_order() -> ValleyOrder:
    """The loss by moments, the order of the valley, and the slow flow along it."""
    record = Recorder("Valley of the merged flow", ("H ≥ 2", "ω → 0 with ω μ of order one, as the infimum demands"))
    record.include(multi_head_optimum().derivation)
    record.include(gradient_flow("merged").derivation)
    moments = _recorded_moments(record)
    stretched = _recorded_stretch(record)
    _record_order(record)
    curvature = _recorded_curvature(record)
    rho = _recorded_slow_flow(record)
    return ValleyOrder(moments, stretched, curvature, rho, record.freeze())


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
        scope=FORMAL,
    )
    return moments


def _recorded_stretch(record: Recorder) -> Expr:
    """How the loss answers to μ and ω moved against each other."""
    i, j, h, k = n.i, n.j, n.h, n.k
    flow = gradient_flow("merged")
    overlap = n.over_tasks(n.dims[j] * n.omega[j, h] * n.omega[j, k], j)
    weight = n.signal_power[i] * n.noise_factor[i] / n.context_length
    pairs = n.over_heads(n.mu[i, h] * n.mu[i, k] * n.interaction[h, k] * (overlap - 1), h, k)
    stretched = n.over_tasks(weight * pairs)

    def derivative(expression: Expr) -> Expr:
        along = {n.mu: lambda *at: n.mu[at], n.omega: lambda *at: -n.omega[at]}
        return flow.opened(directional_derivative(expression, along, flow.definitions))

    def matches(line: tuple[Expr, Expr]) -> bool:
        whole = difference_is_zero(derivative(flow.loss), flow.opened(-2 * line[1]))
        return whole and all(
            difference_is_zero(derivative(noise_moment(power)), -2 * (power - 1) * noise_moment(power))
            for power in range(HIGHEST_MOMENT + 1)
        )

    record(
        "order of a state",
        (order * coefficient * mu_length ** (-2 * order), stretched),
        "Along μ → e^τ μ, ω → e^{−τ} ω the signal stays and T_n falls like e^{−2(n − 1)τ}. So −½ d𝓛/dτ, on the right, "
        "is Σ_n (n − 1) T_n: p times the gap G ρ^{−2p} in a valley of order p, where T_{p+1} is what is left.",
        check=matches,
    )
    return stretched


def _record_order(record: Recorder) -> None:
    """How many moments heads can make vanish, by a division."""
    record(
        "directions in use",
        (rank, DIRECTIONS),
        "The infimum asks for T_0 = 0, μ with zero sum, and for first moments that span as many directions as zero-sum "
        "weights can.",
    )
    along, tilt = Symbol("s", real=True), Symbol("b", real=True)
    function, line = Function("f")(along), 1 + tilt * along
    slope_at_zero = Symbol("f_slope", real=True)
    value = Symbol("f_0", real=True)
    record(
        "one hyperplane of heads taken away",
        (Symbol("lf_slope", real=True), slope_at_zero + tilt * value),
        "In a valley of order p, R combinations of the values at the heads give the R slopes ∂_a f(0) of every "
        "polynomial f of degree up to p, in R variables. Let ℓ = 1 + b s vanish on a hyperplane: applied to ℓ f, they "
        "give ∂_a f(0) + b_a f(0) for degrees up to p − 1, from the heads off the hyperplane alone.",
        check=lambda sides: (
            diff(line * function, along).doit().subs(along, 0)
            - sides[1].xreplace({slope_at_zero: diff(function, along).subs(along, 0), value: function.subs(along, 0)})
        ).equals(0),
    )
    record(
        "order of the valley",
        (Le(order * rank, Max(rank, n.n_heads)), (gap, coefficient * mu_length ** (-2 * order))),
        "For f = s_a the heads that are left still give slope 1 along a and 0 along the others: they span all R "
        "directions, so R of them lie on a hyperplane off 0. It can be taken away p − 1 times, and R heads are left: "
        "H ≥ p R. And T_n is of degree 2 in μ and 2n in ω, which is of order 1/μ.",
    )
    record(
        "every such order is reached",
        (order * rank, n.n_heads),
        "p heads on each of R orthogonal axes, at rest there (Σ 1/y = 0 on each): T_2 to T_p vanish, T_{p+1} does not. "
        "Heads left over may join them.",
        check=lambda: all(_reached(*sizes) for sizes in _AXES),
        scope=_IN_WORDS,
    )
    record(
        "fewer heads keep second moments",
        Gt(moment_loss[2], 0),
        "R + 1 heads in R ≥ 2 directions, by solving for them.",
        check=lambda: not any(map(_second_moments_vanish, (2, 3))) and _second_moments_vanish(1),
        scope="R = 2, 3",
    )


def _reached(size: int, power: int) -> bool:
    """Moments of heads on axes, at exact weights: I = R."""
    places = [Integer(place) for place in ((1, -1), (2, 1, -3))[power - 2]]
    weights = resting_weights(places)
    mu = [[S.Zero] * (size * power) for _ in range(size)]
    omega = [list(row) for row in mu]
    for axis in range(size):
        for head, (weight, place) in enumerate(zip(weights, places, strict=True)):
            mu[axis][axis * power + head], omega[axis][axis * power + head] = weight, 1 / place
    ones = [S.One] * size
    values = {"I": size, "H": size * power, "lambda": ones, "d": ones, "phi": ones, "L": 1, "mu": mu, "omega": omega}
    found = [unroll(noise_moment(order_in_overlap), values) for order_in_overlap in range(power + 2)]
    return found[0] == 0 and found[1] == size and not any(found[2:-1]) and bool(found[-1] > 0)


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
    slope = powsimp(-diff(coefficient * mu_length ** (-2 * order), mu_length))
    record(
        "slow flow",
        (rho_dot, slope),
        "ω relaxes at once: T_n pulls it back at a rate of order ρ^{4−2n}, which exceeds 1/t for n ≤ p + 2. What moves "
        "far is μ, outwards where the shape of the heads rests: gradient flow of the gap in ρ = |μ|. (ω moves too, by "
        "a length O(1/ρ²) per length of μ.)",
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
    drift = Symbol("G_m", real=True)  # ∂G/∂m̂
    record(
        "drift of the shape",
        (
            (shape_dot, -drift * mu_length ** (-2 * order - 2)),
            (shape_dot, -drift / (4 * p * (p + 1) * coefficient * time)),
        ),
        "G depends on the shape m = μ/|μ|, which moves by its slope there, and as log t: slowly, to where G is least. "
        "The constant of the gap is that of the shape where it rests.",
        check=lambda by_length, by_time: (
            simplify(powsimp(by_length[1].xreplace({mu_length: rho}) / by_time[1], force=True)) == 1
        ),
    )
    return rho
