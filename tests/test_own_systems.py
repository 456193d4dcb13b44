"""Systems of the user's own: starts at zero, other units, blow-up in finite time, parameters that are none."""

from __future__ import annotations

import warnings
from importlib.util import find_spec

import mpmath
import numpy as np
import pytest
from sympy import (
    Abs,
    Function,
    Idx,
    IndexedBase,
    Max,
    Sum,
    Symbol,
    cosh,
    coth,
    csch,
    exp,
    lambdify,
    log,
    sech,
    sin,
    sinh,
    tanh,
)

from headflow.errors import InputError, InputTypeError, IntegrationError
from headflow.numerics import compile_system, integrate_system
from headflow.numerics.code import JacobianProduct
from headflow.numerics.code.backends import functions
from headflow.numerics.code.native import native_system
from headflow.numerics.compiler import compiler_installed
from headflow.numerics.solving.blow_up import blow_up_time
from headflow.numerics.solving.krylov_steps import sundials_installed
from headflow.numerics.solving.solvers import Segment
from headflow.theory import Definition, gradient_flow
from headflow.theory import notation as n
from headflow.theory.indexed.nodes import NodeError
from headflow.theory.indexed.unroll import unroll

N, M = (Symbol(name, integer=True, positive=True) for name in "NM")
i, j = (Symbol(name, integer=True) for name in "ij")
x, y, A, v, b = (IndexedBase(name, real=True) for name in ("x", "y", "A", "v", "b"))
c = IndexedBase("c", real=True)
w, a, p = (Symbol(name, real=True) for name in "wap")
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
        # DOP853 ends at the edge of stability here, where what it puts between steps is less accurate; it says so.
        assert np.abs(found - exact).max() < (5e-6 if method == "DOP853" else 2e-7)
        assert np.abs(found - exact).max() < 10 * run.error_estimate

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

    @pytest.mark.parametrize("method", METHODS)
    def test_variables_that_do_not_meet(self, method):
        """ẇ = a and ṗ = −p: the Jacobian is zero off one entry, and all zero with w alone."""
        run = integrate_system(gradient_flow(-a * w, state=[w]), {"a": 1e-15}, {"w": 0.0}, 3.0, method=method)
        np.testing.assert_allclose(run.states["w"], 1e-15 * run.t, rtol=0, atol=1e-22)
        flow = gradient_flow(-a * w + p**2 / 2, state=[w, p])
        run = integrate_system(flow, {"a": 1.0}, {"w": 0.0, "p": 1.0}, 3.0, method=method)
        np.testing.assert_allclose(run.states["p"], np.exp(-run.t), atol=1e-7)


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

    @pytest.mark.slow
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


def gradient_at(loss, state, values, point):
    """Minus velocity, by SymPy's own derivative of the loss written out, and the same for the Jacobian."""
    written = unroll(loss, values)
    names = [entry for variable in state for entry in entries_of(variable, values)]
    slopes = [-written.diff(name) for name in names]
    matrix = [[slope.diff(name) for name in names] for slope in slopes]
    numbers = lambdify(names, [written, slopes, matrix], "mpmath")(*map(float, point))
    return [np.array(part, dtype=float) for part in numbers]


def entries_of(variable, values):
    return [variable] if isinstance(variable, Symbol) else [variable.base[1 + m] for m in range(values["I"])]


