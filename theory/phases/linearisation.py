"""The linearised flow at the task-allocation limit: stable in balanced, a saddle in split (derived here)."""

from __future__ import annotations

from sympy import Expr, Gt, IndexedBase, Lt, Matrix, S, diag, expand, sqrt, zeros

from .. import notation as n
from ..choices import checked_closure, checked_parametrisation
from ..closed_form import ENOUGH_HEADS, ClosedForm
from ..derivation import Recorder
from ..errors import InputError
from ..flows.ansatz import allocation
from ..flows.factors import IMBALANCES, PRODUCTS
from ..flows.flow import gradient_flow
from ..flows.system import ReducedSystem
from ..indexed import difference_is_zero, directional_derivative, gradient, normalise, substitute
from ..indexed.nodes import free_indices
from ..optima.limits import task_allocation_limit, where_distinct
from ..result import builder
from .allocation_blocks import (
    allocation_blocks,
    at_equilibrium,
    in_parameters,
    off_task_only,
    record_blocks,
    swapped,
)
from .linearised import LinearisedFlow, block_equations, perturbation

# Trace and determinant of the on-task block, its eigenvalues, and the rates of the pairs off task.
trace = IndexedBase("T", real=True)
determinant = IndexedBase("D", real=True)
fast_rate = IndexedBase("rho_fast", real=True)
slow_rate = IndexedBase("rho_slow", real=True)
off_rate = IndexedBase("rho_off", real=True)
escape_rate = IndexedBase("g", real=True)


def linearised_flow(parametrisation: str = "balanced", closure: str = "leading") -> LinearisedFlow:
    """The flow to first order around the task-allocation limit: one block per task on its head, one per pair off it.

    Derived here for any number of tasks I = H, unequal d_i and λ_i; idle heads drop out.  Rates are per unit of
    time = learning rate × steps, loss without ½.  Raises ``InputError`` for an unknown name, and for ``"merged"``,
    which does not rest at that limit.
    """
    if checked_closure(closure) == "first_order":
        raise InputError("the allocation limit has no closed form in first_order to linearise the flow at")
    if checked_parametrisation(parametrisation) == "merged":
        raise InputError("the merged flow does not rest at the task-allocation limit: off-task μ moves there")
    return _balanced(closure) if parametrisation == "balanced" else _split(closure)


@builder
def _balanced(closure: str) -> LinearisedFlow:
    i = n.i
    flow = gradient_flow("balanced", closure)
    record = Recorder("Balanced flow at the task-allocation limit", ("H = I, and head i serves task i alone",))
    record.include(flow.derivation)
    record.include(task_allocation_limit(closure).derivation)
    blocks = record_blocks(record, flow)
    at_limit = in_parameters(closure)
    on_task = blocks.on_task.applyfunc(at_limit)
    total, product = at_limit(on_task.trace()), at_limit(on_task.det())
    record(
        "trace and determinant on task",
        ((trace[i], total), (determinant[i], product)),
        "Of the on-task block, with m_i put in: the trace is negative, the determinant positive.",
        check=lambda sum_, product_: (
            difference_is_zero(sum_[1], on_task[0, 0] + on_task[1, 1])
            and difference_is_zero(product_[1], on_task[0, 0] * on_task[1, 1] - on_task[0, 1] * on_task[1, 0])
            and bool(sum_[1].is_negative and product_[1].is_positive)
        ),
    )
    across = at_limit(on_task[0, 1] * on_task[1, 0])
    root = sqrt(at_limit(on_task[0, 0] - on_task[1, 1]) ** 2 + 4 * across)
    rates = ((total - root) / 2, (total + root) / 2)
    shown = sqrt(trace[i] ** 2 - 4 * determinant[i])
    record(
        "on-task eigenvalues",
        ((fast_rate[i], (trace[i] - shown) / 2), (slow_rate[i], (trace[i] + shown) / 2)),
        "The roots of ρ² − T_i ρ + D_i: real, since the off-diagonal entries have one sign, hence both negative.",
        check=lambda fast, slow: (
            bool(across.is_positive)
            and all(expand(rate**2 - trace[i] * rate + determinant[i]) == 0 for _, rate in (fast, slow))
            and expand(slow[1] - fast[1] - shown) == 0
            and all(difference_is_zero(rate**2 - total * rate + product, S.Zero) for rate in rates)
        ),
    )
    decay = at_limit(blocks.off_task[0, 0])
    record(
        "off-task eigenvalues",
        (off_rate[i], decay),
        "Off-task μ decays at this rate; off-task ω is neutral.",
        check=lambda line: (
            difference_is_zero(line[1], decay)
            and bool(line[1].is_negative)
            and blocks.off_task[:, 1] == zeros(2, 1)
            and blocks.off_task[1, 0] == 0
        ),
    )
    record(
        "no mode grows",
        tuple(Lt(rate[i], 0) for rate in (fast_rate, slow_rate, off_rate)),
        "A negative trace and a positive determinant; the limit is stable up to its neutral modes.",
        check=lambda *lines: (
            lines == tuple(Lt(rate[i], 0) for rate in (fast_rate, slow_rate, off_rate))
            and bool(total.is_negative and product.is_positive and decay.is_negative)
        ),
    )
    _record_algebraic_decay(record, flow)
    return LinearisedFlow(
        "balanced",
        closure,
        flow.state_bases,
        on_task,
        blocks.off_task.applyfunc(at_limit),
        blocks.coupling.applyfunc(at_limit),
        rates,
        (decay, S.Zero),
        None,
        record.freeze(),
        task_allocation_limit(closure).loss.definitions,
    )


