"""Owns tables of verdicts: text, Markdown, LaTeX (booktabs) and HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ..theory.errors import InputError
from ..theory.printing import latex_prose
from .verdict import Verdict

FORMATS = ("text", "json", "latex", "markdown")
HEADINGS = ("statement", "verdict", "evidence", "measured", "bound", "error")


def table(verdicts: Sequence[Verdict], form: str) -> str:
    """The verdicts as ``"text"``, ``"latex"`` or ``"markdown"``; ``InputError`` for another form."""
    forms = {"text": _text, "latex": _latex, "markdown": _markdown}
    if form not in forms:
        raise InputError(f"a table is {', '.join(forms)}; got {form!r}")
    return forms[form](verdicts)


def html_table(verdicts: Sequence[Verdict]) -> str:
    head = "".join(f"<th>{heading}</th>" for heading in HEADINGS)
    rows = ("".join(f"<td>{escape(cell)}</td>" for cell in (verdict.title, *_cells(verdict))) for verdict in verdicts)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _cells(verdict: Verdict) -> tuple[str, ...]:
    evidence = [verdict.evidence, *(f.evidence for f in verdict.findings if f.evidence != verdict.evidence)]
    return (
        verdict.verdict,
        ", ".join(dict.fromkeys(evidence)),
        f"{verdict.measured:.3g}",
        f"{verdict.bound:.6g}",
        f"{verdict.error:.1e}",
    )


def _text(verdicts: Sequence[Verdict]) -> str:
    width = max((len(verdict.id) for verdict in verdicts), default=0)
    lines = (
        f"{verdict.id:<{width}}  {verdict.verdict:<12}  {verdict.evidence:<14}  "
        f"{verdict.measured:.3g} < {verdict.bound:.6g}  (± {verdict.error:.1e}; {verdict.what})"
        for verdict in verdicts
    )
    return "\n".join(lines) + "\n"


def _markdown(verdicts: Sequence[Verdict]) -> str:
    rows = [HEADINGS, ("---",) * len(HEADINGS), *((f"`{verdict.id}`", *_cells(verdict)) for verdict in verdicts)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _latex(verdicts: Sequence[Verdict]) -> str:
    body = "".join(
        " & ".join(latex_prose(cell) for cell in (verdict.title, *(cell.replace("_", " ") for cell in _cells(verdict))))
        + " \\\\\n"
        for verdict in verdicts
    )
    head = " & ".join(HEADINGS)
    return (
        "% needs \\usepackage{booktabs}\n\\begin{tabular}{lllrrr}\n\\toprule\n"
        f"{head} \\\\\n\\midrule\n{body}\\bottomrule\n\\end{{tabular}}\n"
    )
