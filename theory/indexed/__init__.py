"""The index calculus: sums over tasks and heads that stay symbolic.

``nodes`` says what an index expression is and substitutes without capture, ``normal`` brings one to normal
form, ``equality`` and ``factoring`` use it, ``naming`` names bound indices, ``definitions`` holds named
sub-expressions and ``folding`` finds them, ``calculus`` differentiates, ``asymptotics`` takes leading orders,
``unroll`` writes an expression out for concrete sizes.
"""

from .calculus import directional_derivative, gradient
from .definitions import Definition, inline, rule
from .equality import difference_is_zero
from .factoring import factored
from .folding import contract_inverse, fold
from .nodes import NodeError, check, free_symbols, replace_indexed, substitute
from .normal import normalise
from .unroll import unroll

__all__ = [
    "Definition",
    "NodeError",
    "check",
    "contract_inverse",
    "difference_is_zero",
    "directional_derivative",
    "factored",
    "fold",
    "free_symbols",
    "gradient",
    "inline",
    "normalise",
    "replace_indexed",
    "rule",
    "substitute",
    "unroll",
]
