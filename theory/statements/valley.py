"""The statements about the merged flow's valleys and its start."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..derivation import Derivation
from ..hypothesis import ONE_TASK, SEVERAL_HEADS, Hypothesis, equal_tasks
from ..merged.line_valley import line_valley
from ..merged.merged_start import merged_start
from ..merged.pair_valley import pair_valley
from ..merged.power_law import ValleyLaws
from ..merged.valley import PAIRED_HEADS, UNPAIRED_HEADS, pairs_valley, simplex_valley
from ..merged.valley_order import merged_valley_order
from ..printing import Equation
from ..statement import DERIVED, LEADING, Statement

MERGED = "U and W are trained themselves (merged flow)"
EQUAL = equal_tasks("equal tasks")


def _order() -> Statement:
    valley = merged_valley_order()
    labels = ("order of a state", "directions in use", "order of the valley", "powers of time")
    return Statement(
        "merged-valley",
        "No minimiser: the merged flow creeps down a valley",
        (LEADING, MERGED, SEVERAL_HEADS, "heads that differ", "the shape of the heads has come to rest, t → ∞"),
        _formulas(valley.derivation, *labels),
        DERIVED,
        valley.derivation,
    )


def _of_equal(name: str, title: str, laws: ValleyLaws, hypotheses: tuple[str | Hypothesis, ...]) -> Statement:
    return Statement(
        name,
        title,
        (LEADING, MERGED, *hypotheses, "t → ∞"),
        tuple(laws.lines),
        DERIVED,
        laws.derivation,
    )


def _pairs() -> Statement:
    hypotheses = (EQUAL, PAIRED_HEADS, "heads come to pairs ±ω along orthogonal directions")
    return _of_equal("merged-valley-pairs", "Valley of paired heads", pairs_valley(), hypotheses)


def _simplex() -> Statement:
    hypotheses = (EQUAL, UNPAIRED_HEADS, "heads come to the corners of a regular simplex")
    return _of_equal("merged-valley-simplex", "Valley of unpaired heads", simplex_valley(), hypotheses)


def _one_task() -> Statement:
    line, pair = line_valley(), pair_valley()
    of_line = ("heads at rest on a line", "groups of heads rest")
    of_shape = ("coefficient of a shape on a line", "laws of the valleys of one task")
    of_pair = ("slow flow near zero", "across the manifold", "across the manifold, omega")
    claim = (
        *_formulas(line.derivation, *of_line, *of_shape),
        *_formulas(pair.derivation, *of_pair),
    )
    return Statement(
        "merged-valley-one-task",
        "Valleys of one task",
        (LEADING, MERGED, ONE_TASK, SEVERAL_HEADS, "heads end at p places, the μ of each of one sign", "t → ∞"),
        claim,
        DERIVED,
        pair.derivation + line.derivation,
    )


def _formulas(derivation: Derivation, *labels: str) -> tuple[Equation, ...]:
    return tuple(line for label in labels for line in derivation[label].formula)


def _start() -> Statement:
    start = merged_start()
    labels = ("amplitude of a mode", "balance of the modes", "which mode leads")
    claim = _formulas(start.derivation, *labels)
    return Statement(
        "merged-race",
        "Which mode leads the merged flow out of zero",
        (LEADING, MERGED, SEVERAL_HEADS, "small μ and ω", "T_0 is meant up to a term of order one"),
        claim,
        DERIVED,
        start.derivation,
    )


def _emergence() -> Statement:
    start = merged_start()
    labels = ("long context", "rising and falling halves", "progress", "emergence at long context")
    claim = _formulas(start.derivation, *labels)
    return Statement(
        "merged-emergence",
        "Emergence time of the merged flow at long context",
        (LEADING, MERGED, "L → ∞", "small μ and ω", "half of the loss of task i is gone at T_0"),
        claim,
        DERIVED,
        start.derivation,
    )


VALLEY_BUILDERS: Mapping[str, Callable[[], Statement]] = {
    "merged-valley": _order,
    "merged-valley-pairs": _pairs,
    "merged-valley-simplex": _simplex,
    "merged-valley-one-task": _one_task,
    "merged-race": _start,
    "merged-emergence": _emergence,
}
