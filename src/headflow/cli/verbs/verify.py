"""``headflow verify``: every registered statement, or those asked for, checked on a problem."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from ...errors import InputError, NotWrittenError
from ...numerics.runtime.helpers import helpers
from ...numerics.runtime.json_object import json_text
from ...numerics.runtime.progress import progress_bar
from ..output import check_file, emit
from ..problem_source import integer, problem_file


def run(arguments: Namespace) -> int:
    """Check, print; the exit code says whether all claims hold (0), one fails (1) or none could (3)."""
    if arguments.recheck is not None:
        return _recheck(arguments)
    if arguments.resume and arguments.certificate is None:
        raise InputError("--resume needs --certificate FILE")
    if arguments.certificate is not None:
        check_file(Path(arguments.certificate), arguments.force or arguments.resume)
    if files := [claim for claim in arguments.claims if claim.endswith(".toml")]:
        raise InputError(f"{files[0]} is no claim; for the problem of that file use --problem {files[0]}")
    given, _ = problem_file(arguments, default=True)
    workers = _workers(arguments)
    # All statements: the helpers import while this process does.
    with helpers(max(workers - 1, 0) if not arguments.claims else 0, "headflow.numerics.verification.verify") as pool:
        with progress_bar(True, "load"):
            from ...numerics.runtime.stop import Interrupted
            from ...numerics.verification.verify import verify

        try:
            verification = verify(
                given.problem,
                tuple(arguments.claims),
                quick=arguments.quick,
                seed=integer("seed", arguments.draws),
                progress=True,
                workers=workers,
                certificate=arguments.certificate,
                resume=arguments.resume and not arguments.force,
                digits=integer("digits", arguments.digits),
                explore=arguments.explore,
                pool=pool,
            )
        except (Interrupted, NotWrittenError) as stopped:
            _deliver(stopped.partial, arguments)
            raise
    _deliver(verification, arguments)
    return verification.exit_code


def _deliver(verification: object, arguments: Namespace) -> None:
    from ...numerics.verification.verify import Verification

    assert isinstance(verification, Verification)
    as_json = arguments.json or arguments.format == "json"
    emit(json_text(verification.to_json()) if as_json else verification.table(arguments.format))


def _recheck(arguments: Namespace) -> int:
    """Check a certificate again; nothing else may be asked for."""
    from ...numerics.runtime.stop import Interrupted
    from ...numerics.verification.recheck import recheck

    other = [*arguments.claims, arguments.certificate, arguments.problem, arguments.dims]
    if any(other) or arguments.quick or arguments.resume or arguments.explore:
        raise InputError(
            "--recheck takes problem, claims, seed, --quick and --explore from the certificate: give none of them"
        )
    try:
        found = recheck(Path(arguments.recheck), workers=_workers(arguments), progress=True)
    except Interrupted as interrupted:
        _deliver(interrupted.partial, arguments)
        raise
    emit(json_text(found.to_json()) if arguments.json or arguments.format == "json" else found.text())
    return found.exit_code


def _workers(arguments: Namespace) -> int:
    if arguments.workers is not None:
        return integer("workers", arguments.workers)
    from ...numerics.runtime.cores import usable_cores

    return usable_cores()
