"""The figures of a report, drawn from a trajectory and a comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..plot.heat_maps import Snapshot, heat_maps
from ..plot.loss_figure import Level, Mark, loss_figure
from ..plot.plotting import BLUE, GOLD, GREEN, ORANGE, PURPLE
from .summary import number

if TYPE_CHECKING:
    from ..numerics.comparison.compare import Comparison
    from ..numerics.trajectory.trajectory import Trajectory


def draw(trajectory: Trajectory, comparison: Comparison) -> dict[str, str]:
    """SVG by name: ``loss``, ``mu``, ``omega``."""
    phases, problem = trajectory.phases, trajectory.problem
    limit = Level(_limit_name(trajectory), phases.limit, BLUE) if phases.limit is not None else None
    heads = f"{problem.n_heads} head{'s' if problem.n_heads > 1 else ''}"
    named = {
        "multi_head_optimum": (f"optimum, {heads}", GREEN),
        "universal_lower_bound": ("bound, any heads", PURPLE),
        "single_head_optimum": ("optimum, single head", ORANGE),
    }
    levels = [limit] if limit is not None else []
    for name, (label, colour) in named.items():
        value = comparison.losses[name].value
        if value is not None and not (name == "multi_head_optimum" and problem.n_heads == 1):
            levels.append(Level(label, value, colour))
    real = comparison.real
    if real is not None and real.value is not None and real.standard_error is not None:
        levels.append(Level("real attention, end", real.value, GOLD, error=real.standard_error))
    marks = []
    if phases.emergence is not None:
        span = (phases.t_25, phases.t_75) if phases.t_25 is not None and phases.t_75 is not None else None
        marks.append(Mark(f"emergence T₀ = {number(phases.emergence, 3)}", phases.emergence, span))
    if phases.convergence_onset is not None:
        marks.append(Mark(f"convergence from {number(phases.convergence_onset, 3)}", phases.convergence_onset))
    if phases.escape is not None:
        marks.append(Mark(f"escape at {number(phases.escape, 3)}", phases.escape))
    # Errors made early die out as the flow converges: at a time the largest error from there on counts.
    error = np.maximum.accumulate(trajectory.loss_error[::-1])[::-1] * trajectory.loss
    return {
        "loss": loss_figure(trajectory.t, trajectory.loss, levels, marks, limit, error, trajectory.closure),
        **{name: _maps(trajectory, name, symbol) for name, symbol in (("mu", "μ"), ("omega", "ω"))},
    }


def _limit_name(trajectory: Trajectory) -> str:
    return "limit, shared heads" if trajectory.phases.shared else "task-allocation limit"


def _maps(trajectory: Trajectory, name: str, symbol: str) -> str:
    phases, end = trajectory.phases, float(trajectory.t[-1])
    moments = [("start", 0.0), ("emergence", phases.emergence), ("escape", phases.escape), ("end", end)]
    return heat_maps(
        symbol,
        [
            Snapshot(f"{title}, t = {number(t, 3)}", np.asarray(getattr(trajectory.at(t), name)))
            for title, t in moments
            if t is not None
        ],
    )
