"""What is kept of an integration while it runs: rows at the panels' points and at the times asked for.

Steps are forgotten as soon as the panel they lie in is complete, so memory does not grow with their number.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final

import numpy as np

from ..flows.dynamics import Dynamics
from ..flows.orbit_dynamics import OrbitDynamics
from ..problem.problem import FloatArray
from ..solving.panels import DEGREE, PROBES, Panel, PanelTree, interpolate, nodes
from ..solving.solvers import Segment

_FIRST_PANELS = 24
_MOST_NUMBERS = 8_000_000  # in the stored states: 64 MB
_MOST_STREAMED: Final = 64_000_000  # the same, where the state is so large that its panels are planned beforehand
_FEWEST_PANELS: Final = 4
LOSS_DEGREE: Final = 4  # of the loss in one step
_MOST_PANELS: Final = 2_000
_MEMORY: Final = 1.0  # unit of log time over which the largest difference counts
_MOST_STEPS: Final = 2_000  # kept at a time: a panel with more of them is closed early
_AT_ONCE: Final = 100_000  # numbers in the states that are compared in one call


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


class _Stream:
    """Panels planned beforehand, filled as the steps come in: no step is kept."""

    def __init__(self, dynamics: Dynamics | OrbitDynamics, start: FloatArray, end: float, panels: int) -> None:
        self._dynamics = dynamics
        self._edges: list[float] = np.linspace(0.0, end, panels + 1).tolist()
        self._begin(0.0, start)

    def _begin(self, left: float, first: FloatArray) -> None:
        self._left, self._right = left, self._edges[bisect_right(self._edges, left)]
        self._points = nodes(self._left, self._right)
        self._probes = self._left + (self._right - self._left) * (1 + PROBES) / 2
        self._values, self._probed = [first], list[FloatArray]()

    def add(self, segment: Segment) -> list[Panel]:
        """The panels that one more step completes."""
        done: list[Panel] = []
        while self._left < self._edges[-1]:
            for times, values in ((self._points, self._values), (self._probes, self._probed)):
                values += [segment.dense(float(s)) for s in times[len(values) :] if s <= segment.end]
            if len(self._values) <= DEGREE:
                break
            done.append(self._panel(np.array(self._values)))
            if self._right == self._edges[-1]:
                self._left = self._right
            else:
                self._begin(self._right, self._values[-1])
        return done

    def close(self, last: Segment) -> list[Panel]:
        """The panel that steps which stopped early leave behind: linear between the states that it has."""
        self._values.append(last.dense(last.end))
        known = np.append(self._points[: len(self._values) - 1], last.end)
        self._right = last.end
        rows = []
        for s in nodes(self._left, self._right):
            place = min(max(bisect_left(known.tolist(), s), 1), len(known) - 1)
            share = (s - known[place - 1]) / (known[place] - known[place - 1])
            rows.append((1 - share) * self._values[place - 1] + share * self._values[place])
        return [self._panel(np.array(rows))]

    def _panel(self, values: FloatArray) -> Panel:
        seen = [interpolate(self._left, self._right, values, float(s)) for s in self._probes[: len(self._probed)]]
        error = largest_distance(self._dynamics, np.array(seen), np.array(self._probed)) if seen else 0.0
        return self._left, self._right, values, error


def largest_distance(dynamics: Dynamics | OrbitDynamics, states: FloatArray, references: FloatArray) -> float:
    """The largest of `Dynamics.distances` of some states; those that are not numbers do not count beside others."""
    return float(np.fmax.reduce(dynamics.distances(states, references)[1]))


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
        self,
        dynamics: Dynamics | OrbitDynamics,
        start: FloatArray,
        end: float,
        asked: Sequence[float],
        tolerance: float,
    ) -> None:
        row = DEGREE * dynamics.size
        most = max(_FEWEST_PANELS, min(_MOST_PANELS, _MOST_NUMBERS // row))
        self._dynamics = dynamics
        self._stream: _Stream | None = None
        if _FEWEST_PANELS * row > _MOST_NUMBERS:
            self._stream = _Stream(dynamics, start, end, max(_FEWEST_PANELS, _MOST_STREAMED // row))
        self._tolerance = tolerance
        self._window = _Window(start)
        self._tree = PanelTree(self._window, lambda states, exact: largest_distance(dynamics, states, exact), tolerance)
        self._planned = np.linspace(0.0, end, min(_FIRST_PANELS, most // 4 + 1) + 1)
        self._spare = most - (len(self._planned) - 1)
        self._most_steps = max(20, min(_MOST_STEPS, _MOST_NUMBERS // (DEGREE * dynamics.size)))
        self._done = 0
        self._asked = list(asked)
        self.edges: list[float] = [0.0]
        self.states: list[FloatArray] = [start[None, :]]
        self.asked_states: list[FloatArray] = []
        self.interpolation_error = 0.0
        self.loss_panels: list[FloatArray] = []

    def add(self, segment: Segment) -> None:
        """Take note of one accepted step."""
        self._window.add(segment)
        self._answer(segment.end)
        if self._stream is not None:
            self._loss_in(segment, segment.start, segment.end)
            self._keep(self._stream.add(segment))
            self._window.forget(segment.end)
            return
        while self._done + 1 < len(self._planned) and self._planned[self._done + 1] <= segment.end:
            self._panel(float(self._planned[self._done + 1]))
            self._done += 1
        # A step takes the memory of a panel: both numbers grow like the root of all steps.
        if len(self._window.ends) > max(self._most_steps, len(self.edges)):
            self._panel(segment.end)
        self._window.forget(self.edges[-1])

    def finish(self) -> None:
        """Close the last panel where the steps ended (before the planned end after a failure)."""
        if self._window.ends and self.edges[-1] < self._window.ends[-1]:
            if self._stream is not None:
                self._keep(self._stream.close(self._window.segments[-1]))
            else:
                self._panel(self._window.ends[-1])

    def _answer(self, reached: float) -> None:
        while len(self.asked_states) < len(self._asked) and self._asked[len(self.asked_states)] <= reached:
            self.asked_states.append(self._window(self._asked[len(self.asked_states)]))

    def _panel(self, right: float) -> None:
        panels = self._tree.cut(self.edges[-1], right, self._spare + 1)
        self._spare -= len(panels) - 1
        for left, end, _, error in panels:
            if error > self._tolerance:  # too few panels to show the loss: its own steps do
                for segment in self._window.segments:
                    if segment.end > left and segment.start < end:
                        self._loss_in(segment, max(segment.start, left), min(segment.end, end))
        self._keep(panels)

    def _keep(self, panels: Sequence[Panel]) -> None:
        for _, end, values, error in panels:
            self.edges.append(end)
            self.states.append(values[1:])
            self.interpolation_error = max(self.interpolation_error, error)

    def _loss_in(self, segment: Segment, left: float, right: float) -> None:
        values = [self._dynamics.loss(segment.dense(float(s))) for s in nodes(left, right, LOSS_DEGREE)]
        self.loss_panels.append(np.array([left, right, *values]))


class Comparison:
    """Compares a second integration with stored rows, as its steps come in."""

    def __init__(self, dynamics: Dynamics | OrbitDynamics, times: FloatArray, states: FloatArray) -> None:
        self._dynamics = dynamics
        self._times = times
        self._states = states
        self._next = int(np.searchsorted(times, 0.0, side="right"))
        self._apart = np.zeros((len(times), 2))
        self._waiting: list[FloatArray] = []

    def add(self, segment: Segment) -> None:
        """Compare the rows that one more step covers."""
        while self._next < len(self._times) and self._times[self._next] <= segment.end:
            self._waiting.append(np.asarray(segment.dense(self._times[self._next]), dtype=np.float64))
            self._next += 1
            if len(self._waiting) * self._states.shape[1] >= _AT_ONCE:
                self._compare()

    def _compare(self) -> None:
        """The rows that wait for it, all at once."""
        if self._waiting:
            rows = slice(self._next - len(self._waiting), self._next)
            self._apart[rows] = np.stack(self._dynamics.distances(np.array(self._waiting), self._states[rows]), axis=-1)
            self._waiting = []

    @property
    def errors(self) -> FloatArray:
        """Per row the distances (loss, all) of `Dynamics.distances`, the largest since (t + t_unit)/e; 0 for the start.

        At one moment two integrations can be as near to each other as chance has it: one overtakes the other, or their
        last steps are alike.
        """
        self._compare()
        since = np.searchsorted(self._times, self._times - _MEMORY)
        return np.array([self._apart[first : row + 1].max(axis=0) for row, first in enumerate(since)])
