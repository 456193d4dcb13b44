"""The compiler of loops: the same numbers as plain Python, and a clear refusal of what is not in its language."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headflow.numerics.compiler import Program, compiler_installed, program

pytestmark = pytest.mark.skipif(not compiler_installed(), reason="llvmlite is not installed (extra fast)")

HEADER = "from __future__ import annotations\nimport math\nimport numpy as np\nfrom numpy import exp, log, sqrt\n"


def both(text: str, name: str, *arguments: Any, **constants: Any) -> list[tuple[Any, list[Any]]]:
    """What plain Python and machine code return, and what they leave in the arrays."""
    program = Program("probe", [HEADER + text], constants)
    found = []
    for function in (program.plain(name), program.compiled(name)):
        own = [value.copy() if isinstance(value, np.ndarray) else value for value in arguments]
        result = function(*own)
        found.append((result, [value for value in own if isinstance(value, np.ndarray)]))
    return found


def same(text: str, name: str, *arguments: Any, **constants: Any) -> Any:
    (plain, before), (compiled, after) = both(text, name, *arguments, **constants)
    np.testing.assert_allclose(compiled, plain, rtol=1e-15) if plain is not None else None
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-14)
    return plain


def test_loops_branches_and_jumps() -> None:
    text = """
def collatz(n: int, most: int) -> int:
    steps = 0
    while n != 1:
        if steps >= most:
            return -1
        half = 0
        for candidate in range(1, n):
            if 2 * candidate == n:
                half = candidate
                break
            if 2 * candidate > n:
                break
            continue
        n = half if half > 0 else 3 * n + 1
        steps += 1
    return steps
"""
    assert [same(text, "collatz", n, 200) for n in (1, 6, 7, 27)] == [0, 8, 16, 111]
    assert same(text, "collatz", 27, 5) == -1


def test_backward_loops_rows_and_whole_numbers() -> None:
    text = """
def reversed_rows(rows: Matrix, order: Integers, out: Matrix) -> None:
    for place in range(len(rows) - 1, -1, -1):
        row, target = rows[order[place]], out[len(rows) - 1 - place]
        for entry in range(rows.shape[1]):
            target[entry] = row[entry] / 2
        order[place] = -order[place]
"""
    draw = np.random.default_rng(0)
    same(text, "reversed_rows", draw.standard_normal((4, 3)), np.array([2, 0, 3, 1]), np.zeros((4, 3)))


def test_arrays_of_three_axes_and_constants() -> None:
    text = """
def weighted(cube: Cube, out: Vector) -> float:
    total = 0.0
    for i in range(cube.shape[0]):
        for j in range(cube.shape[1]):
            for k in range(cube.shape[2]):
                out[i] += TABLE[j, k] * cube[i, j, k]
        total += out[i] ** 2 - SHIFT
    return total
"""
    draw = np.random.default_rng(1)
    table = draw.standard_normal((3, 4))
    same(text, "weighted", draw.standard_normal((2, 3, 4)), np.zeros(2), TABLE=table, SHIFT=3)


@pytest.mark.parametrize("x", [0.0, -0.0, 1.5, -2.0, math.inf, math.nan, 1e-310])
@pytest.mark.parametrize("y", [0.0, 1.0, -3.0, math.nan, -math.inf])
def test_comparisons_and_extremes_are_those_of_python(x: float, y: float) -> None:
    text = """
def relations(x: float, y: float, out: Vector) -> bool:
    out[0] = 1.0 if x < y else 0.0
    out[1] = 1.0 if x <= y else 0.0
    out[2] = 1.0 if x == y else 0.0
    out[3] = 1.0 if x != y else 0.0
    out[4] = max(x, y, 0.5)
    out[5] = min(x, y, 0.5)
    out[6] = abs(x)
    out[7] = 1.0 if not (0.0 < x < np.inf or math.isnan(y)) else 0.0
    return x > y and not x >= 2 * y
"""
    same(text, "relations", x, y, np.zeros(8))


def test_what_does_not_decide_is_not_read() -> None:
    text = """
def last_positive(x: Vector) -> int:
    place = len(x) - 1
    while place >= 0 and x[place] <= 0.0:
        place -= 1
    return place
"""
    assert same(text, "last_positive", np.array([1.0, 2.0, -1.0])) == 1
    assert same(text, "last_positive", np.array([-1.0])) == -1


def test_functions_of_the_library() -> None:
    text = """
def values(x: float, n: int, out: Vector) -> None:
    out[0], out[1], out[2] = exp(x), log(x), sqrt(x)
    out[3], out[4] = math.log1p(x), math.expm1(x)
    out[5], out[6], out[7] = x**-0.2, x**3, float(n)
    out[8] = n / 2 + abs(-n) + abs(n)
    out[9] = -x
"""
    for x in (0.3, 1.0, 7.25):
        same(text, "values", x, 5, np.zeros(10))


def test_a_division_by_zero_gives_infinity() -> None:
    program = Program("probe", [HEADER + "def inverse(x: float) -> float:\n    return 1.0 / x\n"], {})
    assert program.compiled("inverse")(0.0) == math.inf
    with pytest.raises(ZeroDivisionError):
        program.plain("inverse")(0.0)


@pytest.mark.parametrize("size", [3, 5000])  # on the stack, on the heap
def test_memory_of_its_own_and_calls(size: int) -> None:
    text = """
