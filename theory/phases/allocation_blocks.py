"""The derivative of a velocity at a task allocation, cut into its blocks on task and off task (derived here)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sympy import Add, Expr, ImmutableMatrix, IndexedBase, KroneckerDelta, S, log

from .. import notation as n
from ..derivation import Recorder
from ..flows.ansatz import Ansatz, allocation, on_mu, on_omega
from ..flows.flow import gradient_flow
from ..flows.system import ReducedSystem
from ..indexed import difference_is_zero, directional_derivative, normalise, replace_indexed, rule, substitute
from ..indexed.calculus import Direction
from ..optima.limits import in_noise_to_context, task_allocation_limit, where_distinct
from ..result import Result, builder
from ..scalars import positive_solution
from .linearised import block_equations, perturbation


@dataclass(frozen=True, repr=False)
class AllocationBlocks(Result):
    """The derivative of the velocity at the allocation limit, in m_i (μ_i^i there) and the problem's parameters.

    ``on_task``, ``off_task``, ``coupling`` are those of `LinearisedFlow`.  ``derivatives`` are what they were read
    from: the velocity differentiated on task and off task, each read on task and off task.
    """

    on_task: ImmutableMatrix
    off_task: ImmutableMatrix
    coupling: ImmutableMatrix
    derivatives: Mapping[tuple[str, str], tuple[Expr, ...]]


def first_order(flow: ReducedSystem, direction: Direction, at: Callable[[Expr], Expr]) -> tuple[Expr, ...]:
    """The velocity's derivative in a direction at a point; ``at`` puts the point in and opens definitions."""
    return tuple(at(directional_derivative(rhs, direction, flow.definitions)) for rhs in flow.velocity)


def off_task_only(base: IndexedBase) -> Callable[..., Expr]:
    """A perturbation of the pairs (i, h) with h ≠ i, for the directional derivative."""
    return lambda task, head: base[task, head] * (1 - KroneckerDelta(task, head))


def swapped(expression: Expr) -> Expr:
    """Free indices i and h exchanged."""
    return substitute(expression, {n.i: n.h, n.h: n.i})


def at_equilibrium(expression: Expr, closure: str) -> Expr:
    """An expression of task i with what stationarity on task says put in: φ_i by m_i, and the value of w_i."""
    return normalise(expression.xreplace(_equilibrium(closure)))


def in_parameters(closure: str) -> Callable[[Expr], Expr]:
    """What puts the limit in a function of m_i, w_i and the parameters of task i, as one fraction in lowest terms."""
    limit = task_allocation_limit(closure)
    values = {on_mu[n.i]: limit.mu.expression, on_omega[n.i]: limit.omega.expression, **_spread(closure)}
    return lambda expression: in_noise_to_context(expression.xreplace(values))


def _spread(closure: str) -> dict[Expr, Expr]:
    """What puts κ_i d_i w_i² in for C_ii at the allocation: the value of the logarithm in its exponent, if any."""
    flow = gradient_flow("balanced", closure)
    (interaction,) = (item for item in flow.definitions if item.base == n.interaction)
    limit = task_allocation_limit(closure)
    assert limit.kappa is not None
    exponent = allocation(flow)(interaction.at(n.i, n.i)).args[0]
    value = log(limit.kappa.symbol * n.dims[n.i] * limit.omega.expression**2)
    return {atom: value / exponent.coeff(atom) for atom in exponent.atoms(log)}


@builder
def _equilibrium(closure: str) -> dict[Expr, Expr]:
    i, h = n.i, n.h
    flow = gradient_flow("balanced", closure)
    pull = normalise(substitute(allocation(flow)(flow.gradient[0]), {h: i}))
    known = {on_omega[i]: task_allocation_limit(closure).omega.expression, **_spread(closure)}
    return {n.noise_factor[i]: positive_solution(pull, n.noise_factor[i]).xreplace(known), **known}


