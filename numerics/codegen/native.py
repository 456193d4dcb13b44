"""Owns compiled loops: generated modules compiled with numba where it is installed, and their parameters as one array.

Compiled code is kept on disk, so that a second process has it at once; see `headflow.numerics.codegen.module_cache`.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, cached_property, lru_cache
from importlib.util import find_spec
from threading import RLock
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...theory.derivation import Derivation
from ...theory.system import ReducedSystem
from .compiled import compile_system
from .loops import FUNCTIONS, LoopModule, loop_module
from .module_cache import load_module, remembered

Floats = NDArray[np.float64]
_OPTIONS: Final[Mapping[str, Any]] = {"cache": True, "nogil": True, "error_model": "numpy"}
COMPILING: Final = RLock()  # held by whoever makes compiled code: threads that need it too wait for it


def numba_installed() -> bool:
    """Whether loops can be compiled (the extra ``fast``)."""
    return find_spec("numba") is not None


@cache
def function_signature() -> Any:
    """numba's type of the generated functions: (I, H, values, y, work, out)."""
    from numba import types

    array, size = types.float64[::1], types.int64
    return types.void(size, size, array, array, array, array)


def compiled_function(function: Callable[..., Any], signature: Any) -> Any:
    """``function`` compiled for one signature; it holds no lock while it runs, and division by zero gives infinity."""
    from numba import njit

    return njit(signature, **_OPTIONS)(function)


def loaded(name: str, source: str) -> ModuleType:
    """The module of that text; numba's files do not depend on its options, so that the text says them."""
    return load_module(name, f"{source}\n# compiled with {_OPTIONS}\n")


@cache
def _pointer_class() -> Any:
    """A function's address as an argument of compiled code: handing over the function itself takes 20 µs."""
    from numba import types

    class Pointer(types.WrapperAddressProtocol):
        def __init__(self, function: Any) -> None:
            self.function = function  # keeps the code alive
            (compiled,) = function.overloads.values()
            self.address = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_cfunc_wrapper_name)

        def __wrapper_address__(self) -> Any:
            return self.address

        def signature(self) -> Any:
            return function_signature()

    return Pointer


class NativeSystem:
    """Velocity, Jacobian, loss and weights of one system as loops.

    Parameters
    ----------
    system
        Its indices must run over tasks and heads.
    compiled
        Whether to compile with numba; uncompiled loops give the same numbers, some hundred times slower.
    """

    def __init__(self, system: ReducedSystem, compiled: bool = True) -> None:
        self.system = system
        self.compiled = compiled
        bare = pickle.dumps(replace(system, derivation=Derivation("", ())))
        name = f"loops_{hashlib.sha256(bare).hexdigest()[:16]}"
        self.loops: LoopModule = remembered(name, lambda: loop_module(compile_system(system)))
        if self.loops.size_names != ("I", "H"):
            raise ValueError(f"loops are made for tasks and heads, not for {', '.join(self.loops.size_names)}")

    @cached_property
    def module(self) -> ModuleType:
        """The generated module."""
        return loaded(f"{self.system.parametrisation}_{self.system.closure}", self.loops.source)

    @property
    def source(self) -> str:
        """The generated module's text."""
        return self.loops.source

    @cached_property
    def velocity(self) -> Any:
        """(I, H, values, y, work, out): the time derivative of y."""
        return self._function("velocity")

    @cached_property
    def jacobian(self) -> Any:
        """(I, H, values, y, work, out): ∂velocity/∂y, row by row."""
        return self._function("jacobian")

    @cached_property
    def loss(self) -> Any:
        """(I, H, values, y, work, out): the loss in out[0]."""
        return self._function("loss")

    @cached_property
    def weights(self) -> Any:
        """(I, H, values, y, work, out): μ and ω."""
        return self._function("weights")

    @cached_property
    def callbacks(self) -> tuple[Any, Any, Any]:
        """Velocity, Jacobian and loss as arguments of compiled code."""
        return self._argument(self.velocity), self._argument(self.jacobian), self._argument(self.loss)

    @cached_property
    def weights_callback(self) -> Any:
        """Weights as an argument of compiled code."""
        return self._argument(self.weights)

    def _argument(self, function: Any) -> Any:
        return _pointer_class()(function) if self.compiled else function

    def sizes(self, n_tasks: int, n_heads: int) -> tuple[int, int, int]:
        """Lengths of y, values and work."""
        n_state, n_values, n_work = self.module.sizes(n_tasks, n_heads)
        return int(n_state), int(n_values), int(n_work)

    def bound(self, values: Mapping[str, ArrayLike], n_tasks: int, n_heads: int) -> Floats:
        """The array ``values`` for one problem, from its parameters by name; see `bound_members`."""
        single = {name: np.asarray(value)[None] for name, value in values.items()}
        result: Floats = self.bound_members(single, 1, n_tasks, n_heads)[0]
        return result

    def bound_members(self, values: Mapping[str, ArrayLike], count: int, n_tasks: int, n_heads: int) -> Floats:
        """The array ``values`` of ``count`` problems, one in each row, from parameters with a leading axis of members.

        What depends on parameters only is computed here, by plain Python, for all members at once.  Raises
        ``KeyError`` naming a missing parameter, ``ValueError`` for a wrong shape.
        """
        result = np.zeros((self.sizes(n_tasks, n_heads)[1], count))
        sizes = {"I": n_tasks, "H": n_heads}
        place = 0
        for name, axes in self.loops.parameters.items():
            if name not in values:
                raise KeyError(f"no value for the parameter {name}")
            shape = tuple(sizes[axis] if axis in sizes else int(axis) for axis in axes)
            array = np.asarray(values[name], dtype=np.float64)
            if array.shape != (count, *shape):
                raise ValueError(f"the parameter {name} must have shape {shape}, got {array.shape[1:]}")
            rows = array.reshape(count, -1).T
            result[place : place + len(rows)] = rows
            place += len(rows)
        with np.errstate(all="ignore"):
            self.module.constants(n_tasks, n_heads, result)  # entries are rows: one operation serves all members
        return np.ascontiguousarray(result.T)

    def _function(self, name: str) -> Any:
        if name not in FUNCTIONS or not hasattr(self.module, name):
            raise ValueError(f"the {self.system.parametrisation} system has no loops of the {name}")
        function = getattr(self.module, name)
        return compiled_function(function, function_signature()) if self.compiled else function


@lru_cache(maxsize=64)
def native_system(system: ReducedSystem, compiled: bool = True) -> NativeSystem:
    """The loops of a system (made once per session)."""
    return NativeSystem(system, compiled)
