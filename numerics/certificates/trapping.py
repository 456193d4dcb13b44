"""The trapping region of an allocation: a box that no balanced flow leaves and in which all flows converge to it.

Task i is on a head of its own and H = I (derived here).  The box takes the share s = μ ω and ω of each task on its
head within weighted distances, in logarithms, of the allocation limit, and off task ``0 ≤ μ ≤ a``, ``0 ≤ ω ≤ b``.
(The slow mode keeps s nearly as it is: in μ and ω themselves a box would be too coarse.)  Four enclosures over it prove
the claim:

1. the on-task Jacobian in log s and log ω has a logarithmic norm (of the weighted maximum norm) below ``log_norm`` < 0;
2. at the limit's on-task values, what the off-task weights add to each on-task velocity is too small to push a flow out
   against that row of the Jacobian;
3. off-task μ falls, at a rate of at least ``-decay``; on the face ω = b off-task ω falls;
4. where all off-task μ are zero, the velocity of an off-task log ω is zero at ω = 0 and falls with ω.

By 1 to 3 no flow leaves the box.  The loss falls along the flow, so every flow in the box comes to its rest points; by
3 and 4 those have no off-task weights, and by 1 only one on-task point is at rest, the limit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise, product
from typing import TYPE_CHECKING

from sympy import Expr, Integer, S, Symbol

from ...theory.errors import InputError
from ...theory.flows.coordinates import to_log
from ...theory.flows.flow import gradient_flow
from ...theory.indexed import substitute, unroll
from ...theory.optima.limits import task_allocation_limit
from ...theory.parameters import PARAMETERS
from .boxes import Range
from .endpoints import Arithmetic, arithmetic
from .interval import Interval, UnboundedError
from .tape import Tape

if TYPE_CHECKING:
    from ..problem.problem import Problem

ZERO = Fraction(0)
# A range is cut into so many parts, over which the Jacobian is enclosed one by one.
PARTS = 8
Box = Mapping[Expr, Interval]


@dataclass(frozen=True)
class TrappingRegion:
    """A box of weights from which every balanced flow (leading closure) converges to the limit of its allocation.

    On its way a flow stays within the distances that were proved, of which the box holds the floats.

    ``allocation`` is the head (0-based) of each task; ``share`` and ``omega`` are the ranges of μ ω and of ω there, one
    per task; off task the weights are positive and at most ``largest_mu`` and ``largest_omega``; all exact.
    ``log_norm`` and ``decay``, both negative, bound from above the logarithmic norm of the on-task Jacobian in
    logarithms and d log μ/dt off task (0 where there is none); per unit of time = learning rate × steps.
    """

    allocation: tuple[int, ...]
    share: tuple[Range, ...]
    omega: tuple[Range, ...]
    largest_mu: Fraction
    largest_omega: Fraction
    log_norm: Fraction
    decay: Fraction
    arithmetic: str

    def holds(self, mu: Sequence[Sequence[Range]], omega: Sequence[Sequence[Range]]) -> bool:
        """Whether all positive weights in these (I × H) ranges lie in the box."""
        for task, own in enumerate(self.allocation):
            for head, ((_, most_mu), (_, most_omega)) in enumerate(zip(mu[task], omega[task], strict=True)):
                if head != own and not (most_mu <= self.largest_mu and most_omega <= self.largest_omega):
                    return False
            (low_mu, high_mu), (low, high) = mu[task][own], omega[task][own]
            found = ((low_mu * low, high_mu * high), (low, high))
            for (least, most), inner in zip((self.share[task], self.omega[task]), found, strict=True):
                if not (least <= inner[0] and inner[1] <= most):
                    return False
        return True


class NotTrapping(InputError):
    """No trapping region was proved; the message says which of the four claims failed."""


def trapping_region(
    problem: Problem,
    allocation: Sequence[int],
    radius: Fraction,
    largest_mu: Fraction,
    largest_omega: Fraction,
    kit: Arithmetic | None = None,
) -> TrappingRegion:
    """Prove that a box around an allocation traps the balanced flow.

    Parameters
    ----------
    problem
        With as many heads as tasks.
    allocation
        The head (0-based) of each task, all distinct.
    radius
        The distance of log ω on task from its limit; that of log s is 1 − s (at the limit) times as large.
    largest_mu, largest_omega
        a and b, of the off-task weights.
    kit
        The arithmetic (default: the best that is installed).

    Raises `NotTrapping` (an ``InputError``) where one of the claims is not shown, ``InputError`` for sizes that leave
    no box.
    """
    if not (radius > 0 and min(largest_mu, largest_omega) >= 0):
        raise InputError(
            f"a trapping region needs radius > 0 and off-task weights >= 0, got {radius}, {largest_mu}, {largest_omega}"
        )
    heads = tuple(allocation)
    if problem.n_tasks != problem.n_heads or sorted(heads) != list(range(problem.n_heads)):
        told = f"H = {problem.n_heads}, I = {problem.n_tasks}, heads {heads}"
        raise NotTrapping(f"a trapping region needs one task on every head (H = I), got {told}")
    kit = kit or arithmetic()
    with kit.working():
        try:
            return _region(problem, heads, kit).proved(radius, largest_mu, largest_omega)
        except UnboundedError as error:
            raise NotTrapping(f"the region is too large for an enclosure: {error}") from None


@lru_cache(maxsize=64)
def _region(problem: Problem, allocation: tuple[int, ...], kit: Arithmetic) -> _Region:
    return _Region(problem, allocation, kit)


class _Region:
    """Velocities of the logarithms of s and ω on task, of μ and ω off task, as functions of these; and the limit."""

    def __init__(self, problem: Problem, allocation: tuple[int, ...], kit: Arithmetic) -> None:
        self.kit, self.allocation = kit, allocation
        flow = gradient_flow("balanced")
        values, definitions = problem.exact_values(), (*PARAMETERS, *flow.definitions)
        speeds: dict[Expr, Expr] = {}
        for variable, speed in zip(flow.state, to_log(flow).velocity, strict=True):
            for pair in product(range(1, problem.n_tasks + 1), repeat=2):
                at = dict(zip(variable.indices, map(Integer, pair), strict=True))
                speeds[substitute(variable, at)] = unroll(substitute(speed, at), values, definitions)
        mu, omega = (variable.base for variable in flow.state)
        limit = task_allocation_limit()
        limits = zip(limit.mu.at_tasks(problem), limit.omega.at_tasks(problem), strict=True)
        self.limit: dict[Expr, Interval] = {}
        self.weights: dict[Expr, Fraction] = {}
        shares: dict[Expr, Expr] = {}
        for task, (head, (at_mu, at_omega)) in enumerate(zip(allocation, limits, strict=True), start=1):
            share, own_mu, own_omega = Symbol(f"s_{task}", positive=True), mu[task, head + 1], omega[task, head + 1]
            shares[own_mu] = share / own_omega
            speeds[share] = speeds.pop(own_mu) + speeds[own_omega]
            self.limit[share], self.limit[own_omega] = Tape(at_mu * at_omega, at_omega).all({}, kit)
            self.weights[share], self.weights[own_omega] = 1 - self.limit[share].ends[1], Fraction(1)
        self.speeds = {atom: speed.xreplace(shares) for atom, speed in speeds.items()}
        self.off_mu, self.off_omega = (
            [atom for atom in self.speeds if atom not in self.limit and getattr(atom, "base", None) == base]
            for base in (mu, omega)
        )

        self._rows = [Tape(*(self.speeds[x].diff(y) * y for y in self.limit)) for x in self.limit]

    def proved(self, radius: Fraction, largest_mu: Fraction, largest_omega: Fraction) -> TrappingRegion:
        off = {atom: Interval.of(self.kit, ZERO, largest_mu) for atom in self.off_mu}
        off |= {atom: Interval.of(self.kit, ZERO, largest_omega) for atom in self.off_omega}
        box = dict(off)
        told: list[Range] = []
        for atom, value in self.limit.items():
            reach = Interval.of(self.kit, radius * self.weights[atom], radius * self.weights[atom])
            least, most = value * (-reach).exp(), value * reach.exp()
            # What is proved is proved of all within the distance; told are floats that lie within it.
            box[atom] = Interval.of(self.kit, least.ends[0], most.ends[1])
            low, high = math.nextafter(float(least.ends[1]), math.inf), math.nextafter(float(most.ends[0]), 0)
            told.append((Fraction(low), Fraction(high)))
        norms = self._row_norms(box)
        log_norm = max(norms.values())
        if not log_norm < 0:
            raise NotTrapping(f"the logarithmic norm is only shown to be below {float(log_norm):.3g}: region too large")
        pushes = self._speeds_of(self.limit, {**off, **self.limit})
        held = (
            _largest(speed) < -norms[atom] * radius * self.weights[atom]
            for atom, speed in zip(self.limit, pushes, strict=True)
        )
        if not all(held):
            raise NotTrapping("the off-task weights are too large, or the region is too small, to keep a flow in it")
        decay = self._decay(box, largest_omega)
        self._one_rest(box)
        return TrappingRegion(
            self.allocation,
            tuple(told[::2]),
            tuple(told[1::2]),
            largest_mu,
            largest_omega,
            log_norm,
            decay,
            self.kit.name,
        )

    def _row_norms(self, box: Box) -> dict[Expr, Fraction]:
        """Of each row of the on-task Jacobian ∂(d log x/dt)/∂ log y = y ∂(d log x/dt)/∂y: its part of the norm."""
        atoms = list(self.limit)
        norms: dict[Expr, Fraction] = {}
        for place, x in enumerate(atoms):
            own = atoms[place - place % 2 : place - place % 2 + 2]
            for parts in product(*(_parts(box[atom]) for atom in own)):
                entries = self._rows[place].all({**box, **dict(zip(own, parts, strict=True))}, self.kit)
                sizes = (
                    (entry.ends[1] if x == y else _largest(entry)) * self.weights[y]
                    for y, entry in zip(atoms, entries, strict=True)
                )
                total = sum(sizes, ZERO) / self.weights[x]
                norms[x] = max(norms.get(x, total), total)
        return norms

    def _decay(self, box: Box, largest_omega: Fraction) -> Fraction:
        """The largest d log μ/dt off task; and off-task ω must fall on its face."""
        rates = [speed.ends[1] for speed in self._speeds_of(self.off_mu, box)]
        if any(rate >= 0 for rate in rates):
            raise NotTrapping("an off-task mu may grow: region too large")
        for atom in self.off_omega:
            face = {**box, atom: Interval.of(self.kit, largest_omega, largest_omega)}
            if not self._speeds_of([atom], face)[0].ends[1] < 0:
                raise NotTrapping("an off-task omega may grow out of the region: off-task mu is too large beside it")
        return max(rates, default=ZERO)

    def _one_rest(self, box: Box) -> None:
        without = dict.fromkeys(self.off_mu, S.Zero)
        for atom in self.off_omega:
            speed = self.speeds[atom].xreplace(without)
            at_zero, slope = Tape(speed.xreplace({atom: S.Zero}), speed.diff(atom)).all(box, self.kit)
            if at_zero.ends != (ZERO, ZERO) or not slope.ends[1] < 0:
                raise NotTrapping("an off-task omega may come to rest above zero: region too large")

    def _speeds_of(self, atoms: Iterable[Expr], box: Box) -> list[Interval]:
        chosen = [self.speeds[atom] for atom in atoms]
        return Tape(*chosen).all(box, self.kit) if chosen else []


def _parts(whole: Interval) -> list[Interval]:
    low, high = whole.ends
    cuts = [low + (high - low) * place / PARTS for place in range(PARTS + 1)]
    return [Interval.of(whole.kit, *ends) for ends in pairwise(cuts)]


def _largest(interval: Interval) -> Fraction:
    return max(abs(end) for end in interval.ends)
