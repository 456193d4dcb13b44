"""Phases predicted and measured: on trajectories of every parametrisation, in compare and on the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cases import REFERENCE
from headflow import InitialState, Problem, compare, integrate
from headflow.cli.dispatch import main
from headflow.numerics.predictions.predictions import Prediction, prediction_lines, predictions
from headflow.numerics.trajectory.crossings import emergence_times

SINGLE = Problem(dims=[10], signal_power=[1], noise_variance="0.1", context_length=100, n_heads=2)


def by_quantity(run):
    return {row.quantity: row for row in predictions(run)}


def test_balanced_emergence_winners_and_late_constant():
    run = integrate(REFERENCE, InitialState.random(REFERENCE, scale=0.003), t_final=1e5)
    rows = by_quantity(run)
    for task in (1, 2, 3):
        assert abs(rows[f"emergence of task {task}"].relative_difference) < 3e-3
        assert rows[f"head of task {task}"].same is True
    late = rows["K of the gap K/t²"]
    assert late.predicted == pytest.approx(698.367, abs=1e-3)
    assert abs(late.relative_difference) < 1e-3
    table = prediction_lines(predictions(run))
    assert len(table) == 8
    assert "698.367" in table[-1]
    shown = compare(REFERENCE, run)
    assert shown.to_json()["predictions"][-1]["predicted"] == late.predicted
    assert "emergence of task 1" in shown.text()


def test_split_sign_change():
    run = integrate(REFERENCE, InitialState.random(REFERENCE, scale=0.003, imbalance=1e-8), "split", t_final=1e4)
    rows = by_quantity(run)
    (change,) = [row for name, row in rows.items() if name.startswith("sign change")]
    assert abs(change.relative_difference) < 5e-3
    for task in (1, 2, 3):  # though it has escaped since
        assert abs(rows[f"emergence of task {task}"].relative_difference) < 5e-3
        assert rows[f"head of task {task}"].same is True
    assert "K of the gap K/t²" not in rows


def test_merged_valley():
    draw = np.random.default_rng(3)
    start = InitialState(mu=0.03 * draw.standard_normal((1, 2)), omega=0.03 * draw.standard_normal((1, 2)))
    rows = by_quantity(integrate(SINGLE, start, "merged", t_final=1e6))
    assert rows["exponent of gap"].predicted == pytest.approx(-2 / 3)
    assert abs(rows["constant of gap"].relative_difference) < 0.02
    assert abs(rows["exponent of omega"].relative_difference) < 0.02


def test_what_cannot_be_predicted_says_why():
    early = integrate(REFERENCE, InitialState.random(REFERENCE, scale=0.003), t_final=100)
    assert all(row.measured is None and row.note for row in predictions(early) if row.quantity.startswith("emergence"))
    other = integrate(REFERENCE, InitialState.random(REFERENCE, scale=0.03), closure="finite_d", t_final=100)
    assert predictions(other) == ()
    assert prediction_lines(()) == []


@pytest.mark.slow
def test_a_comparison_does_not_need_the_cascade():
    """Heads that tie have no winner, and a start that is not small is no start for it: the comparison says so."""
    tied = InitialState(mu=np.full((3, 3), 0.03), omega=np.full((3, 3), 0.03))
    run = integrate(REFERENCE, tied, t_final=100)
    (row,) = [row for row in compare(REFERENCE, run).predictions if row.quantity == "emergence"]
    assert row.predicted is None
    assert "tie" in row.note
    weak = Problem(dims=[10, 200], signal_power=[1, "0.001"], noise_variance=1, context_length=20, n_heads=2)
    run = integrate(weak, InitialState.random(weak), t_final=1e4)
    rows = [row for row in compare(weak, run).predictions if row.quantity.startswith("emergence")]
    assert len(rows) == 2
    assert all("which the start has not: Σ_j d_j ω_j² is 2.3" in row.note for row in rows)


def test_command_line(capsys):
    numbers = ["--dims", "10,10", "--signal", "1,1", "--heads", "2", "--context", "100", "--noise", "0.1"]
    numbers += ["--t-final", "1e3", "--json"]
    assert main(["compare", *numbers]) == 0
    rows = json.loads(capsys.readouterr().out)["predictions"]
    assert {"quantity", "predicted", "measured", "note", "label", "relative_difference", "same"} == set(rows[0])


def test_labels_are_the_same_or_different():
    """Head 1 instead of head 2 is no deviation of −50 %."""
    rows = [Prediction("head of task 1", 2.0, seen, "", label=True) for seen in (1.0, 2.0, None)]
    assert [row.comparison for row in rows] == ["different", "same", ""]
    assert [row.relative_difference for row in rows] == [None, None, None]
    assert "%" not in "".join(prediction_lines(rows))


def test_the_late_constant_is_that_of_the_state():
    """With more heads than tasks a task may stay on two heads, and K is that of the weaker one."""
    problem = Problem(dims=[8, 1], signal_power=["0.542", "7.83"], noise_variance="0.321", context_length=89, n_heads=3)
    late = by_quantity(integrate(problem, InitialState.random(problem, seed=28), t_final=1e7))["K of the gap K/t²"]
    assert late.predicted == pytest.approx(842.6, rel=1e-3)
    assert abs(late.relative_difference) < 0.02


def test_weak_tasks_emerge_and_starts_that_are_not_small_say_so():
    """Under strong noise the limit itself learns less than a hundredth."""
    faint = Problem(dims=[10, 10], signal_power=[1, 1], noise_variance=2000, context_length=100, n_heads=2)
    run = integrate(faint, InitialState.random(faint, scale=0.1, jitter=3), t_final=1e7)
    assert run.loss[-1] == pytest.approx(run.phases.limit, rel=1e-6)
    assert all(time is not None for time in emergence_times(run))
    held = Problem(dims=[10, 10], signal_power=[1, 1], noise_variance=50, context_length=10, n_heads=2)
    rows = by_quantity(integrate(held, InitialState.random(held), t_final=1e4))
    for task in (1, 2):  # though a head that dies meanwhile goes through a hundred thousand e-foldings
        assert rows[f"emergence of task {task}"].predicted > 100
        assert "which the start has not: Σ_j d_j ω_j² is" in rows[f"emergence of task {task}"].note
