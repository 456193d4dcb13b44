"""Random formulas of every node that is printed, also in shapes that SymPy would rewrite (``evaluate=False``).

Names are those of ``index_expressions``; what may be negative and what is positive is drawn apart, so that every root
and logarithm is real.  Bound indices take the names of others on purpose.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from random import Random

import sympy as sp

from index_expressions import HEAD, N_HEADS, N_TASKS, NAMES, TASK, A, B, G, P, Q, R, T, X

Scope = Mapping[sp.Symbol, sp.Expr]
VARIANCE = sp.Symbol("sigma2", positive=True)  # prints σ²: its powers are not powers of a bracket
EMBEDDING = sp.Symbol("d_e", positive=True)
ARRAYS = {X: (N_TASKS, N_HEADS), P: (N_TASKS, N_HEADS), A: (N_TASKS,), B: (N_HEADS,), G: (N_HEADS, N_HEADS)}
DEFINED = {Q: (N_HEADS, N_HEADS), R: (N_TASKS,)}
# How each name is printed, typed by hand.
PRINTED = {"x": "x_①②", "p": "p_①^②", "a": "a_①", "b": "b_①", "g": "g_①②"}
SCALARS = {"t": "t", "sigma2": "σ²", "d_e": "d_e"}

_POWERS = [2, 3, -1, -2, sp.Rational(1, 2), -sp.Rational(1, 2), sp.Rational(2, 3), -sp.Rational(3, 2)]


class Drawing:
    """One formula, of at most about ``size`` nodes; ``closed`` keeps to the nodes of the index calculus."""

    def __init__(
        self, random: Random, size: int, closed: bool, arrays: Mapping[sp.IndexedBase, tuple[sp.Expr, ...]] = ARRAYS
    ) -> None:
        self.arrays = arrays
        self.random = random
        self.left = size
        self.closed = closed
        self.exponentials = 0

    def formula(self) -> sp.Expr:
        """A formula in which i may occur free as a task and h as a head."""
        return self.signed({TASK: N_TASKS, HEAD: N_HEADS})

    def loss(self) -> sp.Expr:
        """A formula without free indices, of one sum or two."""
        if self.random.random() < 0.5:
            return sp.Sum(self.formula(), (HEAD, 1, N_HEADS), (TASK, 1, N_TASKS))
        scopes = self.random.sample([(TASK, N_TASKS), (HEAD, N_HEADS), (HEAD, N_HEADS)], 2)
        parts = (sp.Sum(self.signed({index: upper}), (index, 1, upper)) for index, upper in scopes)
        return self.number() * sp.Add(*parts)

    def number(self) -> sp.Expr:
        return sp.Rational(self.random.randint(1, 5), self.random.randint(1, 4))

    def index(self, upper: sp.Expr, scope: Scope) -> sp.Expr:
        fitting = sorted((name for name, own in scope.items() if own == upper), key=str)
        return self.random.choice(fitting) if fitting and self.random.random() < 0.9 else sp.Integer(1)

    def atom(self, scope: Scope, positive: bool) -> sp.Expr:
        if self.random.random() < 0.2:
            return self.random.choice([T, VARIANCE, EMBEDDING, sp.E, sp.pi])
        base = self.random.choice([base for base in self.arrays if not positive or base not in (X, R)])
        return base[tuple(self.index(upper, scope) for upper in self.arrays[base])]

    def joined(self, kind: type, *parts: sp.Expr) -> sp.Expr:
        return kind(*parts, evaluate=self.random.random() < 0.5)

    def over(self, scope: Scope, kind: type, positive: bool) -> sp.Expr:
        inner, limits = dict(scope), []
        for _ in range(self.random.choice([1, 1, 2])):
            name = sp.Symbol(self.random.choice(NAMES), integer=True)
            if self.random.random() < 0.1:
                name = sp.Dummy(name.name, integer=True)
            upper = self.random.choice([N_TASKS, N_HEADS, N_HEADS, sp.Integer(2)])
            if name not in [limit[0] for limit in limits]:
                limits.append((name, 1, upper))
                inner[name] = upper
        return kind(self.positive(inner) if positive else self.signed(inner), *limits)

    def exponent(self, scope: Scope) -> sp.Expr:
        """What an exponential is taken of: bounded, for towers of them."""
        self.exponentials += 1
        inner = self.signed(scope) if self.exponentials < 2 else self.atom(scope, False)
        self.exponentials -= 1
        return inner / self.random.choice([-3, 2, 1])

    def signed(self, scope: Scope) -> sp.Expr:
        self.left -= 1
        if self.left <= 0:
            return self.atom(scope, False)
        kinds = ["atom", "add", "subtract", "negative", "product", "product", "sum", "sum", "power", "delta", "number"]
        kind = self.random.choice([*kinds, "positive", *([] if self.closed else ["big product", "max", "sinh"])])
        match kind:
            case "atom":
                return self.atom(scope, False)
            case "number":
                return self.number() * self.random.choice([1, -1])
            case "add":
                return self.joined(sp.Add, self.signed(scope), self.signed(scope))
            case "subtract":
                return self.joined(sp.Add, self.signed(scope), self.joined(sp.Mul, sp.Integer(-1), self.signed(scope)))
            case "negative":
                return self.joined(sp.Mul, -self.random.choice([sp.S.One, self.number()]), self.signed(scope))
            case "product":
                return self.joined(sp.Mul, self.signed(scope), self.signed(scope))
            case "sum":
                return self.over(scope, sp.Sum, False)
            case "power":
                return self.joined(sp.Pow, self.signed(scope), sp.Integer(self.random.choice([2, 3])))
            case "delta":
                first = self.random.choice(sorted(scope, key=str))
                return sp.KroneckerDelta(first, self.index(scope[first], scope)) * self.signed(scope)
            case "big product":
                return self.over(scope, sp.Product, False)
            case "max":
                return sp.Max(self.signed(scope), self.signed(scope), evaluate=False)
            case "sinh":
                return sp.sinh(self.exponent(scope))
        return self.positive(scope)

    def positive(self, scope: Scope) -> sp.Expr:
        self.left -= 1
        if self.left <= 0:
            return self.atom(scope, True)
        kinds = ["atom", "add", "product", "product", "sum", "power", "power", "exp", "exp", "log", "square", "root"]
        kind = self.random.choice([*kinds, *([] if self.closed else ["big product", "symbolic power", "abs"])])
        match kind:
            case "atom":
                return self.number() * self.atom(scope, True)
            case "add":
                return self.joined(sp.Add, self.positive(scope), self.positive(scope))
            case "product":
                return self.joined(sp.Mul, self.positive(scope), self.positive(scope))
            case "sum":
                return self.over(scope, sp.Sum, True)
            case "power":
                return self.joined(sp.Pow, self.positive(scope), sp.Rational(self.random.choice(_POWERS)))
            case "root":
                return self.joined(sp.Mul, *(sp.sqrt(self.atom(scope, True)) for _ in range(2)), self.positive(scope))
            case "exp":
                return sp.exp(self.exponent(scope))
            case "log":
                return sp.log(1 + self.positive(scope))
            case "square":
                return self.joined(sp.Pow, 1 + self.signed(scope) ** 2, sp.Integer(self.random.choice([-1, 1, 2])))
            case "big product":
                return self.over(scope, sp.Product, True)
            case "symbolic power":
                return self.joined(sp.Pow, self.positive(scope), self.exponent(scope))
            case "abs":
                return sp.Abs(self.signed(scope), evaluate=False) + 1
        raise AssertionError(kind)


def terms_when_expanded(formula: sp.Expr) -> int:
    """About how many terms the normal form of a formula has."""
    match formula:
        case sp.Add():
            return sum(map(terms_when_expanded, formula.args))
        case sp.Mul():
            return prod(map(terms_when_expanded, formula.args))
        case sp.Pow() if formula.exp.is_Integer and formula.exp > 0:
            return int(terms_when_expanded(formula.base) ** min(int(formula.exp), 20))
        case sp.Sum():
            return terms_when_expanded(formula.function)
    return max(map(terms_when_expanded, formula.args), default=1)
