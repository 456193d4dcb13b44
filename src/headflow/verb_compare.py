"""Owns ``headflow compare``: the flow's loss beside limit, optimum and bounds."""

from __future__ import annotations

from argparse import Namespace

from .output import emit, json_text
from .problem_source import problem_file
from .runs import integrated_as_far_as_possible
from .summary import allocation_summary, caveats


def run(arguments: Namespace) -> int:
    """Integrate the flow, compare, print; the exit code is 0, or 4 if the integration ended early."""
    from .numerics.compare import compare

    given, _ = problem_file(arguments)
    trajectory, stopped = integrated_as_far_as_possible(given)
    comparison = compare(given.problem, trajectory, closure=given.closure)
    if arguments.json:
        emit(json_text(comparison.to_json()))
    else:
        emit("\n".join([comparison.text(), *allocation_summary(trajectory), *caveats(trajectory)]))
    if stopped is not None:
        raise stopped
    return 0
