"""``headflow reproduce``: a published experiment done again; its table, figures and numbers."""

from __future__ import annotations

import warnings
from argparse import Namespace
from pathlib import Path

from ...errors import ValidityWarning
from ...numerics.runtime.json_object import json_text
from ..folders import check_folder, folder
from ..output import deliver


def run(arguments: Namespace) -> int:
    """Run it, print, save."""
    from ...numerics.reproductions import reproduce

    target = None if arguments.output is None else Path(arguments.output)
    if target is not None:
        check_folder(target, arguments.force)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ValidityWarning)  # closures are shown beyond their range on purpose
        found = reproduce(arguments.name, "paper" if arguments.paper else "small", progress=True)
    text = json_text(found.to_json())

    def save() -> None:
        from ...plot.plotting import on_white
        from ...plot.reproduction_figures import reproduction_figures

        if target is None:
            return
        with folder(target, arguments.force) as stage:
            (stage / f"{found.name}.json").write_text(text, encoding="utf-8")
            for name, svg in reproduction_figures(found).items():
                (stage / f"{name}.svg").write_text(on_white(svg), encoding="utf-8")

    if arguments.json:
        deliver(text, save)
    else:
        deliver(found.text(), save, "" if target is None else f"\nsaved {target}")
    return 0
