"""The normal form: a sum of monomials, each with its bound indices, deltas collapsed, names canonical.

Two index expressions that differ by renaming bound indices, reordering, distributing or collapsing
deltas have the same normal form.  (Fractions with sums in the denominator are atoms; equality of those
is decided by ``difference_is_zero``.)
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

from sympy import Add, Dummy, Expr, Indexed, KroneckerDelta, Mul, Pow, Rational, S, Sum, Symbol, exp, log

from ..notation import SymmetricBase
from .monomial import Bounds, Factors, Term, content_of, scaled, separated, to_expression
from .naming import name_bounds
from .nodes import NodeError, check, free_symbols, fresh, indices_of, open_sum, substitute

# A positive integer power of a sum is multiplied out up to this exponent; beyond it is an atom.
LARGEST_EXPANDED_POWER = 6


def normalise(expression: Expr) -> Expr:
    """The normal form of an index expression, bound indices named i, j, ... and h, k, ...

    Raises ``NodeError`` (a TypeError) for a node outside the set.
    """
    return name_bounds(to_expression(terms(check(expression))))


# --- from SymPy to terms -------------------------------------------------------------------------


@lru_cache(maxsize=20_000)
def terms(expression: Expr) -> tuple[Term, ...]:
    """The monomials of a checked expression, like ones collected, in canonical order."""
    return _collect(_expand(expression))


def _expand(expression: Expr) -> list[Term]:
    if expression.is_Rational:
        return [Term(coefficient=expression)] if expression != 0 else []
    if expression is S.Exp1:
        return [Term(exponent=S.One)]
    if isinstance(expression, Add):
        return [term for argument in expression.args for term in terms(argument)]
    if isinstance(expression, Mul):
        product = [Term()]
        for argument in expression.args:
            product = multiply(product, terms(argument))
        return product
    if isinstance(expression, exp):
        return _exponential(expression.args[0])
    if isinstance(expression, Sum):
        body, pairs = open_sum(expression)
        return [summed for term in terms(body) for summed in sum_over(term, pairs)]
    if isinstance(expression, Pow):
        if not isinstance(expression.exp, Rational):
            return _exponential(expression.exp * log(expression.base))
        return _power(expression.base, expression.exp)
    if isinstance(expression, log):
        return _logarithm(expression.args[0])
    return [Term(factors=((expression, S.One),))]


def sum_over(term: Term, pairs: Bounds) -> list[Term]:
    """The sum of a term over further indices."""
    return simplified(Term(term.coefficient, pairs + term.bounds, term.factors, term.exponent))


def _exponential(argument: Expr) -> list[Term]:
    """exp of a sum; deltas come outside, ``exp(δ x) = 1 + δ (exp(x) − 1)``, and ``exp(p log x) = x^p``."""
    plain: list[Term] = []
    powers: list[tuple[Expr, Rational]] = []
    under_delta: dict[Expr, list[Term]] = {}
    for term in terms(argument):
        deltas = [atom for atom, _ in term.factors if isinstance(atom, KroneckerDelta)]
        if deltas and not term.bound_indices & free_symbols(deltas[0]):
            rest = tuple(pair for pair in term.factors if pair[0] != deltas[0])
            under_delta.setdefault(deltas[0], []).append(Term(term.coefficient, term.bounds, rest, term.exponent))
        elif (logarithm := _lone_logarithm(term)) is not None:
            powers.append((logarithm, term.coefficient))
        else:
            plain.append(term)
    product = [Term(exponent=to_expression(plain))]
    for base, power in powers:
        product = multiply(product, _power(base, power))
    for delta, parts in under_delta.items():
        on = multiply([Term(factors=((delta, S.One),))], _exponential(to_expression(parts)))
        off = Term(coefficient=-S.One, factors=((delta, S.One),))
        product = multiply(product, [Term(), *on, off])
    return product


def _lone_logarithm(term: Term) -> Expr | None:
    """x where the term is a number times log x."""
    if term.bounds or term.exponent != 0 or len(term.factors) != 1:
        return None
    ((atom, power),) = term.factors
    return atom.args[0] if isinstance(atom, log) and power == 1 else None


def _outside_delta(parts: tuple[Term, ...], function: Callable[[Expr], list[Term]]) -> list[Term] | None:
    """``f(δ) = f(0) + δ (f(1) − f(0))`` for the first delta of a sum: deltas come out of logarithms and powers.

    None where there is none, or where the sum without it is empty, at which f need not be defined.
    """
    for part in parts:
        for delta in (atom for atom, _ in part.factors if isinstance(atom, KroneckerDelta)):
            off = tuple(other for other in parts if all(atom != delta for atom, _ in other.factors))
            if part.bound_indices & free_symbols(delta) or not off:
                continue
            first, second = sorted(indices_of(delta), key=lambda entry: entry.sort_key())
            on = [
                Term(
                    other.coefficient,
                    other.bounds,
                    tuple((substitute(atom, {second: first}), power) for atom, power in other.factors if atom != delta),
                    substitute(other.exponent, {second: first}),
                )
                for other in parts
            ]
            one = [Term(factors=((delta, S.One),))]
            without = function(to_expression(off))
            return [
                *without,
                *multiply(one, function(to_expression(on))),
                *multiply([scaled(one[0], -S.One)], without),
            ]
    return None


def _logarithm(argument: Expr) -> list[Term]:
    """log, with ``log x^p = p log x`` where ``x^p > 0`` (it is under a logarithm) implies x > 0."""
    parts = terms(argument)
    if (split := _outside_delta(parts, _logarithm)) is not None:
        return split
    if parts == (Term(),):
        return []
    if len(parts) == 1 and parts[0].coefficient == 1 and not parts[0].bounds and len(parts[0].factors) < 2:
        (single,) = parts
        inner = list(terms(single.exponent))
        if not single.factors:
            return inner
        ((atom, power),) = single.factors
        if atom.is_positive or not _even(power):
            return [Term(coefficient=power, factors=((log(atom), S.One),)), *inner]
    return [Term(factors=((log(to_expression(parts)), S.One),))]


def _even(power: Rational) -> bool:
    return bool(power.is_Integer and int(power) % 2 == 0)


def _power(base: Expr, power: Rational) -> list[Term]:
    parts = terms(base)
    if not parts:
        if power <= 0:
            raise ZeroDivisionError(f"0 to the power {power} in an index expression")
        return []
    if len(parts) == 1 and not parts[0].bounds and power.is_Integer:
        return _monomial_power(parts[0], power)
    if power.is_Integer and 0 < power <= LARGEST_EXPANDED_POWER:
        product = [Term()]
        for _ in range(int(power)):
            product = multiply(product, parts)
        return product
    if len(parts) == 1:
        return _monomial_power(parts[0], power)
    if (split := _outside_delta(parts, lambda inner: _power(inner, power))) is not None:
        return split
    # A power that stays closed: its base up to a positive rational, so that 1/(2a + 2b) = (1/2)/(a + b).
    content = content_of(parts)
    primitive = to_expression([scaled(part, 1 / content) for part in parts])
    return simplified(Term(factors=((primitive, power), (content, power))))


def _monomial_power(term: Term, power: Rational) -> list[Term]:
    """A power of one term; a fractional one of each factor that cannot be negative, and of the rest."""
    outside, exponents, sums = separated(term)
    factors = outside + tuple((total, S.One) for total in sums)
    number, exponent = term.coefficient, Add(*exponents) * power
    if power.is_Integer:
        raised = tuple((atom, own * power) for atom, own in factors)
        return simplified(Term(S.One, (), (*raised, (number, power)), exponent))
    apart = tuple(pair for pair in factors if number > 0 and _cannot_be_negative(pair[0]))
    together = tuple(pair for pair in factors if pair not in apart)
    if len(together) == 1 and number > 0 and not _even(together[0][1]):
        apart, together = (*apart, *together), ()  # an odd power is not negative where its base is not
    raised = tuple((atom, own * power) for atom, own in apart)
    if together or number < 0:
        raised += ((Mul(S.One if number > 0 else -S.One, *(Pow(*pair) for pair in together)), power),)
    return simplified(Term(S.One, (), (*raised, (abs(number), power)), exponent))


def _cannot_be_negative(atom: Expr) -> bool:
    return bool(atom.is_nonnegative) or isinstance(atom, KroneckerDelta)


def _refreshed(term: Term) -> Term:
    """The same term with bound indices that no other term has."""
    if not term.bounds:
        return term
    renamed = {index: fresh(index) for index, _ in term.bounds}
    factors = tuple((substitute(atom, renamed), power) for atom, power in term.factors)
    bounds = tuple((renamed[index], upper) for index, upper in term.bounds)
    return Term(term.coefficient, bounds, factors, substitute(term.exponent, renamed))


def multiply(left: Iterable[Term], right: Iterable[Term]) -> list[Term]:
    """The products of every term of ``left`` with every term of ``right``."""
    return [
        product
        for first, original in itertools.product(left, right)
        for second in (_refreshed(original),)
        for product in simplified(
            Term(
                first.coefficient * second.coefficient,
                first.bounds + second.bounds,
                first.factors + second.factors,
                first.exponent + second.exponent,
            )
        )
    ]


def simplified(term: Term) -> list[Term]:
    """Equal atoms merged, numbers in the coefficient, deltas collapsed, powers and idle sums worked out."""
    number = term.coefficient
    powers: dict[Expr, Rational] = {}
    for atom, power in _identified(term.factors):
        if atom.is_Number:
            number *= Pow(atom, power)
        elif not isinstance(atom, KroneckerDelta):
            powers[atom] = powers.get(atom, S.Zero) + power
        elif power > 0:
            powers[atom] = S.One
        else:
            raise ZeroDivisionError(f"{atom} is 0 off the diagonal: no power {power}")
    coefficient, radical = number.as_coeff_Mul()
    if coefficient == 0:
        return []
    powers |= dict(root.as_base_exp() for root in Mul.make_args(radical) if root != 1)
    factors = tuple((atom, power) for atom, power in powers.items() if power != 0)
    merged = Term(coefficient, term.bounds, factors, term.exponent)
    for delta in (atom for atom in powers if isinstance(atom, KroneckerDelta)):
        collapsed = _collapsed(merged, delta)
        if collapsed is not None:
            return collapsed
    for atom, power in factors:
        if _opens(atom, power):
            rest = tuple(pair for pair in factors if pair[0] != atom)
            return multiply([Term(coefficient, term.bounds, rest, term.exponent)], _power(atom, power))
    exponent = term.exponent if term.exponent.is_Atom else _raw(term.exponent)
    used = free_symbols(exponent).union(*(free_symbols(atom) for atom, _ in factors))
    if idle := {index: upper for index, upper in term.bounds if index not in used}:
        # The sum over an index that does not occur multiplies by its range.
        bounds = tuple(pair for pair in term.bounds if pair[0] not in idle)
        factors += tuple((upper, S.One) for upper in idle.values())
        return simplified(Term(coefficient, bounds, factors, exponent))
    return [Term(coefficient, term.bounds, factors, exponent)]


def _identified(factors: Factors) -> Factors:
    """The factors with atoms that differ in the names of bound indices only made the same."""
    if sum(atom.has(Sum) for atom, _ in factors) < 2:
        return factors
    known: dict[str, Expr] = {}
    return tuple(
        (known.setdefault(serialise(atom, {}), atom) if atom.has(Sum) else atom, power) for atom, power in factors
    )


def _opens(atom: Expr, power: Rational) -> bool:
    """Whether a power of a composite atom, as merging leaves it, has to be multiplied out."""
    if isinstance(atom, Add | Sum):
        return bool(power.is_Integer and 0 < power <= LARGEST_EXPANDED_POWER)
    return isinstance(atom, Mul | Pow) and not atom.is_number and bool(power.is_Integer)


def _collapsed(term: Term, delta: Expr) -> list[Term] | None:
    """The term with a delta's one index put for the other, or None where there is nothing to do.

    A delta ties indices of one range: a free index has the range of its partner.
    """
    ranges = dict(term.bounds)
    first, second = sorted(indices_of(delta), key=lambda entry: (entry in ranges, entry.sort_key()))
    if first in ranges and ranges[first] != ranges[second]:
        raise NodeError(f"{delta} ties indices that run to {ranges[first]} and to {ranges[second]}")
    removable = second in ranges  # ``second`` is the index that goes
    rest = tuple((atom, power) for atom, power in term.factors if atom != delta)
    occurs = any(second in free_symbols(atom) for atom, _ in rest) or second in free_symbols(term.exponent)
    if not removable and not occurs:
        return None
    bounds = tuple(pair for pair in term.bounds if not (removable and pair[0] == second))
    changed = {second: first}
    factors: Factors = () if removable else ((delta, S.One),)
    factors += tuple((substitute(atom, changed), power) for atom, power in rest if _is_plain(atom))
    # With two indices made one, a composite atom may be another.  The sums join last: an index that occurs in
    # composite atoms only would look idle before.
    composite = [Term()]
    for atom, power in rest:
        if not _is_plain(atom):
            composite = multiply(composite, _power(substitute(atom, changed), power))
    return multiply([Term(term.coefficient, bounds, factors, substitute(term.exponent, changed))], composite)


def _is_plain(atom: Expr) -> bool:
    return isinstance(atom, Indexed | KroneckerDelta) or not atom.args


def _collect(raw: Iterable[Term]) -> tuple[Term, ...]:
    collected: dict[str, Term] = {}
    for term in raw:
        key, order = _canonical(term, {})
        earlier = collected[key].coefficient if key in collected else S.Zero
        collected[key] = Term(earlier + term.coefficient, order, term.factors, term.exponent)
    return tuple(term for _, term in sorted(collected.items()) if term.coefficient != 0)


# --- canonical keys ------------------------------------------------------------------------------


def serialise(expression: Expr, names: Mapping[Symbol, str]) -> str:
    """A string that is equal for equal normal forms; ``names`` overrides the names of free indices."""
    if isinstance(expression, Dummy):
        return names.get(expression, f"{expression.name}~{expression.dummy_index}")
    if isinstance(expression, Symbol):
        return names.get(expression, expression.name)
    if isinstance(expression, Indexed | KroneckerDelta):
        entries = [serialise(entry, names) for entry in indices_of(expression)]
        if isinstance(expression, KroneckerDelta) or isinstance(expression.base, SymmetricBase):
            entries.sort()
        head = "δ" if isinstance(expression, KroneckerDelta) else expression.base.name
        return f"{head}[{','.join(entries)}]"
    if expression.is_Rational:
        return _digits(expression)
    if expression.is_NumberSymbol:
        return str(expression)
    if isinstance(expression, log):
        return f"log{serialise(expression.args[0], names)}"
    keys = sorted(f"{_digits(term.coefficient)}*{_canonical(term, names)[0]}" for term in terms(expression))
    return "{" + " + ".join(keys) + "}"


def _digits(number: Rational) -> str:
    """SymPy's ``str`` of a rational, without its printer: most of the time of a key was spent there."""
    return str(number.p) if number.q == 1 else f"{number.p}/{number.q}"


