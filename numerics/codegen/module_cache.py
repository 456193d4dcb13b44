"""Owns generated modules on disk: one file per text, named by its hash, written at once or not at all.

numba keeps compiled code beside the file a function comes from, so that generated code has to lie in files.  The
folder is ``$HEADFLOW_CACHE_DIR``, else ``headflow`` in ``$XDG_CACHE_HOME`` or ``~/.cache``, else (no home, or one that
cannot be written) a folder of this user's own among the temporary files.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType


def cache_folder() -> Path:
    """The folder of generated modules; made if need be."""
    for folder in _candidates():
        if _usable(folder):
            return folder
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
    if not (path.exists() and path.read_text(encoding="utf-8") == source):
        _write(path, source)
    module_name = f"headflow_generated_{name}_{key}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    return module


def _write(path: Path, source: str) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(source)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
