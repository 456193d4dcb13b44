"""Running the flow that a problem file describes, also when it cannot be finished."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import IntegrationError

if TYPE_CHECKING:
    from ..numerics.problem.problem_file import ProblemFile
    from ..numerics.trajectory.trajectory import Trajectory


def integrated(given: ProblemFile, times: Sequence[float] | None = None, progress: bool = True) -> Trajectory:
    """The trajectory of a problem file; `IntegrationError` if it cannot be finished."""
    from ..numerics.integration.integrate import integrate_silently

    return integrate_silently(  # the verbs print the trajectory's caveats themselves
        given.problem,
        given.initial,
        parametrisation=given.parametrisation,
        closure=given.closure,
        t_final=given.t_final,
        times=times,
        progress=progress,
    )


def integrated_as_far_as_possible(
    given: ProblemFile, progress: bool = True
) -> tuple[Trajectory, IntegrationError | None]:
    """The trajectory, and the error that ended it early if one did."""
    from ..numerics.trajectory.trajectory import Trajectory

    try:
        return integrated(given, progress=progress), None
    except IntegrationError as stopped:
        if not isinstance(stopped.partial, Trajectory):
            raise
        return stopped.partial, stopped
