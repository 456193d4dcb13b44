"""The MathML back end (MathML Core, as browsers implement it)."""

from __future__ import annotations

from html import escape
from itertools import pairwise

from sympy import Basic

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

_ACCENTS = {"dot": "˙", "hat": "^", "bar": "¯", "tilde": "~"}
# The light script letter goes with the other letters better than the bold one that plain text shows.
_SHAPES = {"𝓛": "ℒ"}
_INVISIBLE_TIMES = "<mo>&#x2062;</mo>"
_APPLY = "<mo>&#x2061;</mo>"
_THIN = '<mspace width="0.17em"></mspace>'


def to_mathml(formula: Basic, *, limits: bool = True, display: bool = True) -> str:
    """``formula`` as a complete ``<math>`` element, set as a display or (``display=False``) in the text."""
    return math_element(mathml_of(layout(formula, limits=limits)), display=display)


def math_element(content: str, *, display: bool = True) -> str:
    """The ``<math>`` element around ``content``."""
    mode = "block" if display else "inline"
    return f'<math xmlns="http://www.w3.org/1998/Math/MathML" display="{mode}">{content}</math>'


def sign_mathml(sign: str) -> str:
    """The operator element of a relation sign."""
    return f"<mo>{escape(sign)}</mo>"


def mathml_of(node: Node) -> str:
    """The MathML of a layout, always one element."""
    one = mathml_of
    match node:
        case Number(digits=digits):
            return f"<mn>{digits}</mn>"
        case Name():
            return _name(node)
        case Accent(base=base, mark=mark):
            return f'<mover accent="true">{one(base)}<mo stretchy="false">{_ACCENTS[mark]}</mo></mover>'
        case Scripts(base=base, sub=sub, sup=sup):
            return _scripts(one(base), sub, sup)
        case Listing(items=items, comma=comma):
            return _row(("<mo>,</mo>" if comma else "").join(map(one, items)))
        case Terms():
            return _row(_terms(node))
        case Factors(factors=factors, continued=continued):
            return _row(("<mo>×</mo>" if continued else "") + _product(factors))
        case Fraction(numerator=numerator, denominator=denominator, inline=inline):
            if inline:
                return _row(f"{one(numerator)}<mo>/</mo>{one(denominator)}")
            return f"<mfrac>{one(numerator)}{one(denominator)}</mfrac>"
        case Root(radicand=radicand):
            return f"<msqrt>{one(radicand)}</msqrt>"
        case Fenced(opening=opening, body=body, closing=closing):
            tall = is_tall(body)
            return _row(f"{_fence(opening, 'prefix', tall)}{one(body)}{_fence(closing, 'postfix', tall)}")
        case Delimiter(character=character, closes=closes):
            form = "postfix" if closes else "prefix"
            return f'<mo form="{form}" minsize="2em" maxsize="2em">{character}</mo>'
        case Apply(function=function, argument=argument):
            bare = not isinstance(argument, Fenced)
            return _row(one(function) + _APPLY + (_THIN if bare else "") + one(argument))
        case BigOperator(symbol=symbol, lower=lower, upper=upper, body=body):
            operator = _operator(symbol, lower, upper)
            return operator if body is None else _row(operator + one(body))
        case Relation(sides=sides, signs=signs):
            rest = (sign_mathml(sign) + one(side) for sign, side in zip(signs, sides[1:], strict=True))
            return _row(one(sides[0]) + "".join(rest))
        case Cases(branches=branches):
            rows = "".join(_branch(value, condition) for value, condition in branches)
            return _row(f'<mo form="prefix">{{</mo><mtable>{rows}</mtable>')
        case Line(pieces=pieces):
            return _row("".join(map(one, pieces)))


def _name(node: Name) -> str:
    if node.text in "+−":
        return f"<mo>{node.text}</mo>"
    # One letter is slanted unless told otherwise; words are upright by themselves.
    upright = ' mathvariant="normal"' if node.upright and len(node.text) == 1 else ""
    return f"<mi{upright}>{escape(_SHAPES.get(node.text, node.text))}</mi>"


def _row(content: str) -> str:
    return f"<mrow>{content}</mrow>"


def _scripts(base: str, sub: Node | None, sup: Node | None) -> str:
    below = "" if sub is None else mathml_of(sub)
    above = "" if sup is None else mathml_of(sup)
    tag = "msubsup" if below and above else "msub" if below else "msup"
    return f"<{tag}>{base}{below}{above}</{tag}>"


def _fence(character: str, form: str, tall: bool) -> str:
    # Low brackets must not stretch: Chromium would take a wider glyph, with gaps, where none is needed.
    return f'<mo form="{form}" stretchy="{"true" if tall else "false"}">{character}</mo>'


def _terms(node: Terms) -> str:
    parts = []
    for position, term in enumerate(node.terms):
        first = position == 0 and not node.continued
        if not first:
            parts.append(f'<mo form="infix">{"−" if term.negative else "+"}</mo>')
        elif term.negative:
            parts.append('<mo form="prefix">−</mo>')
        parts.append(mathml_of(term.body))
    return "".join(parts)


def _product(factors: tuple[Node, ...]) -> str:
    content = mathml_of(factors[0])
    for before, factor in pairwise(factors):
        content += "<mo>⋅</mo>" if starts_with_digit(factor) else _INVISIBLE_TIMES
        content += _THIN if isinstance(before, Apply) or isinstance(factor, Apply) else ""
        content += mathml_of(factor)
    return content


def _operator(symbol: str, lower: Node, upper: Node | None) -> str:
    # As in TeX: limits stand below and above in display style, at the side in fractions and exponents.
    sign = f'<mo movablelimits="true" form="prefix">{symbol}</mo>'
    below = mathml_of(lower)
    if upper is None:
        return f"<munder>{sign}{below}</munder>"
    return f"<munderover>{sign}{below}{mathml_of(upper)}</munderover>"


def _branch(value: Node, condition: Node | None) -> str:
    words = "<mtext>otherwise</mtext>"
    if condition is not None:
        words = _row(f"<mtext>if&#xa0;</mtext>{mathml_of(condition)}")
    cell = '<mtd style="text-align: left">'
    return f"<mtr>{cell}{mathml_of(value)}</mtd>{cell}{words}</mtd></mtr>"
