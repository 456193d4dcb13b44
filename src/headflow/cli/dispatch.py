"""The command ``headflow``: from words to a verb, and from what went wrong to an exit code."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Final

from ..errors import HeadflowError, IntegrationError, TrainingError, UnreliableError
from ..numerics.runtime.collector import collect_rarely
from .grammar import parse
from .output import printable
from .signals import ending_signals

DONE, FAILED, BAD_INPUT, INCONCLUSIVE, NOT_COMPUTED, INTERRUPTED = 0, 1, 2, 3, 4, 130
_BY_SIGNAL: Final = 128  # as shells add it

# Verb → the module whose ``run(arguments) -> int`` does it; only that one is imported.
_MODULES = {
    "derive": ".verbs.derive",
    "integrate": ".verbs.integrate",
    "compare": ".verbs.compare",
    "verify": ".verbs.verify",
    "simulate": ".verbs.simulate",
    "reproduce": ".verbs.reproduce",
    "report": ".verbs.report",
    "init": ".verbs.init",
    "cite": ".verbs.cite",
    "cache": ".verbs.cache",
}


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line ``words`` (default: the program's) and return the exit code.

    0 done and every claim that applies holds, 1 a claim fails, 2 bad input, 3 nothing fails but something is
    inconclusive or, by its own error estimate, not reliable, 4 the computation failed, 130 interrupted (143 by SIGTERM,
    129 by SIGHUP).  What went wrong is one sentence on standard error.
    """
    collect_rarely()
    with ending_signals() as received:
        code = _run(words)
    return _BY_SIGNAL + received[0] if received and code == INTERRUPTED else code


def _run(words: Sequence[str] | None) -> int:
    as_before = warnings.formatwarning
    warnings.formatwarning = _warning_line
    try:
        arguments = parse(sys.argv[1:] if words is None else words)
        code: int = import_module(_MODULES[arguments.verb], __package__).run(arguments)
        return code
    except SystemExit as done:  # argparse has printed help or the version
        return done.code if isinstance(done.code, int) else DONE
    except UnreliableError as error:
        return _complain(str(error), INCONCLUSIVE)
    except (IntegrationError, TrainingError) as error:
        return _complain(str(error), NOT_COMPUTED)
    except HeadflowError as error:
        return _complain(str(error), BAD_INPUT)
    except MemoryError:
        return _complain("there is not enough memory for a problem of this size", NOT_COMPUTED)
    except KeyboardInterrupt as error:
        return _complain(str(error) or "interrupted", INTERRUPTED)
    finally:
        warnings.formatwarning = as_before


def _warning_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """A warning as a sentence: the line of the program that it comes from says nothing to a user."""
    return printable(f"headflow: warning: {' '.join(str(message).split())}\n", sys.stderr)


def _complain(sentence: str, code: int) -> int:
    if sys.stderr is not None:
        with suppress(OSError):  # the terminal may have gone
            print(printable(f"headflow: {' '.join(sentence.split())}", sys.stderr), file=sys.stderr)
    return code
