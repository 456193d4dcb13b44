"""The compiled integrator as loops: plain Python over arrays, which `headflow.numerics.compiler` makes fast.

Steps are explicit (Tsit5) while the flow is not stiff and implicit (Rodas5P) where it is: an explicit step takes 6
velocities and nothing else, about a third of an implicit step's time.  What decides is step · ‖J‖, an upper bound of
step · |λ| that cannot miss stiffness.

This text is compiled behind the generated loops of one flow, for one size (see `headflow.numerics.steps.native`), so
it imports nothing of the package.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Cube = NDArray[np.float64]
Integers = NDArray[np.int64]
Table = NDArray[np.int64]

# ruff: noqa: F821
# The generated loops, and how long their state and their memory are.
N: int
WORK: int


def velocity(values: Vector, y: Vector, work: Vector, out: Vector) -> None: ...
def jacobian(values: Vector, y: Vector, work: Vector, out: Vector) -> None: ...
def loss(values: Vector, y: Vector, work: Vector, out: Vector) -> None: ...
def weights(values: Vector, y: Vector, work: Vector, out: Vector) -> None: ...


# The coefficients; their values are in `tableau`, those of Tsit5 with the prefix TSIT.
STAGES: int
GAMMA: float
A: Matrix
C: Matrix
NODES: Vector
SLOPES: Vector
DENSE: Matrix
TSIT_STAGES: int
TSIT_A: Matrix
TSIT_ERROR: Vector
TSIT_NODES: Vector
TSIT_DENSE: Matrix

REACHED, FULL, TOO_SMALL, OVERFLOW, EXHAUSTED, UNSOUND = range(6)
SHRINK, SAFETY = 0.2, 0.9
_STIFF, _MILD = 3.0, 1.0  # step · ‖J‖ above which steps become implicit, below which explicit (stable up to 3.3)
_LOOK = 4  # explicit steps after which stiffness is looked at
_DAMPING = 0.08  # of the step's changes by the error before: near the limit of stability it saves rejected steps
SHORTEST = 1e-15  # a step, relative to the way still to go and the way gone


def factorise(columns: Matrix, pivots: Integers) -> bool:
    """LU factors of a matrix in place, with row exchanges; whether it is regular.

    ``columns[c, r]`` is the entry in row r and column c, so that inner loops run along memory and need no order of
    summation: they are what takes the time.  The diagonal is left inverted.
    """
    for column in range(N):
        best = column
        largest = abs(columns[column, column])
        for row in range(column + 1, N):
            if abs(columns[column, row]) > largest:
                largest = abs(columns[column, row])
                best = row
        pivots[column] = best
        if not (0.0 < largest < np.inf):
            return False
        if best != column:
            for other in range(N):
                kept = columns[other, column]
                columns[other, column] = columns[other, best]
                columns[other, best] = kept
        inverse = 1.0 / columns[column, column]
        columns[column, column] = inverse
        for row in range(column + 1, N):
            columns[column, row] *= inverse
        for other in range(column + 1, N):
            factor = columns[other, column]
            if factor != 0.0:
                for row in range(column + 1, N):
                    columns[other, row] -= factor * columns[column, row]
    return True


def solve(columns: Matrix, pivots: Integers, x: Vector) -> None:
    """Solve with the factors, in place."""
    for column in range(N):
        best = pivots[column]
        if best != column:
            kept = x[column]
            x[column] = x[best]
            x[best] = kept
    for column in range(N):
        factor = x[column]
        for row in range(column + 1, N):
            x[row] -= factor * columns[column, row]
    for column in range(N - 1, -1, -1):
        factor = x[column] * columns[column, column]
        x[column] = factor
        for row in range(column):
            x[row] -= factor * columns[column, row]


def stiffness(flat: Vector) -> float:
    """An upper bound of the size of a matrix's eigenvalues: the lesser of its row and column sum norms."""
    rows, columns = 0.0, 0.0
    for first in range(N):
        row, column = 0.0, 0.0
        for second in range(N):
            row += abs(flat[first * N + second])
            column += abs(flat[second * N + first])
        rows, columns = max(rows, row), max(columns, column)
    return min(rows, columns)


