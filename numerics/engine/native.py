"""Owns the compiled integrator: the loops of `loops` with their tableaus, compiled once for all systems."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..codegen.native import COMPILING, compiled_function, function_signature, loaded
from . import explicit_tableau, tableau


def engine(compiled: bool = True) -> ModuleType:
    """The module of `loops`, with every function compiled (or as plain Python)."""
    with COMPILING:
        return _engine(compiled)


@cache
def _engine(compiled: bool) -> ModuleType:
    source = (Path(__file__).parent / "loops.py").read_text(encoding="utf-8")
    module: Any = loaded("engine" if compiled else "engine_plain", f"{source}\n\n{_tableau_text()}")
    if compiled:
        for name, signature in _signatures().items():
            # In this order each finds those it calls compiled.
            setattr(module, name, compiled_function(getattr(module, name), signature))
    return module  # type: ignore[no-any-return]


def follower() -> Any:
    """`loops.follow`, compiled: by itself, because one trajectory does not need it."""
    with COMPILING:
        return _follower()


@cache
def _follower() -> Any:
    from numba import types

    function, size, real = types.FunctionType(function_signature()), types.int64, types.float64
    vector, matrix = real[::1], real[:, ::1]
    sizes = [size, size, matrix, vector, real, types.boolean, real, vector, vector, size]
    return compiled_function(engine().follow, types.void(*[function] * 4, *sizes, *[matrix] * 3))


def _tableau_text() -> str:
    def square(rows: tuple[tuple[float, ...], ...]) -> list[list[float]]:
        return [[*row, *[0.0] * (len(rows) - len(row))] for row in rows]

    lines = [f"STAGES, GAMMA, TSIT_STAGES = {tableau.STAGES}, {tableau.GAMMA!r}, {explicit_tableau.STAGES}"]
    arrays = {
        "A": square(tableau.A),
        "C": square(tableau.C),
        "NODES": tableau.NODES,
        "SLOPES": tableau.SLOPES,
        "DENSE": tableau.DENSE,
        "TSIT_A": square(explicit_tableau.A),
        "TSIT_ERROR": explicit_tableau.ERROR,
        "TSIT_NODES": explicit_tableau.NODES,
        "TSIT_DENSE": explicit_tableau.DENSE,
    }
    return "\n".join([*lines, *(f"{name} = np.array({values!r})" for name, values in arrays.items()), ""])


def _signatures() -> dict[str, Any]:
    from numba import types

    function = types.FunctionType(function_signature())
    size, real, truth = types.int64, types.float64, types.boolean
    vector, matrix, cube, integers = real[::1], real[:, ::1], real[:, :, ::1], size[::1]
    flow = [size, size, vector, vector]  # (I, H, values, work)
    step = [function, *flow, *[real] * 5, vector, vector, matrix, vector, vector]
    advance = [*[function] * 3, *flow, *[real] * 5, size, vector, vector, integers, vector, cube]
    return {
        "factorise": truth(matrix, integers),
        "solve": types.void(matrix, integers, vector),
        "stiffness": real(vector, size),
        "explicit_step": real(*step),
        "implicit_step": real(*step, vector, matrix, integers),
        "bends": types.void(truth, real, matrix, matrix),
        "interpolated": types.void(real, vector, vector, matrix, vector),
        "first_step": real(real, real),
        "advance": size(*advance),
    }


def empty_records(steps: int, size: int) -> tuple[Any, Any]:
    """Memory for the records of that many steps."""
    return np.empty(steps), np.empty((steps, 5, size))
