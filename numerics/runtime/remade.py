"""How generated code travels: as what it was generated from, and is generated again where it arrives."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Self, TypeVar, overload

from sympy import Basic

from ...theory.result import Origin, Record, exact, mark

_T = TypeVar("_T")
_LONGEST = 200  # characters of one argument


class Remade:
    """An object that travels as the call of its class, and is its own copy: it never changes what it computes."""

    def __new__(cls, *arguments: Any, **options: Any) -> Any:
        found = super().__new__(cls)
        found._made_of = (arguments, options)
        return found

    _made_of: tuple[tuple[Any, ...], dict[str, Any]]

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        arguments, options = self._made_of
        return _remade, (type(self), exact(arguments), exact(options))

    def __repr__(self) -> str:
        arguments, options = self._made_of
        kinds = (Record, Remade, Basic, str)
        told = (repr(value) for value in (*arguments, *options.values()) if isinstance(value, kinds))
        return f"{type(self).__name__}({', '.join(text for text in told if len(text) <= _LONGEST)})"

    def __copy__(self: _T) -> _T:
        return self

    def __deepcopy__(self: _T, memo: dict[int, Any]) -> _T:
        return self


def _remade(kind: type[_T], arguments: tuple[Any, ...], options: dict[str, Any]) -> _T:
    return kind(*arguments, **options)


class part_of(cached_property[_T]):
    """A cached property whose value travels as that property of its owner."""

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> _T: ...

    def __get__(self, instance: object, owner: type[Any] | None = None) -> Any:
        found = super().__get__(instance, owner)
        if instance is not None:
            mark(found, Origin("builtins", "getattr", (instance, self.attrname)))
        return found
