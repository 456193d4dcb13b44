"""The gradient flows: parametrisations of the weights, each giving a ReducedSystem.

``merged`` trains U and W themselves; ``split`` trains the factors Q, K, V, O; ``balanced`` is ``split`` on its
invariant set o = v, k = q, in the products μ, ω ([C24]).  ``gradient_flow`` also takes a loss of the user's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sympy import Add, Expr, Gt, Indexed, S, Symbol
from sympy.core.relational import Relational

from .. import notation as n
from ..choices import checked_parametrisation
from ..derivation import Derivation, Recorder
from ..grounds import DEFINITION
from ..indexed import (
    Definition,
    check,
    difference_is_zero,
    fold,
    gradient,
    inline,
    normalise,
    replace_indexed,
    rule,
)
from ..indexed.nodes import name_of
from ..indexed.rewriting import plain_indices
from ..model.loss import PopulationLoss, population_loss
from ..parameters import PARAMETERS
from ..result import Result, builder, built
from .descent import check_state, checked_metric, recorded_gradients, recorded_velocity
from .factors import FACTORS, IMBALANCES, PRODUCTS, balanced_metric, merged_metric, split_metric
from .invariants import is_invariant, quadratic_invariants
from .system import ReducedSystem


def gradient_flow(
    loss: str | Expr,
    closure: str = "leading",
    *,
    state: Sequence[Indexed | Symbol] | None = None,
    metric: Mapping[Indexed | Symbol, Expr] | None = None,
    definitions: Iterable[Definition] = (),
) -> ReducedSystem:
    """The gradient flow of a parametrisation of attention, or of a loss of your own.

    Parameters
    ----------
    loss
        ``"merged"``, ``"balanced"`` or ``"split"`` (the attention model), or any index expression in ``state``: sums
        over tasks and heads of products, powers, exp, log of indexed symbols.
    closure
        For a named parametrisation: ``"leading"``, ``"finite_d"`` or ``"first_order"`` (see `theory.model.loss`).
    state
        For a loss of your own: its variables with distinct index symbols, e.g. ``[mu[i, h], omega[i, h]]``; a plain
        symbol is one number.
    metric
        Optional factor per variable: ``dx/dt = −metric[x] ∂loss/∂x`` (default 1).
    definitions
        Named sub-expressions used in the loss; they stay closed in the result.  Every other name is a parameter
        (also φ, c and d_e, which ``theory.parameters.PARAMETERS`` defines for attention).

    Raises ``InputError`` for an unknown name, ``NodeError`` (a TypeError) for a node the calculus does not know.
    Time = learning rate × steps; the loss is taken as written (no ½).
    """
    if isinstance(loss, str):
        if state is not None or metric is not None or tuple(definitions):
            raise TypeError("state, metric and definitions belong to a loss of your own, not to a named flow")
        return _attention_flow(checked_parametrisation(loss), closure)
    if state is None:
        raise TypeError("a loss of your own needs state=[...], the variables that the flow moves")
    factors = {plain_indices(variable): factor for variable, factor in (metric or {}).items()}
    return _own_flow(check(loss), tuple(map(plain_indices, state)), factors, tuple(definitions))


@built
def _own_flow(
    loss: Expr,
    state: tuple[Indexed | Symbol, ...],
    metric: dict[Indexed | Symbol, Expr],
    definitions: tuple[Definition, ...],
) -> ReducedSystem:
    check_state(loss, state, definitions)
    given = checked_metric(metric, state)
    record = Recorder("Gradient flow of a given loss")
    record("loss", (n.loss, loss), "As given.", scope=DEFINITION)
    factors = tuple(given.get(variable, S.One) for variable in state)
    partials = recorded_gradients(record, loss, state, definitions)
    velocity = recorded_velocity(record, "own", state, factors, partials)
    found = ReducedSystem(
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
    if idle := [str(name_of(variable)) for variable, partial in zip(state, partials, strict=True) if partial == 0]:
        raise ValueError(f"the loss does not contain {', '.join(idle)}: the flow would not move it, so leave it out")
    return found


@dataclass(frozen=True, repr=False)
class AttentionGradient(Result):
    """The population loss with its partial derivatives in μ and ω, before a parametrisation is chosen."""

    loss: PopulationLoss
    state: tuple[Indexed, ...]
    partials: tuple[Expr, ...]
    definitions: tuple[Definition, ...]
    derivation: Derivation


@builder
def attention_gradient(closure: str = "leading") -> AttentionGradient:
    """Both partial derivatives of the population loss, with the power of head pairs M named."""
    i, j, h, k = n.i, n.j, n.h, n.k
    loss = population_loss(closure)
    state = (n.mu[i, h], n.omega[i, h])
    record = Recorder("Gradient of the population loss")
    record.include(loss.derivation, given=True)
    by_mu, by_omega = recorded_gradients(record, loss.expression, state, loss.definitions)
    weight = n.signal_power[j] * n.noise_factor[j] / n.context_length
    head_power = Definition(n.head_power[h, k], n.over_tasks(weight * n.mu[j, h] * n.mu[j, k], j))
    record(
        "power of head pairs",
        (head_power.head, head_power.body),
        "The sum over tasks in the ω-gradient does not depend on i: name it M.",
        scope=DEFINITION,
    )
    folded = fold(by_omega, head_power)
    record(
        "gradient in omega, with M",
        (n.partial_derivative(state[1]), folded),
        "M put in for its body.",
        check=lambda line: difference_is_zero(inline(line[1], (head_power,)), by_omega),
    )
    return AttentionGradient(loss, state, (by_mu, folded), (*loss.definitions, head_power), record.freeze())


@builder
def _attention_flow(parametrisation: str, closure: str) -> ReducedSystem:
    if parametrisation == "split":
        return split_flow(closure)
    base = attention_gradient(closure)
    record = Recorder(f"{parametrisation.capitalize()} gradient flow")
    record.include(base.derivation)
    factors = _METRICS[parametrisation](record)
    velocity = recorded_velocity(record, parametrisation, base.state, factors, base.partials)
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
        domain=base.loss.domain + _positive(base.state if parametrisation == "balanced" else ()),
        validity=base.loss.validity,
        derivation=record.freeze(),
    )


def _positive(variables: Iterable[Indexed]) -> tuple[Relational, ...]:
    return tuple(Gt(variable, 0) for variable in variables)


@builder
def split_flow(closure: str = "leading") -> ReducedSystem:
    """The gradient flow of the factors o, v, k, q, with its quadratic invariants.

    Unit learning rate on Q, K, V, O, loss without ½, time = learning rate × steps; every state variable is (I, H).
    """
    base = attention_gradient(closure)
    record = Recorder("Split gradient flow")
    record.include(base.derivation)
    metric = split_metric(record)
    partials = tuple(_through_products(record, base, factor) for factor in FACTORS)
    factors = tuple(metric[factor] for factor in FACTORS)
    velocity = recorded_velocity(record, "split", FACTORS, factors, partials)
    system = ReducedSystem(
        parametrisation="split",
        closure=closure,
        state=FACTORS,
        loss=base.loss.expression,
        gradient=partials,
        metric=factors,
        velocity=velocity,
        definitions=(*PRODUCTS, *base.definitions),
        parameter_definitions=PARAMETERS,
        invariants=quadratic_invariants(PRODUCTS, metric),
        domain=base.loss.domain,
        validity=base.loss.validity,
        derivation=record.freeze(),
    )
    record(
        "invariants",
        tuple(zip(IMBALANCES, system.invariants, strict=True)),
        "The quadratic forms of the factors that stay constant whatever the loss: the factors of a product gain "
        "equally.",
        check=lambda *lines: all(is_invariant(system, invariant) for _, invariant in lines),
    )
    return system.with_derivation(record.freeze())


def _through_products(record: Recorder, base: AttentionGradient, factor: Indexed) -> Expr:
    """``∂𝓛/∂ factor`` by the chain rule through the products, recorded."""
    inner = tuple(gradient(product.body, factor) for product in PRODUCTS)
    pulls = tuple(n.partial_derivative(variable) for variable in base.state)
    pulled = {pull.base: rule(pull, own) for pull, own in zip(pulls, base.partials, strict=True)}
    partial = normalise(Add(*(slope * own for slope, own in zip(inner, base.partials, strict=True))))
    definitions = (*PRODUCTS, *base.definitions)
    opened = tuple(item for item in definitions if item.base != n.interaction)  # C stays: nothing depends on its body
    record(
        f"gradient in {factor.base.label}",
        (n.partial_derivative(factor), Add(*(slope * pull for slope, pull in zip(inner, pulls, strict=True)))),
        "Chain rule through the product.",
        check=lambda line: difference_is_zero(
            inline(replace_indexed(line[1], pulled), opened),
            inline(gradient(base.loss.expression, factor, definitions), opened),
        ),
    )
    return partial


_METRICS: Mapping[str, Callable[[Recorder], tuple[Expr, Expr]]] = {
    "merged": merged_metric,
    "balanced": balanced_metric,
}
