"""The report: one problem derived, integrated, compared and verified, and the files that show it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..numerics.runtime.json_object import json_text
from ..numerics.runtime.progress import progress_bar
from ..numerics.runtime.stop import Interrupted
from ..plot.plotting import on_white
from .contents import Contents
from .exposition import Exposition, exposition
from .page_sections import report_page
from .runs import integrated_as_far_as_possible

if TYPE_CHECKING:
    from ..numerics.problem.problem_file import ProblemFile
    from ..numerics.trajectory.trajectory import Trajectory


class Report(Contents):
    """A report with its files."""

    def write(self, folder: Path) -> None:
        """Put the report's files into a folder."""
        for name, text in self.files().items():
            (folder / name).write_text(text, encoding="utf-8")

    def files(self) -> dict[str, str]:
        """The report's files by name."""
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

            explained = exposition("all", given.parametrisation, given.closure, in_latex=True)
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
