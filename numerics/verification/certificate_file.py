"""The certificate of a verification: a JSON file with everything that is needed to check it again."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..._version import __version__
from ...theory.errors import InputError
from ..certificates import arithmetic
from ..checks.exploration import Exploration, Explored
from ..checks.finding import DIGITS, Setting
from ..problem.exact import shown
from ..problem.problem import Problem
from ..runtime.read_file import read_bytes
from ..runtime.scratch import write_whole
from ..runtime.seal import BLANK, check_seal, sealed
from .verdict import Verdict

KIND = "headflow verification certificate"
_LIBRARIES = ("sympy", "numpy", "scipy", "mpmath", "python-flint")
# What a certificate was asked for; a file is continued only for the same question.
# What these must be.
_KINDS = {
    "environment": dict,
    "problem": dict,
    "seed": int,
    "digits": int,
    "quick": bool,
    "claims": list,
    "verdicts": list,
    "explorations": list,
}
_QUESTION = ("version", "environment", "problem", "seed", "quick", "digits", "claims")


def environment() -> dict[str, str | None]:
    """Versions of what numbers depend on; None for what is not installed."""

    def installed(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    own = {"python": platform.python_version(), "machine": platform.machine(), "arithmetic": arithmetic().name}
    return {**own, **{name: installed(name) for name in _LIBRARIES}}


def content(
    setting: Setting,
    claims: Sequence[str],
    verdicts: Sequence[Verdict] = (),
    explored: Sequence[Explored] = (),
    complete: bool = False,
) -> dict[str, Any]:
    """The certificate as a JSON object; ``complete`` once all that was asked for is there."""
    return {
        "schema": 1,
        "version": __version__,
        "kind": KIND,
        "seal": BLANK,
        "environment": environment(),
        "problem": setting.problem.to_dict(),
        "closure": "leading",
        "seed": setting.seed,
        "quick": setting.quick,
        "digits": setting.digits,
        "claims": list(claims),
        "complete": complete,
        "verdicts": [verdict.to_row() for verdict in verdicts],
        "explorations": [found.to_row() for found in explored],
    }


def write(path: Path, certificate: Mapping[str, Any]) -> None:
    """Write a certificate: the file is the old one or the new one at every moment.

    Raises ``InputError`` where it cannot be written.
    """
    text = sealed((json.dumps(certificate, indent=1, allow_nan=False) + "\n").encode())
    try:
        write_whole(path, text)
    except OSError as error:
        raise InputError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from None


def read(path: Path) -> dict[str, Any]:
    """Read a certificate; ``InputError`` if it is none, or holds no question that can be asked again."""
    text = _bytes_of(path)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):  # RecursionError: nested some thousand deep
        raise InputError(f"{path} is not JSON that can be read") from None
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise InputError(f"{path} is not a verification certificate of headflow")
    found = {"digits": DIGITS, "explorations": [], **found}  # certificates of older versions do not say it
    missing = {"schema", "environment", "problem", "seed", "quick", "claims", "verdicts"} - set(found)
    if missing or found["schema"] != 1:
        raise InputError(f"{path} is not a complete certificate of schema 1: it lacks {', '.join(sorted(missing))}")
    for name, kind in _KINDS.items():
        if not isinstance(found[name], kind) or isinstance(found[name], bool) != (kind is bool):
            raise InputError(f"{path} is damaged: its {name} cannot be {shown(found[name])}")
    if not all(isinstance(claim, str) for claim in found["claims"]):
        raise InputError(f"{path} is damaged: its claims are not ids")
    if not all(isinstance(row, dict) and isinstance(row.get("id"), str) for row in found["verdicts"]):
        raise InputError(f"{path} is damaged: one of its verdicts is none")
    return found


def intact(path: Path) -> bool:
    """Whether a certificate is, byte by byte, as it was written."""
    try:
        check_seal(_bytes_of(path), path, "certificate of headflow")
    except InputError:
        return False
    return True


def _bytes_of(path: Path) -> bytes:
    return read_bytes(path)


def begun(path: Path, question: Mapping[str, Any]) -> dict[str, Any]:
    """A certificate that was begun for the same question; ``InputError`` if it was another, or was changed since."""
    found = read(path)
    check_seal(_bytes_of(path), path, "certificate of headflow")
    for name in _QUESTION:
        if found.get(name) != question[name]:
            raise InputError(f"{path} was begun with another {name}; give another file, or --force to start anew")
    return found


def verdicts_of(certificate: Mapping[str, Any], path: Path) -> list[Verdict]:
    """The verdicts in a certificate; ``InputError`` where a row is damaged."""
    try:
        return [Verdict.from_row(row) for row in certificate["verdicts"]]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} holds a verdict that cannot be read: {error}") from None


def explored_of(certificate: Mapping[str, Any], known: Sequence[Exploration]) -> dict[int, Explored]:
    """What a certificate holds of known explorations, by their places; rows about other cases are left out."""
    rows = [row for row in certificate.get("explorations", []) if isinstance(row, dict)]
    found = {}
    for place, entry in enumerate(known):
        for row in rows:
            try:
                kept = Explored(entry, *(_measured(row[side]) for side in ("inside", "outside")))
            except (KeyError, TypeError, ValueError):
                continue
            if json.loads(json.dumps(kept.to_row())) == row:
                found[place] = kept
    return found


def _measured(side: Mapping[str, Any]) -> float:
    return math.inf if side["measured"] is None else float(side["measured"])


def problem_of(certificate: Mapping[str, Any], path: Path) -> Problem:
    """The problem of a certificate; ``InputError`` if it has none."""
    if not isinstance(certificate["problem"], dict):
        raise InputError(f"{path} holds no problem")
    try:
        return Problem(**certificate["problem"])
    except TypeError as error:
        raise InputError(f"{path} holds a problem that cannot be read: {error}") from None
