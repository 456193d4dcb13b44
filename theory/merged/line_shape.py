"""Heads along one direction: how many moments they can make vanish, and which of them rest (derived here).

Head h is at ``y_h = √d ω^h`` on the line.  With ``z_h = 1/y_h`` sums over heads are divided differences of powers of z,
and everything follows from them.
"""

from __future__ import annotations

from collections.abc import Sequence

from sympy import (
    Add,
    Expr,
    Gt,
    IndexedBase,
    Integer,
    Ne,
    Poly,
    Rational,
    S,
    Symbol,
    diff,
    fraction,
    limit,
    linsolve,
    log,
    prod,
    symbols,
    together,
)

from .. import notation as n
from ..derivation import Derivation, Recorder
from ..indexed import substitute, unroll
from ..result import builder

# y_h and 1/y_h; κ = S_1; Q(z) = Π_h (z − z_h): its slope at z_h, and its value at 0; the moments S_j = Σ_h μ^h y_h^j.
point = IndexedBase("y", real=True)
inverse_point = IndexedBase("z", real=True)
reach = Symbol("kappa", positive=True)
slope = IndexedBase("Q_prime", real=True)
value_at_zero = Symbol("Q_0", real=True)
moment = IndexedBase("S", real=True)
shape = Symbol("g", positive=True)
_split = IndexedBase("q", real=True)
_change = Symbol("delta_S", real=True)
_mu = n.mu[1, n.h]
# Heads at rest at which identities are checked.
_AT_REST = tuple(
    tuple(map(Integer, places)) for places in ((1, -1), (1, 2, -3), (1, 2, 4, -7), (1, 5, -2, -4), (1, 2, 4, -3, -4))
)


def slopes(places: Sequence[Expr]) -> list[Expr]:
    """Q′ at each of its roots."""
    return [prod(one - other for k, other in enumerate(places) if k != h) for h, one in enumerate(places)]


def resting_weights(places: Sequence[Expr]) -> list[Expr]:
    """μ of heads at y = 1/z with Σ z = 0, for κ = 1: of zero sum, and with no moment from the second to the last."""
    return [one ** len(places) / steep for one, steep in zip(places, slopes(places), strict=True)]


def shape_number(places: Sequence[Expr], sizes: Sequence[Expr]) -> Expr:
    """``|μ|^(2p) (Σ_h μ_h y_h^(p+1))²`` at κ = 1 of p places at y = 1/z, Σ z = 0, with so many heads at each.

    It depends on the shape alone, not on its scale.  Heads at one place share its μ equally.
    """
    return _squares(places, sizes) ** len(places) / prod(one**2 for one in places)


def spread_number(places: Sequence[Expr], sizes: Sequence[Expr]) -> Expr:
    """``|μ|² Σ_h y_h²`` at κ = 1, of the same heads: free of scale too."""
    return _squares(places, sizes) * Add(*(many / one**2 for one, many in zip(places, sizes, strict=True)))


def _squares(places: Sequence[Expr], sizes: Sequence[Expr]) -> Expr:
    return Add(*(mu**2 / many for mu, many in zip(resting_weights(places), sizes, strict=True)))


@builder
def line_shape() -> Derivation:
    """Order, rest and signs of heads along one direction."""
    record = Recorder("Heads along one direction", ("I = 1, and the heads are at different y_h ≠ 0",))
    _record_moments(record)
    _record_order(record)
    _record_merging(record)
    _record_signs(record)
    _record_three_heads(record)
    return record.freeze()


def _values(places: Sequence[Expr]) -> dict[str, object]:
    """What the formulas of this derivation name, at such z and κ = 1 and the μ at rest."""
    return {
        "I": 1,
        "H": len(places),
        "kappa": 1,
        "z": places,
        "y": [1 / one for one in places],
        "Q_prime": slopes(places),
        "Q_0": prod(-one for one in places),
        "mu": [resting_weights(places)],
    }


def _moments(mu: Sequence[Expr], places: Sequence[Expr], highest: int) -> list[Expr]:
    return [Add(*(m / one**power for m, one in zip(mu, places, strict=True))) for power in range(highest + 1)]


def _vanishes(expression: Expr) -> bool:
    return bool(fraction(together(expression))[0].expand() == 0)


def _record_moments(record: Recorder) -> None:
    power = Symbol("j", integer=True, nonnegative=True)
    record(
        "heads at rest on a line",
        (
            (n.over_heads(inverse_point[n.h]), S.Zero),
            (_mu, reach * inverse_point[n.h] ** n.n_heads / slope[n.h]),
            (moment[power], n.over_heads(_mu * point[n.h] ** power)),
            (moment[0], S.Zero),
            (moment[1], reach),
            (moment[n.n_heads], S.Zero),
            (moment[n.n_heads + 1], -reach / value_at_zero),
        ),
        "y_h = √d ω_1^h = 1/z_h, Q(z) = Π_h (z − z_h), Q′_h its slope at z_h, Q_0 its value at 0. So S_j is κ times "
        "the divided difference of z^{H−j}, which is 0 for 2 ≤ j ≤ H.",
        check=lambda *lines: all(_moments_are_as_said(lines[1][1], lines[-1][1], places) for places in _AT_REST),
        scope="H = 2, 3, 4, 5 with rational z",
        theorem="Euler's identities for sums over the roots of a polynomial",
    )


