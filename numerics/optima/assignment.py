"""Assignments of tasks to heads: the limit loss of one, and the best one where heads must be shared (H < I)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import prod

import numpy as np

from ...theory.brief import Brief
from ...theory.choices import checked_closure
from ...theory.errors import HypothesisError, InputError
from ...theory.optima.optimum import multi_head_optimum
from ..problem.kinds import takes
from ..problem.problem import Problem
from .reference import realised_limit
from .single_head import single_head_loss

# Exact up to as many pairs (group, tasks left) as 12 different tasks have.
MOST_PAIRS = 3**12
# Local searches of the heuristic, and the seed of their starts.
STARTS = 8
SEED = 0

# How many tasks of each kind; tasks of equal (d_i, λ_i) are of one kind.
Counts = tuple[int, ...]


@dataclass(frozen=True, repr=False)
class BestAssignment(Brief):
    """The best partition of the tasks into groups, one head each.

    Attributes
    ----------
    groups
        0-based tasks, each group and their list in increasing order.
    loss
        Its limit loss (no ½): every head at the single-head optimum of its group.
    exact
        Whether no partition is better.
    lower_bound
        No partition is below it: the loss itself where it is exact, else the infimum over all weights.
    reason
        How it was found.
    """

    groups: tuple[tuple[int, ...], ...]
    loss: float
    exact: bool
    lower_bound: float
    reason: str


@takes(problem=Problem)
def assignment_limit(problem: Problem, groups: Sequence[Sequence[int]], closure: str = "leading") -> float:
    """The limit loss of an assignment: each head ends at the single-head optimum of the tasks that it hosts.

    A head may leave out tasks of its group (water-filling); tasks alone on their heads give the task-allocation
    limit.  Loss without ½; source: derived here.

    Parameters
    ----------
    problem
        The problem.
    groups
        For each head the 0-based tasks that it hosts; together every task once, at most H groups that are not empty.
    closure
        Any (see `headflow.numerics.optima.single_head`).

    Raises ``InputError`` when the groups do not partition the tasks, ``HypothesisError`` when they need more heads or
    the closure has no such limit.
    """
    loss = realised_limit(problem, groups, closure)
    occupied = sum(bool(len(group)) for group in groups)
    if occupied > problem.n_heads:
        raise HypothesisError(
            "an assignment of tasks to heads", "at most H groups", f"{occupied} groups, H = {problem.n_heads}"
        )
    return loss


@takes(problem=Problem)
def best_assignment(problem: Problem, n_heads: int | None = None, closure: str = "leading") -> BestAssignment:
    """The partition of the tasks into at most H groups with the least limit loss.

    Exact by dynamic programming over multisets of equal tasks where these are few enough (up to 12 different tasks, in
    some 20 seconds; any number of equal ones); else the best of several local searches, which move or exchange single
    tasks.

    Parameters
    ----------
    problem
        The problem.
    n_heads
        H, if not the problem's own.
    closure
        ``"leading"`` or ``"finite_d"``.

    Raises ``InputError`` or ``InputTypeError`` for a number of heads that is not allowed.
    """
    if n_heads is not None:
        problem = problem.replace(n_heads=n_heads)
    if checked_closure(closure) == "first_order":
        raise InputError("the loss of first_order has no lower bound, so no assignment is known to be the best")
    if problem.n_heads >= problem.n_tasks:
        # Alone on its head a task has the largest share (1/e in leading): company only makes C larger.
        groups = tuple((task,) for task in range(problem.n_tasks))
        return _finished(problem, closure, groups, True, "H ≥ I: every task has a head of its own")
    kinds = _Kinds(problem, closure)
    if kinds.pairs <= MOST_PAIRS:
        return _finished(problem, closure, kinds.named(_by_dynamic_programming(kinds)), True, "dynamic programming")
    reason = f"best of {STARTS} local searches (moves and exchanges of single tasks, seed {SEED})"
    return _finished(problem, closure, kinds.named(_by_local_search(kinds)), False, reason)


def _finished(
    problem: Problem, closure: str, groups: Sequence[Sequence[int]], exact: bool, reason: str
) -> BestAssignment:
    ordered = tuple(sorted(tuple(sorted(group)) for group in groups))
    loss = assignment_limit(problem, ordered, closure)
    # The infimum of H ≥ 2 heads is the same in finite_d; one head is always exact.
    bound = loss if exact else multi_head_optimum().evaluate(problem)
    return BestAssignment(ordered, loss, exact, bound, reason)


class _Kinds:
    """The tasks of a problem by kind, with the single-head optimum of any multiset of them."""

    def __init__(self, problem: Problem, closure: str) -> None:
        self.n_heads = problem.n_heads
        self._members: dict[tuple[object, object], list[int]] = {}
        for task, kind in enumerate(zip(problem.dims, problem.signal_power, strict=True)):
            self._members.setdefault(kind, []).append(task)
        self.all: Counts = tuple(map(len, self._members.values()))

        @cache
        def optimum(group: Counts) -> float:
            tasks = [task for tasks, count in zip(self._members.values(), group, strict=True) for task in tasks[:count]]
            return single_head_loss(problem.subset(tasks, n_heads=1), closure).value

        self.optimum = optimum

    @property
    def pairs(self) -> int:
        """How many pairs of a multiset and one that it holds there are."""
        return prod((count + 1) * (count + 2) // 2 for count in self.all)

    def named(self, groups: Sequence[Counts]) -> tuple[tuple[int, ...], ...]:
        """The groups with tasks in place of kinds."""
        left = [iter(tasks) for tasks in self._members.values()]
        return tuple(
            tuple(next(tasks) for tasks, count in zip(left, group, strict=True) for _ in range(count))
            for group in groups
        )


def _by_dynamic_programming(kinds: _Kinds) -> list[Counts]:
    """The best partition into exactly H groups, which is as good as any with fewer (H < I): splitting never hurts."""

    @cache
    def best(tasks: Counts, heads: int) -> tuple[float, Counts]:
        """The least loss of ``tasks`` on that many heads, and the group of the first of them."""
        if heads == 1:
            return kinds.optimum(tasks), tasks
        first = next(kind for kind, count in enumerate(tasks) if count)
        ranges = [range(int(kind == first), count + 1) for kind, count in enumerate(tasks)]
        # Every other head keeps a task.
        most = sum(tasks) - (heads - 1)
        return min(
            (kinds.optimum(group) + best(_without(tasks, group), heads - 1)[0], group)
            for group in product(*ranges)
            if sum(group) <= most
        )

    groups, tasks = [], kinds.all
    for heads in range(kinds.n_heads, 0, -1):
        groups.append(best(tasks, heads)[1])
        tasks = _without(tasks, groups[-1])
    return groups


def _without(tasks: Counts, group: Counts) -> Counts:
    return tuple(count - own for count, own in zip(tasks, group, strict=True))


def _by_local_search(kinds: _Kinds) -> list[Counts]:
    """The best of several partitions that no move and no exchange of single tasks improves."""
    rng = np.random.default_rng(SEED)
    ends = [_descended(kinds, _random_partition(kinds, rng)) for _ in range(STARTS)]
    return min(ends, key=lambda groups: _loss(kinds, groups))


def _loss(kinds: _Kinds, groups: Sequence[Counts]) -> float:
    return sum(kinds.optimum(group) for group in groups if any(group))


def _random_partition(kinds: _Kinds, rng: np.random.Generator) -> list[Counts]:
    places = [rng.multinomial(count, np.full(kinds.n_heads, 1 / kinds.n_heads)) for count in kinds.all]
    return [tuple(int(place[head]) for place in places) for head in range(kinds.n_heads)]


def _descended(kinds: _Kinds, groups: list[Counts]) -> list[Counts]:
    """The partition with improving steps taken until there is none; each lowers the loss, so it ends."""
    improved = True
    while improved:
        improved = False
        for a, b in product(range(len(groups)), repeat=2):
            if a == b:
                continue
            before = _loss(kinds, (groups[a], groups[b]))
            steps = ((given, taken) for given in _singles(groups[a]) for taken in (None, *_singles(groups[b])))
            for given, taken in steps:
                one, other = _moved(groups[a], given, taken), _moved(groups[b], taken, given)
                # Beyond rounding, so that it cannot go round in circles.
                if _loss(kinds, (one, other)) < before * (1 - 1e-12):
                    groups[a], groups[b] = one, other
                    improved = True
                    break
    return groups


def _singles(group: Counts) -> list[int]:
    return [kind for kind, count in enumerate(group) if count]


def _moved(group: Counts, gives: int | None, gets: int | None) -> Counts:
    return tuple(count - (kind == gives) + (kind == gets) for kind, count in enumerate(group))
