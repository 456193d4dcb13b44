"""Monte-Carlo estimates of the population gradient, with standard errors: is the reduced gradient the real one?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from ...theory.brief import Brief
from ...theory.errors import InputError
from ..problem.exact import positive_integer
from ..problem.initial import checked_seed
from ..problem.kinds import takes
from ..problem.problem import FloatArray, Problem
from ..runtime.progress import progress_bar
from .backends import make_backend
from .prompts import EVALUATION
from .risk import acting_weights
from .weights import AttentionWeights, frame_of

_GROUPS: Final = 100  # of prompts; the mean gradient of a group is one observation
_MOST_NUMBERS: Final = 2**28  # in all observations of one kind: 2 GB


@dataclass(frozen=True, eq=False, repr=False)
class PopulationGradient(Brief):
    """The gradient of the risk (without ½) in every entry of the weights, as a mean over prompts.

    Attributes
    ----------
    weights
        Where it was taken.
    parts, errors
        Gradients in W and U, or in K, Q, V and O, each (H, d_e, d_e), and their standard errors, from the spread
        between groups of prompts.
    groups
        Gradients in W and U of every group of prompts, each (groups, H, d_e, d_e): the observations.
    n_samples, seed, averaged, backend
        How it was estimated; ``averaged`` if regressors and noise were averaged exactly.
    """

    weights: AttentionWeights
    parts: tuple[FloatArray, ...]
    errors: tuple[FloatArray, ...]
    groups: tuple[FloatArray, FloatArray]
    n_samples: int
    seed: int
    averaged: bool
    backend: str

    def spectral(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """``∂𝓛/∂μ_i^h`` and ``∂𝓛/∂ω_i^h`` with their standard errors, each (I, H).

        That in ω_i moves all coordinates of task i: the trace of the task's block, whatever Φ inside it.
        """
        dims = self.weights.dims
        d = sum(dims)
        by_read, by_write = self.groups
        diagonal = np.diagonal(by_read, axis1=2, axis2=3)[:, :, :d]
        owner = np.repeat(np.arange(len(dims)), dims)
        by_omega = diagonal @ (owner[:, None] == np.arange(len(dims)))  # (groups, H, I)
        by_mu = np.diagonal(by_write, axis1=2, axis2=3)[:, :, d:]
        mu, mu_error = _mean(np.swapaxes(by_mu, 1, 2))
        omega, omega_error = _mean(np.swapaxes(by_omega, 1, 2))
        return mu, omega, mu_error, omega_error

    def off_diagonal(self, rotation: ArrayLike | None = None) -> tuple[FloatArray, FloatArray]:
        """Gradients in the entries of W and U that decomposability sets to zero, and their standard errors.

        In the frame of Φ = ``rotation`` (d, d); flat, of all heads.  Entries that do not act are left out, and where
        labels average out so are label rows and covariate columns, whose gradient is zero prompt by prompt.
        """
        return _mean(self.off_diagonal_groups(rotation))

    def off_diagonal_groups(self, rotation: ArrayLike | None = None) -> FloatArray:
        """The observations of `off_diagonal`: the mean of every group of prompts, (groups, N)."""
        d = sum(self.weights.dims)
        by_read, by_write = (group.copy() for group in self.groups)
        turn = np.eye(by_read.shape[-1])
        turn[:d, :d] = frame_of(rotation, d)
        by_read, by_write = turn.T @ by_read @ turn, by_write @ turn
        off = ~np.eye(len(turn), dtype=bool)
        reads, writes = off.copy(), off.copy()
        reads[:, d:] = False
        writes[:d] = False
        if self.averaged:
            reads[d:] = False
            writes[:, :d] = False
        return np.concatenate(
            [group[:, :, kept].reshape(len(group), -1) for group, kept in ((by_read, reads), (by_write, writes))],
            axis=1,
        )


@takes(problem=Problem, weights=AttentionWeights)
def population_gradient(
    problem: Problem,
    weights: AttentionWeights,
    n_samples: int = 20_000,
    seed: int = 0,
    *,
    averaged: bool | None = None,
    backend: str = "auto",
    dtype: str = "float64",
    progress: bool = False,
) -> PopulationGradient:
    """The gradient of the risk in all entries of the weights, with standard errors.

    Parameters
    ----------
    n_samples
        How many prompts to sample, at least 1000: 100 groups of equal size (what does not fill them is left out),
        from whose spread the standard errors come.
    averaged
        Whether to average regressors and noise exactly; default: where no label enters a score and no covariate
        the output.  Only there it can be done.  It sets the gradients in label rows and covariate columns to
        zero, which they are by symmetry.

    The other parameters, the prompts and the errors raised are those of `attention_risk`.
    """
    weights.check(problem)
    group_size = positive_integer("n_samples", n_samples) // _GROUPS
    if group_size < 10:
        raise InputError(f"n_samples must be at least {10 * _GROUPS}, got {n_samples}")
    exact = weights.labels_average_out if averaged is None else averaged
    if exact and not weights.labels_average_out:
        raise InputError("regressors and noise are averaged only where no label enters a score and no covariate U")
    shape = (_GROUPS, problem.n_heads, problem.embedding_dim, problem.embedding_dim)
    if math.prod(shape) > _MOST_NUMBERS:
        raise InputError(
            f"the gradient in all entries is too large: {_GROUPS} observations of the matrices of {problem.n_heads} "
            f"heads on tokens of {problem.embedding_dim} numbers take {16 * math.prod(shape) / 1e9:.1f} GB"
        )
    engine = make_backend(problem, backend, dtype, checked_seed(seed), exact)
    acting = acting_weights(weights, exact)
    by_read, by_write = np.zeros(shape), np.zeros(shape)
    d = problem.total_dim
    width, start = (d, d) if exact else (problem.embedding_dim, 0)
    # Groups are made of whole blocks, as equal in size as can be.
    per_group = math.ceil(group_size / engine.gradient_block)
    size = math.ceil(group_size / per_group)

    def work(block: int, _: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        return engine.gradient(acting, (EVALUATION, 0, block), size)

    with progress_bar(progress, "sample", _GROUPS, unit="groups") as bar:
        for block, (_, read, write) in enumerate(engine.map(work, _GROUPS * per_group, 1)):
            by_read[block // per_group, :, :width, :d] += read / (per_group * size)
            by_write[block // per_group, :, d:, start:] += write / (per_group * size)
            bar.update((block + 1) % per_group == 0)
    if not (np.isfinite(by_read).all() and np.isfinite(by_write).all()):
        raise InputError(f"the weights are too large: the gradient of some prompt overflows {dtype}")
    groups = [weights.through(read, write) for read, write in zip(by_read, by_write, strict=True)]
    parts, errors = zip(*(_mean(np.stack(part)) for part in zip(*groups, strict=True)), strict=True)
    return PopulationGradient(
        weights, parts, errors, (by_read, by_write), _GROUPS * per_group * size, int(seed), exact, engine.name
    )


def _mean(groups: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean over the first axis and its standard error."""
    return groups.mean(axis=0), groups.std(axis=0, ddof=1) / math.sqrt(len(groups))
