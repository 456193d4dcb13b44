"""``headflow derive``: formulas and statements, with every step, in the format asked for."""

from __future__ import annotations

from argparse import Namespace

from ...numerics.runtime.json_object import json_object, json_text
from ...numerics.runtime.progress import progress_bar
from ...numerics.runtime.stop import Interrupted
from ...report.exposition import Exposition, exposition
from ..output import emit


def run(arguments: Namespace) -> int:
    """Print; the exit code is 0.  On Ctrl-C what was derived until then is printed."""
    try:
        with progress_bar(True, "derive"):
            found = exposition(arguments.topic, arguments.parametrisation, arguments.closure, arguments.convention)
    except Interrupted as interrupted:
        if isinstance(interrupted.partial, Exposition):
            _deliver(interrupted.partial, arguments)
        raise
    _deliver(found, arguments)
    return 0


def _deliver(found: Exposition, arguments: Namespace) -> None:
    if arguments.json:
        chosen = {"parametrisation": arguments.parametrisation, "topic": arguments.topic}
        chosen["convention"] = found.convention
        emit(json_text(json_object(None, arguments.closure, **chosen, **found.to_json())))
    else:
        emit(getattr(found, arguments.format)())
