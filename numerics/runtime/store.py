"""What is kept on disk: derived flows, generated text and machine code, in a folder for each version of the sources.

A file is written at once or not at all, and one that is damaged, or holds what belongs under another name, is made
again.  The folder is ``$HEADFLOW_CACHE_DIR``, else ``headflow`` in ``$XDG_CACHE_HOME`` or ``~/.cache``, else (no home,
or one that cannot be written) a folder of this user's own among the temporary files.  What lies there is run, so a
folder or a file that another user owns or may write is refused.  The files of other versions are removed when they have
not been used for two weeks.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import re
import shutil
import stat
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, TypeVar

import sympy

from ...theory.errors import CacheWarning
from .scratch import remove_abandoned, write_whole

_T = TypeVar("_T")
_DIGEST: Final = 32  # bytes of a digest
_KEPT_FOR: Final = 14 * 86_400  # seconds that files of another version are kept after their last use
_VERSION: Final = re.compile(r"[0-9a-f]{16}")  # the name of a version's folder
_EARLIER_LAYOUT: Final = re.compile(r".*_[0-9a-f]{16,}\.(o|pickle)")  # files of versions that had no folders


@dataclass(frozen=True)
class CacheContent:
    """How much the cache holds: files and bytes of all versions, and of this one."""

    folder: Path
    files: int
    size: int
    files_of_this_version: int
    size_of_this_version: int


def cache_folder() -> Path:
    """The folder of the cache; made if need be."""
    for folder in _candidates():
        if _usable(folder):
            return folder
    return _last_resort()


def cache_content() -> CacheContent:
    """What the cache holds now."""
    folder = cache_folder()
    everything = [path.stat().st_size for path in _ours(folder)]
    current = [path.stat().st_size for path in _ours(folder) if path.parent.name == sources_key()]
    return CacheContent(folder, len(everything), sum(everything), len(current), sum(current))


def clear_cache() -> CacheContent:
    """Remove all that headflow keeps on disk, and nothing else that lies there; what there was."""
    found = cache_content()
    for path in _ours(found.folder):
        path.unlink(missing_ok=True)
    for folder in _versions(found.folder):
        with suppress(OSError):  # another process may be writing there
            folder.rmdir()
    _version_folder.cache_clear()
    return found


@cache
def _last_resort() -> Path:
    return Path(tempfile.mkdtemp(prefix="headflow-"))


def _candidates() -> Iterator[Path]:
    if chosen := os.environ.get("HEADFLOW_CACHE_DIR"):
        yield Path(chosen)
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        yield Path(chosen) / "headflow"
    if home := os.environ.get("HOME"):
        yield Path(home) / ".cache" / "headflow"
    yield Path(tempfile.gettempdir()) / f"headflow-{_user()}"


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")


def _usable(folder: Path) -> bool:
    """Whether files can be written there, and by nobody else."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _private(folder.stat(), folder):
            return False
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _private(found: os.stat_result, path: Path) -> bool:
    """Whether this user alone owns and may write what was found at a path; says so where not."""
    if not hasattr(os, "getuid"):
        return True
    if found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return True
    _refuse(path)
    return False


@cache
def _refuse(path: Path) -> None:
    """Say once that a path is not used."""
    warnings.warn(
        f"the cache at {path} is not used, because another user owns it or may write there and what it holds is run; "
        "chmod go-w makes it this user's own",
        CacheWarning,
        stacklevel=2,
    )


def _versions(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if _VERSION.fullmatch(path.name) and path.is_dir()]


def _ours(folder: Path) -> list[Path]:
    """The files that headflow keeps in the folder of the cache, those of earlier versions too."""
    earlier = [path for path in folder.iterdir() if _EARLIER_LAYOUT.fullmatch(path.name)]
    return [*earlier, *(path for version in _versions(folder) for path in version.iterdir() if path.is_file())]


@cache
def _version_folder(folder: Path) -> Path:
    """The folder of this version, marked as used now; others that were not used for long are removed."""
    current = folder / sources_key()
    current.mkdir(mode=0o700, exist_ok=True)
    if not _private(current.stat(), current):
        raise PermissionError(f"another user may write to {current}")
    os.utime(current)
    remove_abandoned(current)
    long_ago = time.time() - _KEPT_FOR
    for path in [*_versions(folder), *_ours(folder)]:
        with suppress(OSError):  # several processes may do so at once
            if path.parent == folder and path.stat().st_mtime < long_ago:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    return current


def kept(name: str, make: Callable[[], bytes]) -> bytes:
    """What ``make`` returns, from the file of that name where it was made before by the same sources and versions.

    The name must say all else that the content depends on; several processes may ask for it at the same time.
    """
    path: Path | None = None
    with suppress(OSError):  # what cannot be kept is made again
        path = _version_folder(cache_folder()) / name
    content = None if path is None else _intact(path)
    if content is None:
        content = make()
        if path is not None:
            with suppress(OSError):
                write_whole(path, _digest(name, content) + content, mode=0o600)
    return content


def remembered(name: str, make: Callable[[], _T]) -> _T:
    """What ``make`` returns, from disk where it was made before by the same sources and the same versions.

    The sources are those of all that derives and generates, byte by byte: a changed formula is never an old one.
    """
    content = kept(f"{name}.pickle", lambda: pickle.dumps(make()))
    found: _T = pickle.loads(content)  # as trusted as the machine code beside it, which is run
    return found


def fingerprint(value: object) -> str:
    """A name for what a value is, however it was made: its pickle, without notes of which parts are one object."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer)
    pickler.fast = True
    pickler.dump(value)
    return hashlib.sha256(buffer.getvalue()).hexdigest()[:16]


def _intact(path: Path) -> bytes | None:
    """What a file holds behind its digest; None where there is none, it is damaged, or not this user's own."""
    try:
        with path.open("rb") as file:
            if not _private(os.fstat(file.fileno()), path):
                return None
            whole = file.read()
    except OSError:
        return None
    digest, content = whole[:_DIGEST], whole[_DIGEST:]
    return content if digest == _digest(path.name, content) else None


@cache
def sources_key() -> str:
    """A hash of the sources of theory, flows, code generation and the compiler, and of the versions that they need."""
    root = Path(__file__).parents[2]
    folders = [root / "theory", *(root / "numerics" / room for room in ("code", "compiler"))]
    flows = root / "numerics" / "flows" / "derived.py"
    paths = [flows, *(path for folder in folders for path in folder.rglob("*.py"))]
    digest = hashlib.sha256(f"{sys.version} {sympy.__version__}".encode())
    for path in sorted(paths):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _digest(name: str, content: bytes) -> bytes:
    """Of the name too: the content of another file is as whole as one's own."""
    return hashlib.sha256(name.encode() + b"\0" + content).digest()
