"""Owns what is kept on disk: generated modules, one file per text, and results, one file per version of the sources.

A file is written at once or not at all, and one that is damaged is made again.

numba keeps compiled code beside the file a function comes from, so that generated code has to lie in files.  The
folder is ``$HEADFLOW_CACHE_DIR``, else ``headflow`` in ``$XDG_CACHE_HOME`` or ``~/.cache``, else (no home, or one that
cannot be written) a folder of this user's own among the temporary files.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pickle
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Final, TypeVar

import sympy
from sympy.core.parameters import distribute

_T = TypeVar("_T")
_DIGEST: Final = 32  # bytes of a digest


def cache_folder() -> Path:
    """The folder of generated modules; made if need be."""
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


@cache
def load_module(name: str, source: str) -> ModuleType:
    """The module of that text, imported from its file; several processes may ask for it at the same time."""
    key = hashlib.sha256(source.encode()).hexdigest()[:16]
    path = cache_folder() / f"{name}_{key}.py"
    if not _holds(path, source.encode()):
        _write(path, source.encode())
    module_name = f"headflow_generated_{name}_{key}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    return module


def remembered(name: str, make: Callable[[], _T]) -> _T:
    """What ``make`` returns, from disk where it was made before by the same sources and the same versions.

    The sources are those of all that derives and generates, byte by byte: a changed formula is never an old one.
    """
    path = cache_folder() / f"{name}_{sources_key()}.pickle"
    content = _intact(path)
    if content is None:
        content = pickle.dumps(make())
        with suppress(OSError):  # what cannot be kept is made again
            _write(path, _digest(content) + content)
    with distribute(False):  # SymPy's products would be multiplied out
        found: _T = pickle.loads(content)  # as trusted as the modules beside it, which are run
    return found


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except OSError:
        return False


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
    """A hash of the sources of theory, of flows and of code generation, and of the versions of Python and SymPy."""
    here = Path(__file__).parent
    root = here.parent.parent
    paths = [*(root / "theory").rglob("*.py"), *here.rglob("*.py"), here.parent / "flows.py"]
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
