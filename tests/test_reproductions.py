"""Reproductions: the samplers against direct simulation, the fits, the tables, the verb."""

from __future__ import annotations

import io
import json
import time

import numpy as np
import pytest

from headflow.cli.dispatch import main
from headflow.cli.grammar import REPRODUCTIONS
from headflow.errors import InputError
from headflow.numerics.attention import sampled_risk
from headflow.numerics.problem.initial import InitialState
from headflow.numerics.reproductions import NAMES, Row, reproduce
from headflow.numerics.reproductions.closures import pair_at, single_task_risk, study_problem
from headflow.numerics.reproductions.estimators import one_head, sampled_estimators
from headflow.numerics.reproductions.zero_sum import best_pair, pair_problem, sampled_pair
from headflow.numerics.runtime import progress
from headflow.theory.context.two_heads import zero_sum_pair


@pytest.mark.parametrize("weights", [pair_at(0.2), InitialState([[2.0, 0.5]], [[0.3, 0.1]])])
def test_the_reduced_sampler_is_the_real_attention(weights: InitialState) -> None:
    problem = study_problem(10, 50)
    value, error = single_task_risk(problem, weights, 100_000, seed=1)
    risk = sampled_risk(problem, weights.mu, weights.omega, n_samples=20_000, seed=2)
    assert error < risk.standard_error
    assert abs(value - risk.value) < 4 * np.hypot(error, risk.standard_error)


def test_the_bar_is_drawn_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(progress, "_DELAY", 0.0)
    for stream, asked, drawn in ((Terminal(), True, True), (Terminal(), False, False), (io.StringIO(), True, False)):
        monkeypatch.setattr("sys.stderr", stream)
        for step in progress.steps([1, 2, 3], asked, "reproduce"):
            time.sleep(0.2 if step == 3 and drawn else 0)  # the bar is drawn beside it
        assert ("/3" in stream.getvalue()) is drawn


def test_best_pair_is_the_derived_profile_in_the_leading_closure() -> None:
    problem, theory = pair_problem(), zero_sum_pair()
    for omega in (0.05, 0.13, 0.4):
        mu, loss = best_pair(problem, omega, "leading")
        assert mu == pytest.approx(theory.best_mu(problem, omega), rel=1e-9)
        assert loss == pytest.approx(theory.evaluate(problem, omega), rel=1e-9)


def test_published_pair_lies_at_the_best_mu_of_its_omega() -> None:
    (mu, error), (risk, risk_error) = sampled_pair(pair_problem(), 0.13, 1000)
    assert mu == pytest.approx(best_pair(pair_problem(), 0.13)[0], abs=4 * error)
    assert mu == pytest.approx(3.45, rel=0.03)
    assert abs(risk - 0.1427) < 5 * risk_error  # 8 batches of 50,000 prompts: 0.1427


def test_estimators_against_direct_simulation() -> None:
    problem = pair_problem(20)
    found = sampled_estimators(problem, 20_000, seed=0)
    d, length, noise = 5, 20, 0.1
    # The exact risk of the best gradient step: λ(φd + 1)/(L + φd + 1).
    exact = (1.1 * d + 1) / (length + 1.1 * d + 1)
    assert abs(found[0, 0] - exact) < 4 * found[0, 1]
    rng = np.random.default_rng(5)
    n = 20_000
    x = rng.standard_normal((n, length, d))
    beta, query = rng.standard_normal((2, n, d)) * np.array([d**-0.5, 1.0])[:, None, None]
    y = np.einsum("nld,nd->nl", x, beta) + noise**0.5 * rng.standard_normal((n, length))
    target = (query * beta).sum(axis=1)
    centred = np.einsum("nld,nl,nd->n", x - x.mean(axis=1, keepdims=True), y, query) / length
    debiased = (target - centred * (centred @ target) / (centred @ centred)) ** 2
    gram = np.swapaxes(x, 1, 2) @ x + noise * d * np.eye(d)
    fitted = np.linalg.solve(gram, np.einsum("nld,nl->nd", x, y)[:, :, None])[:, :, 0]
    ridge = ((fitted - beta) * query).sum(axis=1) ** 2
    for (value, error), losses in zip(found[1:], (debiased, ridge), strict=True):
        assert abs(value - losses.mean()) < 4 * np.hypot(error, losses.std() / n**0.5)


@pytest.mark.slow
def test_context_length_has_the_derived_shift_and_flattens() -> None:
    found = reproduce("context-length")
    arrays = found.arrays
    np.testing.assert_allclose(arrays["leading"][0], arrays["shift"], rtol=1e-12)
    # Two heads: the first-order closure is the better one at every length, and right where L′ is large.
    miss = {name: np.abs(arrays[name][1] - arrays["measured"][1]) for name in ("leading", "first_order")}
    assert (miss["first_order"] < miss["leading"]).all()
    assert (miss["first_order"][2:] < 4 * arrays["error"][1, 2:]).all()
    # The one head's shrinkage stays: it gains less from a long context than ridge does.
    assert arrays["measured"][0, -1] / arrays["measured"][0, 0] > 4 * arrays["ridge"][-1] / arrays["ridge"][0]


