"""The statements about optimum, bounds and the task-allocation limit, and how they compare; the Bayes risk."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sympy import E, Le, Lt

from .. import notation as n
from ..hypothesis import AS_MANY_HEADS, NOISE, ONE_HEAD, TWO_TASKS, Hypothesis, Numbers, tasks_in_words
from ..optima.bayes_bounds import trace_bounds
from ..optima.bounds import factor_e, separation, single_head, single_head_optimum, universal, universal_lower_bound
from ..optima.limits import loss_infinity, task_allocation_limit
from ..optima.marchenko_pastur import bayes_limit, penalty, penalty_of_task
from ..optima.optimum import eliminate_mu, infimum, multi_head_optimum
from ..parameters import PARAMETERS
from ..statement import BALANCED, DERIVED, LEADING, Statement
from .flow import C24, lines_of

# One head leaves out tasks that are too dear for its budget.
EVERY_TASK_SERVED = Hypothesis(
    "every task is served",
    lambda values: all(share > 0 for share in multi_head_optimum().solve(Numbers(values), 1).shares),
    tasks_in_words,
)


def _elimination() -> Statement:
    derivation = eliminate_mu().derivation
    labels = ("loss without mu", "expressed part")
    claim = (*(line for label in labels for line in derivation[label].formula), *lines_of(PARAMETERS[1:2]))
    return Statement(
        "mu-elimination",
        "Loss with μ at its best",
        (LEADING, "C invertible (no two heads alike)"),
        claim,
        DERIVED,
        derivation,
    )


def _optimum() -> Statement:
    derivation = multi_head_optimum().derivation
    claim = tuple(line for label in ("infimum", "water level", "budget") for line in derivation[label].formula)
    return Statement(
        "multi-head-optimum",
        "Optimum over all weights with H heads",
        (LEADING,),
        claim,
        DERIVED,
        derivation,
    )


def _universal_bound() -> Statement:
    derivation = universal_lower_bound().derivation
    claim = (*derivation.result.formula, Le(universal, infimum))
    return Statement("universal-bound", "Universal lower bound", (LEADING,), claim, DERIVED, derivation)


def _single_head() -> Statement:
    derivation = single_head_optimum().derivation
    return Statement(
        "single-head-optimum",
        "Single-head optimum",
        (LEADING, ONE_HEAD, EVERY_TASK_SERVED),
        derivation.result.formula,
        DERIVED,
        derivation,
    )


def _task_allocation() -> Statement:
    limit = task_allocation_limit()
    claim = tuple((form.symbol, form.expression) for form in (limit.omega, limit.mu, limit.loss))
    return Statement(
        "task-allocation-limit",
        "Task-allocation limit is stationary",
        (LEADING, AS_MANY_HEADS, "task i on head i alone"),
        claim,
        C24,
        limit.derivation,
    )


def _convergence() -> Statement:
    limit = task_allocation_limit()
    return Statement(
        "convergence",
        "The balanced flow ends at its task allocation",
        (LEADING, BALANCED, AS_MANY_HEADS, "a small positive random start whose tasks choose distinct heads"),
        ((n.loss, limit.loss.expression),),
        C24,
        limit.derivation,
        "Measured: the flow is integrated from small random starts until the gap to the limit of the allocation that "
        "it has chosen is below 0.1 %.",
    )


def _factor_e() -> Statement:
    derivation = factor_e().derivation
    return Statement(
        "factor-e",
        "Optimal up to the factor e",
        (LEADING, AS_MANY_HEADS),
        (Le(loss_infinity, E * universal),),
        DERIVED,
        derivation,
    )


def _separation() -> Statement:
    result = separation()
    return Statement(
        "separation",
        "Strict separation from one head",
        (LEADING, AS_MANY_HEADS, TWO_TASKS),
        (Lt(loss_infinity, single_head),),
        f"{DERIVED}; {C24} up to constants",
        result.derivation,
    )


def _separation_limit() -> Statement:
    result = separation()
    return Statement(
        "separation-limit",
        "Separation ratio for long contexts",
        (LEADING, AS_MANY_HEADS, TWO_TASKS, "ρ is the limit of 𝓛_single/𝓛_∞ as L → ∞"),
        (
            (result.limit.symbol, result.limit.expression),
            Lt(1, result.limit.symbol),
            Le(result.limit.symbol, n.n_tasks),
        ),
        DERIVED,
        result.derivation,
    )


def _ordering() -> Statement:
    return Statement(
        "ordering",
        "Bound, optimum, limit and single head in order",
        (LEADING, AS_MANY_HEADS),
        (Le(universal, infimum), Le(infimum, loss_infinity), Le(loss_infinity, single_head)),
        DERIVED,
        separation().derivation,
    )


def _bayes() -> Statement:
    derivation = trace_bounds().derivation
    labels = ("Bayes risk", "trace of the resolvent", "determinant of normal rows", "means", "weight", "one dimension")
    return Statement(
        "bayes-risk",
        "Bayes risk at any dimension and context length",
        (
            NOISE,
            "𝔼 averages over the weight w of r, τ > 0; for p = 1 over τ of density (s/2) e^{−sτ/2}; Q_j at t = s",
        ),
        tuple(line for label in labels for line in derivation[label].formula),
        DERIVED,
        derivation,
    )


def _bayes_limit() -> Statement:
    derivation = bayes_limit().derivation
    return Statement(
        "bayes-limit",
        "Bayes risk in the proportional limit",
        (NOISE, *derivation.assumptions),
        (*derivation["limit in gamma and z"].formula, (penalty[n.i], penalty_of_task)),
        f"{DERIVED} from Marchenko and Pastur 1967",
        derivation,
    )


OPTIMUM_AND_LIMIT_BUILDERS: Mapping[str, Callable[[], Statement]] = {
    "mu-elimination": _elimination,
    "multi-head-optimum": _optimum,
    "universal-bound": _universal_bound,
    "single-head-optimum": _single_head,
    "task-allocation-limit": _task_allocation,
}
CONVERGENCE_BUILDERS: Mapping[str, Callable[[], Statement]] = {"convergence": _convergence}
COMPARISON_BUILDERS: Mapping[str, Callable[[], Statement]] = {
    "factor-e": _factor_e,
    "separation": _separation,
    "separation-limit": _separation_limit,
    "ordering": _ordering,
}
BAYES_BUILDERS: Mapping[str, Callable[[], Statement]] = {"bayes-risk": _bayes, "bayes-limit": _bayes_limit}
