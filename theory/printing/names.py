"""Names: from the label of a symbol to its letter, accents, subscripts and superscripts."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..notation import DOT, GRADIENT, LATEX_NAMES, TASK_BELOW_HEAD_ABOVE, TEXT_NAMES
from ..visible import visible
from .glyphs import GREEK, LETTERS, SUPERSCRIPTS, escape_latex
from .nodes import Accent, Listing, Name, Node, Number, Scripts, Term, Terms, fenced

_ACCENTS = {DOT: "dot", "_hat": "hat", "_bar": "bar", "_tilde": "tilde"}
_MARKS = {"star": Name("⋆", r"\star"), "prime": Name("′", r"\prime")}
MINUS_ONE = Terms((Term(True, Number("1")),))
_POWER = re.compile(r"(?P<base>.+)\^(?P<exponent>\d)")
_NUMBERED = re.compile(r"(?P<stem>.*[^\d_])(?P<number>\d+)")


def name(label: str) -> Node:
    """The layout of a symbol called ``label``: ``d_e``, ``mu_dot``, ``i1``, ``R_star``, ``SNR``, ``λ``."""
    label = visible(label)
    for suffix, mark in _ACCENTS.items():
        if label.endswith(suffix) and label != suffix:
            return _accented(name(label.removesuffix(suffix)), mark)
    if label in LATEX_NAMES or label in TEXT_NAMES:
        return _from_tables(label)
    if label.startswith("norm2_"):
        return Scripts(fenced(name(label.removeprefix("norm2_")), "|"), sup=Number("2"))
    whole, _, number = label.rpartition("_")
    if number.isdigit() and (whole in LATEX_NAMES or whole in TEXT_NAMES):
        return add_scripts(name(whole), [_part(number)], [])
    stem, *parts = label.split("_")
    if not stem or not all(parts):
        return _word(label)
    if len(stem) > 1 and (numbered := _NUMBERED.fullmatch(stem)):
        stem, parts = numbered["stem"], [numbered["number"], *parts]
    if not parts:
        return _word(stem)
    marks = [_MARKS[part] for part in parts if part in _MARKS]
    below = [_part(part) for part in parts if part not in _MARKS]
    return add_scripts(name(stem), below, marks)


def indexed(label: str, indices: tuple[Node, ...]) -> Node:
    """The layout of ``label[indices]``: all below, or task below and head above for the spectral variables.

    Labels that start with ``inner_`` or ``norm2_`` are inner products of named vectors, ``C_inverse`` is the
    inverse of the matrix C, and ``g_mu`` the derivative of the loss by mu.
    """
    kind, _, rest = label.partition("_")
    if rest and kind == "inner" and rest.count("_") == 1:
        first, second = rest.split("_")
        return fenced(Listing((_vector(first, indices[:1]), _vector(second, indices[1:]))), "⟨")
    if rest and kind == "norm2":
        return Scripts(fenced(_vector(rest, indices), "|"), sup=Number("2"))
    if label.startswith(GRADIENT):
        variable = label.removeprefix(GRADIENT)
        whole = name(variable)
        if isinstance(whole, Scripts) and whole.sub is not None:
            # The name has a subscript of its own: an entry of the gradient in W_X.
            return Scripts(fenced(Scripts(name("g"), sub=whole)), sub=_listing(list(indices)))
        return Scripts(name("g"), sub=indexed(variable, indices))
    if rest == "inverse":
        return Scripts(fenced(Scripts(name(kind), sup=MINUS_ONE)), sub=_listing(list(indices)))
    if len(indices) == 2 and _stem(label) in TASK_BELOW_HEAD_ABOVE:
        task, head = indices
        # A bare number above would read as an exponent.
        above = head if isinstance(head, Name) else fenced(head, call=True)
        return add_scripts(name(label), [task], [above])
    return add_scripts(name(label), list(indices), [])


def _vector(label: str, indices: tuple[Node, ...]) -> Node:
    """A vector with its index; the query token x_q shows the task whose block is meant in brackets above."""
    if label == "x":
        return add_scripts(name("x_q"), [], [fenced(index, call=True) for index in indices])
    return add_scripts(name(label), list(indices), [])


def add_scripts(base: Node, below: Sequence[Node], above: Sequence[Node]) -> Node:
    """``base`` with more subscripts and superscripts, beside those it has."""
    if not below and not above:
        return base
    if isinstance(base, Scripts):
        below = [*([base.sub] if base.sub is not None else []), *below]
        above = [*above, *([base.sup] if base.sup is not None else [])]
        base = base.base
    return Scripts(base, _listing(below), _listing(above))


def _listing(items: Sequence[Node]) -> Node | None:
    if len(items) < 2:
        return items[0] if items else None
    letters = all(isinstance(item, Name) and len(item.text) == 1 for item in items)
    return Listing(tuple(items), comma=not letters)


def _stem(label: str) -> str:
    for suffix in (*_ACCENTS, *(f"_{mark}" for mark in _MARKS)):
        label = label.removesuffix(suffix)
    return label


def _accented(base: Node, mark: str) -> Node:
    if isinstance(base, Scripts):
        return Scripts(_accented(base.base, mark), base.sub, base.sup)
    return Accent(base, mark)


def _from_tables(label: str) -> Node:
    latex, text = LATEX_NAMES.get(label, label), TEXT_NAMES.get(label, label)
    power = _POWER.fullmatch(latex)
    if power is None:
        return Name(text, latex)
    # A symbol that stands for a square (sigma2) is set as a power, so that its own powers come out right.
    exponent = power["exponent"]
    return Scripts(Name(text.removesuffix(exponent.translate(SUPERSCRIPTS)), power["base"]), sup=Number(exponent))


def _part(part: str) -> Node:
    return Number(part) if part.isascii() and part.isdigit() else name(part)


def _word(word: str) -> Node:
    character = GREEK.get(word, word)
    if character in LETTERS:
        return Name(character, LETTERS[character])
    if len(character) == 1 and character.isascii() and character.isalpha():
        return Name(character, character)
    return Name(word, rf"\mathrm{{{escape_latex(word)}}}", upright=True)
