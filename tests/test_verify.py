"""Verification: every statement has a check, every check passes on the reference case and can fail."""

from __future__ import annotations

import dataclasses
import json

import pytest
from sympy import Rational, Symbol

from headflow import Problem, compare, verify
from headflow.errors import InputError
from headflow.numerics.checks import (
    CHECKS,
    LAWS,
    Finding,
    Setting,
    flow,
    losses,
    model,
    parametrisations,
    statics,
    stationary_point,
)
from headflow.numerics.checks.finding import carried_out
from headflow.numerics.checks.place import words_of
from headflow.numerics.checks.registry import BASINS, checks_of
from headflow.numerics.optima import optimum
from headflow.numerics.runtime.helpers import helpers
from headflow.numerics.verification.verdict import outcome
from headflow.numerics.verification.verify import judged
from headflow.theory.derivation import Derivation, Step
from headflow.theory.statements import statement, statements

REFERENCE = Problem(dims=[10, 10, 10], signal_power=[1, 1, 1], noise_variance=0.1, context_length=100, n_heads=3)
MIXED = Problem(dims=[5, 10, 20], signal_power=[4, 1, 0.1], noise_variance=0.1, context_length=100, n_heads=2)
ONE = Problem(dims=[8], signal_power=[1], noise_variance=0.2, context_length=60, n_heads=1)


def expected(problem):
    """Every statement holds whose hypotheses the problem satisfies."""
    return {entry.id: "not_applicable" if entry.unmet(problem) else "holds" for entry in statements()}


def test_every_statement_has_a_check_and_every_check_a_statement():
    assert set(CHECKS) == {entry.id for entry in statements()}


# Of every kind of evidence one or two.
FEW = ["population-loss", "factor-e", "task-allocation-limit", "idle-head", "convergence", "bayes-risk"]


@pytest.fixture(scope="module")
def quick():
    return verify(REFERENCE, FEW, quick=True)


@pytest.mark.slow
def test_every_statement_holds_on_the_reference_case():
    found = verify(REFERENCE, quick=True, workers=2)
    assert {verdict.id: verdict.verdict for verdict in found.verdicts} == expected(REFERENCE)


def test_the_reference_case_holds(quick):
    wanted = expected(REFERENCE)
    assert {verdict.id: verdict.verdict for verdict in quick.verdicts} == {id: wanted[id] for id in FEW}
    assert wanted["idle-head"] == "not_applicable"
    assert quick.exit_code == 0
    for verdict in quick.verdicts:
        assert verdict.margin == verdict.bound - verdict.measured > verdict.error


@pytest.mark.slow
@pytest.mark.parametrize("id", [*LAWS, *BASINS])
def test_what_a_quick_run_leaves_out_holds(id):
    table = LAWS if id in LAWS else BASINS
    assert table[id] in checks_of(id)
    assert table[id] not in checks_of(id, quick=True)
    assert outcome(table[id](Setting(REFERENCE, 0, False))) == "holds"


@pytest.mark.slow
def test_both_sides_of_the_split_energy_are_the_same():
    assert outcome(parametrisations.energy(Setting(REFERENCE, 0, False))) == "holds"


def test_json_is_complete(quick):
    loaded = json.loads(json.dumps(quick.to_json(), allow_nan=False))
    assert loaded["schema"] == 1
    wanted = {
        "id",
        "title",
        "source",
        "hypotheses",
        "verdict",
        "evidence",
        "measured",
        "bound",
        "margin",
        "error",
        "seed",
    }
    assert all(wanted <= set(row) for row in loaded["verdicts"])
    assert all(verdict.id in quick.text() for verdict in quick.verdicts)


@pytest.mark.slow
@pytest.mark.parametrize("problem", [MIXED, ONE, REFERENCE.replace(n_heads=5)], ids=["mixed", "one", "idle"])
def test_other_problems_hold(problem):
    found = {verdict.id: verdict.verdict for verdict in verify(problem, quick=True, workers=2).verdicts}
    assert found == expected(problem)


def test_chosen_claims_and_unknown_ones():
    assert [verdict.id for verdict in verify(REFERENCE, ["factor-e", "ordering"]).verdicts] == ["factor-e", "ordering"]
    with pytest.raises(InputError, match="unknown claim"):
        verify(REFERENCE, ["no-such"])