def tie(codes: Integers, rates: Vector) -> None:
    """Give tied entries the rate of the first of their cell.

    ``codes`` holds ±(1 + place of the first), 0 for an entry that stays as it is; it is empty if nothing is tied.
    """
    for entry in range(len(codes)):
        code = codes[entry]
        if code > 0:
            rates[entry] = rates[code - 1]
        elif code < 0:
            rates[entry] = -rates[-code - 1]
        else:
            rates[entry] = 0.0


def tie_matrix(codes: Integers, flat: Vector) -> None:
    """The Jacobian of tied rates: the columns of a cell are added up in that of its first, rows are those of firsts."""
    for row in range(len(codes)):
        for column in range(N):
            code = codes[column]
            if code != column + 1:
                moved = flat[row * N + column]
                flat[row * N + column] = 0.0
                if code > 0:
                    flat[row * N + code - 1] += moved
                elif code < 0:
                    flat[row * N - code - 1] -= moved
    for row in range(len(codes)):
        code = codes[row]
        for column in range(N):
            if code > 0:
                flat[row * N + column] = flat[(code - 1) * N + column]
            elif code < 0:
                flat[row * N + column] = -flat[(-code - 1) * N + column]
            else:
                flat[row * N + column] = 0.0


def explicit_step(
    values: Vector,
    codes: Integers,
    unit: float,
    s: float,
    step: float,
    rtol: float,
    atol: float,
    y: Vector,
    first: Vector,
    stages: Matrix,
    trial: Vector,
    missed: Vector,
    right: Vector,
    work: Vector,
) -> float:
    """Tsit5 from y to ``trial``, which is off by ``missed``; ``first`` is dy/ds at y, the last stage that at the end.

    Returns the error, 1 being what the tolerances allow.
    """
    for entry in range(N):
        stages[0, entry] = first[entry]
    for stage in range(1, TSIT_STAGES):
        for entry in range(N):
            trial[entry] = y[entry]
        for other in range(stage):
            weight = step * TSIT_A[stage, other]
            for entry in range(N):
                trial[entry] += weight * stages[other, entry]
        velocity(values, trial, work, right)
        tie(codes, right)
        pace = unit * math.exp(s + TSIT_NODES[stage] * step)
        for entry in range(N):
            stages[stage, entry] = pace * right[entry]
    error = 0.0
    for entry in range(N):
        total = 0.0
        for stage in range(TSIT_STAGES):
            total += TSIT_ERROR[stage] * stages[stage, entry]
        missed[entry] = step * total
        error += (missed[entry] / (atol + rtol * max(abs(y[entry]), abs(trial[entry])))) ** 2
    return math.sqrt(error / N)


def implicit_step(
    values: Vector,
    codes: Integers,
    unit: float,
    s: float,
    step: float,
    rtol: float,
    atol: float,
    y: Vector,
    first: Vector,
    stages: Matrix,
    trial: Vector,
    missed: Vector,
    right: Vector,
    work: Vector,
    flat: Vector,
    matrix: Matrix,
    pivots: Integers,
) -> float:
    """Rodas5P from y to ``trial``, which is off by ``missed``; ``first`` is dy/ds at y, ``flat`` the Jacobian there.

    Returns the error, 1 being what the tolerances allow; infinite where the matrix of the stages is singular.
    """
    pace, shift = unit * math.exp(s), 1.0 / (step * GAMMA)
    for column in range(N):
        for row in range(N):
            matrix[column, row] = -pace * flat[row * N + column]
        matrix[column, column] += shift
    if not factorise(matrix, pivots):
        return np.inf
    for stage in range(STAGES):
        if stage == 0:
            for entry in range(N):
                right[entry] = first[entry]
        else:
            for entry in range(N):
                trial[entry] = y[entry]
            for other in range(stage):
                weight = A[stage, other]
                for entry in range(N):
                    trial[entry] += weight * stages[other, entry]
            velocity(values, trial, work, right)
            at = unit * math.exp(s + NODES[stage] * step)
            for entry in range(N):
                right[entry] *= at
        slope = step * SLOPES[stage]
        for entry in range(N):
            right[entry] += slope * first[entry]
        for other in range(stage):
            weight = C[stage, other] / step
            for entry in range(N):
                right[entry] += weight * stages[other, entry]
        solve(matrix, pivots, right)
        tie(codes, right)
        for entry in range(N):
            stages[stage, entry] = right[entry]
    error = 0.0
    for entry in range(N):
        # The last trial is the embedded solution, the last stage its error.
        trial[entry] += right[entry]
        missed[entry] = right[entry]
        error += (right[entry] / (atol + rtol * max(abs(y[entry]), abs(trial[entry])))) ** 2
    return math.sqrt(error / N)


