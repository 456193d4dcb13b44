"""The registry of statements and the catalogue of derivations."""

from __future__ import annotations

import pytest

from headflow.errors import InputError
from headflow.theory import derivations, latex_document
from headflow.theory.printing import check_latex
from headflow.theory.statements import statement, statements


def test_ids_are_unique_and_words():
    ids = [entry.id for entry in statements()]
    assert len(ids) == len(set(ids)) >= 20
    assert all(word == word.lower() and " " not in word for word in ids)


@pytest.mark.parametrize("entry", statements(), ids=lambda entry: entry.id)
def test_each_statement_is_complete_and_renders(entry):
    assert entry.title
    assert entry.source
    assert entry.claim
    assert entry.status in ("proved", "derived", "published")
    assert len(entry.derivation) > 0
    assert entry.id in entry.text()
    assert entry.id in entry.markdown()
    assert "<math" in entry.html()
    assert r"\begin{theorem}" in entry.latex()
    for assumed in entry.hypotheses:
        assert assumed in entry.text()


@pytest.mark.parametrize("entry", statements(), ids=lambda entry: entry.id)
def test_no_step_of_a_proof_fails(entry):
    assert entry.derivation.check().failed == ()


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
