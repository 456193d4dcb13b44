"""Closures beside the sampled attention: the tables of the theory, in Python and on the command line."""

from __future__ import annotations

import dataclasses
import json
import math
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headflow import InitialState, Problem, compare_closures
from headflow.cli.dispatch import main
from headflow.errors import InputError
from headflow.numerics.attention.spectral import quick_risk

ROOT = Path(__file__).parent.parent

TWO = Problem(dims=[15, 15], signal_power=[1, 1], noise_variance="0.1", context_length=400, n_heads=2)
TWO_WEIGHTS = InitialState(mu=[[3, 0.1], [0, 3]], omega=[[0.26, 0.05], [0.06, 0.26]])
PAIR = Problem(dims=[10], signal_power=[1], noise_variance="0.1", context_length=100, n_heads=2)
PAIR_WEIGHTS = InitialState(mu=[[4, -4]], omega=[[0.1, -0.1]])


@pytest.mark.parametrize(
    ("problem", "weights", "samples", "listed", "sampled", "spread"),
    [
        (
            TWO,
            TWO_WEIGHTS,
            5_000,
            {"leading": (0.1208, 0.1192), "finite_d": (0.1265, 0.1248), "first_order": (0.1351, 0.1333)},
            (0.1304, 0.1299),
            0.0005,
        ),
        (PAIR, PAIR_WEIGHTS, 20_000, {"leading": (0.1105,), "first_order": (0.1207,)}, (0.1195,), 0.0004),
    ],
    ids=["two tasks", "a pair"],
)
def test_the_listed_losses(problem, weights, samples, listed, sampled, spread):
    table = compare_closures(problem, weights, n_samples=samples, seed=3)
    for closure, values in listed.items():
        np.testing.assert_allclose(table.closures[closure], values, atol=6e-5)
    apart = np.abs(table.sampled.tasks - sampled)
    assert (apart < 3 * np.hypot(table.sampled.task_errors, spread)).all()
    assert table.sampled.value == pytest.approx(table.sampled.tasks.sum(), rel=1e-12)
    assert table.notes == {}


def test_outside_domain_and_validity_is_said():
    far = InitialState(mu=[[1.0, 0.0]], omega=[[0.8, 0.1]])
    table = compare_closures(PAIR, far, n_samples=10)
    assert table.closures["finite_d"] is None
    assert "ω_i^h ω_i^k < 1/2" in table.notes["finite_d"]
    near = compare_closures(PAIR, InitialState(mu=[[1.0, 0.0]], omega=[[0.45, 0.1]]), n_samples=10)
    assert near.closures["first_order"] is not None
    assert "accurate only where (ω_i^h)² < 1/6" in near.notes["first_order"]
    assert "—" in table.text()
    assert "<td>—</td>" in table._repr_html_()


def test_bad_input():
    with pytest.raises(InputError, match="at least 2"):
        compare_closures(PAIR, PAIR_WEIGHTS, n_samples=1)
    with pytest.raises(InputError, match="shape"):
        compare_closures(TWO, PAIR_WEIGHTS)


def test_command_line(tmp_path, capsys):
    file = tmp_path / "problem.toml"
    file.write_text(
        "[problem]\ndims = [10]\nsignal_power = [1.0]\nnoise_variance = 0.1\ncontext_length = 100\nn_heads = 2\n"
        '[flow]\nparametrisation = "merged"\ninitial = { mu = [[4.0, -4.0]], omega = [[0.1, -0.1]] }\n'
    )
    assert main(["compare", str(file), "--weights", "--samples", "200", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["closures"]["leading"]["value"] == pytest.approx(0.110517, abs=1e-6)
    assert found["monte_carlo"]["n_samples"] == 200
    assert main(["compare", str(file), "--weights", "--samples", "200"]) == 0
    assert "sampled attention" in capsys.readouterr().out
    assert main(["compare", str(file), "--samples", "200"]) == 2
    assert "--weights" in capsys.readouterr().err


def documented() -> dict[tuple[str, str], list[str]]:
    """The rows of the table in docs/closures.md by problem and weights."""
    lines = (ROOT / "docs" / "closures.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines if line.startswith("| ")]
    return {(row[0], row[1]): row[2:] for row in cells[2:]}


def measured() -> list[Any]:
    """The cases of benchmarks/closures.py."""
    folder = str(ROOT / "benchmarks")
    sys.path.insert(0, folder)
    try:
        return runpy.run_path(f"{folder}/closures.py")["cases"]()
    finally:
        sys.path.remove(folder)


def test_the_table_of_the_docs_is_that_of_its_script():
    """Closures and next term are computed again, the sampled risk within both errors."""
    rows, cases = documented(), measured()
    assert list(rows) == [(case.words, case.state) for case in cases]
    for case in cases:
        if case.state != "half-way":
            check_row(case, rows[case.words, case.state])


@pytest.mark.slow
def test_the_rows_of_integrated_flows_too():
    rows = documented()
    for case in measured():
        if case.state == "half-way":
            check_row(case, rows[case.words, case.state])


def check_row(case: Any, row: list[str]) -> None:
    value, error = map(float, row[0].split(" ± "))
    risk = quick_risk(case.problem, case.weights.mu, case.weights.omega)
    assert abs(risk.value - value) < 4.5 * math.hypot(risk.standard_error, error) + 1e-4
    again = case.row(dataclasses.replace(risk, value=value, standard_error=error))[3:]
    assert again[-1] == row[-1]
    for new, old in zip(again[:-1], row[1:-1], strict=True):
        # The table's risk is rounded.
        assert new == old or float(new.rstrip(" %")) == pytest.approx(float(old.rstrip(" %")), abs=0.11 + 0.01 / value)
