"""Owns changes of coordinates of a ReducedSystem.

The balanced flow lives in ``u = log μ``, ``w = log ω``: in plain coordinates a solver steps across zero, which
the exact flow never does, and then converges to a different limit without noticing.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from sympy import Gt, exp

from . import notation as n
from .derivation import Recorder
from .indexed import Definition, factored, normalise
from .system import ReducedSystem

_LOGARITHM_OF = {n.mu: n.log_mu, n.omega: n.log_omega}


@cache
def to_log(system: ReducedSystem) -> ReducedSystem:
    """The same flow for the logarithms of its (positive) state variables mu and omega.

    Raises ``ValueError`` where the flow does not keep its variables positive.
    """
    if set(system.domain) != {Gt(variable, 0) for variable in system.state}:
        raise ValueError(f"the {system.parametrisation} flow does not keep its state positive: no log coordinates")
    record = Recorder("Logarithmic coordinates")
    record.include(system.derivation)
    names = tuple(_LOGARITHM_OF[variable.base][variable.indices] for variable in system.state)
    opened = tuple(Definition(variable, exp(name)) for variable, name in zip(system.state, names, strict=True))
    record(
        "logarithms",
        tuple((item.head, item.body) for item in opened),
        "The balanced flow keeps μ and ω positive: each velocity carries its own variable as a factor.",
    )
    velocity = tuple(factored(rhs / variable) for variable, rhs in zip(system.state, system.velocity, strict=True))
    for name, rhs in zip(names, velocity, strict=True):
        record(
            f"flow of {name.base.label}",
            (n.time_derivative(name), rhs),
            "d log x/dt = (dx/dt)/x.",
        )
    return replace(
        system,
        state=names,
        definitions=(*opened, *system.definitions),
        gradient=tuple(
            normalise(variable * partial) for variable, partial in zip(system.state, system.gradient, strict=True)
        ),
        metric=tuple(
            normalise(metric / variable**2) for variable, metric in zip(system.state, system.metric, strict=True)
        ),
        velocity=velocity,
        domain=(),
        coordinates="log",
        derivation=record.freeze(),
    )
