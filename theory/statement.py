"""Statement: one claim with hypotheses, source and derivation, what it rests on, and how it is written down."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from .derivation import Derivation
from .errors import InputError
from .grounds import Standing
from .hypothesis import HasValues, Hypothesis, values_of
from .printing import Equation, aligned_html, aligned_latex, aligned_text, html_prose, latex_prose
from .result import Result
from .visible import visible

# What its derivation makes of a statement; "published": stated in the source and measured here, not derived.
Status = Standing | Literal["published"]

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
    derivation
        The steps that lead to the claim, and by what they rest on to its status.
    plan
        How a claim that is published, not derived here, is measured.
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
        derivation: Derivation,
        plan: str = "",
        parent: str = "",
        conditions: Iterable[Hypothesis] = (),
    ) -> None:
        assumed = tuple(hypotheses)
        tested = (*conditions, *(entry for entry in assumed if isinstance(entry, Hypothesis)))
        values = {
            "id": id,
            "title": title,
            "hypotheses": tuple(map(str, assumed)),
            "claim": claim,
            "source": source,
            "derivation": derivation,
            "plan": plan,
            "parent": parent,
            "conditions": tested,
        }
        for words in (id, title, source, plan, parent, *map(str, assumed)):
            if visible(words) != words:
                raise InputError(f"a statement is told in characters that can be shown, got {words!r}")
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
    def status(self) -> Status:
        """What the weakest step of the derivation allows; "published" where a plan says how the claim is measured."""
        return "published" if self.plan else self.derivation.grounds.standing

    @property
    def standing(self) -> str:
        """The status in words, with the steps that are weaker than a proof."""
        return "published, measured here" if self.plan else self.derivation.grounds.standing_words

    @property
    def origin(self) -> str:
        """What it rests on and its source in one phrase."""
        return f"{self.standing}; {self.source}"

    def text(self) -> str:
        """The statement as Unicode text, without its derivation."""
        lines = [f"{self.title} [{self.id}] ({self.origin})"]
        lines += [f"  Assume {hypothesis}." for hypothesis in self.hypotheses]
        lines += [f"    {line}" for line in aligned_text(self.claim).splitlines()]
        return "\n".join(lines) + "\n"

    def latex(self) -> str:
        """A theorem environment (`theory.presentation.proofs` writes the proof that follows it)."""
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
