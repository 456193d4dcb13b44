"""The problem file: a `Problem` with the choices that make it a run, read from TOML and back."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from typing import Any

from ...theory.choices import (
    CLOSURES,
    PARAMETRISATIONS,
    checked_closure,
    checked_parametrisation,
    unknown,
)
from ...theory.errors import InputError, InputTypeError
from ..runtime.read_file import read_text
from .exact import as_float, float_literal, literal, shown
from .initial import InitialState, RandomStart
from .problem import FloatArray, Problem

_PROBLEM_KEYS = tuple(field.name for field in fields(Problem))
_DRAW_KEYS = tuple(field.name for field in fields(RandomStart))
_ARRAY_KEYS = ("mu", "omega")
_FACTOR_KEYS = ("o", "v", "k", "q")
_SECTIONS = {
    "problem": _PROBLEM_KEYS,
    "model": ("closure",),
    "flow": ("parametrisation", "t_final", "initial"),
}


@dataclass(frozen=True, init=False)
class ProblemFile:
    """Everything a problem file says.

    Parameters
    ----------
    problem
        The problem; a file must give every value of it.
    closure
        One of `headflow.theory.choices.CLOSURES`; default "leading".
    parametrisation
        One of `headflow.theory.choices.PARAMETRISATIONS`; default "balanced".
    t_final
        How long to integrate, in units of time (learning rate × steps), > 0; default 1e4.
    initial
        Where the flow starts; default ``InitialState.random(problem)``.

    Raises
    ------
    InputTypeError, InputError
        For a value of the wrong kind or one that is not allowed, and if ``initial`` does not fit the problem
        and the parametrisation.
    """

    problem: Problem
    closure: str
    parametrisation: str
    t_final: float
    initial: InitialState

    def __init__(
        self,
        problem: Problem,
        closure: str = "leading",
        parametrisation: str = "balanced",
        t_final: float | Decimal = 1e4,
        initial: InitialState | None = None,
    ) -> None:
        checked = {
            "problem": problem,
            "closure": checked_closure(closure),
            "parametrisation": checked_parametrisation(parametrisation),
            "t_final": as_float("t_final", t_final, positive=True),
            "initial": InitialState.random(problem) if initial is None else initial,
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        self.initial.check(problem, parametrisation)

    @classmethod
    def parse(cls, text: str, source: str = "the problem file") -> ProblemFile:
        """The file whose text is ``text``; ``source`` is what errors call it.

        Raises
        ------
        InputError, InputTypeError
            With one sentence: malformed TOML (naming the line), an unknown or a missing section or key, or a
            value that `Problem`, `InitialState` or `ProblemFile` refuses.
        """
        with _located(source):
            return cls(**_arguments(_tables(text)))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> ProblemFile:
        """`parse` the file at ``path``; a file that cannot be read is an `InputError` too."""
        return cls.parse(read_text(path), source=os.fspath(path))

    def to_toml(self) -> str:
        """The text of the file, with comments; `parse` gives back an equal object."""
        problem = self.problem
        dims, power = ", ".join(map(str, problem.dims)), ", ".join(map(literal, problem.signal_power))
        lines = [
            "# I tasks of linear regression, learned in context by softmax attention with H heads.",
            _line("[problem]", "every value is required"),
            _line(f"dims = [{dims}]", "d_i, coordinates of task i"),
            _line(f"signal_power = [{power}]", "lambda_i = E|beta_i|^2"),
            _line(f"noise_variance = {literal(problem.noise_variance)}", "sigma^2, of the labels"),
            _line(f"context_length = {problem.context_length}", "L, examples in the context"),
            _line(f"n_heads = {problem.n_heads}", "H"),
            "",
            "[model]",
            _line(f'closure = "{self.closure}"', " | ".join(CLOSURES)),
            "",
            "[flow]",
            _line(f'parametrisation = "{self.parametrisation}"', " | ".join(PARAMETRISATIONS)),
            _line(f"t_final = {float_literal(self.t_final)}", "learning rate x steps"),
            *_initial_lines(self.initial),
        ]
        return "\n".join(lines) + "\n"


def _line(setting: str, comment: str) -> str:
    return f"{setting:<31} # {comment}"


def _initial_lines(initial: InitialState) -> Iterator[str]:
    start = initial.to_dict()
    imbalance = start.get("imbalance")
    tail = "" if imbalance is None else f", imbalance = {_nested(imbalance)}"
    if "scale" in start:
        scale, jitter = float_literal(start["scale"]), float_literal(start["jitter"])
        yield f"initial = {{ scale = {scale}, jitter = {jitter}, seed = {start['seed']}{tail} }}"
        yield "# initial = { mu = [[...], ...], omega = [[...], ...] }   explicit (I, H) arrays; or o, v, k, q of split"
        yield "# split also takes imbalance = o^2 - v^2 = k^2 - q^2, or [o^2 - v^2, k^2 - q^2]"
    else:
        yield f"initial = {{ mu = {_rows(initial.mu)}, omega = {_rows(initial.omega)}{tail} }}"


def _nested(value: float | list[Any]) -> str:
    return f"[{', '.join(map(_nested, value))}]" if isinstance(value, list) else float_literal(value)


def _rows(array: FloatArray) -> str:
    rows = (f"    [{', '.join(map(float_literal, row))}],\n" for row in array.tolist())
    return f"[\n{''.join(rows)}]"


@contextmanager
def _located(source: str) -> Iterator[None]:
    """Say in which file an input error is."""
    try:
        yield
    except (InputError, InputTypeError) as error:
        kind = InputError if isinstance(error, InputError) else InputTypeError
        raise kind(f"{source}: {error}") from None


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent of twenty digits
        raise InputError(f"the number {text} is out of range") from None


def _tables(text: str) -> dict[str, dict[str, Any]]:
    """The sections, all present, with their keys checked against the list of known ones."""
    try:
        document = tomllib.loads(text, parse_float=_decimal)
    except InputError:
        raise
    except RecursionError:
        raise InputError("this is not valid: values are nested too deeply") from None
    except ValueError as error:
        last = f"at line {text.count(chr(10)) + 1}, the last"
        detail = str(error).replace("at end of document", last)
        raise InputError(f"this is not valid TOML: {detail}") from None
    _known("section", document, _SECTIONS)
    for name, table in document.items():
        if not isinstance(table, dict):
            raise InputTypeError(f"[{name}] must be a section, got {name} = {shown(table)}")
        _known(f"key in [{name}]", table, _SECTIONS[name])
    if "problem" not in document:
        raise InputError("the section [problem] is missing")
    missing = [key for key in _PROBLEM_KEYS if key not in document["problem"]]
    if missing:
        raise InputError(f"[problem] lacks {', '.join(missing)}: every value of it is required")
    return {name: document.get(name, {}) for name in _SECTIONS}


def _known(kind: str, found: Mapping[str, object], allowed: Collection[str]) -> None:
    for name in found:
        if name not in allowed:
            raise InputError(unknown(kind, name, allowed))


def _arguments(tables: dict[str, dict[str, Any]]) -> dict[str, Any]:
    problem = Problem(**tables["problem"])
    arguments = tables["model"] | tables["flow"] | {"problem": problem}
    if "initial" in arguments:
        arguments["initial"] = _initial(problem, arguments["initial"])
    return arguments


def _initial(problem: Problem, table: object) -> InitialState:
    if not isinstance(table, dict):
        raise InputTypeError(f"initial must be a table such as {{ scale = 0.03 }}, got {shown(table)}")
    keys = (*_DRAW_KEYS, *_ARRAY_KEYS, *_FACTOR_KEYS)
    _known("key in initial", table, (*keys, "imbalance"))
    given = {key: value for key, value in table.items() if key != "imbalance"}
    imbalance = {"imbalance": table["imbalance"]} if "imbalance" in table else {}
    if set(given) == set(_ARRAY_KEYS):
        return InitialState(**given, **imbalance)
    if set(given) == set(_FACTOR_KEYS) and not imbalance:
        return InitialState.from_factors(problem, **given)
    if set(given) <= set(_DRAW_KEYS):
        return InitialState.random(problem, **given, **imbalance)
    raise InputError(
        f"initial must have either mu and omega or any of {', '.join(_DRAW_KEYS)}, with or without imbalance, "
        f"or all of {', '.join(_FACTOR_KEYS)}, got {', '.join(table)}"
    )
