"""Ensembles: every member as `integrate` would have it, and none is lost."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import xarray

import headflow as hf
import headflow.numerics.integration.integrate as integrate_module
from cases import REFERENCE, START, random_case
from headflow.errors import InputError, InputTypeError, IntegrationError, ReliabilityWarning, ValidityWarning
from headflow.numerics.compiler import Program, compiler_installed
from headflow.numerics.flows.dynamics import apart
from headflow.numerics.integration import members
from headflow.numerics.integration.ensemble import _batch, _chunks
from headflow.numerics.integration.integrate import integrate_silently
from headflow.numerics.runtime.stop import Interrupted
from headflow.numerics.steps import native

needs_llvm = pytest.mark.skipif(not compiler_installed(), reason="llvmlite is not installed (extra fast)")
SLOW = pytest.mark.slow
STARTS = [hf.InitialState.random(REFERENCE, scale=0.03, seed=seed) for seed in range(5)]


needs_jax = pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed (extra jax)")


@pytest.fixture(
    params=[pytest.param("llvm", marks=needs_llvm), pytest.param("jax", marks=[needs_jax, pytest.mark.slow]), "scipy"]
)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_members_are_what_integrate_gives(way: str) -> None:
    found = hf.ensemble(REFERENCE, STARTS[:3], t_final=300, rtol=1e-5, backend=way)
    provenance = json.loads(found.attrs["provenance"])
    assert (provenance["backend"], provenance["method"]) == (way, "auto" if way == "scipy" else "Rodas5P")
    for member, start in enumerate(STARTS[:3]):
        run = hf.integrate(REFERENCE, start, t_final=300, method="LSODA")
        one = found.sel(member=member)
        allowed = float(one.error_estimate) + run.error_estimate
        assert float(one.error_estimate) < 1e-2
        assert float(one.loss) == pytest.approx(run.final.loss, rel=allowed)
        np.testing.assert_allclose(one.mu, run.final.mu, atol=allowed * run.final.mu.max())
        assert one.allocation.values.tolist() == list(run.allocation.heads)
        assert float(one.emergence) == pytest.approx(run.phases.emergence, rel=1e-4)
        assert str(one.status.values) == "reached_t_final"
        assert float(one.t) == 300


@needs_llvm
@pytest.mark.filterwarnings("ignore::headflow.errors.ReliabilityWarning")
@pytest.mark.parametrize("t_final", [10.0, 1e3, pytest.param(1e5, marks=pytest.mark.slow)])
def test_true_errors_are_below_the_estimates(t_final: float) -> None:
    """Short runs too, in which steps grow without regard to the tolerance, and loose ones."""
    draw = np.random.default_rng(int(t_final))
    cases = []
    for seed in range(60):
        problem, _ = random_case(seed)
        shape = (2, problem.n_tasks, problem.n_heads)
        size = 10 ** draw.uniform(-2.5, -0.5)
        cases.append((problem, hf.InitialState(*(size * np.exp(draw.uniform(0, 0.7, shape))))))
    run = partial(hf.ensemble, *zip(*cases, strict=True), t_final=t_final)
    best = run(rtol=1e-10)
    for rtol in (1e-2, 1e-3, 1e-5):
        found = run(rtol=rtol)
        good = np.isfinite(found.error_estimate) & (best.status == "reached_t_final")
        assert good.sum() > 55
        ratios = []
        for at in np.flatnonzero(good):
            problem = cases[at][0]
            own, other = (
                (one.loss.values[at], np.stack([one.mu[at], one.omega[at]])[:, : problem.n_tasks, : problem.n_heads])
                for one in (found, best)
            )
            true = float(apart(*own, *other)[1])
            if true > 30 * float(best.error_estimate[at]):  # else the reference is not good enough to tell
                ratios.append(true / float(found.error_estimate[at]))
        assert len(ratios) > 25
        assert max(ratios) < 2
        assert sum(ratio > 1 for ratio in ratios) <= 0.01 * len(ratios)


def test_ragged_members_and_failures_stay(way: str) -> None:
    small, small_start = random_case(1)
    cases = [
        (REFERENCE, START),
        (small, small_start),
        (REFERENCE, small_start),  # the wrong shape
        (REFERENCE, hf.InitialState(START.mu, START.omega + 6)),  # overflows
        (REFERENCE, hf.InitialState(-START.mu, START.omega)),  # not positive
    ]
    with pytest.warns(ReliabilityWarning, match=r"3 of 5 members are NOT RELIABLE or failed \(3 bad_input, 2 reached"):
        found = hf.ensemble(*zip(*cases, strict=True), t_final=50, rtol=1e-5, backend=way)
    assert json.loads(found.attrs["summary"])["by status"] == {"bad_input": 3, "reached_t_final": 2}
    assert found.status.values.tolist() == ["reached_t_final"] * 2 + ["bad_input"] * 3
    assert found.n_tasks.values.tolist()[:2] == [3, small.n_tasks]
    for member, words in ((2, "shape"), (3, "overflow"), (4, "positive")):
        assert words in str(found.detail.values[member])
        assert np.isnan(found.mu.values[member]).all()
        assert np.isinf(found.error_estimate.values[member])
    inside = np.zeros(found.mu.shape[1:], bool)
    inside[: small.n_tasks, : small.n_heads] = True
    assert (np.isnan(found.mu.values[1]) == ~inside).all()
    assert (found.allocation.values[1, small.n_tasks :] == -1).all()


def mixed_members(parametrisation: str) -> list[tuple[hf.Problem, hf.InitialState]]:
    """Members of two shapes: distinct heads, one head, tied and nearly tied heads, and starts that are refused."""
    two_tasks = hf.Problem([6, 6], [1, 1], 0.1, 60, 2)
    one_head = two_tasks.replace(n_heads=1)
    draw = np.random.default_rng(5)
    signs = np.where(draw.random((2, 2)) < 0.5, -1, 1) if parametrisation == "merged" else 1
    start = draw.uniform(0.05, 0.1, (2, 2))
    tied, nearly = np.full((2, 2), 0.05), np.array([[0.05, 0.05 * (1 + 1e-15)], [0.06, 0.06]])
    return [
        (two_tasks, hf.InitialState(signs * start, signs * start[::-1])),
        (one_head, hf.InitialState.random(one_head, scale=0.05, seed=3)),
        (two_tasks, hf.InitialState(tied, tied)),
        (two_tasks, hf.InitialState(nearly, nearly)),
        (two_tasks, hf.InitialState.random(two_tasks, scale=0.1)),
        (one_head, hf.InitialState(tied, tied)),
        (two_tasks, hf.InitialState(tied, tied + 1e3)),
        (two_tasks, hf.InitialState(tied, tied, imbalance=0.1 if parametrisation != "split" else 1e-3)),
    ]


def alone(problem: hf.Problem, start: hf.InitialState, parametrisation: str, asked: list[float]) -> Any:
    """What `integrate` says of a member: its trajectory, or the error."""
    try:
        return integrate_silently(problem, start, parametrisation, t_final=100.0, times=asked, rtol=1e-6)
    except IntegrationError as error:
        return error.partial
    except InputError as error:
        return str(error)


@pytest.mark.filterwarnings("ignore::headflow.errors.ReliabilityWarning")
@pytest.mark.parametrize("parametrisation", ["balanced", *(pytest.param(p, marks=SLOW) for p in ("merged", "split"))])
def test_what_is_said_of_a_member_does_not_depend_on_the_backend(way: str, parametrisation: str) -> None:
    """Status, allocation, sharing, emergence and curves, of members of several shapes, ties and failures among them."""
    cases, asked = mixed_members(parametrisation), [0.0, 7.0, 40.0, 100.0]
    found = hf.ensemble(
        *zip(*cases, strict=True), 100.0, parametrisation, rtol=1e-6, backend=way, times=asked, weights=True
    )
    for place, (problem, start) in enumerate(cases):
        one, run = found.isel(member=place), alone(problem, start, parametrisation, asked)
        heads = one.allocation.values[: problem.n_tasks].tolist()
        if isinstance(run, str):
            assert one.status == "bad_input"
            assert str(one.detail.values) == run
            assert np.isnan(one.loss_curve).all()
            assert np.isinf(one.curve_error).all()
            continue
        assert one.status == run.stop.value, place
        assert one.reduction == run.reduction
        if not run.completed:
            assert (heads, bool(one.shared), np.isnan(one.emergence)) == ([-1] * problem.n_tasks, False, True)
            continue
        assert heads == [-1 if head is None else head for head in run.allocation.heads]
        assert bool(one.shared) == run.allocation.shared
        emergence = run.phases.emergence if run.phases.groups is not None else None
        assert float(one.emergence) == pytest.approx(emergence or np.nan, rel=1e-4, nan_ok=True)
        shape = (len(asked), problem.n_tasks, problem.n_heads)
        for row, state in enumerate(run.states):
            allowed = 2 * (float(one.curve_error[row]) + run.error_estimate)
            assert allowed < 1e-3
            assert float(one.loss_curve[row]) == pytest.approx(state.loss, rel=allowed)
            for name, values in (("mu_curve", state.mu), ("omega_curve", state.omega)):
                inside = one[name].values[: shape[0], : shape[1], : shape[2]]
                np.testing.assert_allclose(inside[row], values, rtol=0, atol=allowed * np.abs(values).max())


def test_members_carry_what_they_were_asked_for() -> None:
    cases = mixed_members("split")[:3] + mixed_members("split")[-1:]
    found = hf.ensemble(*zip(*cases, strict=True), 1.0, "split", backend="scipy")
    for place, (problem, start) in enumerate(cases):
        one = found.isel(member=place)
        rows = slice(0, problem.n_tasks)
        again = hf.Problem(
            one["dims"].values[rows].tolist(),
            one.signal_power.values[rows].tolist(),
            one.noise_variance.item(),
            one.context_length.item(),
            one.n_heads.item(),
        )
        assert again.float_values().keys() == problem.float_values().keys()
        assert all(np.array_equal(again.float_values()[name], value) for name, value in problem.float_values().items())
        names = ("start_mu", "start_omega", "start_delta", "start_gamma")
        parts = [one[name].values[rows, : problem.n_heads] for name in names]
        assert hf.InitialState(*parts[:2], imbalance=parts[2:]) == start
    drawn = found.isel(member=1)
    assert (drawn.start_scale.item(), drawn.start_jitter.item(), drawn.start_seed.item()) == (0.05, 0.2, 3)
    assert np.isnan(found.start_scale.values[0])
    assert found.start_seed.values[0] == -1
    assert "start_delta" not in hf.ensemble(*cases[1], 1.0, backend="scipy").coords


@pytest.mark.parametrize("backend", [pytest.param("llvm", marks=needs_llvm), "scipy"])
def test_a_loose_tolerance_is_tightened_where_that_helps(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same members are reliable on every backend."""
    start = hf.InitialState.random(REFERENCE, scale=0.01, jitter=1e-3, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert hf.ensemble(REFERENCE, start, 100, rtol=1e-2, backend=backend).status.item() == "reached_t_final"
    monkeypatch.setattr(members if backend == "llvm" else integrate_module, "SMALLEST_RTOL", 1e-2)
    with pytest.warns(ReliabilityWarning):
        hf.ensemble(REFERENCE, start, 100, rtol=1e-2, backend=backend)


@needs_llvm
@needs_jax
@pytest.mark.slow
@pytest.mark.parametrize("parametrisation", ["merged", "split"])
def test_jax_and_llvm_take_the_same_steps(parametrisation: str) -> None:
    starts = [hf.InitialState.random(REFERENCE, scale=0.1, seed=seed) for seed in range(40)]
    by_llvm, by_jax = (
        hf.ensemble(REFERENCE, starts, 1e3, parametrisation, rtol=1e-6, backend=backend) for backend in ("llvm", "jax")
    )
    for name in ("loss", "mu", "omega", "emergence"):
        np.testing.assert_allclose(by_jax[name], by_llvm[name], rtol=1e-6, atol=1e-9, err_msg=name)
    assert (by_jax.allocation == by_llvm.allocation).all()


@needs_jax
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::headflow.errors.ReliabilityWarning")
def test_jax_gives_up_on_a_member_and_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "MAX_EVALUATIONS", 200)
    found = hf.ensemble(REFERENCE, STARTS[:2], backend="jax")
    assert set(found.status.values.tolist()) == {"too_many_evaluations"}
    assert ((found.t.values > 0) & (found.t.values < 1e4)).all()
    assert np.isfinite(found.mu.values).all()


