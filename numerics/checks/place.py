"""What a check was measured on, and how that is said to whoever asked about a problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Literal, TypeAlias

from ..problem.covariates import CovariateProblem
from ..problem.exact import plain
from ..problem.problem import Problem

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
    several = place if isinstance(place, tuple) else (place,)
    if asked in several or IN_A_BOX in several:
        return "problem"
    return "part" if all(_tasks_of(one, asked) for one in several) else "other"


def words_of(place: Place, asked: Problem | None) -> str:
    """Where a check was measured: "on your problem", "on its first 3 tasks", "on H = 4 instead", "in general"."""
    if place is None:
        return "in general"
    if isinstance(place, str):
        return place and f"{'in' if place.startswith('a box') else 'on'} {place}"
    if isinstance(place, CovariateProblem):
        return f"on {_coordinates(place, asked)} instead"
    problems = place if isinstance(place, tuple) else (place,)
    if asked is None:
        return f"on {_differences(problems, {})}"
    others = tuple(problem for problem in problems if problem != asked)
    own = ["your problem"] if len(others) < len(problems) else []
    if scope_of(others, asked) == "part":
        return f"on {' and '.join([*own, *_parts(others, asked)])}"
    told = [_differences(others, _described(asked)) + " instead" * (not own)] if others else []
    return f"on {' and '.join([*own, *told])}"


def _tasks_of(place: object, asked: Problem | None) -> tuple[int, ...]:
    """The tasks of the problem asked about that a smaller problem consists of, from one; () if it is no such part."""
    if not isinstance(place, Problem) or asked is None or place.n_heads > asked.n_heads:
        return ()
    left = list(enumerate(zip(asked.dims, asked.signal_power, strict=True)))
    chosen = []
    for task in zip(place.dims, place.signal_power, strict=True):
        number = next((at for at, other in left if other == task), None)
        if number is None:
            return ()
        left = [entry for entry in left if entry[0] != number]
        chosen.append(number)
    same = place == asked.subset(chosen, n_heads=place.n_heads)
    return tuple(number + 1 for number in chosen) if same and left else ()


def _parts(problems: Sequence[Problem], asked: Problem) -> list[str]:
    """Tasks that each stand alone together, other parts one by one."""
    alone = [problem for problem in problems if problem.n_tasks == 1]
    if len(alone) > 1 and len({problem.n_heads for problem in alone}) == 1:
        # Equal tasks are told apart by their order.
        numbers = _listed([number for problem in dict.fromkeys(alone) for number in _tasks_of(problem, asked)])
        others = [problem for problem in problems if problem.n_tasks > 1]
        one = len(set(alone)) == 1
        return [f"its task{'' if one else 's'} {numbers}{'' if one else ', each'} alone", *_parts(others, asked)]
    told = []
    for problem in problems:
        tasks = _tasks_of(problem, asked)
        first = tasks == tuple(range(1, len(tasks) + 1))
        count = f"first {len(tasks)} tasks" if len(tasks) > 1 else "first task"
        heads = f" and {problem.n_heads} head{'s' if problem.n_heads > 1 else ''}"
        name = f"its {count}" if first else f"its task{'s' if len(tasks) > 1 else ''} {_listed(tasks)}"
        told.append(name + heads * (problem.n_heads != asked.n_heads))
    return told


def _differences(problems: Sequence[Problem], given: Mapping[str, str]) -> str:
    """The values of problems that are not those given: "d = 8, 12; H = 2 or 3"."""
    kinds = [_described(problem) for problem in problems]
    told = []
    for name, first in kinds[0].items():
        values = list(dict.fromkeys(kind[name] for kind in kinds))
        if values != [given.get(name)]:
            several = f"{first} to {values[-1]}" if len(values) > _LISTED else " or ".join(values)
            told.append(f"{name} = {several}")
    return "; ".join(told)


def problems_of(place: Place) -> tuple[Problem, ...]:
    """The problems in a place."""
    return place if isinstance(place, tuple) else (place,) if isinstance(place, Problem) else ()


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
        return f"{', '.join(numbers[:_LISTED])}, … ({len(numbers)})"
    return ", ".join(numbers)


def _number(value: int | Fraction) -> str:
    """As it was given, where that is short."""
    written = str(plain(Fraction(value))).removesuffix(".0")
    return written if len(written) <= 8 else f"{float(value):.4g}"
