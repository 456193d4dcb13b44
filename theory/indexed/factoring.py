"""Taking out what all terms of a sum share."""

from __future__ import annotations

from sympy import Expr, Mul, Pow, S, exp

from .monomial import Term, content_of, to_expression
from .naming import name_bounds
from .nodes import check, free_symbols
from .normal import normalise, terms


def factored(expression: Expr) -> Expr:
    """The normal form with what all its terms share written once, in front."""
    parts = terms(check(expression))
    if len(parts) < 2:
        return normalise(expression)
    common, rest = common_factor(parts)
    inner = name_bounds(to_expression(rest), {symbol.name for symbol in free_symbols(common)})
    if 1 in (common, inner):
        return inner if common == 1 else common
    return Mul(common, inner, evaluate=not common.is_Number)


def common_factor(parts: tuple[Term, ...]) -> tuple[Expr, list[Term]]:
    """What every term shares (number and factors free of bound indices), and the terms divided by it."""
    content = content_of(parts)
    if all(part.coefficient < 0 for part in parts):
        content = -content
    outer = [
        {atom: power for atom, power in part.factors if not free_symbols(atom) & part.bound_indices} for part in parts
    ]
    shared = {
        atom: min((factors[atom] for factors in outer), key=abs)
        for atom in outer[0]
        if all(atom in factors and factors[atom] * outer[0][atom] > 0 for factors in outer)
    }
    exponents = {part.exponent for part in parts}
    exponent = exponents.pop() if len(exponents) == 1 else S.Zero
    if any(free_symbols(exponent) & part.bound_indices for part in parts):
        exponent = S.Zero
    rest = []
    for part in parts:
        factors = tuple((atom, power - shared.get(atom, S.Zero)) for atom, power in part.factors)
        kept = tuple(pair for pair in factors if pair[1] != 0)
        rest.append(Term(part.coefficient / content, part.bounds, kept, part.exponent - exponent))
    return Mul(content, *(Pow(atom, power) for atom, power in shared.items()), exp(exponent)), rest
