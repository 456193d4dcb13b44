"""`AttentionWeights`: the full matrices of every head, made from spectral variables or given, and read out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...theory.brief import Brief
from ...theory.choices import checked_parametrisation
from ...theory.errors import InputError, InputTypeError
from ..problem.exact import shown
from ..problem.initial import InitialState
from ..problem.labelled import without_labels
from ..problem.problem import FloatArray, Problem, ensure_addressable

MERGED: Final = ("key_query", "output_value")
SPLIT: Final = ("key", "query", "value", "output")
_ORTHOGONAL: Final = 1e-10  # how far ΦᵀΦ may be from the identity
_MOST_NUMBERS: Final = 2**28  # in the matrices of all heads: 2 GB, of which there are two or four kinds, and copies


@dataclass(frozen=True, eq=False, repr=False)
class Spectrum(Brief):
    """What decomposable weights consist of, read off any weights.

    Attributes
    ----------
    mu, omega
        Output-value and key-query eigenvalues, (I, H): averages over the diagonal of a task's block.
    spread
        Standard deviation of the key-query eigenvalues within a task's block, (I, H).
    off_diagonal
        Frobenius norm of every entry that decomposability sets to zero, relative to that of all: of the key-query
        and of the output-value matrices of all heads.  Only entries that act are counted: the query has no label,
        and only label rows of the output are read.
    imbalance
        Of split weights what their exact flow conserves: the diagonals of OᵀO − VVᵀ, at the label of each task, and of
        KKᵀ − QQᵀ, averaged over a task's block; (2, I, H).  For diagonal factors o² − v² and k² − q².  Zero for merged
        weights, which have none.
    """

    mu: FloatArray
    omega: FloatArray
    spread: FloatArray
    off_diagonal: tuple[float, float]
    imbalance: FloatArray


@dataclass(frozen=True, eq=False, repr=False)
class AttentionWeights:
    """Weights of H heads on tokens (x, y) of dimension d_e = d + I.

    Head h outputs ``U Σ_l p_l z_l`` with ``p = softmax_l(z_lᵀ W z_q)``, and the prediction is the label part of the
    sum over heads.  Merged weights are W and U themselves; split weights are K, Q, V, O with ``W = KᵀQ/√d_e`` and
    ``U = O V``.  Make them with `merged`, `split` or `spectral`.

    Attributes
    ----------
    dims
        d_i of every task.
    parts
        (W, U) or (K, Q, V, O), each a read-only float64 array of shape (H, d_e, d_e).
    """

    dims: tuple[int, ...]
    parts: tuple[FloatArray, ...]

    @classmethod
    def merged(cls, problem: Problem, key_query: ArrayLike, output_value: ArrayLike) -> AttentionWeights:
        """Weights W and U, each (H, d_e, d_e); `InputError` for another shape or an entry that is not finite."""
        return cls._checked(problem, MERGED, (key_query, output_value))

    @classmethod
    def split(
        cls, problem: Problem, key: ArrayLike, query: ArrayLike, value: ArrayLike, output: ArrayLike
    ) -> AttentionWeights:
        """Weights K, Q, V and O, each (H, d_e, d_e); `InputError` for another shape or an entry not finite."""
        return cls._checked(problem, SPLIT, (key, query, value, output))

    @classmethod
    def spectral(
        cls,
        problem: Problem,
        mu: ArrayLike,
        omega: ArrayLike,
        rotation: ArrayLike | None = None,
        parametrisation: str = "merged",
        imbalance: FloatArray | None = None,
    ) -> AttentionWeights:
        """Decomposable weights: ``W_X = Φ diag(ω) Φᵀ``, ``U_Y = diag(μ)``, all other blocks zero.

        Parameters
        ----------
        mu
            Output-value eigenvalues, (I, H).
        omega
            Key-query eigenvalues, (I, H), or one for each rotated coordinate, (d, H).
        rotation
            Φ, an orthogonal (d, d) matrix that is block-diagonal over the tasks; default the identity.  (Where the
            eigenvalues of a task are equal, Φ makes no difference to W.)
        parametrisation
            "merged", or "split" or "balanced" for the factors K = diag(k)Φᵀ, Q = diag(q)Φᵀ, V = diag(v),
            O = diag(o).
        imbalance
            Of the factors, (2, I, H): Δ = o² − v² and Γ = k² − q², as of `InitialState`; default 0.
        """
        split = checked_parametrisation(parametrisation) != "merged"
        _ensure_they_fit(problem)
        frame = _rotation(problem, rotation)
        by_task = _array("mu", mu, [(problem.n_tasks, problem.n_heads)])
        shapes = [(problem.n_tasks, problem.n_heads), (problem.total_dim, problem.n_heads)]
        by_coordinate = _array("omega", omega, shapes)
        owner = owners(problem)
        if len(by_coordinate) == problem.n_tasks:
            by_coordinate = by_coordinate[owner]
        delta, gamma = np.zeros((2, problem.n_tasks, problem.n_heads)) if imbalance is None else imbalance
        x, y = np.arange(problem.total_dim), np.arange(problem.total_dim, problem.embedding_dim)

        def placed(values: FloatArray, place: NDArray[np.int64]) -> FloatArray:
            matrices = np.zeros((problem.n_heads, problem.embedding_dim, problem.embedding_dim))
            matrices[:, place, place] = values.T
            return matrices

        turn = np.eye(problem.embedding_dim)
        turn[: problem.total_dim, : problem.total_dim] = frame
        if not split:
            return cls.merged(problem, turn @ placed(by_coordinate, x) @ turn.T, placed(by_task, y))
        output, value = factors(by_task, delta)
        key, query = factors(math.sqrt(problem.embedding_dim) * by_coordinate, gamma[owner])
        return cls.split(
            problem, placed(key, x) @ turn.T, placed(query, x) @ turn.T, placed(value, y), placed(output, y)
        )

    @classmethod
    def of(cls, problem: Problem, initial: InitialState, parametrisation: str) -> AttentionWeights:
        """The weights of a flow's initial state."""
        initial.check(problem, parametrisation)
        return cls.spectral(
            problem, initial.mu, initial.omega, parametrisation=parametrisation, imbalance=initial.imbalance
        )

    @classmethod
    def _checked(cls, problem: Problem, names: tuple[str, ...], given: tuple[ArrayLike, ...]) -> AttentionWeights:
        if not isinstance(problem, Problem):
            raise InputTypeError(f"problem must be a Problem, got {shown(problem)} ({type(problem).__name__})")
        _ensure_they_fit(problem)
        shape = (problem.n_heads, problem.embedding_dim, problem.embedding_dim)
        return cls(problem.dims, tuple(_array(name, part, [shape]) for name, part in zip(names, given, strict=True)))

    def check(self, problem: Problem) -> None:
        """Raise `InputError` unless these are weights for ``problem``."""
        needed = (problem.n_heads, problem.embedding_dim, problem.embedding_dim)
        if self.dims != problem.dims or self.parts[0].shape != needed:
            raise InputError(
                f"the weights are for dims {self.dims} and {len(self.parts[0])} heads, "
                f"the problem has dims {problem.dims} and {problem.n_heads} heads"
            )

    def replaced(self, parts: tuple[FloatArray, ...]) -> AttentionWeights:
        """Weights of the same kind with other numbers (read-only copies)."""
        return AttentionWeights(self.dims, tuple(_frozen(part) for part in parts))

    @property
    def is_split(self) -> bool:
        """Whether the parts are K, Q, V, O."""
        return len(self.parts) == len(SPLIT)

    @property
    def names(self) -> tuple[str, ...]:
        """What the parts are called."""
        return SPLIT if self.is_split else MERGED

    @property
    def key_query(self) -> FloatArray:
        """W of every head, (H, d_e, d_e)."""
        if not self.is_split:
            return self.parts[0]
        key, query = self.parts[:2]
        return _product(np.swapaxes(key, 1, 2), query) / math.sqrt(key.shape[1])

    @property
    def output_value(self) -> FloatArray:
        """U of every head, (H, d_e, d_e)."""
        if not self.is_split:
            return self.parts[1]
        return _product(self.parts[3], self.parts[2])

    @property
    def acting(self) -> tuple[FloatArray, FloatArray]:
        """The entries that act: W on the query's covariates, (H, d_e, d), and the label rows of U, (H, I, d_e)."""
        d = sum(self.dims)
        return self.key_query[:, :, :d], self.output_value[:, d:, :]

    @property
    def labels_average_out(self) -> bool:
        """Whether no label enters a score and no covariate the output.

        Then the loss is a quadratic form in regressors and noise, and both are averaged exactly.
        """
        d = sum(self.dims)
        read, write = self.acting
        return not read[:, d:].any() and not write[:, :, :d].any()

    def through(self, key_query: FloatArray, output_value: FloatArray) -> tuple[FloatArray, ...]:
        """Gradients in the parts, from gradients in W and U (chain rule through the products)."""
        if not self.is_split:
            return key_query, output_value
        key, query, value, output = self.parts
        scale = math.sqrt(key.shape[1])
        return (
            query @ np.swapaxes(key_query, 1, 2) / scale,
            key @ key_query / scale,
            np.swapaxes(output, 1, 2) @ output_value,
            output_value @ np.swapaxes(value, 1, 2),
        )

    def spectrum(self, rotation: ArrayLike | None = None) -> Spectrum:
        """The spectral variables, in the frame of Φ = ``rotation`` (default: the identity), and what is left.

        Where weights overflow, so do these.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            return self._spectrum(frame_of(rotation, sum(self.dims)))

    def _spectrum(self, frame: FloatArray) -> Spectrum:
        read, write = self.acting
        d, n_tasks = sum(self.dims), len(self.dims)
        owner = np.repeat(np.arange(n_tasks), self.dims)
        scores = read[:, :d]
        if (frame != np.eye(d)).any():  # rounds nothing else
            scores = frame.T @ scores @ frame
        diagonal = np.diagonal(scores, axis1=1, axis2=2)  # (H, d)
        average = (np.arange(n_tasks)[:, None] == owner) / np.array(self.dims)[:, None]  # (I, d)
        omega = average @ diagonal.T
        spread = np.sqrt(average @ (diagonal.T - omega[owner]) ** 2)
        mu = np.diagonal(write[:, :, d:], axis1=1, axis2=2).T
        rest_of_read = np.concatenate([scores * (1 - np.eye(d)), read[:, d:]], axis=1)
        rest_of_write = write.copy()
        rest_of_write[:, np.arange(n_tasks), d + np.arange(n_tasks)] = 0.0
        left = _rest(read, rest_of_read), _rest(write, rest_of_write)
        return Spectrum(_frozen(mu), _frozen(omega), _frozen(spread), left, _frozen(self._imbalance(average)))

    def _imbalance(self, average: FloatArray) -> FloatArray:
        """As of `Spectrum`; ``average`` (I, d) is over a task's coordinates."""
        n_tasks, d = average.shape
        if not self.is_split:
            return np.zeros((2, n_tasks, len(self.parts[0])))
        key, query, value, output = self.parts
        of_labels = (output**2).sum(axis=1) - (value**2).sum(axis=2)  # (H, d_e)
        of_scores = (key**2).sum(axis=2) - (query**2).sum(axis=2)
        return np.stack([of_labels[:, d:].T, average @ of_scores[:, :d].T])

    def __repr__(self) -> str:
        return f"AttentionWeights({', '.join(self.names)} of {len(self.parts[0])} heads, dims={self.dims})"


