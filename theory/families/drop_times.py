"""Owns the times of the loss drops of linear attention: the flows of its split and merged weights, solved.

Derived here; [Z25] reduces the split flow to scalar equations and solves the merged one for white covariates.
"""

from __future__ import annotations

from collections.abc import Callable

from sympy import (
    Dummy,
    Expr,
    Function,
    IndexedBase,
    N,
    Rational,
    S,
    Symbol,
    atan,
    cancel,
    exp,
    limit,
    log,
    simplify,
    solve,
    sqrt,
)

from .. import notation as n
from ..derivation import Recorder
from ..indexed import difference_is_zero, directional_derivative, inline, replace_indexed, rule, substitute
from ..indexed.asymptotics import leading_order
from ..system import ReducedSystem
from .covariates import a, context_noise, direction_power, n_coordinates, over_coordinates, variance
from .linear import key_query, linear_attention_flow, output_value

drive = IndexedBase("gamma", positive=True)  # γ_a, minus the gradient in A_a at zero weights
level = IndexedBase("A_star", positive=True)  # A_a of a learned coordinate
LEVEL = 1 / (variance[a] * (1 + context_noise[a]))

# What the times are written in: one coordinate's drive and level, the start, and the merged flow's p_0 and p*.
drop_time, start, own_drive, own_level, merged_rate, merged_start, merged_end = (
    Symbol(name, positive=True) for name in ("T_drop", "epsilon", "gamma_a", "A_star", "Gamma", "p_0", "p_star")
)
_z = Symbol("z", positive=True)


def split_time(record: Recorder) -> tuple[Expr, Expr, Expr]:
    """The balanced aligned flow of one coordinate, solved."""
    flow = linear_attention_flow("aligned")
    size = IndexedBase("y", positive=True)
    on_set = {weight.base: lambda at: size[at] for weight in flow.state}
    shown = drive[a] * size[a] ** 2 * (1 - size[a] ** 3 / level[a])
    known = {drive: lambda at: 2 * direction_power[at] * variance[at], level: lambda at: substitute(LEVEL, {a: at})}
    record(
        "one coordinate",
        (n.time_derivative(size[a]), shown),
        "v_a = k_a = q_a = y_a stays so (all three move alike): y_a³ = A_a rises from ε³ to A*_a.",
        check=lambda: all(
            difference_is_zero(replace_indexed(inline(rhs, flow.definitions), on_set), replace_indexed(shown, known))
            for rhs in flow.velocity
        ),
    )
    rest = -log(1 - _z) / 3 + log(1 + _z + _z**2) / 6 - (atan((2 * _z + 1) / sqrt(3)) - atan(1 / sqrt(3))) / sqrt(3)
    clock = rest - 1 / _z
    w = Dummy("w", positive=True)
    record(
        "clock",
        (Symbol("F"), clock),
        "z = y/A*^{1/3}: γ A*^{1/3} dt = dz/(z² (1 − z³)) = dF.",
        check=lambda: cancel(clock.diff(_z) - 1 / (_z**2 * (1 - _z**3))) == 0,
    )
    (half,) = (root for root in solve((1 - w) ** 2 - Rational(1, 2), w) if root < 1)
    unit = own_level ** Rational(1, 3)
    exact = (clock.xreplace({_z: half ** Rational(1, 3)}) - clock.xreplace({_z: start / unit})) / (own_drive * unit)
    record(
        "drop time",
        (drop_time, exact),
        "The loss gap of the coordinate goes like (1 − z³)²: half of the fall is made at z³ = 1 − 1/√2.",
        check=lambda: bool(abs(N((1 - half) ** 2 - Rational(1, 2))) < S(10) ** -12),
    )
    leading = 1 / (own_drive * start)
    record(
        "drop time for small weights",
        (drop_time, leading),
        "ε → 0: three factors grow by a power law and blow up after 1/(γ ε); the rest stays bounded.",
        check=lambda: limit((exact / leading).xreplace({own_level: S.One, own_drive: S.One}), start, 0) == 1,
    )
    after = clock.xreplace({_z: half ** Rational(1, 3)}) / (own_drive * unit)
    record(
        "half after blow-up",
        (drop_time - leading, after),
        "The next order: F(z) + 1/z vanishes with z.",
        check=lambda: (
            limit(rest, _z, 0) == 0
            and _is_small(exact - leading - after, {start: Rational(1, 10**4), own_level: S(2), own_drive: S(3)})
        ),
    )
    return exact, leading, after


