"""The split flow: factors, their invariants, and its coordinates at fixed invariants, against the hand formulas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sympy import IndexedBase, Rational, S, exp, sqrt

from headflow.numerics import Problem, compile_system
from headflow.numerics.checks import parametrisations as checks
from headflow.numerics.checks.finding import Setting
from headflow.theory import Definition, gradient_flow, to_log
from headflow.theory import notation as n
from headflow.theory.flows.coordinates import to_hyperbolic
from headflow.theory.flows.factors import FACTORS, PRODUCTS
from headflow.theory.flows.flow import split_flow
from headflow.theory.flows.invariants import is_invariant, quadratic_invariants
from headflow.theory.indexed import difference_is_zero, normalise, replace_indexed
from oracles import hand_formulas as hand

SIZES = [(1, 1), (1, 4), (3, 3), (2, 5), (5, 2)]
PROBLEM = Problem(dims=[3, 7], signal_power=[1, 2], noise_variance=0.1, context_length=50, n_heads=3)
SETTING = Setting(PROBLEM, seed=1, quick=True)
o, v, key, query = FACTORS


def random_point(shape, seed=0):
    rng = np.random.default_rng((seed, *shape))
    oracle = {
        "lam": rng.uniform(0.1, 4, shape[0]),
        "d": rng.integers(1, 30, shape[0]).astype(float),
        "sigma2": float(rng.uniform(0.01, 1)),
        "L": float(rng.integers(5, 500)),
    }
    values = {"lambda": oracle["lam"], "d": oracle["d"], "sigma2": oracle["sigma2"], "L": oracle["L"]}
    values |= {"I": shape[0], "H": shape[1]}
    grow = oracle["d"][:, None] ** 0.25
    root = hand.embedding(oracle)
    scales = (grow, grow, (root / shape[0]) ** 0.25 / grow, (root / shape[0]) ** 0.25 / grow)
    factors = [rng.uniform(0.1, 1, shape) * rng.choice([-1, 1], shape) * scale for scale in scales]
    return oracle, values, factors


def flat(parts):
    return np.concatenate([np.ravel(part) for part in parts])


def assert_close(found, expected, tolerance=1e-12):
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_velocity_and_loss_equal_the_hand_formulas(shape):
    code = compile_system(split_flow())
    for seed in range(10):
        oracle, values, factors = random_point(shape, seed)
        assert_close(code.velocity.bind(values)(flat(factors)), flat(hand.velocity_split(*factors, oracle)))
        mu, omega = factors[0] * factors[1], factors[2] * factors[3] / np.sqrt(hand.embedding(oracle))
        assert float(code.loss.bind(values)(flat(factors))) == pytest.approx(hand.loss(mu, omega, oracle), rel=1e-12)


@pytest.mark.parametrize("coordinates", ["plain", "log", "hyperbolic"])
def test_jacobian_equals_finite_differences(coordinates):
    change = {"plain": lambda system: system, "log": to_log, "hyperbolic": to_hyperbolic}[coordinates]
    code = compile_system(change(split_flow()))
    _, values, factors = random_point((2, 3))
    rng = np.random.default_rng(5)
    values |= {name: rng.uniform(0.1, 1, (2, 3)) for name in ("Delta", "Gamma", "abs_Delta", "abs_Gamma")}
    state = flat(factors) if coordinates == "plain" else rng.uniform(-1, 0, 12)
    velocity, jacobian = code.velocity.bind(values), code.jacobian.bind(values)
    step = 1e-5
    columns = [(velocity(state + shift) - velocity(state - shift)) / (2 * step) for shift in step * np.eye(len(state))]
    assert_close(jacobian(state), np.stack(columns, axis=1), 1e-6)


@pytest.mark.parametrize("change", [lambda system: system, to_log, to_hyperbolic], ids=["split", "log", "hyperbolic"])
def test_every_check_of_the_derivation_passes(change):
    report = change(split_flow()).derivation.check()
    assert report.failed == ()
    assert {"invariants", "gradient in o", "gradient in q"} <= set(report.passed)


@pytest.mark.slow
def test_energy_identity():
    flow = split_flow()
    along, speed = flow.energy_identity()
    assert difference_is_zero(flow.opened(along), flow.opened(speed))
    assert not difference_is_zero(flow.opened(along), flow.opened(normalise(Rational(3, 2) * speed)))


def test_balanced_is_the_restriction_to_vanishing_invariants():
    split, balanced = split_flow(), gradient_flow("balanced")
    root_mu = {base: (lambda i, h: sqrt(n.mu[i, h])) for base in (n.o, n.v)}
    root_omega = {base: (lambda i, h: sqrt(sqrt(n.embedding_dim) * n.omega[i, h])) for base in (n.key, n.query)}
    for product, rhs in zip(PRODUCTS, balanced.velocity, strict=True):
        moved = split.derivative_along(product.body)
        assert difference_is_zero(replace_indexed(moved, {**root_mu, **root_omega}), rhs)


class TestInvariants:
    def test_the_quadratic_ones_are_found(self):
        assert split_flow().invariants == (o**2 - v**2, key**2 - query**2)

    def test_other_products(self):
        """Three factors, and factors of unequal speed, in which the invariants are weighted."""
        x, y, z = (IndexedBase(name, real=True)[n.i] for name in "xyz")
        a = n.dims[n.i]
        cube = Definition(IndexedBase("w", real=True)[n.i], x * y * z)
        found = quadratic_invariants([cube], {x: S.One, y: S.One, z: S.One})
        assert len(found) == 2
        assert {x**2 - y**2, x**2 - z**2} <= set(found)
        (weighted,) = quadratic_invariants([Definition(cube.head, x * y)], {x: S.One, y: 1 / a})
        assert difference_is_zero(weighted, x**2 - a * y**2)
        assert quadratic_invariants([Definition(cube.head, x)], {x: S.One}) == ()

    def test_sums_are_refused(self):
        x, w = (
            IndexedBase("x", real=True)[n.i],
            Definition(IndexedBase("w", real=True)[n.i], n.over_tasks(n.mu[n.i, 1])),
        )
        with pytest.raises(ValueError, match="entry by entry"):
            quadratic_invariants([Definition(w.head, x * n.over_tasks(n.dims[n.j], n.j))], {x: S.One})

    @pytest.mark.parametrize(
        ("expression", "expected"),
        [
            (o**2 - v**2, True),
            ((o**2 - v**2) * (key**2 - query**2) ** 2, True),
            (n.over_tasks(n.over_heads(exp(n.o[n.i, n.h] ** 2 - n.v[n.i, n.h] ** 2))), True),
            (n.dims[n.i], True),
            (o**2 - 2 * v**2, False),
            (o**2 + v**2, False),
            (o**2 - query**2, False),
            (n.mu[n.i, n.h], False),
        ],
    )
    def test_proposals(self, expression, expected):
        assert is_invariant(split_flow(), expression) is expected

    @pytest.mark.slow
    def test_the_loss_is_none(self):
        flow = split_flow()
        assert not is_invariant(flow, flow.loss)

    def test_a_wrong_velocity_breaks_them(self):
        flow = split_flow()
        first, *others = flow.velocity
        wrong = replace(flow, velocity=(2 * first, *others))
        assert not is_invariant(wrong, o**2 - v**2)
        assert is_invariant(wrong, key**2 - query**2)


class TestCoordinates:
    def test_log_at_vanishing_invariants_is_the_balanced_log_flow(self):
        zero = {IndexedBase(name, real=True): (lambda i, h: S.Zero) for name in ("Delta", "Gamma")}
        split, balanced = to_log(split_flow()), to_log(gradient_flow("balanced"))
        assert split.state == balanced.state
        for ours, theirs in zip(split.velocity, balanced.velocity, strict=True):
            assert difference_is_zero(replace_indexed(ours, zero), theirs)
        for ours, theirs in zip(split.definitions, balanced.definitions, strict=True):
            assert ours.head == theirs.head
            assert difference_is_zero(replace_indexed(ours.body, zero), theirs.body)

    def test_hyperbolic_sines(self):
        _, values, _ = random_point((2, 2))
        values |= {name: np.full((2, 2), 0.3) for name in ("abs_Delta", "abs_Gamma")}
        angles = np.linspace(-1, 1, 8)
        found = compile_system(to_hyperbolic(split_flow())).named(("mu", "omega")).bind(values)(angles)
        root = np.sqrt(sum(values["d"]) + 2)
        expected = np.concatenate([0.15 * np.sinh(2 * angles[:4]), 0.15 / root * np.sinh(2 * angles[4:])])
        assert_close(found, expected)

    def test_the_angle_follows_the_gradient(self):
        """θ̇ = −g_μ, ϑ̇ = −g_ω/(d_i √d_e)."""
        flow, (g_mu, g_omega) = to_hyperbolic(split_flow()), gradient_flow("merged").gradient
        assert difference_is_zero(flow.velocity[0], -g_mu)
        assert difference_is_zero(flow.velocity[1], -g_omega / (n.dims[n.i] * sqrt(n.embedding_dim)))

    @pytest.mark.parametrize("name", ["merged", "balanced"])
    def test_other_flows_have_no_invariants(self, name):
        with pytest.raises(ValueError, match="only split"):
            to_hyperbolic(gradient_flow(name))


def slow_energy(these):
    """The checks as parameters; that of the energy takes seconds."""
    marks = {checks.energy: pytest.mark.slow}
    return [pytest.param(check, id=check.__name__, marks=marks.get(check, ())) for check in these]


class TestChecks:
    ALL = (
        checks.split,
        checks.invariants,
        checks.energy,
        checks.hyperbolic_angles,
        checks.split_logarithms,
        checks.decomposable,
        checks.symmetric_reduction_restricts,
    )

    @pytest.mark.parametrize("check", slow_energy(ALL))
    def test_it_holds(self, check):
        finding = check(SETTING)
        assert finding.bound - finding.measured > finding.error

    @pytest.mark.parametrize("check", slow_energy(ALL[:5]))
    def test_a_planted_constant_fails_it(self, check, monkeypatch):
        flow = split_flow()
        first, *others = flow.velocity
        wrong = replace(flow, velocity=(Rational(101, 100) * first, *others))
        monkeypatch.setattr(checks, "split_flow", lambda: wrong)
        if check in (checks.hyperbolic_angles, checks.split_logarithms):
            # The coordinates are taken from the right flow, the factors move wrongly.
            right = {"to_hyperbolic": to_hyperbolic(flow), "to_log": to_log(flow)}
            for name, system in right.items():
                monkeypatch.setattr(checks, name, lambda _, system=system: system)
        finding = check(SETTING)
        assert finding.measured - finding.bound > finding.error

    def test_a_planted_constant_in_the_reduction_fails_it(self, monkeypatch):
        reduced = checks.symmetric_reduction()
        gradient = (reduced.gradient[0] * Rational(101, 100), *reduced.gradient[1:])
        monkeypatch.setattr(checks, "symmetric_reduction", lambda: replace(reduced, gradient=gradient))
        finding = checks.symmetric_reduction_restricts(SETTING)
        assert finding.measured - finding.bound > finding.error

    def test_a_wrong_flow_fails_the_steps_of_the_coordinates(self):
        flow = split_flow()
        first, *others = flow.velocity
        wrong = replace(flow, velocity=(Rational(101, 100) * first, *others))
        assert set(to_hyperbolic(wrong).derivation.check().failed) == {"flow of theta", "hyperbolic flow of theta"}
        assert set(to_log(wrong).derivation.check().failed) == {"sum and difference in mu", "log flow of log_mu"}
