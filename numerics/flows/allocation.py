"""The allocation of tasks to heads: which head, if any, does nearly all of a task's work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...theory.brief import Brief
from ..problem.problem import FloatArray

IntArray: TypeAlias = NDArray[np.intp]

CLEAR: Final = 0.9  # the share of a task's output from which on one head is said to have it
IDLE: Final = 0.01  # the share below which a head is said to do nothing for a task


def busiest(mu: FloatArray, omega: FloatArray) -> tuple[IntArray, FloatArray]:
    """Per task the 0-based head with the largest μω and its share (0 where the sum is not positive).

    Of weights of shape (…, I, H), both of shape (…, I).
    """
    products = mu * omega
    total, best = products.sum(axis=-1), products.argmax(axis=-1)
    largest = np.take_along_axis(products, best[..., None], axis=-1)[..., 0]
    return best, np.divide(largest, total, out=np.zeros_like(total), where=total > 0)


@dataclass(frozen=True, repr=False)
class Allocation(Brief):
    """Which head has which task.

    Attributes
    ----------
    heads
        Per task the 0-based head with the largest μ_i^h ω_i^h, or None if its share is below 0.9.
    shares
        Per task the share of that head in Σ_h μ_i^h ω_i^h (0 where the sum is not positive).
    working
        Per task the 0-based heads with a share of at least 0.01.
    tied
        Per task without a head the 0-based heads that have it together, each the same share, because their weights are
        equal (or opposite) to the last bit; () if there are none.
    limit_groups
        The groups of tasks whose single-head optima add up to the limit, None where that is not known.  They are
        `groups`, identical heads counted as the one head that they act as, and each task alone that is spread over
        heads which work for no other task (possible for H > I: such a task has the loss that it would have on one
        head).
    doubt
        Why no head is known, where that is so.

    Examples
    --------
    >>> found = Allocation.of(mu=np.array([[3.0, 0.0], [2.0, 0.1]]), omega=np.array([[0.3, 0.3], [0.3, 0.1]]))
    >>> found.heads, found.shared, found.groups
    ((0, 0), True, ((0, 1),))
    >>> print(found)
    tasks 1, 2 on head 1
    >>> print(Allocation.of(mu=np.full((2, 2), 1.1), omega=np.full((2, 2), 0.2)))
    tasks 1, 2 on heads 1 and 2, which are tied
    """

    heads: tuple[int | None, ...]
    shares: tuple[float, ...]
    working: tuple[tuple[int, ...], ...]
    tied: tuple[tuple[int, ...], ...]
    limit_groups: tuple[tuple[int, ...], ...] | None
    doubt: str | None = None

    @classmethod
    def of(cls, mu: FloatArray, omega: FloatArray) -> Allocation:
        """The allocation of weights of shape (I, H)."""
        best, shares = busiest(mu, omega)
        heads = tuple(int(head) if share >= CLEAR else None for head, share in zip(best, shares, strict=True))
        teams = _teams(mu, omega)
        tied: list[tuple[int, ...]] = []
        for task, (head, share) in enumerate(zip(best, shares, strict=True)):
            team = next((team for team in teams if head in team), ())
            tied.append(team if heads[task] is None and len(team) * share >= CLEAR else ())
        return cls(
            heads=heads,
            shares=tuple(float(share) for share in shares),
            working=_working(mu * omega),
            tied=tuple(tied),
            limit_groups=_limit_groups(mu, omega, teams),
        )

    @classmethod
    def unknown(cls, n_tasks: int, doubt: str) -> Allocation:
        """No allocation, because of a doubt."""
        return cls((None,) * n_tasks, (0.0,) * n_tasks, ((),) * n_tasks, ((),) * n_tasks, None, doubt)

    @property
    def _hosts(self) -> list[tuple[int, ...]]:
        """Per task the heads that have it: one, those that are tied, or none."""
        return [team if head is None else (head,) for head, team in zip(self.heads, self.tied, strict=True)]

    @property
    def shared(self) -> bool:
        """Whether two tasks have one head, or one group of tied heads."""
        taken = [hosts for hosts in self._hosts if hosts]
        return len(set(taken)) < len(taken)

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Per occupied head, in the heads' order, the 0-based tasks it has."""
        return _grouped(self.heads)

    @property
    def undecided(self) -> tuple[int, ...]:
        """The 0-based tasks without a head."""
        return tuple(task for task, head in enumerate(self.heads) if head is None)

    def to_json(self) -> list[int | None]:
        """Per task the 0-based head or None, as `integrate --json` shows it."""
        return list(self.heads)

    def __str__(self) -> str:
        """In words, counting from 1."""
        if self.doubt is not None:
            return "not known"
        tasks: dict[tuple[int, ...], list[int]] = {}
        for task, hosts in enumerate(self._hosts):
            tasks.setdefault(hosts, []).append(task)
        parts = []
        for hosts in sorted(tasks, key=lambda hosts: (not hosts, len(hosts) > 1, hosts)):
            where = "no single head"
            if hosts:
                where = named("head", hosts) + (", which are tied" if len(hosts) > 1 else "")
            names = ", ".join(str(task + 1) for task in tasks[hosts])
            parts.append(f"task{'s' if len(tasks[hosts]) > 1 else ''} {names} on {where}")
        return "; ".join(parts)

    def _repr_html_(self) -> str:
        return f"<span>{self}</span>"


