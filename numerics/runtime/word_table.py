"""Results that are tables of words: rows under a heading, as aligned text and as HTML."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from html import escape


class WordTable(ABC):
    """A result whose `rows` are cells of words, the first row the heading; it prints as `text` and renders as HTML."""

    @abstractmethod
    def rows(self) -> Iterable[Sequence[str]]:
        """The table as words, under a heading."""

    @abstractmethod
    def text(self) -> str:
        """The table as text."""

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return html(self.rows())


def aligned(rows: Iterable[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """One line per row; columns stand left, those of ``right`` (from 0) right, without blanks at the end."""
    cells = list(rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def html(rows: Iterable[Sequence[str]]) -> str:
    """The rows as an HTML table, the first as its heading."""
    head, *body = rows
    lines = ["".join(f"<th>{escape(cell)}</th>" for cell in head)]
    lines += ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in body]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def with_error(value: float, error: float) -> str:
    """The value to the two leading digits of its error."""
    places = max(0, 1 - math.floor(math.log10(error))) if error > 0 else 6
    return f"{value:.{places}f} ± {error:.{places}f}"
