"""``headflow compare``: the flow's loss beside limit, optimum and bounds."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from ...errors import InputError
from ...numerics.runtime.json_object import json_text
from ...numerics.runtime.progress import progress_bar
from ...report.runs import integrated_as_far_as_possible
from ...report.summary import allocation_summary, caveats
from ..output import emit
from ..problem_source import integer, problem_file

if TYPE_CHECKING:
    from ...numerics.problem.problem_file import ProblemFile


def run(arguments: Namespace) -> int:
    """Integrate the flow, compare, print; the exit code is 0, 4 if the integration ended early, 3 if not reliable."""
    from ...numerics.comparison.compare import compare

    given, _ = problem_file(arguments)
    if arguments.weights:
        return _weights(given, arguments)
    if arguments.samples is not None:
        raise InputError("--samples goes with --weights")
    trajectory, stopped = integrated_as_far_as_possible(given)
    with progress_bar(True, "compare"):
        comparison = compare(given.problem, trajectory, closure=given.closure, attention=arguments.attention)
    if arguments.json:
        emit(json_text(comparison.to_json()))
    else:
        more = caveats(comparison.warnings)[0 if trajectory.reliable else 1 :]  # the table begins with the first one
        emit("\n".join([comparison.text(), *allocation_summary(trajectory), *more]))
    if stopped is not None:
        raise stopped
    trajectory.ensure_reliable()
    return 0


def _weights(given: ProblemFile, arguments: Namespace) -> int:
    """The closures side by side for the initial weights of a problem file."""
    from ...numerics.comparison.closure_table import compare_closures

    samples = {} if arguments.samples is None else {"n_samples": integer("samples", arguments.samples)}
    table = compare_closures(given.problem, given.initial, seed=0, **samples)
    emit(json_text(table.to_json()) if arguments.json else table.text())
    return 0
