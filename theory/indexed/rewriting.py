"""What users write and the node set lacks: exact rewrites into it, and the nearest ones for what has none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from sympy import Expr, Idx, Indexed, S, Sum, Symbol, cosh, coth, csch, exp, sech, sinh, tanh

_EXACT: Final[Mapping[type[Expr], Callable[[Expr], Expr]]] = {
    cosh: lambda u: (exp(u) + exp(-u)) / 2,
    sinh: lambda u: (exp(u) - exp(-u)) / 2,
    tanh: lambda u: 1 - 2 / (1 + exp(2 * u)),
    coth: lambda u: 1 + 2 / (exp(2 * u) - 1),
    sech: lambda u: 2 / (exp(u) + exp(-u)),
    csch: lambda u: 2 / (exp(u) - exp(-u)),
}
_NEAREST: Final = {
    "Abs": "sqrt(x**2 + epsilon**2)",
    "sign": "tanh(x/epsilon)",
    "Heaviside": "1/(1 + exp(-x/epsilon))",
    "Max": "epsilon*log(exp(x/epsilon) + exp(y/epsilon))",
    "Min": "-epsilon*log(exp(-x/epsilon) + exp(-y/epsilon))",
    "erf": "tanh(2*x/sqrt(pi)), which has the same slope at 0",
    "LambertW": "a parameter of its value",
    "gamma": "a parameter of its value",
}
NODES: Final = "numbers, symbols, sums, products, powers, exp, log, indexed symbols and Kronecker deltas"


def plain_index(index: Expr) -> Expr:
    """The symbol of that name, where it is an ``Idx``."""
    return Symbol(str(index.label), integer=True) if isinstance(index, Idx) else index


def plain_indices(variable: Expr) -> Expr:
    """An indexed symbol with plain symbols as its indices."""
    return variable.base[tuple(map(plain_index, variable.indices))] if isinstance(variable, Indexed) else variable


def rewritten(expression: Expr) -> Expr:
    """The expression with ``Idx`` as symbols and hyperbolic functions by exponentials; what has no rewrite stays."""
    if isinstance(expression, Indexed):
        return plain_indices(expression)
    if isinstance(expression, Sum):
        limits = [(plain_index(limit[0]), *limit[1:]) for limit in expression.limits]
        return Sum(rewritten(expression.function), *limits)
    if not expression.args:
        return expression
    arguments = [rewritten(argument) for argument in expression.args]
    function = _EXACT.get(expression.func, expression.func)
    return function(*arguments)


def nearest(expression: Expr) -> str:
    """What can be written instead of a function that the node set lacks, as the end of a sentence."""
    name = type(expression).__name__
    if name in _NEAREST:
        return f"the nearest in it is {_NEAREST[name]}"
    if expression.has(S.ImaginaryUnit):
        return "its numbers are real"
    return "nothing in it is equal to that"
