"""Flows linearised at their limits: against generated Jacobians, finite differences of the loss and hand formulas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sympy import N, Rational, S, sqrt

from cases import REFERENCE, oracle
from headflow.errors import HypothesisError, InputError
from headflow.numerics import Problem, compile_system
from headflow.numerics.checks import limits as checks
from headflow.numerics.checks.finding import Setting
from headflow.theory import gradient_flow
from headflow.theory import notation as n
from headflow.theory.derivation import Recorder
from headflow.theory.indexed import difference_is_zero, unroll
from headflow.theory.merged import identical_heads
from headflow.theory.merged.identical_heads import merged_minimum
from headflow.theory.merged.merged_zero import merged_at_zero
from headflow.theory.parameters import PARAMETERS
from headflow.theory.phases import allocation_blocks
from headflow.theory.phases.allocation_blocks import record_blocks
from headflow.theory.phases.linearisation import linearised_flow
from oracles import limit_formulas as hand

MIXED = Problem(dims=[4, 9], signal_power=[1, "2.5"], noise_variance="0.3", context_length=30, n_heads=2)
THREE = Problem(dims=[4, 9, 6], signal_power=[1, 2, "0.7"], noise_variance="0.1", context_length=80, n_heads=3)
PROBLEMS = [MIXED, THREE, REFERENCE, MIXED.subset([1], n_heads=1)]
SINGLE = Problem(dims=[10], signal_power=[1], noise_variance="0.1", context_length=100, n_heads=3)
EXTREME = Problem(dims=[200, 1], signal_power=["0.01", 30], noise_variance="1.5", context_length=20, n_heads=9)
CHECKS = {
    "balanced-limit-stable": checks.balanced_limit_stable,
    "split-limit-saddle": checks.split_limit_saddle,
    "merged-at-zero": checks.merged_zero,
    "merged-degenerate-minimum": checks.merged_degenerate_minimum,
}


def allocated(problem, parametrisation):
    """The flat state at the task-allocation limit, by the hand formulas."""
    mu, omega = hand.allocation_weights(oracle(problem))
    if parametrisation == "split":
        factor, other = np.sqrt(mu), np.sqrt(np.sqrt(hand.embedding(oracle(problem))) * omega)
        return np.concatenate([part.ravel() for part in (factor, factor, other, other)])
    return np.concatenate([mu.ravel(), omega.ravel()])


def jacobian_at(problem, parametrisation, state):
    return compile_system(gradient_flow(parametrisation)).jacobian.bind(problem.float_values())(state)


def steps_of(derivation, *words):
    return [label for label in (step.label for step in derivation) if any(word in label for word in words)]


class TestAllocationLimit:
    @pytest.mark.parametrize("parametrisation", ["balanced", "split"])
    @pytest.mark.parametrize("problem", PROBLEMS, ids=["I=2", "I=3", "reference", "I=1"])
    def test_spectrum_is_that_of_the_generated_jacobian_and_of_the_hand_formulas(self, problem, parametrisation):
        jacobian = jacobian_at(problem, parametrisation, allocated(problem, parametrisation))
        eigenvalues = np.linalg.eigvals(jacobian)
        found = np.array(linearised_flow(parametrisation).evaluate(problem).spectrum)
        # A multiple eigenvalue that is not semisimple moves by the square root of the rounding.
        assert np.abs(eigenvalues.imag).max() < 1e-6
        np.testing.assert_allclose(np.sort(eigenvalues.real), found, rtol=1e-7, atol=1e-7)
        np.testing.assert_allclose(found, hand.allocation_spectrum(oracle(problem), parametrisation), rtol=1e-12)

    @pytest.mark.parametrize("parametrisation", ["balanced", "split"])
    def test_blocks_make_up_the_generated_jacobian(self, parametrisation):
        flow = linearised_flow(parametrisation)
        count, size = THREE.n_tasks, len(flow.state)
        expected = jacobian_at(THREE, parametrisation, allocated(THREE, parametrisation))
        expected = expected.reshape(size, count, count, size, count, count)
        found = np.zeros_like(expected)
        for task in range(count):
            on_task, off_task, coupling = (
                np.array([[value(entry, task) for entry in row] for row in matrix.tolist()])
                for matrix in (flow.on_task, flow.off_task, flow.coupling)
            )
            for head in range(count):
                own = on_task if head == task else off_task
                found[:, task, head, :, task, head] = own
                if head != task:
                    found[:, task, task, :, task, head] = coupling
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)

    def test_reference_case(self):
        rates = linearised_flow().evaluate(REFERENCE)
        assert rates.on_task[0] == pytest.approx((-1.4441, -0.06835), abs=5e-5)
        assert rates.off_task[2] == pytest.approx((-0.10711, 0), abs=5e-6)
        assert len(rates.spectrum) == 18
        escape = linearised_flow("split").evaluate(REFERENCE).off_task[0]
        assert escape == pytest.approx((0.0535562, -0.0535562, 0, 0), abs=1e-7)

    def test_escape_rate_per_task(self):
        form = linearised_flow("split").escape
        found = [value(form.expression, task) for task in range(3)]
        assert found == pytest.approx(hand.escape_rates(oracle(THREE)), rel=1e-14)
        assert linearised_flow("balanced").escape is None

    def test_perturbed_split_flow_leaves_at_the_escape_rate(self):
        flow = compile_system(gradient_flow("split")).velocity.bind(THREE.float_values())
        state = allocated(THREE, "split").reshape(4, 3, 3)
        nudge = np.zeros_like(state)
        nudge[0, 1, 2], nudge[1, 1, 2] = 1e-6, -1e-6
        moved = (flow((state + nudge).ravel()) - flow((state - nudge).ravel())).reshape(state.shape) / 2
        rate = linearised_flow("split").evaluate(THREE).off_task[1][0]
        np.testing.assert_allclose(moved, rate * nudge, atol=1e-13)

    def test_off_task_omega_falls_at_second_order(self):
        """ω_off decays like √d_e/(4 e M_h t)."""
        flow = compile_system(gradient_flow("balanced")).velocity.bind(THREE.float_values())
        state = allocated(THREE, "balanced").reshape(2, 3, 3)
        state[1, 0, 2] = 1e-3
        values = oracle(THREE)
        weight = hand.escape_rates(values)[2] / 2 * hand.allocation_weights(values)[0][2, 2]
        expected = -4 * np.e * weight / np.sqrt(hand.embedding(values)) * 1e-6
        assert flow(state.ravel()).reshape(2, 3, 3)[1, 0, 2] == pytest.approx(expected, rel=1e-9)
        (line,) = linearised_flow().derivation["neutral modes at second order"].formula
        values = {**THREE.exact_values(), "omega_tilde": [[0, 0, S(1) / 1000]] + 2 * [[0, 0, 0]]}
        told = unroll(line[1].xreplace({n.i: S(1), n.h: S(3)}), values, PARAMETERS)
        assert float(N(told)) == pytest.approx(expected, rel=1e-9)

    def test_every_step_passes(self):
        report = linearised_flow("split").derivation.check()
        assert report.failed == ()
        assert {
            "balanced flow is block triangular",
            "trace and determinant on task",
            "on-task eigenvalues",
            "neutral modes at second order",
            "split flow on task, in products and invariants",
            "escape rate",
            "saddle of the split flow",
        } <= set(report.passed)

    @pytest.mark.parametrize(
        ("change", "failed"),
        [
            ({"on_task": lambda block: 2 * block}, "balanced flow linearised on task"),
            ({"off_task": lambda block: -block}, "balanced flow linearised off task"),
            ({"coupling": lambda block: 0 * block}, "balanced flow is block triangular"),
        ],
        ids=["on task", "off task", "coupling"],
    )
    def test_a_wrong_block_fails_its_step(self, monkeypatch, change, failed):
        right = allocation_blocks.allocation_blocks("balanced", "leading")
        wrong = replace(right, **{name: alter(getattr(right, name)) for name, alter in change.items()})
        monkeypatch.setattr(allocation_blocks, "allocation_blocks", lambda *_: wrong)
        record = Recorder("wrong")
        record_blocks(record, gradient_flow("balanced"))
        assert record.freeze().check().failed == (failed,)

    def test_a_wrong_velocity_does_not_rest(self):
        flow = gradient_flow("balanced")
        record = Recorder("wrong")
        record_blocks(record, replace(flow, velocity=(flow.velocity[0] + n.mu[n.i, n.h], flow.velocity[1])))
        assert record.freeze().check().failed == ("balanced flow at rest",)

    def test_refusals(self):
        with pytest.raises(InputError, match="merged flow does not rest"):
            linearised_flow("merged")
        with pytest.raises(InputError, match="did you mean 'split'"):
            linearised_flow("splt")
        with pytest.raises(HypothesisError, match="H ≥ I"):
            linearised_flow().evaluate(THREE.subset(range(3), n_heads=2))

    def test_it_is_printed(self):
        flow = linearised_flow()
        assert "λ_i" in str(flow)
        assert r"\dot{\tilde{\mu}}" in flow.latex()
        assert "<math" in flow.html()


def value(expression, task):
    own = expression.xreplace({atom: atom.base[task + 1] for atom in expression.atoms(type(n.dims[1]))})
    return float(N(unroll(own, THREE.exact_values(), PARAMETERS)))


class TestMergedAtZero:
    @pytest.mark.parametrize("problem", [SINGLE, THREE, MIXED.subset([0, 1], n_heads=5)], ids=["I=1", "I=3", "H=5"])
    def test_spectrum_is_that_of_the_generated_jacobian(self, problem):
        jacobian = jacobian_at(problem, "merged", np.zeros(2 * problem.n_tasks * problem.n_heads))
        rates = merged_at_zero().evaluate(problem)
        grow = np.sort(np.linalg.eigvals(jacobian).real)[problem.n_tasks * problem.n_heads :]
        expected = sorted([*rates.sum, *(problem.n_heads - 1) * rates.zero_sum])
        np.testing.assert_allclose(grow, expected, rtol=1e-7)
        zero_sum, together = hand.zero_rates(oracle(problem), problem.n_heads)
        assert rates.zero_sum == pytest.approx(zero_sum, rel=1e-14)
        assert rates.sum == pytest.approx(together, rel=1e-14)

    def test_reference_numbers(self):
        rates = merged_at_zero().evaluate(SINGLE)
        assert rates.zero_sum == pytest.approx([2 / np.sqrt(10)], rel=1e-15)
        assert rates.sum == pytest.approx([0.600], abs=5e-4)

    def test_every_step_passes(self):
        report = merged_at_zero().derivation.check()
        assert report.failed == ()
        assert {"zero-sum modes", "sum mode", "growth rates at zero", "weak selection"} <= set(report.passed)


class TestMergedMinimum:
    def equilibrium(self, mu, problem=SINGLE):
        found = merged_minimum()
        mu = np.array(mu) * found.total.evaluate(problem) / np.sum(mu)
        return mu, np.full(len(mu), found.omega.evaluate(problem))

    @pytest.mark.parametrize("shares", [[1, 2, 3], [2, -1, 4], [1, 1, 1]], ids=str)
    def test_second_variation_is_that_of_the_generated_loss(self, shares):
        mu, omega = self.equilibrium(shares)
        state = np.concatenate([mu, omega])
        assert np.abs(compile_system(gradient_flow("merged")).velocity.bind(SINGLE.float_values())(state)).max() < 1e-14
        loss = compile_system(gradient_flow("merged")).loss.bind(SINGLE.float_values())
        form = merged_minimum().second_variation
        rng = np.random.default_rng(3)
        for _ in range(4):
            moved_mu, moved_omega = rng.normal(size=3), rng.normal(size=3) / 10
            step = 1e-3 * np.concatenate([moved_mu, moved_omega])
            measured = float(loss(state + step) - 2 * loss(state) + loss(state - step)) / 1e-6
            expected = hand.second_variation(mu, moved_mu, moved_omega, 1, 10, 0.11)
            assert measured == pytest.approx(expected, rel=1e-4)
            values = {**SINGLE.exact_values(), "mu": [mu.tolist()]}
            values |= {"mu_tilde": [moved_mu.tolist()], "omega_tilde": [moved_omega.tolist()]}
            assert float(N(unroll(form, values, PARAMETERS))) == pytest.approx(expected, rel=1e-12)

    @pytest.mark.parametrize(("shares", "negative"), [([1, 2, 3], 0), ([3, -1, 2], 1), ([5, -1, -1], 2)], ids=str)
    def test_number_of_falling_directions_and_of_neutral_ones(self, shares, negative):
        mu, omega = self.equilibrium(shares)
        growth = np.sort(np.linalg.eigvals(jacobian_at(SINGLE, "merged", np.concatenate([mu, omega]))).real)
        assert (growth > 1e-6).sum() == negative
        assert (np.abs(growth) < 1e-9).sum() == len(mu) - 1

    def test_form_is_positive_and_the_tilt_falls(self):
        found = merged_minimum()
        assert found.form.is_symmetric()
        mu, _ = self.equilibrium([3, -1, 2])
        tilt = np.array([0, 1, 0]) - mu[1] / mu.sum()
        assert hand.second_variation(mu, 0 * tilt, tilt, 1, 10, 0.11) < 0
        alpha = float(N(unroll(found.curvature, SINGLE.exact_values(), PARAMETERS)))
        told = alpha * mu[1] * (mu.sum() - mu[1]) / mu.sum()
        assert hand.second_variation(mu, 0 * tilt, tilt, 1, 10, 0.11) == pytest.approx(told, rel=1e-12)
        assert difference_is_zero(found.omega.expression, 1 / sqrt(n.dims[1]))

    def test_every_step_passes(self):
        report = merged_minimum().derivation.check()
        assert report.failed == ()
        assert {
            "gradients at identical heads",
            "equilibria of identical heads",
            "second variation at the equilibria",
            "positive form",
            "unstable direction",
        } <= set(report.passed)

    def test_another_loss_fails_its_steps(self, monkeypatch):
        flow = gradient_flow("merged")
        wrong = replace(flow, loss=flow.loss + n.over_tasks(n.over_heads(n.mu[n.i, n.h] ** 2)))
        monkeypatch.setattr(identical_heads, "gradient_flow", lambda _: wrong)
        failed = merged_minimum.__wrapped__().derivation.check().failed
        assert {"second variation at identical heads", "second variation at the equilibria"} <= set(failed)

    def test_one_task_only(self):
        with pytest.raises(HypothesisError, match="single task"):
            merged_minimum().omega.evaluate(THREE)


class TestStatements:
    @pytest.mark.parametrize("problem", [SINGLE, REFERENCE, EXTREME], ids=["I=1", "reference", "extreme"])
    def test_each_holds(self, problem):
        for check in CHECKS.values():
            finding = check(Setting(problem, seed=2, quick=True))
            assert finding.measured + finding.error < finding.bound

    def test_a_wrong_rate_is_found(self, monkeypatch):
        found = linearised_flow("balanced")
        fast, slow = found.on_task_rates
        wrong = replace(found, on_task_rates=(fast, slow * Rational(1001, 1000)))
        monkeypatch.setattr(checks, "linearised_flow", lambda _: wrong)
        finding = checks.balanced_limit_stable(Setting(REFERENCE, seed=0, quick=True))
        assert finding.measured > finding.bound

    def test_a_wrong_second_variation_is_found(self, monkeypatch):
        found = merged_minimum()
        wrong = replace(found, second_variation=found.second_variation * Rational(1001, 1000))
        monkeypatch.setattr(checks, "merged_minimum", lambda: wrong)
        finding = checks.merged_degenerate_minimum(Setting(REFERENCE, seed=0, quick=True))
        assert finding.measured > finding.bound


@pytest.mark.slow
@pytest.mark.parametrize("parametrisation", ["balanced", "split"])
def test_finite_d_has_the_spectrum_of_the_generated_jacobian(parametrisation):
    """The closed-form eigenvalues, with κ, at ω² = 1/(d + 2) and μ = √(d + 2)/(1 + κc)."""
    linear = linearised_flow(parametrisation, "finite_d")
    assert linear.derivation.check().holds
    dims = np.array(THREE.dims, dtype=float)
    kappa = (1 + 2 / dims) ** (dims / 2 + 1)
    ratio = (1 + 0.1 / np.array([1, 2, 0.7])) * dims / THREE.context_length
    mu, omega = np.diag(np.sqrt(dims + 2) / (1 + kappa * ratio)), np.diag(1 / np.sqrt(dims + 2))
    state = np.concatenate([mu.ravel(), omega.ravel()])
    if parametrisation == "split":
        factor, other = np.sqrt(mu), np.sqrt(np.sqrt(hand.embedding(oracle(THREE))) * omega)
        state = np.concatenate([part.ravel() for part in (factor, factor, other, other)])
    system = compile_system(gradient_flow(parametrisation, "finite_d"))
    found = np.linalg.eigvals(system.jacobian.bind(THREE.float_values())(state))
    np.testing.assert_allclose(np.sort(linear.evaluate(THREE).spectrum), np.sort(found.real), atol=1e-7)


def test_there_is_no_closed_form_to_linearise_at_in_first_order():
    with pytest.raises(InputError, match="first_order"):
        linearised_flow("balanced", "first_order")
