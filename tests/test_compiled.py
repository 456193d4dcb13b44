"""Loops generated from index expressions: the same numbers as the array kernels, compiled or as plain Python."""

from __future__ import annotations

import ast
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sympy import Rational, Symbol, exp

import headflow as hf
from headflow.numerics.code import compile_system
from headflow.numerics.code.loops import loop_module
from headflow.numerics.code.native import NativeSystem, native_system
from headflow.numerics.code.unrolled import UnrolledKernel, _Unroller
from headflow.numerics.compiler import compiler_installed
from headflow.numerics.flows.derived import flow
from headflow.numerics.flows.dynamics import Chart
from headflow.numerics.integration.system_run import integrate_system
from headflow.numerics.runtime import store
from headflow.theory import gradient_flow, to_log
from headflow.theory import notation as n
from headflow.theory.indexed import Definition

needs_llvm = pytest.mark.skipif(not compiler_installed(), reason="llvmlite is not installed (extra fast)")
FLOWS = [(p, c) for p in ("balanced", "merged", "split") for c in ("leading", "finite_d", "first_order")]

SLOW = [
    ("balanced", "first_order"),
    ("merged", "first_order"),
    ("split", "first_order"),
    ("split", "finite_d"),
]  # seconds of derivation


def case(parametrisation: str, closure: str, shape: tuple[int, int]) -> tuple[Chart, np.ndarray]:
    draw = np.random.default_rng(sum(shape))
    problem = hf.Problem(
        dims=draw.integers(2, 20, shape[0]).tolist(),
        signal_power=[round(float(x), 3) for x in draw.uniform(0.3, 2, shape[0])],
        noise_variance=0.1,
        context_length=80,
        n_heads=shape[1],
    )
    imbalance = (0.01, 0.02) if parametrisation == "split" else 0.0
    initial = hf.InitialState.random(problem, scale=0.1, seed=3, imbalance=imbalance)
    chart = Chart.of(problem, initial, parametrisation, closure)
    return chart, chart.start + 0.2 * draw.standard_normal(len(chart.start)) * np.abs(chart.start)


def compare(native: NativeSystem, values: dict[str, Any], y: np.ndarray, compiled: bool) -> None:
    """Every function of the loops against the array kernel; work and results start as NaN, so that none is missed."""
    kernels = compile_system(native.system)
    bound = native.bound(values)
    work = np.full(native.n_work, np.nan)
    names = {"velocity": kernels.velocity, "jacobian": kernels.jacobian, "loss": kernels.loss}
    if "weights" in native.program.names:
        names["weights"] = kernels.named(("mu", "omega"))
    for name, kernel in names.items():
        expected = np.ravel(kernel.bind(values)(y))
        found = np.full(expected.size, np.nan)
        native.function(name, compiled)(bound, y, work, found)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max(), err_msg=name)


@pytest.mark.parametrize(
    ("parametrisation", "closure"),
    [pytest.param(*flow, marks=[pytest.mark.slow] * (flow in SLOW)) for flow in FLOWS],
)
def test_loops_equal_array_kernels(parametrisation: str, closure: str) -> None:
    for shape in ((1, 1), (3, 2), (2, 4)):
        chart, y = case(parametrisation, closure, shape)
        compare(native_system(chart.system, I=shape[0], H=shape[1]), chart.values, y, False)


@needs_llvm
def test_compiled_loops_equal_array_kernels() -> None:
    for shape in ((1, 1), (3, 2), (5, 6)):
        chart, y = case("balanced", "leading", shape)
        compare(native_system(chart.system, I=shape[0], H=shape[1]), chart.values, y, True)


@needs_llvm
@pytest.mark.slow
@pytest.mark.parametrize(("parametrisation", "closure"), FLOWS)
def test_compiled_loops_equal_array_kernels_everywhere(parametrisation: str, closure: str) -> None:
    for shape in ((1, 1), (3, 2), (5, 6)):
        chart, y = case(parametrisation, closure, shape)
        compare(native_system(chart.system, I=shape[0], H=shape[1]), chart.values, y, True)


