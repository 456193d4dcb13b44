"""Wrong constants planted in what checks take from theory, of a size that can be chosen: how small a one is refuted?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from sympy import Rational

from headflow import Problem
from headflow.numerics import staircase
from headflow.numerics.certificates import resolvent
from headflow.numerics.checks import (
    CHECKS,
    Setting,
    closures,
    context,
    families,
    flow,
    limits,
    losses,
    model,
    optimum,
    parametrisations,
    statics,
)
from headflow.numerics.checks import valley as valley_checks
from headflow.numerics.checks.finding import carried_out
from headflow.numerics.verdict import judged
from headflow.theory.statements import statement


@dataclass(frozen=True)
class Plant:
    """``module.name``, a function of theory as the check sees it, gives what ``change`` makes of its result."""

    module: Any
    name: str
    change: Callable[[Any], Any]
    slow: bool = False

    def into(self, monkeypatch: pytest.MonkeyPatch) -> None:
        right = getattr(self.module, self.name)
        monkeypatch.setattr(self.module, self.name, lambda *args: self.change(right(*args)))


def changed(**factors: Any) -> Callable[[Any], Any]:
    """A copy with the named fields multiplied: expressions, closed forms, or the first of a tuple of expressions."""

    def times(value: Any, factor: Any) -> Any:
        if isinstance(value, tuple):
            return (times(value[0], factor), *value[1:])
        if hasattr(value, "expression"):
            return dataclasses.replace(value, expression=value.expression * factor)
        return value * factor

    return lambda right: dataclasses.replace(
        right, **{name: times(getattr(right, name), factor) for name, factor in factors.items()}
    )


def evaluated(**factors: Any) -> Callable[[Any], Any]:
    """An object like the right one whose methods give multiples of the right results."""

    def change(right: Any) -> Any:
        class Wrong:
            def __getattr__(self, name: str) -> Any:
                value = getattr(right, name)
                if name not in factors:
                    return value
                return lambda *args, **more: value(*args, **more) * factors[name]

        return Wrong()

    return change


@dataclass(frozen=True)
class Sized:
    """A plant of any size: ``module.name`` with ``field`` multiplied, or what its method ``field`` gives."""

    planted: str
    module: Any
    name: str
    field: str
    method: bool = False

    def of(self, factor: Any) -> Plant:
        """The plant that multiplies by ``factor``, an exact number."""
        factor = float(factor) if self.field == "evaluate" else factor
        return Plant(self.module, self.name, (evaluated if self.method else changed)(**{self.field: factor}))


LIMIT = "task_allocation_limit"
SIZED: Mapping[str, Sized] = {
    "softmax-moments": Sized("the covariance", losses, "output_moments", "covariance"),
    "population-loss": Sized("the loss", losses, "population_loss", "expression"),
    "finite-d-loss": Sized("the loss", losses, "population_loss", "expression"),
    "first-order-loss": Sized("the loss", losses, "population_loss", "expression"),
    "gradient": Sized("the gradient by μ", flow, "gradient_flow", "gradient"),
    "merged-flow": Sized("the velocity of μ", flow, "gradient_flow", "velocity"),
    "log-coordinates": Sized("the velocity of log μ", flow, "to_log", "velocity"),
    "split-flow": Sized("the velocity of o", parametrisations, "split_flow", "velocity"),
    "split-invariants": Sized("the velocity of o", parametrisations, "split_flow", "velocity"),
    "split-energy": Sized("the velocity of o", parametrisations, "split_flow", "velocity"),
    "symmetric-reduction": Sized("the first gradient", parametrisations, "symmetric_reduction", "gradient"),
    "warm-up": Sized("the velocity of μ", flow, "warm_up_flow", "velocity"),
    "task-allocation-limit": Sized("μ", statics, LIMIT, "mu"),
    "finite-d-allocation-limit": Sized("μ", statics, LIMIT, "mu"),
    "first-order-allocation-limit": Sized("μ", statics, LIMIT, "mu"),
    "finite-d-bounds": Sized("the limit loss", closures, LIMIT, "loss"),
    "multi-head-optimum": Sized("the infimum", statics, "multi_head_optimum", "evaluate", True),
    "universal-bound": Sized("the bound", statics, "universal_lower_bound", "expression"),
    "single-head-optimum": Sized("the optimum", statics, "single_head_optimum", "evaluate", True),
    "balanced-limit-stable": Sized("the on-task rates", limits, "linearised_flow", "on_task_rates"),
    "split-limit-saddle": Sized("the off-task rates", limits, "linearised_flow", "off_task_rates"),
    "merged-at-zero": Sized("the rate of the sum mode", limits, "merged_at_zero", "sum"),
    "merged-degenerate-minimum": Sized("the second variation", limits, "merged_minimum", "second_variation"),
    "merged-emergence": Sized("the emergence time", valley_checks, "merged_start", "emergence"),
    "factor-e": Sized("the limit loss", statics, LIMIT, "loss"),
    "separation": Sized("the limit loss", statics, LIMIT, "loss"),
    "separation-limit": Sized("the limit of the ratio", statics, "separation", "limit"),
    "ordering": Sized("the limit loss", statics, LIMIT, "loss"),
    "equal-tasks-optimum": Sized("the optimum", optimum, "equal_tasks_optimum", "expression"),
    "single-head-residuals": Sized("the residual", optimum, "single_head_residuals", "residual"),
    "shared-head": Sized("μ", optimum, "shared_head", "mu"),
    "split-task": Sized("the sum of μ", optimum, "split_task", "total_mu"),
    "idle-head": Sized("the rate", optimum, "idle_head", "rate"),
    "bayes-risk": Sized("the trace", resolvent, "bayes_risk", "trace"),
    "bayes-limit": Sized("the limit", model, "bayes_limit", "expression"),
    "linear-attention-loss": Sized("the loss", context, "linear_attention_loss", "expression"),
    "linear-attention-optimum": Sized("the optimum", context, "linear_attention_optimum", "evaluate", True),
    "normalisation-costs-a-head": Sized("the optimum", context, "linear_attention_optimum", "exact", True),
    "zero-sum-pair": Sized("the profile", context, "zero_sum_pair", "profile"),
    "debiased-gradient": Sized("the predictor", context, "zero_sum_pair", "predictor"),
    "context-length-shift": Sized("the shifted loss", context, "context_shift", "expression"),
    "hermite-transfer": Sized("the loss", context, "hermite_transfer", "loss"),
    "softmax-regimes": Sized("the typical exponent", context, "softmax_regimes", "typical"),
    "linear-covariate-loss": Sized("the loss", families, "linear_covariate_loss", "expression"),
    "linear-staircase": Sized("the plateaus", staircase, "linear_staircase", "plateau"),
    "linear-drop-times": Sized("the drop times", staircase, "linear_staircase", "drop_time"),
    "linear-cascade": Sized("the velocity of small weights", staircase, "small_split_flow", "velocity"),
    "linear-merged-drop": Sized("the time of the drop", staircase, "linear_staircase", "merged_time"),
    "softmax-covariate-loss": Sized("the loss", families, "softmax_covariate_flow", "loss"),
}

SMALLEST = 45  # decades below 1 that are tried: high-precision checks have 50 digits


def refuted(id: str, problem: Problem, quick: bool, decades: int) -> bool:
    """Whether the check of a statement refutes its plant of relative size 10^−decades."""
    with pytest.MonkeyPatch.context() as patch:
        # A run that is kept would be of the right theory here, and of the wrong one elsewhere.
        patch.setattr(families, "_aligned_run", families._aligned_run.__wrapped__)
        SIZED[id].of(1 + Rational(1, 10**decades)).into(patch)
        verdict = judged(statement(id), *carried_out(CHECKS[id], Setting(problem, 0, quick)))
        return verdict.verdict == "fails"


def smallest_refuted(id: str, problem: Problem, quick: bool, begin: int = 0) -> float | None:
    """The smallest power of ten whose plant is refuted, by bisection; None where none of three from ``begin`` on is."""
    # A plant that is far too large may leave a check without what it looks for, and its claim open.
    low = next((decades for decades in range(begin, begin + 3) if refuted(id, problem, quick, decades)), None)
    if low is None:
        return smallest_refuted(id, problem, quick) if begin else None
    high, reach = SMALLEST + 1, low + 1
    while reach < high:  # ever longer strides, since what a full run finds is mostly near what a quick one does
        if not refuted(id, problem, quick, reach):
            high = reach
        else:
            low, reach = reach, min(high, 2 * reach - low + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if refuted(id, problem, quick, middle) else (low, middle)
    return 10.0**-low
