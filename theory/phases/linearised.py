"""What a linearisation at the task-allocation limit is: blocks, eigenvalues, and their values for a problem."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sympy import Add, Expr, ImmutableMatrix, IndexedBase, Integer

from .. import notation as n
from ..closed_form import ENOUGH_HEADS, ClosedForm, HasValues, parameters_of, require, to_float
from ..derivation import Derivation
from ..equations import Equations
from ..indexed import Definition, substitute, unroll


def perturbation(base: IndexedBase) -> IndexedBase:
    """The symbol for a small change of a state variable: printed with a tilde."""
    return IndexedBase(f"{base.label}_tilde", real=True)


@dataclass(frozen=True)
class Rates:
    """Eigenvalues for one problem, per unit of time = learning rate × steps.

    ``on_task[i]`` are those of task i on its own head, ``off_task[i]`` those of task i on any other one.
    """

    on_task: tuple[tuple[float, ...], ...]
    off_task: tuple[tuple[float, ...], ...]

    @property
    def spectrum(self) -> tuple[float, ...]:
        """Every eigenvalue at H = I, smallest first: I on-task blocks and I (I − 1) off-task pairs."""
        others = len(self.on_task) - 1
        pairs = others * self.off_task
        return tuple(sorted(rate for block in (*self.on_task, *pairs) for rate in block))


@dataclass(frozen=True, repr=False)
class LinearisedFlow(Equations):
    """The flow to first order in a perturbation x̃ of the task-allocation limit, block by block.

    Attributes
    ----------
    state
        The state variables, in the order of rows and columns.
    on_task
        How the perturbation (i, i) of task i on its own head moves with itself.
    off_task
        How a perturbation (i, h), h ≠ i, moves with itself; it moves with nothing else.
    coupling
        How (i, i) moves with each (i, h), h ≠ i: it leaves the eigenvalues as they are.
    on_task_rates, off_task_rates
        The eigenvalues of the two diagonal blocks, in the parameters of task i.
    escape
        The rate g_i at which off-task pairs of task i grow; None where no mode grows.
    """

    parametrisation: str
    closure: str
    state: tuple[IndexedBase, ...]
    on_task: ImmutableMatrix
    off_task: ImmutableMatrix
    coupling: ImmutableMatrix
    on_task_rates: tuple[Expr, ...]
    off_task_rates: tuple[Expr, ...]
    escape: ClosedForm | None
    derivation: Derivation
    definitions: tuple[Definition, ...] = ()

    def evaluate(self, problem: HasValues) -> Rates:
        """The eigenvalues as floats, each rounded once from an exact number; ``HypothesisError`` unless H ≥ I."""
        values = parameters_of(problem)
        require("the linearised flow at the task-allocation limit", (ENOUGH_HEADS,), values)
        tasks = range(1, int(values["I"]) + 1)

        def of_task(rates: Iterable[Expr], task: int) -> tuple[float, ...]:
            own = (substitute(rate, {n.i: Integer(task)}) for rate in rates)
            return tuple(to_float(unroll(rate, values, self.definitions)) for rate in own)

        return Rates(
            tuple(of_task(self.on_task_rates, task) for task in tasks),
            tuple(of_task(self.off_task_rates, task) for task in tasks),
        )

    @property
    def lines(self) -> tuple[tuple[Expr, Expr], ...]:
        """The linearised flow on task, without the coupling, and off task (h ≠ i)."""
        defined = ((item.head, item.body) for item in self.definitions)
        blocks = ((self.on_task, n.i), (self.off_task, n.h))
        return (*(line for block, head in blocks for line in block_equations(self.state, block, head)), *defined)


def block_equations(
    state: tuple[IndexedBase, ...], block: ImmutableMatrix, head: Expr
) -> tuple[tuple[Expr, Expr], ...]:
    """``dx̃[i, head]/dt`` = row of the block times x̃[i, head], for each state variable."""
    moved = [perturbation(base)[n.i, head] for base in state]
    return tuple(
        (n.time_derivative(own), Add(*(block[row, column] * other for column, other in enumerate(moved))))
        for row, own in enumerate(moved)
    )
