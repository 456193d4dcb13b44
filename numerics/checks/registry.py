"""Which checks and explorations belong to which statement, and the statements that a user registers."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ...theory.choices import unknown
from ...theory.errors import InputError, InputTypeError
from ...theory.statement import Statement
from ...theory.statements import statement
from ...theory.statements.registry import LISTED
from . import (
    asymptotics,
    basin,
    closures,
    context,
    dynamics,
    enclosures,
    flow,
    identities,
    limits,
    losses,
    model,
    optimum,
    parametrisations,
    statics,
    stationary_point,
    valley,
)
from .counterexamples_dynamics import DYNAMICS
from .counterexamples_statics import STATICS
from .exploration import Exploration
from .families import FAMILY_CHECKS
from .finding import Check

CHECKS: Mapping[str, Check] = {
    "softmax-moments": losses.softmax_moments,
    "population-loss": losses.leading_loss,
    "gradient": flow.gradient,
    "merged-flow": flow.merged_flow,
    "balanced-flow": flow.balanced_flow,
    "log-coordinates": flow.log_coordinates,
    "energy-identity": flow.energy,
    "permutation-equivariance": flow.permutation_equivariance,
    "split-flow": parametrisations.split,
    "split-invariants": parametrisations.invariants,
    "split-energy": parametrisations.energy,
    "split-logarithms": parametrisations.split_logarithms,
    "hyperbolic-angles": parametrisations.hyperbolic_angles,
    "decomposability": parametrisations.decomposable,
    "symmetric-reduction": parametrisations.symmetric_reduction_restricts,
    "warm-up": flow.warm_up_order,
    "finite-d-loss": losses.finite_d_loss,
    "first-order-loss": losses.first_order_loss,
    "closure-limits": closures.limits,
    "finite-d-allocation-limit": closures.finite_d_allocation,
    "first-order-allocation-limit": closures.first_order_allocation,
    "finite-d-bounds": closures.finite_d_factor,
    "mu-elimination": statics.mu_elimination,
    "multi-head-optimum": statics.optimum_theorem,
    "universal-bound": statics.universal_bound,
    "single-head-optimum": statics.single_head,
    "task-allocation-limit": statics.allocation_stationary,
    "balanced-limit-stable": limits.balanced_limit_stable,
    "split-limit-saddle": limits.split_limit_saddle,
    "merged-at-zero": limits.merged_zero,
    "merged-degenerate-minimum": limits.merged_degenerate_minimum,
    "cascade": dynamics.waiting_flow,
    "who-wins": dynamics.who_wins,
    "emergence-time": dynamics.first_emergence,
    "late-law": dynamics.late_law,
    "convergence": flow.convergence,
    "merged-valley": valley.order,
    "merged-valley-pairs": valley.pairs,
    "merged-valley-simplex": valley.simplex,
    "merged-valley-one-task": valley.one_task,
    "merged-race": valley.start,
    "merged-emergence": valley.emergence,
    "factor-e": statics.factor_e_bound,
    "separation": statics.strict_separation,
    "separation-limit": statics.separation_for_long_contexts,
    "ordering": statics.ordering,
    "universal-bound-reached": optimum.bound_reached,
    "equal-tasks-optimum": optimum.equal_tasks,
    "single-head-residuals": optimum.residuals_of_one_head,
    "shared-head": optimum.shared_heads,
    "split-task": optimum.split_tasks,
    "idle-head": optimum.idle_heads,
    "bayes-risk": model.bayes_risk_checked,
    "bayes-limit": model.bayes_limit_approached,
    "linear-attention-loss": context.linear_loss,
    "linear-attention-optimum": context.linear_optimum,
    "normalisation-costs-a-head": context.normalisation_costs_a_head,
    "zero-sum-pair": context.zero_sum_profile,
    "debiased-gradient": context.debiased_predictor,
    "context-length-shift": context.shifted_context,
    "hermite-transfer": context.hermite_targets,
    "softmax-regimes": context.regimes,
    **FAMILY_CHECKS,
}

# Further evidence: what is claimed, shown by the index calculus for every number of tasks and heads.
IDENTITIES: Mapping[str, Check] = {
    "merged-flow": identities.merged_flow,
    "balanced-flow": identities.balanced_flow,
    "log-coordinates": identities.log_coordinates,
    "permutation-equivariance": identities.relabelling,
    "split-flow": identities.split_flow,
    "split-logarithms": identities.split_logarithms,
    "hyperbolic-angles": identities.hyperbolic_angles,
    "symmetric-reduction": identities.symmetric_set,
    "mu-elimination": identities.best_mu,
    "task-allocation-limit": identities.allocation,
    "merged-at-zero": identities.modes_at_zero,
}

# Further evidence: claims proved over boxes of parameters.
ENCLOSURES: Mapping[str, Check] = {
    "multi-head-optimum": enclosures.optimum_inequality,
    "universal-bound": enclosures.universal_bound_in_a_box,
    "task-allocation-limit": stationary_point.leading_point,
    "finite-d-allocation-limit": stationary_point.finite_d_point,
    "first-order-allocation-limit": stationary_point.first_order_point,
    "finite-d-bounds": enclosures.kappa_in_a_box,
    "balanced-limit-stable": enclosures.balanced_eigenvalues,
    "split-limit-saddle": enclosures.split_eigenvalues,
    "merged-degenerate-minimum": enclosures.degenerate_minimum,
    "factor-e": enclosures.factor_e_in_a_box,
    "separation": enclosures.separation_in_a_box,
    "separation-limit": enclosures.separation_limit_in_a_box,
    "ordering": enclosures.ordering_in_a_box,
    "idle-head": enclosures.idle_rate,
    "bayes-risk": model.bayes_risk_enclosed,
}

# Further evidence: a region that traps the flow.
BASINS: Mapping[str, Check] = {"convergence": basin.ends_at_its_allocation}
# Further evidence: laws fitted over a range.
LAWS: Mapping[str, Check] = {
    "population-loss": losses.leading_order,
    "finite-d-loss": losses.finite_d_order,
    "first-order-loss": losses.first_order_order,
    "finite-d-bounds": asymptotics.kappa,
    "linear-drop-times": asymptotics.drop_time,
}

# What becomes of a claim without one of its hypotheses.
EXPLORATIONS: tuple[Exploration, ...] = (*STATICS, *DYNAMICS)

_OWN: dict[str, tuple[Statement, Check]] = {}


def register(entry: Statement, check: Check) -> None:
    """Register a statement of one's own with its check, for this session.

    ``check`` takes a `Setting` (the problem, a seed, whether to be quick) and returns a `Finding`, or several in a
    tuple; the statement is then verified with all others, or by its id.  Registering an id again replaces one's own
    statement.

    Raises ``InputError`` for an id that headflow uses, ``InputTypeError`` for what is no statement or no function.
    """
    if not isinstance(entry, Statement):
        raise InputTypeError(f"register needs a Statement, got {type(entry).__name__}")
    if not callable(check):
        raise InputTypeError(f"the check must be a function of a Setting, got {type(check).__name__}")
    if entry.id in CHECKS:
        raise InputError(f"headflow has a statement {entry.id!r} already; choose another id")
    _OWN[entry.id] = (entry, check)


def unregister(id: str) -> None:
    """Forget a statement that was registered; ``InputError`` if there is none of that id."""
    if id not in _OWN:
        raise InputError(unknown("statement of your own", id, tuple(_OWN)))
    del _OWN[id]


def is_own(id: str) -> bool:
    return id in _OWN


def known_ids() -> tuple[str, ...]:
    """The id of every statement that can be checked: headflow's, then those registered."""
    return (*CHECKS, *_OWN)


def known_id(id: str) -> str:
    """The id; ``InputError`` with a suggestion for one that stands for no statement."""
    if id not in known_ids():
        raise InputError(unknown("claim", id, known_ids(), LISTED))
    return id


def known_statement(id: str) -> Statement:
    """The statement of an id that can be checked."""
    return _OWN[id][0] if id in _OWN else statement(id)


def checks_of(id: str, quick: bool = False) -> tuple[Check, ...]:
    """The checks of a statement: its own, then further evidence, of which a quick run leaves out what takes longest."""
    if id in _OWN:
        return (_OWN[id][1],)
    further = (IDENTITIES, ENCLOSURES) if quick else (IDENTITIES, ENCLOSURES, BASINS, LAWS)
    return (CHECKS[id], *(table[id] for table in further if id in table))


def explorations_of(ids: Collection[str]) -> tuple[Exploration, ...]:
    """What is known of these statements outside their hypotheses."""
    return tuple(entry for entry in EXPLORATIONS if entry.statement in ids)
