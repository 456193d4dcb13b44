"""How results travel between processes.

A result keeps the call of the package that made it, and travels as that call, made again where it arrives: the checks
of its steps, which are functions within functions, come into being there.  What was made otherwise travels field by
field.  Expressions travel as they stand: SymPy's own pickles multiply out what was left in brackets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache, wraps
from importlib import import_module
from inspect import signature
from operator import attrgetter
from typing import Any, ParamSpec, TypeVar

from sympy import Basic

from .brief import Brief, parts_of
from .errors import InputTypeError

_P = ParamSpec("_P")
_T = TypeVar("_T")
_R = TypeVar("_R", bound="Record")
Path = tuple[Any, ...]

_ORIGIN = "_origin"


class Origin:
    """The call that made an object, and the way from what it returned to that object: attributes, places and keys."""

    def __init__(
        self, module: str, name: str, arguments: Path = (), options: Mapping[str, Any] | None = None, path: Path = ()
    ) -> None:
        self.module, self.name, self.arguments, self.options, self.path = module, name, arguments, options or {}, path

    def at(self, *path: Any) -> Origin:
        """That of a part of the object."""
        return Origin(self.module, self.name, self.arguments, self.options, (*self.path, *path))

    def reduced(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """What `pickle` keeps of the object."""
        return _made_again, (self.module, self.name, exact(self.arguments), exact(self.options), self.path)


class Record(Brief):
    """A frozen dataclass of formulas and data: travels field by field, and is its own copy."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _restored, (type(self), {name: exact(value) for name, value in parts_of(self)})

    def __copy__(self: _R) -> _R:
        return self

    def __deepcopy__(self: _R, memo: dict[int, Any]) -> _R:
        return self  # nothing of it ever changes


class Result(Record):
    """A record with steps whose checks are functions within functions: where a builder made it, it travels as that."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        origin: Origin | None = vars(self).get(_ORIGIN)
        return super().__reduce__() if origin is None else origin.reduced()


def built(build: Callable[_P, _T]) -> Callable[_P, _T]:
    """Let what a function of a module returns, and every part of it, travel as the call of that function."""

    @wraps(build)
    def made(*arguments: _P.args, **options: _P.kwargs) -> _T:
        result = build(*arguments, **options)
        mark(result, Origin(build.__module__, build.__qualname__, arguments, options))
        return result

    return made


def builder(build: Callable[_P, _T]) -> Callable[_P, _T]:
    """`built`, and made once per session for each choice of arguments, however they are given.

    Raises ``InputTypeError`` for arguments that cannot be told apart, such as a dict in the place of a name.
    """
    own = signature(build)
    kept = cache(built(build))

    @wraps(build)
    def found(*arguments: _P.args, **options: _P.kwargs) -> _T:
        given = own.bind(*arguments, **options)
        given.apply_defaults()
        for name, value in given.arguments.items():
            try:
                hash(value)
            except TypeError:
                raise InputTypeError(f"{name} of {build.__name__} cannot be a {type(value).__name__}") from None
        return kept(*given.args, **given.kwargs)

    found.cache_clear = kept.cache_clear  # type: ignore[attr-defined]
    return found


def mark(value: object, origin: Origin) -> None:
    """Note where a result and its parts came from, unless that is known."""
    if isinstance(value, Result):
        if _ORIGIN not in vars(value):
            object.__setattr__(value, _ORIGIN, origin)
            for name, part in parts_of(value):
                mark(part, origin.at(name))
    elif isinstance(value, tuple):
        for place, part in enumerate(value):
            mark(part, origin.at(place))
    elif isinstance(value, Mapping):
        for key, part in value.items():
            mark(part, origin.at(key))


def exact(value: Any) -> Any:
    """``value`` with every expression in a holder, in which it travels as it stands."""
    if isinstance(value, Basic):
        return _Holder(value)
    if type(value) is tuple:
        return tuple(map(exact, value))
    if type(value) is dict:
        return {exact(key): exact(part) for key, part in value.items()}
    return value


class _Holder:
    """An expression on its way: its nodes, each once, after those that it is made of, and whether it is evaluated."""

    def __init__(self, expression: Basic) -> None:
        self.expression = expression

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        places: dict[tuple[type, Basic], int] = {}
        nodes: list[Any] = []

        def place(node: Basic) -> int:
            key = (type(node), node)
            if key not in places:
                made_of = tuple(map(place, node.args))
                nodes.append((node.func, made_of, node.func(*node.args) == node) if made_of else node)
                places[key] = len(nodes) - 1
            return places[key]

        place(self.expression)
        return _assembled, (tuple(nodes),)


def _assembled(nodes: Iterable[Any]) -> Basic:
    """The expression of these nodes, none of them evaluated that was not."""
    made: list[Any] = []
    for node in nodes:
        if isinstance(node, Basic):
            made.append(node)
            continue
        kind, places, evaluated = node
        parts = (made[place] for place in places)
        made.append(kind(*parts) if evaluated else kind(*parts, evaluate=False))
    found: Basic = made[-1]
    return found


def _made_again(module: str, name: str, arguments: Path, options: Mapping[str, Any], path: Path) -> Any:
    found = attrgetter(name)(import_module(module))(*arguments, **options)
    for step in path:
        found = getattr(found, step) if isinstance(found, Record) else found[step]
    return found


def constant(value: object, module: str | None) -> tuple[Callable[..., Any], tuple[str, str]] | None:
    """What `pickle` keeps of a value that a module of the package has under a name; None for any other value."""
    if module is None or module.partition(".")[0] != __name__.partition(".")[0]:
        return None
    names = (name for name, found in vars(import_module(module)).items() if found is value)
    return next(((_constant, (module, name)) for name in names), None)


def _constant(module: str, name: str) -> Any:
    return getattr(import_module(module), name)


def _restored(kind: type[Record], parts: Mapping[str, Any]) -> Record:
    found = object.__new__(kind)
    for name, value in parts.items():
        object.__setattr__(found, name, value)
    return found
