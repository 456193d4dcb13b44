"""The escape of the split flow from the task-allocation limit, in hyperbolic angles (derived here).

At the limit the loss pulls every off-task μ towards zero at a constant rate.  Its angle falls linearly through zero,
so μ changes sign, which the balanced flow cannot do, and grows exponentially: the limit is a saddle for every Δ ≠ 0,
and the time to leave it is logarithmic in |Δ|.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from sympy import Expr, IndexedBase, Integer, Rational, Symbol, exp, expand_log, limit, log, oo, simplify, sqrt

from .. import notation as n
from ..closed_form import ENOUGH_HEADS, ClosedForm, HasValues, require, to_float
from ..derivation import Derivation, Recorder
from ..equations import Equations
from ..errors import HypothesisError, InputError
from ..flows.ansatz import on_mu
from ..flows.coordinates import to_hyperbolic
from ..flows.factors import ABSOLUTE_IMBALANCES, ANGLES
from ..flows.flow import gradient_flow, split_flow
from ..grounds import FORMAL
from ..hypothesis import values_of
from ..indexed import difference_is_zero, inline, normalise, substitute, unroll
from ..optima.limits import task_allocation_limit
from ..parameters import PARAMETERS
from ..printing import Equation
from ..result import builder
from ..scalars import plain_symbols

Number: TypeAlias = Expr | Fraction | int | float

escape_rate = IndexedBase("escape_rate", positive=True)
# One off-task entry: its rate, |Δ|, its μ and angle at the time from which t counts, and −μ at the end.
own_rate = Symbol("escape_rate", positive=True)
own_imbalance = Symbol("abs_Delta", positive=True)
own_angle = Symbol("theta", real=True)
angle_start = Symbol("theta_start", real=True)
mu_start = Symbol("mu_start", positive=True)
mu_end = Symbol("mu_end", positive=True)
own_mu = Symbol("mu", real=True)
time = Symbol("t", nonnegative=True)
crossing = Symbol("t_cross", real=True)
escape_time = Symbol("T_escape", real=True)


@dataclass(frozen=True, repr=False)
class Escape(Equations):
    """How an off-task entry μ of task i, on any head of another task, leaves the task-allocation limit.

    Attributes
    ----------
    rate
        g of task i, per unit of time (learning rate × steps).
    angle
        θ at the time from which t counts, from μ > 0 and |Δ| there.
    mu
        μ at time t.
    sign_change
        t at which μ is zero.
    time
        T, at which −μ has grown to a given size, exactly; for small |Δ| `leading_time`.
    leading_time
        ``(1/g) log(4 √(μ(0) μ*)/|Δ|)``: what T tends to as Δ → 0.
    """

    rate: ClosedForm
    angle: Expr
    mu: Expr
    sign_change: Expr
    time: Expr
    leading_time: Expr

    @property
    def derivation(self) -> Derivation:
        return self.rate.derivation

    def exact_rates(self, problem: HasValues) -> tuple[Expr, ...]:
        """g of every task, exact; ``HypothesisError`` for H < I."""
        values = values_of(problem)
        require(self.rate.title, self.rate.hypotheses, values)
        tasks = range(1, int(values["I"]) + 1)
        return tuple(unroll(substitute(self.rate.expression, {n.i: Integer(i)}), values, PARAMETERS) for i in tasks)

    def rates(self, problem: HasValues) -> tuple[float, ...]:
        """g of every task, each rounded once."""
        return tuple(map(to_float, self.exact_rates(problem)))

    def sign_change_at(self, problem: HasValues, task: int, mu: Number, imbalance: Number) -> float:
        """When an off-task μ of a task (from 0) with Δ = ``imbalance`` changes sign, counted from when it is ``mu``.

        Floats count as the exact numbers they are.  ``HypothesisError`` for Δ = 0, which keeps the sign.
        """
        return self._evaluated(self.sign_change, problem, task, imbalance, {mu_start: mu})

    def escape_at(self, problem: HasValues, task: int, mu: Number, imbalance: Number, size: Number) -> float:
        """When it has grown to −``size``, as long as the flow is near the limit; else as `sign_change_at`."""
        return self._evaluated(self.time, problem, task, imbalance, {mu_start: mu, mu_end: size})

    def _evaluated(
        self, form: Expr, problem: HasValues, task: int, imbalance: Number, values: dict[Symbol, Number]
    ) -> float:
        rates = self.exact_rates(problem)
        if not 0 <= task < len(rates):
            raise InputError(f"task must lie between 0 and {len(rates) - 1}, got {task}")
        if imbalance == 0:
            raise HypothesisError("the escape from the task-allocation limit", "an imbalance Δ ≠ 0", "Δ = 0")
        exact = {symbol: _exact(value) for symbol, value in values.items()}
        return to_float(form.xreplace({own_rate: rates[task], own_imbalance: abs(_exact(imbalance)), **exact}))

    @property
    def lines(self) -> list[Equation]:
        """What is printed."""
        return list(self.rate.lines)


def _exact(value: Number) -> Expr:
    return value if isinstance(value, Expr) else Rational(value)


@builder
def escape_from_allocation() -> Escape:
    """The escape of ``split`` from the task-allocation limit: rate, sign change and time, to leading order.

    Near the limit all off-task entries are small, and so is what they change in each other's pull: the off-task ω
    fall like 1/t, and corrections to the rate with them.
    """
    i, h = n.i, n.h
    flow, allocation = to_hyperbolic(split_flow()), task_allocation_limit()
    record = Recorder(
        "Escape from the task-allocation limit",
        (
            "H ≥ I and task i ends on a head of its own, numbered i",
            "Q, K, V, O are trained, o² − v² = Δ ≠ 0 for an off-task entry, and off-task entries are still small",
        ),
    )
    record.include(allocation.derivation)
    record.include(flow.derivation)
    rest = gradient_flow("merged").definitions  # all but μ and ω
    theta, size = (base.base[i, h] for base in (ANGLES[0], ABSOLUTE_IMBALANCES[0]))
    _, pull = allocation.derivation["off-task gradients"].formula[0]
    _, by_pull = flow.derivation[f"flow of {theta.base.label}"].formula[0]
    speed = normalise(by_pull.xreplace({n.partial_derivative(n.mu[i, h]): pull}))
    record(
        "off-task angle",
        (n.time_derivative(theta), speed),
        "The angle moves at minus the pull on its product, which for an off-task entry at the limit depends on "
        "nothing that moves.",
        check=lambda line: (
            difference_is_zero(inline(flow.velocity[0], rest), inline(-gradient_flow("merged").gradient[0], rest))
            and difference_is_zero(line[1], -pull)
        ),
    )
    rate = plain_symbols((-speed).xreplace({on_mu[i]: allocation.mu.expression})).factored()
    record(
        "escape rate",
        (escape_rate[i], normalise(-speed), rate),
        "On-task μ of the limit inserted.",
        check=lambda line: (
            difference_is_zero(line[1], -speed)
            and difference_is_zero(line[2], -speed.xreplace({on_mu[i]: allocation.mu.expression}))
        ),
    )
    law = angle_start - own_rate * time
    record(
        "linear angle",
        (own_angle, law),
        "For one off-task entry, t counted from any time near the limit.",
        check=lambda line: line[1].diff(time) == -own_rate and line[1].subs(time, 0) == angle_start,
        scope=FORMAL,
    )
    product = next(item.body for item in flow.definitions if item.head == n.mu[i, h])
    of_angle = product.xreplace({theta: own_angle, size: own_imbalance})
    angle = log((2 * mu_start + sqrt(4 * mu_start**2 + own_imbalance**2)) / own_imbalance) / 2
    record(
        "starting angle",
        (angle_start, angle),
        "Half the inverse hyperbolic sine of 2μ(0)/|Δ|.",
        check=lambda line: simplify(of_angle.xreplace({own_angle: line[1]}) - mu_start) == 0,
    )
    crosses = angle / own_rate
    record(
        "sign change",
        (crossing, angle_start / own_rate, crosses),
        "μ vanishes with the angle and goes on: it changes sign.",
        check=lambda line: (
            simplify(of_angle.xreplace({own_angle: law.xreplace({time: line[1]})})) == 0
            and simplify(line[2] - line[1].xreplace({angle_start: angle})) == 0
            and simplify(of_angle.diff(own_angle).subs(own_angle, 0) - own_imbalance) == 0
        ),
    )
    moving = of_angle.xreplace({own_angle: law})
    grown = -own_imbalance / 4 * exp(2 * own_rate * (time - crossing))
    record(
        "growth",
        ((own_mu, moving), (own_mu, grown)),
        "The first term dies out: after the sign change −μ grows at the rate 2 g.",
        check=lambda whole, late: (
            simplify(whole[1] - moving) == 0
            and limit(simplify((whole[1] / late[1]).xreplace({angle_start: own_rate * crossing})), time, oo) == 1
        ),
    )
    back = (angle + angle.xreplace({mu_start: mu_end})) / own_rate
    record(
        "escape time",
        (escape_time, back),
        "The sine is odd: the angle falls as far below zero as μ_* > 0 is high.",
        check=lambda line: (
            simplify(of_angle.xreplace({own_angle: -angle.xreplace({mu_start: mu_end})}) + mu_end) == 0
            and simplify(law.xreplace({angle_start: angle, time: line[1]}) + angle.xreplace({mu_start: mu_end})) == 0
        ),
    )
    leading = log(4 * sqrt(mu_start * mu_end) / own_imbalance) / own_rate
    record(
        "escape time for small imbalance",
        (escape_time, leading),
        "Each angle tends to half of log(4μ/|Δ|). The time rises by 1/g per unit of log(1/|Δ|).",
        check=lambda line: (
            limit(expand_log((back - line[1]) * own_rate, force=True), own_imbalance, 0) == 0
            and simplify(-own_imbalance * line[1].diff(own_imbalance) - 1 / own_rate) == 0
        ),
    )
    form = ClosedForm("the escape rate", escape_rate[i], rate, record.freeze(), (ENOUGH_HEADS,))
    return Escape(form, angle, moving, crosses, back, leading)
