"""A result whose own error estimate is not small says so everywhere, and nothing is derived from it."""

from __future__ import annotations

import dataclasses
import json
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sympy import IndexedBase

import headflow as hf
from cases import REFERENCE, START
from headflow import theory
from headflow.cli import dispatch as cli
from headflow.errors import HeadflowError, IntegrationError, ReliabilityWarning, UnreliableError
from headflow.numerics import emergence_times, integrate_system, loss_drops, sign_changes, valley_report
from headflow.numerics.checks import dynamics, flow, valley
from headflow.numerics.checks.finding import Setting, carried_out
from headflow.numerics.compiler import compiler_installed
from headflow.numerics.flows.allocation import Allocation
from headflow.numerics.integration.integrate import integrate_reliably, integrate_silently
from headflow.numerics.predictions.predictions import predictions
from headflow.numerics.runtime.reliability import LARGEST_ERROR, doubt_about, tightened
from headflow.numerics.runtime.stop import StopReason
from headflow.numerics.solving.disturbance import disturbance
from headflow.numerics.trajectory.phases import QUANTITIES
from headflow.numerics.verification import verify as verification
from headflow.theory.notation import h, over_heads

PAIR = hf.Problem(dims=[5, 8], signal_power=[1, 0.5], noise_variance=0.1, context_length=50, n_heads=2)
PAIR_START = hf.InitialState.random(PAIR, scale=0.05)
ERRORS = [2e-3, 0.3, np.nan, np.inf]
BACKENDS = ["scipy", *(["llvm"] if compiler_installed() else [])]
JAX = [pytest.param("jax", marks=pytest.mark.slow)] if find_spec("jax") else []


