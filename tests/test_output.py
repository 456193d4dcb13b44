"""What leaves the program: names of any bytes, disks that are full, libraries that print."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from sympy import Symbol

import headflow as hf
from cases import REFERENCE
from headflow.cli import dispatch as cli
from headflow.cli.grammar import parse
from headflow.cli.output import deliver, emit
from headflow.cli.problem_source import problem_file
from headflow.cli.verbs import report as verb_report
from headflow.errors import InputError, NotWrittenError
from headflow.numerics import AttentionWeights, Training, train
from headflow.numerics.runtime.muted import muted
from headflow.numerics.solving.krylov_steps import krylov_steps, sundials_installed
from headflow.plot.plotting import new_figure, to_svg
from headflow.report.page import page
from headflow.shipped import default_problem
from headflow.theory import Statement
from headflow.theory.printing import to_latex, to_mathml, to_text
from headflow.theory.statements import statement
from headflow.theory.visible import visible

WILD = "a\x1b[31m\x07\x9b\u202e<&\udcff\ufffe"
NUMBERS = ["--dims", "4,5", "--signal", "1,2", "--heads", "2", "--context", "50", "--noise", "0.1", "--t-final", "1"]


def test_everything_that_can_be_shown_stays_and_nothing_else() -> None:
    assert visible("μ → 1\n\tdone ½ \u2061é漢") == "μ → 1\n\tdone ½ \u2061é漢"
    shown = visible("".join(map(chr, range(0x110000))))
    assert [letter for letter in shown if not letter.isprintable() and letter < "\xa0"] == ["\t", "\n"]
    shown.encode("utf-8")
    assert visible(WILD) == r"a\x1b[31m\x07\x9b\u202e<&\xff\ufffe"


@pytest.mark.skipif(sys.platform != "linux", reason="file systems with names of any bytes")
@pytest.mark.parametrize("name", [b"p\xff.toml", b"p\x1b[31m\x07.toml"])
def test_a_problem_file_of_any_name(name: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = os.fsencode(tmp_path) + b"/" + name
    with open(path, "wb") as file:
        file.write(default_problem().read_bytes())
    given, source = problem_file(parse(["report", os.fsdecode(path)]))
    assert given.problem.n_heads == 3
    assert source == visible(os.fsdecode(path))
    assert cli.main(["integrate", os.fsdecode(path), "--t-final", "1", "-o", os.fsdecode(path + b".nc")]) == 0
    for words in (["report", os.fsdecode(path + b"?")], ["compare", os.fsdecode(path), "--seed", WILD], [WILD]):
        assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert visible(out + err) == out + err
    assert b".nc" in max(os.listdir(os.fsencode(tmp_path)))


def test_pages_and_figures_of_any_words_are_well_formed() -> None:
    ElementTree.fromstring(page(WILD.replace("<&", ""), f"<b>{WILD.replace('<&', '')}</b>", []))
    with new_figure(2, 2) as figure:
        ElementTree.fromstring(to_svg(figure, "a \x1b figure"))


def test_symbols_of_any_name() -> None:
    formula = Symbol("x\x1b_\x07") + 1
    ElementTree.fromstring(to_mathml(formula))
    for text in (to_mathml(formula), to_latex(formula), to_text(formula)):
        assert visible(text) == text


@pytest.mark.parametrize("place", range(5))
def test_statements_are_told_in_words_that_can_be_shown(place: int) -> None:
    known = statement("factor-e")
    words: list[Any] = ["own", "Mine", ("H ≥ I",), known.claim, "notes"]
    words[place] = ("a\x1b",) if place == 2 else "a\x1b" if place != 3 else words[3]
    if place == 3:
        Statement(*words, known.derivation)
        return
    with pytest.raises(InputError, match="characters that can be shown"):
        Statement(*words, known.derivation)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for place in ("verification.certificate_file", "trajectory.file", "attention.checkpoint"):
        monkeypatch.setattr(f"headflow.numerics.{place}.write_whole", refuse)
    monkeypatch.setattr(Path, "write_text", refuse)


@pytest.mark.usefixtures("full_disk")
def test_what_cannot_be_saved_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["-o", str(tmp_path / "run.nc")], ["-o", str(tmp_path / "run.nc"), "--json"]):
        assert cli.main(["integrate", *NUMBERS, "--no-attention", *words]) == 2
        out, err = capsys.readouterr()
        assert "time      0 to 1" in out or json.loads(out)["t"] == 1
        assert "saved" not in out
        assert err.lower() == f"headflow: cannot write {tmp_path}/run.nc: no space left on device\n".lower()
    words = ["simulate", *NUMBERS, "--train", "--batch", "4", "-o", str(tmp_path / "training")]
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert "trained: sgd" in out
    assert "no space left" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("full_disk")
def test_a_report_that_cannot_be_saved_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Told:
        source, answer = "here", ("It falls.",)

        def write(self, folder: Path) -> None:
            (folder / "index.html").write_text("whole")

    with pytest.raises(InputError, match="no space left"):
        verb_report._deliver(Told(), tmp_path / "report", False, False)  # type: ignore[arg-type]
    assert capsys.readouterr().out == "Problem: here\n\nIt falls.\n"
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_while_saving(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        deliver("result", interrupted, " saved")
    deliver("result", None, " saved")
    assert capsys.readouterr().out == "result\nresult saved\n"


class _Full:
    """A disk that is full after so many files."""

    def __init__(self, room: int) -> None:
        self.room = room

    def __call__(self, path: Path, *_: object, **__: object) -> None:
        self.room -= 1
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        path.touch()


def test_a_verification_outlives_a_disk_that_fills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, claims = str(tmp_path / "certificate.json"), ["ordering"]
    monkeypatch.setattr("headflow.numerics.verification.certificate_file.write_whole", _Full(1))
    with pytest.raises(NotWrittenError, match="no space left") as caught:
        hf.verify(REFERENCE, claims, quick=True, certificate=path)
    assert [verdict.id for verdict in caught.value.partial.verdicts] == claims  # type: ignore[attr-defined]
    monkeypatch.setattr("headflow.numerics.verification.certificate_file.write_whole", _Full(1))
    assert cli.main(["verify", *claims, "--quick", "--certificate", path, "--force"]) == 2
    out, err = capsys.readouterr()
    assert all(f"{claim} " in out for claim in claims)
    assert "no space left" in err
    monkeypatch.setattr("headflow.numerics.verification.certificate_file.write_whole", _Full(0))
    with pytest.raises(InputError, match="no space left"):  # at once
        hf.verify(REFERENCE, claims, quick=True, certificate=path)


def test_a_training_outlives_a_disk_that_fills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = hf.Problem(dims=[2, 3], signal_power=[1, 1], noise_variance=0.1, context_length=10, n_heads=2)
    start, how = hf.InitialState.random(problem), Training(0.2, 0.05, batch=4)
    path, weights = tmp_path / "training.npz", AttentionWeights.of(problem, start, "balanced")
    monkeypatch.setattr("headflow.numerics.attention.checkpoint.write_whole", _Full(1))
    with pytest.raises(NotWrittenError, match="no space left") as caught:
        train(problem, weights, how, path, checkpoint_seconds=0)
    assert caught.value.partial.steps[-1] == 4  # type: ignore[attr-defined]
    monkeypatch.setattr("headflow.numerics.attention.checkpoint.write_whole", _Full(1))
    path.unlink()
    with pytest.raises(NotWrittenError, match="no space left") as caught:
        hf.simulate(problem, start, how, checkpoint=path)
    assert caught.value.partial.run.steps[-1] == 4  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="no space left"):  # at once
        train(problem, weights, how, tmp_path / "another")


def test_what_a_muted_thread_prints_is_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    from threading import Thread

    before = sys.stdout
    with muted():
        print("dropped")
        with muted():
            other = Thread(target=print, args=("kept",))
            other.start()
            other.join()
        print("dropped")
        sys.stdout.flush()
    print("said")
    assert sys.stdout is before
    assert capsys.readouterr().out == "kept\nsaid\n"


@pytest.mark.skipif(not sundials_installed(), reason="scikit-sundae is not installed (extra fast)")
def test_sundials_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    def product_at(y: np.ndarray) -> Any:
        return lambda s, direction: 2 * y * direction

    steps = list(krylov_steps(lambda s, y: y**2, product_at, 0.0, np.ones(2), 5.0, 1e-6, 1e-6))
    assert steps[-1][0] < 5
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize(
    "words",
    [["integrate", *NUMBERS, "--no-attention"], ["derive", "limit"], ["cite"]],
)
def test_results_in_any_encoding(encoding: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr("sys.stdout", out)
    assert cli.main(words) == 0
    assert out.buffer.getvalue()  # type: ignore[attr-defined]
    emit(WILD)
