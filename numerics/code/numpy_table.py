"""The module table: what the names in generated code stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def eye(size: float) -> NDArray[np.float64]:
    """The identity matrix; sizes arrive as floats, like every parameter."""
    return np.eye(int(size))


def unit(size: float, place: int) -> NDArray[np.float64]:
    """1 at a place, counted from 1, and 0 at all others; ``ValueError`` where there is no such place."""
    if place > size:
        raise ValueError(f"an index is {place}, but its range ends at {int(size)}")
    found = np.zeros(int(size))
    found[place - 1] = 1.0
    return found


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
    "eye": eye,
    "unit": unit,
    "e": np.e,
    "pi": np.pi,
}
