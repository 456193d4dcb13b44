"""The command line: what it prints, what it refuses in one sentence, what it leaves on disk, its exit codes."""

from __future__ import annotations

import io
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import headflow
from headflow.cli import dispatch as cli
from headflow.cli.folders import folder
from headflow.cli.grammar import VERBS
from headflow.cli.output import emit
from headflow.errors import IntegrationError
from headflow.numerics.problem.problem_file import ProblemFile
from headflow.numerics.runtime.stop import IntegrationInterrupted, Interrupted
from headflow.numerics.verification import verify
from headflow.shipped import default_problem
from headflow.theory.presentation import catalogue
from headflow.theory.printing import check_latex

ROOT = Path(__file__).resolve().parents[1]
DEFAULT = default_problem().read_text(encoding="utf-8")
NUMBERS = ["--dims", "10,10,10", "--signal", "1,1,1", "--heads", "3", "--context", "100", "--noise", "0.1"]
SMALL = ["--dims", "4,5", "--signal", "1,1/3", "--heads", "2", "--context", "50", "--noise", "0.1"]
SHORT = ["--t-final", "50"]


def command(*words: str, stdin: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "headflow", *words],
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=cwd,
        check=False,
    )


@pytest.fixture
def problem(tmp_path: Path) -> Path:
    path = tmp_path / "problem.toml"
    path.write_text(DEFAULT, encoding="utf-8")
    return path


