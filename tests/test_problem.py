"""`Problem`: what it accepts, how it keeps numbers, what it says when it refuses."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import sympy
from hypothesis import given

from headflow import Problem
from headflow.errors import InputError, InputTypeError
from headflow.theory import notation
from strategies import problems

REFERENCE: dict[str, Any] = {
    "dims": [10, 10, 10],
    "signal_power": [1, 1, 1],
    "noise_variance": 0.1,
    "context_length": 100,
    "n_heads": 3,
}


@given(problems())
def test_a_problem_survives_its_repr_its_dictionary_and_an_empty_replace(problem: Problem) -> None:
    for copy in (eval(repr(problem)), Problem(**problem.to_dict()), problem.replace()):
        assert copy == problem
        assert hash(copy) == hash(problem)
        assert repr(copy) == repr(problem)


@pytest.mark.parametrize(
    "tenth",
    [0.1, "0.1", ".1", "1/10", " 1e-1 ", Decimal("0.10"), Fraction(1, 10), np.float64(0.1), np.float32(0.1)],
)
def test_decimals_are_kept_as_they_were_written(tenth: Any) -> None:
    problem = Problem(**REFERENCE | {"noise_variance": tenth, "signal_power": [tenth, np.int64(2), "3"]})
    assert problem.noise_variance == Fraction(1, 10)
    assert problem.signal_power == (Fraction(1, 10), 2, 3)
    assert problem == Problem(**REFERENCE | {"signal_power": [0.1, 2, 3]})


def test_sympy_numbers_and_arrays_are_accepted() -> None:
    problem = Problem(
        dims=np.array([4, 9]),
        signal_power=(sympy.Rational(1, 3), sympy.Integer(2)),
        noise_variance=sympy.Rational(1, 7),
        context_length=np.int32(50),
        n_heads=sympy.Integer(2),
    )
    assert problem.signal_power == (Fraction(1, 3), 2)
    assert problem.noise_variance == Fraction(1, 7)
    assert [type(value) for value in (*problem.dims, problem.context_length, problem.n_heads)] == [int] * 4


def test_derived_numbers() -> None:
    problem = Problem(**REFERENCE | {"dims": [5, 10, 20], "signal_power": [4, 1, 0.1]})
    assert (problem.n_tasks, problem.total_dim, problem.embedding_dim) == (3, 35, 38)
    np.testing.assert_allclose(problem.snr, [40, 10, 1], rtol=1e-15)


def test_values_are_keyed_by_the_names_of_the_symbols() -> None:
    problem = Problem(**REFERENCE)
    exact, floats = problem.exact_values(), problem.float_values()
    symbols = [notation.context_length, notation.n_tasks, notation.n_heads, notation.noise_variance]
    names = {symbol.name for symbol in symbols} | {str(notation.dims), str(notation.signal_power)}
    assert set(exact) == set(floats) == names
    assert exact == {
        "d": (10, 10, 10),
        "lambda": (1, 1, 1),
        "sigma2": Fraction(1, 10),
        "L": 100,
        "I": 3,
        "H": 3,
    }
    assert isinstance(floats["d"], np.ndarray)
    assert floats["d"].dtype == floats["lambda"].dtype == np.float64  # type: ignore[union-attr]
    assert (floats["sigma2"], floats["L"], floats["I"], floats["H"]) == (0.1, 100.0, 3.0, 3.0)


def test_a_problem_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Problem(**REFERENCE).n_heads = 4  # type: ignore[misc]


def test_replace_and_subset() -> None:
    problem = Problem([5, 10, 20], [4, 1, "1/3"], 0.1, 100, 3)
    assert problem.replace(n_heads=2) == Problem([5, 10, 20], [4, 1, "1/3"], 0.1, 100, 2)
    assert problem.subset([2, 0], n_heads=1) == Problem([20, 5], ["1/3", 4], 0.1, 100, 1)
    with pytest.raises(InputTypeError, match="no 'heads'; its values are dims, signal_power"):
        problem.replace(heads=2)
    with pytest.raises(InputError, match="n_heads must be an integer from 1"):
        problem.replace(n_heads=0)
    for tasks, message in [
        ([3], "different numbers from 0 to 2, got 3"),
        ([-1], "got -1"),
        ([1, 1], "got 1 twice"),
        ([], "tasks must have one entry"),
    ]:
        with pytest.raises(InputError, match=message):
            problem.subset(tasks, n_heads=1)
    with pytest.raises(InputTypeError, match=r"each of tasks must be an integer, got 1.5 \(float\)"):
        problem.subset([1.5], n_heads=1)  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dims": []}, r"dims must have one entry per task, got an empty list"),
        ({"signal_power": []}, r"signal_power must have one entry per task, got an empty list"),
        ({"dims": [10, 10]}, r"dims and signal_power must have one entry per task each, got 2 and 3"),
        ({"dims": [10, 0, 10]}, r"dims\[1\] must be an integer from 1 to 2\*\*53, got 0"),
        ({"dims": [10, 2**53 + 1, 10]}, r"dims\[1\] must be an integer from 1"),
        ({"dims": [10, 10**6000, 10]}, r"dims\[1\] .* got a number of thousands of digits"),
        ({"signal_power": [1, 1, -1]}, r"signal_power\[2\] must be positive, got -1"),
        ({"noise_variance": -1}, r"noise_variance must be at least 0, got -1"),
        ({"noise_variance": "-1e-9"}, r"noise_variance must be at least 0, got '-1e-9'"),
        ({"noise_variance": float("nan")}, r"noise_variance must be finite, got nan"),
        ({"noise_variance": float("inf")}, r"noise_variance must be finite, got inf"),
        ({"noise_variance": np.float64("-inf")}, r"noise_variance must be finite, got -inf"),
        ({"noise_variance": "1e999999999"}, r"noise_variance must lie within the range of float64"),
        ({"noise_variance": "1e-380"}, r"noise_variance must lie within the range of float64"),
        ({"noise_variance": 10**320}, r"noise_variance must lie within the range of float64"),
        ({"noise_variance": "a tenth"}, r"noise_variance must be a number such as 0.1 or 1/3, got 'a tenth'"),
        ({"noise_variance": "1/0"}, r"noise_variance must be a number such as"),
        ({"context_length": 0}, r"context_length must be an integer from 1"),
        ({"n_heads": 0}, r"n_heads must be an integer from 1"),
        ({"n_heads": -3}, r"n_heads must be an integer from 1 to 2\*\*53, got -3"),
    ],
)
def test_a_wrong_value_is_refused_with_one_sentence(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Problem(**REFERENCE | change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dims": 10}, r"dims must be a list with one entry per task, got 10 \(int\)"),
        ({"dims": "10"}, r"dims must be a list"),
        ({"dims": {10: 1}}, r"dims must be a list"),
        ({"dims": {10, 11}}, r"dims must be a list"),
        ({"dims": np.array(10)}, r"dims must be a list"),
        ({"dims": [10, 10.5, 10]}, r"dims\[1\] must be an integer, got 10.5 \(float\)"),
        ({"dims": [10, True, 10]}, r"dims\[1\] must be an integer, got True \(bool\)"),
        ({"dims": [[10], 10, 10]}, r"dims\[0\] must be an integer, got \[10\] \(list\)"),
        ({"context_length": Decimal("100")}, r"context_length must be an integer, got 100 \(Decimal\)"),
        ({"n_heads": None}, r"n_heads must be an integer, got None"),
        ({"n_heads": np.True_}, r"n_heads must be an integer, got true"),
        ({"noise_variance": True}, r"noise_variance must be a number, got True \(bool\)"),
        ({"noise_variance": 1j}, r"noise_variance must be a number, got 1j \(complex\)"),
        ({"noise_variance": [0.1]}, r"noise_variance must be a number, got \[0.1\] \(list\)"),
        ({"signal_power": [1, None, 1]}, r"signal_power\[1\] must be a number, got None"),
        ({"signal_power": np.ones((3, 1))}, r"signal_power\[0\] must be a number"),
    ],
)
def test_a_wrong_kind_is_refused_with_one_sentence(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputTypeError, match=message) as caught:
        Problem(**REFERENCE | change)
    assert "\n" not in str(caught.value)


def test_no_physical_quantity_has_a_default() -> None:
    for name in REFERENCE:
        with pytest.raises(TypeError, match=name):
            Problem(**{key: value for key, value in REFERENCE.items() if key != name})


@pytest.mark.parametrize("zero", [0, 0.0, -0.0, "0", "0e5", Fraction(0)])
def test_labels_without_noise(zero: object) -> None:
    """The default of published code: φ_i = 1, and the problem is written and read back as any other."""
    problem = Problem(**(REFERENCE | {"noise_variance": zero}))
    assert problem.noise_variance == 0
    assert np.isposinf(problem.snr).all()
    assert Problem(**problem.to_dict()) == problem
    assert eval(repr(problem)) == problem


def test_whole_floats_and_one_signal_power_for_all_tasks() -> None:
    problem = Problem(**REFERENCE)
    assert Problem(np.array([10.0, 10, 10]), 1, 0.1, 100.0, np.float32(3)) == problem  # type: ignore[arg-type]
    for one in (1, 1.0, Decimal(1), Fraction(1), np.float64(1), np.int64(1)):
        assert problem.replace(signal_power=one) == problem
    with pytest.raises(InputError, match=r"signal_power\[0\] must be positive, got -1"):
        problem.replace(signal_power=-1)
    with pytest.raises(InputTypeError, match=r"signal_power must be a list"):
        problem.replace(signal_power=True)
    with pytest.raises(InputError, match=r"context_length must be an integer from 1"):
        problem.replace(context_length=1e300)
