"""The bound on a trajectory: it holds what a tight integration gives, and a wrong velocity leaves nothing proved."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from sympy import Rational, Symbol, exp, log, sqrt

from headflow import InitialState, Problem, integrate
from headflow.errors import InputError
from headflow.numerics import certify_trajectory
from headflow.numerics.certificates import Interval, Tape, arithmetic, trajectory
from headflow.numerics.certificates.jets import Jet

F = Fraction
ONE = Problem(dims=[4], signal_power=[1], noise_variance=0.1, context_length=50, n_heads=1)
TWO = Problem(dims=[4, 5], signal_power=[1, 2], noise_variance=0.1, context_length=50, n_heads=2)
START = InitialState(mu=[[0.3]], omega=[[0.1]])


def test_a_jet_is_the_expansion_in_time():
    """Of f(t(s)) with t = 2 + s/3 + s²/7, against SymPy."""
    t, s = Symbol("t"), Symbol("s")
    function = exp(-t) * sqrt(t) + log(t) ** 3 / t + Rational(1, 5)
    path = 2 + s / 3 + s**2 / 7
    told = [function.subs(t, path).diff(s, order).subs(s, 0) / (1, 1, 2)[order] for order in range(3)]
    kit = arithmetic()
    jet = Tape(function)({t: Jet(*(Interval.of(kit, value, value) for value in (F(2), F(1, 3), F(1, 7))))}, kit)
    for found, value in zip((jet.value, jet.first, jet.second), told, strict=True):
        low, high = map(float, found.ends)
        assert low == pytest.approx(float(value), rel=1e-14)
        assert high == pytest.approx(float(value), rel=1e-14)
        assert found.ends[1] - found.ends[0] < F(1, 2**70)


@pytest.fixture(scope="module")
def bound():
    return certify_trajectory(ONE, START, 4.0)


def test_it_holds_the_solution(bound):
    run = integrate(ONE, START, t_final=4.0, rtol=1e-12)
    at_end = run.at(4.0)
    for ranges, value in ((bound.mu, at_end.mu), (bound.omega, at_end.omega)):
        low, high = map(float, ranges[0][0])
        assert low < float(value[0, 0]) < high
        assert high / low - 1 == pytest.approx(2 * bound.radius, rel=1e-2)
    low, high = map(float, bound.loss)
    assert low < float(run.data["loss"][-1]) < high
    assert high - low < 1e-5
    assert bound.radius < 1e-5
    assert bound.allocation() == (0,)


def test_a_wrong_velocity_proves_nothing(monkeypatch):
    """Points that follow a flow one per cent faster have a defect of that size: no bound is given."""

    class Faster(trajectory._Flow):
        def __init__(self, *args):
            super().__init__(*args)
            right = self.floats
            self.floats = lambda state: 1.01 * np.asarray(right(state))

    monkeypatch.setattr(trajectory, "_Flow", Faster)
    with pytest.raises(InputError, match=r"nothing is proved beyond that time"):
        certify_trajectory(ONE, START, 4.0)


def test_the_radius_is_that_of_the_defects(bound):
    """Without growth the defects add up to at most their largest times the time."""
    assert 0 < bound.largest_defect <= trajectory.DEFECT
    assert bound.radius > 1e-10


@pytest.mark.parametrize(
    ("problem", "start", "time", "told"),
    [
        (TWO.replace(n_heads=3), InitialState(mu=np.full((2, 3), 0.1), omega=np.full((2, 3), 0.1)), 1.0, "got I·H = 6"),
        (ONE, InitialState(mu=[[-0.3]], omega=[[0.1]]), 1.0, "all weights must be positive"),
        (ONE, START, 0.0, "t_final must be positive"),
    ],
)
def test_refusals(problem, start, time, told):
    with pytest.raises(InputError, match=told):
        certify_trajectory(problem, start, time)


@pytest.mark.slow
def test_two_tasks_and_two_heads_reach_their_allocation():
    start = InitialState(mu=[[0.8, 0.05], [0.05, 0.8]], omega=[[0.3, 0.05], [0.05, 0.3]])
    bound = certify_trajectory(TWO, start, 8.0)
    assert bound.allocation(F(999, 1000)) == (0, 1)
    run = integrate(TWO, start, t_final=8.0, rtol=1e-12)
    assert float(bound.loss[0]) < float(run.data["loss"][-1]) < float(bound.loss[1])
    assert bound.radius < 1e-4


@pytest.mark.slow
def test_one_task_chooses_between_two_heads():
    pair = ONE.replace(n_heads=2)
    bound = certify_trajectory(pair, InitialState(mu=[[0.5, 0.1]], omega=[[0.2, 0.05]]), 20.0)
    assert bound.allocation(F(999, 1000)) == (0,)
