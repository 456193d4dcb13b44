"""Owns ``headflow report``: the main job, its files and what it says at the end."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from .folders import check_folder, folder
from .output import emit, json_text
from .problem_source import problem_file


def run(arguments: Namespace) -> int:
    """Build the report, put its files in place, print the answer.

    The exit code is that of ``verify``, or 4 if the integration ended early, or 3 if it is not reliable and no claim
    fails.
    """
    from .numerics.cores import usable_cores
    from .numerics.verify import EXIT_CODES
    from .report import build

    given, source = problem_file(arguments, default=True)
    target = Path(arguments.output)
    check_folder(target, arguments.force)
    report = build(given, source, arguments.quick, progress=True, workers=usable_cores(), attention=arguments.attention)
    files = report.files()
    with folder(target, arguments.force) as stage:
        for name, text in files.items():
            (stage / name).write_text(text, encoding="utf-8")
    if arguments.json:
        emit(json_text({**report.to_json(), "folder": str(target)}))
    else:
        emit("\n".join([f"Problem: {source}", "", *report.answer, "", f"Report: {target / 'index.html'}"]))
    if report.stopped is not None:
        raise report.stopped
    code = report.verification.exit_code
    if code != EXIT_CODES["fails"]:
        report.trajectory.ensure_reliable()
    return code
