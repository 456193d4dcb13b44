"""Whatever stands in a problem file, or has become of any other file, there is a result or one sentence."""

from __future__ import annotations

import io
import json
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headflow as hf
from headflow.cli import dispatch as cli
from headflow.errors import InputError
from headflow.numerics import AttentionWeights, Training, train
from headflow.numerics.attention import checkpoint
from headflow.numerics.problem.problem import ensure_addressable
from headflow.numerics.runtime import read_file
from headflow.numerics.runtime.seal import BLANK, sealed
from headflow.numerics.solving import solvers
from headflow.numerics.verification import recheck
from headflow.numerics.verification.verify import Verification

GOOD = {
    "problem": {
        "dims": "[5, 7]",
        "signal_power": "[1, 2]",
        "noise_variance": "0.1",
        "context_length": "50",
        "n_heads": "2",
    },
    "model": {"closure": '"leading"'},
    "flow": {"parametrisation": '"balanced"', "t_final": "1", "initial": "{ scale = 0.03 }"},
}
TEXTS = ["", "a", "1/3", "1/0", "nan", "sNaN", "1e-999999999", "1_0", "²", "\\u0000", "\\u001b[31m"]
NUMBERS = [
    "0",
    "1",
    "-1",
    "2.5",
    "nan",
    "-inf",
    "1e400",
    "-1e400",
    "1e-400",
    "1e308",
    "5e-324",
    "1e15",
    "1e300",
    "0x10",
]
LARGE = [str(2**53), str(2**53 + 1), str(2**63), "1" + "0" * 400, "1" + "0" * 5000, "1e99999999999999999999"]
OTHERS = ["true", "{}", "[]", "{a=1}", "1979-05-27", "07:32:00"]
SCALARS = [*NUMBERS, *LARGE, *OTHERS, *(f'"{text}"' for text in TEXTS)]
SPECIAL = ["1", "2", "0.1", "1e300", "1e-300", "5e-324", "1.7e308", "1e150", "1e-150", "1e30", "1e-30", "1e15", "1e-15"]
START_KEYS = ["scale", "jitter", "seed", "imbalance", "mu", "omega", "o", "v", "k", "q"]


def value(draw: random.Random, depth: int = 0) -> str:
    """A value of TOML of any kind, now and then nested some hundred deep."""
    kind = draw.random()
    if kind < 0.55 or depth > 3:
        return draw.choice(SCALARS)
    if kind < 0.8:
        return f"[{', '.join(value(draw, depth + 1) for _ in range(draw.randrange(4)))}]"
    if kind < 0.9:
        levels = draw.choice([3, 50, 100, 300, 1000, 3000])
        opening, closing = draw.choice([("[", "]"), ("{a=", "}"), ("[{a=", "}]")])
        return opening * levels + "1" + closing * levels
    return f"{{{', '.join(f'{key} = {value(draw, depth + 1)}' for key in draw.sample(START_KEYS, 2))}}}"


def text_of(content: dict[str, dict[str, str]]) -> str:
    sections = (
        "\n".join([f"[{name}]", *(f"{key} = {own}" for key, own in own.items())]) for name, own in content.items()
    )
    return "\n".join(sections) + "\n"


def any_file(draw: random.Random) -> bytes:
    """A problem file with one value or a few that may be anything; sometimes its lines or bytes are damaged."""
    content = {name: dict(section) for name, section in GOOD.items()}
    for _ in range(draw.choice([1, 1, 2])):
        section = draw.choice(list(content.values()))
        section[draw.choice(list(section))] = value(draw)
    lines = text_of(content).splitlines(keepends=True)
    harm = draw.randrange(10)
    if harm == 0:
        lines.insert(draw.randrange(len(lines)), draw.choice(lines))
    if harm == 1:
        lines.insert(draw.randrange(len(lines)), draw.choice(["x = 1\n", f"[{'a.' * 3000}b]\n", "problem = 1\n"]))
    whole = "".join(lines).encode(draw.choice(["utf-8"] * 8 + ["utf-16", "utf-8-sig"]))
    if harm == 2:
        return whole[: draw.randrange(len(whole))]
    if harm == 3:
        place = draw.randrange(len(whole))
        return whole[:place] + bytes([draw.randrange(256)]) + whole[place + 1 :]
    return whole


def extreme_file(draw: random.Random) -> bytes:
    """A problem file of allowed values of extreme size."""
    heads = draw.choice([1, 2, 8])

    def signed(rows: int) -> str:
        row = (
            f"[{', '.join(draw.choice(['', '-']) + draw.choice(SPECIAL) for _ in range(heads))}]" for _ in range(rows)
        )
        return f"[{', '.join(row)}]"

    sizes = [draw.choice(["1", "20", "1000000", "9007199254740992"]) for _ in range(3)]
    starts = [
        f"{{ scale = {draw.choice(SPECIAL)} }}",
        f"{{ mu = {signed(2)}, omega = {signed(2)} }}",
        f"{{ mu = {signed(2)}, omega = {signed(2)}, imbalance = {draw.choice(SPECIAL)} }}",
    ]
    content = {name: dict(section) for name, section in GOOD.items()}
    content["problem"] |= {
        "dims": f"[{sizes[0]}, {sizes[1]}]",
        "signal_power": f"[{draw.choice(SPECIAL)}, {draw.choice(SPECIAL)}]",
        "noise_variance": draw.choice(["0", *SPECIAL]),
        "context_length": sizes[2],
        "n_heads": str(heads),
    }
    content["model"]["closure"] = draw.choice(['"leading"', '"first_order"', '"finite_d"'])
    content["flow"] |= {
        "parametrisation": draw.choice(['"merged"', '"split"', '"balanced"']),
        "t_final": draw.choice(["1e-300", "1e-3"]),
        "initial": draw.choice(starts),
    }
    return text_of(content).encode()


