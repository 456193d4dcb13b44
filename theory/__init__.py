"""SymPy only: derives, for symbolic numbers of tasks and heads, exactly.  No NumPy, no floats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_attributes

if TYPE_CHECKING:
    from . import choices as choices
    from . import errors as errors
    from . import indexed as indexed
    from . import notation as notation
    from . import printing as printing
    from .attention import output_moments as output_moments
    from .bayes import bayes_risk as bayes_risk
    from .bayes_bounds import trace_bounds as trace_bounds
    from .bounds import factor_e as factor_e
    from .bounds import separation as separation
    from .bounds import single_head_optimum as single_head_optimum
    from .bounds import universal_lower_bound as universal_lower_bound
    from .catalogue import derivations as derivations
    from .context.context_length import context_shift as context_shift
    from .context.hermite import hermite_transfer as hermite_transfer
    from .context.linear_attention import linear_attention_loss as linear_attention_loss
    from .context.linear_optimum import linear_attention_optimum as linear_attention_optimum
    from .context.regimes import softmax_regimes as softmax_regimes
    from .context.two_heads import zero_sum_pair as zero_sum_pair
    from .conventions import Convention as Convention
    from .conventions import in_convention as in_convention
    from .coordinates import to_growth as to_growth
    from .coordinates import to_hyperbolic as to_hyperbolic
    from .coordinates import to_log as to_log
    from .corollaries import equal_tasks_optimum as equal_tasks_optimum
    from .corollaries import single_head_residuals as single_head_residuals
    from .corollaries import universal_bound_reached as universal_bound_reached
    from .derivation import Derivation as Derivation
    from .energy import energy_identity as energy_identity
    from .families.linear import linear_attention_flow as linear_attention_flow
    from .families.linear import linear_covariate_loss as linear_covariate_loss
    from .families.softmax import softmax_covariate_flow as softmax_covariate_flow
    from .families.softmax import softmax_covariate_loss as softmax_covariate_loss
    from .families.staircase import linear_staircase as linear_staircase
    from .flow import attention_gradient as attention_gradient
    from .flow import gradient_flow as gradient_flow
    from .flow import split_flow as split_flow
    from .hypothesis import AS_MANY_HEADS as AS_MANY_HEADS
    from .hypothesis import Hypothesis as Hypothesis
    from .indexed import Definition as Definition
    from .invariants import is_invariant as is_invariant
    from .invariants import quadratic_invariants as quadratic_invariants
    from .limits import task_allocation_limit as task_allocation_limit
    from .loss import population_loss as population_loss
    from .marchenko_pastur import bayes_limit as bayes_limit
    from .optimum import eliminate_mu as eliminate_mu
    from .optimum import multi_head_optimum as multi_head_optimum
    from .orbits import Orbits as Orbits
    from .orbits import orbit_partition as orbit_partition
    from .phases.cascade import cascade_flow as cascade_flow
    from .phases.convergence import convergence_law as convergence_law
    from .phases.escape import Escape as Escape
    from .phases.escape import escape_from_allocation as escape_from_allocation
    from .phases.identical_heads import merged_minimum as merged_minimum
    from .phases.linearisation import linearised_flow as linearised_flow
    from .phases.merged_zero import merged_at_zero as merged_at_zero
    from .phases.valley import pairs_valley as pairs_valley
    from .phases.valley import simplex_valley as simplex_valley
    from .phases.valley_order import merged_valley_order as merged_valley_order
    from .phases.warm_up import warm_up_flow as warm_up_flow
    from .printing import latex_document as latex_document
    from .printing import to_latex as to_latex
    from .printing import to_mathml as to_mathml
    from .printing import to_text as to_text
    from .reduction import orbit_reduction as orbit_reduction
    from .shared_heads import idle_head as idle_head
    from .shared_heads import shared_head as shared_head
    from .shared_heads import split_task as split_task
    from .shift import shift_covariance as shift_covariance
    from .statement import Statement as Statement
    from .statements import statements as statements
    from .symmetry import symmetric_reduction as symmetric_reduction
    from .system import ReducedSystem as ReducedSystem

_NAMES = {
    "Convention": ".conventions",
    "Definition": ".indexed",
    "Derivation": ".derivation",
    "Escape": ".phases.escape",
    "Orbits": ".orbits",
    "ReducedSystem": ".system",
    "AS_MANY_HEADS": ".hypothesis",
    "Hypothesis": ".hypothesis",
    "Statement": ".statement",
    "attention_gradient": ".flow",
    "bayes_risk": ".bayes",
    "trace_bounds": ".bayes_bounds",
    "bayes_limit": ".marchenko_pastur",
    "cascade_flow": ".phases.cascade",
    "choices": ".choices",
    "context_shift": ".context.context_length",
    "convergence_law": ".phases.convergence",
    "derivations": ".catalogue",
    "eliminate_mu": ".optimum",
    "energy_identity": ".energy",
    "equal_tasks_optimum": ".corollaries",
    "errors": ".errors",
    "escape_from_allocation": ".phases.escape",
    "factor_e": ".bounds",
    "gradient_flow": ".flow",
    "hermite_transfer": ".context.hermite",
    "idle_head": ".shared_heads",
    "in_convention": ".conventions",
    "indexed": ".indexed",
    "is_invariant": ".invariants",
    "latex_document": ".printing",
    "linear_attention_flow": ".families.linear",
    "linear_attention_loss": ".context.linear_attention",
    "linear_attention_optimum": ".context.linear_optimum",
    "linear_covariate_loss": ".families.linear",
    "linear_staircase": ".families.staircase",
    "linearised_flow": ".phases.linearisation",
    "merged_at_zero": ".phases.merged_zero",
    "merged_minimum": ".phases.identical_heads",
    "merged_valley_order": ".phases.valley_order",
    "multi_head_optimum": ".optimum",
    "notation": ".notation",
    "orbit_partition": ".orbits",
    "orbit_reduction": ".reduction",
    "output_moments": ".attention",
    "pairs_valley": ".phases.valley",
    "population_loss": ".loss",
    "printing": ".printing",
    "quadratic_invariants": ".invariants",
    "separation": ".bounds",
    "shared_head": ".shared_heads",
    "shift_covariance": ".shift",
    "simplex_valley": ".phases.valley",
    "single_head_optimum": ".bounds",
    "single_head_residuals": ".corollaries",
    "softmax_covariate_flow": ".families.softmax",
    "softmax_covariate_loss": ".families.softmax",
    "softmax_regimes": ".context.regimes",
    "split_flow": ".flow",
    "split_task": ".shared_heads",
    "statements": ".statements",
    "symmetric_reduction": ".symmetry",
    "task_allocation_limit": ".limits",
    "to_growth": ".coordinates",
    "to_hyperbolic": ".coordinates",
    "to_latex": ".printing",
    "to_log": ".coordinates",
    "to_mathml": ".printing",
    "to_text": ".printing",
    "universal_bound_reached": ".corollaries",
    "universal_lower_bound": ".bounds",
    "warm_up_flow": ".phases.warm_up",
    "zero_sum_pair": ".context.two_heads",
}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_attributes(__name__, _NAMES)
