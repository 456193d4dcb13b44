"""Programs: a schedule of array operations with their memory, ready to be printed.

Memory is planned once: elementwise results go in place where their operand dies, freed arrays are used again
(temporaries, not arithmetic, are what costs in NumPy), and every view is made when the program is bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sympy import sympify

from .graph import Node, Operand, Value, plain
from .names import Names, View

Expr = Any

UNARY = frozenset({"exp", "log", "sqrt", "square", "reciprocal"})
ELEMENTWISE = UNARY | {"multiply", "add", "subtract", "power"}


@dataclass(frozen=True)
class Storage:
    """A piece of memory: ``kind`` is "output" or "work"; ``axes`` are its ranges."""

    kind: str
    number: int
    axes: tuple[Expr, ...]


@dataclass(frozen=True)
class Line:
    """``name = operation(arguments, out=name)``."""

    name: str
    operation: str
    arguments: tuple[str, ...]
    detail: str = ""


@dataclass(frozen=True)
class Target:
    """Where a value goes: an axis order of the array ``output``, overwritten or added to."""

    output: str
    value: Value
    order: tuple[Any, ...]
    adds: bool = False


@dataclass(frozen=True)
class Program:
    """The run stage: lines in order, and what to allocate and view before.

    The caller's state is first brought into the program's own memory by the function ``entry``, all of it at once;
    ``inputs`` are the names under which its parts are then known, and which part.  ``accumulates`` says that some
    lines add to the outputs, which must be zero before.
    """

    lines: tuple[Line, ...]
    accumulates: bool
    storage: Mapping[str, Storage]
    views: tuple[View, ...]
    constants: Mapping[str, Node]
    inputs: Mapping[str, Node]
    entry: str


Step = Node | Target


class Schedule:
    """Nodes and targets in order of execution, each node's last use and its number of uses."""

    def __init__(self, targets: Sequence[Target], state: Sequence[Node]) -> None:
        self.steps: list[Step] = []
        self._seen: set[int] = set()
        for target in targets:
            self._visit(target.value.node)
            self.steps.append(target)
        self.entry, entered = self._entry(state)
        self.inputs = dict(entered)
        self.steps = [step for step in self.steps if step not in self.inputs]
        self.last: dict[int, int] = {}
        self.uses: dict[int, int] = {}
        for place, step in enumerate(self.steps):
            for node in read_by(step):
                self.last[node.number] = place
                self.uses[node.number] = self.uses.get(node.number, 0) + 1

    def _visit(self, node: Node) -> None:
        if node.number in self._seen:
            return
        self._seen.add(node.number)
        for operand in node.operands:
            self._visit(operand.node)
        if node.stage == "run" and node.operation != "leaf":
            self.steps.append(node)

    def _entry(self, state: Sequence[Node]) -> tuple[str, list[tuple[Node, Node]]]:
        """The one function through which all of the state is read, if there is one, and what it makes of each leaf."""
        readers: dict[int, list[Step]] = {leaf.number: [] for leaf in state}
        for step in self.steps:
            for node in read_by(step):
                if node.number in readers:
                    readers[node.number].append(step)
        only = [steps[0] for steps in readers.values() if len(steps) == 1]
        through = [step for step in only if isinstance(step, Node) and step.operation in UNARY]
        plainly = all(step.operands[0].is_plain for step in through)
        operations = {step.operation for step in through}
        if state and len(through) == len(state) and len(operations) == 1 and plainly:
            return operations.pop(), list(zip(through, state, strict=True))
        return "positive", [(leaf, leaf) for leaf in state if readers[leaf.number]]


def read_by(step: Step) -> list[Node]:
    """The nodes that a step reads."""
    return [step.value.node] if isinstance(step, Target) else [operand.node for operand in step.operands]


