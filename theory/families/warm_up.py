"""The split flow of linear attention at small weights, with the coordinates that are still to be learned."""

from __future__ import annotations

from dataclasses import replace

from sympy import Expr, S

from .. import notation as n
from ..derivation import Recorder
from ..flows.flow import gradient_flow
from ..flows.system import ReducedSystem
from ..grounds import FORMAL
from ..indexed import difference_is_zero, inline, replace_indexed
from ..indexed.asymptotics import leading_order
from ..result import builder
from .covariates import a, direction_power, over_coordinates, variance
from .drop_times import drive
from .linear import SPLIT, effective, key, linear_attention_flow, output_value, query_weight
from .staircase import linear_staircase


@builder
def small_split_flow() -> ReducedSystem:
    """The second-order truncation in v[h], k[a, h], q[a, h]: heads grow on their own, driven by ``gamma`` (D,).

    γ_a = 2 w_a Λ_a of a coordinate to be learned, 0 of one that is learned (its gradient vanishes there).  From scale
    ε a head blows up, towards one coordinate, after a time proportional to 1/ε.
    """
    full = linear_attention_flow("split")
    loss = -over_coordinates(drive[a] * effective[a, a])
    system = gradient_flow(loss, state=list(full.state), definitions=[SPLIT])
    record = Recorder("Linear attention, split flow at small weights", ("v, k and q are of one small scale ε",))
    record.include(full.derivation)
    record.include(linear_staircase().derivation)
    small = {output_value: -S.One, key: -S.One, query_weight: -S.One}
    drives = {drive: lambda at: 2 * direction_power[at] * variance[at]}

    def is_truncation(*lines: tuple[Expr, Expr]) -> bool:
        return all(
            difference_is_zero(
                leading_order(inline(rhs, full.definitions), small),
                replace_indexed(inline(kept, system.definitions), drives),
            )
            for rhs, (_, kept) in zip(full.velocity, lines, strict=True)
        )

    record(
        "split flow at small weights",
        tuple((n.time_derivative(state), rhs) for state, rhs in zip(system.state, system.velocity, strict=True)),
        "Second order in ε, with γ_a = 2 w_a Λ_a: heads decouple, and each is a competition of coordinates.",
        check=is_truncation,
        scope=FORMAL,
    )
    return replace(system, parametrisation="linear split", closure="small weights", derivation=record.freeze())
