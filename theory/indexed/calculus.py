"""Differentiation: one capture-free directional derivative serves gradient, Jacobian and Jv."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from sympy import Add, Expr, Indexed, IndexedBase, KroneckerDelta, Mul, Pow, S, Sum, Symbol, exp, log

from ..notation import SymmetricBase
from .definitions import Definition
from .nodes import NodeError, check, close_sum, delta, indices_of, name_of, open_sum
from .normal import normalise

Direction = Mapping[IndexedBase | Symbol, Callable[..., Expr]]


def directional_derivative(expression: Expr, direction: Direction, definitions: Iterable[Definition] = ()) -> Expr:
    """``d/dε expression(x + ε v)`` at ε = 0, where ``direction[x](a, b)`` is ``v[a, b]``; not normalised.

    Definitions stay closed and are differentiated through their bodies.
    """
    known = {definition.base: definition for definition in definitions}

    def derivative(node: Expr) -> Expr:
        if isinstance(node, Indexed):
            return of_indexed(node)
        if isinstance(node, Symbol):
            if node in direction:
                return direction[node]()
            return derivative(known[node].body) if node in known else S.Zero
        if isinstance(node, KroneckerDelta) or not node.args:
            return S.Zero
        if isinstance(node, Add):
            return Add(*(derivative(argument) for argument in node.args))
        if isinstance(node, Mul):
            factors = node.args
            return Add(
                *(
                    Mul(*factors[:place], inner, *factors[place + 1 :])
                    for place in range(len(factors))
                    if (inner := derivative(factors[place])) != 0
                )
            )
        if isinstance(node, exp):
            return node * derivative(node.args[0])
        if isinstance(node, log):
            return derivative(node.args[0]) / node.args[0]
        if isinstance(node, Pow):
            slope = node.exp * Pow(node.base, node.exp - 1) * derivative(node.base)
            return slope if node.exp.is_Rational else slope + node * log(node.base) * derivative(node.exp)
        if isinstance(node, Sum):
            body, pairs = open_sum(node)
            inner = derivative(body)
            return close_sum(inner, pairs) if inner != 0 else S.Zero
        raise NodeError(f"{type(node).__name__} is not a node of the index calculus: {node}")

    def of_indexed(node: Indexed) -> Expr:
        if node.base in direction:
            return direction[node.base](*node.indices)
        if node.base not in known:
            return S.Zero
        body = known[node.base].at(*node.indices)
        return node * derivative(body.args[0]) if isinstance(body, exp) else derivative(body)

    return derivative(check(expression))


def gradient(expression: Expr, variable: Indexed | Symbol, definitions: Iterable[Definition] = ()) -> Expr:
    """``∂ expression / ∂ variable`` in normal form, the delta rule applied and collapsed."""
    if isinstance(name_of(variable), SymmetricBase):
        raise NodeError(f"the entries of the symmetric {name_of(variable)} are not independent: no ∂/∂{variable}")

    def unit(*indices: Expr) -> Expr:
        return Mul(*(delta(a, b) for a, b in zip(indices, indices_of(variable), strict=True)))

    return normalise(directional_derivative(expression, {name_of(variable): unit}, definitions))
