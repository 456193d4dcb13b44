"""Valleys of one task: laws of every order, whose constants are functions of the heads' shape (derived here).

The shape enters by two numbers that depend on it alone (`headflow.theory.merged.line_shape`): g for the gap, w for ω.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sympy import (
    Add,
    Expr,
    Integer,
    Matrix,
    Poly,
    Rational,
    S,
    Symbol,
    diff,
    factorial,
    simplify,
    sqrt,
    symbols,
)

from .. import notation as n
from ..closed_form import ClosedForm
from ..context.two_heads import ONE_TASK
from ..derivation import Derivation, Recorder
from ..errors import InputError
from ..indexed import unroll
from ..optima.optimum_proof import expressed
from ..phases.linearised import perturbation
from ..result import Result, builder
from .line_shape import line_shape, moment, reach, resting_weights, shape_number, spread_number
from .pair_valley import pair_valley
from .power_law import PowerLaw, ValleyLaws, time
from .valley import MU_LENGTH, OMEGA_LENGTH, fastest
from .valley_order import coefficient, gap, merged_valley_order, mu_length
from .valley_order import order as order_symbol

shape = Symbol("g", positive=True)
spread = Symbol("w", positive=True)
_power, _cost, _dim = n.signal_power[1], n.noise_to_context[1], n.dims[1]


@dataclass(frozen=True, repr=False)
class LineValley(Result):
    """The valleys of one task.

    Attributes
    ----------
    gap, omega, mu, fastest
        The laws in the order p, t, the coefficient G, the reach κ and the shape number w.
    coefficient, reach
        G and κ in the problem's parameters, p and the shape number g.
    derivation
        The steps.
    """

    gap: Expr
    omega: Expr
    mu: Expr
    fastest: Expr
    coefficient: Expr
    reach: Expr
    derivation: Derivation

    def laws(self, order: int, g: Expr, w: Expr) -> ValleyLaws:
        """The laws of that order at a shape with these numbers, exact: `shape_number`, and the root of `spread_number`.

        Raises ``InputError`` for an order below 2: one task's valleys have none.
        """
        if order < 2:
            raise InputError(f"a valley of one task has order 2 or more, got {order}")
        powers = merged_valley_order().exponents(order)

        def law(title: str, symbol: Symbol, form: Expr, exponent: Rational) -> PowerLaw:
            opened = form.xreplace({coefficient: self.coefficient}).xreplace({reach: self.reach})
            put = opened.xreplace({order_symbol: Integer(order), shape: g, spread: w, time: S.One})
            title = f"{title} in a valley of one task"
            return PowerLaw(ClosedForm(title, symbol, put, self.derivation, (ONE_TASK,)), exponent)

        return ValleyLaws(
            order,
            law("the gap", gap, self.gap, powers.gap),
            law("the length of omega", OMEGA_LENGTH, self.omega, powers.omega),
            law("the length of mu", MU_LENGTH, self.mu, powers.mu),
            law("the fastest rate", fastest, self.fastest, powers.fastest),
            self.derivation,
        )


@builder
def line_valley() -> LineValley:
    """The laws of one task's valleys."""
    record = Recorder("Valleys of one task", ("I = 1, heads at p places, and the μ of each place have one sign",))
    record.include(merged_valley_order().derivation)
    record.include(line_shape())
    p = order_symbol
    record(
        "gap of a shape on a line",
        (
            (gap, _power * _cost / (1 + _cost) ** 2 * (1 / expressed[1] - 1)),
            (1 / expressed[1] - 1, (moment[p + 1] / reach) ** 2 / factorial(p + 1)),
        ),
        "x_1 = yᵀC⁻¹y near 1 in λ c/(c + x). It is the most that (Σ μ y)² can be for Σ_n S_n²/n! = 1, and of S_n "
        "with n ≠ 1 the first that does not vanish counts.",
        check=lambda: all(_profile_as_said(places) for places in ((1, -1), (1, 2, -3), (1, 5, -2, -4))),
        scope="p = 2, 3, 4 with rational z",
    )
    strength = sqrt(_dim) / (1 + _cost)
    own = _power * _cost / _dim * reach ** (2 * p + 2) * shape / factorial(p + 1)
    record(
        "coefficient of a shape on a line",
        (
            (reach, strength),
            (shape, (mu_length / reach) ** (2 * p) * (moment[p + 1] / reach) ** 2),
            (coefficient, own),
        ),
        "κ makes λ(1 − κ/√d)² + λ (c/d) κ² least, and then λ c/(1 + c)² is λ (c/d) κ². G = gap × ρ^{2p}, and g is free "
        "of scale. Heads at one place share its μ equally: each moves alike.",
        check=_coefficient_as_said,
    )
    lengths = reach / sqrt(_dim) * spread / mu_length
    record(
        "lengths on a line",
        ((OMEGA_LENGTH, lengths), (spread, mu_length / reach * sqrt(_dim) * OMEGA_LENGTH)),
        "w is free of scale too.",
    )
    walls = 2 * _power / _dim * (1 + _cost) * mu_length**2
    record(
        "walls on a line",
        (fastest, walls),
        "The change of ω in proportion to μ; coordinates of ω move with weight 1/d.",
        check=lambda line: _walls_as_said(line[1]),
        scope="H = 3",
    )
    rho = merged_valley_order().rho
    grown, _ = rho.as_base_exp()  # ρ^(2p + 2)
    laws = (
        (gap, coefficient * grown ** (-p / (p + 1))),
        (OMEGA_LENGTH, lengths.xreplace({mu_length: rho})),
        (MU_LENGTH, rho),
        (fastest, walls.xreplace({mu_length**2: grown ** (1 / (p + 1))})),
    )

    def valley(*lines: tuple[Expr, Expr]) -> LineValley:
        gap_law, omega_law, mu_law, fastest_law = (right for _, right in lines)
        return LineValley(gap_law, omega_law, mu_law, fastest_law, own, strength, record.freeze())

    record(
        "laws of the valleys of one task",
        laws,
        "ρ(t) put in. For H_+ heads at ω and H_− at −ω they are those of the pair.",
        check=lambda *lines: _pairs_as_known(valley(*lines)),
        scope="p = 2, (H_+, H_−) = (1, 1), (3, 2)",
    )
    return valley(*laws)


