"""The README's sessions and the documentation's give what they show."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "docs/conventions.md",
        pytest.param("docs/own-loss.md", marks=pytest.mark.slow),
        "docs/own-statement.md",
    ],
)
def test_sessions_give_what_they_show(name):
    outcome = doctest.testfile(str(ROOT / name), module_relative=False, encoding="utf-8")
    assert outcome.attempted > 0
    assert outcome.failed == 0
