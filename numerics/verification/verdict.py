"""The verdict on a statement: what its checks found, the strongest evidence first, and its row in JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from typing import Any, Literal

from ...theory.brief import Brief
from ...theory.hypothesis import Hypothesis
from ...theory.statement import Statement
from ..certificates.boxes import Certified
from ..checks.detects import DETECTED, Detected
from ..checks.finding import STRENGTH, Evidence, Finding, unmeasured
from ..checks.place import SCOPES, UNNAMED, Place, Scope, from_row, problems_of, scope_of, to_row, words_of
from ..predictions.fit import Fit
from ..problem.problem import Problem

Outcome = Literal["holds", "fails", "inconclusive", "not_applicable"]

_NUMBERS = ("measured", "bound", "margin", "error")
_WORDS = ("id", "title", "source", "verdict", "evidence", "what", "seed", "where", "scope", "instead", "reason")


@dataclass(frozen=True, repr=False)
class Verdict(Brief):
    """A statement's outcome: it holds only if ``margin = bound − measured`` exceeds ``error``.

    The numbers are those of the finding that decides: one that fails, else the strongest that holds.  ``findings`` are
    all of them, strongest evidence first.

    Attributes
    ----------
    verdict
        "holds", "fails", "inconclusive", or "not_applicable" where the problem violates a hypothesis.
    problem, where, scope
        What the numbers were measured on; where this and all other findings hold, in words ("on your problem"); and the
        closest of these: "problem" (the one that was asked about), "general" (every I and H), "part" (its first tasks)
        or "other".
    unmet
        The hypotheses that the problem violates, each with the problem's own numbers.
    instead
        Of a statement that is not applicable: what was found where it is ("holds", "inconclusive").
    reason
        Why nothing was decided, or why the statement is not applicable; else empty.
    checked, argued, theorems
        What of the statement's derivation a computation checked, the steps of it that rest on words, and the theorems
        of the literature that it uses.
    parent
        The id of the statement that this one restates, or follows from in one line.
    detected
        The smallest planted error that its checks refute.
    """

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
    findings: tuple[Finding, ...] = ()
    problem: Place = UNNAMED
    where: str = ""
    scope: Scope = "other"
    unmet: tuple[str, ...] = ()
    instead: str = ""
    reason: str = ""
    checked: str = ""
    argued: tuple[str, ...] = ()
    theorems: tuple[str, ...] = ()
    parent: str = ""
    detected: Detected | None = None

    @property
    def in_brief(self) -> str:
        return f"{self.id!r}, {self.verdict}, {self.evidence}, {len(self.findings)} findings"

    @property
    def fits(self) -> tuple[Fit, ...]:
        """The laws that its checks fitted over a range."""
        return tuple(fit for finding in self.findings for fit in finding.fits)

    def to_row(self) -> dict[str, Any]:
        """The verdict as a JSON object; a number that is not finite is null, with a reason."""
        row = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            **_finite(row),
            "hypotheses": list(self.hypotheses),
            "findings": [_finding_row(finding) for finding in self.findings],
            "problem": to_row(self.problem),
            "unmet": list(self.unmet),
            "argued": list(self.argued),
            "theorems": list(self.theorems),
            "detected": None if self.detected is None else asdict(self.detected),
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Verdict:
        """The verdict that `to_row` wrote."""
        values: dict[str, Any] = {name: row[name] for name in (*_WORDS, "checked", "parent")}
        values |= {name: _number(row[name]) for name in _NUMBERS}
        values |= {name: tuple(row[name]) for name in ("hypotheses", "unmet", "argued", "theorems")}
        values["detected"] = None if row["detected"] is None else Detected(**row["detected"])
        values["problem"] = from_row(row["problem"])
        return cls(**values, findings=tuple(_finding(entry) for entry in row["findings"]))


def outcome(finding: Finding) -> Outcome:
    """Holds if the margin is larger than the error, fails if it is negative beyond the error; else inconclusive."""
    if finding.holds:
        return "holds"
    return "fails" if finding.measured - finding.bound > finding.error else "inconclusive"


def judged(entry: Statement, *findings: Finding, problem: Problem | None = None) -> Verdict:
    """The verdict on a statement from what its checks found, asked for on a problem.

    One that fails decides, then one that could not be carried out, then the strongest that holds among those that are
    about the whole claim.  What was measured outside the statement's hypotheses says nothing about it.  Where the
    problem violates a hypothesis nothing holds: the statement is not applicable, unless what was measured on another
    one, within the hypotheses, fails.
    """
    ordered = sorted(findings, key=lambda finding: STRENGTH.index(finding.evidence))
    unmet: tuple[Hypothesis, ...] = ()
    try:
        unmet = () if problem is None else entry.unmet(problem)
        within = [finding for finding in ordered if not any(map(entry.unmet, problems_of(finding.problem)))]
    except Exception as error:  # as for a check: the others go on
        within = [unmeasured("the hypotheses could not be tested", error)]
    decisive = _decisive(within) if within else unmeasured("nothing was measured within the hypotheses")
    found = outcome(decisive)
    alike = [decisive, *(other for other in within if other.whole and outcome(other) == found == "holds")]
    grounds = entry.derivation.grounds
    applies = found == "fails" or not unmet
    return Verdict(
        id=entry.id,
        title=entry.title,
        source=entry.source,
        hypotheses=entry.hypotheses,
        verdict=found if applies else "not_applicable",
        evidence=decisive.evidence,
        measured=decisive.measured,
        bound=decisive.bound,
        margin=decisive.bound - decisive.measured,
        error=decisive.error,
        what=decisive.what,
        seed=decisive.seed,
        findings=tuple(ordered),
        problem=decisive.problem,
        where=", ".join(dict.fromkeys(filter(None, (words_of(other.problem, problem) for other in alike)))),
        scope=min((scope_of(other.problem, problem) for other in alike), key=SCOPES.index),
        unmet=tuple(map(str, unmet)),
        instead="" if applies or decisive.evidence == "none" else found,
        reason=_undecided(decisive) if applies else _unmet(unmet, problem),
        checked=grounds.checked,
        argued=grounds.argued,
        theorems=grounds.theorems,
        parent=entry.parent,
        detected=DETECTED.get(entry.id),
    )


def _decisive(ordered: Sequence[Finding]) -> Finding:
    failing = [finding for finding in ordered if outcome(finding) == "fails"]
    undone = [finding for finding in ordered if finding.evidence == "none"]
    whole = [finding for finding in ordered if finding.whole] or ordered
    return (*failing, *undone, min(whole, key=lambda finding: outcome(finding) != "holds"))[0]


def _undecided(decisive: Finding) -> str:
    if outcome(decisive) != "inconclusive":
        return ""
    return decisive.what if decisive.evidence == "none" else "the margin is not larger than the error"


def _unmet(unmet: Sequence[Hypothesis], problem: Problem | None) -> str:
    assert problem is not None
    numbers = dict.fromkeys(condition.describe(problem.exact_values()) for condition in unmet)
    return f"needs {' and '.join(map(str, unmet))}; here {'; '.join(numbers)}"


def _finding_row(finding: Finding) -> dict[str, Any]:
    row = {
        "evidence": finding.evidence,
        "verdict": outcome(finding),
        "measured": finding.measured,
        "bound": finding.bound,
        "error": finding.error,
        "what": finding.what,
        "seed": finding.seed,
        "whole": finding.whole,
        "problem": to_row(finding.problem),
    }
    return {
        **_finite(row),
        "certified": [_certified_row(claim) for claim in finding.certified],
        "fits": [fit.to_row() for fit in finding.fits],
    }


def _certified_row(claim: Certified) -> dict[str, Any]:
    """Ends of boxes as fractions, of enclosures as hexadecimal floats rounded outwards: both are exact numbers."""
    return {
        "claim": claim.claim,
        "box": {name: [str(low), str(high)] for name, (low, high) in claim.box},
        "lower": None if claim.lower is None else _outward(claim.lower, -math.inf),
        "upper": None if claim.upper is None else _outward(claim.upper, math.inf),
        "holds": claim.holds,
        "cells": claim.cells,
        "arithmetic": claim.arithmetic,
    }


def _outward(value: Fraction, towards: float) -> str:
    """The nearest float on the given side."""
    number = float(value)
    beyond = Fraction(number) < value if towards > 0 else Fraction(number) > value
    return (math.nextafter(number, towards) if beyond else number).hex()


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    for name in _NUMBERS:
        if name in row and not math.isfinite(row[name]):
            row[name] = None
            row["reason"] = row.get("reason") or f"{name} is not finite"
    return row


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _finding(row: Mapping[str, Any]) -> Finding:
    return Finding(
        row["evidence"],
        _number(row["measured"]),
        _number(row["bound"]),
        _number(row["error"]),
        row["what"],
        row["seed"],
        tuple(_certified(entry) for entry in row["certified"]),
        tuple(Fit.from_row(entry) for entry in row["fits"]),
        row["whole"],
        from_row(row["problem"]),
    )


def _certified(row: Mapping[str, Any]) -> Certified:
    def end(text: str | None) -> Fraction | None:
        return None if text is None else Fraction(float.fromhex(text))

    box = tuple((name, (Fraction(low), Fraction(high))) for name, (low, high) in row["box"].items())
    numbers = (end(row["lower"]), end(row["upper"]), row["holds"], row["cells"], row["arithmetic"])
    return Certified(row["claim"], box, *numbers)


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """Fails if one fails, inconclusive if none fails but one is, else holds: what does not apply counts for nothing."""
    found = set(outcomes)
    return "fails" if "fails" in found else "inconclusive" if "inconclusive" in found else "holds"
