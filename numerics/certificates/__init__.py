"""Certificates: rigorous enclosures of formulas over boxes of parameters, and of trajectories.

``endpoints`` and ``interval`` round outwards, ``elementary`` bounds e^x and log x in whole numbers, ``tape`` evaluates
an expression, ``boxes`` proves inequalities over a box, ``krawczyk`` that a solution exists and is unique,
``trajectory`` bounds the error of a computed trajectory, ``trapping`` proves that a box traps the balanced flow,
``basin`` that a flow ends at its allocation, ``resolvent`` encloses the mean trace behind the Bayes risk.
"""

from .boxes import Box, Certified, Enclosure, bounded_above, positive, supremum
from .endpoints import Arithmetic, arithmetic
from .interval import Interval, UnboundedError
from .krawczyk import Equations, unique_solution
from .tape import Tape

__all__ = [
    "Arithmetic",
    "Box",
    "Certified",
    "Enclosure",
    "Equations",
    "Interval",
    "Tape",
    "UnboundedError",
    "arithmetic",
    "bounded_above",
    "positive",
    "supremum",
    "unique_solution",
]
