"""Reading a file that a user names: all of it, or one sentence that says why not."""

from __future__ import annotations

import stat
from os import PathLike, fsdecode
from pathlib import Path
from typing import IO, Final

from ..theory.errors import InputError

# What comes through a pipe has no size that could be looked at first.
MOST_FROM_PIPE: Final = 64 * 2**20


def read_bytes(path: str | PathLike[str], what: str = "") -> bytes:
    """The content of the file at ``path``; ``what`` is what errors call it before its name, such as "the checkpoint".

    Raises ``InputError`` for what cannot be read: no such file, a folder, a device, a pipe that does not end.
    """
    name = " ".join(filter(None, (what, fsdecode(path))))
    try:
        mode = Path(path).stat().st_mode
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            raise InputError(f"cannot read {name}: it is a device, not a file")
        with Path(path).open("rb") as file:
            return file.read() if stat.S_ISREG(mode) else read_stream(file, name)
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror or error}") from None


def read_stream(stream: IO[bytes], name: str) -> bytes:
    """All that comes through a pipe, up to 64 MiB; ``InputError`` beyond."""
    content = stream.read(MOST_FROM_PIPE + 1)
    if len(content) > MOST_FROM_PIPE:
        raise InputError(f"cannot read {name}: more than {MOST_FROM_PIPE // 2**20} MiB came")
    return content


def read_text(path: str | PathLike[str]) -> str:
    """`read_bytes` as UTF-8 text; other encodings are an ``InputError`` too."""
    return as_text(read_bytes(path), fsdecode(path))


def as_text(content: bytes, name: str) -> str:
    """Bytes as UTF-8 text, with line ends as Python has them."""
    try:
        return content.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise InputError(f"cannot read {name}: it is not UTF-8 text") from None
