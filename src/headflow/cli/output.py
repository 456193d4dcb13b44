"""What leaves the program: standard output, JSON, and files that are whole or not there at all."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..numerics.runtime.scratch import scratch_beside
from ..theory.visible import visible

# What replaces characters that a terminal of another encoding lacks.
_PLAIN = str.maketrans(
    {"…": "...", "−": "-", "–": "-", "—": "--", "×": "x", "·": "*", "→": "->", "½": "1/2", "²": "^2"}
)


def printable(text: str, stream: Any) -> str:
    """``text`` as a stream can show it: what its encoding lacks in plain characters, else as an escape; no controls."""
    text = visible(text)
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


def deliver(text: str, save: Callable[[], object] | None = None, saved: str = "") -> None:
    """Save a result, then print it with ``saved`` at its end; where it cannot be saved, it is printed all the same."""
    try:
        if save is not None:
            save()
    except BaseException:  # an interruption too: the result took longer than printing it
        emit(text)
        raise
    emit(f"{text}{saved}")


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
    with writing(path):
        sibling = scratch_beside(path)
        sibling.touch(exist_ok=False)
        sibling.unlink()


def _exists(path: Path) -> InputError:
    return InputError(f"{path} exists; --force overwrites it")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the file system refuses into one sentence."""
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not path.absolute().parent.is_dir():
            raise InputError(f"cannot write {path}: there is no folder {path.absolute().parent}") from None
        raise InputError(f"cannot write {path}: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
