"""Verdicts: on what they were reached, what does not apply, checks that cannot be carried out, all of it in words."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from fractions import Fraction
from multiprocessing import get_context
from threading import Event, current_thread, main_thread

import numpy as np
import pytest
import scipy.optimize
from sympy import Symbol

import headflow as hf
from headflow.errors import InputError, InputTypeError, IntegrationError
from headflow.numerics.checks import CHECKS, Finding, Setting, registry
from headflow.numerics.checks.finding import carried_out, proof
from headflow.numerics.checks.place import IN_A_BOX, UNNAMED, from_row, problems_of, scope_of, to_row, words_of
from headflow.numerics.checks.registry import checks_of, unregister
from headflow.numerics.problem.covariates import CovariateProblem
from headflow.numerics.runtime.stop import Interrupted
from headflow.numerics.verification import verify as verification
from headflow.numerics.verification.verdict import Verdict, judged
from headflow.numerics.verification.verdict_words import in_order, sentence
from headflow.theory import Statement
from headflow.theory.derivation import Derivation, Step
from headflow.theory.hypothesis import AS_MANY_HEADS, Hypothesis
from headflow.theory.statements import statement, statements

FEWER_HEADS = hf.Problem(
    dims=[8, 12, 16, 20], signal_power=[2, 1, 1, 0.5], noise_variance=0.2, context_length=200, n_heads=2
)
REFERENCE = hf.Problem(dims=[10] * 3, signal_power=[1] * 3, noise_variance=0.1, context_length=100, n_heads=3)
ENOUGH = FEWER_HEADS.replace(n_heads=4)


def found(measured=0.5, problem=FEWER_HEADS, evidence="float", whole=True):
    return Finding(evidence, measured, 1.0, 0.1, "a number", whole=whole, problem=problem)


def own(id="own", hypotheses=(AS_MANY_HEADS,), parent=""):
    known = statement("factor-e")
    return Statement(id, "Mine", hypotheses, known.claim, "notes", known.derivation, parent=parent)


@pytest.fixture
def register():
    """Registers statements of one's own until the test ends."""
    ids = []

    def add(check, id="own", **more):
        ids.append(id)
        hf.register(own(id, **more), check)
        return id

    yield add
    for id in set(ids):
        unregister(id)


class TestPlaces:
    @pytest.mark.parametrize(
        ("place", "words", "scope"),
        [
            (FEWER_HEADS, "on your problem", "problem"),
            (None, "in general", "general"),
            (IN_A_BOX, "in a box of parameters that holds yours", "problem"),
            (UNNAMED, "on a problem that its check does not name", "other"),
            ("d = 3, L = 200", "on d = 3, L = 200", "other"),
            (FEWER_HEADS.subset([0, 1, 2], 2), "on its first 3 tasks", "part"),
            (FEWER_HEADS.subset([0], 2), "on its first task", "part"),
            (FEWER_HEADS.subset([0, 1], 1), "on its first 2 tasks and 1 head", "part"),
            (FEWER_HEADS.subset([1, 3], 2), "on its tasks 2, 4", "part"),
            (FEWER_HEADS.subset([1, 0], 2), "on its tasks 2, 1", "part"),
            (FEWER_HEADS.subset([0, 1], 3), "on d = 8, 12; λ = 2, 1; H = 3 instead", "other"),
            (ENOUGH, "on H = 4 instead", "other"),
            (FEWER_HEADS.replace(noise_variance="1/3", context_length=7), "on σ² = 1/3; L = 7 instead", "other"),
            (tuple(FEWER_HEADS.subset([task], 2) for task in (0, 2)), "on its tasks 1, 3, each alone", "part"),
            ((FEWER_HEADS, ENOUGH), "on your problem and H = 4", "problem"),
            (tuple(FEWER_HEADS.replace(n_heads=h) for h in (4, 5)), "on H = 4 or 5 instead", "other"),
            (
                tuple(FEWER_HEADS.replace(context_length=10**p) for p in range(6, 13)),
                "on L = 1000000 to 1e+12 instead",
                "other",
            ),
            (
                CovariateProblem(["1/2", 1], [1, 1], 0.2, 4, 2),
                "on 2 coordinates of variance 0.5, 1; L = 4 instead",
                "other",
            ),
        ],
    )
    def test_words_scope_and_row(self, place, words, scope):
        assert words_of(place, FEWER_HEADS) == words
        assert scope_of(place, FEWER_HEADS) == scope
        assert from_row(json.loads(json.dumps(to_row(place)))) == place

    def test_without_a_problem_that_was_asked_about_all_values_are_told(self):
        one = FEWER_HEADS.subset([0], 1)
        assert words_of(one, None) == "on d = 8; λ = 2; σ² = 0.2; L = 200; H = 1"

    def test_the_same_tasks_in_another_number_are_no_part(self):
        twice = FEWER_HEADS.replace(dims=[8, 8], signal_power=[2, 2])
        assert scope_of(twice, FEWER_HEADS) == "other"
        assert scope_of(twice, twice.replace(dims=[8] * 3, signal_power=[2] * 3)) == "part"


