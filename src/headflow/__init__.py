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
    from .numerics.closure_table import compare_closures as compare_closures
    from .numerics.compare import compare as compare
    from .numerics.engine.ensemble import ensemble as ensemble
    from .numerics.gradient_table import compare_gradients as compare_gradients
    from .numerics.initial import InitialState as InitialState
    from .numerics.integrate import integrate as integrate
    from .numerics.problem import Problem as Problem
    from .numerics.recheck import recheck as recheck
    from .numerics.reproductions import reproduce as reproduce
    from .numerics.simulate import simulate as simulate
    from .numerics.trajectory import Trajectory as Trajectory
    from .numerics.verify import verify as verify


_NAMES = {
    "AttentionWeights": ".numerics.attention",
    "Finding": ".numerics.checks.finding",
    "InitialState": ".numerics.initial",
    "Problem": ".numerics.problem",
    "Training": ".numerics.attention",
    "Trajectory": ".numerics.trajectory",
    "compare": ".numerics.compare",
    "compare_closures": ".numerics.closure_table",
    "compare_gradients": ".numerics.gradient_table",
    "ensemble": ".numerics.engine.ensemble",
    "errors": ".errors",
    "integrate": ".numerics.integrate",
    "numerics": ".numerics",
    "reproduce": ".numerics.reproductions",
    "simulate": ".numerics.simulate",
    "recheck": ".numerics.recheck",
    "register": ".numerics.checks.registry",
    "theory": ".theory",
    "verify": ".numerics.verify",
}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_attributes(__name__, _NAMES)
