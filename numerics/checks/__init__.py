"""Checks: for every registered statement one function that measures whether it holds on a problem.

``model`` samples the real attention, ``flow`` tests the dynamics, ``statics`` the optimum, limits and bounds;
``identities`` show equations by the index calculus, ``enclosures`` and ``stationary_point`` prove claims over boxes of
parameters.
"""

from .finding import Finding, Setting
from .registry import CHECKS, ENCLOSURES, IDENTITIES

__all__ = ["CHECKS", "ENCLOSURES", "IDENTITIES", "Finding", "Setting"]
