"""The context-length shift: weights of the task-allocation limit at L, used at L′ (derived here)."""

from __future__ import annotations

from dataclasses import dataclass

from sympy import Expr, IndexedBase, KroneckerDelta, Symbol, exp, limit, oo, sympify

from .. import notation as n
from ..closed_form import ENOUGH_HEADS, ClosedForm, HasValues, Value, require, to_float
from ..derivation import Derivation, Recorder
from ..errors import InputError
from ..hypothesis import values_of
from ..indexed import difference_is_zero, inline, normalise, replace_indexed, substitute, unroll
from ..model.loss import population_loss
from ..optima.limits import task_allocation_limit
from ..parameters import PARAMETERS
from ..printing import Equation
from ..result import builder
from ..scalars import plain_symbols, summand
from ..whole import whole

shifted_loss = Symbol("loss_prime", positive=True)
used_length = Symbol("L_prime", integer=True, positive=True)
retrained_loss = Symbol("loss_infinity_prime", positive=True)
plateau_symbol = Symbol("loss_plateau", positive=True)
own_gain = IndexedBase("s", positive=True)


@dataclass(frozen=True, repr=False)
class ContextShift(Value):
    """The loss at context length L′ of weights trained at L, and what is left of it as L′ → ∞.

    ``gain`` is s_i, the part of task i's regressor that the heads express, ``in_gain`` the loss in s_i, ``expression``
    the loss in the problem's parameters; ``excess`` is what lies above the loss of weights trained at L′.
    """

    gain: Expr
    in_gain: Expr
    expression: Expr
    excess: Expr
    plateau: ClosedForm
    derivation: Derivation

    def exact(self, problem: HasValues, context_length: int | None = None) -> Expr:
        """The loss at that context length (default: the problem's own) of weights trained at the problem's; exact."""
        own = values_of(problem)["L"]
        context_length = whole("the context length", own if context_length is None else context_length)
        if context_length < 1:
            raise InputError(f"the context length must be at least 1, got {context_length}")
        values = values_of(problem)
        require("the loss at another context length", (ENOUGH_HEADS,), values)
        return unroll(self.expression, {**values, used_length.name: sympify(context_length)}, PARAMETERS)

    def evaluate(self, problem: HasValues, context_length: int | None = None) -> float:
        """The same as a float, rounded once."""
        return to_float(self.exact(problem, context_length))

    @property
    def lines(self) -> list[Equation]:
        """What is printed."""
        return [(shifted_loss, self.in_gain), (own_gain[n.i], self.gain)]


@builder
def context_shift() -> ContextShift:
    """``Σ_i λ_i [(1 − s_i)² + e (φ_i d_i/L′) s_i²]`` with ``s_i = 1/(1 + e c_i)``, c_i at the training length L."""
    i = n.i
    allocation = task_allocation_limit()
    record = Recorder("Context-length shift")
    record.include(allocation.derivation)
    gain = plain_symbols(allocation.mu.expression * allocation.omega.expression).factored()
    record(
        "trained gain",
        (own_gain[i], gain),
        "s_i = μ_i ω_i of the limit at the training length L; where μ is stationary, the loss is Σ_i λ_i (1 − s_i).",
        check=lambda line: difference_is_zero(n.signal_power[i] * (1 - line[1]), summand(allocation.loss.expression)),
    )
    at_used = _loss_at_weights(used_length)
    task, in_gain = _task_in_gain(gain), n.over_tasks(_task_in_gain(own_gain[i]))
    record(
        "shifted loss",
        (shifted_loss, in_gain),
        "The leading loss at L′ with the weights of L: only the variance φ_i/L′ knows the new length.",
        check=lambda line: difference_is_zero(
            _open_c(at_used), _open_c(summand(line[1]).xreplace({own_gain[i]: gain}))
        ),
    )
    record(
        "no shift",
        (shifted_loss, allocation.loss.expression),
        "At L′ = L it is the limit's own loss.",
        check=lambda line: difference_is_zero(_with_length(task), summand(line[1])),
    )
    length = n.context_length
    cost = exp(1) * n.noise_factor[i] * n.dims[i]
    best = used_length / (used_length + cost)
    excess = n.signal_power[i] * (1 + cost / used_length) * (length / (length + cost) - best) ** 2
    record(
        "excess of the shift",
        (shifted_loss - retrained_loss, n.over_tasks(excess)),
        "Above the limit of weights trained at L′: squares, zero only at L′ = L.",
        check=lambda line: (
            line[0] == shifted_loss - retrained_loss
            and difference_is_zero(_open_c(task) - _retrained(), summand(line[1]))
        ),
    )
    plateau = plain_symbols(_for_long_contexts(task)).factored()
    total = n.over_tasks(plateau)
    record(
        "plateau of the shift",
        (plateau_symbol, total),
        "L′ → ∞: the variance is gone, the shrinkage learned at L stays.",
        check=lambda line: difference_is_zero(summand(line[1]), _limit_of(task)),
    )
    derivation = record.freeze()
    form = ClosedForm("the plateau at long contexts", plateau_symbol, total, derivation, (ENOUGH_HEADS,))
    return ContextShift(gain, in_gain, n.over_tasks(task), n.over_tasks(excess), form, derivation)


def _task_in_gain(gain: Expr) -> Expr:
    """Task i's loss at L′ in its gain s_i."""
    i = n.i
    return n.signal_power[i] * ((1 - gain) ** 2 + exp(1) * n.noise_factor[i] * n.dims[i] * gain**2 / used_length)


def _loss_at_weights(length: Symbol) -> Expr:
    """Task i's leading loss at a context length, with the limit's weights of L."""
    limit, loss = task_allocation_limit(), population_loss()
    weights = {
        n.mu: lambda task, head: substitute(limit.mu.expression, {n.i: task}) * KroneckerDelta(task, head),
        n.omega: lambda task, head: substitute(limit.omega.expression, {n.i: task}) * KroneckerDelta(task, head),
    }
    opened = substitute(inline(loss.expression, loss.definitions), {n.n_heads: n.n_tasks, n.context_length: length})
    return summand(normalise(replace_indexed(opened, weights)))


def _open_c(expression: Expr) -> Expr:
    """c_i = φ_i d_i/L, at the training length."""
    return expression.xreplace({n.noise_to_context[n.i]: n.noise_factor[n.i] * n.dims[n.i] / n.context_length})


def _retrained() -> Expr:
    """Task i's loss at the limit of weights trained at L′."""
    trained = _open_c(summand(task_allocation_limit().loss.expression))
    return substitute(trained, {n.context_length: used_length})


def _limit_of(task: Expr) -> Expr:
    """What a task's loss tends to as L′ → ∞, by SymPy."""
    plain = plain_symbols(task)
    return plain.restored(limit(plain.expression, used_length, oo))


def _with_length(expression: Expr) -> Expr:
    """The expression at L′ = L, in c_i."""
    i = n.i
    at_length = substitute(expression, {used_length: n.context_length})
    return plain_symbols(
        at_length.xreplace({n.noise_factor[i]: n.noise_to_context[i] * n.context_length / n.dims[i]})
    ).factored()


def _for_long_contexts(expression: Expr) -> Expr:
    """The limit L′ → ∞: 1/L′ → 0."""
    inverse = Symbol("u", nonnegative=True)
    plain = plain_symbols(expression)
    return plain.restored(plain.expression.subs(used_length, 1 / inverse).subs(inverse, 0))