def _profile_as_said(places: Sequence[int]) -> bool:
    """1 − x as a quotient of determinants, its first power of ω against the moment."""
    points = [1 / Rational(place) for place in places]
    power = len(points)
    scale = Symbol("u", positive=True)  # the square of the scale of ω
    kernel = Matrix(
        power, power, lambda a, b: Add(*((scale * points[a] * points[b]) ** m / factorial(m) for m in range(power + 3)))
    )
    rest = kernel - scale * Matrix(power, power, lambda a, b: points[a] * points[b])
    (above, numerator), (below, denominator) = (
        (terms[-1][0][0], terms[-1][1]) for terms in (Poly(matrix.det(), scale).terms() for matrix in (rest, kernel))
    )
    mu = resting_weights([Rational(place) for place in places])
    last = Add(*(m * y ** (power + 1) for m, y in zip(mu, points, strict=True)))
    return bool(above - below == power and numerator / denominator == last**2 / factorial(power + 1))


def _coefficient_as_said(*lines: tuple[Expr, Expr]) -> bool:
    (_, strength), (_, number), (_, own) = lines
    p = order_symbol
    linear = (1 - reach / sqrt(_dim)) ** 2 + _cost / _dim * reach**2
    least = simplify(diff(linear, reach).xreplace({reach: strength})) == 0
    drop = _power * _cost / (1 + _cost) ** 2 * (moment[p + 1] / reach) ** 2 / factorial(p + 1)
    difference = drop * mu_length ** (2 * p) - own.xreplace({shape: number})
    atom = Symbol("moment", positive=True)
    plain = difference.xreplace({moment[p + 1]: atom, reach: strength})
    return bool(least and simplify(plain) == 0)


def _walls_as_said(rate: Expr) -> bool:
    mu, change = symbols("m1:4", real=True), symbols("v1:4", real=True)
    noise = Symbol("phi", positive=True)
    power, dim, length = (Symbol(name, positive=True) for name in ("lambda", "d", "L"))
    values = {"I": 1, "H": 3, "lambda": [power], "d": [dim], "phi": [noise], "L": length, "mu": [mu]}
    form = unroll(merged_valley_order().curvature, {**values, str(perturbation(n.omega).label): [change]})
    block = Matrix(3, 3, lambda a, b: diff(form, change[int(a)], change[int(b)]) / (2 * dim))
    own = rate.xreplace(
        {_power: power, _dim: dim, _cost: noise * dim / length, mu_length: sqrt(Add(*(m**2 for m in mu)))}
    )
    vector = Matrix(mu)
    return all(simplify(entry) == 0 for entry in block * vector - own * vector) and simplify(block.trace() - own) == 0


def _pairs_as_known(found: LineValley) -> bool:
    for above, below in ((1, 1), (3, 2)):
        sizes = [Integer(above), Integer(below)]
        places = [Integer(1), Integer(-1)]
        mine = found.laws(2, shape_number(places, sizes), sqrt(spread_number(places, sizes)))
        known = pair_valley().laws(above, below)
        for law, other in (
            (mine.gap, known.gap),
            (mine.omega, known.omega),
            (mine.mu, known.mu),
            (mine.fastest, known.fastest),
        ):
            ratio = law.constant.expression / other.constant.expression
            numbers = {_power: Rational(3, 2), _cost: Rational(1, 7), _dim: Integer(11)}
            numbers |= {n.noise_factor[1]: Rational(1, 7) * 90 / 11, n.context_length: Integer(90)}
            if law.exponent != other.exponent or simplify(ratio.xreplace(numbers)) != 1:
                return False
    return True
