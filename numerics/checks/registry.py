"""Owns which check belongs to which statement."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from . import closures, context, flow, limits, model, parametrisations, statics
from .finding import Finding, Setting

CHECKS: Mapping[str, Callable[[Setting], Finding]] = {
    "softmax-moments": model.softmax_moments,
    "population-loss": model.population_loss_sampled,
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
    "finite-d-loss": closures.finite_d_loss,
    "first-order-loss": closures.first_order_loss,
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
    "convergence": flow.convergence,
    "factor-e": statics.factor_e_bound,
    "separation": statics.strict_separation,
    "separation-limit": statics.separation_for_long_contexts,
    "ordering": statics.ordering,
    "bayes-risk": model.bayes_risk_sampled,
    "linear-attention-loss": context.linear_loss,
    "linear-attention-optimum": context.linear_optimum,
    "normalisation-costs-a-head": context.normalisation_costs_a_head,
    "zero-sum-pair": context.zero_sum_profile,
    "debiased-gradient": context.debiased_predictor,
    "context-length-shift": context.shifted_context,
    "hermite-transfer": context.hermite_targets,
    "softmax-regimes": context.regimes,
}
