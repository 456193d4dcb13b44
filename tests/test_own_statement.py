"""Statements that a user registers: verified with all others, refused where they cannot be, forgotten again."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from sympy import Rational

import headflow as hf
from headflow.errors import InputError, InputTypeError
from headflow.numerics.checks.registry import known_ids, unregister
from headflow.theory import Statement
from headflow.theory.statements import statement

PROBLEM = hf.Problem(dims=[4, 5], signal_power=[1, 2], noise_variance=0.1, context_length=50, n_heads=2)


def own(id: str = "own") -> Statement:
    known = statement("factor-e")
    return Statement(id, "Mine", ("H ≥ I",), known.claim, "my notes", known.derivation)


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


def returns_no_finding(setting):
    return {"measured": 1}


def exits(setting):
    raise SystemExit(2)


@pytest.mark.parametrize(
    ("check", "reason"),
    [
        (lambda setting: 1 / 0, "check <lambda> could not be computed at these numbers: division by zero .Zero"),
        (exits, r"the check exits could not be carried out: 2 \(SystemExit\)$"),
        (lambda: None, r"could not be carried out: .*takes 0 positional arguments .* \(TypeError\)$"),
        (
            returns_no_finding,
            r"the check returns_no_finding must return a Finding, or several in a tuple; "
            r"it returned \{'measured': 1\} \(dict\)",
        ),
        (lambda setting: (), r"it returned \(\) \(tuple\)"),
        (lambda setting: [finding(0), None], r"it returned \[Finding\(.*\(list\)"),
    ],
)
def test_a_check_that_fails_leaves_its_own_verdict_open(registered, check, reason):
    hf.register(own(), check)
    mine, other = hf.verify(PROBLEM, ["own", "energy-identity"], quick=True).verdicts
    assert (mine.verdict, mine.evidence, other.verdict) == ("inconclusive", "none", "holds")
    assert re.search(reason, mine.reason), mine.reason


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evidence": "flaot"}, "unknown kind of evidence 'flaot'; did you mean 'float'"),
        ({"measured": "1"}, r"measured of a finding must be a real number, got '1' \(str\)"),
        ({"measured": True}, "measured of a finding must be a real number, got True"),
        ({"measured": np.array([1.0])}, "measured of a finding must be a real number"),
        ({"bound": None}, "bound of a finding must be a real number, got None"),
        ({"bound": 1j}, "bound of a finding must be a real number"),
        ({"error": -1e-3}, "error of a finding must be at least 0, got -0.001"),
        ({"error": 10**400}, "error of a finding must be a real number"),
        ({"what": 3}, "what of a finding must be text, got 3"),
        ({"seed": 1.5}, "seed of a finding must be an integer or None, got 1.5"),
        ({"certified": None}, "certified of a finding must be a tuple, each of its entries a Certified, got None"),
        ({"fits": [1]}, "fits of a finding must be a tuple, each of its entries a Fit"),
        ({"whole": "no"}, "whole of a finding must be True or False, got 'no'"),
        ({"problem": {}}, "problem of a finding must be a problem, several in a tuple, words, or None"),
    ],
)
def test_a_finding_validates_its_fields(changes, message):
    fields = {"evidence": "float", "measured": 0.5, "bound": 1.0, "error": 1e-3, "what": "a number"}
    with pytest.raises(
        InputError if "evidence" in changes or changes.get("error") == -1e-3 else InputTypeError
    ) as found:
        hf.Finding(**(fields | changes))
    assert re.search(message, str(found.value)), str(found.value)


def test_a_finding_takes_numbers_of_any_kind():
    for number in (Fraction(1, 2), Decimal("0.5"), np.float32(0.5), np.array(0.5), Rational(1, 2)):
        assert finding(number).measured == 0.5


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
