"""The grammar of the command line: verbs, their options, and one sentence for what does not fit."""

from __future__ import annotations

import re
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Collection, Sequence
from typing import Any, NoReturn

from .. import __version__
from ..errors import InputError
from ..theory.choices import CLOSURES, PARAMETRISATIONS, unknown
from .output import printable

VERBS = {
    "derive": "derive formulas and print them with every step",
    "integrate": "integrate the gradient flow of a problem",
    "compare": "compare the flow's loss with limit, optimum and bounds",
    "verify": "check the theorems numerically",
    "simulate": "sample the risk or the gradient of the real softmax attention, or train it beside the flow",
    "reproduce": "run a published experiment again: predicted and measured in a table and figures",
    "report": "the main job: derive, integrate, compare, verify; figures, HTML, LaTeX",
    "init": "print a commented problem file",
    "cite": "print how to cite headflow",
    "cache": "show where derived flows and compiled code are kept on disk, and how large they are",
}
TOPICS = ("loss", "flow", "limit", "optimum", "phases", "statements", "all")
CONVENTIONS = ("half", "noisy_target", "unit_covariance")
REPRODUCTIONS = (
    "allocation",
    "single-task",
    "zero-sum-pair",
    "estimators",
    "context-length",
    "staircase",
    "closures",
)
OPTIMISERS = ("sgd", "momentum", "adam")
DTYPES = ("float64", "float32")
BACKENDS = ("auto", "numpy", "jax")
STARTS = ("structured", "factors", "gaussian", "identity", "opposite", "random")
TABLES = ("text", "json", "latex", "markdown")
FORMATS = ("text", "latex", "markdown", "html")
REPORT_FOLDER = "headflow-report"

_CODES = """exit codes:
  0 done and every claim that applies holds   1 a claim fails   2 bad input
  3 nothing fails but something is inconclusive
  4 the computation failed       130 interrupted"""


_STARTS = """starts, of full weight matrices (s = --scale, --seed draws the random ones; structured, identity and
opposite train other weights with another --parametrisation, from the same eigenvalues):
  structured   each head favours a task: mu = 2 s on it and s off it, omega = s     K, Q, V, O trained
  factors      the same in factors: K = Q = s Id, V = O^T = 2 s and s               K, Q, V, O trained
  gaussian     factors, with K and Q of every head times a normal number of its own K, Q, V, O trained
  identity     W = s Id and U = s Id on the labels, in every head                   W, U trained
  opposite     identity with the sign of every other head turned                    W, U trained
  random       every entry of W and U that acts is normal, of standard deviation s  W, U trained"""


class _Parser(ArgumentParser):
    """An argument parser whose complaints are `InputError`s."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=RawDescriptionHelpFormatter, **settings)

    def _print_message(self, message: str, file: Any = None) -> None:
        """Help and version, as the terminal's encoding can show them."""
        super()._print_message(printable(message, file or sys.stderr), file)

    def error(self, message: str) -> NoReturn:
        raise InputError(message.removeprefix("argument "))


def parse(words: Sequence[str]) -> Namespace:
    """The command line as a namespace, with ``verb``.

    Raises
    ------
    InputError
        With one sentence, for whatever the grammar does not know; near words are suggested.
    SystemExit
        After ``--help`` and ``--version``, which print.
    """
    parser, verbs = _parsers()
    verb = next((word for word in words if not word.startswith("-")), None)
    if verb is not None and verb not in VERBS:
        raise InputError(unknown("verb", verb, tuple(VERBS)))
    if verb is None and not {"-h", "--help", "--version"} & set(words):
        raise InputError(f"say what to do: {', '.join(VERBS)} (headflow --help explains them)")
    arguments, rest = parser.parse_known_args(_joined(words))
    if rest:
        raise _unrecognised(rest[0], verbs[arguments.verb])
    return arguments


def _joined(words: Sequence[str]) -> list[str]:
    """``--dims -1,10`` as ``--dims=-1,10``: argparse would take the value for an option."""
    joined: list[str] = []
    for word in words:
        after_option = joined and joined[-1].startswith("--") and "=" not in joined[-1]
        if after_option and re.match(r"-[\d.]|-inf|-nan", word):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _unrecognised(word: str, verb: ArgumentParser) -> InputError:
    option = word.partition("=")[0]
    if not option.startswith("-"):
        return InputError(f"{verb.prog} takes no further argument, got {word!r}")
    options = re.findall(r"--[a-z-]+|-[a-gi-z]\b", verb.format_usage())
    if option in options:
        return InputError(f"{option} must come after {verb.prog}")
    return InputError(unknown("option", option, options))


