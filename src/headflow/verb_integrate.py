"""Owns ``headflow integrate``: the gradient flow of a problem, printed and saved."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import IntegrationError
from .output import check_file, emit, json_text
from .problem_source import numbers, problem_file
from .runs import integrated
from .summary import flow_summary

if TYPE_CHECKING:
    from .numerics.trajectory import Trajectory


def run(arguments: Namespace) -> int:
    """Integrate, save, print; what was computed before a failure, or is not reliable, is saved and printed too."""
    from .numerics.stop import IntegrationInterrupted
    from .numerics.trajectory import Trajectory

    given, _ = problem_file(arguments)
    times = None if arguments.times is None else numbers("times", arguments.times)
    if arguments.output is not None:
        check_file(Path(arguments.output), arguments.force)
    try:
        trajectory = integrated(given, times)
    except (IntegrationError, IntegrationInterrupted) as stopped:
        if isinstance(stopped.partial, Trajectory):
            _deliver(stopped.partial, arguments)
        raise
    _deliver(trajectory, arguments)
    trajectory.ensure_reliable()
    return 0


def _deliver(trajectory: Trajectory, arguments: Namespace) -> None:
    if arguments.output is not None:
        trajectory.save(arguments.output, force=arguments.force)
    if arguments.json:
        real = {"attention": trajectory.real_risk.to_json()} if arguments.attention else {}
        emit(json_text({**trajectory.to_json(), **real}))
        return
    saved = [f"saved     {arguments.output}"] if arguments.output is not None else []
    emit("\n".join([*flow_summary(trajectory, arguments.attention), *saved]))
