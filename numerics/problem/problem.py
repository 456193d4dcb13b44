"""`Problem`: the numbers of one in-context regression problem, validated, frozen and exact."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass, fields
from decimal import Decimal
from fractions import Fraction
from typing import Any, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...theory.errors import InputError, InputTypeError
from .exact import ExactLike, items, literal, plain, positive_fraction, positive_integer, shown, whole_number

FloatArray: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, init=False, repr=False)
class Problem:
    """I tasks of linear regression learned in context by softmax attention with H heads.

    No value has a default, and each is kept as it was written: 0.1, "0.1" and Decimal("0.1") are 1/10,
    "1/3" is a third.  `exact_values` hands out these numbers, `float_values` their nearest floats.

    Parameters
    ----------
    dims : I integers ≥ 1
        d_i, the number of coordinates of task i.
    signal_power : I numbers > 0, or one for all tasks
        λ_i = E|β_i|², the variance of the noise-free response of task i.
    noise_variance : number ≥ 0
        σ², the variance of the label noise; 0 for labels without noise.
    context_length : integer ≥ 1
        L, the number of examples in the context.
    n_heads : integer ≥ 1
        H.

    Raises
    ------
    InputTypeError
        For a value of the wrong kind (a bool, a float where an integer is needed, …).
    InputError
        For a value that is not allowed, or lists of different lengths.

    Examples
    --------
    >>> problem = Problem(dims=[5, 20], signal_power=[4, "1/3"], noise_variance=0.1, context_length=100, n_heads=2)
    >>> problem
    Problem(dims=(5, 20), signal_power=(4.0, "1/3"), noise_variance=0.1, context_length=100, n_heads=2)
    >>> problem.n_tasks, problem.total_dim, problem.embedding_dim
    (2, 25, 27)
    """

    dims: tuple[int, ...]
    signal_power: tuple[Fraction, ...]
    noise_variance: Fraction
    context_length: int
    n_heads: int

    def __init__(
        self,
        dims: Iterable[SupportsIndex],
        signal_power: Iterable[ExactLike] | ExactLike,
        noise_variance: ExactLike,
        context_length: SupportsIndex,
        n_heads: SupportsIndex,
    ) -> None:
        per_task = tuple(positive_integer(f"dims[{i}]", value) for i, value in enumerate(items("dims", dims)))
        checked: dict[str, object] = {
            "dims": per_task,
            "signal_power": tuple(
                positive_fraction(f"signal_power[{i}]", value)
                for i, value in enumerate(_per_task(signal_power, len(per_task)))
            ),
            "noise_variance": positive_fraction("noise_variance", noise_variance, or_zero=True),
            "context_length": positive_integer("context_length", context_length),
            "n_heads": positive_integer("n_heads", n_heads),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        if len(self.dims) != len(self.signal_power):
            raise InputError(
                "dims and signal_power must have one entry per task each, "
                f"got {len(self.dims)} and {len(self.signal_power)}"
            )

    def __repr__(self) -> str:
        power = ", ".join(map(literal, self.signal_power)) + ("," if self.n_tasks == 1 else "")
        return (
            f"Problem(dims={self.dims}, signal_power=({power}), "
            f"noise_variance={literal(self.noise_variance)}, "
            f"context_length={self.context_length}, n_heads={self.n_heads})"
        )

    @property
    def n_tasks(self) -> int:
        """I."""
        return len(self.dims)

    @property
    def total_dim(self) -> int:
        """d = Σ_i d_i, the dimension of an input x."""
        return sum(self.dims)

    @property
    def embedding_dim(self) -> int:
        """d_e = d + I, the dimension of a token (x, y)."""
        return self.total_dim + self.n_tasks

    @property
    def snr(self) -> FloatArray:
        """SNR_i = λ_i/σ², shape (I,); infinite without noise."""
        with np.errstate(over="ignore", divide="ignore"):
            return np.array(self.signal_power, dtype=np.float64) / float(self.noise_variance)

    def exact_values(self) -> dict[str, int | Fraction | tuple[int, ...] | tuple[Fraction, ...]]:
        """The exact numbers by the names of `headflow.theory.notation`: d, lambda, sigma2, L, I, H."""
        return {
            "d": self.dims,
            "lambda": self.signal_power,
            "sigma2": self.noise_variance,
            "L": self.context_length,
            "I": self.n_tasks,
            "H": self.n_heads,
        }

    def float_values(self) -> dict[str, float | FloatArray]:
        """`exact_values` as float64: d and lambda of shape (I,), the others scalars."""
        return {
            name: np.array(value, dtype=np.float64) if isinstance(value, tuple) else float(value)
            for name, value in self.exact_values().items()
        }

    def to_dict(self) -> dict[str, Any]:
        """The problem as JSON holds it; ``Problem(**problem.to_dict()) == problem``.

        Numbers, save those that no short decimal equals: they are strings such as "1/3".
        """
        return {
            "dims": list(self.dims),
            "signal_power": [plain(power) for power in self.signal_power],
            "noise_variance": plain(self.noise_variance),
            "context_length": self.context_length,
            "n_heads": self.n_heads,
        }

    def replace(self, **changes: Any) -> Problem:
        """The problem with some values changed; the names are those of the constructor."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in changes:
            if name not in values:
                raise InputTypeError(f"a problem has no {name!r}; its values are {', '.join(values)}")
        return Problem(**(values | changes))

    def in_units_of(self, power: Fraction) -> Problem:
        """The problem with signal powers and noise in units of ``power``.

        Its losses are those of the problem over ``power``, and its flow runs ``power`` times slower.

        Raises ``InputError`` where one of them is too far from the unit for float64.
        """
        try:
            return self.replace(
                signal_power=[own / power for own in self.signal_power], noise_variance=self.noise_variance / power
            )
        except InputError:
            got = ", ".join(map(literal, (*self.signal_power, self.noise_variance)))
            raise InputError(
                "signal powers and noise differ by more than float64 can hold beside each other, "
                f"which must be a factor below 1e308; got {got}"
            ) from None

    def subset(self, tasks: Iterable[int], n_heads: int) -> Problem:
        """The problem of some of the tasks alone, learned by ``n_heads`` heads.

        Its embedding is smaller: ``embedding_dim`` is that of the tasks that are left.

        Parameters
        ----------
        tasks
            0-based task numbers, each at most once, in the order wanted.
        n_heads
            H of the smaller problem.
        """
        chosen: list[int] = []
        for task in items("tasks", tasks):
            place = whole_number("each of tasks", task)
            if not 0 <= place < self.n_tasks or place in chosen:
                raise InputError(
                    f"tasks must be different numbers from 0 to {self.n_tasks - 1}, got {shown(task)}"
                    + (" twice" if place in chosen else "")
                )
            chosen.append(place)
        return self.replace(
            dims=[self.dims[task] for task in chosen],
            signal_power=[self.signal_power[task] for task in chosen],
            n_heads=n_heads,
        )


def ensure_addressable(*shape: int) -> None:
    """Raise ``MemoryError`` where no memory holds floats of that shape: for the largest NumPy has a ``ValueError``."""
    if math.prod(shape) > sys.maxsize // 8:
        raise MemoryError


def _per_task(signal_power: Iterable[ExactLike] | ExactLike, n_tasks: int) -> list[object]:
    """The signal powers of all tasks, from a list of them or one that all share."""
    if getattr(signal_power, "shape", None) == () or (
        isinstance(signal_power, int | float | Decimal | Fraction | np.generic) and not isinstance(signal_power, bool)
    ):
        return [signal_power] * n_tasks
    return items("signal_power", signal_power)
