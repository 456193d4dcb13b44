"""Owns the late law of the balanced flow: off-task ω dies like 1/t, the gap of the loss like K/t² (derived here)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

from sympy import Expr, IndexedBase, Integer, KroneckerDelta, S, Symbol, diff, exp, expand, sqrt

from .. import notation as n
from ..closed_form import ENOUGH_HEADS, ClosedForm, HasValues
from ..derivation import Derivation, Recorder
from ..errors import InputError
from ..flow import gradient_flow
from ..indexed import difference_is_zero, factored, normalise, replace_indexed, substitute, unroll
from ..limits import loss_infinity
from ..loss import PARAMETERS
from ..scalars import plain_symbols, positive_solution
from .cascade import cascade_flow, host, off_host, own_interaction, own_power

time = Symbol("t", positive=True)
late_constant = Symbol("K", positive=True)


@dataclass(frozen=True)
class ConvergenceLaw:
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
        values = problem.exact_values()
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
        values = {**problem.exact_values(), "P": [power]}
        shares = (substitute(self.pair, {n.i: Integer(task + 1), n.h: S.One}) for task in tasks)
        return sum((unroll(share, values, PARAMETERS) for share in shares), S.Zero)


@cache
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
    )
    amplitude = Symbol("A", positive=True)
    law = amplitude / time
    balance = plain_symbols((diff(law, time) - slow.xreplace({n.omega[i, h]: law})) * time**2)
    omega = balance.restored(positive_solution(balance.expression, amplitude)) / time
    record(
        "late off-task omega",
        (n.omega[i, h], omega),
        "The solution as t → ∞, whatever the start: 1/ω grows at a constant rate.",
        check=lambda: plain_symbols(diff(omega, time) - slow.xreplace({n.omega[i, h]: omega})).expression.equals(0),
    )
    pull = off_host(flow.gradient[1], silent=True).xreplace({own_interaction[h]: exp(1)})
    record(
        "pull of off-task omega",
        (n.partial_derivative(n.omega[i, h]), pull),
        "The gradient to first order in the off-task ω.",
    )
    excess = factored(pull * n.omega[i, h] / 2)
    record(
        "loss of off-task omega",
        (excess,),
        "What a pair of a task and a head that does not host it adds to the loss: the gradient along the way from the "
        "limit. On-task μ and ω feel ω only in the second order, and the loss is stationary in them: their answer "
        "adds to the fourth order.",
        check=_hessian_as_said,
    )
    pair = plain_symbols(excess.xreplace({n.omega[i, h]: omega * time})).factored()
    gap = n.over_heads(n.over_tasks((1 - host[i, h]) * pair))
    record(
        "late gap",
        (n.loss - loss_infinity, late_constant / time**2),
        "Every such pair of an occupied head falls like 1/t²; idle heads add nothing.",
    )
    record("constant", (late_constant, gap), "The sum over occupied heads h and the tasks that h does not host.")
    _spread_tasks(record)
    seats = {host: lambda task, head: KroneckerDelta(task, head)}
    alone = normalise(replace_indexed(substitute(cascade.power.expression, {h: j}), seats))
    own = plain_symbols((pair / n.dims[i]).xreplace({own_power[h]: alone})).factored()
    constant = n.over_tasks(own * (n.over_tasks(n.dims[i]) - n.dims[j]), j)
    record(
        "constant of the task allocation",
        (late_constant, constant),
        "Head j hosts task j alone; heads beyond I are idle.",
    )
    derivation = record.freeze()
    form = ClosedForm("the constant of the late law", late_constant, constant, derivation, (ENOUGH_HEADS,))
    return ConvergenceLaw(omega, pair, form, derivation)


def _spread_tasks(record: Recorder) -> None:
    """Record the creep of ω on heads that share a task (H > I): the head with the least μ is the last."""
    i, j, h, k = n.i, n.j, n.h, n.k
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
        check=lambda: difference_is_zero(
            creep,
            -4
            * exp(1)
            * weight
            / sqrt(n.embedding_dim)
            * n.mu[i, h]
            * n.omega[j, h]
            * n.over_heads(n.mu[i, k] * n.omega[j, k], k),
        ),
    )


def _hessian_as_said() -> bool:
    """The loss written out for three tasks and heads: its second derivatives in off-task ω where those vanish.

    Half the curvature of a pair is d_i E_h P_h (nothing on an idle head), and it is coupled to no other variable.
    """
    flow = gradient_flow("balanced")
    triple = range(3)
    for seats in ((0, 1, 2), (0, 0, 1)):
        mu = [[Symbol(f"m{i}", positive=True) if h == seats[i] else S.Zero for h in triple] for i in triple]
        omega = [[Symbol(f"w{i}{h}", positive=True) for h in triple] for i in triple]
        values = {"I": 3, "H": 3, "mu": mu, "omega": omega}
        loss = unroll(flow.loss, values, flow.definitions)
        gone = {omega[i][h]: S.Zero for i in triple for h in triple if h != seats[i]}
        moving = {symbol for row in (*mu, *omega) for symbol in row if symbol != 0}
        for task, head in product(triple, triple):
            if head == seats[task]:
                continue
            slope = diff(loss, omega[task][head])
            at = (Integer(head + 1), Integer(head + 1))
            power, interaction = (unroll(base[at], values, flow.definitions) for base in (n.head_power, n.interaction))
            expected = 2 * n.dims[task + 1] * power * interaction
            for other in moving:
                own = expected if other == omega[task][head] else S.Zero
                if expand((diff(slope, other) - own).subs(gone)) != 0:
                    return False
    return True
