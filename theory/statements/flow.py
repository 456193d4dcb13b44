"""The statements from the model to its flows: moments, loss, gradient, flows in all coordinates, warm-up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from sympy import Expr, S

from .. import notation as n
from ..flows.coordinates import to_hyperbolic, to_log
from ..flows.energy import energy_identity
from ..flows.factors import IMBALANCES
from ..flows.flow import attention_gradient, gradient_flow
from ..flows.symmetry import symmetric_reduction
from ..hypothesis import ONE_HEAD_EACH, equal_tasks
from ..indexed import Definition
from ..model.attention import output_moments
from ..model.decomposability import decomposability
from ..model.loss import population_loss
from ..parameters import PARAMETERS
from ..phases.warm_up import warm_up_flow
from ..statement import DERIVED, LEADING, Statement
from .closures import LARGE_CONTEXT

C24 = "Chen, Sheen, Wang, Yang 2024 (arXiv 2402.19442)"


def lines_of(definitions: Iterable[Definition]) -> tuple[tuple[Expr, Expr], ...]:
    """What names in a claim stand for."""
    return tuple((item.head, item.body) for item in definitions)


def _softmax_moments() -> Statement:
    derivation = output_moments().derivation
    claim = tuple(line for label in ("mean", "bias", "covariance") for line in derivation[label].formula)
    return Statement(
        "softmax-moments",
        "Moments of softmax heads",
        (LARGE_CONTEXT, "Gaussian tokens, given the query and β"),
        claim,
        DERIVED,
        derivation,
    )


def _population_loss() -> Statement:
    loss = population_loss()
    derivation = loss.derivation
    claim = (*derivation.result.formula, *lines_of(loss.definitions), *lines_of(PARAMETERS[:1]))
    return Statement("population-loss", "Population loss", (LARGE_CONTEXT, LEADING), claim, DERIVED, derivation)


def _gradient() -> Statement:
    base = attention_gradient()
    claim = tuple(
        (n.partial_derivative(variable), partial) for variable, partial in zip(base.state, base.partials, strict=True)
    )
    claim = (*claim, *lines_of(base.definitions[-1:]))
    return Statement("gradient", "Gradient of the population loss", (LEADING,), claim, DERIVED, base.derivation)


def _flow(parametrisation: str, title: str, hypotheses: tuple[str, ...], source: str) -> Statement:
    flow = gradient_flow(parametrisation)
    return Statement(f"{parametrisation}-flow", title, hypotheses, flow.equations, source, flow.derivation)


def _merged_flow() -> Statement:
    return _flow("merged", "Merged gradient flow", ("U and W trained, decomposable start",), DERIVED)


def _balanced_flow() -> Statement:
    start = "Q, K, V, O trained from o = v and k = q, decomposable start"
    return _flow("balanced", "Balanced gradient flow", (start,), C24)


def _log_coordinates() -> Statement:
    flow = to_log(gradient_flow("balanced"))
    return Statement(
        "log-coordinates",
        "Balanced flow in logarithms",
        ("μ, ω > 0",),
        (*flow.equations, *flow.definition_equations[:2]),
        DERIVED,
        flow.derivation,
    )


def _energy_identity() -> Statement:
    derivation = energy_identity()
    return Statement(
        "energy-identity",
        "Energy identity",
        ("the balanced flow",),
        derivation.result.formula,
        DERIVED,
        derivation,
    )


def _decomposability() -> Statement:
    derivation = decomposability()
    steps = [step for step in derivation if step.label.startswith("gradient")] + [derivation.result]
    claim = tuple(line for step in steps for line in step.formula)
    start = "decomposable weights of every head"
    return Statement("decomposability", "Decomposability is kept", (start,), claim, DERIVED, derivation)


def _split_flow() -> Statement:
    return _flow("split", "Split gradient flow", ("Q, K, V, O trained, decomposable start",), DERIVED)


def _split_invariants() -> Statement:
    flow = gradient_flow("split")
    return Statement(
        "split-invariants",
        "Invariants of the split flow",
        ("Q, K, V, O trained, decomposable start",),
        (*flow.derivation["invariants"].formula, *((n.time_derivative(form), S.Zero) for form in IMBALANCES)),
        DERIVED,
        flow.derivation,
    )


def _split_energy() -> Statement:
    derivation = energy_identity("split")
    claim = derivation.result.formula
    return Statement(
        "split-energy", "Energy identity of the split flow", ("the split flow",), claim, DERIVED, derivation
    )


def _split_logarithms() -> Statement:
    flow = to_log(gradient_flow("split"))
    claim = (*flow.equations, *flow.definition_equations[:2])
    return Statement(
        "split-logarithms",
        "Split flow in logarithms",
        ("o + v and k + q not zero", "Δ and Γ at their values at the start"),
        claim,
        DERIVED,
        flow.derivation,
    )


def _hyperbolic_angles() -> Statement:
    flow = to_hyperbolic(gradient_flow("split"))
    claim = (*flow.equations, *flow.definition_equations[:2])
    return Statement(
        "hyperbolic-angles",
        "Split flow in hyperbolic angles",
        ("Δ ≠ 0 and Γ ≠ 0, at their values at the start",),
        claim,
        DERIVED,
        flow.derivation,
    )


def _symmetric_reduction() -> Statement:
    reduction = symmetric_reduction()
    derivation = reduction.derivation
    claim = tuple(
        line for step in derivation if step.label.startswith("gradient of the entry") for line in step.formula
    )
    claim = (*claim, *lines_of(reduction.definitions))
    return Statement(
        "symmetric-reduction",
        "Symmetric reduction to four variables",
        (LEADING, equal_tasks("the tasks are alike: one d, λ and φ"), ONE_HEAD_EACH, "head h favours task h"),
        claim,
        DERIVED,
        derivation,
    )


def _warm_up() -> Statement:
    derivation = warm_up_flow().derivation
    return Statement(
        "warm-up",
        "Warm-up as a competition of heads",
        derivation.assumptions,
        derivation.result.formula,
        DERIVED,
        derivation,
    )


def _equivariance() -> Statement:
    flow = gradient_flow("balanced")
    return Statement(
        "permutation-equivariance",
        "Relabelling tasks or heads relabels the flow",
        ("a permutation of the heads, or of the tasks with their d_i and λ_i",),
        flow.equations,
        DERIVED,
        flow.derivation,
    )


FLOW_BUILDERS: Mapping[str, Callable[[], Statement]] = {
    "softmax-moments": _softmax_moments,
    "population-loss": _population_loss,
    "gradient": _gradient,
    "merged-flow": _merged_flow,
    "balanced-flow": _balanced_flow,
    "log-coordinates": _log_coordinates,
    "energy-identity": _energy_identity,
    "split-flow": _split_flow,
    "split-invariants": _split_invariants,
    "split-energy": _split_energy,
    "split-logarithms": _split_logarithms,
    "hyperbolic-angles": _hyperbolic_angles,
    "decomposability": _decomposability,
    "permutation-equivariance": _equivariance,
    "symmetric-reduction": _symmetric_reduction,
    "warm-up": _warm_up,
}
