"""Owns the steps of Rodas5P as loops: plain Python over arrays that numba compiles as it stands.

This file is copied beside the generated code before it is compiled (see `headflow.numerics.codegen.native`), so it
imports nothing of the package; the tableau is written behind the copy.  Functions are listed callee first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Function = Callable[[int, int, Floats, Floats, Floats, Floats], Any]

# ruff: noqa: F821
# The coefficients; their values are in `tableau`.
STAGES: int
GAMMA: float
A: Floats
C: Floats
NODES: Floats
SLOPES: Floats
DENSE: Floats

REACHED, FULL, TOO_SMALL, OVERFLOW, EXHAUSTED = range(5)
_SHRINK, _GROW, _SAFETY = 0.2, 6.0, 0.9
_SHORTEST = 1e-15  # a step, relative to the way still to go and the way gone


def factorise(columns: Floats, pivots: Integers) -> bool:
    """LU factors of a matrix in place, with row exchanges; whether it is regular.

    ``columns[c, r]`` is the entry in row r and column c, so that inner loops run along memory and need no order of
    summation: they are what takes the time.  The diagonal is left inverted.
    """
    n = len(pivots)
    for column in range(n):
        best = column
        largest = abs(columns[column, column])
        for row in range(column + 1, n):
            if abs(columns[column, row]) > largest:
                largest = abs(columns[column, row])
                best = row
        pivots[column] = best
        if not (0.0 < largest < np.inf):
            return False
        if best != column:
            for other in range(n):
                kept = columns[other, column]
                columns[other, column] = columns[other, best]
                columns[other, best] = kept
        inverse = 1.0 / columns[column, column]
        columns[column, column] = inverse
        for row in range(column + 1, n):
            columns[column, row] *= inverse
        for other in range(column + 1, n):
            factor = columns[other, column]
            if factor != 0.0:
                for row in range(column + 1, n):
                    columns[other, row] -= factor * columns[column, row]
    return True


def solve(columns: Floats, pivots: Integers, x: Floats) -> None:
    """Solve with the factors, in place."""
    n = len(pivots)
    for column in range(n):
        best = pivots[column]
        if best != column:
            kept = x[column]
            x[column] = x[best]
            x[best] = kept
    for column in range(n):
        factor = x[column]
        for row in range(column + 1, n):
            x[row] -= factor * columns[column, row]
    for column in range(n - 1, -1, -1):
        factor = x[column] * columns[column, column]
        x[column] = factor
        for row in range(column):
            x[row] -= factor * columns[column, row]


def interpolated(part: float, before: Floats, after: Floats, dense: Floats, out: Floats) -> None:
    """The state inside a step; ``part`` runs from 0 to 1."""
    rest = 1.0 - part
    for entry in range(len(out)):
        bend = dense[0, entry] + part * (dense[1, entry] + part * dense[2, entry])
        out[entry] = rest * before[entry] + part * (after[entry] + rest * bend)


def advance(
    velocity: Function,
    jacobian: Function,
    loss: Function,
    n_tasks: int,
    n_heads: int,
    values: Floats,
    work: Floats,
    unit: float,
    end: float,
    rtol: float,
    atol: float,
    level: float,
    most: int,
    y: Floats,
    position: Floats,
    counts: Integers,
    ends: Floats,
    records: Floats,
) -> int:
    """Step in log time until the end, or until the records are full.

    Parameters
    ----------
    velocity, jacobian, loss
        Generated loops; the velocity is per unit of time, and in log time s it is (unit · exp s) times that.
    values, work
        Their parameters with constants, and their memory.
    unit, end
        Unit of time, and the log time of the end.
    level
        Loss whose first crossing from above is located; NaN for none.
    most
        Evaluations of the velocity after which it gives up.
    y
        The state; overwritten.
    position
        Log time, next step, log time of the crossing (NaN until it is seen), loss at the start of the next step.
    counts
        Evaluations, Jacobians, accepted and rejected steps so far.
    ends, records
        Per step its end, and before, after and the three vectors of its dense output; empty to keep none.
    """
    n = len(y)
    stages = np.empty((STAGES, n))
    flat = np.empty(n * n)
    matrix = np.empty((n, n))
    pivots = np.empty(n, np.int64)
    first = np.empty(n)
    trial = np.empty(n)
    right = np.empty(n)
    found = np.empty(1)
    dense = np.empty((3, n))
    watching = not math.isnan(level) and math.isnan(position[2])
    kept = 0
    fresh = True
    rejected_before = False
    while position[0] < end:
        s, step = position[0], position[1]
        if len(ends) and kept == len(ends):
            return FULL
        if counts[0] >= most:
            return EXHAUSTED
        pace = unit * math.exp(s)
        if fresh:
            velocity(n_tasks, n_heads, values, y, work, first)
            jacobian(n_tasks, n_heads, values, y, work, flat)
            counts[0] += 1
            counts[1] += 1
            for entry in range(n):
                first[entry] *= pace
            fresh = False
        last = s + step >= end or end - (s + step) < 1e-3 * step
        if last:
            step = end - s
        if step <= _SHORTEST * max(s, step if last else 0.0, 1e-12 * end):
            return TOO_SMALL
        shift = 1.0 / (step * GAMMA)
        for column in range(n):
            for row in range(n):
                matrix[column, row] = -pace * flat[row * n + column]
            matrix[column, column] += shift
        finite = factorise(matrix, pivots)
        error = 0.0
        if finite:
            for stage in range(STAGES):
                if stage == 0:
                    for entry in range(n):
                        right[entry] = first[entry]
                else:
                    for entry in range(n):
                        trial[entry] = y[entry]
                    for other in range(stage):
                        weight = A[stage, other]
                        for entry in range(n):
                            trial[entry] += weight * stages[other, entry]
                    velocity(n_tasks, n_heads, values, trial, work, right)
                    counts[0] += 1
                    at = unit * math.exp(s + NODES[stage] * step)
                    for entry in range(n):
                        right[entry] *= at
                slope = step * SLOPES[stage]
                for entry in range(n):
                    right[entry] += slope * first[entry]
                for other in range(stage):
                    weight = C[stage, other] / step
                    for entry in range(n):
                        right[entry] += weight * stages[other, entry]
                solve(matrix, pivots, right)
                for entry in range(n):
                    stages[stage, entry] = right[entry]
            for entry in range(n):
                # The last trial is the embedded solution, the last stage its error.
                trial[entry] += right[entry]
                scale = atol + rtol * max(abs(y[entry]), abs(trial[entry]))
                error += (right[entry] / scale) ** 2
            error = math.sqrt(error / n)
            finite = error < np.inf  # false for not-a-number too
        if not finite:
            # A stage overflowed, or left the domain of the loss: shorter steps stay inside.
            counts[3] += 1
            position[1] = 0.1 * step
            rejected_before = True
            if position[1] <= _SHORTEST * max(s, 1e-12 * end):
                return OVERFLOW
            continue
        factor = min(_GROW, max(_SHRINK, _SAFETY * max(error, 1e-10) ** -0.2))
        if error > 1.0:
            counts[3] += 1
            position[1] = step * min(factor, 0.9)
            rejected_before = True
            continue
        reached = end if last else s + step
        if watching or len(ends):
            for row in range(3):
                for entry in range(n):
                    dense[row, entry] = 0.0
                for other in range(STAGES):
                    weight = DENSE[row, other]
                    for entry in range(n):
                        dense[row, entry] += weight * stages[other, entry]
        if watching:
            loss(n_tasks, n_heads, values, trial, work, found)
            if found[0] <= level < position[3]:
                low, high = 0.0, 1.0
                for _ in range(50):
                    middle = 0.5 * (low + high)
                    interpolated(middle, y, trial, dense, right)
                    loss(n_tasks, n_heads, values, right, work, found)
                    if found[0] > level:
                        low = middle
                    else:
                        high = middle
                position[2] = s + step * high
                watching = False
            else:
                position[3] = found[0]
        if len(ends):
            ends[kept] = reached
            for entry in range(n):
                records[kept, 0, entry] = y[entry]
                records[kept, 1, entry] = trial[entry]
                for row in range(3):
                    records[kept, 2 + row, entry] = dense[row, entry]
            kept += 1
        for entry in range(n):
            y[entry] = trial[entry]
        position[0] = reached
        position[1] = step * (min(factor, 1.0) if rejected_before else factor)
        counts[2] += 1
        rejected_before = False
        fresh = True
    return REACHED
