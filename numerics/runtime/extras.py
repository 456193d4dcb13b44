"""Extras that are installed but do not work on a platform: one warning, and what needs none takes their place."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from ...theory.errors import ExtraWarning


def works(name: str, probe: Callable[[], object], instead: str) -> bool:
    """Whether a probe of an extra goes through; a warning says where not, and what is done ``instead``."""
    try:
        probe()
    except (ImportError, OSError, RuntimeError, AttributeError) as error:  # as libraries fail to load, and LLVM fails
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        warnings.warn(f"{name} is installed but does not work here ({reason}): {instead}", ExtraWarning, stacklevel=3)
        return False
    return True