def test_one_head_is_the_limit() -> None:
    weights = one_head(pair_problem())
    c = 1.1 * 5 / 40
    assert weights.omega[0, 0] == pytest.approx(5**-0.5)
    assert weights.mu[0, 0] == pytest.approx(5**0.5 / (1 + np.e * c))
    assert not weights.mu[0, 1:].any()


def test_a_row_in_words_and_as_json() -> None:
    row = Row("x", 2.0, 2.1, 0.05)
    assert row.cells() == ["x", "2", "2.1", "± 0.05", "+5 %"]
    assert Row("x", 0.0, 1.0).deviation is None
    assert Row("x", None, 1.0).cells()[1] == "—"
    assert Row("x", 1.0, 0.98, interval=(0.94, 1.02)).cells()[3] == "[0.94, 1.02]"
    assert Row("x", 1.0, 0.98, interval=(0.94, 1.02)).to_json()["interval"] == [0.94, 1.02]
    assert Row("x", float("nan"), 1.0, float("inf")).to_json() == {
        "quantity": "x",
        "predicted": None,
        "measured": 1.0,
        "error": None,
        "deviation": None,
        "interval": None,
    }


def test_names() -> None:
    assert REPRODUCTIONS == NAMES
    with pytest.raises(InputError, match="allocation"):
        reproduce("alocation")
    with pytest.raises(InputError, match="small, paper"):
        reproduce("allocation", "large")


def test_verb_prints_json_and_writes_figure_and_numbers(
    capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("out") / "found"
    assert main(["reproduce", "context-length", "--json", "-o", str(folder)]) == 0
    printed = capsys.readouterr().out
    content = json.loads(printed)
    assert content["reproduction"] == "context-length"
    assert content["settings"] == "small"
    assert {"quantity", "predicted", "measured", "error", "interval", "deviation"} == set(content["table"][0])
    assert (folder / "context-length.json").read_text() == printed
    assert (folder / "context-length.svg").read_text().rstrip().endswith("</svg>")
    assert main(["reproduce", "context-length", "-o", str(folder)]) == 2
    assert main(["reproduce", "context"]) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.slow
def test_closures_have_their_orders() -> None:
    found = reproduce("closures")
    assert len(found.table) == 12
    for row in found.table:
        assert row.interval is not None
        low, high = row.interval
        assert low < row.predicted < high, row.quantity
        assert high - low < (2.5 if "first_order" in row.quantity else 0.15), row.quantity


@pytest.mark.slow
def test_zero_sum_pair_is_learned() -> None:
    found = reproduce("zero-sum-pair")
    sums = [found.row(name) for name in ("trained μ₁ + μ₂", "trained ω₁ + ω₂")]
    assert all(abs(row.measured) < 0.02 for row in sums)
    assert (found.arrays["mu"][-1] * found.arrays["omega"][-1] > 0).all()
    for name in ("trained |ω|, leading flow", "trained |μ|, leading flow", "trained Σ μω, first-order best"):
        assert found.row(name).measured == pytest.approx(found.row(name).predicted, rel=0.08), name
    # On the way down the valley, above the published value, which this training is too short for.
    assert 0.13 < found.row("trained |ω|, leading flow").measured < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["allocation", "single-task"])
def test_tasks_are_allocated(name: str) -> None:
    found = reproduce(name)
    distinct = found.row("tasks on distinct heads")
    assert distinct.measured == distinct.predicted == len(found.problem["dims"])
    assert found.row("least share of a task on its head").measured > 0.999
    assert found.row("off-diagonal part of key-query").measured < 0.05
    for row in found.table:
        if row.quantity.endswith("leading flow"):
            assert row.measured == pytest.approx(row.predicted, rel=0.15), row.quantity


@pytest.mark.slow
def test_staircase_has_its_steps() -> None:
    found = reproduce("staircase")
    drops = found.row("number of drops")
    assert drops.measured == drops.predicted == 3
    for row in found.table:
        assert row.measured == pytest.approx(row.predicted, rel=5e-3), row.quantity


@pytest.mark.slow
def test_two_heads_are_better_than_one_and_near_the_debiased_step() -> None:
    arrays = reproduce("estimators").arrays
    one, two, _, debiased, ridge = arrays["measured"]
    assert (two < one).all()
    assert (ridge < two).all()
    assert (np.abs(two / debiased - 1)[1:] < 0.03).all()
