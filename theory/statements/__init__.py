"""The claims of the theory: the registry, and the statements by subject.

The package is also the function that lists them: ``theory.statements()``.  (A function of that name beside the package
would be hidden by it as soon as any of its modules was imported.)
"""

from __future__ import annotations

import sys
from types import ModuleType

from ..statement import Statement
from .registry import statement as statement
from .registry import statements as statements


class _Statements(ModuleType):
    """The package, called."""

    def __call__(self) -> tuple[Statement, ...]:
        """Every registered statement, in the order in which they build on each other."""
        return statements()


sys.modules[__name__].__class__ = _Statements
