"""What stands on paper: letters, digits and signs in a row, with scripts, bars, roots and brackets around rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias


class Unreadable(ValueError):
    """A printed formula has no meaning, or more than one."""


@dataclass(frozen=True)
class Letter:
    """A letter, with its accents, or a word such as log."""

    text: str


@dataclass(frozen=True)
class Digits:
    text: str


@dataclass(frozen=True)
class Sign:
    """An operator, a relation or a comma."""

    text: str


@dataclass(frozen=True)
class Scripts:
    base: Mark
    sub: Row | None = None
    sup: Row | None = None


@dataclass(frozen=True)
class Bar:
    """A fraction with a bar."""

    above: Row
    below: Row


@dataclass(frozen=True)
class Root:
    """A root; a bare one has no bar above and no brackets around what it is taken of."""

    inside: Row
    bare: bool = False


@dataclass(frozen=True)
class Fence:
    opening: str
    inside: Row


@dataclass(frozen=True)
class Big:
    """Σ or Π with what stands below and above it."""

    sign: str
    below: Row
    above: Row | None = None


Mark: TypeAlias = Letter | Digits | Sign | Scripts | Bar | Root | Fence | Big
Row: TypeAlias = tuple[Mark, ...]


# What the readers hand over beside marks: brackets and scripts in the order in which they stand.


@dataclass(frozen=True)
class Open:
    character: str


@dataclass(frozen=True)
class Close:
    character: str


@dataclass(frozen=True)
class Script:
    """A row below or above what stands before it."""

    below: bool
    row: Row


@dataclass(frozen=True)
class Raised:
    """``^``, which raises the mark that follows."""


@dataclass(frozen=True)
class Lowered:
    """``_``, which lowers the braces that follow."""


@dataclass(frozen=True)
class RootSign:
    """``√`` of the mark that follows."""


Token: TypeAlias = Mark | Open | Close | Script | Raised | Lowered | RootSign

CLOSING = {"(": ")", "[": "]", "{": "}", "⟨": "⟩", "|": "|"}


def row_of(tokens: Iterable[Token]) -> Row:
    """The row that tokens make."""
    rows: list[list[Token]] = [[]]
    openings: list[str] = []
    for token in tokens:
        if isinstance(token, Open):
            rows.append([])
            openings.append(token.character)
        elif isinstance(token, Close):
            if not openings or CLOSING[openings[-1]] != token.character:
                raise Unreadable(f"{token.character} closes nothing")
            inside, opening = _attached(rows.pop()), openings[-1]
            if openings.pop() == "{":
                # Braces hold a subscript together.
                if not rows[-1] or rows[-1].pop() != Lowered():
                    raise Unreadable("braces that hold no subscript")
                rows[-1].append(Script(True, inside))
            else:
                rows[-1].append(Fence(opening, inside))
        else:
            rows[-1].append(token)
    if openings:
        raise Unreadable(f"{openings[-1]} is never closed")
    return _attached(rows[0])


def _attached(tokens: Sequence[Token]) -> Row:
    """Tokens without brackets as marks: scripts go to what stands before them, then roots to what follows."""
    scripted: list[Token] = []
    raised = False
    for token in tokens:
        if isinstance(token, Raised | Script):
            if raised or not scripted or isinstance(scripted[-1], Sign | RootSign):
                raise Unreadable("a script without a base")
            raised = isinstance(token, Raised)
            if not raised:
                scripted[-1] = _with_script(scripted[-1], token)
        elif raised:
            scripted[-1] = _with_script(scripted[-1], Script(False, _script_row(token)))
            raised = False
        else:
            scripted.append(token)
    marks: list[Mark] = []
    rooted = False
    for token in scripted:
        if isinstance(token, RootSign):
            if rooted:
                raise Unreadable("a root of a root sign")
            rooted = True
        else:
            marks.append(_root(token) if rooted else token)
            rooted = False
    if raised or rooted:
        raise Unreadable("a script or a root of nothing")
    return tuple(marks)


def _with_script(base: Token, script: Script) -> Mark:
    sub, sup = (base.sub, base.sup) if isinstance(base, Scripts) else (None, None)
    if (sub if script.below else sup) is not None:
        raise Unreadable("two scripts at one place")
    stem = base.base if isinstance(base, Scripts) else base
    return Scripts(stem, _letters(script.row), sup) if script.below else Scripts(stem, sub, script.row)


def _letters(row: Row) -> Row:
    """Words in a subscript stand as their letters: C_hk has two indices."""
    return tuple(
        part
        for mark in row
        for part in (map(Letter, mark.text) if isinstance(mark, Letter) and mark.text.isascii() else (mark,))
    )


def _script_row(held: Token) -> Row:
    match held:
        case Fence("(", inside):
            return inside
        case Letter() | Digits() | Fence():
            return (held,)
    raise Unreadable(f"what does ^ take of {held}?")


def _root(held: Token) -> Mark:
    match held:
        case Fence("(", inside):
            return Root(inside)
        case Letter() | Digits() | Fence():
            return Root((held,))
        case Scripts(base=Letter() | Fence("|" | "⟨", _)):
            return Root((held,), bare=True)
    raise Unreadable(f"what does √ take of {held}?")