@pytest.mark.parametrize(
    ("measured", "error", "outcome", "code"),
    [
        (0.5, 0.1, "holds", 0),
        (0.95, 0.1, "inconclusive", 3),
        (1.5, 0.1, "fails", 1),
        (float("nan"), 0.1, "inconclusive", 3),
    ],
)
def test_a_verdict_needs_margin_beyond_error(measured, error, outcome, code):
    verdict = judged(statement("factor-e"), Finding("float", measured, 1.0, error, "a number"))
    assert verdict.verdict == outcome
    assert {"holds": 0, "fails": 1, "inconclusive": 3}[verdict.verdict] == code


def scaled(form, factor):
    return dataclasses.replace(form, expression=factor * form.expression)


def test_fitted_laws_are_shown_in_every_table_and_in_json():
    found = verify(REFERENCE, ["warm-up"], quick=True)
    (law,) = found.verdicts[0].fits
    assert found.to_json()["verdicts"][0]["findings"][0]["fits"] == [law.to_row()]
    assert str(law) in found.text()
    assert all("Laws fitted over a range" in table.replace("% l", "L") for table in (found.markdown(), found.latex()))


class TestChecksCanFail:
    """A planted wrong constant is refuted by the statement's own check."""

    setting = Setting(REFERENCE, seed=0, quick=True)

    def outcome(self, name):
        return judged(statement(name), *carried_out(CHECKS[name], self.setting)).verdict

    def test_allocation_limit(self, monkeypatch):
        right = statics.task_allocation_limit()
        wrong = dataclasses.replace(right, mu=scaled(right.mu, 1 + Symbol("L") ** -30))
        monkeypatch.setattr(statics, "task_allocation_limit", lambda closure="leading": wrong)
        assert self.outcome("task-allocation-limit") == "holds"  # 1e-60 is below the digits used
        wrong = dataclasses.replace(right, mu=scaled(right.mu, 1 + Symbol("L") ** -3))
        monkeypatch.setattr(statics, "task_allocation_limit", lambda closure="leading": wrong)
        assert self.outcome("task-allocation-limit") == "fails"

    def test_ordering_and_separation(self, monkeypatch):
        right = statics.task_allocation_limit()
        wrong = dataclasses.replace(right, loss=scaled(right.loss, 3))
        monkeypatch.setattr(statics, "task_allocation_limit", lambda closure="leading": wrong)
        assert self.outcome("ordering") == "fails"
        assert self.outcome("separation") == "fails"
        assert self.outcome("factor-e") == "fails"

    def test_single_head(self, monkeypatch):
        right = statics.single_head_optimum()
        wrong = type("Wrong", (), {"evaluate": lambda self, problem: 1.001 * right.evaluate(problem)})()
        monkeypatch.setattr(statics, "single_head_optimum", lambda: wrong)
        assert self.outcome("single-head-optimum") == "fails"

    def test_optimum(self, monkeypatch):
        right = statics.multi_head_optimum()

        class Wrong:
            derivation, solve = right.derivation, staticmethod(right.solve)

            def evaluate(self, problem, n_heads=None):
                return 1.0001 * right.evaluate(problem, n_heads)

        monkeypatch.setattr(statics, "multi_head_optimum", Wrong)
        assert self.outcome("multi-head-optimum") == "fails"

    def test_a_broken_proof_step(self, monkeypatch):
        right = statics.factor_e()
        broken = Step("broken", Symbol("x"), "A step that does not hold.", check=lambda: False)
        derivation = Derivation("Broken", (*right.derivation.steps, broken))
        monkeypatch.setattr(statics, "factor_e", lambda: dataclasses.replace(right, derivation=derivation))
        assert self.outcome("factor-e") == "fails"

    def test_elimination(self, monkeypatch):
        right = optimum.eliminate_mu()
        wrong = dataclasses.replace(right, loss=right.loss * (1 + Symbol("L") ** -3))
        monkeypatch.setattr(optimum, "eliminate_mu", lambda: wrong)
        optimum._systems.cache_clear()
        monkeypatch.setattr(optimum, "_systems", optimum._systems.__wrapped__)
        assert self.outcome("mu-elimination") == "fails"

    def test_warm_up(self, monkeypatch):
        right = flow.warm_up_flow()
        wrong = dataclasses.replace(right, velocity=(2 * right.velocity[0], right.velocity[1]))
        monkeypatch.setattr(flow, "warm_up_flow", lambda: wrong)
        assert self.outcome("warm-up") == "fails"

    def test_bayes(self, monkeypatch):
        right = model.bayes_limit()
        monkeypatch.setattr(model, "bayes_limit", lambda: scaled(right, Rational(1001, 1000)))
        assert self.outcome("bayes-limit") == "fails"

    def test_moments(self, monkeypatch):
        right = losses.output_moments()
        monkeypatch.setattr(
            losses, "output_moments", lambda: dataclasses.replace(right, covariance=2 * right.covariance)
        )
        assert self.outcome("softmax-moments") == "fails"

    def test_gradient(self, monkeypatch):
        right = flow.gradient_flow("merged")
        wrong = dataclasses.replace(right, gradient=(2 * right.gradient[0], right.gradient[1]))
        monkeypatch.setattr(flow, "gradient_flow", lambda _: wrong)
        assert self.outcome("gradient") == "fails"

    def test_convergence(self, monkeypatch):
        monkeypatch.setattr(flow, "realised_limit", lambda problem, groups: 0.5)
        assert self.outcome("convergence") == "inconclusive"


