"""`InitialState`: the random draw as specified, what is stored, and what is refused."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from headflow import InitialState, Problem
from headflow.errors import InputError, InputTypeError
from headflow.numerics import RandomStart

PROBLEM = Problem(dims=[10, 20], signal_power=[1, 2], noise_variance=0.1, context_length=100, n_heads=3)  # I = 2, H = 3


def test_the_random_start_is_the_documented_draw() -> None:
    uniform = np.random.default_rng(7).random((2, 3))
    initial = InitialState.random(PROBLEM, scale=0.03, jitter=0.5, seed=7)
    np.testing.assert_array_equal(initial.mu, 0.03 * (1 + 0.5 * uniform))
    np.testing.assert_array_equal(initial.omega, np.full((2, 3), 0.03))
    assert initial.provenance == RandomStart(scale=0.03, jitter=0.5, seed=7)


def test_the_defaults_of_the_random_start() -> None:
    assert InitialState.random(PROBLEM).provenance == RandomStart(scale=100**-0.75, jitter=0.2, seed=0)
    assert InitialState.random(PROBLEM) == InitialState.random(PROBLEM, 100**-0.75, 0.2, 0)
    assert InitialState.random(PROBLEM) != InitialState.random(PROBLEM, seed=1)


def test_arrays_are_private_read_only_float64_copies() -> None:
    mu = np.ones((2, 3), dtype=np.int64)
    initial = InitialState(mu=mu, omega=[[1, 2, 3], [4, Fraction(1, 2), -0.0]])
    mu[0, 0] = 5
    assert initial.mu[0, 0] == 1
    assert initial.mu.dtype == initial.omega.dtype == np.float64
    assert initial.provenance == "explicit"
    with pytest.raises(ValueError, match="read-only"):
        initial.mu[0, 0] = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        initial.mu = mu  # type: ignore[misc]


def test_equality_and_hash_look_at_the_arrays_alone() -> None:
    drawn = InitialState.random(PROBLEM)
    same = InitialState(mu=drawn.mu, omega=drawn.omega)
    assert drawn == same
    assert hash(drawn) == hash(same)
    assert hash(InitialState([[0.0]], [[1]])) == hash(InitialState([[-0.0]], [[1]]))
    assert drawn != InitialState(mu=drawn.omega, omega=drawn.mu)
    assert InitialState([[1, 2]], [[1, 2]]) != InitialState([[1], [2]], [[1], [2]])
    assert drawn != "explicit"


def test_the_dictionary_holds_what_made_the_state() -> None:
    assert InitialState.random(PROBLEM, scale=0.03).to_dict() == {"scale": 0.03, "jitter": 0.2, "seed": 0}
    assert InitialState([[1, 2]], [[3, 4]]).to_dict() == {"mu": [[1.0, 2.0]], "omega": [[3.0, 4.0]]}
    assert eval(repr(InitialState([[1, 2]], [[3, 4]]))) == InitialState([[1, 2]], [[3, 4]])
    assert repr(InitialState.random(PROBLEM, scale=0.03)) == (
        "InitialState(2 tasks, 3 heads, RandomStart(scale=0.03, jitter=0.2, seed=0))"
    )


def test_check_looks_at_shape_and_sign() -> None:
    signs = InitialState(mu=[[1, -1, 0], [1, 1, 1]], omega=np.ones((2, 3)))
    signs.check(PROBLEM, "merged")
    InitialState.random(PROBLEM).check(PROBLEM, "balanced")
    with pytest.raises(InputError, match=r"every entry of mu to be positive, got mu\[0\]\[1\] = -1.0"):
        signs.check(PROBLEM, "balanced")
    with pytest.raises(InputError, match=r"every entry of omega to be positive, got omega\[1\]\[2\] = 0.0"):
        InitialState(mu=np.ones((2, 3)), omega=[[1, 1, 1], [1, 1, 0]]).check(PROBLEM, "balanced")
    with pytest.raises(InputError, match=r"shape \(I, H\) = \(2, 3\) of the problem, got \(3, 2\)"):
        InitialState(np.ones((3, 2)), np.ones((3, 2))).check(PROBLEM, "merged")
    with pytest.raises(InputError, match="unknown parametrisation 'balance'; did you mean 'balanced'"):
        signs.check(PROBLEM, "balance")


@pytest.mark.parametrize(
    ("mu", "kind", "message"),
    [
        ([[1, 2], [3]], InputError, "mu must have rows of equal length"),
        ([1, 2], InputError, r"mu must have the shape \(I, H\), got \(2,\)"),
        ([[]], InputError, r"mu must have the shape \(I, H\), got \(1, 0\)"),
        (3.0, InputError, r"mu must have the shape \(I, H\), got \(\)"),
        ([[1, float("nan")]], InputError, r"mu must be finite, got mu\[0\]\[1\] = nan"),
        ([[1, 10**400]], InputError, "mu must lie within the range of float64"),
        ([[1, 2, 3]], InputError, r"the same shape \(I, H\), got \(1, 3\) and \(1, 2\)"),
        ([["1", "2"]], InputTypeError, "mu must be an array of real numbers"),
        ([[1, None]], InputTypeError, "mu must be an array of real numbers"),
        ([[True, False]], InputTypeError, "mu must be an array of real numbers"),
        ([[1j, 2]], InputTypeError, "mu must be an array of real numbers"),
    ],
)
def test_unusable_arrays_are_refused(mu: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        InitialState(mu=mu, omega=[[1, 2]])


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"scale": 0}, InputError, "scale must be positive, got 0"),
        ({"scale": float("inf")}, InputError, "scale must be finite, got inf"),
        ({"scale": 10**400}, InputError, "scale must be finite"),
        ({"scale": 1e308, "jitter": 1e308}, InputError, "mu must be finite"),
        ({"scale": "small"}, InputTypeError, r"scale must be a number, got 'small' \(str\)"),
        ({"jitter": -0.1}, InputError, "jitter must be at least 0, got -0.1"),
        ({"jitter": True}, InputTypeError, "jitter must be a number"),
        ({"seed": -1}, InputError, "seed must be at least 0, got -1"),
        ({"seed": 1.5}, InputTypeError, r"seed must be an integer, got 1.5 \(float\)"),
        ({"seed": None}, InputTypeError, "seed must be an integer, got None"),
    ],
)
def test_unusable_draws_are_refused(arguments: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        InitialState.random(PROBLEM, **arguments)
