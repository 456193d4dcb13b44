"""Derivations and statements as one document, in each of the formats that ``derive`` knows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any

from ..numerics.runtime.stop import Interrupted
from .page import Section, page

if TYPE_CHECKING:
    from ..theory.derivation import Derivation
    from ..theory.statement import Statement


@dataclass(frozen=True)
class Exposition:
    """What theory has to say on a topic, in order; ``convention`` says how loss and regressors are scaled."""

    title: str
    convention: str
    derivations: tuple[Derivation, ...]
    statements: tuple[Statement, ...]

    def text(self) -> str:
        """Unicode text for a terminal."""
        return "\n\n".join(part.text().rstrip() for part in self._parts()) + "\n"

    def markdown(self) -> str:
        """Markdown with mathematics between double dollar signs."""
        return "\n\n".join(part.markdown().rstrip() for part in self._parts()) + "\n"

    def latex(self) -> str:
        """A complete LaTeX document; made once."""
        return self._latex

    @cached_property
    def _latex(self) -> str:
        from ..theory.presentation.proofs import proofs
        from ..theory.printing import latex_document

        sections = [(derivation.title, derivation.latex()) for derivation in self.derivations]
        if self.statements:
            # Where the derivations stand before the statements, the proofs would say everything twice.
            told = [] if self.derivations else [proof.latex() for proof in proofs(self.statements)]
            theorems = [statement.latex() for statement in self.statements]
            parts = chain.from_iterable(zip_longest(theorems, told, fillvalue=""))
            sections.append(("Statements", "\n".join(parts)))
        return latex_document(self.title, sections)

    def html(self) -> str:
        """A complete, self-contained page."""
        return page(self.title, "Derived by headflow, step by step.", self.html_sections())

    def html_sections(self) -> list[Section]:
        """The parts of a page; made once."""
        return list(self._html_sections)

    @cached_property
    def _html_sections(self) -> tuple[Section, ...]:
        found = []
        if self.derivations:
            derivations = "\n".join(derivation.html() for derivation in self.derivations)
            found.append(Section("derivations", "Derivations", derivations))
        if self.statements:
            statements = "\n".join(statement.html() for statement in self.statements)
            found.append(Section("statements", "Statements", statements))
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """``derivations`` and ``statements``, as far as there are any; runs the checks of all steps."""
        content: dict[str, Any] = {}
        if self.derivations:
            content["derivations"] = [_derivation_json(derivation) for derivation in self.derivations]
        if self.statements:
            content["statements"] = [_statement_json(statement) for statement in self.statements]
        return content

    def _parts(self) -> Sequence[Derivation | Statement]:
        return (*self.derivations, *self.statements)


def exposition(
    topic: str, parametrisation: str, closure: str, switches: Collection[str] = (), in_latex: bool = False
) -> Exposition:
    """What theory has to say on one of the topics of ``derive``, in the package's convention or with switches.

    With ``in_latex`` each derivation is written in LaTeX at once, so that nobody waits for that after an interruption.
    Raises ``Interrupted`` on Ctrl-C, with the `Exposition` of what was derived until then, or None.
    """
    from ..theory.presentation.catalogue import each_derivation
    from ..theory.presentation.conventions import Convention
    from ..theory.statements import statements

    title = {
        "all": "Training dynamics of multi-head softmax attention",
        "statements": "Statements",
    }.get(topic, f"Derivation: {topic}")
    convention = Convention(**dict.fromkeys(switches, True))
    derived: list[Derivation] = []
    told: tuple[Statement, ...] = ()
    try:
        if switches or topic != "statements":
            for derivation in each_derivation(topic, parametrisation, closure, convention):
                derived.append(derivation)
                if in_latex:
                    derivation.latex()
        if topic in ("statements", "all") and not switches:
            told = statements()
    except KeyboardInterrupt as interrupt:
        part = Exposition(title, str(convention), tuple(derived), ()) if derived else None
        raise Interrupted("The derivation was interrupted.", partial=part) from interrupt
    return Exposition(title, str(convention), tuple(derived), told)


def _derivation_json(derivation: Derivation) -> dict[str, Any]:
    from ..theory.printing import aligned_latex, aligned_text

    report = derivation.check()
    outcome = dict.fromkeys(report.passed, True) | dict.fromkeys(report.failed, False)
    return {
        "title": derivation.title,
        "assumptions": list(derivation.assumptions),
        "steps": [
            {
                "label": step.label,
                "why": step.why,
                "latex": aligned_latex(step.formula),
                "text": aligned_text(step.formula),
                "checked": outcome.get(step.label),
                "scope": step.scope,
                "theorem": step.theorem,
            }
            for step in derivation.steps
        ],
    }


def _statement_json(statement: Statement) -> dict[str, Any]:
    from ..theory.printing import aligned_latex, aligned_text

    return {
        "id": statement.id,
        "title": statement.title,
        "source": statement.source,
        "status": statement.status,
        "standing": statement.standing,
        "hypotheses": list(statement.hypotheses),
        "latex": aligned_latex(statement.claim),
        "text": aligned_text(statement.claim),
    }
