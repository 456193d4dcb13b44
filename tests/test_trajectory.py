"""The trajectory: rows, any time, labelled data, JSON, files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray

import headflow as hf
from cases import REFERENCE, START
from headflow.errors import InputError, InputTypeError
from headflow.numerics.solving import solvers
from headflow.numerics.trajectory.trajectory import Trajectory
from oracles import hand_formulas


@pytest.fixture(scope="module")
def run() -> Trajectory:
    return hf.integrate(REFERENCE, START, t_final=1e3, times=[40, 0, 2.5, 40, 1e3])


def test_rows(run: Trajectory) -> None:
    assert run.t[0] == 0
    assert run.t[-1] == 1e3
    assert (np.diff(run.t) > 0).all()
    assert set(run.times) <= set(run.t)
    assert run.times == (40, 0, 2.5, 40, 1e3)
    assert [state.t for state in run.states] == [40, 0, 2.5, 40, 1e3]
    assert run.mu.shape == run.omega.shape == (len(run.t), 3, 3)
    np.testing.assert_allclose(run.mu[0], START.mu, rtol=1e-15)
    assert run.loss[-1] == run.final.loss
    assert run.error_estimate == run.error.max()
    assert (run.loss_error <= run.error).all()


def test_it_is_frozen(run: Trajectory) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.rtol = 1.0  # type: ignore[misc]
    for array in (run.t, run.loss, run.mu, run.states_flat, run.at(3.0).omega):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_any_time(run: Trajectory) -> None:
    for row in (0, 1, 50, len(run.t) - 1):
        state = run.at(run.t[row])
        assert state.t == run.t[row]
        np.testing.assert_array_equal(state.mu, run.mu[row])
        assert state.loss == run.loss[row] == run.loss_at(run.t[row])
    for t in run.times[1:-1]:  # the panels know nothing of the times asked for
        near = run.at(float(np.nextafter(t, 0)))
        np.testing.assert_allclose(near.mu, run.at(t).mu, rtol=1e-7)
    problem = {"lam": [1, 1, 1], "d": [10, 10, 10], "sigma2": 0.1, "L": 100}
    state = run.at(47.11)
    assert state.loss == pytest.approx(hand_formulas.loss(state.mu, state.omega, problem), rel=1e-14)


@pytest.mark.parametrize(
    ("t", "kind", "message"),
    [
        (-1, InputError, "t must lie between 0 and the trajectory's end = 1000, got -1"),
        (1001, InputError, "got 1001"),
        (float("nan"), InputError, "t must be finite"),
        ("end", InputTypeError, "t must be a number"),
    ],
)
def test_times_outside_are_refused(run: Trajectory, t: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        run.at(t)


def test_labelled_data(run: Trajectory) -> None:
    data = run.data
    assert data.mu.dims == ("t", "task", "head")
    assert data.loss.dims == ("t",)
    assert data.sel(t=40.0, task=2, head=1).mu.item() == run.at(40).mu[2, 1]
    assert list(data.task) == [0, 1, 2]
    frame = run.to_dataframe()
    assert frame.index.names == ["t", "task", "head"]
    assert frame.loc[(40.0, 2, 1), "omega"] == run.at(40).omega[2, 1]
    assert "learning rate" in data.t.attrs["units"]


def test_json(run: Trajectory) -> None:
    found = json.loads(json.dumps(run.to_json(), allow_nan=False))
    assert found["schema"] == 1
    assert found["problem"] == REFERENCE.to_dict()
    assert found["status"] == "reached_t_final"
    assert found["initial"] == {"scale": 0.03, "jitter": 0.2, "seed": 0}
    assert (found["closure"], found["parametrisation"]) == ("leading", "balanced")
    assert (found["t"], found["loss"]) == (1e3, run.final.loss)
    assert found["mu"] == run.final.mu.tolist()
    assert found["allocation"] == [0, 2, 1]
    assert found["shared"] is False
    assert found["phases"]["limit"] == pytest.approx(0.6905507363762284, rel=1e-14)
    assert found["phases"]["escape"] is None
    assert "above the limit" in found["phases"]["reasons"]["escape"]
    assert found["error_estimate"] == run.error_estimate
    assert set(found["stats"]) == {"evaluations", "jacobians", "products", "steps", "seconds"}
    assert [state["t"] for state in found["states"]] == [40, 0, 2.5, 40, 1e3]
    assert set(found["states"][0]) == {"t", "mu", "omega", "loss"}
    assert "states" not in hf.integrate(REFERENCE, START, t_final=1).to_json()


def test_what_does_not_exist_is_null_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solvers, "MAX_EVALUATIONS", 100)
    with pytest.raises(hf.errors.IntegrationError) as caught:
        hf.integrate(REFERENCE, START)
    partial = caught.value.partial
    assert isinstance(partial, Trajectory)
    found = json.loads(json.dumps(partial.to_json(), allow_nan=False))
    assert found["status"] == "too_many_evaluations"
    assert found["error_estimate"] is None
    assert "not finished" in found["reasons"]["error_estimate"]
    assert found["allocation"][0] is None
    assert "< 0.9" in found["reasons"]["allocation[0]"]
    assert found["phases"]["limit"] is None
    assert found["phases"]["reasons"]["limit"]


def test_a_file_brings_everything_back(run: Trajectory, tmp_path: Path) -> None:
    path = tmp_path / "run.nc"
    run.save(path)
    loaded = Trajectory.load(path)
    for item in dataclasses.fields(Trajectory):
        if not isinstance(getattr(run, item.name), np.ndarray):
            assert getattr(loaded, item.name) == getattr(run, item.name), item.name
    assert loaded.initial.provenance == run.initial.provenance
    xarray.testing.assert_identical(loaded.data, run.data)
    assert loaded.at(47.11).loss == run.at(47.11).loss
    assert loaded.to_json() == run.to_json()
    with xarray.open_dataset(path, engine="scipy") as plain:
        assert plain.mu.dims == ("t", "task", "head")
        provenance = json.loads(plain.attrs["provenance"])
    assert provenance["initial"]["draw"] == {"scale": 0.03, "jitter": 0.2, "seed": 0}
    assert {"numpy", "scipy", "sympy", "python"} == set(provenance["versions"])
    assert path.read_bytes()[:4] == b"CDF\x02"
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.nc"]


def test_an_explicit_merged_start_comes_back(tmp_path: Path) -> None:
    initial = hf.InitialState(mu=[[0.1, -0.2]], omega=[[0.3, -0.1]])
    problem = hf.Problem([5], ["1/3"], 0.1, 50, 2)
    run = hf.integrate(problem, initial, "merged", t_final=30)
    run.save(tmp_path / "merged.nc")
    loaded = Trajectory.load(str(tmp_path / "merged.nc"))
    assert loaded.initial == initial
    assert loaded.problem == problem
    assert loaded.at(11.1).loss == run.at(11.1).loss


def test_files_are_not_overwritten_unless_asked(run: Trajectory, tmp_path: Path) -> None:
    path = tmp_path / "run.nc"
    path.write_text("mine")
    with pytest.raises(InputError, match=r"run.nc exists; it is overwritten only with force"):
        run.save(path)
    assert path.read_text() == "mine"
    with pytest.raises(InputError, match="holds no trajectory of headflow"):
        Trajectory.load(path)
    run.save(path, force=True)
    assert Trajectory.load(path).final.loss == run.final.loss


def test_unusable_paths(run: Trajectory, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot write .*nowhere/run.nc: No such file"):
        run.save(tmp_path / "nowhere" / "run.nc")
    with pytest.raises(InputError, match="is a directory"):
        run.save(tmp_path)
    with pytest.raises(InputError, match=r"cannot read .*none.nc: No such file"):
        Trajectory.load(tmp_path / "none.nc")
    xarray.Dataset({"x": ("t", [1.0])}).to_netcdf(tmp_path / "other.nc", engine="scipy")
    with pytest.raises(InputError, match="holds no trajectory of headflow"):
        Trajectory.load(tmp_path / "other.nc")
    assert {entry.name for entry in tmp_path.iterdir()} == {"other.nc"}


def test_it_shows_itself(run: Trajectory) -> None:
    assert repr(run).startswith("Trajectory(3 tasks, 3 heads, balanced,")
    page = run._repr_html_()
    assert "task 1 on head 1; task 3 on head 2; task 2 on head 3" in page
    assert "The integration reached t_final." in page
    assert (run.method, "stiff" in run.method_reason) in (("LSODA", True), ("Rodas5P", False))
    assert "task 1 on head 1" in run.allocation._repr_html_()
