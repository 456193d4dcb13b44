"""What becomes of a claim where a hypothesis does not hold: a case on either side of it, and what is measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ...theory.brief import Brief
from ...theory.errors import IntegrationError
from ..problem.initial import InitialState
from ..problem.problem import Problem

Fate = Literal["fails", "still holds", "open"]

# A deviation for a claim that says nothing there at all.
NO_CLAIM = math.inf


@dataclass(frozen=True)
class Case:
    """A concrete problem, and a start or weights where the claim is about one."""

    words: str
    problem: Problem
    initial: InitialState | None = None
    closure: str = "leading"
    parametrisation: str = "balanced"

    @property
    def start(self) -> InitialState:
        assert self.initial is not None
        return self.initial

    def to_row(self) -> dict[str, Any]:
        """The case as a JSON object: enough to set it up again."""
        row: dict[str, Any] = {"words": self.words, "problem": self.problem.to_dict(), "closure": self.closure}
        if self.initial is not None:
            row |= {"mu": self.initial.mu.tolist(), "omega": self.initial.omega.tolist()}
            row |= {"imbalance": self.initial.imbalance.tolist(), "parametrisation": self.parametrisation}
        return row


@dataclass(frozen=True, repr=False)
class Explored(Brief):
    """What was measured: the deviation from the claim on both sides of the hypothesis."""

    exploration: Exploration
    inside: float
    outside: float

    @property
    def fate(self) -> Fate:
        """What becomes of the claim outside, as measured."""
        bound, error = self.exploration.bound, self.exploration.error
        if self.outside > bound + error:
            return "fails"
        return "still holds" if self.outside < bound - error else "open"

    @property
    def confirmed(self) -> bool:
        """Whether the claim holds inside, and outside there is what the registry says."""
        own = self.exploration
        return self.inside < own.bound - own.error and self.fate == own.fate

    def to_row(self) -> dict[str, Any]:
        """The exploration as a JSON object; a deviation that is not finite is null."""
        own = self.exploration
        return {
            "statement": own.statement,
            "hypothesis": own.hypothesis,
            "fate": own.fate,
            "confirmed": self.confirmed,
            "what": own.what,
            "bound": own.bound,
            "error": own.error,
            "inside": {**own.inside.to_row(), "measured": self.inside if math.isfinite(self.inside) else None},
            "outside": {**own.outside.to_row(), "measured": self.outside if math.isfinite(self.outside) else None},
        }

    def text(self) -> str:
        """Two lines."""
        own = self.exploration
        found = f"{own.what}: {self.outside:.3g}, against {self.inside:.3g} within it (bound {own.bound:.6g})"
        not_so = "" if self.confirmed else "  NOT CONFIRMED"
        return f"{own.statement} without “{own.hypothesis}”: {own.fate}{not_so}\n    {own.outside.words}: {found}"


@dataclass(frozen=True, repr=False)
class Exploration(Brief):
    """A statement without one of its hypotheses.

    Attributes
    ----------
    statement, hypothesis
        The statement's id, and the hypothesis in words.
    fate
        What becomes of the claim: "fails" (``outside`` is a counterexample), "still holds" or "open".
    inside, outside
        A case in which the hypothesis holds, and one in which it does not.
    deviation
        How far a case is from the claim: a number above ``bound`` violates it, by more than ``error``.
    """

    statement: str
    hypothesis: str
    fate: Fate
    inside: Case
    outside: Case
    deviation: Callable[[Case], float]
    bound: float
    error: float
    what: str

    def measured(self) -> Explored:
        """Both cases, measured."""
        return Explored(self, self._measured(self.inside), self._measured(self.outside))

    def _measured(self, case: Case) -> float:
        """The deviation; not a number where it would rest on a flow that cannot be integrated or is not reliable."""
        try:
            return self.deviation(case)
        except IntegrationError:
            return math.nan