def json_of(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, Any]:
    """What a verb prints with ``--json``; complete, strict, and alone on standard output."""
    assert cli.main([*words, "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(name))
    assert found["schema"] == 1
    assert found["version"] == headflow.__version__
    assert {"problem", "closure"} <= set(found)
    return found


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one sentence with which a command line is refused."""
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("headflow: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err.removeprefix("headflow: ").strip()


# The real command.


def test_version() -> None:
    done = command("--version")
    assert (done.stdout, done.stderr, done.returncode) == (f"headflow {headflow.__version__}\n", "", 0)


def test_version_loads_nothing_heavy() -> None:
    code = """
import sys
from headflow import cli
assert cli.main(["--version"]) == 0
print(*{"numpy", "scipy", "sympy", "mpmath", "matplotlib", "pandas", "xarray", "tqdm"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.splitlines()[1:], done.stderr) == ([""], "")


def test_init_into_compare_through_standard_input() -> None:
    written = command("init")
    assert (written.stdout, written.returncode) == (DEFAULT, 0)
    done = command("compare", "-", "--json", *SHORT, stdin=written.stdout)
    assert (done.stderr, done.returncode) == ("", 0)
    losses = json.loads(done.stdout)["losses"]
    assert math.isclose(losses["task_allocation_limit"]["value"], 0.6905507363762284, rel_tol=1e-15)


def test_bad_input_is_one_sentence_and_no_traceback() -> None:
    done = command("compare", "there-is-no-such-file.toml")
    assert done.stdout == ""
    assert done.stderr == "headflow: cannot read there-is-no-such-file.toml: No such file or directory\n"
    assert done.returncode == 2


def test_a_reader_that_goes_away_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "headflow", "derive", "loss"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_sentence() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "headflow", "cite"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.stderr == "headflow: cannot write to standard output: no space left on device\n"
    assert done.returncode == 2


# Help and grammar.


@pytest.mark.parametrize("words", [["--help"], *([verb, "--help"] for verb in VERBS)])
def test_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 0
    out, err = capsys.readouterr()
    assert out.startswith("usage: headflow")
    assert err == ""


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "say what to do: derive, integrate, compare, verify, simulate, reproduce, report, init, cite"),
        (["compair"], "unknown verb 'compair'; did you mean 'compare'?"),
        (["reprot", "x.toml"], "unknown verb 'reprot'; did you mean 'report'?"),
        (["derive", "limt"], "unknown topic 'limt'; did you mean 'limit'?"),
        (["derive", "--format", "tex"], "unknown format 'tex'"),
        (["derive", "--closure", "leding"], "unknown closure 'leding'; did you mean 'leading'?"),
        (["integrate", *SMALL, "--parametrisation", "x"], "unknown parametrisation 'x'"),
        (["compare", *SMALL, "--sede", "3"], "unknown option '--sede'; did you mean '--seed'?"),
        (["compare", *SMALL, "--seed"], "--seed: expected one argument"),
        (["compare", "a.toml", "b.toml"], "headflow compare takes no further argument, got 'b.toml'"),
        (["--json", "init"], "--json must come after headflow init"),
        (
            ["verify", "factr-e"],
            "unknown claim 'factr-e'; did you mean 'factor-e'? (`headflow derive statements`",
        ),
        (["verify", "p.toml"], "p.toml is no claim; for the problem of that file use --problem p.toml"),
        (["verify", "--seed", "x"], "--seed must be given in integers, got 'x'"),
    ],
)
def test_what_the_grammar_does_not_know(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert sentence in refused(capsys, *words)


# Bad problems.


def numbers(**changes: str) -> list[str]:
    values = {"dims": "10,10", "signal": "1,1", "heads": "2", "context": "100", "noise": "0.1"} | changes
    return [word for name, value in values.items() for word in (f"--{name}", value)]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dims": ""}, "dims must have one entry per task, got an empty list"),
        ({"dims": "10"}, "dims and signal_power must have one entry per task each, got 1 and 2"),
        ({"dims": "10,x"}, "--dims must be given in integers, got 'x'"),
        ({"dims": "-1,10"}, "dims[0] must be an integer from 1 to 2**53, got -1"),
        ({"signal": "1,0"}, "signal_power[1] must be positive"),
        ({"signal": "1,nan"}, "signal_power[1] must be finite"),
        ({"signal": "1,1e999"}, "signal_power[1] must lie within the range of float64"),
        ({"noise": "-0.1"}, "noise_variance must be at least 0"),
        ({"noise": "inf"}, "noise_variance must be finite"),
        ({"heads": "0"}, "n_heads must be an integer from 1"),
        ({"context": "0"}, "context_length must be an integer from 1"),
        ({"context": "1.5"}, "--context must be given in integers, got '1.5'"),
    ],
)
def test_bad_numbers(changes: dict[str, str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert sentence in refused(capsys, "compare", *numbers(**changes))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "a problem is needed: a TOML file"),
        (["--dims", "10"], "a problem needs --signal and --noise and --context and --heads too"),
        (["x.toml", "--dims", "10"], "give a problem file or numbers, not both"),
        ([*SMALL, "--t-final", "0"], "t_final must be positive"),
        ([*SMALL, "--t-final", "nan"], "t_final must be finite"),
        ([*SMALL, "--t-final", "-5"], "t_final must be positive, got -5"),
        ([*SMALL, "--t-final", "soon"], "--t-final must be a number, got 'soon'"),
        ([*SMALL, "--times", "1,x"], "--times must be a number, got 'x'"),
        ([*SMALL, "--times", "1,1e9"], "times[1] must lie between 0 and t_final"),
        ([*SMALL, "--seed", "-1"], "seed must be at least 0"),
        ([*SMALL, "--seed", "1.5"], "--seed must be given in integers"),
    ],
)
def test_bad_runs(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert sentence in refused(capsys, "integrate", *words)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("[problem]", "[problem", "this is not valid TOML"),
        ("n_heads", "n_head", "unknown key in [problem] 'n_head'; did you mean 'n_heads'?"),
        ("[model]", "[modle]", "unknown section 'modle'; did you mean 'model'?"),
        ('"leading"', '"leadin"', "unknown closure 'leadin'; did you mean 'leading'?"),
        ('"balanced"', '"balance"', "unknown parametrisation 'balance'; did you mean 'balanced'?"),
        ("dims = [10, 10, 10]", "dims = []", "dims must have one entry per task, got an empty list"),
        ("dims = [10, 10, 10]", "dims = [10, 10]", "dims and signal_power must have one entry per task each"),
        ("dims = [10, 10, 10]", "dims = [10, 10, 10.5]", "dims[2] must be an integer"),
        ("noise_variance = 0.1", "noise_variance = inf", "noise_variance must be finite"),
        ("noise_variance = 0.1 ", "", "noise_variance"),
        ("n_heads = 3", "n_heads = 0", "n_heads must be an integer from 1"),
        ("context_length = 100", "context_length = 0", "context_length must be an integer from 1"),
        (
            "initial = { scale = 0.03, jitter = 0.2, seed = 0 }",
            "initial = { mu = [[1.0, 1.0]], omega = [[1.0, 1.0]] }",
            "mu and omega must have the shape (I, H) = (3, 3)",
        ),
        (
            "initial = { scale = 0.03, jitter = 0.2, seed = 0 }",
            f"initial = {{ mu = {[[0.1, 0.1, -0.1]] * 3}, omega = {[[0.1] * 3] * 3} }}",
            "the balanced parametrisation needs every entry of mu to be positive",
        ),
        (
            "initial = { scale = 0.03, jitter = 0.2, seed = 0 }",
            f"initial = {{ mu = {[[1.0] * 3] * 3}, omega = {[[9.0] * 3] * 3} }}",
            "overflow",
        ),
    ],
)
def test_bad_files(old: str, new: str, sentence: str, problem: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert DEFAULT.count(old) >= 1
    problem.write_text(DEFAULT.replace(old, new, 1), encoding="utf-8")
    assert sentence in refused(capsys, "integrate", str(problem))


def test_a_file_that_is_no_text(problem: Path, capsys: pytest.CaptureFixture[str]) -> None:
    problem.write_bytes(b"\xff\xfe\x00")
    assert "it is not UTF-8 text" in refused(capsys, "compare", str(problem))
    assert "cannot read" in refused(capsys, "compare", str(problem.parent))


def test_a_seed_needs_a_random_start(problem: Path, capsys: pytest.CaptureFixture[str]) -> None:
    explicit = f"initial = {{ mu = {[[0.1] * 3] * 3}, omega = {[[0.1] * 3] * 3} }}"
    problem.write_text(re.sub(r"(?m)^initial.*$", explicit, DEFAULT), encoding="utf-8")
    assert "--seed draws a random start, but the problem gives mu and omega" in refused(
        capsys, "integrate", str(problem), "--seed", "1"
    )


def test_standard_input_that_is_no_text(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe")))
    assert refused(capsys, "compare", "-") == "cannot read standard input: it is not UTF-8 text"


# The verbs.


def test_derive_prints_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    printed = {}
    for name in ("text", "latex", "markdown", "html"):
        assert cli.main(["derive", "limit", "--format", name]) == 0
        printed[name], err = capsys.readouterr()
        assert err == ""
    assert "ω" in printed["text"]
    assert printed["latex"].startswith(r"\documentclass")
    assert check_latex(printed["latex"]) == []
    assert "$$" in printed["markdown"]
    assert printed["html"].startswith("<!DOCTYPE html>")


def test_derive_statements(capsys: pytest.CaptureFixture[str]) -> None:
    found = json_of(capsys, "derive", "statements")
    assert found["problem"] is None
    assert len(found["statements"]) >= 10
    for statement in found["statements"]:
        assert all(statement[name] for name in ("id", "title", "source", "status", "latex"))


@pytest.mark.slow
def test_derive_all_says_which_steps_were_checked(capsys: pytest.CaptureFixture[str]) -> None:
    found = json_of(capsys, "derive", "all", "--parametrisation", "merged")
    assert (found["topic"], found["parametrisation"], found["closure"]) == ("all", "merged", "leading")
    steps = [step for derivation in found["derivations"] for step in derivation["steps"]]
    assert all(step["label"] and step["why"] and step["latex"] and step["text"] for step in steps)
    assert {step["checked"] for step in steps} == {True, None}
    assert found["statements"]


def test_integrate(problem: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = tmp_path / "run.nc"
    found = json_of(capsys, "integrate", str(problem), *SHORT, "--times", "0,20,40", "--seed", "3", "-o", str(saved))
    assert found["problem"] == ProblemFile.parse(DEFAULT).problem.to_dict()
    assert [state["t"] for state in found["states"]] == [0.0, 20.0, 40.0]
    assert found["t"] == 50.0
    assert {"status", "loss", "mu", "omega", "allocation", "shared", "phases", "error_estimate", "stats"} <= set(found)
    assert headflow.Trajectory.load(saved).final.loss == found["loss"]


def test_numbers_on_the_command_line_are_the_file(problem: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from_file = json_of(capsys, "compare", str(problem), *SHORT)
    from_numbers = json_of(capsys, "compare", *NUMBERS, *SHORT)
    assert from_file["problem"] == from_numbers["problem"]
    closed = "multi_head_optimum"
    assert from_file["losses"][closed] == from_numbers["losses"][closed]


def test_a_seed_draws_another_start(problem: Path, capsys: pytest.CaptureFixture[str]) -> None:
    losses = [
        json_of(capsys, "integrate", str(problem), *SHORT, *more)["loss"]
        for more in ([], ["--seed", "0"], ["--seed", "1"])
    ]
    assert losses[0] == losses[1] != losses[2]


def test_compare_prints_losses_and_heads(problem: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", str(problem)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "0.6905507364" in out
    assert "task 1 on head 1" in out


def test_verify_one_claim(capsys: pytest.CaptureFixture[str]) -> None:
    found = json_of(capsys, "verify", "universal-bound", "--quick", *SMALL)
    (verdict,) = found["verdicts"]
    assert (verdict["id"], verdict["verdict"]) == ("universal-bound", "holds")
    assert found["problem"]["dims"] == [4, 5]


@pytest.mark.parametrize(("outcome", "code"), [("fails", 1), ("inconclusive", 3)])
def test_verify_exit_codes(
    outcome: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    genuine = verify.judged
    monkeypatch.setattr(verify, "judged", lambda *given, **more: replace(genuine(*given, **more), verdict=outcome))
    assert json_of(capsys, "verify", "balanced-flow", code=code)["verdicts"][0]["verdict"] == outcome


def test_init_and_cite(capsys: pytest.CaptureFixture[str]) -> None:
    assert json_of(capsys, "init")["toml"] == DEFAULT
    assert ProblemFile.parse(DEFAULT).closure == "leading"
    found = json_of(capsys, "cite")
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    for work in (found["software"], *found["papers"]):
        assert work["title"] in citation
        assert all(author in citation for author in work["authors"])
        assert all(str(work[name]) in citation for name in ("version", "year", "notes") if name in work)
        assert work["title"] in found["bibtex"]
    assert cli.main(["cite"]) == 0
    assert found["bibtex"] in capsys.readouterr().out


# What goes wrong on the way.


def test_outputs_are_not_overwritten(problem: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "run.nc"
    target.write_bytes(b"mine")
    words = ["integrate", str(problem), *SHORT, "-o", str(target)]
    assert refused(capsys, *words) == f"{target} exists; --force overwrites it"
    assert target.read_bytes() == b"mine"
    assert cli.main([*words, "--force"]) == 0
    assert headflow.Trajectory.load(target).t[-1] == 50
    assert sorted(path.name for path in tmp_path.iterdir()) == ["problem.toml", "run.nc"]


@pytest.mark.parametrize("verb", ["integrate", "report"])
def test_outputs_that_cannot_be_written(
    verb: str, problem: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for target in (tmp_path / "nowhere" / "x", problem / "x"):
        message = refused(capsys, verb, str(problem), "-o", str(target))
        assert message.startswith(f"cannot write {target}: ")
    assert [path.name for path in tmp_path.iterdir()] == ["problem.toml"]


def test_a_failed_integration_keeps_its_part(
    problem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ProblemFile.parse(DEFAULT)
    part = headflow.integrate(given.problem, given.initial, t_final=5)
    stopped = IntegrationError("The solver gave up.", "Try another method.", part)
    monkeypatch.setattr("headflow.numerics.integration.integrate.integrate_silently", _raising(stopped))
    target = tmp_path / "run.nc"
    assert cli.main(["integrate", str(problem), "--json", "-o", str(target)]) == 4
    out, err = capsys.readouterr()
    assert err == "headflow: The solver gave up. Try another method.\n"
    assert json.loads(out)["t"] == 5
    assert headflow.Trajectory.load(target).t[-1] == 5
    assert cli.main(["compare", str(problem)]) == 4
    assert "flow" in capsys.readouterr().out


def test_a_failure_without_a_part(
    problem: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "headflow.numerics.integration.integrate.integrate_silently", _raising(IntegrationError("No step."))
    )
    for verb in ("integrate", "compare"):
        assert cli.main([verb, str(problem)]) == 4
        assert capsys.readouterr() == ("", "headflow: No step.\n")


def test_interruptions(problem: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("headflow.numerics.integration.integrate.integrate_silently", _raising(KeyboardInterrupt()))
    assert cli.main(["compare", str(problem)]) == 130
    assert capsys.readouterr() == ("", "headflow: interrupted\n")
    interrupted = IntegrationInterrupted("The integration was interrupted.", "Run again.")
    monkeypatch.setattr("headflow.numerics.integration.integrate.integrate_silently", _raising(interrupted))
    assert cli.main(["integrate", str(problem)]) == 130
    assert capsys.readouterr() == ("", "headflow: The integration was interrupted. Run again.\n")


def test_an_interrupted_verification_is_shown(
    problem: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    part = verify.Verification(ProblemFile.parse(DEFAULT).problem, "leading", (), (), ("gradient", "factor-e"))
    monkeypatch.setattr(verify, "verify", _raising(Interrupted("The verification was interrupted.", partial=part)))
    assert cli.main(["verify", "gradient", "factor-e"]) == 130
    out, err = capsys.readouterr()
    assert (out.strip(), err) == ("2 statements were not reached.", "headflow: The verification was interrupted.\n")
    assert cli.main(["verify", "gradient", "factor-e", "--json"]) == 130
    assert json.loads(capsys.readouterr().out)["not_reached"] == ["gradient", "factor-e"]


def test_an_interrupted_derivation_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["derive", "loss"]) == 0
    finished = capsys.readouterr().out
    said = "headflow: The derivation was interrupted.\n"
    monkeypatch.setattr(catalogue, "TOPICS", {"loss": catalogue.TOPICS["loss"], "flow": _raising(KeyboardInterrupt())})
    assert cli.main(["derive", "all"]) == 130
    assert capsys.readouterr() == (finished, said)
    assert cli.main(["derive", "all", "--json"]) == 130
    assert json.loads(capsys.readouterr().out)["derivations"][0]["title"] in finished
    monkeypatch.setattr(catalogue, "TOPICS", {"flow": _raising(KeyboardInterrupt())})
    assert cli.main(["derive", "all"]) == 130
    assert capsys.readouterr() == ("", said)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_ending_signals_interrupt(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    number = int(getattr(signal, name))

    def ended(*_: object, **__: object) -> None:
        os.kill(os.getpid(), number)
        time.sleep(60)

    monkeypatch.setattr(verify, "verify", ended)
    assert cli.main(["verify", "gradient"]) == 128 + number
    assert capsys.readouterr().err == "headflow: interrupted\n"
    assert signal.getsignal(number) == signal.SIG_DFL


def test_a_problem_too_large_for_memory(
    problem: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("headflow.numerics.integration.integrate.integrate_silently", _raising(MemoryError()))
    assert cli.main(["integrate", str(problem)]) == 4
    assert "not enough memory" in capsys.readouterr().err


def _raising(error: BaseException) -> Any:
    def integrate(*_: object, **__: object) -> None:
        raise error

    return integrate


def test_words_that_the_terminal_cannot_show_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii"))
    emit("μ = 1")
    assert shown.getvalue() == b"\\u03bc = 1\n"


def test_a_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    target = tmp_path / "out"

    def interrupted() -> None:
        with folder(target, force=False) as stage:
            (stage / "first").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    with folder(target, force=False) as stage:
        (stage / "first").write_text("whole")
    (target / "mine").write_text("kept")
    with folder(target, force=True) as stage:
        (stage / "first").write_text("new")
    assert {path.name: path.read_text() for path in target.iterdir()} == {"first": "new", "mine": "kept"}


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
@pytest.mark.parametrize("verb", [None, *VERBS])
def test_help_in_any_encoding(verb: str | None, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr("sys.stdout", stream)
    assert cli.main([*([verb] if verb else []), "--help"]) == 0
    stream.flush()
    assert b"usage: headflow" in stream.buffer.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("option", ["--t-final", "--times", "--imbalance"])
@pytest.mark.parametrize("word", ["snan", "-sNaN7", "nan", "inf"])
def test_not_a_number_in_an_option(option: str, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "finite" in refused(capsys, "integrate", *NUMBERS, f"{option}={word}")


@pytest.mark.parametrize("option", ["--scale", "--rate"])
def test_not_a_number_in_a_training(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "finite" in refused(capsys, "simulate", *NUMBERS, "--train", "--start", "structured", f"{option}=snan")


@pytest.mark.parametrize("depth", [50, 500, 5_000, 50_000])
@pytest.mark.parametrize("line", ["dims = {}", "[flow]\ninitial = {{ mu = {}, omega = 1 }}", "[model]\nclosure = {}"])
def test_nested_values_in_a_problem_file(
    line: str, depth: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "deep.toml"
    text = DEFAULT if "dims" not in line else "".join(row for row in DEFAULT.splitlines(True) if "dims" not in row)
    path.write_text(text.split("[model]")[0] + line.format("[" * depth + "1" + "]" * depth), encoding="utf-8")
    assert len(refused(capsys, "compare", str(path))) < 400


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no such device")
def test_devices_are_not_read(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["compare", "/dev/zero"], ["verify", "--recheck", "/dev/zero"]):
        assert "it is a device, not a file" in refused(capsys, *words)
