"""Closed forms: results of theory with their hypotheses and derivation, ready for numbers.

A closed form meets a problem's numbers through the symbols' names only, exactly (``exact``) and as a float
(``evaluate``); asked for what a hypothesis excludes, it raises ``HypothesisError``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sympy import Expr, Integer, N

from . import notation as n
from .derivation import Derivation
from .equations import Equations
from .errors import HypothesisError
from .hypothesis import HasValues as HasValues
from .hypothesis import Hypothesis as Hypothesis
from .hypothesis import values_of
from .indexed import Definition, substitute, unroll
from .parameters import PARAMETERS

# Digits at which exact numbers are evaluated before they are rounded to a float.
DIGITS = 30
# Working digits at most: signal powers and noise, of any size of a float, cancel some 1300 where they are squared
_MOST_DIGITS = 3000


ENOUGH_HEADS = Hypothesis(
    "at least as many heads as tasks (H ≥ I)",
    lambda values: bool(values["H"] >= values["I"]),
    lambda values: f"H = {values['H']}, I = {values['I']}",
)


def parameters_of(problem: HasValues) -> dict[str, Any]:
    """The problem's values with the derived parameters φ and c of each task, all exact."""
    values = dict(values_of(problem))
    for definition in PARAMETERS:
        name = str(getattr(definition.base, "label", definition.base))
        if definition.indices:
            tasks = range(1, int(values["I"]) + 1)
            values[name] = [unroll(definition.at(Integer(task)), values) for task in tasks]
        else:
            values[name] = unroll(definition.body, values)
    return values


def _tasks(values: Mapping[str, Any]) -> range:
    return range(1, int(values["I"]) + 1)


class Value(Equations):
    """A limit, a bound or an optimum: formulas that are printed, and one number for a problem.

    Whatever has ``expression`` (the formula of that number) beside its equations is used alike: ``latex()``,
    ``exact(problem)``, ``evaluate(problem)``.
    """

    @abstractmethod
    def exact(self, problem: HasValues) -> Expr:
        """The value as an exact SymPy number; ``HypothesisError`` where a hypothesis does not hold."""

    def evaluate(self, problem: HasValues) -> float:
        """The value as a float, rounded once from 30 digits."""
        return to_float(self.exact(problem))


@dataclass(frozen=True, repr=False)
class ClosedForm(Value):
    """``symbol = expression`` under hypotheses, with the derivation that led to it.

    ``definitions`` are what the expression names besides the parameters of a problem.
    """

    title: str
    symbol: Expr
    expression: Expr
    derivation: Derivation
    hypotheses: tuple[Hypothesis, ...] = ()
    definitions: tuple[Definition, ...] = ()

    @property
    def in_brief(self) -> str:
        return f"{self.title}, {self.symbol} = …, {self.derivation.as_part('')}"

    def exact(self, problem: HasValues) -> Expr:
        """The value as an exact SymPy number; ``HypothesisError`` where a hypothesis does not hold."""
        require(self.title, self.hypotheses, values_of(problem))
        return self._at(self.expression, problem)

    def _at(self, expression: Expr, problem: HasValues) -> Expr:
        return unroll(expression, values_of(problem), (*PARAMETERS, *self.definitions))

    def at_tasks(self, problem: HasValues) -> tuple[Expr, ...]:
        """A form with the free index i: its exact values for the problem's tasks, one after the other."""
        values = values_of(problem)
        require(self.title, self.hypotheses, values)
        return tuple(self._at(substitute(self.expression, {n.i: Integer(task)}), problem) for task in _tasks(values))

    def rewritten(self, change: Callable[[Expr], Expr]) -> ClosedForm:
        """The form with everything that its expression is written in changed, the expression itself kept."""
        changed = tuple(Definition(item.head, change(item.body)) for item in self.definitions)
        return replace(self, definitions=changed)

    @property
    def lines(self) -> list[tuple[Expr, Expr]]:
        """What is printed: the equation, and those of its definitions."""
        return [(self.symbol, self.expression), *((item.head, item.body) for item in self.definitions)]


def require(what: str, hypotheses: tuple[Hypothesis, ...], values: Mapping[str, Any]) -> None:
    """Raise ``HypothesisError`` for the first hypothesis that the values do not satisfy."""
    for hypothesis in hypotheses:
        if not hypothesis.holds(values):
            raise HypothesisError(what, hypothesis.statement, hypothesis.describe(values))


def to_float(number: Expr) -> float:
    """An exact real number rounded once to a float, however much of it cancels."""
    return float(N(number, DIGITS, maxn=_MOST_DIGITS))
