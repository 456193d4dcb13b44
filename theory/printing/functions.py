"""Functions: how the named ones are written, and which names stand for a notation of their own."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from sympy import Expr

from .names import MINUS_ONE, add_scripts, name
from .nodes import (
    Accent,
    Apply,
    Fenced,
    Fraction,
    Listing,
    Name,
    Node,
    Number,
    Scripts,
    fenced,
    grouped,
)

# SymPy's class name -> (text, LaTeX).
_KNOWN = MappingProxyType(
    {
        "log": ("log", r"\log"),
        "sin": ("sin", r"\sin"),
        "cos": ("cos", r"\cos"),
        "tan": ("tan", r"\tan"),
        "asin": ("arcsin", r"\arcsin"),
        "acos": ("arccos", r"\arccos"),
        "atan": ("arctan", r"\arctan"),
        "sinh": ("sinh", r"\sinh"),
        "cosh": ("cosh", r"\cosh"),
        "tanh": ("tanh", r"\tanh"),
        "coth": ("coth", r"\coth"),
        "asinh": ("arsinh", r"\operatorname{arsinh}"),
        "acosh": ("arcosh", r"\operatorname{arcosh}"),
        "atanh": ("artanh", r"\operatorname{artanh}"),
        "Max": ("max", r"\max"),
        "Min": ("min", r"\min"),
        "trace": ("tr", r"\operatorname{tr}"),
        "det": ("det", r"\det"),
        "sup": ("sup", r"\sup"),
        "inf": ("inf", r"\inf"),
        "LambertW": ("W", "W"),
        "gamma": ("Γ", r"\Gamma"),
    }
)
LEFT_POWERS = frozenset({"sin", "cos", "tan", "sinh", "cosh", "tanh", "coth"})
PARTIAL = Name("∂", r"\partial")


def function_name(expr: Expr) -> Node:
    """The name of the function that ``expr`` applies."""
    label = expr.func.__name__
    if label in _KNOWN:
        text, latex = _KNOWN[label]
        return Name(text, latex, upright=len(text) > 1)
    node = name(label)
    match node:
        case Name(text=text, latex=latex, upright=True):
            return Name(text, latex.replace(r"\mathrm", r"\operatorname"), upright=True)
    return node


def _expectation(*args: Node) -> Node:
    return Apply(Name("𝔼", r"\mathbb{E}"), fenced(_listed(args), "[", call=True))


def _inner(left: Node, right: Node) -> Node:
    return fenced(Listing((left, right)), "⟨")


def _squared_norm(argument: Node) -> Node:
    return Scripts(fenced(argument, "|"), sup=Number("2"))


def _kronecker(*indices: Node) -> Node:
    return add_scripts(name("delta"), list(indices), [])


def differential(mark: Node, variable: Node) -> Node:
    """``∂x`` or ``dx``: the mark of a derivative and what it acts on."""
    return Listing((mark, variable), comma=False)


def _partial(function: Node, variable: Node) -> Node:
    whole = function if isinstance(function, Name | Accent | Scripts | Apply | Fenced) else grouped(function)
    return Fraction(differential(PARTIAL, whole), differential(PARTIAL, variable))


def _inverse(matrix: Node) -> Node:
    return Scripts(_atom(matrix), sup=MINUS_ONE)


def _transpose(matrix: Node) -> Node:
    return Scripts(_atom(matrix), sup=Name("⊤", r"\top", upright=True))


def _factorial(mark: str) -> Callable[[Node], Node]:
    return lambda argument: Listing((_atom(argument), Name(mark, mark, upright=True)), comma=False)


def _absolute(argument: Node) -> Node:
    return fenced(argument, "|")


def _atom(node: Node) -> Node:
    """``node``, in brackets unless it is a name or number, perhaps with a subscript."""
    match node:
        case Name() | Number() | Accent() | Scripts(sup=None):
            return node
    return grouped(node)


def _listed(items: tuple[Node, ...]) -> Node:
    return items[0] if len(items) == 1 else Listing(items)


# Functions recognised by name: E(X), inner(a, b), norm2(a), partial(f, x), inverse(C), transpose(a), ...
SPECIAL_FORMS: MappingProxyType[str, Callable[..., Node]] = MappingProxyType(
    {
        "E": _expectation,
        "inner": _inner,
        "norm2": _squared_norm,
        "KroneckerDelta": _kronecker,
        "partial": _partial,
        "inverse": _inverse,
        "transpose": _transpose,
        "Abs": _absolute,
        "factorial": _factorial("!"),
        "factorial2": _factorial("!!"),
    }
)
