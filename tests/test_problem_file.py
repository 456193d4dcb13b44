"""The problem file: round trips, defaults, and one clear sentence for each way to get it wrong."""

from __future__ import annotations

import tomllib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headflow import InitialState, Problem
from headflow.errors import InputError, InputTypeError
from headflow.numerics import ProblemFile, RandomStart
from headflow.shipped import default_problem
from strategies import positive_numbers, problems

MINIMAL = """\
[problem]
dims = [10, 20]
signal_power = [1.0, 2.0]
noise_variance = 0.1
context_length = 100
n_heads = 3
"""
PROBLEM = Problem(dims=[10, 20], signal_power=[1, 2], noise_variance=0.1, context_length=100, n_heads=3)

eigenvalues = st.floats(min_value=-1e300, max_value=1e300)


@st.composite
def problem_files(draw: st.DrawFn) -> ProblemFile:
    problem = draw(problems())
    n_entries = problem.n_tasks * problem.n_heads
    shape = (problem.n_tasks, problem.n_heads)
    arrays = st.lists(eigenvalues, min_size=n_entries, max_size=n_entries).map(lambda values: np.reshape(values, shape))
    scales = st.floats(min_value=1e-300, max_value=1e100)
    drawn = st.builds(InitialState.random, st.just(problem), scales, st.floats(0, 1e100), st.integers(0, 2**40))
    return ProblemFile(
        problem=problem,
        parametrisation="merged",
        t_final=draw(positive_numbers.map(float)),
        initial=draw(st.one_of(drawn, st.builds(InitialState, arrays, arrays))),
    )


@given(problem_files())
def test_writing_and_reading_give_back_the_same_file(file: ProblemFile) -> None:
    text = file.to_toml()
    back = ProblemFile.parse(text)
    assert back == file
    assert back.initial.provenance == file.initial.provenance
    assert back.to_toml() == text
    tomllib.loads(text)  # any TOML reader can read it


def test_the_shipped_problem_is_the_reference_case_in_the_writers_own_words() -> None:
    text = default_problem().read_text(encoding="utf-8")
    file = ProblemFile.parse(text)
    assert file.problem == Problem([10, 10, 10], [1, 1, 1], 0.1, 100, 3)
    assert (file.closure, file.parametrisation, file.t_final) == ("leading", "balanced", 1e4)
    assert file.initial.provenance == RandomStart(scale=0.03, jitter=0.2, seed=0)
    assert file.to_toml() == text


def test_model_and_flow_have_documented_defaults() -> None:
    file = ProblemFile.parse(MINIMAL)
    assert file == ProblemFile(PROBLEM)
    assert (file.closure, file.parametrisation, file.t_final) == ("leading", "balanced", 1e4)
    assert file.initial == InitialState.random(PROBLEM)


def test_a_draw_may_be_given_in_part() -> None:
    file = ProblemFile.parse(MINIMAL + "[flow]\ninitial = { seed = 5 }\n")
    assert file.initial == InitialState.random(PROBLEM, seed=5)


