"""Events: the moments of a trajectory, each with its name, time, task and head."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from .crossings import emergence_times, sign_changes
from .phases import Phases
from .record import Record

_LEVEL: Final = 0.9  # of the last output half-way to the end: 0.71 where it grows exponentially, 0.75 linearly


@dataclass(frozen=True, order=True)
class Event:
    """Something that happens at one time.

    Attributes
    ----------
    t
        When, in learning rate × steps: a root of the condition on the interpolated trajectory, not one of its rows.
    name
        "emergence", "convergence_onset" or "escape", of the loss, as `headflow.numerics.phases.Phases` has
        them;
        "task_emergence": the output Σ_h μ_i^h ω_i^h of ``task`` passes half of its value at the end (before an
        escape: half-way to it), where it starts below and the loss emerges or, if that has no limit, the output levels
        off; "sign_change": μ of ``task`` and ``head`` passes zero.
    task, head
        Whose, counted from 0; None where it concerns all, ``head`` also where no single head has the task.
    """

    t: float
    name: str
    task: int | None = None
    head: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)

    def __str__(self) -> str:
        title = self.name.replace("_", " ")
        if self.name == "task_emergence":
            title = f"task {(self.task or 0) + 1} emerges" + ("" if self.head is None else f" on head {self.head + 1}")
        elif self.task is not None and self.head is not None:
            title += f" of mu of task {self.task + 1}, head {self.head + 1}"
        return f"{title} at t = {self.t:.6g}"


def events_of(trajectory: Record, phases: Phases) -> tuple[Event, ...]:
    """The events of a trajectory with these phases, in the order of time."""
    names = ("emergence", "convergence_onset", "escape")
    found = [Event(time, name) for name in names if (time := getattr(phases, name)) is not None]
    station = None
    if phases.emergence is not None and phases.escape is not None:
        station = (phases.emergence + phases.escape) / 2
    heads = (trajectory.final if station is None else trajectory.at(station)).allocation.heads
    for task, (time, head) in enumerate(zip(emergence_times(trajectory, station), heads, strict=True)):
        if time and _has_emerged(trajectory, phases, task, time):  # at 0 it is beyond half already
            found.append(Event(time, "task_emergence", task, head))
    if trajectory.parametrisation != "balanced":  # which keeps every sign
        changes = sign_changes(trajectory).values
        for task, head in np.argwhere(np.isfinite(changes)):
            found.append(Event(float(changes[task, head]), "sign_change", int(task), int(head)))
    return tuple(sorted(found, key=lambda event: (event.t, event.name)))


def _has_emerged(trajectory: Record, phases: Phases, task: int, time: float) -> bool:
    """Whether a task that passes half of its last output at ``time`` is not on its way up still."""
    if phases.limit is not None:
        return phases.emergence is not None
    last = float(trajectory.t[-1])
    later, end = (trajectory.weights_at(t).prod(axis=0)[task].sum() for t in ((time + last) / 2, last))
    return bool(later >= _LEVEL * end)
