"""The compiled system: velocity, loss, Jacobian and its products of a ReducedSystem as generated functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sympy import Add, Dummy, Indexed, KroneckerDelta, Mul, S, Symbol

from ...theory.flows.system import ReducedSystem
from ...theory.flows.tangent import tangent
from ...theory.indexed import directional_derivative
from ...theory.indexed.monomial import Term
from ...theory.indexed.nodes import delta, indices_of, name_of, substitute
from ...theory.indexed.normal import terms
from ...theory.result import built
from ..runtime.progress import stage
from ..runtime.remade import Remade, part_of
from .kernel import BoundKernel, Kernel, Layout, length
from .lower import Lowering
from .names import unique_names
from .program import Target, plan
from .ranges import axis_ranges

Expr = Any
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Address:
    """Where an output's entries lie in the flat result: ``offset + Σ index · stride``, in the sizes."""

    offset: Expr
    strides: tuple[Expr, ...]


@dataclass(frozen=True)
class Parts:
    """What one generated function computes: the targets in a graph, and where their outputs lie."""

    targets: Sequence[Target]
    outputs: Mapping[str, tuple[Expr, ...]]
    layout: Layout
    addresses: Mapping[str, Address]


class CompiledSystem(Remade):
    """Generated code of one ReducedSystem; each function is made when first asked for."""

    def __init__(self, system: ReducedSystem) -> None:
        self.system = system
        self.ranges = axis_ranges(system)
        self._named: dict[tuple[str, ...], Kernel] = {}

    @part_of
    @stage("compile")
    def velocity(self) -> Kernel:
        """Flat state → flat time derivative."""
        lowering = self.lowering()
        return self._kernel("velocity", lowering, self.velocity_parts(lowering))

    @part_of
    @stage("compile")
    def loss(self) -> Kernel:
        """Flat state → the loss (an array of shape ())."""
        lowering = self.lowering()
        return self._kernel("loss", lowering, self.loss_parts(lowering))

    def lowering(self) -> Lowering:
        """A new graph for this system's expressions; what is lowered into one graph shares its nodes."""
        return Lowering(self.system, self.ranges)

    def velocity_parts(self, lowering: Lowering) -> Parts:
        """The time derivative of each state variable, one after the other."""
        labels = [f"{name_of(variable)}_dot" for variable in self.system.state]
        return self._stacked(lowering, labels, self.system.state, self.system.velocity)

    def loss_parts(self, lowering: Lowering) -> Parts:
        """The loss."""
        target = Target("loss", lowering.expression(self.system.loss, {}), ())
        return Parts([target], {"loss": ()}, _scalar, {"loss": Address(S.Zero, ())})

    @built
    def named(self, names: tuple[str, ...]) -> Kernel:
        """Flat state → the flat values of the named definitions or state variables, one after the other."""
        if names not in self._named:
            lowering = self.lowering()
            self._named[names] = self._kernel(" and ".join(names), lowering, self.named_parts(lowering, names))
        return self._named[names]

    def named_parts(self, lowering: Lowering, names: tuple[str, ...]) -> Parts:
        """The named definitions or state variables, one after the other; ``KeyError`` for an unknown name."""
        heads = {str(item.base.label): item.head for item in self.system.definitions if item.indices}
        heads |= {str(name_of(variable)): variable for variable in self.system.state}
        if missing := [name for name in names if name not in heads]:
            raise KeyError(f"{missing[0]} is neither a state variable nor a definition of this system")
        asked = [heads[name] for name in names]
        return self._stacked(lowering, [f"{name}_out" for name in names], asked, asked)

    def _stacked(
        self, lowering: Lowering, labels: Sequence[str], heads: Sequence[Indexed | Symbol], values: Sequence[Expr]
    ) -> Parts:
        """The values in the shapes of the heads, one after the other in a flat result."""
        outputs = dict(zip(unique_names(labels), (self.ranges[name_of(head)] for head in heads), strict=True))
        targets = [
            Target(out, lowering.expression(value, self._scope(head)), indices_of(head))
            for out, head, value in zip(outputs, heads, values, strict=True)
        ]
        sizes = [_size(axes) for axes in outputs.values()]
        addresses = {
            out: Address(Add(*sizes[:place]), _strides(axes)) for place, (out, axes) in enumerate(outputs.items())
        }
        return Parts(targets, outputs, _blocks(outputs), addresses)

    def _scope(self, head: Indexed | Symbol, indices: Sequence[Symbol] = ()) -> dict[Symbol, Expr]:
        """The ranges of the head's indices (under other names, where given)."""
        return dict(zip(indices or indices_of(head), self.ranges[name_of(head)], strict=True))

    @part_of
    @stage("compile")
    def jacobian(self) -> Kernel:
        """Flat state → the matrix of ∂velocity_a/∂state_b."""
        lowering = self.lowering()
        return self._kernel("Jacobian", lowering, self.jacobian_parts(lowering))

    @part_of
    @stage("compile")
    def jacobian_product(self) -> Kernel:
        """Flat direction → the Jacobian times it; the state is among the parameters: see `BoundKernel.moved`."""
        along = CompiledSystem(tangent(self.system))
        lowering = along.lowering()
        return along._kernel("Jacobian-vector product", lowering, along.velocity_parts(lowering))

    def jacobian_parts(self, lowering: Lowering) -> Parts:
        """The blocks of ∂velocity_a/∂state_b, and the diagonals that add to them."""
        outputs: dict[str, tuple[Expr, ...]] = {}
        targets: list[Target] = []
        views: dict[str, tuple[int, int, str]] = {}
        system = self.system
        pairs = product(enumerate(zip(system.state, system.velocity, strict=True)), enumerate(system.state))
        for (row, (variable, rhs)), (column, other) in pairs:
            aims = tuple(Dummy(index.name, integer=True) for index in indices_of(other))
            for deltas, parts in _by_deltas(_derivative(system, rhs, other, aims), aims).items():
                tied = dict(deltas)
                labels = tuple(tied.get(label, label) for label in (*indices_of(variable), *aims))
                letters = dict(zip(dict.fromkeys(labels), "abcdefgh", strict=False))
                scope = {**self._scope(other, aims), **self._scope(variable)}
                ranges = {label: scope[label] for label in letters}
                value = lowering.sum_of(parts, ranges)
                # The output is viewed in the value's own axis order, so that it can be computed there.
                order = value.labels if set(value.labels) == set(letters) else tuple(letters)
                block = "".join(letters[label] for label in labels)
                name = f"J{row}{column}_{block}"
                outputs[name] = tuple(ranges[label] for label in order)
                views[name] = (row, column, f"{block}->{''.join(letters[label] for label in order)}")
                targets.append(Target(name, value, order, adds=bool(deltas)))
        targets.sort(key=lambda target: target.adds)  # whole blocks are written, diagonals added to them
        axes = [self.ranges[name_of(variable)] for variable in system.state]
        addresses = {name: _matrix_address(axes, *view) for name, view in views.items()}
        return Parts(targets, outputs, _matrix_blocks(axes, views), addresses)

    def _kernel(self, name: str, lowering: Lowering, parts: Parts) -> Kernel:
        state = lowering.state_nodes()
        return Kernel(name, plan(parts.targets, state, lowering.names(), parts.outputs), state, parts.layout)


