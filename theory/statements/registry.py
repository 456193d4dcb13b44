"""Owns the registry of statements: every claim with its hypotheses, source, status and proof.

A statement is what ``headflow verify`` checks and ``headflow derive statements`` lists.  Claims are taken from the
derivations, never typed a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache

from sympy import E, Expr, Le, Lt, S

from .. import notation as n
from ..attention import output_moments
from ..bayes import bayes_risk, penalty, penalty_of_task
from ..bounds import factor_e, separation, single_head, single_head_optimum, universal, universal_lower_bound
from ..choices import unknown
from ..coordinates import to_hyperbolic, to_log
from ..decomposability import decomposability
from ..energy import energy_identity
from ..errors import InputError
from ..factors import IMBALANCES
from ..families.statements import FAMILY_BUILDERS
from ..flow import attention_gradient, gradient_flow
from ..indexed import Definition
from ..limits import loss_infinity, task_allocation_limit
from ..loss import PARAMETERS, population_loss
from ..optimum import eliminate_mu, infimum, multi_head_optimum
from ..phases.warm_up import warm_up_flow
from ..statement import DERIVED, LEADING, Statement
from ..symmetry import symmetric_reduction
from .closures import CLOSURE_BUILDERS
from .context import CONTEXT_BUILDERS
from .limits import LIMIT_BUILDERS
from .optimum import OPTIMUM_BUILDERS
from .phases import DYNAMICS_BUILDERS
from .valley import VALLEY_BUILDERS

C24 = "Chen, Sheen, Wang, Yang 2024 (arXiv 2402.19442)"
LARGE_CONTEXT = "L → ∞ (order 1/L kept)"
ENOUGH = "H ≥ I"


def _lines(definitions: Iterable[Definition]) -> tuple[tuple[Expr, Expr], ...]:
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
        "derived",
        derivation,
    )


def _population_loss() -> Statement:
    loss = population_loss()
    derivation = loss.derivation
    claim = (*derivation.result.formula, *_lines(loss.definitions), *_lines(PARAMETERS[:1]))
    return Statement(
        "population-loss", "Population loss", (LARGE_CONTEXT, LEADING), claim, DERIVED, "derived", derivation
    )


def _gradient() -> Statement:
    base = attention_gradient()
    claim = tuple(
        (n.partial_derivative(variable), partial) for variable, partial in zip(base.state, base.partials, strict=True)
    )
    claim = (*claim, *_lines(base.definitions[-1:]))
    return Statement(
        "gradient", "Gradient of the population loss", (LEADING,), claim, DERIVED, "proved", base.derivation
    )


def _flow(parametrisation: str, title: str, hypotheses: tuple[str, ...], source: str) -> Statement:
    flow = gradient_flow(parametrisation)
    return Statement(f"{parametrisation}-flow", title, hypotheses, flow.equations, source, "proved", flow.derivation)


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
        "proved",
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
        "proved",
        derivation,
    )


def _decomposability() -> Statement:
    derivation = decomposability()
    steps = [step for step in derivation if step.label.startswith("gradient")] + [derivation.result]
    claim = tuple(line for step in steps for line in step.formula)
    start = "decomposable weights of every head"
    return Statement("decomposability", "Decomposability is kept", (start,), claim, DERIVED, "proved", derivation)


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
        "proved",
        flow.derivation,
    )


def _split_energy() -> Statement:
    derivation = energy_identity("split")
    claim = derivation.result.formula
    return Statement(
        "split-energy", "Energy identity of the split flow", ("the split flow",), claim, DERIVED, "proved", derivation
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
        "proved",
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
        "proved",
        flow.derivation,
    )


def _symmetric_reduction() -> Statement:
    reduction = symmetric_reduction()
    derivation = reduction.derivation
    claim = tuple(
        line for step in derivation if step.label.startswith("gradient of the entry") for line in step.formula
    )
    claim = (*claim, *_lines(reduction.definitions))
    return Statement(
        "symmetric-reduction",
        "Symmetric reduction to four variables",
        (LEADING, *derivation.assumptions),
        claim,
        DERIVED,
        "proved",
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
        "derived",
        derivation,
    )


def _elimination() -> Statement:
    derivation = eliminate_mu().derivation
    labels = ("loss without mu", "expressed part")
    claim = (*(line for label in labels for line in derivation[label].formula), *_lines(PARAMETERS[1:2]))
    return Statement("mu-elimination", "Loss with μ at its best", (LEADING,), claim, DERIVED, "proved", derivation)


def _optimum() -> Statement:
    derivation = multi_head_optimum().derivation
    claim = tuple(line for label in ("infimum", "water level", "budget") for line in derivation[label].formula)
    return Statement(
        "multi-head-optimum",
        "Optimum over all weights with H heads",
        (LEADING,),
        claim,
        DERIVED,
        "proved",
        derivation,
    )


def _universal_bound() -> Statement:
    derivation = universal_lower_bound().derivation
    claim = (*derivation.result.formula, Le(universal, infimum))
    return Statement("universal-bound", "Universal lower bound", (LEADING,), claim, DERIVED, "proved", derivation)


def _single_head() -> Statement:
    derivation = single_head_optimum().derivation
    return Statement(
        "single-head-optimum",
        "Single-head optimum",
        (LEADING, "H = 1 and every task is served"),
        derivation.result.formula,
        DERIVED,
        "proved",
        derivation,
    )


def _task_allocation() -> Statement:
    limit = task_allocation_limit()
    claim = tuple((form.symbol, form.expression) for form in (limit.omega, limit.mu, limit.loss))
    return Statement(
        "task-allocation-limit",
        "Task-allocation limit is stationary",
        (LEADING, ENOUGH, "task i on head i alone"),
        claim,
        C24,
        "proved",
        limit.derivation,
    )


def _convergence() -> Statement:
    limit = task_allocation_limit()
    return Statement(
        "convergence",
        "The balanced flow ends at its task allocation",
        (LEADING, ENOUGH, "a small positive random start whose tasks choose distinct heads"),
        ((n.loss, limit.loss.expression),),
        C24,
        "published",
        limit.derivation,
        "Measured: the flow is integrated from small random starts until the gap to the limit of the allocation that "
        "it has chosen is below 0.1 %.",
    )


def _factor_e() -> Statement:
    derivation = factor_e().derivation
    return Statement(
        "factor-e",
        "Optimal up to the factor e",
        (LEADING, ENOUGH),
        (Le(loss_infinity, E * universal),),
        DERIVED,
        "proved",
        derivation,
    )


def _separation() -> Statement:
    result = separation()
    return Statement(
        "separation",
        "Strict separation from one head",
        (LEADING, ENOUGH, "I ≥ 2"),
        (Lt(loss_infinity, single_head),),
        f"{DERIVED}; {C24} up to constants",
        "proved",
        result.derivation,
    )


def _separation_limit() -> Statement:
    result = separation()
    return Statement(
        "separation-limit",
        "Separation ratio for long contexts",
        (LEADING, ENOUGH, "I ≥ 2", "ρ is the limit of 𝓛_single/𝓛_∞ as L → ∞"),
        (
            (result.limit.symbol, result.limit.expression),
            Lt(1, result.limit.symbol),
            Le(result.limit.symbol, n.n_tasks),
        ),
        DERIVED,
        "proved",
        result.derivation,
    )


def _ordering() -> Statement:
    return Statement(
        "ordering",
        "Bound, optimum, limit and single head in order",
        (LEADING, ENOUGH),
        (Le(universal, infimum), Le(infimum, loss_infinity), Le(loss_infinity, single_head)),
        DERIVED,
        "proved",
        separation().derivation,
    )


def _equivariance() -> Statement:
    flow = gradient_flow("balanced")
    return Statement(
        "permutation-equivariance",
        "Relabelling tasks or heads relabels the flow",
        ("a permutation of the heads, or of the tasks with their d_i and λ_i",),
        flow.equations,
        DERIVED,
        "proved",
        flow.derivation,
    )


def _bayes() -> Statement:
    derivation = bayes_risk().derivation
    return Statement(
        "bayes-risk",
        "Bayes risk",
        derivation.assumptions,
        (*derivation["Bayes risk in gamma and z"].formula, (penalty[n.i], penalty_of_task)),
        f"{DERIVED} from Marchenko and Pastur 1967",
        "proved",
        derivation,
    )


_BUILDERS: Mapping[str, Callable[[], Statement]] = {
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
    **CLOSURE_BUILDERS,
    "mu-elimination": _elimination,
    "multi-head-optimum": _optimum,
    "universal-bound": _universal_bound,
    "single-head-optimum": _single_head,
    "task-allocation-limit": _task_allocation,
    **LIMIT_BUILDERS,
    **DYNAMICS_BUILDERS,
    "convergence": _convergence,
    **VALLEY_BUILDERS,
    "factor-e": _factor_e,
    "separation": _separation,
    "separation-limit": _separation_limit,
    "ordering": _ordering,
    **OPTIMUM_BUILDERS,
    "bayes-risk": _bayes,
    **CONTEXT_BUILDERS,
    **FAMILY_BUILDERS,
}


@cache
def statements() -> tuple[Statement, ...]:
    """Every registered statement, in the order in which they build on each other."""
    return tuple(map(statement, _BUILDERS))


@cache
def statement(id: str) -> Statement:
    """The statement of that id, derived alone; ``InputError`` with a suggestion for an unknown one."""
    if id not in _BUILDERS:
        raise InputError(unknown("claim", id, tuple(_BUILDERS)))
    return _BUILDERS[id]()
