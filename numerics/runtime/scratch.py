"""How files come into place: whole or not at all, from a scratch file beside them that does not stay."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

_ABANDONED: Final = 600.0  # seconds, longer than anything takes to be written; its process was killed
_SCRATCH: Final = re.compile(r"\..+\.[0-9a-f]{8}\.scratch")


def scratch_beside(path: Path) -> Path:
    """A free name for a scratch file or folder beside ``path``; what killed processes left there is removed."""
    folder, name = os.path.split(os.path.abspath(path))
    remove_abandoned(Path(folder), name)
    return Path(folder, f".{name}.{secrets.token_hex(4)}.scratch")


def remove_abandoned(folder: Path, name: str = "") -> None:
    """Remove scratch files and folders, of a file of that name or of any, that nobody has written for ten minutes."""
    with suppress(OSError):
        for path in folder.glob(f".{_literal(name)}*.scratch"):
            with suppress(OSError):  # several processes may do so at once
                if _SCRATCH.fullmatch(path.name) and path.lstat().st_mtime < time.time() - _ABANDONED:
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _literal(name: str) -> str:
    """A name as `Path.glob` finds it."""
    return re.sub(r"([*?\[])", r"[\1]", name)


def write_whole(path: Path, content: bytes, mode: int = 0o666, durable: bool = False) -> None:
    """Put a file into place at once: at every moment there is the old one or the new one.

    ``mode`` are its permissions, less the process's mask; ``durable``: it is on the disk before it is in place.  A link
    stays, and the file that it leads to is the new one; a device or a pipe is written to.  Raises ``OSError`` where it
    cannot be written.
    """
    if path.exists() and not path.is_file():
        with open(path, "wb") as stream:
            stream.write(content)
        return
    path = Path(os.path.realpath(path))
    scratch = scratch_beside(path)
    try:
        with open(scratch, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)
