"""Reading a file that a user names: all of it, or one sentence that says why not."""

from __future__ import annotations

import stat
from os import PathLike, fsdecode
from pathlib import Path
from typing import IO, Final

from ...theory.errors import InputError

MOST: Final = 64 * 2**20  # bytes of text, and of what comes through a pipe, whose size is not known before


def read_bytes(path: str | PathLike[str], what: str = "", begins: bytes = b"") -> bytes:
    """The content of the file at ``path``; ``what`` is what errors call it before its name, such as "the checkpoint".

    A file that does not begin with ``begins`` is not read on; where nothing is known of it, it may have 64 MiB.

    Raises ``InputError`` for what cannot be read: no such file, a folder, a device, a pipe that does not end.
    """
    name = " ".join(filter(None, (what, fsdecode(path))))
    try:
        mode = Path(path).stat().st_mode
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            raise InputError(f"cannot read {name}: it is a device, not a file")
        with Path(path).open("rb") as file:
            head = file.read(len(begins))
            if head != begins:
                return head
            return head + (file.read() if begins and stat.S_ISREG(mode) else read_stream(file, name))
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror or error}") from None


def read_stream(stream: IO[bytes], name: str) -> bytes:
    """All of a file or of what comes through a pipe, up to 64 MiB; ``InputError`` beyond."""
    content = stream.read(MOST + 1)
    if len(content) > MOST:
        raise InputError(f"cannot read {name}: it holds more than {MOST // 2**20} MiB")
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
