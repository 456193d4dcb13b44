"""Random index expressions and losses: SymPy sums over tasks and heads, with names that clash on purpose.

A bound name says nothing about its range: h may run over tasks, and an inner sum may use an outer one's name.
Positive expressions are drawn where a logarithm or a negative power needs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from hypothesis import assume
from hypothesis import strategies as st

N_TASKS = sp.Symbol("I", integer=True, positive=True)
N_HEADS = sp.Symbol("H", integer=True, positive=True)
NAMES = ("i", "j", "h", "k")
TASK, HEAD = sp.Symbol("i", integer=True), sp.Symbol("h", integer=True)

X = sp.IndexedBase("x", real=True)  # (tasks, heads), of either sign
P = sp.IndexedBase("p", positive=True)  # (tasks, heads)
A = sp.IndexedBase("a", positive=True)  # (tasks,)
B = sp.IndexedBase("b", positive=True)  # (heads,)
G = sp.IndexedBase("g", positive=True)  # (heads, heads)
T = sp.Symbol("t", positive=True)
Q = sp.IndexedBase("Q", positive=True)  # defined, (heads, heads)
R = sp.IndexedBase("R", real=True)  # defined, (tasks,)
AXES = {
    X: (N_TASKS, N_HEADS),
    P: (N_TASKS, N_HEADS),
    A: (N_TASKS,),
    B: (N_HEADS,),
    G: (N_HEADS, N_HEADS),
    Q: (N_HEADS, N_HEADS),
    R: (N_TASKS,),
}

_a, _b, _c = (sp.Symbol(name, integer=True) for name in ("h", "k", "i"))
# The bodies bind names that their users bind too.
DEFINITIONS = (
    (Q[_a, _b], sp.exp(-sp.Sum(A[_c] * P[_c, _a] * P[_c, _b], (_c, 1, N_TASKS)) / 4) + B[_a] / 5),
    (R[_c], sp.S.One - sp.Sum(X[_c, _a] * B[_a], (_a, 1, N_HEADS)) + sp.Sum(P[_c, _b], (_b, 1, N_HEADS)) / 3),
)

Scope = Mapping[sp.Symbol, sp.Symbol]


@dataclass
class Drawing:
    """How one expression is drawn: what it may use and how much of it is left."""

    draw: Any
    definitions: bool = True
    deltas: bool = True
    budget: int = 10

    def choose(self, options: list[str]) -> str:
        return str(self.draw(st.sampled_from(options)))

    def number(self) -> sp.Rational:
        return sp.Rational(self.draw(st.integers(1, 4)), self.draw(st.integers(1, 3)))

    def index(self, upper: sp.Symbol, scope: Scope) -> sp.Symbol | None:
        fitting = sorted((name for name, own in scope.items() if own == upper), key=str)
        return self.draw(st.sampled_from(fitting)) if fitting else None

    def atom(self, scope: Scope, positive: bool) -> sp.Expr:
        bases = [base for base in AXES if (base.args[0].is_positive or not positive)]
        bases = [base for base in bases if self.definitions or base not in (Q, R)]
        base = self.draw(st.sampled_from(bases))
        indices = [self.index(upper, scope) for upper in AXES[base]]
        return T if None in indices else base[tuple(indices)]

    def delta(self, scope: Scope) -> sp.Expr:
        names = sorted(scope, key=str)
        if not names:
            return sp.S.One
        first = self.draw(st.sampled_from(names))
        return sp.KroneckerDelta(first, self.index(scope[first], scope))

    def total(self, scope: Scope, positive: bool) -> sp.Expr:
        count = self.draw(st.integers(1, 2))
        inner, limits = dict(scope), []
        for _ in range(count):
            name = sp.Symbol(self.choose(list(NAMES)), integer=True)
            upper = self.draw(st.sampled_from([N_TASKS, N_HEADS]))
            if name not in [limit[0] for limit in limits]:
                limits.append((name, 1, upper))
                inner[name] = upper
        return sp.Sum(self.expression(inner, positive), *limits)

    def expression(self, scope: Scope, positive: bool = False) -> sp.Expr:
        self.budget -= 1
        if self.budget <= 0:
            return self.atom(scope, positive)
        kinds = ["atom", "add", "mul", "mul", "sum", "sum", "power", "exp", "log"]
        kinds += ["delta"] if self.deltas else []
        kinds += [] if positive else ["subtract", "square"]
        kind = self.choose(kinds)
        if kind == "atom":
            return self.number() * self.atom(scope, positive)
        if kind == "sum":
            return self.total(scope, positive)
        if kind == "exp":
            return sp.exp(-self.expression(scope, True) / 3)
        if kind == "log":
            return sp.log(1 + self.expression(scope, True))
        if kind == "power":
            power = self.draw(st.sampled_from([-2, -1, 2, sp.Rational(1, 2), -sp.Rational(1, 2), sp.Rational(2, 3)]))
            return (self.number() + self.expression(scope, True)) ** power
        if kind == "square":
            return self.expression(scope) ** 2
        left = self.expression(scope, positive)
        right = self.expression(scope, positive)
        if kind == "delta":
            return left + self.delta(scope) * right
        return {"add": left + right, "mul": left * right, "subtract": left - right}[kind]


@st.composite
def expressions(draw: st.DrawFn, closed: bool = False, **options: Any) -> sp.Expr:
    """An index expression in which i may occur free as a task and h as a head, unless ``closed``."""
    scope = {} if closed else {TASK: N_TASKS, HEAD: N_HEADS}
    drawn = Drawing(draw, **options).expression(scope)
    # SymPy itself writes some products p log q as log(q**p), which leaves the node set.
    assume(all(power.exp.is_Rational for power in drawn.atoms(sp.Pow) if not isinstance(power, sp.exp)))
    return drawn


def numbers(n_tasks: int, n_heads: int, seed: int) -> dict[str, Any]:
    """A value for every name that is not defined, by name."""
    rng = np.random.default_rng(seed)
    sizes = {N_TASKS: n_tasks, N_HEADS: n_heads}
    values: dict[str, Any] = {"I": n_tasks, "H": n_heads, "t": float(rng.uniform(0.3, 1.5))}
    for base, axes in AXES.items():
        if base not in (Q, R):
            values[str(base.label)] = rng.uniform(0.3, 1.5, [sizes[axis] for axis in axes])
    values["x"] = values["x"] * rng.choice([-1.0, 1.0], values["x"].shape)
    return values
