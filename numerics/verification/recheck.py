"""The second check of a certificate: the same question asked again, and what changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..._version import __version__
from ...theory.brief import Brief
from ..checks import Setting
from ..checks.registry import known_ids
from . import certificate_file
from .certificate_changes import Change, changes
from .verify import EXIT_CODES, Verification, verify


@dataclass(frozen=True, repr=False)
class Recheck(Brief):
    """A certificate checked again: the new verdicts and what differs from the certificate."""

    verification: Verification
    changes: tuple[Change, ...]

    @property
    def exit_code(self) -> int:
        """That of the new verdicts; 1 too if anything but the environment and the registry is not as it was written."""
        differs = any(change.where not in ("environment", "registry") for change in self.changes)
        return EXIT_CODES["fails"] if differs else self.verification.exit_code

    def to_json(self) -> dict[str, Any]:
        return {**self.verification.to_json(), "changes": [vars(change) for change in self.changes]}

    def text(self) -> str:
        count = len(self.verification.verdicts)
        lines = [f"{count} statements checked again; {len(self.changes) or 'no'} changes", *map(str, self.changes)]
        return "\n".join(lines) + "\n"

    def __str__(self) -> str:
        return self.text()


def recheck(path: Path, workers: int = 1, progress: bool = False) -> Recheck:
    """Check a certificate again: same problem, seed, claims, thoroughness and precision.

    All that is written in it is asked for again and compared: words as they are, numbers within the errors that are
    found now.  Its seal tells whether it was changed after it was written.

    Raises ``InputError`` for a file that is no certificate.  A statement that is no longer registered is a change.
    """
    path = Path(path)
    certificate = certificate_file.read(path)
    claims = certificate["claims"]
    still = [claim for claim in claims if claim in known_ids()]
    problem = certificate_file.problem_of(certificate, path)
    asked = {name: certificate[name] for name in ("quick", "seed", "digits")}
    found = verify(
        problem, still, progress=progress, workers=workers, explore=bool(certificate["explorations"]), **asked
    )
    now = certificate_file.content(Setting(problem, **asked), still, found.verdicts, found.explored, complete=True)
    return Recheck(found, (*_seal(path), *_environment(certificate), *changes(certificate, now)))


def _seal(path: Path) -> Iterator[Change]:
    if not certificate_file.intact(path):
        yield Change("certificate", "its content", "sealed with a digest", "not what was sealed")


def _environment(certificate: dict[str, Any]) -> Iterator[Change]:
    now: dict[str, Any] = {**certificate_file.environment(), "headflow": __version__}
    then = {**certificate["environment"], "headflow": certificate.get("version")}
    for name in dict.fromkeys([*now, *then]):
        if then.get(name) != now.get(name):
            yield Change("environment", name, str(then.get(name)), str(now.get(name)))
