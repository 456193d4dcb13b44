"""Escape from the allocation saddle: derived rate and times, against hand-typed formulas and trajectories."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from mpmath import mp
from scipy.integrate import solve_ivp
from sympy import Integer, Rational

import headflow as hf
from cases import REFERENCE, START
from headflow.errors import HypothesisError, InputError
from headflow.numerics import predicted_sign_changes, sign_changes
from headflow.numerics.trajectory.trajectory import Trajectory
from headflow.report.figures import draw
from headflow.report.summary import answer, flow_summary
from headflow.theory import escape_from_allocation, multi_head_optimum
from headflow.theory.phases import escape as module
from headflow.theory.printing import check_latex

UNEQUAL = hf.Problem([4, 9, 6], [1, 2, "0.7"], "0.2", 80, 4)
THEORY = escape_from_allocation()


def hand_rate(problem: hf.Problem, task: int) -> float:
    """g = 2 λ φ μ/L at μ = √d/(1 + e c), typed from THEORY section 5."""
    lam, d = float(problem.signal_power[task]), problem.dims[task]
    phi = 1 + float(problem.noise_variance) / lam
    on_task = math.sqrt(d) / (1 + math.e * phi * d / problem.context_length)
    return 2 * lam * phi * on_task / problem.context_length


@cache
def reference_run(size: float) -> Trajectory:
    return hf.integrate(REFERENCE, START.with_imbalance(size), "split", t_final=1e5)


class TestTheory:
    @pytest.mark.slow
    def test_every_check_passes(self) -> None:
        report = THEORY.derivation.check()
        assert report.holds
        ours = {"off-task angle", "linear angle", "starting angle", "sign change", "growth", "escape time"}
        assert ours | {"escape time for small imbalance"} <= set(report.passed)
        check_latex(THEORY.derivation.latex())

    @pytest.mark.slow
    def test_a_wrong_pull_is_noticed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The chain rests on the split flow: with another gradient the step that uses it fails."""
        right = module.to_hyperbolic(module.split_flow())
        wrong = replace(right, velocity=(2 * right.velocity[0], right.velocity[1]))
        monkeypatch.setattr(module, "to_hyperbolic", lambda system: wrong)
        assert "off-task angle" in escape_from_allocation.__wrapped__().derivation.check().failed

    @pytest.mark.parametrize("problem", [REFERENCE, UNEQUAL], ids=["reference", "unequal"])
    def test_the_rate(self, problem: hf.Problem) -> None:
        for task, rate in enumerate(THEORY.rates(problem)):
            assert rate == pytest.approx(hand_rate(problem, task), rel=1e-14)

    @pytest.mark.parametrize("size", [1e-3, 1e-8, 1e-200, -1e-8])
    def test_the_times_by_the_hyperbolic_sine(self, size: float) -> None:
        with mp.workdps(30):
            rate = mp.mpf(hand_rate(UNEQUAL, 1))
            angles = [mp.asinh(2 * mp.mpf(mu) / abs(mp.mpf(size))) / 2 for mu in (0.01, 1.5)]
            assert THEORY.sign_change_at(UNEQUAL, 1, 0.01, size) == pytest.approx(float(angles[0] / rate), rel=1e-13)
            found = THEORY.escape_at(UNEQUAL, 1, 0.01, size, 1.5)
            assert found == pytest.approx(float(sum(angles) / rate), rel=1e-13)
            if abs(size) < 1e-6:
                leading = mp.log(4 * mp.sqrt(0.01 * 1.5) / abs(size)) / rate
                assert found == pytest.approx(float(leading), rel=1e-9)

    def test_mu_solves_the_flow_of_its_factors(self) -> None:
        """ȯ = −v g, v̇ = −o g: the closed form of μ against an integration of the factors."""
        rate, mu, size = 0.3, 0.2, 0.01
        o = math.sqrt((math.hypot(size, 2 * mu) + size) / 2)
        plain = solve_ivp(lambda t, y: -rate * y[::-1], (0, 20), [o, mu / o], rtol=1e-12, atol=1e-14)
        values = {module.own_rate: Rational(rate), module.own_imbalance: Rational(size), module.time: Integer(20)}
        start = THEORY.angle.xreplace({module.mu_start: Rational(mu), module.own_imbalance: Rational(size)})
        found = float(THEORY.mu.xreplace({module.angle_start: start, **values}))
        assert found == pytest.approx(plain.y[0, -1] * plain.y[1, -1], rel=1e-9)
        assert found < 0

    def test_what_it_refuses(self) -> None:
        with pytest.raises(HypothesisError, match=r"an imbalance Δ ≠ 0; got Δ = 0"):
            THEORY.sign_change_at(REFERENCE, 0, 0.1, 0.0)
        with pytest.raises(HypothesisError, match="H ≥ I"):
            THEORY.rates(REFERENCE.replace(n_heads=2))
        with pytest.raises(InputError, match="task must lie between 0 and 2, got 3"):
            THEORY.sign_change_at(REFERENCE, 3, 0.1, 1e-3)


