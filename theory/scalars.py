"""The way to SymPy's scalar algebra and back: expressions of one task whose indexed atoms act as symbols.

Solving, factoring and differentiating are SymPy's own; they see every indexed atom (and every closed sum) as one
plain symbol, so they cannot disturb an index.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sympy import (
    Dummy,
    Expr,
    Indexed,
    KroneckerDelta,
    Poly,
    S,
    Sum,
    Symbol,
    collect,
    degree,
    exp,
    expand,
    expand_log,
    factor,
    factor_list,
    fraction,
    log,
    solve,
    together,
)

from . import notation as n
from .indexed import substitute
from .indexed.nodes import bounds, close_sum, rebuild
from .indexed.normal import terms


@dataclass(frozen=True)
class PlainSymbols:
    """An expression in plain positive symbols, and the way back to its indexed atoms."""

    expression: Expr
    back: dict[Dummy, Expr]

    def restored(self, expression: Expr) -> Expr:
        return expression.xreplace(self.back)

    def plain(self, expression: Expr) -> Expr:
        """An expression in the same atoms, in plain symbols."""
        return expression.xreplace({atom: symbol for symbol, atom in self.back.items()})

    def factored(self) -> Expr:
        """The expression as one fraction in lowest terms, factored, in its own atoms."""
        return self.restored(factor(self.expression))

    def collected(self, atom: Expr) -> Expr:
        """The expression as one fraction, its denominator ordered by powers of ``atom`` with factored coefficients."""
        numerator, denominator = fraction(factor(self.expression))
        return self.restored(numerator / collect(expand(denominator), self.symbol(atom), factor))

    def symbol(self, atom: Expr) -> Expr:
        """The symbol that stands for an atom (a scalar symbol stands for itself)."""
        return next((symbol for symbol, own in self.back.items() if own == atom), atom)


def plain_symbols(expression: Expr) -> PlainSymbols:
    """Every closed sum and indexed atom as a positive symbol (what a bound index touches stays in its sum)."""
    sums = sorted(expression.atoms(Sum), key=str)
    outer = [total for total in sums if not any(total in other.atoms(Sum) - {other} for other in sums)]
    back: dict[Dummy, Expr] = {Dummy(f"sum{place}", positive=True): total for place, total in enumerate(outer)}
    plain = expression.xreplace({total: symbol for symbol, total in back.items()})
    atoms = {Dummy(str(atom), positive=True): atom for atom in sorted(plain.atoms(Indexed), key=str)}
    plain = plain.xreplace({atom: symbol for symbol, atom in atoms.items()})
    return PlainSymbols(plain, {**back, **atoms})


def positive_solution(expression: Expr, variable: Expr) -> Expr:
    """The one solution of ``expression = 0`` for ``variable``, all atoms positive.

    Raises ``ArithmeticError`` when there is none or more than one.
    """
    plain = plain_symbols(expression)
    return plain.restored(factor(only(list(_roots(plain.expression, plain.symbol(variable))), variable)))


def _roots(expression: Expr, variable: Symbol) -> Iterator[Expr]:
    """Factor by factor: most are linear, which needs no solver (SymPy's takes ten times as long as factoring)."""
    for part, _ in factor_list(fraction(together(expression))[0])[1]:
        if part.is_polynomial(variable) and degree(part, variable) == 1:
            slope, rest = Poly(part, variable).all_coeffs()
            if not (-rest / slope).is_nonpositive:
                yield -rest / slope
        elif part.has(variable):
            yield from solve(part, variable, simplify=False)


def only(roots: Sequence[Expr], variable: Expr) -> Expr:
    """The single element of ``roots``; ``ArithmeticError`` otherwise."""
    if len(roots) != 1:
        raise ArithmeticError(f"expected one solution for {variable}, found {roots}")
    return roots[0]


def is_only_root(expression: Expr, variable: Expr, value: Expr) -> bool:
    """Whether ``value`` is the one positive root: but for what cannot vanish, a x^k + b x^(k + j), and zero there."""
    plain = plain_symbols(expression)
    unknown = plain.symbol(variable)
    closed = plain.expression.xreplace({growth: Dummy(positive=True) for growth in plain.expression.atoms(exp)})
    two_powers = len(Poly(fraction(together(closed))[0], unknown).terms()) == 2
    root = plain_symbols(expression.xreplace({variable: value}))
    return two_powers and bool(factor(root.expression) == 0)


def is_same_power(left: Expr, right: Expr) -> bool:
    """Whether two products of powers and exponentials of positive atoms are equal: their logarithms are."""
    plain = plain_symbols(left / right)
    flat = expand_log(log(plain.expression), force=True).replace(log, lambda inside: log(factor(inside)))
    return bool(expand_log(flat, force=True).expand().factor() == 0)


def summand(total: Expr) -> Expr:
    """``Σ_i a_i + Σ_i b_i`` → ``a_i + b_i``, at the task index i; inner sums stay."""
    parts = []
    for term in terms(total):
        ranges = [(index, upper) for index, upper in term.bounds if upper == n.n_tasks]
        if len(ranges) != 1:
            raise ValueError(f"expected sums over one task index, got {total}")
        ((index, _),) = ranges
        rest = tuple(pair for pair in term.bounds if pair[0] != index)
        body = substitute(term.body(), {index: n.i})
        parts.append(term.coefficient * (Sum(body, *((b, 1, upper) for b, upper in rest)) if rest else body))
    return sum(parts, S.Zero)


def of_one_task(expression: Expr) -> Expr:
    """The expression for I = 1: sums over tasks are their one term."""
    if isinstance(expression, Sum):
        pairs = bounds(expression)
        first = {index: S.One for index, upper in pairs if upper == n.n_tasks}
        body = of_one_task(substitute(expression.function, first))
        return close_sum(body, tuple(pair for pair in pairs if pair[1] != n.n_tasks))
    if isinstance(expression, Indexed | KroneckerDelta) or not expression.args:
        return expression
    return rebuild(expression, [of_one_task(argument) for argument in expression.args])
