"""Owns reference losses of a realised allocation: which closed form a trajectory is to be compared with."""

from __future__ import annotations

from collections.abc import Sequence

from sympy import Add

from ..theory.closed_form import to_float
from ..theory.errors import InputError
from ..theory.optimum import multi_head_optimum
from .problem import Problem


def realised_limit(problem: Problem, groups: Sequence[Sequence[int]]) -> float:
    """The limit loss of an allocation: each occupied head ends at the single-head optimum of the tasks it hosts.

    Parameters
    ----------
    problem
        The problem.
    groups
        For each occupied head the 0-based tasks that it hosts; together every task once.

    Raises ``InputError`` when the groups do not partition the tasks.
    """
    if sorted(task for group in groups for task in group) != list(range(problem.n_tasks)):
        got = list(map(list, groups))
        raise InputError(f"the groups must hold each of the {problem.n_tasks} tasks once, got {got}")
    parts = (multi_head_optimum().exact(problem.subset(group, n_heads=1)) for group in groups if group)
    return to_float(Add(*parts))
