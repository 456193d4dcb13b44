"""What every JSON object of the package starts with, and that JSON holds no number that it does not have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from ..._version import __version__

SCHEMA: Final = 1


def json_object(problem: Mapping[str, Any] | None, closure: str | None, **content: Any) -> dict[str, Any]:
    """``content`` behind the schema, the version, the problem and the closure."""
    return {"schema": SCHEMA, "version": __version__, "problem": problem, "closure": closure, **content}


def json_text(content: Mapping[str, Any]) -> str:
    """``content`` as JSON; a number that JSON does not have is an error of the program."""
    return json.dumps(content, indent=2, allow_nan=False) + "\n"
