"""Kernels: generated functions with their documentation, and the same bound to one problem's numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sympy import Symbol

from ...theory.result import Result
from .graph import Node, Places
from .names import GIVEN, RESULT, STATE
from .prepare import Preparation
from .printer import ArrayCall, array_call, generated, source_of
from .program import Program

Expr = Any
Floats = NDArray[np.float64]
# For given sizes: the result array, and the output arrays as views of it.
Layout = Callable[[Mapping[str, int]], tuple[Floats, dict[str, Floats]]]


@dataclass(frozen=True, repr=False)
class Kernel(Result):
    """A generated function of a flat state vector.

    ``bind`` evaluates once what depends on parameters only; the bound kernel maps a state to the result.
    ``source`` is the Python text of both stages.
    """

    name: str
    program: Program
    state: tuple[Node, ...]
    layout: Layout

    @property
    def in_brief(self) -> str:
        return f"{self.name}, {len(self.program.lines)} calls of NumPy"

    @cached_property
    def _preparation(self) -> Preparation:
        return Preparation(self.program.constants)

    @property
    def parameters(self) -> dict[str, tuple[str, ...]]:
        """Parameter name → the names of its axes' ranges, sorted by name."""
        nodes = sorted(self._preparation.parameters.values(), key=lambda node: node.detail)
        return {node.detail: tuple(map(str, node.axes)) for node in nodes}

    @cached_property
    def prepare(self) -> Callable[..., Any]:
        """Parameters → constants of the run stage."""
        stage = self._preparation
        names = sorted(stage.parameters)
        lines = [f"{name}: shape {_shape_text(stage.parameters[name].axes)}" for name in names]
        doc = f"Constants of {self.name} from its parameters.\n\nArguments, in order:\n" + _listed(lines)
        return generated(names, stage.assignments, stage.results, doc)

    @cached_property
    def run(self) -> Callable[..., Any]:
        """The run stage: brings the given state into memory, computes in place and returns the result."""
        entry = ArrayCall(self.program.entry, [GIVEN], STATE)
        clear = [(RESULT, ArrayCall("positive", ["0.0"], RESULT))] if self.program.accumulates else []
        lines = [(line.name, array_call(line)) for line in self.program.lines]
        return generated((*self.arrays, GIVEN), [(STATE, entry), *clear, *lines], RESULT, self.doc)

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays that the run stage works with, in the order of its arguments."""
        program = self.program
        names = (*program.inputs, *program.constants, *program.storage, *(view.name for view in program.views))
        return (*dict.fromkeys(names), STATE, RESULT)

    @property
    def doc(self) -> str:
        """Argument order and shapes of the run stage."""
        program = self.program
        read = "{}" if program.entry == "positive" else f"{program.entry} of {{}}"
        lines = [
            f"{name}: {read.format(f'the state {leaf.detail}')}, shape {_shape_text(leaf.axes)}, a view of {STATE}"
            for name, leaf in program.inputs.items()
        ]
        lines += [f"{name}: constant, shape {_shape_text(node.axes)}" for name, node in program.constants.items()]
        lines += [f"{name}: {where.kind}, shape {_shape_text(where.axes)}" for name, where in program.storage.items()]
        lines += [f"{view.name}: view of {view.of}" for view in program.views]
        order = ", ".join(f"{node.detail} {_shape_text(node.axes)}" for node in self.state) or "nothing"
        lines += [f"{STATE}: work, flat; {RESULT}: the outputs, flat or in one matrix"]
        lines += [f"{GIVEN}: the state as the caller has it, flat: {order}, one after the other"]
        return f"The {self.name}, computed in place.\n\nArguments, in order:\n" + _listed(lines)

    @property
    def source(self) -> str:
        """Both generated functions as Python text: first the constants, then the run stage."""
        return f"{source_of(self.prepare, 'constants')}\n{source_of(self.run, self.name)}"

    def bind(self, values: Mapping[str, ArrayLike]) -> BoundKernel:
        """Fix the parameters.

        Parameters
        ----------
        values
            Name → number or array, by the symbols' names; the sizes (``I``, ``H``) are among them.

        Raises ``KeyError`` naming a missing parameter, ``ValueError`` for a wrong shape.
        """
        sizes = _sizes(self.program, self.state, self._preparation.parameters.values(), values)
        arguments = {}
        for name, node in sorted(self._preparation.parameters.items()):
            if node.detail not in values:
                raise KeyError(f"no value for the parameter {node.detail}, shape {_shape_text(node.axes)}")
            array = np.asarray(values[node.detail], dtype=np.float64)
            wanted = tuple(length(axis, sizes) for axis in node.axes)
            if array.shape != wanted:
                raise ValueError(f"the parameter {node.detail} must have shape {wanted}, got {array.shape}")
            arguments[name] = array
        return BoundKernel(self, sizes, arguments)

    def constants(self, arguments: Mapping[str, Floats]) -> dict[str, Any]:
        """The constants of the run stage by name, from checked parameters."""
        return dict(zip(self._preparation.results, self.prepare(**arguments), strict=True))

    def argument(self, parameter: str) -> str:
        """Under which name `prepare` takes a parameter; ``KeyError`` where it takes none of that name."""
        found = {node.detail: name for name, node in self._preparation.parameters.items()}
        return found[parameter]


class BoundKernel:
    """A kernel with its parameters in place.

    It may be called from several threads, and while another call of it goes on: each call works in memory of its own,
    which a later one uses again.
    """

    def __init__(self, kernel: Kernel, sizes: Mapping[str, int], arguments: Mapping[str, Floats]) -> None:
        self.kernel = kernel
        self._sizes, self._arguments = sizes, arguments
        self._constants = self._computed(arguments)
        self._shapes = [tuple(length(axis, sizes) for axis in node.axes) for node in kernel.state]
        self._size = sum(map(prod, self._shapes))
        self._spare: list[_Memory] = []  # that no call works in; taking one and giving it back are atomic

    def __repr__(self) -> str:
        return f"BoundKernel({self.kernel.name}, {self._size} variables)"

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return BoundKernel, (self.kernel, self._sizes, self._arguments)

    @property
    def size(self) -> int:
        """Length of the flat state."""
        return self._size

    @property
    def arrays(self) -> dict[str, Any]:
        """New memory with constants and views as the run stage works with them, by name."""
        return self._memory().arrays

    def moved(self, values: Mapping[str, Floats]) -> BoundKernel:
        """The same with other values of some parameters (unchecked, of the same shapes), in the same memory."""
        found = object.__new__(BoundKernel)
        found.__dict__.update(self.__dict__)
        found._arguments = {
            **self._arguments,
            **{self.kernel.argument(name): value for name, value in values.items()},
        }
        found._constants = self._computed(found._arguments)
        return found

    def evaluate(self, state: Floats, factor: float | None = None) -> Floats:
        """The result for a flat state of this length (unchecked), times ``factor``, as a new array."""
        try:
            memory = self._spare.pop()
        except IndexError:
            memory = self._memory()
        if memory.constants is not self._constants:
            memory.take(self._constants)
        result = memory.run(state)
        found: Floats = result.copy() if factor is None else result * factor
        self._spare.append(memory)
        return found

    def rows(self, states: Floats) -> Floats:
        """The results for states (N, n), one below the other."""
        return np.stack([self.evaluate(state) for state in states])

    def __call__(self, state: ArrayLike) -> Floats:
        """The result for a flat state, as a new array."""
        array = np.asarray(state, dtype=np.float64)
        if array.shape != (self._size,):
            raise ValueError(f"the state must have shape ({self._size},), got {array.shape}")
        return self.evaluate(array)

    def _computed(self, arguments: Mapping[str, Floats]) -> dict[str, Floats]:
        with np.errstate(all="ignore"):  # what overflows is seen in the results
            return {name: np.asarray(value) for name, value in self.kernel.constants(arguments).items()}

    def _memory(self) -> _Memory:
        program, sizes = self.kernel.program, self._sizes
        cuts = np.cumsum([0, *map(prod, self._shapes)])
        state = np.zeros(self._size)
        parts = {
            node.number: state[start:stop].reshape(shape)
            for node, shape, start, stop in zip(self.kernel.state, self._shapes, cuts, cuts[1:], strict=False)
        }
        result, outputs = self.kernel.layout(sizes)
        own = {name: np.array(value) for name, value in self._constants.items()}
        arrays: dict[str, Any] = {**own, **outputs, STATE: state, RESULT: result}
        arrays |= {name: parts[leaf.number] for name, leaf in program.inputs.items()}
        work: dict[int, Floats] = {}
        for name, where in program.storage.items():
            if where.kind == "work":
                if where.number not in work:
                    work[where.number] = np.zeros([length(axis, sizes) for axis in where.axes])
                arrays[name] = work[where.number]
        for name, where in program.storage.items():
            if where.kind == "output":
                arrays[name] = list(outputs.values())[where.number]
        for view in program.views:
            arrays[view.name] = make_view(arrays[view.of], view.places)
        return _Memory(self.kernel, {name: arrays[name] for name in self.kernel.arrays}, self._constants)


class _Memory:
    """What one call at a time works in: arrays and views of the run stage, and the constants that they were given."""

    def __init__(self, kernel: Kernel, arrays: dict[str, Any], constants: Mapping[str, Floats]) -> None:
        self.arrays, self.constants = arrays, constants
        self.run: Callable[[Floats], Floats] = partial(kernel.run, *arrays.values())

    def take(self, constants: Mapping[str, Floats]) -> None:
        for name, value in constants.items():
            if value is not self.constants[name]:  # a matrix of parameters stays where it is
                np.copyto(self.arrays[name], value)
        self.constants = constants


def make_view(array: Floats, places: Places) -> Floats:
    """The view whose axes walk along the given axes of ``array`` (several: a diagonal; none: a new axis)."""
    letters = [""] * array.ndim
    out = ""
    for letter, place in zip("abcdefghijklmnop", places, strict=False):
        for axis in place:
            letters[axis] = letter
        out += letter if place else ""
    viewed: Floats = np.einsum(f"{''.join(letters)}->{out}", array)
    return np.expand_dims(viewed, tuple(axis for axis, place in enumerate(places) if not place))


def _sizes(
    program: Program, state: Sequence[Node], parameters: Iterable[Node], values: Mapping[str, ArrayLike]
) -> dict[str, int]:
    axes = [axis for node in (*state, *parameters, *program.constants.values()) for axis in node.axes]
    axes += [axis for where in program.storage.values() for axis in where.axes]
    sizes = {}
    for name in sorted({str(axis) for axis in axes if isinstance(axis, Symbol)}):
        if name not in values:
            raise KeyError(f"no value for the size {name}")
        size = float(np.asarray(values[name], dtype=np.float64))
        if size < 1 or size != int(size):
            raise ValueError(f"the size {name} must be a positive integer, got {size:g}")
        sizes[name] = int(size)
    return sizes


def length(axis: Expr, sizes: Mapping[str, int]) -> int:
    """The length of an axis: its own number, or the size of that name."""
    return sizes[str(axis)] if isinstance(axis, Symbol) else int(axis)


def _shape_text(axes: Sequence[Expr]) -> str:
    if not axes:
        return "()"
    return f"({', '.join(map(str, axes))}{',' if len(axes) == 1 else ''})"


def _listed(lines: Sequence[str]) -> str:
    return "\n".join(f"    {line}" for line in lines) or "    none"