def _canonical(term: Term, names: Mapping[Symbol, str]) -> tuple[str, tuple[tuple[Symbol, Expr], ...]]:
    """The key of a term without its coefficient, and its bounds in canonical order."""

    def key(naming: Mapping[Symbol, str]) -> str:
        parts = sorted(f"{serialise(atom, naming)}^{_digits(power)}" for atom, power in term.factors)
        if term.exponent is not S.Zero:
            parts.append(f"exp{serialise(term.exponent, naming)}")
        return " ".join(parts)

    if not term.bounds:
        return key(names), ()
    blind = {**names, **{index: "?" for index, _ in term.bounds}}
    signatures = {index: (serialise(upper, {}), key({**blind, index: "*"})) for index, upper in term.bounds}
    groups = itertools.groupby(
        sorted(term.bounds, key=lambda pair: signatures[pair[0]]), lambda pair: signatures[pair[0]]
    )
    alternatives = [list(itertools.permutations(list(group))) for _, group in groups]
    depth = sum(1 for name in names.values() if name.startswith("#"))
    best: tuple[str, tuple[tuple[Symbol, Expr], ...]] | None = None
    for choice in itertools.product(*alternatives):
        order = tuple(itertools.chain.from_iterable(choice))
        naming = {**names, **{index: f"#{depth + place}" for place, (index, _) in enumerate(order)}}
        text = f"Σ{[serialise(upper, {}) for _, upper in order]} {key(naming)}"
        if best is None or text < best[0]:
            best = text, order
    assert best is not None
    return best


def _raw(expression: Expr) -> Expr:
    """Normal form whose bound indices are still the internal ones."""
    return to_expression(terms(expression))
