"""The report's web page: what it says, in which order."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from ..numerics.problem.initial import RandomStart
from ..numerics.problem.problem_file import ProblemFile
from ..plot.plotting import inline_svg
from ..theory.printing import html_prose, sum_legend
from .contents import Contents, versions
from .page import Section, facts, figure, page, table
from .summary import number

_TITLES = {
    "single_head_optimum": "Optimum of a single head",
    "flow": "The flow at its end",
    "attention": "Real softmax attention with the weights at the flow's end",
    "task_allocation_limit": "Task-allocation limit, one head per task",
    "multi_head_optimum": "Optimum over all weights with H heads",
    "universal_lower_bound": "Lower bound for any number of heads",
    "bayes": "Bayes risk: the best predictor, ridge regression",
    "bayes_limit": "Bayes risk in the proportional limit",
}
_ATTAINED = {True: "yes", False: "only approached", None: ""}
_KINDS = {
    "closed_form": "closed form",
    "numeric": "numeric",
    "flow": "integrated",
    "enclosure": "enclosed",
    "sampled": "sampled",
}


def report_page(report: Contents) -> str:
    """The whole page."""
    problem = report.given.problem
    lead = (
        f"{_count(problem.n_tasks, 'task')} of in-context linear regression, "
        f"{_count(problem.n_heads, 'head')} of softmax attention, "
        f"{problem.context_length} examples in the context; "
        f"{report.given.parametrisation} gradient flow. Problem: {escape(report.source)}."
    )
    sections = [
        Section("answer", "Answer", _answer(report)),
        Section("problem", "Problem", _problem(report.given)),
        Section("figures", "Figures", _figures(report)),
        *_predictions(report),
        Section("dynamics", "Dynamics", _dynamics(report)),
        Section("verdicts", "Verdicts", _verdicts(report)),
        *report.exposition.html_sections(),
        Section("provenance", "Provenance", _provenance(report)),
    ]
    return page("Training dynamics of multi-head softmax attention", lead, sections, "Made by headflow.")


def _answer(report: Contents) -> str:
    sentences = html_prose(" ".join(report.answer))
    stopped = (
        f'<p class="fails">The integration ended early: {escape(str(report.stopped))}</p>'
        if report.stopped is not None
        else ""
    )
    doubt = report.trajectory.doubt
    warning = "" if doubt is None else f'<p class="fails">{escape(doubt)}</p>'
    return f'{warning}<p class="answer">{sentences}</p>{stopped}{_losses(report)}'


def _losses(report: Contents) -> str:
    rows = []
    for name, entry in report.comparison.losses.items():
        note = f'<br/><span class="note">{html_prose(entry.reason)}</span>' if entry.reason else ""
        title = html_prose(_TITLES.get(name, name.replace("_", " "))) + note
        shown = number(entry.value, 8) if entry.standard_error is None else entry.shown
        rows.append((entry.value, title, shown, html_prose(entry.of), _KINDS[entry.kind], _ATTAINED[entry.attained]))
    limit = report.trajectory.phases.limit
    if limit is not None and report.trajectory.phases.shared:
        title = "Limit of the flow's allocation (shared heads)"
        of = html_prose(report.comparison.closure)
        rows.append((limit, title, number(limit, 8), of, _KINDS["closed_form"], _ATTAINED[True]))
    rows.sort(key=lambda row: -(row[0] or 0.0))
    cells = [(title, *map(_unbroken, words)) for _, title, *words in rows]
    note = (
        "A closure is an approximation of the attention's loss at large L: its numbers are not those of the real "
        "attention, which is sampled here with the weights at the flow's end."
    )
    head = ("Loss", "value", "of", "kind", "attained")
    return table(head, cells, numeric=[1]) + f'<p class="note">{html_prose(note)}</p>'


def _problem(given: ProblemFile) -> str:
    problem = given.problem
    noise = float(problem.noise_variance)
    rows = []
    for task, (dim, power) in enumerate(zip(problem.dims, problem.signal_power, strict=True), 1):
        ratio = (1 + noise / float(power)) * dim / problem.context_length
        rows.append((str(task), str(dim), number(float(power)), number(float(power) / noise), number(ratio, 4)))
    head = ("task", *map(html_prose, ("d_i", "λ_i", "λ_i/σ²", "c_i")))
    legend = (
        "Task i has d_i coordinates and signal power λ_i; c_i = (1 + σ²/λ_i) d_i/L says how scarce "
        f"its examples are. Label noise σ² = {number(noise)}, context length L = {problem.context_length}, "
        f"H = {problem.n_heads}."
    )
    return table(head, rows, numeric=range(5)) + f"<p>{html_prose(legend)}</p>"


def _figures(report: Contents) -> str:
    phases = report.trajectory.phases
    below = " Below: the gap to the limit." if phases.limit is not None else ""
    emergence = (
        " At the emergence time T₀ half of the way to the limit is done, in the shaded band its middle half."
        if phases.emergence is not None
        else ""
    )
    real = report.comparison.real
    sampled = (
        " The point is what real softmax attention loses with the weights at the end, sampled."
        if real is not None and real.value is not None
        else ""
    )
    captions = {
        "loss": f"Loss in the {report.trajectory.closure} closure over time, log axes; time is learning rate × "
        f"steps.{below}{emergence}{sampled}",
        "mu": "Output-value eigenvalues μ, tasks by heads, on one colour scale.",
        "omega": "Key-query eigenvalues ω, tasks by heads, on one colour scale.",
    }
    return "\n".join(figure(inline_svg(svg, name), html_prose(captions[name])) for name, svg in report.figures.items())


def _predictions(report: Contents) -> list[Section]:
    """The phases as predicted and as measured, where the theory predicts any."""
    rows = report.comparison.predictions
    if not rows:
        return []
    cells = [
        (
            f'{html_prose(row.quantity)}<br/><span class="note">{html_prose(row.note)}</span>',
            number(row.predicted),
            number(row.measured),
            _unbroken(row.comparison),
        )
        for row in rows
    ]
    body = table(("Phase", "predicted", "measured", "difference"), cells, numeric=[1, 2, 3])
    lead = "Times are in learning rate × steps. Predictions hold to leading order in small weights or at late times."
    return [Section("phases", "Phases: predicted and measured", f"<p>{html_prose(lead)}</p>{body}")]


def _dynamics(report: Contents) -> str:
    system = report.system
    legend = sum_legend((*system.equations, *system.definition_equations))
    symbols = (
        ("μ_i^h", "output-value eigenvalue of head h on task i"),
        ("ω_i^h", "key-query eigenvalue of head h on task i"),
        ("r_i", "what is left of task i: 1 − Σ_h μ_i^h ω_i^h"),
        ("C_hk", "interaction of the heads h and k"),
        ("M_hk", "what the heads h and k put out in common"),
        ("φ_i", "1 + σ²/λ_i"),
        ("d_e", f"embedding dimension, here {report.given.problem.embedding_dim}"),
    )
    convention = f"The {system.parametrisation} gradient flow, closure {system.closure}; {system.convention}."
    return f"<p>{html_prose(convention)}</p>{system.html()}<p>{html_prose(legend)}</p>" + facts(
        (html_prose(symbol), html_prose(words)) for symbol, words in symbols
    )


def _verdicts(report: Contents) -> str:
    from ..numerics.verification.verdict_words import grounds, in_order, place

    rows = []
    for verdict, under in in_order(report.verification.verdicts):
        title = f'<a href="#statement-{escape(verdict.id)}">{html_prose(verdict.title)}</a>'
        notes = [verdict.source] if under else [verdict.source, grounds(verdict)]
        rows.append(
            (
                f"{'– ' if under else ''}{title}{_notes(notes)}",
                f'<span class="{verdict.verdict}">{verdict.verdict.replace("_", " ")}</span>',
                f"{html_prose(verdict.what)}{_notes([verdict.evidence.replace('_', ' '), place(verdict)])}",
                number(verdict.measured, 4),
                number(verdict.bound, 4),
                number(verdict.error, 2),
            )
        )
    words = (
        "A statement holds where what was measured stays below its bound by more than the error of the "
        "measurement, fails where it exceeds the bound by more than that, and is inconclusive in between, or where it "
        "could not be measured. It does not apply where the problem violates one of its hypotheses. What restates a "
        "theorem, or follows from it in one line, stands under it."
    )
    head = ("Statement", "verdict", "what was measured", "measured", "bound", "error")
    return f'<p class="note">{words}</p>' + table(head, rows, numeric=[3, 4, 5])


def _notes(notes: Iterable[str]) -> str:
    return "".join(f'<br/><span class="note">{html_prose(note)}</span>' for note in notes if note)


def _provenance(report: Contents) -> str:
    given = report.given
    start = given.initial.provenance
    drawn = (
        f"random: scale {number(start.scale)}, jitter {number(start.jitter)}, seed {start.seed}"
        if isinstance(start, RandomStart)
        else "given explicitly"
    )
    stats = report.trajectory.to_json()["stats"]
    pairs = [
        ("problem", escape(report.source)),
        ("start", drawn),
        ("end of time", number(given.t_final)),
        ("relative error of the loss", number(report.trajectory.error_estimate, 2)),
        *((escape(name.replace("_", " ")), escape(_plain(value))) for name, value in stats.items()),
        ("versions", escape(", ".join(f"{name} {number}" for name, number in versions().items()))),
    ]
    return (
        facts(pairs)
        + "<p>The same as a problem file:</p>"
        + f'<div class="wide"><pre><code>{escape(given.to_toml())}</code></pre></div>'
    )


def _unbroken(words: str) -> str:
    return f'<span class="unbroken">{words}</span>'


def _plain(value: object) -> str:
    return number(value) if isinstance(value, float) else str(value)


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' if count != 1 else ''}"
