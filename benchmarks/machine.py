"""The first lines of every benchmark: one BLAS thread, the machine and the versions."""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"  # before NumPy is imported

import platform
from importlib.metadata import PackageNotFoundError, version


def describe(*packages: str) -> str:
    """The machine, its load, and the versions of what is compared."""
    found = []
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} not installed")
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    where = f"{platform.machine()}, {os.cpu_count()} cores{load}, one BLAS thread, Python {platform.python_version()}"
    return f"{where}\n{', '.join(found)}"
