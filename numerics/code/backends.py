"""The other back ends: a flow's functions on NumPy, JAX or mpmath arrays, without memory of their own.

The array graph is the one that the buffered kernels are planned from; here each of its nodes is one line of a pure
function, through SymPy's lambdify with a table of the back end's functions.  JAX can trace such a function (jit, vmap,
grad), and mpmath computes it to any precision: numbers in it are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from importlib.util import find_spec
from math import prod
from types import ModuleType
from typing import Any, Final

import mpmath
import numpy as np
from sympy import sympify

from ...theory.errors import InputError
from ...theory.flows.system import ReducedSystem
from ...theory.flows.tangent import SUFFIX, tangent
from ...theory.indexed.nodes import name_of
from ..runtime.remade import Remade
from .compiled import CompiledSystem, Parts, compile_system
from .graph import Node, Operand
from .kernel import length
from .lower import Lowering
from .names import unique
from .numpy_table import unit
from .printer import ArrayCall, generated, source_of

Array = Any  # of the back end
Table = Mapping[str, Callable[..., Any]]

BACKENDS: Final = ("numpy", "jax", "mpmath")


class Functions(Remade):
    """Velocity, loss, Jacobian and Jacobian-vector product of a system as pure functions of arrays.

    Every function takes the flat state ``y`` (of length n, variable by variable, row by row) and ``values``, the
    parameters by the names that the system's symbols have.  The sizes ``I`` and ``H`` among them are fixed when the
    functions are made, so that JAX need not trace them.  Time = learning rate × steps; the loss has no ½.
    """

    def __init__(self, system: ReducedSystem, backend: str, sizes: Mapping[str, int]) -> None:
        self.backend = backend
        self._sizes = dict(sizes)
        self._table = _TABLES[backend]()
        code = compile_system(system)
        self._shapes = {
            str(name_of(one)): tuple(length(axis, sizes) for axis in code.ranges[name_of(one)]) for one in system.state
        }
        self._code = code
        self._named: dict[tuple[str, ...], _Pure] = {}
        self._tangent = CompiledSystem(tangent(system))

    @property
    def size(self) -> int:
        """The length n of the state."""
        return sum(map(prod, self._shapes.values()))

    def velocity(self, y: Array, values: Mapping[str, Array]) -> Array:
        """dy/dt, shape (n,)."""
        return self._call(self._velocity, values, self._parts(y))

    def loss(self, y: Array, values: Mapping[str, Array]) -> Array:
        """The loss, shape ()."""
        return self._call(self._loss, values, self._parts(y)).reshape(())

    def named(self, y: Array, values: Mapping[str, Array], names: tuple[str, ...]) -> Array:
        """The flat values of named definitions or state variables, one after the other; ``KeyError`` if unknown."""
        if names not in self._named:
            self._named[names] = _pure(self._code, lambda code, graph: code.named_parts(graph, names), self._table)
        return self._call(self._named[names], values, self._parts(y))

    def jacobian_product(self, y: Array, direction: Array, values: Mapping[str, Array]) -> Array:
        """The Jacobian of the velocity at ``y`` times a direction of shape (n,)."""
        return self._call(self._product, values, {**self._parts(y), **self._parts(direction, SUFFIX)})

    def jacobian(self, y: Array, values: Mapping[str, Array]) -> Array:
        """∂(dy/dt)/∂y, shape (n, n): the products with all unit vectors."""
        columns = self._table["columns"]
        return columns(lambda direction: self.jacobian_product(y, direction, values), self.size)

    @property
    def source(self) -> str:
        """The generated functions as Python text: velocity, loss, Jacobian-vector product."""
        named = {"velocity": self._velocity, "loss": self._loss, "jacobian_product": self._product}
        return "\n".join(source_of(function, name) for name, (function, _) in named.items())

    @cached_property
    def _velocity(self) -> _Pure:
        return _pure(self._code, CompiledSystem.velocity_parts, self._table)

    @cached_property
    def _loss(self) -> _Pure:
        return _pure(self._code, CompiledSystem.loss_parts, self._table)

    @cached_property
    def _product(self) -> _Pure:
        return _pure(self._tangent, CompiledSystem.velocity_parts, self._table)

    def _parts(self, y: Array, suffix: str = "") -> dict[str, Array]:
        flat = self._table["array"](y)
        if flat.shape != (self.size,):
            raise InputError(f"the state must have shape ({self.size},), got {flat.shape}")
        found, begin = {}, 0
        for name, shape in self._shapes.items():
            found[name + suffix] = flat[begin : begin + prod(shape)].reshape(shape)
            begin += prod(shape)
        return found

    def _call(self, pure: _Pure, values: Mapping[str, Array], state: Mapping[str, Array]) -> Array:
        function, names = pure
        known = {**values, **self._sizes, **state}
        if missing := [name for name in names.values() if name not in known]:
            raise InputError(f"no value for the parameter {missing[0]}")
        array = self._table["array"]
        return function(
            **{own: known[name] if name in self._sizes else array(known[name]) for own, name in names.items()}
        )


# A generated function, and for each of its arguments the parameter, state variable or size that it is.
_Pure = tuple[Callable[..., Any], dict[str, str]]


@lru_cache(maxsize=64)
def _made(system: ReducedSystem, backend: str, sizes: tuple[tuple[str, int], ...]) -> Functions:
    return Functions(system, backend, dict(sizes))


def functions(system: ReducedSystem, backend: str = "numpy", *, n_tasks: int, n_heads: int) -> Functions:
    """The functions of a system on a back end: "numpy", "jax" (needs the extra ``jax``) or "mpmath".

    JAX is switched to float64, for the whole process.  mpmath works at the precision set when a function is called
    (``mpmath.workdps``).  For many steps on NumPy use the buffered kernels of `compile_system`, which are faster.

    Raises ``InputError`` for an unknown back end, one that is not installed, or a state of the wrong length.

    Examples
    --------
    >>> from headflow import Problem, theory
    >>> problem = Problem(dims=[10, 10], signal_power=[1, 1], noise_variance=0.1, context_length=100, n_heads=2)
    >>> made = functions(theory.gradient_flow("merged"), "mpmath", n_tasks=2, n_heads=2)
    >>> with mpmath.workdps(30):
    ...     print(made.loss([0] * 8, problem.exact_values()))
    2.0
    """
    if backend not in BACKENDS:
        raise InputError(f"unknown back end {backend!r}; allowed: {', '.join(BACKENDS)}")
    if backend == "jax" and find_spec("jax") is None:
        raise InputError("the back end jax needs JAX: install headflow[jax]")
    return _made(system, backend, (("I", n_tasks), ("H", n_heads)))


def _pure(code: CompiledSystem, parts_of: Callable[[CompiledSystem, Lowering], Parts], table: Table) -> _Pure:
    """One line per node of the graph, then the outputs in one flat array."""
    parts = parts_of(code, code.lowering())
    names: dict[int, str] = {}
    arguments: dict[str, str] = {}
    lines: list[tuple[str, ArrayCall]] = []

    def argument(parameter: str) -> str:
        for own, known in arguments.items():
            if known == parameter:
                return own
        own = unique(parameter, {"found", *table, *arguments, *names.values()})
        arguments[own] = parameter
        return own

    def size(axis: Any) -> str:
        return str(axis) if str(axis).isdigit() else argument(str(axis))

    def seen(operand: Operand) -> str:
        name = visit(operand.node)
        return name if operand.is_plain else f"view({name}, {operand.places})"

    def visit(node: Node) -> str:
        if node.operation == "number":
            return f"number('{node.detail}')"
        if node.number not in names:
            if node.operation == "leaf":
                names[node.number] = argument(node.detail)
            else:
                call = _call_of(node, [seen(operand) for operand in node.operands])
                names[node.number] = unique(f"t{node.number}", arguments)
                lines.append((names[node.number], call))
        return names[node.number]

    outputs = []
    for target in parts.targets:
        axes = "".join(f"{size(axis)}, " for axis in parts.outputs[target.output])
        outputs.append(f"({seen(target.value.along(target.order))}, ({axes}))")
    lines.append(("found", ArrayCall("joined", outputs)))
    doc = f"Arguments, in order: {', '.join(arguments.values())}."
    return generated(list(arguments), lines, "found", doc, table), arguments


def _call_of(node: Node, operands: Sequence[str]) -> ArrayCall:
    if node.operation == "sum":
        return ArrayCall("reduce", operands, extra=f"axis={tuple(range(-int(node.detail), 0))}")
    if node.operation == "power":
        return ArrayCall("power", [*operands, f"number('{node.detail}')"])
    return ArrayCall(node.operation, operands, extra=node.detail)


def _table(xp: ModuleType) -> dict[str, Callable[..., Any]]:
    """What NumPy and its likes have under one name."""

    def view(given: Array, places: Sequence[Sequence[int]]) -> Array:
        array = xp.asarray(given)
        letters = [""] * array.ndim
        out = ""
        for letter, place in zip("abcdefghijklmnop", places, strict=False):
            for axis in place:
                letters[axis] = letter
            out += letter if place else ""
        viewed = xp.einsum(f"{''.join(letters)}->{out}", array) if array.ndim else array
        return xp.expand_dims(viewed, tuple(axis for axis, place in enumerate(places) if not place))

    def joined(*parts: tuple[Array, tuple[int, ...]]) -> Array:
        return xp.concatenate([xp.broadcast_to(xp.asarray(part), shape).ravel() for part, shape in parts])

    same = ("multiply", "add", "subtract", "exp", "log", "sqrt", "square", "reciprocal", "power", "matmul", "vecdot")
    return {
        **{name: getattr(xp, name) for name in (*same, "einsum", "eye")},
        "unit": lambda size, place: xp.asarray(unit(size, place)),
        "reduce": xp.sum,
        "view": view,
        "joined": joined,
        "number": lambda text: float(sympify(text)),
        "array": lambda values: xp.asarray(values, dtype=xp.float64),
    }


def _numpy() -> Table:
    def columns(product: Callable[[Array], Array], size: int) -> Array:
        return np.stack([product(direction) for direction in np.eye(size)], axis=-1)

    return {**_table(np), "columns": columns}


def _jax() -> Table:
    import jax

    config: Any = jax.config  # untyped where JAX is installed
    config.update("jax_enable_x64", True)

    def columns(product: Callable[[Array], Array], size: int) -> Array:
        return jax.vmap(product, out_axes=-1)(jax.numpy.eye(size))

    return {**_table(jax.numpy), "columns": columns}


def _mpmath() -> Table:
    """NumPy arrays of objects: sums and products are NumPy's, functions mpmath's."""

    def exact(value: Any) -> Any:
        if hasattr(value, "denominator"):  # an int, a Fraction, a Rational of SymPy
            return mpmath.mpf(int(value.numerator)) / int(value.denominator)
        return mpmath.mpf(value)

    def on_entries(function: Callable[..., Any], count: int = 1) -> Callable[..., Any]:
        found: Callable[..., Any] = np.frompyfunc(function, count, 1)
        return found

    def array(values: Any) -> Array:
        return np.asarray(on_entries(exact)(np.asarray(values, dtype=object)), dtype=object)

    table = _table(np)
    table |= {name: on_entries(getattr(mpmath, name)) for name in ("exp", "log", "sqrt")}
    table |= {
        "power": on_entries(mpmath.power, 2),
        "reciprocal": on_entries(lambda value: 1 / value),
        "vecdot": lambda left, right: (left * right).sum(axis=-1),
        "eye": lambda size: array(np.eye(size, dtype=int)),
        "unit": lambda size, place: array(unit(size, place).astype(int)),
        "number": lambda text: sympify(text)._to_mpmath(mpmath.mp.prec),
        "array": array,
        "columns": lambda product, size: np.stack([product(row) for row in np.eye(size, dtype=int)], axis=-1),
    }
    return table


_TABLES: Final[Mapping[str, Callable[[], Table]]] = {"numpy": _numpy, "jax": _jax, "mpmath": _mpmath}
