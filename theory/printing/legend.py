"""The sentence that says over what the compactly written sums run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .. import notation
from .aligned import Equation, equation_layout
from .nodes import BigOperator, Listing, Node, children
from .text import text_of


def sum_legend(equations: Iterable[Equation]) -> str:
    """``Sums over i run over the tasks 1, …, I; …``, or nothing if no sum leaves its range to convention."""
    found = {index for equation in equations for index in _conventional(equation_layout(equation, limits=False))}
    ranges = []
    for names, kind, upper in ((notation.TASK_INDEX_NAMES, "tasks", "I"), (notation.HEAD_INDEX_NAMES, "heads", "H")):
        own = sorted(index for index in found if index[0] in names)
        if own:
            ranges.append(f"sums over {', '.join(own)} run over the {kind} 1, …, {upper}")
    sentence = ", ".join(ranges)
    return f"{sentence[0].upper()}{sentence[1:]}." if sentence else ""


def _conventional(node: Node) -> Iterator[str]:
    """The indices of the big operators that show no range."""
    match node:
        case BigOperator(lower=lower, upper=None, symbol="∑" | "∏"):
            yield from map(text_of, lower.items if isinstance(lower, Listing) else (lower,))
    for part in children(node):
        yield from _conventional(part)
