"""Results that print as a block of equations: in LaTeX, HTML, plain text and Jupyter."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from .printing import Equation, aligned_html, aligned_latex, aligned_text
from .result import Result


class Equations(Result):
    """What has ``lines``, its equations with those of what they are written in, and prints as them."""

    @property
    @abstractmethod
    def lines(self) -> Sequence[Equation]:
        """What is printed."""

    def latex(self) -> str:
        """The equations as one aligned LaTeX block."""
        return str(aligned_latex(self.lines))

    def text(self) -> str:
        """The equations as plain text."""
        return str(aligned_text(self.lines))

    def html(self) -> str:
        """The equations as HTML with MathML."""
        return str(aligned_html(self.lines))

    def __str__(self) -> str:
        return self.text()

    def _repr_latex_(self) -> str:
        return f"$${self.latex()}$$"

    def _repr_html_(self) -> str:
        return self.html()
