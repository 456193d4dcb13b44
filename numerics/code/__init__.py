"""Code generation: from a ReducedSystem's index expressions to lambdified functions of whole arrays.

``ranges`` finds the shapes, ``lower`` and ``contraction`` make a ``graph`` of array operations, ``program`` plans its
order and memory, ``prepare`` and ``printer`` write it through SymPy's lambdify, ``kernel`` binds it to numbers;
``backends`` has the same graph as pure functions on JAX or mpmath.
"""

from .backends import Functions, functions
from .compiled import CompiledSystem, JacobianProduct, compile_system
from .formula import Formula, formula
from .kernel import BoundKernel, Kernel

__all__ = [
    "BoundKernel",
    "CompiledSystem",
    "Formula",
    "Functions",
    "JacobianProduct",
    "Kernel",
    "compile_system",
    "formula",
    "functions",
]
