"""Owns the second check of a certificate: the same question asked again, and what changed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._version import __version__
from . import certificate_file
from .certificates.boxes import Certified
from .checks.registry import known_ids
from .verdict import Verdict
from .verify import EXIT_CODES, Verification, verify


@dataclass(frozen=True)
class Change:
    """One thing that differs: ``where`` (a statement's id, or "environment"), ``what``, and both values."""

    where: str
    what: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what} was {self.before}, is {self.after}"


@dataclass(frozen=True)
class Recheck:
    """A certificate checked again: the new verdicts and what differs from the certificate."""

    verification: Verification
    changes: tuple[Change, ...]

    @property
    def exit_code(self) -> int:
        """That of the new verdicts; 1 too if a verdict, its evidence or one of its numbers is not what was written."""
        differs = any(change.where not in ("environment", "registry") for change in self.changes)
        return EXIT_CODES["fails"] if differs else self.verification.exit_code

    def to_json(self) -> dict[str, Any]:
        changes = [vars(change) for change in self.changes]
        return {**self.verification.to_json(), "changes": changes}

    def text(self) -> str:
        count = len(self.verification.verdicts)
        lines = [f"{count} statements checked again; {len(self.changes) or 'no'} changes", *map(str, self.changes)]
        return "\n".join(lines) + "\n"

    def __str__(self) -> str:
        return self.text()


def recheck(path: Path, workers: int = 1, progress: bool = False) -> Recheck:
    """Check a certificate again: same problem, seed, claims, thoroughness and precision.

    Raises ``InputError`` for a file that is no certificate.  A statement that is no longer registered is a change.
    """
    path = Path(path)
    certificate = certificate_file.read(path)
    old = {verdict.id: verdict for verdict in certificate_file.verdicts_of(certificate, path)}
    still = [claim for claim in certificate["claims"] if claim in known_ids()]
    problem = certificate_file.problem_of(certificate, path)
    asked = {name: certificate[name] for name in ("quick", "seed", "digits")}
    outside = certificate.get("explorations", [])
    found = verify(problem, still, progress=progress, workers=workers, explore=bool(outside), **asked)
    changes = [
        *_environment(certificate),
        *(Change("registry", "a statement", claim, "gone") for claim in certificate["claims"] if claim not in still),
    ]
    for verdict in found.verdicts:
        before = old.get(verdict.id)
        changes += [Change(verdict.id, "the verdict", "missing", verdict.verdict)] if before is None else []
        changes += _differences(before, verdict) if before is not None else []
    told = {(row["statement"], row["hypothesis"], row["fate"]): row["confirmed"] for row in outside}
    now = {(new.exploration.statement, new.exploration.hypothesis, new.exploration.fate): new for new in found.explored}
    for key, confirmed in told.items():
        if key not in now or now[key].confirmed != confirmed:
            after = str(now[key].confirmed) if key in now else "gone"
            changes.append(Change(key[0], f"whether it {key[2]} without “{key[1]}”", str(confirmed), after))
    return Recheck(found, tuple(changes))


def _environment(certificate: dict[str, Any]) -> Iterator[Change]:
    now = {**certificate_file.environment(), "headflow": __version__}
    then = {**certificate["environment"], "headflow": certificate.get("version")}
    for name, value in now.items():
        if then.get(name) != value:
            yield Change("environment", name, str(then.get(name)), str(value))


def _differences(before: Verdict, after: Verdict) -> Iterator[Change]:
    for name in ("verdict", "evidence", "bound", "hypotheses", "source"):
        first, second = getattr(before, name), getattr(after, name)
        if first != second:
            yield Change(after.id, name, str(first), str(second))
    for old, new in zip(before.findings, after.findings, strict=False):
        # Within the errors of both, a number is the same.
        if old.evidence == new.evidence and not _same(old.measured, new.measured, old.error + new.error):
            yield Change(after.id, f"measured ({old.evidence})", repr(old.measured), repr(new.measured))
        for law, again in zip(old.fits, new.fits, strict=False):
            if not _same(law.exponent, again.exponent, law.exponent_error + again.exponent_error):
                yield Change(after.id, f"the exponent of {law.quantity}", repr(law.exponent), repr(again.exponent))
            if not _same(law.constant, again.constant, law.constant_error + again.constant_error):
                yield Change(after.id, f"the constant of {law.quantity}", repr(law.constant), repr(again.constant))
        told = {claim.claim: claim for claim in new.certified}
        for claim in old.certified:
            yield from _claims(after.id, claim, told.get(claim.claim))
    if len(before.findings) != len(after.findings):
        yield Change(after.id, "number of findings", str(len(before.findings)), str(len(after.findings)))


def _same(first: float, second: float, error: float) -> bool:
    both_missing = not math.isfinite(first) and not math.isfinite(second)  # one is read back, as null
    return first == second or both_missing or abs(first - second) <= error


def _claims(where: str, old: Certified, new: Certified | None) -> Iterator[Change]:
    if new is None:
        yield Change(where, "a claim about a box", old.claim, "gone")
        return
    if (old.box, old.holds) != (new.box, new.holds):
        yield Change(where, f"what holds of {old.claim}", f"{old.holds} in {old.box}", f"{new.holds} in {new.box}")
    apart = (old.lower is not None and new.upper is not None and old.lower > new.upper) or (
        old.upper is not None and new.lower is not None and old.upper < new.lower
    )
    if apart:
        yield Change(where, f"the enclosure of {old.claim}", _range(old), _range(new))


def _range(claim: Certified) -> str:
    ends = ("open" if end is None else repr(float(end)) for end in (claim.lower, claim.upper))
    return f"[{', '.join(ends)}]"
