"""Putting a state into the equations of a flow: the task allocation, or any other ansatz for its variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

from sympy import Expr, IndexedBase, Symbol, sqrt

from .. import notation as n
from ..indexed import normalise, replace_indexed, rule, substitute
from ..indexed.nodes import delta
from .system import ReducedSystem

Point = Mapping[IndexedBase, Callable[..., Expr]]

# On-task values of the task allocation: head i hosts task i.
on_mu = IndexedBase("m", positive=True)
on_omega = IndexedBase("w", positive=True)


class Ansatz:
    """A state of a flow, put in for its variables, and its definitions at that state: far smaller than their bodies.

    Parameters
    ----------
    flow
        The flow.
    state
        Each state variable as a function of its indices, written with them whatever they are called.
    sizes
        Numbers of tasks and heads that the state takes for granted.
    """

    def __init__(self, flow: ReducedSystem, state: Point, sizes: Mapping[Symbol, Expr]) -> None:
        self.state = state
        self._values = dict(state)
        self._scalars = dict(sizes)
        for item in flow.definitions:
            value = self(item.body)
            if isinstance(item.head, Symbol):
                self._scalars[item.head] = value
            else:
                self._values[item.base] = rule(item.head, value)

    def lines(self, *indices: Expr) -> tuple[tuple[Expr, Expr], ...]:
        """Each state variable at these indices, and what is put in for it."""
        return tuple((base[indices], value(*indices)) for base, value in self.state.items())

    def __call__(self, expression: Expr) -> Expr:
        """The expression at that state, definitions opened, in normal form."""
        return normalise(replace_indexed(substitute(expression, self._scalars), self._values))


@cache
def allocation(flow: ReducedSystem) -> Ansatz:
    """Task i on head i alone, at any m_i and w_i there (o = v and k = q for the factors), with H = I."""
    values = {
        n.mu: lambda task: on_mu[task],
        n.omega: lambda task: on_omega[task],
        n.o: lambda task: sqrt(on_mu[task]),
        n.v: lambda task: sqrt(on_mu[task]),
        n.key: lambda task: sqrt(sqrt(n.embedding_dim) * on_omega[task]),
        n.query: lambda task: sqrt(sqrt(n.embedding_dim) * on_omega[task]),
    }
    return Ansatz(flow, {base: _on_diagonal(values[base]) for base in flow.state_bases}, {n.n_heads: n.n_tasks})


def _on_diagonal(value: Callable[[Expr], Expr]) -> Callable[..., Expr]:
    return lambda task, head: value(task) * delta(task, head)
