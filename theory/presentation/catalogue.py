"""The catalogue: which derivations each topic of ``headflow derive`` shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from ..choices import checked_closure, checked_parametrisation, unknown
from ..context.context_length import context_shift
from ..context.hermite import hermite_transfer
from ..context.linear_optimum import linear_attention_optimum
from ..context.regimes import softmax_regimes
from ..context.two_heads import zero_sum_pair
from ..derivation import Derivation
from ..errors import InputError
from ..flows.coordinates import to_growth, to_hyperbolic, to_log
from ..flows.energy import energy_identity
from ..flows.flow import gradient_flow
from ..flows.symmetry import symmetric_reduction
from ..flows.system import ReducedSystem
from ..merged.identical_heads import merged_minimum
from ..merged.merged_zero import merged_at_zero
from ..model.decomposability import decomposability
from ..model.loss import population_loss
from ..model.next_order import next_order
from ..model.shift import shift_covariance
from ..optima.bayes_bounds import trace_bounds
from ..optima.bounds import factor_e, separation, single_head_optimum, universal_lower_bound
from ..optima.limits import task_allocation_limit
from ..optima.marchenko_pastur import bayes_limit
from ..optima.optimum import multi_head_optimum
from ..phases.cascade import cascade_flow
from ..phases.convergence import convergence_law
from ..phases.escape import escape_from_allocation
from ..phases.linearisation import linearised_flow
from ..phases.warm_up import warm_up_flow
from .conventions import Convention, in_convention

_PACKAGE = Convention()


def _loss(_: str, closure: str) -> tuple[Derivation, ...]:
    loss = population_loss(closure).derivation
    if closure == "leading":
        return (loss, shift_covariance().derivation)
    return (loss, next_order().derivation) if closure == "first_order" else (loss,)


def _flow(parametrisation: str, closure: str) -> tuple[Derivation, ...]:
    flows = (flow.derivation for flow in _in_coordinates(parametrisation, closure))
    return (decomposability(), *flows, energy_identity(parametrisation), symmetric_reduction().derivation)


def _in_coordinates(parametrisation: str, closure: str) -> tuple[ReducedSystem, ...]:
    """The flow in the coordinates in which it is solved."""
    flow = gradient_flow(parametrisation, closure)
    changes = {"balanced": (to_log,), "split": (to_log, to_growth, to_hyperbolic)}.get(parametrisation, ())
    return tuple(change(flow) for change in changes) or (flow,)


def _limit(parametrisation: str, closure: str) -> tuple[Derivation, ...]:
    limit = task_allocation_limit(closure).derivation
    if parametrisation == "merged":
        return (limit, merged_at_zero().derivation, merged_minimum().derivation)
    if closure == "first_order":
        return (limit,)
    return (limit, linearised_flow(parametrisation, closure).derivation)


def _optimum(*_: str) -> tuple[Derivation, ...]:
    return (
        multi_head_optimum().derivation,
        universal_lower_bound().derivation,
        single_head_optimum().derivation,
        factor_e().derivation,
        separation().derivation,
        trace_bounds().derivation,
        bayes_limit().derivation,
        linear_attention_optimum().derivation,
        zero_sum_pair().derivation,
        context_shift().derivation,
        hermite_transfer().derivation,
        softmax_regimes().derivation,
    )


def _phases(*_: str) -> tuple[Derivation, ...]:
    return (
        warm_up_flow().derivation,
        cascade_flow().derivation,
        convergence_law().derivation,
        escape_from_allocation().derivation,
    )


TOPICS: Mapping[str, Callable[[str, str], tuple[Derivation, ...]]] = {
    "loss": _loss,
    "flow": _flow,
    "limit": _limit,
    "optimum": _optimum,
    "phases": _phases,
}


def _loss_in(convention: Convention, _: str, closure: str) -> tuple[Derivation, ...]:
    return (in_convention(population_loss(closure), convention).derivation,)


def _flow_in(convention: Convention, parametrisation: str, closure: str) -> tuple[Derivation, ...]:
    flows = _in_coordinates(parametrisation, closure)
    return tuple(in_convention(flow, convention).derivation for flow in flows)


def _limit_in(convention: Convention, _: str, closure: str) -> tuple[Derivation, ...]:
    limit = task_allocation_limit(closure)
    return tuple(in_convention(form, convention).derivation for form in (limit.omega, limit.mu, limit.loss))


def _optimum_in(convention: Convention, *_: str) -> tuple[Derivation, ...]:
    forms = (universal_lower_bound(), single_head_optimum().form, bayes_limit())
    return tuple(in_convention(form, convention).derivation for form in forms)


# What can be written in another convention.
_REWRITTEN: Mapping[str, Callable[[Convention, str, str], tuple[Derivation, ...]]] = {
    "loss": _loss_in,
    "flow": _flow_in,
    "limit": _limit_in,
    "optimum": _optimum_in,
}


def derivations(
    topic: str = "all",
    parametrisation: str = "balanced",
    closure: str = "leading",
    convention: Convention = _PACKAGE,
) -> tuple[Derivation, ...]:
    """The derivations of a topic; under "all" every step stands once, where it is first needed.

    In another convention than the package's: those results that `in_convention` rewrites, of loss, flow, limit and
    optimum.  Raises ``InputError`` for an unknown topic, parametrisation or closure, and for another topic there.
    """
    return tuple(each_derivation(topic, parametrisation, closure, convention))


def each_derivation(
    topic: str, parametrisation: str, closure: str, convention: Convention = _PACKAGE
) -> Iterator[Derivation]:
    """`derivations`, one after the other as they are made: who is interrupted has those before."""
    checked_parametrisation(parametrisation)
    checked_closure(closure)
    kind, builders = "topic", TOPICS
    if convention != _PACKAGE:
        kind = "topic for another convention"
        builders = {name: partial(build, convention) for name, build in _REWRITTEN.items()}
    if topic not in (*builders, "all"):
        raise InputError(unknown(kind, topic, (*builders, "all")))
    chosen = builders.values() if topic == "all" else (builders[topic],)
    shown: set[str] = set()
    for build in chosen:
        for derivation in build(parametrisation, closure):
            new = tuple(step for step in derivation if step.label not in shown)
            shown |= {step.label for step in new}
            yield Derivation(derivation.title, new, derivation.assumptions)
