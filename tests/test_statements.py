"""The registry of statements and the catalogue of derivations."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from pathlib import Path

import pytest

from headflow import Problem, verify
from headflow.errors import InputError
from headflow.report import exposition
from headflow.theory import derivations, gradient_flow, latex_document, task_allocation_limit
from headflow.theory.derivation import Step
from headflow.theory.grounds import DEFINITION, FORMAL, GENERAL
from headflow.theory.presentation.proofs import proofs
from headflow.theory.printing import check_latex, html_prose, latex_prose
from headflow.theory.statements import registry, statement, statements


def test_ids_are_unique_and_words():
    ids = [entry.id for entry in statements()]
    assert all(statement(id) is entry for id, entry in zip(registry._BUILDERS, statements(), strict=True))
    assert ids == list(registry._BUILDERS)
    assert len(ids) == len(set(ids)) >= 20
    assert all(word == word.lower() and " " not in word for word in ids)


@pytest.mark.parametrize("entry", statements(), ids=lambda entry: entry.id)
def test_each_statement_is_complete_and_renders(entry):
    assert entry.title
    assert entry.source
    assert entry.claim
    assert len(entry.derivation) > 0
    assert entry.id in entry.text()
    assert entry.id in entry.markdown()
    assert "<math" in entry.html()
    assert r"\begin{theorem}" in entry.latex()
    for assumed in entry.hypotheses:
        assert assumed in entry.text()


# Their steps are many: seconds each.
LONG = ("merged-valley", "merged-valley-one-task", "split-energy", "finite-d-bounds")
PROOFS = [
    pytest.param(proof, id=proof.statement.id, marks=pytest.mark.slow if proof.statement.id in LONG else ())
    for proof in proofs(statements())
]


@pytest.mark.parametrize("proof", PROOFS)
def test_no_step_of_a_proof_fails(proof):
    """Each step once, with the first statement that needs it."""
    assert [step.label for step in proof.steps if step.holds() is False] == []


def test_unknown_claim_gets_a_suggestion():
    with pytest.raises(InputError, match="did you mean 'factor-e'"):
        statement("factor-f")


def test_all_shows_every_step_once():
    found = derivations("all")
    labels = [step.label for derivation in found for step in derivation]
    assert len(labels) == len(set(labels))
    assert labels[0] == "softmax weights"
    assert {"limit loss", "infimum", "universal bound", "Bayes risk", "warm-up", "energy identity"} <= set(labels)


def test_derivations_make_a_sound_document():
    source = latex_document("Dynamics", [(derivation.title, derivation.latex()) for derivation in derivations()])
    assert check_latex(source) == []


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(("los",), "topic"), (("loss", "balance"), "parametrisation"), (("loss", "merged", "x"), "closure")],
)
def test_unknown_choices(arguments, word):
    with pytest.raises(InputError, match=f"unknown {word}"):
        derivations(*arguments)


def test_the_derivation_does_not_know_the_sizes():
    for derivation in derivations():
        for step in derivation:
            for line in step.formula:
                sides = line if isinstance(line, tuple) else (line,)
                assert not any("I=" in str(side) or "H=" in str(side) for side in sides)


@pytest.mark.slow
def test_proofs_tell_every_step_once_and_refer_to_the_rest():
    entries = statements()
    told = proofs(entries)
    steps = [step for proof in told for step in proof.steps]
    assert len(steps) == len(set(steps))
    assert set(steps) == {step for entry in entries for step in entry.derivation}
    place = {entry.id: number for number, entry in enumerate(entries)}
    for proof in told:
        assert all(place[id_] < place[proof.statement.id] for id_ in proof.uses)
    source = latex_document("Proofs", [("Proofs", "\n".join(proof.latex() for proof in told))])
    assert check_latex(source) == []
    assert "Measured: the flow is integrated" in source
    assert source.count(r"\begin{proof}") == len(entries)


@pytest.mark.parametrize("entry", statements(), ids=lambda entry: entry.id)
def test_proved_is_said_of_complete_proofs_alone(entry):
    """Of what every kind of output says: each step that is weaker is named there."""
    weak = [
        step.label
        for step in entry.derivation
        if step.label not in entry.derivation.given and step.scope not in (GENERAL, DEFINITION)
    ]
    assert (entry.status == "proved") == (not weak and not entry.plan)
    outputs = {
        entry.text(): str,
        entry.markdown(): str,
        exposition._statement_json(entry)["standing"]: str,
        entry.latex(): latex_prose,
        entry.html(): html_prose,
    }
    for output, written in outputs.items():
        assert ("proved" in output) == (entry.status == "proved")
        assert entry.plan or all(written(label) in output for label in weak)
    assert (r"\begin{proof}[Proof]" in proofs([entry])[0].latex()) == (entry.status == "proved")


def test_a_step_without_its_check_takes_the_word_away():
    """Whichever it is: no step of a proof may rest on words, or on instances, and the statement still be proved."""
    entry = statement("factor-e")
    assert entry.status == "proved"
    for step in entry.derivation:
        if step.label in entry.derivation.given or step.check is None:
            continue
        for kind, other in (
            ("argued", Step(step.label, step.formula, step.why)),
            ("checked", Step(step.label, step.formula, step.why, step.check, "I = 2")),
            ("derived", Step(step.label, step.formula, step.why, step.check, FORMAL)),
        ):
            steps = tuple(other if each is step else each for each in entry.derivation)
            weaker = dataclasses.replace(entry, derivation=dataclasses.replace(entry.derivation, steps=steps))
            assert weaker.status == kind
            assert "proved" not in weaker.text()


@pytest.mark.slow
def test_a_document_of_whatever_writes_itself_as_latex(tmp_path: Path) -> None:
    """Flows and limits get a display, derivations and tables stand as they are; what the user wrote too."""
    flow = gradient_flow("split")
    held = verify(Problem([3, 3], 1, 0.1, 30, 2), ["factor-e"])
    bodies = [
        flow,
        flow.latex(),
        flow.derivation,
        task_allocation_limit(),
        statement("factor-e"),
        held,
        "Words: $a<b$.",
    ]
    source = latex_document("All", [(type(body).__name__, body) for body in bodies])
    assert check_latex(source) == []
    assert source.count("\\[\n\\begin{aligned}") >= 4
    assert "\\usepackage{lmodern}}{}" in source  # where it is installed
    if shutil.which("pdflatex"):
        (tmp_path / "document.tex").write_text(source, encoding="utf-8")
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "document.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
        assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.parametrize(
    "id",
    [
        "convergence",
        "late-law",
        "idle-head",
        "shared-head",
        "split-task",
        "balanced-limit-stable",
        "cascade",
        "who-wins",
        "emergence-time",
    ],
)
def test_claims_about_the_balanced_flow_say_that_balance_is_exact(id):
    assert any("exactly balanced weights" in hypothesis for hypothesis in statement(id).hypotheses)