def dense_coefficients(implicit: bool, step: float, stages: Matrix, out: Matrix) -> None:
    """The three vectors of a step's dense output."""
    for row in range(3):
        for entry in range(N):
            out[row, entry] = 0.0
        for stage in range(STAGES if implicit else TSIT_STAGES):
            weight = DENSE[row, stage] if implicit else step * TSIT_DENSE[row, stage]
            for entry in range(N):
                out[row, entry] += weight * stages[stage, entry]


def interpolated(part: float, before: Vector, after: Vector, dense: Matrix, out: Vector) -> None:
    """The state inside a step; ``part`` runs from 0 to 1."""
    rest = 1.0 - part
    for entry in range(N):
        bend = dense[0, entry] + part * (dense[1, entry] + part * dense[2, entry])
        out[entry] = rest * before[entry] + part * (after[entry] + rest * bend)


def first_step(rtol: float, end: float) -> float:
    """The first step, in log time: there the fastest weight changes by a factor e per unit at the start."""
    return float(min(0.2 * rtol**0.2, end))


def advance(
    values: Vector,
    codes: Integers,
    unit: float,
    end: float,
    rtol: float,
    atol: float,
    level: float,
    most: int,
    growth: float,
    logarithms: bool,
    pushes: Vector,
    y: Vector,
    missed: Vector,
    position: Vector,
    counts: Integers,
    ends: Vector,
    records: Cube,
) -> int:
    """Step in log time until the end, or until the records are full.

    Parameters
    ----------
    values
        Parameters of the generated loops, with constants.
    codes
        Which entries are tied; see `tie`.
    unit, end
        Unit of time, and the log time of the end: the velocity in log time s is (unit · exp s) times that in time.
    level
        Loss whose first crossing from above is located; NaN for none.
    most
        Evaluations of the velocity after which it gives up.
    growth
        By how much a step may be longer than the one before.
    logarithms
        Whether the state holds logarithms.
    pushes
        What the state is pushed by, relative to itself (a logarithm: to 1 and itself), per unit of log time.
    y
        The state; overwritten.
    missed
        What the embedded formula says of the error that the last step made; overwritten.
    position
        Log time, next step, log time of the crossing (NaN until it is seen), loss at the start of the next step.
    counts
        Evaluations, Jacobians, accepted and rejected steps so far; whether steps are implicit (1) or explicit (0).
    ends, records
        Per step its end, and before, after and the three vectors of its dense output; empty to keep none.
    """
    stages = np.empty((max(STAGES, TSIT_STAGES), N))
    flat = np.empty(N * N)
    matrix = np.empty((N, N))
    pivots = np.empty(N, np.int64)
    work = np.empty(WORK)
    first = np.empty(N)
    trial = np.empty(N)
    right = np.empty(N)
    found = np.empty(1)
    dense = np.empty((3, N))
    watching = not math.isnan(level) and math.isnan(position[2])
    kept = 0
    fresh = True  # no slope at y yet
    linear = False  # whether `flat` is the Jacobian at y
    unseen = 0  # explicit steps since stiffness was looked at
    rejected_before = False
    error_before = 1.0
    while position[0] < end:
        s, step = position[0], position[1]
        if len(ends) > 0 and kept == len(ends):
            return FULL
        if counts[0] >= most:
            return EXHAUSTED
        pace = unit * math.exp(s)
        if fresh:
            velocity(values, y, work, first)
            tie(codes, first)
            counts[0] += 1
            for entry in range(N):
                first[entry] *= pace
            fresh = False
        last = s + step >= end or end - (s + step) < 1e-3 * step
        if last:
            step = end - s
        elif s + 2.0 * step > end:
            step = 0.5 * (end - s)  # a last step that is much shorter than others would hide their errors
        if step <= SHORTEST * max(s, step if last else 0.0, 1e-12 * end):
            return TOO_SMALL
        if counts[4] == 1 or unseen >= _LOOK:
            if not linear:
                jacobian(values, y, work, flat)
                tie_matrix(codes, flat)
                counts[1] += 1
                linear = True
            unseen = 0
            size = step * pace * stiffness(flat)
            if size > _STIFF:
                counts[4] = 1
            elif size < _MILD:
                counts[4] = 0
        implicit = counts[4] == 1
        if implicit:
            error = implicit_step(
                values,
                codes,
                unit,
                s,
                step,
                rtol,
                atol,
                y,
                first,
                stages,
                trial,
                missed,
                right,
                work,
                flat,
                matrix,
                pivots,
            )
            counts[0] += STAGES - 1
        else:
            error = explicit_step(
                values, codes, unit, s, step, rtol, atol, y, first, stages, trial, missed, right, work
            )
            counts[0] += TSIT_STAGES - 1
        if not error < np.inf:
            # A stage overflowed, or left the domain of the loss: shorter steps stay inside.
            counts[3] += 1
            position[1] = 0.1 * step
            rejected_before = True
            if position[1] <= SHORTEST * max(s, 1e-12 * end):
                return OVERFLOW
            continue
        bounded = max(error, 1e-10)
        if error > 1.0:
            counts[3] += 1
            position[1] = step * max(SHRINK, min(0.9, SAFETY * bounded**-0.2))
            rejected_before = True
            continue
        factor = bounded**-0.2
        if not implicit:
            factor = bounded ** (0.75 * _DAMPING - 0.2) * max(error_before, 1e-4) ** _DAMPING
            error_before = error
        factor = min(growth, max(SHRINK, SAFETY * factor))
        reached = end if last else s + step
        if watching or len(ends) > 0:
            dense_coefficients(implicit, step, stages, dense)
        if watching:
            loss(values, trial, work, found)
            if found[0] <= level < position[3]:
                low, high = 0.0, 1.0
                for _ in range(50):
                    middle = 0.5 * (low + high)
                    interpolated(middle, y, trial, dense, right)
                    loss(values, right, work, found)
                    if found[0] > level:
                        low = middle
                    else:
                        high = middle
                position[2] = s + step * high
                watching = False
            else:
                position[3] = found[0]
        if len(ends) > 0:
            ends[kept] = reached
            for entry in range(N):
                records[kept, 0, entry] = y[entry]
                records[kept, 1, entry] = trial[entry]
                for row in range(3):
                    records[kept, 2 + row, entry] = dense[row, entry]
            kept += 1
        for entry in range(N):
            y[entry] = trial[entry] + step * pushes[entry] * (1.0 + abs(trial[entry]) if logarithms else trial[entry])
        if implicit:
            fresh = True
        else:
            for entry in range(N):
                first[entry] = stages[TSIT_STAGES - 1, entry]
            unseen += 1
        position[0] = reached
        position[1] = step * (min(factor, 1.0) if rejected_before else factor)
        counts[2] += 1
        rejected_before = False
        linear = False
    return REACHED


