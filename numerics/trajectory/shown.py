"""How a trajectory is shown: as JSON, and as a table of words."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

from ..flows.allocation import named
from ..runtime.json_object import json_object
from .events import Event
from .phases import Phases
from .record import Record


def as_json(trajectory: Record, phases: Phases, events: Sequence[Event]) -> dict[str, Any]:
    """`Trajectory.to_json`."""
    final = trajectory.final
    reasons: dict[str, str] = {}
    if not math.isfinite(trajectory.error_estimate):
        reasons["error_estimate"] = "the second integration that it is taken from was not finished"
    if trajectory.doubt is not None:
        reasons |= dict.fromkeys(("allocation", "shared", "events"), trajectory.doubt)
    for task in trajectory.final.allocation.undecided:
        share, team = trajectory.allocation.shares[task], trajectory.allocation.tied[task]
        why = f"; {named('head', team)} are tied and have it together" if team else ""
        reasons[f"allocation[{task}]"] = f"the largest share of one head in the task's output is {share:.3g} < 0.9{why}"
    result: dict[str, Any] = {
        **json_object(trajectory.problem.to_dict(), trajectory.closure),
        "parametrisation": trajectory.parametrisation,
        **({} if trajectory.altered is None else {"altered": trajectory.altered.in_brief}),
        "initial": trajectory.initial.to_dict(),
        "t_final": trajectory.t_final,
        "rtol": trajectory.rtol,
        "method": trajectory.method,
        "method_reason": trajectory.method_reason,
        "reduction": trajectory.reduction,
        "status": trajectory.stop.value,
        "status_detail": trajectory.stop_detail,
        "reliable": trajectory.reliable,
        **final.to_json(),
        "allocation": trajectory.allocation.to_json(),
        "shared": trajectory.allocation.shared if trajectory.reliable else None,
        "phases": phases.to_json(),
        "events": [event.to_json() for event in events] if trajectory.reliable else None,
        "error_estimate": None if reasons.get("error_estimate") else trajectory.error_estimate,
        "stats": trajectory.stats_json(),
        "warnings": list(trajectory.caveats),
        "reasons": reasons,
    }
    if trajectory.times:
        result["states"] = [state.to_json() for state in trajectory.states]
    return result


def summary(trajectory: Record, phases: Phases) -> list[tuple[str, str]]:
    """(name, value) pairs in words, as HTML text, heads and tasks from 1."""
    stats = trajectory.stats
    altered = "" if trajectory.altered is None else f", {trajectory.altered.in_brief}"
    derived: list[tuple[str, str]] = []
    if trajectory.reliable:
        derived = [("allocation", str(trajectory.allocation))]
        derived += [(name, words) for name, _, words in (one.partition(": ") for one in str(phases).split("\n"))]
    pairs = [
        *(("warning", caveat) for caveat in trajectory.caveats),
        ("flow", f"{trajectory.parametrisation}, closure {trajectory.closure}{altered}"),
        ("problem", repr(trajectory.problem)),
        ("ended", f"{trajectory.stop.sentence} {trajectory.stop_detail}".strip()),
        ("time", f"{trajectory.t[-1]:.6g} (learning rate × steps)"),
        ("loss", f"{trajectory.loss[0]:.6g} → {trajectory.loss[-1]:.10g}"),
        ("error estimate", f"{trajectory.error_estimate:.1e} (relative)"),
        *([("symmetry", trajectory.reduction)] if trajectory.reduction else []),
        *derived,
        ("method", f"{trajectory.method} ({trajectory.method_reason})"),
        ("cost", f"{stats.evaluations} evaluations, {stats.jacobians} Jacobians, {stats.seconds:.2g} s"),
    ]
    return [(html.escape(name), html.escape(value)) for name, value in pairs]
