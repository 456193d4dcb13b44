"""Extras that are installed but do not work here: one warning, and what needs none takes their place."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator

import numpy as np
import pytest

import headflow as hf
from cases import REFERENCE, START
from headflow.cli import dispatch as cli
from headflow.errors import ExtraWarning, InputError
from headflow.numerics.compiler import Program, compiler_installed, program
from headflow.numerics.integration.system_run import integrate_system
from headflow.numerics.runtime.extras import works
from headflow.numerics.solving import krylov_steps, solvers
from headflow.theory.flows.flow import gradient_flow

needs_llvm = pytest.mark.skipif(not compiler_installed(), reason="llvmlite is not installed (extra fast)")


def unloadable() -> None:
    raise OSError("libLLVM.so: cannot open\nshared object file")


def fails(*_: object) -> None:
    raise RuntimeError("no code for this machine")


@pytest.fixture
def asked_anew() -> Iterator[None]:
    compiler_installed.cache_clear()
    krylov_steps.sundials_installed.cache_clear()
    yield
    compiler_installed.cache_clear()
    krylov_steps.sundials_installed.cache_clear()


def test_what_does_not_load_is_told_in_a_sentence() -> None:
    with pytest.warns(ExtraWarning) as said:
        assert not works("llvmlite", unloadable, "SciPy is used")
    assert [str(one.message) for one in said] == [
        "llvmlite is installed but does not work here (OSError: libLLVM.so: cannot open shared object file): "
        "SciPy is used"
    ]
    assert works("llvmlite", lambda: None, "SciPy is used")


def broken(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Llvmlite seems to be there, but cannot be loaded, or makes no code, or none that does what it should."""
    monkeypatch.setattr(program, "_new_enough", lambda: True)
    if how == "import":
        monkeypatch.setitem(sys.modules, "headflow.numerics.compiler.machine", None)
    elif how == "compile":
        monkeypatch.setattr(Program, "_machine_code", fails)
    else:
        monkeypatch.setattr(Program, "compiled", lambda *_: lambda values: np.nan)


@pytest.mark.usefixtures("asked_anew")
@pytest.mark.parametrize("how", ["import", "compile", "run"])
def test_without_compiled_code_scipy_takes_over(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, how)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        one = hf.integrate(REFERENCE, START, t_final=20.0)
        many = hf.ensemble(REFERENCE, [START, START], t_final=20.0, workers=1)
        with pytest.raises(InputError, match="Rodas5P needs llvmlite"):
            hf.integrate(REFERENCE, START, t_final=20.0, method="Rodas5P")
    assert [warning.category for warning in said] == [ExtraWarning]
    assert one.method == "LSODA"
    np.testing.assert_allclose(many.mu[0], one.final.mu, rtol=1e-2)
    compiler_installed.cache_clear()
    numbers = ["--dims", "4,5", "--signal", "1,2", "--heads", "2", "--context", "50", "--noise", "0.1", "--t-final=1"]
    with pytest.warns(ExtraWarning, match="SciPy's solvers are used instead of compiled loops") as told:
        assert cli.main(["integrate", *numbers, "--no-attention"]) == 0
    assert len(told) == 1


@pytest.mark.usefixtures("asked_anew")
def test_own_systems_need_no_compiled_code(monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, "compile")
    monkeypatch.setattr(krylov_steps, "find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "sksundae.cvode", None)
    with pytest.warns(ExtraWarning, match="scikit-sundae is installed but does not work here"):
        assert solvers.choose_method("auto", 2048).name == "DOP853, LSODA"
    with warnings.catch_warnings():
        warnings.simplefilter("error", ExtraWarning)
        values = REFERENCE.float_values()
        run = integrate_system(gradient_flow("merged"), values, {"mu": START.mu, "omega": START.omega}, t_final=1.0)
    assert run.reliable
