"""The layout tree: what a formula looks like, in few node kinds that every back end prints.

Brackets that the *meaning* needs are nodes of the tree (``Fenced``), so no back end decides about precedence;
a linear back end only adds the brackets that a fraction bar or a raised exponent would have replaced.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Number:
    """A non-negative integer; signs belong to ``Terms``."""

    digits: str


@dataclass(frozen=True)
class Name:
    """A letter or word, in plain text and in LaTeX; words and constants of the language are upright."""

    text: str
    latex: str
    upright: bool = False


@dataclass(frozen=True)
class Accent:
    """A mark over a base: dot, hat, bar or tilde."""

    base: Node
    mark: str


@dataclass(frozen=True)
class Scripts:
    """A base with a subscript, a superscript (an index or an exponent), or both."""

    base: Node
    sub: Node | None = None
    sup: Node | None = None


@dataclass(frozen=True)
class Listing:
    """Items side by side: with commas (arguments, index lists) or without (``C_hk``)."""

    items: tuple[Node, ...]
    comma: bool = True


@dataclass(frozen=True)
class Term:
    """One signed term of a sum."""

    negative: bool
    body: Node


@dataclass(frozen=True)
class Terms:
    """A signed sum; ``continued`` shows the first sign even if it is a plus (a line that goes on)."""

    terms: tuple[Term, ...]
    continued: bool = False


@dataclass(frozen=True)
class Factors:
    """A product, written by juxtaposition; ``continued`` starts with a multiplication sign."""

    factors: tuple[Node, ...]
    continued: bool = False


@dataclass(frozen=True)
class Fraction:
    """A fraction; ``inline`` fractions are written with a slash (in exponents)."""

    numerator: Node
    denominator: Node
    inline: bool = False


@dataclass(frozen=True)
class Root:
    """A square root; a line of text needs no brackets around a ``plain`` radicand, a number or a name."""

    radicand: Node
    plain: bool = False


@dataclass(frozen=True)
class Fenced:
    """A bracketed expression; ``call`` marks the argument list of a function."""

    opening: str
    body: Node
    closing: str
    call: bool = False


@dataclass(frozen=True)
class Delimiter:
    """Half of a bracket pair that a line break has torn apart."""

    character: str
    closes: bool = False


@dataclass(frozen=True)
class Apply:
    """A function and its argument: ``Fenced``, or bare as in sinh 2θ."""

    function: Node
    argument: Node


@dataclass(frozen=True)
class BigOperator:
    """∑, ∏ or lim with what stands below and above it; no body when a line break has cut it off."""

    symbol: str
    lower: Node
    upper: Node | None
    body: Node | None


@dataclass(frozen=True)
class Relation:
    """A chain of expressions with relation signs (or ∧, ∨) between them."""

    sides: tuple[Node, ...]
    signs: tuple[str, ...]


@dataclass(frozen=True)
class Cases:
    """Branches with their conditions; no condition means otherwise."""

    branches: tuple[tuple[Node, Node | None], ...]


@dataclass(frozen=True)
class Line:
    """Pieces of one broken line, side by side."""

    pieces: tuple[Node, ...]


Node: TypeAlias = (
    Number
    | Name
    | Accent
    | Scripts
    | Listing
    | Terms
    | Factors
    | Fraction
    | Root
    | Fenced
    | Delimiter
    | Apply
    | BigOperator
    | Relation
    | Cases
    | Line
)

CLOSING = {"(": ")", "[": "]", "{": "}", "⟨": "⟩", "|": "|"}


def children(node: Node) -> Iterator[Node]:
    """The direct parts of ``node``, in reading order."""
    match node:
        case Number() | Name() | Delimiter():
            return
        case Accent(base=base):
            yield base
        case Scripts(base=base, sub=sub, sup=sup):
            yield from (part for part in (base, sub, sup) if part is not None)
        case Listing(items=items) | Factors(factors=items) | Relation(sides=items) | Line(pieces=items):
            yield from items
        case Terms(terms=terms):
            yield from (term.body for term in terms)
        case Fraction(numerator=numerator, denominator=denominator):
            yield from (numerator, denominator)
        case Root(radicand=body) | Fenced(body=body):
            yield body
        case Apply(function=function, argument=argument):
            yield from (function, argument)
        case BigOperator(lower=lower, upper=upper, body=body):
            yield from (part for part in (lower, upper, body) if part is not None)
        case Cases(branches=branches):
            for value, condition in branches:
                yield value
                if condition is not None:
                    yield condition


def fenced(body: Node, opening: str = "(", *, call: bool = False) -> Fenced:
    """``body`` in the brackets that ``opening`` opens."""
    return Fenced(opening, body, CLOSING[opening], call)


def grouped(body: Node) -> Fenced:
    """``body`` in brackets that hold it together: square ones where round ones stand inside."""
    return fenced(body, "[" if _has_round_group(body) else "(")


def _has_round_group(node: Node) -> bool:
    match node:
        case Fenced(opening="(", call=False):
            return True
        case Scripts(base=base):
            return _has_round_group(base)
        case Apply():
            return False
    return any(map(_has_round_group, children(node)))


def is_tall(node: Node) -> bool:
    """Whether ``node`` rises above an ordinary line: brackets around it must grow, a slash would not do."""
    match node:
        case Fraction(inline=False) | BigOperator() | Cases() | Delimiter():
            return True
        case Scripts(base=base):
            return is_tall(base)
    return any(map(is_tall, children(node)))


def starts_with_digit(node: Node) -> bool:
    """Whether the first mark of ``node`` is a digit: 2·3 must not read as 23."""
    match node:
        case Number():
            return True
        case Scripts(base=first) | Factors(factors=(first, *_)) | Fraction(numerator=first):
            return starts_with_digit(first)
    return False


def closed(node: Node) -> Node:
    """``node`` made safe in front of a factor or a slash: bare arguments and open sums get their brackets."""
    match node:
        case Apply(function=function, argument=argument) if not isinstance(argument, Fenced):
            return Apply(function, fenced(argument, call=True))
        case BigOperator() | Cases():
            return grouped(node)
        case Factors(factors=(*front, last), continued=continued):
            return Factors((*front, closed(last)), continued)
    return node
