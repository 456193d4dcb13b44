"""Loss, gradient and flows: derived from the softmax, equal to the hand formulas, printed like them."""

from __future__ import annotations

import numpy as np
import pytest
from sympy import Function, IndexedBase, Rational, Symbol, cos, exp

from headflow.errors import InputError
from headflow.numerics import compile_system
from headflow.theory import Definition, gradient_flow, population_loss, to_latex, to_log, to_text
from headflow.theory import notation as n
from headflow.theory.indexed import difference_is_zero, normalise
from headflow.theory.indexed.nodes import NodeError
from oracles import bruteforce
from oracles import hand_formulas as hand

SIZES = [(1, 1), (1, 4), (2, 2), (3, 3), (2, 5), (5, 2), (4, 7), (6, 9)]
POINTS = 100


def problem(rng, n_tasks):
    return {
        "lam": rng.uniform(0.1, 4, n_tasks),
        "d": rng.integers(1, 30, n_tasks).astype(float),
        "sigma2": float(rng.uniform(0.01, 1)),
        "L": float(rng.integers(5, 500)),
    }


def values_of(oracle, shape):
    return {
        "lambda": oracle["lam"],
        "d": oracle["d"],
        "sigma2": oracle["sigma2"],
        "L": oracle["L"],
        "I": shape[0],
        "H": shape[1],
    }


def random_points(shape):
    """(problem, mu, omega): 100 in all over the sizes, weights at the size they have in the flow."""
    rng = np.random.default_rng(shape)
    for _ in range(POINTS // len(SIZES) + 1):
        oracle = problem(rng, shape[0])
        scale = np.sqrt(oracle["d"])[:, None]
        mu = rng.uniform(0.05, 1.2, shape) * scale
        omega = rng.uniform(0.05, 1.2, shape) / (scale * np.sqrt(shape[0]))
        yield oracle, mu, omega


def flat(pair):
    return np.concatenate([np.ravel(part) for part in pair])


def assert_close(found, expected, tolerance=1e-12):
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_velocity_and_loss_equal_the_hand_formulas(shape):
    merged, balanced = compile_system(gradient_flow("merged")), compile_system(gradient_flow("balanced"))
    logarithmic = compile_system(to_log(gradient_flow("balanced")))
    for oracle, mu, omega in random_points(shape):
        values = values_of(oracle, shape)
        state = flat((mu, omega))
        assert float(merged.loss.bind(values)(state)) == pytest.approx(hand.loss(mu, omega, oracle), rel=1e-12)
        gradient = flat(hand.gradients(mu, omega, oracle))
        share = np.repeat(oracle["d"], shape[1])
        assert_close(-merged.velocity.bind(values)(state) * np.concatenate([np.ones_like(share), share]), gradient)
        assert_close(merged.velocity.bind(values)(state), flat(hand.velocity_merged(mu, omega, oracle)))
        assert_close(balanced.velocity.bind(values)(state), flat(hand.velocity_balanced(mu, omega, oracle)))
        plain = balanced.velocity.bind(values)(state) / state
        assert_close(logarithmic.velocity.bind(values)(np.log(state)), plain)


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (4, 2)], ids=str)
@pytest.mark.parametrize("coordinates", ["merged", "balanced", "log"])
def test_jacobian_equals_finite_differences(shape, coordinates):
    system = to_log(gradient_flow("balanced")) if coordinates == "log" else gradient_flow(coordinates)
    code = compile_system(system)
    oracle, mu, omega = next(random_points(shape))
    values = values_of(oracle, shape)
    velocity, jacobian = code.velocity.bind(values), code.jacobian.bind(values)
    state = flat((mu, omega))
    state = np.log(state) if coordinates == "log" else state
    step = 1e-5
    columns = [(velocity(state + shift) - velocity(state - shift)) / (2 * step) for shift in step * np.eye(len(state))]
    assert_close(jacobian(state), np.stack(columns, axis=1), 1e-6)


def test_the_gradient_prints_like_the_formula():
    by_mu, by_omega = gradient_flow("merged").gradient
    assert to_latex(by_mu, limits=False) == (
        r"-2 \lambda_i r_i \omega_i^h + \frac{2 \lambda_i \varphi_i}{L} \sum_{k} C_{hk} \mu_i^k"
    )
    assert to_latex(by_omega, limits=False) == (r"-2 \lambda_i r_i \mu_i^h + 2 d_i \sum_{k} M_{hk} C_{hk} \omega_i^k")
    for partial in (by_mu, by_omega):
        assert "KroneckerDelta" not in str(partial)
        assert "δ" not in to_text(partial)


