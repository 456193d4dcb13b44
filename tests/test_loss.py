"""The derivation of the population loss, step by step, against quadrature: each average is really taken."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import sympy as sp

from headflow.errors import InputError, InputTypeError
from headflow.theory import notation as n
from headflow.theory import population_loss
from headflow.theory.gaussian import (
    chi_square_generating_function,
    completed_square,
    delta_method,
    moment_generating_function,
    tilted_moment,
)
from headflow.theory.indexed import difference_is_zero, inline, normalise, replace_indexed
from oracles import bruteforce

SIGMA2 = sp.Rational(3, 10)


def expected(function: Callable[..., Any], dimension: int, nodes: int = 24) -> Any:
    """E function(z_1, …, z_n) for independent standard normal numbers, by Gauss–Hermite quadrature."""
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    weights = weights / weights.sum()
    rules = product(zip(points, weights, strict=True), repeat=dimension)
    return sum(np.prod([w for _, w in rule]) * function(*(z for z, _ in rule)) for rule in rules)


# One token: x in two dimensions, y = ⟨β, x⟩ + ε.
TILTS = {"a_h": np.array([0.3, -0.2]), "a_k": np.array([-0.1, 0.4]), "beta": np.array([0.7, 0.5])}
GRAM = {(v, w): sp.Rational(str(round(float(TILTS[v] @ TILTS[w]), 12))) for v in TILTS for w in TILTS}


def token_average(tilt: np.ndarray, function: Callable[[float], float]) -> float:
    def integrand(x1: float, x2: float, noise: float) -> float:
        x = np.array([x1, x2])
        return float(np.exp(tilt @ x) * function(TILTS["beta"] @ x + np.sqrt(float(SIGMA2)) * noise))

    return float(expected(integrand, 3))


@pytest.mark.parametrize("tilt", [{"a_h": sp.S.One}, {"a_h": sp.S(2)}, {"a_h": sp.S.One, "a_k": sp.S.One}, {}])
def test_moments_of_a_tilted_token(tilt: dict[str, sp.Expr]) -> None:
    vector = sum((float(weight) * TILTS[name] for name, weight in tilt.items()), np.zeros(2))
    for power in range(4):
        moment = tilted_moment(tilt, power, GRAM, SIGMA2)
        assert float(moment) == pytest.approx(token_average(vector, lambda y, p=power: y**p), rel=1e-10, abs=1e-12)
    generating = moment_generating_function(tilt, sp.Rational(2, 5), GRAM, SIGMA2)
    assert float(generating) == pytest.approx(token_average(vector, lambda y: np.exp(0.4 * y)), rel=1e-10)


@pytest.mark.parametrize("weight", [-0.8, -0.1, 0.05, 0.2])
def test_exponential_of_a_square(weight: float) -> None:
    value = chi_square_generating_function(sp.Rational(str(weight)))
    assert float(value) == pytest.approx(expected(lambda z: np.exp(weight * z**2), 1, 100), rel=1e-9)


def test_completed_square() -> None:
    z, t = sp.symbols("z t", real=True)
    left, right = completed_square(z, t)
    assert difference_is_zero(left, right)
    assert not difference_is_zero(left, right + t)


def test_delta_method_is_the_expansion_of_a_quotient() -> None:
    first, second, symbols = delta_method(sp.Rational(7, 5), sp.Rational(9, 4))
    step = 1e-4
    shifts = dict(zip(symbols, (0.3, -0.8), strict=True))
    found = float(first.subs(shifts)) * step + float(second.subs(shifts)) * step**2
    exact = (1.4 + 0.3 * step) / (2.25 - 0.8 * step) - 1.4 / 2.25
    assert found == pytest.approx(exact, abs=2 * step**3)


# The averages of the risk: two tasks of one coordinate each, two heads.

STEPS = population_loss().derivation
OMEGA = np.array([[0.25, -0.15], [0.1, 0.2]])
MODEL: dict[str, Any] = {
    "I": 2,
    "H": 2,
    "L": 40.0,
    "sigma2": 0.3,
    "mu": np.array([[1.2, -0.4], [0.3, 0.8]]),
    "omega": OMEGA,
    "lambda": np.array([0.8, 1.7]),
    "phi": 1 + 0.3 / np.array([0.8, 1.7]),
}


def at_step(label: str, values: dict[str, Any]) -> float:
    (formula,) = STEPS[label].formula
    return float(bruteforce.evaluate(formula, {**MODEL, **values}, {"i": 1}))


def tilts(x: np.ndarray) -> np.ndarray:
    """⟨a_h, a_k⟩ = Σ_j ω_j^h ω_j^k x_j², one coordinate per task."""
    return np.asarray((OMEGA * x[:, None] ** 2).T @ OMEGA)


def test_average_over_the_regressor() -> None:
    """β_1 in two coordinates of which x_q is one query; the mean of the risk is the formula of the next step."""
    x, tilt = np.array([0.6, -1.1]), np.array([[0.4, -0.1], [-0.1, 0.3]])
    variance = MODEL["lambda"][0] / 2

    def risk(z1: float, z2: float) -> float:
        beta = np.sqrt(variance) * np.array([z1, z2])
        values = {"inner_beta_x": [beta @ x], "norm2_beta": [beta @ beta], "inner_a_a": tilt}
        return at_step("decomposable weights", values)

    averaged = at_step("average over the regressor", {"norm2_x": [x @ x], "d": [2.0], "inner_a_a": tilt})
    assert expected(risk, 2, 4) == pytest.approx(averaged, rel=1e-12)


def test_average_over_the_query() -> None:
    def risk(x1: float, x2: float) -> float:
        x = np.array([x1, x2])
        return at_step("average over the regressor", {"norm2_x": x**2, "d": [1.0, 1.0], "inner_a_a": tilts(x)})

    interaction = expected(lambda x1, x2: np.exp(tilts(np.array([x1, x2]))), 2)
    averaged = at_step("first-order loss of task i", {"d": [1.0, 1.0], "C": interaction})
    assert expected(risk, 2, 20) == pytest.approx(averaged, rel=1e-9)


def test_interaction_is_the_expectation_over_the_query() -> None:
    head, body = STEPS["expectation over the query"].formula[0]
    assert head == sp.Function("E")(sp.exp(n.head_head[n.h, n.k]))
    interaction = expected(lambda x1, x2: np.exp(tilts(np.array([x1, x2]))), 2)
    for h, k in product((1, 2), repeat=2):
        found = bruteforce.evaluate(body, {**MODEL, "d": [1.0, 1.0]}, {"h": h, "k": k})
        assert found == pytest.approx(interaction[h - 1, k - 1], rel=1e-9)


# The result.


def test_the_loss_is_the_sum_of_the_leading_task_losses() -> None:
    loss = population_loss()
    (leading,) = STEPS["leading loss of task i"].formula
    residual = [item for item in loss.definitions if item.base == n.residual]
    opened = inline(loss.expression, residual)
    assert difference_is_zero(opened, n.over_tasks(leading))
    assert not difference_is_zero(loss.expression, n.over_tasks(leading))  # r_i is a name until it is opened
    without_noise = replace_indexed(opened, {n.noise_factor: lambda task: sp.S.One})
    assert not difference_is_zero(without_noise, n.over_tasks(leading))
    for wrong in (2, sp.Rational(1, 2), n.n_heads):
        planted = replace_indexed(opened, {n.noise_factor: lambda task, by=wrong: by * n.noise_factor[task]})
        assert not difference_is_zero(planted, n.over_tasks(leading))


def test_every_check_passes_and_the_last_step_has_one() -> None:
    report = STEPS.check()
    assert report.holds
    assert "population loss" in report.passed
    assert STEPS.result.label == "population loss"
    labels = [step.label for step in STEPS]
    assert labels[0] == "softmax weights"
    assert len(set(labels)) == len(labels)


def test_the_result_is_the_formula_of_the_papers() -> None:
    i, j, h, k = n.i, n.j, n.h, n.k
    loss = population_loss()
    pairs = n.over_heads(n.interaction[h, k] * n.mu[i, h] * n.mu[i, k], h, k)
    by_hand = n.over_tasks(n.signal_power[i] * (n.residual[i] ** 2 + n.noise_factor[i] / n.context_length * pairs))
    assert normalise(loss.expression) == normalise(by_hand)
    residual, interaction = loss.definitions
    assert normalise(residual.body) == 1 - n.over_heads(n.mu[i, h] * n.omega[i, h])
    assert interaction.body == sp.exp(normalise(n.over_tasks(n.dims[j] * n.omega[j, h] * n.omega[j, k], j)))


def test_closures() -> None:
    with pytest.raises(InputError, match=r"unknown closure 'leadin'; did you mean 'leading'\?"):
        population_loss("leadin")
    with pytest.raises(InputTypeError, match="must be a string"):
        population_loss(3)  # type: ignore[arg-type]
