"""Files and folders in place: whole or as they were, also after a kill, and nothing stays beside them."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from headflow.cli import folders
from headflow.cli.folders import folder
from headflow.numerics.runtime.scratch import scratch_beside, write_whole

posix = pytest.mark.skipif(sys.platform == "win32", reason="permissions and signals of POSIX")
NAMES = [f"{number}.txt" for number in range(60)]


def put(target: Path, text: str, names: list[str] = NAMES) -> None:
    with folder(target, force=True) as stage:
        for name in names:
            (stage / name).write_text(text)


def texts(target: Path) -> set[str]:
    return {(target / name).read_text() for name in NAMES}


def age(path: Path) -> None:
    os.utime(path, (time.time() - 1e4,) * 2, follow_symlinks=False)


def test_a_file_is_the_old_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, b"new")
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == {"file": b"old"}


@posix
def test_permissions_are_those_of_the_mask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "file", b"")
        write_whole(tmp_path / "private", b"", mode=0o600, durable=True)
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("file", "private")] == [0o640, 0o600]


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "a[1]*.nc"
    left, fresh = scratch_beside(path), scratch_beside(path)
    stage = scratch_beside(path)
    stage.mkdir()
    (stage / "half").touch()
    others = [tmp_path / ".a[1]*.nc.mine.scratch", tmp_path / ".b.01234567.scratch", tmp_path / "x.scratch"]
    for one in (left, fresh, *others):
        one.touch()
    for one in (left, stage, *others):
        age(one)
    scratch_beside(path)
    assert sorted(tmp_path.iterdir()) == sorted([fresh, *others])


@pytest.mark.parametrize("exchange", [True, False])
def test_a_folder_is_replaced_and_other_files_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    if not exchange:
        monkeypatch.setattr(folders, "_exchanged", lambda *_: False)
    target = tmp_path / "report"
    put(target, "old")
    (target / "mine").write_text("kept")
    target.chmod(0o750)
    put(target, "new", NAMES[1:])
    assert {path.name: path.read_text() for path in target.iterdir()} == {
        **dict.fromkeys(NAMES[1:], "new"),
        NAMES[0]: "old",
        "mine": "kept",
    }
    assert list(tmp_path.iterdir()) == [target]
    if sys.platform != "win32":
        assert stat.S_IMODE(target.stat().st_mode) == 0o750


def test_a_folder_that_cannot_be_moved_back_and_forth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "report"
    put(target, "old")
    monkeypatch.setattr(folders, "_exchanged", lambda *_: False)
    rename = Path.rename

    def refused(self: Path, other: Path) -> Path:
        if self.suffix == ".scratch":
            raise KeyboardInterrupt
        return rename(self, other)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(KeyboardInterrupt):
        put(target, "new")
    assert texts(target) == {"old"}
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_with_more_than_files_keeps_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "home"
    (target / "documents").mkdir(parents=True)
    before = target.stat().st_ino
    put(target, "new")
    assert (target.stat().st_ino, texts(target)) == (before, {"new"})
    link = tmp_path / "link"
    link.symlink_to(target)
    put(link, "newer")
    assert link.is_symlink()
    assert texts(target) == {"newer"}
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    put(Path(), "new")
    assert texts(here) == texts(Path()) == {"new"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "home", "link"]


_CHILD = """
import sys
from pathlib import Path
from test_scratch import put
target = Path(sys.argv[1])
print(flush=True)
for number in range(100_000):
    put(target, f"{number}")
"""


@posix
def test_a_kill_leaves_no_mix_of_old_and_new(tmp_path: Path) -> None:
    target = tmp_path / "report"
    put(target, "first")
    for moment in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(target)], cwd=Path(__file__).parent, stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.05 + 0.013 * moment)
        child.send_signal(signal.SIGKILL)
        child.communicate(timeout=120)
        assert len(texts(target)) == 1
    for path in tmp_path.iterdir():
        age(path)
    put(target, "last")
    assert list(tmp_path.iterdir()) == [target]


@posix
def test_what_is_no_file_is_written_to_and_stays(tmp_path: Path) -> None:
    """As root a file put in the place of a device, /dev/null say, would be one for every program from then on."""
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for target in (pipe, link):
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        write_whole(target, b"content")
        assert os.read(reader, 100) == b"content"
        os.close(reader)
        assert stat.S_ISFIFO(pipe.lstat().st_mode)
        assert link.is_symlink()
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", "link"}


@posix
def test_a_link_to_a_file_stays(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    file, link = tmp_path / "other" / "file", tmp_path / "link"
    link.symlink_to(file)
    for content in (b"new", b"newer"):  # a link that leads nowhere yet, and one that leads to a file
        write_whole(link, content)
        assert link.is_symlink()
        assert file.read_bytes() == content
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["file"]
