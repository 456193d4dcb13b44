"""The estimate of widths, in em of the display font, that line breaking goes by."""

from __future__ import annotations

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
    starts_with_digit,
)

# Tenths of an em, so that theory/ stays free of floating point; measured on Latin Modern, rounded up.
_DIGIT, _LETTER, _UPRIGHT, _SIGN, RELATION, _BRACKET, _BIG, _ROOT, _BAR, _COMMA = (
    5,
    7,
    6,
    13,
    17,
    6,
    15,
    9,
    3,
    5,
)


def width(node: Node) -> int:
    """The estimated width of ``node`` in tenths of an em."""
    match node:
        case Number(digits=digits):
            return _DIGIT * len(digits)
        case Name(text=text, upright=upright):
            return _UPRIGHT * len(text) + 2 if upright else _LETTER * len(text)
        case Accent(base=base):
            return width(base)
        case Scripts(base=base, sub=sub, sup=sup):
            return width(base) + max((_small(part) for part in (sub, sup) if part is not None), default=0)
        case Listing(items=items, comma=comma):
            return sum(map(width, items)) + (_COMMA * (len(items) - 1) if comma else 0)
        case Terms(terms=terms, continued=continued):
            bare = not continued and not terms[0].negative
            return sum(width(term.body) + _SIGN for term in terms) - (_SIGN if bare else 0)
        case Factors(factors=factors, continued=continued):
            dots = continued + sum(map(starts_with_digit, factors[1:]))
            return sum(map(width, factors)) + 2 * (len(factors) - 1) + _SIGN * dots
        case Fraction(numerator=numerator, denominator=denominator, inline=inline):
            sides = width(numerator), width(denominator)
            return sum(sides) + _COMMA if inline else max(sides) + _BAR
        case Root(radicand=radicand):
            return width(radicand) + _ROOT
        case Fenced(body=body):
            return width(body) + 2 * _BRACKET
        case Delimiter():
            return _BRACKET
        case Apply(function=function, argument=argument):
            return width(function) + width(argument) + 2
        case BigOperator(lower=lower, upper=upper, body=body):
            edge = max(_small(lower), _small(upper) if upper is not None else 0, _BIG)
            return edge + 2 + (width(body) if body is not None else 0)
        case Relation(sides=sides):
            return sum(map(width, sides)) + RELATION * (len(sides) - 1)
        case Cases(branches=branches):
            return max(width(v) + (width(c) if c is not None else 0) for v, c in branches) + 60
        case Line(pieces=pieces):
            return sum(map(width, pieces)) + 2 * (len(pieces) - 1)


def _small(node: Node) -> int:
    return width(node) * 7 // 10