class TestCompare:
    def test_reference_case(self):
        losses = compare(REFERENCE).losses
        assert losses["task_allocation_limit"].value == pytest.approx(0.6905507363762284, rel=2**-52)
        assert losses["universal_lower_bound"].value == pytest.approx(0.29729729729729726, rel=2**-52)
        assert losses["multi_head_optimum"].value == pytest.approx(0.42489, abs=5e-6)
        assert losses["single_head_optimum"].value == pytest.approx(1.41858, abs=5e-6)
        assert not losses["multi_head_optimum"].attained
        assert losses["single_head_optimum"].attained
        assert losses["flow"].reason == "no trajectory was given"

    def test_too_few_heads(self):
        entry = compare(MIXED).losses["task_allocation_limit"]
        assert (entry.applicable, entry.value) == (False, None)
        assert "H = 2, I = 3" in entry.reason

    def test_json_and_text(self):
        comparison = compare(MIXED)
        loaded = json.loads(json.dumps(comparison.to_json(), allow_nan=False))
        names = {
            "task_allocation_limit",
            "multi_head_optimum",
            "universal_lower_bound",
            "single_head_optimum",
            "bayes",
            "bayes_limit",
            "flow",
            "attention",
        }
        assert set(loaded["losses"]) == names
        fields = {"value", "lower", "upper", "kind", "attained", "applicable", "reason", "closure", "standard_error"}
        assert all(set(entry) == fields for entry in loaded["losses"].values())
        assert "single-head optimum" in comparison.text()
        assert "<table>" in comparison._repr_html_()

    def test_unknown_closure(self):
        with pytest.raises(InputError, match="unknown closure"):
            compare(REFERENCE, closure="leadin")


@pytest.mark.slow
def test_helpers_that_were_started_before_find_the_same():
    few = ["factor-e", "idle-head", "bayes-risk"]
    with helpers(1, "headflow.numerics.verification.verify") as pool:
        found = verify(REFERENCE, few, quick=True, workers=2, pool=pool)
    assert found.verdicts == verify(REFERENCE, few, quick=True).verdicts
    with helpers(0, "headflow.numerics.verification.verify") as nobody:
        assert nobody is None


def test_points_are_solved_for_the_first_tasks_alone():
    """Each task by itself takes a second: of many the first ones are enough, and the verdict says so."""
    many = Problem([10] * 40, [1] * 40, 0.1, 100, 40)
    finding = stationary_point.leading_point(Setting(many, 0, quick=True))
    assert finding.holds
    assert finding.problem == many.subset(range(6), n_heads=40)
    assert words_of(finding.problem, many) == "on its first 6 tasks"
