"""Owns what a check was measured on, and how that is said to whoever asked about a problem."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Literal, TypeAlias

from ..covariates import CovariateProblem
from ..exact import plain
from ..problem import Problem

# A problem, or several; coordinates of any variances; words for what is no problem; None: in general, for every I and H
# and all numbers.
Place: TypeAlias = Problem | CovariateProblem | tuple[Problem, ...] | str | None
# How close that is to what was asked: in general, on the problem itself, on its first tasks, on something else.
Scope = Literal["general", "problem", "part", "other"]
SCOPES: tuple[Scope, ...] = ("problem", "general", "part", "other")
# Of a finding whose check does not say what it was measured on; of one that was not measured at all.
UNNAMED = "a problem that its check does not name"
NOWHERE = ""
# All values of the parameters in a box: those of the problem are among them.
IN_A_BOX = "a box of parameters that holds yours"
# So many values of one kind are listed.
_LISTED = 4


def scope_of(place: Place, asked: Problem | None) -> Scope:
    """How close a place is to the problem that was asked about."""
    if place is None:
        return "general"
    if place in (asked, IN_A_BOX):
        return "problem"
    if isinstance(place, tuple):
        return "part" if all(scope_of(one, asked) in ("problem", "part") for one in place) else "other"
    if not isinstance(place, Problem) or asked is None or place.n_tasks >= asked.n_tasks:
        return "other"
    part = asked.subset(range(place.n_tasks), n_heads=min(place.n_heads, asked.n_heads))
    return "part" if place == part else "other"


def words_of(place: Place, asked: Problem | None) -> str:
    """Where a check was measured: "on your problem", "on its first 3 tasks", "on H = 4 instead", "in general"."""
    if place is None:
        return "in general"
    if isinstance(place, str):
        return place and f"on {place}"
    if place == asked:
        return "on your problem"
    if isinstance(place, CovariateProblem):
        return f"on {_coordinates(place, asked)} instead"
    problems = place if isinstance(place, tuple) else (place,)
    if isinstance(place, Problem) and asked is not None and scope_of(place, asked) == "part":
        count = f"its first {place.n_tasks} tasks" if place.n_tasks > 1 else "its first task"
        heads = f"{place.n_heads} head{'s' if place.n_heads > 1 else ''}"
        return f"on {count}" + (f" and {heads}" if place.n_heads != asked.n_heads else "")
    kinds = [_described(problem) for problem in problems]
    given = _described(asked) if asked is not None else {}
    told = []
    for name, first in kinds[0].items():
        values = list(dict.fromkeys(kind[name] for kind in kinds))
        if values != [given.get(name)]:
            several = f"{first} to {values[-1]}" if len(values) > _LISTED else " or ".join(values)
            told.append(f"{name} = {several}")
    return f"on {'; '.join(told)}" + (" instead" if asked is not None else "")


def to_row(place: Place) -> Any:
    """A place as JSON holds it."""
    if isinstance(place, tuple):
        return [problem.to_dict() for problem in place]
    return place if place is None or isinstance(place, str) else place.to_dict()


def from_row(row: Any) -> Place:
    """The place that `to_row` wrote."""
    if isinstance(row, list):
        return tuple(Problem(**one) for one in row)
    if isinstance(row, dict):
        return CovariateProblem(**row) if "variances" in row else Problem(**row)
    if row is None or isinstance(row, str):
        return row
    raise TypeError(f"a place is a problem, several, words or null, got {row!r}")


def _described(problem: Problem) -> dict[str, str]:
    return {
        "d": _listed(problem.dims),
        "λ": _listed(problem.signal_power),
        "σ²": _number(problem.noise_variance),
        "L": _number(problem.context_length),
        "H": str(problem.n_heads),
    }


def _coordinates(place: CovariateProblem, asked: Problem | None) -> str:
    told = f"{place.n_coordinates} coordinate{'s' if place.n_coordinates > 1 else ''} of variance "
    told += _listed(place.variances)
    if asked is None or place.noise_variance != asked.noise_variance:
        told += f"; σ² = {_number(place.noise_variance)}"
    if asked is None or place.context_length != asked.context_length:
        told += f"; L = {_number(place.context_length)}"
    return told


def _listed(values: Sequence[int | Fraction]) -> str:
    numbers = list(map(_number, values))
    if len(numbers) > _LISTED + 1:
        return f"{', '.join(numbers[:_LISTED])}, … ({len(numbers)} tasks)"
    return ", ".join(numbers)


def _number(value: int | Fraction) -> str:
    """As it was given, where that is short."""
    written = str(plain(Fraction(value))).removesuffix(".0")
    return written if len(written) <= 8 else f"{float(value):.4g}"
