"""Owns the allocation of tasks to heads: which head, if any, does nearly all of a task's work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .problem import FloatArray

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


@dataclass(frozen=True)
class Allocation:
    """Which head has which task.

    Attributes
    ----------
    heads
        Per task the 0-based head with the largest μ_i^h ω_i^h, or None if its share is below 0.9.
    shares
        Per task the share of that head in Σ_h μ_i^h ω_i^h (0 where the sum is not positive).
    working
        Per task the 0-based heads with a share of at least 0.01.
    doubt
        Why no head is known, where that is so.

    Examples
    --------
    >>> found = Allocation.of(mu=np.array([[3.0, 0.0], [2.0, 0.1]]), omega=np.array([[0.3, 0.3], [0.3, 0.1]]))
    >>> found.heads, found.shared, found.groups
    ((0, 0), True, ((0, 1),))
    >>> print(found)
    tasks 1, 2 on head 1
    """

    heads: tuple[int | None, ...]
    shares: tuple[float, ...]
    working: tuple[tuple[int, ...], ...]
    doubt: str | None = None

    @classmethod
    def of(cls, mu: FloatArray, omega: FloatArray) -> Allocation:
        """The allocation of weights of shape (I, H)."""
        best, shares = busiest(mu, omega)
        products = mu * omega
        total = products.sum(axis=1)
        active = products >= IDLE * np.where(total > 0, total, np.inf)[:, None]
        return cls(
            heads=tuple(int(head) if share >= CLEAR else None for head, share in zip(best, shares, strict=True)),
            shares=tuple(float(share) for share in shares),
            working=tuple(tuple(int(head) for head in np.flatnonzero(row)) for row in active),
        )

    @classmethod
    def unknown(cls, n_tasks: int, doubt: str) -> Allocation:
        """No allocation, because of a doubt."""
        return cls((None,) * n_tasks, (0.0,) * n_tasks, ((),) * n_tasks, doubt)

    @property
    def shared(self) -> bool:
        """Whether two tasks have one head."""
        taken = [head for head in self.heads if head is not None]
        return len(set(taken)) < len(taken)

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Per occupied head, in the heads' order, the 0-based tasks it has."""
        occupied = sorted({head for head in self.heads if head is not None})
        return tuple(tuple(task for task, head in enumerate(self.heads) if head == one) for one in occupied)

    @property
    def limit_groups(self) -> tuple[tuple[int, ...], ...] | None:
        """The groups of tasks whose single-head optima add up to the limit, None where that is not known.

        They are `groups`, and each task alone that is spread over heads which work for no other task (possible
        for H > I: such a task has the loss that it would have on one head).
        """
        alone = []
        for task in self.undecided:
            others = {head for other, heads in enumerate(self.working) if other != task for head in heads}
            if not self.working[task] or others & set(self.working[task]):
                return None
            alone.append((task,))
        return (*self.groups, *alone)

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
        parts = []
        for group in self.groups:
            head = self.heads[group[0]]
            assert head is not None
            names = ", ".join(str(task + 1) for task in group)
            parts.append(f"task{'s' if len(group) > 1 else ''} {names} on head {head + 1}")
        if self.undecided:
            names = ", ".join(str(task + 1) for task in self.undecided)
            parts.append(f"task{'s' if len(self.undecided) > 1 else ''} {names} on no single head")
        return "; ".join(parts)

    def _repr_html_(self) -> str:
        return f"<span>{self}</span>"