class _Memory:
    """Which storage each node is computed in."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.place: dict[int, Storage] = {}
        self._free: dict[tuple[Expr, ...], list[Storage]] = {}
        self._count = 0

    def into_output(self, node: Node, where: Storage) -> None:
        """Let a value, and the chain of operations on whole arrays before it, be computed in an output."""
        self.place[node.number] = where
        for operand in node.operands if node.operation in ELEMENTWISE else ():
            inner = operand.node
            fits = operand.is_plain and inner.axes == node.axes and self.schedule.uses[inner.number] == 1
            if fits and self._computed(inner):
                self.into_output(inner, where)
                return

    def _computed(self, node: Node) -> bool:
        """Whether a run-stage line computes the node, in memory that is not yet decided."""
        known = node.number in self.place or node in self.schedule.inputs
        return node.stage == "run" and node.operation != "leaf" and not known

    def takes_output(self, target: Target, axes: tuple[Expr, ...], first_addition: int) -> bool:
        """Whether a target's value can be computed in its output and stays there as long as it is read."""
        node = target.value.node
        whole = target.value.along(target.order).places == plain(node) and node.axes == axes
        return whole and not target.adds and self._computed(node) and self.schedule.last[node.number] <= first_addition

    def allot(self, node: Node, step: int) -> Storage:
        """The storage for a node's result: its output, a dying operand's, a freed one or a new one."""
        if node.number not in self.place:
            in_place = [
                self.place[operand.node.number]
                for operand in node.operands
                if node.operation in ELEMENTWISE
                and operand.is_plain
                and operand.node.axes == node.axes
                and self.schedule.last[operand.node.number] == step
                and self._is_work(operand.node)
            ]
            if in_place:
                self.place[node.number] = in_place[0]
            elif self._free.get(node.axes):
                self.place[node.number] = self._free[node.axes].pop()
            else:
                self.place[node.number] = Storage("work", self._count, node.axes)
                self._count += 1
        return self.place[node.number]

    def release(self, item: Step, step: int) -> None:
        """Free the storage of what is read for the last time at this step."""
        own = self.place[item.number] if isinstance(item, Node) else None
        for node in {dead.number: dead for dead in read_by(item)}.values():
            if self.schedule.last[node.number] == step and self._is_work(node) and self.place[node.number] != own:
                self._free.setdefault(node.axes, []).append(self.place[node.number])

    def _is_work(self, node: Node) -> bool:
        return node.number in self.place and self.place[node.number].kind == "work"


def plan(
    targets: Sequence[Target],
    state: Sequence[Node],
    known_names: Mapping[int, str],
    outputs: Mapping[str, tuple[Expr, ...]],
) -> Program:
    """The program that computes ``targets`` from ``state``; ``outputs`` are the output arrays' names and axes."""
    schedule = Schedule(targets, state)
    memory = _Memory(schedule)
    names = Names(known_names, outputs)
    storage = {name: Storage("output", number, axes) for number, (name, axes) in enumerate(outputs.items())}
    adding = (place for place, step in enumerate(schedule.steps) if isinstance(step, Target) and step.adds)
    first_addition = next(adding, len(schedule.steps))
    direct = set()
    for place, target in enumerate(targets):
        if memory.takes_output(target, outputs[target.output], first_addition):
            memory.into_output(target.value.node, storage[target.output])
            direct.add(place)

    constants: dict[str, Node] = {}
    inputs = {names.node(node): leaf for node, leaf in schedule.inputs.items()}

    def name_of(operand: Operand) -> str:
        node = operand.node
        if node.operation == "number":
            return repr(float(sympify(node.detail)))
        name = names.node(node)
        if node.stage == "bind":
            constants[name] = node
        return names.view(name, operand.places, plain(node))

    lines: list[Line] = []
    done = 0
    for step, item in enumerate(schedule.steps):
        if isinstance(item, Node):
            arguments = tuple(name_of(operand) for operand in item.operands)
            name = names.node(item)
            storage[name] = memory.allot(item, step)
            lines.append(Line(name, item.operation, arguments, item.detail))
        else:
            if done not in direct:
                source = name_of(item.value.along(item.order))
                arguments = (item.output, source) if item.adds else (source,)
                lines.append(Line(item.output, "add" if item.adds else "positive", arguments))
            done += 1
        memory.release(item, step)
    adds = any(target.adds for target in targets)
    return Program(tuple(lines), adds, storage, names.views, constants, inputs, schedule.entry)
