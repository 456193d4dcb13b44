"""The registry of statements: every claim with its hypotheses, source, status and proof.

A statement is what ``headflow verify`` checks and ``headflow derive statements`` lists.  Claims are taken from the
derivations, never typed a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ..choices import unknown
from ..errors import InputError
from ..families.statements import FAMILY_BUILDERS
from ..result import builder
from ..statement import Statement
from .bounds import BAYES_BUILDERS, COMPARISON_BUILDERS, CONVERGENCE_BUILDERS, OPTIMUM_AND_LIMIT_BUILDERS
from .closures import CLOSURE_BUILDERS
from .context import CONTEXT_BUILDERS
from .flow import FLOW_BUILDERS
from .limits import LIMIT_BUILDERS
from .optimum import OPTIMUM_BUILDERS
from .phases import DYNAMICS_BUILDERS
from .valley import VALLEY_BUILDERS

_BUILDERS: Mapping[str, Callable[[], Statement]] = {
    **FLOW_BUILDERS,
    **CLOSURE_BUILDERS,
    **OPTIMUM_AND_LIMIT_BUILDERS,
    **LIMIT_BUILDERS,
    **DYNAMICS_BUILDERS,
    **CONVERGENCE_BUILDERS,
    **VALLEY_BUILDERS,
    **COMPARISON_BUILDERS,
    **OPTIMUM_BUILDERS,
    **BAYES_BUILDERS,
    **CONTEXT_BUILDERS,
    **FAMILY_BUILDERS,
}


# Statements that restate the chain rule or another statement, or follow from it in one line: each with the theorem that
# it stands under.
_PARENTS: Mapping[str, str] = {
    **dict.fromkeys(
        ("gradient", "merged-flow", "balanced-flow", "log-coordinates", "energy-identity", "split-flow"),
        "population-loss",
    ),
    **dict.fromkeys(
        ("split-invariants", "split-energy", "split-logarithms", "hyperbolic-angles", "permutation-equivariance"),
        "population-loss",
    ),
    "symmetric-reduction": "population-loss",
    **dict.fromkeys(
        ("mu-elimination", "universal-bound", "universal-bound-reached", "single-head-optimum"), "multi-head-optimum"
    ),
    **dict.fromkeys(("single-head-residuals", "equal-tasks-optimum"), "multi-head-optimum"),
    **dict.fromkeys(("shared-head", "split-task", "context-length-shift"), "task-allocation-limit"),
    "ordering": "separation",
    **dict.fromkeys(("who-wins", "emergence-time"), "cascade"),
    "normalisation-costs-a-head": "linear-attention-optimum",
    "debiased-gradient": "zero-sum-pair",
    "linear-split-flow": "linear-covariate-loss",
}

LISTED = "`headflow derive statements` lists them"


@builder
def statements() -> tuple[Statement, ...]:
    """Every registered statement, in the order in which they build on each other."""
    return tuple(map(statement, _BUILDERS))


@builder
def statement(id: str) -> Statement:
    """The statement of that id, derived alone; ``InputError`` with a suggestion for an unknown one."""
    if id not in _BUILDERS:
        raise InputError(unknown("claim", id, tuple(_BUILDERS), LISTED))
    return replace(_BUILDERS[id](), parent=_PARENTS.get(id, ""))
