"""Owns the LaTeX document around formulas: an article that needs nothing beyond texlive-latex-recommended."""

from __future__ import annotations

from collections.abc import Iterable

from .prose import latex_prose

_PREAMBLE = r"""\documentclass[11pt,a4paper]{article}
\usepackage[utf8]{inputenc}
\usepackage[T1]{fontenc}
\usepackage{lmodern}
\usepackage[margin=25mm]{geometry}
\usepackage{amsmath,amssymb,amsthm}
\newtheorem{theorem}{Theorem}
\allowdisplaybreaks
\setlength{\parindent}{0pt}
\setlength{\parskip}{0.6ex plus 0.2ex}
"""

# A heading (prose, escaped here) and a body that is LaTeX already, such as ``Derivation.latex()``.
Section = tuple[str, str]


def latex_document(title: str, sections: Iterable[Section]) -> str:
    """The complete source of an article with the given sections, ready for pdflatex."""
    lines = [_PREAMBLE, rf"\title{{{latex_prose(title)}}}", r"\author{}", r"\date{}"]
    lines += [r"\begin{document}", r"\maketitle", ""]
    for heading, body in sections:
        lines += [rf"\section{{{latex_prose(heading)}}}", body.strip(), ""]
    return "\n".join([*lines, r"\end{document}"]) + "\n"
