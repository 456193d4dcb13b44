"""The moments of a real Wishart matrix W = XᵀX (p × p, n degrees of freedom), as polynomials in p and n.

By pairing the entries of X (Isserlis, Wick); and the power series in 1/s of what is compared with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from sympy import Add, Expr, Integer, Mul, Poly, S, Symbol, exp, expand, factorial, ff, rf

fewer, more = Symbol("p", positive=True), Symbol("n", positive=True)

_Entry = tuple[object, object]
_SMALL, _RHO, _THETA = (Symbol(name, positive=True) for name in ("x", "varrho", "vartheta"))


@cache
def moment(*powers: int) -> Expr:
    """E Π tr W^k over ``powers``."""
    letters: list[_Entry] = []
    for trace, power in enumerate(powers):
        for k in range(power):
            # W_jj' = Σ_l X_lj X_lj': two letters share their row; neighbours in the trace share their column.
            row = ("row", trace, k)
            letters += [(row, ("column", trace, k)), (row, ("column", trace, (k + 1) % power))]
    free = fewer ** powers.count(0)
    return expand(free * Add(*(_loops(letters, pairing) for pairing in _pairings(tuple(range(len(letters)))))))


def _loops(letters: list[_Entry], pairing: tuple[tuple[int, int], ...]) -> Expr:
    """n to the number of free rows, p to that of free columns, where paired letters have the same indices."""
    joined: dict[object, object] = {}

    def root(label: object) -> object:
        while label in joined:
            label = joined[label]
        return label

    for left, right in pairing:
        for one, other in zip(letters[left], letters[right], strict=True):
            if root(one) != root(other):
                joined[root(one)] = root(other)
    free = {root(label) for letter in letters for label in letter}
    rows = sum(isinstance(label, tuple) and label[0] == "row" for label in free)
    return more**rows * fewer ** (len(free) - rows)


def _pairings(items: tuple[int, ...]) -> Iterator[tuple[tuple[int, int], ...]]:
    if not items:
        yield ()
        return
    first, *rest = items
    for place, partner in enumerate(rest):
        for others in _pairings((*rest[:place], *rest[place + 1 :])):
            yield ((first, partner), *others)


def trace_series(orders: int) -> list[Expr]:
    """E tr (W + s)⁻¹ in powers of 1/s: the coefficients of s^{−k−1} for k = 0, …, ``orders``."""
    return [Integer(-1) ** power * moment(power) for power in range(orders + 1)]


def parts_series(orders: int) -> list[Expr]:
    """(s + n − p − 1) E tr R + s E tr R² + s E (tr R)² in powers of 1/s, R = (W + s)⁻¹: from s⁰ on."""
    found = [fewer]
    for order in range(1, orders + 1):
        sign, before = Integer(-1) ** order, Integer(-1) ** (order - 1)
        # R² = Σ_k (k + 1) (−W)^k/s^{k+2}; (tr R)² by pairs of powers.
        pairs = Add(*(moment(a, order - 1 - a) for a in range(order)))
        terms = sign * moment(order) + before * ((more - fewer - 1 + order) * moment(order - 1) + pairs)
        found.append(expand(terms))
    return found


def agrees_with_moments(weight: Expr, means: Sequence[Expr], symbols: Sequence[Symbol], orders: int) -> bool:
    """Whether Σ_j Q_j(s) J_j is constant in s and Σ_j Q_j'(s) J_j is E tr (W + s)⁻¹ times it, in powers of 1/s.

    ``symbols`` are r, τ and s; J_j is the integral over r, τ > 0 of the weight times ``means[j]``, and Q_j is
    Σ_k t^{p−k} n!/(n−k)! (p−2 choose k−j).
    """
    r, tau, shift = symbols
    scaled = {r: _SMALL * _RHO, tau: 2 * _SMALL * _THETA, shift: 1 / _SMALL}
    # As 1/s → 0 the weight tends to ϱ^{p−2} e^{−ϱ−ϑ}, whose moments are known.
    rest = Mul(*(factor.subs(scaled).powsimp() for factor in weight.args)) / (_SMALL * _RHO) ** (fewer - 2)
    rest = (rest * exp(_RHO + _THETA)).powsimp().simplify()
    one, trace = [S.Zero] * (orders + 1), [S.Zero] * (orders + 1)
    for j, mean in enumerate(means):
        averaged = averaged_series(rest * mean.subs(scaled), _SMALL, {_RHO: fewer - 1, _THETA: S.One}, orders)
        for k in range(j, orders + 1):
            coefficient = ff(fewer - 2, k - j) / factorial(k - j) * ff(more, k)
            for order, value in enumerate(averaged[: orders + 1 - k], k):
                one[order] += coefficient * value
                trace[order] += (fewer - k) * coefficient * value
    expected = [S.One, *[S.Zero] * orders], trace_series(orders)
    return all(
        expand(value - right, func=True) == 0
        for found, known in zip((one, trace), expected, strict=True)
        for value, right in zip(found, known, strict=True)
    )


def one_agrees_with_moments(weight: Expr, symbols: Sequence[Symbol], orders: int) -> bool:
    """Whether the integral of the weight over τ is E 1/(W + s) for p = 1, in powers of 1/s; ``symbols`` are τ and s."""
    tau, shift = symbols
    rest = 2 * weight.subs({tau: 2 * _SMALL * _THETA, shift: 1 / _SMALL}) * exp(_THETA)
    series = averaged_series(rest.powsimp(), _SMALL, {_THETA: S.One}, orders)
    return all(expand(a - b.subs(fewer, 1)) == 0 for a, b in zip(series, trace_series(orders), strict=True))


def averaged_series(function: Expr, small: Symbol, shapes: Mapping[Symbol, Expr], orders: int) -> list[Expr]:
    """Power series in ``small`` of a product, averaged over Gamma variables of the given shapes."""
    total = [S.One, *[S.Zero] * orders]
    for factor in Mul.make_args(function):
        own = _series(factor, small, orders)
        total = [expand(Add(*(total[k] * own[order - k] for k in range(order + 1)))) for order in range(orders + 1)]
    variables = tuple(shapes)
    found = []
    for coefficient in total:
        terms = Poly(coefficient, *variables).terms()
        found.append(Add(*(value * Mul(*map(rf, shapes.values(), map(Integer, powers))) for powers, value in terms)))
    return [expand(value, func=True) for value in found]


def _series(factor: Expr, small: Symbol, orders: int) -> list[Expr]:
    """Taylor coefficients, by derivatives at zero."""
    found, current = [], factor
    for order in range(orders + 1):
        found.append(expand(current.subs(small, 0)) / factorial(order))
        current = current.diff(small)
    return found