@pytest.mark.parametrize(
    ("parametrisation", "closure"),
    [pytest.param(*flow, marks=[pytest.mark.slow] * (flow in SLOW)) for flow in FLOWS],
)
def test_unrolled_loops_equal_array_kernels(parametrisation: str, closure: str) -> None:
    for shape in ((1, 1), (3, 2), (2, 4)):
        chart, y = case(parametrisation, closure, shape)
        kernels, own = compile_system(chart.system), native_system(chart.system, I=shape[0], H=shape[1])
        for name in ("velocity", "jacobian", "loss"):
            unrolled = UnrolledKernel(own, name, chart.values)
            expected = getattr(kernels, name).bind(chart.values)(y)
            np.testing.assert_allclose(unrolled(y), expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())
            assert unrolled(y).shape == expected.shape
            with np.errstate(all="ignore"):
                assert not np.isfinite(unrolled(y + 400)).all()


def test_an_entry_of_the_identity_is_known_when_loops_are_unrolled() -> None:
    text = "for i in range(I):\n for j in range(I):\n  out[i * I + j] = y[j] * (1.0 if i == j else 0.0)"
    lines = list(_Unroller({"I": 2}).block(ast.parse(text).body))
    assert lines == ["out_0 = y_0 * 1.0", "out_1 = y_1 * 0.0", "out_2 = y_0 * 0.0", "out_3 = y_1 * 1.0"]
    with pytest.raises(TypeError, match="not a statement of generated loops: while True"):
        list(_Unroller({}).block(ast.parse("while True: pass").body))


def own_system() -> Any:
    loss = n.over_tasks(Symbol("a") * (1 - n.over_heads(n.mu[n.i, n.h] * n.omega[n.i, n.h])) ** 2) + Rational(
        1, 3
    ) * n.over_tasks(n.over_heads(exp(-n.mu[n.i, n.h]) + n.omega[n.i, n.h] ** 4))
    return gradient_flow(loss, state=(n.mu[n.i, n.h], n.omega[n.i, n.h]))


def test_a_users_own_loss() -> None:
    draw = np.random.default_rng(0)
    values = {"a": 1.7, "I": 2.0, "H": 3.0}
    compare(NativeSystem(own_system(), {"I": 2, "H": 3}), values, draw.standard_normal(12), False)


def test_a_definition_without_indices() -> None:
    total, mu = Symbol("S", real=True), n.mu[n.i, n.h]
    definition = Definition(total, n.over_tasks(n.over_heads(mu)))
    system = gradient_flow((total - Symbol("a")) ** 2 + total, state=[mu], definitions=[definition])
    values = {"a": 1.7, "I": 2.0, "H": 3.0}
    compare(NativeSystem(system, {"I": 2, "H": 3}), values, np.arange(6.0), False)
    run = integrate_system(system, values, {"mu": np.ones((2, 3))}, t_final=10)
    assert run.states["mu"][-1].sum() == pytest.approx(1.2, rel=1e-5)


def test_the_module_can_be_read() -> None:
    module = loop_module(compile_system(to_log(gradient_flow("balanced"))))
    assert module.size_names == ("I", "H")
    assert module.parameters == {"I": (), "L": (), "d": ("I",), "lambda": ("I",), "sigma2": ()}
    assert "work[C + h * H + k] = exp(" in module.source.replace("work[C + hk]", "work[C + h * H + k]")
    assert max(map(len, module.source.splitlines())) < 200
    compile(module.source, "generated", "exec")


def test_parameters_are_checked() -> None:
    chart, _ = case("balanced", "leading", (2, 2))
    with pytest.raises(KeyError, match="no value for the parameter sigma2"):
        native_system(chart.system, I=2, H=2).bound({n: value for n, value in chart.values.items() if n != "sigma2"})
    with pytest.raises(ValueError, match=r"the parameter d must have shape \(3,\), got \(2,\)"):
        native_system(chart.system, I=3, H=2).bound(chart.values)
    with pytest.raises(ValueError, match="has no loops of the hessian"):
        native_system(chart.system, I=3, H=2).function("hessian")


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=needs_llvm)])
def test_far_out_nothing_looks_finite(compiled: bool) -> None:
    chart, y = case("balanced", "leading", (3, 2))
    native = native_system(chart.system, I=3, H=2)
    out, work = np.zeros(12), np.empty(native.n_work)
    with np.errstate(all="ignore"):
        native.function("velocity", compiled)(native.bound(chart.values), y + 20, work, out)
    assert not np.isfinite(out).all()


