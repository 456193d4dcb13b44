"""The checkpoint file of a training: whole or not there at all, and never of another training."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...theory.errors import InputError
from ..runtime.read_file import read_bytes
from ..runtime.scratch import write_whole
from ..runtime.seal import BLANK, check_seal, sealed

_KIND: Final = "headflow training"
_BEGIN: Final = b"PK\x03\x04"  # of every archive of this format
Arrays = dict[str, NDArray[Any]]


def write(path: str | PathLike[str], identity: Mapping[str, Any], arrays: Arrays) -> None:
    """Put the file in place at once: a run killed at any moment leaves the last whole checkpoint.

    Raises `InputError` if it cannot be written.
    """
    target = Path(path)
    savez: Callable[..., None] = np.savez  # its stub takes no dictionary
    text = json.dumps({"kind": _KIND, **identity}, allow_nan=False)
    whole = io.BytesIO()
    savez(whole, **{"identity": np.array(text), **arrays})
    with zipfile.ZipFile(whole, "a") as archive:
        archive.comment = BLANK.encode()
    content = sealed(whole.getvalue())
    try:
        write_whole(target, content, durable=True)
    except OSError as error:
        raise InputError(f"cannot write the checkpoint {target}: {(error.strerror or str(error)).lower()}") from None


def read(path: str | PathLike[str]) -> tuple[dict[str, Any], Arrays]:
    """Identity and arrays of the file; `InputError` if it holds no training of this package, or was changed."""
    content = read_bytes(path, "the checkpoint", begins=_BEGIN)
    check_seal(content, path, "checkpoint of a training by headflow")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        identity = dict(json.loads(str(arrays.pop("identity"))))
        if identity.pop("kind") != _KIND:
            raise KeyError("kind")
    except (KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} holds no checkpoint of a training by headflow") from error
    return identity, arrays
