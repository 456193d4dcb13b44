"""LLVM: its language optimised for this processor, as an object file, and loaded."""

from __future__ import annotations

import ctypes
import platform
from functools import cache
from typing import Any

import llvmlite
import llvmlite.binding as llvm


def target() -> Any:
    """This machine; a new one each time, as what loads an object file takes it over."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features().flatten()
    made = llvm.Target.from_default_triple()
    return made.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=3, jit=True)


@cache
def target_name() -> str:
    """What object files depend on besides their text."""
    processor = f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
    return f"{llvmlite.__version__} {llvm.get_process_triple()} {processor}"


def object_file(text: str) -> bytes:
    """Machine code of a module in LLVM's language."""
    module, machine = llvm.parse_assembly(text), target()
    module.triple, module.data_layout = llvm.get_default_triple(), str(machine.target_data)
    module.verify()
    tuning = llvm.create_pipeline_tuning_options(speed_level=1)  # more takes twice as long and gains 4 %
    tuning.loop_vectorization = tuning.loop_unrolling = True
    # Of straight code LLVM 22 makes vectors that it fails on, and Python with it, on processors with AVX-512.
    tuning.slp_vectorization = False
    passes = llvm.create_pass_builder(machine, tuning)
    passes.getModulePassManager().run(module, passes)
    made: bytes = machine.emit_object(module)
    return made


class Loaded:
    """An object file in memory; its functions live as long as this."""

    def __init__(self, content: bytes) -> None:
        _library()
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target())
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(content))
        self._engine.finalize_object()

    def address(self, name: str) -> int:
        """Of a function."""
        return int(self._engine.get_function_address(name))


@cache
def _library() -> None:
    """Tell LLVM where the C library's functions are; Python itself has loaded them."""
    library = ctypes.CDLL("ucrtbase" if platform.system() == "Windows" else None)
    for name in ("exp", "log", "pow", "log1p", "expm1", "malloc", "free"):
        address = ctypes.cast(getattr(library, name), ctypes.c_void_p).value
        assert address is not None
        llvm.add_symbol(name, address)