IDS = ("task-allocation-limit", "factor-e", "ordering", "idle-head", "universal-bound")


@pytest.fixture(scope="module")
def verified():
    return hf.verify(FEWER_HEADS, IDS, quick=True)


class TestApplicability:
    def test_a_violated_hypothesis_is_named(self, verified):
        verdicts = {verdict.id: verdict for verdict in verified.verdicts}
        for id in IDS[:3]:
            assert (verdicts[id].verdict, verdicts[id].unmet) == ("not_applicable", ("H ≥ I",))
            assert verdicts[id].reason == "needs H ≥ I; here H = 2, I = 4"
            assert verdicts[id].instead == "holds"
        assert "on H = 4 instead" in verdicts["factor-e"].where
        assert verdicts["idle-head"].unmet == ("H > I",)
        assert (verdicts["universal-bound"].verdict, verdicts["universal-bound"].scope) == ("holds", "problem")
        assert verified.exit_code == 0

    def test_it_has_its_own_word_everywhere(self, verified):
        row = next(row for row in verified.to_json()["verdicts"] if row["id"] == "factor-e")
        assert (row["verdict"], row["unmet"], row["instead"]) == ("not_applicable", ["H ≥ I"], "holds")
        assert row["problem"]["n_heads"] == 4
        for text in (verified.text(), verified.markdown(), verified._repr_html_()):
            assert text.count("not_applicable") == 4
            assert "needs H ≥ I; here H = 2, I = 4; holds on H = 4 instead" in text
        assert verified.latex().count("& not applicable &") == 4
        for table in (verified.text(), verified.markdown(), verified.latex(), verified._repr_html_()):
            assert "do not apply" in table

    def test_it_is_not_counted_as_holding(self, verified):
        assert verified.sentence == (
            "Of 3 theorems 3 do not apply; of 2 restatements and corollaries 1 holds (1 checked on this problem), "
            "1 does not apply."
        )

    def test_what_fails_elsewhere_is_seen(self, register):
        register(lambda setting: found(2.0, setting.with_enough_heads()))
        verdict = hf.verify(FEWER_HEADS, ["own"]).verdicts[0]
        assert (verdict.verdict, verdict.where, verdict.unmet) == ("fails", "on H = 4 instead", ("H ≥ I",))

    @pytest.mark.parametrize("measured", [0.5, 2.0])
    def test_what_is_measured_outside_the_hypotheses_says_nothing(self, measured, register):
        register(lambda setting: found(measured, FEWER_HEADS))
        outside, inside = (hf.verify(problem, ["own"]).verdicts[0] for problem in (FEWER_HEADS, ENOUGH))
        assert (outside.verdict, outside.instead) == ("not_applicable", "")
        assert (inside.verdict, inside.reason) == (
            "inconclusive",
            "nothing was measured within the hypotheses",
        )
        assert len(inside.findings) == 1

    def test_a_hypothesis_that_cannot_be_tested_leaves_the_verdict_open(self, register):
        def broken(values):
            raise ZeroDivisionError("d − 10")

        register(lambda setting: found(), hypotheses=(Hypothesis("something", broken, str),))
        verdict = hf.verify(FEWER_HEADS, ["own"]).verdicts[0]
        assert verdict.verdict == "inconclusive"
        assert verdict.reason == "the hypotheses could not be tested: d − 10 (ZeroDivisionError)"

    def test_a_finding_that_names_no_problem_does_not_claim_the_one_asked_about(self, register):
        register(lambda setting: Finding("float", 0.5, 1.0, 0.1, "a number"), hypotheses=())
        verdict = hf.verify(REFERENCE, ["own"]).verdicts[0]
        assert (verdict.verdict, verdict.scope) == ("holds", "other")
        assert verdict.where == "on a problem that its check does not name"

    def test_the_closest_of_several_findings_counts(self):
        verdict = judged(own(hypotheses=()), found(problem=None, evidence="symbolic"), found(), problem=FEWER_HEADS)
        assert (verdict.evidence, verdict.scope, verdict.where) == (
            "symbolic",
            "problem",
            "in general, on your problem",
        )
        open_here = judged(
            own(hypotheses=()), found(problem=None, evidence="symbolic"), found(0.95), problem=FEWER_HEADS
        )
        assert (open_here.verdict, open_here.scope) == ("holds", "general")

    @pytest.mark.parametrize("entry", statements(), ids=lambda entry: entry.id)
    def test_hypotheses_about_numbers_are_tested(self, entry):
        """A phrase that compares H or I with something, or asks for equal tasks, has its test."""
        tested = set(map(str, entry.conditions))
        about = {
            phrase
            for phrase in entry.hypotheses
            if phrase.startswith(("H ", "I ", "3 ≤ H", "equal tasks")) or "tasks of equal" in phrase
        }
        assert about <= tested <= set(entry.hypotheses)
        for condition in entry.conditions:
            assert condition.describe(FEWER_HEADS.exact_values())


