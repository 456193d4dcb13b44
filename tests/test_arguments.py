"""What people write: one name for a list, lists of times, whole floats and NumPy's scalars, arrays with labels; and
what stands in the wrong place, which costs one sentence."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import headflow as hf
from everything import PROBLEM, START, own_flow, own_run
from headflow import numerics, theory
from headflow.errors import InputError, InputTypeError
from headflow.theory.optima.optimum import head_budget

MU, OMEGA = np.array([[3.0, 0.1], [0.2, 4.0]]), np.array([[0.3, 0.01], [0.02, 0.4]])


@cache
def run() -> hf.Trajectory:
    return hf.integrate(PROBLEM, START, t_final=20.0)


def test_one_claim_needs_no_list() -> None:
    assert [verdict.id for verdict in hf.verify(PROBLEM, "factor-e", quick=True).verdicts] == ["factor-e"]
    with pytest.raises(InputError, match="unknown claim 'factor'; did you mean 'factor-e'"):
        hf.verify(PROBLEM, "factor")


def test_several_times_in_their_order() -> None:
    times = [7.0, 0.5, 7.0]
    states = run().at(times)
    assert [state.t for state in states] == times
    for state, t in zip(states, times, strict=True):
        assert state.to_json() == run().at(t).to_json()
    assert run().at(np.array(times))[1].t == 0.5
    assert run().at([]) == ()
    assert run().loss_at(times).tolist() == [run().loss_at(t) for t in times]
    assert run().weights_at(times).tolist() == [run().weights_at(t).tolist() for t in times]
    own = own_run()
    found = own.at([0.5, 0.25])
    assert found["x"].tolist() == [own.at(0.5)["x"].tolist(), own.at(0.25)["x"].tolist()]
    assert own.loss_at([0.5, 0.25]).tolist() == [own.loss_at(0.5), own.loss_at(0.25)]
    assert own.at([])["x"].shape == (0, 2, 2)


@pytest.mark.parametrize("kind", [float, np.float32, np.int16, np.array, lambda value: xr.DataArray(value)])
def test_whole_numbers_of_every_kind(kind: Callable[[int], Any]) -> None:
    found = hf.Problem([kind(4), kind(5)], [kind(1), kind(2)], np.array(0.1), kind(50), n_heads=kind(2))
    assert found == PROBLEM
    assert hf.Problem([4, 5], kind(1), 0.1, 50, 2).signal_power == (1, 1)
    assert hf.InitialState.random(PROBLEM, seed=kind(3)) == hf.InitialState.random(PROBLEM, seed=3)
    assert PROBLEM.subset([kind(1)], n_heads=kind(1)) == PROBLEM.subset([1], n_heads=1)
    assert hf.verify(PROBLEM, "energy-identity", workers=kind(1), digits=kind(50), quick=True).exit_code == 0
    assert theory.multi_head_optimum().evaluate(PROBLEM, kind(3)) == theory.multi_head_optimum().evaluate(PROBLEM, 3)
    assert run().at(kind(3)).t == 3
    assert hf.Training(t_final=kind(5), batch=kind(64)).batch == 64


@pytest.mark.parametrize("value", [2.5, True, np.True_, None, "2", {}, np.array([2]), float("nan"), np.array(2.5)])
def test_what_is_no_whole_number(value: Any) -> None:
    for use in (
        lambda: PROBLEM.replace(n_heads=value),
        lambda: hf.InitialState.random(PROBLEM, seed=value),
        lambda: hf.verify(PROBLEM, "factor-e", workers=value),
        lambda: numerics.search_optimum(PROBLEM, seed=value),
        lambda: hf.Training(t_final=1.0, rate=[(value, 0.1)]),
        lambda: head_budget(value),
    ):
        with pytest.raises(InputTypeError, match="must be an integer, got"):
            use()


@pytest.mark.parametrize("wrong", [None, {}, {"mu": [[1.0]]}, 3, "problem"])
def test_what_stands_in_the_wrong_place_costs_a_sentence(wrong: Any) -> None:
    weights = hf.AttentionWeights.of(PROBLEM, START, "balanced")
    uses: dict[str, Callable[[], object]] = {
        "problem": lambda: hf.verify(wrong),
        "problem ": lambda: hf.integrate(wrong, START),
        "initial": lambda: hf.integrate(PROBLEM, wrong),
        "problem  ": lambda: hf.compare(wrong),
        "problems": lambda: hf.ensemble(wrong, START),
        "initials": lambda: hf.ensemble(PROBLEM, wrong),
        "problem   ": lambda: hf.simulate(wrong),
        "weights": lambda: hf.compare_closures(PROBLEM, wrong),
        "problem    ": lambda: hf.compare_gradients(wrong, START),
        "problem     ": lambda: numerics.attention_risk(wrong, weights),
        "problem      ": lambda: numerics.bayes_risk(wrong),
        "problem       ": lambda: numerics.best_assignment(wrong),
        "problem        ": lambda: numerics.orbit_flow(wrong, START),
        "trajectory": lambda: numerics.emergence_times(wrong),
        "trajectory ": lambda: numerics.merged_outcome(wrong),
        "system": lambda: numerics.integrate_system(wrong, {}, {}, 1.0),
        "dims": lambda: hf.Problem(wrong, [1], 0.1, 50, 2),
        "mu": lambda: hf.InitialState(wrong, OMEGA),
        "closure": lambda: theory.population_loss(wrong),
        "a problem": lambda: theory.task_allocation_limit().loss.evaluate(wrong),
        "a problem ": lambda: theory.multi_head_optimum().exact(wrong),
    }
    if wrong != 3:
        uses |= {"t": lambda: run().at(wrong), "t ": lambda: own_run().at(wrong)}
    for name, use in uses.items():
        with pytest.raises((InputTypeError, InputError)) as caught:
            use()
        text = str(caught.value)
        assert text.startswith(name.strip()) or "closure" in text, text
        assert len(text) < 200
        assert "\n" not in text
    with pytest.raises(InputTypeError, match="signal_power"):
        hf.Problem([4, 5], {"task 1": 1, "task 2": 2}, 0.1, 50, 2)
    if wrong is not None:
        with pytest.raises(InputTypeError, match="run must be a Trajectory"):
            hf.compare(PROBLEM, wrong)
    if not isinstance(wrong, dict):
        with pytest.raises(InputTypeError, match="values must be a Mapping"):
            numerics.integrate_system(own_flow(), wrong, {"x": MU}, 1.0)


def test_arrays_with_labels_are_read_by_them() -> None:
    wanted = hf.InitialState(MU, OMEGA)
    mu, omega = (xr.DataArray(values, dims=("task", "head")) for values in (MU, OMEGA))
    labels = {"task": [0, 1], "head": [0, 1]}
    turned = mu.assign_coords(labels).isel(task=[1, 0]).transpose("head", "task")
    assert hf.InitialState(mu, omega) == wanted
    assert hf.InitialState(turned, omega.T) == wanted
    table = pd.DataFrame(MU, index=[0, 1], columns=[0, 1]).loc[[1, 0], [1, 0]]
    assert hf.InitialState(table, OMEGA) == wanted
    last = run().data.isel(t=-1)
    assert hf.InitialState(last["mu"].T, last["omega"]) == hf.InitialState(run().final.mu, run().final.omega)
    power = xr.DataArray([2, 1], dims="task", coords={"task": [1, 0]})
    assert hf.Problem([4, 5], power, 0.1, 50, 2) == PROBLEM
    assert hf.Problem(pd.Series([5, 4], index=[1, 0]), [1, 2], 0.1, 50, 2) == PROBLEM


def test_arrays_with_other_labels_are_refused() -> None:
    plain = xr.DataArray(MU)
    with pytest.raises(InputError, match="mu must have the axes task, head, got dim_0, dim_1"):
        hf.InitialState(plain, OMEGA)
    names = xr.DataArray(MU, dims=("task", "head"), coords={"task": ["a", "b"]})
    with pytest.raises(InputError, match="the labels of mu along task must be 0 to 1, got a, b"):
        hf.InitialState(names, OMEGA)
    with pytest.raises(InputError, match="the labels of signal_power along task must be 0 to 1, got 1, 2"):
        hf.Problem([4, 5], pd.Series([1, 2], index=[1, 2]), 0.1, 50, 2)
    labelled = xr.DataArray(MU, dims=("i", "h"))
    with pytest.raises(InputError, match="the start of x must be an array without labels"):
        numerics.integrate_system(own_flow(), {"a": [1.0, 2.0], "I": 2, "H": 2}, {"x": labelled}, 1.0)
    with pytest.raises(InputError, match="mu must be an array without labels"):
        hf.AttentionWeights.spectral(PROBLEM, labelled, OMEGA)