def with_error(run: hf.Trajectory, error: float) -> hf.Trajectory:
    """The trajectory as it would be with that estimated error in one row in the middle."""
    errors = run.error.copy()
    errors[len(errors) // 2] = error
    return dataclasses.replace(run, error=errors, stop=StopReason.UNRELIABLE)


def run_of(parametrisation: str = "balanced") -> hf.Trajectory:
    start = PAIR_START
    if parametrisation == "split":
        start = hf.InitialState(start.mu, start.omega, 1e-3 * np.ones((2, 2, 2)))
    return hf.integrate(PAIR, start, parametrisation, t_final=300.0)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("parametrisation", ["balanced", "merged", "split"])
def test_nothing_is_derived_from_an_unreliable_trajectory(parametrisation: str, error: float, tmp_path: Path) -> None:
    good = run_of(parametrisation)
    assert good.reliable
    assert good.ensure_reliable() is good
    run = with_error(good, error)
    assert run.doubt is not None
    assert run.doubt.startswith("NOT RELIABLE: the estimated relative error is ")
    assert run.caveats[0] == run.doubt
    assert not run.completed
    assert run.phases.reasons == dict.fromkeys(QUANTITIES, run.doubt)
    assert all(getattr(run.phases, name) is None for name in QUANTITIES)
    assert run.events == ()
    assert (run.allocation.heads, run.allocation.limit_groups, str(run.allocation)) == ((None, None), None, "not known")
    assert predictions(run) == ()
    for derived in (emergence_times, sign_changes, valley_report):
        with pytest.raises(UnreliableError, match="NOT RELIABLE") as caught:
            derived(run)
        assert caught.value.partial is run
    found = json.loads(json.dumps(run.to_json(), allow_nan=False))
    assert (found["status"], found["reliable"], found["warnings"][0]) == ("unreliable", False, run.doubt)
    assert (found["allocation"], found["shared"], found["events"]) == ([None, None], None, None)
    assert found["phases"]["emergence"] is None
    assert {found["reasons"][name] for name in ("allocation", "shared", "events")} == {run.doubt}
    assert found["mu"] == run.final.mu.tolist()  # what was computed is kept
    assert run._repr_html_().index("NOT RELIABLE") < run._repr_html_().index("flow")
    assert "unreliable" in repr(run)
    run.save(tmp_path / "run.nc")
    assert hf.Trajectory.load(tmp_path / "run.nc").doubt == run.doubt


@pytest.mark.parametrize("error", ERRORS)
def test_an_unreliable_end_is_no_entry_of_a_comparison(error: float) -> None:
    good = run_of()
    run = with_error(good, error)
    found = hf.compare(PAIR, run)
    entry = found.losses["flow"]
    assert (entry.value, entry.lower, entry.upper, entry.applicable) == (None, None, None, False)
    assert entry.reason is not None
    assert "not to be relied on" in entry.reason
    assert found.ratios["flow/multi_head_optimum"] is None
    assert found.predictions == ()
    assert (found.allocation, found.shared) == ((None, None), None)
    assert found.text().startswith("NOT RELIABLE")
    assert found._repr_html_().index("NOT RELIABLE") < found._repr_html_().index("<th>")
    assert (found.to_json()["reliable"], found.to_json()["warnings"][0]) == (False, run.doubt)
    whole = hf.compare(PAIR, good)
    assert whole.to_json()["reliable"]
    assert not whole.text().startswith("NOT RELIABLE")


def test_the_threshold_is_the_documented_one() -> None:
    assert doubt_about(LARGEST_ERROR) is None
    for error in (np.nextafter(LARGEST_ERROR, 1), *ERRORS):
        assert doubt_about(float(error)) is not None
    words = " ".join((Path(__file__).parents[1] / "docs" / "conventions.md").read_text(encoding="utf-8").split())
    assert f"relative error estimate is at most {LARGEST_ERROR:g}" in words
    assert f"above {LARGEST_ERROR:g}" in StopReason.UNRELIABLE.sentence


PROBLEM = [
    "--dims",
    "5,8",
    "--signal",
    "1,0.5",
    "--noise",
    "0.1",
    "--context",
    "50",
    "--heads",
    "2",
    "--t-final",
    "300",
]


@pytest.fixture
def doubtful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every integration on the command line has an error of 3 %."""
    real = integrate_silently

    def integrated(*arguments: Any, **options: Any) -> hf.Trajectory:
        return with_error(real(*arguments, **options), 0.03)

    monkeypatch.setattr("headflow.numerics.integration.integrate.integrate_silently", integrated)
    monkeypatch.setattr("headflow.numerics.comparison.simulate.integrate_silently", integrated)


@pytest.mark.usefixtures("doubtful")
@pytest.mark.parametrize("verb", ["integrate", "compare"])
def test_verbs_say_so_first_and_by_their_exit_code(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([verb, *PROBLEM]) == 3
    out, err = capsys.readouterr()
    assert "NOT RELIABLE: the estimated relative error is 0.03" in out.splitlines()[0]
    assert err.startswith("headflow: NOT RELIABLE: the estimated relative error is 0.03")
    assert err.count("\n") == 1
    for word in ("emergence", "on head", "event", "\nlimit "):
        assert word not in out
    assert cli.main([verb, *PROBLEM, "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["reliable"] is False


@pytest.mark.usefixtures("doubtful")
def test_a_training_beside_an_unreliable_flow(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["simulate", *PROBLEM[:-1], "2", "--train", "--batch", "16", "-o", str(tmp_path / "out")]
    assert cli.main(words) == 3
    out, _ = capsys.readouterr()
    assert "NOT RELIABLE" in out.splitlines()[0]
    assert "deviates" not in out
    found = json.loads((tmp_path / "out" / "simulation.json").read_text(encoding="utf-8"))
    assert (found["status"], found["reliable"]) == ("unreliable", False)
    assert (found["predicted"], found["deviation"], found["heads"]) == (None, None, None)
    assert len(found["loss"]) == len(found["t"])


@pytest.mark.slow
@pytest.mark.usefixtures("doubtful")
def test_a_report_says_so_on_top(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "known_ids", lambda: ("factor-e", "convergence"))
    assert cli.main(["report", "--quick", *PROBLEM, "-o", str(tmp_path / "out")]) == 3
    out, _ = capsys.readouterr()
    assert out.splitlines()[2].startswith("NOT RELIABLE")
    assert "head of its own" not in out
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert page.index("NOT RELIABLE") < page.index('class="answer"')


@pytest.mark.parametrize(
    "check",
    [flow.convergence, dynamics.first_emergence, dynamics.late_law, valley.order, valley.start, valley.emergence],
)
def test_checks_that_rest_on_an_unreliable_flow_are_open(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        return integrate_reliably(*near_tie("merged", 0), "merged", t_final=100.0)

    for module in ("checks.valley", "predictions.merged_race", "integration.integrate"):
        monkeypatch.setattr(f"headflow.numerics.{module}.integrate_reliably", refused)
    findings = carried_out(check, Setting(REFERENCE, 0, True))
    assert [finding.error for finding in findings] == [np.inf]
    assert "NOT RELIABLE" in str(findings[0])


# Runs that really are unreliable.


def near_tie(parametrisation: str, seed: int) -> tuple[hf.Problem, hf.InitialState]:
    """Three heads apart by about 1e-13: which one wins is decided by rounding errors, or nearly so."""
    draw = np.random.default_rng(seed)
    problem = REFERENCE.replace(dims=[4, 6, 9], n_heads=3)
    signs = draw.choice([-1.0, 1.0], (3, 1)) if parametrisation == "merged" else 1.0
    weights = 0.05 * signs * (1 + 1e-13 * draw.random((2, 3, 3)))
    return problem, hf.InitialState(*weights)


@pytest.mark.slow
@pytest.mark.parametrize("parametrisation", ["balanced", "merged", "split"])
@pytest.mark.parametrize("rtol", [1e-8, 1e-3])
def test_near_ties_and_loose_tolerances_are_loud(parametrisation: str, rtol: float) -> None:
    """What is given without a doubt agrees with an integration that is a thousand times as good."""
    quiet = 0
    for seed in range(4):
        problem, start = near_tie(parametrisation, seed)
        try:
            run = integrate_silently(problem, start, parametrisation, t_final=300.0, rtol=rtol)
        except IntegrationError:
            continue
        assert run.reliable == (run.error_estimate <= LARGEST_ERROR) == (run.stop is StopReason.REACHED_T_FINAL)
        if run.reliable:
            quiet += 1
            best = integrate_silently(problem, start, parametrisation, t_final=300.0, rtol=1e-12)
            assert run.final.loss == pytest.approx(best.final.loss, rel=10 * run.error_estimate)
    assert rtol == 1e-8 or quiet < 4


@pytest.mark.parametrize(
    ("size", "ulps"),
    [(0.55, 2), *(pytest.param(*case, marks=pytest.mark.slow) for case in product((0.3, 0.55, 0.9), (4, 64)))],
)
def test_heads_that_float64_takes_for_one_are_no_result(size: float, ulps: int) -> None:
    """From these sizes the weights first shrink together, to less than their rounding errors apart."""
    problem = hf.Problem(dims=[10, 10], signal_power=[1, 1], noise_variance=0.1, context_length=100, n_heads=2)
    mu = np.full((2, 2), size)
    mu[0, 1] += ulps * np.spacing(size)
    for method in ("auto", "LSODA"):
        try:
            run = integrate_silently(problem, hf.InitialState(mu, np.full((2, 2), size)), t_final=1e4, method=method)
        except IntegrationError:
            continue
        assert not run.reliable


def test_the_disturbance_keeps_what_the_start_has_alike() -> None:
    start = np.array([0.1, -0.1, 0.0, 0.1, 0.2, np.nextafter(0.1, 1), 1e-300, -np.inf])
    pushes = disturbance(start)
    assert pushes[0] == pushes[1] == pushes[3] != pushes[5]
    assert pushes[2] == 0
    assert (np.abs(pushes) <= 1e-14).all()
    many = disturbance(np.random.default_rng(0).normal(size=4000)) / 1e-14
    assert abs(many.mean()) < 0.05
    assert np.quantile(many, [0.25, 0.75]) == pytest.approx([-0.5, 0.5], abs=0.05)


def test_a_run_that_rounding_errors_decide_warns() -> None:
    what = (*near_tie("merged", 0), "merged")
    with pytest.warns(ReliabilityWarning, match="NOT RELIABLE: the estimated relative error is"):
        run = hf.integrate(*what, t_final=100.0)
    assert run.stop is StopReason.UNRELIABLE
    assert run.rtol == 1e-8  # tighter tolerances were of no help
    assert "It is so from t = " in run.stop_detail
    with pytest.raises(UnreliableError, match="Lower rtol"):
        integrate_reliably(*what, t_final=100.0)


@pytest.mark.parametrize(
    ("method", "scale", "t_final", "rtol"),
    [
        pytest.param("LSODA", 1e-4, 2.5e5, 1e-8, marks=pytest.mark.slow),
        ("auto", 0.1, 100.0, 1e-2),
        ("DOP853", 0.1, 100.0, 1e-2),
    ],
)
def test_a_tolerance_that_is_too_loose_is_tightened(method: str, scale: float, t_final: float, rtol: float) -> None:
    initial = hf.InitialState.random(REFERENCE, scale=scale)
    run = hf.integrate(REFERENCE, initial, t_final=t_final, rtol=rtol, method=method)
    assert run.reliable
    assert run.rtol < rtol
    exact = hf.integrate(REFERENCE, initial, t_final=t_final, rtol=1e-10, method="Radau")
    for row, t in list(enumerate(run.t))[::20]:
        assert abs(run.loss[row] / exact.loss_at(t) - 1) <= run.loss_error[row] + 1e-9


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("method", "rtol"), [("LSODA", 1e-4), ("BDF", 1e-6), ("DOP853", 1e-3), ("Radau", 1e-4)])
def test_the_error_of_a_flow_that_hardly_moves_is_seen(method: str, rtol: float, seed: int) -> None:
    """Steps as long as the solver likes would be the same in both integrations, and so would be their errors."""
    draw = np.random.default_rng(seed)
    dims, powers = np.rint(10 ** draw.uniform(0.5, 3.5, 2)), 10 ** draw.uniform(-2, 0, 2)
    problem = hf.Problem(dims, powers, draw.choice([1e-9, 1.0]), int(10 ** draw.uniform(1, 5)), 2)
    weights = 10 ** draw.uniform(-10, -8) * draw.uniform(0.8, 1.3, (2, 2, 2))
    t_final = float(10 ** draw.uniform(1, 3.5))
    run = hf.integrate(problem, hf.InitialState(*weights), t_final=t_final, rtol=rtol, method=method)
    exact = hf.integrate(problem, hf.InitialState(*weights), t_final=t_final, rtol=1e-11, method="LSODA")
    apart = [
        np.abs(ours / theirs - 1).max()
        for ours, theirs in ((run.final.mu, exact.final.mu), (run.final.omega, exact.final.omega))
    ]
    assert max(apart) <= 10 * run.error_estimate + exact.error_estimate


@pytest.mark.parametrize("backend", [*BACKENDS, *JAX])
def test_members_have_one_meaning_on_every_backend(backend: str) -> None:
    starts = [START, *(near_tie("balanced", seed)[1] for seed in range(3))]
    problems = [REFERENCE, *(near_tie("balanced", seed)[0] for seed in range(3))]
    with pytest.warns(ReliabilityWarning, match="of 4 members are NOT RELIABLE or failed"):
        found = hf.ensemble(problems, starts, t_final=1e3, rtol=1e-3, backend=backend)
    statuses = found.status.values.tolist()
    for status, error, heads, emergence in zip(
        statuses, found.error_estimate.values, found.allocation.values, found.emergence.values, strict=True
    ):
        assert status == (
            "reached_t_final" if error <= LARGEST_ERROR else "unreliable" if error < 1 else "disagreement"
        )
        assert status == "reached_t_final" or ((heads == -1).all() and np.isnan(emergence))
    assert statuses[0] == "reached_t_final"
    summary = json.loads(found.attrs["summary"])
    assert summary["not reliable"] == sum(status != "reached_t_final" for status in statuses) > 0
    assert [bool(detail) for detail in found.detail.values] == [status != "reached_t_final" for status in statuses]


def test_runs_of_any_system_are_loud_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """y' = y − y³ from a small start, with a loose tolerance and with a tight one."""
    y = IndexedBase("y", real=True)
    loss = over_heads(y[h] ** 4 / 4 - y[h] ** 2 / 2)
    system = theory.gradient_flow(loss, state=[y[h]])
    monkeypatch.setattr("headflow.numerics.integration.system_run._SMALLEST_RTOL", 1e-2)  # no tighter one is tried
    with pytest.warns(ReliabilityWarning, match="NOT RELIABLE"):
        run = integrate_system(system, {"H": 2}, {"y": [1e-6, 2e-6]}, t_final=14.0, rtol=1e-2)
    monkeypatch.undo()
    assert not run.reliable
    tightened = integrate_system(system, {"H": 2}, {"y": [1e-6, 2e-6]}, t_final=14.0, rtol=1e-2)
    assert tightened.reliable
    assert tightened.rtol < run.rtol
    assert run.to_json()["warnings"] == [run.doubt]
    assert "NOT RELIABLE" in repr(run)
    with pytest.raises(UnreliableError):
        loss_drops(run)
    good = integrate_system(system, {"H": 2}, {"y": [1e-6, 2e-6]}, t_final=14.0, rtol=1e-8)
    assert good.reliable
    assert good.to_json()["reliable"]


def test_an_unknown_allocation_has_no_parts() -> None:
    found = Allocation.unknown(3, "why")
    assert (found.heads, found.groups, found.undecided, found.shared) == ((None,) * 3, (), (0, 1, 2), False)
    assert issubclass(UnreliableError, HeadflowError)


def test_what_is_made_anew_is_taken_only_if_it_settles_the_matter() -> None:
    tried: list[float] = []

    def attempt(rtol: float) -> float:
        tried.append(rtol)
        if rtol < 1e-9:
            raise IntegrationError("the solver gave up")
        return rtol

    assert tightened(1e-2, attempt, lambda found: found <= 1e-2, 1e-2, 1e-12) == 1e-2
    assert tried == []
    assert tightened(1e-2, attempt, lambda found: found < 1e-5, 1e-2, 1e-12) == pytest.approx(1e-6)
    assert tightened(1e-2, attempt, lambda found: False, 1e-2, 1e-7) == 1e-2
    assert tightened(1e-2, attempt, lambda found: False, 1e-2, 1e-12) == 1e-2
