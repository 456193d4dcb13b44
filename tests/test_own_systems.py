"""Systems of the user's own: starts at zero, other units, blow-up in finite time, parameters that are none."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sympy import IndexedBase, Sum, Symbol, exp, log

from headflow.errors import InputError, InputTypeError, IntegrationError
from headflow.numerics import integrate_system
from headflow.numerics.krylov_steps import sundials_installed
from headflow.theory import gradient_flow

N, M = (Symbol(name, integer=True, positive=True) for name in "NM")
i, j = (Symbol(name, integer=True) for name in "ij")
x, y, A, v, b = (IndexedBase(name, real=True) for name in ("x", "y", "A", "v", "b"))
METHODS = ["LSODA", "BDF", "Radau", "DOP853", *(["CVODE"] if sundials_installed() else [])]


def over(body, index=i, upper=N):
    return Sum(body, (index, 1, upper))


RELAXATION = gradient_flow(over((x[i] - y[i]) ** 2) / 2, state=[x[i]])
BLOW_UP = gradient_flow(-over(x[i] ** 4) / 4, state=[x[i]])


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


class TestStartsAtZero:
    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("unit", [1.0, 1e-20, 1e20])
    def test_relaxation_from_zero(self, method, unit):
        """ẋ = y − x from 0, and from where an entry passes through zero, in any unit."""
        target = np.array([1.0, 0.0, -2.0, 1e-9]) * unit
        for start in (np.zeros(4), np.array([0.0, 0.0, 1.0, -1e-9]) * unit):
            run = integrate_system(RELAXATION, {"y": target, "N": 4}, {"x": start}, 5.0, method=method)
            exact = target - np.outer(np.exp(-run.t), target - start)
            assert np.abs(run.states["x"] - exact).max() < 2e-8 * unit
            assert run.relative_error < 1e-6

    @pytest.mark.parametrize("method", METHODS)
    def test_variables_of_different_units(self, method):
        """Two variables in one state, 1e-20 and 1e20 large, one of them from zero."""
        flow = gradient_flow(over((x[i] - y[i]) ** 2) / 2 + over((v[i] - b[i]) ** 2), state=[x[i], v[i]])
        small, large = np.array([1.0, -3.0]) * 1e-20, np.array([0.5, 2.0]) * 1e20
        for start in ({"x": [0, 0], "v": [0, 0]}, {"x": [1e-20, 0], "v": [0, 0]}, {"x": [0, 0], "v": [1e20, 1e20]}):
            run = integrate_system(flow, {"y": small, "b": large, "N": 2}, start, 3.0, method=method)
            for name, target, rate in (("x", small, 1), ("v", large, 2)):
                begin = np.asarray(start[name], float)
                exact = target - np.outer(np.exp(-rate * run.t), target - begin)
                assert np.abs(run.states[name] - exact).max() < 2e-8 * np.abs(target).max()

    @pytest.mark.parametrize("method", METHODS)
    def test_one_variable_moves_another(self, method):
        """v is moved by x alone, which starts at zero as v does, and all is over long before the end."""
        a, c = Symbol("a", real=True), Symbol("c", real=True)
        loss = over(a * (x[i] - y[i]) ** 2 / 2 + c * (v[i] - x[i]) ** 2 / 2)
        flow = gradient_flow(loss, state=[x[i], v[i]])
        matrix = np.array([[-1001.0, 1.0], [1.0, -1.0]])
        run = integrate_system(
            flow, {"a": 1000, "c": 1, "y": [2.0], "N": 1}, {"x": [0.0], "v": [0.0]}, 5.0, method=method
        )
        rates, modes = np.linalg.eigh(matrix)
        fixed = np.full(2, 2.0)
        exact = fixed + (np.exp(np.outer(run.t, rates)) * (modes.T @ -fixed)) @ modes.T
        found = np.column_stack([run.states["x"][:, 0], run.states["v"][:, 0]])
        assert np.abs(found - exact).max() < 2e-7

    @pytest.mark.parametrize("method", METHODS)
    def test_a_velocity_that_is_rounding(self, method):
        """Regression on centred data: what moves the offset is zero up to rounding, and stays so."""
        data = np.random.default_rng(0).normal(size=40)
        data -= data.mean()
        inputs = np.random.default_rng(1).normal(size=40)
        inputs -= inputs.mean()
        loss = over(over((A[i] - v[j] * y[i] - b[j]) ** 2, j, M)) / (2 * N)
        flow = gradient_flow(loss, state=[v[j], b[j]])
        run = integrate_system(
            flow, {"A": data, "y": inputs, "N": 40, "M": 1}, {"v": [0.0], "b": [0.0]}, 30.0, method=method
        )
        assert run.states["v"][-1, 0] == pytest.approx(inputs @ data / (inputs @ inputs), rel=1e-7)
        assert abs(run.states["b"][-1, 0]) < 1e-12
        assert run.evaluations < 20_000

    def test_a_saddle_keeps_what_is_small(self):
        """A small start near a saddle is measured by itself, as before."""
        flow = gradient_flow(over(x[i] ** 4 / 4 - x[i] ** 2 / 2), state=[x[i]])
        start = np.array([1e-12, 3e-10])
        run = integrate_system(flow, {"N": 2}, {"x": start}, 20.0)
        grown = start * np.exp(20.0)
        np.testing.assert_allclose(run.states["x"][-1], grown / np.sqrt(1 + grown**2 - start**2), rtol=1e-6)

    def test_nothing_moves(self):
        run = integrate_system(BLOW_UP, {"N": 2}, {"x": [0.0, 0.0]}, 3.0)
        assert (run.states["x"] == 0).all()


class TestBlowUp:
    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("t_final", [0.5, 1e6])
    def test_the_time_is_named_and_the_run_kept(self, method, t_final):
        """ẋ = x³ from 1 is 1/√(1 − 2t)."""
        with pytest.raises(
            IntegrationError, match=r"beyond all bounds near t = 0\.(5|49999\d); .* came to t = 0\."
        ) as caught:
            integrate_system(BLOW_UP, {"N": 1}, {"x": [1.0]}, t_final, method=method, rtol=1e-6)
        assert not any(word in str(caught.value) for word in (*METHODS, "omega", "mu "))
        part = caught.value.partial
        assert 0.4 < part.t[-1] < 0.5
        np.testing.assert_allclose(part.states["x"][:, 0], 1 / np.sqrt(1 - 2 * part.t), rtol=2e-3)
        assert part.at(0.3)["x"][0] == pytest.approx(0.4**-0.5, rel=1e-4)
        assert part.reliable

    @pytest.mark.parametrize(("body", "blow_up"), [(-exp(x[i]), np.exp(-1.0)), (-(x[i] ** 3) / 3, 1.0)])
    def test_other_laws(self, body, blow_up):
        with pytest.raises(IntegrationError, match="beyond all bounds") as caught:
            integrate_system(gradient_flow(over(body), state=[x[i]]), {"N": 1}, {"x": [1.0]}, 2.0)
        assert 0.99 * blow_up < caught.value.partial.t[-1] < blow_up

    def test_before_it_there_is_a_result(self):
        run = integrate_system(BLOW_UP, {"N": 1}, {"x": [1.0]}, 0.4999, method="DOP853")
        assert run.states["x"][-1, 0] == pytest.approx((2e-4) ** -0.5, rel=1e-4)

    def test_growth_without_bound_is_none(self):
        """ẋ = x leaves float64 at t = 709 and never blows up."""
        flow = gradient_flow(-over(x[i] ** 2) / 2, state=[x[i]])
        with pytest.raises(IntegrationError) as caught:
            integrate_system(flow, {"N": 1}, {"x": [1.0]}, 1e3, method="DOP853")
        assert "beyond all bounds" not in str(caught.value)
        assert "omega" not in str(caught.value)
        assert 300 < caught.value.partial.t[-1] < 710

    def test_an_edge_of_the_domain_is_none(self):
        """ẋ = −1/x is √(1 − 2t), which ends at 0."""
        flow = gradient_flow(over(log(x[i])), state=[x[i]])
        for method in ("LSODA", "DOP853"):
            with pytest.raises(IntegrationError) as caught:
                integrate_system(flow, {"N": 1}, {"x": [1.0]}, 2.0, method=method, rtol=1e-6)
            assert "beyond all bounds" not in str(caught.value)
            assert 0.45 < caught.value.partial.t[-1] < 0.5001


class TestInput:
    @pytest.mark.parametrize("value", [None, 1j, [1j, 2], ["1", "2"], [None, 1.0], [[1.0], [1.0, 2.0]], {}])
    def test_a_parameter_of_another_kind(self, value):
        with pytest.raises(InputTypeError, match="the parameter y must be a real number or an array"):
            integrate_system(RELAXATION, {"y": value, "N": 2}, {"x": [0.0, 0.0]}, 1.0)

    @pytest.mark.parametrize("value", [[np.nan, 0], [np.inf, 0]])
    def test_a_parameter_that_is_no_number(self, value):
        with pytest.raises(InputError, match=r"the parameter y must consist of finite numbers, got (nan|inf)"):
            integrate_system(RELAXATION, {"y": value, "N": 2}, {"x": [0.0, 0.0]}, 1.0)

    @pytest.mark.parametrize("size", [None, np.nan, 2.5, 0, -1, "2"])
    def test_a_size_that_is_none(self, size):
        with pytest.raises((InputError, InputTypeError), match="the size N must be"):
            integrate_system(RELAXATION, {"y": [0.0, 0.0], "N": size}, {"x": [0.0, 0.0]}, 1.0)

    def test_a_start_of_another_kind(self):
        with pytest.raises(InputTypeError, match="the start of x"):
            integrate_system(RELAXATION, {"y": [0.0, 0.0], "N": 2}, {"x": [1j, 0]}, 1.0)

    @pytest.mark.parametrize("body", [log(x[i]), x[i] * log(x[i])])
    def test_the_logarithm_of_a_negative_state(self, body):
        with pytest.raises(InputError, match="at the start is not finite"):
            integrate_system(gradient_flow(over(body), state=[x[i]]), {"N": 1}, {"x": [-1.0]}, 1.0)

    @pytest.mark.parametrize("method", METHODS)
    def test_a_loss_that_ends_on_the_way(self, method):
        """The velocity stays finite, but the logarithm in the loss ends where v = 1/2."""
        flow = gradient_flow(over(y[i] * log(1 - 2 * v[i]) + v[i] * (b[i] - 1)), state=[v[i]])
        with pytest.raises(IntegrationError, match="not a number") as caught:
            integrate_system(flow, {"N": 1, "y": [0.0], "b": [0.0]}, {"v": [0.0]}, 2.0, method=method)
        assert 0.3 < caught.value.partial.t[-1] < 0.5
