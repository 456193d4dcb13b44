"""The merged flow linearised at zero: zero-sum modes and the sum mode of each task (derived here)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sympy import Add, Expr, Gt, IndexedBase, Integer, KroneckerDelta, Matrix, S, sqrt

from .. import notation as n
from ..closed_form import HasValues, parameters_of, to_float
from ..derivation import Derivation, Recorder
from ..equations import Equations
from ..flows.flow import gradient_flow
from ..indexed import difference_is_zero, factored, normalise, replace_indexed, rule, substitute, unroll
from ..indexed.asymptotics import scaled_limit
from ..optima.limits import where_distinct
from ..phases.allocation_blocks import first_order
from ..phases.linearised import perturbation
from ..result import builder

zero_sum_rate = IndexedBase("rho_zero", real=True)
sum_rate = IndexedBase("rho_sum", real=True)
_STATE = (n.mu, n.omega)
_other = n.index("l")


@dataclass(frozen=True)
class ZeroRates:
    """Growth rates at zero for one problem, per task: of the H − 1 zero-sum modes, and of the sum mode."""

    zero_sum: tuple[float, ...]
    sum: tuple[float, ...]


@dataclass(frozen=True, repr=False)
class MergedAtZero(Equations):
    """Growth of small weights in the merged flow, for each task apart and any number of heads.

    ``zero_sum`` is the growth rate of the H − 1 modes with Σ_h μ̃^h = Σ_h ω̃^h = 0 (each has a partner that falls at
    the same rate); ``sum`` that of the mode in which all heads are alike, ``falling`` the rate of its partner.
    """

    zero_sum: Expr
    sum: Expr
    falling: Expr
    derivation: Derivation

    def evaluate(self, problem: HasValues) -> ZeroRates:
        """Both growth rates of every task, per unit of time = learning rate × steps."""
        values = parameters_of(problem)
        tasks = [{n.i: Integer(task)} for task in range(1, int(values["I"]) + 1)]
        zero_sum, together = (
            tuple(to_float(unroll(substitute(rate, task), values)) for task in tasks)
            for rate in (self.zero_sum, self.sum)
        )
        return ZeroRates(zero_sum, together)

    @property
    def lines(self) -> list[tuple[Expr, Expr]]:
        """Both rates."""
        return [(zero_sum_rate[n.i], self.zero_sum), (sum_rate[n.i], self.sum)]


@builder
def merged_at_zero() -> MergedAtZero:
    """The merged flow to first order in small weights: tasks decouple, heads move apart or as one."""
    i, h = n.i, n.h
    flow = gradient_flow("merged")
    record = Recorder("Merged flow at zero", ("μ and ω are small, of either sign",))
    record.include(flow.derivation)
    zero = dict.fromkeys(_STATE, _zero)
    tilde = {base: perturbation(base) for base in _STATE}
    moved = first_order(
        flow,
        {base: _entry(tilde[base]) for base in _STATE},
        lambda expression: normalise(replace_indexed(flow.opened(expression), zero)),
    )
    record(
        "merged flow linearised at zero",
        tuple((n.time_derivative(tilde[base][i, h]), rhs) for base, rhs in zip(_STATE, moved, strict=True)),
        "r_i = 1 and C_hk = 1 there: tasks decouple, and heads meet only in the sum of μ.",
        check=lambda *lines: all(
            difference_is_zero(line[1], _at_first_order(flow.opened(velocity)))
            for line, velocity in zip(lines, flow.velocity, strict=True)
        ),
    )
    apart = _sector(
        record,
        "zero-sum modes",
        moved,
        KroneckerDelta(h, n.k) - KroneckerDelta(h, _other),
        "One head against another: the sum over heads drops out. H − 1 such modes.",
    )
    together = _sector(record, "sum mode", moved, S.One, "All heads alike: the sum over heads is H times each.")
    (growing, _), (rising, falling) = (_eigenvalues(apart), _eigenvalues(together))
    names = (zero_sum_rate[i], sum_rate[i])
    record(
        "growth rates at zero",
        ((names[0], growing), (names[1], rising)),
        "The larger root of each block's characteristic polynomial.",
        check=lambda *lines: (
            all(
                difference_is_zero(rate**2 - block.trace() * rate + block.det(), S.Zero)
                and bool((rate - normalise(block.trace() / 2)).is_positive)
                for block, (_, rate) in zip((apart, together), lines, strict=True)
            )
            and difference_is_zero(falling**2 - together.trace() * falling + together.det(), S.Zero)
        ),
    )
    # With a = ρ_zero and b = half the trace of the sum block, ρ_sum = b + √(b² + a²), and a > ρ_sum is −2ab > 0.
    half = together.trace() / 2
    gap = normalise((growing - half) ** 2 - (rising - half) ** 2)
    record(
        "weak selection",
        Gt(names[0], names[1]),
        "Both squared, after the trace is taken away: differences between heads grow faster than their sum.",
        check=lambda relation: (
            relation == Gt(names[0], names[1]) and bool((growing - half).is_positive and gap.is_positive)
        ),
    )
    return MergedAtZero(growing, rising, falling, record.freeze())


def _sector(record: Recorder, label: str, moved: tuple[Expr, ...], shape: Expr, why: str) -> Matrix:
    """The block of the modes ``x̃_i^h = shape_h x̃_i``, recorded."""
    i, h, k = n.i, n.h, n.k
    amplitude = {base: perturbation(base)[i] for base in _STATE}
    rules = {perturbation(base): _shaped(perturbation(base), shape) for base in _STATE}
    found = tuple(normalise(replace_indexed(rhs, rules)) for rhs in moved)
    block = Matrix(
        [
            [
                where_distinct(
                    substitute(replace_indexed(rhs, {perturbation(b): _unit(b == base) for b in _STATE}), {h: k})
                )
                for base in _STATE
            ]
            for rhs in found
        ]
    )
    lines = tuple(
        (
            n.time_derivative(amplitude[base]),
            Add(*(block[row, place] * amplitude[other] for place, other in enumerate(_STATE))),
        )
        for row, base in enumerate(_STATE)
    )
    record(
        label,
        ((n.mu[i, h], shape * amplitude[n.mu]), (n.omega[i, h], shape * amplitude[n.omega]), *lines),
        why,
        check=lambda on_mu, on_omega, *rows: all(
            difference_is_zero(moving, _rate_of(own, amplitude.values(), rows))
            for moving, own in zip(_in_shape(moved, (on_mu, on_omega)), (on_mu, on_omega), strict=True)
        ),
    )
    return block


def _in_shape(moved: tuple[Expr, ...], shapes: Sequence[tuple[Expr, Expr]]) -> list[Expr]:
    """The linear flow with what the lines say put in for the perturbations."""
    rules = {perturbation(base): rule(*told) for base, told in zip(_STATE, shapes, strict=True)}
    return [replace_indexed(velocity, rules) for velocity in moved]


def _rate_of(line: tuple[Expr, Expr], amplitudes: Iterable[Expr], rows: Sequence[tuple[Expr, Expr]]) -> Expr:
    """How the right side of a line moves where the amplitudes move as the rows say."""
    rates = {own.base: rule(own, rate) for own, (_, rate) in zip(amplitudes, rows, strict=True)}
    return replace_indexed(line[1], rates)


def _at_first_order(velocity: Expr) -> Expr:
    """The part of first order in small weights, by scaling, in the names of perturbations."""
    scaling = dict.fromkeys(_STATE, -S.One)
    names = {base: _entry(perturbation(base)) for base in _STATE}
    return replace_indexed(scaled_limit(velocity, scaling, 1), names)


def _eigenvalues(block: Matrix) -> tuple[Expr, Expr]:
    """Both eigenvalues of a 2×2 block, the larger first."""
    half = normalise(block.trace() / 2)
    root = sqrt(factored(half**2 - block.det()))
    return half + root, half - root


def _shaped(base: IndexedBase, shape: Expr) -> Callable[..., Expr]:
    return lambda task, head: substitute(shape, {n.h: head}) * base[task]


def _unit(own: bool) -> Callable[..., Expr]:
    return lambda *_: S.One if own else S.Zero


def _entry(base: IndexedBase) -> Callable[..., Expr]:
    return lambda task, head: base[task, head]


def _zero(*_: Expr) -> Expr:
    return S.Zero