def numbers_of_matrices(problem: Problem) -> int:
    """How many numbers the matrices of all heads have, or the products of what they write, if these are more."""
    pairs = (problem.n_tasks * problem.n_heads) ** 2
    return max(problem.n_heads * problem.embedding_dim**2, pairs)


def _ensure_they_fit(problem: Problem) -> None:
    """Raise `InputError` where the matrices of all heads would not fit into memory."""
    numbers = numbers_of_matrices(problem)
    if numbers > _MOST_NUMBERS:
        raise InputError(
            f"the weight matrices of {problem.n_heads} heads on tokens of {problem.embedding_dim} numbers are too "
            f"large: at least {8 * numbers / 1e9:.1f} GB for each kind; the risk of decomposable weights, "
            "mu and omega, can be sampled without them"
        )


def checked_spectrum(problem: Problem, mu: ArrayLike, omega: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """μ and ω, each of shape (I, H); raises as `AttentionWeights.spectral`."""
    shapes = [(problem.n_tasks, problem.n_heads)]
    return _array("mu", mu, shapes), _array("omega", omega, shapes)


def _product(left: FloatArray, right: FloatArray) -> FloatArray:
    """The matrix product; where it overflows, whoever uses it finds what is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(left @ right)


def owners(problem: Problem) -> NDArray[np.int64]:
    """The task of every coordinate, (d,)."""
    return np.repeat(np.arange(problem.n_tasks), problem.dims)


def factors(product: FloatArray, imbalance: FloatArray) -> tuple[FloatArray, FloatArray]:
    """a ≥ 0 and b with a b = ``product`` and a² − b² = ``imbalance``, without cancellation."""
    larger = np.sqrt((np.hypot(imbalance, 2 * product) + np.abs(imbalance)) / 2)
    smaller = np.divide(np.abs(product), larger, out=np.zeros_like(larger), where=larger > 0)
    first = imbalance >= 0
    sign = np.where(product < 0, -1.0, 1.0)
    return np.where(first, larger, smaller), sign * np.where(first, smaller, larger)


def random_rotation(problem: Problem, seed: int) -> FloatArray:
    """A uniform orthogonal matrix (d, d), block-diagonal over the tasks."""
    rng = np.random.default_rng(seed)
    rotation = np.zeros((problem.total_dim, problem.total_dim))
    start = 0
    for dim in problem.dims:
        q, r = np.linalg.qr(rng.standard_normal((dim, dim)))
        rotation[start : start + dim, start : start + dim] = q * np.sign(np.diagonal(r))
        start += dim
    return rotation


def _rest(matrices: FloatArray, zeroed: FloatArray) -> float:
    """Frobenius norm of ``zeroed``, what should vanish, relative to the whole."""
    whole = float(np.linalg.norm(matrices))
    return float(np.linalg.norm(zeroed)) / whole if whole else 0.0


def identity(size: int) -> FloatArray:
    """The identity matrix; ``MemoryError`` where it is too large."""
    ensure_addressable(size, size)
    return np.eye(size)


def frame_of(rotation: ArrayLike | None, d: int) -> FloatArray:
    """Φ as an array (d, d), by default the identity; raises `InputError` for another shape."""
    return identity(d) if rotation is None else _array("rotation", rotation, [(d, d)])


def _rotation(problem: Problem, rotation: ArrayLike | None) -> FloatArray:
    d = problem.total_dim
    frame = frame_of(rotation, d)
    if not np.allclose(frame.T @ frame, identity(d), rtol=0, atol=_ORTHOGONAL):
        raise InputError("rotation must be orthogonal")
    owner = owners(problem)
    if frame[owner[:, None] != owner].any():
        raise InputError("rotation must be block-diagonal over the tasks: no entry may join coordinates of two tasks")
    return frame


def _array(name: str, values: ArrayLike, shapes: Sequence[tuple[int, ...]]) -> FloatArray:
    given = np.asarray(without_labels(name, values))
    if given.dtype.kind not in "iuf":
        raise InputTypeError(f"{name} must be an array of real numbers, got {shown(values)}")
    if given.shape not in shapes:
        raise InputError(f"{name} must have the shape {' or '.join(map(str, shapes))}, got {given.shape}")
    if not np.isfinite(given).all():
        raise InputError(f"{name} must be finite")
    return _frozen(given)


def _frozen(values: ArrayLike) -> FloatArray:
    array = np.array(values, dtype=np.float64)
    array.flags.writeable = False
    return array
