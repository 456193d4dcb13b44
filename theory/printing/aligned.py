"""Blocks of equations whose relation signs line up, broken so that nothing runs off the page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeGuard

from sympy import Basic, Expr

from . import measure
from .breaking import broken
from .latex import latex_of, sign_latex
from .layout import layout
from .mathml import math_element, mathml_of, sign_mathml
from .nodes import Node, Relation
from .text import text_of

# One line of a block: an expression, a relation or condition, or sides equal in turn (lhs, rhs, ...).
Equation: TypeAlias = Basic | tuple[Expr, ...]

A4 = 38  # em: the text width of an A4 page at 11 point, less the indentation of a list
_INDENT = 2  # em: how far a continued line is moved in
COLUMNS = 100
_TEXT_INDENT = "    "


@dataclass(frozen=True)
class Row:
    """One printed line; left side and sign are empty where an earlier line goes on."""

    left: Node | None
    sign: str | None
    right: Node
    indented: bool = False


def equation_layout(equation: Equation, *, limits: bool) -> Node:
    """The layout of one equation, unbroken."""
    if isinstance(equation, tuple):
        if len(equation) < 2:
            raise ValueError("an equation needs at least two sides")
        sides = tuple(layout(side, limits=limits, beside=equation) for side in equation)
        return Relation(sides, ("=",) * (len(sides) - 1))
    return layout(equation, limits=limits)


@dataclass(frozen=True)
class Ruler:
    """How a back end measures: room on a line, width of a layout, of a relation sign, of an indentation."""

    room: int
    width: Callable[[Node], int]
    sign: int
    indent: int


def rows(equations: Iterable[Equation], ruler: Ruler, *, limits: bool) -> list[Row]:
    """The lines of a block of equations; where lining up the signs of all leaves no room, of those that do."""
    nodes = [equation_layout(equation, limits=limits) for equation in equations]
    lined = sorted((ruler.width(node.sides[0]) for node in nodes if _is_chain(node)), reverse=True)
    first = _block(nodes, ruler, lined[0] if lined else None)
    if fits(first, ruler):
        return first
    fitting = (block for edge in [*lined[1:], None] if fits(block := _block(nodes, ruler, edge), ruler))
    return next(fitting, first)


def _block(nodes: Sequence[Node], ruler: Ruler, widest: int | None) -> list[Row]:
    """Lines in which the relations whose left side is ``widest`` at most line up; others stand in the right column."""
    edge = 0 if widest is None else widest + ruler.sign
    # A left side that takes more than half the line leaves no room beside it; the estimate then gives way.
    space = max(ruler.room - edge, ruler.room // 2)
    block: list[Row] = []

    def add(left: Node | None, sign: str | None, right: Node, space: int) -> None:
        first, *rest = broken(right, space - ruler.indent, ruler.width)
        block.append(Row(left, sign, first))
        block.extend(Row(None, None, line, indented=True) for line in rest)

    for node in nodes:
        if not _is_chain(node):
            add(None, None, node, space)
            continue
        left: Node | None = node.sides[0]
        if widest is None or ruler.width(node.sides[0]) > widest:
            if ruler.width(node) <= space:
                block.append(Row(None, None, node))
                continue
            add(None, None, node.sides[0], space)
            left = None
        for sign, side in zip(node.signs, node.sides[1:], strict=True):
            add(left, sign, side, space)
            left = None
    return block


def fits(block: Sequence[Row], ruler: Ruler) -> bool:
    """Whether no line of a block is wider than the room, by the back end's measure."""
    edge = max((ruler.width(row.left) for row in block if row.left is not None), default=0)
    signs = any(row.sign for row in block)
    room = ruler.room - edge - ruler.sign * signs
    return all(ruler.width(row.right) + ruler.indent * row.indented <= room for row in block)


def aligned_latex(equations: Iterable[Equation], *, width: int = A4, limits: bool = False) -> str:
    """An ``aligned`` environment, to stand inside a display of ``width`` em."""
    lines = []
    for row in rows(equations, page(width), limits=limits):
        left = "" if row.left is None else latex_of(row.left) + " "
        sign = "" if row.sign is None else sign_latex(row.sign) + " "
        indent = r"\qquad " if row.indented else ""
        lines.append(f"{left}&{sign or ' '}{indent}{latex_of(row.right)}")
    return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"


def aligned_text(equations: Iterable[Equation], *, width: int = COLUMNS, limits: bool = False) -> str:
    """Lines of text of at most ``width`` columns, as far as the formula can be broken."""
    ruler = Ruler(width, lambda node: printed_width(text_of(node)), 3, len(_TEXT_INDENT))
    block = rows(equations, ruler, limits=limits)
    lefts = ["" if row.left is None else text_of(row.left) for row in block]
    edge = max(map(printed_width, lefts), default=0)
    lines = []
    for left, row in zip(lefts, block, strict=True):
        margin = " " * (edge - printed_width(left)) + left
        if any(lefts) or any(row.sign for row in block):
            margin += f" {row.sign or ' '} "
        lines.append((margin + _TEXT_INDENT * row.indented + text_of(row.right)).rstrip())
    return "\n".join(lines)


def aligned_html(equations: Iterable[Equation], *, width: int = A4, limits: bool = False) -> str:
    """One ``<math>`` element, ``width`` em wide at most; a table inside it lines up the relation signs."""
    lines = []
    for row in rows(equations, page(width), limits=limits):
        left = "" if row.left is None else mathml_of(row.left)
        sign = "" if row.sign is None else sign_mathml(row.sign)
        indent = f'<mspace width="{_INDENT}em"></mspace>' if row.indented else ""
        right = f"<mrow>{indent}{mathml_of(row.right)}</mrow>"
        lines.append(f"<mtr>{_cell('right', left)}{_cell('center', sign)}{_cell('left', right)}</mtr>")
    return math_element(f'<mtable displaystyle="true">{"".join(lines)}</mtable>')


def page(width: int = A4) -> Ruler:
    """What LaTeX and MathML measure with: ``width`` em."""
    return Ruler(10 * width, measure.width, measure.RELATION, 10 * _INDENT)


def printed_width(text: str) -> int:
    """Columns that ``text`` takes: combining marks take none."""
    return sum(not 0x0300 <= ord(character) < 0x0370 for character in text)


def _cell(side: str, content: str) -> str:
    # Chromium lays out the content of a cell as a block, which only the -webkit- values move.
    return f'<mtd style="text-align: {side}; text-align: -webkit-{side}; padding: 0.25em 0.14em">{content}</mtd>'


def _is_chain(node: Node) -> TypeGuard[Relation]:
    """Whether ``node`` has signs to line up: a ≤ b or a = b = c, but not 0 ≤ x ≤ 1 or conditions with ∧."""
    if not isinstance(node, Relation) or {"∧", "∨"} & set(node.signs):
        return False
    return len(node.signs) == 1 or set(node.signs) == {"="}
