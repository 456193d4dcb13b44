"""Loops unrolled: for a few variables Python's arithmetic on names is faster than NumPy's on small arrays.

A function of the language of loops, with its sizes known, becomes a list of assignments without a loop or an index:
``work[C + h * H + k]`` is the name ``work_31``.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from types import CodeType
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from ..compiler.signature import parsed
from ..runtime.remade import Remade
from .kernel import BoundKernel
from .native import Floats, NativeSystem

_ARRAYS: Final = ("values", "y", "work", "out")
_NUMBER: Final = ""  # instead of an array: what is known
_FEWEST_ROWS: Final = 12  # below, Python's arithmetic one by one is faster than NumPy's on all of them
_MOST: Final = 24  # variables: beyond, NumPy is as fast


def is_small(size: int) -> bool:
    """Whether unrolled loops are the faster ones for a state of that length."""
    return size <= _MOST


class UnrolledKernel(Remade):
    """A function of one problem's flat state; an overflow or a logarithm of nothing gives NaN.

    Parameters
    ----------
    own
        The flow's loops.
    name
        ``velocity``, ``jacobian`` (a matrix) or ``loss``.
    values
        The parameters by name.
    """

    def __init__(self, own: NativeSystem, name: str, values: Mapping[str, ArrayLike]) -> None:
        self._function, self._of_columns, used = _unrolled(own, name)
        self._values = tuple(own.bound(values)[list(used)].tolist())
        shapes = {"velocity": (own.n_state,), "jacobian": (own.n_state, own.n_state), "loss": ()}
        self._shape: tuple[int, ...] = shapes[name]

    def evaluate(self, state: Floats, factor: float | None = None) -> Floats:
        """The result, times ``factor``, as a new array."""
        try:
            found: Floats = np.array(self._function(state.tolist(), self._values)).reshape(self._shape)
        except (ArithmeticError, ValueError):
            return np.full(self._shape, np.nan)
        return found if factor is None else found * factor

    __call__ = evaluate

    def rows(self, states: Floats) -> Floats:
        """The results for states (N, n), one below the other: all at once, to within rounding of `evaluate`."""
        if len(states) < _FEWEST_ROWS:
            return np.stack([self.evaluate(state) for state in states])
        columns = [np.ascontiguousarray(column) for column in states.T]
        with np.errstate(all="ignore"):
            parts = [np.broadcast_to(part, len(states)) for part in self._of_columns(columns, self._values)]
        found: Floats = np.stack(parts, axis=-1).reshape(len(states), *self._shape)
        for row in np.flatnonzero(~np.isfinite(found.reshape(len(states), -1)).all(axis=1)):
            found[row] = self.evaluate(states[row])
        return found


Kernel: TypeAlias = BoundKernel | UnrolledKernel


@cache
def _unrolled(
    own: NativeSystem, name: str
) -> tuple[Callable[..., list[float]], Callable[..., list[Any]], tuple[int, ...]]:
    """The function of state and values, the same for arrays of states, and the places of the values that it takes."""
    tree = parsed(own.loops.source)
    (node,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    unroller = _Unroller(own.program.constants)
    lines = list(unroller.block(node.body))
    used, results = (sorted(unroller.places[array]) for array in ("values", "out"))
    given = [f"y_{place}" for place in range(own.n_state)]
    text = [
        f"def {name}(y, values):",
        f"    {', '.join(given)}, = y",
        *([f"    {', '.join(f'values_{place}' for place in used)}, = values"] if used else []),
        *(f"    {line}" for line in _joined(lines)),
        f"    return [{', '.join(f'out_{place}' for place in results)}]",
    ]
    code = compile("\n".join(text), f"<unrolled {name}>", "exec")
    made = []
    for library in (math, np):
        names: dict[str, Any] = {function: getattr(library, function) for function in ("exp", "log", "sqrt")}
        exec(code, names)
        made.append(names[name])
    return made[0], made[1], tuple(used)


def _joined(lines: Sequence[str]) -> Iterator[str]:
    """Sums that are made term by term, as one expression each: ``total = 0.0; total += a; …`` is ``total = a + …``."""
    terms: list[str] = []
    for line in [*lines, ""]:
        if line.startswith("total += "):
            terms.append(line.removeprefix("total += "))
        elif line == "total = 0.0":
            terms = []
        elif line.endswith(" = total"):
            yield f"{line.removesuffix('total')}{' + '.join(terms) or '0.0'}"
        elif line:
            yield line


class _Unroller:
    """Runs what is known (sizes, indices, places) and writes down the rest."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._known: dict[str, Any] = dict(sizes)
        self.places: dict[str, set[int]] = {array: set() for array in _ARRAYS}

    def block(self, statements: Sequence[ast.stmt]) -> Iterator[str]:
        for node in statements:
            match node:
                case ast.Expr(value=ast.Constant()):
                    pass
                case ast.For(target=ast.Name(id=name), iter=ast.Call(args=[end])):
                    for number in range(self._number(_code(end))):
                        self._known[name] = number
                        yield from self.block(node.body)
                case ast.Assign(targets=[ast.Name(id=name)], value=value) if name != "total":
                    self._known[name] = self._number(_code(value))
                case ast.Assign() | ast.AugAssign(op=ast.Add()):
                    yield self._text(node)
                case _:
                    raise TypeError(f"not a statement of generated loops: {ast.unparse(node)}")

    def _number(self, code: CodeType) -> int:
        return int(eval(code, {}, self._known))

    def _text(self, node: ast.stmt) -> str:
        template, entries = _template(node)
        found = []
        for array, code in entries:
            place = self._number(code)
            if array == _NUMBER:
                found.append(repr(float(place)))
            else:
                self.places[array].add(place)
                found.append(f"{array}_{place}")
        return template.format(*found)


@cache
def _code(node: ast.expr) -> CodeType:
    return compile(ast.Expression(node), "size", "eval")


@cache
def _template(node: ast.stmt) -> tuple[str, tuple[tuple[str, CodeType], ...]]:
    """A statement with a gap for each entry of an array: which array, and the code of the place."""
    entries: list[tuple[str, CodeType]] = []

    class Gaps(ast.NodeTransformer):
        def visit_Subscript(self, node: ast.Subscript) -> ast.Name:
            assert isinstance(node.value, ast.Name)
            entries.append((node.value.id, _code(node.slice)))
            return ast.Name(f"gap_{len(entries) - 1}_", ast.Load())

        def visit_IfExp(self, node: ast.IfExp) -> ast.Name:
            entries.append((_NUMBER, _code(node)))  # an entry of the identity matrix
            return ast.Name(f"gap_{len(entries) - 1}_", ast.Load())

    text = ast.unparse(Gaps().visit(ast.parse(ast.unparse(node)).body[0]))
    return re.sub(r"gap_(\d+)_", r"{\1}", text), tuple(entries)
