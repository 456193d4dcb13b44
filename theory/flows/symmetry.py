"""The symmetric reduction: equal tasks, as many heads, head h favouring task h: four variables for 2 I H.

The flow stays on the set ``μ_i^h = m δ_ih + n (1 − δ_ih)``, ``ω_i^h = p δ_ih + q (1 − δ_ih)``, whatever the number of
tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sympy import Add, Expr, IndexedBase, Integer, KroneckerDelta, Mul, S, Symbol, exp, expand, symbols

from .. import notation as n
from ..derivation import Derivation, Recorder
from ..grounds import DEFINITION
from ..indexed import Definition, difference_is_zero, factored, inline, normalise, replace_indexed, substitute, unroll
from ..indexed.monomial import to_expression
from ..indexed.nodes import free_indices
from ..indexed.normal import terms
from ..result import Result, builder
from .flow import AttentionGradient, attention_gradient

# On and off the task that the head favours: μ is m or n, ω is p or q.
on_mu, off_mu, on_omega, off_omega = symbols("m n p q", real=True)
STATE = (on_mu, off_mu, on_omega, off_omega)
others = Symbol("J", integer=True, nonnegative=True)  # the number of other tasks, I − 1
task_dim = Symbol("d", positive=True)
task_power = Symbol("lambda", positive=True)
task_noise = Symbol("phi", positive=True)

_SCALARS = {n.dims: task_dim, n.signal_power: task_power, n.noise_factor: task_noise}
_residual = Symbol("r", real=True)
_interaction = symbols("C_d C_o", positive=True)
_power = symbols("M_d M_o", real=True)


@dataclass(frozen=True, repr=False)
class SymmetricReduction(Result):
    """The symmetric set, with the gradients of its entries.

    Attributes
    ----------
    state
        m, n (μ on and off task), p, q (ω on and off task).
    gradient
        Entries of ∂𝓛/∂μ and ∂𝓛/∂ω on and off task, in the order of ``state``; the flow of any parametrisation is
        its own with these.
    definitions
        J = I − 1, r, and C and M on and off the diagonal (d, o).
    loss
        The loss on the symmetric set.
    """

    state: tuple[Symbol, ...]
    gradient: tuple[Expr, ...]
    definitions: tuple[Definition, ...]
    loss: Expr
    derivation: Derivation


@builder
def symmetric_reduction() -> SymmetricReduction:
    """The gradient on the symmetric set, the sums over tasks and heads worked out for a symbolic number of tasks."""
    base = attention_gradient()
    record = Recorder(
        "Symmetric reduction",
        ("the tasks are alike: one d, λ and φ", "H = I, and head h favours task h"),
    )
    record.include(base.derivation)
    count = Definition(others, n.n_tasks - 1)
    record(
        "symmetric set",
        (
            (count.head, count.body),
            (n.mu[n.i, n.h], _two_valued(on_mu, off_mu, n.i, n.h)),
            (n.omega[n.i, n.h], _two_valued(on_omega, off_omega, n.i, n.h)),
        ),
        "Fixed by permuting tasks and heads together, a symmetry of the flow.",
        scope=DEFINITION,
    )
    closed, values = _reduced_definitions(record, base)
    definitions = (count, *values)
    gradients: list[Expr] = []
    for entry in base.partials:
        on_task, off_task = _split_diagonal(_collapsed(entry, closed), n.i, n.h)
        gradients += [factored(on_task), factored(off_task)]
    entries = [(partial_, head) for partial_ in base.partials for head in (1, 2)]
    for name, entry, (slope, head) in zip(STATE, gradients, entries, strict=True):
        record(
            f"gradient of the entry {name}",
            (Symbol(f"{n.GRADIENT}{name}", real=True), entry),
            "Sums over tasks and heads collapsed; the part with δ_ih is the difference of on and off task. The rest "
            "does not depend on task or head: the flow stays on the set.",
            check=partial(_is_entry, slope, head, values),
        )
    loss = _in_others(_collapsed(base.loss.expression, closed))
    _record_loss(record, loss, gradients, definitions)
    return SymmetricReduction(STATE, tuple(gradients), definitions, loss, record.freeze())


# Numbers of tasks at which entries are written out: both sides are polynomials in I of degree three at most, in what
# is closed, which four values fix.
_SIZES = range(2, 6)


def _written_out(expression: Expr, size: int, head: int, values: Sequence[Definition] = ()) -> Expr:
    """An expression of task 1 (or of head 1) and of ``head`` at I = H = ``size``, each sum written out.

    Without ``values`` in the entries of the state, else with r, C and M closed.
    """

    def matrix(on: Expr, off: Expr) -> list[list[Expr]]:
        return [[on if row == column else off for column in range(size)] for row in range(size)]

    names: dict[str, Any] = {
        "I": size,
        "H": size,
        **{str(base.label): [value] * size for base, value in _SCALARS.items()},
        "mu": matrix(on_mu, off_mu),
        "omega": matrix(on_omega, off_omega),
    }
    if values:
        names |= {"r": [_residual] * size, "C": matrix(*_interaction), "M": matrix(*_power)}
    at = {n.i: S.One, n.h: Integer(head)}
    at_pair = {n.h: S.One, n.k: Integer(head)} if n.k in free_indices(expression) else at
    return expand(unroll(substitute(expression, at_pair), names))


def _is_entry(expression: Expr, head: int, values: Sequence[Definition], line: tuple[Expr, Expr]) -> bool:
    """Whether a value without free indices is that of the expression's entry for the first task and that head."""
    return not free_indices(line[1]) and all(
        expand(unroll(line[1], {"J": size - 1})) == _written_out(expression, size, head, values) for size in _SIZES
    )