def _moments_are_as_said(weight: Expr, last: Expr, places: Sequence[Expr]) -> bool:
    heads = len(places)
    values = {name: value for name, value in _values(places).items() if name != "mu"}
    of_head = weight.xreplace({n.n_heads: Integer(heads)})
    mu = [unroll(substitute(of_head, {n.h: Integer(head)}), values) for head in range(1, heads + 1)]
    expected = [S.Zero, S.One, *[S.Zero] * (heads - 1), unroll(last, values)]
    found = _moments(mu, places, heads + 1)
    return all(_vanishes(one - other) for one, other in zip(found, expected, strict=True))


def _record_order(record: Recorder) -> None:
    total = n.over_heads(inverse_point[n.h])
    record(
        "order on a line",
        (Ne(total, 0), (moment[n.n_heads], reach * total / value_at_zero)),
        "For any y_h the conditions S_0 = 0, S_1 = κ and S_2 = … = S_{H−1} = 0 have one solution in μ, which leaves "
        "this S_H. So the order is p = H where Σ_h 1/y_h = 0, and H − 1 elsewhere: from there ω goes on to where S_H "
        "is 0, or to where heads meet.",
        check=lambda _, line: all(_next_moment_is_as_said(line[1], heads) for heads in (2, 3, 4)),
        scope="H = 2, 3, 4",
    )


def _next_moment_is_as_said(formula: Expr, heads: int) -> bool:
    """The conditions solved as linear equations, for any z."""
    places = symbols(f"z1:{heads + 1}", positive=True)
    mu = symbols(f"m1:{heads + 1}", real=True)
    conditions = _moments(mu, places, heads - 1)
    conditions[1] -= 1
    (solution,) = linsolve(conditions, mu)
    return _vanishes(_moments(solution, places, heads)[heads] - unroll(formula, _values(places)))


def _record_merging(record: Recorder) -> None:
    h = n.h
    costs = (n.n_heads + 1) / S(2) * n.over_heads(inverse_point[h] ** 2 * _split[h] / _mu)
    record(
        "groups of heads rest",
        ((_change / moment[n.n_heads + 1], costs), Gt(_split[h] / _mu, 0)),
        "Let several heads be at each place, with μ_h in sum, and move apart by small δ with Σ μ δ = 0 in each group; "
        "q_h = Σ μ δ² there. The places answer so that S_1, …, S_H stay, and S_{H+1} changes by this. Where the μ of "
        "each group have one sign, |S_{H+1}| grows, and with it the gap: groups stay together. A group with μ of both "
        "signs opens. So valleys of every order from 2 to the number of heads attract, each with as many groups.",
        check=lambda line, _: all(_splitting_costs(line[1], places) for places in _AT_REST),
        scope="H = 2, 3, 4, 5 with rational z",
    )


def _splitting_costs(formula: Expr, at_rest: Sequence[Expr]) -> bool:
    """The answer of the places solved for, then put in."""
    heads = len(at_rest)
    mu, places = resting_weights(at_rest), [1 / one for one in at_rest]
    answer, spread = symbols(f"a1:{heads + 1}", real=True), symbols(f"q1:{heads + 1}", real=True)

    def change(power: int) -> Expr:
        """Of S_power, to first order in the answer and to second in what is within the groups."""
        return Add(
            *(m * power * y ** (power - 1) * by for m, y, by in zip(mu, places, answer, strict=True)),
            *(Rational(power * (power - 1), 2) * y ** (power - 2) * q for y, q in zip(places, spread, strict=True)),
        )

    (solved,) = linsolve([change(power) for power in range(1, heads + 1)], answer)
    found = change(heads + 1).xreplace(dict(zip(answer, solved, strict=True)))
    last = _moments(mu, at_rest, heads + 1)[-1]
    return _vanishes(found / last - unroll(formula, {**_values(at_rest), "q": spread}))


def _record_signs(record: Recorder) -> None:
    h = n.h
    record(
        "order three needs opposed heads",
        ((moment[3], n.over_heads(_mu * point[h] * point[h] ** 2)), Gt(moment[3], 0)),
        "Positive where μ^h ω^h > 0 for every head: such heads have p ≤ 2. Out of small weights they grow with ω in "
        "proportion to μ, and then come to pairs; p ≥ 3 takes a head with μ^h ω^h < 0.",
    )


def _record_three_heads(record: Recorder) -> None:
    place = Symbol("a", positive=True)
    record(
        "three heads at rest",
        ((inverse_point[1], place), (inverse_point[2], 1 - place), (inverse_point[3], Integer(-1))),
        "Up to order, sign and scale, with ½ < a < 1. The shape number g has one critical point there, its minimum: "
        "all shapes of three heads tend to it.",
        check=lambda *lines: _one_minimum([right for _, right in lines], place),
    )


def _one_minimum(places: Sequence[Expr], place: Expr) -> bool:
    number = shape_number(places, [S.One] * len(places))
    numerator = Poly(fraction(together(diff(log(number), place)))[0], place)
    ends = (limit(number, place, Rational(1, 2), "+"), limit(number, place, 1, "-"))
    inside = [root for root in numerator.real_roots() if Rational(1, 2) < root < 1]
    return all(end == S.Infinity for end in ends) and len(inside) == 1
