"""Every check can fail: for each statement, and each enclosure, a copy with a planted wrong constant is refuted.

A plant replaces what the check takes from theory by a copy with a wrong constant; the numbers it is compared with stay
right.  A statement without a plant fails the completeness test.
"""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from sympy import E, Integer, Matrix, Rational

from headflow import Problem
from headflow.numerics.certificates import resolvent
from headflow.numerics.checks import (
    CHECKS,
    ENCLOSURES,
    LAWS,
    Setting,
    asymptotics,
    enclosures,
    families,
    losses,
    stationary_point,
)
from headflow.numerics.checks import valley as valley_checks
from headflow.numerics.checks.detects import DETECTED
from headflow.numerics.checks.finding import carried_out
from headflow.numerics.checks.registry import known_ids
from headflow.numerics.predictions import valley
from headflow.numerics.verification.verdict import judged, outcome
from headflow.theory.derivation import Derivation
from headflow.theory.statements import statement
from plants import SIZED, Plant, changed, refuted

REFERENCE = Problem(dims=[10, 10, 10], signal_power=[1, 1, 1], noise_variance=0.1, context_length=100, n_heads=3)
PERCENT, TENTH = Rational(101, 100), Rational(11, 10)


def step(label: str, wrong: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A copy with the first line of one step's formula replaced by what ``wrong`` makes of it."""

    def change(right: Any) -> Any:
        steps = [
            entry.with_formula((wrong(entry.formula[0]), *entry.formula[1:])) if entry.label == label else entry
            for entry in right.derivation.steps
        ]
        derivation = Derivation(right.derivation.title, tuple(steps), right.derivation.assumptions)
        if not hasattr(right, "form"):
            return _with_derivation(right, derivation)
        return dataclasses.replace(right, form=dataclasses.replace(right.form, derivation=derivation))

    return change


def _with_derivation(right: Any, derivation: Derivation) -> Any:
    if "derivation" in {field.name for field in dataclasses.fields(right)}:
        return dataclasses.replace(right, derivation=derivation)
    return dataclasses.replace(right, limit=dataclasses.replace(right.limit, derivation=derivation))


def next_order(right: Any) -> Any:
    """The powers of time of a valley of one order more."""

    class Wrong:
        def exponents(self, p: int) -> Any:
            return right.exponents(p + 1)

    return Wrong()


def without_its_power(right: Any) -> Any:
    """The balance of two modes as the plain ratio of their amplitudes."""

    class Wrong:
        def balance_of(self, *at: Any) -> float:
            zero_sum, together = right.amplitudes(*at)
            return together / zero_sum

    return Wrong()


# Wrong formulas, beside wrong constants.
SHAPES = {
    "merged-valley": Plant(valley, "merged_valley_order", next_order),
    "merged-race": Plant(valley_checks, "merged_start", without_its_power),
}


def without_cache(plant: Plant) -> Callable[[pytest.MonkeyPatch], None]:
    def into(monkeypatch: pytest.MonkeyPatch) -> None:
        plant.into(monkeypatch)
        monkeypatch.setattr(stationary_point, "_closed_forms", stationary_point._closed_forms.__wrapped__)

    return into


wrong_point = without_cache(Plant(stationary_point, "task_allocation_limit", changed(mu=TENTH)))
wrong_trace = Plant(resolvent, "bayes_risk", changed(trace=PERCENT))
wrong_limit = Plant(enclosures, "task_allocation_limit", changed(loss=TENTH))

PLANTED_ENCLOSURES: dict[str, Plant | Callable[[pytest.MonkeyPatch], None]] = {
    "bayes-risk": wrong_trace,
    "multi-head-optimum": Plant(
        enclosures, "multi_head_optimum", step("two heads", lambda line: (line[0], line[1] - line[0] * PERCENT))
    ),
    "universal-bound": Plant(enclosures, "universal_lower_bound", changed(expression=PERCENT)),
    "task-allocation-limit": wrong_point,
    "finite-d-allocation-limit": wrong_point,
    "first-order-allocation-limit": wrong_point,
    "finite-d-bounds": Plant(enclosures, "task_allocation_limit", lambda right: _smaller_kappa(right)),
    "balanced-limit-stable": Plant(enclosures, "linearised_flow", changed(on_task=-1)),
    "split-limit-saddle": Plant(enclosures, "linearised_flow", changed(off_task_rates=-1)),
    "merged-degenerate-minimum": Plant(enclosures, "merged_minimum", changed(curvature=-1)),
    "factor-e": Plant(enclosures, "factor_e", changed(ratio=PERCENT)),
    "separation": wrong_limit,
    "separation-limit": Plant(enclosures, "separation", step("at most I", lambda line: (line[0], line[1] - 1))),
    "ordering": wrong_limit,
    "idle-head": Plant(
        enclosures, "idle_head", lambda right: dataclasses.replace(right, rate=right.rate.xreplace({E: Integer(3)}))
    ),
}


wrong_loss = Plant(losses, "population_loss", changed(expression=PERCENT))

PLANTED_LAWS: dict[str, Plant] = {
    "population-loss": wrong_loss,
    "finite-d-loss": wrong_loss,
    "first-order-loss": wrong_loss,
    "finite-d-bounds": Plant(asymptotics, "task_allocation_limit", changed(kappa=PERCENT)),
    "linear-drop-times": Plant(asymptotics, "linear_staircase", changed(drive=PERCENT)),
}


def _smaller_kappa(right: Any) -> Any:
    if right.kappa.expression.is_number:
        return right
    exponent = right.kappa.expression.args[0]
    kappa = dataclasses.replace(right.kappa, expression=right.kappa.expression.func(exponent * Rational(9, 10)))
    return dataclasses.replace(right, kappa=kappa)


def test_every_check_has_a_plant():
    assert set(SIZED) == set(CHECKS)
    assert set(PLANTED_ENCLOSURES) == set(ENCLOSURES)
    assert set(PLANTED_LAWS) == set(LAWS)


# Seconds where python-flint is not installed.
LONG = {"first-order-allocation-limit", "linear-drop-times"}
# Seconds, of which most go into the proof's steps or into a flow's first integration.
LONG_CHECKS = {
    *LONG,
    "bayes-risk",
    "emergence-time",
    "finite-d-bounds",
    "hermite-transfer",
    "linear-cascade",
    "linear-staircase",
    "merged-valley-one-task",
    "softmax-covariate-loss",
    "split-energy",
    "split-limit-saddle",
}


def cases(table: Iterable[str], long: set[str]) -> list[Any]:
    return [pytest.param(id, marks=pytest.mark.slow if id in long else ()) for id in table]


def plant_it(plant: Plant | Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    # A run that is kept would be of the right theory here, and of the wrong one elsewhere.
    monkeypatch.setattr(families, "_aligned_runs", families._aligned_runs.__wrapped__)
    (plant.into if isinstance(plant, Plant) else plant)(monkeypatch)


@pytest.mark.parametrize("id", cases(SIZED, LONG_CHECKS))
def test_a_constant_that_is_ten_percent_off_is_refuted(id):
    assert refuted(id, REFERENCE, quick=True, decades=1)


@pytest.mark.parametrize("id", SHAPES)
def test_another_formula_is_refuted(id, monkeypatch):
    known = statement(id)
    SHAPES[id].into(monkeypatch)
    assert judged(known, *carried_out(CHECKS[id], Setting(REFERENCE, 0, True))).verdict == "fails"


@pytest.mark.parametrize("id", cases(PLANTED_ENCLOSURES, LONG))
def test_a_wrong_constant_is_refuted_in_a_box(id, monkeypatch):
    plant_it(PLANTED_ENCLOSURES[id], monkeypatch)
    assert outcome(ENCLOSURES[id](Setting(REFERENCE, seed=0, quick=True))) == "fails"


@pytest.mark.parametrize("wrong", [operator.neg, lambda form: Matrix([[form[0, 0], form[0, 0]], [form[0, 0], 0]])])
def test_a_form_that_is_not_positive_is_refuted_in_a_box(wrong, monkeypatch):
    """Its first entry negative, the determinant as before; the first entry as before, the determinant negative."""
    Plant(enclosures, "merged_minimum", lambda right: dataclasses.replace(right, form=wrong(Matrix(right.form)))).into(
        monkeypatch
    )
    assert outcome(ENCLOSURES["merged-degenerate-minimum"](Setting(REFERENCE, seed=0, quick=True))) == "fails"


@pytest.mark.parametrize("id", cases(PLANTED_LAWS, LONG))
def test_a_wrong_constant_is_refuted_over_a_range(id, monkeypatch):
    plant_it(PLANTED_LAWS[id], monkeypatch)
    assert outcome(LAWS[id](Setting(REFERENCE, seed=0, quick=True))) == "fails"


@pytest.mark.slow
def test_a_head_that_leaves_a_task_out_is_covered():
    """There the formula of one head that serves all tasks is below the optimum; the claim is about every division."""
    uneven = Problem(dims=[39, 38], signal_power=[0.605, 8.866], noise_variance=0.5153, context_length=16, n_heads=2)
    for id in ("separation", "ordering"):
        assert outcome(ENCLOSURES[id](Setting(uneven, seed=0, quick=True))) == "holds"


@pytest.mark.slow
@pytest.mark.parametrize("id", ENCLOSURES)
def test_the_enclosure_itself_holds(id):
    finding = ENCLOSURES[id](Setting(REFERENCE, seed=0, quick=True))
    assert outcome(finding) == "holds"
    assert all(claim.holds for claim in finding.certified)


# The table of what the checks detect

EXACT = ["gradient", "task-allocation-limit", "universal-bound", "idle-head", "context-length-shift", "warm-up"]


def test_the_table_names_what_is_planted():
    assert {id: found.planted for id, found in DETECTED.items()} == {id: sized.planted for id, sized in SIZED.items()}


@pytest.mark.parametrize("id", [id if id in EXACT else pytest.param(id, marks=pytest.mark.slow) for id in SIZED])
def test_the_smallest_planted_error_is_what_the_table_says(id):
    smallest = DETECTED[id].quick
    if smallest is not None:
        assert refuted(id, REFERENCE, quick=True, decades=round(-math.log10(smallest)))


@pytest.mark.parametrize("id", ["task-allocation-limit", "idle-head", "warm-up"])
def test_a_tenth_of_it_is_not(id):
    smallest = DETECTED[id].quick
    assert not refuted(id, REFERENCE, quick=True, decades=round(-math.log10(smallest)) + 1)


def test_the_docs_have_the_table():
    page = (Path(__file__).parents[1] / "docs" / "verification.md").read_text(encoding="utf-8")
    rows = [[cell.strip(" `–") for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("|")]
    assert sorted(row[0] for row in rows[2:]) == sorted(known_ids())
    for id, *_, planted, quick, full in rows[2:]:
        found = DETECTED.get(id)
        sizes = (
            ("—", "—")
            if found is None
            else tuple("none" if x is None else f"{x:.1g}" for x in (found.quick, found.full))
        )
        assert (planted, quick, full) == (found.planted if found else "—", *sizes)


def test_no_plant_is_left_behind():
    """What is kept for the rest of a session is of the right theory, also where a plant was there first."""
    for id in ("energy-identity", "decomposability", "mu-elimination"):
        assert statement(id).derivation.check().failed == ()
