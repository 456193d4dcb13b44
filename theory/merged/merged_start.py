"""Emergence from small weights in the merged flow: amplitudes of its modes, T_0, who wins (derived here)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sympy import (
    Add,
    Expr,
    IndexedBase,
    Integer,
    Matrix,
    Rational,
    S,
    Symbol,
    diff,
    exp,
    expand_log,
    log,
    oo,
    simplify,
    sqrt,
    symbols,
)

from .. import notation as n
from ..closed_form import HasValues, parameters_of, require, to_float
from ..derivation import Derivation, Recorder
from ..errors import InputError
from ..flows.flow import gradient_flow
from ..grounds import FORMAL
from ..indexed import (
    difference_is_zero,
    directional_derivative,
    inline,
    normalise,
    replace_indexed,
    rule,
    substitute,
    unroll,
)
from ..indexed.asymptotics import leading_order, scaled_limit
from ..optima.corollaries import MANY_HEADS
from ..result import Result, builder
from .merged_zero import merged_at_zero, sum_rate, zero_sum_rate
from .power_law import time

Numbers: TypeAlias = Sequence[Any]  # floats, integers or exact numbers, one per head

# The growing and the falling half of a head: μ + √d ω and μ − √d ω, halved.
rising = IndexedBase("z", real=True)
falling = IndexedBase("y", real=True)
amplitude = Symbol("A", positive=True)
progress = Symbol("V", positive=True)
progress_start = Symbol("V_0", positive=True)
emergence = Symbol("T_0", positive=True)
own_rate = Symbol("rho_zero", positive=True)
pull = Symbol("Q", positive=True)
_zero_sum, _sum = Symbol("A_zero", positive=True), Symbol("A_sum", positive=True)

_mu, _omega = Symbol("mu", real=True), Symbol("omega", real=True)
_power, _rate = symbols("lambda rho", positive=True)


@dataclass(frozen=True, repr=False)
class MergedStart(Result):
    """How a small start leaves zero in the merged flow, task by task.

    Attributes
    ----------
    amplitude
        Of a mode of rate ρ: ``(μ + (2λ/ρ) ω)/2`` of its weights grows like exactly ``e^{ρt}`` while weights are small.
    balance
        ``A_sum/A_zero^(ρ_sum/ρ_zero)``, constant while weights are small: large, and the heads end as one; small, and
        they part with zero sum.
    emergence
        T_0 of one task at long context, in ρ_zero and ``V_0 = Σ_h z_h²/√d``, z the amplitude of each head at ρ_zero.
    """

    amplitude: Expr
    balance: Expr
    emergence: Expr
    derivation: Derivation

    def amplitudes(self, problem: HasValues, task: int, mu: Numbers, omega: Numbers) -> tuple[float, float]:
        """(zero-sum, sum) amplitudes of the start of one task (from 0), each the root of a sum of squares over heads.

        Floats count as the exact numbers they are.
        """
        zero_sum, together = self._amplitudes(problem, task, mu, omega)
        return to_float(zero_sum), to_float(together)

    def balance_of(self, problem: HasValues, task: int, mu: Numbers, omega: Numbers) -> float:
        """Q of the start of one task: infinite where its heads are alike."""
        zero_sum, together = self._amplitudes(problem, task, mu, omega)
        if zero_sum == 0:
            return to_float(oo)
        fast, slow = _rates(problem, task)
        return to_float(together / zero_sum ** (slow / fast))

    def emergence_at(self, problem: HasValues, task: int, mu: Numbers, omega: Numbers) -> float:
        """T_0 of one task at long context, where half of its loss is gone: learning rate × steps."""
        values = _checked(problem, task, mu, omega)
        power, dim = S(values["lambda"][task]), Integer(values["d"][task])
        fast, _ = _rates(problem, task)
        square = Add(*(self._at(m, w, power, fast) ** 2 for m, w in _exact(mu, omega)))
        if square == 0:
            raise InputError("a start with μ = −√d ω in every head never leaves zero")
        return to_float(self.emergence.xreplace({own_rate: fast, progress_start: square / sqrt(dim)}))

    def _amplitudes(self, problem: HasValues, task: int, mu: Numbers, omega: Numbers) -> tuple[Expr, Expr]:
        values = _checked(problem, task, mu, omega)
        power, heads = S(values["lambda"][task]), len(mu)
        fast, slow = _rates(problem, task)
        pairs = _exact(mu, omega)
        middle = tuple(Add(*(pair[place] for pair in pairs)) / heads for place in (0, 1))
        apart = (self._at(m - middle[0], w - middle[1], power, fast) ** 2 for m, w in pairs)
        return sqrt(Add(*apart)), sqrt(heads) * abs(self._at(middle[0], middle[1], power, slow))

    def _at(self, mu: Expr, omega: Expr, power: Expr, rate: Expr) -> Expr:
        return self.amplitude.xreplace({_mu: mu, _omega: omega, _power: power, _rate: rate})


def _exact(mu: Numbers, omega: Numbers) -> list[tuple[Expr, Expr]]:
    return [(Rational(m), Rational(w)) for m, w in zip(mu, omega, strict=True)]


def _rates(problem: HasValues, task: int) -> tuple[Expr, Expr]:
    """Exact growth rates of the zero-sum and the sum mode of a task (from 0)."""
    zero, values = merged_at_zero(), parameters_of(problem)
    fast, slow = (unroll(substitute(rate, {n.i: Integer(task + 1)}), values) for rate in (zero.zero_sum, zero.sum))
    return fast, slow


def _checked(problem: HasValues, task: int, mu: Numbers, omega: Numbers) -> dict[str, Any]:
    values = parameters_of(problem)
    require("the start of a merged flow", (MANY_HEADS,), values)
    if not 0 <= task < values["I"]:
        raise InputError(f"task must lie between 0 and {values['I'] - 1}, got {task}")
    if not len(mu) == len(omega) == values["H"]:
        raise InputError(f"mu and omega need {values['H']} entries, one per head, got {len(mu)} and {len(omega)}")
    return values


@builder
def merged_start() -> MergedStart:
    """Amplitudes at zero, the balance that decides, and the emergence time at long context."""
    record = Recorder("Merged flow from small weights", ("μ and ω start small, of either sign",))
    record.include(merged_at_zero().derivation)
    own = _recorded_amplitude(record)
    balance = _recorded_balance(record)
    time_of = _recorded_emergence(record)
    return MergedStart(own, balance, time_of, record.freeze())


def _recorded_amplitude(record: Recorder) -> Expr:
    power, rate = _power, _rate
    drag, dim = symbols("b d", positive=True)
    own = (_mu + 2 * power / rate * _omega) / 2
    # Both sectors are [[−b, 2λ], [2λ/d, 0]]: b = 0 apart, b = 2λφH/L together.
    block = Matrix([[-drag, 2 * power], [2 * power / dim, 0]])
    vanishing = rate**2 + drag * rate - 4 * power**2 / dim
    zero = merged_at_zero()

    def grows(line: tuple[Expr, Expr]) -> bool:
        left = Matrix([[line[1].diff(_mu), line[1].diff(_omega)]])
        # On a mode that rises, with the heads apart, it is the mode's μ.
        scale = line[1].xreplace({_mu: S.One, _omega: rate / (2 * power)})
        defect = (2 * left * block - 2 * rate * left).applyfunc(simplify)
        remainder = [simplify(entry * rate + vanishing * factor) for entry, factor in zip(defect, (1, 0), strict=True)]
        i = n.i
        in_task = {power: n.signal_power[i], dim: n.dims[i]}
        full = 2 * n.signal_power[i] * n.noise_factor[i] * n.n_heads / n.context_length
        return (
            scale == 1
            and all(entry == 0 for entry in remainder)
            and all(
                difference_is_zero(vanishing.xreplace({**in_task, drag: friction, rate: found}), S.Zero)
                for found, friction in ((zero.zero_sum, S.Zero), (zero.sum, full))
            )
        )

    return record(
        "amplitude of a mode",
        (amplitude, own),
        "The left eigenvector of a mode's block: this combination of its μ and ω grows like e^{ρt}, from any start.",
        check=grows,
    )[1]


def _recorded_balance(record: Recorder) -> Expr:
    i = n.i
    ratio = sum_rate[i] / zero_sum_rate[i]
    fast, slow = symbols("rho_fast rho_slow", positive=True)

    def constant(line: tuple[Expr, Expr]) -> bool:
        growing = {_sum: _sum * exp(slow * time), _zero_sum: _zero_sum * exp(fast * time)}
        moved = line[1].xreplace({sum_rate[i]: slow, zero_sum_rate[i]: fast}).xreplace(growing)
        return bool(simplify(diff(log(moved), time)) == 0 and line[1].xreplace({_zero_sum: S.One}) == _sum)

    record(
        "balance of the modes",
        (pull, _sum / _zero_sum**ratio),
        "A_zero and A_sum are the amplitudes of zero-sum and sum mode. This is constant while both grow: what "
        "the flow then makes of a small start of two heads of one task depends on it alone, whatever the scale.",
        check=constant,
    )
    record(
        "which mode leads",
        (emergence, log(1 / _zero_sum) / zero_sum_rate[i]),
        "When the zero-sum mode is of order one, up to a term of order one. The sum mode is then of the size Q: heads "
        "part with zero sum where Q is small, and end as one where it is large. For a start of scale ε, "
        "Q ~ ε^{1 − ρ_sum/ρ_zero}: zero-sum wins as ε → 0, but slowly.",
        check=lambda line: _zero_sum * exp(expand_log(zero_sum_rate[i] * line[1], force=True)) == 1,
        scope=FORMAL,
    )
    return _sum / _zero_sum**ratio


def _recorded_emergence(record: Recorder) -> Expr:
    i, h = n.i, n.h
    flow = gradient_flow("merged")
    other = tuple(item for item in flow.definitions if item.base != n.residual)
    long = {n.context_length: S.One}
    velocity = tuple(leading_order(inline(rhs, other), long) for rhs in flow.velocity)
    record(
        "long context",
        tuple((n.time_derivative(variable), rhs) for variable, rhs in zip(flow.state, velocity, strict=True)),
        "L → ∞: heads and tasks meet in r_i alone.",
        check=lambda *lines: all(
            difference_is_zero(line[1], scaled_limit(inline(rhs, other), long))
            for line, rhs in zip(lines, flow.velocity, strict=True)
        ),
    )
    rate = normalise(merged_at_zero().zero_sum)
    root = sqrt(n.dims[i])
    halves = ((rising, 1), (falling, -1))
    lines = tuple((base[i, h], (n.mu[i, h] + sign * root * n.omega[i, h]) / 2) for base, sign in halves)
    back = {
        n.mu: lambda task, head: rising[task, head] + falling[task, head],
        n.omega: lambda task, head: (rising[task, head] - falling[task, head]) / sqrt(n.dims[task]),
    }

    moving = {n.mu: rule(n.mu[i, h], velocity[0]), n.omega: rule(n.omega[i, h], velocity[1])}

    def moves_alone(*told: tuple[Expr, Expr]) -> bool:
        parts, rates = told[:2], told[2:]
        return all(
            difference_is_zero(replace_indexed(half, back), name)
            and difference_is_zero(
                replace_indexed(replace_indexed(half, moving), back), moved.xreplace({zero_sum_rate[i]: rate})
            )
            for (name, half), (_, moved) in zip(parts, rates, strict=True)
        )

    record(
        "rising and falling halves",
        (*lines, *((n.time_derivative(b[i, h]), s * zero_sum_rate[i] * n.residual[i] * b[i, h]) for b, s in halves)),
        "Each moves by itself, all at one rate: at long context the sum mode rises as fast as the others.",
        check=moves_alone,
    )
    squares = n.over_heads(rising[i, h] ** 2) / root
    reached = n.over_heads(n.mu[i, h] * n.omega[i, h])
    record(
        "progress",
        (
            (progress, squares),
            (n.residual[i], 1 - progress),
            (Symbol("V_dot", real=True), 2 * own_rate * progress * (1 - progress)),
        ),
        "Σ_h μ^h ω^h is V less the same sum over falling halves, which die out.",
        check=lambda by_squares, left, moved: (
            difference_is_zero(replace_indexed(reached, back), by_squares[1] - n.over_heads(falling[i, h] ** 2) / root)
            and left[1] == 1 - progress
            and _is_logistic(by_squares[1], left[1], moved[1])
        ),
        scope=FORMAL,
    )
    grown = progress_start * exp(2 * own_rate * time) / (1 - progress_start + progress_start * exp(2 * own_rate * time))
    half = 1 - 1 / sqrt(S(2))
    exact = log(half * (1 - progress_start) / ((1 - half) * progress_start)) / (2 * own_rate)
    leading = log((sqrt(S(2)) - 1) / progress_start) / (2 * own_rate)
    record(
        "emergence at long context",
        ((progress, grown), (emergence, leading)),
        "Logistic growth; half of the task's loss λ_i (1 − V)² is gone at V = 1 − 1/√2. V_0 is that of the start, "
        "small. At finite L ρ T_0 has a correction of order one.",
        check=lambda solved, reached: (
            simplify(diff(solved[1], time) - 2 * own_rate * solved[1] * (1 - solved[1])) == 0
            and simplify(solved[1].xreplace({time: S.Zero}) - progress_start) == 0
            and simplify(solved[1].xreplace({time: exact}) - half) == 0
            and simplify((1 - half) ** 2 - Rational(1, 2)) == 0
            and simplify((exp(2 * own_rate * (reached[1] - exact))) - 1 / (1 - progress_start)) == 0
        ),
        scope=FORMAL,
    )
    return leading


def _is_logistic(squares: Expr, left: Expr, moved: Expr) -> bool:
    """Whether V, the sum of squares of halves that rise at the rate ρ r_i, moves as is said."""
    rises = {rising: lambda task, head: own_rate * n.residual[task] * rising[task, head]}
    slope = replace_indexed(directional_derivative(squares, rises), {n.residual: lambda _: left})
    return difference_is_zero(slope.xreplace({progress: squares}), moved.xreplace({progress: squares}))
