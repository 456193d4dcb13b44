"""Initial weights of published experiments on softmax attention, by name.

[C24] is Chen, Sheen, Wang and Yang, arXiv 2402.19442; [H25] is He, Pan, Chen and Yang, arXiv 2503.12734.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from ...theory.choices import checked_parametrisation, unknown
from ...theory.errors import InputError
from ..problem.exact import as_float
from ..problem.initial import checked_seed
from ..problem.problem import FloatArray, Problem, ensure_addressable
from .weights import AttentionWeights, identity

PAIRS: Final = ("identity", "opposite", "random")
# The parametrisations that a start can have, that of its source first.  Balanced weights have no sign.
FORMS: Final[Mapping[str, tuple[str, ...]]] = {
    "structured": ("balanced", "split", "merged"),
    "factors": ("balanced", "split"),
    "gaussian": ("balanced", "split"),
    "identity": ("merged", "balanced", "split"),
    "opposite": ("merged", "split"),
    "random": ("merged",),
}
STARTS: Final = tuple(FORMS)


def make_start(
    problem: Problem, kind: str, scale: float | None = None, seed: int = 0, parametrisation: str | None = None
) -> AttentionWeights:
    """The start of that name.

    Parameters
    ----------
    kind
        "structured", "factors" and "gaussian" are split weights in the form of [C24]: head h favours task h (modulo
        I).  "structured" scales eigenvalues, see `structured_start`; "factors" and "gaussian" scale K, Q, V and O,
        "gaussian" with a normal factor for each head, see `multi_task_start`.  "identity", "opposite" and "random" are
        merged weights in the form of [H25], see `small_start`.
    scale
        > 0; default that of `default_scale`.
    seed
        ≥ 0; of "gaussian" and "random".
    parametrisation
        Of the weights, one of `FORMS`; default that of the source.  "structured", "identity" and "opposite" have the
        same eigenvalues in each, as W and U or in the balanced factors Q, K, V and O.

    Raises `InputError` for an unknown name or what is not allowed.
    """
    checked_seed(seed)
    size = default_scale(problem, kind) if scale is None else scale
    form = FORMS[kind][0] if parametrisation is None else checked_parametrisation(parametrisation)
    if form not in FORMS[kind]:
        raise InputError(f"the start {kind!r} goes with the parametrisation {' or '.join(FORMS[kind])}, got {form}")
    if kind == "structured":
        return structured_start(problem, size, form)
    if kind in PAIRS:
        return small_start(problem, kind, size, seed, form)
    return multi_task_start(problem, size, seed if kind == "gaussian" else None)


def default_scale(problem: Problem, kind: str) -> float:
    """The scale of the start of that name: L^(−3/4) for those of [C24], .01 for those of [H25].

    Raises `InputError` for an unknown name.
    """
    if kind not in STARTS:
        raise InputError(unknown("start", str(kind), STARTS))
    return 0.01 if kind in PAIRS else _published(problem, None)


def structured_start(
    problem: Problem, scale: float | None = None, parametrisation: str = "balanced"
) -> AttentionWeights:
    """Weights whose eigenvalues have the form of [C24]'s: each head has a task that it favours.

    ω = ``scale`` and μ = ``scale``, twice that on the head's task; head h favours task h (modulo I).  Here eigenvalues
    are scaled, the factors are their roots: k = q = √(√d_e ω), o = v = √μ.  ``scale`` > 0, default L^(−3/4), the scale
    of the random start of `InitialState`.
    """
    size = _published(problem, scale)
    mu = np.full((problem.n_tasks, problem.n_heads), size)
    for head in range(problem.n_heads):
        mu[head % problem.n_tasks, head] *= 2
    return AttentionWeights.spectral(problem, mu, np.full_like(mu, size), parametrisation=parametrisation)


def multi_task_start(
    problem: Problem, scale: float | None = None, gaussian_seed: int | None = None
) -> AttentionWeights:
    """Split weights whose factors have the form of [C24]'s: each head has a task that it favours.

    K = Q = scale · Id; V is zero but for the labels' diagonal, ``scale`` off the head's task and twice that on it;
    O = Vᵀ.  Head h favours task h (modulo I).  Here factors are scaled, so the eigenvalues, their products, are
    smaller by as much again: ω = scale²/√d_e, μ = scale² off the head's task and 4 scale² on it.

    Parameters
    ----------
    scale
        Of every factor, > 0; default L^(−3/4).
    gaussian_seed
        If given, K and Q of every head are multiplied by a standard normal number of the head's own, drawn with
        this seed, and ω by its square.
    """
    size = _published(problem, scale)
    heads, d, width = problem.n_heads, problem.total_dim, problem.embedding_dim
    key = np.broadcast_to(size * identity(width), (heads, width, width)).copy()
    if gaussian_seed is not None:
        key *= np.random.default_rng(checked_seed(gaussian_seed)).standard_normal((heads, 1, 1))
    value = np.zeros_like(key)
    for head in range(heads):
        labels = np.full(problem.n_tasks, size)
        labels[head % problem.n_tasks] *= 2
        value[head, range(d, width), range(d, width)] = labels
    return AttentionWeights.split(problem, key, key, value, np.swapaxes(value, 1, 2))


def small_start(
    problem: Problem, kind: str, scale: float = 0.01, seed: int = 0, parametrisation: str = "merged"
) -> AttentionWeights:
    """Weights in the form of [H25]'s: W and U, and with them ω and μ, are what is scaled.  Random ones are merged.

    Parameters
    ----------
    kind
        "identity": W_X = scale · Id and U_Y = scale · Id in every head; "opposite": with the sign of every other
        head turned; "random": all entries that act are normal with standard deviation ``scale``.
    scale
        > 0.
    seed
        Of a random start.

    Raises `InputError` for what is not allowed.
    """
    if kind not in PAIRS:
        raise InputError(unknown("start", str(kind), PAIRS))
    size = as_float("scale", scale, positive=True)
    if kind == "random":
        rng = np.random.default_rng(checked_seed(seed))
        shape = (problem.n_heads, problem.embedding_dim, problem.embedding_dim)
        ensure_addressable(*shape)
        d = problem.total_dim
        key_query: FloatArray = size * rng.standard_normal(shape)
        output_value: FloatArray = size * rng.standard_normal(shape)
        key_query[:, :, d:] = 0.0
        output_value[:, :d] = 0.0
        return AttentionWeights.merged(problem, key_query, output_value)
    sign = np.where((np.arange(problem.n_heads) % 2 == 1) & (kind == "opposite"), -1.0, 1.0)
    spectral = np.broadcast_to(size * sign, (problem.n_tasks, problem.n_heads))
    return AttentionWeights.spectral(problem, spectral, spectral, parametrisation=parametrisation)


def _published(problem: Problem, scale: float | None) -> float:
    return problem.context_length**-0.75 if scale is None else as_float("scale", scale, positive=True)