class TestTrajectories:
    @pytest.mark.parametrize("size", [1e-10, 1e-14])
    def test_sign_changes_come_when_predicted(self, size: float) -> None:
        run = reference_run(size)
        measured = sign_changes(run)
        since = 0.6 * float(measured.min())
        predicted = predicted_sign_changes(run, since)
        heads = run.at(since).allocation.heads
        on_task = np.zeros((3, 3), bool)
        on_task[range(3), heads] = True
        assert (predicted.isnull() == on_task).all()
        assert (measured.isnull() == on_task).all()
        assert float((abs(predicted - measured) / (measured - since)).max()) < 0.08
        for task, head in np.argwhere(~on_task):
            at = (int(task), int(head))
            assert abs(run.at(float(measured[at])).mu[at]) < 1e-3 * size

    @pytest.mark.parametrize("since", [400.0, 2000.0])
    def test_what_is_left_out_falls_like_one_over_t(self, since: float) -> None:
        """To first order in the off-task ω ~ κ/t the pull is g (1 − (e − 2) √d ω) in the homogeneous case.

        The rest is the offset of t in that law, which differs between entries.
        """
        run = reference_run(1e-200)
        measured = sign_changes(run)
        power = 1.1 / 100 * (math.sqrt(10) / (1 + 0.11 * math.e)) ** 2
        decay = math.sqrt(33) / (4 * math.e * power)
        lag = (math.e - 2) * math.sqrt(10) * decay * np.log(measured / since)
        assert float(abs((measured - predicted_sign_changes(run, since)) / lag - 1).max()) < 160 / since

    def test_the_growth_after_the_sign_change(self) -> None:
        run = reference_run(1e-14)
        measured = sign_changes(run)
        task, head = (int(place) for place in np.argwhere(~np.isnan(measured.values))[0])
        crossed, since = float(measured[task, head]), float(measured[task, head]) + 30
        rate = hand_rate(REFERENCE, task)
        mu = run.at(since).mu[task, head]
        assert np.log(-mu / (1e-14 / 4)) == pytest.approx(2 * rate * (since - crossed), rel=0.05)

    def test_phases_know_the_escape_and_claim_no_convergence(self) -> None:
        run = reference_run(1e-10)
        phases = run.phases
        assert phases.limit == pytest.approx(0.6905507363762284, rel=1e-14)
        assert phases.groups is not None
        assert not phases.shared
        balanced = hf.integrate(REFERENCE, START, t_final=1e3).phases
        assert phases.emergence == pytest.approx(balanced.emergence, rel=1e-6)
        assert phases.escape is not None
        level = phases.limit - 3 * run.error_estimate * phases.limit
        assert run.loss_at(phases.escape) == pytest.approx(level, rel=1e-9)
        assert run.loss_at(0.99 * phases.escape) > phases.limit
        assert phases.convergence_onset is None
        assert "the flow leaves the limit" in phases.reasons["convergence_onset"]

    def test_words_and_figures_of_an_escape(self) -> None:
        run = reference_run(1e-10)
        comparison = hf.compare(REFERENCE, run)
        assert any("of an allocation that the flow has left" in line for line in flow_summary(run))
        flow, *_ = answer(run, comparison, cast(Any, SimpleNamespace(verdicts=(), sentence="")))
        assert "came near the limit of an allocation of tasks to heads, 0.690551, and left it at t = 462" in flow
        figures = draw(run, comparison)
        assert "escape, t = 462" in figures["mu"]
        assert "escape at 462" in figures["loss"]

    def test_without_imbalance_nothing_escapes(self) -> None:
        run = hf.integrate(REFERENCE, START.with_imbalance((0, 1e-3)), "split", t_final=1e4)
        assert run.phases.escape is None
        assert bool(sign_changes(run).isnull().all())
        assert bool(predicted_sign_changes(run, 1e3).isnull().all())

    @pytest.mark.parametrize("unit", [1.0, 1e-12])
    def test_sign_changes_have_the_accuracy_of_their_time_and_of_the_first_sign(self, unit: float) -> None:
        def mu(t: Any) -> Any:
            s = np.asarray(t, float)[..., None, None] / unit
            return np.concatenate([(s - 0.3) ** 3, s * (0.3 - s) * (5.0 - s), s * (1.0 + s)], axis=-1)

        t = unit * np.array([0.0, 0.1, 0.5, 4.0, 6.0])
        at = {"mu": mu(t), "at": lambda time: SimpleNamespace(mu=mu(time))}
        run = SimpleNamespace(t=t, **at, ensure_reliable=lambda: None)
        first, second, third = sign_changes.__wrapped__(cast(Any, run)).values[0]
        assert first == pytest.approx(0.3 * unit, rel=1e-4)  # a triple root
        assert second == pytest.approx(0.3 * unit, rel=1e-11)
        assert np.isnan(third)

    def test_no_prediction_without_an_allocation(self) -> None:
        run = hf.integrate(REFERENCE, START.with_imbalance(1e-3), "split", t_final=20)
        with pytest.raises(HypothesisError, match="each task on a head of its own"):
            predicted_sign_changes(run, 1.0)


@pytest.mark.slow
def test_the_escape_time_rises_by_one_over_g_per_unit_of_log_imbalance() -> None:
    sizes = 10.0 ** -np.arange(8.0, 21.0, 2.0)
    times: list[Any] = [reference_run(size).phases.escape for size in sizes]
    slopes = np.diff(times) / -np.diff(np.log(sizes)) * hand_rate(REFERENCE, 0)
    assert np.abs(slopes - 1).max() < 0.03
    assert (np.diff(slopes) > 0).all()  # towards 1


@pytest.mark.slow
@pytest.mark.parametrize("size", [1e-2, 1e-6, 1e-10, 1e-14])
def test_the_flow_goes_on_to_the_optimum(size: float) -> None:
    run = reference_run(size)
    infimum = multi_head_optimum().evaluate(REFERENCE)
    assert infimum == pytest.approx(0.42489, abs=1e-5)
    assert infimum < run.loss[-1] < 1.05 * infimum
    assert run.phases.convergence_onset is None
    assert run.error_estimate < 1e-4
