"""The bound on a trajectory: it holds what a tight integration gives, and a wrong velocity leaves nothing proved."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from sympy import Rational, Symbol, exp, log, sqrt

from headflow import InitialState, Problem, integrate
from headflow.errors import InputError
from headflow.numerics import certify_convergence, certify_trajectory
from headflow.numerics.certificates import Interval, Tape, arithmetic, trajectory, trapping
from headflow.numerics.certificates.jets import Jet
from headflow.numerics.certificates.trapping import NotTrapping, trapping_region
from headflow.numerics.checks import Setting
from headflow.numerics.checks.registry import BASINS
from headflow.numerics.verification.verdict import outcome

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
    with kit.working():
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


NOISY = Problem(dims=[2, 3], signal_power=[1, 1.5], noise_variance=0.5, context_length=10, n_heads=2)
APART = InitialState(mu=[[0.8, 0.05], [0.05, 0.8]], omega=[[0.3, 0.05], [0.05, 0.3]])
SMALL = {"radius": F(1, 50), "largest_mu": F(1, 10**4), "largest_omega": F(1, 50)}


class TestTrappingRegion:
    def test_it_holds_the_limit_and_what_the_flow_becomes(self):
        region = trapping_region(NOISY, [0, 1], **SMALL)
        assert region.log_norm < 0 > region.decay
        run = integrate(NOISY, APART, t_final=1e4, rtol=1e-10)
        late = run.at(1e4)
        assert region.holds(*([[(F(x), F(x)) for x in row] for row in part.tolist()] for part in (late.mu, late.omega)))
        early = run.at(1.0)
        ranges = ([[(F(x), F(x)) for x in row] for row in part.tolist()] for part in (early.mu, early.omega))
        assert not region.holds(*ranges)

    def test_flows_from_its_corners_stay_and_converge(self):
        """Nothing is proved here that the region does not claim: corners are states in it."""
        region = trapping_region(NOISY, [0, 1], **SMALL)
        limit = None
        for share, omega in ((0, 1), (1, 0)):
            on_omega = [float(ends[omega]) for ends in region.omega]
            on_mu = [float(ends[share]) / w for ends, w in zip(region.share, on_omega, strict=True)]
            start = InitialState(
                mu=np.diag(on_mu) + np.full((2, 2), float(region.largest_mu)) * (1 - np.eye(2)),
                omega=np.diag(on_omega) + np.full((2, 2), float(region.largest_omega)) * (1 - np.eye(2)),
            )
            run = integrate(NOISY, start, t_final=1e5, rtol=1e-10)
            for t in (0.5, 3.0, 20.0, 300.0, 1e5):
                at = run.at(t)
                shares = [at.mu[task, task] * at.omega[task, task] for task in range(2)]
                assert all(low <= found <= high for found, (low, high) in zip(shares, region.share, strict=True))
            limit = limit or float(run.data["loss"][-1])
            assert float(run.data["loss"][-1]) == pytest.approx(limit, rel=1e-6)

    @pytest.mark.parametrize(
        ("problem", "heads", "changed", "told"),
        [
            (NOISY, [0, 1], {"radius": F(1)}, "region too large"),
            (NOISY, [0, 1], {"largest_omega": F(1)}, "region"),
            (NOISY, [0, 1], {"radius": F(1, 10**4)}, "too small, to keep a flow in it"),
            (NOISY, [0, 1], {"largest_mu": F(1, 10)}, "too large"),
            (NOISY, [0, 0], {}, "one task on every head"),
            (NOISY.replace(n_heads=3), [0, 1], {}, "one task on every head"),
        ],
    )
    def test_refusals(self, problem, heads, changed, told):
        with pytest.raises(NotTrapping, match=told):
            trapping_region(problem, heads, **{**SMALL, **changed})

    def test_nothing_is_proved_around_a_wrong_limit(self, monkeypatch):
        right = trapping.task_allocation_limit()
        omega = dataclasses.replace(right.omega, expression=right.omega.expression * Rational(11, 10))
        wrong = dataclasses.replace(right, omega=omega)
        monkeypatch.setattr(trapping, "task_allocation_limit", lambda: wrong)
        trapping._region.cache_clear()
        with pytest.raises(NotTrapping):
            trapping_region(NOISY, [0, 1], **SMALL)
        trapping._region.cache_clear()

    def test_the_check_holds(self):
        finding = BASINS["convergence"](Setting(NOISY, seed=0, quick=True))
        assert (finding.evidence, outcome(finding)) == ("enclosure", "holds")
        assert finding.certified[0].holds
        assert finding.certified[0].upper < 0


@pytest.mark.slow
def test_a_flow_is_proved_to_converge():
    found = certify_convergence(NOISY, APART, 30.0)
    assert found.region.allocation == (0, 1)
    assert found.region.holds(found.tube.mu, found.tube.omega)
    assert found.tube.t_final < 10
    assert found.tube.radius < 1e-3


@pytest.mark.slow
def test_one_task_is_proved_to_converge_and_soon_it_is_not_yet():
    pair = Problem(dims=[2], signal_power=[1], noise_variance=0.5, context_length=10, n_heads=1)
    start = InitialState(mu=[[0.7]], omega=[[0.6]])
    found = certify_convergence(pair, start, 20.0)
    assert found.region.allocation == (0,)
    assert 0 < found.tube.t_final < 20
    with pytest.raises(InputError, match=r"not shown by t = 0\.5"):
        certify_convergence(pair, start, 0.5)


@pytest.mark.slow
def test_another_allocation_is_refused():
    with pytest.raises(InputError, match=r"not shown by t = 0\.25"):
        certify_convergence(NOISY, APART, 0.25, allocation=(1, 0))
    together = InitialState(mu=[[0.8, 0.05], [0.8, 0.05]], omega=[[0.3, 0.05], [0.3, 0.05]])
    with pytest.raises(InputError, match="not on heads of their own"):
        certify_convergence(NOISY, together, 0.25)
