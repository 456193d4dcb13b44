"""Derivations: ordered, justified, checkable steps, recorded while computing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from xml.etree import ElementTree

import pytest
from sympy import Eq, Float, Ge, Gt, Integer, Symbol, diff

from headflow.theory.derivation import Derivation, Recorder, Step
from headflow.theory.grounds import DEFINITION, FORMAL, GENERAL
from headflow.theory.notation import h, i, loss, mu, omega, over_heads, residual, signal_power
from headflow.theory.printing import check_latex, latex_document

x, y = Symbol("x"), Symbol("y")


def example() -> Derivation:
    """A derivation of two checked steps and one that rests on its justification."""
    record = Recorder("Residual & slope", assumptions=("H ≥ 2", "L → ∞."))
    body = record("residual", 1 - over_heads(mu[i, h] * omega[i, h]), "The definition of r_i.")
    square = record("square", (x, y**2), "As given: x = y².", check=lambda: bool(body))[1]
    record("slope", (Symbol("s"), diff(square, y)), "Power rule.", check=lambda: diff(square, y) == 2 * y)
    return record.freeze()


def test_steps_come_in_order_and_by_label() -> None:
    derivation = example()
    assert [step.label for step in derivation] == ["residual", "square", "slope"]
    assert len(derivation) == 3
    assert derivation["slope"].formula == ((Symbol("s"), 2 * y),)
    assert derivation.result is derivation["slope"]
    assert "square" in derivation
    with pytest.raises(KeyError, match=r"no step 'curve'.*residual, square, slope"):
        derivation["curve"]


def test_what_is_recorded_is_what_the_code_goes_on_with() -> None:
    record = Recorder("One")
    formula = (x, y + 1)
    assert record("first", formula, "Given.") is formula
    assert record("second", formula[1], "Right side.") is formula[1]


def test_a_frozen_derivation_does_not_grow() -> None:
    record = Recorder("Growing")
    record("first", x, "Given.")
    frozen = record.freeze()
    record("second", y, "Given.")
    assert len(frozen) == 1
    assert len(record.freeze()) == 2
    with pytest.raises(FrozenInstanceError):
        frozen.title = "other"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        frozen["first"].why = "other"  # type: ignore[misc]


def test_checks_run_and_are_reported() -> None:
    derivation = example() + Derivation("End", (Step("wrong", Eq(x, y), "It is not.", check=lambda: False),))
    report = derivation.check()
    assert report.passed == ("square", "slope")
    assert report.failed == ("wrong",)
    assert report.unchecked == ("residual",)
    assert not report.holds
    assert str(report) == "2 steps checked, 1 resting on their justification; FAILED: wrong"
    assert example().check().holds


def test_a_check_is_given_the_formula_that_is_shown() -> None:
    step = Step("twice", ((x, y), Gt(y, 0)), "Given.", check=lambda equation, relation: equation[1] == relation.lhs)
    assert step.holds() is True
    assert step.with_formula(((x, 2 * y), Gt(y, 0))).holds() is False
    assert step.with_formula(((x, 2 * y), Gt(y, 0))) != step
    assert Step("words", x, "Given.").holds() is None


def test_a_derivation_says_what_it_rests_on() -> None:
    def passes() -> bool:
        return True

    steps = (
        Step("model", x, "As given.", scope=DEFINITION),
        Step("slope", x, "Power rule.", passes),
        Step("series", x, "Expanded.", passes, FORMAL),
        Step("small weights", x, "A limit.", passes, "H = 2, 3"),
        Step("dominated", x, "Entry by entry.", passes, theorem="Schur's product theorem"),
        Step("spectrum", x, "Known.", theorem="the theorem of Marchenko and Pastur"),
        Step("order", x, "Clear."),
    )
    grounds = Derivation("All kinds", steps).grounds
    assert str(grounds) == (
        "4 of 6 steps checked by computation: 2 in general, 1 as formal expansions, 1 at H = 2, 3 (small weights); "
        "1 argued: order; with Schur's product theorem, the theorem of Marchenko and Pastur"
    )
    assert (grounds.standing, grounds.standing_words) == (
        "argued",
        "argued: order; argued by a theorem: spectrum; checked at instances: small weights (H = 2, 3); "
        "derived by formal expansions: series",
    )
    cited = Derivation("A known spectrum", (*steps[:2], *steps[4:6])).grounds
    assert cited.checked == "2 of 3 steps checked by computation in general"
    kinds = {"proved": steps[4], "derived": steps[2], "checked": steps[3], "argued": steps[5]}
    assert all(Derivation("", (*steps[:2], step)).grounds.standing == kind for kind, step in kinds.items())
    assert Derivation("A proof", (*steps[:2], steps[4])).grounds.standing_words == (
        "proved with Schur's product theorem"
    )
    assert Derivation("Words", steps[6:]).grounds.checked == "0 of 1 steps checked by computation"


@pytest.mark.parametrize(("check", "scope"), [(None, "H = 2"), (None, GENERAL), (lambda: True, DEFINITION)])
def test_a_scope_without_its_check_is_refused(check: Callable[[], bool] | None, scope: str) -> None:
    with pytest.raises(ValueError, match="check, but the scope"):
        Step("step", x, "Why.", check, scope)


def test_an_error_in_a_check_is_not_swallowed() -> None:
    def broken() -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Derivation("Broken", (Step("step", x, "Why.", check=broken),)).check()


def test_concatenation_keeps_shared_steps_once() -> None:
    first = example()
    record = Recorder("Whole", assumptions=("c > 0",))
    record.include(first)
    record("more", Gt(x, 0), "A square.")
    record.include(first)
    whole = record.freeze()
    assert [step.label for step in whole] == ["residual", "square", "slope", "more"]
    assert whole.title == "Whole"
    assert whole.assumptions == ("c > 0", "H ≥ 2", "L → ∞.")
    assert (first + whole).steps == whole.steps
    assert (first + whole).title == "Whole"


def test_labels_are_unique() -> None:
    record = Recorder("Twice")
    record("step", x, "Given.")
    with pytest.raises(ValueError, match=r"two different steps of “Twice” have the label 'step'"):
        record("step", y, "Given.")
    with pytest.raises(ValueError, match="two different steps"):
        record.freeze() + Derivation("Other", (Step("step", y, "Given."),))


@pytest.mark.parametrize(
    ("formula", "lines"),
    [
        (x, (x,)),
        ((x, y), ((x, y),)),
        ((x, y, 1), ((x, y, Integer(1)),)),
        (Ge(x, 0), (Ge(x, 0),)),
        ((Ge(x, 0), (x, y)), (Ge(x, 0), (x, y))),
        (((x, 0), y), ((x, Integer(0)), y)),
        ((x,), (x,)),
    ],
)
def test_a_formula_is_one_line_or_several(formula: object, lines: object) -> None:
    assert Step("step", formula, "Why.").formula == lines


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("", x, "Why."), ValueError, "label of a step must not be empty"),
        (("step", x, " "), ValueError, "why of a step must not be empty"),
        (("step", x, None), TypeError, "why of a step must be text"),
        (("step", "x", "Why."), TypeError, "a line of a formula must be"),
        (("step", (x, "y"), "Why."), TypeError, "a line of a formula must be"),
        (("step", ((x,), y), "Why."), ValueError, "at least two sides"),
    ],
)
def test_bad_steps_are_refused(arguments: tuple[object, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Step(*arguments)


def test_an_empty_derivation_has_no_result() -> None:
    empty = Derivation("Nothing", ())
    assert len(empty) == 0
    with pytest.raises(ValueError, match="“Nothing” has no steps yet"):
        _ = empty.result
    assert check_latex(latex_document("Nothing", [(empty.title, empty.latex())])) == []


def test_text() -> None:
    assert str(example()) == (
        "Residual & slope\n"
        "================\n"
        "\n"
        "Assume H ≥ 2.\n"
        "Assume L → ∞.\n"
        "Sums over h run over the heads 1, …, H.\n"
        "\n"
        "1. residual: The definition of r_i.\n"
        "\n"
        "     1 − Σ_h μ_i^h ω_i^h\n"
        "\n"
        "2. square: As given: x = y².\n"
        "\n"
        "     x = y²\n"
        "\n"
        "3. slope: Power rule.\n"
        "\n"
        "     s = 2 y\n"
    )


def test_latex_is_sound() -> None:
    latex = example().latex()
    assert check_latex(latex_document("Example", [(example().title, latex)])) == []
    assert r"\item \textbf{residual.} The definition of $r_{i}$." in latex
    assert r"1 - \sum_{h} \mu_i^h \omega_i^h" in latex
    assert r"Assume $H \geq 2$." in latex


def test_markdown() -> None:
    markdown = example().markdown()
    assert markdown.startswith("## Residual & slope\n\n")
    assert "**2. square.** As given: x = y².\n\n$$\n\\begin{aligned}\nx &= y^2\n\\end{aligned}\n$$" in markdown


def test_html() -> None:
    section = ElementTree.fromstring(example().html())
    assert section.tag == "section"
    assert len(section.findall("./ol/li")) == 3
    assert example()._repr_html_() == example().html()


def test_jupyter_latex() -> None:
    latex = example()._repr_latex_()
    assert latex.startswith("$$\n\\begin{aligned}")
    assert check_latex(latex.replace("$$", "$")) == []


def test_numbers_stay_exact() -> None:
    with pytest.raises(TypeError, match="Float"):
        Derivation("Inexact", (Step("step", (loss, signal_power[i] * residual[i] * Float("0.5")), "Why."),)).text()
