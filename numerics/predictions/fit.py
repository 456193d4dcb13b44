"""Power laws fitted to numbers: exponent and constant with their intervals, beside what theory predicts."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import least_squares
from scipy.special import chdtrc, ndtri, stdtrit

from ..problem.problem import FloatArray

CONFIDENCE: Final = 0.99  # of every interval
_UPPER: Final = (1 + CONFIDENCE) / 2
HALF_WIDTH: Final = float(ndtri(_UPPER))  # of an interval, in standard errors, where these are known
_LEVEL: Final = 0.05  # significance at which a power alone misfits numbers of known errors
_MOVES: Final = 2.0  # how often what a fit moves within its range is taken for what it still has to go
_WORST_MISFIT: Final = 100.0  # χ² per degree of freedom from which a fit describes nothing


@dataclass(frozen=True)
class Fit:
    """``quantity ≃ constant · variable^exponent``, fitted over a range; what theory does not predict is None.

    Attributes
    ----------
    quantity, variable
        What is fitted as a function of what.
    exponent, exponent_error
        The exponent and half the width of its 99 % interval; not-a-number where no power describes the numbers.  Of
        numbers without random errors the interval is Student's of their scatter about the law: a scale, not a
        probability.
    constant, constant_error
        The same of the constant, with the exponent at its predicted value where there is one.
    predicted_exponent, predicted_constant
        What theory says.
    range
        Least and greatest value of the variable.
    points
        How many numbers were fitted.
    """

    quantity: str
    variable: str
    exponent: float
    exponent_error: float
    predicted_exponent: float | None
    constant: float
    constant_error: float
    predicted_constant: float | None
    range: tuple[float, float]
    points: int

    @property
    def deviations(self) -> tuple[tuple[float, float], ...]:
        """How far exponent (absolute) and constant (relative) are from what is predicted, with half their intervals."""
        found = []
        if self.predicted_exponent is not None:
            found.append((abs(self.exponent - self.predicted_exponent), self.exponent_error))
        if self.predicted_constant is not None:
            size = abs(self.predicted_constant)
            found.append((abs(self.constant - self.predicted_constant) / size, self.constant_error / size))
        return tuple(found)

    def to_row(self) -> dict[str, Any]:
        """The fit as a JSON object; a number that is not finite is null."""
        row = asdict(self) | {"range": list(self.range), "confidence": CONFIDENCE}
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Fit:
        """The fit that `to_row` wrote."""
        measured = ("exponent", "exponent_error", "constant", "constant_error")
        values = {name: row[name] for name in cls.__dataclass_fields__}
        values |= {name: math.nan if row[name] is None else row[name] for name in measured}
        return cls(**values | {"range": tuple(row["range"])})

    def cells(self) -> tuple[str, str, str, str, str]:
        """Quantity, exponent, predicted exponent, constant, predicted constant as words."""
        known = "—" if self.predicted_exponent is None else f"{self.predicted_exponent:.6g}"
        constant = "—" if self.predicted_constant is None else f"{self.predicted_constant:.6g}"
        return (
            f"{self.quantity}, {self.variable} from {self.range[0]:.3g} to {self.range[1]:.3g}",
            f"{self.exponent:.6g} ± {self.exponent_error:.1g}",
            known,
            f"{self.constant:.6g} ± {self.constant_error:.1g}",
            constant,
        )

    def __str__(self) -> str:
        what, exponent, known, constant, predicted = self.cells()
        return f"{what}: exponent {exponent} (predicted {known}), constant {constant} (predicted {predicted})"


def power_law(
    quantity: str,
    variable: str,
    x: ArrayLike,
    y: ArrayLike,
    *,
    exponent: float | None = None,
    constant: float | None = None,
    correction: float | None = None,
    errors: ArrayLike | None = None,
) -> Fit:
    """``A x^p (1 + B x^q)`` through numbers, A > 0, by weighted least squares.

    Parameters
    ----------
    quantity, variable
        Names for the result.
    x, y
        Positive abscissae, and numbers that are positive but for their errors.  Fewer than the coefficients and one
        more give no fit: not-a-number.
    exponent, constant
        What theory predicts for p and A, if anything.
    correction
        The power q of the next order, as theory has it: B joins in.  Then the law is the exact one at one end of the
        range; how far the fit moves when the third of the numbers that is farthest from that end is left out widens
        the intervals, so that a range that does not reach the law decides nothing.
    errors
        Standard errors of y; what misfits more than they allow widens the intervals.  Without them all numbers have
        one relative error, which their scatter tells (Student).
    """
    at, values = np.asarray(x, float), np.asarray(y, float)
    known = errors is not None
    sigma = np.asarray(errors, float) if known else np.abs(values)
    next_order = None if correction is None else (at / at.max()) ** correction
    data = (at, values, sigma, next_order, known)
    free = _fitted(None, *data)
    held = free if exponent is None else _fitted(exponent, *data)
    size = math.exp(held[0][0])
    widths = float(free[1][1]), size * float(held[1][0])
    if next_order is not None and correction is not None and not known:
        nearest = np.argsort(at if correction > 0 else -at, kind="stable")[: len(at) - max(1, len(at) // 3)]
        part = (at[nearest], values[nearest], sigma[nearest], next_order[nearest], known)
        moved = abs(_fitted(None, *part)[0][1] - free[0][1])
        shifted = abs(math.exp(_fitted(exponent, *part)[0][0]) - size)
        # With so few numbers left that there is no fit, nothing is known about that.
        widths = widths[0] + _MOVES * float(np.nan_to_num(moved)), widths[1] + _MOVES * float(np.nan_to_num(shifted))
    return Fit(
        quantity,
        variable,
        float(free[0][1]),
        widths[0],
        exponent,
        size,
        widths[1],
        constant,
        (float(at.min()), float(at.max())),
        len(at),
    )


def _fitted(
    power: float | None, x: FloatArray, y: FloatArray, sigma: FloatArray, next_order: FloatArray | None, known: bool
) -> tuple[FloatArray, FloatArray]:
    """log A, p (unless given) and B where it joins in; half the widths of their intervals."""
    logs, held = np.log(x), 0.0 if power is None else power
    names = 1 if power is not None else 2
    positive = y > 0
    nothing = np.full(2, math.nan), np.full(2, math.nan)
    if not np.isfinite(y).all() or len(np.unique(x[positive])) < names:
        return nothing

    def residual(found: FloatArray) -> FloatArray:
        p = held if power is not None else found[1]
        bend = 1.0 if len(found) == names else 1.0 + found[names] * next_order
        left: FloatArray = (np.exp(found[0] + p * logs) * bend - y) / sigma
        return left

    start = np.linalg.lstsq(
        np.stack([np.ones_like(x), logs], axis=1)[positive, :names], (np.log(np.abs(y)) - held * logs)[positive]
    )[0]
    begin = start if next_order is None else np.append(start, 0.0)
    free = len(x) - len(begin)
    if free < 1 or len(np.unique(x)) < len(begin):
        return nothing
    if not np.isfinite(residual(begin)).all():
        return nothing
    run = least_squares(residual, begin, method="lm", xtol=1e-15, ftol=1e-15, gtol=1e-15)
    squares = float(run.fun @ run.fun)
    described = bool(chdtrc(free, squares) > _LEVEL)
    if known and not squares <= _WORST_MISFIT * free:
        return nothing
    scatter = squares / free
    # What scatters more than its known errors is an estimate from few numbers: Student's interval, as without any.
    factor = HALF_WIDTH if known and described else stdtrit(free, _UPPER) * math.sqrt(scatter)
    slopes = np.asarray(run.jac)
    return run.x, factor * np.sqrt(np.linalg.inv(slopes.T @ slopes).diagonal())
