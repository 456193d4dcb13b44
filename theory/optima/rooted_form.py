"""Rooted forms: results that hold the root of one equation per task, found at high precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import mpmath
from sympy import Expr, Float, Indexed, Integer, S, Symbol, lambdify

from .. import notation as n
from ..closed_form import ClosedForm, HasValues
from ..errors import HypothesisError
from ..hypothesis import values_of
from ..indexed import Definition, substitute, unroll
from ..parameters import PARAMETERS
from ..precision import digits
from ..result import Record

DIGITS = 50
# Points at which the equation is looked at for a change of sign; its terms vary on the scale of the whole range.
SAMPLES = 200
_UNKNOWN = Symbol("unknown", positive=True)


@dataclass(frozen=True, repr=False)
class Root(Record):
    """For each task i the ``unknown`` in (0, ``most``) with ``equation`` = 0 at which all definitions are positive.

    ``definitions`` are the names that the equation and what hangs on it use besides a problem's parameters, each
    in the unknown.
    """

    unknown: Indexed
    equation: Expr
    definitions: tuple[Definition, ...]
    most: Expr

    def solve(self, what: str, problem: HasValues) -> tuple[Expr, ...]:
        """The roots for the tasks of a problem, to 50 digits; ``HypothesisError`` where a task has none or several."""
        values = values_of(problem)
        return tuple(self._at_task(what, values, task) for task in range(1, int(values["I"]) + 1))

    def _at_task(self, what: str, values: Mapping[str, Any], task: int) -> Expr:
        def at_task(expression: Expr) -> Expr:
            known = unroll(substitute(expression, {n.i: Integer(task)}), values, (*PARAMETERS, *self.definitions))
            return known.xreplace({self.unknown.base[task]: _UNKNOWN})

        heads = tuple(at_task(item.head) for item in self.definitions)
        found = _roots(at_task(self.equation), heads, self.most)
        if len(found) != 1:
            needed = f"one stationary point with 0 < ω_i < {self.most} for each task i"
            raise HypothesisError(what, needed, f"{len(found) or 'none'} for task {task}")
        return found[0]


@lru_cache(maxsize=256)
def _roots(equation: Expr, positive: tuple[Expr, ...], most: Expr) -> tuple[Expr, ...]:
    """The roots in (0, ``most``) at which all of ``positive`` are; kept, since equal tasks have one equation."""
    function, *others = (lambdify(_UNKNOWN, expression, modules="mpmath") for expression in (equation, *positive))
    with digits(DIGITS):
        step = mpmath.mpf(most.evalf(DIGITS)) / (SAMPLES + 1)
        grid = [step * place for place in range(1, SAMPLES + 1)]
        # Where a definition has a pole it changes its sign, so no pole is taken for a root.
        allowed = [point for point in grid if all(other(point) > 0 for other in others)]
        signs = [(point, function(point) > 0) for point in allowed]
        found = [(low, high) for (low, above), (high, still) in pairwise(signs) if above != still]
        return tuple(Float(mpmath.findroot(function, ends, solver="anderson"), DIGITS) for ends in found)


@dataclass(frozen=True, repr=False)
class RootedForm(ClosedForm):
    """``symbol = expression`` where the expression holds the root of an equation: "exact" is to 50 digits."""

    root: Root = field(kw_only=True)

    def _at(self, expression: Expr, problem: HasValues) -> Expr:
        values = dict(values_of(problem))
        values[str(self.root.unknown.base.label)] = self.root.solve(self.title, problem)
        return unroll(expression, values, (*PARAMETERS, *self.root.definitions))

    def rewritten(self, change: Callable[[Expr], Expr]) -> RootedForm:
        changed = tuple(Definition(item.head, change(item.body)) for item in self.root.definitions)
        return replace(self, root=replace(self.root, equation=change(self.root.equation), definitions=changed))

    @property
    def lines(self) -> list[tuple[Expr, Expr]]:
        defined = [(item.head, item.body) for item in self.root.definitions]
        return [(self.symbol, self.expression), (S.Zero, self.root.equation), *defined]
