"""Flows of attention that the user has changed: a loss added to the model's, another metric; and their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from ...theory.choices import CLOSURES, PARAMETRISATIONS
from ...theory.errors import InputError
from ...theory.flows.coordinates import to_growth, to_log
from ...theory.flows.factors import FACTORS
from ...theory.flows.system import ReducedSystem
from ...theory.result import Record
from ..code import BoundKernel, compile_system
from ..problem.exact import real_array
from ..problem.problem import FloatArray, Problem
from .derived import bare, flow


@dataclass(frozen=True, eq=False, repr=False)
class Altered(Record):
    """A flow of attention with a loss added to the model's, or in another metric, and its own parameters.

    Attributes
    ----------
    system
        From `theory.gradient_flow` by `ReducedSystem.with_loss` or `ReducedSystem.with_metric`, in plain coordinates.
    values
        Name → number or array of the parameters that a problem does not give.
    """

    system: ReducedSystem
    values: Mapping[str, FloatArray] = field(default_factory=dict)

    @property
    def in_brief(self) -> str:
        numbers = ", ".join(f"{name} = {np.array2string(value, threshold=6)}" for name, value in self.values.items())
        return f"{self.title}{', ' if numbers else ''}{numbers}"

    @property
    def title(self) -> str:
        """What is changed, in words."""
        own = flow(self.system.parametrisation, self.system.closure)
        parts = ["with an added loss"] * (self.system.added != 0) + ["in another metric"] * (
            self.system.metric != own.metric
        )
        return " and ".join(parts)

    def chart(self, coordinates: str) -> ReducedSystem:
        """The system in ``"plain"``, ``"log"`` or ``"growth"`` coordinates; ``InputError`` where it has none such."""
        return _chart(self.system, coordinates)

    def objective(self, problem: Problem) -> BoundKernel:
        """What the flow descends, the added loss included, of flat plain states."""
        kernel: BoundKernel = compile_system(self.system).loss.bind({**problem.float_values(), **self.values})
        return kernel


def altered_flow(system: ReducedSystem, problem: Problem, values: Mapping[str, ArrayLike]) -> Altered | None:
    """A system of the user's with its numbers, None where it is one of the package's own flows.

    Raises ``InputError`` for a system that is no flow of attention in plain coordinates, and for values that are
    missing, not known or of another shape.
    """
    named = system.parametrisation in PARAMETRISATIONS and system.closure in CLOSURES
    if not named or system.coordinates != "plain":
        raise InputError(
            "integrate takes flows of attention in plain coordinates: gradient_flow of a parametrisation, and what "
            f"with_loss and with_metric make of it; got {system!r}. For any other use integrate_system."
        )
    own = flow(system.parametrisation, system.closure)
    if system.convention != own.convention:
        raise InputError(f"integrate takes flows in the package's own convention, got one with: {system.convention}")
    given = problem.float_values()
    wanted = (
        {str(name) for name in system.parameters} - set(given) - {str(one.base) for one in own.parameter_definitions}
    )
    numbers = {name: real_array(f"the parameter {name}", value) for name, value in values.items()}
    if unknown := sorted(set(numbers) - wanted):
        told = f"its own parameters are {', '.join(sorted(wanted))}" if wanted else "it has none of its own"
        raise InputError(f"the flow takes no value for {', '.join(unknown)}: {told}")
    if missing := sorted(wanted - set(numbers)):
        raise InputError(f"the flow needs values={{…}} with a number or an array for {', '.join(missing)}")
    if system.added == 0 and system.metric == own.metric:
        return None
    found = Altered(system, numbers)
    try:
        found.objective(problem)
    except (KeyError, ValueError) as error:
        raise InputError(str(error.args[0])) from None
    return found


@cache
def _chart(system: ReducedSystem, coordinates: str) -> ReducedSystem:
    if coordinates == "plain":
        return bare(system)
    try:
        found = bare(to_log(system) if coordinates == "log" else to_growth(system))
    except ValueError:
        raise InputError(
            "the changed balanced flow does not keep μ and ω positive: take merged, or integrate_system"
        ) from None
    own = flow(system.parametrisation, system.closure)
    if coordinates == "growth" and len(system.invariants) < len(own.invariants):
        raise InputError(
            "the changed split flow does not keep its imbalances o² − v² and k² − q²: add a loss of μ and ω, "
            "or use integrate_system"
        )
    if {str(factor.base) for factor in FACTORS} & set(map(str, found.parameters)):
        raise InputError("write the added loss of a split flow in μ and ω, not in products of its factors")
    return found
