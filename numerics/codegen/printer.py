"""Owns the Python text of generated functions: SymPy's lambdify with a printer for array calls."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from sympy import Expr, Symbol, lambdify
from sympy.core.symbol import Str
from sympy.printing.numpy import NumPyPrinter

from .program import Line

Array = Any

# The module table: what the names in generated code stand for.
NUMPY: Mapping[str, Any] = {
    "multiply": np.multiply,
    "add": np.add,
    "subtract": np.subtract,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "square": np.square,
    "reciprocal": np.reciprocal,
    "power": np.power,
    "matmul": np.matmul,
    "vecdot": np.vecdot,
    "einsum": np.einsum,
    "reduce": np.add.reduce,
    "positive": np.positive,
    "transpose": np.transpose,
    "expand_dims": np.expand_dims,
    "eye": np.eye,
    "e": np.e,
    "pi": np.pi,
}


class ArrayCall(Expr):
    """``function(arguments, out=out)`` on whole arrays, as a SymPy expression that lambdify can print."""

    def __new__(cls, function: str, arguments: Sequence[str], out: str = "", extra: str = "") -> ArrayCall:
        return Expr.__new__(cls, Str(function), Str(", ".join(arguments)), Str(out), Str(extra))

    def __str__(self) -> str:
        function, arguments, out, extra = (argument.name for argument in self.args)
        first = f"{extra!r}, " if function == "einsum" else ""
        last = f", {extra}" if extra and function != "einsum" else ""
        stored = f", out={out}" if out else ""
        return f"{function}({first}{arguments}{last}{stored})"


class ArrayPrinter(NumPyPrinter):  # type: ignore[misc]
    """NumPyPrinter that also prints array calls."""

    def _print_ArrayCall(self, expression: ArrayCall) -> str:
        return str(expression)


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
    arguments: Sequence[str], assignments: Sequence[tuple[str, Expr]], results: Sequence[str], doc: str
) -> Callable[..., Any]:
    """A Python function of named arguments: assignments in order, then the tuple of results."""
    symbols = [Symbol(name) for name in arguments]
    steps = [(Symbol(name), call) for name, call in assignments]
    function = lambdify(
        symbols,
        tuple(Symbol(name) for name in results),
        modules=[dict(NUMPY)],
        printer=ArrayPrinter({"fully_qualified_modules": False, "inline": True, "allow_unknown_functions": True}),
        cse=lambda expressions: (steps, expressions),
        docstring_limit=0,
    )
    function.__doc__ = doc
    return function  # type: ignore[no-any-return]


def source_of(function: Callable[..., Any], name: str) -> str:
    """The text of a generated function, under a readable name."""
    return inspect.getsource(function).replace("_lambdifygenerated", name, 1)
