"""The data of the families: one task whose D coordinates have any variances, and averages over it.

``x ~ N(0, diag(Λ_a))``, ``y = Σ_a β_a x_a + ε``, ``β_a ~ N(0, τ_a)``, ``ε ~ N(0, σ²)``; the target is noise-free.
A full covariance is the same problem in its eigenbasis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sympy import Add, Expr, IndexedBase, KroneckerDelta, S, Sum, Symbol

from .. import notation as n
from ..indexed import Definition, normalise, replace_indexed
from ..indexed.monomial import Term
from ..indexed.nodes import close_sum
from ..indexed.normal import terms

n_coordinates = Symbol("D", integer=True, positive=True)
a, b = n.index("a"), n.index("b")

variance = IndexedBase("Lambda", positive=True)  # Λ_a, an eigenvalue of the covariance of x
regressor_variance = IndexedBase("tau", positive=True)
direction_power = IndexedBase("w", positive=True)
label_power = Symbol("P", positive=True)
context_noise = IndexedBase("rho", positive=True)

regressor = IndexedBase("beta", real=True)
query = IndexedBase("x", real=True)


def over_coordinates(summand: Expr, *indices: Symbol) -> Expr:
    """``Σ summand`` with each of ``indices`` (default a) running over the coordinates."""
    return Sum(summand, *((index, 1, n_coordinates) for index in indices or (a,)))


# w_a = E(β_a x_a)², P = E y², ρ_a: what the finite context adds to the squared gain of direction a.
COVARIATES = (
    Definition(direction_power[a], regressor_variance[a] * variance[a]),
    Definition(label_power, n.noise_variance + over_coordinates(direction_power[a])),
    Definition(context_noise[a], (1 + label_power / direction_power[a]) / n.context_length),
)

Variances = Mapping[IndexedBase, Callable[[Expr], Expr]]


def in_coordinates(expression: Expr, tilt: Callable[[Expr, Expr], Expr]) -> Expr:
    """Inner products of ``notation`` written out: ⟨u, w⟩ = Σ_a Λ_a u_a w_a with a_h the vector ``tilt(a, h)``.

    ⟨β, x_q⟩, the target, has no Λ: it is the plain product of the regressor with the query.
    """
    e = n.index("e")

    def paired(first: Callable[[Expr], Expr], second: Callable[[Expr], Expr]) -> Expr:
        return over_coordinates(variance[e] * first(e) * second(e), e)

    return replace_indexed(
        expression,
        {
            n.head_head: lambda h, k: paired(lambda at: tilt(at, h), lambda at: tilt(at, k)),
            n.beta_head: lambda _, h: paired(lambda at: regressor[at], lambda at: tilt(at, h)),
            n.beta_query: lambda _: over_coordinates(regressor[e] * query[e], e),
            n.beta_beta: lambda _: paired(lambda at: regressor[at], lambda at: regressor[at]),
        },
    )


def average(expression: Expr, variances: Callable[[Term], Variances]) -> Expr:
    """E over independent centred normal entries, at most two of a name in each term: ``E z_a z_b = δ_ab Var z_a``.

    ``variances`` gives for a term the variance of each random name as a function of its index.
    Raises ``ValueError`` for a term with one or more than two entries of a name.
    """
    return normalise(Add(*(_averaged(term, variances(term)) for term in terms(expression))))


def _averaged(term: Term, variances: Variances) -> Expr:
    value = term.coefficient
    fixed = []
    drawn: dict[IndexedBase, list[Expr]] = {}
    for atom, power in term.factors:
        if (base := getattr(atom, "base", None)) in variances:
            drawn.setdefault(base, []).extend([atom.indices[0]] * int(power))
        else:
            fixed.append((atom, power))
    for base, places in drawn.items():
        if len(places) != 2:
            raise ValueError(f"no rule averages {len(places)} entries of {base}")
        first, second = places
        value *= variances[base](first) * (S.One if first == second else KroneckerDelta(first, second))
    return close_sum(value * Term(factors=tuple(fixed), exponent=term.exponent).body(), term.bounds)
