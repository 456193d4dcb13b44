"""Owns ``headflow derive``: formulas and statements, with every step, in the format asked for."""

from __future__ import annotations

from argparse import Namespace

from ...numerics.runtime.progress import progress_bar
from ...report.exposition import exposition
from ..output import emit, json_object, json_text


def run(arguments: Namespace) -> int:
    """Print; the exit code is 0."""
    topic, parametrisation, closure = arguments.topic, arguments.parametrisation, arguments.closure
    with progress_bar(True, "derive"):
        found = exposition(topic, parametrisation, closure, arguments.convention)
    if arguments.json:
        chosen = {"parametrisation": parametrisation, "topic": topic, "convention": found.convention}
        emit(json_text(json_object(None, closure, **chosen, **found.to_json())))
    else:
        emit(getattr(found, arguments.format)())
    return 0
