"""Loops: a graph of array operations written as one Python text of plain ``for`` loops over scalars.

The text needs nothing but NumPy's exp, log and sqrt, so that it runs as it is (slowly); it is in the language that
`headflow.numerics.compiler` makes fast.  Sizes are names that whoever runs it gives: ``I`` and ``H`` in
``for h in range(H)``.  All arrays are flat; a loop reads ``work[C + h * H + k]``, where ``C`` is the place at which
that array begins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, Final

from sympy import Add, Mul, S, Symbol, expand_mul, sympify

from ...theory.indexed.nodes import name_of
from .compiled import CompiledSystem, Parts
from .graph import Node, Operand
from .loop_nodes import (
    CONTRACTIONS,
    LETTERS,
    Indices,
    constants_of,
    contracted,
    inlined,
    leaves,
    letters_of,
    steps_of,
    uses_of,
)
from .names import unique
from .program import Target

Expr = Any

FUNCTIONS: Final = ("velocity", "jacobian", "loss", "weights")
_ARGUMENTS: Final = ("values", "y", "work", "out")
_RESERVED: Final = frozenset(
    {*FUNCTIONS, *_ARGUMENTS, "constants", "sizes", "layout", "total", "entry", "range", "exp", "log"}
)
_CALLS: Final = {"exp": "exp({})", "log": "log({})", "sqrt": "sqrt({})", "reciprocal": "1.0 / ({})"}
_INFIX: Final = {"multiply": "*", "add": "+", "subtract": "-"}


@dataclass(frozen=True)
class LoopModule:
    """The generated text.

    Attributes
    ----------
    source
        Python text of ``sizes``, ``constants``, ``velocity``, ``jacobian``, ``loss`` and ``weights``.
    size_names
        The names that it expects to be known: the ranges of the indices, as integers.
    parameters
        Parameter name → names of its axes' ranges, in the order in which ``values`` begins with them.
    """

    source: str
    size_names: tuple[str, ...]
    parameters: Mapping[str, tuple[str, ...]]


def loop_module(compiled: CompiledSystem) -> LoopModule:
    """Velocity, Jacobian, loss and weights of one system as loops (weights: μ and ω, where it has them)."""
    return _Writer(compiled).module()


@dataclass
class _Nest:
    """Loops over some indices, what they compute (at which indices) and the statements inside."""

    loops: tuple[tuple[str, Expr], ...]
    computed: dict[int, Indices]
    lines: list[str]


class _Writer:
    """Writes one module; what the four functions share of the parameters is computed once, in ``constants``."""

    def __init__(self, compiled: CompiledSystem) -> None:
        self.system = compiled.system
        self.lowering = compiled.lowering()
        self.parts: dict[str, Parts] = {
            "velocity": compiled.velocity_parts(self.lowering),
            "jacobian": compiled.jacobian_parts(self.lowering),
            "loss": compiled.loss_parts(self.lowering),
        }
        names = {str(name_of(variable)) for variable in self.system.state}
        names |= {str(item.base.label) for item in self.system.definitions if item.indices}
        if {"mu", "omega"} <= names:
            self.parts["weights"] = compiled.named_parts(self.lowering, ("mu", "omega"))
        ranges = {axis for axes in compiled.ranges.values() for axis in axes if isinstance(axis, Symbol)}
        self.sizes = tuple(sorted((str(size) for size in ranges), key=lambda name: (name != "I", name)))
        self.known = self.lowering.names()
        self.names: dict[int, str] = {}
        pairs = {first + second for first, second in product("".join(LETTERS.values()), repeat=2)}
        self.taken: set[str] = {*_RESERVED, *self.sizes, *pairs}
        self.lines: list[str] = []
        self.depth = 0
        state = self.lowering.state_nodes()
        self.state_places = {
            node.number: Add(*(_length(other.axes) for other in state[:place])) for place, node in enumerate(state)
        }
        self.state_size = Add(*(_length(node.axes) for node in state))
        self.constant_places: dict[int, Expr] = {}
        self.constants_size: Expr = S.Zero
        self.reads: set[tuple[int, Indices]] = set()  # of working memory, by the statement being written

    def module(self) -> LoopModule:
        ordered = {name: steps_of(parts.targets, "run") for name, parts in self.parts.items()}
        uses = uses_of(list(self.parts.values()))
        constant_steps = constants_of(ordered.values(), self.parts.values())
        parameters = sorted(
            {node.number: node for step in constant_steps for node in leaves(step)}.values(), key=lambda n: n.detail
        )
        for node in parameters:
            self._place_constant(node)
        kept = [node for node in constant_steps if node.operation not in ("leaf", "number")]
        kept = [node for node in kept if not inlined(node, uses)]
        for node in kept:
            self._place_constant(node)
        self._function("constants(values)", "What depends on the parameters only, written behind them.")
        with self._indented():
            for node in kept:
                letters = letters_of(node.axes)
                place = f"values[{self._entry(node, letters, self.constant_places)}]"
                with self._loops(tuple(zip(letters, node.axes, strict=True))):
                    for line in self._statements(node, place, uses):
                        self._line(line)
        work_size: Expr = S.Zero
        for name, parts in self.parts.items():
            work_size = _larger(work_size, self._run_function(name, parts, ordered[name]))
        totals = (self.state_size, self.constants_size, work_size)
        header = self._header([node.detail for node in parameters], totals)
        return LoopModule(
            "\n".join([*header, *self.lines, ""]),
            self.sizes,
            {node.detail: tuple(map(str, node.axes)) for node in parameters},
        )

    def _header(self, parameters: Sequence[str], totals: Sequence[Expr]) -> list[str]:
        state = ", ".join(str(name_of(variable)) for variable in self.system.state)
        what = f"{self.system.parametrisation}, {self.system.closure} closure, {self.system.coordinates} coordinates"
        return [
            f'"""The flow {what}, as loops; generated.',
            "",
            f"y: {state}, each row by row; values: {', '.join(parameters)}, then constants; work: memory.",
            "Time = learning rate × steps; the loss has no ½.",
            '"""',
            "",
            "from __future__ import annotations",
            "",
            "from numpy import exp, log, sqrt",
            "",
            "",
            "def sizes():",
            '    """Lengths of y, of values and of work."""',
            f"    return {', '.join(_text(total) for total in totals)}",
        ]

    def _place_constant(self, node: Node) -> None:
        self.constant_places[node.number] = self.constants_size
        self.constants_size += _length(node.axes)

    def _run_function(self, name: str, parts: Parts, steps: Sequence[Node]) -> Expr:
        """Write one function of the state; returns the length of its working memory."""
        arguments = ", ".join(f"{argument}: Vector" for argument in _ARGUMENTS)
        self._function(f"{name}({arguments}) -> None", _DOCS[name])
        uses = uses_of([parts])
        size: Expr = S.Zero
        kept = [node for node in steps if not inlined(node, uses)]
        with self._indented():
            for node in kept:
                self._line(f"{self._name(node)} = {_text(size)}")
                size += _length(node.axes)
            nests: list[_Nest] = []
            for node in kept:
                letters = letters_of(node.axes)
                place = f"work[{self._entry(node, letters, None)}]"
                self._join(nests, letters, node.axes, node.number, partial(self._statements, node, place, uses))
            self._write(nests)
            whole = [target for target in parts.targets if not target.adds]
            added = [target for target in parts.targets if target.adds]
            if name == "jacobian" and len(whole) < len(self.system.state) ** 2:  # blocks that are zero, off a diagonal
                self._line(f"for entry in range({_text(self.state_size**2)}):")
                with self._indented():
                    self._line("out[entry] = 0.0")
            for targets in (whole, added):
                nests = []
                for target in targets:
                    axes = parts.outputs[target.output]
                    self._join(nests, letters_of(axes), axes, None, partial(self._target_line, target, parts, uses))
                self._write(nests)
        return size

    def _join(
        self,
        nests: list[_Nest],
        letters: Indices,
        axes: Sequence[Expr],
        number: int | None,
        statements: Callable[[], list[str]],
    ) -> None:
        """Put statements into the first nest of loops over the same indices where all that they read is known."""
        self.reads = set()
        lines = statements()
        loops = tuple(sorted(zip(letters, axes, strict=True), key=lambda pair: (str(pair[1]) != "I", pair[0])))
        earliest = 0
        for place, nest in enumerate(nests):
            for read, indices in self.reads:
                if read in nest.computed:
                    # Within one nest an entry is known as soon as the same indices have passed its statement.
                    same = nest.loops == loops and nest.computed[read] == indices
                    earliest = max(earliest, place if same else place + 1)
        chosen = next((nest for nest in nests[earliest:] if nest.loops == loops), None)
        if chosen is None:
            chosen = _Nest(loops, {}, [])
            nests.append(chosen)
        chosen.lines += lines
        if number is not None:
            chosen.computed[number] = letters

    def _write(self, nests: Sequence[_Nest]) -> None:
        for nest in nests:
            letters = [letter for letter, _ in nest.loops]
            text = "\n".join(nest.lines)
            with self._loops(nest.loops):
                # The place in a row-by-row array, where it is used often, gets a name such as ih.
                for first, second in product(letters, letters):
                    text, count = re.subn(rf"\b{first} \* H \+ {second}\b(?! \*)", f"{first}{second}", text)
                    if count:
                        self._line(f"{first}{second} = {first} * H + {second}")
                for line in text.split("\n"):
                    self._line(line)

    def _target_line(self, target: Target, parts: Parts, uses: Mapping[int, int]) -> list[str]:
        """What writes or adds one entry of an output."""
        letters = letters_of(parts.outputs[target.output])
        address = parts.addresses[target.output]
        terms = [] if address.offset == 0 else [_text(address.offset)]
        terms += [
            letter if stride == 1 else f"{letter} * {_factor(stride)}"
            for letter, stride in zip(letters, address.strides, strict=True)
        ]
        sign = "+=" if target.adds else "="
        value = self._read(target.value.along(target.order), letters, uses)
        return [f"out[{' + '.join(terms) or '0'}] {sign} {value}"]

    def _statements(self, node: Node, target: str, uses: Mapping[int, int]) -> list[str]:
        """What computes one entry of a node."""
        letters = letters_of(node.axes)
        if node.operation not in CONTRACTIONS:
            return [f"{target} = {self._scalar(node, letters, uses)}"]
        views, summed = contracted(node, letters)
        factors = [
            self._read(operand, view, uses, inner=True) for operand, view in zip(node.operands, views, strict=True)
        ]
        indent = ["    " * depth for depth in range(len(summed) + 1)]
        return [
            "total = 0.0",
            *(f"{indent[n]}for {letter} in range({_text(axis)}):" for n, (letter, axis) in enumerate(summed.items())),
            f"{indent[-1]}total += {' * '.join(factors)}",
            f"{target} = total",
        ]

    def _scalar(self, node: Node, indices: Indices, uses: Mapping[int, int]) -> str:
        """One entry of an elementwise node as an expression."""
        operation = node.operation
        if operation == "eye":
            return f"1.0 if {indices[0]} == {indices[1]} else 0.0"
        if operation == "unit":
            return f"1.0 if {indices[0]} == {int(node.detail) - 1} else 0.0"
        reads = [self._read(operand, indices, uses, inner=True) for operand in node.operands]
        if operation in _INFIX:
            return f" {_INFIX[operation]} ".join(reads)
        if operation in _CALLS:
            return _CALLS[operation].format(reads[0])
        if operation == "square":
            return f"{reads[0]} ** 2"
        if operation == "power":
            return f"{reads[0]} ** {_number(node.detail)}"
        raise TypeError(f"no loop is known for the operation {operation}")

    def _read(self, operand: Operand, view: Indices, uses: Mapping[int, int], inner: bool = False) -> str:
        """One entry of an operand, at the indices of its view."""
        node = operand.node
        indices = list("0" * len(node.axes))
        for index, axes in zip(view, operand.places, strict=True):
            for axis in axes:
                indices[axis] = index
        if node.operation == "number":
            return _number(node.detail)
        if node.operation == "leaf" and node.number in self.state_places:
            return f"y[{self._entry(node, tuple(indices), self.state_places)}]"
        if node.number in self.constant_places:
            return f"values[{self._entry(node, tuple(indices), self.constant_places)}]"
        if inlined(node, uses):
            text = self._scalar(node, tuple(indices), uses)
            return f"({text})" if inner and node.operation not in ("exp", "log", "sqrt") else text
        self.reads.add((node.number, tuple(indices)))
        return f"work[{self._entry(node, tuple(indices), None)}]"

    def _entry(self, node: Node, indices: Indices, places: Mapping[int, Expr] | None) -> str:
        """Where an entry lies; working memory is addressed by name."""
        terms = [self._name(node)] if places is None else []
        if places is not None and places[node.number] != 0:
            terms = [_text(places[node.number])]
        for axis, index in enumerate(indices):
            stride = _length(node.axes[axis + 1 :])
            if index != "0":
                terms.append(index if stride == 1 else f"{index} * {_factor(stride)}")
        return " + ".join(terms) or "0"

    def _name(self, node: Node) -> str:
        if node.number not in self.names:
            wanted = self.known.get(node.number, f"t{node.number}")
            # Single letters are loop indices.
            name = unique(f"{wanted}_" if len(wanted) == 1 and wanted.islower() else wanted, self.taken)
            self.taken.add(name)
            self.names[node.number] = name
        return self.names[node.number]

    def _function(self, head: str, doc: str) -> None:
        self.lines += ["", "", f"def {head}:", f'    """{doc}"""']

    def _line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    @contextmanager
    def _indented(self) -> Iterator[None]:
        self.depth += 1
        yield
        self.depth -= 1

    @contextmanager
    def _loops(self, loops: Sequence[tuple[str, Expr]]) -> Iterator[None]:
        before = self.depth
        for letter, axis in loops:
            self._line(f"for {letter} in range({_text(axis)}):")
            self.depth += 1
        yield
        self.depth = before


_DOCS: Final = {
    "velocity": "out: the time derivative of y.",
    "jacobian": "out: the matrix of the derivatives of the velocity by y, row by row.",
    "loss": "out[0]: the loss.",
    "weights": "out: mu, then omega.",
}


def _length(axes: Sequence[Expr]) -> Expr:
    return Mul(*map(sympify, axes))


def _larger(first: Expr, second: Expr) -> Expr:
    """A length that suffices for both."""
    difference = expand_mul(first - second)
    terms = Add.make_args(difference)
    return Add(second, *(term for term in terms if term.as_coeff_Mul()[0] > 0))


def _number(text: str) -> str:
    value = float(sympify(text))
    return repr(value) if value >= 0 else f"({value!r})"


def _text(size: Expr) -> str:
    return str(expand_mul(size)).replace("**", " ** ")


def _factor(size: Expr) -> str:
    text = _text(size)
    return text if text.isidentifier() or text.isdigit() else f"({text})"
