"""Owns kernels: generated functions with their documentation, and the same bound to one problem's numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .graph import Node, Places
from .prepare import Preparation
from .printer import array_call, generated, source_of
from .program import Program

Expr = Any
Floats = NDArray[np.float64]
# For given sizes: the result array, and the output arrays as views of it.
Layout = Callable[[Mapping[str, int]], tuple[Floats, dict[str, Floats]]]


@dataclass(frozen=True)
class Kernel:
    """A generated function of a flat state vector.

    ``bind`` evaluates once what depends on parameters only; the bound kernel maps a state to the result.
    ``source`` is the Python text of both stages.
    """

    name: str
    program: Program
    state: tuple[Node, ...]
    layout: Layout

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
        """The run stage: writes its results into the outputs."""
        return generated(
            self._run_arguments, [(line.name, array_call(line)) for line in self.program.lines], (), self.doc
        )

    @property
    def _run_arguments(self) -> tuple[str, ...]:
        arrays = (*self.program.inputs, *self.program.constants, *self.program.storage)
        return tuple(dict.fromkeys((*arrays, *(view.name for view in self.program.views))))

    @property
    def doc(self) -> str:
        """Argument order and shapes of the run stage."""
        program = self.program
        lines = [f"{name}: state, shape {_shape_text(node.axes)}" for name, node in program.inputs.items()]
        lines += [f"{name}: constant, shape {_shape_text(node.axes)}" for name, node in program.constants.items()]
        lines += [f"{name}: {where.kind}, shape {_shape_text(where.axes)}" for name, where in program.storage.items()]
        lines += [f"{view.name}: view of {view.of}" for view in program.views]
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
            wanted = tuple(sizes[str(axis)] for axis in node.axes)
            if array.shape != wanted:
                raise ValueError(f"the parameter {node.detail} must have shape {wanted}, got {array.shape}")
            arguments[name] = array
        constants = dict(zip(self._preparation.results, self.prepare(**arguments), strict=True))
        return BoundKernel(self, sizes, constants)


class BoundKernel:
    """A kernel with parameters, memory and views in place; not safe to share between threads."""

    def __init__(self, kernel: Kernel, sizes: Mapping[str, int], constants: Mapping[str, Any]) -> None:
        shapes = [tuple(sizes[str(axis)] for axis in node.axes) for node in kernel.state]
        lengths = [int(np.prod(shape)) for shape in shapes]
        self.kernel = kernel
        self._state = np.zeros(sum(lengths))
        self._result, outputs = kernel.layout(sizes)
        arrays: dict[str, Any] = {**constants, **outputs}
        cuts = np.cumsum([0, *lengths])
        by_node = {node.number: slice(cuts[n], cuts[n + 1]) for n, node in enumerate(kernel.state)}
        for name, node in kernel.program.inputs.items():
            shape = tuple(sizes[str(axis)] for axis in node.axes)
            arrays[name] = self._state[by_node[node.number]].reshape(shape)
        memory: dict[int, Floats] = {}
        for name, where in kernel.program.storage.items():
            if where.kind == "output":
                arrays[name] = list(outputs.values())[where.number]
            else:
                shape = tuple(sizes[str(axis)] if axis != 1 else 1 for axis in where.axes)
                arrays[name] = memory.setdefault(where.number, np.zeros(shape))
        for view in kernel.program.views:
            arrays[view.name] = make_view(arrays[view.of], view.places)
        self._arguments = [arrays[name] for name in kernel._run_arguments]
        self._run = kernel.run
        self._accumulates = kernel.program.accumulates

    @property
    def size(self) -> int:
        """Length of the flat state."""
        return len(self._state)

    def evaluate(self, state: Floats) -> Floats:
        """The result for a flat state, in an array that the next call overwrites."""
        self._state[...] = state
        if self._accumulates:
            self._result.fill(0.0)
        self._run(*self._arguments)
        return self._result

    def __call__(self, state: ArrayLike) -> Floats:
        """The result for a flat state, as a new array."""
        return self.evaluate(np.asarray(state, dtype=np.float64)).copy()


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
    program: Program, state: Sequence[Node], parameters: Sequence[Node] | Any, values: Mapping[str, ArrayLike]
) -> dict[str, int]:
    axes = [axis for node in (*state, *parameters) for axis in node.axes]
    axes += [axis for where in program.storage.values() for axis in where.axes]
    sizes = {}
    for axis in axes:
        if axis == 1:
            continue
        if str(axis) not in values:
            raise KeyError(f"no value for the size {axis}")
        sizes[str(axis)] = int(np.asarray(values[str(axis)]))
    return sizes


def _shape_text(axes: Sequence[Expr]) -> str:
    if not axes:
        return "()"
    return f"({', '.join(map(str, axes))}{',' if len(axes) == 1 else ''})"


def _listed(lines: Sequence[str]) -> str:
    return "\n".join(f"    {line}" for line in lines) or "    none"
