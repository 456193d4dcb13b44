"""Owns Statement: one claim with hypotheses, source, status and derivation, and how it is written down."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from .derivation import Derivation
from .hypothesis import HasValues, Hypothesis, values_of
from .printing import Equation, aligned_html, aligned_latex, aligned_text, html_prose, latex_prose
from .result import Result

# proved: every step is checked by computation or is a theorem that is named; derived: formal at the stated order
# (an asymptotic expansion without an error bound); published: stated in the source, and measured here.
Status = Literal["proved", "derived", "published"]

# Words that many statements share: where a claim comes from, and the closure it is about.
DERIVED = "derived here"
BALANCED = "exactly balanced weights, o = v and k = q (an imbalance or the noise of minibatches breaks this in the end)"
LEADING = "the leading closure: d_i → ∞ at fixed d_i ω_i², d_i/L and ω_i μ_i"


@dataclass(frozen=True, init=False, repr=False)
class Statement(Result):
    """One claim.

    Attributes
    ----------
    id, title
        A short name, and one in words.
    hypotheses
        Conditions, each a phrase that can follow "Assume".  Where one is about the numbers of a problem, give a
        `Hypothesis`: its phrase is kept here, and it is tested.
    claim
        Formulas: expressions, relations, or (lhs, rhs) pairs.
    source
        Paper and place, or "derived here".
    status
        "proved", "derived" or "published".
    derivation
        The steps that lead to the claim.
    plan
        How a claim that is published, not proved here, is measured.
    parent
        The id of the statement that this one restates or follows from in one line; empty for a theorem of its own.
    conditions
        The hypotheses that are about the numbers of a problem, each with its test.
    """

    id: str
    title: str
    hypotheses: tuple[str, ...]
    claim: tuple[Equation, ...]
    source: str
    status: Status
    derivation: Derivation
    plan: str
    parent: str
    conditions: tuple[Hypothesis, ...]

    def __init__(
        self,
        id: str,
        title: str,
        hypotheses: Iterable[str | Hypothesis],
        claim: tuple[Equation, ...],
        source: str,
        status: Status,
        derivation: Derivation,
        plan: str = "",
        parent: str = "",
        conditions: Iterable[Hypothesis] = (),
    ) -> None:
        if status == "published" and not plan:
            raise ValueError(f"the published statement {id} needs a plan of how it is measured")
        assumed = tuple(hypotheses)
        tested = (*conditions, *(entry for entry in assumed if isinstance(entry, Hypothesis)))
        values = {
            "id": id,
            "title": title,
            "hypotheses": tuple(map(str, assumed)),
            "claim": claim,
            "source": source,
            "status": status,
            "derivation": derivation,
            "plan": plan,
            "parent": parent,
            "conditions": tested,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def in_brief(self) -> str:
        return f"{self.id!r}, {self.title}, {self.status}, {self.derivation.as_part('')}"

    def unmet(self, problem: HasValues) -> tuple[Hypothesis, ...]:
        """The hypotheses that a problem's numbers violate."""
        values = values_of(problem)
        return tuple(condition for condition in self.conditions if not condition.holds(values))

    @property
    def origin(self) -> str:
        """Status and source in one phrase."""
        return self.source if self.source.startswith(self.status) else f"{self.status}; {self.source}"

    def text(self) -> str:
        """The statement as Unicode text, without its derivation."""
        lines = [f"{self.title} [{self.id}] ({self.origin})"]
        lines += [f"  Assume {hypothesis}." for hypothesis in self.hypotheses]
        lines += [f"    {line}" for line in aligned_text(self.claim).splitlines()]
        return "\n".join(lines) + "\n"

    def latex(self) -> str:
        """A theorem environment (`theory.proofs` writes the proof that follows it)."""
        assumed = latex_prose(" ".join(f"Assume {hypothesis}." for hypothesis in self.hypotheses))
        origin = latex_prose(f"({self.origin})")
        return (
            f"\\begin{{theorem}}[{latex_prose(self.title)}]\\label{{{self.id}}}\n{assumed} {origin}\n"
            f"\\[\n{aligned_latex(self.claim)}\n\\]\n\\end{{theorem}}\n"
        )

    def markdown(self) -> str:
        """The statement as Markdown, without its derivation."""
        lines = [f"**{self.title}** (`{self.id}`, {self.origin})"]
        lines += [" ".join(f"Assume {hypothesis}." for hypothesis in self.hypotheses)] if self.hypotheses else []
        lines += [f"$$\n{aligned_latex(self.claim)}\n$$"]
        return "\n\n".join(lines) + "\n"

    def html(self) -> str:
        """The statement as HTML with MathML, without its derivation."""
        assumed = " ".join(f"Assume {hypothesis}." for hypothesis in self.hypotheses)
        return (
            f'<article class="statement" id="statement-{self.id}"><h3>{html_prose(self.title)}</h3>'
            f'<p class="source">{html_prose(self.origin)}</p>'
            + (f"<p>{html_prose(assumed)}</p>" if assumed else "")
            + f"{aligned_html(self.claim)}</article>"
        )

    def __str__(self) -> str:
        return self.text()

    def _repr_latex_(self) -> str:
        return f"$$\n{aligned_latex(self.claim)}\n$$"

    def _repr_html_(self) -> str:
        return self.html()
