"""The signatures of functions in the language of loops: which kinds of numbers and arrays they take and give."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

NUMBERS: Final = ("int", "float", "bool")
# Of arrays: the kind of their entries, the number of their axes.
ARRAYS: Final[Mapping[str, tuple[str, int]]] = {
    "Vector": ("float", 1),
    "Matrix": ("float", 2),
    "Cube": ("float", 3),
    "Integers": ("int", 1),
    "Table": ("int", 2),
}


class UnknownSyntax(Exception):
    """The text is not in the language of loops."""


@dataclass(frozen=True)
class Signature:
    """Names of the arguments' kinds, and of the result's ("": nothing)."""

    arguments: tuple[str, ...]
    result: str

    @classmethod
    def of(cls, node: ast.FunctionDef) -> Signature:
        """Raises `UnknownSyntax`."""
        return cls(tuple(_kind(argument.annotation) for argument in node.args.args), _kind(node.returns))


@cache
def parsed(text: str) -> ast.Module:
    """The tree of a text; the same each time, so it is not to be changed."""
    return ast.parse(text)


def functions(texts: Sequence[str]) -> dict[str, ast.FunctionDef]:
    """By name, of later texts before earlier ones; those that are not annotated throughout are left out."""
    nodes = [node for text in texts for node in parsed(text).body if isinstance(node, ast.FunctionDef)]
    return {
        node.name: node
        for node in nodes
        if node.returns is not None and all(argument.annotation is not None for argument in node.args.args)
    }


def _kind(annotation: ast.expr | None) -> str:
    name = ast.unparse(annotation) if annotation is not None else "None"
    if name == "None":
        return ""
    if name not in NUMBERS and name not in ARRAYS:
        raise UnknownSyntax(f"unknown kind {name}")
    return name
