"""Owns the sentence that says over what the compactly written sums run."""

from __future__ import annotations

from collections.abc import Iterable

from sympy import Basic, Expr, Symbol, preorder_traversal
from sympy.concrete.expr_with_limits import ExprWithLimits

from .. import notation
from .aligned import Equation
from .layout import is_conventional
from .order import index_key
from .text import to_text


def sum_legend(equations: Iterable[Equation]) -> str:
    """``Sums over i run over the tasks 1, …, I; …``, or nothing if no sum leaves its range to convention."""
    found: dict[Expr, set[Symbol]] = {notation.n_tasks: set(), notation.n_heads: set()}
    for equation in equations:
        for part in equation if isinstance(equation, tuple) else (equation,):
            for index, upper in _conventional(part):
                found[upper].add(index)
    ranges = [
        f"sums over {_listed(found[upper])} run over the {kind} 1, …, {to_text(upper)}"
        for upper, kind in ((notation.n_tasks, "tasks"), (notation.n_heads, "heads"))
        if found[upper]
    ]
    sentence = ", ".join(ranges)
    return f"{sentence[0].upper()}{sentence[1:]}." if sentence else ""


def _conventional(part: Basic) -> Iterable[tuple[Symbol, Expr]]:
    for node in preorder_traversal(part):
        if isinstance(node, ExprWithLimits):
            for index, lower, upper in node.limits:
                if is_conventional(index, lower, upper):
                    yield index, upper


def _listed(indices: set[Symbol]) -> str:
    return ", ".join(to_text(index) for index in sorted(indices, key=index_key))
