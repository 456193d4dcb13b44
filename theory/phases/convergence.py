"""The late law of the balanced flow: off-task ω dies like 1/t, the gap of the loss like K/t² (derived here)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sympy import Expr, IndexedBase, Integer, KroneckerDelta, S, Symbol, diff, exp, simplify

from .. import notation as n
from ..closed_form import ENOUGH_HEADS, ClosedForm, HasValues
from ..derivation import Derivation, Recorder
from ..errors import InputError
from ..flows.ansatz import on_mu, on_omega
from ..flows.flow import gradient_flow
from ..flows.system import ReducedSystem
from ..grounds import FORMAL
from ..hypothesis import values_of
from ..indexed import (
    Definition,
    difference_is_zero,
    directional_derivative,
    factored,
    inline,
    normalise,
    replace_indexed,
    substitute,
    unroll,
)
from ..optima.limits import loss_infinity
from ..parameters import PARAMETERS
from ..result import Result, builder
from ..scalars import plain_symbols, positive_solution
from .cascade import cascade_flow, host, off_host, off_host_by_scaling, one_host, own_interaction, own_power

time = Symbol("t", positive=True)
late_constant = Symbol("K", positive=True)


@dataclass(frozen=True, repr=False)
class ConvergenceLaw(Result):
    """How the balanced flow approaches the limit of its allocation.

    Attributes
    ----------
    omega
        What ω_i^h of a task i that head h does not host tends to, in t and the head's power P_h.
    pair
        The share of such a pair (task i, head h) in K, in P_h.
    constant
        K of 𝓛(t) − 𝓛_∞ ~ K/t² where each task has a head of its own.
    derivation
        The steps.
    """

    omega: Expr
    pair: Expr
    constant: ClosedForm
    derivation: Derivation

    def of_groups(self, problem: HasValues, groups: Sequence[Sequence[int]]) -> Expr:
        """K, exactly, for any allocation: per occupied head the 0-based tasks that it hosts; heads left over idle.

        Raises ``InputError`` when the groups do not hold every task once, or a head hosts a task that its optimum
        leaves out.
        """
        values = values_of(problem)
        tasks = range(int(values["I"]))
        if sorted(task for group in groups for task in group) != list(tasks):
            raise InputError(f"the groups must hold each of the {len(tasks)} tasks once, got {list(map(list, groups))}")
        total = S.Zero
        for group in groups:
            hosted = [[1 if task in group else 0] for task in tasks]
            own = {**values, "H": 1, "s": hosted}
            power = unroll(substitute(cascade_flow().power.expression, {n.h: S.One}), own, PARAMETERS)
            for task in group:
                share = substitute(cascade_flow().exponent, {n.i: Integer(task + 1), n.h: S.One})
                if not unroll(share, {**values, "P": [power]}, PARAMETERS) > 0:
                    raise InputError(f"a head for the tasks {list(group)} does not keep task {task}")
            total += self.of_power(problem, power, [task for task in tasks if task not in group])
        return total

    def of_power(self, problem: HasValues, power: Expr, tasks: Sequence[int]) -> Expr:
        """The part of K of one head of power P, from the 0-based tasks that it does not host."""
        values = {**values_of(problem), "P": [power]}
        shares = (substitute(self.pair, {n.i: Integer(task + 1), n.h: S.One}) for task in tasks)
        return sum((unroll(share, values, PARAMETERS) for share in shares), S.Zero)


@builder
def convergence_law() -> ConvergenceLaw:
    """The late law at an allocation: each task on one head, heads with any number of tasks, any H."""
    i, j, h = n.i, n.j, n.h
    flow = gradient_flow("balanced")
    cascade = cascade_flow()
    record = Recorder("Algebraic convergence", ("t → ∞, each task on one head",))
    record.include(cascade.derivation)
    slow = off_host(flow.velocity[1], silent=True).xreplace({own_interaction[h]: exp(1)})
    record(
        "off-task omega creeps",
        (n.time_derivative(n.omega[i, h]), slow),
        "On an occupied head that does not host task i, where its μ has died out: no term is linear in ω. All other "
        "deviations from the limit decay exponentially or follow this one.",
        check=lambda line: difference_is_zero(
            line[1], off_host_by_scaling(flow.velocity[1], True, 2).xreplace({own_interaction[h]: exp(1)})
        ),
        scope=FORMAL,
    )
    amplitude = Symbol("A", positive=True)
    law = amplitude / time
    balance = plain_symbols((diff(law, time) - slow.xreplace({n.omega[i, h]: law})) * time**2)
    omega = balance.restored(positive_solution(balance.expression, amplitude)) / time
    record(
        "late off-task omega",
        (n.omega[i, h], omega),
        "The solution as t → ∞, whatever the start: 1/ω grows at a constant rate.",
        check=lambda line: (
            simplify(plain_symbols(diff(line[1], time) - slow.xreplace({n.omega[i, h]: line[1]})).expression) == 0
        ),
    )
    pull = off_host(flow.gradient[1], silent=True).xreplace({own_interaction[h]: exp(1)})
    record(
        "pull of off-task omega",
        (n.partial_derivative(n.omega[i, h]), pull),
        "The gradient to first order in the off-task ω.",
        check=lambda line: difference_is_zero(slow, -flow.metric[1] * line[1]),
    )
    excess = factored(pull * n.omega[i, h] / 2)
    record(
        "loss of off-task omega",
        (excess,),
        "What a pair of a task and a head that does not host it adds to the loss: the gradient along the way from the "
        "limit. On-task μ and ω feel ω only in the second order, and the loss is stationary in them: their answer "
        "adds to the fourth order.",
        check=lambda line: (
            difference_is_zero(diff(line, n.omega[i, h]), pull)
            and difference_is_zero(line.xreplace({n.omega[i, h]: S.Zero}), S.Zero)
            and _is_curvature_of_pairs(flow)
        ),
    )
    pair = plain_symbols(excess.xreplace({n.omega[i, h]: omega * time})).factored()
    gap = n.over_heads(n.over_tasks((1 - host[i, h]) * pair))
    record(
        "late gap",
        (n.loss - loss_infinity, late_constant / time**2),
        "Every such pair of an occupied head falls like 1/t²; idle heads add nothing.",
        check=lambda line: (
            line == (n.loss - loss_infinity, late_constant / time**2)
            and not plain_symbols(excess.xreplace({n.omega[i, h]: omega}) * time**2).factored().has(time)
        ),
        scope=FORMAL,
    )
    record(
        "constant",
        (late_constant, gap),
        "The sum over occupied heads h and the tasks that h does not host.",
        check=lambda line: difference_is_zero(
            line[1],
            time**2 * n.over_heads(n.over_tasks((1 - host[i, h]) * excess.xreplace({n.omega[i, h]: omega}))),
        ),
    )
    _spread_tasks(record)
    seats = {host: lambda task, head: KroneckerDelta(task, head)}
    alone = normalise(replace_indexed(substitute(cascade.power.expression, {h: j}), seats))
    own = plain_symbols((pair / n.dims[i]).xreplace({own_power[h]: alone})).factored()
    constant = n.over_tasks(own * (n.over_tasks(n.dims[i]) - n.dims[j]), j)
    record(
        "constant of the task allocation",
        (late_constant, constant),
        "Head j hosts task j alone; heads beyond I are idle.",
        check=lambda line: difference_is_zero(line[1], _at_allocation(gap, cascade.power.expression)),
    )
    derivation = record.freeze()
    form = ClosedForm("the constant of the late law", late_constant, constant, derivation, (ENOUGH_HEADS,))
    return ConvergenceLaw(omega, pair, form, derivation)


def _spread_tasks(record: Recorder) -> None:
    """Record the creep of ω on heads that share a task (H > I): the head with the least μ is the last."""
    i, j, h = n.i, n.j, n.h
    flow = gradient_flow("balanced")
    weight = n.signal_power[i] * n.noise_factor[i] / n.context_length
    shared: dict[IndexedBase, Callable[..., Expr]] = {
        n.interaction: lambda a, b: exp(1),
        n.head_power: lambda a, b: weight * n.mu[i, a] * n.mu[i, b],
    }
    seen = replace_indexed(substitute(flow.velocity[1], {i: j}), {**shared, n.residual: lambda _: S.Zero})
    creep = factored(normalise(seen))
    record(
        "heads that share a task",
        (n.time_derivative(n.omega[j, h]), creep),
        "Task i spread over heads of its own (all at one ω, so that C = e among them): for another task j, log ω_j^h "
        "falls at a pace proportional to μ_i^h. The head with the least μ is the last, by the law above with its own "
        "P_h; the others are smaller by a power of t, and the gap is that of the last head.",
        check=lambda line: (
            difference_is_zero(line[1], _by_gradient(flow, shared))
            and difference_is_zero(_on_one_head(line[1]), _on_one_head(_law_of_power(weight * n.mu[i, h] ** 2)))
        ),
        scope=FORMAL,
    )


def _by_gradient(flow: ReducedSystem, shared: Mapping[IndexedBase, Callable[..., Expr]]) -> Expr:
    """The velocity of ω_j^h as minus its metric times its gradient, at what task i makes of C and M."""
    by_omega = -flow.metric[1] * flow.gradient[1]
    return replace_indexed(substitute(by_omega, {n.i: n.j}), {**shared, n.residual: lambda _: S.Zero})


def _on_one_head(rate: Expr) -> Expr:
    """An expression where task i and task j have weight on head h alone."""
    alone = {
        base: (lambda task, head, base=base: base[task, head] * KroneckerDelta(head, n.h)) for base in (n.mu, n.omega)
    }
    return replace_indexed(rate, alone)


def _law_of_power(power: Expr) -> Expr:
    """The creep of ω_j^h on a head of that power."""
    slow = off_host_by_scaling(gradient_flow("balanced").velocity[1], True, 2)
    at_task = substitute(slow, {n.i: n.j})
    return at_task.xreplace({own_interaction[n.h]: exp(1), own_power[n.h]: power})


def _at_allocation(total: Expr, power: Expr) -> Expr:
    """A sum over heads and tasks where head h hosts task h alone, with H = I."""
    seats = {host: lambda task, head: KroneckerDelta(task, head)}
    alone = Definition(own_power[n.h], normalise(replace_indexed(power, seats)))
    return inline(replace_indexed(substitute(total, {n.n_heads: n.n_tasks}), seats), (alone,))


def _is_curvature_of_pairs(flow: ReducedSystem) -> bool:
    """The second derivative of the loss at an allocation, in off-task ω and any other change, for every I and H.

    The allocation seats task i on one head or none, with μ = m_i and ω = w_i there and nothing elsewhere.  Off-task ω
    is coupled to itself alone, by 2 d_i E_h P_h; the other changes are those of ω, and of μ on task.
    """
    off, other, on_task = (IndexedBase(name, real=True) for name in ("off", "other", "on_task"))
    i, h, j = n.i, n.h, n.j

    def away(task: Expr, head: Expr) -> Expr:
        return off[task, head] * (1 - host[task, head])

    first = directional_derivative(flow.loss, {n.mu: lambda *_: S.Zero, n.omega: away}, flow.definitions)
    any_change = {n.mu: lambda task, head: host[task, head] * on_task[task], n.omega: lambda *at: other[at]}
    second = directional_derivative(first, any_change, flow.definitions)
    seated = {
        n.mu: lambda task, head: host[task, head] * on_mu[task],
        n.omega: lambda task, head: host[task, head] * on_omega[task],
        n.interaction: lambda a, b: 1 + KroneckerDelta(a, b) * (own_interaction[a] - 1),
    }
    weight = n.signal_power[j] * n.noise_factor[j] / n.context_length
    power = n.over_tasks(weight * host[j, h] * on_mu[j] ** 2, j)
    pairs = 2 * n.dims[i] * own_interaction[h] * power * away(i, h) * other[i, h]
    found = normalise(replace_indexed(second, seated))
    return difference_is_zero(one_host(found), one_host(normalise(n.over_tasks(n.over_heads(pairs)))))
