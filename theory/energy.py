"""Owns the energy identity: along a gradient flow the loss falls by the squared speed (derived here)."""

from __future__ import annotations

from functools import cache

from . import notation as n
from .derivation import Derivation, Recorder
from .flow import gradient_flow
from .indexed import difference_is_zero


@cache
def energy_identity(parametrisation: str = "balanced") -> Derivation:
    """``d𝓛/dt = −Σ velocity²/metric`` along a flow of attention, both sides by the index calculus."""
    flow = gradient_flow(parametrisation)
    record = Recorder("Energy identity")
    record.include(flow.derivation)
    along, speed = flow.energy_identity()
    record(
        "loss along the flow", (n.loss_rate, along), "𝓛 differentiated in the direction of the velocity (chain rule)."
    )
    squared = sum(
        n.over_tasks(n.over_heads(n.time_derivative(variable) ** 2 / metric))
        for variable, metric in zip(flow.state, flow.metric, strict=True)
    )
    record(
        "energy identity",
        (n.loss_rate, -squared),
        "The velocities are minus metric times gradient: the same expression, so the loss never increases.",
        check=lambda: difference_is_zero(flow.opened(along), flow.opened(speed)),
    )
    return record.freeze()
