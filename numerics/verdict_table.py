"""Owns tables of verdicts: text, Markdown, LaTeX (booktabs) and HTML."""

from __future__ import annotations

from collections.abc import Sequence

from ..theory.errors import InputError
from ..theory.printing import latex_prose
from .checks.exploration import Explored
from .verdict import Verdict
from .word_table import html

FORMATS = ("text", "json", "latex", "markdown")
HEADINGS = ("statement", "verdict", "evidence", "measured", "bound", "error", "on")
EXPLORED_HEADINGS = ("statement", "without", "claim", "case", "measured within", "outside", "bound")
FIT_HEADINGS = ("statement", "law", "exponent", "predicted", "constant", "predicted")


def table(verdicts: Sequence[Verdict], form: str, explored: Sequence[Explored] = ()) -> str:
    """The verdicts as ``"text"``, ``"latex"`` or ``"markdown"``, and what was explored; ``InputError`` otherwise."""
    forms = {"text": _text, "latex": _latex, "markdown": _markdown}
    if form not in forms:
        raise InputError(f"a table is {', '.join(forms)}; got {form!r}")
    return forms[form](verdicts) + (_explored(explored, form) if explored else "")


def _explored(explored: Sequence[Explored], form: str) -> str:
    if form == "text":
        return "\nOutside the hypotheses:\n" + "".join(f"{found.text()}\n" for found in explored)
    rows = [
        (
            found.exploration.statement,
            found.exploration.hypothesis,
            found.exploration.fate + ("" if found.confirmed else " (not confirmed)"),
            found.exploration.outside.words,
            f"{found.inside:.3g}",
            f"{found.outside:.3g}",
            f"{found.exploration.bound:.6g}",
        )
        for found in explored
    ]
    if form == "latex":
        return f"\n% outside the hypotheses\n{_tabular('llllrrr', EXPLORED_HEADINGS, rows)}"
    return f"\nOutside the hypotheses:\n\n{_markdown_rows(EXPLORED_HEADINGS, rows)}"


def html_table(verdicts: Sequence[Verdict]) -> str:
    return html([HEADINGS, *((verdict.title, *_cells(verdict)) for verdict in verdicts)])


def _cells(verdict: Verdict) -> tuple[str, ...]:
    evidence = [verdict.evidence, *(f.evidence for f in verdict.findings if f.evidence != verdict.evidence)]
    return (
        verdict.verdict,
        ", ".join(dict.fromkeys(evidence)),
        f"{verdict.measured:.3g}",
        f"{verdict.bound:.6g}",
        f"{verdict.error:.1e}",
        _where(verdict),
    )


def _where(verdict: Verdict) -> str:
    """Where the verdict was reached; of a statement that is not applicable why, and what was found elsewhere."""
    if not verdict.instead:
        return verdict.where or verdict.reason
    return f"{verdict.reason}; {verdict.where or 'elsewhere'}: {verdict.instead}"


def _text(verdicts: Sequence[Verdict]) -> str:
    width = max((len(verdict.id) for verdict in verdicts), default=0)
    lines = []
    for verdict in verdicts:
        lines.append(f"{verdict.id:<{width}}  {verdict.verdict:<14}  {verdict.evidence:<14}  {_found(verdict)}")
        lines += [f"{'':<{width}}    {fit}" for fit in verdict.fits]
    return "\n".join(lines) + "\n"


def _found(verdict: Verdict) -> str:
    numbers = f"{verdict.measured:.3g} < {verdict.bound:.6g}  (± {verdict.error:.1e}; {verdict.what}"
    if verdict.evidence == "none":
        return _where(verdict)
    return f"{_where(verdict)}, {numbers})" if verdict.instead else f"{numbers}; {_where(verdict)})"


def _fitted(verdicts: Sequence[Verdict]) -> list[tuple[Verdict, tuple[str, ...]]]:
    """Each law that was fitted, with its statement."""
    return [(verdict, fit.cells()) for verdict in verdicts for fit in verdict.fits]


def _markdown(verdicts: Sequence[Verdict]) -> str:
    found = _markdown_rows(HEADINGS, [(f"`{verdict.id}`", *_cells(verdict)) for verdict in verdicts])
    fits = [(f"`{verdict.id}`", *cells) for verdict, cells in _fitted(verdicts)]
    return found + (f"\nLaws fitted over a range:\n\n{_markdown_rows(FIT_HEADINGS, fits)}" if fits else "")


def _markdown_rows(headings: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    rows = [headings, ("---",) * len(headings), *body]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _latex(verdicts: Sequence[Verdict]) -> str:
    rows = [(verdict.title, *(cell.replace("_", " ") for cell in _cells(verdict))) for verdict in verdicts]
    fits = [(verdict.title, *cells) for verdict, cells in _fitted(verdicts)]
    found = "% needs \\usepackage{booktabs}\n" + _tabular("lllrrrl", HEADINGS, rows)
    return found + (f"\n% laws fitted over a range\n{_tabular('llrrrr', FIT_HEADINGS, fits)}" if fits else "")


def _tabular(columns: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    body = "".join(" & ".join(map(latex_prose, row)) + " \\\\\n" for row in rows)
    return (
        f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n"
        f"{' & '.join(headings)} \\\\\n\\midrule\n{body}\\bottomrule\n\\end{{tabular}}\n"
    )
