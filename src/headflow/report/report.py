"""Owns the report: one problem derived, integrated, compared and verified, and the files that show it."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..cli.output import json_object, json_text
from ..cli.runs import integrated_as_far_as_possible
from ..errors import IntegrationError
from ..numerics.runtime.progress import progress_bar
from ..numerics.runtime.stop import Interrupted
from .exposition import Exposition, exposition
from .summary import answer

if TYPE_CHECKING:
    from ..numerics.comparison.compare import Comparison
    from ..numerics.problem.problem_file import ProblemFile
    from ..numerics.trajectory.trajectory import Trajectory
    from ..numerics.verification.verify import Verification
    from ..theory.flows.system import ReducedSystem


@dataclass(frozen=True)
class Report:
    """What a report shows.

    Attributes
    ----------
    given, source
        The problem file, and what to call it.
    exposition, system
        All derivations and statements; the equations of the flow that was integrated.
    trajectory, stopped
        The flow, and the error that ended it early if one did.
    comparison, verification
        Its losses beside limit, optimum and bounds; the verdicts on all statements.
    figures
        SVG by name.
    """

    given: ProblemFile
    source: str
    exposition: Exposition
    system: ReducedSystem
    trajectory: Trajectory
    stopped: IntegrationError | None
    comparison: Comparison
    verification: Verification
    figures: dict[str, str]

    @property
    def answer(self) -> list[str]:
        """The result in a few sentences."""
        return answer(self.trajectory, self.comparison, self.verification)

    def to_json(self) -> dict[str, Any]:
        """Everything but the formulas and figures."""
        given = self.given
        return json_object(
            given.problem.to_dict(),
            given.closure,
            source=self.source,
            parametrisation=given.parametrisation,
            t_final=given.t_final,
            initial=given.initial.to_dict(),
            answer=self.answer,
            integrate=_without_header(self.trajectory.to_json()),
            compare=_without_header(self.comparison.to_json()),
            verify=_without_header(self.verification.to_json()),
            versions=versions(),
        )

    def write(self, folder: Path) -> None:
        """Put the report's files into a folder."""
        for name, text in self.files().items():
            (folder / name).write_text(text, encoding="utf-8")

    def files(self) -> dict[str, str]:
        """The report's files by name."""
        from ..plot.plotting import on_white
        from .page_sections import report_page

        return {
            "index.html": report_page(self),
            "derivation.tex": self.exposition.latex(),
            "report.json": json_text(self.to_json()),
            **{f"{name}.svg": on_white(svg) for name, svg in self.figures.items()},
        }


@dataclass(frozen=True)
class Unfinished:
    """What there is of a report that was interrupted before it could be made: derivations, and the flow if it began."""

    exposition: Exposition
    trajectory: Trajectory | None = None

    def write(self, folder: Path) -> None:
        """Put ``derivation.tex`` into the folder, and ``trajectory.nc``, which `Trajectory.load` reads."""
        (folder / "derivation.tex").write_text(self.exposition.latex(), encoding="utf-8")
        if self.trajectory is not None:
            self.trajectory.save(folder / "trajectory.nc")


def build(
    given: ProblemFile,
    source: str,
    quick: bool = False,
    progress: bool = False,
    workers: int = 1,
    attention: bool = True,
) -> Report:
    """Do the main job on a problem file.

    Parameters
    ----------
    given, source
        The problem file, and what to call it.
    quick
        Leave out the costly checks.
    progress
        Show bars on standard error, if that is a terminal (or a notebook) and a stage takes more than a second.
    workers
        Processes that verify; see `headflow.verify`.
    attention
        Sample what the real attention loses with the flow's last weights.

    Raises
    ------
    IntegrationError
        Where there is not even a part of a trajectory.
    Interrupted
        On Ctrl-C, a `KeyboardInterrupt`: with a `Report` that lacks verdicts, or what is `Unfinished` before.
    """
    explained: Exposition | None = None
    trajectory: Trajectory | None = None
    try:
        with progress_bar(progress, "derive"):
            from ..theory.flows.flow import gradient_flow

            explained = exposition("all", given.parametrisation, given.closure)
            explained.latex(), explained.html_sections()  # now: after an interruption nobody waits for them
            system = gradient_flow(given.parametrisation, given.closure)
        trajectory, stopped = integrated_as_far_as_possible(given, progress)
        with progress_bar(progress, "compare"):
            from ..numerics.comparison.compare import compare

            comparison = compare(given.problem, trajectory, closure=given.closure, attention=attention)
        with progress_bar(progress, "draw"):
            from .figures import draw

            figures = draw(trajectory, comparison)
        with progress_bar(progress, "load"):
            from ..numerics.verification.verify import Verification, verify
    except KeyboardInterrupt as interrupt:
        from ..numerics.trajectory.trajectory import Trajectory

        begun = interrupt.partial if isinstance(interrupt, Interrupted) else trajectory
        derived = begun if isinstance(begun, Exposition) else explained
        kept = None if derived is None else Unfinished(derived, begun if isinstance(begun, Trajectory) else None)
        raise Interrupted("The report was interrupted.", partial=kept) from interrupt
    parts = (given, source, explained, system, trajectory, stopped, comparison)
    try:
        return Report(*parts, verify(given.problem, quick=quick, progress=progress, workers=workers), figures)
    except Interrupted as interrupt:
        if isinstance(interrupt.partial, Verification):
            interrupt.partial = Report(*parts, interrupt.partial, figures)
        raise


def versions() -> dict[str, str]:
    """What computed this."""
    packages: Sequence[str] = ("sympy", "numpy", "scipy", "mpmath", "matplotlib", "xarray")
    return {
        "headflow": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def _without_header(content: dict[str, Any]) -> dict[str, Any]:
    """A JSON object without what the report says once for all."""
    header = json_object(None, None)
    return {name: value for name, value in content.items() if name not in header}
