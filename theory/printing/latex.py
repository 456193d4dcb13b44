"""The LaTeX back end (amsmath, amssymb)."""

from __future__ import annotations

from sympy import Basic

from .glyphs import OPERATORS
from .layout import layout
from .nodes import (
    Accent,
    Apply,
    BigOperator,
    Cases,
    Delimiter,
    Factors,
    Fenced,
    Fraction,
    Line,
    Listing,
    Name,
    Node,
    Number,
    Relation,
    Root,
    Scripts,
    Terms,
    is_tall,
    starts_with_digit,
)

_BIG = {"∑": r"\sum", "∏": r"\prod", "lim": r"\lim"}
_ACCENTS = {"dot": r"\dot", "hat": r"\hat", "bar": r"\bar", "tilde": r"\tilde"}
_FENCES = {
    "(": "(",
    ")": ")",
    "[": "[",
    "]": "]",
    "{": r"\{",
    "}": r"\}",
    "⟨": r"\langle",
    "⟩": r"\rangle",
    "|": "|",
}
_FLAT = {"⟨": (r"\langle", r"\rangle"), "|": (r"\lvert", r"\rvert")}


def to_latex(formula: Basic, *, limits: bool = True) -> str:
    """``formula`` as LaTeX mathematics, without dollar signs."""
    return latex_of(layout(formula, limits=limits))


def sign_latex(sign: str) -> str:
    """The LaTeX of a relation sign."""
    return OPERATORS[sign]


def latex_of(node: Node) -> str:
    """The LaTeX of a layout."""
    match node:
        case Number(digits=digits):
            return digits
        case Name(latex=latex):
            return latex
        case Accent(base=base, mark=mark):
            return f"{_ACCENTS[mark]}{{{latex_of(base)}}}"
        case Scripts(base=base, sub=sub, sup=sup):
            return latex_of(base) + _script("_", sub) + _script("^", sup)
        case Listing(items=items, comma=comma):
            return ", ".join(map(latex_of, items)) if comma else _juxtaposed(items)
        case Terms():
            return _terms(node)
        case Factors(factors=factors, continued=continued):
            return (r"\times " if continued else "") + _product(factors)
        case Fraction(numerator=numerator, denominator=denominator, inline=inline):
            if inline:
                return f"{latex_of(numerator)}/{latex_of(denominator)}"
            return rf"\frac{{{latex_of(numerator)}}}{{{latex_of(denominator)}}}"
        case Root(radicand=radicand):
            return rf"\sqrt{{{latex_of(radicand)}}}"
        case Fenced():
            return _fenced(node)
        case Delimiter(character=character, closes=closes):
            return (r"\biggr" if closes else r"\biggl") + _FENCES[character]
        case Apply(function=function, argument=argument):
            joint = "" if isinstance(argument, Fenced) else " "
            return latex_of(function) + joint + latex_of(argument)
        case BigOperator(symbol=symbol, lower=lower, upper=upper, body=body):
            above = "" if upper is None else f"^{{{_small(upper)}}}"
            operator = f"{_BIG[symbol]}_{{{_small(lower)}}}{above}"
            return operator if body is None else f"{operator} {latex_of(body)}"
        case Relation(sides=sides, signs=signs):
            rest = (f" {sign_latex(sign)} {latex_of(side)}" for sign, side in zip(signs, sides[1:], strict=True))
            return latex_of(sides[0]) + "".join(rest)
        case Cases(branches=branches):
            return _cases(branches)
        case Line(pieces=pieces):
            return " ".join(map(latex_of, pieces))


def _script(mark: str, node: Node | None) -> str:
    if node is None:
        return ""
    if node == Name("′", r"\prime"):
        return "'"
    latex = _small(node)
    return mark + (latex if len(latex) == 1 else f"{{{latex}}}")


def _small(node: Node) -> str:
    """Subscripts and superscripts, limits of sums: everything close together."""
    return latex_of(node).replace(", ", ",").replace(" = ", "=")


def _juxtaposed(items: tuple[Node, ...]) -> str:
    """Letters without spaces, as in C_{hk}; a space only where a command would swallow the next letter."""
    latex = ""
    for item in map(latex_of, items):
        command = latex.rpartition("\\")[2]
        latex += (" " if "\\" in latex and command.isalpha() and item[:1].isalpha() else "") + item
    return latex


def _terms(node: Terms) -> str:
    parts = []
    for position, term in enumerate(node.terms):
        first = position == 0 and not node.continued
        sign = ("-" if term.negative else "") if first else ("- " if term.negative else "+ ")
        parts.append(sign + latex_of(term.body))
    return " ".join(parts)


def _product(factors: tuple[Node, ...]) -> str:
    latex = latex_of(factors[0])
    for factor in factors[1:]:
        latex += (r" \cdot " if starts_with_digit(factor) else " ") + latex_of(factor)
    return latex


def _fenced(node: Fenced) -> str:
    body = latex_of(node.body)
    if not is_tall(node.body):
        if node.opening in _FLAT:
            opening, closing = _FLAT[node.opening]
            return f"{opening} {body} {closing}"
        if node.call:
            return f"{node.opening}{body}{node.closing}"
    opening, closing = _FENCES[node.opening], _FENCES[node.closing]
    joint = " " if opening[-1].isalpha() else ""
    return rf"\left{opening}{joint}{body}\right{closing}"


def _cases(branches: tuple[tuple[Node, Node | None], ...]) -> str:
    rows = [
        f"{latex_of(value)} & " + (r"\text{otherwise}" if condition is None else rf"\text{{if }} {latex_of(condition)}")
        for value, condition in branches
    ]
    return r"\begin{cases} " + r" \\ ".join(rows) + r" \end{cases}"
