"""Generated code against the brute-force evaluator: values, derivatives, memory, names, contraction order."""

from __future__ import annotations

import inspect
import math
from dataclasses import replace
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from headflow.numerics.code import CompiledSystem, compile_system
from headflow.numerics.code.names import RESERVED, identifier
from headflow.numerics.code.numpy_table import NUMPY
from headflow.theory import Definition, gradient_flow, to_log
from headflow.theory import notation as n
from index_expressions import DEFINITIONS, HEAD, N_HEADS, N_TASKS, TASK, A, B, G, P, T, X, expressions, numbers
from oracles import bruteforce

i, j, h, k = n.i, n.j, n.h, n.k
KNOWN = tuple(Definition(head, body) for head, body in DEFINITIONS)
STATE = (X[TASK, HEAD], P[TASK, HEAD])
# Added to a random loss, so that the ranges of all names can be told.
ANCHOR = n.over_tasks(n.over_heads(X[i, h] ** 2 * P[i, h] * A[i] * B[h])) + n.over_heads(G[h, k], h, k)
SIZES = [(1, 1), (2, 3), (3, 2)]


def own(loss: sp.Expr, *state: sp.Indexed, definitions: tuple[Definition, ...] = KNOWN) -> CompiledSystem:
    return CompiledSystem(gradient_flow(loss + ANCHOR, state=state or STATE, definitions=definitions))


def flat(values: dict[str, Any], names: tuple[str, ...] = ("x", "p")) -> np.ndarray:
    return np.concatenate([np.ravel(values[name]) for name in names])


def along(function: Any, values: dict[str, Any], direction: dict[str, np.ndarray]) -> Any:
    """d function(values + ε direction)/dε at 40 digits, as floats."""
    with mpmath.workdps(40):
        step = mpmath.mpf(10) ** -13
        ends = []
        for sign in (1, -1):
            moved = {
                name: value if isinstance(value, int) else bruteforce.to_mpf(value) for name, value in values.items()
            }
            for name, change in direction.items():
                moved[name] = moved[name] + sign * step * bruteforce.to_mpf(change)
            ends.append(function(moved))
        return np.asarray((ends[0] - ends[1]) / (2 * step), dtype=float)


def assert_close(found: Any, expected: Any, rtol: float = 1e-10) -> None:
    found, expected = np.asarray(found), np.asarray(expected)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * max(1.0, np.abs(expected).max()))


def check_all(code: CompiledSystem, values: dict[str, Any], names: tuple[str, ...], definitions: Any) -> None:
    """Loss, velocity and Jacobian of an own loss at one point, against the oracle and its differences."""
    system, state = code.system, flat(values, names)
    rng = np.random.default_rng(7)
    direction = {name: rng.normal(size=np.shape(values[name])) for name in names}

    def loss(at: dict[str, Any]) -> Any:
        return bruteforce.evaluate(system.loss, at, {}, definitions)

    def velocity(at: dict[str, Any]) -> Any:
        parts = []
        for variable, rhs in zip(system.state, system.velocity, strict=True):
            axes = zip(variable.indices, np.shape(values[str(variable.base.label)]), strict=True)
            parts.append(bruteforce.evaluate_array(rhs, [(str(x), size) for x, size in axes], at, definitions).ravel())
        return np.concatenate(parts)

    assert_close(code.loss.bind(values)(state), loss(values))
    found = code.velocity.bind(values)(state)
    assert_close(found, velocity(values))
    assert_close(found @ flat(direction, names), -along(loss, values, direction))
    assert_close(code.jacobian.bind(values)(state) @ flat(direction, names), along(velocity, values, direction))


# Values and derivatives.


@pytest.mark.slow
@settings(max_examples=50)
@given(expressions(closed=True, budget=8), st.sampled_from(SIZES))
def test_random_losses(expression: sp.Expr, sizes: tuple[int, int]) -> None:
    check_all(own(expression), numbers(*sizes, seed=1), ("x", "p"), DEFINITIONS)


@pytest.mark.slow
@settings(max_examples=80)
@given(expressions(closed=True, budget=14), st.sampled_from(SIZES))
def test_many_random_losses(expression: sp.Expr, sizes: tuple[int, int]) -> None:
    check_all(own(expression), numbers(*sizes, seed=2), ("x", "p"), DEFINITIONS)


