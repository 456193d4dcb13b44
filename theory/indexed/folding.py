"""Recognition: a definition's body, or a matrix times its inverse, found inside an expression."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from sympy import Expr, Indexed, IndexedBase, Rational, S, Symbol

from ..notation import SymmetricBase
from .definitions import Definition
from .monomial import Factors, Term, to_expression
from .naming import name_bounds
from .nodes import check, delta, free_indices, free_symbols, indices_of, substitute
from .normal import serialise, simplified, terms

Factor = tuple[Expr, Rational]
Match = tuple[dict[Symbol, Expr], Factors, set[Symbol]]


def fold(expression: Expr, definition: Definition) -> Expr:
    """The normal form with every whole occurrence of the definition's body replaced by its name.

    The body must be a single monomial (with its sums), such as ``Σ_j a_j x_j^h x_j^k``.
    """
    pattern = terms(definition.body)
    if len(pattern) != 1 or pattern[0].exponent != 0 or not pattern[0].factors:
        raise ValueError(f"only a definition with a single monomial can be folded, not {definition.head}")
    folded = (part for term in terms(check(expression)) for part in _fold_term(term, pattern[0], definition))
    return name_bounds(to_expression(folded))


def _fold_term(term: Term, pattern: Term, definition: Definition) -> list[Term]:
    for binding, rest, used_bounds in _matches(term, pattern):
        entries = tuple(binding.get(index) for index in definition.indices)
        if None in entries or used_bounds & set(entries):
            continue
        head = definition.base[entries] if entries else definition.base
        bounds = tuple(pair for pair in term.bounds if pair[0] not in used_bounds)
        folded = Term(term.coefficient / pattern.coefficient, bounds, (*rest, (head, S.One)), term.exponent)
        return [again for part in simplified(folded) for again in _fold_term(part, pattern, definition)]
    return [term]


def _matches(term: Term, pattern: Term) -> Iterator[Match]:
    """Ways to find the pattern's factors in the term, the pattern's sums matching whole sums of the term."""
    wanted = sorted(_units(pattern.factors), key=lambda factor: not isinstance(factor[0], Indexed))
    available = _units(term.factors)
    ranges = dict(term.bounds)
    pattern_ranges = dict(pattern.bounds)

    def search(place: int, free: tuple[int, ...], binding: dict[Symbol, Expr]) -> Iterator[Match]:
        if place == len(wanted):
            used_bounds = {binding[index] for index in pattern_ranges}
            rest = tuple(available[position] for position in free)
            touched = set().union(*(free_symbols(atom) for atom, _ in rest), free_symbols(term.exponent))
            if len(used_bounds) == len(pattern_ranges) and not used_bounds & touched:
                yield binding, rest, used_bounds
            return
        for position in free:
            for extended in _unify(wanted[place], available[position], binding):
                bound = (index for index in pattern_ranges if index in extended)
                if all(ranges.get(extended[index]) == pattern_ranges[index] for index in bound):
                    yield from search(place + 1, tuple(p for p in free if p != position), extended)

    return search(0, tuple(range(len(available))), {})


def _units(factors: Factors) -> list[Factor]:
    """Integer powers written as repeated factors, so that x² can match x·x."""
    units: list[Factor] = []
    for atom, power in factors:
        if power.is_Integer:
            units.extend([(atom, S.One if power > 0 else -S.One)] * abs(int(power)))
        else:
            units.append((atom, power))
    return units


def _unify(wanted: Factor, found: Factor, binding: dict[Symbol, Expr]) -> Iterator[dict[Symbol, Expr]]:
    """The ways to extend the binding of the pattern's indices so that ``wanted`` becomes ``found``."""
    (pattern, power), (atom, found_power) = wanted, found
    if power != found_power:
        return
    if not isinstance(pattern, Indexed):  # comes after the indexed names, when most indices are bound
        missing = sorted(free_indices(pattern) - set(binding), key=str)
        for values in itertools.product(sorted(free_indices(atom), key=str), repeat=len(missing)):
            extended = {**binding, **dict(zip(missing, values, strict=True))}
            if serialise(substitute(pattern, extended), {}) == serialise(atom, {}):
                yield extended
        return
    if not isinstance(atom, Indexed) or atom.base != pattern.base:
        return
    orders = [atom.indices]
    if isinstance(atom.base, SymmetricBase) and atom.indices[0] != atom.indices[-1]:
        orders.append(tuple(reversed(atom.indices)))
    for order in orders:
        extended = dict(binding)
        if all(_binds(extended, entry, value) for entry, value in zip(pattern.indices, order, strict=True)):
            yield extended


def _binds(binding: dict[Symbol, Expr], entry: Expr, value: Expr) -> bool:
    if not isinstance(entry, Symbol):
        return bool(entry == value)
    return bool(binding.setdefault(entry, value) == value)


def contract_inverse(expression: Expr, matrix: IndexedBase, inverse: IndexedBase) -> Expr:
    """The normal form with ``Σ_k X[h, k] X⁻¹[k, l] = δ_hl`` applied (both names symmetric)."""
    return name_bounds(to_expression(_contracted(terms(check(expression)), matrix, inverse)))


def _contracted(parts: Iterable[Term], matrix: IndexedBase, inverse: IndexedBase) -> list[Term]:
    done: list[Term] = []
    for term in parts:
        contraction = _find_contraction(term, matrix, inverse)
        if contraction is None:
            done.append(term)
        else:
            done.extend(_contracted(simplified(contraction), matrix, inverse))
    return done


def _find_contraction(term: Term, matrix: IndexedBase, inverse: IndexedBase) -> Term | None:
    for index, _ in term.bounds:
        touching = [pair for pair in term.factors if index in free_symbols(pair[0])]
        if {getattr(atom, "base", None) for atom, _ in touching} != {matrix, inverse} or len(touching) != 2:
            continue
        if any(power != 1 for _, power in touching) or index in free_symbols(term.exponent):
            continue
        others = [entry for atom, _ in touching for entry in indices_of(atom) if entry != index]
        if len(others) != 2:
            continue
        rest = tuple(pair for pair in term.factors if pair not in touching)
        bounds = tuple(pair for pair in term.bounds if pair[0] != index)
        return Term(term.coefficient, bounds, (*rest, (delta(*others), S.One)), term.exponent)
    return None
