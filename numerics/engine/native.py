"""Owns the compiled integrator: the loops of `loops` with their tableau, compiled once for all systems."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..codegen.module_cache import load_module
from ..codegen.native import compiled_function, function_signature
from . import tableau


def engine(compiled: bool = True) -> ModuleType:
    """The module of `loops`, with every function compiled (or as plain Python)."""
    return _engine(compiled)


@cache
def _engine(compiled: bool) -> ModuleType:
    source = (Path(__file__).parent / "loops.py").read_text(encoding="utf-8")
    module: Any = load_module("rodas5p" if compiled else "rodas5p_plain", f"{source}\n\n{_tableau_text()}")
    if compiled:
        for name, signature in _signatures().items():
            # In this order each finds those it calls compiled.
            setattr(module, name, compiled_function(getattr(module, name), signature))
    return module  # type: ignore[no-any-return]


def _tableau_text() -> str:
    def square(rows: tuple[tuple[float, ...], ...]) -> list[list[float]]:
        return [[*row, *[0.0] * (tableau.STAGES - len(row))] for row in rows]

    lines = [f"STAGES, GAMMA = {tableau.STAGES}, {tableau.GAMMA!r}"]
    for name, rows in (("A", square(tableau.A)), ("C", square(tableau.C)), ("DENSE", square(tableau.DENSE))):
        lines.append(f"{name} = np.array({rows!r})")
    lines += [f"NODES = np.array({tableau.NODES!r})", f"SLOPES = np.array({tableau.SLOPES!r})", ""]
    return "\n".join(lines)


def _signatures() -> dict[str, Any]:
    from numba import types

    function = types.FunctionType(function_signature())
    size, real = types.int64, types.float64
    vector, matrix, cube, integers = real[::1], real[:, ::1], real[:, :, ::1], size[::1]
    return {
        "factorise": types.boolean(matrix, integers),
        "solve": types.void(matrix, integers, vector),
        "interpolated": types.void(real, vector, vector, matrix, vector),
        "advance": size(
            function,
            function,
            function,
            size,
            size,
            vector,
            vector,
            *[real] * 5,
            size,
            vector,
            vector,
            integers,
            vector,
            cube,
        ),
    }


def empty_records(steps: int, size: int) -> tuple[Any, Any]:
    """Memory for the records of that many steps."""
    return np.empty(steps), np.empty((steps, 5, size))