W = sp.IndexedBase("w", real=True)  # (heads, heads), a state variable
V = sp.IndexedBase("v", real=True)  # (heads,), a state variable

ODD = {
    "trace": (n.over_heads(W[h, h] ** 3), (W[h, k],)),
    "diagonal and matrix": (n.over_heads(W[h, h] * W[h, k] * W[k, h], h, k), (W[h, k],)),
    "a transpose": (n.over_heads(W[h, k] * W[k, h] * sp.exp(W[h, k]), h, k), (W[h, k],)),
    "delta": (n.over_heads(sp.KroneckerDelta(h, k) * W[h, k] ** 2 + V[h] * W[h, k] * V[k], h, k), (W[h, k], V[h])),
    "exponential of a delta": (n.over_heads(sp.exp(sp.KroneckerDelta(h, k) * W[h, k]) * V[k], h, k), (W[h, k], V[h])),
    "linear": (n.over_heads(3 * V[h]), (V[h],)),
    "one variable idle": (n.over_heads(V[h] ** 2) + 0 * W[h, k], (V[h], W[h, k])),
    "power of a sum": (n.over_heads(1 + V[h] ** 2) ** sp.Rational(5, 2), (V[h],)),
    "quotient of sums": (n.over_heads(V[h] * B[h]) / (1 + n.over_heads(V[h] ** 2)), (V[h],)),
    "softmax": (n.over_heads(sp.exp(V[h]) * B[h]) / n.over_heads(sp.exp(V[h])), (V[h],)),
    "log of a sum": (sp.log(n.over_heads(sp.exp(V[h]))), (V[h],)),
    "sizes as numbers": (n.n_heads * n.n_tasks * n.over_heads(V[h] ** 2) / sp.sqrt(n.n_heads + 1), (V[h],)),
    "surds and pi": (n.over_heads(V[h] ** 2) * sp.sqrt(6) * sp.pi * sp.E**2 / sp.cbrt(sp.Rational(2, 3)), (V[h],)),
    "squares four deep": (n.over_heads(V[h] * W[h, k] * V[k], h, k) ** 4, (V[h], W[h, k])),
    "shadowed names": (n.over_heads(V[h] * n.over_heads(V[h] * n.over_tasks(A[h] * T, h))), (V[h],)),
    "two sums of one name": (sp.Sum(V[h], (h, 1, N_HEADS), (h, 1, N_HEADS)) ** 2, (V[h],)),
    "sums that merge with factors": (
        n.over_heads(V[h] ** 2) + n.over_tasks(sp.exp(-A[i]) / (A[i] + A[j] + 1) ** 2, i, j),
        (V[h],),
    ),
    "parameter over itself": (n.over_heads(V[h] ** 2 * n.over_tasks(A[i] / (A[i] + 1) + 1 / (1 + A[i]))), (V[h],)),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("n_heads", [1, 3])
def test_odd_losses(name: str, n_heads: int) -> None:
    loss, state = ODD[name]
    if name == "one variable idle":
        loss += n.over_heads(W[h, k] * G[h, k], h, k)  # linear: its velocity is constant
    rng = np.random.default_rng(3)
    values = {**numbers(2, n_heads, 0), "w": rng.normal(size=(n_heads, n_heads)), "v": rng.normal(size=n_heads)}
    check_all(own(loss, *state), values, tuple(str(variable.base.label) for variable in state), DEFINITIONS)


def test_sum_to_a_number() -> None:
    y = sp.IndexedBase("y", real=True)
    flow = gradient_flow(sp.Sum(y[i] ** 2 * B[h], (i, 1, 3), (h, 1, N_HEADS)), state=[y[i]])
    code = CompiledSystem(flow)
    values = {"H": 2, "b": [0.5, 2.0]}
    np.testing.assert_allclose(code.velocity.bind(values)([1.0, 2.0, -3.0]), [-5.0, -10.0, 15.0], rtol=1e-15)
    np.testing.assert_allclose(code.jacobian.bind(values)([1.0, 2.0, -3.0]), -5 * np.eye(3), rtol=1e-15)


def test_definition_that_ignores_an_index() -> None:
    """Σ_k D[h, k] with D[h, k] = b_h² is H b_h², not b_h²."""
    d = sp.IndexedBase("D")
    ignores = Definition(d[h, k], B[h] ** 2)
    loss = n.over_heads(V[h] ** 2 * d[h, k], h, k)
    values = {**numbers(2, 3, 0), "v": np.array([1.0, -2.0, 0.5])}
    check_all(own(loss, V[h], definitions=(ignores,)), values, ("v",), [(ignores.head, ignores.body)])


def test_definition_that_cancels_against_its_body() -> None:
    """Σ_h b_h/b_h is H, though SymPy writes b/b as the number 1."""
    same = Definition(sp.IndexedBase("S", positive=True)[h], B[h])
    code = own(n.over_heads(V[h]) ** 2 * n.over_heads(same.head / B[h]), V[h], definitions=(same,))
    values = {**numbers(2, 3, 0), "v": np.array([1.0, -2.0, 0.5])}
    check_all(code, values, ("v",), [(same.head, same.body)])


@pytest.mark.parametrize("name", ["merged", "balanced", "log"])
def test_attention_jacobian_at_forty_digits(name: str) -> None:
    system = to_log(gradient_flow("balanced")) if name == "log" else gradient_flow(name)
    code, rng = compile_system(system), np.random.default_rng(0)
    first, second = (str(base.label) for base in system.state_bases)
    values = {"I": 2, "H": 3, "d": np.array([4.0, 9.0]), "lambda": np.array([1.5, 0.7]), "sigma2": 0.3, "L": 40.0}
    values |= {first: rng.uniform(0.2, 0.9, (2, 3)), second: rng.uniform(0.1, 0.4, (2, 3))}
    definitions = [(item.head, item.body) for item in system.definitions]
    definitions += [(item.head, item.body) for item in system.parameter_definitions if item.indices]
    values["d_e"] = float(values["d"].sum() + 2)
    state = flat(values, (first, second))
    direction = {name: rng.normal(size=(2, 3)) for name in (first, second)}

    def velocity(at: dict[str, Any]) -> Any:
        parts = (bruteforce.evaluate_array(rhs, [("i", 2), ("h", 3)], at, definitions) for rhs in system.velocity)
        return np.concatenate([part.ravel() for part in parts])

    assert_close(code.velocity.bind(values)(state), velocity(values), 1e-13)
    product = code.jacobian.bind(values)(state) @ flat(direction, (first, second))
    assert_close(product, along(velocity, values, direction), 1e-12)


# Memory.


@pytest.mark.slow
@settings(max_examples=12)
@given(expressions(closed=True, budget=8))
def test_calls_do_not_remember(expression: sp.Expr) -> None:
    """Same state, same bits: after another state, after one that is not a number, and in a new binding."""
    code, values = own(expression), numbers(2, 3, 1)
    state = flat(values)
    other = np.random.default_rng(0).uniform(0.3, 1.0, state.shape)
    state.flags.writeable = False
    for kernel in (code.loss, code.velocity, code.jacobian):
        bound = kernel.bind(values)
        first = bound(state)
        kept, twice = bound.evaluate(state), bound.evaluate(state, 2.0)
        bound(other)
        with np.errstate(all="ignore"):
            bound(np.full_like(state, np.nan))
        np.testing.assert_array_equal(bound(state), first)
        np.testing.assert_array_equal(kept, first)
        np.testing.assert_array_equal(twice, 2 * first)
        np.testing.assert_array_equal(kernel.bind(values)(state), first)


def test_parameters_may_change_between_bindings_and_are_not_modified() -> None:
    code = compile_system(gradient_flow("merged"))
    values = {"I": 2, "H": 2, "d": [4, 9], "lambda": np.array([1.5, 0.7]), "sigma2": 0.3, "L": 40}
    state = np.linspace(0.1, 0.8, 8)
    one, two = code.velocity.bind(values), code.velocity.bind({**values, "L": 80})
    first, second = one(state), two(state)
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(one(state), first)
    np.testing.assert_array_equal(values["lambda"], [1.5, 0.7])


def test_a_block_that_is_read_after_additions_is_not_written_over() -> None:
    """∂v̇_h/∂v_k = 1/(2 + v_h + v_k)² could be computed in its block, but ∂u̇/∂u reads it after a diagonal was added."""
    u = sp.IndexedBase("u", real=True)
    pole = 2 + V[h] + V[k]
    flow = gradient_flow(n.over_heads(V[h] * u[h] * B[h]), state=[V[h], u[h]])
    velocity = (-n.over_heads(1 / pole, k), u[h] * n.over_heads(B[k] / pole**2, k))
    code = CompiledSystem(replace(flow, velocity=velocity))
    v, w, weights = np.array([0.3, 0.5, 1.0]), np.array([0.2, -0.7, 0.4]), np.array([1.0, 2.0, 0.5])
    poles = 2 + v[:, None] + v
    expected = np.zeros((6, 6))
    expected[:3, :3] = poles**-2.0 + np.diag((poles**-2.0).sum(axis=1))
    expected[3:, :3] = -2 * w[:, None] * (weights * poles**-3.0) - 2 * np.diag(w * (poles**-3.0 @ weights))
    expected[3:, 3:] = np.diag(poles**-2.0 @ weights)
    assert_close(code.jacobian.bind({"H": 3, "b": weights})(np.concatenate([v, w])), expected, 1e-14)


# Binding.


VALUES = {"I": 2, "H": 3, "d": [4, 9], "lambda": [1.5, 0.7], "sigma2": 0.3, "L": 40}


@pytest.mark.parametrize("name", ["d", "lambda", "sigma2", "L", "I", "H"])
def test_a_missing_parameter_is_named(name: str) -> None:
    values = {key: value for key, value in VALUES.items() if key != name}
    with pytest.raises(KeyError, match=rf"no value for the (parameter|size) {name}\b"):
        compile_system(gradient_flow("balanced")).velocity.bind(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d": [4, 9, 1]}, r"parameter d must have shape \(2,\), got \(3,\)"),
        ({"sigma2": [0.3]}, r"parameter sigma2 must have shape \(\), got \(1,\)"),
        ({"H": 2.5}, "size H must be a positive integer, got 2.5"),
        ({"I": 0}, "size I must be a positive integer, got 0"),
    ],
)
def test_bad_parameters(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compile_system(gradient_flow("balanced")).velocity.bind({**VALUES, **change})


@pytest.mark.parametrize("shape", [(), (1,), (11,), (2, 6)])
def test_a_state_of_the_wrong_shape(shape: tuple[int, ...]) -> None:
    bound = compile_system(gradient_flow("balanced")).velocity.bind(VALUES)
    assert bound.size == 12
    with pytest.raises(ValueError, match=r"the state must have shape \(12,\)"):
        bound(np.ones(shape))


def test_a_fixed_index_beyond_its_range_is_refused() -> None:
    squares = n.over_tasks(n.over_heads(X[i, h] ** 2))
    loss = CompiledSystem(gradient_flow(squares + n.over_heads(X[2, h]), state=[X[i, h]])).loss
    values = np.arange(6.0)
    assert loss.bind({"I": 2, "H": 3})(values) == (values**2).sum() + values[3:].sum()
    with pytest.raises(ValueError, match="an index is 2, but its range ends at 1"):
        loss.bind({"I": 1, "H": 3})


def test_a_range_that_cannot_be_told_is_named() -> None:
    y = sp.IndexedBase("y")
    with pytest.raises(ValueError, match="range of index 1 of y cannot be told"):
        CompiledSystem(gradient_flow(n.over_heads(V[h] ** 2) + y[1], state=[V[h]]))
    with pytest.raises(ValueError, match="runs over"):
        CompiledSystem(gradient_flow(n.over_heads(V[h] * y[h]) + n.over_tasks(y[i]), state=[V[h]]))


def test_named_values() -> None:
    code = compile_system(to_log(gradient_flow("balanced")))
    kernel = code.named(("mu", "C"))
    state = np.log(np.linspace(0.1, 0.6, 12))
    mu, omega = np.exp(state).reshape(2, 2, 3)
    found = kernel.bind(VALUES)(state)
    expected = np.exp(omega.T @ (np.array([[4.0], [9.0]]) * omega))
    assert_close(found, np.concatenate([mu.ravel(), expected.ravel()]), 1e-14)
    assert code.named(("mu", "C")) is kernel
    with pytest.raises(KeyError, match="nothing is neither a state variable nor a definition"):
        code.named(("nothing",))


# Names and source.


def run_from_source(bound: Any, state: np.ndarray) -> Any:
    """The result of the run stage, made from its text alone (in the memory and views of the binding)."""
    space = dict(NUMPY)
    exec(bound.kernel.source, space)
    return space[identifier(bound.kernel.name.replace(" ", "_"))](**bound.arrays, given=state)


@pytest.mark.parametrize("name", ["merged", "balanced", "log"])
def test_source_is_python_that_gives_the_same_numbers(name: str) -> None:
    system = to_log(gradient_flow("balanced")) if name == "log" else gradient_flow(name)
    code, state = compile_system(system), np.linspace(0.1, 0.6, 12)
    for kernel in (code.velocity, code.loss, code.jacobian, code.named(("C", "r"))):
        bound = kernel.bind(VALUES)
        expected = bound(state)
        bound(state + 1)
        np.testing.assert_array_equal(run_from_source(bound, state), expected)
        assert all(len(line) < 4000 for line in kernel.source.splitlines())
        assert "lambdifygenerated" not in kernel.source


def test_constants_from_source() -> None:
    kernel = compile_system(gradient_flow("balanced")).velocity
    space = dict(NUMPY)
    exec(kernel.source, space)
    parameters = {identifier(name): np.asarray(VALUES[name], float) for name in kernel.parameters}
    made = dict(zip(kernel.program.constants, space["constants"](**parameters), strict=True))
    arrays = kernel.bind(VALUES).arrays
    assert made
    for name, value in made.items():
        np.testing.assert_array_equal(arrays[name], value)


def test_doc_lists_arguments_in_order_with_shapes() -> None:
    kernel = compile_system(to_log(gradient_flow("balanced"))).velocity
    listed = [line.strip() for line in kernel.doc.split("Arguments, in order:\n")[1].splitlines()]
    named = [word.strip() for line in listed for word in (part.split(":")[0] for part in line.split("; "))]
    assert named == list(inspect.signature(kernel.run).parameters)
    assert kernel.run.__doc__ == kernel.doc
    assert "mu: exp of the state log_mu, shape (I, H), a view of state" in listed
    assert "lambda_: constant, shape (I,)" in listed
    assert "log_mu_dot: output, shape (I, H)" in listed
    assert kernel.parameters == {"I": (), "L": (), "d": ("I",), "lambda": ("I",), "sigma2": ()}
    assert "lambda_: shape (I,)" in kernel.prepare.__doc__


def test_the_state_is_read_through_one_call_in_logarithms() -> None:
    kernel = compile_system(to_log(gradient_flow("balanced"))).velocity
    assert kernel.source.count("exp(given, out=state)") == 1
    assert kernel.source.count("exp(") == 2  # the other is C


HOSTILE = ["exp", "add", "lambda", "state", "given", "result", "t5", "p7", "x²", "2nd", "φ", "ϕ", "_a", "a", "a'", ""]


@pytest.mark.parametrize("name", HOSTILE)
def test_every_name_becomes_a_valid_identifier(name: str) -> None:
    assert identifier(name).isidentifier()
    assert identifier(identifier(name)) == identifier(name)


def test_names_that_clash_with_the_code() -> None:
    """Scalars and arrays called like functions, temporaries, keywords or one another once cleaned."""
    names = [name for name in HOSTILE if name]
    bases = [sp.IndexedBase(sp.Symbol(name, positive=True)) for name in names]
    state = sp.IndexedBase(sp.Symbol("exp", real=True))
    weighted = sp.Add(*(sp.Integer(place + 1) * base[h] ** 2 for place, base in enumerate(bases[1:])))
    loss = n.over_heads(state[h] ** 2 * weighted) + sp.exp(n.over_heads(state[h] * bases[1][h]))
    code = CompiledSystem(gradient_flow(loss, state=[state[h]]))
    rng = np.random.default_rng(0)
    values: dict[str, Any] = {"H": 3, **{name: rng.uniform(0.5, 1.5, 3) for name in names}}
    check_all(code, values, ("exp",), ())
    for kernel in (code.velocity, code.jacobian):
        assert not RESERVED - {"state", "given", "result"} & set(kernel.arrays)


# The order of contractions.


def operations(bound: Any, state: np.ndarray) -> int:
    """Multiply-adds of a call, counted from the shapes that the generated text works with."""
    count = 0

    def counting(name: str, function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            result = function(*arguments, **options)
            if name in ("matmul", "vecdot"):
                count += result.size * arguments[0].shape[-1]
            elif name == "einsum":
                spelled = zip(arguments[0].split("->")[0].split(","), arguments[1:], strict=True)
                count += math.prod(
                    {letter: size for word, x in spelled for letter, size in zip(word, x.shape, strict=True)}.values()
                )
            else:
                count += max(np.size(argument) for argument in (*arguments, result) if not isinstance(argument, str))
            return result

        return call

    table = {name: counting(name, function) if callable(function) else function for name, function in NUMPY.items()}
    space = dict(table)
    exec(bound.kernel.source, space)
    space[identifier(bound.kernel.name)](**bound.arrays, given=state)
    return count


@st.composite
def networks(draw: st.DrawFn) -> list[tuple[str, str, str]]:
    """Products of x, p (tasks, heads) over the four indices i, j, h, k."""
    factor = st.tuples(st.sampled_from("xp"), st.sampled_from("ij"), st.sampled_from("hk"))
    return draw(st.lists(factor, min_size=2, max_size=6, unique=True))


@pytest.mark.slow
@settings(max_examples=40)
@given(networks())
def test_the_contraction_order_is_optimal(factors: list[tuple[str, str, str]]) -> None:
    """No more multiply-adds, up to elementwise work, than NumPy's exhaustive search."""
    size = 24
    bases, indices = {"x": X, "p": P}, {"i": i, "j": j, "h": h, "k": k}
    body = sp.Mul(*(bases[name][indices[task], indices[head]] for name, task, head in factors))
    limits = {indices[task]: N_TASKS for _, task, _ in factors} | {indices[head]: N_HEADS for *_, head in factors}
    loss = sp.Sum(body, *((index, 1, upper) for index, upper in limits.items()))
    loss += n.over_tasks(n.over_heads(X[i, h] + P[i, h]))
    code = CompiledSystem(gradient_flow(loss, state=STATE))
    rng = np.random.default_rng(0)
    state = rng.normal(size=2 * size * size)
    bound = code.loss.bind({"I": size, "H": size})
    arrays = dict(zip("xp", state.reshape(2, size, size), strict=True))
    spelled = ",".join(task + head for _, task, head in factors) + "->"
    operands = [arrays[name] for name, *_ in factors]
    path, report = np.einsum_path(spelled, *operands, optimize="optimal")
    assert_close(bound(state), np.einsum(spelled, *operands, optimize=path) + state.sum(), 1e-9)
    optimal = float(report.split("Optimized FLOP count:")[1].split()[0]) / 2
    elementwise = 12 * 2 * size**2
    assert operations(bound, state) <= 1.05 * optimal + elementwise


def test_four_indices_cost_three_powers() -> None:
    """The gradient Σ_jk x_jh x_jk C_hk w_ik without a name for Σ_j x_jh x_jk: greedy orders cost n^4."""
    pairs = n.over_tasks(A[i] * n.over_heads(X[i, h] * X[i, k] * sp.exp(n.over_tasks(P[j, h] * P[j, k], j)), h, k))
    code = own(pairs)
    counts = []
    for size in (16, 32):
        values = numbers(size, size, 0)
        bound = code.velocity.bind({**values, "p": values["p"] / size})
        counts.append(operations(bound, flat({**values, "p": values["p"] / size})))
    assert counts[1] / counts[0] < 8.5


@pytest.mark.slow
def test_many_factors_compile_in_time() -> None:
    body = sp.Mul(*(1 / (number + V[h] ** 2) for number in range(1, 15)))
    code = own(n.over_heads(body), V[h])
    values = {**numbers(2, 3, 0), "v": np.array([0.3, -0.5, 1.0])}
    check_all(code, values, ("v",), DEFINITIONS)


def test_parameters_alone_are_computed_once() -> None:
    """What depends on parameters only is not in the run stage."""
    kernel = own(n.over_tasks(n.over_heads(X[i, h] ** 2) * sp.exp(A[i]) * n.over_heads(B[h] ** 3))).velocity
    run = kernel.source.split("def velocity")[1]
    assert "power(" not in run
    assert run.count("exp(") == 0
