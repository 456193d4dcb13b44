"""Owns the registry of statements: every claim with its hypotheses, source, status and proof.

A statement is what ``headflow verify`` checks and ``headflow derive statements`` lists.  Claims are taken from the
derivations, never typed a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

from ..choices import unknown
from ..errors import InputError
from ..families.statements import FAMILY_BUILDERS
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


LISTED = "`headflow derive statements` lists them"


@cache
def statements() -> tuple[Statement, ...]:
    """Every registered statement, in the order in which they build on each other."""
    return tuple(map(statement, _BUILDERS))


@cache
def statement(id: str) -> Statement:
    """The statement of that id, derived alone; ``InputError`` with a suggestion for an unknown one."""
    if id not in _BUILDERS:
        raise InputError(unknown("claim", id, tuple(_BUILDERS), LISTED))
    return _BUILDERS[id]()