def outcome(capsys: pytest.CaptureFixture[str], *words: str) -> int:
    """The exit code; there are no warnings (they are errors here), no traceback and no control characters."""
    code = cli.main(words)
    out, err = capsys.readouterr()
    assert code in (0, 2, 3, 4)
    assert err.count("\n") == (code != 0), err
    assert all(letter == "\n" or letter.isprintable() for letter in out + err)
    return code


def test_problem_files_of_any_content(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "problem.toml"
    for seed in range(120):
        path.write_bytes(any_file(random.Random(seed)))
        outcome(capsys, "integrate", str(path), "--no-attention")


def test_problem_files_of_extreme_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "problem.toml"
    monkeypatch.setattr(solvers, "MAX_EVALUATIONS", 500)
    for seed in range(12):
        path.write_bytes(extreme_file(random.Random(seed)))
        outcome(capsys, "integrate", str(path), "--no-attention")


@pytest.mark.parametrize(
    "start", [[], *(["--start", kind] for kind in ("structured", "factors", "random", "identity"))]
)
def test_weights_that_no_memory_holds(start: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "problem.toml"
    path.write_text(text_of(GOOD | {"problem": GOOD["problem"] | {"dims": "[9007199254740992, 1]"}}), encoding="utf-8")
    # Eigenvalues alone need no matrix; everything else is refused, before or while it is made.
    assert outcome(capsys, "simulate", str(path), *start) in ((2, 4) if start else (0,))
    path.write_text(text_of(GOOD | {"problem": GOOD["problem"] | {"n_heads": "9007199254740992"}}), encoding="utf-8")
    assert outcome(capsys, "simulate", str(path), *start) in (2, 4)
    ensure_addressable(10, 10)


def test_damaged_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "certificate.json"
    hf.verify(hf.Problem([4, 5], [1, 2], 0.1, 50, 2), ["ordering"], quick=True, certificate=path)
    (verdict,) = hf.verify(hf.Problem([4, 5], [1, 2], 0.1, 50, 2), ["ordering"], quick=True).verdicts
    monkeypatch.setattr(recheck, "verify", lambda problem, *_, **__: Verification(problem, "leading", (verdict,)))
    whole, draw = path.read_bytes(), random.Random(0)
    rows = json.loads(whole)
    (row,), others = rows["verdicts"], (None, 1, "x", [], {}, [[1]], [{}], json.loads("[" * 300 + "]" * 300))
    damaged = [
        *(whole[: draw.randrange(len(whole))] for _ in range(10)),
        *(json.dumps({**rows, name: other}).encode() for name in rows for other in others),
        *(json.dumps({**rows, "verdicts": [{**row, name: other}]}).encode() for name in row for other in others),
        *(json.dumps({key: own for key, own in rows.items() if key != name}).encode() for name in rows),
    ]
    for _ in range(200):
        content = bytearray(whole)
        content[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        damaged.append(bytes(content))
    for content in draw.sample(damaged, 60):
        path.write_bytes(content)
        said, found = told(path)
        assert "\n" not in said
        assert len(said) < 1000 + len(str(path))
        assert said or any(change.where == "certificate" for change in found)


def told(path: Path) -> tuple[str, tuple[recheck.Change, ...]]:
    """The sentence with which a certificate is refused, and what is found to be changed in it."""
    try:
        return "", hf.recheck(path).changes
    except InputError as error:
        return str(error), ()


def damaged_trainings(arrays: dict[str, Any]) -> list[dict[str, Any]]:
    weights = arrays["weights_query"]
    wrong = [np.full_like(weights, np.nan), weights[:1], weights.astype(complex), weights.astype(str)]
    return [
        {name: array for name, array in arrays.items() if name != lost} for lost in arrays if lost != "identity"
    ] + [{**arrays, "weights_query": other} for other in wrong]


def test_a_training_that_is_no_training(tmp_path: Path) -> None:
    """Its seal is right: somebody has sealed it again."""
    problem = hf.Problem(dims=[2, 3], signal_power=[1, 1], noise_variance=0.1, context_length=10, n_heads=2)
    weights = AttentionWeights.of(problem, hf.InitialState.random(problem), "balanced")
    path, how = tmp_path / "training.npz", Training(0.2, 0.05, batch=4, optimiser="momentum")
    train(problem, weights, how, path)
    train(problem, weights, how, path)
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    for content in damaged_trainings(arrays):
        whole = io.BytesIO()
        np.savez(whole, **content)
        with zipfile.ZipFile(whole, "a") as archive:
            archive.comment = BLANK.encode()
        path.write_bytes(sealed(whole.getvalue()))
        with pytest.raises(InputError, match=r"training\.npz is "):
            train(problem, weights, how, path)
    path.write_bytes(sealed(b"PK\3\4" + BLANK.encode()))
    with pytest.raises(InputError, match="holds no checkpoint"):
        checkpoint.read(path)


@pytest.mark.parametrize("read", [checkpoint.read, hf.Trajectory.load, read_file.read_text, hf.recheck])
def test_a_huge_file_is_not_read_to_its_end(read: Callable[[Path], Any], tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as file:
        try:
            os.truncate(file.fileno(), 2**42)
        except (OSError, NotImplementedError):
            pytest.skip("this file system has no files with holes")
    with pytest.raises(InputError, match=r"holds more than 64 MiB|holds no .* that is sealed"):
        read(path)
