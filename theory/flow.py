"""Owns the gradient flows: parametrisations of the weights, each giving a ReducedSystem.

``merged`` trains U and W themselves; ``balanced`` is the flow of the factors Q, K, V, O (``split``) on its invariant
set o = v, k = q, in the products μ, ω ([C24]).  ``gradient_flow`` also takes a loss of the user's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from sympy import Add, Expr, Gt, Indexed, IndexedBase, S, sqrt, sympify

from . import notation as n
from .choices import checked_parametrisation
from .derivation import Derivation, Recorder
from .indexed import Definition, check, factored, fold, gradient, normalise, replace_indexed
from .loss import PARAMETERS, PopulationLoss, population_loss
from .system import ReducedSystem


def gradient_flow(
    loss: str | Expr,
    closure: str = "leading",
    *,
    state: Sequence[Indexed] | None = None,
    metric: Mapping[Indexed, Expr] | None = None,
    definitions: Iterable[Definition] = (),
) -> ReducedSystem:
    """The gradient flow of a parametrisation of attention, or of a loss of your own.

    Parameters
    ----------
    loss
        ``"merged"`` or ``"balanced"`` (the attention model), or any index expression in ``state``: sums over tasks
        and heads of products, powers, exp, log of indexed symbols.
    closure
        For a named parametrisation: ``"leading"``.
    state
        For a loss of your own: its variables with distinct index symbols, e.g. ``[mu[i, h], omega[i, h]]``.
    metric
        Optional factor per variable: ``dx/dt = −metric[x] ∂loss/∂x`` (default 1).
    definitions
        Named sub-expressions used in the loss; they stay closed in the result.  Every other name is a parameter
        (also φ, c and d_e, which ``theory.loss.PARAMETERS`` defines for attention).

    Raises ``InputError`` for an unknown name, ``NodeError`` (a TypeError) for a node the calculus does not know.
    Time = learning rate × steps; the loss is taken as written (no ½).
    """
    if isinstance(loss, str):
        if state is not None or metric is not None or tuple(definitions):
            raise TypeError("state, metric and definitions belong to a loss of your own, not to a named flow")
        return _attention_flow(checked_parametrisation(loss), closure)
    if state is None:
        raise TypeError("a loss of your own needs state=[...], the variables that the flow moves")
    return _own_flow(check(loss), tuple(state), dict(metric or {}), tuple(definitions))


def _own_flow(
    loss: Expr, state: tuple[Indexed, ...], metric: dict[Indexed, Expr], definitions: tuple[Definition, ...]
) -> ReducedSystem:
    for variable in state:
        if not isinstance(variable, Indexed):
            raise TypeError(f"a state variable is an indexed symbol such as mu[i, h], got {variable!r}")
    if unknown := set(metric) - set(state):
        raise ValueError(f"metric names {sorted(map(str, unknown))}, which are not state variables")
    record = Recorder("Gradient flow of a given loss")
    record("loss", (n.loss, loss), "As given.")
    factors = tuple(sympify(metric.get(variable, S.One)) for variable in state)
    partials = _recorded_gradients(record, loss, state, definitions)
    velocity = _recorded_velocity(record, "own", state, factors, partials)
    return ReducedSystem(
        parametrisation="own",
        closure="own",
        state=state,
        loss=loss,
        gradient=partials,
        metric=factors,
        velocity=velocity,
        definitions=definitions,
        derivation=record.freeze(),
        convention="loss as given, time = learning rate × steps",
    )


@dataclass(frozen=True)
class AttentionGradient:
    """The population loss with its partial derivatives in μ and ω, before a parametrisation is chosen."""

    loss: PopulationLoss
    state: tuple[Indexed, ...]
    partials: tuple[Expr, ...]
    definitions: tuple[Definition, ...]
    derivation: Derivation


@cache
def attention_gradient(closure: str = "leading") -> AttentionGradient:
    """Both partial derivatives of the population loss, with the power of head pairs M named."""
    i, j, h, k = n.i, n.j, n.h, n.k
    loss = population_loss(closure)
    state = (n.mu[i, h], n.omega[i, h])
    record = Recorder("Gradient of the population loss")
    record.include(loss.derivation)
    by_mu, by_omega = _recorded_gradients(record, loss.expression, state, loss.definitions)
    weight = n.signal_power[j] * n.noise_factor[j] / n.context_length
    head_power = Definition(n.head_power[h, k], n.over_tasks(weight * n.mu[j, h] * n.mu[j, k], j))
    record(
        "power of head pairs",
        (head_power.head, head_power.body),
        "The sum over tasks in the ω-gradient does not depend on i: name it M.",
    )
    folded = fold(by_omega, head_power)
    record("gradient in omega, with M", (n.partial_derivative(state[1]), folded), "M put in for its body.")
    return AttentionGradient(loss, state, (by_mu, folded), (*loss.definitions, head_power), record.freeze())


@cache
def _attention_flow(parametrisation: str, closure: str) -> ReducedSystem:
    base = attention_gradient(closure)
    record = Recorder(f"{parametrisation.capitalize()} gradient flow")
    record.include(base.derivation)
    factors = _METRICS[parametrisation](record)
    velocity = _recorded_velocity(record, parametrisation, base.state, factors, base.partials)
    return ReducedSystem(
        parametrisation=parametrisation,
        closure=closure,
        state=base.state,
        loss=base.loss.expression,
        gradient=base.partials,
        metric=factors,
        velocity=velocity,
        definitions=base.definitions,
        parameter_definitions=PARAMETERS,
        domain=tuple(Gt(variable, 0) for variable in base.state) if parametrisation == "balanced" else (),
        derivation=record.freeze(),
    )


def _recorded_gradients(
    record: Recorder, loss: Expr, state: Sequence[Indexed], definitions: Sequence[Definition]
) -> tuple[Expr, ...]:
    partials = tuple(gradient(loss, variable, definitions) for variable in state)
    for variable, partial in zip(state, partials, strict=True):
        record(
            f"gradient in {variable.base.label}",
            (n.partial_derivative(variable), partial),
            "Chain rule through the definitions; ∂x_a/∂x_b = δ_ab, deltas collapsed.",
        )
    return partials


def _recorded_velocity(
    record: Recorder,
    name: str,
    state: Sequence[Indexed],
    metric: Sequence[Expr],
    partials: Sequence[Expr],
) -> tuple[Expr, ...]:
    velocity = tuple(factored(-m * g) for m, g in zip(metric, partials, strict=True))
    for variable, rhs in zip(state, velocity, strict=True):
        record(
            f"{name} flow of {variable.base.label}",
            (n.time_derivative(variable), rhs),
            "Gradient flow with unit learning rate: minus the metric times the gradient.",
        )
    return velocity


def _merged_metric(record: Recorder) -> tuple[Expr, Expr]:
    """Metric of the merged weights, in which U and W are trained themselves."""
    task_dim = n.dims[n.i]
    record(
        "merged metric",
        (n.time_derivative(n.omega[n.i, n.h]), -n.partial_derivative(n.omega[n.i, n.h]) / task_dim),
        "The d_i coordinates of task i share ω_i^h: each has the gradient g_ω/d_i, and they move together.",
    )
    return S.One, 1 / task_dim


def _balanced_metric(record: Recorder) -> tuple[Expr, Expr]:
    """Metric of μ = o v and ω = k q/√d_e on the invariant set o = v, k = q."""
    i, h = n.i, n.h
    per_mu, per_omega = _merged_metric(record)
    output_value, key_query = n.o[i, h] * n.v[i, h], n.key[i, h] * n.query[i, h] / sqrt(n.embedding_dim)
    on_mu = _product_metric(output_value, (n.o[i, h], n.v[i, h]), per_mu)
    on_omega = _product_metric(key_query, (n.key[i, h], n.query[i, h]), per_omega)
    record(
        "metric of the products",
        (
            (n.time_derivative(n.mu[i, h]), -on_mu * n.partial_derivative(n.mu[i, h])),
            (n.time_derivative(n.omega[i, h]), -on_omega * n.partial_derivative(n.omega[i, h])),
        ),
        "Q, K, V, O trained: μ = o v and ω = k q/√d_e move by the chain rule through both factors.",
    )
    drift = _imbalance_drift(output_value, n.o[i, h], n.v[i, h])
    record(
        "balance",
        (n.o[i, h] ** 2 - n.v[i, h] ** 2, S.Zero),
        "o² − v² (and k² − q²) is constant along the flow, so o = v and k = q stay so.",
        check=lambda: drift == 0,
    )
    balanced_mu = _on_balanced_set(on_mu, n.o, n.v, lambda task, head: sqrt(n.mu[task, head]))
    balanced_omega = _on_balanced_set(
        on_omega, n.key, n.query, lambda task, head: sqrt(sqrt(n.embedding_dim) * n.omega[task, head])
    )
    record(
        "balanced metric",
        (
            (n.time_derivative(n.mu[i, h]), -balanced_mu * n.partial_derivative(n.mu[i, h])),
            (n.time_derivative(n.omega[i, h]), -balanced_omega * n.partial_derivative(n.omega[i, h])),
        ),
        "o = v = √μ and k = q = (√d_e ω)^{1/2}, for positive μ and ω.",
    )
    return balanced_mu, balanced_omega


def _product_metric(product: Expr, factors: tuple[Indexed, Indexed], block: Expr) -> Expr:
    """``Σ block (∂ product/∂ factor)²``: how a product moves when both its factors follow the gradient."""
    return normalise(Add(*(block * gradient(product, factor) ** 2 for factor in factors)))


def _imbalance_drift(product: Expr, first: Indexed, second: Indexed) -> Expr:
    """d/dt (first² − second²) up to the common factor −g: zero for any product of the two."""
    return normalise(2 * first * gradient(product, first) - 2 * second * gradient(product, second))


def _on_balanced_set(metric: Expr, first: IndexedBase, second: IndexedBase, value: Callable[..., Expr]) -> Expr:
    return normalise(replace_indexed(metric, {first: value, second: value}))


_METRICS: Mapping[str, Callable[[Recorder], tuple[Expr, Expr]]] = {
    "merged": _merged_metric,
    "balanced": _balanced_metric,
}