def test_an_explicit_start_and_exact_numbers() -> None:
    text = MINIMAL.replace("noise_variance = 0.1", 'noise_variance = "1/3"')
    file = ProblemFile.parse(
        text + "[flow]\ninitial = { mu = [[1, 2, 3], [4, 5, 6]], omega = [[1e-3, 1, 1], [1, 1, 1]] }\n"
    )
    assert file.problem.noise_variance == Fraction(1, 3)
    assert file.initial == InitialState([[1, 2, 3], [4, 5, 6]], [[0.001, 1, 1], [1, 1, 1]])
    assert file.initial.provenance == "explicit"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"the section \[problem\] is missing"),
        ("[problem]\ndims = [10,\n", r"not valid TOML: .*\(at line 3, the last\)"),
        ("[problem]\ndims [10]\n", r"not valid TOML: .*\(at line 2, column 6\)"),
        (MINIMAL + "n_heads = 4\n", r"not valid TOML: .*\(at line 7"),
        (MINIMAL + "[flow]\nt_final = " + "9" * 5000, "not valid TOML"),
        (MINIMAL + "[flow]\nt_final = 1e99999999999999999999\n", "1e99999999999999999999 is out of range"),
        (MINIMAL.replace("n_heads = 3\n", ""), r"\[problem\] lacks n_heads: every value of it is required"),
        ("[problem]\n", r"\[problem\] lacks dims, signal_power, noise_variance, context_length, n_heads"),
        (MINIMAL + "noise = 1\n", r"unknown key in \[problem\] 'noise'; did you mean 'noise_variance'\?"),
        (MINIMAL + "[modle]\n", r"unknown section 'modle'; did you mean 'model'\?"),
        ("n_heads = 3\n" + MINIMAL, r"unknown section 'n_heads' \(allowed: problem, model, flow\)"),
        (MINIMAL + "[model]\nclosures = 1\n", r"unknown key in \[model\] 'closures'; did you mean 'closure'"),
        (MINIMAL + '[model]\nclosure = "leadin"\n', "unknown closure 'leadin'; did you mean 'leading'"),
        (MINIMAL + '[flow]\nparametrisation = "x"\n', r"unknown parametrisation 'x' \(allowed: merged, "),
        (MINIMAL + "[flow]\nt_final = 0\n", "t_final must be positive, got 0"),
        (MINIMAL + "[flow]\nt_final = inf\n", "t_final must be finite, got infinity"),
        (MINIMAL + "[flow]\ninitial = { sead = 1 }\n", "unknown key in initial 'sead'; did you mean 'seed'"),
        (MINIMAL + "[flow]\ninitial = { mu = [[1]] }\n", "either mu and omega or any of scale, .*, got mu"),
        (MINIMAL + "[flow]\ninitial = { mu = [[1]], omega = [[1]], seed = 1 }\n", "got mu, omega, seed"),
        (MINIMAL + "[flow]\ninitial = { mu = [[1]], omega = [[1]] }\n", r"= \(2, 3\) of the problem, got"),
        (MINIMAL + "[flow]\ninitial = { mu = [[1], 1], omega = [[1]] }\n", "rows of equal length"),
        (
            MINIMAL + "[flow]\ninitial = { mu = [[1,1,1],[1,-1,1]], omega = [[1,1,1],[1,1,1]] }\n",
            r"the balanced parametrisation needs .* got mu\[1\]\[1\] = -1.0",
        ),
        (MINIMAL.replace("0.1", "nan"), "noise_variance must be finite, got nan"),
        (MINIMAL.replace("[10, 20]", "[10]"), "dims and signal_power must have one entry per task each"),
    ],
)
def test_a_wrong_value_is_refused_with_one_sentence(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        ProblemFile.parse(text, source="study.toml")
    assert str(caught.value).startswith("study.toml: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("problem = 3\n", r"\[problem\] must be a section, got problem = 3"),
        (MINIMAL + "[model]\nclosure = 1\n", r"closure must be a string, got 1 \(int\)"),
        (MINIMAL + '[flow]\nt_final = "long"\n', r"t_final must be a number, got 'long' \(str\)"),
        (MINIMAL + "[flow]\ninitial = 3\n", r"initial must be a table such as .* got 3"),
        (MINIMAL + "[flow]\ninitial = { seed = 1.5 }\n", r"seed must be an integer, got 1.5"),
        (MINIMAL.replace("[10, 20]", "[10.0, 20]"), r"dims\[0\] must be an integer, got 10.0 \(Decimal\)"),
        (MINIMAL.replace("[10, 20]", "10"), r"dims must be a list with one entry per task, got 10"),
        (MINIMAL.replace("0.1", "true"), r"noise_variance must be a number, got True"),
    ],
)
def test_a_wrong_kind_is_refused_with_one_sentence(text: str, message: str) -> None:
    with pytest.raises(InputTypeError, match=message) as caught:
        ProblemFile.parse(text, source="study.toml")
    assert str(caught.value).startswith("study.toml: ")
    assert "\n" not in str(caught.value)


def test_reading_from_disk(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(MINIMAL, encoding="utf-8")
    assert ProblemFile.read(path) == ProblemFile.read(str(path)) == ProblemFile(PROBLEM)
    path.write_text("[problem]\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"study\.toml: \[problem\] lacks dims"):
        ProblemFile.read(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"cannot read .*study\.toml: it is not UTF-8 text"):
        ProblemFile.read(path)
    with pytest.raises(InputError, match=r"cannot read .*missing\.toml: No such file"):
        ProblemFile.read(tmp_path / "missing.toml")
    with pytest.raises(InputError, match=r"cannot read .*: Is a directory"):
        ProblemFile.read(tmp_path)
