"""The statements about flows linearised at their limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..derivation import Derivation
from ..hypothesis import ONE_HEAD_EACH, ONE_TASK, SEVERAL_HEADS, TWO_TASKS, Hypothesis
from ..merged.identical_heads import merged_minimum
from ..merged.merged_zero import merged_at_zero
from ..phases.linearisation import linearised_flow
from ..statement import BALANCED, DERIVED, LEADING, Statement

ALLOCATED = "weights of the task-allocation limit, head i serving task i; h ≠ i"


def _balanced_limit() -> Statement:
    return _statement(
        "balanced-limit-stable",
        "The task-allocation limit attracts the balanced flow",
        (LEADING, BALANCED, ONE_HEAD_EACH, ALLOCATED),
        (
            "trace and determinant on task",
            "on-task eigenvalues",
            "off-task eigenvalues",
            "no mode grows",
            "neutral modes at second order",
        ),
        linearised_flow("balanced").derivation,
    )


def _split_limit() -> Statement:
    return _statement(
        "split-limit-saddle",
        "The task-allocation limit is a saddle of the split flow",
        (LEADING, ONE_HEAD_EACH, TWO_TASKS, ALLOCATED, "m_i is the on-task μ, o − v off task grows at the rate g_i"),
        ("split flow linearised off task", "escape rate", "saddle of the split flow"),
        linearised_flow("split").derivation,
    )


def _merged_minimum() -> Statement:
    return _statement(
        "merged-degenerate-minimum",
        "Identical heads are a degenerate minimum of the merged flow",
        (
            LEADING,
            ONE_TASK,
            SEVERAL_HEADS,
            "V = D²𝓛 in a direction μ̃, ω̃; the last three lines for a head with μ_1^h < 0",
        ),
        (
            "equilibria of identical heads",
            "sums over identical heads",
            "second variation at the equilibria",
            "positive form",
            "unstable direction",
        ),
        merged_minimum().derivation,
    )


def _merged_at_zero() -> Statement:
    return _statement(
        "merged-at-zero",
        "Growth from small weights in the merged flow: weak selection",
        (LEADING, SEVERAL_HEADS, "μ and ω small; ρ_zero for differences of heads, ρ_sum for all heads alike"),
        ("growth rates at zero", "weak selection"),
        merged_at_zero().derivation,
    )


def _statement(
    id: str, title: str, hypotheses: tuple[str | Hypothesis, ...], labels: tuple[str, ...], derivation: Derivation
) -> Statement:
    """A statement whose claim is the formulas of some of its steps."""
    claim = tuple(line for label in labels for line in derivation[label].formula)
    return Statement(id, title, hypotheses, claim, DERIVED, derivation)


LIMIT_BUILDERS: Mapping[str, Callable[[], Statement]] = {
    "balanced-limit-stable": _balanced_limit,
    "split-limit-saddle": _split_limit,
    "merged-at-zero": _merged_at_zero,
    "merged-degenerate-minimum": _merged_minimum,
}
