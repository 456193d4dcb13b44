"""The compiled integrator as a stream of steps, each with its dense output."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from ..flows.ties import NO_CODES, IntArray
from ..problem.problem import FloatArray
from ..runtime.stop import StopReason
from ..steps.native import RECORDS, Integrator

FAILURES: Final = {2: StopReason.STEP_TOO_SMALL, 3: StopReason.OVERFLOW, 4: StopReason.TOO_MANY_EVALUATIONS}


class CompiledSteps:
    """Compiled steps from s = 0 to ``end`` in log time (see `headflow.numerics.flows.dynamics`).

    Parameters
    ----------
    integrator
        Of the flow.
    values
        The parameters of its loops.
    start
        The flat state at s = 0.
    rtol, atol
        Tolerances of each step, relative and absolute.
    unit, end
        t_unit, and the log time of the end.
    growth
        By how much a step may be longer than the one before.
    logarithms
        Whether the state holds logarithms.
    pushes
        See `headflow.numerics.solving.disturbance`; zeros for none.
    codes
        Of `headflow.numerics.flows.ties.Ties`; empty if nothing is tied.
    """

    def __init__(
        self,
        integrator: Integrator,
        values: FloatArray,
        start: FloatArray,
        rtol: float,
        atol: float,
        unit: float,
        end: float,
        growth: float,
        logarithms: bool,
        pushes: FloatArray,
        codes: IntArray = NO_CODES,
    ) -> None:
        self._integrator = integrator
        self._values = values
        self._codes = codes
        self._tolerances, self._ways = (unit, end, rtol, atol), (growth, logarithms, pushes)
        self._y = start.copy()
        self.missed = np.zeros(len(start))
        self._position = np.array([0.0, self._integrator.first_step(rtol, end), np.nan, np.inf])
        self._counts = np.zeros(5, np.int64)
        self.failure: StopReason | None = None

    @property
    def evaluations(self) -> int:
        """Of the velocity."""
        return int(self._counts[0])

    @property
    def jacobians(self) -> int:
        """Of the Jacobian."""
        return int(self._counts[1])

    @property
    def rejected(self) -> int:
        """Steps that were tried again, shorter."""
        return int(self._counts[3])

    def until_evaluations(self, most: int) -> Iterator[tuple[float, Callable[[float], FloatArray]]]:
        """(end, dense output) of each step; afterwards ``failure`` says why, if it did not come to the end."""
        status = 1
        while status == 1:
            ends, records = self._integrator.empty_records(RECORDS)
            before, taken = float(self._position[0]), int(self._counts[2])
            with np.errstate(all="ignore"):
                status = self._integrator.advance(
                    *(self._values, self._codes, *self._tolerances, np.nan, most, *self._ways),
                    *(self._y, self.missed, self._position, self._counts, ends, records),
                )
            for end, record in zip(ends[: int(self._counts[2]) - taken], records, strict=False):
                yield float(end), _Dense(before, float(end), record)
                before = float(end)
        self.failure = FAILURES.get(int(status))


class _Dense:
    """The state inside one step."""

    def __init__(self, start: float, end: float, record: FloatArray) -> None:
        self._start, self._length = start, end - start
        self._before, self._after, self._bends = record[0], record[1], record[2:]

    def __call__(self, s: float) -> FloatArray:
        part = (s - self._start) / self._length
        bend = self._bends[0] + part * (self._bends[1] + part * self._bends[2])
        state: FloatArray = (1 - part) * self._before + part * (self._after + (1 - part) * bend)
        return state
