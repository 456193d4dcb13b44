"""``headflow cite``: how to cite headflow and the papers whose results it derives."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from ... import __version__
from ...numerics.runtime.json_object import json_object, json_text
from ..output import emit

# The same as in CITATION.cff, which is not installed; a test compares the two.
SOFTWARE = {
    "authors": ["The headflow authors"],
    "title": "headflow: training dynamics of multi-head softmax attention, derived and checked",
    "version": __version__,
}
PAPERS: tuple[dict[str, Any], ...] = (
    {
        "key": "chen2024training",
        "authors": ["Chen", "Sheen", "Wang", "Yang"],
        "title": "Training Dynamics of Multi-Head Softmax Attention for In-Context Learning: "
        "Emergence, Convergence, and Optimality",
        "year": 2024,
        "notes": "arXiv 2402.19442; COLT 2024",
    },
    {
        "key": "he2025incontext",
        "authors": ["He", "Pan", "Chen", "Yang"],
        "title": "In-Context Linear Regression Demystified",
        "year": 2025,
        "notes": "arXiv 2503.12734",
    },
)


def run(arguments: Namespace) -> int:
    """Print BibTeX; the exit code is 0."""
    if arguments.json:
        emit(json_text(json_object(None, None, software=SOFTWARE, papers=list(PAPERS), bibtex=bibtex())))
    else:
        emit(f"% headflow and the papers whose results it derives and checks\n{bibtex()}")
    return 0


def bibtex() -> str:
    """The entries of `SOFTWARE` and `PAPERS`."""
    entries = [
        _entry("software", "headflow", {**_common(SOFTWARE), "version": __version__}),
        *(
            _entry("article", paper["key"], {**_common(paper), "year": paper["year"], "note": paper["notes"]})
            for paper in PAPERS
        ),
    ]
    return "\n".join(entries)


def _common(work: dict[str, Any]) -> dict[str, Any]:
    names = work["authors"]
    # A second pair of braces keeps BibTeX from taking "The headflow authors" for a person's name.
    author = f"{{{names[0]}}}" if len(names) == 1 else " and ".join(names)
    return {"author": author, "title": f"{{{work['title']}}}"}


def _entry(kind: str, key: str, fields: dict[str, Any]) -> str:
    lines = "".join(f"  {name:<7} = {{{value}}},\n" for name, value in fields.items())
    return f"@{kind}{{{key},\n{lines}}}\n"
