"""What a report shows: one problem derived, integrated, compared and verified."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..errors import IntegrationError
from ..numerics.runtime.json_object import json_object
from .exposition import Exposition
from .summary import answer

if TYPE_CHECKING:
    from ..numerics.comparison.compare import Comparison
    from ..numerics.problem.problem_file import ProblemFile
    from ..numerics.trajectory.trajectory import Trajectory
    from ..numerics.verification.verify import Verification
    from ..theory.flows.system import ReducedSystem


@dataclass(frozen=True)
class Contents:
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
