"""A compiler for loops: text in a small part of Python becomes machine code, by LLVM.

The same text runs as it stands, some hundred times slower, so that what is compiled can be checked without a compiler.
Public names: `Program`, `compiler_installed`.

The language
------------
Functions with annotated arguments; one without annotations is left to Python.  Arguments are ``int``, ``float``,
``bool`` and the arrays ``Vector``, ``Matrix``, ``Cube`` (float64), ``Integers`` and ``Table`` (int64, one axis and
two), which must not overlap; results are numbers or nothing.  Statements: assignment to names and entries, ``+=`` and
its like, ``for`` over ``range``, ``while``, ``if``, ``continue``, ``break``, ``return``.  Expressions: arithmetic
without ``//`` and ``%``, comparisons, ``and``, ``or``, ``not``, ``a if b else c``, entries and rows of arrays, ``len``,
``.shape[n]``, ``abs``, ``min`` and ``max``, ``float``, exp, log, sqrt, log1p, expm1, isnan, calls of each other, and
``np.empty`` of constant size.  Other names are constants of the text: numbers, and arrays that nobody writes to.

Numbers are int64 and float64; a division by zero gives infinity or NaN, and entries are not checked to lie inside.
"""

from .program import Function, Program, compiler_installed

__all__ = ["Function", "Program", "compiler_installed"]