def _two_valued(on: Expr, off: Expr, row: Expr, column: Expr) -> Expr:
    delta = KroneckerDelta(row, column)
    return on * delta + off * (1 - delta)


def _same_for_all(value: Expr, _: Expr) -> Expr:
    return value


def _at_symmetric_set(expression: Expr) -> Expr:
    """The expression with equal tasks, H = I, and the two-valued μ and ω."""
    rules: dict[IndexedBase, Callable[..., Expr]] = {
        n.mu: lambda task, head: _two_valued(on_mu, off_mu, task, head),
        n.omega: lambda task, head: _two_valued(on_omega, off_omega, task, head),
        **{base: partial(_same_for_all, value) for base, value in _SCALARS.items()},
    }
    return substitute(replace_indexed(expression, rules), {n.n_heads: n.n_tasks})


def _split_diagonal(expression: Expr, row: Symbol, column: Symbol) -> tuple[Expr, Expr]:
    """The values of a normal form on and off the diagonal of its two free indices."""
    delta = KroneckerDelta(row, column)
    off = to_expression(term for term in terms(expression) if all(atom != delta for atom, _ in term.factors))
    return _in_others(substitute(expression, {column: row})), _in_others(off)


def _in_others(expression: Expr) -> Expr:
    """An expression without sums in J = I − 1."""
    return normalise(substitute(expression, {n.n_tasks: 1 + others}))


def _reduced_definitions(
    record: Recorder, base: AttentionGradient
) -> tuple[tuple[Definition, ...], tuple[Definition, ...]]:
    """r, C, M in their values on the symmetric set: as functions of indices, and these values."""
    names: dict[Expr, tuple[Symbol, ...]] = {
        n.residual: (_residual,),
        n.interaction: _interaction,
        n.head_power: _power,
    }
    closed, values = [], []
    for item in base.definitions:
        own = names[item.base]
        body = normalise(_at_symmetric_set(item.body))
        if len(item.indices) == 2:
            (on, off), (row, column) = own, item.indices
            closed.append(Definition(item.head, _two_valued(on, off, row, column)))
            entries = map(_tidy, _split_diagonal(body, row, column))
            found = [Definition(*pair) for pair in zip(own, entries, strict=True)]
        else:
            closed.append(Definition(item.head, own[0]))
            found = [Definition(own[0], _in_others(body))]
        record(
            f"{item.base.label} on the symmetric set",
            tuple((value.head, value.body) for value in found),
            "The sum over its index, Kronecker deltas collapsed: J = I − 1 tasks or heads are alike.",
            check=partial(_are_entries, item.body),
        )
        values += found
    return tuple(closed), tuple(values)


def _are_entries(body: Expr, *lines: tuple[Expr, Expr]) -> bool:
    return all(_is_entry(body, head, (), line) for head, line in enumerate(lines, 1))


def _tidy(body: Expr) -> Expr:
    """A body in factors, its exponentials as one."""
    exponents = [item.exp for item in Mul.make_args(body) if isinstance(item, exp)]
    return exp(factored(Add(*exponents))) if exponents else factored(body)


def _collapsed(expression: Expr, closed: tuple[Definition, ...]) -> Expr:
    return normalise(_at_symmetric_set(inline(expression, closed)))


def _record_loss(record: Recorder, loss: Expr, gradients: list[Expr], definitions: tuple[Definition, ...]) -> None:
    count = definitions[0].body + 1
    entries = (count, count * (count - 1))
    record(
        "loss on the symmetric set",
        (n.loss, loss),
        "The loss in m, n, p, q: its partial derivatives are the gradients of the entries, I on and I (I − 1) off "
        "task.",
        check=lambda line: all(
            difference_is_zero(
                inline(line[1], definitions).diff(name), entries[place % 2] * inline(gradients[place], definitions)
            )
            for place, name in enumerate(STATE)
        ),
    )
