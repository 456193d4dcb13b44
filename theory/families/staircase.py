"""The loss drops of linear attention: plateaus, their order, and the object that evaluates them ([Z25]).

From small weights the split flow learns one coordinate after the other, each after a time proportional to 1/ε
(three factors); the merged flow leaves zero once, after a time proportional to ln(1/ε) (two factors).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from sympy import (
    Expr,
    IndexedBase,
    Integer,
    KroneckerDelta,
    Rational,
    S,
    Symbol,
    cancel,
    sqrt,
    sympify,
)

from .. import notation as n
from ..closed_form import ClosedForm, HasValues, Hypothesis, Value, require, to_float
from ..context.linear_optimum import linear_attention_optimum
from ..derivation import Derivation, Recorder
from ..hypothesis import values_of
from ..indexed import (
    difference_is_zero,
    gradient,
    inline,
    normalise,
    replace_indexed,
    rule,
    substitute,
    unroll,
)
from ..parameters import PARAMETERS
from ..printing import Equation
from ..result import builder
from ..scalars import of_one_task, plain_symbols, positive_solution
from .covariates import (
    COVARIATES,
    a,
    context_noise,
    direction_power,
    n_coordinates,
    over_coordinates,
    regressor_variance,
    variance,
)
from .drop_times import (
    LEVEL,
    drive,
    level,
    merged_end,
    merged_rate,
    merged_start,
    merged_time,
    own_drive,
    own_level,
    split_time,
    start,
)
from .linear import effective, linear_attention_flow, linear_covariate_loss

learned = IndexedBase("ell", nonnegative=True)
plateau_symbol = Symbol("loss_plateau", positive=True)
final_symbol = Symbol("loss_infinity", positive=True)

EQUAL_COORDINATES = Hypothesis(
    "coordinates of one variance Λ_a and one regressor variance τ_a",
    lambda values: len(set(values["Lambda"])) == 1 and len(set(values["tau"])) == 1,
    lambda values: f"Λ = {tuple(map(str, values['Lambda']))}, τ = {tuple(map(str, values['tau']))}",
)
ENOUGH_HEADS = Hypothesis(
    "at least as many heads as coordinates (H ≥ D)",
    lambda values: bool(values["H"] >= values["D"]),
    lambda values: f"H = {values['H']}, D = {values['D']}",
)
DISTINCT_DRIVES = Hypothesis(
    "coordinates of different drives τ_a Λ_a²",
    lambda values: len(set(_drives(values))) == len(values["tau"]),
    lambda values: f"τ Λ² = {tuple(map(str, _drives(values)))}",
)


def _drives(values: Mapping[str, Any]) -> list[Any]:
    return [power * width**2 for power, width in zip(values["tau"], values["Lambda"], strict=True)]


@dataclass(frozen=True, repr=False)
class Staircase(Value):
    """Plateaus and drop times of linear attention on coordinates of any variances.

    Attributes
    ----------
    plateau
        𝓛 with the coordinates of ``ell_a = 1`` learned and those of ``ell_a = 0`` not; every choice is stationary.
    final
        All coordinates learned: the optimum, exact at finite D and L.
    drive
        γ_a = 2 w_a Λ_a = 2 τ_a Λ_a²: coordinates are learned in decreasing order of it.
    drop_time, leading_time
        When a coordinate's loss has made half of its fall, from v = k = q = ε: exact on the aligned set, in γ_a,
        A*_a and ε; and to leading order, 1/(γ_a ε).
    half_after_blow_up
        What the exact time exceeds the leading one by as ε → 0.
    merged_rate
        Γ, the rate at which the merged flow leaves zero: its one drop comes after ln(1/ε)/Γ + O(1).
    merged_time
        The same exactly for equal coordinates, from u_a^h = v_h/√D: in Γ, p_0 = Σ_h v_h² and p* = √D A*.
    derivation
        The steps.
    """

    plateau: Expr
    final: ClosedForm
    drive: Expr
    drop_time: Expr
    leading_time: Expr
    half_after_blow_up: Expr
    merged_rate: ClosedForm
    merged_time: Expr
    derivation: Derivation

    @property
    def expression(self) -> Expr:
        """That of the optimum, where all coordinates are learned."""
        return self.final.expression

    @property
    def lines(self) -> list[Equation]:
        """The optimum, with what it is written in."""
        return list(self.final.lines)

    def exact(self, problem: HasValues) -> Expr:
        """The optimum, exact."""
        return self.final.exact(problem)

    def drops(self, problem: HasValues) -> tuple[tuple[int, ...], ...]:
        """The coordinates (from 0) that each drop learns, first drop first; equal drives share one drop."""
        drives = self._at_coordinates(self.drive, problem)
        levels = sorted(set(drives), reverse=True)
        return tuple(tuple(at for at, own in enumerate(drives) if own == value) for value in levels)

    def loss_at(self, problem: HasValues, coordinates: Iterable[int]) -> Expr:
        """The exact stationary loss with these coordinates (from 0) learned and no others."""
        known = set(coordinates)
        values = dict(values_of(problem))
        values["ell"] = [int(at in known) for at in range(int(values["D"]))]
        return unroll(self.plateau, values, COVARIATES)

    def plateaus(self, problem: HasValues) -> tuple[Expr, ...]:
        """The exact losses before, between and after the drops."""
        drops = self.drops(problem)
        return tuple(self.loss_at(problem, chain(*drops[:count])) for count in range(len(drops) + 1))

    def times(self, problem: HasValues, scale: object, *, leading: bool = False) -> tuple[float, ...]:
        """The time of each drop of the split flow from v = k = q = ``scale``, in learning rate × steps.

        Exact on the aligned set unless ``leading``, which gives 1/(γ_a ε).
        """
        formula = self.leading_time if leading else self.drop_time
        drives, levels = (self._at_coordinates(part, problem) for part in (self.drive, LEVEL))
        values = ({own_drive: drives[at[0]], own_level: levels[at[0]]} for at in self.drops(problem))
        return tuple(to_float(formula.xreplace({**put, start: _exact(scale)})) for put in values)

    def drives(self, problem: HasValues) -> tuple[float, ...]:
        """γ_a of each coordinate."""
        return tuple(map(to_float, self._at_coordinates(self.drive, problem)))

    def levels(self, problem: HasValues) -> tuple[float, ...]:
        """A*_a of each coordinate."""
        return tuple(map(to_float, self._at_coordinates(LEVEL, problem)))

    def after_blow_up(self, problem: HasValues) -> tuple[float, ...]:
        """From 1/(γ_a ε) to half of the drop as ε → 0, for each coordinate, in learning rate × steps."""
        drives, levels = (self._at_coordinates(part, problem) for part in (self.drive, LEVEL))
        pairs = zip(drives, levels, strict=True)
        return tuple(to_float(self.half_after_blow_up.xreplace({own_drive: x, own_level: y})) for x, y in pairs)

    def merged_drop(self, problem: HasValues, start_power: object) -> float:
        """The time at which the merged flow has made half of its fall, equal coordinates.

        ``start_power`` is p_0 = Σ_h c_h² with c_h = (v_h + Σ_a u_a^h/√D)/2, the growing part of the start (exact where
        u_a^h = v_h/√D, otherwise up to terms that vanish with the start).  Raises ``HypothesisError``.
        """
        values = values_of(problem)
        require("the time of the merged drop", (EQUAL_COORDINATES,), values)
        rate, size = self.merged_rate.exact(problem), self._at_coordinates(LEVEL, problem)[0]
        put = {merged_rate: rate, merged_start: _exact(start_power), merged_end: size * sqrt(Integer(values["D"]))}
        return to_float(self.merged_time.xreplace(put))

    def _at_coordinates(self, expression: Expr, problem: HasValues) -> tuple[Expr, ...]:
        values = values_of(problem)
        places = range(1, int(values["D"]) + 1)
        return tuple(unroll(substitute(expression, {a: Integer(at)}), values, COVARIATES) for at in places)


def _exact(number: object) -> Expr:
    """A number as SymPy's; a float as the decimal it prints."""
    return Rational(str(number)) if isinstance(number, float) else sympify(number)


