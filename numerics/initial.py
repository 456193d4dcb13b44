"""Owns `InitialState`: where a flow starts, as spectral eigenvalues of shape (I, H)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from ..theory.choices import checked_integrable
from ..theory.errors import InputError, InputTypeError
from .exact import as_float, shown
from .problem import FloatArray, Problem


@dataclass(frozen=True)
class RandomStart:
    """How a random initial state was drawn; see `InitialState.random`."""

    scale: float
    jitter: float
    seed: int


@dataclass(frozen=True, eq=False, repr=False)
class InitialState:
    """The weights at time 0 (time = learning rate × steps).

    Two states are equal if their arrays are; how they were made does not count.

    Parameters
    ----------
    mu : (I, H) array
        Output-value eigenvalues μ_i^h; kept as a read-only float64 copy.
    omega : (I, H) array
        Key-query eigenvalues ω_i^h; kept as a read-only float64 copy.
    provenance
        The draw that made it, or "explicit".

    Raises
    ------
    InputTypeError
        For entries that are no real numbers.
    InputError
        For arrays that are not two-dimensional, not of the same shape, empty or not finite.
    """

    mu: FloatArray
    omega: FloatArray
    provenance: RandomStart | Literal["explicit"] = field(default="explicit", kw_only=True)

    def __init__(
        self,
        mu: ArrayLike,
        omega: ArrayLike,
        *,
        provenance: RandomStart | Literal["explicit"] = "explicit",
    ) -> None:
        object.__setattr__(self, "mu", _eigenvalues("mu", mu))
        object.__setattr__(self, "omega", _eigenvalues("omega", omega))
        object.__setattr__(self, "provenance", provenance)
        if self.mu.shape != self.omega.shape:
            raise InputError(
                f"mu and omega must have the same shape (I, H), got {self.mu.shape} and {self.omega.shape}"
            )

    @classmethod
    def random(
        cls,
        problem: Problem,
        scale: float | Decimal | None = None,
        jitter: float | Decimal = 0.2,
        seed: int = 0,
    ) -> InitialState:
        """A small random start: ``ω = scale`` everywhere, ``μ = scale·(1 + jitter·u)``.

        ``u`` is ``numpy.random.default_rng(seed).random((I, H))``, uniform on [0, 1).

        Parameters
        ----------
        problem
            Gives I, H and the default scale.
        scale
            > 0; default L^(−3/4).
        jitter
            ≥ 0.
        seed
            Integer ≥ 0.
        """
        drawn = RandomStart(
            scale=as_float("scale", problem.context_length**-0.75 if scale is None else scale, positive=True),
            jitter=as_float("jitter", jitter, least=0),
            seed=_seed(seed),
        )
        shape = (problem.n_tasks, problem.n_heads)
        uniform = np.random.default_rng(drawn.seed).random(shape)
        with np.errstate(over="ignore"):  # an infinite entry is an error of the constructor
            mu = drawn.scale * (1 + drawn.jitter * uniform)
        return cls(
            mu=mu,
            omega=np.full(shape, drawn.scale),
            provenance=drawn,
        )

    def check(self, problem: Problem, parametrisation: str) -> None:
        """Raise `InputError` unless ``problem`` can start here under ``parametrisation``.

        The shape must be (I, H); ``balanced`` needs every μ > 0 and ω > 0, ``merged`` takes any sign.
        """
        checked_integrable(parametrisation)
        needed = (problem.n_tasks, problem.n_heads)
        if self.mu.shape != needed:
            raise InputError(f"mu and omega must have the shape (I, H) = {needed} of the problem, got {self.mu.shape}")
        if parametrisation == "balanced":
            for name, values in (("mu", self.mu), ("omega", self.omega)):
                wrong = np.argwhere(values <= 0)
                if len(wrong):
                    task, head = wrong[0]
                    raise InputError(
                        f"the balanced parametrisation needs every entry of {name} to be positive, "
                        f"got {name}[{task}][{head}] = {values[task, head]}"
                    )

    def to_dict(self) -> dict[str, Any]:
        """What files and JSON hold: scale, jitter and seed of a draw, else mu and omega as nested lists."""
        if isinstance(self.provenance, RandomStart):
            return asdict(self.provenance)
        return {"mu": self.mu.tolist(), "omega": self.omega.tolist()}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, InitialState):
            return NotImplemented
        return np.array_equal(self.mu, other.mu) and np.array_equal(self.omega, other.omega)

    def __hash__(self) -> int:
        return hash((self.mu.shape, self.mu.tobytes(), self.omega.tobytes()))

    def __repr__(self) -> str:
        if isinstance(self.provenance, RandomStart):
            return f"InitialState({self.mu.shape[0]} tasks, {self.mu.shape[1]} heads, {self.provenance})"
        return f"InitialState(mu={self.mu.tolist()}, omega={self.omega.tolist()})"


def _eigenvalues(name: str, values: ArrayLike) -> FloatArray:
    try:
        given = np.asarray(values)
    except ValueError:
        raise InputError(f"{name} must have rows of equal length: shape (I, H)") from None
    entries = given.ravel().tolist() if given.dtype.kind == "O" else []
    if given.dtype.kind not in "iufO" or any(
        isinstance(entry, bool) or not isinstance(entry, int | float | Decimal | Fraction) for entry in entries
    ):
        raise InputTypeError(f"{name} must be an array of real numbers, got {shown(values)}")
    if given.ndim != 2 or not given.size:
        raise InputError(f"{name} must have the shape (I, H), got {given.shape}")
    try:
        array = given.astype(np.float64) + 0.0  # −0 becomes 0: equal states have equal hashes
    except OverflowError:
        raise InputError(f"{name} must lie within the range of float64") from None
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong):
        task, head = wrong[0]
        raise InputError(f"{name} must be finite, got {name}[{task}][{head}] = {array[task, head]}")
    array.flags.writeable = False
    return array


def _seed(seed: object) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise InputTypeError(f"seed must be an integer, got {shown(seed)} ({type(seed).__name__})")
    if seed < 0:
        raise InputError(f"seed must be at least 0, got {shown(seed)}")
    return int(seed)
