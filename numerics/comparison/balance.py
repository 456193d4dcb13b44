"""What exact balance of the weights, o = v and k = q, has to do with results: the limits that it keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...theory.errors import HypothesisError
from ...theory.phases.escape import escape_from_allocation

if TYPE_CHECKING:
    from ..trajectory.trajectory import Trajectory


def balance_caveat(trajectory: Trajectory) -> str | None:
    """A sentence for a flow of exactly balanced weights that is at a limit with entries off task; else None.

    The limit is a saddle: any imbalance, or the noise of minibatches, lets training leave it.
    """
    problem, phases = trajectory.problem, trajectory.phases
    exactly = trajectory.parametrisation == "balanced" or (
        trajectory.parametrisation == "split" and not np.any(trajectory.initial.imbalance)
    )
    if not exactly or phases.limit is None or phases.escape is not None or min(problem.n_tasks, problem.n_heads) < 2:
        return None
    try:
        rates = [rate for rate in escape_from_allocation().rates(problem) if rate > 0]
    except HypothesisError:  # fewer heads than tasks
        rates = []
    grow = f"grow like e^(g t), g = {max(rates):.3g} here" if rates and not phases.shared else "grow"
    return (
        "the limit is one of exactly balanced weights: with an imbalance, and from the noise of minibatches, μ off "
        f"task change sign and {grow}, and training leaves it"
    )