WITH_ENTRIES = {
    "scalar": ((w - a) ** 2 / 2 + w**4 / 4, [w]),
    "two scalars": ((w - a) ** 2 / 2 + exp(w * p) + p**2, [w, p]),
    "scalar and vector": (n.over_tasks((w * x[n.i] - y[n.i]) ** 2) / 2 + w**4, [w, x[n.i]]),
    "vector and scalar": (n.over_tasks((w * x[n.i] - y[n.i]) ** 2) / 2 + w**4, [x[n.i], w]),
    "one entry": ((x[1] - 1) ** 2 + n.over_tasks(x[n.i] ** 2), [x[n.i]]),
    "entries that meet": (x[1] * x[2] ** 2 + exp(x[3] * x[1]) + n.over_tasks(x[n.i] ** 4), [x[n.i]]),
    "an entry in a sum": (n.over_tasks(A[n.i, 2] * A[1, n.i] * x[n.i] ** 2 * x[3]) + A[2, 3] * x[1], [x[n.i]]),
    "under functions": (
        log(1 + w**2 * x[1] ** 2) + n.over_tasks(exp(x[n.i] * x[2])) + 1 / (1 + x[1] ** 2),
        [x[n.i], w],
    ),
    "two sums": (n.over_tasks(n.over_tasks(A[n.i, n.j] * x[n.i] * x[n.j], n.j) * x[1] + w * x[n.i]), [x[n.i], w]),
}
VALUES = {"I": 3, "a": 0.5, "y": [0.5, 1.0, -0.25], "A": [[0.5, 1.0, -0.5], [0.25, 2.0, 0.75], [1.5, -1.0, 0.125]]}


