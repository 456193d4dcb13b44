"""Owns programs: a schedule of array operations with their memory, ready to be printed.

Memory is planned once: elementwise results go in place where their operand dies, freed arrays are used again
(temporaries, not arithmetic, are what costs in NumPy), and every view is made when the program is bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from keyword import iskeyword
from typing import Any

from sympy import sympify

from .graph import Node, Operand, Places, Value, plain

Expr = Any

ELEMENTWISE = frozenset(
    {"multiply", "add", "subtract", "exp", "log", "sqrt", "square", "reciprocal", "power"}
)


@dataclass(frozen=True)
class Storage:
    """A piece of memory: ``kind`` is "input", "output" or "work"; ``axes`` are its ranges."""

    kind: str
    number: int
    axes: tuple[Expr, ...]


@dataclass(frozen=True)
class View:
    """A name for a view of an array, made at bind time."""

    name: str
    of: str
    places: Places


@dataclass(frozen=True)
class Line:
    """``name = operation(arguments, out=name)``."""

    name: str
    operation: str
    arguments: tuple[str, ...]
    detail: str = ""


@dataclass(frozen=True)
class Target:
    """Where a value goes: an axis order of output number ``output``, overwritten or added to."""

    output: str
    value: Value
    order: tuple[Any, ...]
    adds: bool = False


@dataclass(frozen=True)
class Program:
    """The run stage: lines in order, and what to allocate and view before.

    ``accumulates`` says that some lines add to the outputs, which must be zero before.
    """

    lines: tuple[Line, ...]
    accumulates: bool
    storage: Mapping[str, Storage]
    views: tuple[View, ...]
    constants: Mapping[str, Node]
    inputs: Mapping[str, Node]


class Names:
    """Gives every node one readable name, and every view of it another."""

    def __init__(self, known: Mapping[int, str], taken: Sequence[str] = ()) -> None:
        self._known = {number: identifier(name) for number, name in known.items()}
        self._taken = set(self._known.values()) | set(taken)
        self._views: dict[tuple[str, Places], View] = {}

    def node(self, node: Node) -> str:
        if node.number not in self._known:
            preferred = identifier(node.detail) if node.operation == "leaf" else f"{'p' if node.stage == 'bind' else 't'}{node.number}"
            while preferred in self._taken:
                preferred += "_"
            self._known[node.number] = preferred
            self._taken.add(preferred)
        return self._known[node.number]

    def view(self, name: str, places: Places, whole: Places) -> str:
        """The name of a view; the array's own name when the view is the array."""
        if places == whole or not whole:
            return name
        key = (name, places)
        if key not in self._views:
            label = f"{name}_{_view_word(places)}"
            while label in self._taken:
                label += "_"
            self._taken.add(label)
            self._views[key] = View(label, name, places)
        return self._views[key].name

    @property
    def views(self) -> tuple[View, ...]:
        return tuple(self._views.values())


def identifier(name: str) -> str:
    """A Python identifier for a name (``lambda`` becomes ``lambda_``)."""
    cleaned = "".join(character if character.isalnum() else "_" for character in name).strip("_")
    return f"{cleaned}_" if iskeyword(cleaned) else cleaned


def _view_word(places: Places) -> str:
    words = {((1,), (0,)): "T", ((0,), ()): "column", ((), (0,)): "row"}
    return words.get(places) or "v" + "_".join("".join(map(str, place)) or "n" for place in places)


def schedule(targets: Sequence[Target]) -> tuple[list[Node | Target], dict[int, int], dict[int, int]]:
    """Nodes and targets in order of execution, each node's last use and its number of uses."""
    order: list[Node | Target] = []
    seen: set[int] = set()

    def visit(node: Node) -> None:
        if node.number in seen:
            return
        seen.add(node.number)
        for operand in node.operands:
            visit(operand.node)
        if node.stage == "run" and node.operation != "leaf":
            order.append(node)

    for target in targets:
        visit(target.value.node)
        order.append(target)
    last: dict[int, int] = {}
    uses: dict[int, int] = {}
    for place, step in enumerate(order):
        used = [step.value.node] if isinstance(step, Target) else [operand.node for operand in step.operands]
        for node in used:
            last[node.number] = place
            uses[node.number] = uses.get(node.number, 0) + 1
    return order, last, uses


