"""Changes of coordinates of a ReducedSystem: logarithms, log growth and hyperbolic angles.

The balanced flow lives in ``u = log μ``, ``w = log ω``: in plain coordinates a solver steps across zero, which
the exact flow never does, and then converges to a different limit without noticing.  The split flow has two
invariants for four factors: at fixed Δ, Γ one coordinate for μ and one for ω are left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from sympy import Expr, Gt, Indexed, Rational, S, exp, log, sqrt

from .. import notation as n
from ..derivation import Recorder
from ..grounds import DEFINITION
from ..indexed import (
    Definition,
    difference_is_zero,
    directional_derivative,
    factored,
    gradient,
    normalise,
    replace_indexed,
    rule,
)
from ..result import builder
from .descent import rests_at_zero
from .factors import ABSOLUTE_IMBALANCES, ANGLES, FACTORS, GROWTH_OFFSETS, IMBALANCES, PRODUCTS
from .system import ReducedSystem

_LOGARITHM_OF = {n.mu: n.log_mu, n.omega: n.log_omega}


@builder
def to_log(system: ReducedSystem) -> ReducedSystem:
    """The same flow for the logarithms of its (positive) state variables mu and omega; or the split flow in them.

    For ``split`` at fixed invariants Δ, Γ (parameters, zero allowed, entry by entry): ``u = log((o + v)²/4)`` and
    ``w = log((k + q)²/(4√d_e))``, which are log μ and log ω where Δ = Γ = 0.  Raises ``ValueError`` where the flow
    does not keep its variables positive.
    """
    if system.state == FACTORS:
        return _split_logarithms(system)
    positive = {Gt(variable, 0) for variable in system.state}
    if not positive <= set(system.domain):
        raise ValueError(f"the {system.parametrisation} flow does not keep its state positive: no log coordinates")
    record = Recorder("Logarithmic coordinates")
    record.include(system.derivation)
    names = tuple(_LOGARITHM_OF[variable.base][variable.indices] for variable in system.state)
    opened = tuple(Definition(variable, exp(name)) for variable, name in zip(system.state, names, strict=True))
    record(
        "logarithms",
        tuple((item.head, item.body) for item in opened),
        "For positive μ and ω.",
        scope=DEFINITION,
    )
    velocity = tuple(factored(rhs / variable) for variable, rhs in zip(system.state, system.velocity, strict=True))
    for name, rhs, variable, plain in zip(names, velocity, system.state, system.velocity, strict=True):
        record(
            f"flow of {name.base.label}",
            (n.time_derivative(name), rhs),
            "d log x/dt = (dx/dt)/x. An entry that is zero has no velocity: the flow keeps μ and ω positive.",
            check=partial(_is_logarithmic, variable, plain),
        )
    return replace(
        system,
        state=names,
        definitions=(*opened, *system.definitions),
        gradient=tuple(
            normalise(variable * partial) for variable, partial in zip(system.state, system.gradient, strict=True)
        ),
        metric=tuple(
            normalise(metric / variable**2) for variable, metric in zip(system.state, system.metric, strict=True)
        ),
        velocity=velocity,
        domain=tuple(relation for relation in system.domain if relation not in positive),
        coordinates="log",
        derivation=record.freeze(),
    )


def _is_logarithmic(variable: Indexed, velocity: Expr, line: tuple[Expr, Expr]) -> bool:
    """Whether the velocity is the variable times what is claimed, and vanishes for an entry that is zero."""
    return difference_is_zero(line[1] * variable, velocity) and rests_at_zero(variable, velocity)


@builder
def to_hyperbolic(system: ReducedSystem) -> ReducedSystem:
    """The split flow at fixed invariants Δ ≠ 0, Γ ≠ 0 (of either sign): one hyperbolic angle for each product.

    ``μ = (|Δ|/2) sinh 2θ``, ``ω = (|Γ|/(2√d_e)) sinh 2ϑ``; the parameters are |Δ| and |Γ|, the state is half as
    large.  Where an invariant vanishes use `to_log`.  Raises ``ValueError`` for any other flow.
    """
    parts = _products_of(system)
    record = Recorder("Hyperbolic angles")
    record.include(system.derivation)
    opened = []
    for part, angle, size in zip(parts, ANGLES, ABSOLUTE_IMBALANCES, strict=True):
        opened.append(_angle_product(record, part, angle, size))
    paces = tuple(part.pace for part in parts)
    return _at_fixed_invariants(record, system, parts, ANGLES, tuple(opened), paces, "hyperbolic", Rational(1, 2))


@builder
def to_growth(system: ReducedSystem) -> ReducedSystem:
    """The split flow from any start: how much the sum of the factors has grown, in logarithms.

    ``μ = exp(ξ + u) − exp(η − u)``, of which the first term is ``(o + v)²/4`` and the second ``(o − v)²/4``; the
    same for ω with ζ, χ, ``w`` and k, q over √d_e.  The parameters (an offset of u may be chosen freely) are extended
    real numbers: −∞ where ``o + v`` or ``o − v`` vanishes, which it then does for ever.  `to_log` is this chart at
    ξ = 0, and the balanced flow that at ξ = 0, η = −∞; u is twice the hyperbolic angle but for an offset.  Raises
    ``ValueError`` for any other flow.
    """
    parts = _products_of(system)
    names = (n.log_mu[PRODUCTS[0].indices], n.log_omega[PRODUCTS[1].indices])
    record = Recorder("Log growth of the factors' sums")
    record.include(system.derivation)
    opened = []
    for part, name, offsets in zip(parts, names, GROWTH_OFFSETS, strict=True):
        _record_sum_and_difference(record, part)
        opened.append(_growth_product(record, part, name, *offsets))
    paces = tuple(2 * part.pace for part in parts)
    return _at_fixed_invariants(record, system, parts, names, tuple(opened), paces, "growth")


@dataclass(frozen=True)
class _Product:
    """A product ``scale · first · second``, the pull of the loss on it, and how its factors move.

    ``rates`` are the velocities of the factors: minus ``pace · pull`` times the other factor.
    """

    definition: Definition
    first: Indexed
    second: Indexed
    scale: Expr
    pull: Expr
    pace: Expr
    rates: tuple[Expr, Expr]

    @property
    def name(self) -> str:
        return str(self.definition.base.label)

    def opened(self, sides: Iterable[Expr]) -> tuple[Expr, ...]:
        """Expressions with the velocities of the factors and the pull of the loss put in."""
        pull = n.partial_derivative(self.definition.head)
        rules = {pull.base: rule(pull, self.pull)}
        for factor, rate in zip((self.first, self.second), self.rates, strict=True):
            rules[n.time_derivative(factor).base] = rule(factor, rate)
        return tuple(replace_indexed(side, rules) for side in sides)

    def rate_of(self, expression: Expr) -> Expr:
        """d expression/dt for an expression in the two factors."""
        factors = (self.first, self.second)
        direction = {factor.base: rule(factor, rate) for factor, rate in zip(factors, self.rates, strict=True)}
        return directional_derivative(expression, direction)


def _products_of(system: ReducedSystem) -> tuple[_Product, ...]:
    if system.state != FACTORS:
        raise ValueError(f"the {system.parametrisation} flow has no invariants Δ, Γ: only split has")
    found = []
    for item, (place, first, second) in zip(PRODUCTS, ((0, *FACTORS[:2]), (2, *FACTORS[2:])), strict=True):
        slope = gradient(item.body, first)
        scale = normalise(slope / second)
        pull, pace = normalise(system.gradient[place] / slope), normalise(system.metric[place] * scale)
        rates = (system.velocity[place], system.velocity[place + 1])
        found.append(_Product(item, first, second, scale, pull, pace, rates))
    return tuple(found)


def _split_logarithms(system: ReducedSystem) -> ReducedSystem:
    parts = _products_of(system)
    names = (n.log_mu[PRODUCTS[0].indices], n.log_omega[PRODUCTS[1].indices])
    record = Recorder("Logarithmic coordinates at fixed invariants")
    record.include(system.derivation)
    opened = []
    for part, name, imbalance in zip(parts, names, IMBALANCES, strict=True):
        opened.append(_logarithm_product(record, part, name, imbalance))
    paces = tuple(2 * part.pace for part in parts)
    return _at_fixed_invariants(record, system, parts, names, tuple(opened), paces, "log")


def _record_sum_and_difference(record: Recorder, part: _Product) -> None:
    total, gap = part.first + part.second, part.first - part.second
    pull = n.partial_derivative(part.definition.head)
    record(
        f"sum and difference in {part.name}",
        (
            (n.time_derivative(part.first) + n.time_derivative(part.second), -part.pace * pull * total),
            (n.time_derivative(part.first) - n.time_derivative(part.second), part.pace * pull * gap),
        ),
        "The sum of the factors and their difference move apart; neither crosses zero.",
        check=lambda *lines: all(difference_is_zero(*part.opened(line)) for line in lines),
    )


def _growth_product(record: Recorder, part: _Product, name: Indexed, plus: Indexed, minus: Indexed) -> Definition:
    """The product as the difference of two exponentials, whose velocities are opposite in the logarithm."""
    squares = tuple(part.scale * (part.first + side * part.second) ** 2 / 4 for side in (1, -1))
    body = exp(plus + name) - exp(minus - name)

    def back(expression: Expr, *lines: tuple[Expr, Expr]) -> Expr:
        plus_square, minus_square = (square for _, square in lines)
        rules = {plus.base: rule(plus, log(plus_square) - name), minus.base: rule(minus, log(minus_square) + name)}
        return replace_indexed(expression, rules)

    record(
        f"growth in {part.name}",
        ((exp(plus + name), squares[0]), (exp(minus - name), squares[1]), (part.definition.head, body)),
        "A product is a quarter of the square of the sum less that of the difference. The logarithms of both squares "
        "move at opposite velocities, so that one variable has them both, but for constants.",
        check=lambda grown, shrunk, product: (
            all(difference_is_zero(back(told, grown, shrunk), square) for told, square in (grown, shrunk))
            and difference_is_zero(back(product[1], grown, shrunk), part.definition.body)
            and difference_is_zero(part.rate_of(log(grown[1])), -part.rate_of(log(shrunk[1])))
        ),
    )
    return Definition(part.definition.head, body)


def _logarithm_product(record: Recorder, part: _Product, name: Indexed, imbalance: Indexed) -> Definition:
    """The product in ``log(scale (first + second)²/4)``, of which the invariant makes the difference a function."""
    _record_sum_and_difference(record, part)
    total = part.first + part.second
    square = part.scale * total**2 / 4
    body = exp(name) - (part.scale * imbalance) ** 2 / 16 * exp(-name)
    fixed = {imbalance.base: rule(imbalance, part.first**2 - part.second**2)}
    record(
        f"logarithm in {part.name}",
        ((name, log(square)), (part.definition.head, body)),
        "A product is a quarter of the square of the sum less that of the difference, and the difference is the "
        "invariant over the sum.",
        check=lambda chart, product: difference_is_zero(
            replace_indexed(product[1], {**fixed, name.base: rule(name, chart[1])}), part.definition.body
        ),
    )
    return Definition(part.definition.head, body)


def _angle_product(record: Recorder, part: _Product, angle: Indexed, size: Indexed) -> Definition:
    """The product in the hyperbolic angle of its factors, for either sign of the invariant."""
    grown, shrunk = exp(angle), exp(-angle)
    cosh, sinh = sqrt(size) * (grown + shrunk) / 2, sqrt(size) * (grown - shrunk) / 2
    body = normalise(part.scale * cosh * sinh)
    record(
        f"angle in {part.name}",
        ((part.first, cosh), (part.second, sinh)),
        "For a positive invariant; the two change places for a negative one, and both change sign on the other "
        "branch. The difference of the squares is the invariant.",
        check=lambda first, second: difference_is_zero(first[1] ** 2 - second[1] ** 2, size),
    )
    pull = n.partial_derivative(part.definition.head)
    record(
        f"flow of {angle.base.label}",
        (n.time_derivative(angle), -part.pace * pull),
        "The factors then move as they should, each at minus the pace times the other.",
        check=lambda line: all(
            difference_is_zero(rate, -part.pace * part.pull * factor)
            and difference_is_zero(gradient(own, angle) * line[1], -part.pace * pull * other)
            for rate, factor, own, other in zip(
                part.rates, (part.second, part.first), (cosh, sinh), (sinh, cosh), strict=True
            )
        ),
    )
    record(
        f"product in {angle.base.label}",
        (part.definition.head, body),
        "The product of both, sinh 2x = 2 sinh x cosh x, whichever is which.",
        check=lambda line: difference_is_zero(line[1], part.scale * size * (exp(2 * angle) - exp(-2 * angle)) / 4),
    )
    return Definition(part.definition.head, body)


def _at_fixed_invariants(
    record: Recorder,
    system: ReducedSystem,
    parts: Sequence[_Product],
    names: tuple[Indexed, ...],
    opened: tuple[Definition, ...],
    paces: Sequence[Expr],
    coordinates: str,
    weight: Expr = S.One,
) -> ReducedSystem:
    """The system for one coordinate per product, moving at minus its pace times the pull on the product.

    The coordinate is ``weight`` times the logarithm of the squared sum of the factors, but for a constant.
    """
    velocity = tuple(factored(-pace * part.pull) for pace, part in zip(paces, parts, strict=True))
    slopes = tuple(gradient(item.body, name) for item, name in zip(opened, names, strict=True))
    for name, rhs, part in zip(names, velocity, parts, strict=True):
        chart = weight * log((part.first + part.second) ** 2)
        record(
            f"{coordinates} flow of {name.base.label}",
            (n.time_derivative(name), rhs),
            "The pull of the loss written out.",
            check=partial(_moves, part.rate_of(chart)),
        )
    return replace(
        system,
        state=names,
        definitions=(*opened, *system.definitions[len(PRODUCTS) :]),
        gradient=tuple(normalise(slope * part.pull) for slope, part in zip(slopes, parts, strict=True)),
        metric=tuple(pace / slope for pace, slope in zip(paces, slopes, strict=True)),
        velocity=velocity,
        invariants=(),
        coordinates=coordinates,
        derivation=record.freeze(),
    )


def _moves(velocity: Expr, line: tuple[Expr, Expr]) -> bool:
    return difference_is_zero(line[1], velocity)