def named(what: str, places: Sequence[int]) -> str:
    """Heads or tasks in words, counted from 1: "head 2", "heads 1, 2 and 3"."""
    *others, last = (str(place + 1) for place in places)
    return f"{what}s {', '.join(others)} and {last}" if others else f"{what} {last}"


def _teams(mu: FloatArray, omega: FloatArray) -> list[tuple[int, ...]]:
    """The heads, those together whose weights are equal, or opposite, to the last bit."""
    found: dict[bytes, list[int]] = {}
    for head, column in enumerate(np.concatenate([mu, omega]).T):
        leading = column[np.flatnonzero(column)[:1]]
        oriented = -column if leading.size and leading[0] < 0 else column
        found.setdefault((oriented + 0.0).tobytes(), []).append(head)
    return [tuple(team) for team in found.values()]


def _working(products: FloatArray) -> tuple[tuple[int, ...], ...]:
    total = products.sum(axis=1)
    active = products >= IDLE * np.where(total > 0, total, np.inf)[:, None]
    return tuple(tuple(int(head) for head in np.flatnonzero(row)) for row in active)


def _grouped(heads: Sequence[int | None]) -> tuple[tuple[int, ...], ...]:
    occupied = sorted({head for head in heads if head is not None})
    return tuple(tuple(task for task, head in enumerate(heads) if head == one) for one in occupied)


def _limit_groups(
    mu: FloatArray, omega: FloatArray, teams: Sequence[tuple[int, ...]]
) -> tuple[tuple[int, ...], ...] | None:
    """See `Allocation`.  Heads of equal ω act as one, whose μ is the sum of theirs."""
    mu = mu.copy()
    for first, *others in teams:
        same = [head for head in others if np.array_equal(omega[:, head], omega[:, first])]
        mu[:, first] *= 1 + len(same)
        mu[:, same] = 0.0
    best, shares = busiest(mu, omega)
    working = _working(mu * omega)
    alone = []
    for task in np.flatnonzero(shares < CLEAR).tolist():
        own = list(working[task])
        others_own = {head for other, heads in enumerate(working) if other != task for head in heads}
        if not own or others_own & set(own) or np.ptp(np.sign(omega[task, own])):
            return None
        alone.append((task,))
    clear = [int(head) if share >= CLEAR else None for head, share in zip(best, shares, strict=True)]
    return (*_grouped(clear), *alone)