@builder
def allocation_blocks(parametrisation: str, closure: str = "leading") -> AllocationBlocks:
    """The blocks of a flow at the task-allocation limit."""
    flow = gradient_flow(parametrisation, closure)
    state = flow.state_bases
    i, h, k = n.i, n.h, n.k
    tilde = {base: perturbation(base) for base in state}
    directions = {
        "on": {base: _on_task_only(tilde[base]) for base in state},
        "off": {base: off_task_only(tilde[base]) for base in state},
    }
    derivatives = {}
    for name, direction in directions.items():
        moved = first_order(flow, direction, allocation(flow))
        on_task = tuple(normalise(substitute(rhs, {h: i})) for rhs in moved)
        off_task = tuple(where_distinct(rhs) for rhs in moved)
        derivatives["on", name] = tuple(at_equilibrium(rhs, closure) for rhs in on_task) if name == "on" else on_task
        derivatives["off", name] = off_task

    def entries(moved: tuple[Expr, ...], unit: Callable[..., Expr]) -> ImmutableMatrix:
        """Each derivative with one perturbation set to ``unit`` and the others to zero."""
        rules = [{tilde[other]: unit if other == base else _zero for other in state} for base in state]
        return ImmutableMatrix(
            [[where_distinct(normalise(replace_indexed(rhs, rule))) for rule in rules] for rhs in moved]
        )

    return AllocationBlocks(
        entries(derivatives["on", "on"], _one),
        entries(derivatives["off", "off"], _one),
        entries(derivatives["on", "off"], lambda _, head: KroneckerDelta(head, k)),
        derivatives,
    )


def record_blocks(record: Recorder, flow: ReducedSystem) -> AllocationBlocks:
    """The steps from the flow to its blocks, each with its check."""
    name, state, closure = flow.parametrisation, flow.state_bases, flow.closure
    i, h, k = n.i, n.h, n.k
    blocks = allocation_blocks(name, closure)
    found = blocks.derivatives
    point = allocation(flow)
    record(
        f"{name} flow at rest",
        point.lines(i, h),
        "m_i and w_i are μ_i^i and ω_i^i at the allocation limit; every velocity vanishes there.",
        check=lambda *lines: _is_at_rest(flow, lines),
    )
    on_task, off_task = block_equations(state, blocks.on_task, i), block_equations(state, blocks.off_task, h)
    record(
        f"{name} flow linearised on task",
        on_task,
        "The velocity differentiated in a perturbation of the pairs (i, i), φ_i and w_i from stationarity: other tasks "
        "drop out.",
        check=lambda *lines: _same(found["on", "on"], lines),
    )
    record(
        f"{name} flow linearised off task",
        off_task,
        "The same for the pairs (i, h) with h ≠ i: other pairs drop out.",
        check=lambda *lines: _same(found["off", "off"], lines),
    )
    moved = [perturbation(base) for base in state]
    others = [n.over_heads(own[i, k], k) - own[i, i] for own in moved]
    coupled = tuple(
        (n.time_derivative(own[i, i]), Add(*(blocks.coupling[row, place] * rest for place, rest in enumerate(others))))
        for row, own in enumerate(moved)
    )
    record(
        f"{name} flow is block triangular",
        coupled,
        "What (i, i) gains from the pairs off task. They gain nothing from the pairs (i, i): the eigenvalues are those "
        "of the two blocks.",
        check=lambda *lines: all(rhs == 0 for rhs in found["off", "on"]) and _same(found["on", "off"], lines),
    )
    return blocks


def _is_at_rest(flow: ReducedSystem, lines: tuple[tuple[Expr, Expr], ...]) -> bool:
    """Whether every velocity vanishes where the state is as the lines say, at the values of the limit."""
    point = Ansatz(flow, {told[0].base: rule(*told) for told in lines}, {n.n_heads: n.n_tasks})
    at_rest = (point(velocity) for velocity in flow.velocity)
    return all(
        difference_is_zero(at_equilibrium(substitute(velocity, {n.h: n.i}), flow.closure), S.Zero)
        and where_distinct(velocity) == 0
        for velocity in at_rest
    )


def _same(found: tuple[Expr, ...], lines: tuple[tuple[Expr, Expr], ...]) -> bool:
    shown = (substitute(rhs, {n.n_heads: n.n_tasks}) for _, rhs in lines)
    return all(difference_is_zero(own, other) for own, other in zip(found, shown, strict=True))


def _on_task_only(base: IndexedBase) -> Callable[..., Expr]:
    return lambda task, head: base[task, task] * KroneckerDelta(task, head)


def _one(*_: Expr) -> Expr:
    return S.One


def _zero(*_: Expr) -> Expr:
    return S.Zero
