"""When a trajectory passes marks: a task's output half of its last value, and an entry of μ zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq

from ...theory.optima.limits import task_allocation_limit
from ..flows.allocation import IDLE
from ..problem.kinds import takes
from ..problem.problem import FloatArray, Problem
from .record import Record

if TYPE_CHECKING:
    import xarray


@takes(trajectory="Trajectory")
def emergence_times(trajectory: Record, until: float | None = None) -> tuple[float | None, ...]:
    """Per task the first t at which its output Σ_h μ_i^h ω_i^h passes half of its value at the end.

    None for a task that does nothing at the end: it learns less than 1 % of what one head alone would teach it, which
    is little itself where the noise is strong.  ``until`` takes an earlier time for the end, for a flow that has left
    its allocation since.

    Raises ``UnreliableError`` for a trajectory that is not reliable.
    """
    trajectory.ensure_reliable()

    def outputs(t: float) -> FloatArray:
        learnt: FloatArray = trajectory.weights_at(t).prod(axis=0).sum(axis=-1)
        return learnt

    rows = trajectory.weights.prod(axis=0).sum(axis=-1)
    taught = _taught(trajectory.problem)
    found: list[float | None] = []
    for task, last in enumerate(rows[-1] if until is None else outputs(until)):
        if not last >= IDLE * taught[task]:  # NaN too
            found.append(None)
            continue
        row = int(np.flatnonzero(rows[:, task] >= last / 2)[0])
        left, right = float(trajectory.t[max(row - 1, 0)]), float(trajectory.t[row])

        def missing(t: float, task: int = task, half: float = last / 2) -> float:
            return float(outputs(t)[task] - half)

        found.append(right if row == 0 or missing(left) >= 0 else brentq(missing, left, right, xtol=1e-12 * right))
    return tuple(found)


@takes(trajectory="Trajectory")
def sign_changes(trajectory: Record) -> xarray.DataArray:
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
    return per_entry(found)


def _taught(problem: Problem) -> FloatArray:
    """Per task the output μ ω of a head that serves it alone, at its optimum in the leading closure."""
    alone = [problem.subset([task], n_heads=1) for task in range(problem.n_tasks)]
    limit = task_allocation_limit()
    return np.array([float(limit.mu.at_tasks(one)[0] * limit.omega.at_tasks(one)[0]) for one in alone])


def per_entry(values: FloatArray) -> xarray.DataArray:
    import xarray

    return xarray.DataArray(
        values,
        dims=("task", "head"),
        coords={"task": np.arange(values.shape[0]), "head": np.arange(values.shape[1])},
        attrs={"units": "learning rate × steps"},
    )