@builder
def linear_staircase() -> Staircase:
    """Plateaus, order and times of the drops, from the stationarity and the truncations of the derived flows."""
    record = Recorder("Loss drops of linear attention", ("the weights start small",))
    record.include(linear_attention_flow("aligned").derivation)
    plateau, final = _plateaus(record)
    pace = _drive(record)
    exact, leading, after = split_time(record)
    rate, merged = merged_time(record)
    derivation = record.freeze()
    return Staircase(
        plateau,
        ClosedForm("the final loss of linear attention", final_symbol, final, derivation, (), COVARIATES),
        pace,
        exact,
        leading,
        after,
        ClosedForm("the rate of the merged drop", merged_rate, rate, derivation, (), COVARIATES),
        merged,
        derivation,
    )


def _plateaus(record: Recorder) -> tuple[Expr, Expr]:
    diagonal = linear_covariate_loss().diagonal
    slope = gradient(diagonal, effective[a])
    best = positive_solution(slope, effective[a])
    record(
        "learned coordinate",
        (level[a], best),
        "Stationary: v_a = k_a = q_a = 0, or ∂𝓛/∂A_a = 0.",
        check=lambda line: (
            difference_is_zero(line[1], LEVEL)
            and difference_is_zero(replace_indexed(slope, {effective: rule(effective[a], line[1])}), S.Zero)
        ),
    )
    at_level = normalise(replace_indexed(diagonal, {effective: lambda at: learned[at] * substitute(best, {a: at})}))
    flat = over_coordinates(direction_power[a] * (1 - learned[a] / (1 + context_noise[a])))

    def on_indicators(line: tuple[Expr, Expr]) -> bool:
        """ℓ² = ℓ: compared at both values of ℓ."""
        return all(
            difference_is_zero(replace_indexed(at_level - line[1], {learned: lambda _, put=value: put}), S.Zero)
            for value in (S.Zero, S.One)
        )

    record(
        "plateau",
        (plateau_symbol, flat),
        "ℓ_a = 1 where coordinate a is learned, else 0: 2^D stationary losses.",
        check=on_indicators,
    )
    final = over_coordinates(direction_power[a] * context_noise[a] / (1 + context_noise[a]))
    record(
        "final loss",
        (final_symbol, final),
        "All learned. For equal coordinates it is the optimum of linear attention with one task.",
        check=lambda line: (
            difference_is_zero(replace_indexed(flat, {learned: lambda _: S.One}), line[1])
            and _is_known_optimum(line[1])
        ),
    )
    return flat, final