RAISED = [
    ValueError("f(a) and f(b) must have different signs"),
    IndexError("list index out of range"),
    ZeroDivisionError("division by zero"),
    MemoryError("Unable to allocate 7.28 TiB"),
    OverflowError("math range error"),
    TypeError("Cannot convert complex to float"),
    np.linalg.LinAlgError("Singular matrix"),
    RecursionError("maximum recursion depth exceeded"),
    AssertionError(),
    InputError("not so"),
]


class TestUndone:
    """One check that cannot be carried out is one inconclusive verdict; all others are delivered."""

    @pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
    def test_any_error(self, error, monkeypatch):
        def broken(setting):
            raise error

        monkeypatch.setattr(registry, "CHECKS", {**registry.CHECKS, "gradient": broken})
        verified = hf.verify(REFERENCE, ["universal-bound", "gradient", "split-invariants"], quick=True)
        assert [verdict.verdict for verdict in verified.verdicts] == ["holds", "inconclusive", "holds"]
        verdict = verified.verdicts[1]
        numbers = isinstance(error, InputError | ArithmeticError)
        how = "computed at these numbers" if numbers else "carried out"
        told = f"the check broken could not be {how}{': ' * bool(str(error))}{error} ({type(error).__name__})"
        assert (verdict.reason, verdict.evidence) == (told, "none")
        assert verified.exit_code == 3
        for text in (verified.text(), verified.markdown(), verified._repr_html_()):
            assert type(error).__name__ in text
        assert type(error).__name__ in verified.latex()
        row = json.loads(json.dumps(verified.to_json(), allow_nan=False))["verdicts"][1]
        assert (row["verdict"], row["reason"], row["measured"]) == ("inconclusive", told, None)

    @pytest.mark.parametrize(
        ("error", "told"),
        [
            (OverflowError(34, "Numerical result out of range"), "Numerical result out of range (OverflowError)"),
            (IntegrationError("No step.\n Try."), "No step. Try (IntegrationError)"),
            (TypeError("1" * 999), "1" * 300 + "… (TypeError)"),
        ],
    )
    def test_the_reason_can_be_read(self, error, told):
        """No number of an error, no sentence that ends within another, and no number of hundreds of digits."""

        def broken(setting):
            raise error

        (finding,) = carried_out(broken, Setting(REFERENCE, 0, quick=True))
        assert finding.what.partition(": ")[2] == told

    def test_a_real_error_of_scipy(self, register):
        register(lambda setting: scipy.optimize.brentq(lambda x: 1.0, 0, 1), hypotheses=())
        assert "ValueError" in hf.verify(REFERENCE, ["own"]).verdicts[0].reason

    def test_further_evidence_that_raises_leaves_the_verdict_open(self, monkeypatch):
        def broken(setting):
            raise ValueError("no")

        monkeypatch.setattr(registry, "ENCLOSURES", {**registry.ENCLOSURES, "factor-e": broken})
        (verdict,) = hf.verify(REFERENCE, ["factor-e"], quick=True).verdicts
        assert (verdict.verdict, verdict.reason[-15:]) == ("inconclusive", "no (ValueError)")
        assert [finding.evidence for finding in verdict.findings] == ["symbolic", "high_precision", "none"]

    def test_what_falls_with_the_digits_is_no_refutation_and_what_stays_is(self):
        def cancels(setting):
            return Finding("high_precision", 10.0 ** (30 - setting.digits), *setting.residual, "residual")

        def wrong(setting):
            return Finding("high_precision", 1e-33, *setting.residual, "residual")

        for check, verdict in ((cancels, "holds"), (wrong, "fails")):
            assert judged(own(hypotheses=()), *carried_out(check, Setting(REFERENCE, 0, True))).verdict == verdict

    def test_what_fails_fails_beside_a_check_that_raises(self):
        undone = carried_out(lambda setting: 1 / 0, Setting(REFERENCE, 0, True))
        assert judged(own(hypotheses=()), found(2.0), *undone).verdict == "fails"

    @pytest.mark.parametrize("returned", [None, 0.5, "holds", (), (found(), 1)])
    def test_a_check_that_returns_something_else(self, returned, register):
        register(lambda setting: returned, hypotheses=())
        verdict = hf.verify(REFERENCE, ["own"]).verdicts[0]
        assert verdict.verdict == "inconclusive"
        assert "must return a Finding, or several in a tuple; it returned" in verdict.reason

    @pytest.mark.parametrize("measured", [1j, None, "large", [1]])
    def test_a_finding_of_no_number(self, measured, register):
        with pytest.raises(InputTypeError, match="measured of a finding must be a real number"):
            found(measured)
        register(lambda setting: found(measured), hypotheses=())
        assert "must be a real number" in hf.verify(REFERENCE, ["own"]).verdicts[0].reason

    def test_an_unknown_kind_of_evidence(self):
        with pytest.raises(InputError, match="unknown kind of evidence 'flot'; did you mean 'float'"):
            found(evidence="flot")

    @pytest.mark.parametrize("number", [Fraction(1, 2), np.float32(0.5), 1])
    def test_numbers_of_other_kinds_are_floats(self, number):
        assert type(found(number).measured) is float

    def test_an_interruption_is_none(self, register):
        def interrupted(setting):
            raise KeyboardInterrupt

        register(interrupted, hypotheses=())
        with pytest.raises(Interrupted, match=r"interrupted: 0 of 1 statements checked, 1 not reached\.$") as caught:
            hf.verify(REFERENCE, ["own"])
        assert caught.value.partial.not_reached == ("own",)

    def test_an_interruption_keeps_what_was_found(self, tmp_path, register):
        def interrupted(setting):
            raise KeyboardInterrupt

        register(interrupted, hypotheses=())
        path = tmp_path / "c.json"
        with pytest.raises(Interrupted, match=r"1 of 2 statements checked, 1 not reached\. With resume") as caught:
            hf.verify(REFERENCE, ["split-invariants", "own"], certificate=path)
        part = caught.value.partial
        assert [verdict.id for verdict in part.verdicts] == ["split-invariants"]
        assert part.not_reached == tuple(part.to_json()["not_reached"]) == ("own",)
        assert part.exit_code == 3
        for said in (part.sentence, part.text(), part.markdown(), part.latex(), part._repr_html_()):
            assert "1 statement was not reached." in said
        assert len(json.loads(path.read_text())["verdicts"]) == 1

    def test_a_claim_that_is_asked_for_twice_is_reached(self, tmp_path):
        path = tmp_path / "c.json"
        hf.verify(REFERENCE, ["split-invariants", "split-invariants"], certificate=path)
        assert json.loads(path.read_text())["complete"] is True

    def test_an_interruption_keeps_what_helpers_have_found(self, monkeypatch):
        begun, answered = Event(), Event()

        def checked(id, setting):
            if current_thread() is main_thread():
                begun.set()
                answered.wait(60)
                time.sleep(0.1)  # until the answer has come
                raise KeyboardInterrupt
            begun.wait(60)
            answered.set()
            return judged(statement(id), found(), problem=REFERENCE)

        @contextmanager
        def threads(count, module):
            with ThreadPoolExecutor(count) as pool:
                yield pool

        monkeypatch.setattr(verification, "verdict_on", checked)
        monkeypatch.setattr(verification, "helpers", threads)
        with pytest.raises(Interrupted) as caught:
            hf.verify(REFERENCE, ["gradient", "split-invariants", "universal-bound"], workers=2)
        assert caught.value.partial.verdicts

    def test_a_statement_that_raised_is_kept_in_a_certificate(self, tmp_path, register):
        register(lambda setting: 1 / 0, hypotheses=())
        path = tmp_path / "c.json"
        made = hf.verify(REFERENCE, ["own", "split-invariants"], certificate=path)
        again = hf.verify(REFERENCE, ["own", "split-invariants"], certificate=path, resume=True)
        assert [v.reason for v in again.verdicts] == [v.reason for v in made.verdicts]