def follow(
    values: Matrix,
    codes: Table,
    t_final: float,
    logarithms: bool,
    rtol: float,
    atols: Vector,
    levels: Vector,
    most: int,
    growth: float,
    pushes: Matrix,
    states: Matrix,
    ends: Matrix,
    beside: Matrix,
    reports: Matrix,
    times: Vector,
    curves: Cube,
    losses: Matrix,
    steps: Vector,
    records: Cube,
) -> None:
    """Integrate members one after the other, as `advance` does it.

    Parameters
    ----------
    values, codes, atols, levels, pushes
        Per member its parameters with constants, codes of its ties (none if no member has any), absolute tolerance,
        the loss whose crossing is located or NaN, and what its state is pushed by.
    t_final
        In units of time; ``logarithms`` says that the state holds logarithms.
    states
        Per member the start; overwritten by its last state.
    ends, beside
        Per member μ and ω of that state, and of the state that the embedded formula of the last step has.
    reports
        Per member how it ended, when, the loss then, the loss at the start, the time of the crossing, the loss beside.
    times
        In order; may be empty.
    curves, losses
        Per member and time μ and ω, and the loss; left as they are after the end.
    steps, records
        Memory for the ``ends`` and ``records`` of `advance`; empty if there are no times.
    """
    speeds = np.empty(N)
    missed = np.empty(N)
    found = np.empty(1)
    work = np.empty(WORK)
    counts = np.empty(5, np.int64)
    position = np.empty(4)
    state = np.empty(N)
    first = np.empty(N)
    last = np.empty(N)
    dense = np.empty((3, N))
    for member in range(len(states)):
        y, parameters, report = states[member], values[member], reports[member]
        velocity(parameters, y, work, speeds)
        tie(codes[member], speeds)
        loss(parameters, y, work, found)
        fastest, largest, sound = 0.0, 0.0, found[0] - found[0] == 0.0
        for entry in range(N):
            missed[entry] = 0.0
            fastest = max(fastest, abs(speeds[entry]))
            largest = max(largest, abs(y[entry]))
            sound = sound and speeds[entry] - speeds[entry] == 0.0
        rate = fastest if logarithms or largest == 0.0 else fastest / largest
        unit = min(max(1.0 / rate, t_final * 1e-300), t_final) if rate > 0.0 else t_final
        end = math.log1p(t_final / unit)
        report[0], report[1], report[3], report[4] = UNSOUND, 0.0, found[0], np.nan
        if sound:
            for place in range(5):
                counts[place] = 0
            position[0], position[1], position[2], position[3] = 0.0, first_step(rtol, end), np.nan, found[0]
            status, begun, upcoming = FULL, 0.0, 0
            while status == FULL:
                taken = counts[2]
                status = advance(
                    parameters,
                    codes[member],
                    unit,
                    end,
                    rtol,
                    atols[member],
                    levels[member],
                    most,
                    growth,
                    logarithms,
                    pushes[member],
                    y,
                    missed,
                    position,
                    counts,
                    steps,
                    records,
                )
                for row in range(min(counts[2] - taken, len(steps))):
                    for entry in range(N):
                        first[entry] = records[row, 0, entry]
                        last[entry] = records[row, 1, entry]
                        for bend in range(3):
                            dense[bend, entry] = records[row, 2 + bend, entry]
                    while upcoming < len(times) and math.log1p(times[upcoming] / unit) <= steps[row]:
                        part = (math.log1p(times[upcoming] / unit) - begun) / (steps[row] - begun)
                        interpolated(part, first, last, dense, state)
                        loss(parameters, state, work, found)
                        losses[member, upcoming] = found[0]
                        weights(parameters, state, work, curves[member, upcoming])
                        tie(codes[member], curves[member, upcoming])
                        upcoming += 1
                    begun = steps[row]
            report[0] = status
            report[1] = t_final if status == REACHED else unit * math.expm1(position[0])
            report[4] = unit * math.expm1(position[2])
        loss(parameters, y, work, found)
        report[2] = found[0]
        weights(parameters, y, work, ends[member])
        tie(codes[member], ends[member])
        for entry in range(N):
            missed[entry] += y[entry]
        loss(parameters, missed, work, found)
        report[5] = found[0]
        weights(parameters, missed, work, beside[member])