def _is_known_optimum(final: Expr) -> bool:
    """Λ_a = 1, τ_a = λ/D, for any D, against the optimum derived for one isotropic task of d = D."""
    power, size = Symbol("lambda", positive=True), n_coordinates
    equal = {variance: lambda _: S.One, regressor_variance: lambda _: power / size}
    alone = {n.dims: lambda _: size, n.signal_power: lambda _: power}
    known = of_one_task(inline(linear_attention_optimum().enough_heads.expression, PARAMETERS[:1]))
    return difference_is_zero(replace_indexed(inline(final, COVARIATES), equal), replace_indexed(known, alone))


def _drive(record: Recorder) -> Expr:
    slope = gradient(linear_covariate_loss().diagonal, effective[a])
    at_zero = normalise(-replace_indexed(slope, {effective: lambda _: S.Zero}))
    opened = plain_symbols(inline(at_zero, COVARIATES))
    record(
        "drive",
        ((drive[a], at_zero), (drive[a], inline(at_zero, COVARIATES))),
        "−∂𝓛/∂A_a at zero weights. At equal τ it rises with Λ_a: coordinates of large variance come first.",
        check=lambda closed, written: (
            difference_is_zero(closed[1], _pull_at_zero())
            and difference_is_zero(written[1], inline(closed[1], COVARIATES))
            and bool(
                cancel(
                    opened.expression.diff(opened.symbol(variance[a])) / opened.symbol(regressor_variance[a])
                ).is_positive
            )
        ),
    )
    return at_zero


def _pull_at_zero() -> Expr:
    """What the loss falls by at first order in A_a, one coordinate at a time: the part of the loss linear in A_a."""
    diagonal, step = linear_covariate_loss().diagonal, Symbol("step", positive=True)
    moved = replace_indexed(diagonal, {effective: lambda at: step * KroneckerDelta(at, a)})
    parts = normalise(moved)
    return -substitute(normalise((parts - substitute(parts, {step: S.Zero})) / step), {step: S.Zero})
