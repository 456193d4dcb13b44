"""Programs: texts in the language of loops with their constants, run as Python or as machine code."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import numpy as np

from ..runtime import store
from ..runtime.extras import works
from ..runtime.progress import stage
from ..runtime.remade import Remade
from .signature import ARRAYS, Signature, functions

_NUMBERS: Final[Mapping[str, Any]] = {"int": ctypes.c_int64, "float": ctypes.c_double, "bool": ctypes.c_bool}
_ENTRIES: Final[Mapping[str, Any]] = {"int": np.int64, "float": np.float64}
_OLDEST: Final = (0, 45)  # of llvmlite, whose pointers have no types


_PROBE: Final = """from numpy import exp

def total(values: Vector) -> float:
    sum = 0.0
    for place in range(len(values)):
        sum += exp(values[place])
    return sum
"""


@cache
def compiler_installed() -> bool:
    """Whether loops can be compiled: llvmlite is there (the extra ``fast``), not too old, and its code runs here.

    Where it does not, a warning says so, once.
    """
    return _new_enough() and works("llvmlite", _probe, "SciPy's solvers are used instead of compiled loops")


def _probe() -> None:
    found = Program("probe", [_PROBE], {}).compiled("total")(np.zeros(3))
    if found != 3.0:
        raise RuntimeError(f"compiled code finds 3 e^0 = {found}")


def _new_enough() -> bool:
    try:
        first, second, *_ = version("llvmlite").split(".")
        return (int(first), int(second)) >= _OLDEST
    except (PackageNotFoundError, ValueError):
        return False


class Function:
    """Machine code that is called with NumPy arrays; it holds no lock while it runs.

    Arrays must be C-contiguous, of float64 (``Integers``, ``Table``: int64) and of the right number of axes:
    ``TypeError`` else.
    """

    def __init__(self, address: int, signature: Signature, keep: object) -> None:
        self._arguments, self._keep = signature.arguments, keep
        kinds: list[Any] = []
        for kind in signature.arguments:
            kinds += [_NUMBERS[kind]] if kind in _NUMBERS else [ctypes.c_void_p, *[ctypes.c_int64] * ARRAYS[kind][1]]
        self._call = ctypes.CFUNCTYPE(_NUMBERS[signature.result] if signature.result else None, *kinds)(address)

    def __call__(self, *arguments: Any) -> Any:
        passed: list[Any] = []
        for value, kind in zip(arguments, self._arguments, strict=True):
            if kind in _NUMBERS:
                passed.append(value)
                continue
            entries, axes = ARRAYS[kind]
            if value.dtype != _ENTRIES[entries] or value.ndim != axes or not value.flags.c_contiguous:
                raise TypeError(f"expected {kind}, C-contiguous, got {value.dtype} with {value.ndim} axes")
            passed.append(value.ctypes.data)
            passed += value.shape
        return self._call(*passed)


class Program(Remade):
    """Texts, one after the other, and constants that they use.

    Parameters
    ----------
    name
        What its files and tracebacks are called.
    texts
        Python, as the package's docstring describes it.
    constants
        Numbers and arrays by name.
    """

    def __init__(self, name: str, texts: Sequence[str], constants: Mapping[str, Any]) -> None:
        self.name, self.texts, self.constants = name, tuple(texts), dict(constants)
        self._made: dict[str, Function] = {}

    @cached_property
    def names(self) -> dict[str, Any]:
        """All that the texts define, as plain Python."""
        found: dict[str, Any] = dict(self.constants)
        for text in self.texts:
            exec(compile(text, f"<{self.name}>", "exec"), found)
        return found

    def plain(self, name: str) -> Callable[..., Any]:
        """A function as plain Python."""
        function: Callable[..., Any] = self.names[name]
        return function

    def compiled(self, name: str) -> Function:
        """A function as machine code; from disk where it was made before on such a machine."""
        if name not in self._made:
            self._made[name] = self._machine_code(name)
        return self._made[name]

    def _machine_code(self, name: str) -> Function:
        from .machine import Loaded, object_file, target_name

        @stage("compile")
        def made() -> bytes:
            from .translate import translated  # here, as what was made before needs none

            return object_file(translated(self.texts, self.names, name))

        loaded = Loaded(store.kept(f"{self.name}_{name}_{self._key(target_name())}.o", made))
        return Function(loaded.address(name), Signature.of(functions(self.texts)[name]), loaded)

    def _key(self, machine: str) -> str:
        digest = hashlib.sha256(repr((self.texts, machine, store.sources_key())).encode())
        for name, value in sorted(self.constants.items()):
            exact = value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
            digest.update(f"{name} {np.shape(value)} ".encode() + exact)
        return digest.hexdigest()[:24]
