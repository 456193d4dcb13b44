"""headflow: the training dynamics of multi-head softmax attention, derived, integrated and checked.

``theory`` derives with SymPy for any number of tasks and heads, ``numerics`` turns the results into numbers,
and the names below are the front door.  Everything is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._lazy import lazy_attributes
from ._version import __version__ as __version__

if TYPE_CHECKING:
    from . import errors as errors
    from . import numerics as numerics
    from . import theory as theory
    from .numerics.attention import AttentionWeights as AttentionWeights
    from .numerics.attention import Training as Training
    from .numerics.checks.finding import Finding as Finding
    from .numerics.checks.registry import register as register
    from .numerics.comparison.closure_table import compare_closures as compare_closures
    from .numerics.comparison.compare import compare as compare
    from .numerics.comparison.gradient_table import compare_gradients as compare_gradients
    from .numerics.comparison.simulate import simulate as simulate
    from .numerics.integration.ensemble import ensemble as ensemble
    from .numerics.integration.integrate import integrate as integrate
    from .numerics.problem.initial import InitialState as InitialState
    from .numerics.problem.problem import Problem as Problem
    from .numerics.reproductions import reproduce as reproduce
    from .numerics.trajectory.trajectory import Trajectory as Trajectory
    from .numerics.verification.recheck import recheck as recheck
    from .numerics.verification.verify import verify as verify


_NAMES = {
    "AttentionWeights": ".numerics.attention",
    "Finding": ".numerics.checks.finding",
    "InitialState": ".numerics.problem.initial",
    "Problem": ".numerics.problem.problem",
    "Training": ".numerics.attention",
    "Trajectory": ".numerics.trajectory.trajectory",
    "compare": ".numerics.comparison.compare",
    "compare_closures": ".numerics.comparison.closure_table",
    "compare_gradients": ".numerics.comparison.gradient_table",
    "ensemble": ".numerics.integration.ensemble",
    "errors": ".errors",
    "integrate": ".numerics.integration.integrate",
    "numerics": ".numerics",
    "reproduce": ".numerics.reproductions",
    "simulate": ".numerics.comparison.simulate",
    "recheck": ".numerics.verification.recheck",
    "register": ".numerics.checks.registry",
    "theory": ".theory",
    "verify": ".numerics.verification.verify",
}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_attributes(__name__, _NAMES)
