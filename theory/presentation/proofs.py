"""The proofs of statements that are read one after the other: each step stands where it is first needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..derivation import Step
from ..grounds import ARGUED, DEFINITION, FORMAL, GENERAL
from ..printing import aligned_latex, latex_prose
from ..result import Result
from ..statement import Statement, Status

# What a proof says of a step by its scope; another scope names the instances that are checked.
_CHECKED = {
    GENERAL: "Checked by computation.",
    FORMAL: "Checked by computation as a formal expansion.",
    DEFINITION: "",
    ARGUED: "",
}
_NAMES: Mapping[Status, str] = {
    "proved": "Proof",
    "derived": "Derivation",
    "checked": "Derivation, in part checked at instances",
    "argued": "Argument",
    "published": "Evidence",
}


@dataclass(frozen=True, repr=False)
class Proof(Result):
    """What leads to one statement beyond the statements before it.

    ``steps`` are those of its derivation that no earlier statement has, ``uses`` the ids of the statements that have
    the others.
    """

    statement: Statement
    steps: tuple[Step, ...]
    uses: tuple[str, ...]

    def latex(self) -> str:
        """A proof environment that follows the theorem; steps that a computation checks say so."""
        lines = [rf"\begin{{proof}}[{_NAMES[self.statement.status]}]"]
        if self.uses:
            references = ", ".join(rf"\ref{{{id_}}}" for id_ in self.uses)
            lines.append(rf"With the steps of Theorem{'s' if len(self.uses) > 1 else ''}~{references}.")
        lines += [latex_prose(self.statement.plan)] if self.statement.plan else []
        for number, step in enumerate(self.steps, 1):
            checked = _CHECKED.get(step.scope, f"Checked by computation at {step.scope}.")
            checked = rf" \emph{{{latex_prose(checked)}}}" if checked else ""
            lines.append(rf"\par ({number}) \textbf{{{latex_prose(step.label)}.}} {latex_prose(step.why)}{checked}")
            lines.append(f"\\[\n{aligned_latex(step.formula)}\n\\]")
        return "\n".join([*lines, r"\end{proof}"]) + "\n"


def proofs(statements: Iterable[Statement]) -> tuple[Proof, ...]:
    """The proofs of statements in their order."""
    owner: dict[Step, str] = {}
    found = []
    for entry in statements:
        own = tuple(step for step in entry.derivation if step not in owner)
        uses = dict.fromkeys(owner[step] for step in entry.derivation if step in owner)
        owner |= dict.fromkeys(own, entry.id)
        found.append(Proof(entry, own, tuple(uses)))
    return tuple(found)
