"""The cache on disk: nothing that another user may write is run, old versions go, and the command line shows it."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from headflow.cli import dispatch as cli
from headflow.errors import CacheWarning
from headflow.numerics.compiler import compiler_installed
from headflow.numerics.runtime import store

posix = pytest.mark.skipif(not hasattr(os, "getuid"), reason="file owners and modes are POSIX's")


class Planted:
    """A pickle that leaves a trace when it is loaded."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.trace,))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, as HEADFLOW_CACHE_DIR names it; nothing is remembered of others."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("HEADFLOW_CACHE_DIR", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    store._version_folder.cache_clear()
    store._refuse.cache_clear()
    return folder


@posix
@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_folder_that_others_may_write_is_not_used(own_cache: Path, tmp_path: Path, mode: int) -> None:
    trace = tmp_path / "loaded"
    version = own_cache / store.sources_key()
    version.mkdir(parents=True)
    content = pickle.dumps(Planted(trace))
    (version / "probe.pickle").write_bytes(store._digest("probe.pickle", content) + content)
    for folder in (own_cache, version):
        folder.chmod(mode)
        with pytest.warns(CacheWarning, match="is not used, because another user owns it or may write there") as told:
            found = [store.remembered("probe", lambda: 7) for _ in range(2)]
        assert found == [7, 7]
        assert len(told) == 1  # once
        assert not trace.exists()
        folder.chmod(0o700)
        store._version_folder.cache_clear()
        store._refuse.cache_clear()


@posix
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_made_again(own_cache: Path, tmp_path: Path, mode: int) -> None:
    assert store.remembered("probe", lambda: 7) == 7
    (path,) = own_cache.glob("*/probe.pickle")
    trace = tmp_path / "loaded"
    content = pickle.dumps(Planted(trace))
    path.write_bytes(store._digest("probe.pickle", content) + content)
    path.chmod(mode)
    with pytest.warns(CacheWarning, match="probe.pickle is not used"):
        assert store.remembered("probe", lambda: 8) == 8
    assert not trace.exists()
    assert path.stat().st_mode & 0o777 == 0o600
    assert store.remembered("probe", lambda: 9) == 8


def damaged(name: str, entries: dict[str, bytes], kind: str, rng: np.random.Generator) -> bytes:
    """The bytes of a file after one kind of damage, at a random place."""
    whole = entries[name]
    place = int(rng.integers(len(whole)))
    if kind == "flipped":
        return whole[:place] + bytes([whole[place] ^ int(rng.integers(1, 256))]) + whole[place + 1 :]
    if kind == "cut":
        return whole[:place]
    if kind == "longer":
        return whole + rng.bytes(int(rng.integers(1, 100)))
    return entries[str(rng.choice([other for other in entries if other != name]))] if kind == "another's" else b""


DAMAGES = ("flipped", "cut", "longer", "another's", "empty")
# A run in a process of its own, which has nothing but the files: kernels, machine code, and heads that move as one.
RUN = """
import headflow as hf
few = hf.Problem(dims=[2, 3], signal_power=[1, 2], noise_variance=0.1, context_length=20, n_heads=3)
many = few.replace(n_heads=300)
for problem, start in ((few, hf.InitialState.random(few)), (many, hf.InitialState.random(many, jitter=0))):
    print(hf.integrate(problem, start, t_final=3.0, times=[1.0, 2.0]).loss.tolist())
"""


def run_alone() -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", RUN], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_damaged_entries_are_made_again(own_cache: Path) -> None:
    right = run_alone()
    folder = own_cache / store.sources_key()
    entries = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    kinds = {"flow", "loops", "cells", *(["steps"] if compiler_installed() else [])}
    assert {name.split("_")[0] for name in entries} >= kinds
    rng = np.random.default_rng(0)
    for turn in range(60):
        name, kind = str(rng.choice(list(entries))), DAMAGES[turn % len(DAMAGES)]
        (folder / name).write_bytes(damaged(name, entries, kind, rng))
        content = entries[name][store._DIGEST :]
        assert store.kept(name, lambda content=content: content) == content, (name, kind)
        assert (folder / name).read_bytes() == entries[name], (name, kind)
    for _ in range(2):
        for name in entries:
            (folder / name).write_bytes(damaged(name, entries, str(rng.choice(DAMAGES)), rng))
        assert run_alone() == right
        assert all(store._intact(folder / name) for name in entries)


def test_versions_that_were_not_used_for_long_are_removed(own_cache: Path) -> None:
    old, recent, unknown = (own_cache / name for name in ("0123456789abcdef", "fedcba9876543210", "notes"))
    flat = own_cache / "balanced_leading_0123456789abcdef01234567.o"
    for folder in (old, recent, unknown):
        folder.mkdir(parents=True)
        (folder / "file").touch()
    flat.touch()
    long_ago = time.time() - 15 * 86_400
    for path in (old, unknown, flat):
        os.utime(path, (long_ago, long_ago))
    store.kept("probe", lambda: b"1")
    assert {path.name for path in own_cache.iterdir()} == {recent.name, unknown.name, store.sources_key()}


def test_the_command_line_shows_and_clears_it(own_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store.kept("probe", lambda: b"1" * 2968)
    (own_cache / "mine").touch()
    assert cli.main(["cache"]) == 0
    out = capsys.readouterr().out
    assert str(own_cache) in out
    assert "1 file, 3.0 kB" in out
    assert cli.main(["cache", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["folder"], found["files"], found["bytes"], found["cleared"]) == (str(own_cache), 1, 3000, False)
    assert cli.main(["cache", "--clear"]) == 0
    assert "removed" in capsys.readouterr().out
    assert [path.name for path in own_cache.iterdir()] == ["mine"]
    store.kept("probe", lambda: b"2")  # and it is used again
    assert len(list(own_cache.glob("*/probe"))) == 1
