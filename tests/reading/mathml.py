"""Reads MathML as it is drawn: a row without brackets holds nothing together."""

from __future__ import annotations

import unicodedata
from xml.etree import ElementTree

from .marks import CLOSING, Bar, Big, Close, Digits, Letter, Open, Root, Row, Script, Sign, Token, Unreadable, row_of

_INVISIBLE = "\u2061\u2062"
_ACCENTS = {"˙": "\u0307", "^": "\u0302", "¯": "\u0304", "~": "\u0303"}
_SIGNS = {"⋅": "·"} | {sign: sign for sign in "+−×/,=≤≥<>≠"}
_BIG = {"∑": "Σ", "∏": "Π"}


def read_mathml(mathml: str) -> Row:
    """The marks of a ``<math>`` element; the lines of a table belong to one formula."""
    return row_of(_inside(ElementTree.fromstring(mathml)))


def _inside(element: ElementTree.Element) -> list[Token]:
    return [token for child in element for token in _tokens(child)]


def _tokens(element: ElementTree.Element) -> list[Token]:
    tag, parts = element.tag.rpartition("}")[2], list(element)
    match tag:
        case "mrow" | "mtable" | "mtr" | "mtd" | "math":
            return _inside(element)
        case "mspace":
            return []
        case "mi":
            text = unicodedata.normalize("NFD", element.text or "").replace("ℒ", "𝓛")
            return [Letter(text)]
        case "mn":
            return [Digits(element.text or "")]
        case "mo":
            return _operator(element)
        case "mfrac":
            return [Bar(*(row_of(_tokens(part)) for part in parts))]
        case "msqrt":
            return [Root(row_of(_inside(element)))]
        case "msub" | "msup" | "msubsup":
            rows = [row_of(_tokens(part)) for part in parts[1:]]
            below = [tag != "msup", False]
            return [*_tokens(parts[0]), *map(Script, below, rows)]
        case "munder" | "munderover":
            sign = _BIG.get(parts[0].text or "")
            if sign is not None:
                return [Big(sign, *(row_of(_tokens(part)) for part in parts[1:]))]
        case "mover":
            (base,) = _tokens(parts[0])
            if isinstance(base, Letter):
                return [Letter(base.text + _ACCENTS[parts[1].text or ""])]
    raise Unreadable(f"<{tag}> {''.join(element.itertext())}")


def _operator(element: ElementTree.Element) -> list[Token]:
    text = element.text or ""
    if text in _INVISIBLE:
        return []
    if element.get("form") == "prefix" and text in CLOSING and text != "{":
        return [Open(text)]
    if element.get("form") == "postfix" and text in CLOSING.values():
        return [Close(text)]
    if text in _SIGNS:
        return [Sign(_SIGNS[text])]
    raise Unreadable(f"the operator {text}")
