"""``headflow integrate``: the gradient flow of a problem, printed and saved."""

from __future__ import annotations

from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import IntegrationError
from ...numerics.runtime.json_object import json_text
from ...report.runs import integrated
from ...report.summary import flow_summary
from ..output import check_file, deliver
from ..problem_source import numbers, problem_file

if TYPE_CHECKING:
    from ...numerics.trajectory.trajectory import Trajectory


def run(arguments: Namespace) -> int:
    """Integrate, save, print; what was computed before a failure, or is not reliable, is saved and printed too."""
    from ...numerics.runtime.stop import IntegrationInterrupted
    from ...numerics.trajectory.trajectory import Trajectory

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
    path: str | None = arguments.output
    save = None if path is None else partial(trajectory.save, path, force=arguments.force)
    if arguments.json:
        real = {"attention": trajectory.real_risk.to_json()} if arguments.attention else {}
        deliver(json_text({**trajectory.to_json(), **real}), save)
        return
    saved = "" if path is None else f"\nsaved     {path}"
    deliver("\n".join(flow_summary(trajectory, arguments.attention)), save, saved)
