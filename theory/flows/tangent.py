"""The tangent of a flow: how its velocity changes along a direction, names kept closed.

The derivative of the velocity along a direction is the Jacobian times that direction.  Every definition gets a
tangent of its own (`C` the definition `C_tangent`, with ``C_tangent = C · …`` where C is an exponential), so that
what the flow shares its tangent shares too; what holds no direction depends on the point alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sympy import Expr, Indexed, IndexedBase, Symbol, exp

from ..indexed import Definition, directional_derivative
from ..notation import SymmetricBase
from ..result import builder
from .system import ReducedSystem

SUFFIX = "_tangent"


@builder
def tangent(system: ReducedSystem) -> ReducedSystem:
    """The linear flow of directions at a point; derived here, by the chain rule.

    Its state is a direction, named after the state of ``system``; the state of ``system`` is among its parameters.
    Its velocity is the Jacobian of that of ``system`` times the direction, its loss the derivative of the loss along
    the direction.  (It is no gradient flow: ``gradient`` and ``metric`` are those of ``system``.)
    """
    names: dict[IndexedBase | Symbol, Callable[..., Expr]] = {}
    scalars = tuple(item for item in system.definitions if not item.indices)
    tangents: list[Definition] = []

    def named(base: IndexedBase) -> IndexedBase:
        kind = SymmetricBase if isinstance(base, SymmetricBase) else IndexedBase
        name = kind(f"{base.label}{SUFFIX}", real=True)
        names[base] = lambda *indices: name[indices]
        return name

    def direction(variable: Indexed | Symbol) -> Indexed | Symbol:
        if isinstance(variable, Indexed):
            return named(variable.base)[variable.indices]
        name = Symbol(f"{variable}{SUFFIX}", real=True)
        names[variable] = lambda: name
        return name

    def along(expression: Expr) -> Expr:
        return directional_derivative(expression, names, scalars)

    state = tuple(map(direction, system.state))
    for item in system.definitions:
        if isinstance(item.head, Indexed):
            # D C = C D(log C) keeps the name.
            body = item.head * along(item.body.args[0]) if isinstance(item.body, exp) else along(item.body)
            if body != 0:
                tangents.append(Definition(named(item.base)[item.indices], body))
    return replace(
        system,
        state=state,
        velocity=tuple(along(rhs) for rhs in system.velocity),
        loss=along(system.loss),
        definitions=(*system.definitions, *tangents),
        invariants=(),
        domain=(),
        validity=(),
    )
