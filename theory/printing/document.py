"""The LaTeX document around formulas: an article that needs nothing beyond texlive-latex-recommended."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from .prose import latex_prose

_PREAMBLE = r"""\documentclass[11pt,a4paper]{article}
\usepackage[utf8]{inputenc}
\usepackage[T1]{fontenc}
\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
\usepackage[margin=25mm]{geometry}
\usepackage{amsmath,amssymb,amsthm,booktabs}
\newtheorem{theorem}{Theorem}
\allowdisplaybreaks
\setlength{\parindent}{0pt}
\setlength{\parskip}{0.6ex plus 0.2ex}
"""


class HasLatex(Protocol):
    """A flow, a derivation, a limit, a statement, a verification: whatever writes itself as LaTeX."""

    def latex(self) -> str: ...


# A heading (prose, escaped here) and a body: LaTeX, or an object that writes itself as LaTeX.
Section = tuple[str, str | HasLatex]


def latex_document(title: str, sections: Iterable[Section]) -> str:
    """The complete source of an article, ready for pdflatex.

    Parameters
    ----------
    title
        The article's title, as plain text.
    sections
        Pairs of a heading (plain text) and a body: LaTeX, or an object with a method ``latex()``, such as a flow, a
        derivation, a limit, a statement or a verification.  Equations are put into a display.

    Examples
    --------
    >>> from headflow import theory
    >>> flow = theory.gradient_flow("balanced")
    >>> source = latex_document("Balanced flow", [("The flow", flow), ("Its derivation", flow.derivation)])
    >>> source.count(r"\\section")
    2
    """
    lines = [_PREAMBLE, rf"\title{{{latex_prose(title)}}}", r"\author{}", r"\date{}"]
    lines += [r"\begin{document}", r"\maketitle", ""]
    for heading, body in sections:
        lines += [rf"\section{{{latex_prose(heading)}}}", _body(body), ""]
    return "\n".join([*lines, r"\end{document}"]) + "\n"


def _body(body: str | HasLatex) -> str:
    """LaTeX that stands in text: equations that need a display get one."""
    latex = (body if isinstance(body, str) else body.latex()).strip()
    return f"\\[\n{latex}\n\\]" if latex.startswith(r"\begin{aligned}") else latex
