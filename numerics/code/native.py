"""The loops of one system for given ranges of its indices, and their parameters as one array."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...theory.derivation import Derivation
from ...theory.flows.system import ReducedSystem
from ..compiler import Program
from ..runtime.progress import stage
from ..runtime.remade import Remade
from ..runtime.store import fingerprint, remembered
from .compiled import compile_system
from .loops import LoopModule, loop_module

Floats = NDArray[np.float64]


class Loops(Protocol):
    """Velocity, Jacobian and loss of a flow in a program, as functions of (values, y, work, out).

    ``n_state`` and ``n_work`` are the lengths of y and of work.
    """

    @property
    def program(self) -> Program: ...
    @property
    def n_state(self) -> int: ...
    @property
    def n_work(self) -> int: ...


class NativeSystem(Remade):
    """Velocity, Jacobian, loss and weights (where there are μ and ω) of one system as loops.

    Parameters
    ----------
    system
        Any.
    sizes
        The ranges of its indices by name, such as I and H: loops are compiled for these numbers, which makes small
        ones two to four times faster.

    Attributes
    ----------
    loops
        Their text.
    program
        That text with the sizes; its functions take (values, y, work, out).
    n_state, n_values, n_work
        Lengths of y, values and work.
    """

    def __init__(self, system: ReducedSystem, sizes: Mapping[str, int]) -> None:
        self.system = system
        self.loops = _loops_of(system)
        self._sizes = {size: sizes[size] for size in self.loops.size_names}
        name = "_".join([system.parametrisation, system.closure, *map(str, self._sizes.values())])
        self.program = Program(name, [self.loops.source], self._sizes)
        self.n_state, self.n_values, self.n_work = map(int, self.program.plain("sizes")())

    def function(self, name: str, compiled: bool = True) -> Callable[..., Any]:
        """(values, y, work, out): ``velocity``, the time derivative of y; ``jacobian``, ∂velocity/∂y, row by row;
        ``loss``, in out[0]; ``weights``, μ and ω.  ``ValueError`` where the system has none.
        """
        if name not in self.program.names:
            raise ValueError(f"the {self.system.parametrisation} system has no loops of the {name}")
        return self.program.compiled(name) if compiled else self.program.plain(name)

    def bound(self, values: Mapping[str, ArrayLike]) -> Floats:
        """The array ``values`` for one problem, from its parameters by name; see `bound_members`."""
        single = {name: np.asarray(value)[None] for name, value in values.items()}
        result: Floats = self.bound_members(single, 1)[0]
        return result

    def bound_members(self, values: Mapping[str, ArrayLike], count: int) -> Floats:
        """The array ``values`` of ``count`` problems, one in each row, from parameters with a leading axis of members.

        What depends on parameters only is computed here, by plain Python, for all members at once.  Raises
        ``KeyError`` naming a missing parameter, ``ValueError`` for a wrong shape.
        """
        result = np.zeros((self.n_values, count))
        place = 0
        for name, axes in self.loops.parameters.items():
            if name not in values:
                raise KeyError(f"no value for the parameter {name}")
            shape = tuple(self._sizes[axis] if axis in self._sizes else int(axis) for axis in axes)
            array = np.asarray(values[name], dtype=np.float64)
            if array.shape != (count, *shape):
                raise ValueError(f"the parameter {name} must have shape {shape}, got {array.shape[1:]}")
            rows = array.reshape(count, -1).T
            result[place : place + len(rows)] = rows
            place += len(rows)
        with np.errstate(all="ignore"):
            self.program.plain("constants")(result)  # entries are rows: one operation serves all members
        return np.ascontiguousarray(result.T)


@lru_cache(maxsize=64)
@stage("compile")
def _loops_of(system: ReducedSystem) -> LoopModule:
    bare = replace(system, derivation=Derivation("", ()))
    return remembered(f"loops_{fingerprint(bare)}", lambda: loop_module(compile_system(system)))


@lru_cache(maxsize=256)
def native_system(system: ReducedSystem, **sizes: int) -> NativeSystem:
    """The loops of a system for ranges by name (made once per session)."""
    return NativeSystem(system, sizes)
