"""Owns the claims of the theory: the registry, and the statements by subject."""

from __future__ import annotations

from .registry import statement as statement
from .registry import statements as statements
