"""Every check can fail: for each statement, and each enclosure, a copy with a planted wrong constant is refuted.

A plant replaces what the check takes from theory by a copy with a wrong constant; the numbers it is compared with stay
right.  A statement without a plant fails the completeness test.
"""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sympy import E, Integer, KroneckerDelta, Matrix, Rational, Symbol

from headflow import Problem
from headflow.numerics import optimum as search
from headflow.numerics import staircase, valley
from headflow.numerics.certificates import resolvent
from headflow.numerics.checks import (
    CHECKS,
    ENCLOSURES,
    LAWS,
    Setting,
    asymptotics,
    closures,
    context,
    enclosures,
    families,
    flow,
    limits,
    losses,
    model,
    optimum,
    parametrisations,
    statics,
    stationary_point,
)
from headflow.numerics.checks import valley as valley_checks
from headflow.numerics.checks.detects import DETECTED
from headflow.numerics.checks.finding import carried_out
from headflow.numerics.checks.registry import known_ids
from headflow.numerics.verdict import judged, outcome
from headflow.theory import closures as closure_theory
from headflow.theory import decomposability as reflections
from headflow.theory import energy as energies
from headflow.theory import notation as n
from headflow.theory.derivation import Derivation
from headflow.theory.families import linear
from headflow.theory.indexed import Definition
from headflow.theory.statements import statement
from plants import SIZED, Plant, changed, evaluated, refuted

REFERENCE = Problem(dims=[10, 10, 10], signal_power=[1, 1, 1], noise_variance=0.1, context_length=100, n_heads=3)
TINY = 1 + Symbol("L") ** -3
PERCENT = Rational(101, 100)


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


def wrong_kernel(right: Any) -> Callable[[Any], Any]:
    """A velocity that knows which entry is the first."""

    def velocity(state: Any) -> Any:
        found = right(state).copy()
        found[0] *= 1.01
        return found

    return velocity