def _is_small(difference: Expr, values: dict[Symbol, Expr]) -> bool:
    """Below the square of ε."""
    return bool(abs(N(difference.xreplace(values))) < values[start] ** 2)


def merged_time(record: Recorder) -> tuple[Expr, Expr]:
    flow = linear_attention_flow("merged")
    record.include(flow.derivation)
    small = {output_value: -S.One, key_query: -S.One}
    linear = tuple(leading_order(inline(rhs, flow.definitions), small) for rhs in flow.velocity)
    rate_squared = over_coordinates(4 * direction_power[a] ** 2 * variance[a] ** 2)
    direction = {state.base: rule(state, rhs) for state, rhs in zip(flow.state, linear, strict=True)}
    record(
        "merged flow at zero",
        tuple((n.time_derivative(state), rhs) for state, rhs in zip(flow.state, linear, strict=True)),
        "First order in the weights: heads decouple.",
    )
    rate = sqrt(rate_squared)
    record(
        "rate of the merged drop",
        (merged_rate, rate),
        "The second derivative of v_h is Γ² v_h: heads grow at Γ along u_a ∝ γ_a, so one drop comes after "
        "ln(1/ε)/Γ + O(1).",
        check=lambda: difference_is_zero(
            directional_derivative(linear[0], direction), rate_squared * output_value[n.h]
        ),
    )
    time, end = Symbol("t", positive=True), merged_end
    total = Function("p")(time)
    logistic = 2 * merged_rate * total * (1 - total / end)
    record(
        "merged flow of equal coordinates",
        (total.diff(time), logistic),
        "u_a^h = v_h/√D stays so: p = Σ_h v_h² obeys the logistic equation, p* = √D A*.",
        check=lambda: _equal_coordinates_are_logistic(flow),
    )
    curve = merged_start * end / (merged_start + (end - merged_start) * exp(-2 * merged_rate * time))
    exact = log((end / merged_start - 1) / (1 + sqrt(2))) / (2 * merged_rate)
    record(
        "time of the merged drop",
        (drop_time, exact),
        "p = p_0 p*/(p_0 + (p* − p_0) e^{−2Γt}); half of the fall is made where (1 − p/p*)² = ½.",
        check=lambda: (
            simplify(curve.diff(time) - logistic.xreplace({total: curve})) == 0
            and simplify(1 - curve.xreplace({time: exact}) / end - 1 / sqrt(2)) == 0
        ),
    )
    return rate, exact


def _equal_coordinates_are_logistic(flow: ReducedSystem) -> bool:
    """Both velocities at u_a^h = v_h/√D and equal coordinates: Γ (1 − p/p*) times the weight."""
    power, width, noise = (Symbol(name, positive=True) for name in ("w", "Lambda", "rho"))
    root = sqrt(n_coordinates)
    equal: dict[IndexedBase, Callable[..., Expr]] = {
        direction_power: lambda _: power,
        variance: lambda _: width,
        context_noise: lambda _: noise,
        key_query: lambda _, head: output_value[head] / root,
    }
    total = n.over_heads(output_value[n.k] ** 2, n.k)
    rate, end = 2 * root * power * width, root / (width * (1 + noise))
    growth = rate * output_value[n.h] * (1 - total / end)
    by_v, by_u = (replace_indexed(inline(rhs, flow.definitions), equal) for rhs in flow.velocity)
    return difference_is_zero(by_v, growth) and difference_is_zero(by_u, growth / root)
