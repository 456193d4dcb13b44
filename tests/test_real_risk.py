"""What the real attention loses with a flow's weights: sampled in about a second, and beside every closure's number."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headflow import InitialState, Problem, compare, integrate, simulate
from headflow.cli.dispatch import main
from headflow.errors import InputError
from headflow.numerics.attention import AttentionWeights, population_gradient, sampled_risk, spectral
from headflow.numerics.attention.backends import _block_sizes
from headflow.numerics.attention.quadrature import risk_by_quadrature
from headflow.numerics.attention.spectral import affordable_prompts, quick_risk
from headflow.theory import task_allocation_limit

REFERENCE = Problem(dims=[10, 10, 10], signal_power=[1, 1, 1], noise_variance=0.1, context_length=100, n_heads=3)
PAIR = Problem(dims=[2, 2], signal_power=[1, 1], noise_variance=0.1, context_length=50, n_heads=2)
LARGE = Problem(dims=[10] * 60, signal_power=[1] * 60, noise_variance=0.1, context_length=4000, n_heads=60)


def allocated(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    limit, count = task_allocation_limit(), problem.n_tasks
    mu, omega = np.zeros((2, count, problem.n_heads))
    np.fill_diagonal(mu, [float(value) for value in limit.mu.at_tasks(problem)])
    np.fill_diagonal(omega, [float(value) for value in limit.omega.at_tasks(problem)])
    return mu, omega


@pytest.mark.parametrize(("problem", "known"), [(REFERENCE, 0.7553329306), (PAIR, 0.309)])
def test_known_values(problem, known):
    found = quick_risk(problem, *allocated(problem))
    assert found.standard_error < 0.01 * known
    assert abs(found.value - known) < 4 * found.standard_error


@pytest.mark.slow
@settings(max_examples=4)
@given(
    dims=st.lists(st.integers(1, 8), min_size=1, max_size=2),
    length=st.integers(1, 60),
    heads=st.integers(1, 3),
    seed=st.integers(0, 100),
)
@example(dims=[3, 5], length=1, heads=3, seed=0)
@example(dims=[4, 2], length=20, heads=1, seed=1)
def test_agrees_with_quadrature(dims, length, heads, seed):
    """Every task; more heads than tasks, and fewer."""
    rng = np.random.default_rng(seed)
    problem = Problem(dims, rng.uniform(0.5, 2, len(dims)).tolist(), 0.3, length, heads)
    mu, omega = rng.normal(0, 1, (len(dims), heads)), rng.normal(0, 0.25, (len(dims), heads))
    found, exact = quick_risk(problem, mu, omega), risk_by_quadrature(problem, mu, omega, query_nodes=8)
    assert np.all(np.abs(found.tasks - exact) < 5 * found.task_errors + 1e-9)


def test_agrees_with_full_weights():
    """Sampled with matrices for weights: other random numbers."""
    mu, omega = allocated(REFERENCE)
    mu[0, 1], omega[0, 1], mu[2, 0] = -0.7, 0.15, 0.4
    found, other = quick_risk(REFERENCE, mu, omega), sampled_risk(REFERENCE, mu, omega, n_samples=10_000, seed=5)
    assert np.all(np.abs(found.tasks - other.tasks) < 4.5 * np.hypot(found.task_errors, other.task_errors))


def test_no_matrices_are_made_where_they_are_large(monkeypatch):
    """The same law, with other random numbers, and little memory."""
    mu, omega = allocated(REFERENCE)
    other = sampled_risk(REFERENCE, mu, omega, n_samples=10_000, seed=5)
    monkeypatch.setattr(spectral, "_MOST_OF_MATRICES", 0)
    found, again = (sampled_risk(REFERENCE, mu, omega, n_samples=10_000, seed=seed) for seed in (5, 6))
    assert found.value != again.value
    assert np.all(np.abs(found.tasks - other.tasks) < 4.5 * np.hypot(found.task_errors, other.task_errors))
    with pytest.raises(InputError, match="at least 2"):
        sampled_risk(REFERENCE, mu, omega, n_samples=1, seed=0)
    with pytest.raises(InputError, match="shape"):
        sampled_risk(REFERENCE, mu.T[:2], omega, n_samples=9, seed=0)
    with pytest.raises(InputError, match="too large"):
        sampled_risk(REFERENCE, 1e200 * mu, omega, n_samples=9, seed=0)


@pytest.mark.parametrize(("tasks", "heads"), [(60, 60), (3, 1000)])
def test_memory_does_not_grow_with_prompts_or_matrices(tasks, heads):
    problem = Problem([10] * tasks, [1] * tasks, 0.1, 50, heads)
    start = InitialState.random(problem, scale=0.1)
    tracemalloc.start()
    try:
        found = simulate(problem, start, n_samples=40)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.n_samples == 40
    assert peak < 5e7  # the matrices of 60 heads have 200 MB, the overlaps of 1000 heads 8 MB a prompt


def test_weights_that_do_not_fit_are_refused_before_they_are_made():
    large = Problem([10] * 200, [1] * 200, 0.1, 100, 200)
    start = InitialState.random(large, scale=0.1)
    fits = Problem([10] * 20, [1] * 20, 0.1, 100, 60)
    tracemalloc.start()
    try:
        for parametrisation in ("merged", "balanced"):
            with pytest.raises(InputError, match=r"heads on tokens of 2200 numbers are too large: at least 12\.8 GB"):
                AttentionWeights.of(large, start, parametrisation)
        weights = AttentionWeights.of(fits, InitialState.random(fits, scale=0.1), "merged")
        with pytest.raises(InputError, match=r"observations of the matrices of 60 heads .* take 4\.6 GB"):
            population_gradient(fits, weights)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5e8


def test_blocks_of_prompts_hold_the_overlaps_of_all_heads():
    """Every pair of heads has a number in every prompt."""
    many = Problem([10] * 3, [1] * 3, 0.1, 100, 1000)
    for averaged in (True, False):
        assert max(_block_sizes("numpy", many, averaged)) * 1000**2 < 2**22


def test_dimensions_cost_nothing():
    wide = Problem(dims=[10**6], signal_power=[1], noise_variance=0.1, context_length=1000, n_heads=1)
    assert affordable_prompts(wide) > 10_000


def test_the_same_numbers_every_time():
    assert quick_risk(PAIR, *allocated(PAIR)).value == quick_risk(PAIR, *allocated(PAIR)).value


@pytest.fixture(scope="module")
def run():
    return integrate(REFERENCE, InitialState.random(REFERENCE), t_final=2000)


def test_comparison_has_it_with_its_error(run):
    comparison = compare(REFERENCE, run)
    entry = comparison.losses["attention"]
    assert entry.kind == "sampled"
    assert entry.closure is None
    assert entry.lower < 0.7553 < entry.upper
    assert entry.upper - entry.value == pytest.approx(4 * entry.standard_error)
    warning, balance = comparison.warnings
    assert "% more than the leading closure says" in warning
    assert "exactly balanced weights" in balance
    assert comparison.to_json()["warnings"] == [warning, balance]


def test_every_number_names_its_closure(run):
    comparison = compare(REFERENCE, run)
    named = [entry for entry in comparison.losses.values() if entry.kind not in ("sampled", "enclosure")]
    assert {entry.closure for entry in named} == {"leading", None}
    body = comparison.text().split("\n\n")[0].splitlines()[1:]
    assert all(any(word in line for word in ("leading closure", "real attention", "exact", "limit")) for line in body)


def test_left_out_where_not_asked_for(run):
    entry = compare(REFERENCE, run, attention=False).losses["attention"]
    assert (entry.applicable, entry.reason) == (False, "not sampled")


def test_left_out_where_a_second_is_not_enough():
    assert quick_risk(LARGE, np.ones((60, 60)), np.ones((60, 60))) is None


def test_left_out_where_weights_overflow():
    assert quick_risk(PAIR, np.full((2, 2), 1e200), np.full((2, 2), 0.1)) is None


COMMAND = ["--dims", "2,2", "--signal", "1,1", "--noise", "0.1", "--context", "50", "--heads", "2", "--t-final", "3000"]


def test_integrate_shows_it(capsys):
    assert main(["integrate", *COMMAND]) == 0
    text = capsys.readouterr().out
    assert "in the leading closure, relative error" in text
    assert "more than the leading closure says" in text
    assert main(["integrate", *COMMAND, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["attention"]
    assert abs(found["value"] - 0.309) < 4 * found["standard_error"] + 0.002
    assert found["closure"] == "leading"


def test_it_can_be_left_out(capsys):
    assert main(["integrate", *COMMAND, "--no-attention"]) == 0
    assert "real" not in capsys.readouterr().out
    assert main(["compare", *COMMAND, "--no-attention", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["losses"]["attention"]["value"] is None
