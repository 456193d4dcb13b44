"""The attention's exact risk by quadrature, against numbers found elsewhere and against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest

from headflow import Problem
from headflow.numerics.attention import sampled_risk
from headflow.numerics.attention.quadrature import pooled_moments, risk_by_quadrature, risk_parts
from headflow.numerics.checks import losses
from headflow.numerics.checks.extrapolation import limit_of
from headflow.numerics.checks.one_token import linear_risk


def one_task(dim: int, length: int, heads: int) -> Problem:
    return Problem(dims=[dim], signal_power=[1], noise_variance=0.1, context_length=length, n_heads=heads)


@pytest.mark.parametrize(
    ("problem", "mu", "omega", "risk"),
    [
        (one_task(10, 100, 2), [4, -4], [0.1, -0.1], 0.1197178446),
        (one_task(5, 40, 2), [3.45, -3.45], [0.13, -0.13], 0.1432436381),
        (one_task(10, 100, 1), [2.422298], [0.319148], 0.2517479301),
        (one_task(10, 100, 1), [math.sqrt(10) / (1 + 0.11 * math.e)], [10**-0.5], 0.7553329306 / 3),
    ],
)
def test_known_risks(problem, mu, omega, risk):
    """Independent quadratures of one task: a zero-sum pair, that of [H25] less σ², the best head, an allocated one."""
    assert risk_by_quadrature(problem, np.array([mu]), np.array([omega]), 14)[0] == pytest.approx(risk, rel=1e-8)


def test_two_tasks_against_sampled_attention():
    problem = Problem(dims=[3, 5], signal_power=[1, 2], noise_variance=0.1, context_length=12, n_heads=2)
    mu, omega = np.array([[2, -1], [0.5, 3]]), np.array([[0.26, -0.15], [0.06, 0.2]])
    risk = sampled_risk(problem, mu, omega, n_samples=100_000, seed=0)
    assert (np.abs(risk.tasks - risk_by_quadrature(problem, mu, omega)) < 4 * risk.task_errors).all()
    assert (risk.task_errors < 0.01 * risk.tasks).all()


def test_pooled_moments_of_few_tokens():
    """Their definition, by quadrature over all coordinates of two tokens."""
    one, other = np.array([0.8, 0.1]), np.array([-0.3, 0.5])
    nodes, weights = np.polynomial.hermite_e.hermegauss(24)
    tokens = np.stack(np.meshgrid(*[nodes] * 4, indexing="ij"), axis=-1).reshape(-1, 2, 2)
    chance = np.prod(np.stack(np.meshgrid(*[weights / weights.sum()] * 4, indexing="ij")), axis=0).ravel()
    heads = [np.exp(tokens @ tilt) for tilt in (one, other)]
    p, q = (scores / scores.sum(axis=1, keepdims=True) for scores in heads)
    found = pooled_moments(one, other, [2])
    assert found.overlap[0] == pytest.approx(chance @ (p * q).sum(axis=1), rel=1e-9)
    pooled = [np.einsum("nl,nla->na", part, tokens) for part in (p, q)]
    assert found.mean[0] == pytest.approx(chance @ pooled[0], abs=1e-9)
    assert found.second[0] == pytest.approx(np.einsum("n,na,nb->ab", chance, *pooled), abs=1e-9)


def test_one_token_of_context():
    """Nothing to choose from: p = 1, whatever the scores are."""
    parts = risk_parts([4], np.array([[0.2, -0.3]]), [1])
    assert parts.overlap[0] == pytest.approx(np.ones((2, 2)), rel=1e-9)
    assert parts.linear[0] == pytest.approx(np.zeros((1, 2)), abs=1e-9)


def test_more_nodes_change_nothing():
    """What the checks of the losses rest on is known to 1e-11."""
    setting = losses.Setting(one_task(10, 100, 2), 0, True)
    omega = losses._weights(setting.problem, 0)
    coarse, fine = (risk_parts([10], omega, [400, 12800], nodes) for nodes in (6, 16))
    for part in ("linear", "quadratic", "overlap"):
        assert getattr(coarse, part) == pytest.approx(getattr(fine, part), rel=1e-11)


def test_linear_attention_token_by_token():
    """One task, two tokens, one coordinate: by quadrature over all of it."""
    problem, nodes = one_task(1, 2, 1), np.polynomial.hermite_e.hermegauss(6)
    (x, y, query), (a, b, c) = (np.meshgrid(*[part] * 3, indexing="ij") for part in nodes)
    chance = a * b * c / nodes[1].sum() ** 3
    weights = [0.7 * query * token / 2 for token in (x, y)]
    missed = weights[0] * x + weights[1] * y - query
    risk = (chance * (missed**2 + 0.1 * (weights[0] ** 2 + weights[1] ** 2))).sum()
    assert linear_risk(problem, np.array([[0.7]]))[0] == pytest.approx(risk, rel=1e-12)


def test_extrapolation():
    steps = 2.0 ** -np.arange(7)
    limit, error = limit_of(np.stack([np.exp(steps), 1 / (1 + steps)], axis=1))
    assert (np.abs(limit - 1) < 1e-6).all()
    assert (np.abs(limit - 1) <= 10 * error).all()
    limit, error = limit_of(1 / steps)  # it diverges: far more is left than the error
    assert limit > 10 * error > 5
