"""``headflow report``: the main job, its files and what it says at the end."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from ...numerics.runtime.json_object import json_text
from ..folders import check_folder, folder
from ..output import deliver
from ..problem_source import problem_file

if TYPE_CHECKING:
    from ...report.report import Report


def run(arguments: Namespace) -> int:
    """Build the report, put its files in place, print the answer.

    The exit code is that of ``verify``, or 4 if the integration ended early, or 3 if it is not reliable and no claim
    fails.
    """
    from ...numerics.runtime.cores import usable_cores
    from ...numerics.runtime.stop import Interrupted
    from ...report.report import Report, Unfinished, build

    given, source = problem_file(arguments, default=True)
    target = Path(arguments.output)
    check_folder(target, arguments.force)
    try:
        report = build(
            given, source, arguments.quick, progress=True, workers=usable_cores(), attention=arguments.attention
        )
    except Interrupted as interrupted:
        kept = _beside(target)
        if isinstance(interrupted.partial, Report):
            _deliver(interrupted.partial, kept, arguments.force or kept != target, arguments.json)
        elif isinstance(interrupted.partial, Unfinished):
            with folder(kept, force=True) as stage:
                interrupted.partial.write(stage)
                names = sorted(path.name for path in stage.iterdir())
            interrupted.remedy = f"Kept in {kept}: {', '.join(names)}."
        raise
    _deliver(report, target, arguments.force, arguments.json)
    if report.stopped is not None:
        raise report.stopped
    from ...numerics.verification.verify import EXIT_CODES

    code = report.verification.exit_code
    if code != EXIT_CODES["fails"]:
        report.trajectory.ensure_reliable()
    return code


def _deliver(report: Report, target: Path, force: bool, as_json: bool) -> None:
    def save() -> None:
        with folder(target, force) as stage:
            report.write(stage)

    if as_json:
        deliver(json_text({**report.to_json(), "folder": str(target)}), save)
    else:
        lines = [f"Problem: {report.source}", "", *report.answer]
        deliver("\n".join(lines), save, f"\n\nReport: {target / 'index.html'}")


def _beside(target: Path) -> Path:
    """Where an interrupted report goes: a finished one is not replaced by it."""
    empty = not target.is_dir() or not any(target.iterdir())
    place = target if target.name else target.absolute()
    return target if empty else place.with_name(f"{place.name}-interrupted")
