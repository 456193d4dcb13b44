"""The statements about the optimum's corollaries and about limits with shared, split and idle heads."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .. import notation as n
from ..hypothesis import A_FREE_HEAD, ONE_HEAD, SEVERAL_HEADS, Hypothesis, equal_tasks, tasks_in_words
from ..optima.corollaries import equal_tasks_optimum, least_heads, single_head_residuals, universal_bound_reached
from ..optima.optimum import infimum
from ..optima.shared_heads import (
    idle_head,
    shared_head,
    shared_loss,
    shared_mu,
    shared_omega,
    split_task,
)
from ..statement import BALANCED, DERIVED, LEADING, Statement

A_GROUP = Hypothesis(
    "one head hosts g ≥ 2 tasks of equal d and λ",
    lambda values: len(set(zip(values["d"], values["lambda"], strict=True))) < values["I"],
    tasks_in_words,
)


def _bound_reached() -> Statement:
    found = universal_bound_reached()
    return Statement(
        "universal-bound-reached",
        "Heads at which the universal bound is the infimum",
        (LEADING,),
        ((least_heads, found.least_heads),),
        DERIVED,
        found.derivation,
    )


def _equal_tasks() -> Statement:
    found = equal_tasks_optimum()
    return Statement(
        "equal-tasks-optimum",
        "Optimum for equal tasks",
        (LEADING, equal_tasks("λ_i = λ and c_i = c for every task"), SEVERAL_HEADS),
        ((infimum, found.expression),),
        DERIVED,
        found.derivation,
    )


def _residuals() -> Statement:
    found = single_head_residuals()
    return Statement(
        "single-head-residuals",
        "What the best single head leaves of each task",
        (LEADING, ONE_HEAD),
        ((n.residual[n.i], found.residual), (found.budget, 1)),
        DERIVED,
        found.derivation,
    )


def _shared() -> Statement:
    found = shared_head()
    return Statement(
        "shared-head",
        "Limit of a head that hosts g equal tasks",
        (LEADING, BALANCED, A_GROUP, "the group has no weight on other heads"),
        ((shared_omega, found.omega), (shared_mu, found.mu), (shared_loss, found.loss)),
        DERIVED,
        found.derivation,
    )


def _split() -> Statement:
    found = split_task()
    claim = tuple(
        line for label in ("omega", "mu", "loss") for line in found.derivation[f"{label} of a split task"].formula
    )
    return Statement(
        "split-task",
        "A task split over several heads",
        (
            LEADING,
            BALANCED,
            SEVERAL_HEADS,
            "K heads of equal ω serve task i alone, S is the sum of its μ there",
        ),
        claim,
        DERIVED,
        found.derivation,
    )


def _idle() -> Statement:
    found = idle_head()
    claim = tuple(line for label in ("idle mu decays", "never grows") for line in found.derivation[label].formula)
    return Statement(
        "idle-head",
        "An idle head loses μ and keeps ω",
        (
            LEADING,
            A_FREE_HEAD,
            BALANCED,
            "the other heads at the task-allocation limit",
            "head l is idle, u = √d_i ω_i^l",
        ),
        claim,
        DERIVED,
        found.derivation,
    )


OPTIMUM_BUILDERS: Mapping[str, Callable[[], Statement]] = {
    "universal-bound-reached": _bound_reached,
    "equal-tasks-optimum": _equal_tasks,
    "single-head-residuals": _residuals,
    "shared-head": _shared,
    "split-task": _split,
    "idle-head": _idle,
}
