"""Softmax attention on coordinates of any variances: population loss in closures and its flow (derived here).

One task, weights ``W_h = diag(ω_a^h)`` in the eigenbasis of the covariance, output values μ_h.  The score ⟨a_h, x⟩
tilts N(0, Λ) to N(Λ a_h, Λ): the moments of `attention` hold with the inner products ⟨u, w⟩ = Σ_a Λ_a u_a w_a.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sympy import Expr, IndexedBase, Lt, Rational, S, Symbol, exp, limit, log, symbols

from .. import notation as n
from ..choices import checked_closure
from ..derivation import Derivation, Recorder
from ..flows.flow import gradient_flow
from ..flows.system import ReducedSystem
from ..gaussian import chi_square_generating_function, is_gaussian_integral
from ..grounds import FORMAL
from ..indexed import Definition, difference_is_zero, gradient, inline, normalise, replace_indexed, substitute
from ..indexed.asymptotics import leading_order
from ..indexed.monomial import Term, to_expression
from ..indexed.normal import terms
from ..model.attention import output_moments
from ..model.inner_products import mean_over
from ..model.loss import population_loss, tilted_second_moment
from ..parameters import PARAMETERS
from ..result import Result, builder
from ..scalars import of_one_task
from .covariates import (
    COVARIATES,
    Variances,
    a,
    average,
    direction_power,
    in_coordinates,
    label_power,
    n_coordinates,
    over_coordinates,
    query,
    regressor,
    regressor_variance,
    variance,
)

output_value = IndexedBase("mu", real=True)
key_query = IndexedBase("omega", real=True)
residual = IndexedBase("r", real=True)
softmax_loss_symbol = Symbol("loss_softmax", positive=True)

_h, _k = n.h, n.k
_RESIDUAL = Definition(residual[a], 1 - variance[a] * n.over_heads(output_value[_h] * key_query[a, _h]))
# D → ∞ at fixed Λ_a, D τ_a, D/L, √D ω_a^h, μ_h/√D: what the leading closure keeps.
_SCALING = {
    regressor_variance: -S.One,
    key_query: -Rational(1, 2),
    output_value: Rational(1, 2),
    n.context_length: S.One,
}


@dataclass(frozen=True, repr=False)
class SoftmaxCovariateLoss(Result):
    """A population loss in mu[h], omega[a, h], with definitions r, C (b in ``first_order``) kept closed."""

    expression: Expr
    definitions: tuple[Definition, ...]
    closure: str
    derivation: Derivation


@builder
def softmax_covariate_loss(closure: str = "leading") -> SoftmaxCovariateLoss:
    """``Σ_a w_a r_a² + (P/L) Σ_hk μ_h C_hk μ_k`` (leading, finite_d), every term of order 1/L (first_order).

    Raises ``InputError`` for an unknown closure.
    """
    checked_closure(closure)
    record = Recorder("Softmax attention on coordinates of any variances")
    record.include(output_moments().derivation)
    first_order, interaction = _averaged_risk(record)
    if closure == "first_order":
        expected, expression, definitions = first_order, *_first_order(interaction)
    else:
        expected = _leading_part(first_order)
        if closure == "leading":
            interaction = _leading_interaction(record, interaction)
        forms = n.over_heads(output_value[_h] * n.interaction[_h, _k] * output_value[_k], _h, _k)
        expression = over_coordinates(direction_power[a] * residual[a] ** 2) + label_power * forms / n.context_length
        definitions = (_RESIDUAL, interaction)
    opening = (*COVARIATES, *(item for item in definitions if item.base != n.interaction))
    record(
        f"softmax covariate loss, {closure}",
        (softmax_loss_symbol, expression),
        "w_a = τ_a Λ_a, P = σ² + Σ_a w_a, r_a = 1 − Λ_a Σ_h μ_h ω_a^h.",
        check=lambda line: difference_is_zero(inline(line[1], opening), inline(expected, COVARIATES)),
        scope=FORMAL,
    )
    record(
        "equal coordinates",
        (softmax_loss_symbol, n.loss),
        "Λ_a = 1, τ_a = λ/d, one ω per head: the loss of one isotropic task.",
        check=lambda line: line == (softmax_loss_symbol, n.loss) and _is_isotropic(expression, definitions, closure),
    )
    return SoftmaxCovariateLoss(expression, definitions, closure, record.freeze())


@builder
def softmax_covariate_flow(closure: str = "leading") -> ReducedSystem:
    """The gradient flow of mu[h], omega[a, h], each trained itself with unit learning rate.

    Parameters are ``Lambda``, ``tau`` (D,), ``sigma2``, ``L``; sizes D and H; loss without ½, time = learning rate ×
    steps.  ``domain`` is where the expectation over the query is finite.  Raises ``InputError`` for an unknown closure.
    """
    loss = softmax_covariate_loss(closure)
    state = [output_value[_h], key_query[a, _h]]
    system = gradient_flow(loss.expression, state=state, definitions=loss.definitions)
    record = Recorder("Softmax attention on coordinates of any variances, flow")
    record.include(loss.derivation)
    for step in system.derivation:
        record(f"{step.label}, softmax", step.formula, step.why, step.check, step.scope, step.theorem)
    overlap = 2 * variance[a] ** 2 * key_query[a, _h] * key_query[a, _k]
    return replace(
        system,
        parametrisation="softmax merged",
        closure=closure,
        parameter_definitions=COVARIATES,
        domain=() if closure == "leading" else (Lt(overlap, 1),),
        derivation=record.freeze(),
        convention="loss without ½, noise-free query target, time = learning rate × steps",
    )


def _tilt(at: Expr, head: Expr) -> Expr:
    return key_query[at, head] * query[at]


def _averaged_risk(record: Recorder) -> tuple[Expr, Definition]:
    """The risk to order 1/L, averaged over regressor and query."""
    moments = output_moments()

    def at_head(expression: Expr) -> Expr:
        return n.over_heads(output_value[_h] * expression)

    error = at_head(moments.mean) - n.beta_query[n.i]
    pairs = n.over_heads(output_value[_h] * output_value[_k] * moments.covariance, _h, _k)
    bias = at_head(moments.bias)
    risk = error**2 + 2 * error * bias + pairs
    record(
        "softmax risk given query and regressor",
        risk,
        "Squared mean error, bias and variance, to order 1/L.",
        check=lambda line: difference_is_zero((error + bias) ** 2 + pairs - line, bias**2),
        scope=FORMAL,
    )
    # E e^{⟨a_h, a_k⟩} is named C_hk before the inner products are written out; the tilt changes the law of x_q.
    closed = to_expression(map(_named_tilt, terms(risk)))
    over_beta = {regressor: lambda at: regressor_variance[at]}
    averaged = average(average(in_coordinates(closed, _tilt), lambda _: over_beta), _query_variance)
    record(
        "average over regressor and query, softmax",
        averaged,
        "C_hk = E e^{⟨a_h, a_k⟩}; under that tilt E x_a² = Λ_a/(1 − 2Λ_a² ω_a^h ω_a^k), and E β_a² = τ_a.",
        check=lambda line: difference_is_zero(line, _mean_of(risk)),
    )
    weight = variance[a] ** 2 * key_query[a, _h] * key_query[a, _k]
    exponent = normalise(over_coordinates(log(chi_square_generating_function(weight))))
    interaction = Definition(n.interaction[_h, _k], exp(exponent))
    record(
        "expectation over the query, softmax",
        (n.interaction[_h, _k], interaction.body),
        "⟨a_h, a_k⟩ = Σ_a Λ_a ω_a^h ω_a^k x_a² with x_a² = Λ_a z_a²: independent chi-square factors.",
        check=lambda line: (
            difference_is_zero(line[1], exp(-over_coordinates(log(1 - 2 * weight)) / 2)) and is_gaussian_integral()
        ),
    )
    return averaged, interaction


def _named_tilt(term: Term) -> Term:
    """The exponential of ⟨a_h, a_k⟩ as the name of its expectation."""
    factors = () if term.exponent == 0 else ((n.interaction[term.exponent.indices], S.One),)
    return Term(term.coefficient, term.bounds, (*term.factors, *factors))


def _query_variance(term: Term) -> Variances:
    """The variance of x_a, under the tilt where the term has one: ``E x_a² e^{…}/E e^{…}``."""
    tilts = [atom.indices for atom, _ in term.factors if getattr(atom, "base", None) == n.interaction]
    if not tilts:
        return {query: lambda at: variance[at]}
    ((first, second),) = tilts

    def tilted(at: Expr) -> Expr:
        weight = variance[at] ** 2 * key_query[at, first] * key_query[at, second]
        return variance[at] * tilted_second_moment(weight)

    return {query: tilted}


def _leading_part(first_order: Expr) -> Expr:
    """The terms that survive D → ∞ in the scaling, a sum over coordinates counting as D."""
    weighed = [(term, _weight(term)) for term in terms(first_order)]
    return normalise(to_expression(term for term, weight in weighed if weight == 0))


def _weight(term: Term) -> Expr:
    """The power of D with which a term grows; (1 − 2w)^{-1} tends to one."""
    factors = sum((power * _SCALING.get(getattr(atom, "base", atom), S.Zero) for atom, power in term.factors), S.Zero)
    return factors + sum(upper == n_coordinates for _, upper in term.bounds)


def _leading_interaction(record: Recorder, interaction: Definition) -> Definition:
    exponent = leading_order(interaction.body.args[0], _SCALING)
    leading = Definition(interaction.head, exp(exponent))
    record(
        "leading interaction, softmax",
        (leading.head, leading.body),
        "−½ log(1 − 2Λ_a² ω_a^h ω_a^k) → Λ_a² ω_a^h ω_a^k.",
        check=lambda line: difference_is_zero(line[1], exp(over_coordinates(_limit_of_summand()))),
    )
    return leading


def _first_order(interaction: Definition) -> tuple[Expr, tuple[Definition, ...]]:
    """Every term of order 1/L, the query's second moments under each tilt kept exact."""
    length = n.context_length

    def moment(first: Expr, second: Expr) -> Expr:
        weight = variance[a] ** 2 * key_query[a, first] * key_query[a, second]
        return weight * tilted_second_moment(weight)

    spread = label_power + over_coordinates(direction_power[a] * moment(_h, _k))
    pairs = n.over_heads(output_value[_h] * n.interaction[_h, _k] * output_value[_k] * spread, _h, _k)
    drift = over_coordinates(
        direction_power[a]
        * residual[a]
        * n.over_heads(
            n.interaction[_h, _h]
            * output_value[_h]
            * variance[a]
            * key_query[a, _h]
            * tilted_second_moment(variance[a] ** 2 * key_query[a, _h] ** 2)
        )
    )
    mean = over_coordinates(direction_power[a] * residual[a] ** 2)
    return mean + (2 * drift + pairs) / length, (_RESIDUAL, interaction)


