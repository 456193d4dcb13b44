"""What a reproduction gives back: a table of predicted and measured numbers, and the arrays of its figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..problem.problem import FloatArray
from ..runtime.json_object import json_object
from ..runtime.word_table import WordTable, aligned


@dataclass(frozen=True)
class Row:
    """One quantity: what is predicted, what is measured, and the error of the measurement.

    Attributes
    ----------
    quantity
        What it is, in words.
    predicted, measured
        The two numbers; ``predicted`` is None where there is no prediction.
    error
        One standard error of ``measured``; None where it is no estimate (an integration, a count, a fit).
    interval
        The 99 % confidence interval of a fit; else None.
    """

    quantity: str
    predicted: float | None
    measured: float
    error: float | None = None
    interval: tuple[float, float] | None = None

    @property
    def deviation(self) -> float | None:
        """measured/predicted − 1; None without a prediction, or where it is 0."""
        return self.measured / self.predicted - 1 if self.predicted else None

    def to_json(self) -> dict[str, Any]:
        """quantity, predicted, measured, error, interval and deviation; a number that JSON does not have is null."""
        numbers = {name: getattr(self, name) for name in ("predicted", "measured", "error", "deviation")}
        found = {name: _finite(value) for name, value in numbers.items()}
        return {"quantity": self.quantity, **found, "interval": _finite(self.interval and list(self.interval))}

    def _uncertainty(self) -> str:
        if self.interval is not None:
            return f"[{self.interval[0]:.4g}, {self.interval[1]:.4g}]"
        return "" if self.error is None else f"± {self.error:.2g}"

    def cells(self) -> list[str]:
        """The row as words."""
        apart = self.deviation
        return [
            self.quantity,
            "—" if self.predicted is None else f"{self.predicted:.5g}",
            f"{self.measured:.5g}",
            self._uncertainty(),
            "" if apart is None else f"{100 * apart:+.2g} %",
        ]


@dataclass(frozen=True, eq=False, repr=False)
class Reproduction(WordTable):
    """A published experiment done again.

    Attributes
    ----------
    name, title, settings
        Which one, what it shows, and "small" or "paper".
    problem
        What was sampled, trained or integrated, as JSON holds it.
    table
        Predicted and measured numbers.
    arrays
        What the figure shows, by name.
    notes
        What a reader of the table must know, in sentences.
    """

    name: str
    title: str
    settings: str
    problem: Mapping[str, Any]
    table: tuple[Row, ...]
    arrays: Mapping[str, FloatArray]
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        for array in self.arrays.values():
            array.flags.writeable = False

    def row(self, quantity: str) -> Row:
        """The row of that name; ``KeyError`` if there is none."""
        found = [row for row in self.table if row.quantity == quantity]
        if not found:
            raise KeyError(quantity)
        return found[0]

    def to_json(self) -> dict[str, Any]:
        """The table and the arrays as a JSON object; numbers that JSON does not have are null."""
        return {
            **json_object(dict(self.problem), None),
            "reproduction": self.name,
            "title": self.title,
            "settings": self.settings,
            "table": [row.to_json() for row in self.table],
            "arrays": {name: _finite(array.tolist()) for name, array in self.arrays.items()},
            "notes": list(self.notes),
        }

    def rows(self) -> list[list[str]]:
        """The table as words, under a heading."""
        return [["quantity", "predicted", "measured", "error", "deviation"], *(row.cells() for row in self.table)]

    def text(self) -> str:
        """Title, table and notes as text."""
        lines = [self.title, "", *aligned(self.rows(), right=range(1, 5))]
        return "\n".join([*lines, *(["", *self.notes] if self.notes else [])]) + "\n"

    def __repr__(self) -> str:
        return f"Reproduction({self.name}, {self.settings}, {len(self.table)} rows)"


def _finite(values: Any) -> Any:
    """Numbers, in lists or not, with None for what is not finite."""
    if isinstance(values, list):
        return [_finite(value) for value in values]
    return values if values is not None and np.isfinite(values) else None
