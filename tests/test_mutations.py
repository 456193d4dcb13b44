"""A step that is changed changes what is derived from it, or fails a check that is named here.

Every chain has one such test.  Elsewhere: closures and their limits (test_closures.py); linear attention, its optimum,
zero-sum pair, context shift, Hermite targets, regimes (test_context.py); shared, split and idle heads, when the
universal bound is reached, equal tasks, residuals of one head (test_corollaries.py); linearised flows, identical heads
(test_linearisation.py); decomposability (test_decomposability.py); escape (test_escape.py); hyperbolic angles and
logarithms of the split flow (test_parametrisations.py); orbits (test_orbits.py); conventions (test_conventions.py).
Here: softmax moments → losses → gradient → flows → coordinates, and all that follows; the symmetric reduction;
μ-elimination → optimum theorem → bounds → factor e → separation; allocation limits; energy; invariants; warm-up; merged
flow at zero; bounds at finite d; shift covariance; Bayes.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from sympy import Integer, Rational, exp

from chains import RIGHT, assert_changed, clear_caches, ended, failed, keep_right
from headflow.theory import gaussian
from headflow.theory import notation as n
from headflow.theory.flows import coordinates, energy, factors, flow, symmetry
from headflow.theory.indexed import normalise
from headflow.theory.merged import merged_zero
from headflow.theory.model import loss, shift
from headflow.theory.optima import bounds, closures, limits, marchenko_pastur, optimum, optimum_proof
from headflow.theory.optima.optimum_proof import is_rotation
from headflow.theory.phases import warm_up

pytestmark = pytest.mark.slow  # each derives chains anew


@pytest.fixture
def plant(monkeypatch):
    """``plant(module, name, value)`` changes an ingredient; nothing derived from it outlives the test."""

    def change(module, name, value):
        monkeypatch.setattr(module, name, value)
        clear_caches()

    yield change
    monkeypatch.undo()
    clear_caches()


FLOWS = {"merged flow", "balanced flow", "split flow", "logarithms", "growth", "hyperbolic angles", "warm-up"}
LOSSES = {"loss, leading", "loss, finite_d", "loss, first_order"}


def test_nothing_is_left_behind(plant):
    keep_right(LOSSES)
    one = loss.population_loss()
    assert loss.population_loss() is one
    plant(loss, "PROPORTIONAL_SCALING", {**loss.PROPORTIONAL_SCALING, n.mu: Integer(0)})
    assert ended("loss, leading") != RIGHT["loss, leading"]
    plant(loss, "PROPORTIONAL_SCALING", {**loss.PROPORTIONAL_SCALING, n.mu: Rational(1, 2)})
    assert loss.population_loss() is not one
    assert ended("loss, leading") == RIGHT["loss, leading"]


FEW = {"softmax moments", "loss, leading", "gradient", "logarithms", "allocation limit"}
MANY = (
    LOSSES
    | FLOWS
    | {
        "symmetric reduction",
        "elimination",
        "optimum",
        "universal bound",
        "single head",
        "factor e",
        "separation",
        "allocation limit, finite_d",
        "shared head",
        "energy",
        "merged at zero",
        "linearised, balanced",
        "linearised, split",
        "identical heads",
        "escape",
        "zero-sum pair",
        "context shift",
    }
)


@pytest.mark.parametrize("names", [FEW, MANY], ids=["few", "many"])
def test_moments_of_a_token(plant, names):
    """Everything hangs on the generating function of one token: its label noise is halved."""
    keep_right(names)
    made = gaussian.moment_generating_function
    plant(gaussian, "moment_generating_function", lambda tilt, order, gram, noise: made(tilt, order, gram, noise / 2))
    assert_changed(names)


@pytest.mark.parametrize(
    "names",
    [
        {"loss, finite_d", "optimum"},
        LOSSES | {"allocation limit", "allocation limit, finite_d", "shift covariance", "zero-sum pair"},
    ],
    ids=["few", "many"],
)
def test_query_expectation(plant, names):
    """(1 − 2w)^{−1/2} in place of which (1 − w)^{−1/2} is planted."""
    keep_right(names)
    made = loss.chi_square_generating_function
    plant(loss, "chi_square_generating_function", lambda weight: made(weight / 2))
    assert_changed(names)


def test_scaling_of_the_leading_closure(plant):
    names = {"loss, leading", "loss, finite_d", "gradient"}
    keep_right(names)
    plant(loss, "PROPORTIONAL_SCALING", {**loss.PROPORTIONAL_SCALING, n.mu: Integer(0)})
    assert_changed(names)


@pytest.mark.parametrize(
    "names",
    [
        {"merged flow", "balanced flow", "split flow"},
        FLOWS | {"merged at zero", "energy"},
    ],
    ids=["few", "many"],
)
def test_merged_metric(plant, names):
    """1/d_i left out."""
    keep_right(names)
    plant(flow, "_METRICS", {**flow._METRICS, "merged": _no_dimension})
    plant(factors, "merged_metric", _no_dimension)
    assert_changed(names)


def _no_dimension(record):
    return Integer(1), Integer(1)


def test_split_metric(plant):
    """o at twice its pace: other invariants."""
    found = flow.split_flow().invariants
    made = flow.split_metric

    def faster(record):
        metric = made(record)
        return {factor: (2 * pace if factor.base == n.o else pace) for factor, pace in metric.items()}

    plant(flow, "split_metric", faster)
    assert flow.split_flow().invariants != found


def test_growth_coordinates():
    """A factor that moves wrongly."""
    first, *others = flow.split_flow().velocity
    wrong = replace(flow.split_flow(), velocity=(2 * first, *others))
    assert "sum and difference in mu" in coordinates.to_growth(wrong).derivation.check().failed


def doubled_drag():
    """The gradient with a wrong term in its μ-part."""
    found = flow.attention_gradient()
    drag = n.signal_power[n.i] * n.noise_factor[n.i] / n.context_length * n.mu[n.i, n.h]
    return replace(found, partials=(found.partials[0] + drag, found.partials[1]))


def test_symmetric_reduction(plant):
    wrong = doubled_drag()
    plant(symmetry, "attention_gradient", lambda: wrong)
    assert failed(symmetry.symmetric_reduction().derivation, "loss on the symmetric set")


def test_energy(plant):
    right = flow.gradient_flow("balanced")
    wrong = replace(right, velocity=(2 * right.velocity[0], right.velocity[1]))
    plant(energy, "gradient_flow", lambda _: wrong)
    assert failed(energy.energy_identity(), "energy identity")


class TestOptimum:
    """μ eliminated → theorem → bounds → factor e → separation."""

    after = ("optimum", "universal bound", "single head", "factor e")

    def test_elimination(self, plant):
        """Another noise of the labels in the loss: all that follows is another function of c."""
        keep_right(self.after)
        right = optimum.eliminate_mu()
        dearer = right.loss.xreplace({n.noise_to_context[n.i]: 2 * n.noise_to_context[n.i]})
        plant(optimum, "eliminate_mu", lambda: replace(right, loss=dearer))
        assert_changed(self.after)

    def test_gradient(self, plant):
        """The stationary μ of another loss than the one it is put into."""
        right = flow.attention_gradient()
        doubled = replace(right.loss, expression=2 * right.loss.expression)
        plant(optimum, "attention_gradient", lambda: replace(right, loss=doubled))
        assert failed(optimum.eliminate_mu().derivation, "loss without mu")

    def test_budget_of_one_head(self, plant):
        keep_right(("single head", "separation"))
        plant(bounds, "head_budget", lambda heads: 2 * exp(-1))
        assert_changed(("single head", "separation"))
        assert failed(bounds.separation().derivation, "limit as shares")

    @pytest.mark.parametrize(
        ("name", "value", "label"),
        [
            (
                "is_rotation",
                lambda cosine, longer, shorter: is_rotation(2 * cosine, longer, shorter),
                "every split is reached",
            ),
            ("exp", lambda argument: 1 - argument if argument == optimum_proof._g else exp(argument), "C dominates G"),
        ],
    )
    def test_proof(self, plant, name, value, label):
        plant(optimum_proof, name, value)
        assert failed(optimum_proof.optimum_proof(), label)

    def test_limit_beside_the_bound(self, plant):
        """A limit that is twice as large is no longer within e of the bound, nor at the share 1/e."""
        right = limits.task_allocation_limit()
        wrong = replace(right, loss=replace(right.loss, expression=2 * right.loss.expression))
        plant(bounds, "task_allocation_limit", lambda: wrong)
        assert failed(bounds.factor_e().derivation, "below e")
        assert failed(bounds.separation().derivation, "limit as shares")


OTHERS = ("finite_d", "first_order")


class TestAllocationLimit:
    @pytest.mark.parametrize("closure", ["leading", *OTHERS])
    def test_interaction(self, plant, closure):
        """C² in place of C: κ, μ and the loss are others."""
        wrong = _squared_interaction("balanced", closure)
        name = "allocation limit" + (f", {closure}" if closure != "leading" else "")
        keep_right({name})
        plant(limits, "gradient_flow", lambda *_: wrong)
        assert_changed({name})

    def test_off_task_gradient(self, plant):
        right = flow.gradient_flow("balanced")
        by_mu, by_omega = right.gradient
        wrong = replace(right, gradient=(by_mu, by_omega + n.noise_factor[n.i]))
        plant(limits, "gradient_flow", lambda *_: wrong)
        assert failed(limits._stationarity("leading").record.freeze(), "off-task gradients")


def _squared_interaction(parametrisation, closure):
    right = flow.gradient_flow(parametrisation, closure)
    items = tuple(
        replace(item, body=normalise(item.body**2)) if item.base == n.interaction else item
        for item in right.definitions
    )
    return replace(right, definitions=items)


def test_bounds_at_finite_d(plant):
    made = closures.chi_square_generating_function
    plant(closures, "chi_square_generating_function", lambda weight: 1 / made(weight))
    assert failed(closures.finite_d_bounds(), "finite_d dominates leading")


def test_warm_up(plant):
    keep_right({"warm-up"})
    wrong = flow.gradient_flow("merged")
    plant(warm_up, "gradient_flow", lambda _: wrong)
    assert_changed({"warm-up"})


def test_merged_at_zero(plant):
    keep_right({"merged at zero"})
    right = flow.gradient_flow("merged")
    wrong = replace(right, velocity=(right.velocity[0], -right.velocity[1]))
    plant(merged_zero, "gradient_flow", lambda _: wrong)
    assert_changed({"merged at zero"})


def test_shift_covariance(plant):
    right = loss.population_loss()
    items = tuple(replace(item, body=item.body**2) for item in right.definitions)
    plant(shift, "population_loss", lambda: replace(right, definitions=items))
    report = failed(shift.shift_covariance().derivation, "scale and difference of heads", "common shift of all heads")
    assert len(report) == 2


def test_bayes(plant):
    """The equation without its noise: another risk; and the root is checked in the equation."""
    right = marchenko_pastur.bayes_limit().expression
    plant(marchenko_pastur, "_marchenko_pastur", lambda ratio, ridge, m: ratio * ridge * m**2 + (1 - ratio) * m)
    assert marchenko_pastur.bayes_limit().expression != right
    plant(marchenko_pastur, "_marchenko_pastur", lambda ratio, ridge, m: m**3 + ratio * ridge * m**2 + m)
    assert failed(marchenko_pastur.bayes_limit().derivation, "positive root")
