"""One system on several back ends: they agree, JAX traces them, mpmath has the digits asked for."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any

import mpmath
import numpy as np
import pytest

import headflow as hf
from headflow.errors import InputError
from headflow.numerics.code import compile_system, functions
from headflow.numerics.code.backends import Functions
from headflow.numerics.flows.dynamics import Chart
from headflow.theory import gradient_flow
from oracles import bruteforce

PROBLEM = hf.Problem(dims=[4, 5, 6], signal_power=[1, 0.5, 2], noise_variance=0.1, context_length=60, n_heads=2)
FLOWS = [("merged", "leading"), ("balanced", "finite_d"), ("split", "leading")]
needs_jax = pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed (extra jax)")


@cache
def chart(parametrisation: str, closure: str) -> Chart:
    start = hf.InitialState.random(PROBLEM, scale=0.1, jitter=0.5)
    if parametrisation == "split":
        start = hf.InitialState(start.mu, start.omega, 0.05 * np.random.default_rng(0).normal(size=(2, 3, 2)))
    return Chart.of(PROBLEM, start, parametrisation, closure)


def made(flow: tuple[str, str], backend: str) -> Functions:
    return functions(chart(*flow).system, backend, n_tasks=3, n_heads=2)


def kernels(flow: tuple[str, str], y: np.ndarray, direction: np.ndarray) -> list[np.ndarray]:
    """Velocity, loss, Jacobian and its product by the buffered kernels."""
    code, values = compile_system(chart(*flow).system), chart(*flow).values
    jacobian = code.jacobian.bind(values)(y)
    return [code.velocity.bind(values)(y), code.loss.bind(values)(y), jacobian, jacobian @ direction]


def assert_agree(found: list[Any], expected: list[np.ndarray]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert np.shape(one) == np.shape(other)
        np.testing.assert_allclose(np.asarray(one, float), other, rtol=0, atol=1e-13 * np.abs(other).max())


@pytest.mark.parametrize("backend", ["numpy", "mpmath"])
@pytest.mark.parametrize("flow", FLOWS, ids="-".join)
def test_they_agree_with_the_kernels(flow: tuple[str, str], backend: str) -> None:
    own, values = made(flow, backend), chart(*flow).values
    y, direction = chart(*flow).start, np.random.default_rng(1).normal(size=12)
    with mpmath.workdps(50):
        found = [own.velocity(y, values), own.loss(y, values), own.jacobian(y, values)]
        found.append(own.jacobian_product(y, direction, values))
    assert_agree(found, kernels(flow, y, direction))


@needs_jax
def test_jax_traces_them() -> None:
    import jax

    flow = FLOWS[0]
    own, values = made(flow, "jax"), chart(*flow).values
    y, direction = chart(*flow).start, np.random.default_rng(1).normal(size=12)
    compiled = [jax.jit(f) for f in (own.velocity, own.loss, own.jacobian)]
    found = [f(y, values) for f in compiled] + [jax.jit(own.jacobian_product)(y, direction, values)]
    expected = kernels(flow, y, direction)
    assert_agree(found, expected)
    assert found[0].dtype == np.float64
    # Over starts and over a parameter at once; and the symbolic Jacobian is the one that JAX differentiates.
    starts, noises = np.stack([y, 2 * y]), np.array([0.1, 0.4])
    many = jax.jit(jax.vmap(lambda y, noise: own.velocity(y, {**values, "sigma2": noise})))(starts, noises)
    np.testing.assert_allclose(many[0], expected[0], rtol=1e-12, atol=1e-15)
    other = compile_system(chart(*flow).system).velocity.bind({**values, "sigma2": 0.4})(2 * y)
    np.testing.assert_allclose(many[1], other, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(jax.jit(jax.jacfwd(own.velocity))(y, values), expected[2], rtol=1e-10, atol=1e-13)


def test_mpmath_has_the_digits_asked_for() -> None:
    system = gradient_flow("balanced")
    own = functions(system, "mpmath", n_tasks=3, n_heads=2)
    values = PROBLEM.exact_values()
    with mpmath.workdps(60):
        numbers = [mpmath.mpf(n + 1) / 17 for n in range(12)]
        lists = {name: [mpmath.mpf(x.numerator) / x.denominator for x in values[name]] for name in ("d", "lambda")}
        at = {name: np.array(entries) for name, entries in lists.items()}
        at |= {"sigma2": mpmath.mpf(1) / 10, "L": mpmath.mpf(60), "I": 3, "H": 2}
        at |= {"mu": np.array(numbers[:6]).reshape(3, 2), "omega": np.array(numbers[6:]).reshape(3, 2)}
        known = (*system.definitions, *system.parameter_definitions)
        definitions = [(item.head, item.body) for item in known if item.indices]
        expected = bruteforce.evaluate(system.loss, at, {}, definitions)
        assert abs(own.loss(numbers, values) - expected) < mpmath.mpf(10) ** -56 * expected
        exact = own.velocity(numbers, values)
    with mpmath.workdps(20):
        rough = own.velocity(numbers, values)
    assert 1e-25 < float(np.abs(rough - exact).max()) < 1e-15


def test_bad_input_is_named() -> None:
    system = gradient_flow("merged")
    with pytest.raises(InputError, match="unknown back end 'torch'; allowed: numpy, jax, mpmath"):
        functions(system, "torch", n_tasks=1, n_heads=1)
    own = functions(system, n_tasks=1, n_heads=1)
    with pytest.raises(InputError, match=r"the state must have shape \(2,\), got \(3,\)"):
        own.velocity([1, 2, 3], {})
    with pytest.raises(InputError, match="no value for the parameter"):
        own.velocity([1.0, 2.0], {"d": [10]})
    assert "def velocity(" in own.source
