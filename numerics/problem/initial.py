"""`InitialState`: where a flow starts, as spectral eigenvalues of shape (I, H)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from ...theory.choices import checked_parametrisation
from ...theory.errors import InputError, InputTypeError
from .exact import as_float, shown, whole_number
from .labelled import by_labels, without_labels
from .problem import FloatArray, Problem, ensure_addressable

# One number for both invariants, or one entry for Δ and one for Γ, each a number or an (I, H) array.
Imbalance: TypeAlias = float | Decimal | Sequence[Any] | FloatArray

_WRITTEN_OUT = 64  # entries of a start that a line has


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
        Key-query eigenvalues ω_i^h; kept as a read-only float64 copy.  Arrays of xarray with the axes task and head
        (in any order, labels from 0) and tables of pandas (rows are tasks) are read by their labels.
    imbalance : (2, I, H) array
        The invariants of a ``split`` start, Δ = o² − v² and Γ = k² − q²: given as one number for all, or as a pair
        (Δ, Γ) of numbers or (I, H) arrays; default 0.  It makes the factors ``o = √((√(Δ² + 4μ²) + Δ)/2)``,
        ``v = μ/o`` and k, q in the same way from Γ and √d_e ω.  The other parametrisations need 0.
    provenance
        The draw that made mu and omega, or "explicit".

    Raises
    ------
    InputTypeError
        For entries that are no real numbers.
    InputError
        For arrays that are not two-dimensional, not of the same shape, empty or not finite, and for an imbalance
        that is no number or pair.
    """

    mu: FloatArray
    omega: FloatArray
    imbalance: FloatArray
    provenance: RandomStart | Literal["explicit"] = field(default="explicit", kw_only=True)

    def __init__(
        self,
        mu: ArrayLike,
        omega: ArrayLike,
        imbalance: Imbalance = 0.0,
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
        object.__setattr__(self, "imbalance", _imbalances(imbalance, self.mu.shape))

    @classmethod
    def from_factors(cls, problem: Problem, o: ArrayLike, v: ArrayLike, k: ArrayLike, q: ArrayLike) -> InitialState:
        """The start of ``split`` at given factors: ``μ = o v``, ``ω = k q/√d_e``, arrays of shape (I, H).

        A change of sign of o and v together (of k and q) changes nothing and is not kept: trajectories start from
        o ≥ 0 and k ≥ 0.
        """
        parts = {name: _eigenvalues(name, values) for name, values in (("o", o), ("v", v), ("k", k), ("q", q))}
        if len({part.shape for part in parts.values()}) > 1:
            raise InputError(f"o, v, k and q must have the same shape (I, H), got {[p.shape for p in parts.values()]}")
        first, second, third, fourth = parts.values()
        with np.errstate(over="ignore"):  # an infinite entry is an error of the constructor
            return cls(
                mu=first * second,
                omega=third * fourth / math.sqrt(problem.embedding_dim),
                imbalance=((first - second) * (first + second), (third - fourth) * (third + fourth)),
            )

    @classmethod
    def random(
        cls,
        problem: Problem,
        scale: float | Decimal | None = None,
        jitter: float | Decimal = 0.2,
        seed: int = 0,
        imbalance: Imbalance = 0.0,
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
        imbalance
            As of the constructor; not drawn.
        """
        drawn = RandomStart(
            scale=as_float("scale", problem.context_length**-0.75 if scale is None else scale, positive=True),
            jitter=as_float("jitter", jitter, least=0),
            seed=checked_seed(seed),
        )
        shape = (problem.n_tasks, problem.n_heads)
        ensure_addressable(*shape)
        uniform = np.random.default_rng(drawn.seed).random(shape)
        with np.errstate(over="ignore"):  # an infinite entry is an error of the constructor
            mu = drawn.scale * (1 + drawn.jitter * uniform)
        return cls(
            mu=mu,
            omega=np.full(shape, drawn.scale),
            imbalance=imbalance,
            provenance=drawn,
        )

    def with_imbalance(self, imbalance: Imbalance) -> InitialState:
        """The same mu and omega out of balance by ``imbalance``."""
        return InitialState(self.mu, self.omega, imbalance, provenance=self.provenance)

    def check(self, problem: Problem, parametrisation: str) -> None:
        """Raise `InputError` unless ``problem`` can start here under ``parametrisation``.

        The shape must be (I, H); ``balanced`` needs every μ > 0 and ω > 0, ``merged`` and ``split`` take any sign;
        only ``split`` can be out of balance.
        """
        checked_parametrisation(parametrisation)
        needed = (problem.n_tasks, problem.n_heads)
        if self.mu.shape != needed:
            raise InputError(f"mu and omega must have the shape (I, H) = {needed} of the problem, got {self.mu.shape}")
        if parametrisation != "split" and self.imbalance.any():
            raise InputError(
                f"the {parametrisation} parametrisation has no imbalance, which the initial state gives: only split has"
            )
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
        """What files and JSON hold: scale, jitter and seed of a draw, else mu and omega as nested lists.

        And the imbalance where there is one: a number, or the pair of Δ and Γ, each a number or nested lists.
        """
        start: dict[str, Any] = {"mu": self.mu.tolist(), "omega": self.omega.tolist()}
        if isinstance(self.provenance, RandomStart):
            start = asdict(self.provenance)
        if self.imbalance.any():
            pair = [part.flat[0].item() if (part == part.flat[0]).all() else part.tolist() for part in self.imbalance]
            start["imbalance"] = pair[0] if pair[0] == pair[1] and isinstance(pair[0], float) else pair
        return start

    def _arrays(self) -> tuple[FloatArray, ...]:
        return self.mu, self.omega, self.imbalance

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, InitialState):
            return NotImplemented
        return all(map(np.array_equal, self._arrays(), other._arrays()))

    def __hash__(self) -> int:
        return hash((self.mu.shape, *(array.tobytes() for array in self._arrays())))

    def __repr__(self) -> str:
        imbalance = f", imbalance={self.to_dict()['imbalance']}" if self.imbalance.any() else ""
        if isinstance(self.provenance, RandomStart):
            return f"InitialState({self.mu.shape[0]} tasks, {self.mu.shape[1]} heads, {self.provenance}{imbalance})"
        if self.mu.size > _WRITTEN_OUT:
            return f"InitialState({self.mu.shape[0]} tasks, {self.mu.shape[1]} heads, explicit)"
        return f"InitialState(mu={self.mu.tolist()}, omega={self.omega.tolist()}{imbalance})"


def _imbalances(values: Imbalance, shape: tuple[int, ...]) -> FloatArray:
    """Δ and Γ of every entry, shape (2, I, H), read-only."""
    without_labels("imbalance", values)
    if isinstance(values, Sequence | np.ndarray) and not isinstance(values, str | bytes):
        if len(values) != 2:
            raise InputError(f"imbalance must be a number or a pair (Delta, Gamma), got {len(values)} entries")
        pair = list(values)
    else:
        pair = [values, values]
    found = np.empty((2, *shape))
    for place, (name, part) in enumerate(zip(("imbalance Delta", "imbalance Gamma"), pair, strict=True)):
        whole = _eigenvalues(name, part) if np.ndim(part) else as_float(name, part) + 0.0  # −0 becomes 0
        if np.ndim(whole) and np.shape(whole) != shape:
            raise InputError(f"{name} must be a number or have the shape {shape} of mu, got {np.shape(whole)}")
        found[place] = whole
    found.flags.writeable = False
    return found


def _eigenvalues(name: str, values: ArrayLike) -> FloatArray:
    values = by_labels(name, values, ("task", "head"))
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


def checked_seed(seed: object) -> int:
    """``seed`` as an integer of at least 0; ``InputTypeError`` or ``InputError`` otherwise."""
    return whole_number("seed", seed, least=0)
