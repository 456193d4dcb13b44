"""``simulate``: the sampled risk of a start, or its training beside the flow, in Python and on the command line."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from headflow import AttentionWeights, InitialState, Problem, Training, simulate
from headflow.cli.dispatch import main
from headflow.cli.grammar import STARTS
from headflow.errors import InputError, InputTypeError, TrainingError
from headflow.numerics import SampledRisk, Simulation, sampled_risk
from headflow.numerics.attention import starts
from headflow.numerics.attention.starts import FORMS, make_start
from headflow.numerics.attention.weights import random_rotation
from headflow.plot.simulation_figure import simulation_figure
from headflow.shipped import default_problem

SMALL = Problem(dims=[4, 3], signal_power=[1, 1], noise_variance="0.1", context_length=30, n_heads=2)
START = InitialState(mu=[[0.8, 0.3], [0.3, 0.8]], omega=[[0.2, 0.1], [0.1, 0.2]])
FILE = """
[problem]
dims = [4, 3]
signal_power = [1, 1]
noise_variance = 0.1
context_length = 30
n_heads = 2
[flow]
parametrisation = "balanced"
t_final = 1
initial = { mu = [[0.8, 0.3], [0.3, 0.8]], omega = [[0.2, 0.1], [0.1, 0.2]] }
"""


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate(SMALL, START, Training(3, 0.05, 64, records=20, backend="numpy"))


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "problem.toml"
    path.write_text(FILE, encoding="utf-8")
    return str(path)


def test_the_command_line_knows_the_starts():
    assert STARTS == starts.STARTS


def test_the_risk_of_a_start():
    risk = simulate(SMALL, START, n_samples=500, seed=3)
    assert isinstance(risk, SampledRisk)
    assert risk.value == sampled_risk(SMALL, START.mu, START.omega, n_samples=500, seed=3).value


def test_measured_and_predicted_stand_side_by_side(simulation):
    loss, mu, omega = simulation.predicted
    np.testing.assert_allclose(mu[0], START.mu, rtol=1e-12)
    np.testing.assert_allclose(omega[-1], simulation.flow.at(simulation.run.t[-1]).omega, rtol=1e-12)
    assert loss[0] == simulation.flow.loss[0]
    np.testing.assert_array_equal(simulation.heads, [0, 1])
    np.testing.assert_allclose(simulation.on_task(mu)[0], [0.8, 0.8])
    most = simulation.deviation("mu")
    apart = np.abs(simulation.run.mu / mu - 1)
    row = int(np.argmin(np.abs(simulation.run.t - most.t)))
    assert most.value == apart[:, [0, 1], [0, 1]].max() == apart[row, most.task, most.head]
    assert simulation.deviation("mu", until=0.0).value < 1e-12
    assert set(simulation.data) >= {"mu", "predicted_mu", "predicted_loss", "off_diagonal"}


def test_where_zero_is_predicted_there_is_no_relative_deviation():
    dead = InitialState(mu=[[0.8, 0.3], [0, 0]], omega=[[0.2, 0.1], [0, 0]])
    found = simulate(SMALL, dead, Training(0.2, 0.05, 16, records=2), parametrisation="split")
    for name in ("mu", "omega"):
        most = found.deviation(name)
        assert 0 < most.value < 1
        assert most.task == 0
    json.dumps(found.to_json(), allow_nan=False)


def test_the_table_and_the_figure(simulation):
    text = simulation.text()
    assert text.splitlines()[0].split() == [
        "t",
        "loss",
        "predicted",
        "task",
        "head",
        "μ",
        "predicted",
        "ω",
        "predicted",
    ]
    assert text.count("\n") == 1 + 6 * 2 + 4
    assert "from the leading balanced flow" in text
    assert "<td>" in simulation._repr_html_()
    drawn = ElementTree.fromstring(simulation_figure(simulation))
    assert drawn.tag.endswith("svg")
    assert "deviates by at most" in drawn.attrib["aria-label"]


def test_parametrisations_decide_what_is_trained():
    settings = Training(0.2, 0.05, 16, records=2)
    merged = simulate(SMALL, START, settings, parametrisation="merged", closure="finite_d")
    assert (merged.run.weights.names, merged.flow.closure) == (("key_query", "output_value"), "finite_d")
    split = simulate(SMALL, START.with_imbalance(0.5), settings, parametrisation="split")
    labels = np.diagonal(split.run.weights.parts[3] ** 2 - split.run.weights.parts[2] ** 2, axis1=1, axis2=2)[:, 7:]
    np.testing.assert_allclose(labels, 0.5, atol=0.02)
    with pytest.raises(InputError, match="positive"):
        simulate(SMALL, InitialState(mu=-START.mu, omega=START.omega), settings)
    with pytest.raises(InputTypeError, match="must be a Training"):
        simulate(SMALL, START, 3)


# The command line.


def test_command_line_risk(file, capsys):
    assert main(["simulate", file, "--samples", "300", "--draws", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == 1
    assert found["problem"]["dims"] == [4, 3]
    assert found["monte_carlo"]["n_samples"] == 300
    assert found["monte_carlo"]["value"] == simulate(SMALL, START, n_samples=300, seed=3).value
    assert main(["simulate", file, "--samples", "300"]) == 0
    out = capsys.readouterr().out
    assert "task 2" in out
    assert "regressors and noise averaged exactly" in out


def test_command_line_training(file, tmp_path, capsys):
    words = ["simulate", file, "--train", "--batch", "32", "--rate", "0.1", "--closure", "finite_d"]
    out = tmp_path / "out"
    assert main([*words, "--json", "-o", str(out)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"schema", "version", "problem", "closure", "t", "loss", "mu", "omega", "predicted", "deviation"} <= set(
        found
    )
    assert (found["closure"], found["t"][-1], found["training"]["batch"]) == ("finite_d", pytest.approx(1), 32)
    assert np.shape(found["predicted"]["omega"]) == np.shape(found["omega"]) == (11, 2, 2)
    assert sorted(path.name for path in out.iterdir()) == ["simulation.json", "simulation.svg"]
    assert json.loads((out / "simulation.json").read_text(encoding="utf-8")) == found
    assert main([*words, "-o", str(out)]) == 2
    assert "not empty" in capsys.readouterr().err
    assert main([*words[:-3], "0:0.1,5:0.2", "--json"]) == 0
    scheduled = json.loads(capsys.readouterr().out)
    assert scheduled["training"]["rate"] == [[0, 0.1], [5, 0.2]]
    np.testing.assert_allclose(scheduled["t"][:4], [0, 0.1, 0.22, 0.36])
    checkpoint = tmp_path / "run.npz"
    assert main([*words, "--checkpoint", str(checkpoint), "-o", str(out), "--force"]) == 0
    assert "key, query, value, output trained: sgd, rate 0.1, batch 32, 10 steps" in capsys.readouterr().out
    assert checkpoint.exists()


@pytest.mark.parametrize(
    ("words", "in_file", "t_final"), [([], 1e4, 100), ([], 20, 20), (["--t-final", "5e3"], 1e4, 5e3)]
)
def test_training_does_not_go_on_as_long_as_a_flow(words, in_file, t_final, tmp_path, monkeypatch):
    asked = []

    def simulated(problem, start, training, **_):
        asked.append(training.t_final)
        raise TrainingError("Enough.")

    monkeypatch.setattr("headflow.numerics.comparison.simulate.simulate", simulated)
    path = tmp_path / "problem.toml"
    path.write_text(default_problem().read_text(encoding="utf-8").replace("1e4", f"{in_file}"), encoding="utf-8")
    assert main(["simulate", str(path), "--train", *words]) == 4
    assert asked == [t_final]


def test_command_line_starts(file, capsys):
    words = ["simulate", file, "--train", "--batch", "16", "--t-final", "0.1", "--json", "--start"]
    scale = 30**-0.75
    for name, settings, trained, mu in (
        ("structured", [], "balanced", scale * np.array([[2, 1], [1, 2]])),
        ("factors", ["--scale", "0.5"], "balanced", [[1, 0.25], [0.25, 1]]),
        ("opposite", [], "merged", [[0.01, -0.01]] * 2),
        ("random", ["--seed", "3"], "merged", None),
    ):
        assert main([*words, name, *settings]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["parametrisation"] == trained
        assert found["start"] == {
            "kind": name,
            "scale": {"structured": scale, "factors": 0.5}.get(name, 0.01),
            "seed": 3 if name == "random" else 0,
        }
        expected = make_start(SMALL, "random", seed=3).spectrum().mu if mu is None else mu
        np.testing.assert_allclose(found["mu"][0], expected)
        np.testing.assert_allclose(found["predicted"]["mu"][0], expected)
    assert main(["simulate", file, "--start", "gaussian", "--seed", "2", "--samples", "200"]) == 0
    risk = simulate(SMALL, make_start(SMALL, "gaussian", seed=2), n_samples=200)
    out = capsys.readouterr().out
    assert f"{risk.value:.6g} ±" in out
    assert "prompts/s" in out
    assert main(["simulate", file, "--start", "factors", "--scale", "0.5", "--samples", "200", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["start"] == {"kind": "factors", "scale": 0.5, "seed": 0}
    for refused, sentence in (
        (["--scale", "1"], "--scale goes with --start"),
        (["--start", "structured", "--seed", "-1"], "seed must be at least 0"),
        (["--start", "factors", "--scale", "1e200"], "the weights are too large"),
        (["--start", "gaussian", "--scale", "1e200", "--train"], "mu must be finite"),
        (["--start", "oposite"], "did you mean 'opposite'"),
        (["--start", "random", "--scale", "0"], "scale must be positive"),
        (
            ["--start", "opposite", "--parametrisation", "balanced"],
            "goes with the parametrisation merged or split, got balanced",
        ),
        (["--start", "structured", "--gradient"], "--start goes without --gradient"),
        (["--train", "--gradient"], "--gradient goes without --train"),
    ):
        assert main(["simulate", file, *refused]) == 2
        assert sentence in capsys.readouterr().err
    with pytest.raises(InputError, match="not those of the balanced flow"):
        simulate(SMALL, make_start(SMALL, "identity"), Training(1))


@pytest.mark.parametrize("kind", STARTS)
@pytest.mark.parametrize("parametrisation", ["balanced", "merged", "split"])
def test_a_start_has_the_same_eigenvalues_in_each_parametrisation(file, capsys, kind, parametrisation):
    words = ["simulate", file, "--start", kind, "--parametrisation", parametrisation, "--samples", "100"]
    code, out = main(words), capsys.readouterr()
    if parametrisation not in FORMS[kind]:
        assert (code, out.out) == (2, "")
        assert f"goes with the parametrisation {' or '.join(FORMS[kind])}, got {parametrisation}" in out.err
        return
    assert code == 0, out.err
    start, usual = make_start(SMALL, kind, parametrisation=parametrisation), make_start(SMALL, kind)
    assert start.is_split == (parametrisation != "merged")
    for name in ("mu", "omega"):
        found, expected = (getattr(one.spectrum(), name) for one in (start, usual))
        np.testing.assert_allclose(found, expected, rtol=1e-14)
    simulation = simulate(SMALL, start, Training(0.1, batch=16), parametrisation=parametrisation)
    assert simulation.flow.parametrisation == parametrisation


def test_command_line_gradient(file, capsys):
    assert main(["simulate", file, "--gradient", "--samples", "2000", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    sampled = found["sampled"]
    for name in ("mu", "omega"):
        leading, first = (np.array(found["closures"][closure][name]) for closure in ("leading", "first_order"))
        # What first order leaves out is at most a part of what it corrects.
        margin = 4 * np.array(sampled[f"{name}_error"]) + 0.5 * np.abs(first - leading)
        assert (np.abs(sampled[name] - first) < margin).all()
    assert found["off_diagonal"]["holds"]
    assert main(["simulate", file, "--gradient", "--samples", "1000"]) == 0
    out = capsys.readouterr().out
    assert "ω of task 2, head 1" in out
    assert "off-diagonal gradient: zero within 4 standard errors" in out


def test_command_line_refusals_and_failures(file, tmp_path, capsys):
    for words, sentence in (
        (["--rate", "0.1"], "--rate goes with --train"),
        (["-o", "x"], "-o goes with --train"),
        (["--train", "--samples", "9"], "--samples goes without --train"),
        (["--train", "--optimiser", "adm"], "did you mean 'adam'"),
        (["--samples", "1"], "at least 2"),
        (["--train", "--rate", "0:0.1,x:1"], "--rate must be given in integers, got 'x'"),
        (["--trian"], "did you mean '--train'"),
    ):
        assert main(["simulate", file, *words]) == 2
        assert sentence in capsys.readouterr().err
    # A training that overflows: what was recorded until then is saved, the reason said, the exit code 4.
    out = tmp_path / "out"
    words = ["--train", "--rate", "2000", "--batch", "8", "--t-final", "1e5", "-o", str(out)]
    assert main(["simulate", file, *words]) == 4
    assert "overflowed at step" in capsys.readouterr().err
    assert (out / "simulation.json").exists()


SMALL_START = InitialState(mu=[[0.1, 0.05], [0.05, 0.1]], omega=[[0.05, 0.05], [0.05, 0.05]])
SHORT_CONTEXT = Problem(dims=[4, 4], signal_power=[1, 1], noise_variance=0.1, context_length=20, n_heads=2)


class TestCaveats:
    """Training beside the flow says where it has left it."""

    @pytest.fixture(scope="class")
    @classmethod
    def left(cls):
        return simulate(SHORT_CONTEXT, SMALL_START, Training(t_final=60, batch=128, backend="numpy"))

    def test_a_sign_that_balanced_weights_never_change(self, left):
        sign = next(caveat for caveat in left.caveats if "changes sign" in caveat)
        found = re.match(r"μ of task (\d) on head (\d) changes sign by t = ([\d.]+), which in exactly balanced", sign)
        task, head, t = int(found[1]) - 1, int(found[2]) - 1, float(found[3])
        row = int(np.abs(left.run.t - t).argmin())
        assert left.run.mu[row, task, head] < 0
        assert (left.run.mu[:row] > 0).all()

    def test_a_loss_away_from_the_flow(self, left):
        (away,) = (caveat for caveat in left.caveats if "the trained loss is away from" in caveat)
        assert "leading balanced flow, beyond its sampling error" in away
        assert "real attention with the flow's last weights loses" in away

    def test_json_and_the_command_line_have_them(self, left, capsys):
        assert left.to_json()["warnings"] == list(left.caveats)
        words = "--dims 4,4 --signal 1,1 --noise 0.1 --context 20 --heads 2 --t-final 60 --batch 128 --backend numpy"
        assert main(["simulate", "--train", "--start", "structured", "--scale", "0.05", *words.split()]) == 0
        text = capsys.readouterr().out
        assert text.count("warning: ") == 2
        assert "imbalance at the end: |o² − v²| up to 0." in text

    def test_none_while_training_follows(self):
        early = simulate(SHORT_CONTEXT, SMALL_START, Training(t_final=6, batch=128, backend="numpy"))
        assert early.caveats == ()

    def test_no_sign_is_kept_by_merged_weights(self):
        start = InitialState(mu=[[0.1, -0.05], [0.05, 0.1]], omega=[[0.05, 0.05], [0.05, -0.05]])
        training = Training(t_final=20, batch=128, backend="numpy")
        found = simulate(SHORT_CONTEXT, start, training, parametrisation="merged")
        assert not any("changes sign" in caveat for caveat in found.caveats)
        assert not found.run.imbalance.any()


class TestImbalance:
    def test_it_is_that_of_the_start(self):
        delta = np.array([[[0.3, -0.2], [0.1, 0.0]], [[0.05, 0.0], [-0.1, 0.2]]])
        start = InitialState(SMALL_START.mu, SMALL_START.omega, delta)
        weights = AttentionWeights.of(SHORT_CONTEXT, start, "split")
        assert weights.spectrum().imbalance == pytest.approx(delta, abs=1e-14)

    @pytest.mark.parametrize("rotated", [False, True])
    def test_of_exactly_balanced_weights_it_is_zero(self, rotated):
        rotation = random_rotation(SHORT_CONTEXT, 0) if rotated else None
        weights = AttentionWeights.spectral(SHORT_CONTEXT, SMALL_START.mu, SMALL_START.omega, rotation, "balanced")
        assert np.abs(weights.spectrum().imbalance).max() < 1e-16

    def test_a_step_breaks_it_at_second_order_in_the_rate(self):
        """The exact flow conserves it, whatever the gradient: what is left of a step is of order rate²."""
        found = []
        for rate in (0.02, 0.01):
            training = Training(t_final=rate, rate=rate, batch=16, backend="numpy")
            found.append(simulate(SHORT_CONTEXT, SMALL_START, training).run.imbalance[-1])
        assert found[0] == pytest.approx(4 * found[1], rel=1e-6)
        assert np.abs(found[0]).max() > 0
