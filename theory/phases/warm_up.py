"""The warm-up: the balanced flow at small weights, truncated by scaling (derived here)."""

from __future__ import annotations

from dataclasses import dataclass

from sympy import Expr, S

from .. import notation as n
from ..derivation import Derivation, Recorder
from ..flows.flow import gradient_flow
from ..grounds import FORMAL
from ..indexed import difference_is_zero, factored, inline
from ..indexed.asymptotics import leading_order, scaled_limit
from ..result import Result, builder


@dataclass(frozen=True, repr=False)
class WarmUp(Result):
    """Velocities of μ and ω to leading (second) order in a common small scale."""

    velocity: tuple[Expr, ...]
    derivation: Derivation


@builder
def warm_up_flow() -> WarmUp:
    """The quadratic system of the warm-up: a Lotka–Volterra competition of heads, task by task."""
    flow = gradient_flow("balanced")
    record = Recorder("Warm-up", ("μ and ω are of one small scale ε",))
    record.include(flow.derivation)
    # ε = 1/N in the language of ``leading_order``.
    scaling = {n.mu: -S.One, n.omega: -S.One}
    velocity = tuple(factored(leading_order(inline(rhs, flow.definitions), scaling)) for rhs in flow.velocity)
    record(
        "warm-up",
        tuple((n.time_derivative(variable), rhs) for variable, rhs in zip(flow.state, velocity, strict=True)),
        "Second order in ε: r_i → 1 and C_hk → 1, so tasks decouple; heads compete for each task (Lotka–Volterra). "
        "Homogeneous of degree two: from scale ε the first emergence comes at a time proportional to 1/ε.",
        check=lambda *lines: all(
            difference_is_zero(line[1], scaled_limit(flow.opened(rhs), scaling, 2))
            for line, rhs in zip(lines, flow.velocity, strict=True)
        ),
        scope=FORMAL,
    )
    return WarmUp(velocity, record.freeze())
