"""Sentences: words among which Unicode mathematics stands, for LaTeX and HTML."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from html import escape
from string import ascii_letters

from .glyphs import GREEK, MATHEMATICS, OPERATORS, SUBSCRIPT_VALUES, SUPERSCRIPT_VALUES, escape_latex

# What makes a word mathematics: a Unicode sign, an index or exponent, a lone letter, O(1/L), 1/L.
_SIGNS = (set(MATHEMATICS) - set("=<>~…")) | set(SUPERSCRIPT_VALUES) | set(SUBSCRIPT_VALUES)
# A longer stem before an underscore is the name of something in the program: first_order, finite_d.
_SHAPES = re.compile(
    r"(?:.*[^A-Za-z])?(?:(?:[A-Za-z]{1,2}|[^\W\d_A-Za-z]|[)\]])[_^]|\d\^)[\w{(⋆∗−].*|[b-zB-Z]"
    r"|[A-Za-z][(\[][^()\[\]]*[)\]]|(?:\d+|[A-Za-z])/[A-Za-z]|\w=\S+",
    re.DOTALL,
)
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:/\d+)?")
_GLUE = frozenset("=<>+-/|") | frozenset(OPERATORS)
# A stretch of mathematics in terms of token kinds: operands with glue between them, or side by side.
_OPERAND = "(?:(?:NS)?M|N)"
_RUN = re.compile(f"(?:GS)?{_OPERAND}(?:S?GS?{_OPERAND}|SM)*|G")
_COMPOUND = re.compile(r"(?P<mathematics>.+?)(?P<word>-[A-Za-z]{3,}.*|['’]s)", re.DOTALL)

_TOKEN = re.compile(
    r"(?P<accented>\w)(?P<accent>[\u0302-\u0307])"
    r"|(?P<mark>[_^])(?:\{(?P<braced>[^{}]*)\}|\((?P<round>(?:[^()]|\([^()]*\))*)\)|(?P<bare>[−-]?\d+|[A-Za-z]+|.))"
    r"|√(?:\((?P<radicand>(?:[^()]|\([^()]*\))*)\)|(?P<rooted>\d+|\w_\w+|.))"
    r"|(?P<raised>[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿⁱᵀ]+)|(?P<lowered>[₀-₉ₕᵢⱼₖ]+)"
    r"|(?P<word>[A-Za-z]+)|(?P<space>\s+)|(?P<other>.)",
    re.DOTALL,
)
_ACCENTS = {"\u0302": r"\hat", "\u0303": r"\tilde", "\u0304": r"\bar", "\u0307": r"\dot"}
_FUNCTIONS = frozenset({"log", "ln", "exp", "min", "max", "det", "sup", "inf", "lim", "sinh", "cosh", "tanh", "arg"})
_OPERATOR_NAMES = frozenset({"tr", "clip", "Cov", "Var", "span", "diag", "Id"})
_CALLS = tuple(f"{name}(" for name in sorted(_FUNCTIONS | _OPERATOR_NAMES))
_OPENING = re.compile(r"(?:^|[^A-Za-z])[A-Za-z][(\[]|[/_^][({]|" + "|".join(map(re.escape, _CALLS)))
_PAIRS = {")": "(", "]": "[", "}": "{", "⟩": "⟨"}
_OPENERS = "([{⟨"
_REACH = 40  # pieces, blanks included, within which a bracket has to close
_SLANTED = frozenset(GREEK.values()) - {"Σ", "Π"} | frozenset(ascii_letters)
_BIG = {"Σ": r"\sum", "Π": r"\prod"}


def latex_prose(words: str) -> str:
    """``words`` for LaTeX: special characters escaped, Unicode mathematics in ``$…$``."""
    return "".join(f"${math_prose_latex(run)}$" if is_math else _plain_latex(run) for is_math, run in _runs(words))


def html_prose(words: str) -> str:
    """``words`` for HTML: special characters escaped, formulas slanted, indices and exponents set as such."""
    return "".join(_math_html(run) if is_math else escape(run, quote=False) for is_math, run in _runs(words))


def _decomposed(run: str) -> str:
    """Accents as marks of their own; a relation such as ≠ stays one character."""
    return "".join(unicodedata.normalize("NFD", c) if c.isalpha() else c for c in run)


def math_prose_latex(run: str) -> str:
    """A stretch of Unicode mathematics as LaTeX mathematics."""
    latex = ""
    for token in _TOKEN.finditer(_decomposed(run)):
        piece = _token_latex(token)
        swallowed = re.search(r"\\[A-Za-z]+$", latex) and piece[:1].isalpha()
        latex += (" " if swallowed else "") + piece
    return latex


def _runs(words: str) -> Iterator[tuple[bool, str]]:
    """``words`` cut into stretches of plain words and of mathematics, in order and complete."""
    tokens = list(_tokens(words))
    done = 0
    for found in _RUN.finditer("".join(kind for kind, _ in tokens)):
        run = tokens[found.start() : found.end()]
        if not any(kind == "M" or (kind == "G" and not text.isascii()) for kind, text in run):
            continue
        if found.start() > done:
            yield False, "".join(text for _, text in tokens[done : found.start()])
        yield True, "".join(text for _, text in run)
        done = found.end()
    if done < len(tokens):
        yield False, "".join(text for _, text in tokens[done:])


def _tokens(words: str) -> Iterator[tuple[str, str]]:
    """Kind and text of each token: Space, Word, Mathematics, Glue (operators, relations), Number."""
    for piece in _with_brackets_whole(re.split(r"(\s+)", words)):
        if piece.isspace():
            yield "S", piece
            continue
        before, core, after = _without_punctuation(piece)
        compound = _COMPOUND.fullmatch(core)
        if compound and _kind(compound["mathematics"]) == "M":
            core, after = compound["mathematics"], compound["word"] + after
        if before:
            yield "W", before
        if core:
            yield _kind(core), core
        if after:
            yield "W", after


def _with_brackets_whole(pieces: list[str]) -> Iterator[str]:
    """Pieces of which a formula such as ``exp(Σ_j d_j)`` is one, blanks and all, where its brackets close."""
    start = 0
    while start < len(pieces):
        end = start + 1
        if any(map(pieces[start].count, _OPENERS)):
            ends = range(end, min(start + _REACH, len(pieces)) + 1)
            closed = next((e for e in ends if _surplus("".join(pieces[start:e])) <= 0), end)
            inside = [piece.strip("([{⟨)]}⟩.,;:") for piece in pieces[start:closed]]
            if _OPENING.search(pieces[start]) or all(_kind(p) != "W" for p in inside if p.strip()):
                end = closed
        if pieces[start]:
            yield "".join(pieces[start:end])
        start = end


def _kind(core: str) -> str:
    if core in _GLUE:
        return "G"
    if _NUMBER.fullmatch(core):
        return "N"
    if not _SIGNS.isdisjoint(core) or _SHAPES.fullmatch(core) or (core.startswith(_CALLS) and _surplus(core) == 0):
        return "M"
    return "W"


def _without_punctuation(piece: str) -> tuple[str, str, str]:
    """A word without the punctuation around it; brackets belong to it if both are inside."""
    before, after = "", ""
    while piece:
        if piece[-1] in ".,;:!?" or (piece[-1] in _PAIRS and piece.count(piece[-1]) > piece.count(_PAIRS[piece[-1]])):
            piece, after = piece[:-1], piece[-1] + after
        elif piece[0] in "([{⟨" and _surplus(piece) > 0:
            before, piece = before + piece[0], piece[1:]
        else:
            break
    return before, piece, after


def _surplus(piece: str) -> int:
    return sum(map(piece.count, _OPENERS)) - sum(map(piece.count, _PAIRS))


def _token_latex(token: re.Match[str]) -> str:
    kind, text = token.lastgroup, token[0]
    if token["accent"]:
        return f"{_ACCENTS[token['accent']]}{{{math_prose_latex(token['accented'])}}}"
    if token["mark"]:
        inner = next(token[name] for name in ("braced", "round", "bare") if token[name] is not None)
        return f"{token['mark']}{{{math_prose_latex(inner)}}}"
    if kind in ("radicand", "rooted"):
        return rf"\sqrt{{{math_prose_latex(token[kind])}}}"
    match kind:
        case "raised":
            return "^{" + "".join(SUPERSCRIPT_VALUES[character] for character in text) + "}"
        case "lowered":
            return "_{" + "".join(SUBSCRIPT_VALUES[character] for character in text) + "}"
        case "word":
            return _word_latex(text)
        case "space":
            return " "
    if text in _BIG:
        return _BIG[text]
    if text in MATHEMATICS:
        return MATHEMATICS[text]
    return text if text.isascii() and text not in "#$%&\\{}~" else rf"\text{{{escape_latex(text)}}}"


def _word_latex(word: str) -> str:
    if word in _FUNCTIONS:
        return "\\" + word
    if word in _OPERATOR_NAMES:
        return rf"\operatorname{{{word}}}"
    # Two letters are a product (pq); more are a word.
    return word if len(word) < 3 else rf"\mathrm{{{word}}}"


def _plain_latex(words: str) -> str:
    return "".join(
        rf"${MATHEMATICS[character]}$"
        if character in MATHEMATICS and not character.isascii()
        else escape_latex(character)
        for character in words
    )


def _math_html(run: str) -> str:
    html = ""
    for token in _TOKEN.finditer(_decomposed(run)):
        text = token[0]
        if token["mark"]:
            inner = next(token[name] for name in ("braced", "round", "bare") if token[name] is not None)
            tag = "sub" if token["mark"] == "_" else "sup"
            html += f"<{tag}>{_math_html(inner)}</{tag}>"
        elif token["word"] and len(text) == 2 and text not in _FUNCTIONS | _OPERATOR_NAMES:
            html += "".join(f"<i>{letter}</i>" for letter in text)
        elif token["accent"] or text in _SLANTED:
            html += f"<i>{escape(text)}</i>"
        else:
            html += escape(text, quote=False)
    return html
