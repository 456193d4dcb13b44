"""Outside the hypotheses: every counterexample violates its claim, which holds on the other side of the hypothesis."""

from __future__ import annotations

import dataclasses
import json

import pytest

from headflow import Problem, recheck, verify
from headflow.numerics.checks import CHECKS, EXPLORATIONS
from headflow.numerics.checks.exploration import Case, Exploration
from headflow.numerics.runtime.seal import BLANK
from headflow.numerics.verification import certificate_file
from headflow.numerics.verification.verify import Verification

PROBLEM = Problem(dims=[10, 10], signal_power=[1, 1], noise_variance=0.1, context_length=100, n_heads=2)
# Statements whose claim needs a hypothesis on H, I, balance, decomposability, smallness, L or the closure's range.
WITH_HYPOTHESES = {
    *("task-allocation-limit", "factor-e", "separation", "separation-limit", "ordering", "convergence", "late-law"),
    *("universal-bound", "multi-head-optimum", "single-head-optimum", "equal-tasks-optimum", "shared-head"),
    *("population-loss", "finite-d-loss", "first-order-loss", "finite-d-bounds"),
    *("closure-limits", "normalisation-costs-a-head", "linear-drop-times", "decomposability", "symmetric-reduction"),
    *("balanced-limit-stable", "split-limit-saddle", "balanced-flow", "who-wins", "emergence-time", "warm-up"),
    *("merged-emergence", "merged-degenerate-minimum", "merged-valley", "merged-valley-pairs"),
    *("merged-valley-simplex", "merged-valley-one-task"),
}


def test_statements_with_hypotheses_are_explored():
    explored = {entry.statement for entry in EXPLORATIONS}
    assert explored == WITH_HYPOTHESES
    assert explored <= set(CHECKS)
    keys = [(entry.statement, entry.hypothesis, entry.fate) for entry in EXPLORATIONS]
    assert len(set(keys)) == len(keys)


def name(entry: Exploration) -> str:
    return f"{entry.statement}: {entry.hypothesis} {entry.fate}"


FAST = {"factor-e", "separation", "ordering", "convergence", "late-law", "who-wins", "warm-up", "balanced-flow"}


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(entry, id=name(entry), marks=() if entry.statement in FAST else pytest.mark.slow)
        for entry in EXPLORATIONS
    ],
)
def test_the_claim_holds_inside_and_fares_as_said_outside(entry):
    found = entry.measured()
    assert found.inside < entry.bound - entry.error
    assert found.fate == entry.fate
    assert found.confirmed
    json.dumps(found.to_row(), allow_nan=False)


CASE = Case("anything", PROBLEM)


def exploration(inside: float, outside: float, fate: str = "fails") -> Exploration:
    cases = (dataclasses.replace(CASE, words="inside"), dataclasses.replace(CASE, words="outside"))
    values = {"inside": inside, "outside": outside}
    return Exploration("factor-e", "H ≥ I", fate, *cases, lambda case: values[case.words], 1.0, 0.1, "a number")


@pytest.mark.parametrize(
    ("inside", "outside", "fate", "confirmed"),
    [
        (0.5, 2.0, "fails", True),
        (0.5, 0.5, "fails", False),  # no counterexample
        (2.0, 2.0, "fails", False),  # the claim does not hold where it should
        (0.5, 0.5, "still holds", True),
        (0.5, 1.05, "open", True),
        (0.5, 1.05, "fails", False),  # within the error
    ],
)
def test_an_exploration_can_be_refuted(inside, outside, fate, confirmed):
    found = exploration(inside, outside, fate).measured()
    assert found.confirmed == confirmed
    verification = Verification(PROBLEM, "leading", (), (found,))
    assert verification.exit_code == (0 if confirmed else 1)
    assert ("NOT CONFIRMED" in verification.text()) != confirmed


def test_explorations_are_shown_and_kept_in_the_certificate(tmp_path):
    path = tmp_path / "certificate.json"
    found = verify(PROBLEM, ["factor-e"], quick=True, certificate=path, explore=True)
    (one,) = found.explored
    assert "Outside the hypotheses" in found.text()
    assert "both tasks on one head" in found.markdown()
    assert "both tasks on one head" in found.latex()
    assert found.to_json()["explorations"] == [one.to_row()]
    kept = json.loads(path.read_text())
    assert kept["explorations"] == [json.loads(json.dumps(one.to_row()))]
    assert recheck(path).changes == ()
    kept["explorations"][0]["confirmed"] = False
    certificate_file.write(path, {**kept, "seal": BLANK})
    (change,) = recheck(path).changes
    assert str(change) == "factor-e: confirmed (fails without “H ≥ I”) was False, is True"


@pytest.mark.slow
def test_what_was_explored_is_continued_and_never_lost(tmp_path, monkeypatch):
    path = tmp_path / "certificate.json"
    claims = ["factor-e", "separation"]
    whole = verify(PROBLEM, claims, quick=True, certificate=path, explore=True)
    written = path.read_text()
    content = json.loads(written)
    assert content["complete"]
    assert len(whole.explored) >= 2
    asked = []
    right = Exploration.measured
    monkeypatch.setattr(Exploration, "measured", lambda entry: asked.append(entry.statement) or right(entry))
    # Resumed without asking again, nothing is measured and nothing lost.
    again = verify(PROBLEM, claims, quick=True, certificate=path, resume=True)
    assert again.explored == whole.explored
    assert (path.read_text(), asked) == (written, [])
    # Cut off between two explorations, and a row of another case: those two are measured, and those only.
    content.update(complete=False)
    last, other = content["explorations"].pop(), content["explorations"][0]
    other["outside"]["problem"]["context_length"] += 1
    certificate_file.write(path, {**content, "seal": BLANK})
    verify(PROBLEM, claims, quick=True, certificate=path, resume=True, explore=True)
    assert asked == [other["statement"], last["statement"]]
    assert path.read_text() == written


def test_a_certificate_is_complete_with_its_explorations_only(tmp_path, monkeypatch):
    path = tmp_path / "certificate.json"
    seen = []
    right = Exploration.measured

    def measured(entry):
        seen.append(json.loads(path.read_text())["complete"])
        return right(entry)

    monkeypatch.setattr(Exploration, "measured", measured)
    verify(PROBLEM, ["factor-e"], quick=True, certificate=path, explore=True)
    assert seen == [False]
    assert json.loads(path.read_text())["complete"]


def test_without_asking_nothing_is_explored():
    assert verify(PROBLEM, ["factor-e"], quick=True).explored == ()
