"""Decomposability: the steps hold, and fail for moves that are no symmetry of the model."""

from __future__ import annotations

import pytest

from headflow.theory.derivation import Recorder
from headflow.theory.model import decomposability as module


def test_every_step_is_checked_and_holds():
    report = module.decomposability().check()
    assert report.failed == ()
    assert report.unchecked == ("model in coordinates",)


@pytest.mark.parametrize(
    ("base", "wrong"),
    [
        (module._key_query, lambda a, b: module._coordinate_sign(a) * module._key_query[a, b]),
        (module._regressor, lambda i, a: module._regressor[i, a]),
        (module._output_token, lambda i, a: module._output_token[i, a]),
    ],
    ids=["W_X", "beta", "U_X"],
)
def test_a_wrong_flip_is_no_symmetry(base, wrong):
    record = Recorder("planted")
    module._record_symmetry(record, "flip", {**module._COORDINATE_FLIP, base: wrong}, module.S.One, "Wrong.")
    assert record.freeze().check().failed == ("flip",)


def test_the_sign_of_the_output_matters():
    record = Recorder("planted")
    module._record_symmetry(record, "flip", module._TASK_FLIP, module.S.One, "Wrong.")
    assert record.freeze().check().failed == ("flip",)


def test_a_diagonal_entry_does_not_vanish():
    record = Recorder("planted")
    entry = module._key_query[module._a, module._b]
    module._record_vanishing(record, entry, module._COORDINATE_FLIP, {module._e: module._a}, module.S.One)
    assert record.freeze().check().failed == ("gradient in W_X",)
