"""The Python text of generated functions: SymPy's lambdify with a printer for array calls."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from sympy import Symbol, lambdify
from sympy.printing.numpy import NumPyPrinter

from .names import identifier
from .numpy_table import NUMPY
from .program import Line

Code = Any  # SymPy expressions, which carry no types


class ArrayCall(Symbol):
    """``function(arguments, out=out)`` on whole arrays: to SymPy a symbol that it knows nothing about."""

    __slots__ = ()

    def __new__(cls, function: str, arguments: Sequence[str], out: str = "", extra: str = "") -> ArrayCall:
        first = [repr(extra)] if function == "einsum" else []
        last = [extra] if extra and not first else []
        stored = [f"out={out}"] if out else []
        text = f"{function}({', '.join([*first, *arguments, *last, *stored])})"
        call: ArrayCall = Symbol.__new__(cls, text)
        return call


class ArrayPrinter(NumPyPrinter):
    """NumPyPrinter that also prints array calls."""

    def _print_ArrayCall(self, expression: ArrayCall) -> str:
        return str(expression.name)


def array_call(line: Line) -> ArrayCall:
    """The call that a line of a program makes."""
    out = line.name
    if line.operation == "sum":
        axes = tuple(range(-int(line.detail), 0))
        return ArrayCall("reduce", line.arguments, out, f"axis={axes}")
    if line.operation == "power":
        return ArrayCall("power", (*line.arguments, repr(float(Fraction(line.detail)))), out)
    return ArrayCall(line.operation, line.arguments, out, line.detail)


def generated(
    arguments: Sequence[str],
    assignments: Sequence[tuple[str, Code]],
    result: str | Sequence[str],
    doc: str,
    table: Mapping[str, Any] = NUMPY,
) -> Callable[..., Any]:
    """A Python function of named arguments: assignments in order, then the result or the tuple of results.

    ``table`` says what the names of functions in it stand for.
    """
    steps = [(Symbol(name), call) for name, call in assignments]
    function = lambdify(
        [Symbol(name) for name in arguments],
        Symbol(result) if isinstance(result, str) else tuple(map(Symbol, result)),
        modules=[dict(table)],
        printer=ArrayPrinter({"fully_qualified_modules": False, "inline": True, "allow_unknown_functions": True}),
        cse=lambda expression: (steps, expression),
        docstring_limit=0,
    )
    function.__doc__ = doc
    return function  # type: ignore[no-any-return]


def source_of(function: Callable[..., Any], name: str) -> str:
    """The text of a generated function, under a readable name."""
    return inspect.getsource(function).replace("_lambdifygenerated", identifier(name.replace(" ", "_")), 1)
