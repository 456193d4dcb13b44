"""The error tree, and the sentence for a name that is not on a list."""

from __future__ import annotations

import pickle

import pytest

from headflow import errors
from headflow.theory import choices


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.InputError, ValueError),
        (errors.InputTypeError, TypeError),
        (errors.HypothesisError, errors.InputError),
        (errors.IntegrationError, RuntimeError),
    ],
)
def test_each_error_is_a_headflow_error_and_the_fitting_builtin(kind: type, builtin: type) -> None:
    assert issubclass(kind, errors.HeadflowError)
    assert issubclass(kind, builtin)


def test_a_hypothesis_error_names_the_hypothesis() -> None:
    error = errors.HypothesisError("the limit", "H >= I", "H = 2, I = 3")
    assert (error.what, error.hypothesis, error.got) == ("the limit", "H >= I", "H = 2, I = 3")
    assert str(error) == "the limit requires H >= I; got H = 2, I = 3"


def test_an_integration_error_carries_reason_remedy_and_partial_result() -> None:
    error = errors.IntegrationError("It stopped.", "Try again.", [1, 2])
    assert (error.reason, error.remedy, error.partial) == ("It stopped.", "Try again.", [1, 2])
    assert str(error) == "It stopped. Try again."
    assert str(errors.IntegrationError("It stopped.")) == "It stopped."


@pytest.mark.parametrize(
    "error",
    [
        errors.InputError("a"),
        errors.HypothesisError("a", "b", "c"),
        errors.IntegrationError("a", "b", {"t": 1.0}),
    ],
)
def test_errors_survive_the_way_between_processes(error: errors.HeadflowError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


def test_an_unknown_name_gets_the_list_and_a_suggestion() -> None:
    with pytest.raises(errors.InputError, match=r"unknown parametrisation 'Merge'; did you mean 'merged'\?"):
        choices.checked_parametrisation("Merge")
    with pytest.raises(errors.InputError, match=r"unknown closure 'xyz' \(allowed: leading"):
        choices.checked_closure("xyz")
    with pytest.raises(errors.InputTypeError, match=r"closure must be a string, got 3 \(int\)"):
        choices.checked_closure(3)
    for name in choices.PARAMETRISATIONS:
        assert choices.checked_parametrisation(name) == name
