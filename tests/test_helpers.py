"""Helping processes: what they are asked and answer, that they stay silent, and that they end with whoever asks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor
from pathlib import Path

import pytest

from headflow.numerics.runtime.helpers import Helpers

PATIENCE = 120  # seconds; a bound that only a process that hangs exceeds
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def run(script: Path, text: str) -> subprocess.Popen[str]:
    """A program in a session of its own, so that signals to its group reach nobody else."""
    script.write_text(text, encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def has_ended(pid: int) -> bool:
    """Whether a process is gone, in time; one that nobody has waited for counts as gone."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
            stat = Path(f"/proc/{pid}/stat")
            if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def test_calls_and_their_answers() -> None:
    with Helpers(2) as pool:
        answers = [pool.submit(divmod, 7, divisor) for divisor in (2, 0, 3)]
        assert (answers[0].result(PATIENCE), answers[2].result(PATIENCE)) == ((3, 1), (2, 1))
        assert isinstance(answers[1].exception(PATIENCE), ZeroDivisionError)
        assert "pickle" in str(pool.submit(open, os.devnull).exception(PATIENCE))  # what cannot be sent back
        with pytest.raises(Exception, match="pickle"):
            pool.submit(lambda: 1)
        assert pool.submit(print, "not an answer").result(PATIENCE) is None


@posix
def test_one_that_is_killed_leaves_its_call_only() -> None:
    with Helpers(2) as pool:
        pids = {pool.submit(os.getpid).result(PATIENCE)}
        lost = pool.submit(os._exit, 1)
        assert isinstance(lost.exception(PATIENCE), BrokenExecutor)
        pids.add(pool.submit(os.getpid).result(PATIENCE))
        assert isinstance(pool.submit(os._exit, 1).exception(PATIENCE), BrokenExecutor)
        with pytest.raises(BrokenExecutor):
            pool.submit(os.getpid)
    assert all(map(has_ended, pids))


def test_what_waits_at_the_end_is_let_go() -> None:
    with Helpers(1) as pool:
        answers = [pool.submit(time.sleep, 10 * PATIENCE) for _ in range(3)]
    assert all(isinstance(answer.exception(PATIENCE), BrokenExecutor) for answer in answers)


def test_no_interpreter_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with Helpers(1) as pool, pytest.raises(BrokenExecutor):
        pool.submit(os.getpid)


def test_a_program_needs_no_guard(tmp_path: Path) -> None:
    child = run(
        tmp_path / "program.py",
        "from headflow.numerics.runtime.helpers import Helpers\n"
        "print('once')\n"
        "with Helpers(1) as pool:\n"
        "    print(pool.submit(abs, -1).result())\n",
    )
    assert child.communicate(timeout=PATIENCE) == ("once\n1\n", "")


@posix
def test_ctrl_c_leaves_helpers_silent(tmp_path: Path) -> None:
    child = run(
        tmp_path / "program.py",
        "import os, signal, time\n"
        "from headflow.numerics.runtime.helpers import Helpers\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored where the tests run in the background
        "try:\n"
        "    with Helpers(2) as pool:\n"
        "        print(pool.submit(os.getpid).result(), flush=True)\n"
        f"        pool.submit(time.sleep, {10 * PATIENCE})\n"
        "        os.killpg(0, signal.SIGINT)\n"
        f"        time.sleep({10 * PATIENCE})\n"
        "except KeyboardInterrupt:\n"
        "    print('stopped')\n",
    )
    out, err = child.communicate(timeout=PATIENCE)
    assert err == ""
    assert out.splitlines()[1:] == ["stopped"]
    assert has_ended(int(out.split()[0]))


@posix
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGKILL"])
def test_helpers_end_when_the_program_is_ended(tmp_path: Path, name: str) -> None:
    child = run(
        tmp_path / "program.py",
        "import os, time\n"
        "from headflow.numerics.runtime.helpers import Helpers\n"
        "pool = Helpers(1)\n"
        "print(pool.submit(os.getpid).result(), flush=True)\n"
        f"pool.submit(time.sleep, {10 * PATIENCE})\n"
        f"time.sleep({10 * PATIENCE})\n",
    )
    assert child.stdout is not None
    helper = int(child.stdout.readline())
    child.send_signal(getattr(signal, name))
    _, err = child.communicate(timeout=PATIENCE)  # the helper has standard error too: its end is read once both ended
    assert has_ended(helper)
    assert err == ""
