"""The display names of bound indices."""

from __future__ import annotations

from sympy import Expr, Indexed, KroneckerDelta, Sum, Symbol

from ..notation import index_names
from .nodes import bounds, close_sum, free_symbols, rebuild, substitute


def name_bounds(expression: Expr, used: set[str] | None = None) -> Expr:
    """Give bound indices their display names; none shadows a name in whose scope it stands."""
    used = (used or set()) | {symbol.name for symbol in free_symbols(expression)}

    def named(node: Expr, taken: frozenset[str]) -> Expr:
        if isinstance(node, Sum):
            mapping: dict[Symbol, Symbol] = {}
            for index, upper in bounds(node):
                names = (name for name in index_names(upper) if name.name not in taken)
                mapping[index] = next(names)
                taken |= {mapping[index].name}
            body = named(substitute(node.function, mapping), taken)
            return close_sum(body, tuple((mapping[index], upper) for index, upper in bounds(node)))
        if not node.args or isinstance(node, Indexed | KroneckerDelta):
            return node
        return rebuild(node, [named(argument, taken) for argument in node.args])

    return named(expression, frozenset(used))
