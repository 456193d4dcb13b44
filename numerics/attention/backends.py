"""Where the model runs: NumPy on threads, or JAX where it is installed, behind one small interface."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from typing import Any, Final, Protocol, TypeVar

import numpy as np

from ...theory.choices import unknown
from ...theory.errors import InputError, InputTypeError
from ..problem.problem import FloatArray, Problem
from ..runtime.cores import usable_cores
from . import conditional, model
from .prompts import Data, draw, draw_jax, draw_scored, draw_scored_jax, frame_size, generator

BACKENDS: Final = ("auto", "numpy", "jax")
DTYPES: Final = ("float64", "float32")
_NUMBERS: Final = {"numpy": 2**21, "jax": 2**24}  # that a block holds: what bounds the memory
_MOST_THREADS: Final = 8  # each holds a block
_PROMPTS: Final = {"numpy": (512, 256), "jax": (8192, 8192)}  # most of a block of losses, and of gradients

Weights = tuple[FloatArray, FloatArray]
_Result = TypeVar("_Result")


class Backend(Protocol):
    """Losses and gradients on blocks of prompts; a block is a function of (seed, stream, step, block).

    ``loss_block`` and ``gradient_block`` are how many prompts a block has; ``device`` says in words what computes.
    """

    name: str
    device: str
    loss_block: int
    gradient_block: int

    def losses(self, weights: Weights, place: tuple[int, int, int], size: int) -> FloatArray:
        """Mean loss of every prompt and task given its scores, (n, I); ``place`` is (stream, step, block)."""

    def gradient(
        self, weights: Weights, place: tuple[int, int, int], size: int
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Losses (n, I) of prompts with all their tokens, and the gradients of their sum in both weights."""

    def map(self, work: Callable[[int, int], _Result], total: int, block_size: int) -> Iterator[_Result]:
        """``work(block, size)`` of the blocks that make up ``total`` prompts, in order."""


def make_backend(problem: Problem, name: str, dtype: str, seed: int, averaged: bool) -> Backend:
    """The backend of that name.

    Parameters
    ----------
    name
        "numpy", "jax", or "auto": JAX if it is installed and has an accelerator (on a CPU NumPy is faster).
    dtype
        "float64" or "float32": of prompts and products.  Weights and results are float64.
    seed
        Of the prompts.
    averaged
        Whether regressors and noise are averaged exactly.

    Raises `InputError` for an unknown name, and for "jax" where JAX is not installed.
    """
    for kind, word, allowed in (("backend", name, BACKENDS), ("dtype", dtype, DTYPES)):
        if not isinstance(word, str):
            raise InputTypeError(f"{kind} must be a string, got {word!r} ({type(word).__name__})")
        if word not in allowed:
            raise InputError(unknown(kind, word, allowed))
    if name == "jax" and find_spec("jax") is None:
        raise InputError("backend 'jax' needs JAX: install headflow[jax]")
    if name == "jax" or (name == "auto" and _accelerator()):
        return _Jax(problem, dtype, seed, averaged)
    return _NumPy(problem, dtype, seed, averaged)


def _accelerator() -> bool:
    if find_spec("jax") is None:
        return False
    import jax

    return bool(jax.default_backend() != "cpu")


