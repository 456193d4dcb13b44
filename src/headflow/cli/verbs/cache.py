"""``headflow cache``: where derived flows and compiled code are kept on disk and how large they are; clears them."""

from __future__ import annotations

from argparse import Namespace

from ...numerics.runtime.json_object import json_object, json_text
from ..output import emit


def run(arguments: Namespace) -> int:
    """Show the cache, or clear it and show what was there; the exit code is 0."""
    from ...numerics.runtime.store import cache_content, clear_cache

    found = clear_cache() if arguments.clear else cache_content()
    if arguments.json:
        content = {
            "folder": str(found.folder),
            "files": found.files,
            "bytes": found.size,
            "files_of_this_version": found.files_of_this_version,
            "bytes_of_this_version": found.size_of_this_version,
            "cleared": arguments.clear,
        }
        emit(json_text(json_object(None, None, **content)))
        return 0
    everything = _amount(found.files, found.size)
    if arguments.clear:
        emit(f"folder    {found.folder}\nremoved   {everything}\n")
    else:
        current = _amount(found.files_of_this_version, found.size_of_this_version)
        emit(f"folder    {found.folder}\nholds     {everything}, of which {current} of this version\n")
    return 0


def _amount(files: int, size: int) -> str:
    unit, scale = next((pair for pair in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)) if size >= pair[1]), ("bytes", 1))
    return f"{files} file{'' if files == 1 else 's'}, {size / scale:.{0 if scale == 1 else 1}f} {unit}"