def test_the_derivation_starts_at_the_softmax_and_every_check_passes():
    derivation = to_log(gradient_flow("balanced")).derivation
    labels = [step.label for step in derivation]
    order = [
        "softmax weights",
        "moment generating function",
        "mean",
        "bias",
        "covariance",
        "average over the regressor",
        "expectation over the query",
        "first-order loss of task i",
        "leading loss of task i",
        "population loss",
        "gradient in mu",
        "gradient in omega, with M",
        "balanced metric",
        "balanced flow of mu",
        "logarithms",
        "flow of log_omega",
    ]
    assert [label for label in labels if label in order] == order
    report = derivation.check()
    assert report.failed == ()
    assert {"tilt", "population loss", "balance"} <= set(report.passed)


def test_no_number_of_tasks_or_heads_is_in_the_flow():
    flow = gradient_flow("balanced")
    ranges = {
        str(limit[2])
        for rhs in flow.velocity
        for total in rhs.atoms(type(n.over_heads(n.mu[n.i, n.h])))
        for limit in total.limits
    }
    assert ranges == {"H"}


def test_leading_is_the_limit_of_first_order():
    """Under the proportional scaling the two losses differ by O(1/d)."""
    derivation = population_loss().derivation
    (first_order,) = derivation["first-order loss of task i"].formula
    interaction = derivation["expectation over the query"].formula[0][1]
    shape = (2, 2)
    rng = np.random.default_rng(3)
    mu, omega = rng.uniform(0.2, 0.8, shape), rng.uniform(0.2, 0.8, shape)
    gaps = []
    for grow in (100, 1000, 10_000):
        oracle = {"lam": np.ones(2), "d": np.full(2, float(grow)), "sigma2": 0.2, "L": 3.0 * grow}
        scaled_mu, scaled_omega = mu * np.sqrt(grow), omega / np.sqrt(grow)
        values = {**values_of(oracle, shape), "mu": scaled_mu, "omega": scaled_omega, "phi": np.full(2, 1.2)}
        found = sum(
            bruteforce.evaluate(first_order, values, {"i": task}, [(n.interaction[n.h, n.k], interaction)])
            for task in (1, 2)
        )
        gaps.append(abs(float(found) - hand.loss(scaled_mu, scaled_omega, oracle)))
    assert np.log10(gaps[0] / gaps[1]) == pytest.approx(1, abs=0.1)
    assert np.log10(gaps[1] / gaps[2]) == pytest.approx(1, abs=0.02)