class JacobianProduct(Remade):
    """The Jacobian as a map of directions, made at one point after the other: `at` computes what all directions share.

    Like `BoundKernel`, and so are the maps, safe to use from several threads.
    """

    def __init__(self, code: CompiledSystem, values: Mapping[str, ArrayLike]) -> None:
        sizes = {name: int(np.asarray(value)) for name, value in values.items() if np.ndim(value) == 0}
        self._shapes = {
            str(name_of(variable)): _shape(code.ranges[name_of(variable)], sizes) for variable in code.system.state
        }
        nowhere = {name: np.zeros(shape) for name, shape in self._shapes.items()}
        with np.errstate(all="ignore"):  # zero need not be a state of the flow
            self._kernel = code.jacobian_product.bind({**values, **nowhere})
        self._moving = set(code.jacobian_product.parameters) & set(nowhere)

    def at(self, state: Floats) -> BoundKernel:
        """Flat direction → the Jacobian at this flat state times it."""
        point, begin = {}, 0
        for name, shape in self._shapes.items():
            end = begin + prod(shape)
            if name in self._moving:
                point[name] = state[begin:end].reshape(shape)
            begin = end
        return self._kernel.moved(point)


@lru_cache(maxsize=64)
@stage("compile")
def compile_system(system: ReducedSystem) -> CompiledSystem:
    """The generated code of a system (made once per session)."""
    return CompiledSystem(system)


