"""Whole numbers: what counts as one, whoever wrote it."""

from __future__ import annotations

from numbers import Real
from typing import Any

from .errors import InputTypeError


def as_whole(value: Any) -> int | None:
    """``value`` as an int: an integer of Python, NumPy or SymPy, a float or an array of no axes that is one.

    None for anything else; a bool is none.
    """
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        number = int(value)  # type: ignore[call-overload]
    except (OverflowError, ValueError):  # infinite, or no number
        return None
    return number if number == value else None


def whole(name: str, value: object) -> int:
    """`as_whole`; ``InputTypeError`` for what is none, which ``name`` names."""
    number = as_whole(value)
    if number is None:
        raise InputTypeError(f"{name} must be an integer, got {value!r} ({type(value).__name__})")
    return number
