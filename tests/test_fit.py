"""Power laws fitted to numbers: known laws are found within their intervals, and what is no power has no fit."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from headflow.numerics.checks.finding import fitted
from headflow.numerics.predictions.fit import CONFIDENCE, Fit, power_law
from headflow.numerics.verification.verdict import outcome

X = np.geomspace(25, 400, 5)


@pytest.mark.parametrize(("order", "bend"), [(1.0, 0.0), (2.0, 0.0), (1.0, -15.0)])
def test_known_errors_with_and_without_a_next_order(order, bend):
    values = 3 * X**-order * (1 + bend / X)
    sigma = 1e-3 * values
    noise = np.random.default_rng(0).standard_normal(5)
    law = power_law("y", "x", X, values + sigma * noise, exponent=-order, constant=3.0, correction=-1, errors=sigma)
    assert abs(law.exponent + order) < 1.5 * law.exponent_error < 0.1
    assert law.constant == pytest.approx(3, rel=0.01)


def test_the_interval_holds_the_exponent_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        law = power_law("y", "x", X, 2 * X**-0.5 * np.exp(0.01 * rng.standard_normal(5)))
        hits += abs(law.exponent + 0.5) < law.exponent_error
    assert abs(hits / 400 - CONFIDENCE) < 0.02


def test_a_range_that_does_not_reach_the_law_decides_nothing():
    """x^−2 from 1e3 on, seen between 1e3 and 1e6; where it is reached, a constant that is 5 % wrong is refuted."""
    for start, verdict in ((1e3, "inconclusive"), (1e4, "inconclusive"), (1e5, "fails")):
        x = np.geomspace(start, 100 * start, 9)
        law = power_law("y", "x", x, 1 / (x * (x + 1e3 * np.log(x))), exponent=-2.0, constant=1.05, correction=-1.0)
        assert outcome(fitted("float", [law], 0.01)) == verdict


def test_what_scatters_more_than_its_errors_has_a_student_interval():
    values = X**-1.0 * (1 + 0.1 * np.array([1, -1, 1, -1, 1]))
    narrow, wide = (power_law("y", "x", X, values, errors=size * values) for size in (0.02, 0.1))
    # 3 degrees of freedom: t = 5.84, and the scatter is χ²/3 = 41.6 and 1.66 (described) times the errors' own.
    assert narrow.exponent_error / wide.exponent_error == pytest.approx(5.841 / 2.576 * math.sqrt(5 / 3), rel=0.02)


@pytest.mark.parametrize(("bend", "relative"), [(0.0, 0.01), (-4.0, 0.05), (-10.0, 0.1)])
def test_the_intervals_hold_what_a_hidden_next_order_hides(bend, relative):
    """Errors so large that the next order is not seen in the numbers: it is in the intervals all the same."""
    rng = np.random.default_rng(0)
    hits = np.zeros(2)
    for _ in range(100):
        values = 3 / X * (1 + bend / X)
        sigma = relative * np.abs(values)
        drawn = values + sigma * rng.standard_normal(5)
        law = power_law("y", "x", X, drawn, exponent=-1.0, constant=3.0, correction=-1, errors=sigma)
        hits += abs(law.exponent + 1) < law.exponent_error, abs(law.constant - 3) < law.constant_error
    assert (hits >= 95).all()


def test_equal_abscissae_have_no_fit():
    law = power_law("y", "x", np.ones(4), np.ones(4), exponent=1.0)
    assert math.isnan(law.exponent)


def test_the_next_order_is_told_apart():
    values = 2 * X**-2 * (1 + 3 / X)
    with_it = power_law("y", "x", X, values, exponent=-2.0, constant=2.0, correction=-1)
    without = power_law("y", "x", X, values, exponent=-2.0, constant=2.0)
    assert max(with_it.deviations)[0] < 1e-10 < 1e-3 < max(without.deviations)[0]


@pytest.mark.parametrize("values", [X * (-1.0) ** np.arange(5), np.full(5, math.nan), -X])
def test_what_is_no_power_has_no_fit(values):
    law = power_law("y", "x", X, values, exponent=1.0, errors=np.full(5, 1e-3))
    assert math.isnan(law.exponent)
    assert outcome(fitted("float", [law], 0.1)) == "inconclusive"


def test_a_wrong_power_or_constant_fails_and_too_wide_an_interval_is_open():
    def verdict(exponent, constant, noise=0.0):
        values = 2 * X**-0.5 * np.exp(noise * np.array([1, -1, 1, -1, 1]))
        return outcome(fitted("float", [power_law("y", "x", X, values, exponent=exponent, constant=constant)], 0.01))

    assert verdict(-0.5, 2.0) == "holds"
    assert verdict(-0.6, None) == verdict(-0.5, 2.1) == "fails"
    assert verdict(-0.5, 2.0, noise=0.1) == "inconclusive"


def test_a_constant_that_no_fit_describes_leaves_the_law_open():
    values = 3 * X**-1.3
    law = power_law("y", "x", X, values, exponent=-1.0, constant=3.0, errors=0.001 * values)
    assert math.isnan(law.constant)
    assert outcome(fitted("float", [law], 0.5)) == "inconclusive"
    assert outcome(fitted("float", [law], 0.1)) == "fails"


def test_a_range_that_does_not_show_the_law_refutes_by_its_exponent_alone():
    """Where the numbers bend, a constant fitted at the predicted exponent is sharp, small and means nothing."""
    bent = power_law("y", "x", X, 1e-9 * X**-4 * (1 + X), exponent=-1.0, constant=3.0)
    assert bent.exponent_error > 0.01
    assert bent.constant + bent.constant_error < 1e-3
    assert outcome(fitted("float", [bent], 0.01)) == "fails"
    unclear = replace(bent, exponent_error=5.0)
    assert outcome(fitted("float", [unclear], 0.01)) == "inconclusive"
    assert outcome(fitted("float", [replace(bent, exponent=-1.0, exponent_error=1e-3)], 0.01)) == "fails"


def test_no_law_and_no_prediction_prove_nothing():
    assert outcome(fitted("float", [], 0.1)) == "inconclusive"
    assert outcome(fitted("float", [power_law("y", "x", X, X)], 0.1)) == "inconclusive"


def test_json_and_back():
    law = power_law("y", "x", X, 2 * X**-0.5, exponent=-0.5)
    assert Fit.from_row(law.to_row()) == law
    assert "exponent -0.5" in str(law)
