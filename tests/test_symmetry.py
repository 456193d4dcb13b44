"""The symmetric reduction against the hand formulas, for a number of tasks that stays a symbol."""

from __future__ import annotations

import numpy as np
import pytest
from sympy import N, Rational, Sum, Symbol

from headflow.theory import notation as n
from headflow.theory.flows.symmetry import STATE, symmetric_reduction
from headflow.theory.indexed import difference_is_zero, inline, unroll
from oracles import hand_formulas as hand


@pytest.mark.parametrize("n_tasks", [1, 2, 3, 7, 40])
def test_gradients_equal_the_hand_formulas(n_tasks):
    reduced = symmetric_reduction()
    rng = np.random.default_rng(n_tasks)
    for _ in range(5):
        m, off_mu, p, off_omega = entries = rng.uniform(-1, 1, 4) * np.array([2, 0.5, 0.3, 0.3 / n_tasks])
        d, signal, noise, length = int(rng.integers(1, 20)), 0.75, 0.3, int(rng.integers(10, 200))
        values = {"I": n_tasks, "L": length, "d": d, "lambda": Rational(3, 4), "phi": 1 + Rational(2, 5)}
        values |= {name.name: Rational(float(value)) for name, value in zip(STATE, entries, strict=True)}
        found = [float(N(unroll(partial, values, reduced.definitions))) for partial in reduced.gradient]
        expected = hand.symmetric_gradients(m, off_mu, p, off_omega, n_tasks, d, signal, noise, length)
        assert found == pytest.approx(expected, rel=1e-12, abs=1e-14)
        loss = float(N(unroll(reduced.loss, values, reduced.definitions)))
        problem = {"lam": [signal] * n_tasks, "d": [d] * n_tasks, "sigma2": noise, "L": length}
        state = hand.symmetric_state(m, off_mu, p, off_omega, n_tasks)
        assert loss == pytest.approx(hand.loss(*state, problem), rel=1e-12)


def test_every_sum_is_gone_and_the_number_of_tasks_is_a_symbol():
    reduced = symmetric_reduction()
    for expression in (reduced.loss, *reduced.gradient, *(item.body for item in reduced.definitions)):
        assert not expression.has(Sum)
    assert inline(reduced.loss, reduced.definitions).has(n.n_tasks)


def test_the_definitions_are_those_of_the_hand_formulas():
    bodies = {str(item.head): inline(item.body, reduced_first()) for item in symmetric_reduction().definitions}
    m, off_mu, p, off_omega = STATE
    assert difference_is_zero(bodies["r"], 1 - m * p - (n.n_tasks - 1) * off_mu * off_omega)
    k = Symbol("lambda", positive=True) * Symbol("phi", positive=True) / n.context_length
    assert difference_is_zero(bodies["M_d"], k * (m**2 + (n.n_tasks - 1) * off_mu**2))
    assert difference_is_zero(bodies["M_o"], k * (2 * m * off_mu + (n.n_tasks - 2) * off_mu**2))
    assert not difference_is_zero(bodies["M_o"], k * (2 * m * off_mu + (n.n_tasks - 1) * off_mu**2))


def reduced_first():
    return symmetric_reduction().definitions[:1]


def test_every_check_passes():
    report = symmetric_reduction().derivation.check()
    assert report.failed == ()
    assert {f"gradient of the entry {name}" for name in STATE} | {"loss on the symmetric set"} <= set(report.passed)
