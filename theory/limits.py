"""Owns the limit of the balanced flow: task allocation solved from the stationarity equations ([C24], derived here)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from sympy import Expr, Indexed, IndexedBase, KroneckerDelta, S, Symbol

from . import notation as n
from .closed_form import ENOUGH_HEADS, ClosedForm
from .derivation import Derivation, Recorder
from .flow import gradient_flow
from .indexed import factored, inline, normalise, replace_indexed, substitute
from .indexed.nodes import rebuild
from .scalars import plain_symbols, positive_solution, summand

loss_infinity = Symbol("loss_infinity", positive=True)
# On-task values of the ansatz: head i hosts task i.
on_mu = IndexedBase("m", positive=True)
on_omega = IndexedBase("w_on", positive=True)


@dataclass(frozen=True)
class TaskAllocationLimit:
    """Task i on a head of its own: ``omega`` and ``mu`` there (all other μ vanish), and the loss."""

    omega: ClosedForm
    mu: ClosedForm
    loss: ClosedForm

    @property
    def derivation(self) -> Derivation:
        return self.loss.derivation

    def latex(self) -> str:
        return "\n".join(part.latex() for part in (self.omega, self.mu, self.loss))

    def text(self) -> str:
        return "\n".join(part.text() for part in (self.omega, self.mu, self.loss))

    def __str__(self) -> str:
        return self.text()

    def _repr_latex_(self) -> str:
        return f"$${self.loss.latex()}$$"


@cache
def task_allocation_limit() -> TaskAllocationLimit:
    """The stationary point of the balanced flow at which each task has one head of its own (H ≥ I)."""
    i, h = n.i, n.h
    flow = gradient_flow("balanced")
    record = Recorder("Task-allocation limit", ("H ≥ I and task i ends on a head of its own, numbered i",))
    record.include(flow.derivation)
    ansatz = {
        n.mu: lambda task, head: on_mu[task] * KroneckerDelta(task, head),
        n.omega: lambda task, head: on_omega[task] * KroneckerDelta(task, head),
    }
    record(
        "allocation ansatz",
        ((n.mu[i, h], ansatz[n.mu](i, h)), (n.omega[i, h], ansatz[n.omega](i, h))),
        "Head i serves task i alone; further heads are idle (μ = 0) and drop out.",
    )

    def at_ansatz(expression: Expr) -> Expr:
        opened = substitute(inline(expression, flow.definitions), {n.n_heads: n.n_tasks})
        return normalise(replace_indexed(opened, ansatz))

    by_mu, by_omega = (at_ansatz(partial) for partial in flow.gradient)
    on_task_mu, on_task_omega = (normalise(substitute(partial, {h: i})) for partial in (by_mu, by_omega))
    off_task_mu, off_task_omega = (normalise(_where_distinct(partial)) for partial in (by_mu, by_omega))
    record(
        "off-task gradients",
        ((n.partial_derivative(n.mu[i, h]), off_task_mu), (n.partial_derivative(n.omega[i, h]), off_task_omega)),
        "For h ≠ i: the μ-gradient is positive, so off-task μ decays; the ω-gradient is zero: off-task ω stands still.",
        check=lambda: off_task_omega == 0,
    )
    record(
        "on-task stationarity",
        ((S.Zero, on_task_mu), (S.Zero, on_task_omega)),
        "At h = i both gradients must vanish, since μ and ω are positive there.",
    )
    eliminated = factored(on_task_mu * on_mu[i] - on_task_omega * on_omega[i])
    record(
        "eliminate the residual",
        (S.Zero, eliminated),
        "m times the first equation minus w times the second: the residual 1 − m w drops out.",
    )
    omega = positive_solution(eliminated, on_omega[i])
    record("on-task omega", (on_omega[i], omega), "The only positive root: the exponent d_i w_i² is exactly 1.")
    mu = positive_solution(on_task_mu.xreplace({on_omega[i]: omega}), on_mu[i])
    mu = _in_noise_to_context(mu)
    record("on-task mu", (on_mu[i], mu), "Then the first equation is linear in m; c_i = φ_i d_i/L.")
    task_loss = summand(at_ansatz(flow.loss)).xreplace({on_mu[i]: mu, on_omega[i]: omega})
    task_loss = _in_noise_to_context(task_loss)
    loss = n.over_tasks(task_loss)
    record("limit loss", (loss_infinity, loss), "Both values inserted in the loss.")
    derivation = record.freeze()

    def form(title: str, symbol: Expr, expression: Expr) -> ClosedForm:
        return ClosedForm(title, symbol, expression, derivation, (ENOUGH_HEADS,))

    return TaskAllocationLimit(
        form("the allocation limit of omega", n.omega[i, i], omega),
        form("the allocation limit of mu", n.mu[i, i], mu),
        form("the task-allocation limit", loss_infinity, loss),
    )


def _where_distinct(expression: Expr) -> Expr:
    """The expression where its two free indices differ: remaining deltas are zero."""
    if isinstance(expression, KroneckerDelta):
        return S.Zero
    if not expression.args or isinstance(expression, Indexed):
        return expression
    return rebuild(expression, [_where_distinct(argument) for argument in expression.args])


def _in_noise_to_context(expression: Expr) -> Expr:
    """A rational function of task i's parameters, written with c_i = φ_i d_i/L and in lowest terms."""
    i = n.i
    in_c = expression.xreplace({n.noise_factor[i]: n.noise_to_context[i] * n.context_length / n.dims[i]})
    return plain_symbols(in_c).factored()
