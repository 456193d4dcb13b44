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
    from .context.context_length import context_shift as context_shift
    from .context.hermite import hermite_transfer as hermite_transfer
    from .context.linear_attention import linear_attention_loss as linear_attention_loss
    from .context.linear_optimum import linear_attention_optimum as linear_attention_optimum
    from .context.regimes import softmax_regimes as softmax_regimes
    from .context.two_heads import zero_sum_pair as zero_sum_pair
    from .derivation import Derivation as Derivation
    from .families.linear import linear_attention_flow as linear_attention_flow
    from .families.linear import linear_covariate_loss as linear_covariate_loss
    from .families.softmax import softmax_covariate_flow as softmax_covariate_flow
    from .families.softmax import softmax_covariate_loss as softmax_covariate_loss
    from .families.staircase import linear_staircase as linear_staircase
    from .flows.coordinates import to_growth as to_growth
    from .flows.coordinates import to_hyperbolic as to_hyperbolic
    from .flows.coordinates import to_log as to_log
    from .flows.energy import energy_identity as energy_identity
    from .flows.flow import attention_gradient as attention_gradient
    from .flows.flow import gradient_flow as gradient_flow
    from .flows.flow import split_flow as split_flow
    from .flows.invariants import is_invariant as is_invariant
    from .flows.invariants import quadratic_invariants as quadratic_invariants
    from .flows.orbits import Orbits as Orbits
    from .flows.orbits import orbit_partition as orbit_partition
    from .flows.reduction import orbit_reduction as orbit_reduction
    from .flows.symmetry import symmetric_reduction as symmetric_reduction
    from .flows.system import ReducedSystem as ReducedSystem
    from .hypothesis import AS_MANY_HEADS as AS_MANY_HEADS
    from .hypothesis import Hypothesis as Hypothesis
    from .indexed import Definition as Definition
    from .merged.identical_heads import merged_minimum as merged_minimum
    from .merged.merged_zero import merged_at_zero as merged_at_zero
    from .merged.valley import pairs_valley as pairs_valley
    from .merged.valley import simplex_valley as simplex_valley
    from .merged.valley_order import merged_valley_order as merged_valley_order
    from .model.attention import output_moments as output_moments
    from .model.loss import population_loss as population_loss
    from .model.shift import shift_covariance as shift_covariance
    from .optima.bayes import bayes_risk as bayes_risk
    from .optima.bayes_bounds import trace_bounds as trace_bounds
    from .optima.bounds import factor_e as factor_e
    from .optima.bounds import separation as separation
    from .optima.bounds import single_head_optimum as single_head_optimum
    from .optima.bounds import universal_lower_bound as universal_lower_bound
    from .optima.corollaries import equal_tasks_optimum as equal_tasks_optimum
    from .optima.corollaries import single_head_residuals as single_head_residuals
    from .optima.corollaries import universal_bound_reached as universal_bound_reached
    from .optima.limits import task_allocation_limit as task_allocation_limit
    from .optima.marchenko_pastur import bayes_limit as bayes_limit
    from .optima.optimum import eliminate_mu as eliminate_mu
    from .optima.optimum import multi_head_optimum as multi_head_optimum
    from .optima.shared_heads import idle_head as idle_head
    from .optima.shared_heads import shared_head as shared_head
    from .optima.shared_heads import split_task as split_task
    from .phases.cascade import cascade_flow as cascade_flow
    from .phases.convergence import convergence_law as convergence_law
    from .phases.escape import Escape as Escape
    from .phases.escape import escape_from_allocation as escape_from_allocation
    from .phases.linearisation import linearised_flow as linearised_flow
    from .phases.warm_up import warm_up_flow as warm_up_flow
    from .presentation.catalogue import derivations as derivations
    from .presentation.conventions import Convention as Convention
    from .presentation.conventions import in_convention as in_convention
    from .printing import latex_document as latex_document
    from .printing import to_latex as to_latex
    from .printing import to_mathml as to_mathml
    from .printing import to_text as to_text
    from .statement import Statement as Statement
    from .statements import statements as statements

_NAMES = {
    "Convention": ".presentation.conventions",
    "Definition": ".indexed",
    "Derivation": ".derivation",
    "Escape": ".phases.escape",
    "Orbits": ".flows.orbits",
    "ReducedSystem": ".flows.system",
    "AS_MANY_HEADS": ".hypothesis",
    "Hypothesis": ".hypothesis",
    "Statement": ".statement",
    "attention_gradient": ".flows.flow",
    "bayes_risk": ".optima.bayes",
    "trace_bounds": ".optima.bayes_bounds",
    "bayes_limit": ".optima.marchenko_pastur",
    "cascade_flow": ".phases.cascade",
    "choices": ".choices",
    "context_shift": ".context.context_length",
    "convergence_law": ".phases.convergence",
    "derivations": ".presentation.catalogue",
    "eliminate_mu": ".optima.optimum",
    "energy_identity": ".flows.energy",
    "equal_tasks_optimum": ".optima.corollaries",
    "errors": ".errors",
    "escape_from_allocation": ".phases.escape",
    "factor_e": ".optima.bounds",
    "gradient_flow": ".flows.flow",
    "hermite_transfer": ".context.hermite",
    "idle_head": ".optima.shared_heads",
    "in_convention": ".presentation.conventions",
    "indexed": ".indexed",
    "is_invariant": ".flows.invariants",
    "latex_document": ".printing",
    "linear_attention_flow": ".families.linear",
    "linear_attention_loss": ".context.linear_attention",
    "linear_attention_optimum": ".context.linear_optimum",
    "linear_covariate_loss": ".families.linear",
    "linear_staircase": ".families.staircase",
    "linearised_flow": ".phases.linearisation",
    "merged_at_zero": ".merged.merged_zero",
    "merged_minimum": ".merged.identical_heads",
    "merged_valley_order": ".merged.valley_order",
    "multi_head_optimum": ".optima.optimum",
    "notation": ".notation",
    "orbit_partition": ".flows.orbits",
    "orbit_reduction": ".flows.reduction",
    "output_moments": ".model.attention",
    "pairs_valley": ".merged.valley",
    "population_loss": ".model.loss",
    "printing": ".printing",
    "quadratic_invariants": ".flows.invariants",
    "separation": ".optima.bounds",
    "shared_head": ".optima.shared_heads",
    "shift_covariance": ".model.shift",
    "simplex_valley": ".merged.valley",
    "single_head_optimum": ".optima.bounds",
    "single_head_residuals": ".optima.corollaries",
    "softmax_covariate_flow": ".families.softmax",
    "softmax_covariate_loss": ".families.softmax",
    "softmax_regimes": ".context.regimes",
    "split_flow": ".flows.flow",
    "split_task": ".optima.shared_heads",
    "statements": ".statements",
    "symmetric_reduction": ".flows.symmetry",
    "task_allocation_limit": ".optima.limits",
    "to_growth": ".flows.coordinates",
    "to_hyperbolic": ".flows.coordinates",
    "to_latex": ".printing",
    "to_log": ".flows.coordinates",
    "to_mathml": ".printing",
    "to_text": ".printing",
    "universal_bound_reached": ".optima.corollaries",
    "universal_lower_bound": ".optima.bounds",
    "warm_up_flow": ".phases.warm_up",
    "zero_sum_pair": ".context.two_heads",
}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_attributes(__name__, _NAMES)
