"""``headflow init``: a commented problem file to start from."""

from __future__ import annotations

from argparse import Namespace

from ...numerics.runtime.json_object import json_object, json_text
from ...shipped import default_problem
from ..output import emit


def run(arguments: Namespace) -> int:
    """Print the shipped problem file; the exit code is 0."""
    text = default_problem().read_text(encoding="utf-8")
    if arguments.json:
        from ...numerics.problem.problem_file import ProblemFile

        given = ProblemFile.parse(text)
        emit(json_text(json_object(given.problem.to_dict(), given.closure, toml=text)))
    else:
        emit(text)
    return 0
