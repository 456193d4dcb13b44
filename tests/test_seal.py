"""What is kept in files is whole or refused: no damage goes unnoticed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headflow as hf
from cases import REFERENCE, START
from headflow.errors import InputError
from headflow.numerics import AttentionWeights, Training, train
from headflow.numerics.attention import checkpoint
from headflow.numerics.runtime.seal import BLANK, check_seal, sealed

FLIPS = 300


def trajectory(path: Path) -> Callable[[Path], Any]:
    hf.integrate(REFERENCE, START, t_final=20.0, rtol=1e-4, times=[3.0]).save(path)
    return hf.Trajectory.load


def training(path: Path) -> Callable[[Path], Any]:
    problem = hf.Problem(dims=[2, 3], signal_power=[1, 1], noise_variance=0.1, context_length=10, n_heads=2)
    weights = AttentionWeights.of(problem, hf.InitialState.random(problem), "balanced")
    train(problem, weights, Training(0.5, 0.05, batch=4, optimiser="adam"), path)
    return checkpoint.read


@pytest.mark.parametrize("written", [trajectory, training])
def test_no_damage_goes_unnoticed(written: Callable[[Path], Callable[[Path], Any]], tmp_path: Path) -> None:
    path = tmp_path / "file"
    read = written(path)
    whole = path.read_bytes()
    read(path)
    draw = np.random.default_rng(0)
    seal = whole.index(b"sha256:")
    places = [*draw.integers(0, 8 * len(whole), FLIPS).tolist(), *range(8 * seal, 8 * (seal + 71), 37)]
    damaged = []
    for place in places:
        content = bytearray(whole)
        content[place // 8] ^= 1 << place % 8
        damaged.append(bytes(content))
    cuts = draw.integers(0, len(whole), 20).tolist()
    damaged += [whole[:cut] for cut in cuts] + [whole + b"\0", b"\0" + whole, b"", whole[:100] + whole[101:]]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            read(path)
        assert str(caught.value).startswith(str(path))
        assert str(caught.value).count("\n") == 0


def test_files_without_a_digest_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.nc"
    run = hf.integrate(REFERENCE, START, t_final=5.0, rtol=1e-4)
    run.data.to_netcdf(path, engine="scipy")
    with pytest.raises(InputError, match=r"holds no trajectory of headflow that is sealed with a digest"):
        hf.Trajectory.load(path)


def test_a_seal_is_over_everything_and_needs_a_place() -> None:
    content = b"before " + BLANK.encode() + b" after"
    whole = sealed(content)
    check_seal(whole, "it", "thing")
    assert len(whole) == len(content)
    with pytest.raises(InputError, match="it is damaged"):
        check_seal(whole.replace(b"after", b"later"), "it", "thing")
    with pytest.raises(InputError, match="it is damaged"):
        check_seal(content, "it", "thing")  # never sealed
    with pytest.raises(ValueError, match="no place"):
        sealed(b"nothing")