def _derivative(
    system: ReducedSystem, rhs: Expr, variable: Indexed | Symbol, aims: Sequence[Dummy]
) -> tuple[Term, ...]:
    def unit(*indices: Expr) -> Expr:
        return Mul(*(delta(a, b) for a, b in zip(indices, aims, strict=True)))

    return terms(directional_derivative(rhs, {name_of(variable): unit}, system.definitions))


def _by_deltas(parts: Sequence[Term], aims: Sequence[Dummy]) -> dict[tuple[tuple[Dummy, Expr], ...], list[Term]]:
    """Terms grouped by what their deltas tie the aimed indices to (an index of the row, another aim), those removed."""
    groups: dict[tuple[tuple[Dummy, Expr], ...], list[Term]] = {}
    for term in parts:
        ties: dict[Dummy, Expr] = {}
        rest = []
        for atom, power in term.factors:
            if not isinstance(atom, KroneckerDelta) or any(entry.is_Integer for entry in indices_of(atom)):
                rest.append((atom, power))
                continue
            first, second = (_tied_to(entry, ties) for entry in indices_of(atom))
            if first in aims:
                ties[first] = second
            elif second in aims:
                ties[second] = first
            else:
                rest.append((delta(first, second), power))
        tied = {aim: _tied_to(aim, ties) for aim in aims if aim in ties}
        factors = tuple((substitute(atom, tied), power) for atom, power in rest)
        moved = Term(term.coefficient, term.bounds, factors, substitute(term.exponent, tied))
        groups.setdefault(tuple(tied.items()), []).append(moved)
    return groups


def _tied_to(index: Expr, ties: Mapping[Dummy, Expr]) -> Expr:
    while index in ties:
        index = ties[index]
    return index


def _shape(axes: tuple[Expr, ...], sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(length(axis, sizes) for axis in axes)


def _scalar(_: Mapping[str, int]) -> tuple[Floats, dict[str, Floats]]:
    result = np.zeros(())
    return result, {"loss": result}


def _blocks(outputs: Mapping[str, tuple[Expr, ...]]) -> Layout:
    """A flat result cut into the outputs, one after the other."""

    def layout(sizes: Mapping[str, int]) -> tuple[Floats, dict[str, Floats]]:
        shapes = {name: _shape(axes, sizes) for name, axes in outputs.items()}
        cuts = np.cumsum([0, *(prod(shape) for shape in shapes.values())])
        result = np.zeros(cuts[-1])
        arrays = {
            name: result[start:stop].reshape(shape)
            for (name, shape), start, stop in zip(shapes.items(), cuts, cuts[1:], strict=False)
        }
        return result, arrays

    return layout


def _matrix_blocks(axes: Sequence[tuple[Expr, ...]], views: Mapping[str, tuple[int, int, str]]) -> Layout:
    """A square matrix; the outputs are its blocks, or the diagonals of blocks that the deltas select."""

    def layout(sizes: Mapping[str, int]) -> tuple[Floats, dict[str, Floats]]:
        shapes = [_shape(entry, sizes) for entry in axes]
        cuts = np.cumsum([0, *map(prod, shapes)])
        result = np.zeros((cuts[-1], cuts[-1]))
        arrays = {}
        for name, (row, column, subscripts) in views.items():
            block = result[cuts[row] : cuts[row + 1], cuts[column] : cuts[column + 1]]
            whole = block.reshape((*shapes[row], *shapes[column]))
            own, viewed = subscripts.split("->")
            arrays[name] = whole if own == viewed else np.einsum(subscripts, whole)  # a view: not so of a scalar
        return result, arrays

    return layout


def _size(axes: Sequence[Expr]) -> Expr:
    return Mul(*axes)


def _strides(axes: Sequence[Expr]) -> tuple[Expr, ...]:
    return tuple(_size(axes[place + 1 :]) for place in range(len(axes)))


def _matrix_address(axes: Sequence[tuple[Expr, ...]], row: int, column: int, subscripts: str) -> Address:
    """Where the entries of a block (or of a diagonal of it) lie in the flat matrix."""
    sizes = [_size(entry) for entry in axes]
    width = Add(*sizes)
    block, order = subscripts.split("->")
    strides = [width * stride for stride in _strides(axes[row])] + list(_strides(axes[column]))
    along = {
        letter: Add(*(step for own, step in zip(block, strides, strict=True) if own == letter)) for letter in order
    }
    return Address(width * Add(*sizes[:row]) + Add(*sizes[:column]), tuple(along[letter] for letter in order))
