"""Folders of results: built beside their place and put there as a whole."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import InputError
from ..numerics.runtime.scratch import scratch_beside
from .output import writing

_EXCHANGE = 2  # what Linux and macOS both call the exchange of two names
_HERE = -100  # AT_FDCWD of Linux


def check_folder(path: Path, force: bool) -> None:
    """Raise `InputError` unless files can be put into the folder ``path``; empty, without ``force``."""
    if os.path.lexists(path) and not path.is_dir():
        raise InputError(f"cannot write {path}: it is not a folder")
    with writing(path):
        if not force and path.is_dir() and any(path.iterdir()):
            raise InputError(f"{path} exists and is not empty; --force replaces the report in it")
        _stage(path).rmdir()


@contextmanager
def folder(path: Path, force: bool) -> Iterator[Path]:
    """A new folder to build in; at the end of the block its files are put to ``path``.

    With ``force`` files of the same names are replaced, all others in ``path`` stay.  A folder of nothing but files is
    replaced as a whole: a program killed at any moment leaves the old ones or the new ones.  In any other, and in the
    one that the program was started in, one file after the other is replaced.  If the block fails, ``path`` is as it
    was.
    """
    check_folder(path, force)
    with writing(path):
        stage, place = _stage(path), Path(os.path.abspath(path))
        try:
            yield stage
            if not place.is_dir():
                stage.replace(place)
            elif stage.parent == place.parent and _only_files(place):
                _replace(place, stage)
            else:
                for file in sorted(stage.iterdir()):
                    file.replace(place / file.name)
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def _stage(path: Path) -> Path:
    """A new empty folder beside ``path``, or in it where there may be none beside it."""
    stage = scratch_beside(path)
    try:
        stage.mkdir()
    except PermissionError:
        stage = scratch_beside(path / "report")
        stage.mkdir()
    return stage


def _only_files(path: Path) -> bool:
    """Whether a folder can be replaced: nobody's home, nobody's mount, and not where whoever calls stands."""
    if path.is_symlink() or path.is_mount() or path.samefile(os.curdir):
        return False
    with os.scandir(path) as entries:
        return all(entry.is_file(follow_symlinks=False) for entry in entries)


def _replace(path: Path, stage: Path) -> None:
    """Put ``stage``, with what else there is in ``path``, in its place."""
    for file in path.iterdir():
        if not (stage / file.name).exists():
            try:
                os.link(file, stage / file.name)
            except OSError:  # a file system without links
                shutil.copy2(file, stage / file.name)
    shutil.copymode(path, stage)
    if _exchanged(path, stage):
        return
    before = path.with_name(f"{path.name}{stage.suffixes[-2]}.before")  # no scratch: it is the only one for a moment
    path.rename(before)
    try:
        stage.rename(path)
    except BaseException:
        before.rename(path)
        raise
    shutil.rmtree(before, ignore_errors=True)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two names in one step, where the system can."""
    with suppress(OSError, AttributeError):  # no such call
        system, names = ctypes.CDLL(None, use_errno=True), (os.fsencode(one), os.fsencode(other))
        if sys.platform == "linux":
            return bool(system.renameat2(_HERE, names[0], _HERE, names[1], _EXCHANGE) == 0)
        if sys.platform == "darwin":
            return bool(system.renamex_np(*names, _EXCHANGE) == 0)
    return False
