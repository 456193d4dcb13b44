"""Owns what leaves the program: standard output, JSON, and files that are whole or not there at all."""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import __version__
from .errors import InputError

SCHEMA = 1


def json_object(problem: Mapping[str, Any] | None, closure: str | None, **content: Any) -> dict[str, Any]:
    """``content`` with what every JSON object of the package starts with."""
    return {
        "schema": SCHEMA,
        "version": __version__,
        "problem": problem,
        "closure": closure,
        **content,
    }


def json_text(content: Mapping[str, Any]) -> str:
    """``content`` as JSON; a number that JSON does not have is an error of the program."""
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


# What replaces characters that a terminal of another encoding lacks.
_PLAIN = str.maketrans(
    {"…": "...", "−": "-", "–": "-", "—": "--", "×": "x", "·": "*", "→": "->", "½": "1/2", "²": "^2"}
)


def printable(text: str, stream: Any) -> str:
    """``text`` as a stream can show it: what its encoding lacks in plain characters, else as an escape."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_PLAIN).encode(encoding, errors="backslashreplace").decode(encoding)
    return text


def emit(text: str) -> None:
    """Write ``text`` to standard output, with a line end; a reader that has gone away is no error.

    Raises
    ------
    InputError
        If standard output cannot take it (a full disk, …).
    """
    stream = sys.stdout
    if stream is None:  # closed by whoever started the program
        return
    text = printable(text, stream)
    try:
        stream.write(text if text.endswith("\n") else text + "\n")
        stream.flush()
    except OSError as error:
        _abandon_stdout()
        if error.errno not in (errno.EPIPE, errno.ESHUTDOWN):
            raise InputError(f"cannot write to standard output: {_reason(error)}") from None


def _abandon_stdout() -> None:
    """Point standard output nowhere: the interpreter would fail again on what is still in the buffer."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def check_file(path: Path, force: bool) -> None:
    """Raise `InputError` unless a file can be written to ``path``: asked before the work, not after it."""
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder")
    if not force and os.path.lexists(path):
        raise _exists(path)
    with _writing(path):
        sibling = _sibling(path)
        sibling.touch(exist_ok=False)
        sibling.unlink()


def check_folder(path: Path, force: bool) -> None:
    """Raise `InputError` unless files can be put into the folder ``path``; empty, without ``force``."""
    if os.path.lexists(path) and not path.is_dir():
        raise InputError(f"cannot write {path}: it is not a folder")
    with _writing(path):
        if not force and path.is_dir() and any(path.iterdir()):
            raise InputError(f"{path} exists and is not empty; --force replaces the report in it")
        _stage(path).rmdir()


@contextmanager
def folder(path: Path, force: bool) -> Iterator[Path]:
    """A new folder to build in; at the end of the block its files are moved to ``path``, each as a whole.

    With ``force`` files of the same names are replaced, all others in ``path`` stay.  If the block fails,
    ``path`` is as it was.
    """
    check_folder(path, force)
    with _writing(path):
        stage = _stage(path)
        try:
            yield stage
            if path.is_dir():
                for file in sorted(stage.iterdir()):
                    file.replace(path / file.name)
            else:
                stage.replace(path)
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def _stage(path: Path) -> Path:
    """A new empty folder on the file system of ``path``."""
    stage = path / f".report-{secrets.token_hex(4)}" if path.is_dir() else _sibling(path)
    stage.mkdir()
    return stage


def _sibling(path: Path) -> Path:
    path = path.absolute()
    return path.parent / f".{path.name}-{secrets.token_hex(4)}"


def _exists(path: Path) -> InputError:
    return InputError(f"{path} exists; --force overwrites it")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what the file system refuses into one sentence."""
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not path.absolute().parent.is_dir():
            raise InputError(f"cannot write {path}: there is no folder {path.absolute().parent}") from None
        raise InputError(f"cannot write {path}: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
