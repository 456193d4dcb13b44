"""Reference losses of a realised allocation: which closed form a trajectory is to be compared with."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final

from sympy import Add, lambdify

from ...theory import notation as n
from ...theory.choices import checked_closure
from ...theory.closed_form import to_float
from ...theory.errors import InputError
from ...theory.indexed import inline
from ...theory.optima.optimum import head_budget, multi_head_optimum
from ...theory.optima.water_filling import Arithmetic, water_filling
from ...theory.parameters import PARAMETERS
from ...theory.scalars import plain_symbols
from ..problem.kinds import takes
from ..problem.problem import Problem
from .single_head import single_head_loss

_FLOATS: Final = Arithmetic(math.sqrt, lambda *terms: math.fsum(terms), float, 0.0, 1.0)


@takes(problem="Problem")
def realised_limit(problem: Problem, groups: Sequence[Sequence[int]], closure: str = "leading") -> float:
    """The limit loss of an allocation: each occupied head ends at the single-head optimum of the tasks it hosts.

    Parameters
    ----------
    problem
        The problem.
    groups
        For each occupied head the 0-based tasks that it hosts; together every task once.
    closure
        ``"leading"`` (a closed form), ``"finite_d"`` or ``"first_order"`` (see `headflow.numerics.optima.single_head`).

    Raises ``InputError`` when the groups do not partition the tasks, ``HypothesisError`` where the closure's loss
    has no such minimum.
    """
    checked_closure(closure)
    if sorted(task for group in groups for task in group) != list(range(problem.n_tasks)):
        got = list(map(list, groups))
        raise InputError(f"the groups must hold each of the {problem.n_tasks} tasks once, got {got}")
    parts = [problem.subset(group, n_heads=1) for group in groups if group]
    if closure == "leading":
        return to_float(Add(*(multi_head_optimum().exact(part) for part in parts)))
    return math.fsum(single_head_loss(part, closure).value for part in parts)


def estimated_limit(values: Mapping[str, Any], groups: Sequence[Sequence[int]]) -> float:
    """`realised_limit` of the leading closure in float64: some 1e-15 off, and a thousand times faster.

    ``values`` are `Problem.float_values`.
    """
    powers = values["lambda"]
    costs, budget = _costs(), _single_budget()
    found = []
    for group in groups:
        each = [costs(powers[task], values["d"][task], values["sigma2"], values["L"]) for task in group]
        found.append(water_filling([powers[task] for task in group], each, budget, _FLOATS).minimum)
    return math.fsum(found)


@cache
def _single_budget() -> float:
    """R_1 in float64."""
    return float(head_budget(1))


@cache
def _costs() -> Callable[[float, float, float, float], float]:
    """c_i of λ_i, d_i, σ² and L."""
    plain = plain_symbols(inline(n.noise_to_context[n.i], PARAMETERS))
    names = [plain.symbol(n.signal_power[n.i]), plain.symbol(n.dims[n.i]), n.noise_variance, n.context_length]
    function: Callable[[float, float, float, float], float] = lambdify(names, plain.expression, modules="math")
    return function
