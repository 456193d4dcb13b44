"""Owns how hypothesis draws: the same examples in every run, with no limit on one example's time."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("headflow", derandomize=True, deadline=None)
settings.load_profile("headflow")
