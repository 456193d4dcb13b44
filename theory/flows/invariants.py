"""Conserved quantities: finding the quadratic ones of a product parametrisation, and testing any proposed one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from typing import Protocol

from sympy import Add, Expr, Indexed, Matrix, Mul, Pow, S

from .. import notation as n
from ..indexed import Definition, check, difference_is_zero, gradient, normalise
from ..indexed.nodes import indexed_bases
from ..indexed.normal import terms


class Moving(Protocol):
    """What moves expressions: a `ReducedSystem`."""

    def derivative_along(self, expression: Expr) -> Expr:
        """``d expression / dt`` along the flow."""

    def opened(self, expression: Expr) -> Expr:
        """The expression in state and parameters alone."""


def quadratic_invariants(products: Sequence[Definition], metric: Mapping[Indexed, Expr]) -> tuple[Expr, ...]:
    """A basis of the quadratic forms in the factors that gradient flow conserves, whatever the loss.

    Parameters
    ----------
    products
        What the loss depends on, each a product of factors with the same indices: ``mu[i, h] = o[i, h] v[i, h]``.
    metric
        Factor → how fast it follows its gradient: ``df/dt = −metric[f] ∂loss/∂f``.

    The gradient in each product is an unknown, so that the drift of a form has to vanish monomial by monomial: a
    linear system for the form's coefficients.
    """
    factors = tuple(metric)
    forms = [first * second for first, second in combinations_with_replacement(factors, 2)]
    moving = {factor.base for factor in factors} | {n.partial_derivative(item.head).base for item in products}
    rows: dict[Expr, int] = {}
    entries: dict[tuple[int, int], Expr] = {}
    for column, form in enumerate(forms):
        for term in terms(_drift(form, products, metric)):
            if term.bounds:
                raise ValueError("the products must be formed entry by entry, without sums")
            monomial = Mul(*(Pow(*pair) for pair in term.factors if indexed_bases(pair[0]) & moving))
            rest = Mul(term.coefficient, *(Pow(*pair) for pair in term.factors if not indexed_bases(pair[0]) & moving))
            entries[rows.setdefault(monomial, len(rows)), column] = rest
    system = Matrix(len(rows), len(forms), lambda row, column: entries.get((int(row), int(column)), S.Zero))
    return tuple(_form(list(vector), forms) for vector in system.nullspace())


def _drift(form: Expr, products: Sequence[Definition], metric: Mapping[Indexed, Expr]) -> Expr:
    """−d form/dt for an unknown gradient in each product."""
    return normalise(
        Add(
            *(
                gradient(form, factor) * pace * gradient(item.body, factor) * n.partial_derivative(item.head)
                for factor, pace in metric.items()
                for item in products
            )
        )
    )


def _form(coefficients: Sequence[Expr], forms: Sequence[Expr]) -> Expr:
    leading = next(number for number in coefficients if number != 0)
    return normalise(Add(*(number / leading * form for number, form in zip(coefficients, forms, strict=True))))


def is_invariant(system: Moving, expression: Expr) -> bool:
    """Whether ``expression`` is constant along the flow: its derivative is zero, by the normal form.

    True is a proof; False means that the derivative, definitions opened, was not seen to vanish.
    """
    drift = system.derivative_along(check(expression))
    return drift == 0 or difference_is_zero(system.opened(drift), S.Zero)
