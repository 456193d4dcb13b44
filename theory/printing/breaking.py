"""Line breaking: long formulas split at + and −, inside brackets only where that is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .nodes import (
    BigOperator,
    Delimiter,
    Factors,
    Fenced,
    Fraction,
    Line,
    Node,
    Number,
    Scripts,
    Term,
    Terms,
    closed,
    grouped,
    starts_with_digit,
)

_ONE = Number("1")


def broken(node: Node, room: int, width: Callable[[Node], int]) -> list[Node]:
    """``node`` on as few lines of at most ``room`` as possible; a part without a break may be wider."""
    lines: list[list[Node]] = []
    for piece in _Breaker(room, width).pieces(node):
        if lines and width(_joined([*lines[-1], piece])) <= room:
            lines[-1].append(piece)
        else:
            lines.append([piece])
    return [_joined(pieces) for pieces in lines]


def _joined(pieces: list[Node]) -> Node:
    """Pieces of one line as one layout; neighbouring signed terms as one sum again."""
    joined: list[Node] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if isinstance(last, Terms) and isinstance(piece, Terms) and piece.continued:
            joined[-1] = Terms(last.terms + piece.terms, last.continued)
        else:
            joined.append(piece)
    return joined[0] if len(joined) == 1 else Line(tuple(joined))


def _times(before: Node, factor: Node) -> Factors:
    if isinstance(before, Factors):
        return Factors((*before.factors, factor), before.continued)
    return Factors((before, factor))


def _safe_in_front(factor: Node) -> Node:
    """``factor`` such that, torn at its bar, it leaves nothing open that would take the factors behind it."""
    if isinstance(factor, Fraction):
        return Fraction(closed(factor.numerator), factor.denominator, factor.inline)
    return factor


def _leading_number(numerator: Node) -> tuple[Node, Node]:
    """The number that stays on the bar when the rest of a numerator is written beside it."""
    match numerator:
        case Factors(factors=(Number() as number, other)):
            return number, other
        case Factors(factors=(Number() as number, *others)):
            return number, Factors(tuple(others))
        case Terms():
            return _ONE, grouped(numerator)
    return _ONE, numerator


def _glued(before: Node, pieces: list[Node], after: Node | None = None) -> list[Node]:
    first, *rest = pieces
    glued: list[Node] = [Line((before, first)), *rest]
    if after is not None:
        glued[-1] = Line((glued[-1], after))
    return glued


@dataclass(frozen=True)
class _Breaker:
    room: int
    width: Callable[[Node], int]

    def fits(self, node: Node) -> bool:
        return self.width(node) <= self.room

    def pieces(self, node: Node) -> list[Node]:
        """Parts of ``node`` that may each begin a line; one part if it fits or cannot be broken."""
        if isinstance(node, Terms):
            return self.terms(node)
        return [node] if self.fits(node) else self.opened(node)

    def opened(self, node: Node) -> list[Node]:
        """Parts of ``node`` although it would fit alone: for what precedes it on the line."""
        match node:
            case BigOperator(symbol=symbol, lower=lower, upper=upper, body=body) if body is not None:
                return _glued(BigOperator(symbol, lower, upper, None), self.pieces(body))
            case Fenced(opening=opening, body=body, closing=closing):
                return _glued(Delimiter(opening), self.pieces(body), Delimiter(closing, closes=True))
            case Scripts(base=Fenced(opening=opening, body=body, closing=closing), sub=sub, sup=sup):
                return _glued(Delimiter(opening), self.pieces(body), Scripts(Delimiter(closing, closes=True), sub, sup))
            case Fraction(numerator=numerator, denominator=denominator) if self.fits(denominator):
                number, above = _leading_number(numerator)
                pieces = self.pieces(above)
                if len(pieces) > 1 and not starts_with_digit(above):
                    return _glued(Factors((Fraction(number, denominator),)), pieces)
            case Factors(factors=factors):
                return self.factors(factors)
        return [node]

    def terms(self, node: Terms) -> list[Node]:
        pieces: list[Node] = []
        for position, term in enumerate(node.terms):
            first, *rest = self.pieces(term.body)
            continued = node.continued or position > 0
            pieces += [
                Terms((Term(term.negative, first),), continued) if continued or term.negative else first,
                *rest,
            ]
        return pieces

    def factors(self, factors: tuple[Node, ...]) -> list[Node]:
        """Factors stay together as long as they fit; one that begins a line shows a multiplication sign."""
        *front, last = factors
        first, *others = (*map(_safe_in_front, front), last)
        pieces = self.pieces(first)
        if isinstance(pieces[-1], Fraction):
            # Text sees that a slash is not the end of the product.
            pieces[-1] = Factors((pieces[-1],))
        for factor in others:
            # A break at a sign inside the brackets of a factor is better than one in front of it.
            for inner in (self.pieces(factor), self.opened(factor)):
                together = _times(pieces[-1], inner[0])
                if self.fits(together):
                    pieces = [*pieces[:-1], together, *inner[1:]]
                    break
            else:
                first, *rest = self.pieces(factor)
                pieces += [Factors((first,), continued=True), *rest]
        return pieces
