"""Random starts that a symmetry of the problem fixes, of every kind of tie, and where their flows end."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cases import oracle
from headflow import InitialState, Problem
from oracles import tied_flow

PARAMETRISATIONS = ("balanced", "merged", "split")
CLOSURES = ("leading", "finite_d", "first_order")


class TiedCase(NamedTuple):
    """A problem and a start, the orbits of the symmetry that fixes both, and what is asked for."""

    problem: Problem
    initial: InitialState
    parametrisation: str
    closure: str
    t_final: float
    orbits: tied_flow.Orbits

    def end(self) -> tied_flow.End:
        """Where the flow ends, by an integration that cannot leave the symmetry."""
        imbalance = tuple(self.initial.imbalance) if self.initial.imbalance.any() else None
        what = (self.parametrisation, self.closure, self.t_final, imbalance)
        return tied_flow.follow(oracle(self.problem), self.orbits, self.initial.mu, self.initial.omega, *what)

    def broken(self, *arrays: np.ndarray[Any, Any]) -> bool:
        """Whether arrays (I, H) differ within an orbit, by however little."""
        return any(
            len(set((array[self.orbits.numbers == one] * self.orbits.signs[self.orbits.numbers == one]).tolist())) > 1
            for array in arrays
            for one in range(self.orbits.numbers.max() + 1)
        )


def tied_case(number: int, most_tasks: int = 5, most_heads: int = 6) -> TiedCase:
    """I from 1 to ``most_tasks``, H from 2 to ``most_heads``; three parametrisations and closures in turn.

    The symmetry is one of four kinds: heads alone, in cycles; heads and equal tasks; all heads and all equal tasks
    alike; and any signed one, where weights may be negative and entries zero.
    """
    draw = np.random.default_rng(77_000 + number)
    n_tasks, n_heads = int(draw.integers(1, most_tasks + 1)), int(draw.integers(2, most_heads + 1))
    parametrisation, closure = PARAMETRISATIONS[number % 3], CLOSURES[number // 3 % 3]
    classes = np.zeros(n_tasks, int) if draw.random() < 0.6 else draw.integers(0, 2, n_tasks)
    dims, powers = draw.integers(3, 25, 2), draw.uniform(0.3, 2, 2).round(3)
    problem = Problem(
        dims=[int(dims[one]) for one in classes],
        signal_power=[float(powers[one]) for one in classes],
        noise_variance=round(float(draw.uniform(0.05, 0.5)), 3),
        context_length=int(draw.integers(40, 300)),
        n_heads=n_heads,
    )
    kind = int(draw.integers(0, 4))
    rows, columns, signs = list(range(n_tasks)), list(range(n_heads)), [1] * n_tasks
    if kind in (0, 2):
        blocks = draw.integers(0, max(1, n_heads - 1), n_heads) if kind == 0 else np.zeros(n_heads, int)
        for block in range(n_heads):
            members = np.flatnonzero(blocks == block)
            for head, other in zip(members, np.roll(members, 1), strict=True):
                columns[head] = int(other)
    else:
        columns = [int(head) for head in draw.permutation(n_heads)]
    if kind:
        for one in range(2):
            members = np.flatnonzero(classes == one)
            moved = np.roll(members, 1) if kind == 2 else draw.permutation(members)
            for task, other in zip(members, moved, strict=True):
                rows[task] = int(other)
    if kind == 3 and parametrisation != "balanced":
        signs = [int(sign) for sign in draw.choice([-1, 1], n_tasks)]
    orbits = tied_flow.orbits(rows, columns, signs)
    count = orbits.numbers.max() + 1
    scale = min(float(10 ** draw.uniform(-2.5, -0.3)), 0.5 if closure == "leading" else 0.25)
    signed = parametrisation != "balanced" and kind in (1, 3)
    drawn = draw.standard_normal((2, count)) if signed else np.exp(draw.normal(0, 0.4, (2, count)))
    mu, omega = (scale * part[orbits.numbers] * orbits.signs for part in drawn)
    imbalance: Any = 0.0
    if parametrisation == "split" and number % 2 == 0:
        imbalance = tuple(float(size) for size in 10 ** draw.uniform(-8, -3, 2))
    initial = InitialState(mu, omega, imbalance)
    return TiedCase(problem, initial, parametrisation, closure, float(10 ** draw.uniform(2, 4)), orbits)
