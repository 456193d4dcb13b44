"""The energy identity: along a gradient flow the loss falls by the squared speed (derived here)."""

from __future__ import annotations

from sympy import Add, Expr

from .. import notation as n
from ..derivation import Derivation, Recorder
from ..indexed import difference_is_zero, inline, replace_indexed, rule
from ..result import builder
from .flow import gradient_flow
from .system import ReducedSystem


@builder
def energy_identity(parametrisation: str = "balanced") -> Derivation:
    """``d𝓛/dt = −Σ velocity²/metric`` along a flow of attention, both sides by the index calculus."""
    flow = gradient_flow(parametrisation)
    record = Recorder("Energy identity")
    record.include(flow.derivation)
    along, _ = flow.energy_identity()

    def opened(expression: Expr) -> Expr:
        """In the state, parameters and C: nothing here depends on what C is."""
        return inline(expression, (item for item in flow.definitions if item.base != n.interaction))

    record(
        "loss along the flow",
        (n.loss_rate, along),
        "𝓛 differentiated in the direction of the velocity (chain rule).",
        check=lambda line: difference_is_zero(opened(line[1]), opened(_pulled(flow))),
    )
    squared = sum(
        n.over_tasks(n.over_heads(n.time_derivative(variable) ** 2 / metric))
        for variable, metric in zip(flow.state, flow.metric, strict=True)
    )
    speeds = [n.time_derivative(variable) for variable in flow.state]
    moving = {speed.base: rule(speed, own) for speed, own in zip(speeds, flow.velocity, strict=True)}
    record(
        "energy identity",
        (n.loss_rate, -squared),
        "The velocities are minus metric times gradient: the same expression, so the loss never increases.",
        check=lambda line: difference_is_zero(opened(along), opened(replace_indexed(line[1], moving))),
    )
    return record.freeze()


def _pulled(flow: ReducedSystem) -> Expr:
    """Σ gradient times velocity."""
    parts = (own * speed for own, speed in zip(flow.gradient, flow.velocity, strict=True))
    return n.over_tasks(n.over_heads(Add(*parts)))
