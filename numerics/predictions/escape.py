"""Owns the sign changes of μ in a split flow: measured on a trajectory, and predicted from a state near the limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq

from ...theory.errors import HypothesisError
from ...theory.phases.escape import escape_from_allocation
from ..problem.kinds import takes

if TYPE_CHECKING:
    import xarray

    from ..problem.problem import FloatArray
    from ..trajectory.trajectory import Trajectory


@takes(trajectory="Trajectory")
def sign_changes(trajectory: Trajectory) -> xarray.DataArray:
    """The first time at which each entry of μ changes sign, labelled (task, head) from 0; NaN where none does.

    In units of learning rate × steps; roots between stored rows.  An entry that starts at 0 takes the first sign that
    it has.

    Raises ``UnreliableError`` for a trajectory that is not reliable.
    """
    trajectory.ensure_reliable()
    found = np.full(trajectory.mu.shape[1:], np.nan)
    for task, head in np.ndindex(found.shape):
        signs = np.sign(trajectory.mu[:, task, head])  # 0 too where a positive μ underflows
        rows = np.flatnonzero(signs * signs[np.argmax(signs != 0)] < 0)
        if len(rows):
            left, right = trajectory.t[rows[0] - 1], trajectory.t[rows[0]]
            found[task, head] = brentq(
                lambda t, at=(task, head): float(trajectory.at(t).mu[at]), left, right, xtol=1e-12 * right
            )
    return _labelled(found)


@takes(trajectory="Trajectory")
def predicted_sign_changes(trajectory: Trajectory, since: float) -> xarray.DataArray:
    """The same, as the theory predicts it from the state at time ``since``, at which the flow is near its limit.

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
    return _labelled(found)


def _labelled(values: FloatArray) -> xarray.DataArray:
    import xarray

    return xarray.DataArray(
        values,
        dims=("task", "head"),
        coords={"task": np.arange(values.shape[0]), "head": np.arange(values.shape[1])},
        attrs={"units": "learning rate × steps"},
    )