def killed(setting):
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def forked(count, module=""):
    """Processes that know what this one has patched."""
    with ProcessPoolExecutor(count, get_context("fork")) as pool:
        yield pool


class TestLostProcesses:
    ids = ("universal-bound", "gradient", "split-invariants", "mu-elimination")

    def test_a_process_that_is_killed_costs_one_verdict(self, monkeypatch):
        hf.verify(REFERENCE, self.ids, quick=True)  # derived before: forked processes have it
        monkeypatch.setattr(registry, "CHECKS", {**registry.CHECKS, "universal-bound": killed})
        monkeypatch.setattr(verification, "helpers", forked)
        verified = hf.verify(REFERENCE, self.ids, quick=True, workers=2)
        assert [verdict.id for verdict in verified.verdicts] == list(self.ids)
        assert [verdict.verdict for verdict in verified.verdicts] == ["inconclusive", "holds", "holds", "holds"]
        assert "the process that checked it has ended" in verified.verdicts[0].reason

    def test_a_pool_that_is_broken_before(self, monkeypatch):
        monkeypatch.setattr(verification, "helpers", forked)
        with forked(1) as pool:
            pool.submit(killed, None).exception()
            verified = hf.verify(REFERENCE, self.ids, quick=True, workers=2, pool=pool)
        assert {verdict.verdict for verdict in verified.verdicts} == {"holds"}

    def test_where_no_process_can_be_started_this_one_checks(self, monkeypatch):
        @contextmanager
        def broken(count, module):
            with forked(count) as pool:
                pool.submit(killed, None).exception()
                yield pool

        monkeypatch.setattr(verification, "helpers", broken)
        verified = hf.verify(REFERENCE, self.ids, quick=True, workers=2)
        assert {verdict.verdict for verdict in verified.verdicts} == {"holds"}