def planted_energy(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = changed(velocity=PERCENT)(energies.gradient_flow("balanced"))
    monkeypatch.setattr(energies, "gradient_flow", lambda _: wrong)
    derivation = energies.energy_identity.__wrapped__("balanced")
    monkeypatch.setattr(flow, "energy_identity", lambda: derivation)


def planted_angles(name: str) -> Callable[[pytest.MonkeyPatch], None]:
    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        right = getattr(parametrisations, name)(parametrisations.split_flow())
        monkeypatch.setattr(parametrisations, name, lambda _: changed(velocity=PERCENT)(right))

    return plant


def planted_reflection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The flip of a task that leaves a part of its label as it was."""
    rules = dict(reflections._TASK_FLIP)
    (label,) = (base for base in rules if base.name == "y")
    rules[label] = lambda i: (1 - 3 * KroneckerDelta(i, reflections._m)) * label[i]
    monkeypatch.setattr(reflections, "_TASK_FLIP", rules)
    wrong = reflections.decomposability.__wrapped__()
    monkeypatch.setattr(parametrisations, "decomposability", lambda: wrong)


def planted_closure(monkeypatch: pytest.MonkeyPatch) -> None:
    right = closure_theory.population_loss

    def wrong(closure: str) -> Any:
        loss = right(closure)
        if closure != "first_order":
            return loss
        extra = n.over_tasks(n.signal_power[n.i] * n.residual[n.i] ** 2)
        return type(loss)(loss.expression + extra, loss.definitions, closure, loss.derivation)

    monkeypatch.setattr(closure_theory, "population_loss", wrong)
    derivation = closure_theory.closure_limits.__wrapped__()
    monkeypatch.setattr(closures, "closure_limits", lambda: derivation)


def planted_elimination(monkeypatch: pytest.MonkeyPatch) -> None:
    Plant(search, "eliminate_mu", changed(loss=TINY)).into(monkeypatch)
    monkeypatch.setattr(search, "_systems", search._systems.__wrapped__)


def planted_factors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Split linear attention whose loss sees the square of the query weights."""
    right, query = linear.SPLIT, linear.query_weight
    squared = n.over_heads(linear.output_value[n.h] * linear.key[linear.a, n.h] * query[linear.b, n.h] ** 2)
    monkeypatch.setattr(linear, "SPLIT", Definition(right.head, squared))
    wrong = linear.linear_attention_flow.__wrapped__("split")
    monkeypatch.setattr(families, "linear_attention_flow", lambda _: wrong)


def next_order(right: Any) -> Any:
    """The powers of time of a valley of one order more."""

    class Wrong:
        def exponents(self, p: int) -> Any:
            return right.exponents(p + 1)

    return Wrong()


def louder(laws: Any) -> Any:
    """Laws of a valley with a twentieth more in the constant of the gap."""
    return dataclasses.replace(laws, gap=changed(constant=Rational(21, 20))(laws.gap))


def louder_pair(right: Any) -> Any:
    class Wrong:
        def laws(self, *heads: int) -> Any:
            return louder(right.laws(*heads))

    return Wrong()


def without_its_power(right: Any) -> Any:
    """The balance of two modes as the plain ratio of their amplitudes."""

    class Wrong:
        def balance_of(self, *at: Any) -> float:
            zero_sum, together = right.amplitudes(*at)
            return together / zero_sum

    return Wrong()


def planted_gradient(name: str) -> Plant:
    return Plant(flow, "gradient_flow", changed(**{name: PERCENT}))


def _is_merged(right: Any) -> bool:
    """The merged flow moves μ by the gradient itself: its metric is a number."""
    return bool(right.metric[0].is_number)


_faster = changed(velocity=PERCENT)
three_times_the_limit = Plant(statics, "task_allocation_limit", changed(loss=3))
wrong_loss = Plant(losses, "population_loss", changed(expression=PERCENT))
third_order = changed(profile=1 + Rational(1, 10**9), predictor=PERCENT)

PLANTED: dict[str, Plant | Callable[[pytest.MonkeyPatch], None]] = {
    "softmax-moments": Plant(losses, "output_moments", changed(covariance=PERCENT)),
    "population-loss": wrong_loss,
    "gradient": Plant(flow, "gradient_flow", changed(gradient=2)),
    "merged-flow": planted_gradient("velocity"),
    "balanced-flow": Plant(flow, "gradient_flow", lambda right: right if _is_merged(right) else _faster(right)),
    "log-coordinates": Plant(flow, "to_log", changed(velocity=PERCENT)),
    "energy-identity": planted_energy,
    "permutation-equivariance": Plant(flow, "_velocity", wrong_kernel),
    "split-flow": Plant(parametrisations, "split_flow", changed(velocity=PERCENT)),
    "split-invariants": Plant(parametrisations, "split_flow", changed(velocity=PERCENT)),
    "split-energy": Plant(parametrisations, "split_flow", changed(velocity=PERCENT), slow=True),
    "split-logarithms": planted_angles("to_log"),
    "hyperbolic-angles": planted_angles("to_hyperbolic"),
    "decomposability": planted_reflection,
    "symmetric-reduction": Plant(parametrisations, "symmetric_reduction", changed(gradient=PERCENT)),
    "warm-up": Plant(flow, "warm_up_flow", changed(velocity=2)),
    "finite-d-loss": wrong_loss,
    "first-order-loss": wrong_loss,
    "closure-limits": planted_closure,
    "finite-d-allocation-limit": Plant(statics, "task_allocation_limit", changed(mu=TINY)),
    "first-order-allocation-limit": Plant(statics, "task_allocation_limit", changed(mu=TINY), slow=True),
    "finite-d-bounds": Plant(closures, "task_allocation_limit", changed(loss=3), slow=True),
    "mu-elimination": planted_elimination,
    "multi-head-optimum": Plant(statics, "multi_head_optimum", evaluated(evaluate=1.0001)),
    "universal-bound": Plant(statics, "universal_lower_bound", changed(expression=3)),
    "single-head-optimum": Plant(statics, "single_head_optimum", evaluated(evaluate=1.001)),
    "task-allocation-limit": Plant(statics, "task_allocation_limit", changed(mu=TINY)),
    "balanced-limit-stable": Plant(limits, "linearised_flow", changed(on_task_rates=PERCENT)),
    "split-limit-saddle": Plant(limits, "linearised_flow", changed(off_task_rates=PERCENT), slow=True),
    "merged-at-zero": Plant(limits, "merged_at_zero", changed(sum=PERCENT)),
    "merged-degenerate-minimum": Plant(limits, "merged_minimum", changed(second_variation=PERCENT)),
    "convergence": Plant(flow, "realised_limit", lambda right: right / 2),
    "merged-valley": Plant(valley, "merged_valley_order", next_order),
    "merged-valley-pairs": Plant(valley, "pairs_valley", louder),
    "merged-valley-simplex": Plant(valley, "simplex_valley", louder),
    "merged-valley-one-task": Plant(valley, "line_valley", louder_pair, slow=True),
    "merged-race": Plant(valley_checks, "merged_start", without_its_power),
    "merged-emergence": Plant(valley_checks, "merged_start", changed(emergence=PERCENT)),
    "factor-e": three_times_the_limit,
    "separation": three_times_the_limit,
    "separation-limit": Plant(statics, "separation", changed(limit=PERCENT)),
    "ordering": three_times_the_limit,
    "universal-bound-reached": Plant(
        optimum, "universal_bound_reached", lambda right: dataclasses.replace(right, least_heads=n.n_tasks)
    ),
    "equal-tasks-optimum": Plant(optimum, "equal_tasks_optimum", changed(expression=1 + Rational(1, 10**5))),
    "single-head-residuals": Plant(optimum, "single_head_residuals", changed(residual=1 + Rational(1, 1000))),
    "shared-head": Plant(optimum, "shared_head", changed(mu=1 + Rational(1, 10**20))),
    "split-task": Plant(optimum, "split_task", changed(total_mu=TINY)),
    "idle-head": Plant(optimum, "idle_head", changed(rate=TINY)),
    "bayes-risk": Plant(resolvent, "bayes_risk", changed(trace=PERCENT)),
    "bayes-limit": Plant(model, "bayes_limit", changed(expression=Rational(1001, 1000))),
    "linear-attention-loss": Plant(context, "linear_attention_loss", changed(expression=TINY)),
    "linear-attention-optimum": Plant(context, "linear_attention_optimum", evaluated(evaluate=1 + 1e-5)),
    "normalisation-costs-a-head": Plant(context, "linear_attention_optimum", evaluated(exact=1 + Rational(1, 10**6))),
    "zero-sum-pair": Plant(context, "zero_sum_pair", third_order),
    "debiased-gradient": Plant(context, "zero_sum_pair", third_order),
    "context-length-shift": Plant(context, "context_shift", changed(expression=1 + Rational(1, 10**30))),
    "hermite-transfer": Plant(context, "hermite_transfer", changed(loss=PERCENT), slow=True),
    "softmax-regimes": Plant(context, "softmax_regimes", changed(typical=PERCENT)),
    "linear-covariate-loss": Plant(families, "linear_covariate_loss", changed(expression=TINY)),
    "linear-split-flow": planted_factors,
    "linear-staircase": Plant(staircase, "linear_staircase", changed(plateau=PERCENT), slow=True),
    "linear-drop-times": Plant(staircase, "linear_staircase", changed(drop_time=PERCENT), slow=True),
    "linear-cascade": Plant(staircase, "small_split_flow", changed(velocity=Rational(5, 4)), slow=True),
    "linear-merged-drop": Plant(staircase, "linear_staircase", changed(merged_time=PERCENT)),
    "softmax-covariate-loss": Plant(families, "softmax_covariate_flow", changed(loss=PERCENT), slow=True),
}

# The flow may need longer than was integrated: a wrong limit leaves that check open, and never holds.
OPEN = {"convergence"}


def without_cache(plant: Plant) -> Callable[[pytest.MonkeyPatch], None]:
    def into(monkeypatch: pytest.MonkeyPatch) -> None:
        plant.into(monkeypatch)
        monkeypatch.setattr(stationary_point, "_closed_forms", stationary_point._closed_forms.__wrapped__)

    return into


wrong_point = without_cache(Plant(stationary_point, "task_allocation_limit", changed(mu=Rational(3, 2))))
wrong_trace = Plant(resolvent, "bayes_risk", changed(trace=PERCENT))
wrong_limit = Plant(enclosures, "task_allocation_limit", changed(loss=3))

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


# Planted in tests of their own.
IN_TEST_DYNAMICS = {"cascade", "who-wins", "emergence-time", "late-law"}


def test_every_check_has_a_plant():
    assert set(PLANTED) | IN_TEST_DYNAMICS == set(CHECKS)
    assert set(PLANTED_ENCLOSURES) == set(ENCLOSURES)
    assert set(PLANTED_LAWS) == set(LAWS)


# Seconds where python-flint is not installed.
LONG = ("first-order-allocation-limit", "linear-drop-times")


def cases(table: dict[str, Any]) -> list[Any]:
    return [
        pytest.param(id, marks=pytest.mark.slow if getattr(plant, "slow", False) or id in LONG else ())
        for id, plant in table.items()
    ]


def plant_it(plant: Plant | Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    # A run that is kept would be of the right theory here, and of the wrong one elsewhere.
    monkeypatch.setattr(families, "_aligned_run", families._aligned_run.__wrapped__)
    (plant.into if isinstance(plant, Plant) else plant)(monkeypatch)


@pytest.mark.parametrize("id", cases(PLANTED))
def test_a_wrong_constant_is_refuted(id, monkeypatch):
    plant_it(PLANTED[id], monkeypatch)
    verdict = judged(statement(id), *carried_out(CHECKS[id], Setting(REFERENCE, seed=0, quick=True)))
    assert verdict.verdict == ("inconclusive" if id in OPEN else "fails")


@pytest.mark.parametrize("id", cases(PLANTED_ENCLOSURES))
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


@pytest.mark.parametrize("id", cases(PLANTED_LAWS))
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