def plan(targets: Sequence[Target], known_names: Mapping[int, str], outputs: Mapping[str, tuple[Expr, ...]]) -> Program:
    """The program that computes ``targets``; ``outputs`` are the output arrays' names and axes."""
    order, last, uses = schedule(targets)
    names = Names(known_names, list(outputs))
    storage: dict[str, Storage] = {}
    place_of: dict[int, Storage] = {}
    constants: dict[str, Node] = {}
    inputs: dict[str, Node] = {}
    out_storage = {name: Storage("output", number, axes) for number, (name, axes) in enumerate(outputs.items())}
    storage |= out_storage

    def into_output(node: Node, where: Storage) -> None:
        """Let a value, and the chain of operations on whole arrays before it, be computed in an output."""
        place_of[node.number] = where
        for operand in node.operands if node.operation in ELEMENTWISE else ():
            inner = operand.node
            fits = operand.is_plain and inner.axes == node.axes and uses[inner.number] == 1
            if fits and inner.stage == "run" and inner.operation != "leaf":
                into_output(inner, where)
                return

    direct: set[int] = set()
    for target in targets:
        node = target.value.node
        whole = target.value.along(target.order).places == plain(node) and node.axes == outputs[target.output]
        fresh = node.stage == "run" and node.operation != "leaf" and node.number not in place_of
        if whole and fresh and not target.adds:
            into_output(node, out_storage[target.output])
            direct.add(id(target))

    def name_of(operand: Operand) -> str:
        node = operand.node
        if node.operation == "number":
            return repr(float(sympify(node.detail)))
        name = names.node(node)
        if node.stage == "bind":
            constants[name] = node
        elif node.operation == "leaf":
            inputs[name] = node
        return names.view(name, operand.places, plain(node))

    free: dict[tuple[Expr, ...], list[Storage]] = {}
    lines: list[Line] = []
    work = 0
    for step, item in enumerate(order):
        if isinstance(item, Target):
            if id(item) not in direct:
                source = name_of(item.value.along(item.order))
                if item.adds:
                    lines.append(Line(item.output, "add", (item.output, source)))
                else:
                    lines.append(Line(item.output, "positive", (source,)))
            dying = [item.value.node]
        else:
            arguments = tuple(name_of(operand) for operand in item.operands)
            dying = [operand.node for operand in item.operands]
            if item.number not in place_of:
                in_place = next(
                    (
                        operand.node
                        for operand in item.operands
                        if item.operation in ELEMENTWISE
                        and operand.is_plain
                        and operand.node.axes == item.axes
                        and last.get(operand.node.number) == step
                        and _is_work(place_of.get(operand.node.number))
                    ),
                    None,
                )
                if in_place is not None:
                    place_of[item.number] = place_of[in_place.number]
                elif free.get(item.axes):
                    place_of[item.number] = free[item.axes].pop()
                else:
                    place_of[item.number] = Storage("work", work, item.axes)
                    work += 1
            name = names.node(item)
            storage[name] = place_of[item.number]
            lines.append(Line(name, item.operation, arguments, item.detail))
        for node in {dead.number: dead for dead in dying}.values():
            where = place_of.get(node.number)
            kept = isinstance(item, Node) and place_of[item.number] == where
            if where is not None and last[node.number] == step and _is_work(where) and not kept:
                free.setdefault(where.axes, []).append(where)
    return Program(tuple(lines), any(target.adds for target in targets), storage, names.views, constants, inputs)


def _is_work(where: Storage | None) -> bool:
    return where is not None and where.kind == "work"
