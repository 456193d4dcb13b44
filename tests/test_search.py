"""The global numerical search over all weights: the optimum theorem's numbers, accuracy, inputs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sympy import Rational

from cases import oracle
from headflow import Problem
from headflow.errors import InputError, InputTypeError
from headflow.numerics.optima.optimum import SMALLEST_RADIUS, Profile, best_mu_at, search_optimum
from headflow.numerics.optima.single_head import single_head_loss
from oracles import hand_formulas as hand
from oracles.global_optimum import profile_loss, profile_loss_mp

# THEORY §4: c = (.44/3, .315, .8/9) and (.65, 1.25, 2.2, .48).
THREE = Problem(dims=[4, 9, 2], signal_power=[1, 2, 0.3], noise_variance=0.1, context_length=30, n_heads=2)
FOUR = Problem(dims=[5, 5, 20, 3], signal_power=[1, 0.2, 3, 0.5], noise_variance=0.3, context_length=10, n_heads=2)
# Rounding of the 50-digit loss and of the infimum to floats.
ROUNDING = 4 * 2.0**-52


@pytest.mark.parametrize(
    ("problem", "n_heads", "value"),
    [
        (THREE, 1, 1.9550518952),
        (THREE, 2, 1.1580289),
        (THREE, 3, 0.7206072),
        (FOUR, 1, 4.2403635356),
        (FOUR, 2, 3.6502404),
        (FOUR, 3, 3.0512027),
    ],
)
def test_the_six_checks_of_the_theorem(problem, n_heads, value):
    found = search_optimum(problem.replace(n_heads=n_heads), starts=3)
    assert found.loss == pytest.approx(value, abs=5e-8)
    assert found.infimum == pytest.approx(hand.multi_head_optimum(oracle(problem), n_heads), rel=1e-12)
    assert -ROUNDING <= found.excess < 1e-9
    assert found.converged == 3


@pytest.mark.parametrize("n_heads", [4, 6])
def test_heads_beyond_one_per_task_and_one_bring_nothing(n_heads):
    found = search_optimum(THREE.replace(n_heads=n_heads), starts=2)
    assert found.loss == pytest.approx(hand.universal_bound(oracle(THREE)), rel=1e-12)
    assert found.excess >= -ROUNDING


@pytest.mark.parametrize("seed", range(6))
def test_random_problems_are_searched_from_above(seed):
    draw = np.random.default_rng(seed)
    count = int(draw.integers(1, 5))
    problem = Problem(
        dims=draw.integers(1, 30, count).tolist(),
        signal_power=[round(float(x), 3) for x in np.exp(draw.normal(0, 1, count))],
        noise_variance=round(float(np.exp(draw.normal(-1, 1))), 3) + 1e-3,
        context_length=int(draw.integers(5, 300)),
        n_heads=int(draw.integers(1, count + 2)),
    )
    found = search_optimum(problem, starts=3, seed=seed)
    assert -ROUNDING <= found.excess < 1e-9
    # The same loss from the weights by the hand formula of the loss itself, at μ as found.
    by_hand = hand.loss(found.mu, found.omega, oracle(problem)) if problem.n_heads == 1 else found.loss
    assert by_hand == pytest.approx(found.loss, rel=1e-12)


@pytest.mark.parametrize("radius", [1.0, 0.03, SMALLEST_RADIUS])
@pytest.mark.parametrize("n_heads", [1, 2, 3])
class TestProfile:
    def omega(self, radius, n_heads):
        scaled = np.random.default_rng(5).standard_normal((4, n_heads))
        return radius * scaled / np.linalg.norm(scaled) / np.sqrt(np.array(FOUR.dims))[:, None]

    def test_loss_is_the_oracles(self, radius, n_heads):
        problem, omega = FOUR.replace(n_heads=n_heads), self.omega(radius, n_heads)
        expected = profile_loss_mp(omega, oracle(problem))
        assert Profile(problem).loss(omega) == pytest.approx(expected, rel=1e-11)
        assert best_mu_at(problem, omega).loss == pytest.approx(expected, rel=1e-14)

    def test_mu_is_the_best(self, radius, n_heads):
        problem, omega = FOUR.replace(n_heads=n_heads), self.omega(radius, n_heads)
        mu = best_mu_at(problem, omega).mu
        assert Profile(problem).best_mu(omega) == pytest.approx(mu, rel=1e-8)
        g_mu, _ = hand.gradients(mu, omega, oracle(problem))
        scale = 2 * float(problem.signal_power[2]) * np.abs(omega).max()
        assert np.abs(g_mu).max() < 1e-9 * max(scale, np.abs(mu).max())

    def test_gradient_is_that_of_the_profile(self, radius, n_heads):
        problem, omega = FOUR.replace(n_heads=n_heads), self.omega(radius, n_heads)
        profile = Profile(problem)
        step = np.random.default_rng(6).standard_normal(omega.shape) * np.abs(omega).max()
        size = 1e-5
        ends = [profile_loss(omega + sign * size * step, oracle(problem)) for sign in (1, -1)]
        along = float(np.sum(profile.gradient(omega) * step))
        assert along == pytest.approx((ends[0] - ends[1]) / (2 * size), rel=1e-6, abs=1e-8)


def test_coincident_heads_and_no_weights_are_harmless():
    problem = THREE.replace(n_heads=3)
    omega = np.outer([0.3, -0.1, 0.2], [1.0, 1.0, 1.0])
    alone = best_mu_at(THREE.replace(n_heads=1), omega[:, :1]).loss
    assert best_mu_at(problem, omega).loss == pytest.approx(alone, rel=1e-12)
    assert Profile(problem).loss(omega) == pytest.approx(alone, rel=1e-7)
    assert best_mu_at(problem, 0 * omega).loss == pytest.approx(3.3, rel=1e-12)


def test_result_shows_itself():
    found = search_optimum(THREE, starts=2, seed=4)
    again = search_optimum(THREE, starts=2, seed=4)
    assert found.loss == again.loss
    assert np.array_equal(found.omega, again.omega)
    assert found.omega.shape == found.mu.shape == (3, 2)
    loaded = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert (loaded["schema"], loaded["closure"], loaded["seed"], loaded["starts"]) == (1, "leading", 4, 2)
    assert Problem(**loaded["problem"]) == THREE
    assert "2 of 2 starts" in found.text() == str(found)


def test_bad_input():
    with pytest.raises(InputError, match="unknown closure 'leadin'"):
        search_optimum(THREE, closure="leadin")
    with pytest.raises(InputError, match="starts"):
        search_optimum(THREE, starts=0)
    with pytest.raises(InputTypeError, match="starts"):
        search_optimum(THREE, starts=2.5)
    with pytest.raises(InputError, match="seed"):
        search_optimum(THREE, seed=-1)
    with pytest.raises(InputTypeError, match="seed"):
        search_optimum(THREE, seed=0.5)
    with pytest.raises(InputError, match=r"shape \(3, 2\)"):
        Profile(THREE).loss(np.zeros((2, 3)))
    with pytest.raises(InputError, match="too large"):
        Profile(THREE).loss(np.full((3, 2), 20.0))


@pytest.mark.parametrize("n_heads", [1, 2, 3])
def test_finite_d_has_the_same_infimum_for_two_heads_or_more(n_heads):
    problem = THREE.replace(n_heads=n_heads)
    found = search_optimum(problem, starts=3, closure="finite_d")
    leading = search_optimum(problem, starts=3).infimum
    assert abs(found.excess) < 1e-10
    assert (found.infimum == leading) == (n_heads > 1)


class TestUnits:
    """The loss is linear in signal powers and noise together, and so are the losses found: no tolerance is absolute."""

    @pytest.mark.parametrize("closure", ["leading", "finite_d", "first_order"])
    @pytest.mark.parametrize("power", [-200, -12, -6, 6, 12, 200])
    def test_of_one_head(self, power, closure):
        unit = Rational(10) ** power
        found = single_head_loss(THREE.in_units_of(1 / unit), closure).value
        assert found / float(unit) == pytest.approx(single_head_loss(THREE, closure).value, rel=1e-12)

    @pytest.mark.parametrize(("closure", "n_heads"), [("leading", 2), ("finite_d", 1), ("finite_d", 2)])
    @pytest.mark.parametrize("power", [-200, -12, -6, 6, 12, 200])
    def test_of_the_search(self, power, closure, n_heads):
        unit = Rational(10) ** power
        problem = THREE.replace(n_heads=n_heads)
        found = search_optimum(problem.in_units_of(1 / unit), starts=1, closure=closure).loss
        assert found / float(unit) == pytest.approx(search_optimum(problem, starts=1, closure=closure).loss, rel=1e-8)


def test_first_order_has_no_optimum_to_search_for():
    with pytest.raises(InputError, match="no lower bound"):
        search_optimum(THREE, closure="first_order")
