"""Owns ``headflow reproduce``: a published experiment done again; its table, figures and numbers."""

from __future__ import annotations

import warnings
from argparse import Namespace
from pathlib import Path

from .errors import ValidityWarning
from .folders import check_folder, folder
from .output import emit, json_text


def run(arguments: Namespace) -> int:
    """Run it, print, save."""
    from .numerics.reproductions import reproduce

    target = None if arguments.output is None else Path(arguments.output)
    if target is not None:
        check_folder(target, arguments.force)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ValidityWarning)  # closures are shown beyond their range on purpose
        found = reproduce(arguments.name, "paper" if arguments.paper else "small", progress=True)
    text = json_text(found.to_json())
    if target is not None:
        from .plotting import on_white
        from .reproduction_figures import reproduction_figures

        with folder(target, arguments.force) as stage:
            (stage / f"{found.name}.json").write_text(text, encoding="utf-8")
            for name, svg in reproduction_figures(found).items():
                (stage / f"{name}.svg").write_text(on_white(svg), encoding="utf-8")
    if arguments.json:
        emit(text)
    else:
        emit(found.text() + (f"\nsaved {target}" if target is not None else ""))
    return 0
