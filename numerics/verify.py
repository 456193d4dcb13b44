"""Owns verification: every registered statement checked on a problem, with a verdict that carries its error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any, Literal

from .._version import __version__
from ..theory.statement import Statement
from ..theory.statements import statement, statements
from .checks import CHECKS, Finding, Setting
from .checks.finding import Evidence
from .problem import Problem

Outcome = Literal["holds", "fails", "inconclusive"]

EXIT_CODES: dict[Outcome, int] = {"holds": 0, "fails": 1, "inconclusive": 3}


@dataclass(frozen=True)
class Verdict:
    """A statement's outcome: it holds only if ``margin = bound − measured`` exceeds ``error``."""

    id: str
    title: str
    source: str
    hypotheses: tuple[str, ...]
    verdict: Outcome
    evidence: Evidence
    measured: float
    bound: float
    margin: float
    error: float
    what: str
    seed: int | None


@dataclass(frozen=True)
class Verification:
    """The verdicts on one problem."""

    problem: Problem
    closure: str
    verdicts: tuple[Verdict, ...]

    @property
    def exit_code(self) -> int:
        """0 every claim holds, 1 one fails, 3 none fails but one is inconclusive."""
        outcomes = {verdict.verdict for verdict in self.verdicts}
        return EXIT_CODES["fails" if "fails" in outcomes else "inconclusive" if "inconclusive" in outcomes else "holds"]

    def to_json(self) -> dict[str, Any]:
        """The verdicts as the JSON object of the command line; a number that is not finite is null."""

        def plain(verdict: Verdict) -> dict[str, Any]:
            row = asdict(verdict)
            for name in ("measured", "bound", "margin", "error"):
                if not math.isfinite(row[name]):
                    row[name] = None
                    row["reason"] = f"{name} is not finite"
            return {**row, "hypotheses": list(verdict.hypotheses)}

        return {
            "schema": 1,
            "version": __version__,
            "problem": self.problem.to_dict(),
            "closure": self.closure,
            "verdicts": [plain(verdict) for verdict in self.verdicts],
        }

    def text(self) -> str:
        """The verdicts as a table."""
        width = max((len(verdict.id) for verdict in self.verdicts), default=0)
        lines = [
            f"{verdict.id:<{width}}  {verdict.verdict:<12}  {verdict.evidence:<14}  "
            f"{verdict.measured:.3g} < {verdict.bound:.6g}  (± {verdict.error:.1e}; {verdict.what})"
            for verdict in self.verdicts
        ]
        return "\n".join(lines) + "\n"

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(verdict.title)}</td><td>{verdict.verdict}</td><td>{verdict.evidence}</td>"
            f"<td>{verdict.measured:.3g}</td><td>{verdict.bound:.6g}</td><td>{verdict.error:.1e}</td></tr>"
            for verdict in self.verdicts
        )
        return (
            "<table><tr><th>statement</th><th>verdict</th><th>evidence</th><th>measured</th><th>bound</th>"
            f"<th>error</th></tr>{rows}</table>"
        )


def verify(
    problem: Problem,
    claims: Sequence[str] = (),
    quick: bool = False,
    seed: int = 0,
    progress: bool = False,
) -> Verification:
    """Check statements on a problem.

    Parameters
    ----------
    problem
        The problem; checks whose cost grows fast with size use its first tasks and heads.
    claims
        Ids of statements (default: all of them).
    quick
        Fewer samples and starts.
    seed
        Seed of every random draw.
    progress
        Show a progress bar on standard error when it is a terminal and the run takes over two seconds.

    Raises ``InputError`` for an unknown claim.
    """
    from tqdm import tqdm

    chosen = [statement(claim) for claim in claims] or list(statements())
    setting = Setting(problem, seed, quick)
    # disable=None: tqdm shows nothing unless standard error is a terminal.
    bar = tqdm(chosen, desc="verify", unit="claim", delay=2, leave=False, disable=None if progress else True)
    return Verification(problem, "leading", tuple(judged(entry, CHECKS[entry.id](setting)) for entry in bar))


def judged(entry: Statement, finding: Finding) -> Verdict:
    """The verdict on a statement from what its check found."""
    margin = finding.bound - finding.measured
    outcome: Outcome = "inconclusive"
    if margin > finding.error:
        outcome = "holds"
    elif margin < -finding.error:
        outcome = "fails"
    return Verdict(
        entry.id,
        entry.title,
        entry.source,
        entry.hypotheses,
        outcome,
        finding.evidence,
        finding.measured,
        finding.bound,
        margin,
        finding.error,
        finding.what,
        finding.seed,
    )
