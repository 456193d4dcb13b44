"""Checks: for every registered statement one function that measures whether it holds on a problem.

``losses`` compares the expansions with the exact attention, and that with the sampled one; ``flow`` tests the dynamics,
``statics`` the optimum, limits and bounds;
``identities`` show equations by the index calculus; ``enclosures``, ``stationary_point`` and ``basin`` prove claims
over boxes of parameters and of states; ``asymptotics`` fits laws over a range; ``counterexamples_statics`` and
``counterexamples_dynamics`` explore what becomes of claims without their hypotheses.
"""

from .finding import Finding, Setting
from .registry import CHECKS, ENCLOSURES, EXPLORATIONS, IDENTITIES, LAWS

__all__ = ["CHECKS", "ENCLOSURES", "EXPLORATIONS", "IDENTITIES", "LAWS", "Finding", "Setting"]
