"""The late law of the balanced flow: K/t², derived, against integrated trajectories."""

import math

import numpy as np
import pytest

import headflow as hf
from headflow.numerics.predictions.cascade import cascade
from headflow.numerics.predictions.convergence import late_constant
from headflow.theory.errors import HypothesisError, InputError
from headflow.theory.phases.convergence import convergence_law

REFERENCE = hf.Problem(dims=[10] * 3, signal_power=[1] * 3, noise_variance=0.1, context_length=100, n_heads=3)
UNEQUAL = hf.Problem(dims=[4, 9, 6], signal_power=[1, 2, "0.7"], noise_variance="0.1", context_length=80, n_heads=3)


def constant_by_hand(problem, groups):
    """Σ d_j d_e/(16 e M_h), M_h of the single-head optimum of the group (THEORY, section 5)."""
    lam, d = np.array(problem.signal_power, float), np.array(problem.dims, float)
    c = (1 + float(problem.noise_variance) / lam) * d / problem.context_length
    total = 0.0
    for group in map(list, groups):
        power = (np.sqrt(lam * c)[group].sum() / (1 + math.e * c[group].sum())) ** 2
        total += (d.sum() - d[group].sum()) * problem.embedding_dim / (16 * math.e * power)
    return total


class TestDerivation:
    def test_every_check_passes(self):
        report = convergence_law().derivation.check()
        assert report.holds
        assert {"late off-task omega", "loss of off-task omega", "heads that share a task"} <= set(report.passed)

    def test_reference_and_unequal_tasks(self):
        assert convergence_law().constant.evaluate(REFERENCE) == pytest.approx(698.4, abs=0.05)
        assert convergence_law().constant.evaluate(UNEQUAL) == pytest.approx(386.275, abs=6e-4)
        assert convergence_law().constant.evaluate(UNEQUAL.replace(n_heads=7)) == pytest.approx(386.275, abs=6e-4)
        assert convergence_law().constant.evaluate(UNEQUAL.subset([1], n_heads=2)) == 0
        with pytest.raises(HypothesisError, match="H ≥ I"):
            convergence_law().constant.evaluate(REFERENCE.replace(n_heads=2))

    @pytest.mark.parametrize("groups", [[[0], [1], [2]], [[0, 2], [1]], [[1, 2], [0]], [[2, 0, 1]]])
    def test_any_allocation(self, groups):
        found = float(convergence_law().of_groups(UNEQUAL, groups))
        assert found == pytest.approx(constant_by_hand(UNEQUAL, groups), rel=1e-12, abs=1e-12)

    def test_groups_that_are_no_allocation(self):
        with pytest.raises(InputError, match="each of the 3 tasks once"):
            convergence_law().of_groups(UNEQUAL, [[0], [1]])
        weak = hf.Problem(
            dims=[5, 10, 20], signal_power=[4, 1, "0.1"], noise_variance="0.1", context_length=100, n_heads=1
        )
        with pytest.raises(InputError, match="does not keep task 2"):
            convergence_law().of_groups(weak, [[0, 1, 2]])


class TestMeasured:
    """gap·t² and K at t = 1e6, rtol 1e-12; corrections to the law are of order 1/t."""

    @pytest.mark.parametrize(
        ("problem", "shared"),
        [
            (REFERENCE, False),
            (UNEQUAL, False),
            (UNEQUAL.replace(n_heads=6), False),
            (REFERENCE.replace(n_heads=2), True),
        ],
    )
    def test_gap_falls_as_predicted(self, problem, shared):
        run = hf.integrate(problem, hf.InitialState.random(problem, scale=0.03), t_final=1e6, rtol=1e-12)
        last = run.at(1e6)
        measured = (last.loss - run.phases.limit) * 1e12
        assert run.allocation.shared is shared
        assert measured == pytest.approx(float(convergence_law().of_groups(problem, run.allocation.groups)), rel=1e-3)
        assert late_constant(problem, last.mu, last.omega) == pytest.approx(measured, rel=1e-3)

    def test_late_omega(self):
        run = hf.integrate(REFERENCE, hf.InitialState.random(REFERENCE, scale=0.03), t_final=1e6, rtol=1e-10)
        c, d_e = 0.11, 33
        predicted = d_e**0.5 / (4 * math.e * c / (1 + math.e * c) ** 2 * 1e6)
        omega = run.at(1e6).omega
        on_task = [(task, head) for task, head in enumerate(run.allocation.heads)]
        off = [omega[i, h] for i in range(3) for h in range(3) if (i, h) not in on_task]
        assert off == pytest.approx([predicted] * 6, rel=1e-3)


class TestSpreadTasks:
    """Two tasks, three heads; task 1 on heads 1 and 2 at once."""

    problem = REFERENCE.subset([0, 1], n_heads=3)

    def start(self, first, off):
        omega = 10**-0.5
        m = 10**0.5 / (1 + math.e * 0.11)
        return hf.InitialState(
            mu=[[first * m, (1 - first) * m, 1e-6], [1e-6, 1e-6, m]],
            omega=[[omega, omega, 0.1], [off, off, omega]],
        )

    def test_even_spread(self):
        run = hf.integrate(self.problem, self.start(0.5, 0.1), t_final=1e6, rtol=1e-12)
        last = run.at(1e6)
        # Half the μ is a quarter of the power, against one head's.
        alone = constant_by_hand(self.problem, [[0], [1]]) / 2
        assert late_constant(self.problem, last.mu, last.omega) == pytest.approx(5 * alone, rel=1e-3)
        assert (last.loss - run.phases.limit) * 1e12 == pytest.approx(5 * alone, rel=1e-3)

    @pytest.mark.slow
    def test_the_head_with_less_rules(self):
        run = hf.integrate(self.problem, self.start(2 / 3, 0.003), t_final=1e8, rtol=1e-12)
        last = run.at(1e8)
        predicted = late_constant(self.problem, last.mu, last.omega)
        # The faster head is behind by a power of t only: t^(1 - m_1/m_2).
        assert (last.loss - run.phases.limit) * 1e16 == pytest.approx(predicted, rel=0.01)

    def test_a_spread_that_moves_is_refused(self):
        """At larger off-task ω the weaker head leaves the task, like a power of t."""
        run = hf.integrate(self.problem, self.start(2 / 3, 0.1), t_final=1e6, rtol=1e-12)
        last = run.at(1e6)
        assert 0 < last.mu[0, 1] < 1e-3
        with pytest.raises(InputError, match="part on head 2 still moves"):
            late_constant(self.problem, last.mu, last.omega)

    def test_heads_that_share_two_tasks_are_refused(self):
        with pytest.raises(InputError, match="heads 1, 2 share the tasks 1, 2"):
            late_constant(self.problem, [[1, 1, 0], [1, 1, 0]], [[0.2, 0.2, 0], [0.2, 0.2, 0]])


def test_cascade_and_late_law_from_the_start_alone():
    """The groups that the cascade predicts give the K that the full flow shows, a shared head included."""
    initial = hf.InitialState.random(REFERENCE, scale=1e-3, seed=1)
    groups = cascade(REFERENCE, initial).groups
    assert groups == ((1, 2), (0,))
    run = hf.integrate(REFERENCE, initial, t_final=1e7, rtol=1e-12)
    measured = (run.at(1e7).loss - run.phases.limit) * 1e14
    assert measured == pytest.approx(float(convergence_law().of_groups(REFERENCE, groups)), rel=1e-3)
