"""What loops need to know of a graph: the nodes they compute, over which indices, and those written inline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sympy import S

from .compiled import Parts
from .graph import Node, view_axes
from .program import ELEMENTWISE, Target

Expr = Any
Indices = tuple[str, ...]

CONTRACTIONS: Final = ("vecdot", "matmul", "einsum", "sum")
LETTERS: Final = {"I": "ijlabcdefg", "H": "hkmpqrstuv"}
_OTHERS: Final = "nwxzabcdefg"


def contracted(node: Node, letters: Indices) -> tuple[list[Indices], dict[str, Expr]]:
    """The indices of each operand's view, and the summed ones with their ranges."""
    shapes = [view_axes(operand) for operand in node.operands]
    if node.operation == "sum":
        axes = shapes[0][len(letters) :]
        extra = letters_of(axes, letters)
        return [(*letters, *extra)], dict(zip(extra, axes, strict=True))
    if node.operation == "vecdot":
        axis = next((shape[-1] for shape in shapes if shape[-1] != 1), S.One)
        (letter,) = letters_of([axis], letters)
        return [(*letters, letter), (*letters, letter)], {letter: axis}
    if node.operation == "matmul":
        axis = shapes[0][-1]
        (letter,) = letters_of([axis], letters)
        batch = len(shapes[0]) - 2
        second = (letter,) if len(shapes[1]) == 1 else (*letters[:batch], letter, letters[-1])
        return [(*letters[: batch + 1], letter), second], {letter: axis}
    inputs, output = node.detail.split("->")
    named = dict(zip(output, letters, strict=True))
    summed: dict[str, Expr] = {}
    views: list[Indices] = []
    for word, shape in zip(inputs.split(","), shapes, strict=True):
        for letter, axis in zip(word, shape, strict=True):
            if letter not in named:
                (named[letter],) = letters_of([axis], (*letters, *summed))
                summed[named[letter]] = axis
        views.append(tuple(named[letter] for letter in word))
    return views, summed


def steps_of(targets: Sequence[Target], stage: str) -> list[Node]:
    """The nodes of a stage that the targets need, each after those it reads."""
    found: dict[int, Node] = {}

    def visit(node: Node) -> None:
        if node.number in found or node.stage != stage:
            return
        for operand in node.operands:
            visit(operand.node)
        if node.operation not in ("leaf", "number"):
            found[node.number] = node

    for target in targets:
        visit(target.value.node)
    return list(found.values())


def constants_of(runs: Iterable[Sequence[Node]], parts: Iterable[Parts]) -> list[Node]:
    """The nodes of the bind stage that the run stage reads, with all that those need; leaves and numbers too."""
    found: dict[int, Node] = {}

    def visit(node: Node) -> None:
        if node.number not in found:
            for operand in node.operands:
                visit(operand.node)
            found[node.number] = node

    for steps in runs:
        for step in steps:
            for operand in step.operands:
                if operand.node.stage == "bind":
                    visit(operand.node)
    for part in parts:
        for target in part.targets:
            if target.value.node.stage == "bind":
                visit(target.value.node)
    return list(found.values())


def leaves(node: Node) -> list[Node]:
    return [node] if node.operation == "leaf" else []


def uses_of(parts: Sequence[Parts]) -> dict[int, int]:
    """How often each node is read; 0 stands for one read that would repeat its work, or from another stage."""
    reads: dict[int, list[bool]] = {}
    seen: set[int] = set()

    def visit(node: Node) -> None:
        if node.number in seen:
            return
        seen.add(node.number)
        for operand in node.operands:
            read = operand.node
            loops = len(node.axes)
            if node.operation in CONTRACTIONS:
                loops += len(contracted(node, letters_of(node.axes))[1])
            cheap = loops == len(read.axes) and read.stage == node.stage and len(operand.places) <= loops
            reads.setdefault(read.number, []).append(cheap)
            visit(read)

    for part in parts:
        for target in part.targets:
            node = target.value.node
            same = len(node.axes) == len(target.order) and node.stage == "run"
            reads.setdefault(node.number, []).append(same)
            visit(node)
    return {number: 1 if found == [True] else 0 for number, found in reads.items()}


def inlined(node: Node, uses: Mapping[int, int]) -> bool:
    return node.operation in ELEMENTWISE and uses.get(node.number) == 1


def letters_of(axes: Sequence[Expr], used: Sequence[str] = ()) -> Indices:
    """Loop indices for axes, none of them used already: i, j, ... for tasks and h, k, ... for heads."""
    chosen: list[str] = []
    for axis in axes:
        free = (letter for letter in LETTERS.get(str(axis), _OTHERS) if letter not in (*used, *chosen))
        chosen.append(next(free))
    return tuple(chosen)