def test_files_are_written_once_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADFLOW_CACHE_DIR", str(tmp_path / "deep" / "cache"))
    content = b"7" * 100_000
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: store.kept("probe.o", lambda: content), range(32)))
    assert set(found) == {content}
    (path,) = (tmp_path / "deep" / "cache" / store.sources_key()).iterdir()
    written = path.stat().st_mtime_ns
    assert store.kept("probe.o", lambda: b"not asked for") == content
    assert path.stat().st_mtime_ns == written


def test_without_a_home(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    kept.pop("HEADFLOW_CACHE_DIR", None)
    code = "from headflow.numerics.runtime.store import *; kept('p', lambda: b'1'); print(cache_folder())"
    for extra in ({}, {"HOME": "/proc/nowhere"}):
        environment = {**kept, **extra, "TMPDIR": str(tmp_path)}
        run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        folder = Path(run.stdout.strip())
        assert folder.parent == tmp_path
        assert len(list(folder.glob("*/p"))) == 1


def test_results_are_made_once_and_again_where_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADFLOW_CACHE_DIR", str(tmp_path))
    made: list[int] = []

    def make() -> tuple[int, ...]:
        made.append(1)
        return (1, 2, 3)

    for _ in range(2):
        assert store.remembered("probe", make) == (1, 2, 3)
    assert len(made) == 1
    (path,) = tmp_path.glob("*/probe.pickle")
    whole = path.read_bytes()
    for damaged in (b"", whole[:20], whole[:-1], whole[:-1] + b"?"):
        path.write_bytes(damaged)
        assert store.remembered("probe", make) == (1, 2, 3)
        assert path.read_bytes() == whole
    assert len(made) == 5
    monkeypatch.setattr(store, "sources_key", lambda: "changed")
    store._version_folder.cache_clear()
    assert store.remembered("probe", lambda: "new") == "new"


def test_a_changed_source_has_another_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = (
        "theory/model/loss.py",
        "numerics/code/loops.py",
        "numerics/compiler/machine.py",
        "numerics/flows/derived.py",
    )
    sources = [tmp_path / name for name in names]
    for source in sources:
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text("half = 1")
    monkeypatch.setattr(store, "__file__", str(tmp_path / "numerics" / "runtime" / "store.py"))
    keys = {store.sources_key.__wrapped__()}
    for source in sources:
        source.write_text("half = 2")
        keys.add(store.sources_key.__wrapped__())
        source.write_text("half = 1")
        keys.add(store.sources_key.__wrapped__())
    assert len(keys) == 5


def test_a_result_that_cannot_be_kept_is_returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setenv("HEADFLOW_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(store, "write_whole", full)
    assert store.remembered("probe", lambda: 7) == 7


def test_the_last_folder_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(store, "_usable", lambda _: False)
    store._last_resort.cache_clear()
    assert store.cache_folder() == store.cache_folder()
    assert len(list(tmp_path.iterdir())) == 1
    store._last_resort.cache_clear()


def test_a_fingerprint_tells_values_and_not_how_they_were_made() -> None:
    system = flow("balanced", "leading")
    twice = pickle.loads(pickle.dumps((system, system))), (system, pickle.loads(pickle.dumps(system)))
    assert pickle.dumps(twice[0]) != pickle.dumps(twice[1])
    assert store.fingerprint(twice[0]) == store.fingerprint(twice[1])
    assert len({store.fingerprint(flow(name, "leading")) for name in ("balanced", "merged", "split")}) == 3
    assert store.fingerprint(replace(system, loss=2 * system.loss)) != store.fingerprint(system)


@pytest.mark.parametrize(("parametrisation", "coordinates"), [("balanced", "log"), ("merged", "plain")])
def test_a_stored_flow_is_the_derived_one(parametrisation: str, coordinates: str) -> None:
    derived = gradient_flow(parametrisation)
    derived = to_log(derived) if coordinates == "log" else derived
    stored = flow(parametrisation, "leading", coordinates)
    assert replace(stored, derivation=derived.derivation) == derived
    assert not stored.derivation.steps