class TestOwnLoss:
    x = IndexedBase("x", real=True)
    a = IndexedBase("a", positive=True)

    def test_gradient_with_definition_and_metric(self):
        s = IndexedBase("s", real=True)
        output = Definition(s[n.i], n.over_heads(self.x[n.i, n.h] ** 2))
        loss = n.over_tasks(self.a[n.i] * exp(-s[n.i])) + n.over_heads(n.over_tasks(self.x[n.i, n.h]) ** 3)
        flow = gradient_flow(loss, state=[self.x[n.i, n.h]], metric={self.x[n.i, n.h]: 3}, definitions=[output])
        rng = np.random.default_rng(0)
        values = {"a": rng.uniform(0.5, 2, 3), "x": rng.normal(size=(3, 2)), "I": 3, "H": 2}
        definitions = [(output.head, output.body)]
        numeric = bruteforce.gradient(loss, "x", values, definitions=definitions)
        velocity = compile_system(flow).velocity.bind(values)(values["x"].ravel())
        assert_close(velocity, -3 * np.array(numeric, dtype=float).ravel(), 1e-12)

    def test_collapsing_deltas_keeps_every_sum(self):
        """Two closed denominators that a delta makes equal: their shared bound index must stay bound."""
        w, mu = self.x, n.mu
        i, j, h, k = n.i, n.j, n.h, n.k
        loss = n.over_tasks(
            n.over_heads(
                mu[j, h] * mu[j, k] * w[j, h] * w[j, k] / ((2 + w[j, h] * w[j, k]) * (2 + w[j, k] ** 2)), h, k
            ),
            j,
        )
        flow = gradient_flow(loss, state=[w[i, h]])
        rng = np.random.default_rng(1)
        values = {"mu": rng.normal(size=(2, 3)), "x": rng.normal(size=(2, 3)), "I": 2, "H": 3}
        code = compile_system(flow)
        velocity, jacobian = code.velocity.bind(values), code.jacobian.bind(values)
        state, step = values["x"].ravel(), 1e-5
        assert_close(velocity(state), -np.array(bruteforce.gradient(loss, "x", values), dtype=float).ravel())
        columns = [(velocity(state + e) - velocity(state - e)) / (2 * step) for e in step * np.eye(6)]
        assert_close(jacobian(state), np.stack(columns, axis=1), 1e-7)

    def test_every_name_of_an_own_loss_is_a_parameter(self):
        flow = gradient_flow(
            n.over_tasks(n.noise_to_context[n.i] * n.over_heads(self.x[n.i, n.h] ** 2)), state=[self.x[n.i, n.h]]
        )
        with pytest.raises(KeyError, match="no value for the parameter c"):
            compile_system(flow).velocity.bind({"I": 2, "H": 2})

    def test_energy_identity(self):
        loss = n.over_tasks(n.over_heads(self.x[n.i, n.h]) ** 2 / (1 + self.a[n.i]))
        flow = gradient_flow(loss, state=[self.x[n.i, n.h]], metric={self.x[n.i, n.h]: self.a[n.i]})
        assert difference_is_zero(*flow.energy_identity())

    @pytest.mark.parametrize(
        ("loss", "error", "message"),
        [
            (x[n.i, n.h] ** 2, ValueError, "outside a sum"),
            (n.over_tasks(n.over_heads(cos(x[n.i, n.h]))), NodeError, "cos"),
            (n.over_tasks(n.over_heads(Function("f")(x[n.i, n.h]))), NodeError, "f"),
            (n.over_tasks(n.over_heads(0.5 * x[n.i, n.h])), NodeError, "float"),
            (n.over_tasks(n.over_heads(x[n.i, n.h] ** Symbol("s"))), NodeError, "exponent"),
        ],
    )
    def test_bad_losses(self, loss, error, message):
        with pytest.raises(error, match=message):
            gradient_flow(loss, state=[self.x[n.i, n.h]])

    def test_bad_calls(self):
        loss = n.over_tasks(n.over_heads(self.x[n.i, n.h] ** 2))
        with pytest.raises(TypeError, match="state"):
            gradient_flow(loss)
        with pytest.raises(TypeError, match="own"):
            gradient_flow("balanced", state=[self.x[n.i, n.h]])
        with pytest.raises(ValueError, match="not state variables"):
            gradient_flow(loss, state=[self.x[n.i, n.h]], metric={self.a[n.i]: 2})
        with pytest.raises(ValueError, match="two different symbols are called x"):
            gradient_flow(loss, state=[Symbol("x")])
        with pytest.raises(TypeError, match="a symbol or an indexed one"):
            gradient_flow(loss, state=[self.x])

    def test_bad_states_and_metrics(self):
        x, i, h = self.x, n.i, n.h
        loss = n.over_tasks(n.over_heads(x[i, h] ** 2))
        with pytest.raises(ValueError, match="two different symbols are called x"):
            gradient_flow(loss, state=[IndexedBase("x")[i, h]])
        with pytest.raises(ValueError, match="x is given twice"):
            gradient_flow(loss, state=[x[i, h], x[i, h]])
        with pytest.raises(ValueError, match="x is given twice"):
            gradient_flow(loss, state=[x[i, h]], definitions=[Definition(x[i, h], self.a[i])])
        for variable in (x[h, h], x[1, h]):
            with pytest.raises(ValueError, match="distinct symbols"):
                gradient_flow(loss, state=[variable])
        with pytest.raises(ValueError, match=r"the metric of .* has the free index j"):
            gradient_flow(loss, state=[x[i, h]], metric={x[i, h]: self.a[n.j]})
        with pytest.raises(NodeError, match="float"):
            gradient_flow(loss, state=[x[i, h]], metric={x[i, h]: 0.5})
        with pytest.raises(ValueError, match="outside a sum"):
            gradient_flow(loss + self.a[n.j], state=[x[i, h]])

    def test_definitions_come_in_order(self):
        s, u = IndexedBase("s", real=True), IndexedBase("u", real=True)
        squares = Definition(s[n.i], n.over_heads(self.x[n.i, n.h] ** 2))
        roots = Definition(u[n.i], 1 + s[n.i] ** 2)
        loss = n.over_tasks(u[n.i])
        gradient_flow(loss, state=[self.x[n.i, n.h]], definitions=[squares, roots])
        with pytest.raises(ValueError, match="u uses s, which is not defined before it"):
            gradient_flow(loss, state=[self.x[n.i, n.h]], definitions=[roots, squares])

    def test_parameters_are_all_names_without_a_value(self):
        steps = Symbol("n_steps", integer=True, positive=True)
        flow = gradient_flow(
            n.over_tasks(n.over_heads(steps * self.a[n.i] * self.x[n.i, n.h] ** 2)), state=[self.x[n.i, n.h]]
        )
        assert list(map(str, flow.parameters)) == ["a", "n_steps"]


@pytest.mark.parametrize("name", ["balance", "splt", ""])
def test_unknown_parametrisation(name):
    with pytest.raises(InputError, match="merged, balanced, split"):
        gradient_flow(name)


def test_log_coordinates_need_a_positive_flow():
    with pytest.raises(ValueError, match="does not keep its state positive"):
        to_log(gradient_flow("merged"))


@pytest.mark.slow
def test_energy_identity_of_the_merged_flow():
    flow = gradient_flow("merged")
    along, speed = flow.energy_identity()
    assert difference_is_zero(flow.opened(along), flow.opened(speed))
    wrong = normalise(Rational(3, 2) * speed)
    assert not difference_is_zero(flow.opened(along), flow.opened(wrong))