def _parsers() -> tuple[ArgumentParser, dict[str, ArgumentParser]]:
    """The whole grammar, and the part of each verb."""
    parser = _Parser(
        prog="headflow",
        description="Derive, integrate and check the training dynamics of multi-head softmax attention.",
        epilog=_CODES,
    )
    parser.add_argument("--version", action="version", version=f"headflow {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    added: dict[str, ArgumentParser] = {}
    for verb, help_text in VERBS.items():
        added[verb] = verbs.add_parser(verb, help=help_text, description=f"{help_text[0].upper()}{help_text[1:]}.")
        added[verb].add_argument("--json", action="store_true", help="print complete JSON and nothing else")
    _derive(added["derive"])
    _integrate(added["integrate"])
    _compare(added["compare"])
    _verify(added["verify"])
    _simulate(added["simulate"])
    _reproduce(added["reproduce"])
    _report(added["report"])
    added["cache"].add_argument("--clear", action="store_true", help="remove all of it; it is made again when needed")
    return parser, added


def _derive(parser: ArgumentParser) -> None:
    topic = _one_of("topic", TOPICS)
    parser.add_argument("topic", nargs="?", default="all", type=topic, metavar="TOPIC", help=_list(TOPICS))
    _add_parametrisation(parser, default="balanced")
    _add_closure(parser, default="leading")
    parser.add_argument(
        "--convention",
        default=(),
        type=_some_of("convention", CONVENTIONS),
        metavar="W1,W2,…",
        help=f"{', '.join(CONVENTIONS)}: loss, flow, limit and optimum in another convention",
    )
    parser.add_argument(
        "--format", default="text", type=_one_of("format", FORMATS), metavar="FORMAT", help=_list(FORMATS)
    )


def _integrate(parser: ArgumentParser) -> None:
    _add_problem(parser)
    _add_parametrisation(parser)
    _add_closure(parser)
    _add_run(parser)
    _add_attention(parser)
    parser.add_argument("--times", metavar="T1,T2,…", help="times at which to give the state too")
    parser.add_argument("-o", dest="output", metavar="FILE", help="save the trajectory (NetCDF)")
    _add_force(parser)


def _compare(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--weights",
        action="store_true",
        help="instead: the loss of the initial weights in every closure, beside the sampled attention",
    )
    parser.add_argument("--samples", metavar="N", help="prompts to sample with --weights; default 20000")
    _add_attention(parser)
    _add_problem(parser)
    _add_parametrisation(parser)
    _add_closure(parser)
    _add_run(parser)


def _verify(parser: ArgumentParser) -> None:
    parser.add_argument("claims", nargs="*", metavar="CLAIM", help="ids of statements; default: all of them")
    parser.add_argument("--quick", action="store_true", help="leave out the costly checks")
    explore = "measure too what becomes of the claims without one of their hypotheses: counterexamples"
    parser.add_argument("--explore", action="store_true", help=explore)
    parser.add_argument("--workers", metavar="N", help="processes; default: one per core that may be used")
    parser.add_argument("--format", default="text", type=_one_of("format", TABLES), metavar="F", help=_list(TABLES))
    group = parser.add_argument_group("certificate")
    group.add_argument("--certificate", metavar="FILE", help="write versions, inputs and verdicts after each statement")
    group.add_argument("--resume", action="store_true", help="go on with a certificate that was begun")
    group.add_argument("--recheck", metavar="FILE", help="check a certificate again and tell what changed")
    _add_force(parser)
    _add_problem(parser, positional=False)
    parser.add_argument("--seed", dest="draws", metavar="S", default="0", help="of the checks' random draws; default 0")
    parser.add_argument("--digits", metavar="D", default="50", help="of high-precision evidence; default 50")


def _simulate(parser: ArgumentParser) -> None:
    _add_problem(parser)
    _add_parametrisation(parser)
    _add_closure(parser)
    _add_run(parser)
    start = parser.add_argument_group("start, instead of the problem's")
    start.add_argument("--start", type=_one_of("start", STARTS), metavar="START", help=_list(STARTS))
    start.add_argument("--scale", metavar="X", help="of that start; default L^(-3/4) for the first three, else 0.01")
    parser.add_argument("--gradient", action="store_true", help="of the risk at the start, reduced and sampled")
    parser.add_argument("--samples", metavar="N", help="prompts for the risk or gradient of the start; default 20000")
    parser.add_argument("--draws", metavar="S", default="0", help="seed of the prompts; default 0")
    parser.epilog = _STARTS
    training = parser.add_argument_group("training")
    train = "train, and lay the reduced flow over it; without --t-final to t = 100 at most"
    training.add_argument("--train", action="store_true", help=train)
    training.add_argument("--rate", metavar="R", help="learning rate, default 0.05; or a schedule STEP:R,STEP:R,…")
    training.add_argument("--batch", metavar="N", help="prompts per step; default 512")
    training.add_argument("--optimiser", type=_one_of("optimiser", OPTIMISERS), metavar="O", help=_list(OPTIMISERS))
    training.add_argument("--averaged", action="store_true", help="average regressors and noise of prompts exactly")
    training.add_argument("--dtype", type=_one_of("dtype", DTYPES), metavar="T", help=_list(DTYPES))
    training.add_argument("--backend", type=_one_of("backend", BACKENDS), metavar="B", help=_list(BACKENDS))
    training.add_argument("--checkpoint", metavar="FILE", help="keep the state there; go on from it if it exists")
    training.add_argument("-o", dest="output", metavar="DIR", help="save the figure and the records")
    _add_force(parser)


def _reproduce(parser: ArgumentParser) -> None:
    kind = _one_of("reproduction", REPRODUCTIONS)
    parser.add_argument("name", type=kind, metavar="NAME", help=_list(REPRODUCTIONS))
    parser.add_argument("--paper", action="store_true", help="the published size: minutes, not seconds")
    parser.add_argument("-o", dest="output", metavar="DIR", help="save the figures and the numbers")
    _add_force(parser)


def _report(parser: ArgumentParser) -> None:
    _add_problem(parser)
    _add_parametrisation(parser)
    _add_closure(parser)
    _add_run(parser)
    _add_attention(parser)
    parser.add_argument("--quick", action="store_true", help="leave out the costly checks")
    parser.add_argument("-o", dest="output", metavar="DIR", default=REPORT_FOLDER, help=f"default: {REPORT_FOLDER}")
    _add_force(parser)


def _add_problem(parser: ArgumentParser, positional: bool = True) -> None:
    group = parser.add_argument_group("problem: a file, or all five numbers")
    name = "problem" if positional else "--problem"
    count: dict[str, str] = {"nargs": "?"} if positional else {}
    group.add_argument(name, metavar="PROBLEM", help="TOML file, or - for standard input", **count)  # type: ignore[arg-type]
    group.add_argument("--dims", metavar="D1,D2,…", help="coordinates of each task")
    group.add_argument("--signal", metavar="S1,S2,…", help="signal power of each task")
    group.add_argument("--noise", metavar="V", help="noise variance")
    group.add_argument("--context", metavar="L", help="context length")
    group.add_argument("--heads", metavar="H", help="number of heads")


def _add_run(parser: ArgumentParser) -> None:
    parser.add_argument("--t-final", metavar="T", help="how long to integrate (learning rate × steps)")
    parser.add_argument("--seed", metavar="S", help="draw the random start anew with this seed")
    parser.add_argument("--imbalance", metavar="D[,G]", help="of a split start: o² − v², and k² − q² if it is another")


def _add_parametrisation(parser: ArgumentParser, default: str | None = None) -> None:
    kind = _one_of("parametrisation", PARAMETRISATIONS)
    parser.add_argument("--parametrisation", default=default, type=kind, metavar="P", help=_list(PARAMETRISATIONS))


def _add_closure(parser: ArgumentParser, default: str | None = None) -> None:
    kind = _one_of("closure", CLOSURES)
    parser.add_argument("--closure", default=default, type=kind, metavar="C", help=_list(CLOSURES))


def _add_attention(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--no-attention",
        dest="attention",
        action="store_false",
        help="do not sample what the real attention loses with the flow's last weights",
    )


def _add_force(parser: ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="overwrite what exists")


def _list(words: Collection[str]) -> str:
    return " | ".join(words)


def _one_of(kind: str, allowed: Collection[str]) -> Callable[[str], str]:
    def checked(word: str) -> str:
        if word not in allowed:
            raise ArgumentTypeError(unknown(kind, word, allowed))
        return word

    return checked


def _some_of(kind: str, allowed: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    one = _one_of(kind, allowed)
    return lambda words: tuple(one(word.strip()) for word in words.split(","))
