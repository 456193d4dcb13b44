"""What an index expression is: the closed node set, and substitution that never captures.

SymPy's own ``subs``, ``xreplace``, ``doit``, ``simplify`` and ``expand`` are not safe on sums over
indices (they capture bound names, or rewrite an exponential of a sum as a Piecewise), so nothing
here calls them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from sympy import (
    Add,
    Dummy,
    Expr,
    Indexed,
    IndexedBase,
    KroneckerDelta,
    Mul,
    Number,
    NumberSymbol,
    Pow,
    Rational,
    Sum,
    Symbol,
    SympifyError,
    default_sort_key,
    exp,
    log,
    sympify,
)

from .rewriting import NODES, nearest, rewritten


class NodeError(TypeError):
    """An expression holds a node that the index calculus does not know."""


def bounds(total: Sum) -> tuple[tuple[Symbol, Expr], ...]:
    """``((index, upper), ...)`` of a sum, innermost first; every lower limit must be 1.

    An index that an inner range of the same sum shadows is renamed: nothing in the body refers to it.
    """
    pairs: list[tuple[Symbol, Expr]] = []
    for limit in total.limits:
        if len(limit) != 3 or limit[1] != 1:
            raise NodeError(
                f"a sum over an index must run from 1 to a constant, as of Idx('i', (1, N)), "
                f"got the limits {limit} in {total}"
            )
        index, _, upper = limit
        if not isinstance(index, Symbol):
            raise NodeError(f"{index} ({type(index).__name__}) in {total} must be a symbol to be summed over")
        if not (isinstance(upper, Symbol) or (upper.is_Integer and upper > 0)):
            raise NodeError(f"the upper limit {upper} of {total} must be a symbol or a positive integer")
        if upper in total.variables:
            raise NodeError(f"the limits of {total} must be constants")
        pairs.append((fresh(index) if any(index == other for other, _ in pairs) else index, upper))
    return tuple(pairs)


def check(expression: Any) -> Expr:
    """Return ``expression`` as SymPy, or raise ``NodeError`` naming the first node outside the set.

    The set: numbers, symbols, Add, Mul, Pow with a rational exponent or of a positive base, exp, log, sqrt, Indexed
    with plain indices, KroneckerDelta of two plain indices of one range, and Sum from 1 to a constant.  Hyperbolic
    functions and ``Idx`` are rewritten into it.
    """
    try:
        expression = sympify(expression, strict=True)
    except SympifyError:
        raise NodeError(f"{expression!r} is not an index expression") from None
    try:
        _check(expression, {})
    except NodeError:
        other = rewritten(expression)
        if other == expression:
            raise
        _check(other, {})
        return other
    return expression


def _check(expression: Any, ranges: Mapping[Symbol, Expr]) -> None:
    if isinstance(expression, Number | NumberSymbol):
        if expression.is_Float:
            raise NodeError(f"exact numbers only: {expression} is a float; write a Rational")
        if not expression.is_finite:
            raise NodeError(f"{expression} is not a finite number")
    elif isinstance(expression, Symbol):
        if not expression.is_commutative:
            raise NodeError(f"the symbol {expression} does not commute")
    elif isinstance(expression, Indexed | KroneckerDelta):
        if isinstance(expression, KroneckerDelta) and len(expression.args) != 2:
            raise NodeError(f"{expression} must have two indices and no range")
        for entry in indices_of(expression):
            if not (isinstance(entry, Symbol) or entry.is_Integer):
                raise NodeError(f"the index {entry} of {expression} must be a symbol or an integer")
            if entry.is_Integer and entry < 1:
                raise NodeError(f"the index {entry} of {expression} must be at least 1: indices count from 1")
        uppers = {ranges[entry] for entry in indices_of(expression) if entry in ranges}
        if isinstance(expression, KroneckerDelta) and len(uppers) > 1:
            raise NodeError(f"{expression} ties indices that run to {' and to '.join(sorted(map(str, uppers)))}")
    elif isinstance(expression, Pow) and not isinstance(expression, exp):
        if not isinstance(expression.exp, Rational):
            if not expression.base.is_positive:
                raise NodeError(
                    f"the exponent of {expression} must be an integer or a rational number, or its base known to be "
                    "positive, as of IndexedBase('x', positive=True)"
                )
            _check(expression.exp, ranges)
        elif not expression.exp.is_Integer and expression.base.is_number and expression.base.is_negative:
            raise NodeError(f"{expression} is a fractional power of a negative number")
        _check(expression.base, ranges)
    elif isinstance(expression, Sum):
        inner = {**ranges, **dict(bounds(expression))}
        if dependent := {upper for _, upper in bounds(expression)} & set(ranges):
            raise NodeError(f"the limit {dependent.pop()} of {expression} must be a constant, not another index")
        _check(expression.function, inner)
    elif isinstance(expression, Add | Mul | exp | log):
        for argument in expression.args:
            _check(argument, ranges)
    else:
        name = type(expression).__name__
        raise NodeError(f"{name} is not a node of the index calculus ({NODES}): {expression}; {nearest(expression)}")


def name_of(variable: Indexed | Symbol) -> IndexedBase | Symbol:
    """What a variable is called: the name before the indices, or the symbol that a scalar is."""
    return variable.base if isinstance(variable, Indexed) else variable


def indices_of(atom: Expr) -> tuple[Expr, ...]:
    """The index entries of an Indexed or a KroneckerDelta; none of a symbol."""
    return tuple(atom.indices) if isinstance(atom, Indexed) else tuple(atom.args[:2])


@lru_cache(maxsize=20_000)
def entry_of(base: IndexedBase, indices: tuple[Expr, ...]) -> Indexed:
    """``base[indices]``, the same object each time: SymPy works out what it assumes of each new one."""
    return base[indices]


def delta(first: Expr, second: Expr) -> Expr:
    """KroneckerDelta; of two different names, SymPy does not search whether they can be equal."""
    if isinstance(first, Symbol) and isinstance(second, Symbol) and first != second:
        return KroneckerDelta(*sorted((first, second), key=default_sort_key), evaluate=False)
    return KroneckerDelta(first, second)


def rebuild(expression: Expr, arguments: list[Expr]) -> Expr:
    """``expression`` with new arguments, itself where none is new; indexed names keep their own ordering rule."""
    if all(new is old for new, old in zip(arguments, expression.args, strict=True)):
        return expression
    function = {exp: exponential, KroneckerDelta: delta}.get(expression.func, expression.func)
    return function(*arguments)


def exponential(argument: Expr) -> Expr:
    """exp; where there is nothing to work out, SymPy does not search for it (a millisecond for each sum)."""
    return exp(argument, evaluate=argument.is_Number or argument.has(log))


def fresh(symbol: Symbol) -> Dummy:
    """A new index that equals no other, named like ``symbol``."""
    return Dummy(symbol.name, integer=True)


def free_symbols(expression: Expr) -> set[Symbol]:
    """Symbols that occur free: indices not bound by a sum, and scalars (indexed names are not symbols)."""
    if isinstance(expression, Symbol):
        return {expression}
    if isinstance(expression, Indexed | KroneckerDelta):
        return {entry for entry in indices_of(expression) if isinstance(entry, Symbol)}
    if isinstance(expression, Sum):
        upper = set().union(*(free_symbols(limit[2]) for limit in expression.limits))
        return (free_symbols(expression.function) - set(expression.variables)) | upper
    return set().union(*(free_symbols(argument) for argument in expression.args))


def free_indices(expression: Expr) -> set[Symbol]:
    """Symbols that occur free as an index."""
    if isinstance(expression, Indexed | KroneckerDelta):
        return free_symbols(expression)
    inner = set().union(*(free_indices(argument) for argument in _operands(expression)))
    return inner - set(expression.variables) if isinstance(expression, Sum) else inner


def _operands(expression: Expr) -> tuple[Expr, ...]:
    return (expression.function,) if isinstance(expression, Sum) else expression.args


def indexed_bases(expression: Expr) -> set[IndexedBase]:
    """The indexed names that occur in an expression."""
    return {atom.base for atom in expression.atoms(Indexed)}


def ranges_of(base: IndexedBase, scopes: Iterable[tuple[Expr, Mapping[Symbol, Expr]]]) -> tuple[Expr, ...]:
    """How far each index of a name runs in expressions, each with the ranges of its free indices.

    A new symbol for an index that nothing tells.
    """
    found: dict[int, Expr] = {}

    def visit(node: Expr, ranges: Mapping[Symbol, Expr]) -> int:
        if isinstance(node, Indexed):
            if node.base != base:
                return 0
            found.update({place: ranges[entry] for place, entry in enumerate(node.indices) if entry in ranges})
            return len(node.indices)
        if isinstance(node, Sum):
            return visit(node.function, {**ranges, **dict(bounds(node))})
        return max((visit(argument, ranges) for argument in node.args), default=0)

    rank = max((visit(expression, ranges) for expression, ranges in scopes), default=0)
    return tuple(found.get(place) or Dummy("N", integer=True, positive=True) for place in range(rank))


def open_sum(total: Sum) -> tuple[Expr, tuple[tuple[Symbol, Expr], ...]]:
    """Body and bounds of a sum with its bound indices renamed to fresh ones."""
    pairs = bounds(total)
    renamed = {index: fresh(index) for index, _ in pairs}
    return substitute(total.function, renamed), tuple((renamed[index], upper) for index, upper in pairs)


def close_sum(body: Expr, pairs: tuple[tuple[Symbol, Expr], ...]) -> Expr:
    """The sum of ``body`` over the given bounds (the body itself when there are none)."""
    return Sum(body, *((index, 1, upper) for index, upper in pairs)) if pairs else body


def substitute(expression: Expr, mapping: Mapping[Symbol, Expr]) -> Expr:
    """Replace free symbols (indices or scalars), renaming bound indices that would capture.

    An upper limit counts as free: ``{n_heads: n_tasks}`` sets H = I everywhere.
    """
    known: dict[Expr, Expr] = {}  # parts occur many times: each is rebuilt once

    def changed(part: Expr) -> Expr:
        if isinstance(part, Symbol):
            return mapping.get(part, part)
        if not part.args:
            return part
        if part not in known:
            known[part] = anew(part)
        return known[part]

    def anew(part: Expr) -> Expr:
        if isinstance(part, Indexed | KroneckerDelta):
            entries = indices_of(part)
            if not any(entry in mapping for entry in entries):
                return part
            moved = tuple(mapping.get(entry, entry) for entry in entries)
            return entry_of(part.base, moved) if isinstance(part, Indexed) else delta(*moved)
        if isinstance(part, Sum):
            pairs = [(index, changed(upper)) for index, upper in bounds(part)]
            inner = {old: new for old, new in mapping.items() if old not in part.variables}
            incoming = set().union(*(free_symbols(new) for new in inner.values()))
            renamed = {index: fresh(index) for index, _ in pairs if index in incoming}
            body = substitute(substitute(part.function, renamed), inner)
            return close_sum(body, tuple((renamed.get(index, index), upper) for index, upper in pairs))
        return rebuild(part, [changed(argument) for argument in part.args])

    return changed(expression) if mapping else expression


def replace_indexed(expression: Expr, rules: Mapping[IndexedBase, Callable[..., Expr]]) -> Expr:
    """Replace each ``X[a, b]`` whose name has a rule by ``rule(a, b)``, without capture."""
    known: dict[Expr, Expr] = {}

    def changed(part: Expr) -> Expr:
        if not part.args or isinstance(part, KroneckerDelta):
            return part
        if part not in known:
            known[part] = anew(part)
        return known[part]

    def anew(part: Expr) -> Expr:
        if isinstance(part, Indexed):
            rule = rules.get(part.base)
            return rule(*part.indices) if rule else part
        if isinstance(part, Sum):
            body, pairs = open_sum(part)
            return close_sum(changed(body), pairs)
        return rebuild(part, [changed(argument) for argument in part.args])

    return changed(expression)