class TestScalarsAndEntries:
    @pytest.mark.parametrize("name", list(WITH_ENTRIES))
    def test_derived_compiled_and_integrated(self, name):
        loss, state = WITH_ENTRIES[name]
        flow = gradient_flow(loss, state=state)
        assert flow.derivation.check().failed == ()
        assert "nan" not in str(flow) + flow.latex()
        size = sum(len(entries_of(variable, VALUES)) for variable in state)
        point = np.array([0.4, -0.3, 0.7, 0.2, 0.1])[:size]
        value, velocity, jacobian = gradient_at(loss, state, VALUES, point)
        code = compile_system(flow)
        np.testing.assert_allclose(code.loss.bind(VALUES)(point), value, rtol=1e-13)
        np.testing.assert_allclose(code.velocity.bind(VALUES)(point), velocity, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(code.jacobian.bind(VALUES)(point), jacobian, rtol=1e-12, atol=1e-14)
        product = JacobianProduct(code, VALUES).at(point)
        columns = np.array([product.evaluate(unit) for unit in np.eye(size)]).T
        np.testing.assert_allclose(columns, jacobian, rtol=1e-12, atol=1e-14)
        native = native_system(flow, I=3)
        out = np.zeros(size)
        native.function("velocity", compiled=compiler_installed())(
            native.bound(VALUES),
            point,
            np.zeros(max(native.n_work, 1)),
            out,
        )
        np.testing.assert_allclose(out, velocity, rtol=1e-12, atol=1e-14)

    @pytest.mark.parametrize("backend", ["numpy", "mpmath", *(["jax"] if find_spec("jax") else [])])
    def test_on_every_backend(self, backend):
        loss, state = WITH_ENTRIES["under functions"]
        made = functions(gradient_flow(loss, state=state), backend, n_tasks=3, n_heads=1)
        point = [0.4, -0.3, 0.7, 0.2]
        value, velocity, jacobian = gradient_at(loss, state, VALUES, point)
        with mpmath.workdps(20):
            np.testing.assert_allclose(float(made.loss(point, {})), value, rtol=1e-13)
            np.testing.assert_allclose(np.array(made.velocity(point, {}), float), velocity, rtol=1e-12)
            np.testing.assert_allclose(np.array(made.jacobian(point, {}), float), jacobian, rtol=1e-12, atol=1e-14)

    @pytest.mark.parametrize("method", METHODS)
    def test_trajectories(self, method):
        """ẇ = a − w from 0, and (x₁ − 1)² + Σ x² from 0: x₁ = (1 − e^(−4t))/2, the others stay."""
        run = integrate_system(gradient_flow((w - a) ** 2 / 2, state=[w]), {"a": 2.0}, {"w": 0.0}, 3.0, method=method)
        np.testing.assert_allclose(run.states["w"], 2 * -np.expm1(-run.t), atol=1e-7)
        assert run.states["w"].shape == run.t.shape
        loss = (x[1] - 1) ** 2 + over(x[i] ** 2)
        run = integrate_system(gradient_flow(loss, state=[x[i]]), {"N": 3}, {"x": [0.0, 0.0, 0.5]}, 3.0, method=method)
        exact = np.column_stack([-np.expm1(-4 * run.t) / 2, 0 * run.t, np.exp(-2 * run.t) / 2])
        np.testing.assert_allclose(run.states["x"], exact, atol=1e-7)

    def test_printed(self):
        flow = gradient_flow((x[1] - 1) ** 2 + over(x[i] ** 2), state=[x[i]])
        assert str(flow) == "ẋ_i = 2 (δ_{1, i} − x_i − x_1 δ_{1, i})"
        assert str(gradient_flow((w - a) ** 2 / 2, state=[w])) == "ẇ = a − w"
        assert r"\dot{w} &= a - w" in gradient_flow((w - a) ** 2 / 2, state=[w]).latex()

    def test_definitions_at_an_entry_and_a_metric(self):
        square = Definition(c[i], x[i] ** 2 * w)
        total = Definition(a, over(c[i]))
        flow = gradient_flow(c[1] ** 2 + a**2, state=[x[i], w], definitions=[square, total], metric={w: 3})
        velocity = compile_system(flow).velocity.bind({"N": 2})(np.array([2.0, 3.0, 0.5]))
        assert velocity == pytest.approx([-34.0, -39.0, -3 * (16 + 169)])
        run = integrate_system(flow, {"N": 2}, {"x": [2.0, 3.0], "w": 0.5}, 0.1)
        assert run.loss_rate[0] == pytest.approx(-(34**2 + 39**2 + 3 * 185**2))

    def test_entries_that_are_not_there(self):
        flow = gradient_flow((x[4] - 1) ** 2 + over(x[i] ** 2), state=[x[i]])
        with pytest.raises(InputError, match="an index is 4, but its range ends at 3"):
            integrate_system(flow, {"N": 3}, {"x": np.zeros(3)}, 1.0)
        with pytest.raises(NodeError, match="count from 1"):
            gradient_flow(x[0] + over(x[i]), state=[x[i]])

    def test_idx(self):
        index = Idx("i", (1, N))
        flow = gradient_flow(Sum((x[index] - y[index]) ** 2, index) / 2, state=[x[index]])
        assert flow.velocity == RELAXATION.velocity
        assert Definition(c[index], x[index] ** 2).indices == (i,)
        with pytest.raises(NodeError, match=r"as of Idx\('i', \(1, N\)\)"):
            gradient_flow(Sum(x[Idx("i", N)], Idx("i", N)), state=[x[i]])

    def test_a_name_that_is_two_things(self):
        with pytest.raises(ValueError, match="two different symbols are called w"):
            gradient_flow(Symbol("w") ** 2 + w, state=[w])


class TestFunctions:
    @pytest.mark.parametrize(
        "body",
        [
            *(function(w * x[n.i]) for function in (cosh, sinh, tanh, coth, sech, csch)),
            log(1 + exp(w * x[n.i])),
            1 / (1 + exp(-w * x[n.i])),
            (tanh(w * x[n.i]) - y[n.i]) ** 2 * cosh(x[1]),
        ],
        ids=str,
    )
    def test_in_the_node_set(self, body):
        loss, state = n.over_tasks(body), [x[n.i], w]
        flow = gradient_flow(loss, state=state)
        assert flow.derivation.check().failed == ()
        point = np.array([0.4, -0.3, 0.7, 0.9])
        exact = loss if not loss.has(cosh, sinh, tanh, coth, sech, csch) else None
        bound = compile_system(flow)
        entries = [x[1], x[2], x[3], w]
        written = sum(body.subs(n.i, m) for m in (1, 2, 3)).subs({y[m]: VALUES["y"][m - 1] for m in (1, 2, 3)})
        velocity = [float(-written.diff(one).subs(dict(zip(entries, point, strict=True)))) for one in entries]
        np.testing.assert_allclose(bound.velocity.bind(VALUES)(point), velocity, rtol=1e-11)
        assert exact is None or flow.loss == exact

    @pytest.mark.parametrize("exponent", [p, p - 1, 2 * p, w, x[n.i]], ids=str)
    def test_powers_by_a_symbol(self, exponent):
        base = IndexedBase("z", positive=True)
        loss, state = n.over_tasks(base[n.i] ** exponent * y[n.i] + 2 ** base[n.i]), [base[n.i], w]
        if exponent == x[n.i]:
            state = [base[n.i], x[n.i]]
        else:
            loss += w**2
        flow = gradient_flow(loss, state=state)
        assert flow.derivation.check().failed == ()
        values = {**VALUES, "p": 1.7}
        point = np.array([0.4, 1.3, 0.7, 0.9, 0.2, -0.6])[: 6 if exponent == x[n.i] else 4]
        _, velocity, jacobian = gradient_at(loss, state, values, point)
        code = compile_system(flow)
        np.testing.assert_allclose(code.velocity.bind(values)(point), velocity, rtol=1e-12)
        np.testing.assert_allclose(code.jacobian.bind(values)(point), jacobian, rtol=1e-11, atol=1e-13)

    @pytest.mark.parametrize(
        ("body", "match"),
        [
            (Abs(x[i]), r"Abs is not a node .*Kronecker deltas.*nearest in it is sqrt\(x\*\*2 \+ epsilon\*\*2\)"),
            (Max(0, x[i]), r"Max is not .*nearest in it is epsilon\*log"),
            (sin(x[i]), r"sin is not .*nothing in it is equal"),
            (Function("f")(x[i]), r"f is not a node"),
            (x[i] ** p, r"the exponent of x\[i\]\*\*p .*known to be positive"),
        ],
        ids=str,
    )
    def test_what_is_left_is_named(self, body, match):
        with pytest.raises(NodeError, match=match):
            gradient_flow(over(body), state=[x[i]])


class TestLargeSystems:
    SIZE = 400

    def test_explicit_steps_where_it_is_not_stiff(self):
        """Double wells with weak springs between them."""
        wells = over((x[i] ** 2 - 1) ** 2) / 4
        springs = over(over(A[i, j] * (x[i] - x[j]) ** 2, j)) / 4
        flow = gradient_flow(wells + springs, state=[x[i]])
        random = np.random.default_rng(0)
        matrix = random.random((self.SIZE, self.SIZE)) / self.SIZE
        start = random.normal(size=self.SIZE)
        values = {"N": self.SIZE, "A": matrix}
        run = integrate_system(flow, values, {"x": start}, 5.0)
        assert run.method.startswith("DOP853, ")
        assert run.evaluations < 1500
        assert len(run.t) < 100
        other = integrate_system(flow, values, {"x": start}, 5.0, method="LSODA")
        np.testing.assert_allclose(run.states["x"][-1], other.states["x"][-1], atol=1e-7)

    def test_implicit_steps_where_it_turns_stiff(self):
        rates = np.logspace(0, 4, self.SIZE)
        flow = gradient_flow(over(A[i] * (x[i] - y[i]) ** 2) / 2, state=[x[i]])
        target = np.random.default_rng(0).normal(size=self.SIZE)
        values = {"N": self.SIZE, "A": rates, "y": target}
        run = integrate_system(flow, values, {"x": np.zeros(self.SIZE)}, 20.0, rtol=1e-6)
        exact = target * -np.expm1(-np.outer(run.t, rates))
        assert np.abs(run.states["x"] - exact).max() < 1e-5
        assert run.evaluations < 6000  # explicit steps alone would take some hundred thousand


def test_a_state_at_rest_does_not_blow_up():
    """Its velocity is zero on the way, and a rounding error at the end."""

    def at_rest(s):
        return np.array([1.0 if s < 2 else 1.0 + 1e-15])

    steps = [Segment(0.0, 1.0, at_rest), Segment(1.0, 2.0, at_rest)]
    assert blow_up_time(lambda state: state - 1.0, steps, 1.0) is None
