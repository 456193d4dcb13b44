"""Progress: what is being done, on standard error of a terminal or in a notebook, from the second second on."""

from __future__ import annotations

import io
import itertools
import sys
import time
from types import ModuleType, SimpleNamespace

import pytest

from headflow.numerics.code import compiled
from headflow.numerics.flows import derived as flows
from headflow.numerics.flows.derived import flow
from headflow.numerics.runtime import progress
from headflow.numerics.runtime.progress import Estimate, duration, progress_bar, stage

PATIENCE = 30  # seconds


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def shows(self, words: str) -> bool:
        """Whether the words are shown in time."""
        until = time.monotonic() + PATIENCE
        while words not in self.getvalue() and time.monotonic() < until:
            time.sleep(0.005)
        return words in self.getvalue()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal on which bars are shown soon."""
    monkeypatch.setattr(progress, "_DELAY", 0.02)
    monkeypatch.setattr(progress, "_EVERY", 0.01)
    stream = Terminal()
    # Not in sys itself: pytest puts its own there before the test begins.
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=stream, modules={}))
    return stream


def test_a_bar_names_what_is_done_and_goes_away(terminal: Terminal) -> None:
    with progress_bar(True, "integrate") as bar:
        with stage("derive"):
            assert terminal.shows("integrate (derive): 00:00")
        bar.begin("integrate", 4)
        bar.update(3)
        assert terminal.shows("integrate:  75% |")
    assert terminal.getvalue().endswith("\r")
    assert terminal.getvalue().rsplit("\r", 2)[1].strip() == ""


def test_counted_steps_and_a_step_within_one(terminal: Terminal) -> None:
    with progress_bar(True, "verify", 7, 2, unit="claims") as bar:
        bar.update()
        assert terminal.shows("| 3/7 claims, 00:00 < ")
        with progress_bar(True, "integrate"):
            assert terminal.shows("integrate: 00:00")
            with stage("compile"):
                assert terminal.shows("integrate (compile): 00:00")
        assert bar.part == ""


@pytest.mark.parametrize("wanted", [True, False])
def test_nothing_is_shown_where_nobody_looks(wanted: bool, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO() if wanted else terminal
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=stream, modules={}))
    with progress_bar(wanted, "integrate", 2) as bar, stage("derive"):
        bar.update()
        time.sleep(0.05)
        assert progress._open == []
    assert stream.getvalue() == ""


def test_short_work_shows_nothing(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_DELAY", PATIENCE)
    with progress_bar(True, "integrate", 2) as bar:
        bar.update(2)
    assert terminal.getvalue().strip() == ""


def test_a_notebook_has_a_bar_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Widget:
        def __init__(self, **settings: object) -> None:
            made.append(settings["disable"])
            self.disable = False

        def close(self) -> None: ...

    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr("tqdm.auto.tqdm", Widget)
    with progress_bar(True, "integrate"):
        pass
    assert made == [None]  # tqdm decides: shown in a notebook


def test_deriving_and_compiling_are_named(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    said = []
    monkeypatch.setattr(flows, "remembered", lambda _, make: make())
    monkeypatch.setattr(flows, "bare", lambda _: said.append(progress._open[-1].part))
    monkeypatch.setattr(compiled, "CompiledSystem", lambda _: said.append(progress._open[-1].part))
    with progress_bar(True, "integrate"):
        flow.__wrapped__("merged", "leading")
        compiled.compile_system.__wrapped__(None)
    assert said == ["derive", "compile"]


@pytest.mark.parametrize(("per_step", "said"), [(0.5, True), (1e-3, False)])
def test_long_work_is_announced_once(
    per_step: float, said: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = itertools.count(step=per_step)
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    estimate = Estimate(True, "training", 7200, "steps")
    for count in range(1, 2000):
        estimate.after(count)
    words = "headflow: the training takes about 60 minutes (7200 steps); Ctrl-C ends it and keeps what is done\n"
    assert capsys.readouterr().err == words * said
    silent = Estimate(False, "training", 7200, "steps")
    for count in range(1, 100):
        silent.after(count)
    assert capsys.readouterr().err == ""


def test_durations() -> None:
    said = [duration(seconds) for seconds in (50, 100, 36_000, 4e5)]
    assert said == ["50 seconds", "2 minutes", "10 hours", "5 days"]