def _record_algebraic_decay(record: Recorder, flow: ReducedSystem) -> None:
    """The neutral modes at second order."""
    i, h = n.i, n.h
    moved = perturbation(n.omega)
    direction = {n.mu: lambda *_: S.Zero, n.omega: off_task_only(moved)}
    twice = substitute(flow.opened(flow.velocity[1]), {n.n_heads: n.n_tasks})
    for _ in range(2):
        twice = directional_derivative(twice, direction)
    second = where_distinct(allocation(flow)(twice / 2))
    rate = swapped(in_parameters(flow.closure)(swapped(-second / moved[i, h] ** 2)))
    record(
        "neutral modes at second order",
        (n.time_derivative(moved[i, h]), -rate * moved[i, h] ** 2),
        "Off-task ω on the head of task h, h ≠ i (all else is of second order on the centre manifold). From positive "
        "values, as they are in this flow, it falls like 1/t: the limit attracts.",
        check=lambda line: (
            difference_is_zero(line[1], _drift_of_own_rate(flow) * moved[i, h])
            and bool(rate.is_positive)
            and not free_indices(rate) - {h}
        ),
    )


def _drift_of_own_rate(flow: ReducedSystem) -> Expr:
    """How the rate ω̇/ω off task, zero at the limit, changes with ω off task."""
    direction = {n.mu: lambda *_: S.Zero, n.omega: off_task_only(perturbation(n.omega))}
    own = directional_derivative(normalise(flow.velocity[1] / flow.state[1]), direction, flow.definitions)
    return swapped(in_parameters(flow.closure)(swapped(where_distinct(allocation(flow)(own)))))


@builder
def _split(closure: str) -> LinearisedFlow:
    i = n.i
    flow = gradient_flow("split", closure)
    balanced = _balanced(closure)
    record = Recorder("Split flow at the task-allocation limit", balanced.derivation.assumptions)
    record.include(flow.derivation)
    record.include(balanced.derivation)
    blocks = record_blocks(record, flow)
    _record_restriction(record, flow)
    turn = -blocks.off_task[0, 1]
    at_limit = in_parameters(closure)
    rate = at_limit(turn)
    pairs = diag(Matrix([[0, -turn], [-turn, 0]]), zeros(2, 2))
    record(
        "escape rate",
        (escape_rate[i], rate),
        "Off task, o and v move by −g_i times the other: o − v grows at the rate g_i, o + v falls at it; k and q are "
        "neutral.",
        check=lambda line: difference_is_zero(line[1], at_limit(turn)) and Matrix(blocks.off_task) == pairs,
    )
    record(
        "saddle of the split flow",
        Gt(escape_rate[i], 0),
        "With two tasks or more there are pairs off task, so modes that grow: a saddle of the split flow.",
        check=lambda relation: relation == Gt(escape_rate[i], 0) and bool(rate.is_positive),
    )
    derivation = record.freeze()
    return LinearisedFlow(
        "split",
        closure,
        flow.state_bases,
        blocks.on_task.applyfunc(at_limit),
        blocks.off_task.applyfunc(at_limit),
        blocks.coupling.applyfunc(at_limit),
        (*balanced.on_task_rates, S.Zero, S.Zero),
        (rate, -rate, S.Zero, S.Zero),
        ClosedForm("the escape rate", escape_rate[i], rate, derivation, (ENOUGH_HEADS,), balanced.definitions),
        derivation,
        balanced.definitions,
    )


def _record_restriction(record: Recorder, flow: ReducedSystem) -> None:
    """On task, μ and ω move as in the balanced flow and the invariants stand still: T J = B T."""
    i, h = n.i, n.h
    forms = (*(item.body for item in PRODUCTS), *flow.invariants)
    slopes = [[allocation(flow)(gradient(form, factor)) for factor in flow.state] for form in forms]
    change = Matrix(slopes).applyfunc(lambda slope: at_equilibrium(substitute(slope, {h: i}), flow.closure))
    own, reduced = (allocation_blocks(name, flow.closure).on_task for name in ("split", "balanced"))
    names = (*(item.base for item in PRODUCTS), *(imbalance.base for imbalance in IMBALANCES))
    expected = diag(reduced, zeros(2, 2))
    record(
        "split flow on task, in products and invariants",
        block_equations(names, expected, i),
        "With the factors' changes written as changes of μ, ω, Δ and Γ the on-task block is that of the balanced flow, "
        "and zero for the invariants: two eigenvalues of the balanced flow and two zeros.",
        check=lambda *lines: (
            all(difference_is_zero(entry, S.Zero) for entry in change * own - _block_of(lines, names) * change)
            and all(line[1].subs({perturbation(base)[i, i]: 0 for base in names}) == 0 for line in lines)
            and change.det() != 0
        ),
    )


def _block_of(lines: tuple[tuple[Expr, Expr], ...], names: tuple[IndexedBase, ...]) -> Matrix:
    """The matrix of linear equations in the perturbations of these variables."""
    i = n.i
    columns = [perturbation(base)[i, i] for base in names]
    return Matrix([[line[1].diff(column) for column in columns] for line in lines])
