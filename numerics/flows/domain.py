"""The conditions of a closure on numbers: where the weights leave its domain, or the range where it is valid."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import cache
from typing import Final, Protocol

import numpy as np
from sympy import Expr, Indexed, Symbol, lambdify, solve
from sympy.core.relational import Relational, StrictLessThan

from ...theory import notation as n
from ...theory.flows.system import ReducedSystem
from ...theory.gaussian import chi_square_generating_function
from ...theory.model.next_order import exponent, next_order
from ...theory.printing import to_text
from ...theory.scalars import plain_symbols, summand
from ..problem.problem import FloatArray, Problem


class Rows(Protocol):
    """Weights at times: μ and ω of shape (N, I, H)."""

    @property
    def problem(self) -> Problem: ...
    @property
    def t(self) -> FloatArray: ...
    @property
    def mu(self) -> FloatArray: ...
    @property
    def omega(self) -> FloatArray: ...


# From where on the next order of an expansion in 1/L is warned of, relative to the first one.
NOTABLE: Final = 0.1
# A head's exponent matters where it does at least this share of what all heads do for some task.
_WORKS: Final = 0.01


def next_term(problem: Problem, mu: FloatArray, omega: FloatArray) -> tuple[float, int]:
    """The largest second term, over the first, of the expansion of a head's overlap in 1/L; and the head, from 0.

    ``mu`` and ``omega`` have shape (I, H); heads that do nothing do not count.  Infinite where rare long queries make
    the second term's mean infinite (see `theory.model.next_order`).
    """
    known = next_order()
    log_means = {power: _log_mean(problem, omega, power) for power in {*known.first, *known.second}}
    with np.errstate(over="ignore", invalid="ignore"):
        first, second = (
            sum(float(value) * np.exp(log_means[power] - log_means[1]) for power, value in terms.items())
            for terms in (known.first, known.second)
        )
        sizes = np.abs(second / first) / problem.context_length
    sizes = np.where(np.isnan(sizes), np.inf, sizes)
    does = np.abs(mu * omega)
    working = (does >= _WORKS * np.maximum(does.sum(axis=1, keepdims=True), np.finfo(float).tiny)).any(axis=0)
    sizes = np.where(working, sizes, 0.0)
    head = int(sizes.argmax())
    return float(sizes[head]), head


def next_term_note(size: float, head: int) -> str:
    """That the next term counts, in words."""
    share = "more than all" if size >= 1 else f"{100 * size:.2g} %"
    return f"the next term of its expansion in e^(|a|²)/L is {share} of the one that it keeps, for head {head + 1}"


def where_invalid(closure: str, validity: Iterable[Relational], rows: Rows) -> str | None:
    """A sentence on the first time at which ω leaves the range where a closure is valid; None if it never does."""
    relations = tuple(validity)
    for time, omega in zip(rows.t, rows.omega, strict=True):
        if outside := violation(relations, omega):
            return (
                f"the {closure} closure has the accuracy that it claims only where {outside[0]}; "
                f"at t = {time:.6g} {outside[1]}"
            )
    return None


def where_next_term_counts(closure: str, rows: Rows) -> str | None:
    """A sentence on when the next term of an expansion in 1/L comes to a tenth of the first, and how large it gets."""
    sizes = [next_term(rows.problem, mu, omega) for mu, omega in zip(rows.mu, rows.omega, strict=True)]
    counts = [place for place, (size, _) in enumerate(sizes) if size > NOTABLE]
    if not counts:
        return None
    worst = max(counts, key=lambda place: sizes[place][0])
    return (
        f"the {closure} closure is to be trusted where e^(|a|²)/L is small, which it is until t = "
        f"{rows.t[counts[0]]:.6g}: at t = {rows.t[worst]:.6g} {next_term_note(*sizes[worst])}"
    )


def _log_mean(problem: Problem, omega: FloatArray, power: int) -> FloatArray:
    """log E e^{k|a_h|²} of every head, infinite where the mean is."""
    function, edge = _log_mean_function()
    with np.errstate(divide="ignore", invalid="ignore"):
        each = function(np.array(problem.dims, float)[:, None], omega, power)
    finite = (power * omega**2 < edge).all(axis=0)
    return np.asarray(np.where(finite, each.sum(axis=0), np.inf))


@cache
def _log_mean_function() -> tuple[Callable[..., FloatArray], float]:
    """The summand of task i in d_i, ω_i^h and k; and the edge below which k ω² must lie."""
    known = summand(next_order().log_mean)
    plain = plain_symbols(known)
    squared = Symbol("w", positive=True)
    (edge,) = solve(chi_square_generating_function(squared) ** -2, squared)
    names = [plain.symbol(n.dims[n.i]), plain.symbol(n.omega[n.i, n.h]), plain.symbol(exponent)]
    return lambdify(names, plain.expression), float(edge)


def largest_omega(system: ReducedSystem) -> float:
    """Below which every |ω| lies in the domain of a system, and in the range where its closure is valid."""
    bounds = [float(relation.rhs) for relation in _on_omega((*system.domain, *system.validity))]
    return math.sqrt(min(bounds, default=math.inf))


def violation(relations: Iterable[Relational], omega: FloatArray) -> tuple[str, str] | None:
    """The first condition that ω of shape (I, H) violates, and where it is worst (counted from 1); else None."""
    for relation in _on_omega(relations):
        values = _evaluated(relation.lhs, omega)
        # Not-a-number violates every condition.
        if not (values < float(relation.rhs)).all():
            place = np.unravel_index(int(np.nan_to_num(values, nan=np.inf).argmax()), values.shape)
            task, *heads = (int(index) + 1 for index in place)
            among = f"head {heads[0]}" if len(set(heads)) == 1 else f"heads {heads[0]} and {heads[1]}"
            got = f"{to_text(relation.lhs)} = {values[place]:.6g} for task {task} and {among}"
            return to_text(relation), got
    return None


def _on_omega(relations: Iterable[Relational]) -> list[StrictLessThan]:
    """The conditions of the form f(ω) < number (those on signs are the parametrisation's own)."""
    return [relation for relation in relations if isinstance(relation, StrictLessThan) and relation.rhs.is_number]


def _evaluated(expression: Expr, omega: FloatArray) -> FloatArray:
    """``expression`` in ω_i^h and ω_i^k, over all tasks and heads: shape (I, H) or (I, H, H)."""
    atoms = sorted(expression.atoms(Indexed), key=str)
    arrays = [_broadcast(atom, omega, len(atoms)) for atom in atoms]
    found: FloatArray = lambdify(atoms, expression)(*arrays)
    return found


def _broadcast(atom: Indexed, omega: FloatArray, count: int) -> FloatArray:
    if count == 1:
        return omega
    return omega[:, :, None] if atom == n.omega[n.i, n.h] else omega[:, None, :]
