"""The closure study: how far each closure is from the real attention, over d, L and |ω|, and how that scales.

One task, heads ±ω with μ = ±1/(2ω), so that the regressor is expressed fully and what is left is of order 1/L.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import chdtri

from ...theory.choices import CLOSURES
from ..comparison.closure_table import closure_losses
from ..predictions.fit import CONFIDENCE, power_law
from ..problem.initial import InitialState
from ..problem.problem import FloatArray, Problem
from ..runtime.progress import steps
from .result import Reproduction, Row

# Orders in 1/L at fixed d and ω, within ω² < 1/6 (THEORY: derived here).
PREDICTED_ORDERS: Final = {"leading": 1.0, "finite_d": 1.0, "first_order": 2.0}
_BLOCK: Final = 500_000  # scores held at a time


@dataclass(frozen=True)
class _Size:
    dims: tuple[int, ...]
    omegas: tuple[float, ...]
    lengths: tuple[int, ...]
    scores: int  # samples × L


SIZES: Final = {
    "small": _Size((5, 10), (0.1, 0.15), (25, 50, 100, 200), 10_000_000),
    "paper": _Size((5, 10, 20), (0.1, 0.15, 0.2, 0.25), (50, 100, 200, 400, 800), 60_000_000),
}


def pair_at(omega: float) -> InitialState:
    """The weights of the study: heads at ±ω with Σ μω = 1."""
    mu = 1 / (2 * omega)
    return InitialState([[mu, -mu]], [[omega, -omega]])


def study_problem(dim: int, length: int) -> Problem:
    """One task of ``dim`` coordinates, λ = 1, σ² = .1."""
    return Problem(dims=[dim], signal_power=[1], noise_variance=0.1, context_length=length, n_heads=2)


def single_task_risk(problem: Problem, weights: InitialState, n_samples: int, seed: int) -> tuple[float, float]:
    """Risk of real softmax attention on one task, and its standard error; all but the scores averaged exactly.

    Given the length r of the query, scores are ω_h r g_l with standard normal g_l: the tokens' component along the
    query.  Regressor, noise and the d − 1 other components are averaged exactly, and r is drawn in equal strata.
    """
    dim, length = problem.dims[0], problem.context_length
    power, noise = float(problem.signal_power[0]), float(problem.noise_variance)
    mu, omega = weights.mu[0], weights.omega[0]
    rng = np.random.default_rng(seed)
    size = max(1, _BLOCK // length)
    means = []
    for _ in range(max(2, n_samples // size)):
        strata = (np.arange(size) + rng.random(size)) / size
        radius = np.sqrt(chdtri(dim, 1 - strata))
        along = rng.standard_normal((size, length))
        pooled, mixed = np.zeros(size), np.zeros((size, length))
        for own_mu, own_omega in zip(mu, omega, strict=True):
            scores = np.exp(own_omega * radius[:, None] * along)
            scores *= own_mu / scores.sum(axis=1, keepdims=True)
            mixed += scores
        pooled = np.einsum("nl,nl->n", mixed, along)
        overlap = np.einsum("nl,nl->n", mixed, mixed)
        losses = power / dim * ((pooled - radius) ** 2 + (dim - 1) * overlap) + noise * overlap
        means.append(losses.mean())
    found = np.array(means)
    return float(found.mean()), float(found.std(ddof=1) / math.sqrt(len(found)))


def closure_study(settings: str, progress: bool = False) -> Reproduction:
    """Errors of the closures on the grid of ``settings``, and the order in 1/L of each."""
    size = SIZES[settings]
    shape = len(size.dims), len(size.omegas), len(size.lengths)
    risk, risk_error = np.zeros((2, *shape))
    losses = {name: np.full(shape, math.nan) for name in CLOSURES}
    for place in steps(list(np.ndindex(shape)), progress, "reproduce"):
        dim, omega, length = size.dims[place[0]], size.omegas[place[1]], size.lengths[place[2]]
        problem, weights = study_problem(dim, length), pair_at(omega)
        risk[place], risk_error[place] = single_task_risk(problem, weights, size.scores // length, seed=0)
        for name, values in closure_losses(problem, weights)[0].items():
            if values is not None:
                losses[name][place] = values.sum()
    table, unfitted = [], []
    arrays: dict[str, FloatArray] = {
        "dims": np.array(size.dims),
        "omegas": np.array(size.omegas),
        "lengths": np.array(size.lengths),
        "risk": risk,
        "risk_error": risk_error,
    }
    for name in CLOSURES:
        errors = losses[name] - risk
        orders = np.full((*shape[:2], 3), math.nan)
        for place in np.ndindex(shape[:2]):
            sign = math.copysign(1, errors[place][0])
            lengths, signed = np.array(size.lengths), sign * errors[place]
            fit = power_law(name, "L", lengths, signed, correction=-1, errors=risk_error[place])
            orders[place] = -fit.exponent, fit.exponent_error, sign * fit.constant
            quantity = f"order of {name}, d = {size.dims[place[0]]}, |ω| = {size.omegas[place[1]]:g}"
            if math.isnan(fit.exponent):
                unfitted.append(quantity.removeprefix("order of "))
            else:
                interval = -fit.exponent - fit.exponent_error, -fit.exponent + fit.exponent_error
                table.append(Row(quantity, PREDICTED_ORDERS[name], -fit.exponent, interval=interval))
        arrays |= {f"{name}_loss": losses[name], f"{name}_error": errors, f"{name}_order": orders}
    return Reproduction(
        "closures",
        "Errors of the closures against the sampled attention: error ∝ L^(−order) at fixed d and |ω|",
        settings,
        {"signal_power": [1.0], "noise_variance": 0.1, "n_heads": 2, "dims": list(size.dims)},
        tuple(table),
        arrays,
        (
            f"Heads at ±ω with μ = ±1/(2ω); L = {', '.join(map(str, size.lengths))}. Orders come from weighted fits of "
            "A L^(−p) (1 + B/L).",
            f"In brackets the {100 * CONFIDENCE:g} % interval of the fit, from the sampling.",
            *(f"No order of {which}: the error is no power of L at these lengths." for which in unfitted),
        ),
    )
