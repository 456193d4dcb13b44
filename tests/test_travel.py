"""What users hold goes through pickle, copy and processes, equal and with its proofs, and shows itself in a line."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

import pytest
from sympy import Eq, Symbol

import headflow as hf
from everything import PROBLEM, START, a, of_numerics, of_theory, own_flow, own_run, shown, x
from headflow import numerics, theory
from headflow.theory.derivation import Derivation, Step
from headflow.theory.flows.flow import _attention_flow
from headflow.theory.hypothesis import AS_MANY_HEADS, equal_tasks
from headflow.theory.indexed import Definition
from headflow.theory.notation import i, over_tasks

LONGEST = 320  # characters of a line that shows an object


def through_pickle(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def through_cloudpickle(value: Any) -> Any:
    return pickle.loads(pytest.importorskip("cloudpickle").dumps(value))


WAYS = (through_pickle, copy.copy, copy.deepcopy, through_cloudpickle)


def assert_same(found: Any, value: Any) -> None:
    assert type(found) is type(value)
    if isinstance(value, tuple | theory.ReducedSystem | Derivation | theory.Statement):
        assert found == value
    assert shown(found) == shown(value)


def is_positive(line: Any) -> bool:
    return bool(line.is_positive)


@pytest.mark.parametrize("way", WAYS)
def test_a_flow_and_its_parts_arrive_equal_with_their_checks(way: Callable[[Any], Any]) -> None:
    flow = theory.gradient_flow("merged")
    for value in (flow, flow.derivation, flow.derivation.steps[-1], flow.definitions, flow.loss):
        assert way(value) == value
    assert way(flow).derivation.steps[-1].holds()


def test_a_flow_is_derived_again_where_it_arrives() -> None:
    kept = pickle.dumps(theory.gradient_flow("merged"))
    _attention_flow.cache_clear()
    found = pickle.loads(kept)
    assert found is theory.gradient_flow("merged")
    assert len(kept) < 200


def test_what_was_changed_travels_as_it_was_changed() -> None:
    flow = theory.gradient_flow("merged")
    changed = replace(flow, loss=3 * flow.loss)
    found = through_pickle(changed)
    assert found == changed
    assert found.derivation.check().failed == ()


def test_formulas_travel_as_they_stand() -> None:
    y, z = Symbol("y"), Symbol("z")
    for body in (2 * (y + z), -(y + z)):
        unopened = body.func(*body.args, evaluate=False)
        assert through_pickle(Definition(a[i], unopened)).body == unopened
    factored = theory.gradient_flow(2 * over_tasks((1 - x[i]) ** 2 + a[i], i), state=[x[i]])
    assert through_pickle(factored) == factored
    step = Step("one side", Eq(y, y, evaluate=False), "as it stands")
    assert through_pickle(step) == step


def test_steps_of_ones_own_travel_with_functions_of_a_module() -> None:
    step = Step("positive", Symbol("p", positive=True), "p > 0", check=is_positive)
    assert through_pickle(step).holds()


def test_hypotheses_travel() -> None:
    for hypothesis in (AS_MANY_HEADS, equal_tasks("equal tasks")):
        assert through_pickle(hypothesis) == hypothesis


def test_own_runs_travel() -> None:
    run = own_run()
    assert_same(through_pickle(run), run)
    assert_same(copy.deepcopy(run), run)


def test_generated_code_travels_as_what_it_was_generated_from() -> None:
    compiled = numerics.compile_system(own_flow())
    for value in (compiled, compiled.velocity, compiled.velocity.bind({"a": [1.0, 2.0], "I": 2, "H": 2})):
        for way in (through_pickle, copy.deepcopy):
            assert_same(way(value), value)


def test_what_is_large_shows_itself_in_a_line() -> None:
    verification = hf.verify(PROBLEM, ["factor-e"], quick=True)
    limit, flow = theory.task_allocation_limit(), theory.gradient_flow("balanced")
    assert repr(flow) == (
        "ReducedSystem(balanced, leading, plain coordinates: mu[i, h], omega[i, h]; 3 definitions, "
        f"{len(flow.derivation)} steps)"
    )
    assert repr(verification) == f"Verification(1 holds; {PROBLEM!r})"
    assert (
        repr(limit.loss) == f"ClosedForm(the task-allocation limit, loss_infinity = …, {len(limit.derivation)} steps)"
    )
    for value in (limit, limit.derivation, limit.derivation.steps[0], verification.verdicts[0], hf.compare(PROBLEM)):
        assert len(repr(value)) <= LONGEST
        assert "\n" not in repr(value)
    assert "factor-e" in str(verification)
    assert str(limit.loss).startswith("𝓛_∞ = ")
    many = hf.InitialState(mu=[[1.0] * 100] * 100, omega=[[1.0] * 100] * 100)
    assert repr(many) == "InitialState(100 tasks, 100 heads, explicit)"


@pytest.mark.slow
@pytest.mark.parametrize("everything", [of_theory, of_numerics])
def test_everything_travels_and_shows_itself_in_a_line(everything: Callable[[], Any]) -> None:
    for name, value in everything():
        for way in (through_pickle, copy.copy, copy.deepcopy):
            assert_same(way(value), value)
        if not name.startswith(("dataset", "ensemble", "events", "derivations", "statements")):
            assert len(repr(value)) <= LONGEST, name
            assert "\n" not in repr(value), name


@pytest.mark.slow
def test_everything_public_is_among_them() -> None:
    held = {type(value) for _, value in (*of_theory(), *of_numerics())}
    public = {getattr(module, name) for module in (hf, numerics, theory) for name in dir(module) if name[0].isupper()}
    left = {kind for kind in public if isinstance(kind, type)} - held
    # Made by runs of minutes, or a part of what is there.
    assert {kind.__name__ for kind in left} == {
        *(
            "Interrupted",
            "IntegrationInterrupted",
            "Definition",
            "Hypothesis",
            "Convention",
            "RandomStart",
            "Reproduction",
            "Cascade",
            "ValleyReport",
        ),
    }


@pytest.mark.slow
def test_other_processes_take_and_return_them() -> None:
    given = {"flow": theory.gradient_flow("balanced"), "own": own_flow(), "run": own_run(), "start": START}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        returned = pool.submit(copy.copy, given).result()
        printed = pool.submit(str, given["flow"]).result()
    assert returned["flow"] == given["flow"]
    assert returned["own"] == given["own"]
    assert shown(returned["run"]) == shown(given["run"])
    assert printed == str(given["flow"])


@pytest.mark.slow
def test_a_pickle_is_read_by_a_new_interpreter(tmp_path: Any) -> None:
    path = tmp_path / "kept.pickle"
    path.write_bytes(
        pickle.dumps((theory.factor_e(), theory.task_allocation_limit(), numerics.compile_system(own_flow())))
    )
    code = (
        f"import pickle; factor, limit, code = pickle.load(open({str(path)!r}, 'rb')); "
        "print(factor.derivation.check().failed, limit, code.velocity.source)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    compiled = numerics.compile_system(own_flow())
    assert run.stdout == f"() {theory.task_allocation_limit()} {compiled.velocity.source}\n"
