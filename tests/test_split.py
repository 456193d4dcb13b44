"""The split flow as it is integrated: its chart and starts, against the plain flow of o, v, k, q; files and verbs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import headflow as hf
from cases import REFERENCE, START, oracle, random_case
from headflow.cli import dispatch as cli
from headflow.errors import InputError, InputTypeError
from headflow.numerics import ProblemFile, compile_system
from headflow.numerics.flows.dynamics import Dynamics
from headflow.numerics.flows.growth import Growth
from headflow.numerics.trajectory.trajectory import Trajectory
from headflow.theory import gradient_flow, split_flow, to_growth
from oracles import hand_formulas as hand

PROBLEM = hf.Problem(dims=[3, 7], signal_power=[1, 2], noise_variance=0.1, context_length=50, n_heads=3)
ROOT_D_E = np.sqrt(PROBLEM.embedding_dim)
# Every kind of entry: either sign or none of the weight, either sign or none of the invariant.
MU = np.array([[0.2, -0.1, 0.0], [0.3, -0.2, 0.0]])
OMEGA = np.array([[0.1, 0.2, -0.15], [-0.05, 0.0, 0.0]])
DELTA = np.array([[0.1, -0.3, 0.2], [0.0, 0.0, 0.0]])
GAMMA = np.array([[0.0, -0.1, 0.5], [0.0, -0.2, 1e-3]])
MIXED = hf.InitialState(MU, OMEGA, (DELTA, GAMMA))


def documented_factors(product: np.ndarray[Any, Any], imbalance: np.ndarray[Any, Any]) -> list[Any]:
    """The formula of the documentation; its quotient is 0/0 where both factors may be anything of that imbalance."""
    first = np.sqrt((np.sqrt(imbalance**2 + 4 * product**2) + imbalance) / 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return [first, np.where(first > 0, product / first, np.sqrt(np.abs(imbalance)))]


def start_factors() -> Any:
    return np.stack([*documented_factors(MU, DELTA), *documented_factors(ROOT_D_E * OMEGA, GAMMA)])


def test_every_start_has_the_documented_factors() -> None:
    growth = Growth.of(PROBLEM, MIXED)
    np.testing.assert_allclose(growth.factors(growth.start.ravel()), start_factors(), rtol=1e-12, atol=1e-15)
    assert np.isneginf(growth.plus[0, 1, 1])
    assert np.isneginf(growth.minus[0, 1, 0])


def test_the_chart_is_derived_and_its_jacobian_right() -> None:
    chart = to_growth(split_flow())
    report = chart.derivation.check()
    assert report.holds
    assert {"growth in mu", "growth in omega", "sum and difference in mu"} <= set(report.passed)
    with pytest.raises(ValueError, match="only split"):
        to_growth(gradient_flow("balanced"))
    flow = Dynamics(PROBLEM, MIXED, "split", "leading")
    y, step = flow.start + 0.1, 1e-5
    columns = [(flow.velocity(y + e) - flow.velocity(y - e)) / (2 * step) for e in step * np.eye(len(y))]
    np.testing.assert_allclose(flow.jacobian(y), np.stack(columns, axis=1), rtol=1e-6, atol=1e-8)


def test_the_velocity_is_that_of_the_factors() -> None:
    """Along the chart the factors move as the hand-typed flow says, at every kind of entry."""
    flow = Dynamics(PROBLEM, MIXED, "split", "leading")
    y = flow.start + 0.2
    moved = (flow.factors(y + 1e-6 * flow.velocity(y)) - flow.factors(y - 1e-6 * flow.velocity(y))) / 2e-6
    expected = hand.velocity_split(*flow.factors(y), oracle(PROBLEM))
    np.testing.assert_allclose(moved, np.stack(expected), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("velocity", ["hand", "generated"])
def test_against_a_plain_integration_of_the_factors(velocity: str) -> None:
    generated = compile_system(split_flow()).velocity.bind(PROBLEM.float_values())
    shape = (4, *MU.shape)
    sources: dict[str, Callable[[Any], Any]] = {
        "hand": lambda y: np.stack(hand.velocity_split(*y.reshape(shape), oracle(PROBLEM))).ravel(),
        "generated": generated,
    }
    plain = solve_ivp(
        lambda t, y: sources[velocity](y), (0, 30), start_factors().ravel(), "DOP853", rtol=1e-12, atol=1e-14
    )
    end = plain.y[:, -1].reshape(shape)
    run = hf.integrate(PROBLEM, MIXED, "split", t_final=30)
    np.testing.assert_allclose(run.factors[:, -1], end, rtol=0, atol=1e-7)
    np.testing.assert_allclose(run.final.mu, end[0] * end[1], rtol=0, atol=1e-7)
    np.testing.assert_allclose(run.final.omega, end[2] * end[3] / ROOT_D_E, rtol=0, atol=1e-7)
    assert run.loss[-1] == pytest.approx(hand.loss(run.final.mu, run.final.omega, oracle(PROBLEM)), rel=1e-12)
    assert (end[0] * end[1] * MU < 0).any()  # the comparison covers a change of sign


def test_recorded_factors_keep_their_invariants_and_products() -> None:
    run = hf.integrate(PROBLEM, MIXED, "split", t_final=1e3)
    data = run.data
    for (first, second), product, imbalance, scale in (
        (("o", "v"), "mu", DELTA, 1.0),
        (("k", "q"), "omega", GAMMA, ROOT_D_E),
    ):
        size = data[first] ** 2 + data[second] ** 2 + 1e-300
        assert float((abs(data[first] ** 2 - data[second] ** 2 - imbalance) / size).max()) < 1e-14
        assert float((abs(data[first] * data[second] - scale * data[product]) / size).max()) < 1e-14
        assert data[first].dims == ("t", "task", "head")
    assert (data.mu[:, 1, 2] == 0).all()  # o = v = 0 stays
    assert (np.diff(run.loss) <= 1e-12).all()
    assert {"o", "q"} <= set(run.to_dataframe().columns)


@pytest.mark.parametrize("seed", range(6))
def test_without_imbalance_it_is_the_balanced_flow(seed: int) -> None:
    problem, initial = random_case(seed)
    split, balanced = (Dynamics(problem, initial, name, "leading") for name in ("split", "balanced"))
    assert np.array_equal(split.start, balanced.start)
    for shift in (0.0, 0.3, -800.0):  # at −800, and with it for ever, exp(−u) overflows
        assert np.array_equal(split.velocity(split.start + shift), balanced.velocity(balanced.start + shift))
    runs = [hf.integrate(problem, initial, name, t_final=1e3) for name in ("split", "balanced")]
    assert np.array_equal(runs[0].t, runs[1].t)
    np.testing.assert_allclose(runs[0].loss, runs[1].loss, rtol=1e-10)
    assert runs[0].allocation.heads == runs[1].allocation.heads
    np.testing.assert_allclose(runs[0].factors[0], np.sqrt(runs[0].mu), rtol=1e-12)


def test_the_mirrored_start_gives_the_mirrored_flow() -> None:
    """(μ, ω) → (−μ, −ω): where Γ = 0, ω < 0 is the other branch of the chart."""
    imbalance = (1e-4, 0.0)
    ours = hf.integrate(REFERENCE, START.with_imbalance(imbalance), "split", t_final=200)
    mirrored = hf.InitialState(-START.mu, -START.omega, imbalance)
    theirs = hf.integrate(REFERENCE, mirrored, "split", t_final=200)
    np.testing.assert_allclose(theirs.loss[-1], ours.loss[-1], rtol=1e-9)
    np.testing.assert_allclose(theirs.final.mu, -ours.final.mu, rtol=0, atol=1e-7)


def test_the_two_signs_of_the_invariants_give_the_same_weights() -> None:
    runs = [hf.integrate(REFERENCE, START.with_imbalance(sign * 1e-3), "split", t_final=300) for sign in (1, -1)]
    assert np.array_equal(runs[0].mu, runs[1].mu)
    assert np.array_equal(runs[0].factors[0], np.abs(runs[1].factors[1]))


@pytest.mark.parametrize("size", [1e-8, 1e-30, 1e-200])
def test_the_smallest_invariants_are_not_lost(size: float) -> None:
    """At 1e-200 both o = v in float64 and Δ² underflows; late the difference is all that is left."""
    growth = Growth.of(REFERENCE, START.with_imbalance(size))
    late = growth.start.ravel() - 600.0
    o, v, _, _ = growth.factors(late)
    np.testing.assert_allclose(np.log(-o * v), 2 * np.log(size / 4) - late[:9].reshape(3, 3), rtol=1e-12)


def test_factors_given_one_by_one() -> None:
    o, v, k, q = start_factors()
    given = hf.InitialState.from_factors(PROBLEM, -o, -v, k, q)
    np.testing.assert_allclose(given.mu, MU, atol=1e-16)
    np.testing.assert_allclose(given.omega, OMEGA, atol=1e-16)
    np.testing.assert_allclose(given.imbalance, [DELTA, GAMMA], atol=1e-15)
    close = hf.InitialState.from_factors(hf.Problem([1], [1], 1, 9, 1), [[1 + 1e-13]], [[1.0]], [[1.0]], [[1.0]])
    assert close.imbalance[0, 0, 0] == pytest.approx(2e-13, rel=1e-3)
    with pytest.raises(InputError, match="o, v, k and q must have the same shape"):
        hf.InitialState.from_factors(PROBLEM, o, v, k[:1], q)
    with pytest.raises(InputError, match=r"k must be finite, got k\[0\]\[0\] = nan"):
        hf.InitialState.from_factors(PROBLEM, o, v, k * np.nan, q)


@pytest.mark.parametrize(
    ("imbalance", "error", "message"),
    [
        ((1, 2, 3), InputError, "a number or a pair"),
        ("1e-3", InputTypeError, "imbalance Delta must be"),
        ((1e-3, np.ones((3, 2))), InputError, r"imbalance Gamma must be a number or have the shape \(2, 3\)"),
        (float("nan"), InputError, "imbalance Delta must be finite"),
        (np.ones((2, 2, 3)) * np.inf, InputError, r"imbalance Delta must be finite, got .*\[0\]\[0\] = inf"),
        (None, InputTypeError, "imbalance Delta must be"),
    ],
)
def test_an_imbalance_that_is_none(imbalance: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        hf.InitialState(MU, OMEGA, imbalance)


@pytest.mark.parametrize("parametrisation", ["balanced", "merged"])
def test_only_split_has_an_imbalance_and_factors(parametrisation: str) -> None:
    with pytest.raises(InputError, match=f"the {parametrisation} parametrisation has no imbalance"):
        hf.integrate(REFERENCE, START.with_imbalance((0, 1e-9)), parametrisation)
    run = hf.integrate(REFERENCE, START, parametrisation, t_final=1)
    assert "o" not in run.data
    with pytest.raises(InputError, match="only split weights have the factors"):
        _ = run.factors


def test_equality_and_words_see_the_imbalance() -> None:
    tilted = START.with_imbalance((1e-6, 0))
    assert tilted != START
    assert tilted == hf.InitialState.random(REFERENCE, 0.03, imbalance=(1e-6, -0.0))
    assert hash(tilted) != hash(START)
    assert tilted.with_imbalance(0) == START
    assert "imbalance=[1e-06, 0.0]" in repr(tilted)
    assert tilted.to_dict() == {"scale": 0.03, "jitter": 0.2, "seed": 0, "imbalance": [1e-6, 0.0]}
    assert START.with_imbalance(2).to_dict()["imbalance"] == 2.0
    assert MIXED.to_dict()["imbalance"] == [DELTA.tolist(), GAMMA.tolist()]
    assert eval(repr(MIXED), {"InitialState": hf.InitialState}) == MIXED


def test_overflow_names_heads_and_tasks() -> None:
    with pytest.raises(InputError, match=r"initial omega is too large.* of head 1 "):
        hf.integrate(REFERENCE, hf.InitialState(START.mu, 9 * np.eye(3), 1e-3), "split")
    with pytest.raises(InputError, match="overflows"):
        hf.integrate(REFERENCE, hf.InitialState(1e200 * START.mu, START.omega, 1e-3), "split")


@pytest.mark.parametrize("initial", [START.with_imbalance(1e-3), START.with_imbalance((0, -2)), START])
def test_files_of_trajectories(initial: hf.InitialState, tmp_path: Path) -> None:
    run = hf.integrate(REFERENCE, initial, "split", t_final=100, times=[50])
    run.save(tmp_path / "run.nc")
    loaded = Trajectory.load(tmp_path / "run.nc")
    assert loaded.initial == initial
    assert loaded.initial.provenance == initial.provenance
    assert loaded.data.identical(run.data)
    assert loaded.at(33.3).mu.tolist() == run.at(33.3).mu.tolist()
    assert json.loads(json.dumps(run.to_json()))["initial"] == initial.to_dict()


@pytest.mark.parametrize("initial", [START.with_imbalance(1e-3), START.with_imbalance((0, -2)), START, None])
def test_problem_files_say_it_back(initial: hf.InitialState | None) -> None:
    given = ProblemFile(REFERENCE, parametrisation="split", initial=initial)
    assert ProblemFile.parse(given.to_toml()) == given
    mixed = ProblemFile(PROBLEM, parametrisation="split", initial=MIXED)
    assert ProblemFile.parse(mixed.to_toml()) == mixed


TEXT = ProblemFile(hf.Problem([2], [1], 1, 9, 1), parametrisation="split").to_toml().split("initial")[0]


def test_problem_files_take_factors() -> None:
    found = ProblemFile.parse(TEXT + "initial = { o = [[2]], v = [[1]], k = [[1]], q = [[-3]] }").initial
    assert found.mu == [[2]]
    assert found.omega == pytest.approx(-3 / np.sqrt(3), rel=1e-15)
    assert found.imbalance.ravel().tolist() == [3, -8]


@pytest.mark.parametrize(
    ("initial", "message"),
    [
        ("{ o = [[1]], v = [[1]], k = [[1]] }", "or all of o, v, k, q, got o, v, k"),
        ("{ o = [[1]], v = [[1]], k = [[1]], q = [[1]], imbalance = 1 }", "got o, v, k, q, imbalance"),
        ("{ imbalence = 1 }", "did you mean 'imbalance'"),
        ("{ imbalance = [1, 2, 3] }", "a number or a pair"),
        ('{ imbalance = "a" }', "imbalance Delta"),
    ],
)
def test_problem_files_with_a_wrong_start(initial: str, message: str) -> None:
    with pytest.raises((InputError, InputTypeError), match=message):
        ProblemFile.parse(f"{TEXT}initial = {initial}")


NUMBERS = ["--dims", "4,4", "--signal", "1,1", "--heads", "2", "--context", "60", "--noise", "0.1", "--t-final", "80"]


@pytest.mark.parametrize(("words", "imbalance"), [("1e-3", 1e-3), ("1e-3,-2e-3", [1e-3, -2e-3]), ("-1e-3", -1e-3)])
def test_the_command_line_takes_it(words: str, imbalance: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["integrate", *NUMBERS, "--parametrisation", "split", "--imbalance", words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["initial"]["imbalance"] == imbalance
    assert found["parametrisation"] == "split"
    assert cli.main(["compare", *NUMBERS, "--parametrisation", "split", "--seed", "3", "--imbalance", words]) == 0
    assert "flow at its end" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--imbalance", "1e-3"], "the balanced parametrisation has no imbalance"),
        (["--parametrisation", "split", "--imbalance", "1,2,3"], "--imbalance takes one number or two, got 3"),
        (["--parametrisation", "split", "--imbalance", ""], "--imbalance takes one number or two, got 0"),
        (["--parametrisation", "split", "--imbalance", "x"], "--imbalance must be a number, got 'x'"),
    ],
)
def test_what_the_command_line_refuses(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["integrate", *NUMBERS, *words]) == 2
    assert message in capsys.readouterr().err
