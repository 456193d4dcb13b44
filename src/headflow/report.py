"""Owns the report: one problem derived, integrated, compared and verified, and the files that show it."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NoReturn

from . import __version__
from .errors import IntegrationError
from .exposition import Exposition, exposition
from .output import json_object, json_text
from .runs import integrated_as_far_as_possible
from .summary import answer

if TYPE_CHECKING:
    from tqdm import tqdm

    from .numerics.compare import Comparison
    from .numerics.problem_file import ProblemFile
    from .numerics.trajectory import Trajectory
    from .numerics.verify import Verification
    from .theory.system import ReducedSystem


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

    def files(self) -> dict[str, str]:
        """The report's files by name."""
        from .plotting import on_white
        from .report_page import report_page

        return {
            "index.html": report_page(self),
            "derivation.tex": self.exposition.latex(),
            "report.json": json_text(self.to_json()),
            **{f"{name}.svg": on_white(svg) for name, svg in self.figures.items()},
        }


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
        Show a bar on standard error, if that is a terminal and it takes more than two seconds.
    workers
        Processes that verify; see `headflow.verify`.
    attention
        Sample what the real attention loses with the flow's last weights.

    Raises ``IntegrationError`` where there is not even a part of a trajectory.
    """
    from tqdm import tqdm

    with tqdm(total=5, delay=2, leave=False, disable=None if progress else True, unit="stage") as bar:
        bar.set_description_str("derive", refresh=False)
        from .theory.flow import gradient_flow

        explained = exposition("all", given.parametrisation, given.closure)
        system = gradient_flow(given.parametrisation, given.closure)
        _next(bar, "integrate")
        trajectory, stopped = integrated_as_far_as_possible(given, progress)
        _next(bar, "compare")
        from .numerics.compare import compare

        comparison = compare(given.problem, trajectory, closure=given.closure, attention=attention)
        _next(bar, "verify")
        from .numerics.verify import verify

        verification = verify(given.problem, quick=quick, progress=progress, workers=workers)
        _next(bar, "draw")
        from .report_figures import draw

        figures = draw(trajectory, comparison)
    return Report(given, source, explained, system, trajectory, stopped, comparison, verification, figures)


def _next(bar: tqdm[NoReturn], stage: str) -> None:
    bar.set_description_str(stage, refresh=False)
    bar.update()


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