def verdicts(*outcomes, parent="", scope="problem"):
    plain = judged(own(hypotheses=(), parent=parent), found(), problem=FEWER_HEADS)
    return [
        dataclasses.replace(plain, verdict=outcome, scope=scope, id=f"{parent}{place}")
        for place, outcome in enumerate(outcomes)
    ]


class TestWords:
    def test_sentences(self):
        assert sentence(()) == ""
        assert sentence(verdicts("holds")) == "The theorem holds (checked on this problem)."
        assert sentence(verdicts("holds", "holds")) == "All 2 theorems hold (2 checked on this problem)."
        mixed = verdicts("holds", "fails", "inconclusive", "not_applicable")
        assert sentence(mixed) == (
            "Of 4 theorems 1 holds (1 checked on this problem), 1 fails, 1 is inconclusive, 1 does not apply."
        )
        assert sentence([*mixed, *mixed, *verdicts("holds", scope="general"), *verdicts("fails", parent="p")]) == (
            "Of 9 theorems 3 hold (2 checked on this problem, 1 shown in general), 2 fail, 2 are inconclusive, "
            "2 do not apply; of 1 restatement or corollary 1 fails."
        )

    def test_what_restates_a_theorem_follows_it(self):
        top = verdicts("holds", "holds")
        under = verdicts("holds", parent="0")
        stray = verdicts("holds", parent="elsewhere")
        order = [(verdict.id, below) for verdict, below in in_order([*under, *top, *stray])]
        assert order == [("0", False), ("00", True), ("1", False), ("elsewhere0", False)]

    def test_parents_are_theorems(self):
        by_id = {entry.id: entry for entry in statements()}
        children = [entry for entry in by_id.values() if entry.parent]
        assert len(children) >= 25
        assert all(not by_id[entry.parent].parent for entry in children)

    def test_a_verdict_says_what_its_derivation_rests_on(self):
        (verdict,) = hf.verify(REFERENCE, ["gradient"], quick=True).verdicts
        grounds = statement("gradient").derivation.grounds
        assert (verdict.checked, verdict.argued, verdict.theorems) == (
            grounds.checked,
            grounds.argued,
            grounds.theorems,
        )
        row = json.loads(json.dumps(verdict.to_row()))
        assert Verdict.from_row(row) == verdict
        assert (row["checked"], row["argued"]) == (grounds.checked, list(grounds.argued))

    def test_a_proof_with_instances_is_none_in_general(self):
        def passes():
            return True

        general = Step("slope", Symbol("x"), "Given.", passes)
        small = Step("small", Symbol("x"), "Given.", passes, "H = 2, 3")
        assert proof(Derivation("All sizes", (general,))).problem is None
        assert proof(Derivation("Two sizes", (general, small))).problem == "H = 2, 3 in 1 of 2 steps"


PROBLEMS = {
    "reference": REFERENCE,
    "fewer heads": FEWER_HEADS,
    "one": hf.Problem(dims=[8], signal_power=[1], noise_variance=0.2, context_length=60, n_heads=1),
    "pair": hf.Problem(dims=[8], signal_power=[1], noise_variance=0.2, context_length=60, n_heads=2),
    "idle": hf.Problem(dims=[5, 6], signal_power=[1, 2], noise_variance=0.1, context_length=60, n_heads=4),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PROBLEMS)
def test_every_check_says_what_it_measured_and_stays_within_the_hypotheses(name):
    setting = Setting(PROBLEMS[name], 0, quick=True)
    wrong = []
    for id in CHECKS:
        entry = statement(id)
        for check in checks_of(id, quick=True):
            for finding in carried_out(check, setting):
                where = problems_of(finding.problem)
                if finding.problem in (UNNAMED, "") or any(map(entry.unmet, where)):
                    wrong.append((id, check.__name__, finding.what, words_of(finding.problem, setting.problem)))
    assert wrong == []
