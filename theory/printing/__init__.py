"""The printing room: one layout tree of formulas, printed as LaTeX, MathML or Unicode text."""

from __future__ import annotations

from .aligned import Equation, aligned_html, aligned_latex, aligned_text
from .check import check_latex
from .document import Section, latex_document
from .latex import to_latex
from .legend import sum_legend
from .mathml import to_mathml
from .prose import html_prose, latex_prose
from .text import to_text

__all__ = [
    "Equation",
    "Section",
    "aligned_html",
    "aligned_latex",
    "aligned_text",
    "check_latex",
    "html_prose",
    "latex_document",
    "latex_prose",
    "sum_legend",
    "to_latex",
    "to_mathml",
    "to_text",
]
