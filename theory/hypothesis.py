"""Hypotheses: conditions of claims, and which of them a problem's numbers violate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from .errors import InputTypeError
from .result import Record, constant


class HasValues(Protocol):
    """What theory needs of a problem: its numbers, exactly, by symbol name (sequences per task)."""

    def exact_values(self) -> Mapping[str, Any]: ...


def values_of(problem: HasValues) -> Mapping[str, Any]:
    """The exact numbers of a problem; ``InputTypeError`` for what has none."""
    found = getattr(problem, "exact_values", None)
    if not callable(found):
        raise InputTypeError(f"a problem is needed, got {repr(problem)[:60]} ({type(problem).__name__})")
    values: Mapping[str, Any] = found()
    return values


@dataclass(frozen=True)
class Numbers:
    """A problem of which only the numbers are known."""

    values: Mapping[str, Any]

    def exact_values(self) -> Mapping[str, Any]:
        return self.values


@dataclass(frozen=True, repr=False)
class Hypothesis(Record):
    """A condition on a problem: its wording, and a test of the problem's values that also says what was got."""

    statement: str
    holds: Callable[[Mapping[str, Any]], bool]
    describe: Callable[[Mapping[str, Any]], str]

    def __str__(self) -> str:
        return self.statement

    @property
    def in_brief(self) -> str:
        return self.statement

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return constant(self, getattr(self.holds, "__module__", None)) or super().__reduce__()


def sizes(values: Mapping[str, Any]) -> str:
    """Numbers of heads and tasks in words."""
    return f"H = {values['H']}, I = {values['I']}"


def tasks_in_words(values: Mapping[str, Any]) -> str:
    """Dimensions and signal powers in words."""
    return f"d = {_listed(values['d'])}; λ = {_listed(values['lambda'])}"


def _listed(numbers: Any) -> str:
    return ", ".join(map(str, numbers))


# As statements word them.
AS_MANY_HEADS = Hypothesis("H ≥ I", lambda values: bool(values["H"] >= values["I"]), sizes)
NOISE = Hypothesis("σ² > 0", lambda values: bool(values["sigma2"] > 0), lambda values: f"σ² = {values['sigma2']}")
ONE_HEAD_EACH = Hypothesis("H = I", lambda values: bool(values["H"] == values["I"]), sizes)
A_FREE_HEAD = Hypothesis("H > I", lambda values: bool(values["H"] > values["I"]), sizes)
TWO_TASKS = Hypothesis("I ≥ 2", lambda values: bool(values["I"] >= 2), sizes)
ONE_TASK = Hypothesis("I = 1", lambda values: bool(values["I"] == 1), sizes)
ONE_HEAD = Hypothesis("H = 1", lambda values: bool(values["H"] == 1), sizes)
TWO_HEADS = Hypothesis("H = 2", lambda values: bool(values["H"] == 2), sizes)
SEVERAL_HEADS = Hypothesis("H ≥ 2", lambda values: bool(values["H"] >= 2), sizes)


def equal_tasks(statement: str) -> Hypothesis:
    """That all tasks have one d and one λ (and so one φ and one c), in the words of a statement."""
    return Hypothesis(statement, _one_kind_of_task, tasks_in_words)


def _one_kind_of_task(values: Mapping[str, Any]) -> bool:
    return len(set(zip(values["d"], values["lambda"], strict=True))) == 1
