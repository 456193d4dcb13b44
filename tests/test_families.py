"""Linear and softmax attention on coordinates of any variances: derived, integrated, compared, refuted if wrong."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from sympy import Rational

from cases import REFERENCE
from headflow import theory
from headflow.errors import HypothesisError, InputError, InputTypeError, IntegrationError
from headflow.numerics import (
    CovariateProblem,
    compare_staircase,
    compile_system,
    integrate_system,
    loss_drops,
    predicted_cascade,
)
from headflow.numerics.checks import families as checks
from headflow.numerics.checks.finding import Setting, carried_out
from headflow.theory import is_invariant
from headflow.theory.families import linear, softmax
from headflow.theory.families.covariates import average, over_coordinates, query, variance
from headflow.theory.families.statements import FAMILY_BUILDERS
from headflow.theory.families.warm_up import small_split_flow
from headflow.theory.indexed import unroll
from headflow.theory.notation import h, i, index, over_heads, over_tasks
from oracles import linear_attention_flow as hand

PROBLEM = CovariateProblem([2, 1, "1/2"], [1, "3/4", 2], noise_variance=0.1, context_length=20, n_heads=3)
STEPS = CovariateProblem([2, 1, "1/2"], [1, 1, 1], noise_variance=0.1, context_length=30, n_heads=3)
EQUAL = CovariateProblem([1, 1, 1], ["1/3"] * 3, noise_variance=0.1, context_length=30, n_heads=3)


def data(problem):
    """What the oracle takes."""
    values = problem.float_values()
    return values["Lambda"], values["tau"], values["sigma2"], int(values["L"])


def flat(*arrays):
    return np.concatenate([np.ravel(array) for array in arrays])


class TestLinearLoss:
    def test_equals_the_matrix_formula(self):
        matrix = np.random.default_rng(0).normal(size=(3, 3))
        loss = theory.linear_covariate_loss()
        found = float(unroll(loss.expression, {**PROBLEM.exact_values(), "A": matrix.tolist()}, loss.definitions))
        assert found == pytest.approx(hand.loss_and_gradient(matrix, *data(PROBLEM))[0], rel=1e-12)

    def test_equals_the_sampled_model_at_a_short_context(self):
        problem = CovariateProblem([2, "1/2"], [1, 3], noise_variance=0.5, context_length=3, n_heads=1)
        matrix = np.array([[0.3, 0.2], [-0.1, 0.5]])
        loss = theory.linear_covariate_loss()
        found = float(unroll(loss.expression, {**problem.exact_values(), "A": matrix.tolist()}, loss.definitions))
        mean, error = hand.sampled_loss("linear", matrix, *data(problem), n=200_000, seed=1)
        assert abs(mean - found) < 4 * error
        assert error < 0.02 * found

    @pytest.mark.slow
    def test_every_step_holds(self):
        for name in linear.FLOWS:
            assert not theory.linear_attention_flow(name).derivation.check().failed

    def test_a_wrong_moment_is_refuted(self, monkeypatch):
        right = linear.output_moments_of_a_token
        linear.linear_covariate_loss.cache_clear()
        monkeypatch.setattr(linear, "output_moments_of_a_token", lambda record: (right(record)[0], 0))
        assert "linear covariate loss" in linear.linear_covariate_loss().derivation.check().failed
        linear.linear_covariate_loss.cache_clear()

    def test_an_odd_moment_is_refused(self):
        a = index("a")
        with pytest.raises(ValueError, match="3 entries of x"):
            average(over_coordinates(query[a] ** 3), lambda _: {query: lambda at: variance[at]})


class TestLinearFlows:
    def test_split_velocity_is_that_of_the_full_matrices(self):
        rng = np.random.default_rng(1)
        v, k, q = rng.normal(size=4), rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
        code = compile_system(theory.linear_attention_flow("split"))
        found = code.velocity.bind({**PROBLEM.float_values(), "H": 4})(flat(v, k, q))
        np.testing.assert_allclose(found, flat(*hand.split_velocity(v, k, q, *data(PROBLEM))), rtol=1e-11, atol=1e-12)

    def test_merged_velocity_is_that_of_diagonal_full_matrices(self):
        rng = np.random.default_rng(2)
        v, u = rng.normal(size=3), rng.normal(size=(3, 3))
        full = np.array([np.diag(u[:, head]) for head in range(3)])
        code = compile_system(theory.linear_attention_flow("merged"))
        found = code.velocity.bind(PROBLEM.float_values())(flat(v, u))
        by_v, by_u = hand.merged_velocity(v, full, *data(PROBLEM))
        off = by_u * (1 - np.eye(3))
        np.testing.assert_allclose(found, flat(by_v, np.einsum("haa->ah", by_u)), rtol=1e-11, atol=1e-12)
        assert np.abs(off).max() == 0

    def test_jacobian_against_differences(self):
        rng = np.random.default_rng(3)
        code = compile_system(theory.linear_attention_flow("split"))
        velocity, jacobian = (kernel.bind(PROBLEM.float_values()) for kernel in (code.velocity, code.jacobian))
        y, step = rng.normal(size=21) / 2, 1e-6
        columns = [(velocity(y + step * unit) - velocity(y - step * unit)) / (2 * step) for unit in np.eye(21)]
        np.testing.assert_allclose(jacobian(y), np.array(columns).T, rtol=1e-6, atol=1e-7)

    def test_a_wrong_invariant_is_refuted(self):
        flow = theory.linear_attention_flow("split")
        a = index("a")
        assert is_invariant(flow, flow.invariants[0])
        assert not is_invariant(flow, linear.output_value[h] ** 2 - 2 * over_coordinates(linear.key[a, h] ** 2))

    def test_unknown_flow(self):
        with pytest.raises(InputError, match="did you mean 'split'"):
            theory.linear_attention_flow("splitt")


class TestStaircase:
    def test_every_step_holds(self):
        assert not theory.linear_staircase().derivation.check().failed
        assert not small_split_flow().derivation.check().failed

    def test_final_loss_is_the_least_over_full_matrices(self):
        s, t, s2, length = data(PROBLEM)
        # The loss is a quadratic in A: its stationary point by linear algebra.
        zero = hand.loss_and_gradient(np.zeros((3, 3)), s, t, s2, length)[1]
        units = np.eye(9).reshape(9, 3, 3)
        hessian = np.array([(hand.loss_and_gradient(unit, s, t, s2, length)[1] - zero).ravel() for unit in units])
        best = np.linalg.solve(hessian, -zero.ravel()).reshape(3, 3)
        least = hand.loss_and_gradient(best, s, t, s2, length)[0]
        assert theory.linear_staircase().final.evaluate(PROBLEM) == pytest.approx(least, rel=1e-12)

    def test_equal_coordinates_give_the_isotropic_optimum(self):
        isotropic = REFERENCE.replace(dims=[3], signal_power=[1], context_length=30)
        optimum = theory.linear_attention_optimum().exact(isotropic, 1)
        assert theory.linear_staircase().final.exact(EQUAL) == optimum
        assert theory.linear_staircase().drops(EQUAL) == ((0, 1, 2),)

    def test_coordinates_come_by_drive(self):
        # Drives 2 tau Lambda^2: 8, 1.5, 1.
        assert theory.linear_staircase().drives(PROBLEM) == pytest.approx((8, 1.5, 1))
        assert theory.linear_staircase().drops(PROBLEM) == ((0,), (1,), (2,))
        swapped = CovariateProblem([1, 2], [5, 1], noise_variance=0.1, context_length=20, n_heads=2)
        assert theory.linear_staircase().drops(swapped) == ((0,), (1,))

    @pytest.mark.slow
    @pytest.mark.parametrize("scale", [1e-2, 1e-3])
    def test_solved_times_are_measured(self, scale):
        table = compare_staircase(STEPS, scale, "aligned")
        assert table.same_number
        assert len(table.measured) == 3
        assert max(table.time_deviations) < 1e-5
        assert table.final_deviation < 1e-12
        leading = theory.linear_staircase().times(STEPS, scale, leading=True)
        assert leading == pytest.approx([1 / (2 * width**2 * scale) for width in (2, 1, 0.5)])
        after = theory.linear_staircase().after_blow_up(STEPS)
        exact = np.add(leading, after)
        # The next order is −ε²/(2 γ A*), far below the constant.
        assert exact == pytest.approx(theory.linear_staircase().times(STEPS, scale), rel=scale**2)

    @pytest.mark.slow
    def test_random_start_follows_the_cascade(self):
        deviations = []
        for scale in (1e-2, 1e-3):
            table = compare_staircase(STEPS, scale, "split", seed=0)
            assert table.same_number
            assert table.coordinates == ((0,), (1,), (2,))
            levels = [drop.after for drop in table.measured]
            assert levels == pytest.approx(table.predicted_losses[1:], rel=1e-4)
            deviations.append(max(table.time_deviations))
        assert deviations[1] < deviations[0] / 5
        assert deviations[1] < 2e-3

    @pytest.mark.slow
    def test_a_head_on_the_worse_coordinate_moves_on(self):
        # The one head starts on the coordinate of smaller fall: the plateau there is a saddle of the full flow.
        problem = CovariateProblem([1, "4/5"], [1, 1], noise_variance=0.1, context_length=30, n_heads=1)
        start = {"v": [1e-3], "k": [[2e-9], [1e-3]], "q": [[1e-9], [1e-3]]}
        predicted = predicted_cascade(problem, start)
        assert [(drop.coordinate, drop.leaves) for drop in predicted] == [(1, None), (0, 1)]
        flow = theory.linear_attention_flow("split")
        measured = loss_drops(integrate_system(flow, problem.float_values(), start, 1.5 * predicted[-1].time))
        assert [drop.time for drop in measured] == pytest.approx([drop.time for drop in predicted], rel=1e-4)
        levels = [float(theory.linear_staircase().loss_at(problem, known)) for known in ([], [1], [0])]
        assert [drop.after for drop in measured] == pytest.approx(levels[1:], rel=1e-3)

    @pytest.mark.slow
    def test_fewer_heads_than_coordinates_stop_early(self):
        problem = CovariateProblem([2, 1, "1/2"], [1, 1, 1], noise_variance=0.1, context_length=30, n_heads=2)
        table = compare_staircase(problem, 1e-3, "split", seed=0)
        assert len(table.measured) == 2 == len(table.predicted_times)
        plateau = float(theory.linear_staircase().plateaus(problem)[2])
        assert table.final_loss == pytest.approx(plateau, rel=1e-6)

    def test_merged_drops_once_at_the_solved_time(self):
        for scale in (1e-3, 1e-5):
            table = compare_staircase(EQUAL, scale, "merged")
            assert table.same_number
            assert table.time_deviations[0] < 1e-5
            assert table.final_deviation < 1e-10

    def test_merged_rate_for_unequal_coordinates(self):
        tables = [compare_staircase(STEPS, scale, "merged") for scale in (1e-4, 1e-6)]
        assert all(table.same_number and table.predicted_times == (None,) for table in tables)
        delay = tables[1].measured[0].time - tables[0].measured[0].time
        rate = theory.linear_staircase().merged_rate.evaluate(STEPS)
        assert rate == pytest.approx(np.sqrt(8**2 + 2**2 + 0.5**2))
        assert delay == pytest.approx(np.log(100) / rate, rel=1e-4)

    @pytest.mark.slow
    def test_full_flow_by_an_independent_integrator(self):
        rng = np.random.default_rng(5)
        start = {"v": rng.normal(size=3), "k": rng.normal(size=(3, 3)), "q": rng.normal(size=(3, 3))}
        start = {name: 0.1 * value for name, value in start.items()}
        run = integrate_system(theory.linear_attention_flow("split"), PROBLEM.float_values(), start, 6.0)

        def velocity(*state):
            return hand.split_velocity(*state, *data(PROBLEM))

        end = hand.runge_kutta(velocity, list(start.values()), 6.0, 3000)
        for name, value in zip(("v", "k", "q"), end, strict=True):
            np.testing.assert_allclose(run.at(6.0)[name], value, atol=1e-7)
        assert run.loss[-1] < 0.9 * run.loss[0]

    def test_hypotheses(self):
        with pytest.raises(HypothesisError, match="one variance"):
            theory.linear_staircase().merged_drop(STEPS, 1e-6)
        start = {"v": np.ones(3), "k": np.ones((3, 3)), "q": np.ones((3, 3))}
        with pytest.raises(HypothesisError, match="different drives"):
            predicted_cascade(EQUAL, start)
        with pytest.raises(HypothesisError, match="H ≥ D"):
            compare_staircase(CovariateProblem([2, 1], [1, 1], 0.1, context_length=9, n_heads=1), 1e-3, "aligned")
        with pytest.raises(InputError, match="unknown flow"):
            compare_staircase(STEPS, 1e-3, "softmax")
        with pytest.raises(InputError, match="scale"):
            compare_staircase(STEPS, -1.0)

    def test_table_is_text_html_and_json(self):
        table = compare_staircase(EQUAL, 1e-3, "aligned")
        written = json.loads(json.dumps(table.to_json()))
        assert written["predicted"][0]["coordinates"] == [0, 1, 2]
        assert written["final_closed_form"] == pytest.approx(written["final_loss"])
        assert CovariateProblem(**written["problem"]) == EQUAL
        assert "1, 2, 3" in str(table)
        assert table._repr_html_().count("<tr>") == 3
        wrong = dataclasses.replace(table, measured=())
        assert not wrong.same_number
        assert "—" in wrong.text()


class TestSoftmax:
    @pytest.mark.parametrize("closure", ["leading", "finite_d", "first_order"])
    def test_every_step_holds(self, closure):
        # Among them: equal coordinates give the isotropic loss of the same closure.
        assert not theory.softmax_covariate_flow(closure).derivation.check().failed

    @pytest.mark.slow
    def test_first_order_against_the_real_attention(self):
        problem = CovariateProblem(
            [2, 1, 1, "1/2"], [1, "1/2", 1, 2], noise_variance=0.2, context_length=150, n_heads=2
        )
        mu, omega = np.array([2.0, -1.5]), np.array([[0.1, -0.1], [0.2, -0.15], [0.1, -0.25], [0.3, -0.2]])
        losses = {}
        for closure in ("leading", "first_order"):
            kernel = compile_system(theory.softmax_covariate_flow(closure)).loss
            losses[closure] = float(kernel.bind(problem.float_values())(flat(mu, omega)))
        mean, error = hand.sampled_loss("softmax", (mu, omega), *data(problem), n=60_000, seed=2)
        assert abs(mean - losses["first_order"]) < 4 * error + 0.002
        assert abs(mean - losses["first_order"]) < abs(mean - losses["leading"])

    def test_gradient_against_differences(self):
        rng = np.random.default_rng(4)
        y, step = 0.2 * rng.normal(size=2 + 6), 1e-6
        for closure in ("leading", "finite_d", "first_order"):
            code = compile_system(theory.softmax_covariate_flow(closure))
            velocity, loss = (kernel.bind({**PROBLEM.float_values(), "H": 2}) for kernel in (code.velocity, code.loss))
            slopes = [(loss(y + step * unit) - loss(y - step * unit)) / (2 * step) for unit in np.eye(8)]
            np.testing.assert_allclose(velocity(y), -np.array(slopes), rtol=1e-6, atol=1e-8)

    def test_flow_runs_downhill_to_a_stationary_point(self):
        flow = theory.softmax_covariate_flow("leading")
        start = {"mu": [0.05], "omega": [[0.05], [0.04], [0.03]]}
        run = integrate_system(flow, {**PROBLEM.float_values(), "H": 1}, start, 2000.0)
        assert np.diff(run.loss).max() < 1e-9
        end = flat(run.states["mu"][-1], run.states["omega"][-1])
        velocity = compile_system(flow).velocity.bind({**PROBLEM.float_values(), "H": 1})(end)
        assert np.abs(velocity).max() < 1e-6

    def test_leaving_out_the_tilt_is_refuted(self, monkeypatch):
        softmax.softmax_covariate_loss.cache_clear()
        monkeypatch.setattr(softmax, "_query_variance", lambda _: {query: lambda at: variance[at]})
        failed = softmax.softmax_covariate_loss("first_order").derivation.check().failed
        assert "softmax covariate loss, first_order" in failed
        softmax.softmax_covariate_loss.cache_clear()


class TestIntegrateSystem:
    FLOW = theory.gradient_flow(over_tasks(over_heads(linear.key[i, h] ** 2)), state=[linear.key[i, h]])

    def test_a_linear_flow_is_solved(self):
        start = np.arange(6.0).reshape(2, 3)
        run = integrate_system(self.FLOW, {"I": 2, "H": 3}, {"k": start}, 3.0)
        np.testing.assert_allclose(run.at(1.7)["k"], start * np.exp(-3.4), atol=1e-8)
        assert run.loss_at(1.0) == pytest.approx((start**2).sum() * np.exp(-4), rel=1e-7)
        assert abs(run.loss - (start**2).sum() * np.exp(-4 * run.t)).max() < max(run.error_estimate, 1e-9)
        assert json.loads(json.dumps(run.to_json()))["method"] == "LSODA"

    @pytest.mark.parametrize(
        ("values", "start", "t_final", "match"),
        [
            ({"I": 2}, {"k": np.ones((2, 3))}, 1.0, "no value for the size H"),
            ({"I": 2, "H": 3}, {"k": np.ones((3, 2))}, 1.0, "shape"),
            ({"I": 2, "H": 3}, {}, 1.0, "the start must give k"),
            ({"I": 2, "H": 3}, {"k": np.full((2, 3), np.nan)}, 1.0, "finite"),
            ({"I": 2, "H": 3}, {"k": np.ones((2, 3))}, -1.0, "t_final"),
        ],
    )
    def test_bad_input_is_named(self, values, start, t_final, match):
        with pytest.raises(InputError, match=match):
            integrate_system(self.FLOW, values, start, t_final)

    def test_a_blow_up_is_an_error(self):
        x = linear.key
        flow = theory.gradient_flow(-over_tasks(over_heads(x[i, h] ** 4)), state=[x[i, h]])
        with pytest.raises(IntegrationError):
            integrate_system(flow, {"I": 1, "H": 1}, {"k": [[1.0]]}, 10.0)

    def test_a_run_without_a_drop_has_none(self):
        run = integrate_system(self.FLOW, {"I": 1, "H": 1}, {"k": [[1.0]]}, 3.0)
        assert loss_drops(run) == ()


class TestStatements:
    def test_each_is_written_and_has_a_check(self):
        statements = [build() for build in FAMILY_BUILDERS.values()]
        assert [statement.id for statement in statements] == list(checks.FAMILY_CHECKS)
        for statement in statements:
            assert statement.id in statement.latex()
            assert statement.title in statement.text()

    @pytest.mark.slow
    @pytest.mark.parametrize("name", list(checks.FAMILY_CHECKS))
    def test_each_is_verified(self, name):
        for finding in carried_out(checks.FAMILY_CHECKS[name], Setting(REFERENCE, 0, True)):
            assert finding.measured + finding.error < finding.bound

    @pytest.mark.slow
    def test_a_wrong_time_is_refuted(self, monkeypatch):
        right = checks.compare_staircase

        def slower(*args, **options):
            table = right(*args, **options)
            return dataclasses.replace(table, predicted_times=tuple(1.01 * time for time in table.predicted_times))

        monkeypatch.setattr(checks, "compare_staircase", slower)
        monkeypatch.setattr(checks, "_aligned_runs", checks._aligned_runs.__wrapped__)
        finding = checks.drop_times(Setting(REFERENCE, 0, True))
        assert finding.measured > finding.bound


class TestCovariateProblem:
    def test_values_are_exact(self):
        assert PROBLEM.exact_values()["tau"][1] == Rational(3, 4)
        assert CovariateProblem(**PROBLEM.to_dict()) == PROBLEM
        assert eval(repr(PROBLEM)) == PROBLEM

    def test_bad_values(self):
        with pytest.raises(InputError, match="got 2 and 1"):
            CovariateProblem([1, 2], [1], noise_variance=0.1, context_length=3, n_heads=1)
        with pytest.raises(InputTypeError, match="context_length"):
            CovariateProblem([1], [1], noise_variance=0.1, context_length=3.5, n_heads=1)
        with pytest.raises(InputError, match=r"variances\[0\]"):
            CovariateProblem([0], [1], noise_variance=0.1, context_length=3, n_heads=1)
