"""Definitions: named sub-expressions such as ``C[h, k]`` that stay closed until asked to open.

A definition keeps formulas readable and hands the code generator its shared sub-expressions.  Its
derivative follows from its body; where the body is an exponential, ``D C = C D(log C)`` keeps the name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sympy import Dummy, Expr, Indexed, IndexedBase, Symbol

from ..notation import SymmetricBase
from ..result import Record
from .nodes import (
    NodeError,
    check,
    free_indices,
    free_symbols,
    indexed_bases,
    indices_of,
    name_of,
    ranges_of,
    replace_indexed,
    substitute,
)
from .normal import normalise
from .rewriting import plain_indices


@dataclass(frozen=True, repr=False)
class Definition(Record):
    """``head = body``: head is ``X[a, b]`` with distinct index symbols, or a scalar symbol."""

    head: Expr
    body: Expr

    def __post_init__(self) -> None:
        if not isinstance(self.head, Indexed | Symbol):
            raise TypeError(f"a definition names a symbol or an indexed symbol, got {self.head}")
        object.__setattr__(self, "head", plain_indices(self.head))
        object.__setattr__(self, "body", check(self.body))
        if len(set(self.indices)) != len(self.indices) or not all(isinstance(x, Symbol) for x in self.indices):
            raise NodeError(f"the indices of {self.head} must be distinct symbols")
        if self.base in indexed_bases(self.body) or self.head in free_symbols(self.body):
            raise ValueError(f"the definition of {self.head} refers to itself")
        if loose := free_indices(self.body) - set(self.indices):
            names = ", ".join(sorted(map(str, loose)))
            raise ValueError(f"the definition of {self.head} has free indices that its head lacks: {names}")
        if isinstance(self.base, SymmetricBase):
            swapped = substitute(self.body, dict(zip(self.indices, reversed(self.indices), strict=True)))
            if normalise(swapped) != normalise(self.body):
                raise ValueError(f"{self.base} is symmetric, but its definition changes when its indices are swapped")

    @property
    def in_brief(self) -> str:
        return super().in_brief if len(str(self.body)) <= 60 else f"{self.head} = …"

    def __str__(self) -> str:
        return f"{self.head} = {self.body}"

    @property
    def base(self) -> IndexedBase | Symbol:
        """The name that is defined."""
        return name_of(self.head)

    @property
    def indices(self) -> tuple[Symbol, ...]:
        """The head's index symbols."""
        return indices_of(self.head)

    def at(self, *indices: Expr) -> Expr:
        """The body at the given indices, without capture."""
        return rule(self.head, self.body)(*indices)


def rule(head: Indexed | Symbol, body: Expr) -> Callable[..., Expr]:
    """``head = body`` as a function of the indices: ``rule(X[a, b], body)(i, h)`` is the body at (i, h)."""
    return lambda *indices: substitute(body, dict(zip(indices_of(head), indices, strict=True)))


def inline(expression: Expr, definitions: Iterable[Definition]) -> Expr:
    """Open definitions, the last one first (a definition may use those before it)."""
    for definition in reversed(tuple(definitions)):
        if isinstance(definition.head, Symbol):
            expression = substitute(expression, {definition.head: definition.body})
        else:
            expression = replace_indexed(expression, {definition.base: definition.at})
    return expression


def ranges_in(variable: Indexed | Symbol, expression: Expr, definitions: Iterable[Definition]) -> tuple[Expr, ...]:
    """How far the indices of a variable run in an expression and in the definitions that it uses.

    An index that no sum binds gets a new symbol.
    """
    if isinstance(variable, Symbol):
        return ()
    scopes: list[tuple[Expr, Mapping[Symbol, Expr]]] = [(expression, {})]
    for item in reversed(tuple(definitions)):
        ranges = ranges_of(item.base, scopes) if item.indices else ()
        scopes.append((item.body, dict(zip(item.indices, ranges, strict=False))))
    found = ranges_of(variable.base, scopes)
    return found or tuple(Dummy("N", integer=True, positive=True) for _ in variable.indices)