@needs_llvm
def test_plain_python_follows_the_same_members(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = hf.ensemble(REFERENCE, STARTS[0], t_final=60)
    monkeypatch.setattr(members, "integrator", partial(members.integrator, compiled=False))
    plain = hf.ensemble(REFERENCE, STARTS[0], t_final=60)
    for name in ("mu", "omega", "loss", "emergence"):
        np.testing.assert_allclose(plain[name], compiled[name], rtol=1e-7, err_msg=name)
    np.testing.assert_allclose(plain.error_estimate, compiled.error_estimate, rtol=1e-3)


@needs_llvm
def test_threads_change_nothing() -> None:
    starts = [hf.InitialState.random(REFERENCE, scale=0.05, seed=seed) for seed in range(60)]
    one, four = (hf.ensemble(REFERENCE, starts, t_final=100, workers=workers) for workers in (1, 4))
    assert one.identical(four)


def test_an_interruption_keeps_the_members_that_are_done(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    starts, whole = STARTS[:3], hf.ensemble(REFERENCE, STARTS[:3], t_final=20, backend=way)
    outcomes = members.Task.outcomes

    def interrupted(self: members.Task, asked: Sequence[members.Member]) -> list[members.Outcome]:
        if asked[0][1] is other[2]:
            raise KeyboardInterrupt
        return outcomes(self, asked)

    monkeypatch.setattr(members.Task, "outcomes", interrupted)
    # One member has another shape: with JAX too it is in another call.
    problem = REFERENCE.replace(n_heads=2)
    other = [starts[0], starts[1], hf.InitialState.random(problem, scale=0.03)]
    with pytest.raises(Interrupted, match="interrupted: 2 of 3 members are done") as caught:
        hf.ensemble([REFERENCE, REFERENCE, problem], other, t_final=20, backend=way, workers=1)
    part = caught.value.partial
    assert isinstance(part, xarray.Dataset)
    assert part.member.values.tolist() == [0, 1]
    np.testing.assert_array_equal(part.mu, whole.mu[:2])
    assert json.loads(part.attrs["summary"])["members"] == 2
    with pytest.raises(Interrupted) as nothing:
        hf.ensemble(problem, other[2], t_final=20, backend=way)
    assert nothing.value.partial is None


@needs_llvm
def test_threads_compile_once_where_the_first_member_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    names = []

    def slowly(program: Program, name: str, made: Any = Program._machine_code) -> Any:
        names.append(name)
        time.sleep(0.02)  # so that the other threads come meanwhile
        return made(program, name)

    monkeypatch.setattr(Program, "_machine_code", slowly)
    native.integrator.cache_clear()
    bad = hf.InitialState(-START.mu, START.omega)
    with pytest.warns(ReliabilityWarning, match="1 of 11 members"):
        found = hf.ensemble(REFERENCE, [bad, *STARTS, *STARTS], t_final=20, workers=8)
    assert found.status.values.tolist() == ["bad_input"] + ["reached_t_final"] * 10
    assert names == ["follow"]


@needs_llvm
def test_a_member_that_runs_out_of_evaluations_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "MAX_EVALUATIONS", 200)
    with pytest.warns(ReliabilityWarning, match="1 too_many_evaluations"):
        found = hf.ensemble(REFERENCE, STARTS[0])
    assert (found.allocation.values == -1).all()
    assert found.status.item() == "too_many_evaluations"
    assert 0 < found.t.item() < 1e4
    assert np.isfinite(found.mu.values).all()
    assert np.isinf(found.error_estimate.item())
    assert "limit on the number of evaluations" in found.detail.item()


@needs_llvm
def test_members_that_fail_or_come_elsewhere_have_no_emergence(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hf.ensemble(REFERENCE, STARTS[0], t_final=300).emergence.item() > 0
    with monkeypatch.context() as patched:
        patched.setattr(members, "DISAGREEMENT", 0.0)
        with pytest.warns(ReliabilityWarning, match="1 disagreement"):
            apart = hf.ensemble(REFERENCE, STARTS[0], t_final=300)
    assert (apart.status.item(), np.isnan(apart.emergence.item())) == ("disagreement", True)
    answers = iter([([((0,), (1,), (2,))], [False]), ([((0, 1), (2,))], [True])])
    monkeypatch.setattr(members._Flows, "ends_of", lambda *_: next(answers))
    elsewhere = hf.ensemble(REFERENCE, STARTS[0], t_final=300)
    assert (elsewhere.status.item(), np.isnan(elsewhere.emergence.item())) == ("reached_t_final", True)
    assert elsewhere.shared.item()


@needs_llvm
@pytest.mark.parametrize("error", [InputError, OverflowError])
def test_a_limit_that_cannot_be_had_costs_no_member(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> float:
        raise error("no such limit")

    assert np.isfinite(hf.ensemble(REFERENCE, STARTS[:2], t_final=300).emergence).all()
    monkeypatch.setattr(members, "estimated_limit", fails)
    found = hf.ensemble(REFERENCE, STARTS[:2], t_final=300)
    assert found.status.values.tolist() == ["reached_t_final"] * 2
    assert np.isnan(found.emergence).all()


def test_members_that_jax_steps_together_fit_into_memory() -> None:
    assert _batch(0, 3, 3) == 16_384
    assert _batch(0, 32, 32) * (2 * 32 * 32) ** 2 <= 2**27
    assert _batch(10_000, 3, 3) * 10_000 * 18 <= 2**27
    small, large = REFERENCE.replace(n_heads=2), REFERENCE.replace(n_heads=3)
    chunks = _chunks([(small, START), (large, START)] * 3, lambda n_tasks, n_heads: 2 if n_heads == 2 else 0)
    assert chunks == [[0, 2], [4], [1], [3], [5]]


@needs_llvm
@pytest.mark.slow
@pytest.mark.parametrize("parametrisation", ["merged", "split"])
@pytest.mark.parametrize("closure", ["leading", "finite_d"])
def test_other_flows(parametrisation: str, closure: str) -> None:
    found = hf.ensemble(REFERENCE, STARTS, 200, parametrisation, closure, rtol=1e-6)
    for member, start in enumerate(STARTS):
        run = hf.integrate(REFERENCE, start, parametrisation, closure, t_final=200, method="LSODA")
        allowed = float(found.error_estimate[member]) + run.error_estimate
        assert float(found.loss[member]) == pytest.approx(run.final.loss, rel=allowed)


@needs_llvm
@pytest.mark.slow
def test_it_warns_once_outside_the_range_of_the_closure() -> None:
    problem = REFERENCE.replace(dims=[2, 2, 2])
    with pytest.warns(ValidityWarning, match="of 2 members ended beyond"):
        hf.ensemble(
            problem,
            [hf.InitialState.random(problem, scale=0.1, seed=s) for s in (0, 1)],
            100,
            "balanced",
            "first_order",
        )


@pytest.mark.parametrize(
    ("problems", "initials", "options", "kind", "message"),
    [
        ([], START, {}, InputError, "problems must not be empty"),
        ([REFERENCE] * 2, [START] * 3, {}, InputError, "as many problems as initials, or one of either, got 2 and 3"),
        (3, START, {}, InputTypeError, "problems must be one Problem or several"),
        ([REFERENCE, "x"], START, {}, InputTypeError, r"problems\[1\] must be of the type Problem"),
        (REFERENCE, START, {"t_final": -1}, InputError, "t_final must be positive"),
        (REFERENCE, START, {"rtol": 1}, InputError, "rtol must lie between"),
        (REFERENCE, START, {"workers": 0}, InputError, "workers must be at least 1"),
        (REFERENCE, START, {"workers": 1.5}, InputTypeError, "workers must be an integer"),
        (REFERENCE, START, {"closure": "x"}, InputError, "unknown closure"),
        (REFERENCE, START, {"backend": "cuda"}, InputError, "unknown backend 'cuda'.*allowed: auto, llvm, jax, scipy"),
        (REFERENCE, START, {"backend": 1}, InputTypeError, "backend must be a string"),
        (REFERENCE, START, {"weights": True}, InputError, "weights are kept at times, which must be given too"),
        (REFERENCE, START, {"times": [2e4]}, InputError, r"times\[0\] must lie between 0 and t_final"),
    ],
)
def test_bad_input_is_refused(problems, initials, options, kind, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(kind, match=message):
        hf.ensemble(problems, initials, **options)
