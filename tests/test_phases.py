"""Allocation and phases read off trajectories, against the theory's constants."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import headflow as hf
from cases import REFERENCE, START, oracle
from headflow.numerics.flows.allocation import Allocation
from headflow.numerics.optima.reference import realised_limit
from headflow.numerics.trajectory.phases import QUANTITIES, phases_of
from headflow.numerics.trajectory.trajectory import Trajectory
from headflow.theory import multi_head_optimum, task_allocation_limit
from oracles import hand_formulas

LIMIT = 0.6905507363762284


@pytest.fixture(scope="module")
def run() -> Trajectory:
    return hf.integrate(REFERENCE, START, t_final=1e5)


def test_the_gap_closes_like_the_theory_says(run: Trajectory) -> None:
    constant = hand_formulas.tail_constant(oracle(REFERENCE))
    assert constant == pytest.approx(698.4, abs=0.05)
    assert (run.loss[-1] - LIMIT) * 1e10 == pytest.approx(constant, rel=0.01)
    assert (run.loss_at(1e4) - LIMIT) * 1e8 == pytest.approx(694, rel=0.002)


def test_the_phases_of_the_reference_case(run: Trajectory) -> None:
    phases = run.phases
    assert phases.limit == pytest.approx(LIMIT, rel=1e-14)
    assert phases.emergence == phases.t_50
    start = run.loss[0]
    for time, share in ((phases.t_25, 0.25), (phases.t_50, 0.5), (phases.t_75, 0.75)):
        assert time is not None
        assert run.loss_at(time) == pytest.approx(start - share * (start - LIMIT), rel=1e-10)
    assert phases.t_25 is not None
    assert phases.t_75 is not None
    assert phases.width == phases.t_75 - phases.t_25
    onset = phases.convergence_onset
    assert onset is not None
    assert 60 < onset < 1e4

    def slope(t: float) -> float:
        return float(np.log((run.loss_at(1.1 * t) - LIMIT) / (run.loss_at(t / 1.1) - LIMIT)) / np.log(1.21))

    assert all(abs(slope(t) + 2) < 0.21 for t in np.geomspace(onset, 9e4, 50))
    assert abs(slope(0.97 * onset) + 2) > 0.19
    assert phases.escape is None
    assert set(phases.reasons) == {"escape"}
    assert "emergence: 43.13" in str(phases)
    assert "convergence onset" in phases._repr_html_()


@pytest.mark.parametrize(("scale", "expected"), [(1e-2, 1.28792), (3e-3, 1.27762), (1e-3, 1.27590)])
def test_emergence_scales_with_the_start(scale: float, expected: float) -> None:
    initial = hf.InitialState.random(REFERENCE, scale=scale)
    run = hf.integrate(REFERENCE, initial, t_final=20 / scale)
    state = run.phases
    if state.emergence is None:  # two tasks on one head: the half-way loss is that allocation's own
        pytest.fail(str(state))
    assert scale * state.emergence == pytest.approx(expected, abs=1.5e-5)


def test_two_tasks_on_one_head_are_recognised() -> None:
    mu = START.mu.copy()
    mu[0, 1] = mu[1, 1] = 0.12
    run = hf.integrate(REFERENCE, hf.InitialState(mu=mu, omega=START.omega), t_final=1e5)
    allocation = run.allocation
    assert allocation.heads[0] == allocation.heads[1] == 1
    assert allocation.shared
    assert allocation.groups == ((2,), (0, 1)) or allocation.groups == ((0, 1), (2,))
    limit = hand_formulas.shared_head_limit(oracle(REFERENCE), [[0, 1], [2]])
    assert run.phases.limit == pytest.approx(limit, rel=1e-12)
    assert limit > LIMIT + 0.1
    assert 0 < run.loss[-1] - limit < 1e-5
    assert run.to_json()["shared"] is True


def test_one_head_takes_everything_or_drops_a_task() -> None:
    problem = hf.Problem([5, 10, 20], [4, 1, 0.1], 0.1, 100, 1)
    run = hf.integrate(problem, hf.InitialState.random(problem), t_final=1e6)
    assert run.allocation.heads == (0, 0, 0)
    assert run.phases.limit == pytest.approx(1.2629161042, abs=1e-9)
    assert run.loss[-1] == pytest.approx(1.2629161042, rel=1e-3)


def test_no_allocation_means_no_limit_and_says_so() -> None:
    run = hf.integrate(REFERENCE, START, t_final=1)
    assert None in run.allocation.heads
    phases = run.phases
    assert all(getattr(phases, name) is None for name in QUANTITIES)
    assert all("there is no allocation" in phases.reasons[name] for name in QUANTITIES)
    assert "on no single head" in str(run.allocation)


def test_a_merged_run_is_measured_against_where_it_ends() -> None:
    """The infimum of its valley, below the task-allocation limit, or the minimum of identical heads."""
    run = hf.integrate(REFERENCE, START, "merged", t_final=1e6)
    assert run.phases.limit == pytest.approx(multi_head_optimum().evaluate(REFERENCE), rel=1e-12)
    half = (run.loss[0] + run.phases.limit) / 2
    assert run.loss_at(run.phases.emergence) == pytest.approx(half, rel=1e-6)
    assert run.phases.escape is None
    assert "valley" in run.phases.reasons["convergence_onset"]
    alone = REFERENCE.subset([0], n_heads=2)
    alike = hf.InitialState(mu=[[0.3, 0.31]], omega=[[0.1, 0.1]])
    merged = hf.integrate(alone, alike, "merged", t_final=1e4)
    assert merged.phases.limit == pytest.approx(task_allocation_limit().loss.evaluate(alone), rel=1e-12)
    assert merged.phases.emergence is not None
    early = hf.integrate(REFERENCE, START, "merged", t_final=1)
    assert early.phases.limit is None
    assert "not decided" in early.phases.reasons["limit"]


def test_a_run_that_is_too_short_says_what_it_lacks() -> None:
    run = hf.integrate(REFERENCE, START, t_final=75)
    assert run.phases.emergence is not None
    assert run.phases.convergence_onset is None
    assert "the trajectory ends at t = 75" in run.phases.reasons["convergence_onset"]


def test_a_gap_below_the_error_is_no_slope() -> None:
    run = hf.integrate(REFERENCE, START, t_final=1e4)
    worse = dataclasses.replace(run, loss_error=np.full(len(run.t), 1e-3))
    assert worse.phases.convergence_onset is None
    reason = worse.phases.reasons["convergence_onset"]
    assert "the gap to the limit is below 20 × its error" in reason
    unknown = dataclasses.replace(run, error=np.full(len(run.t), np.inf))
    assert "not known" in unknown.phases.reasons["escape"]


def test_escape_is_the_loss_below_the_limit() -> None:
    run = hf.integrate(REFERENCE, START, t_final=1e4)
    phases = phases_of(run, lambda problem, groups, closure: 0.8)
    assert phases.escape is not None
    assert run.loss_at(phases.escape) == pytest.approx(0.8 * (1 - 3 * run.error_estimate), rel=1e-9)
    above = phases_of(run, lambda problem, groups, closure: 5.0)
    assert above.emergence is None
    assert "not above the limit" in above.reasons["emergence"]
    far = phases_of(run, lambda problem, groups, closure: -5.0)
    assert far.t_25 is not None
    assert far.emergence is None
    assert far.width is None
    assert "has not fallen 75%" in far.reasons["width"]


def test_allocations() -> None:
    mu = np.array([[2.0, 0.1], [1.0, 1.0], [-1.0, 0.0]])
    found = Allocation.of(mu, np.ones((3, 2)))
    assert found.heads == (0, None, None)
    assert found.shares == pytest.approx((2 / 2.1, 0.5, 0.0))
    assert not found.shared
    assert found.limit_groups is None
    assert found.undecided == (1, 2)
    assert found.to_json() == [0, None, None]
    assert str(found) == "task 1 on head 1; tasks 2, 3 on no single head"


def test_a_task_spread_over_heads_of_its_own_has_the_limit_of_one_head() -> None:
    problem = hf.Problem(dims=[6, 4], signal_power=[1, 2], noise_variance=0.1, context_length=80, n_heads=3)
    mu = np.array([[2.0, 1.5, 0.0], [0.0, 0.0, 2.0]])
    omega = np.array([[0.4, 0.4, 0.1], [0.1, 0.1, 0.5]])
    found = Allocation.of(mu, omega)
    assert found.heads == (None, 2)
    assert found.limit_groups == ((1,), (0,))
    assert realised_limit(problem, found.limit_groups) == pytest.approx(
        task_allocation_limit().loss.evaluate(problem), rel=1e-15
    )
    mu[1, 0] = 0.5  # head 1 now works for both tasks
    assert Allocation.of(mu, omega).limit_groups is None
