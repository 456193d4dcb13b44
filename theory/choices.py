"""The lists of what a user may choose by name, and the one sentence for a name that is not on them."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

from .errors import InputError, InputTypeError

CLOSURES = ("leading", "finite_d", "first_order")
PARAMETRISATIONS = ("merged", "balanced", "split")


def unknown(kind: str, word: str, allowed: Collection[str], listed: str = "") -> str:
    """The sentence for a ``word`` that is none of ``allowed``, with a suggestion where one is near.

    ``listed`` says where the allowed words are told, if they are too many for a sentence.

    Examples
    --------
    >>> unknown("parametrisation", "balnced", PARAMETRISATIONS)
    "unknown parametrisation 'balnced'; did you mean 'balanced'? (allowed: merged, balanced, split)"
    """
    lower = word.lower()
    near = get_close_matches(lower, allowed, n=1) or [name for name in allowed if lower in name.split("_")]
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {word!r}{hint} ({listed or 'allowed: ' + ', '.join(allowed)})"


def _checked(kind: str, word: object, allowed: Collection[str]) -> str:
    if not isinstance(word, str):
        raise InputTypeError(f"{kind} must be a string, got {word!r} ({type(word).__name__})")
    if word not in allowed:
        raise InputError(unknown(kind, word, allowed))
    return word


def checked_closure(closure: object) -> str:
    """``closure`` if it is one of `CLOSURES`; else `InputError` (a string) or `InputTypeError`."""
    return _checked("closure", closure, CLOSURES)


def checked_parametrisation(parametrisation: object) -> str:
    """``parametrisation`` if it is one of `PARAMETRISATIONS`; else `InputError` or `InputTypeError`."""
    return _checked("parametrisation", parametrisation, PARAMETRISATIONS)
