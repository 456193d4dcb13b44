"""The way from the command line to a `ProblemFile`: a file, standard input or numbers, and overrides."""

from __future__ import annotations

import sys
from argparse import Namespace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..shipped import default_problem
from ..theory.visible import visible

if TYPE_CHECKING:
    from ..numerics.problem.problem_file import ProblemFile

# Option of the command line → value of the problem.
NUMBERS = {
    "dims": "dims",
    "signal": "signal_power",
    "noise": "noise_variance",
    "context": "context_length",
    "heads": "n_heads",
}


def problem_file(arguments: Namespace, default: bool = False) -> tuple[ProblemFile, str]:
    """What the command line asks for, and what to call it.

    Parameters
    ----------
    arguments
        ``problem``, the options of `NUMBERS`, and where the verb has them ``closure``, ``parametrisation``,
        ``t_final``, ``seed`` and ``imbalance``, which override the file.
    default
        Whether the shipped problem is taken if none is given.
    """
    given, source = _given(arguments, default)
    return _overridden(given, arguments), source


def _given(arguments: Namespace, default: bool) -> tuple[ProblemFile, str]:
    from ..numerics.problem.problem_file import ProblemFile

    path: str | None = arguments.problem
    numbers = {option: getattr(arguments, option) for option in NUMBERS}
    missing = [f"--{option}" for option, value in numbers.items() if value is None]
    if len(missing) < len(NUMBERS):
        if path is not None:
            raise InputError(f"give a problem file or numbers, not both: got {path} and options")
        if missing:
            raise InputError(f"a problem needs {' and '.join(missing)} too")
        return _from_numbers(numbers), "the command line"
    if path == "-":
        return ProblemFile.parse(_standard_input(), "standard input"), "standard input"
    if path is not None:
        return ProblemFile.read(path), visible(path)
    if not default:
        raise InputError(
            "a problem is needed: a TOML file (`headflow init > problem.toml` writes one), "
            f"- for standard input, or {' '.join(f'--{option}' for option in NUMBERS)}"
        )
    shipped = default_problem()
    name = f"the shipped {Path(str(shipped)).name} (the reference case)"
    return ProblemFile.parse(shipped.read_text(encoding="utf-8"), name), name


def _from_numbers(numbers: dict[str, str]) -> ProblemFile:
    from ..numerics.problem.problem import Problem
    from ..numerics.problem.problem_file import ProblemFile

    return ProblemFile(
        Problem(
            dims=[integer("dims", word) for word in _words(numbers["dims"])],
            signal_power=_words(numbers["signal"]),
            noise_variance=numbers["noise"],
            context_length=integer("context", numbers["context"]),
            n_heads=integer("heads", numbers["heads"]),
        )
    )


def _standard_input() -> str:
    if sys.stdin is None:
        raise InputError("cannot read standard input: it is closed")
    from ..numerics.runtime.read_file import as_text, read_stream

    return as_text(read_stream(sys.stdin.buffer, "standard input"), "standard input")


def _overridden(given: ProblemFile, arguments: Namespace) -> ProblemFile:
    from ..numerics.problem.initial import InitialState, RandomStart
    from ..numerics.problem.problem_file import ProblemFile

    changes: dict[str, Any] = {
        name: value for name in ("closure", "parametrisation") if (value := getattr(arguments, name, None)) is not None
    }
    if (t_final := getattr(arguments, "t_final", None)) is not None:
        changes["t_final"] = number("t-final", t_final)
    if (seed := getattr(arguments, "seed", None)) is not None:
        start = given.initial.provenance
        if not isinstance(start, RandomStart):
            raise InputError("--seed draws a random start, but the problem gives mu and omega explicitly")
        changes["initial"] = InitialState.random(
            given.problem, start.scale, start.jitter, integer("seed", seed), given.initial.imbalance
        )
    if (imbalance := getattr(arguments, "imbalance", None)) is not None:
        pair = numbers("imbalance", imbalance)
        if len(pair) not in (1, 2):
            raise InputError(f"--imbalance takes one number or two, got {len(pair)}")
        changes["initial"] = changes.get("initial", given.initial).with_imbalance((pair[0], pair[-1]))
    values = {name: getattr(given, name) for name in given.__dataclass_fields__}
    return ProblemFile(**(values | changes)) if changes else given


def number(option: str, word: str) -> Decimal:
    """The decimal number that ``--option`` got."""
    try:
        value = Decimal(word.strip())
    except InvalidOperation:
        raise InputError(f"--{option} must be a number, got {word!r}") from None
    if value.is_snan():  # a float cannot hold it
        raise InputError(f"--{option} must be finite, got {word!r}")
    return value


def numbers(option: str, words: str) -> list[float]:
    """The comma-separated numbers that ``--option`` got."""
    return [float(number(option, word)) for word in _words(words)]


def integer(option: str, word: str) -> int:
    """The integer that ``--option`` got."""
    try:
        return int(word)
    except ValueError:
        raise InputError(f"--{option} must be given in integers, got {word.strip()!r}") from None


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")] if text.strip() else []
