"""Owns ``headflow verify``: every registered statement, or those asked for, checked on a problem."""

from __future__ import annotations

from argparse import Namespace

from .output import emit, json_text
from .problem_source import integer, problem_file


def run(arguments: Namespace) -> int:
    """Check, print; the exit code says whether all claims hold (0), one fails (1) or none could (3)."""
    from .numerics.verify import verify

    given, _ = problem_file(arguments, default=True)
    verification = verify(
        given.problem,
        tuple(arguments.claims),
        quick=arguments.quick,
        seed=integer("seed", arguments.draws),
        progress=True,
    )
    emit(json_text(verification.to_json()) if arguments.json else verification.text())
    return verification.exit_code
