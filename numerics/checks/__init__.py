"""Checks: for every registered statement one function that measures whether it holds on a problem.

``model`` samples the real attention, ``flow`` tests the dynamics, ``statics`` the optimum, limits and bounds.
"""

from .finding import Finding, Setting
from .registry import CHECKS

__all__ = ["CHECKS", "Finding", "Setting"]