def _mean_of(risk: Expr) -> Expr:
    """E over regressor and query by the curvature in their coordinates; that in the query differs under a tilt.

    ``growth`` stands for e^{⟨a_h, a_k⟩}, of which E is C_hk, and E x_a² e^{…} is C_hk Λ_a/(1 − 2Λ_a² ω_a^h ω_a^k).
    """
    growth, e, f = n.SymmetricBase("growth", positive=True), n.index("e"), n.index("f")

    def paired(first: Expr, second: Expr) -> Expr:
        return over_coordinates(variance[f] * first * second, f)

    written = replace_indexed(
        replace_indexed(risk, {n.head_head: lambda h, k: log(growth[h, k])}),
        {
            n.beta_head: lambda _, h: paired(regressor[f], key_query[f, h] * query[f]),
            n.beta_query: lambda _: over_coordinates(regressor[f] * query[f], f),
            n.beta_beta: lambda _: paired(regressor[f], regressor[f]),
        },
    )
    over_regressor = mean_over(written, regressor[e], regressor_variance[e], n_coordinates)
    zero = {query: lambda _: S.Zero}
    curvature = replace_indexed(gradient(gradient(over_regressor, query[e]), query[e]), zero)

    def tilted(h: Expr, k: Expr) -> Expr:
        return n.interaction[h, k] / (1 - 2 * variance[e] ** 2 * key_query[e, h] * key_query[e, k])

    at_zero = replace_indexed(over_regressor, {**zero, growth: lambda h, k: n.interaction[h, k]})
    return at_zero + over_coordinates(variance[e] * replace_indexed(curvature, {growth: tilted}) / 2, e)


