"""[Z25]'s staircase: linear attention from small weights learns one coordinate after the other.

[Z25] is Zhang, Singh, Latham and Saxe, arXiv 2501.16265.  The flow of the exact loss is integrated; nothing is sampled.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ..predictions.staircase import compare_staircase
from ..problem.covariates import CovariateProblem
from .result import Reproduction, Row

VARIANCES: Final = {"small": (4, 2, 1), "paper": (8, 4, 2, 1)}
SCALE: Final = {"small": 1e-2, "paper": 1e-3}


def staircase(settings: str, _progress: bool = False) -> Reproduction:
    """Split weights, as many heads as coordinates: one drop per coordinate, at predicted times and losses."""
    variances = VARIANCES[settings]
    problem = CovariateProblem(
        variances, [1] * len(variances), noise_variance=0.1, context_length=60, n_heads=len(variances)
    )
    found = compare_staircase(problem, SCALE[settings], "split")
    error = found.error_estimate
    table = [Row("number of drops", len(found.predicted_times), len(found.measured))]
    for at, (time, drop) in enumerate(zip(found.predicted_times, found.measured, strict=False)):
        table += [
            Row(f"time of drop {at + 1}", time, drop.time),
            Row(f"loss after drop {at + 1}", found.predicted_losses[at + 1], drop.after, error),
        ]
    table.append(Row("final loss, optimum of H = D heads", found.predicted_losses[-1], found.final_loss, error))
    run = found.run
    # A_a = Σ_h v k_a q_a, relative to its final value: which coordinate is learned when.
    learned = np.einsum("th,tah,tah->ta", run.states["v"], run.states["k"], run.states["q"])
    return Reproduction(
        "staircase",
        f"Linear attention learns coordinate by coordinate ([Z25]): Λ = {variances}, scale {SCALE[settings]:g}",
        settings,
        problem.to_dict(),
        tuple(table),
        {
            "t": run.t.copy(),
            "loss": run.loss.copy(),
            "learned": learned / learned[-1],
            "predicted_times": np.array([np.nan if time is None else time for time in found.predicted_times]),
            "predicted_losses": np.array(found.predicted_losses),
        },
        (
            "The exact flow of linear attention from random split weights; the error is that of its integration. "
            "Predicted times come from the small-weight flow of each head, losses from the closed form.",
        ),
    )
