"""The test for equality: the normal form, and fractions brought to one denominator."""

from __future__ import annotations

from sympy import Dummy, Expr, Indexed, KroneckerDelta, Mul, S, Sum, Symbol, cancel, exp, log

from ..notation import index
from .monomial import Term, to_expression
from .nodes import check, free_symbols, rebuild, substitute
from .normal import serialise, terms

Ranges = tuple[Expr, ...]


def difference_is_zero(left: Expr, right: Expr) -> bool:
    """Whether two index expressions are equal by the normal form, fractions brought to one denominator.

    True is a proof.  False means that none was found: identities of exponentials inside fractions, or such as
    need two sums to be symmetrised, are not tried.
    """
    remaining = terms(check(left) - check(right))
    atoms = _Atoms()
    if cancel(atoms.taken_out(to_expression(remaining))) == 0:
        return True
    pending: dict[Ranges, Expr] = {}

    def add(ranges: Ranges, summand: Expr) -> None:
        pending[ranges] = pending.get(ranges, S.Zero) + summand

    # Summands over the same ranges may cancel only once they stand over a common denominator.
    for term in remaining:
        add(*_aligned(term))
    while pending:
        ranges = max(pending, key=len)
        summand = atoms.put_back(cancel(atoms.taken_out(pending.pop(ranges))))
        if summand == 0:
            continue
        used = free_symbols(summand)
        idle = [place for place in range(len(ranges)) if _name(place) not in used]
        if not idle:
            return False
        kept = [place for place in range(len(ranges)) if place not in idle]
        renamed = {_name(old): _name(new) for new, old in enumerate(kept)}
        counted = Mul(*(ranges[place] for place in idle), substitute(summand, renamed))
        add(tuple(ranges[place] for place in kept), counted)
    return True


def _name(place: int) -> Symbol:
    return index(f"_bound{place}")


def _aligned(term: Term) -> tuple[Ranges, Expr]:
    """The ranges of a term's sums and its summand, bound indices named by their place in canonical order."""
    names = {bound: _name(place) for place, (bound, _) in enumerate(term.bounds)}
    return tuple(upper for _, upper in term.bounds), substitute(term.coefficient * term.body(), names)


class _Atoms:
    """Scalars that stand for indexed names, sums, deltas, exponentials and logarithms, one per value."""

    def __init__(self) -> None:
        self._scalars: dict[str, Dummy] = {}
        self._atoms: dict[Symbol, Expr] = {}

    def taken_out(self, node: Expr) -> Expr:
        if isinstance(node, Indexed | KroneckerDelta | Sum | exp | log):
            name = serialise(node, {})
            if name not in self._scalars:
                self._scalars[name] = Dummy(positive=node.is_positive or None, real=True)
                self._atoms[self._scalars[name]] = node
            return self._scalars[name]
        return rebuild(node, [self.taken_out(argument) for argument in node.args]) if node.args else node

    def put_back(self, node: Expr) -> Expr:
        if isinstance(node, Symbol):
            return self._atoms.get(node, node)
        return rebuild(node, [self.put_back(argument) for argument in node.args]) if node.args else node
