"""Lazy package attributes (PEP 562): a package lists its public names, importing it loads none of them.

``theory`` and ``numerics`` import this from ``..``.  That is also their guard: should the repository root
be on the path, ``import theory`` fails at once instead of giving a second copy of the package.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def lazy_attributes(package: str, names: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """The ``__getattr__`` and ``__dir__`` of ``package``.

    Parameters
    ----------
    package
        The package's ``__name__``.
    names
        Public name → the module that defines it, relative to ``package`` (``".problem"``).  A name that is
        the package's own submodule stands for that submodule: the import system binds it so anyway.
    """

    def __getattr__(name: str) -> object:
        where = names.get(name)
        if where is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = import_module(where, package)
        value: object = module if module.__name__ == f"{package}.{name}" else getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:
        return sorted({*names, *(name for name in vars(sys.modules[package]) if name.startswith("__"))})

    return __getattr__, __dir__
