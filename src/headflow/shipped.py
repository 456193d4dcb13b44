"""The files that come with the package."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable


def default_problem() -> Traversable:
    """The problem file of the reference case: what ``headflow init`` prints and ``headflow report`` uses."""
    return files(__package__) / "data" / "default.toml"
