"""Reads a line of Unicode text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from .marks import (
    Big,
    Close,
    Digits,
    Letter,
    Lowered,
    Open,
    Raised,
    RootSign,
    Row,
    Script,
    Sign,
    Token,
    Unreadable,
    row_of,
)

_TOKEN = re.compile(
    r"(?P<big>[ΣΠ])_(?:\{(?P<range>[^{}]*(?:\{[^{}]*\}[^{}]*)*)\}|(?P<index>[^\W_]+))"
    r"|(?P<raised>[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+|[⋆′ᵀ])|_(?P<below>(?:[^\W_⁰¹²³⁴⁵⁶⁷⁸⁹][\u0300-\u036f]*)+|[+\-−×*∞])|(?P<script>\^|_(?=\{))"
    r"|(?P<letter>[^\W\d_][\u0300-\u036f]+)|(?P<word>[A-Za-z]+)|(?P<digits>[0-9]+)|(?P<root>√)"
    r"|(?P<bar>\|)|(?P<open>[(\[{⟨])|(?P<close>[)\]}⟩])|(?P<sign>[+−·×/,=≤≥<>≠])"
    r"|(?P<blank>\s+)|(?P<other>.)",
    re.DOTALL,
)


def read_text(line: str) -> Row:
    """The marks of ``line``."""
    return row_of(_tokens("".join(unicodedata.normalize("NFD", c) if c.isalpha() else c for c in line)))


def _tokens(line: str) -> Iterator[Token]:
    bars, operand = 0, False
    for found in _TOKEN.finditer(line):
        kind, text = found.lastgroup, found[0]
        before, operand = operand, kind not in ("sign", "open", "blank", "big", "range", "index")
        match kind:
            case "blank":
                operand = before
            case "range" | "index":
                below, _, above = found[kind].partition("..")
                letters = read_text(below) if kind == "range" else tuple(map(Letter, below))
                yield Big(found["big"], letters, read_text(above) if above else None)
            case "raised":
                yield Script(False, _raised(text))
            case "below":
                yield Script(True, _run(found["below"]))
            case "script":
                yield Raised() if text == "^" else Lowered()
            case "letter" | "word":
                yield Letter(text)
            case "digits":
                yield Digits(text)
            case "root":
                yield RootSign()
            case "bar":
                # A bar after an operand closes what one opened.
                if bars and before:
                    bars -= 1
                    yield Close("|")
                else:
                    bars += 1
                    operand = False
                    yield Open("|")
            case "open":
                yield Open(text)
            case "close":
                yield Close(text)
            case "sign":
                yield Sign(text)
            case _:
                if not text.isalnum() and text not in "∞∂":
                    raise Unreadable(f"{text!r} in {line}")
                yield Letter(text)


def _raised(text: str) -> Row:
    if text in "⋆′":
        return (Letter(text),)
    plain = unicodedata.normalize("NFKD", text)
    sign = (Sign("−"),) if plain[0] == "−" else ()
    return (*sign, Digits(plain.lstrip("−"))) if plain[-1].isdigit() else (Letter(plain),)


def _run(run: str) -> Row:
    """Letters and numbers of a subscript without braces."""
    pieces = re.findall(r"[0-9]+|.[\u0300-\u036f]*", run)
    return tuple(
        Digits(piece) if piece.isascii() and piece.isdigit() else Sign(piece) if piece in "+-−×" else Letter(piece)
        for piece in pieces
    )
