"""Owns reference losses of a realised allocation: which closed form a trajectory is to be compared with."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum

from sympy import Add

from ..theory.choices import checked_closure
from ..theory.closed_form import to_float
from ..theory.errors import InputError
from ..theory.optimum import multi_head_optimum
from .problem import Problem
from .single_head import single_head_loss


def realised_limit(problem: Problem, groups: Sequence[Sequence[int]], closure: str = "leading") -> float:
    """The limit loss of an allocation: each occupied head ends at the single-head optimum of the tasks it hosts.

    Parameters
    ----------
    problem
        The problem.
    groups
        For each occupied head the 0-based tasks that it hosts; together every task once.
    closure
        ``"leading"`` (a closed form), ``"finite_d"`` or ``"first_order"`` (see `headflow.numerics.single_head`).

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
    return fsum(single_head_loss(part, closure).value for part in parts)
