"""The times of the loss drops of linear attention: the flows of its split and merged weights, solved.

Derived here; [Z25] reduces the split flow to scalar equations and solves the merged one for white covariates.
"""

from __future__ import annotations

from collections.abc import Callable

from sympy import (
    Dummy,
    Expr,
    Function,
    IndexedBase,
    Rational,
    S,
    Symbol,
    atan,
    cancel,
    exp,
    expand,
    limit,
    log,
    simplify,
    solve,
    sqrt,
)

from .. import notation as n
from ..derivation import Recorder
from ..flows.system import ReducedSystem
from ..indexed import difference_is_zero, directional_derivative, inline, replace_indexed, rule, substitute
from ..indexed.asymptotics import leading_order, scaled_limit
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
        check=lambda line: all(
            difference_is_zero(replace_indexed(inline(rhs, flow.definitions), on_set), replace_indexed(line[1], known))
            for rhs in flow.velocity
        ),
    )
    rest = -log(1 - _z) / 3 + log(1 + _z + _z**2) / 6 - (atan((2 * _z + 1) / sqrt(3)) - atan(1 / sqrt(3))) / sqrt(3)
    clock = rest - 1 / _z
    w = Dummy("w", positive=True)
    record(
        "clock",
        (Symbol("F"), clock),
        "z = y/A*^{1/3}: γ A*^{1/3} dt = dz/(z² (1 − z³)) = dF, and F + 1/z vanishes with z.",
        check=lambda line: (
            cancel(line[1].diff(_z) - 1 / (_z**2 * (1 - _z**3))) == 0 and limit(line[1] + 1 / _z, _z, 0) == 0
        ),
    )
    (half,) = (root for root in solve((1 - w) ** 2 - Rational(1, 2), w) if root < 1)
    unit = own_level ** Rational(1, 3)
    exact = (clock.xreplace({_z: half ** Rational(1, 3)}) - clock.xreplace({_z: start / unit})) / (own_drive * unit)
    record(
        "drop time",
        (drop_time, exact),
        "The loss gap of the coordinate goes like (1 − z³)²: half of the fall is made at z³ = 1 − 1/√2. A start there "
        "needs no time, and one at ε needs dε/ẏ more than one further on.",
        check=lambda line: (
            expand((1 - half) ** 2) == Rational(1, 2)
            and simplify(line[1].diff(start) + 1 / (own_drive * start**2 * (1 - start**3 / own_level))) == 0
            and simplify(line[1].xreplace({start: unit * half ** Rational(1, 3)})) == 0
        ),
    )
    leading = 1 / (own_drive * start)
    record(
        "drop time for small weights",
        (drop_time, leading),
        "ε → 0: three factors grow by a power law and blow up after 1/(γ ε); the rest stays bounded.",
        check=lambda line: limit((exact / line[1]).xreplace({own_level: S.One}), start, 0) == 1,
    )
    after = clock.xreplace({_z: half ** Rational(1, 3)}) / (own_drive * unit)
    record(
        "half after blow-up",
        (drop_time - leading, after),
        "The next order: F(z) + 1/z vanishes with z.",
        check=lambda line: (
            line[0] == drop_time - leading
            and limit(rest, _z, 0) == 0
            and simplify((exact - leading - line[1]) * own_drive * unit + rest.xreplace({_z: start / unit})) == 0
        ),
    )
    return exact, leading, after


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
        check=lambda *lines: all(
            difference_is_zero(line[1], scaled_limit(inline(rhs, flow.definitions), small, 1))
            for line, rhs in zip(lines, flow.velocity, strict=True)
        ),
    )
    rate = sqrt(rate_squared)
    record(
        "rate of the merged drop",
        (merged_rate, rate),
        "The second derivative of v_h is Γ² v_h: heads grow at Γ along u_a ∝ γ_a, so one drop comes after "
        "ln(1/ε)/Γ + O(1).",
        check=lambda line: difference_is_zero(
            directional_derivative(linear[0], direction), line[1] ** 2 * output_value[n.h]
        ),
    )
    time, end = Symbol("t", positive=True), merged_end
    total = Function("p")(time)
    power = Symbol("p", positive=True)
    logistic = 2 * merged_rate * total * (1 - total / end)
    record(
        "merged flow of equal coordinates",
        (total.diff(time), logistic),
        "u_a^h = v_h/√D stays so: p = Σ_h v_h² obeys the logistic equation, p* = √D A*.",
        check=lambda line: (
            line[0] == total.diff(time)
            and _equal_coordinates_are_logistic(flow, line[1].xreplace({total: power}), power)
        ),
    )
    curve = merged_start * end / (merged_start + (end - merged_start) * exp(-2 * merged_rate * time))
    exact = log((end / merged_start - 1) / (1 + sqrt(2))) / (2 * merged_rate)
    record(
        "time of the merged drop",
        (drop_time, exact),
        "p = p_0 p*/(p_0 + (p* − p_0) e^{−2Γt}); half of the fall is made where (1 − p/p*)² = ½.",
        check=lambda line: (
            simplify(curve.diff(time) - logistic.xreplace({total: curve})) == 0
            and simplify(curve.xreplace({time: S.Zero}) - merged_start) == 0
            and simplify(1 - curve.xreplace({time: line[1]}) / end - 1 / sqrt(2)) == 0
        ),
    )
    return rate, exact


def _equal_coordinates_are_logistic(flow: ReducedSystem, logistic: Expr, total: Symbol) -> bool:
    """Whether u_a^h = v_h/√D stays so at equal coordinates, and Σ_h v_h² moves as is said, with Γ and p* there."""
    power, width, noise = (Symbol(name, positive=True) for name in ("w", "Lambda", "rho"))
    root = sqrt(n_coordinates)
    equal: dict[IndexedBase, Callable[..., Expr]] = {
        direction_power: lambda _: power,
        variance: lambda _: width,
        context_noise: lambda _: noise,
        key_query: lambda _, head: output_value[head] / root,
    }
    by_v, by_u = (replace_indexed(inline(rhs, flow.definitions), equal) for rhs in flow.velocity)
    squares = n.over_heads(output_value[n.h] ** 2)
    own = {merged_rate: 2 * root * power * width, merged_end: root * replace_indexed(LEVEL, equal)}
    claimed = substitute(logistic.xreplace(own), {total: squares})
    return difference_is_zero(by_u, by_v / root) and difference_is_zero(
        2 * n.over_heads(output_value[n.h] * by_v), claimed
    )