def fill(out: Vector, scale: float) -> float:
    for entry in range(N):
        out[entry] = scale * entry
    return out[N - 1]


def total(early: bool) -> float:
    memory = np.empty(N)
    places = np.empty(N, np.int64)
    last = fill(memory, 0.5)
    if early:
        return last
    found = 0.0
    for entry in range(N):
        places[entry] = N - 1 - entry
    for entry in range(N):
        found += memory[places[entry]] * entry
    return found
"""
    for early in (True, False):
        same(text, "total", early, N=size)


def test_a_later_text_defines_again() -> None:
    texts = ["def f(x: float) -> float: ...\n\ndef g(x: float) -> float:\n    return f(x) + 1\n"]
    texts = [HEADER + texts[0], HEADER + "def f(x: float) -> float:\n    return 2 * x\n"]
    program = Program("probe", texts, {})
    assert program.plain("g")(3.0) == program.compiled("g")(3.0) == 7


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("x = y // 2\n    return x", "y // 2"),
        ("x = 1\n    x = y\n    return x", "x = y|x"),
        ("return unknown * y", "unknown name unknown"),
        ("for n in [1, 2]:\n        y = y + n\n    return y", r"for n in \[1, 2\]"),
        ("return", "same kind"),
        ("return abs", "unknown name abs"),
        ("return math.gamma(y)", r"math.gamma\(y\)"),
        ("out[0, 0] = y\n    return y", "0, 0"),
        ("TABLE[0] = y\n    return y", "TABLE"),
        ("out = np.empty(N)\n    return y", "out in f must stay one array"),
        ("out[y] = 1.0\n    return y", "y"),
        ("memory = np.empty(n)\n    return y", r"np.empty\(n\)"),
        ("return y + (y > 0)", "y > 0"),
        ("assert y > 0\n    return y", "assert y > 0"),
    ],
)
def test_what_is_not_in_the_language_is_refused(body: str, words: str) -> None:
    from headflow.numerics.compiler.signature import UnknownSyntax
    from headflow.numerics.compiler.translate import translated

    text = f"{HEADER}def f(y: float, n: int, out: Vector) -> float:\n    {body}\n"
    names = {"TABLE": np.ones(2), "N": 3, "np": np}
    with pytest.raises(UnknownSyntax, match=words):
        translated([text], names, "f")


def test_arrays_are_checked() -> None:
    program = Program("probe", [HEADER + "def first(x: Vector) -> float:\n    return x[0]\n"], {})
    first = program.compiled("first")
    assert first(np.array([3.0])) == 3
    for wrong in (np.array([1]), np.ones((2, 2)), np.ones(4)[::2]):
        with pytest.raises(TypeError, match="expected Vector, C-contiguous"):
            first(wrong)
    with pytest.raises(ValueError, match="argument"):
        first()


@pytest.mark.parametrize(("found", "enough"), [("0.45.1", True), ("1.0", True), ("0.44.0", False), ("unknown", False)])
def test_an_old_compiler_is_none(found: str, enough: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "version", lambda _: found)
    assert compiler_installed.__wrapped__() is enough


def test_machine_code_is_kept_per_text_and_constants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADFLOW_CACHE_DIR", str(tmp_path))
    text = HEADER + "def scaled(x: float) -> float:\n    return FACTOR * x\n"
    assert [Program("probe", [text], {"FACTOR": factor}).compiled("scaled")(2.0) for factor in (1.0, 3.0, 3.0)] == [
        2,
        6,
        6,
    ]
    files = sorted(tmp_path.glob("*/*"))
    assert len(files) == 2
    for path in files:
        path.write_bytes(path.read_bytes()[:-1])  # damaged: made again
    assert Program("probe", [text], {"FACTOR": 3.0}).compiled("scaled")(2.0) == 6


_STEPS = """
import os, sys
os.environ["HEADFLOW_CACHE_DIR"] = sys.argv[1]
import headflow as hf
for heads in map(int, sys.argv[3].split(",")):
    problem = hf.Problem(dims=[10], signal_power=[1], noise_variance=0.1, context_length=100, n_heads=heads)
    start = hf.InitialState.random(problem, scale=0.1)
    for name in sys.argv[2].split(","):
        hf.integrate(problem, start, name, t_final=1.0, rtol=1e-2, method="Rodas5P")
"""


@pytest.mark.parametrize(
    ("names", "heads"), [("split", "3"), pytest.param("balanced,merged", "1,2,3,4,5,6", marks=pytest.mark.slow)]
)
def test_steps_are_compiled_at_every_size(names: str, heads: str, tmp_path: Path) -> None:
    """In a process of its own: where LLVM fails it takes Python with it."""
    subprocess.run([sys.executable, "-c", _STEPS, str(tmp_path), names, heads], check=True)
