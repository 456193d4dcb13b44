"""Statements that a user registers: verified with all others, refused where they cannot be, forgotten again."""

from __future__ import annotations

import json

import pytest

import headflow as hf
from headflow.errors import InputError, InputTypeError
from headflow.numerics.checks.registry import known_ids, unregister
from headflow.theory import Statement
from headflow.theory.statements import statement

PROBLEM = hf.Problem(dims=[4, 5], signal_power=[1, 2], noise_variance=0.1, context_length=50, n_heads=2)


def own(id: str = "own") -> Statement:
    known = statement("factor-e")
    return Statement(id, "Mine", ("H ≥ I",), known.claim, "my notes", "derived", known.derivation)


def finding(measured: float) -> hf.Finding:
    return hf.Finding("float", measured, 1.0, 1e-3, "a number")


@pytest.fixture
def registered():
    hf.register(own(), lambda setting: finding(setting.problem.n_tasks / 4))
    yield "own"
    if "own" in known_ids():
        unregister("own")


def test_it_is_verified_by_its_id(registered):
    (verdict,) = hf.verify(PROBLEM, [registered]).verdicts
    assert (verdict.verdict, verdict.measured, verdict.title, verdict.source) == ("holds", 0.5, "Mine", "my notes")


def test_it_is_one_of_all(registered):
    assert known_ids()[-1] == registered


def test_it_can_fail(registered):
    hf.register(own(), lambda setting: finding(2.0))
    assert hf.verify(PROBLEM, [registered]).exit_code == 1


@pytest.mark.slow
def test_other_processes_need_not_know_it(registered):
    found = hf.verify(PROBLEM, ["own", "factor-e", "ordering"], quick=True, workers=2)
    assert [verdict.id for verdict in found.verdicts] == ["own", "factor-e", "ordering"]
    assert found.exit_code == 0


def test_it_goes_into_a_certificate_and_is_missed_when_it_is_gone(registered, tmp_path):
    path = tmp_path / "certificate.json"
    hf.verify(PROBLEM, ["own", "factor-e"], quick=True, certificate=path)
    assert [row["id"] for row in json.loads(path.read_text())["verdicts"]] == ["own", "factor-e"]
    assert hf.recheck(path).changes == ()
    unregister("own")
    (change,) = hf.recheck(path).changes
    assert str(change) == "registry: a statement was own, is gone"


def test_what_cannot_be_registered():
    with pytest.raises(InputError, match="headflow has a statement 'factor-e' already"):
        hf.register(own("factor-e"), lambda setting: finding(0))
    with pytest.raises(InputTypeError, match="register needs a Statement, got str"):
        hf.register("own", lambda setting: finding(0))
    with pytest.raises(InputTypeError, match="the check must be a function of a Setting, got Finding"):
        hf.register(own(), finding(0))
    with pytest.raises(InputError, match="unknown statement of your own"):
        unregister("nothing")
    with pytest.raises(InputError, match="unknown claim 'own'"):
        hf.verify(PROBLEM, ["own"])
