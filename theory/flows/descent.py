"""The steps that every gradient flow takes: its gradient, its metric and its velocity, each with its check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial as partial_function

from sympy import Expr, Indexed, IndexedBase, Mul, S, Symbol

from .. import notation as n
from ..derivation import Recorder
from ..indexed import Definition, check, difference_is_zero, directional_derivative, factored, gradient, replace_indexed
from ..indexed.definitions import ranges_in
from ..indexed.nodes import close_sum, delta, free_indices, free_symbols, indexed_bases, indices_of, name_of


def check_state(loss: Expr, state: tuple[Indexed | Symbol, ...], definitions: tuple[Definition, ...]) -> None:
    for variable in state:
        if not isinstance(variable, Indexed | Symbol):
            raise TypeError(f"a state variable is a symbol or an indexed one such as mu[i, h], got {variable!r}")
        if len({x for x in indices_of(variable) if isinstance(x, Symbol)}) < len(indices_of(variable)):
            raise ValueError(f"the indices of the state variable {variable} must be distinct symbols")
    known: dict[str, IndexedBase | Symbol] = {}
    for variable in state:
        base = name_of(variable)
        if str(base) in known or base in {item.base for item in definitions}:
            raise ValueError(f"{base} is given twice, as a state variable or a definition")
        known[str(base)] = base
    for expression in (loss, *(item.body for item in definitions)):
        for base in indexed_bases(expression) | (free_symbols(expression) - free_indices(expression)):
            if known.get(str(base), base) != base:
                raise ValueError(
                    f"two different symbols are called {base}, one in state=[...] and one in the loss: make it once"
                )


def checked_metric(
    metric: Mapping[Indexed | Symbol, Expr], state: Sequence[Indexed | Symbol]
) -> dict[Indexed | Symbol, Expr]:
    if unknown := set(metric) - set(state):
        raise ValueError(f"metric names {sorted(map(str, unknown))}, which are not state variables")
    found = {variable: check(factor) for variable, factor in metric.items()}
    for variable, factor in found.items():
        if loose := free_indices(factor) - set(indices_of(variable)):
            raise ValueError(f"the metric of {variable} has the free index {min(map(str, loose))}")
    return found


def recorded_gradients(
    record: Recorder,
    loss: Expr,
    state: Sequence[Indexed | Symbol],
    definitions: Sequence[Definition],
    of: str = "",
) -> tuple[Expr, ...]:
    partials = tuple(gradient(loss, variable, definitions) for variable in state)
    for variable, partial in zip(state, partials, strict=True):
        record(
            f"gradient{of} in {name_of(variable)}",
            (n.partial_derivative(variable), partial),
            "Chain rule through the definitions; ∂x_a/∂x_b = δ_ab, deltas collapsed.",
            check=partial_function(_is_partial, loss, variable, definitions),
        )
    return partials


def _is_partial(
    loss: Expr, variable: Indexed | Symbol, definitions: Sequence[Definition], line: tuple[Expr, Expr]
) -> bool:
    """Whether the loss changes in any direction ξ of one variable by Σ ξ times the partial derivative."""
    ranges = ranges_in(variable, loss, definitions)
    bounds = tuple(zip(indices_of(variable), ranges, strict=True))
    name = "xi_of_any_size"

    def direction(*indices: Expr) -> Expr:
        return IndexedBase(name, real=True)[indices] if indices else Symbol(name, real=True)

    along = directional_derivative(loss, {name_of(variable): direction}, definitions)
    return difference_is_zero(along, close_sum(direction(*indices_of(variable)) * line[1], bounds))


def recorded_velocity(
    record: Recorder,
    name: str,
    state: Sequence[Indexed | Symbol],
    metric: Sequence[Expr],
    partials: Sequence[Expr],
) -> tuple[Expr, ...]:
    velocity = tuple(factored(-m * g) for m, g in zip(metric, partials, strict=True))
    for variable, rhs, factor, own in zip(state, velocity, metric, partials, strict=True):
        record(
            f"{name} flow of {name_of(variable)}",
            (n.time_derivative(variable), rhs),
            "Gradient flow with unit learning rate: minus the metric times the gradient.",
            check=partial_function(_is_descent, factor, own),
        )
    return velocity


def _is_descent(metric: Expr, partial: Expr, line: tuple[Expr, Expr]) -> bool:
    """Whether a velocity over its metric is minus the gradient."""
    return difference_is_zero(line[1] / metric + partial, S.Zero)


def rests_at_zero(variable: Indexed, velocity: Expr) -> bool:
    """Whether an entry of a variable that is zero has no velocity, so that no entry ever changes its sign."""

    def without(*indices: Expr) -> Expr:
        here = Mul(*(delta(*pair) for pair in zip(indices, variable.indices, strict=True)))
        return variable.base[indices] * (1 - here)

    return difference_is_zero(replace_indexed(velocity, {variable.base: without}), S.Zero)
