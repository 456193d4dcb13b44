"""The loops of a flow on cells: scalar formulas written as one text in the language of loops."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from sympy import Add, Integer, Symbol

from ...theory.flows.reduction import OrbitReduction
from ...theory.result import Record
from ..compiler import Program
from .names import identifier
from .printer import ArrayPrinter

Code = Any  # SymPy expressions, which carry no types

_PRINTER: Final = ArrayPrinter({"fully_qualified_modules": False, "inline": True})


@dataclass(frozen=True, repr=False)
class CellLoops(Record):
    """The generated text.

    Attributes
    ----------
    source
        Python text of ``velocity``, ``loss`` and, if asked for, ``jacobian``, which take (values, y, work, out).
    parameters
        The names of the parameters, in the order of ``values``: ``lambda_1`` is λ of the first class of tasks.
    n_state, n_work
        Lengths of y and of work, which is not used.
    """

    source: str
    parameters: tuple[str, ...]
    n_state: int
    n_work: int = 0

    @cached_property
    def program(self) -> Program:
        """The text as a program."""
        return Program("cells", [self.source], {})


def cell_loops(reduction: OrbitReduction, jacobian: bool = True) -> CellLoops:
    """Velocity, loss and, if asked for, the Jacobian (by the chain rule through the definitions) on the cells."""
    steps = [(item.head, item.body) for item in reduction.definitions]
    known = {*reduction.state, *(head for head, _ in steps)}
    bodies = [body for _, body in steps]
    used = {symbol for body in (*bodies, *reduction.velocity, reduction.loss) for symbol in body.free_symbols}
    parameters = sorted(used - known, key=str)
    head = [(symbol, f"values[{place}]") for place, symbol in enumerate(parameters)]
    head += [(symbol, f"y[{place}]") for place, symbol in enumerate(reduction.state)]
    parts = [
        ("velocity", "out: the time derivative of y.", steps, reduction.velocity),
        ("loss", "out[0]: the loss.", steps, [reduction.loss]),
    ]
    if jacobian:
        entries, partials = _jacobian(reduction)
        told = "out: the matrix of the derivatives of the velocity by y, row by row."
        parts.append(("jacobian", told, partials, entries))
    lines = [
        f'"""The flow on cells of {reduction.orbits.n_tasks} tasks and {reduction.orbits.n_heads} heads; generated.',
        "",
        f"y: {', '.join(map(str, reduction.state))}; values: {', '.join(map(str, parameters))}.",
        "Time = learning rate × steps; the loss has no ½.",
        '"""',
        "",
        "from __future__ import annotations",
        "",
        "from numpy import exp, log, sqrt",
    ]
    for name, doc, assigned, results in parts:
        lines += [
            "",
            "",
            f"def {name}(values: Vector, y: Vector, work: Vector, out: Vector) -> None:",
            f'    """{doc}"""',
        ]
        lines += [f"    {identifier(str(symbol))} = {text}" for symbol, text in head]
        lines += [f"    {identifier(str(symbol))} = {_text(body)}" for symbol, body in assigned]
        lines += [f"    out[{place}] = {_text(body)}" for place, body in enumerate(results)]
    return CellLoops("\n".join([*lines, ""]), tuple(map(str, parameters)), len(reduction.state))


def _jacobian(reduction: OrbitReduction) -> tuple[list[Code], list[tuple[Symbol, Code]]]:
    """∂velocity_a/∂y_b, row by row, and the definitions with their partial derivatives, in order."""
    state = reduction.state
    steps: list[tuple[Symbol, Code]] = []
    known: dict[Symbol, dict[Symbol, Code]] = {name: {name: Integer(1)} for name in state}

    def partial(expression: Code, name: Symbol) -> Code:
        inner = [other for other in expression.free_symbols if name in known.get(other, {})]
        return Add(*(expression.diff(other) * known[other][name] for other in inner))

    for item in reduction.definitions:
        steps.append((item.head, item.body))
        found = {name: value for name in state if (value := partial(item.body, name)) != 0}
        known[item.head] = {name: Symbol(f"{item.head.name}_by_{name.name}") for name in found}
        steps += [(known[item.head][name], value) for name, value in found.items()]
    return [partial(rhs, name) for rhs in reduction.velocity for name in state], steps


def _text(expression: Code) -> str:
    names = {symbol: Symbol(identifier(str(symbol))) for symbol in expression.free_symbols}
    return str(_PRINTER.doprint(expression.xreplace(names)))
