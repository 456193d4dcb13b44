"""The training loop: fresh prompts, gradient, optimiser, records along the way, and resuming where it stopped."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from ..._version import __version__
from ...theory.errors import InputError, NotWrittenError, TrainingError
from ..problem.kinds import takes
from ..problem.problem import FloatArray, Problem
from ..runtime.progress import Estimate, progress_bar
from ..runtime.stop import IntegrationInterrupted
from . import checkpoint as files
from .backends import Backend, make_backend
from .optimiser import empty_memory, step
from .prompts import TRAINING
from .risk import acting_weights
from .settings import Training
from .weights import AttentionWeights

if TYPE_CHECKING:
    import xarray

# What is recorded at a time, in the order of the fields of `TrainingRun`.
_RECORDED: Final = ("loss", "loss_error", "mu", "omega", "spread", "off_diagonal", "imbalance")


@dataclass(frozen=True, eq=False, repr=False)
class TrainingRun:
    """A trained model, and what was recorded on the way.

    Attributes
    ----------
    problem, training
        What was trained, and how.
    weights
        At the end.
    steps, t
        Of the records, (N,): steps taken, and time (learning rate × steps; see `Training`).
    loss, loss_error
        Mean loss of the batch drawn at that step (no ½, noise-free target) and its standard error, (N,).
    mu, omega, spread
        Spectral variables and the spread of ω within a task's block (see `Spectrum`), (N, I, H).
    off_diagonal
        Relative norm of what decomposability sets to zero, in key-query and output-value matrices, (N, 2).
    imbalance
        Of the factors, o² − v² and k² − q² (see `Spectrum`): zero while they are balanced, (N, 2, I, H).
    seconds
        Wall time of all sessions together.
    backend, device
        What computed it, and on what.
    """

    problem: Problem
    training: Training
    weights: AttentionWeights
    steps: NDArray[np.int64]
    t: FloatArray
    loss: FloatArray
    loss_error: FloatArray
    mu: FloatArray
    omega: FloatArray
    spread: FloatArray
    off_diagonal: FloatArray
    imbalance: FloatArray
    seconds: float
    backend: str
    device: str

    @property
    def prompts_per_second(self) -> float:
        """Of training, over all sessions: prompts drawn, passed forward and backward."""
        return float(self.steps[-1] + 1) * self.training.batch / self.seconds

    def __post_init__(self) -> None:
        for item in fields(self):
            if isinstance(value := getattr(self, item.name), np.ndarray):
                value.flags.writeable = False

    @property
    def completed(self) -> bool:
        """Whether t_final was reached."""
        return bool(self.t[-1] >= self.training.t_final * (1 - 1e-9))

    @cached_property
    def data(self) -> xarray.Dataset:
        """The records, labelled from 0: mu, omega, spread (t, task, head); the others by t."""
        import xarray

        per_weight, kinds = ("t", "task", "head"), ("key_query", "output_value")
        return xarray.Dataset(
            {
                "mu": (per_weight, self.mu, {"long_name": "output-value eigenvalue"}),
                "omega": (per_weight, self.omega, {"long_name": "key-query eigenvalue"}),
                "spread": (per_weight, self.spread, {"long_name": "standard deviation of omega within a task"}),
                "loss": ("t", self.loss, {"long_name": "loss of the batch (no ½)"}),
                "loss_error": ("t", self.loss_error, {"long_name": "its standard error"}),
                "off_diagonal": (("t", "matrix"), self.off_diagonal, {"long_name": "relative off-diagonal norm"}),
                "imbalance": (
                    ("t", "factors", "task", "head"),
                    self.imbalance,
                    {"long_name": "o² − v² and k² − q²"},
                ),
                "step": ("t", self.steps, {"long_name": "steps taken"}),
            },
            coords={
                "t": ("t", self.t, {"long_name": "time", "units": "learning rate × steps"}),
                "task": np.arange(self.problem.n_tasks),
                "head": np.arange(self.problem.n_heads),
                "matrix": list(kinds),
                "factors": ["output_value", "key_query"],
            },
            attrs={"provenance": json.dumps(self._provenance(), allow_nan=False)},
        )

    def _provenance(self) -> dict[str, Any]:
        return {
            "version": __version__,
            "problem": self.problem.to_dict(),
            "training": self.training.to_dict(),
            "backend": self.backend,
            "device": self.device,
            "numpy": np.__version__,
            "seconds": self.seconds,
        }

    def to_json(self) -> dict[str, Any]:
        """The records as lists, with what made them."""
        records = {name: getattr(self, name).tolist() for name in ("steps", "t", *_RECORDED)}
        ran = {"backend": self.backend, "device": self.device, "seconds": self.seconds}
        return {"training": self.training.to_dict(), **ran, **records}

    def __repr__(self) -> str:
        return (
            f"TrainingRun({self.problem.n_tasks} tasks, {self.problem.n_heads} heads, {self.training.optimiser}, "
            f"{self.steps[-1]} steps to t = {self.t[-1]:.6g}, loss {self.loss[-1]:.4g} ± {self.loss_error[-1]:.1g})"
        )


@takes(problem=Problem, weights=AttentionWeights, training=Training)
def train(
    problem: Problem,
    weights: AttentionWeights,
    training: Training,
    checkpoint: str | PathLike[str] | None = None,
    checkpoint_seconds: float = 30.0,
    progress: bool = False,
) -> TrainingRun:
    """Train softmax attention on fresh prompts.

    Parameters
    ----------
    problem, weights
        The problem, and where to start; merged weights train W and U, split weights K, Q, V and O.
    training
        How; see `Training`.
    checkpoint
        A file (NumPy's npz) that holds the state of the training, rewritten every ``checkpoint_seconds`` and at the
        end.  If it exists the training goes on from there, to the same weights, bit for bit, as if it had never
        stopped (on the same machine and versions); with a larger ``t_final`` also one that was finished.  What was
        recorded stays, and more is recorded at the times that the new ``t_final`` asks for.
    progress
        Show a bar on standard error, if that is a terminal (or a notebook) and it takes more than a second; say there
        how long it takes, if that is more than a minute.

    Raises
    ------
    InputTypeError, InputError
        For what is not allowed, for a checkpoint of another training, and for one that cannot be written.
    NotWrittenError
        An ``InputError`` with the whole run, where at its end the checkpoint cannot be written any more.
    TrainingError
        If the loss overflows; with the run until then.
    IntegrationInterrupted
        On Ctrl-C, a `KeyboardInterrupt` with the run until then; the checkpoint has been written.
    """
    weights.check(problem)
    if training.averaged and not weights.labels_average_out:
        raise InputError("averaged training needs weights in which no label enters a score and no covariate U")
    engine = make_backend(problem, training.backend, training.dtype, training.seed, training.averaged)
    loop = _Loop(problem, weights, training, engine)
    if checkpoint is not None:
        if Path(checkpoint).exists():
            loop.restore(checkpoint)
        else:
            loop.save(checkpoint)  # before the work: what cannot be written is said soon
    loop.run(checkpoint, checkpoint_seconds, progress)
    return loop.result()


class _Loop:
    """The state of a training between steps."""

    def __init__(self, problem: Problem, weights: AttentionWeights, training: Training, engine: Backend) -> None:
        self.problem, self.training, self.engine = problem, training, engine
        self.weights = weights
        self.memory = empty_memory(training.optimiser, weights.parts)
        self.times = training.times()
        self.last = len(self.times) - 1
        self.due: list[int] = np.unique(np.linspace(0, self.last, training.records + 1).round().astype(int)).tolist()
        self.step = 0
        self.recorded: list[int] = []  # the steps of the rows
        self.rows: list[tuple[Any, ...]] = []
        self.seconds = 0.0
        digest = hashlib.sha256(b"".join(part.tobytes() for part in weights.parts)).hexdigest()
        self.identity = {
            "version": __version__,
            "problem": problem.to_dict(),
            "training": training.to_dict(),
            "backend": engine.name,
            "parts": list(weights.names),
            "start": digest,
        }

    def run(self, checkpoint: str | PathLike[str] | None, every: float, progress: bool) -> None:
        began = saved = time.perf_counter()
        before = self.seconds
        try:
            estimate = Estimate(progress, "training", self.last, "steps")
            with progress_bar(progress, "train", self.last, self.step, "steps") as bar:
                # At the last step only the loss is taken.
                while self.due:
                    self._advance()
                    bar.update(self.step - bar.done)
                    estimate.after(self.step)
                    now = time.perf_counter()
                    self.seconds = before + now - began
                    if checkpoint is not None and now - saved >= every:
                        with suppress(InputError):  # the disk may be full for a while
                            self.save(checkpoint)
                        saved = now
        except KeyboardInterrupt as interrupt:
            remedy = ""
            if checkpoint is not None:
                remedy = f"The same command goes on from {checkpoint}."
                try:
                    self.save(checkpoint)
                except InputError as error:
                    remedy = f"It cannot be continued: {error}."
            reason = f"The training was interrupted at step {self.step} of {self.last}."
            raise IntegrationInterrupted(reason, remedy, self.result() if self.rows else None) from interrupt
        if checkpoint is not None:
            try:
                self.save(checkpoint)
            except InputError as error:
                raise NotWrittenError(str(error), self.result()) from None

    def _advance(self) -> None:
        """One step: the loss and gradient of its batch, a record if one is due, the next weights."""
        with np.errstate(all="ignore"):
            losses, gradients = self._batch()
            row = self._row(losses) if self.step == self.due[0] else None
            seen = (losses, *gradients, *(row or ()))
            finite = all(np.isfinite(part).all() for part in seen)
        if not finite:
            raise TrainingError(
                f"The loss overflowed at step {self.step}, t = {self.times[self.step]:.6g}.",
                "Lower the rate, or start from smaller weights.",
                self.result() if self.rows else None,
            )
        weights, memory, number = self.weights, self.memory, self.step
        if number < self.last:
            rate = float(self.training.rates(number, 1)[0])
            with np.errstate(all="ignore"):  # what overflows is seen at the next step
                moved = step(self.training, number, rate, weights.parts, gradients, memory)
            weights, memory = weights.replaced(moved[: len(gradients)]), moved[len(gradients) :]
            number += 1
        # Last, and together: an interruption before leaves a state that can be resumed.
        if row is not None:
            self.rows, self.recorded, self.due = [*self.rows, row], [*self.recorded, self.step], self.due[1:]
        self.weights, self.memory, self.step = weights, memory, number

    def _row(self, losses: FloatArray) -> tuple[Any, ...]:
        """What is recorded, in the order of `_RECORDED`."""
        spectrum = self.weights.spectrum()
        error = losses.std(ddof=1) / np.sqrt(len(losses)) if len(losses) > 1 else 0.0
        found = spectrum.mu, spectrum.omega, spectrum.spread, spectrum.off_diagonal, spectrum.imbalance
        return losses.mean(), error, *found

    def _batch(self) -> tuple[FloatArray, tuple[FloatArray, ...]]:
        """Loss of every prompt of the step's batch, (n,), and the mean gradient in all parts."""
        averaged = self.training.averaged
        acting = acting_weights(self.weights, averaged)
        place = (TRAINING, self.step)

        def work(block: int, size: int) -> tuple[FloatArray, FloatArray, FloatArray]:
            return self.engine.gradient(acting, (*place, block), size)

        blocks = list(self.engine.map(work, self.training.batch, self.engine.gradient_block))
        losses = np.concatenate([losses.sum(axis=1) for losses, _, _ in blocks])
        d = self.problem.total_dim
        by_read, by_write = np.zeros((2, *self.weights.parts[0].shape))
        width, start = (d, d) if averaged else (self.problem.embedding_dim, 0)
        by_read[:, :width, :d] = sum(read for _, read, _ in blocks) / len(losses)
        by_write[:, d:, start:] = sum(write for _, _, write in blocks) / len(losses)
        return losses, self.weights.through(by_read, by_write)

    def save(self, path: str | PathLike[str]) -> None:
        recorded = np.array(self.recorded, dtype=np.int64)
        state = {"step": np.array(self.step), "seconds": np.array(self.seconds), "recorded": recorded}
        files.write(path, self.identity, {**self._moving(), **self._records(), **state})

    def _moving(self) -> dict[str, FloatArray]:
        """The weights and what the optimiser remembers, by name."""
        arrays = {f"weights_{name}": part for name, part in zip(self.weights.names, self.weights.parts, strict=True)}
        return arrays | {f"memory_{place}": part for place, part in enumerate(self.memory)}

    def _is_whole(self, arrays: dict[str, FloatArray]) -> bool:
        """Whether arrays of a file are those of such a training: all there, of their shapes and finite."""
        moving, rows = self._moving(), arrays["recorded"].shape
        return (
            {*moving, *_RECORDED, "step", "seconds"} <= set(arrays)
            and all(arrays[name].shape == part.shape for name, part in moving.items())
            and all(arrays[name].shape[:1] == rows for name in _RECORDED)
            and all(array.dtype.kind in "if" and np.isfinite(array).all() for array in arrays.values())
        )

    def restore(self, path: str | PathLike[str]) -> None:
        identity, arrays = files.read(path)
        # Through JSON, for a schedule's tuples become lists there.
        for name, value in json.loads(json.dumps(self.identity)).items():
            if found := _differences(name, identity.get(name), value):
                raise InputError(f"{path} is the checkpoint of another training; it differs in its {found}")
        if "recorded" not in arrays:
            raise InputError(f"{path} is a checkpoint of an earlier version, which cannot be continued")
        if not self._is_whole(arrays):
            raise InputError(f"{path} is damaged: its arrays are not those of a training, or not finite")
        self.weights = self.weights.replaced(tuple(arrays[f"weights_{name}"] for name in self.weights.names))
        self.memory = tuple(arrays[f"memory_{place}"] for place in range(len(self.memory)))
        self.rows = list(zip(*(arrays[name] for name in _RECORDED), strict=True))
        self.step, self.seconds = int(arrays["step"]), float(arrays["seconds"])
        if self.step > self.last:
            raise InputError(
                f"the training in {path} has taken {self.step} steps, more than the {self.last} until "
                f"t_final = {self.training.t_final:g}"
            )
        self.recorded = arrays["recorded"].tolist()
        self.due = [step for step in self.due if step >= self.step and step not in self.recorded[-1:]]

    def _records(self) -> dict[str, FloatArray]:
        if not self.rows:
            return {name: np.zeros(0) for name in _RECORDED}
        columns = zip(*self.rows, strict=True)
        return {name: np.array(column, dtype=np.float64) for name, column in zip(_RECORDED, columns, strict=True)}

    def result(self) -> TrainingRun:
        steps = np.array(self.recorded, dtype=np.int64)
        return TrainingRun(
            problem=self.problem,
            training=self.training,
            weights=self.weights,
            steps=steps,
            t=self.times[steps],
            **self._records(),
            seconds=self.seconds,
            backend=self.engine.name,
            device=self.engine.device,
        )


def _differences(name: str, then: Any, now: Any) -> str:
    """In what a checkpoint is of another training, in words; "" if in nothing.  How long it is to last may differ."""
    if name != "training" or not isinstance(then, dict):
        return "" if then == now else name if name == "start" else f"{name}: {then} instead of {now}"
    parts = [
        f"{key} {then.get(key)} instead of {now[key]}" for key in now if key != "t_final" and then.get(key) != now[key]
    ]
    return f"training: {', '.join(parts)}" if parts else ""
