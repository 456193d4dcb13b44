"""The two-head zero-sum pair of [H25]: d = 5, L = 40, σ² = .1, where ω = ±.13 and μ = ±3.45 are reported learned.

[H25] is He, Pan, Chen and Yang, arXiv 2503.12734.  There is no minimiser: the loss falls along a valley as ω → 0, so
what a training learns depends on how long it is; the table says at which time the flow passes the published values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import brentq

from ...theory.context.two_heads import zero_sum_pair
from ..attention import Training, sampled_risk, train
from ..attention.starts import small_start
from ..comparison.closure_table import closure_losses
from ..comparison.simulate import overlay
from ..problem.initial import InitialState
from ..problem.problem import FloatArray, Problem
from ..runtime.progress import steps
from .result import Reproduction, Row

PUBLISHED_OMEGA: Final = 0.13
PUBLISHED_MU: Final = 3.45
SCALE: Final = 0.01  # of the start, opposite in the two heads
_WORDS: Final = {"leading": "leading", "first_order": "first-order"}
_SEEDS: Final = 8  # independent estimates of a risk, for the error of a ratio


@dataclass(frozen=True)
class _Size:
    t_final: float
    rate: float
    batch: int
    samples: int


SIZES: Final = {"small": _Size(200.0, 0.02, 512, 1000), "paper": _Size(9000.0, 0.05, 2048, 50_000)}


def pair_problem(context_length: int = 40, n_heads: int = 2) -> Problem:
    """[H25]'s problem: d = 5, σ² = .1, λ = 1."""
    return Problem(dims=[5], signal_power=[1], noise_variance=0.1, context_length=context_length, n_heads=n_heads)


