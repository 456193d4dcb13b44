"""Leading-order truncation: which terms of an index expression survive a scaling limit.

Every name is given a weight w, meaning that it grows like N^w as N → ∞; of a sum only the terms of the
highest weight are kept.  Finite sums over indices commute with the limit (the ranges stay fixed).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sympy import Dummy, Expr, Indexed, IndexedBase, KroneckerDelta, Mul, Pow, Rational, S, Symbol, exp, log

from .monomial import Term, to_expression
from .naming import name_bounds
from .nodes import NodeError, check, replace_indexed, substitute
from .normal import normalise, sum_over, terms

Weights = Mapping[IndexedBase | Symbol, Rational]


def leading_order(expression: Expr, weights: Weights) -> Expr:
    """The terms of highest weight, in normal form (names without a weight have weight 0).

    A power of a sum keeps the sum's own leading part; ``log(1 + x)`` with x of negative weight becomes x;
    an exponential must have an exponent of weight 0 (it is kept to its leading order) or below (it is 1).
    """
    return name_bounds(_leading(check(expression), weights)[0])


def _leading(expression: Expr, weights: Weights) -> tuple[Expr, Rational]:
    parts = [_leading_term(term, weights) for term in terms(expression)]
    if not parts:
        return S.Zero, S.Zero
    highest = max(weight for _, weight in parts)
    return to_expression(term for kept, weight in parts if weight == highest for term in kept), highest


def _leading_term(term: Term, weights: Weights) -> tuple[list[Term], Rational]:
    """What a term tends to, and its weight; ranges stay fixed in the limit, so they count for nothing."""
    weight = S.Zero
    factors = []
    for atom, power in term.factors:
        kept, atom_weight = _leading_atom(atom, weights)
        factors.append(Pow(kept, power))
        weight += power * atom_weight
    if term.exponent != 0:
        kept, exponent_weight = _leading(term.exponent, weights)
        if exponent_weight > 0:
            raise NodeError(f"exp({term.exponent}) grows without bound in this scaling")
        if exponent_weight == 0:
            factors.append(exp(kept))
    limits = terms(Mul(term.coefficient, *factors))
    return [summed for limit in limits for summed in sum_over(limit, term.bounds)], weight


def _leading_atom(atom: Expr, weights: Weights) -> tuple[Expr, Rational]:
    if isinstance(atom, Indexed):
        return atom, weights.get(atom.base, S.Zero)
    if isinstance(atom, Symbol):
        return atom, weights.get(atom, S.Zero)
    if isinstance(atom, log):
        inner, weight = _leading(atom.args[0], weights)
        if inner == 1 and weight == 0:
            return _leading(atom.args[0] - 1, weights)
        if weight == 0:
            return log(inner), S.Zero
        raise NodeError(f"{atom} has no power-law leading order")
    if isinstance(atom, KroneckerDelta) or not atom.args:
        return atom, S.Zero
    return _leading(atom, weights)


def scaled_limit(expression: Expr, weights: Weights, order: int = 0) -> Expr:
    """The limit N → ∞ of N^order times an expression whose names grow like N^w, by another way than `leading_order`.

    Every name is multiplied by a power of s = N^(−1/2) and s set to zero.  Raises ``ZeroDivisionError`` where a term
    grows; logarithms and exponentials must not hold negative powers of s.
    """
    s = Dummy("s", positive=True)

    def scaled(base: IndexedBase, weight: Rational) -> Callable[..., Expr]:
        return lambda *indices: s ** (-2 * weight) * base[indices]

    rules = {base: scaled(base, weight) for base, weight in weights.items() if isinstance(base, IndexedBase)}
    scalars = {name: s ** (-2 * weight) * name for name, weight in weights.items() if isinstance(name, Symbol)}
    grown = normalise(s ** (-2 * order) * replace_indexed(substitute(expression, scalars), rules))
    return normalise(substitute(grown, {s: S.Zero}))