def _limit_of_summand() -> Expr:
    """What D times a summand of the exponent tends to, over D: at ω² = ε w as ε → 0, by SymPy."""
    w, e = symbols("w e", positive=True)
    summand = limit(-log(1 - 2 * e * w) / (2 * e), e, 0)
    return substitute(summand, {w: variance[a] ** 2 * key_query[a, _h] * key_query[a, _k]})


def _is_isotropic(expression: Expr, definitions: tuple[Definition, ...], closure: str) -> bool:
    """For any D and H, against the isotropic loss of one task with d = D."""
    known, power, size = population_loss(closure), Symbol("lambda", positive=True), n_coordinates
    own_omega, own_mu = IndexedBase("own_omega", real=True), IndexedBase("own_mu", real=True)
    equal: dict[Any, Callable[..., Any]] = {
        variance: lambda _: S.One,
        regressor_variance: lambda _: power / size,
        output_value: lambda head: own_mu[head],
        key_query: lambda _, head: own_omega[head],
    }
    alone: dict[Any, Callable[..., Any]] = {
        n.dims: lambda _: size,
        n.signal_power: lambda _: power,
        n.mu: lambda _, head: own_mu[head],
        n.omega: lambda _, head: own_omega[head],
    }
    found = replace_indexed(inline(expression, (*COVARIATES, *definitions)), equal)
    wanted = replace_indexed(of_one_task(inline(known.expression, (*PARAMETERS, *known.definitions))), alone)
    return difference_is_zero(found, wanted)
