"""Unrolling: an index expression written out for concrete sizes and exact values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

from sympy import Add, Expr, Indexed, Integer, KroneckerDelta, Pow, Sum, Symbol, exp, sympify

from .definitions import Definition
from .large_power import exponential_at, power
from .nodes import bounds, check, entry_of, rebuild

Values = Mapping[str, Any]


def unroll(expression: Expr, values: Values, definitions: Iterable[Definition] = ()) -> Expr:
    """The expression with every sum written out and every name that has a value replaced by it.

    ``values`` maps names to numbers or nested sequences (position 0 holds index 1); sizes such as
    ``I`` and ``H`` must be among them.  Names without a value stay symbolic.  Definitions are opened.
    """
    opened = {definition.base: definition for definition in definitions}
    memo: dict[Expr, Expr] = {}

    def lookup(name: str, indices: Sequence[int]) -> Expr | None:
        if name not in values:
            return None
        value = values[name]
        for entry in indices:
            if not 1 <= entry <= len(value):
                raise IndexError(f"{name} has no entry {entry}: it has {len(value)}")
            value = value[entry - 1]
        return sympify(value)

    def of(node: Expr, scope: Mapping[Symbol, int]) -> Expr:
        if isinstance(node, Symbol):
            if node in scope:
                return Integer(scope[node])
            value = lookup(node.name, ())
            if value is None and node in opened:
                value = memo.get(node)
                if value is None:
                    value = memo[node] = of(opened[node].body, {})
            return node if value is None else value
        if isinstance(node, Indexed):
            indices = [of(entry, scope) for entry in node.indices]
            if not all(entry.is_Integer for entry in indices):
                return entry_of(node.base, tuple(indices))
            value = lookup(str(node.base.label), [int(entry) for entry in indices])
            if value is not None:
                return value
            here = entry_of(node.base, tuple(indices))
            if node.base in opened:
                if here not in memo:
                    inner = dict(zip(opened[node.base].indices, map(int, here.indices), strict=True))
                    memo[here] = of(opened[node.base].body, inner)
                return memo[here]
            return here
        if isinstance(node, KroneckerDelta):
            return KroneckerDelta(*(of(entry, scope) for entry in node.args[:2]))
        if isinstance(node, Sum):
            pairs = bounds(node)
            sizes = [of(upper, scope) for _, upper in pairs]
            if not all(size.is_Integer for size in sizes):
                raise ValueError(f"the range of {node} needs a value for {sizes}")
            return Add(
                *(
                    of(
                        node.function,
                        {**scope, **{index: n for (index, _), n in zip(pairs, point, strict=True)}},
                    )
                    for point in product(*(range(1, int(size) + 1) for size in sizes))
                )
            )
        if not node.args:
            return node
        arguments = [of(argument, scope) for argument in node.args]
        if isinstance(node, exp) and arguments[0].is_number:
            return exponential_at(arguments[0])
        return power(*arguments) if isinstance(node, Pow) and not isinstance(node, exp) else rebuild(node, arguments)

    return of(check(expression), {})
