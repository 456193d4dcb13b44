"""Owns what is kept of an integration while it runs: rows at the panels' points and at the times asked for.

Steps are forgotten as soon as the panel they lie in is complete, so memory does not grow with their number.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final

import numpy as np

from .dynamics import Dynamics
from .panels import DEGREE, PanelTree
from .problem import FloatArray
from .solvers import Segment

_FIRST_PANELS = 24
_MOST_NUMBERS = 8_000_000  # in the stored states: 64 MB
_MOST_PANELS: Final = 2_000
_MOST_STEPS: Final = 2_000  # kept at a time: a panel with more of them is closed early


class _Window:
    """The latest steps as one function of log time."""

    def __init__(self, start: FloatArray) -> None:
        self.segments: list[Segment] = []
        self.ends: list[float] = []
        self._start = start

    def add(self, segment: Segment) -> None:
        self.segments.append(segment)
        self.ends.append(segment.end)

    def forget(self, s: float) -> None:
        """Drop the steps that end at or before ``s``, save the last one."""
        keep = min(bisect_right(self.ends, s), len(self.ends) - 1)
        if keep > 0:
            del self.segments[:keep], self.ends[:keep]

    def __call__(self, s: float) -> FloatArray:
        if s == 0.0:
            return self._start.copy()
        place = min(bisect_left(self.ends, s), len(self.ends) - 1)
        return np.asarray(self.segments[place].dense(s), dtype=np.float64)


class Recorder:
    """Collects the rows of a trajectory from the steps of a solver.

    Parameters
    ----------
    dynamics, start
        The flow and its flat state at s = 0.
    end
        Log time of the planned end.
    asked
        Log times asked for, sorted.
    tolerance
        Largest distance (see `Dynamics.distances`) between panels and dense output.
    """

    def __init__(
        self, dynamics: Dynamics, start: FloatArray, end: float, asked: Sequence[float], tolerance: float
    ) -> None:
        most = max(4, min(_MOST_PANELS, _MOST_NUMBERS // (DEGREE * dynamics.size)))
        self._window = _Window(start)
        self._tree = PanelTree(self._window, lambda y, exact: dynamics.distances(y, exact)[1], tolerance)
        self._planned = np.linspace(0.0, end, min(_FIRST_PANELS, most // 4 + 1) + 1)
        self._spare = most - (len(self._planned) - 1)
        self._most_steps = max(20, min(_MOST_STEPS, _MOST_NUMBERS // (DEGREE * dynamics.size)))
        self._done = 0
        self._asked = list(asked)
        self.edges: list[float] = [0.0]
        self.states: list[FloatArray] = [start[None, :]]
        self.asked_states: list[FloatArray] = []
        self.interpolation_error = 0.0

    def add(self, segment: Segment) -> None:
        """Take note of one accepted step."""
        self._window.add(segment)
        self._answer(segment.end)
        while self._done + 1 < len(self._planned) and self._planned[self._done + 1] <= segment.end:
            self._panel(float(self._planned[self._done + 1]))
            self._done += 1
        if len(self._window.ends) > self._most_steps:
            self._panel(segment.end)
        self._window.forget(self.edges[-1])

    def finish(self) -> None:
        """Close the last panel where the steps ended (before the planned end after a failure)."""
        if self._window.ends and self.edges[-1] < self._window.ends[-1]:
            self._panel(self._window.ends[-1])

    def _answer(self, reached: float) -> None:
        while len(self.asked_states) < len(self._asked) and self._asked[len(self.asked_states)] <= reached:
            self.asked_states.append(self._window(self._asked[len(self.asked_states)]))

    def _panel(self, right: float) -> None:
        panels = self._tree.cut(self.edges[-1], right, self._spare + 1)
        self._spare -= len(panels) - 1
        for _, end, values, error in panels:
            self.edges.append(end)
            self.states.append(values[1:])
            self.interpolation_error = max(self.interpolation_error, error)


class Comparison:
    """Compares a second integration with stored rows, as its steps come in.

    ``errors`` holds per row the distances (loss, all) of `Dynamics.distances`; 0 for the start.
    """

    def __init__(self, dynamics: Dynamics, times: FloatArray, states: FloatArray) -> None:
        self._dynamics = dynamics
        self._times = times
        self._states = states
        self._next = int(np.searchsorted(times, 0.0, side="right"))
        self.errors = np.zeros((len(times), 2))

    def add(self, segment: Segment) -> None:
        """Compare the rows that one more step covers."""
        while self._next < len(self._times) and self._times[self._next] <= segment.end:
            row = self._next
            self.errors[row] = self._dynamics.distances(
                np.asarray(segment.dense(self._times[row]), dtype=np.float64), self._states[row]
            )
            self._next += 1
