"""Events: their times against a search on independent solutions, their order, and where they are shown."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import headflow as hf
from cases import REFERENCE, START, oracle
from headflow.report.summary import flow_summary
from oracles.hand_rhs import make_rhs

RUN = hf.integrate(REFERENCE, START, t_final=1e4, rtol=1e-9)


def hand_solution():
    """The flow by hand-written code and SciPy's own event location."""
    shared = make_rhs(oracle(REFERENCE), 3, "balanced_log")

    def hand(t, y):
        return np.array(shared(t, y))

    def outputs(y):
        return (np.exp(y[:9]) * np.exp(y[9:])).reshape(3, 3).sum(axis=1)

    final = RUN.final
    halves = (final.mu * final.omega).sum(axis=1) / 2
    conditions = [lambda t, y, task=task: outputs(y)[task] - halves[task] for task in range(3)]
    start = np.log(np.concatenate([START.mu.ravel(), START.omega.ravel()]))
    return solve_ivp(hand, (0, 100), start, "DOP853", rtol=1e-11, atol=1e-11, events=conditions)


def test_tasks_emerge_when_hand_written_code_says() -> None:
    found = {event.task: event for event in RUN.events if event.name == "task_emergence"}
    assert len(found) == 3
    for task, times in enumerate(hand_solution().t_events):
        assert found[task].t == pytest.approx(times[0], rel=1e-7)
        assert found[task].head == RUN.allocation.heads[task]


def test_times_are_roots_of_their_conditions() -> None:
    limit, start = RUN.phases.limit, RUN.loss[0]
    times = {event.name: event.t for event in RUN.events if event.task is None}
    assert RUN.loss_at(times["emergence"]) == pytest.approx((start + limit) / 2, rel=1e-11)
    assert times["emergence"] not in RUN.t
    assert times["convergence_onset"] == RUN.phases.convergence_onset
    assert "escape" not in times
    stretch = np.exp(0.1)
    before, after = (RUN.loss_at(times["convergence_onset"] * at) - limit for at in (1 / stretch, stretch))
    assert np.log(after / before) / 0.2 == pytest.approx(-2.2, abs=1e-6)


def test_an_escape_and_the_changes_of_sign_before_it() -> None:
    start = hf.InitialState(START.mu * 10, START.omega * 10, [np.full((3, 3), 0.01), np.zeros((3, 3))])
    run = hf.integrate(REFERENCE, start, "split", t_final=400)
    by_name: dict[str, list] = {}
    for event in run.events:
        by_name.setdefault(event.name, []).append(event)
    assert len(by_name["sign_change"]) == 6
    for event in by_name["sign_change"]:
        assert abs(run.at(event.t).mu[event.task, event.head]) < 1e-12
        assert run.allocation.heads[event.task] != event.head or run.phases.escape < 400
    (escape,) = by_name["escape"]
    assert run.loss_at(escape.t) == pytest.approx(run.phases.limit * (1 - 3 * run.error_estimate), rel=1e-11)
    assert [event.t for event in run.events] == sorted(event.t for event in run.events)


def test_they_are_frozen_and_shown() -> None:
    first = RUN.events[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.t = 0.0  # type: ignore[misc]
    assert RUN.to_json()["events"][0] == {"t": first.t, "name": first.name, "task": first.task, "head": first.head}
    assert f"event     {first}" in flow_summary(RUN)
    assert str(first).startswith(f"task {first.task + 1} emerges on head {first.head + 1} at t = ")


def test_tasks_that_have_not_emerged_or_had_at_the_start_have_no_emergence() -> None:
    early = hf.integrate(REFERENCE, START, t_final=30)
    assert early.phases.emergence is None
    assert not [event for event in early.events if event.name == "task_emergence"]
    state = RUN.at(60)
    late = hf.integrate(REFERENCE, hf.InitialState(state.mu, state.omega), t_final=100)
    assert late.phases.limit is not None
    assert not [event for event in late.events if event.name == "task_emergence"]


def test_where_heads_stay_equal_tasks_emerge_on_all_of_them() -> None:
    """Equal heads act as one, whose limit is the single-head optimum."""
    equal = hf.InitialState(np.full((3, 3), 0.03), np.full((3, 3), 0.03))
    run = hf.integrate(REFERENCE, equal, t_final=200)
    assert run.phases.limit == pytest.approx(hf.compare(REFERENCE).losses["single_head_optimum"].value, rel=1e-14)
    assert run.final.loss == pytest.approx(run.phases.limit, rel=1e-5)
    found = [event for event in run.events if event.name == "task_emergence"]
    assert len(found) == 3
    assert {event.head for event in found} == {None}
