"""The statements about the dynamics: the cascade, who wins, when tasks emerge, the late law."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .. import notation as n
from ..hypothesis import AS_MANY_HEADS
from ..optima.limits import loss_infinity
from ..phases.cascade import cascade_flow
from ..phases.convergence import convergence_law, late_constant, time
from ..statement import BALANCED, DERIVED, LEADING, Statement

SMALL = "entries off the occupied heads are of one small scale ε"


def _cascade() -> Statement:
    derivation = cascade_flow().derivation
    claim = tuple(
        line for label in ("flow of waiting tasks", "power of an occupied head") for line in derivation[label].formula
    )
    return Statement(
        "cascade",
        "Cascade of emergences",
        (LEADING, BALANCED, SMALL, "E_h = 1 and P_h = 0 for a free head, E_h = e and the third line for one at rest"),
        claim,
        DERIVED,
        derivation,
    )


def _who_wins() -> Statement:
    derivation = cascade_flow().derivation
    return Statement(
        "who-wins",
        "From a common ω(0) the head with the largest μ(0) wins",
        (LEADING, BALANCED, SMALL, "heads h and k are free"),
        derivation["who wins"].formula,
        DERIVED,
        derivation,
    )


def _emergence_times() -> Statement:
    derivation = cascade_flow().derivation
    return Statement(
        "emergence-time",
        "Time of the first emergence",
        (
            LEADING,
            BALANCED,
            "the start has scale ε → 0, and τ is the blow-up time of the warm-up from the start over ε",
        ),
        derivation["rescaling"].formula,
        DERIVED,
        derivation,
    )


def _late_law() -> Statement:
    law = convergence_law()
    return Statement(
        "late-law",
        "Algebraic convergence with its constant",
        (
            LEADING,
            BALANCED,
            AS_MANY_HEADS,
            "t → ∞ and each task on a head of its own, head h of power P_h not that of task i",
        ),
        (
            (n.omega[n.i, n.h], law.omega),
            (n.loss - loss_infinity, late_constant / time**2),
            (late_constant, law.constant.expression),
        ),
        DERIVED,
        law.derivation,
    )


DYNAMICS_BUILDERS: Mapping[str, Callable[[], Statement]] = {
    "cascade": _cascade,
    "who-wins": _who_wins,
    "emergence-time": _emergence_times,
    "late-law": _late_law,
}
