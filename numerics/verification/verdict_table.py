"""Tables of verdicts: text, Markdown, LaTeX (booktabs) and HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ...theory.errors import InputError
from ...theory.printing import latex_prose
from ..checks.exploration import Explored
from ..runtime.word_table import html
from .verdict import Verdict
from .verdict_words import grounds, in_order, place, sentence

FORMATS = ("text", "json", "latex", "markdown")
HEADINGS = ("statement", "verdict", "evidence", "measured", "bound", "error", "on")
EVIDENCE_HEADINGS = (
    "statement",
    "evidence",
    "on",
    "derivation",
    "planted error",
    "found by a quick run",
    "by a full one",
)
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


def evidence_table(verdicts: Sequence[Verdict]) -> str:
    """What each verdict rests on, in Markdown: evidence, on what, the derivation, and the smallest error detected."""
    rows = []
    for verdict, under in in_order(verdicts):
        detected = verdict.detected
        sizes = ("—", "—") if detected is None else map(_size, (detected.quick, detected.full))
        planted = "—" if detected is None else detected.planted
        kinds = _kinds(verdict).replace("_", " ")
        rows.append((_indented(f"`{verdict.id}`", under), kinds, place(verdict), grounds(verdict), planted, *sizes))
    return _markdown_rows(EVIDENCE_HEADINGS, rows)


def _size(size: float | None) -> str:
    return "none" if size is None else f"{size:.1g}"


def html_table(verdicts: Sequence[Verdict]) -> str:
    """The verdicts as an HTML table, and all of them in a sentence."""
    rows = [(_indented(verdict.title, under), *_cells(verdict)) for verdict, under in in_order(verdicts)]
    return f"{html([HEADINGS, *rows])}<p>{escape(sentence(verdicts))}</p>"


def _indented(title: str, under: bool) -> str:
    return f"– {title}" if under else title


def _cells(verdict: Verdict) -> tuple[str, ...]:
    return (
        verdict.verdict,
        _kinds(verdict),
        f"{verdict.measured:.3g}",
        f"{verdict.bound:.6g}",
        f"{verdict.error:.1e}",
        place(verdict),
    )


def _kinds(verdict: Verdict) -> str:
    """The kinds of evidence, the one that decides first."""
    return ", ".join(dict.fromkeys([verdict.evidence, *(finding.evidence for finding in verdict.findings)]))


def _text(verdicts: Sequence[Verdict]) -> str:
    rows = [(f"  {verdict.id}" if under else verdict.id, verdict) for verdict, under in in_order(verdicts)]
    width = max((len(name) for name, _ in rows), default=0)
    lines = []
    for name, verdict in rows:
        lines.append(f"{name:<{width}}  {verdict.verdict:<14}  {verdict.evidence:<14}  {_found(verdict)}")
        lines += [f"{'':<{width}}    {fit}" for fit in verdict.fits]
        if name == verdict.id and (told := grounds(verdict)):
            lines.append(f"{'':<{width}}    {told}")
    return "\n".join([*lines, *([sentence(verdicts)] if len(verdicts) > 1 else [])]) + "\n"


def _found(verdict: Verdict) -> str:
    if verdict.evidence == "none":
        return place(verdict)
    numbers = f"{verdict.measured:.3g} < {verdict.bound:.6g}  (± {verdict.error:.1e}; {verdict.what}"
    return f"{place(verdict)}, {numbers})" if verdict.instead else f"{numbers}; {place(verdict)})"


def _fitted(verdicts: Sequence[Verdict]) -> list[tuple[Verdict, tuple[str, ...]]]:
    """Each law that was fitted, with its statement."""
    return [(verdict, fit.cells()) for verdict in verdicts for fit in verdict.fits]


def _markdown(verdicts: Sequence[Verdict]) -> str:
    rows = [(_indented(f"`{verdict.id}`", under), *_cells(verdict)) for verdict, under in in_order(verdicts)]
    fits = [(f"`{verdict.id}`", *cells) for verdict, cells in _fitted(verdicts)]
    found = f"{_markdown_rows(HEADINGS, rows)}\n{sentence(verdicts)}\n"
    return found + (f"\nLaws fitted over a range:\n\n{_markdown_rows(FIT_HEADINGS, fits)}" if fits else "")


def _markdown_rows(headings: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    rows = [headings, ("---",) * len(headings), *body]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _latex(verdicts: Sequence[Verdict]) -> str:
    rows = [
        (_indented(verdict.title, under), *(cell.replace("_", " ") for cell in _cells(verdict)))
        for verdict, under in in_order(verdicts)
    ]
    fits = [(verdict.title, *cells) for verdict, cells in _fitted(verdicts)]
    found = (
        f"% needs \\usepackage{{booktabs}}\n{_tabular('lllrrrl', HEADINGS, rows)}{latex_prose(sentence(verdicts))}\n"
    )
    return found + (f"\n% laws fitted over a range\n{_tabular('llrrrr', FIT_HEADINGS, fits)}" if fits else "")


def _tabular(columns: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    body = "".join(" & ".join(map(latex_prose, row)) + " \\\\\n" for row in rows)
    return (
        f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n"
        f"{' & '.join(headings)} \\\\\n\\midrule\n{body}\\bottomrule\n\\end{{tabular}}\n"
    )
