"""The one line that shows a result, and the text in full."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import fields
from html import escape
from itertools import islice
from typing import Any

from sympy import Basic, preorder_traversal

_LONGEST, _MOST_NODES = 60, 40  # characters and nodes of one part of a line


class Brief:
    """A dataclass that shows itself in a line; ``print`` gives all of it, here its fields one by one."""

    @property
    def in_brief(self) -> str:
        """What it is and how large, in some words."""
        return ", ".join(filter(None, (_as_part(name, value) for name, value in parts_of(self))))

    def as_part(self, name: str) -> str:
        """How it appears in the line of another that has it under this name."""
        return name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.in_brief})"

    def __str__(self) -> str:
        return "\n".join(f"{name} = {_written(value)}" for name, value in parts_of(self))

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def parts_of(record: Brief) -> list[tuple[str, Any]]:
    """Its fields, by name, in order."""
    return [(item.name, getattr(record, item.name)) for item in fields(record)]  # type: ignore[arg-type]


def _written(value: object) -> str:
    """A part in full; formulas as they are printed everywhere."""
    from .printing import to_text  # here, as what is printed is made of records

    if isinstance(value, tuple) and value and all(isinstance(part, Basic) for part in value):
        return ", ".join(map(to_text, value))
    return to_text(value) if isinstance(value, Basic) else repr(value) if isinstance(value, Brief) else str(value)


def _as_part(name: str, value: Any) -> str:
    """A part in a line of the whole: itself where it is short, else its name and size; empty for what is missing."""
    if isinstance(value, Brief):
        return value.as_part(name)
    if value is None or (isinstance(value, Sized) and not getattr(value, "shape", None) and not len(value)):
        return ""
    if isinstance(value, Basic):
        small = sum(1 for _ in islice(preorder_traversal(value), _MOST_NODES + 1)) <= _MOST_NODES
        return f"{name} = {value}" if small and len(str(value)) <= _LONGEST else name
    if isinstance(value, str):
        return value if len(value) <= _LONGEST and "\n" not in value else name
    if isinstance(value, int | float):
        return f"{name} = {value:.10g}" if isinstance(value, float) else f"{name} = {value}"
    if shape := getattr(value, "shape", None):
        return f"{name} {shape}"
    return f"{len(value)} {name}" if isinstance(value, Sized) else name
