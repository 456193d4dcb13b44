"""The a posteriori bound on a trajectory: how far the exact balanced flow can be from computed points.

Between computed points z_k the cubic p through them, with the flow's slopes, has a small defect p′ − f(p).  Its second
derivative is enclosed over a step, so the defect is bounded there.  The distance of the exact solution to p then obeys
``r′ ≤ m r + defect`` with m the logarithmic norm (of the maximum norm) of the Jacobian, enclosed over a tube around p:
a standard argument of continuity shows that the solution stays in the tube.  Coordinates are log μ and log ω, in which
that norm is not positive on task at the allocation limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.integrate import solve_ivp
from sympy import Expr, Integer

from ...theory.brief import Brief
from ...theory.errors import InputError
from ...theory.flows.coordinates import to_log
from ...theory.flows.flow import gradient_flow
from ...theory.indexed import substitute, unroll
from ...theory.parameters import PARAMETERS
from ..code import compile_system
from ..problem.kinds import takes
from .boxes import Range
from .endpoints import Arithmetic, arithmetic
from .interval import Interval, UnboundedError
from .jets import Jet
from .tape import Tape

if TYPE_CHECKING:
    from ..problem.initial import InitialState
    from ..problem.problem import FloatArray, Problem

MOST_WEIGHTS = 4  # I·H; cost grows with the square of it
# Powers of two: sums of steps are then exact floats.
FIRST_STEP, SHORTEST, LONGEST = 2.0**-6, 2.0**-17, 1.0
MOST_STEPS = 20_000
# A step is repeated at half its length if its defect is larger than this, and the next is longer if far below.
DEFECT = 2e-8
WIDEST = 0.05  # a tube so wide says nothing


@dataclass(frozen=True, repr=False)
class TrajectoryCertificate(Brief):
    """What was proved about the exact balanced flow (leading closure) from a start, up to time ``t_final``.

    For every time up to ``t_final`` (learning rate × steps) the exact log μ and log ω differ from the computed ones by
    at most ``radius``.  ``mu``, ``omega`` (I × H ranges), ``loss`` and ``shares`` (of each task, by head: the part of
    Σ_h μ_i^h ω_i^h) enclose the exact values at ``t_final``.  As the loss never rises, it stays below ``loss[1]`` ever
    after.  Nothing is claimed about the limit t → ∞: that is what a trapping region adds (`certify_convergence`).
    """

    t_final: float
    radius: float
    largest_defect: float
    steps: int
    mu: tuple[tuple[Range, ...], ...]
    omega: tuple[tuple[Range, ...], ...]
    shares: tuple[tuple[Range, ...], ...]
    loss: Range
    arithmetic: str

    def allocation(self, share: Fraction = Fraction(9, 10)) -> tuple[int | None, ...]:
        """For each task the head (0-based) whose share is proved to exceed ``share`` at ``t_final``, else None."""
        heads = range(len(self.shares[0]))
        return tuple(next((head for head in heads if row[head][0] > share), None) for row in self.shares)


class _Flow:
    """The balanced flow of one problem in logarithms: floats to compute with, tapes to prove with."""

    def __init__(self, problem: Problem, kit: Arithmetic) -> None:
        self.kit, self.shape = kit, (problem.n_tasks, problem.n_heads)
        system = to_log(gradient_flow("balanced"))
        values, definitions = problem.exact_values(), (*PARAMETERS, *system.definitions)
        pairs = list(product(range(1, problem.n_tasks + 1), range(1, problem.n_heads + 1)))
        self.atoms: list[Expr] = []
        velocity: list[Expr] = []
        for variable, formula in zip(system.state, system.velocity, strict=True):
            for task, head in pairs:
                at = dict(zip(variable.indices, (Integer(task), Integer(head)), strict=True))
                self.atoms.append(substitute(variable, at))
                velocity.append(unroll(substitute(formula, at), values, definitions))
        self.velocity = Tape(*velocity)
        self.jacobian = Tape(*(entry.diff(atom) for entry in velocity for atom in self.atoms))
        self.loss = Tape(unroll(system.loss, values, definitions))
        self.floats = compile_system(system).velocity.bind(problem.float_values())

    def at(self, state: Sequence[Any]) -> dict[Expr, Any]:
        return dict(zip(self.atoms, state, strict=True))

    def growth(self, tube: Sequence[Interval]) -> Interval:
        """An upper bound of the logarithmic maximum norm of the Jacobian over a tube."""
        count = len(self.atoms)
        entries = self.jacobian.all(self.at(tube), self.kit)
        rows = []
        for row in range(count):
            total = entries[row * count + row]
            for column in range(count):
                if column != row:
                    total = total + _size(entries[row * count + column])
            rows.append(total)
        return max(rows, key=lambda total: total.ends[1])


@takes(problem="Problem", initial="InitialState")
def certify_trajectory(
    problem: Problem, initial: InitialState, t_final: float, kit: Arithmetic | None = None
) -> TrajectoryCertificate:
    """Bound the distance of the exact balanced flow (leading closure) to a computed one up to ``t_final``.

    For small problems: I·H ≤ 4.  Raises ``InputError`` for a larger one, weights that are not positive, or where the
    bound grows beyond use before ``t_final``.
    """
    *_, last = certified_states(problem, initial, t_final, kit)
    return last.certificate()


@dataclass(frozen=True)
class Reached:
    """A computed state at a time, and how far the exact one can be from it."""

    flow: _Flow
    time: float
    state: FloatArray
    radius: Fraction
    worst: Fraction
    steps: int

    def certificate(self) -> TrajectoryCertificate:
        with self.flow.kit.working():
            return _certificate(self.flow, self.state, self.time, self.radius, self.worst, self.steps)


def certified_states(
    problem: Problem, initial: InitialState, t_final: float, kit: Arithmetic | None = None
) -> Iterator[Reached]:
    """What is known of the exact flow after each step up to ``t_final``; raises as `certify_trajectory` does."""
    kit = kit or arithmetic()
    if problem.n_tasks * problem.n_heads > MOST_WEIGHTS:
        size = problem.n_tasks * problem.n_heads
        raise InputError(f"a trajectory is certified for I·H up to {MOST_WEIGHTS}, got I·H = {size}")
    weights = np.concatenate([np.asarray(initial.mu).ravel(), np.asarray(initial.omega).ravel()])
    if not (weights > 0).all():
        raise InputError("a trajectory is certified in logarithms: all weights must be positive")
    if not t_final > 0:
        raise InputError(f"t_final must be positive, got {t_final}")
    flow = _Flow(problem, kit)
    start = np.log(weights)
    options: Any = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-12, "dense_output": True}
    run: Any = solve_ivp(lambda _, state: flow.floats(state).copy(), (0, t_final), start, **options)
    # The computed start is a rounded logarithm of the given one.
    with kit.working():
        radius = max(
            _largest(Interval.of(kit, Fraction(w), Fraction(w)).log() - _point(kit, z))
            for w, z in zip(weights.tolist(), start.tolist(), strict=True)
        )
    time, step, steps, worst = 0.0, FIRST_STEP, 0, Fraction(0)
    while time < t_final:
        then = min(time + step, t_final)
        with kit.working():
            found = _step(flow, run.sol(time), run.sol(then), Fraction(then) - Fraction(time), radius)
        steps += 1
        refused = found is None or found[1] > DEFECT
        if steps > MOST_STEPS or (refused and step / 2 < SHORTEST):
            raise InputError(f"no bound closes after t = {time:g}: nothing is proved beyond that time")
        if found is None or refused:
            step /= 2
            continue
        time = then
        radius, worst = found[0], max(worst, found[1])
        yield Reached(flow, time, run.sol(time), radius, worst, steps)
        if found[1] < DEFECT / 16:
            step = min(2 * step, LONGEST)


def _step(
    flow: _Flow, first: FloatArray, last: FloatArray, h: Fraction, radius: Fraction
) -> tuple[Fraction, Fraction] | None:
    """The radius after a step of length ``h`` and the bound of the defect in it; None where no tube could be closed."""
    kit = flow.kit
    slopes = [flow.floats(state).copy() for state in (first, last)]
    numbers = zip(*(array.tolist() for array in (first, last, *slopes)), strict=True)
    paths = [_cubic(kit, Fraction(a), Fraction(b), Fraction(s), Fraction(e), h) for a, b, s, e in numbers]
    try:
        defect = _defect(flow, paths, ((first, slopes[0]), (last, slopes[1])), h)
        for widening in (Fraction(5, 4), Fraction(3)):
            wide = radius * widening + 2 * h * defect
            if wide > WIDEST:
                return None
            tube = [Interval.of(kit, path.hull[0] - wide, path.hull[1] + wide) for path in paths]
            grown = (flow.growth(tube) * Interval.of(kit, h, h)).exp().ends[1]
            most = max(Fraction(1), grown)
            # The solution cannot leave the tube before the bound does.
            if (radius + h * defect) * most < wide:
                return _rounded_up(radius * grown + h * defect * most), _rounded_up(defect)
    except UnboundedError:
        pass
    return None


def _defect(flow: _Flow, paths: list[_PathJet], ends: Sequence[tuple[FloatArray, FloatArray]], h: Fraction) -> Fraction:
    """A bound of |d|, d = p′ − f(p), over a step: its values at both ends, and h²/8 times the largest |d″|."""
    kit = flow.kit
    at_ends = []
    for state, slope in ends:
        told = flow.velocity.all(flow.at([_point(kit, x) for x in state.tolist()]), kit)
        at_ends.append([_largest(value - _point(kit, s)) for value, s in zip(told, slope.tolist(), strict=True)])
    images: list[Any] = flow.velocity.all(flow.at(paths), kit)
    bends = [_largest(path.third - image.second) for path, image in zip(paths, images, strict=True)]
    largest: Fraction = max(max(a, b) + h * h / 4 * bend for a, b, bend in zip(*at_ends, bends, strict=True))
    return largest


class _PathJet(Jet):
    """The jet of a cubic over a step, half the second derivative of its slope (``third``), and its range (``hull``)."""

    __slots__ = ("hull", "third")

    def __init__(self, jet: Sequence[Interval], third: Interval, hull: Range) -> None:
        super().__init__(*jet)
        self.third, self.hull = third, hull


def _cubic(kit: Arithmetic, a: Fraction, b: Fraction, s: Fraction, e: Fraction, h: Fraction) -> _PathJet:
    """The cubic with values a, b and slopes s, e at the ends of a step."""
    square, cube = (3 * (b - a) / h - 2 * s - e) / h, (2 * (a - b) / h + s + e) / h**2
    # Bernstein coefficients bound a polynomial and its derivatives over the step.
    values = (a, a + s * h / 3, b - e * h / 3, b)
    slopes = (s, s + square * h, e)
    bends = (square, square + 3 * cube * h)
    parts = [Interval.of(kit, min(part), max(part)) for part in (values, slopes, bends)]
    return _PathJet(parts, Interval.of(kit, 3 * cube, 3 * cube), (min(values), max(values)))


def _certificate(
    flow: _Flow, state: FloatArray, t_final: float, radius: Fraction, worst: Fraction, steps: int
) -> TrajectoryCertificate:
    box = [Interval.of(flow.kit, Fraction(x) - radius, Fraction(x) + radius) for x in state.tolist()]
    tasks, heads = flow.shape
    half = tasks * heads
    mu, omega = (
        [[part[task * heads + head] for head in range(heads)] for task in range(tasks)]
        for part in (box[:half], box[half:])
    )
    mu_ranges, omega_ranges = (tuple(tuple(entry.exp().ends for entry in row) for row in part) for part in (mu, omega))
    return TrajectoryCertificate(
        t_final,
        float(_rounded_up(radius)),
        float(worst),
        steps,
        mu_ranges,
        omega_ranges,
        tuple(_shares([a + b for a, b in zip(*rows, strict=True)]) for rows in zip(mu, omega, strict=True)),
        flow.loss(flow.at(box), flow.kit).ends,
        flow.kit.name,
    )


def _shares(gains: list[Interval]) -> tuple[Range, ...]:
    """e^{g_h}/Σ_k e^{g_k} as 1/Σ_k e^{g_k − g_h}: each difference is used once."""
    shares = []
    for own in gains:
        total = _point(own.kit, 1.0)
        for other in gains:
            if other is not own:
                total = total + (other - own).exp()
        shares.append(total.inverse().ends)
    return tuple(shares)


def _point(kit: Arithmetic, value: float) -> Interval:
    return Interval.of(kit, Fraction(value), Fraction(value))


def _size(entry: Interval) -> Interval:
    bound = _largest(entry)
    return Interval.of(entry.kit, bound, bound)


def _largest(entry: Interval) -> Fraction:
    return max(abs(end) for end in entry.ends)


def _rounded_up(value: Fraction) -> Fraction:
    """A float not below the value: exact fractions would grow with every step."""
    return Fraction(float(np.nextafter(float(value), np.inf)))
