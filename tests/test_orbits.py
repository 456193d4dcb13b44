"""Orbit reduction: the partition against brute-force automorphisms, the reduced flow against the full one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from sympy import IndexedBase, KroneckerDelta, Rational, Symbol

from cases import REFERENCE, START, random_case
from headflow import InitialState, Problem, Trajectory, integrate
from headflow.numerics import compile_system
from headflow.numerics.compiler import compiler_installed
from headflow.numerics.flows import orbit_dynamics, orbits
from headflow.numerics.flows.orbits import orbit_flow, orbits_of
from headflow.theory import gradient_flow, split_flow, symmetric_reduction, to_hyperbolic, to_log
from headflow.theory import notation as n
from headflow.theory.errors import HypothesisError, InputError
from headflow.theory.flows.orbits import Orbits, orbit_partition
from headflow.theory.flows.reduction import orbit_reduction
from headflow.theory.flows.symmetry import STATE
from headflow.theory.indexed import Definition, difference_is_zero, inline

BALANCED = gradient_flow("balanced")
FLOWS = {
    "merged": gradient_flow("merged"),
    "balanced": BALANCED,
    "log": to_log(BALANCED),
    "split": split_flow(),
}


def on_off(n_tasks):
    return orbit_partition([0] * n_tasks, [[int(i == h) for h in range(n_tasks)] for i in range(n_tasks)])


@pytest.mark.parametrize("seed", range(12))
def test_many_entries_are_told_apart_as_few_are(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    shape, kinds = rng.integers(2, 7, 2), (2, 3, 40)[seed % 3]
    tasks, edges = rng.integers(0, 2, shape[0]).tolist(), rng.integers(0, kinds, shape)
    exact = np.array(orbit_partition(tasks, edges.tolist()).pairs)
    monkeypatch.setattr(orbits, "_LARGEST_EXACT", 0)
    found = np.array(orbits.partition(tasks, edges).pairs)
    both = {tuple(pair) for pair in np.stack([exact.ravel(), found.ravel()]).T.tolist()}
    assert len(both) == len(np.unique(exact)) == len(np.unique(found))


def test_a_start_without_ties_needs_no_matrix_of_all_pairs(monkeypatch):
    monkeypatch.setattr(orbits, "_ranked", None)  # of these matrices
    edges = np.random.default_rng(0).permutation(3 * 100).reshape(3, 100) // 2  # each number is there twice
    assert orbits._all_differ(np.zeros(3, int), edges)
    assert len(np.unique(orbits.partition([0] * 3, edges).pairs)) == 103**2


def automorphism_orbits(tasks, edges):
    """Orbits of (task, head) under all permutations of tasks and heads that keep the colours: brute force."""
    n_tasks, n_heads = len(tasks), len(edges[0])
    joined = {place: {place} for place in product(range(n_tasks), range(n_heads))}
    for p, q in product(permutations(range(n_tasks)), permutations(range(n_heads))):
        keeps = all(tasks[p[i]] == tasks[i] for i in range(n_tasks))
        if keeps and all(edges[p[i]][q[h]] == edges[i][h] for i, h in joined):
            for i, h in joined:
                joined[i, h].add((p[i], q[h]))
    return {frozenset(orbit) for orbit in joined.values()}


@pytest.mark.parametrize("seed", range(40))
def test_cells_are_the_orbits_of_the_permutations_on_small_problems(seed):
    """They can only be coarser; up to 4 + 4 vertices they are the orbits themselves."""
    rng = np.random.default_rng(seed)
    n_tasks, n_heads = (int(x) for x in rng.integers(1, 5, 2))
    tasks = rng.integers(0, 2, n_tasks).tolist()
    edges = rng.integers(0, int(rng.integers(1, 4)), (n_tasks, n_heads)).tolist()
    found = orbit_partition(tasks, edges)
    assert {frozenset(cell) for cell in found.cells} == automorphism_orbits(tasks, edges)


@pytest.mark.parametrize("seed", range(8))
def test_the_partition_is_coherent(seed):
    """Intersection numbers, counted here directly, depend on the cell alone."""
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(2, 8)), int(rng.integers(2, 8)))
    found = orbit_partition([0] * shape[0], rng.integers(0, 2, shape).tolist())
    cells = np.array(found.pairs)
    numbers: dict[int, Counter] = {}
    for u, v in product(range(len(cells)), repeat=2):
        counted = Counter(zip(cells[u], cells[:, v], strict=True))
        assert numbers.setdefault(cells[u, v], counted) == counted
    assert found.is_coherent()


def test_a_partition_that_is_too_coarse_is_not_coherent():
    colours = np.array([[0, 1], [0, 0]])  # the initial colours: row sums differ within a cell
    pairs = ((0, 1, 2, 3), (1, 0, 2, 2), (4, 4, 5, 6), (7, 4, 6, 5))
    assert not Orbits(2, 2, pairs).is_coherent()
    assert len(orbit_partition([0, 0], colours.tolist()).cells) == 4
    assert not Orbits(1, 1, ((0, 0), (1, 2))).is_coherent()


def test_symmetric_and_random_starts():
    for n_tasks in (2, 3, 6):
        assert [len(cell) for cell in on_off(n_tasks).cells] == [n_tasks, n_tasks * (n_tasks - 1)]
    found = on_off(3)
    assert found.entries == found.head_pairs == found.task_pairs == ((0, 1, 1), (1, 0, 1), (1, 1, 0))
    assert found.tasks == found.heads == (0, 0, 0)
    halves = orbit_partition([5, 5, 7], [[1, 2], [1, 2], [1, 2]])
    assert (halves.tasks, halves.heads, halves.entries) == ((0, 0, 1), (0, 1), ((0, 1), (0, 1), (2, 3)))
    assert len(orbits_of(REFERENCE, START).cells) == 9
    unequal = REFERENCE.replace(signal_power=[1, 1, "1.0000000001"])
    equal = InitialState(mu=np.full((3, 3), 0.1), omega=np.full((3, 3), 0.1))
    assert (len(orbits_of(REFERENCE, equal).cells), len(orbits_of(unequal, equal).cells)) == (1, 2)


@pytest.mark.slow
def test_large_problems_take_seconds():
    """I = H = 128, about one second: start values that depend on a distance around a ring have its symmetries."""
    size = 128
    place = np.arange(size)
    rings = np.minimum((place[:, None] - place) % size, (place - place[:, None]) % size)
    assert len(orbit_partition([0] * size, rings.tolist()).cells) == size // 2 + 1


@pytest.mark.parametrize("n_tasks", [2, 3, 5])
def test_the_symmetric_start_gives_the_symmetric_reduction(n_tasks):
    known = symmetric_reduction()
    found = orbit_reduction(gradient_flow("merged"), on_off(n_tasks))
    assert [str(name) for name in found.state] == ["mu_1", "mu_2", "omega_1", "omega_2"]
    here = {"d": "d_1", "lambda": "lambda_1"}
    names = {Symbol(old, positive=True): Symbol(new, positive=True) for old, new in here.items()}
    names |= dict(zip(STATE, found.state, strict=True))
    phi = Definition(Symbol("phi", positive=True), found.definitions[0].body)
    pairs = zip((*known.gradient, known.loss), (*found.gradient, found.loss), strict=True)
    for old, new in pairs:
        opened = inline(old, known.definitions).subs(n.n_tasks, n_tasks).subs(phi.head, phi.body).subs(names)
        assert difference_is_zero(opened.subs(names), inline(new, found.definitions))


@pytest.mark.parametrize(
    "name", ["balanced", *(pytest.param(name, marks=pytest.mark.slow) for name in FLOWS if name != "balanced")]
)
def test_every_check_passes_and_a_wrong_partition_fails(name):
    system = FLOWS[name]
    found = orbit_reduction(system, orbit_partition([0, 0, 1], [[1, 2, 2], [1, 2, 2], [3, 3, 3]]))
    assert len(found.state) == 4 * len(system.state)
    report = found.derivation.check()
    assert report.failed == ()
    assert {"cells", "flow of the cells", "loss on the cells", "C on the cells"} <= set(report.passed)
    assert name != "log" or "\n     μ_1 = e^(u_1)\n" in found.derivation.text()
    coarse = Orbits(2, 2, ((0, 1, 2, 3), (1, 0, 2, 2), (4, 4, 5, 6), (7, 4, 6, 5)))
    failed = orbit_reduction(system, coarse).derivation.check().failed
    assert {"cells", "flow of the cells"} <= set(failed)


def structured(kind, seed):
    """A problem and a start with symmetries of a kind."""
    rng = np.random.default_rng((seed, len(kind)))
    if kind == "random":
        return random_case(seed)
    group, repeat = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    n_tasks = group * repeat
    n_heads = n_tasks if kind == "circulant" else 2 * int(rng.integers(1, 4))
    tasks = np.zeros(n_tasks, int) if kind == "circulant" else np.repeat(np.arange(group), repeat)
    heads = {
        "groups": np.repeat(np.arange(2), n_heads // 2),
        "pairs": np.arange(n_heads) // 2,
        "circulant": np.arange(n_heads),
    }[kind]
    values = 0.3 * rng.uniform(0.2, 1, (2, n_tasks, n_heads))
    if kind == "circulant":
        places = (np.arange(n_tasks)[:, None] - np.arange(n_heads)) % n_tasks
        mu, omega = values[0, 0, places], values[1, 0, places]
    else:
        mu, omega = values[:, tasks[:, None], heads]
    problem = Problem(
        dims=rng.integers(2, 12, n_tasks)[tasks].tolist(),
        signal_power=[str(x) for x in rng.integers(1, 30, n_tasks)[tasks] / 8],
        noise_variance="0.3",
        context_length=int(rng.integers(20, 200)),
        n_heads=n_heads,
    )
    return problem, InitialState(mu=3 * mu, omega=omega)


@pytest.mark.parametrize("parametrisation", ["balanced", "merged"])
@pytest.mark.parametrize("kind", ["groups", "pairs", "circulant", "random"])
def test_velocity_and_loss_equal_those_of_the_full_flow(kind, parametrisation):
    for seed in range(8):
        problem, initial = structured(kind, seed)
        flow = orbit_flow(problem, initial, parametrisation)
        code = compile_system(flow.reduction.system)
        full = flow.expand(flow.start)
        expected = np.stack([initial.mu, initial.omega])
        assert np.array_equal(full, np.log(expected) if parametrisation == "balanced" else expected)
        assert np.array_equal(flow.collapse(full), flow.start)
        rhs = code.velocity.bind(problem.float_values())(full.ravel()).reshape(full.shape)
        assert np.abs(flow.expand(flow.velocity(flow.start)) - rhs).max() <= 1e-13 * np.abs(rhs).max()
        loss = float(code.loss.bind(problem.float_values())(full.ravel()))
        assert flow.loss(flow.start) == pytest.approx(loss, rel=1e-13)


def test_symmetric_starts_are_reduced_as_far_as_their_groups_say():
    for kind, cells in {"groups": lambda p: 2, "pairs": lambda p: p.n_heads // 2}.items():
        problem, initial = structured(kind, 3)
        classes = len(set(zip(problem.dims, problem.signal_power, strict=True)))
        assert len(orbits_of(problem, initial).cells) == classes * cells(problem)
    problem, initial = structured("circulant", 3)
    assert len(orbits_of(problem, initial).cells) == problem.n_tasks > 1


def test_the_reduced_flow_is_the_full_one_integrated():
    mu = np.full((3, 3), 0.1) + 0.1 * np.eye(3)
    flow = orbit_flow(REFERENCE, InitialState(mu=mu, omega=np.full((3, 3), 0.1)))
    assert flow.size == 4
    rhs = compile_system(flow.reduction.system).velocity.bind(REFERENCE.float_values())
    settings = {"method": "DOP853", "rtol": 1e-11, "atol": 1e-13, "t_eval": [3.0, 10.0, 30.0]}
    short = solve_ivp(lambda t, y: flow.velocity(y), (0, 30), flow.start, **settings)
    long = solve_ivp(lambda t, y: rhs(y), (0, 30), flow.expand(flow.start).ravel(), **settings)
    for y, full in zip(short.y.T, long.y.T, strict=True):
        assert np.abs(flow.expand(y).ravel() - full).max() < 1e-8
    assert abs(flow.loss(short.y[:, -1]) - flow.loss(flow.start)) > 0.5  # it has gone somewhere


def test_numbers_are_put_in_exactly():
    values = REFERENCE.exact_values()
    found = orbit_reduction(BALANCED, on_off(3), values)
    bodies = {str(item.head): item.body for item in found.definitions}
    assert (bodies["phi_1"], bodies["d_e"]) == (Rational(11, 10), 33)
    assert {str(name) for name in found.loss.free_symbols} <= {"mu_1", "mu_2", *bodies}
    with pytest.raises(InputError, match=r"lambda must be equal on each cell.*got 1 and 2"):
        orbit_reduction(BALANCED, on_off(2), {"lambda": [1, 2]})


def test_parameters_of_a_task_and_a_head_are_put_in():
    flow, orbits = to_hyperbolic(split_flow()), on_off(2)
    symbolic = orbit_reduction(flow, orbits)
    assert [str(name) for name in symbolic.state] == ["theta_1", "theta_2", "vartheta_1", "vartheta_2"]
    numeric = orbit_reduction(flow, orbits, {"abs_Delta": [[1, 2], [2, 1]]})
    for name, size in (("mu_1", 1), ("mu_2", 2)):
        before, after = (
            next(item.body for item in found.definitions if str(item.head) == name) for found in (symbolic, numeric)
        )
        assert after == before.subs(Symbol(f"abs_Delta_{size}", positive=True), size) != before
    with pytest.raises(InputError, match=r"abs_Delta must be equal on each cell.*got 2 and 3"):
        orbit_reduction(flow, orbits, {"abs_Delta": [[1, 2], [3, 1]]})


def test_flows_that_the_partition_need_not_keep_are_refused():
    i, j, h, k = n.i, n.j, n.h, n.k
    mu, state = n.mu, [n.mu[i, h]]

    def reduced(loss):
        return orbit_reduction(gradient_flow(loss, state=state), on_off(3))

    # A cycle of four is summed index by index; the complete graph on four vertices is not.
    four = mu[i, h] * mu[i, k] * mu[j, h] * mu[j, k]
    assert reduced(n.over_tasks(n.over_heads(four, h, k), i, j)).derivation.check().failed == ()
    pairs = IndexedBase("w")
    with pytest.raises(HypothesisError, match="each index meeting at most two others"):
        reduced(n.over_tasks(n.over_heads(four / (1 + (mu[i, h] - mu[j, k]) ** 2 * mu[i, k]), h, k), i, j) ** 2)
    with pytest.raises(HypothesisError, match="parameters of a task"):
        reduced(n.over_tasks(n.over_heads(pairs[h] * mu[i, h] ** 2)))
    with pytest.raises(HypothesisError, match=r"not 1"):
        reduced(n.over_heads(mu[1, h] ** 2) * n.over_tasks(n.over_heads(mu[i, h])))
    with pytest.raises(HypothesisError, match="always over the same"):
        orbit_reduction(
            replace(gradient_flow("merged"), loss=n.over_tasks(n.over_heads(mu[h, i]))),
            on_off(3),
        )
    with pytest.raises(HypothesisError, match="state variables of a task and a head"):
        orbit_reduction(gradient_flow(n.over_tasks(n.dims[i] ** 2), state=[n.dims[i]]), on_off(2))
    tied = {mu[i, h]: 1 + KroneckerDelta(i, h)}
    favoured = gradient_flow(n.over_tasks(n.over_heads(mu[i, h])), state=state, metric=tied)
    with pytest.raises(HypothesisError, match="deltas of two tasks"):
        orbit_reduction(favoured, on_off(2))


@pytest.mark.parametrize("edges", [[], [[]], [[1, 2], [3]], [[1, 2]] * 3], ids=str)
def test_shapes_that_do_not_fit_are_refused(edges):
    with pytest.raises(InputError, match=r"shape \(I, H\)"):
        orbit_partition([0, 0], edges)


def test_arrays_that_differ_within_a_cell_are_refused():
    problem, initial = structured("pairs", 3)
    flow = orbit_flow(problem, initial)
    full = flow.expand(flow.start)
    full[0, -1, -1] += 1e-9
    with pytest.raises(InputError, match="equal on each cell"):
        flow.collapse(full)
    with pytest.raises(InputError, match=r"must have shape"):
        flow.velocity(flow.start[:-1])
    with pytest.raises(InputError, match=r"shape \(I, H\)"):
        orbits_of(REFERENCE, InitialState(mu=[[1, 2]], omega=[[1, 2]]))


@pytest.mark.parametrize("kind", ["groups", "pairs", "circulant", "random"])
def test_cells_told_apart_by_random_numbers_are_the_exact_ones(kind, monkeypatch):
    for seed in range(6):
        problem, initial = structured(kind, seed)
        exact = orbits_of(problem, initial)
        with monkeypatch.context() as patch:
            patch.setattr(orbits, "_LARGEST_EXACT", 0)
            hashed = orbits_of(problem, initial)
        assert hashed.entries == exact.entries
        assert hashed.head_pairs == exact.head_pairs
        assert hashed.task_pairs == exact.task_pairs
        assert hashed.is_coherent()


def symmetric(size):
    problem = Problem(dims=[10] * size, signal_power=[1] * size, noise_variance=0.1, context_length=100, n_heads=size)
    return problem, InitialState(mu=0.03 + 0.01 * np.eye(size), omega=np.full((size, size), 0.03))


@pytest.mark.parametrize(("parametrisation", "t_final"), [("balanced", 300), ("merged", 30)])
def test_symmetric_starts_are_integrated_on_their_cells(parametrisation, t_final, tmp_path):
    problem, initial = symmetric(6)
    run = integrate(problem, initial, parametrisation, t_final=t_final, times=[10])
    full = integrate(problem, initial, parametrisation, t_final=t_final, times=[10], method="DOP853")
    assert run.method == ("Rodas5P on 2 cells" if compiler_installed() else "LSODA on 2 cells")
    assert "36 entries of mu alike in 2 cells" in run.method_reason
    assert full.method == "DOP853"
    assert run.states_flat.shape == (len(run.t), 4)
    assert run.mu.shape == (len(run.t), 6, 6)
    for ours, theirs in zip((run.states[0], run.final), (full.states[0], full.final), strict=True):
        limit = run.error_estimate + full.error_estimate
        assert np.abs(ours.mu - theirs.mu).max() <= limit * np.abs(theirs.mu).max()
        assert ours.loss == pytest.approx(theirs.loss, rel=limit)
    assert run.phases.emergence == pytest.approx(full.phases.emergence, rel=1e-5)
    run.save(tmp_path / "run.nc")
    np.testing.assert_array_equal(Trajectory.load(tmp_path / "run.nc").final.mu, run.final.mu)
    jacobian = orbit_flow(problem, initial, parametrisation)
    step, y = 1e-6, jacobian.start
    columns = [(jacobian.velocity(y + step * e) - jacobian.velocity(y - step * e)) / (2 * step) for e in np.eye(4)]
    np.testing.assert_allclose(jacobian.jacobian(y), np.transpose(columns), rtol=1e-6, atol=1e-8)


def test_states_on_cells_are_expanded_whether_a_reduction_is_still_worth_it_or_not(tmp_path, monkeypatch):
    problem, initial = symmetric(6)
    run = integrate(problem, initial, t_final=1)
    run.save(tmp_path / "run.nc")
    monkeypatch.setattr(orbit_dynamics, "_FEWEST_ENTRIES", 37)
    loaded = Trajectory.load(tmp_path / "run.nc")
    np.testing.assert_array_equal(loaded.final.mu, run.final.mu)
    elsewhere = InitialState(mu=initial.mu + 0.01 * np.eye(6)[0], omega=initial.omega)
    with pytest.raises(InputError, match=r"the states have 4 numbers, but problem and start have \d+ cells"):
        _ = replace(run, initial=elsewhere).final


def test_starts_without_enough_symmetry_are_not_reduced():
    problem, initial = symmetric(6)
    mu = initial.mu.copy()
    mu[0, 1] *= 1 + 1e-12
    parted = integrate(problem, InitialState(mu=mu, omega=initial.omega), t_final=1)
    assert "cells" not in parted.method or parted.states_flat.shape[1] > 4
    few, start = symmetric(3)
    assert "cell" not in integrate(few, start, t_final=1).method
    assert "cell" not in integrate(problem, initial, "split", t_final=1).method