def zero_sum(settings: str, progress: bool = False) -> Reproduction:
    """Train two heads from opposite small weights, and sample the best pair at every ω."""
    size, problem = SIZES[settings], pair_problem()
    # With momentum the valley's steep walls allow ten times the rate.
    training = Training(
        size.t_final, size.rate, size.batch, "momentum", averaged=True, records=200, backend="numpy", seed=0
    )
    run = train(problem, small_start(problem, "opposite", SCALE), training, progress=progress)
    flows = {name: overlay(run, "merged", name) for name in ("leading", "first_order")}
    for flow in flows.values():
        flow.flow.ensure_reliable()
    last = slice(-(len(run.t) // 10), None)  # the last tenth: SGD's noise is averaged, the valley hardly moves
    mu, omega = (np.abs(values[last, 0]) for values in (run.mu, run.omega))
    at, learned = float(omega.mean()), float(mu.mean())
    table = []
    for name, flow in flows.items():
        _, flow_mu, flow_omega = (np.abs(values[last]).mean() for values in flow.predicted)
        table += [
            Row(f"trained |ω|, {_WORDS[name]} flow", float(flow_omega), *_mean(omega)),
            Row(f"trained |μ|, {_WORDS[name]} flow", float(flow_mu), *_mean(mu)),
        ]
    late = InitialState([[learned, -learned]], [[at, -at]])
    table += [
        Row("trained μ₁ + μ₂", 0.0, *_mean(run.mu[last, 0].sum(axis=1))),
        Row("trained ω₁ + ω₂", 0.0, *_mean(run.omega[last, 0].sum(axis=1))),
        Row("trained Σ μω, first-order best", 2 * at * best_pair(problem, at)[0], *_mean((mu * omega).sum(axis=1))),
        _risk_row("risk of the trained pair, first-order", problem, late, size.samples * _SEEDS),
    ]
    grid = np.geomspace(0.06, 0.45, 7)
    profiles = np.array(
        [sampled_pair(problem, w, size.samples) for w in steps(grid.tolist(), progress, "reproduce")]
    )  # (N, 2, 2)
    best = sampled_pair(problem, PUBLISHED_OMEGA, size.samples)
    theory, first_order = zero_sum_pair(), best_pair(problem, PUBLISHED_OMEGA)
    published = InitialState([[PUBLISHED_MU, -PUBLISHED_MU]], [[PUBLISHED_OMEGA, -PUBLISHED_OMEGA]])
    table += [
        Row("best μ at ω = .13, leading", theory.best_mu(problem, PUBLISHED_OMEGA), *best[0]),
        Row("best μ at ω = .13, first-order", first_order[0], *best[0]),
        Row("best μ at ω = .13, published 3.45", PUBLISHED_MU, *best[0]),
        Row("least risk at ω = .13, first-order", first_order[1], *best[1]),
        _risk_row("risk of the published pair, first-order", problem, published, size.samples * _SEEDS),
    ]
    passing = _passes(run.t, np.abs(run.omega[:, 0]).mean(axis=1))
    if passing is not None:
        for name, flow in flows.items():
            predicted = _passes(run.t, np.abs(flow.predicted[2][:, 0]).mean(axis=1))
            table.append(Row(f"time at which |ω| passes .13, {_WORDS[name]} flow", predicted, passing))
    return Reproduction(
        "zero-sum-pair",
        "Two heads, one task ([H25]: d = 5, L = 40, σ² = .1)",
        settings,
        problem.to_dict(),
        tuple(table),
        {
            "t": run.t.copy(),
            "mu": run.mu[:, 0].copy(),
            "omega": run.omega[:, 0].copy(),
            **{f"{name}_mu": flow.predicted[1][:, 0].copy() for name, flow in flows.items()},
            **{f"{name}_omega": flow.predicted[2][:, 0].copy() for name, flow in flows.items()},
            "pair_omega": grid,
            "pair_mu": profiles[:, 0, 0].copy(),
            "pair_mu_error": profiles[:, 0, 1].copy(),
            "pair_loss": profiles[:, 1, 0].copy(),
            "pair_loss_error": profiles[:, 1, 1].copy(),
            "leading_profile": np.array([theory.evaluate(problem, float(w)) for w in grid]),
            "leading_best_mu": np.array([theory.best_mu(problem, float(w)) for w in grid]),
            "first_order_profile": np.array([best_pair(problem, float(w))[1] for w in grid]),
            "first_order_best_mu": np.array([best_pair(problem, float(w))[0] for w in grid]),
        },
        (
            f"Trained to t = {size.t_final:g} (momentum, {10 * size.rate:g} of time per step, batch {size.batch}); "
            "trained values are means over the last tenth, their errors standard deviations there.",
            "The noise of small batches holds the training back: ω stays larger than in the flow.",
            "The loss has no minimiser: |ω| falls like t^(−1/6) for ever, so .13 is a time on the way, no limit.",
            "λ = 1 is assumed for [H25]'s signal.",
        ),
    )


def best_pair(problem: Problem, omega: float, closure: str = "first_order") -> tuple[float, float]:
    """The best μ of the pair (μ, −μ) at ±ω in a closure, and the loss there."""

    def loss(mu: float) -> float:
        values = closure_losses(problem, InitialState([[mu, -mu]], [[omega, -omega]]))[0][closure]
        assert values is not None  # ω of a pair is small
        return float(values[0])

    return _vertex(loss(0.0), loss(1.0), loss(2.0))


def sampled_pair(problem: Problem, omega: float, samples: int) -> FloatArray:
    """[[best μ, its error], [least risk, its error]] of the real attention at ±ω, from batches of ``samples``.

    The risk is a quadratic in μ, which three values on the same prompts fix.
    """
    found = []
    for seed in range(_SEEDS):
        values = []
        for mu in (0.0, 1.0, 2.0):
            pair = np.array([[mu, -mu]]), np.array([[omega, -omega]])
            values.append(sampled_risk(problem, *pair, n_samples=samples, seed=seed).value)
        found.append(_vertex(*values))
    array = np.array(found)
    return np.stack([array.mean(axis=0), array.std(axis=0, ddof=1) / np.sqrt(_SEEDS)], axis=1)


def _vertex(at_0: float, at_1: float, at_2: float) -> tuple[float, float]:
    """Where the parabola through three values is least, and its value there."""
    square = (at_2 - 2 * at_1 + at_0) / 2
    slope = at_1 - at_0 - square
    return -slope / (2 * square), at_0 - slope**2 / (4 * square)


def _risk_row(quantity: str, problem: Problem, weights: InitialState, samples: int) -> Row:
    values = closure_losses(problem, weights)[0]["first_order"]
    risk = sampled_risk(problem, weights.mu, weights.omega, n_samples=samples, seed=100)
    return Row(quantity, None if values is None else float(values.sum()), risk.value, risk.standard_error)


def _mean(values: FloatArray) -> tuple[float, float]:
    return float(values.mean()), _spread(values)


def _spread(values: FloatArray) -> float:
    return float(values.std(ddof=1))


def _passes(t: FloatArray, omega: FloatArray) -> float | None:
    """When ω, past its largest value, falls through the published one."""
    start = int(omega.argmax())
    if omega[start:].min() > PUBLISHED_OMEGA:
        return None
    end = start + int(np.argmax(omega[start:] <= PUBLISHED_OMEGA))
    return float(brentq(lambda at: np.interp(at, t, omega) - PUBLISHED_OMEGA, t[end - 1], t[end]))
