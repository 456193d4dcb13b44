"""The sign changes of μ in a split flow as predicted from a state near the limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...theory.errors import HypothesisError
from ...theory.phases.escape import escape_from_allocation
from ..problem.kinds import takes
from ..trajectory.crossings import per_entry
from ..trajectory.record import Record

if TYPE_CHECKING:
    import xarray


@takes(trajectory="Trajectory")
def predicted_sign_changes(trajectory: Record, since: float) -> xarray.DataArray:
    """When entries of μ change sign, as the theory predicts it from the state at ``since``, near the limit.

    For entries off the allocation that the flow has at ``since``; NaN on it, and where Δ = 0 keeps the sign.
    Corrections fall with ``since`` like its inverse (see `headflow.theory.phases.escape`).

    Raises
    ------
    HypothesisError
        Where tasks have no heads of their own at ``since``.
    UnreliableError
        For a trajectory that is not reliable.
    """
    trajectory.ensure_reliable()
    state, imbalance = trajectory.at(since), trajectory.initial.imbalance[0]
    heads = state.allocation.heads
    if None in heads or state.allocation.shared:
        what = f"the sign change predicted from t = {since:.6g}"
        raise HypothesisError(what, "each task on a head of its own", str(state.allocation))
    theory = escape_from_allocation()
    found = np.full(state.mu.shape, np.nan)
    for task, head in np.ndindex(found.shape):
        entry = float(imbalance[task, head])
        if heads[task] != head and entry:
            mu = float(state.mu[task, head])
            found[task, head] = since + theory.sign_change_at(trajectory.problem, task, mu, entry)
    return per_entry(found)
