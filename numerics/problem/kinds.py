"""The kinds of arguments: one sentence where something else stands in the place of a problem, a start or a run."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import ParamSpec, TypeAlias, TypeVar

from ...theory.errors import InputTypeError
from .exact import shown

_P = ParamSpec("_P")
_T = TypeVar("_T")


Kind: TypeAlias = type | str  # a class, or the name of one that need not be imported to be told apart


def takes(**kinds: Kind | tuple[Kind, ...]) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """Let a function raise ``InputTypeError`` for arguments that are not of these kinds; a default may be left."""

    def decorate(function: Callable[_P, _T]) -> Callable[_P, _T]:
        own = signature(function)

        @wraps(function)
        def checked(*arguments: _P.args, **options: _P.kwargs) -> _T:
            given = own.bind(*arguments, **options).arguments
            for name, kind in kinds.items():
                if name in given and given[name] is not own.parameters[name].default:
                    of_kind(name, given[name], kind)
            return function(*arguments, **options)

        return checked

    return decorate


def of_kind(name: str, value: object, kind: Kind | tuple[Kind, ...]) -> None:
    """Raise ``InputTypeError`` unless ``value`` is of that kind, or of one of them."""
    allowed = kind if isinstance(kind, tuple) else (kind,)
    if not any(_is_one(value, one) for one in allowed):
        names = [one if isinstance(one, str) else one.__name__ for one in allowed]
        wanted = " or ".join(f"{'an' if one[0] in 'AEIOU' else 'a'} {one}" for one in names)
        raise InputTypeError(f"{name} must be {wanted}, got {shown(value)} ({type(value).__name__})")


def _is_one(value: object, kind: Kind) -> bool:
    if isinstance(kind, str):
        return any(own.__name__ == kind for own in type(value).__mro__)
    return isinstance(value, kind)
