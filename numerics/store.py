"""Owns what is kept on disk: derived flows, generated text and machine code, one file per version of the sources.

A file is written at once or not at all, and one that is damaged is made again.  The folder is ``$HEADFLOW_CACHE_DIR``,
else ``headflow`` in ``$XDG_CACHE_HOME`` or ``~/.cache``, else (no home, or one that cannot be written) a folder of this
user's own among the temporary files.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final, TypeVar

import sympy
from sympy.core.parameters import distribute

_T = TypeVar("_T")
_DIGEST: Final = 32  # bytes of a digest


def cache_folder() -> Path:
    """The folder; made if need be."""
    for folder in _candidates():
        if _usable(folder):
            return folder
    return _last_resort()


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
    """Whether files can be written there, and by nobody else: what lies there is run."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        return not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()
    except OSError:
        return False


def kept(name: str, make: Callable[[], bytes]) -> bytes:
    """What ``make`` returns, from the file of that name where it was made before.

    The name must say all that the content depends on; several processes may ask for it at the same time.
    """
    path = cache_folder() / name
    content = _intact(path)
    if content is None:
        content = make()
        with suppress(OSError):  # what cannot be kept is made again
            _write(path, _digest(content) + content)
    return content


def remembered(name: str, make: Callable[[], _T]) -> _T:
    """What ``make`` returns, from disk where it was made before by the same sources and the same versions.

    The sources are those of all that derives and generates, byte by byte: a changed formula is never an old one.
    """
    content = kept(f"{name}_{sources_key()}.pickle", lambda: pickle.dumps(make()))
    with distribute(False):  # SymPy's products would be multiplied out
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
    """What a file holds behind its digest; None where there is none, or it is damaged."""
    try:
        whole = path.read_bytes()
    except OSError:
        return None
    digest, content = whole[:_DIGEST], whole[_DIGEST:]
    return content if digest == _digest(content) else None


@cache
def sources_key() -> str:
    """A hash of the sources of theory, flows, code generation and the compiler, and of the versions that they need."""
    here = Path(__file__).parent
    root = here.parent
    folders = [root / "theory", here / "codegen", here / "compiler"]
    paths = [here / "flows.py", *(path for folder in folders for path in folder.rglob("*.py"))]
    digest = hashlib.sha256(f"{sys.version} {sympy.__version__}".encode())
    for path in sorted(paths):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _write(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
