"""Context-length generalisation: weights that are right at L = 40, used at other lengths ([H25]).

[H25] is He, Pan, Chen and Yang, arXiv 2503.12734.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ...theory.context.context_length import context_shift
from ..attention import sampled_risk
from ..comparison.closure_table import closure_losses
from ..optima.bayes import bayes_risk
from ..problem.problem import FloatArray
from ..runtime.progress import steps
from .estimators import one_head, two_heads
from .result import Reproduction, Row
from .zero_sum import pair_problem

TRAINED_AT: Final = 40
LENGTHS: Final = {"small": (20, 40, 80, 160, 320), "paper": (10, 20, 40, 80, 160, 320, 640, 1280)}
SAMPLES: Final = {"small": 6000, "paper": 100_000}
MODELS: Final = {"one head": one_head, "two heads": two_heads}


def context_length(settings: str, progress: bool = False) -> Reproduction:
    """The risk of one head and of the zero-sum pair at lengths they were not made for."""
    lengths = LENGTHS[settings]
    shape = len(MODELS), len(lengths)
    leading, first_order, measured, error = np.full((4, *shape), np.nan)
    table = []
    trained = pair_problem(TRAINED_AT)
    shift = context_shift()
    for row, (name, make) in enumerate(MODELS.items()):
        weights = make(trained)
        for column, length in steps(list(enumerate(lengths)), progress, "reproduce"):
            used = pair_problem(length)
            values, _ = closure_losses(used, weights)
            leading[row, column] = _total(values["leading"])
            first_order[row, column] = _total(values["first_order"])
            risk = sampled_risk(used, weights.mu, weights.omega, n_samples=SAMPLES[settings], seed=0)
            measured[row, column], error[row, column] = risk.value, risk.standard_error
            for closure, found in (("leading", leading), ("first-order", first_order)):
                found_here = float(found[row, column])
                table.append(Row(f"{name} at L′ = {length}, {closure}", found_here, risk.value, risk.standard_error))
    return Reproduction(
        "context-length",
        f"Weights made for L = {TRAINED_AT}, used at L′ ([H25]: d = 5, σ² = .1)",
        settings,
        trained.to_dict(),
        tuple(table),
        {
            "lengths": np.array(lengths),
            "leading": leading,
            "first_order": first_order,
            "measured": measured,
            "error": error,
            "shift": np.array([shift.evaluate(trained, length) for length in lengths]),
            "ridge": np.array([bayes_risk(pair_problem(length)).value for length in lengths]),
        },
        (
            f"Weights of the leading closure at L = {TRAINED_AT}: one head at the task-allocation limit, two at "
            "ω = ±.13 with the best μ. What stays as L′ → ∞ is the shrinkage learned at L: "
            f"{shift.plateau.evaluate(trained):.4g} for one head.",
        ),
    )


def _total(values: FloatArray | None) -> float:
    return float("nan") if values is None else float(values.sum())
