"""Owns the gradient flows: parametrisations of the weights, each giving a ReducedSystem.

``merged`` trains U and W themselves; ``split`` trains the factors Q, K, V, O; ``balanced`` is ``split`` on its
invariant set o = v, k = q, in the products μ, ω ([C24]).  ``gradient_flow`` also takes a loss of the user's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial as partial_function
from itertools import count

from sympy import Add, Expr, Gt, Indexed, IndexedBase, S, Symbol
from sympy.core.relational import Relational

from .. import notation as n
from ..choices import checked_parametrisation
from ..derivation import Derivation, Recorder
from ..grounds import DEFINITION
from ..indexed import (
    Definition,
    check,
    difference_is_zero,
    directional_derivative,
    factored,
    fold,
    gradient,
    inline,
    normalise,
    replace_indexed,
    rule,
)
from ..indexed.definitions import ranges_in
from ..indexed.nodes import close_sum, free_indices, free_symbols, indexed_bases, indices_of, name_of
from ..indexed.rewriting import plain_indices
from ..model.loss import PopulationLoss, population_loss
from ..parameters import PARAMETERS
from ..result import Result, builder, built
from .coordinates import rests_at_zero
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
    _check_state(loss, state, definitions)
    given = _checked_metric(metric, state)
    record = Recorder("Gradient flow of a given loss")
    record("loss", (n.loss, loss), "As given.", scope=DEFINITION)
    factors = tuple(given.get(variable, S.One) for variable in state)
    partials = _recorded_gradients(record, loss, state, definitions)
    velocity = _recorded_velocity(record, "own", state, factors, partials)
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


@built
def with_added_loss(system: ReducedSystem, added: Expr) -> ReducedSystem:
    """The gradient flow of a system's loss plus ``added``, with its variables, metric, definitions and parameters.

    Parameters
    ----------
    system
        A flow of attention, of a family or of a loss of your own.
    added
        An index expression in the state and the definitions; other names in it are new parameters.  In the ``split``
        flow μ and ω stand for the products.

    Conditions, invariants and charts are those of the system as far as they hold with the added loss.

    Raises ``ValueError`` for a system whose velocity is not minus metric times gradient (in some conventions),
    ``NodeError`` for what is no index expression, and what `gradient_flow` raises for a loss.  Derived here.
    """
    extra = check(added)
    _check_state(extra, system.state, system.definitions)
    record = _recorder_for_another(system, "an added loss")
    what = _fresh("added loss", system)
    record(what, (n.loss, system.loss + extra), "As given, beside the loss before.", scope=DEFINITION)
    own = _recorded_gradients(record, extra, system.state, system.definitions, of=f" of the {what}")
    partials = tuple(normalise(first + second) for first, second in zip(system.gradient, own, strict=True))
    with_it = replace(system, loss=system.loss + extra, gradient=partials, added=system.added + extra)
    return _moved_anew(record, with_it, f"with the {what}")


@built
def with_another_metric(system: ReducedSystem, metric: Mapping[Indexed | Symbol, Expr]) -> ReducedSystem:
    """The gradient flow of a system's loss in another (diagonal, inverse) metric: other learning rates, say.

    Parameters
    ----------
    system
        As in `with_added_loss`.
    metric
        State variable → factor, ``dx/dt = −metric[x] ∂loss/∂x``, an expression with the variable's indices; a
        variable that is not there keeps the one it has.

    Raises ``ValueError`` as `with_added_loss`, and for what is no state variable.  Derived here.
    """
    record = _recorder_for_another(system, "another metric")
    chosen = _checked_metric({plain_indices(variable): factor for variable, factor in metric.items()}, system.state)
    factors = tuple(chosen.get(variable, own) for variable, own in zip(system.state, system.metric, strict=True))
    return _moved_anew(record, replace(system, metric=factors), f"in the {_fresh('metric given', system)}")


def _fresh(words: str, system: ReducedSystem) -> str:
    """The words, numbered where earlier changes of the system have them in the labels of their steps."""
    told = " ".join(step.label for step in system.derivation.steps)
    return next(name for place in count(1) if (name := f"{words} ({place})" if place > 1 else words) not in told)


def _checked_metric(
    metric: Mapping[Indexed | Symbol, Expr], state: Sequence[Indexed | Symbol]
) -> dict[Indexed | Symbol, Expr]:
    if unknown := set(metric) - set(state):
        raise ValueError(f"metric names {sorted(map(str, unknown))}, which are not state variables")
    found = {variable: check(factor) for variable, factor in metric.items()}
    for variable, factor in found.items():
        if loose := free_indices(factor) - set(indices_of(variable)):
            raise ValueError(f"the metric of {variable} has the free index {min(map(str, loose))}")
    return found


def _recorder_for_another(system: ReducedSystem, what: str) -> Recorder:
    """For a flow made of this one, with its steps; ``ValueError`` where the velocity is not minus metric × gradient."""
    moves = zip(system.metric, system.gradient, system.velocity, strict=True)
    if any(not difference_is_zero(rhs + metric * partial, S.Zero) for metric, partial, rhs in moves):
        raise ValueError("the velocity of this flow is not minus its metric times its gradient: change it first")
    record = Recorder(f"{system.derivation.title}, {what}")
    record.include(system.derivation)
    return record


def _moved_anew(record: Recorder, system: ReducedSystem, what: str) -> ReducedSystem:
    """The system with the velocity of its gradient and metric, and what this one keeps of invariants and signs."""
    name = f"{system.parametrisation}, {what}:"
    velocity = _recorded_velocity(record, name, system.state, system.metric, system.gradient)
    moves = zip(system.state, velocity, strict=True)
    crossed = {Gt(variable, 0) for variable, rhs in moves if not rests_at_zero(variable, rhs)}
    domain = tuple(relation for relation in system.domain if relation not in crossed)
    found = replace(system, velocity=velocity, domain=domain, derivation=record.freeze())
    return replace(found, invariants=tuple(one for one in system.invariants if is_invariant(found, one)))


def _check_state(loss: Expr, state: tuple[Indexed | Symbol, ...], definitions: tuple[Definition, ...]) -> None:
    for variable in state:
        if not isinstance(variable, Indexed | Symbol):
            raise TypeError(f"a state variable is a symbol or an indexed one such as mu[i, h], got {variable!r}")
        if len({x for x in indices_of(variable) if isinstance(x, Symbol)}) < len(indices_of(variable)):
            raise ValueError(f"the indices of the state variable {variable} must be distinct symbols")
    known: dict[str, IndexedBase | Symbol] = {}
    for variable in state:
        base = name_of(variable)
        if str(base) in known or base in {item.base for item in definitions}:
            raise ValueError(f"{base} is given twice, as a state variable or a definition")
        known[str(base)] = base
    for expression in (loss, *(item.body for item in definitions)):
        for base in indexed_bases(expression) | (free_symbols(expression) - free_indices(expression)):
            if known.get(str(base), base) != base:
                raise ValueError(
                    f"two different symbols are called {base}, one in state=[...] and one in the loss: make it once"
                )


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
    by_mu, by_omega = _recorded_gradients(record, loss.expression, state, loss.definitions)
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
    velocity = _recorded_velocity(record, "split", FACTORS, factors, partials)
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


def _recorded_gradients(
    record: Recorder,
    loss: Expr,
    state: Sequence[Indexed | Symbol],
    definitions: Sequence[Definition],
    of: str = "",
) -> tuple[Expr, ...]:
    partials = tuple(gradient(loss, variable, definitions) for variable in state)
    for variable, partial in zip(state, partials, strict=True):
        record(
            f"gradient{of} in {name_of(variable)}",
            (n.partial_derivative(variable), partial),
            "Chain rule through the definitions; ∂x_a/∂x_b = δ_ab, deltas collapsed.",
            check=partial_function(_is_partial, loss, variable, definitions),
        )
    return partials


def _is_partial(
    loss: Expr, variable: Indexed | Symbol, definitions: Sequence[Definition], line: tuple[Expr, Expr]
) -> bool:
    """Whether the loss changes in any direction ξ of one variable by Σ ξ times the partial derivative."""
    ranges = ranges_in(variable, loss, definitions)
    bounds = tuple(zip(indices_of(variable), ranges, strict=True))
    name = "xi_of_any_size"

    def direction(*indices: Expr) -> Expr:
        return IndexedBase(name, real=True)[indices] if indices else Symbol(name, real=True)

    along = directional_derivative(loss, {name_of(variable): direction}, definitions)
    return difference_is_zero(along, close_sum(direction(*indices_of(variable)) * line[1], bounds))


def _recorded_velocity(
    record: Recorder,
    name: str,
    state: Sequence[Indexed | Symbol],
    metric: Sequence[Expr],
    partials: Sequence[Expr],
) -> tuple[Expr, ...]:
    velocity = tuple(factored(-m * g) for m, g in zip(metric, partials, strict=True))
    for variable, rhs, factor, own in zip(state, velocity, metric, partials, strict=True):
        record(
            f"{name} flow of {name_of(variable)}",
            (n.time_derivative(variable), rhs),
            "Gradient flow with unit learning rate: minus the metric times the gradient.",
            check=partial_function(_is_descent, factor, own),
        )
    return velocity


def _is_descent(metric: Expr, partial: Expr, line: tuple[Expr, Expr]) -> bool:
    """Whether a velocity over its metric is minus the gradient."""
    return difference_is_zero(line[1] / metric + partial, S.Zero)


_METRICS: Mapping[str, Callable[[Recorder], tuple[Expr, Expr]]] = {
    "merged": merged_metric,
    "balanced": balanced_metric,
}
