"""The Monte-Carlo risk of softmax attention, with its standard error."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...theory.brief import Brief
from ...theory.errors import InputError
from ..problem.exact import positive_integer
from ..problem.initial import checked_seed
from ..problem.kinds import takes
from ..problem.problem import FloatArray, Problem
from ..runtime.progress import progress_bar
from .backends import Weights, make_backend
from .prompts import EVALUATION
from .weights import AttentionWeights


@dataclass(frozen=True, eq=False, repr=False)
class SampledRisk(Brief):
    """Mean over sampled prompts of the loss with its standard error: summed over tasks, and of each task, (I,).

    ``averaged`` says whether regressors and label noise were averaged exactly, ``backend`` and ``device`` what
    computed it and on what, ``seconds`` the wall time (with JAX's compilation).
    """

    value: float
    standard_error: float
    tasks: FloatArray
    task_errors: FloatArray
    n_samples: int
    seed: int
    averaged: bool
    backend: str
    device: str
    seconds: float

    @property
    def prompts_per_second(self) -> float:
        """Drawn and evaluated."""
        return self.n_samples / self.seconds

    def to_json(self) -> dict[str, Any]:
        """All of it by name, arrays as lists."""
        return {**vars(self), "tasks": self.tasks.tolist(), "task_errors": self.task_errors.tolist()}


class Merged:
    """Mean losses of prompts and their errors, merged block by block: large sums would cancel, and none is kept."""

    def __init__(self, n_tasks: int) -> None:
        self._mean, self._squares, self._done = np.zeros(n_tasks + 1), np.zeros(n_tasks + 1), 0

    def add(self, losses: FloatArray) -> int:
        """Take in the losses (n, I) of n prompts more; gives n."""
        summed = np.column_stack([losses, losses.sum(axis=1)])
        size, centre = len(summed), summed.mean(axis=0)
        shift = centre - self._mean
        self._done += size
        self._mean += shift * (size / self._done)
        squares = ((summed - centre) ** 2).sum(axis=0)
        self._squares += squares + shift**2 * (size * (self._done - size) / self._done)
        return size

    @property
    def finite(self) -> bool:
        """Whether no loss has overflowed."""
        return bool(np.isfinite(self._squares).all())

    def risk(self, seed: int, averaged: bool, backend: str, device: str, began: float) -> SampledRisk:
        """What is found; ``began`` on the performance counter."""
        errors, seconds = np.sqrt(self._squares / (self._done - 1) / self._done), time.perf_counter() - began
        values = float(self._mean[-1]), float(errors[-1]), self._mean[:-1], errors[:-1]
        return SampledRisk(*values, self._done, int(seed), averaged, backend, device, seconds)


def checked_prompts(n_samples: int) -> int:
    """How many prompts to sample, at least 2; raises as `attention_risk`."""
    total = positive_integer("n_samples", n_samples)
    if total < 2:
        raise InputError(f"the number of sampled prompts must be at least 2, got {n_samples}")
    return total


@takes(problem=Problem, weights=AttentionWeights)
def attention_risk(
    problem: Problem,
    weights: AttentionWeights,
    n_samples: int = 20_000,
    seed: int = 0,
    *,
    backend: str = "auto",
    dtype: str = "float64",
    progress: bool = False,
) -> SampledRisk:
    """Monte-Carlo risk ``E Σ_i (ŷ_i − ⟨β_i, x_q⟩)²`` of softmax attention with any weights.

    Queries and the scores of the tokens are sampled; what is left of the tokens given their scores is averaged exactly
    (see `conditional`), which takes L H random numbers a prompt instead of L d_e.  Where no label enters a score and no
    covariate the output, regressors and noise are averaged exactly too; elsewhere regressors are sampled.  Memory is
    bounded by a block of prompts for each thread, and the result does not depend on the number of threads.

    Parameters
    ----------
    problem, weights
        The problem, and weights for it.
    n_samples
        How many prompts to sample, at least 2.
    seed
        Of the prompts, ≥ 0.  The same random numbers come with every call, so that risks of nearly equal weights
        differ by less than their standard errors.
    backend
        "numpy", "jax" (other random numbers than NumPy's), or "auto": JAX where it is installed and has an accelerator.
    dtype
        "float64" or "float32", of the prompts and products; sums are float64.
    progress
        Show a bar on standard error, if that is a terminal (or a notebook) and it takes more than a second.

    Raises `InputTypeError` or `InputError` for what is not allowed.
    """
    weights.check(problem)
    total = checked_prompts(n_samples)
    averaged = weights.labels_average_out
    engine = make_backend(problem, backend, dtype, checked_seed(seed), averaged)
    acting = acting_weights(weights, averaged)
    found = Merged(problem.n_tasks)

    def work(block: int, size: int) -> FloatArray:
        return engine.losses(acting, (EVALUATION, 0, block), size)

    began = time.perf_counter()
    with (
        np.errstate(all="ignore"),
        progress_bar(progress, "sample", total, unit="prompts") as bar,
    ):
        for losses in engine.map(work, total, engine.loss_block):
            bar.update(found.add(losses))
    if not found.finite:
        raise InputError(f"the weights are too large: the loss of some prompt overflows {dtype}")
    return found.risk(seed, averaged, engine.name, engine.device, began)


def acting_weights(weights: AttentionWeights, averaged: bool) -> Weights:
    """The weights that the model takes: without label rows and covariate columns where these are averaged out."""
    read, write = weights.acting
    if not averaged:
        return read, write
    d = sum(weights.dims)
    return read[:, :d], write[:, :, d:]
