"""Owns the verdict on a statement: what its checks found, the strongest evidence first, and its row in JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Literal

from ..theory.statement import Statement
from .certificates.boxes import Certified
from .checks.finding import Evidence, Finding
from .fit import Fit

Outcome = Literal["holds", "fails", "inconclusive"]

# From strong to weak.
STRENGTH: tuple[Evidence, ...] = ("symbolic", "enclosure", "high_precision", "float", "monte_carlo")
_NUMBERS = ("measured", "bound", "margin", "error")


@dataclass(frozen=True)
class Verdict:
    """A statement's outcome: it holds only if ``margin = bound − measured`` exceeds ``error``.

    The numbers are those of the finding that decides: one that fails, else the strongest that holds.  ``findings`` are
    all of them, strongest evidence first.
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

    @property
    def fits(self) -> tuple[Fit, ...]:
        """The laws that its checks fitted over a range."""
        return tuple(fit for finding in self.findings for fit in finding.fits)

    def to_row(self) -> dict[str, Any]:
        """The verdict as a JSON object; a number that is not finite is null, with a reason."""
        row = {name: value for name, value in asdict(self).items() if name != "findings"}
        return {
            **_finite(row),
            "hypotheses": list(self.hypotheses),
            "findings": [_finding_row(finding) for finding in self.findings],
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Verdict:
        """The verdict that `to_row` wrote."""
        names = ("id", "title", "source", "verdict", "evidence", "what", "seed")
        values: dict[str, Any] = {name: row[name] for name in names}
        values |= {name: _number(row[name]) for name in _NUMBERS}
        values["hypotheses"] = tuple(row["hypotheses"])
        return cls(**values, findings=tuple(_finding(entry) for entry in row["findings"]))


def outcome(finding: Finding) -> Outcome:
    """Holds if the margin is larger than the error, fails if it is negative beyond the error; else inconclusive."""
    margin = finding.bound - finding.measured
    if margin > finding.error:
        return "holds"
    return "fails" if margin < -finding.error else "inconclusive"


def judged(entry: Statement, *findings: Finding) -> Verdict:
    """The verdict on a statement from what its checks found.

    One that fails decides, then the strongest that holds among those that are about the whole claim.
    """
    ordered = sorted(findings, key=lambda finding: STRENGTH.index(finding.evidence))
    failing = [finding for finding in ordered if outcome(finding) == "fails"]
    whole = [finding for finding in ordered if finding.whole] or ordered
    decisive = failing[0] if failing else min(whole, key=lambda finding: outcome(finding) != "holds")
    return Verdict(
        entry.id,
        entry.title,
        entry.source,
        entry.hypotheses,
        outcome(decisive),
        decisive.evidence,
        decisive.measured,
        decisive.bound,
        decisive.bound - decisive.measured,
        decisive.error,
        decisive.what,
        decisive.seed,
        tuple(ordered),
    )


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
            row["reason"] = f"{name} is not finite"
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
    )


def _certified(row: Mapping[str, Any]) -> Certified:
    def end(text: str | None) -> Fraction | None:
        return None if text is None else Fraction(float.fromhex(text))

    box = tuple((name, (Fraction(low), Fraction(high))) for name, (low, high) in row["box"].items())
    numbers = (end(row["lower"]), end(row["upper"]), row["holds"], row["cells"], row["arithmetic"])
    return Certified(row["claim"], box, *numbers)


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """Fails if one fails, inconclusive if none fails but one is, holds otherwise."""
    found = set(outcomes)
    return "fails" if "fails" in found else "inconclusive" if "inconclusive" in found else "holds"
