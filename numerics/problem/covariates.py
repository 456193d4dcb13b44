"""`CovariateProblem`: the numbers of one in-context regression task with coordinates of any variances."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, SupportsIndex

import numpy as np

from ...theory.errors import InputError
from .exact import ExactLike, items, literal, plain, positive_fraction, positive_integer
from .problem import FloatArray


@dataclass(frozen=True, init=False, repr=False)
class CovariateProblem:
    """One task on D coordinates, ``x ~ N(0, diag(Λ))``; every value is kept as it was written.

    Parameters
    ----------
    variances : D numbers > 0
        Λ_a, the eigenvalues of the covariance of x.
    regressor_variances : D numbers > 0
        τ_a, the variances of the entries of β in the eigenbasis.
    noise_variance : number ≥ 0
        σ².
    context_length : integer ≥ 1
        L.
    n_heads : integer ≥ 1
        H.

    Raises ``InputTypeError`` for a value of the wrong kind, ``InputError`` for one that is not allowed.

    Examples
    --------
    >>> problem = CovariateProblem([2, 1, "1/2"], [1, 1, 1], noise_variance=0.1, context_length=30, n_heads=3)
    >>> problem
    CovariateProblem((2.0, 1.0, 0.5), (1.0, 1.0, 1.0), noise_variance=0.1, context_length=30, n_heads=3)
    """

    variances: tuple[Fraction, ...]
    regressor_variances: tuple[Fraction, ...]
    noise_variance: Fraction
    context_length: int
    n_heads: int

    def __init__(
        self,
        variances: Iterable[ExactLike],
        regressor_variances: Iterable[ExactLike],
        noise_variance: ExactLike,
        context_length: SupportsIndex,
        n_heads: SupportsIndex,
    ) -> None:
        given = {"variances": variances, "regressor_variances": regressor_variances}
        checked: dict[str, object] = {
            name: tuple(
                positive_fraction(f"{name}[{at}]", value) for at, value in enumerate(items(name, values, "coordinate"))
            )
            for name, values in given.items()
        }
        checked |= {
            "noise_variance": positive_fraction("noise_variance", noise_variance, or_zero=True),
            "context_length": positive_integer("context_length", context_length),
            "n_heads": positive_integer("n_heads", n_heads),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        if not self.variances or len(self.variances) != len(self.regressor_variances):
            raise InputError(
                "variances and regressor_variances must have one entry per coordinate each, "
                f"got {len(self.variances)} and {len(self.regressor_variances)}"
            )

    def __repr__(self) -> str:
        def listed(numbers: tuple[Fraction, ...]) -> str:
            return f"({', '.join(map(literal, numbers))}{',' if len(numbers) == 1 else ''})"

        return (
            f"CovariateProblem({listed(self.variances)}, {listed(self.regressor_variances)}, "
            f"noise_variance={literal(self.noise_variance)}, context_length={self.context_length}, "
            f"n_heads={self.n_heads})"
        )

    @property
    def n_coordinates(self) -> int:
        """D."""
        return len(self.variances)

    def exact_values(self) -> dict[str, int | Fraction | tuple[Fraction, ...]]:
        """The exact numbers by the names of `headflow.theory.families`: Lambda, tau, sigma2, L, D, H."""
        return {
            "Lambda": self.variances,
            "tau": self.regressor_variances,
            "sigma2": self.noise_variance,
            "L": self.context_length,
            "D": self.n_coordinates,
            "H": self.n_heads,
        }

    def float_values(self) -> dict[str, float | FloatArray]:
        """`exact_values` as float64: Lambda and tau of shape (D,), the others scalars."""
        return {
            name: np.array(value, dtype=np.float64) if isinstance(value, tuple) else float(value)
            for name, value in self.exact_values().items()
        }

    def to_dict(self) -> dict[str, Any]:
        """The problem as JSON holds it; ``CovariateProblem(**problem.to_dict()) == problem``."""
        return {
            "variances": list(map(plain, self.variances)),
            "regressor_variances": list(map(plain, self.regressor_variances)),
            "noise_variance": plain(self.noise_variance),
            "context_length": self.context_length,
            "n_heads": self.n_heads,
        }