def _block_sizes(name: str, problem: Problem, averaged: bool) -> tuple[int, int]:
    """Prompts of a block of losses, and of gradients, by the numbers that a prompt takes."""
    heads, width = problem.n_heads, problem.total_dim if averaged else problem.embedding_dim
    rank = frame_size(heads, width)
    forms = heads * width if averaged else heads * width * (1 + problem.n_tasks)
    scored = problem.context_length * (heads + rank) + width * rank + forms + heads**2
    tokens = problem.context_length * (width + heads) + heads**2
    most_losses, most_gradients = _PROMPTS[name]
    limit = _NUMBERS[name]
    return max(1, min(most_losses, limit // scored)), max(1, min(most_gradients, limit // tokens))


def _blocks(total: int, block_size: int) -> Iterator[tuple[int, int]]:
    for block, start in enumerate(range(0, total, block_size)):
        yield block, min(block_size, total - start)


class _NumPy:
    """Blocks on a few threads: NumPy's generators, products and functions run outside the interpreter's lock."""

    name = "numpy"

    def __init__(self, problem: Problem, dtype: str, seed: int, averaged: bool) -> None:
        self.loss_block, self.gradient_block = _block_sizes(self.name, problem, averaged)
        self._data, self._heads = Data.of(problem, dtype), problem.n_heads
        self._dtype, self._seed, self._averaged = dtype, seed, averaged
        self._workers = min(_MOST_THREADS, usable_cores())
        self._pool = ThreadPoolExecutor(self._workers) if self._workers > 1 else None
        self.device = f"CPU, {self._workers} thread{'s' * (self._workers > 1)}"

    def _cast(self, weights: Weights) -> Weights:
        read, write = (np.ascontiguousarray(part, dtype=self._dtype) for part in weights)
        return read, write

    def losses(self, weights: Weights, place: tuple[int, int, int], size: int) -> FloatArray:
        """See `Backend`."""
        drawn = draw_scored(
            generator(self._seed, *place), self._data, self._heads, size, self._dtype, not self._averaged
        )
        loss = conditional.averaged_losses if self._averaged else conditional.sampled_losses
        with np.errstate(all="ignore"):  # of a thread's own; callers look at what they get
            return np.asarray(loss(np, self._data, drawn, *self._cast(weights)), dtype=np.float64)

    def gradient(
        self, weights: Weights, place: tuple[int, int, int], size: int
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """See `Backend`."""
        prompts = draw(generator(self._seed, *place), self._data, size, self._dtype, not self._averaged)
        function = model.averaged_gradient if self._averaged else model.sampled_gradient
        with np.errstate(all="ignore"):
            losses, read, write = function(self._data, prompts, *self._cast(weights))
        return losses.astype(np.float64), read.astype(np.float64), write.astype(np.float64)

    def map(self, work: Callable[[int, int], _Result], total: int, block_size: int) -> Iterator[_Result]:
        """See `Backend`; as many blocks at a time as there are threads."""
        blocks = _blocks(total, block_size)
        if self._pool is None:
            yield from (work(*block) for block in blocks)
            return
        under_way: deque[Future[_Result]] = deque()
        for block in blocks:
            under_way.append(self._pool.submit(work, *block))
            if len(under_way) > self._workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


class _Jax:
    """Compiled blocks on JAX's default device; gradients are automatic derivatives of the forward pass."""

    name = "jax"

    def __init__(self, problem: Problem, dtype: str, seed: int, averaged: bool) -> None:
        import jax

        self.loss_block, self.gradient_block = _block_sizes(self.name, problem, averaged)
        self._dtype = dtype
        device = jax.devices()[0]
        kind = device.device_kind
        self.device = kind.upper() if kind == device.platform else f"{device.platform.upper()}, {kind}"
        data = Data.of(problem, dtype)
        conditional_loss = partial(
            conditional.averaged_losses if averaged else conditional.sampled_losses, jax.numpy, data
        )
        loss: Callable[..., Any] = (
            partial(model.averaged_losses, jax.numpy, data) if averaged else partial(model.sampled_losses, jax.numpy)
        )

        def key(place: Any) -> Any:
            found = jax.random.key(seed)
            for number in place:
                found = jax.random.fold_in(found, number)
            return found

        def losses(read: Any, write: Any, place: Any, size: int) -> Any:
            drawn = draw_scored_jax(key(place), data, problem.n_heads, size, dtype, not averaged)
            return conditional_loss(drawn, read, write)

        def summed(parts: Any, place: Any, size: int) -> Any:
            values = loss(draw_jax(key(place), data, size, dtype, not averaged), *parts)
            return values.sum(), values

        self._losses = jax.jit(losses, static_argnames="size")
        self._gradient = jax.jit(jax.grad(summed, has_aux=True), static_argnames="size")

    def _run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        import jax

        with jax.enable_x64(self._dtype == "float64"), jax.default_matmul_precision("highest"):
            return jax.tree.map(lambda part: np.asarray(part, dtype=np.float64), function(*arguments))

    def _cast(self, weights: Weights) -> Weights:
        read, write = (part.astype(self._dtype) for part in weights)
        return read, write

    def losses(self, weights: Weights, place: tuple[int, int, int], size: int) -> FloatArray:
        """See `Backend`."""
        found: FloatArray = self._run(self._losses, *self._cast(weights), np.array(place, dtype=np.uint32), size)
        return found

    def gradient(
        self, weights: Weights, place: tuple[int, int, int], size: int
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """See `Backend`."""
        (read, write), losses = self._run(self._gradient, self._cast(weights), np.array(place, dtype=np.uint32), size)
        return losses, read, write

    def map(self, work: Callable[[int, int], _Result], total: int, block_size: int) -> Iterator[_Result]:
        """See `Backend`; one block at a time, JAX uses all of the device."""
        yield from (work(*block) for block in _blocks(total, block_size))
