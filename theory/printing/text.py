"""The plain-text back end: one line of readable Unicode."""

from __future__ import annotations

import unicodedata

from sympy import Basic

from .glyphs import SUPERSCRIPTS
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
    Term,
    Terms,
    closed,
    starts_with_digit,
)

_BIG = {"∑": "Σ", "∏": "Π", "lim": "lim"}
_ACCENTS = {"dot": "\u0307", "hat": "\u0302", "bar": "\u0304", "tilde": "\u0303"}


def to_text(formula: Basic, *, limits: bool = True) -> str:
    """``formula`` as a line of Unicode text."""
    return text_of(layout(formula, limits=limits))


def text_of(node: Node) -> str:
    """The text of a layout."""
    match node:
        case Number(digits=digits):
            return digits
        case Name(text=text):
            return text
        case Accent(base=base, mark=mark):
            return unicodedata.normalize("NFC", text_of(base) + _ACCENTS[mark])
        case Scripts(base=base, sub=sub, sup=sup):
            return _held(base, Fraction, Root) + _below(sub) + _above(sup)
        case Listing(items=items, comma=comma):
            return (", " if comma else "").join(map(text_of, items))
        case Terms():
            return _terms(node)
        case Factors(factors=factors, continued=continued):
            return ("× " if continued else "") + _product(factors)
        case Fraction(numerator=numerator, denominator=denominator):
            # Π at the end of a product would take the slash with it.
            above = closed(numerator) if isinstance(numerator, Factors) else numerator
            held = _held(above, Terms, Fraction, BigOperator, Relation, Cases)
            return f"{held}/{_held(denominator, Terms, Factors, Fraction, BigOperator, Relation, Cases, Apply)}"
        case Root(radicand=radicand, plain=plain):
            return "√" + (text_of(radicand) if plain else f"({text_of(radicand)})")
        case Fenced(opening=opening, body=body, closing=closing):
            return f"{opening}{text_of(body)}{closing}"
        case Delimiter(character=character):
            return character
        case Apply(function=function, argument=argument):
            return text_of(function) + (text_of(argument) if isinstance(argument, Fenced) else f"({text_of(argument)})")
        case BigOperator(symbol=symbol, lower=lower, upper=upper, body=body):
            operator = _BIG[symbol] + _range(lower, upper)
            return operator if body is None else f"{operator} {text_of(body)}"
        case Relation(sides=sides, signs=signs):
            rest = (f" {sign} {text_of(side)}" for sign, side in zip(signs, sides[1:], strict=True))
            return text_of(sides[0]) + "".join(rest)
        case Cases(branches=branches):
            return "{" + "; ".join(_branch(value, condition) for value, condition in branches) + "}"
        case Line(pieces=pieces):
            return _line(pieces)


def _held(node: Node, *loose: type) -> str:
    """``node``, in brackets if it is of a kind that would fall apart here."""
    return f"({text_of(node)})" if isinstance(node, loose) else text_of(node)


def _below(node: Node | None) -> str:
    if node is None:
        return ""
    text = text_of(node)
    return f"_{text}" if text.isalnum() or len(text) == 1 else f"_{{{text}}}"


def _above(node: Node | None) -> str:
    match node:
        case None:
            return ""
        case Number(digits=digits):
            return digits.translate(SUPERSCRIPTS)
        case Terms(terms=(Term(negative=True, body=Number(digits=digits)),)):
            return f"−{digits}".translate(SUPERSCRIPTS)
        case Name(text="⋆" | "′" | "+" | "−" as mark):
            return mark
        case Name(text="⊤"):
            return "ᵀ"
    text = text_of(node)
    simple = len(text) == 1 or (text.isascii() and text.isalnum())
    return f"^{text}" if simple or isinstance(node, Fenced) else f"^({text})"


def _range(lower: Node, upper: Node | None) -> str:
    text = text_of(lower)
    if upper is not None:
        text = f"{text}..{text_of(upper)}"
    return f"_{text}" if text.isalnum() else "_{" + text.replace(", ", ",").replace(" ", "") + "}"


def _terms(node: Terms) -> str:
    parts = []
    for position, term in enumerate(node.terms):
        first = position == 0 and not node.continued
        sign = ("−" if term.negative else "") if first else ("− " if term.negative else "+ ")
        parts.append(sign + text_of(term.body))
    return " ".join(parts)


def _product(factors: tuple[Node, ...]) -> str:
    text = _held(factors[0], Fraction)
    for factor in factors[1:]:
        text += (" · " if starts_with_digit(factor) else " ") + _held(factor, Fraction)
    return text


def _branch(value: Node, condition: Node | None) -> str:
    return f"{text_of(value)} " + ("otherwise" if condition is None else f"if {text_of(condition)}")


def _line(pieces: tuple[Node, ...]) -> str:
    text = ""
    for position, piece in enumerate(pieces):
        before = pieces[position - 1] if position else None
        bracket = piece.base if isinstance(piece, Scripts) else piece
        tight = (
            position == 0
            or (isinstance(before, Delimiter) and not before.closes)
            or (isinstance(bracket, Delimiter) and bracket.closes)
        )
        text += ("" if tight else " ") + text_of(piece)
    return text
