"""The letters of bound indices: which are free to use, and which ranges a letter tells by itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sympy import Basic, E, Expr, Indexed, Product, Sum, Symbol, exp
from sympy.core.numbers import Exp1

from .. import notation


@dataclass(frozen=True)
class Scope:
    """The letters in use at one place of a formula, and the indices that are shown under another letter there."""

    taken: frozenset[str]
    shown: Mapping[Symbol, Symbol] = field(default_factory=dict)

    def show(self, symbol: Symbol) -> Symbol:
        """What is printed for ``symbol``."""
        return self.shown.get(symbol, symbol)

    def bind(self, index: Symbol, upper: Expr) -> Scope:
        """The scope of a sum over ``index``, which gets another letter where its own is in use."""
        free = (own for own in notation.index_names(upper) if own.name not in self.taken)
        shown = next(free) if index.name in self.taken else index
        return Scope(self.taken | {shown.name}, {**self.shown, index: shown})


def outermost(formulas: Iterable[Any]) -> Scope:
    """The scope around formulas that stand side by side: free indices and scalars, and e where it stands for exp."""
    symbols = frozenset().union(*map(_free, formulas))
    return Scope(frozenset("e" if symbol is E else symbol.name for symbol in symbols))


def _free(formula: Any) -> frozenset[Expr]:
    match formula:
        case Symbol() | Exp1():
            return frozenset({formula})
        case Indexed():
            return frozenset().union(*map(_free, formula.indices))
        case Sum() | Product():
            edges = frozenset().union(*(_free(edge) for _, *sides in formula.limits for edge in sides))
            return (_free(formula.function) - set(formula.variables)) | edges
        case exp():
            return _free(formula.exp) | {E}
        case Basic():
            return frozenset().union(*map(_free, formula.args))
    return frozenset()


def is_conventional(index: Symbol, lower: Expr, upper: Expr) -> bool:
    """Whether the reader knows the range from the name of the index: i, j, … to I and h, k, … to H."""
    names = {
        notation.n_tasks: notation.TASK_INDEX_NAMES,
        notation.n_heads: notation.HEAD_INDEX_NAMES,
    }.get(upper, ())
    stem = index.name.rstrip("0123456789")
    return bool(lower == 1) and (index.name in names or stem in names[:1])


def index_key(index: Symbol) -> tuple[str, str]:
    """Alphabetical order of indices; i before i1 before j."""
    return index.name[0], index.name
