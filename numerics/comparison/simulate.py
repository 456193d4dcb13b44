"""The verb ``simulate``: the real softmax attention, sampled, or trained beside the reduced flow."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from html import escape
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, overload

import numpy as np

from ...theory.brief import Brief
from ...theory.choices import checked_parametrisation
from ...theory.errors import InputError, IntegrationError, NotWrittenError, TrainingError
from ..attention import (
    AttentionWeights,
    SampledRisk,
    Training,
    TrainingRun,
    attention_risk,
    sampled_risk,
    train,
)
from ..integration.integrate import integrate_silently
from ..problem.initial import InitialState
from ..problem.kinds import takes
from ..problem.problem import FloatArray, Problem
from ..runtime.json_object import json_object
from ..runtime.stop import IntegrationInterrupted
from ..runtime.word_table import WordTable, aligned, with_error
from ..trajectory.trajectory import Trajectory

if TYPE_CHECKING:
    import xarray

_ROWS: Final = 6  # times in the table
_WINDOWS: Final = 20  # of neighbouring records, in which the loss is averaged
_STANDARD_ERRORS: Final = 4.0
_APART: Final = 0.05  # relative, from where on a loss counts as away from another


@dataclass(frozen=True)
class Deviation:
    """The largest relative deviation of a measured weight from its prediction, ``|measured/predicted − 1|``."""

    value: float
    t: float
    task: int
    head: int

    def to_json(self) -> dict[str, Any]:
        """value, t, task and head (from 0)."""
        return dict(vars(self))


@dataclass(frozen=True, eq=False, repr=False)
class Simulation(WordTable, Brief):
    """A training of the real softmax attention, and the reduced flow from the same start.

    Attributes
    ----------
    initial, flow
        The start, and the reduced flow from it.  Where that is not reliable nothing is predicted: see `doubt`.
    run
        The training; its time is that of the flow.
    """

    initial: InitialState
    flow: Trajectory
    run: TrainingRun

    @property
    def doubt(self) -> str | None:
        """Why the flow is not to be relied on, as a sentence; None where it is."""
        return self.flow.doubt

    @cached_property
    def predicted(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Loss (N,), μ and ω (N, I, H) of the flow at the times of the records; NaN where it is not reliable."""
        if self.doubt is not None:
            return tuple(np.full_like(one, np.nan) for one in (self.run.loss, self.run.mu, self.run.omega))  # type: ignore[return-value]
        states = [self.flow.at(min(float(t), float(self.flow.t[-1]))) for t in self.run.t]
        loss = np.array([state.loss for state in states])
        return loss, np.stack([state.mu for state in states]), np.stack([state.omega for state in states])

    @cached_property
    def heads(self) -> FloatArray:
        """The head that each task ends on in the flow, (I,): the largest μ_i^h ω_i^h; in the run if not reliable."""
        final = self.flow.final
        mu, omega = (final.mu, final.omega) if self.doubt is None else (self.run.mu[-1], self.run.omega[-1])
        return np.asarray((mu * omega).argmax(axis=1))

    def on_task(self, weights: FloatArray) -> FloatArray:
        """Of weights (N, I, H) those of each task on its head, (N, I)."""
        return np.asarray(weights[:, np.arange(len(self.heads)), self.heads])

    def deviation(self, name: str, until: float = math.inf) -> Deviation:
        """How far the on-task "mu" or "omega" comes from the prediction, up to time ``until``.

        Where the prediction is zero there is no relative deviation, and it does not count.  ``UnreliableError`` where
        there is no prediction, because the flow is not reliable.
        """
        self.flow.ensure_reliable()
        measured, predicted = self.run.mu, self.predicted[1]
        if name == "omega":
            measured, predicted = self.run.omega, self.predicted[2]
        on, by = self.on_task(measured), self.on_task(predicted)
        ratios = np.divide(on, by, out=np.ones_like(by), where=by != 0)
        apart = np.abs(ratios - 1)[self.run.t <= until * (1 + 1e-9)]
        row, task = (int(place) for place in np.unravel_index(int(apart.argmax()), apart.shape))
        return Deviation(float(apart[row, task]), float(self.run.t[row]), task, int(self.heads[task]))

    @cached_property
    def caveats(self) -> tuple[str, ...]:
        """Sentences on where the flow leaves its closure's range, and where the training leaves the flow."""
        found = (self._left_the_balance(), self._left_the_flow())
        return (*self.flow.caveats, *(sentence for sentence in found if sentence is not None))

    def _left_the_balance(self) -> str | None:
        """When an entry of μ first has another sign than at the start, which balanced weights never change."""
        if self.flow.parametrisation == "merged" or self.flow.initial.imbalance.any():
            return None
        against = self.run.mu * self.run.mu[0] < 0
        if not against.any():
            return None
        row, task, head = (int(place) for place in np.argwhere(against)[0])
        outer, inner = np.abs(self.run.imbalance[row]).max(axis=(1, 2))
        return (
            f"μ of task {task + 1} on head {head + 1} changes sign by t = {self.run.t[row]:.4g}, which in exactly "
            f"balanced weights it never does: training has left the balance (there |o² − v²| is up to {outer:.2g} and "
            f"|k² − q²| up to {inner:.2g}), and the balanced flow does not describe what follows"
        )

    def _left_the_flow(self) -> str | None:
        """From when on the loss is away from the flow's, beyond the error of sampling, on average over some records."""
        width = max(1, len(self.run.t) // _WINDOWS)
        count = len(self.run.t) // width
        loss, flow, t = (
            np.asarray(values[: count * width]).reshape(count, width).mean(axis=1)
            for values in (self.run.loss, self.predicted[0], self.run.t)
        )
        squares = (self.run.loss_error[: count * width] ** 2).reshape(count, width)
        error = np.sqrt(squares.sum(axis=1)) / width
        apart = (np.abs(loss - flow) > _STANDARD_ERRORS * error) & (np.abs(loss - flow) > _APART * np.abs(flow))
        if not apart.any():
            return None
        rows = np.flatnonzero(apart)
        worst = int(rows[np.abs(loss[rows] / flow[rows] - 1).argmax()])
        when = f"from t = {t[rows[0]]:.4g} on" if apart[-1] else f"between t = {t[rows[0]]:.4g} and {t[rows[-1]]:.4g}"
        real = self.flow.real_risk
        beside = f"; real attention with the flow's last weights loses {real.shown} (sampled)" if real.value else ""
        return (
            f"{when} the trained loss is away from that of the {self.flow.closure} "
            f"{self.flow.parametrisation} flow, beyond its sampling error: {with_error(loss[worst], error[worst])} "
            f"against {flow[worst]:.4g} at t = {t[worst]:.4g}{beside}"
        )

    @cached_property
    def data(self) -> xarray.Dataset:
        """The records of the run, with the flow's loss, mu and omega beside them as ``predicted_…``."""
        loss, mu, omega = self.predicted
        per_weight = ("t", "task", "head")
        return self.run.data.assign(
            predicted_loss=("t", loss), predicted_mu=(per_weight, mu), predicted_omega=(per_weight, omega)
        )

    def to_json(self) -> dict[str, Any]:
        """What ``headflow simulate --train --json`` prints."""
        loss, mu, omega = self.predicted
        flow = self.flow
        return {
            **json_object(flow.problem.to_dict(), flow.closure),
            "parametrisation": flow.parametrisation,
            "initial": self.initial.to_dict(),
            **self.run.to_json(),
            "status": flow.stop.value,
            "reliable": flow.reliable,
            "heads": self.heads.tolist() if flow.reliable else None,
            "predicted": {
                "loss": loss.tolist(),
                "mu": mu.tolist(),
                "omega": omega.tolist(),
                "error_estimate": flow.error_estimate,
            }
            if flow.reliable
            else None,
            "deviation": {name: self.deviation(name).to_json() for name in ("mu", "omega")} if flow.reliable else None,
            "reduction": flow.reduction,
            "warnings": list(self.caveats),
        }

    def rows(self) -> Iterator[list[str]]:
        """The table as words: a heading, then at a few times the loss, and μ and ω of each task on its head."""

        def shown(value: float, digits: int = 4) -> str:
            return "—" if math.isnan(value) else f"{value:.{digits}g}"

        yield ["t", "loss", "predicted", "task", "head", "μ", "predicted", "ω", "predicted"]
        run, (loss, mu, omega) = self.run, self.predicted
        for row in np.unique(np.linspace(0, len(run.t) - 1, _ROWS).round().astype(int)):
            first = [f"{run.t[row]:.4g}", f"{run.loss[row]:.3g} ± {run.loss_error[row]:.1g}", shown(loss[row])]
            for task, head in enumerate(self.heads):
                place = row, task, head
                cells = [run.mu[place], mu[place], run.omega[place], omega[place]]
                yield [*(first if task == 0 else [""] * 3), f"{task + 1}", f"{head + 1}", *map(shown, cells)]

    def _repr_html_(self) -> str:
        doubt = "" if self.doubt is None else f"<p><b>{escape(self.doubt)}</b></p>"
        return doubt + super()._repr_html_()

    def text(self) -> str:
        """The table and the largest deviations as text."""
        rows = list(self.rows())
        lines = [] if self.doubt is None else [self.doubt, ""]
        lines += aligned(rows, right=range(len(rows[0])))
        for name, symbol in (("mu", "μ"), ("omega", "ω")) if self.doubt is None else ():
            most = self.deviation(name)
            lines.append(
                f"on-task {symbol} deviates by at most {100 * most.value:.2g} % from the {self.flow.closure} "
                f"{self.flow.parametrisation} flow, at t = {most.t:.4g}"
            )
        if self.flow.reduction:
            lines.append(f"the flow: {self.flow.reduction}")
        if self.run.training.optimiser == "adam":
            lines.append("Adam's steps have no length in the flow's time: compare where they lead, not when")
        key_query, output_value = self.run.off_diagonal[-1]
        lines.append(f"off-diagonal at the end: {key_query:.2g} of key-query, {output_value:.2g} of output-value")
        if self.run.weights.is_split:
            outer, inner = np.abs(self.run.imbalance[-1]).max(axis=(1, 2))
            lines.append(f"imbalance at the end: |o² − v²| up to {outer:.2g}, |k² − q²| up to {inner:.2g}")
        return "\n".join(lines) + "\n"


@overload
def simulate(
    problem: Problem,
    initial: InitialState | AttentionWeights | None = None,
    training: None = ...,
    *,
    n_samples: int = 20_000,
    seed: int = 0,
    progress: bool = False,
) -> SampledRisk: ...


@overload
def simulate(
    problem: Problem,
    initial: InitialState | AttentionWeights | None,
    training: Training,
    *,
    parametrisation: str = "balanced",
    closure: str = "leading",
    checkpoint: str | PathLike[str] | None = None,
    progress: bool = False,
) -> Simulation: ...


@takes(problem=Problem, initial=(InitialState, AttentionWeights), training=Training)
def simulate(
    problem: Problem,
    initial: InitialState | AttentionWeights | None = None,
    training: Training | None = None,
    *,
    parametrisation: str = "balanced",
    closure: str = "leading",
    n_samples: int = 20_000,
    seed: int = 0,
    checkpoint: str | PathLike[str] | None = None,
    progress: bool = False,
) -> SampledRisk | Simulation:
    """The real softmax attention from a start: its Monte-Carlo risk, or its training beside the reduced flow.

    Parameters
    ----------
    problem, initial
        The problem, and the start; default ``InitialState.random(problem)``.  Weights, as of
        `headflow.numerics.attention.starts.make_start`, may be no spectral ones; the flow starts from their spectral
        part, in balance.
    training
        How to train (rate, batch, optimiser, …); default: do not train, sample the risk of the start.
    parametrisation, closure
        Which reduced flow to lay over a training.  "merged" trains W and U; "balanced" and "split" train Q, K, V
        and O.  Weights that are given must be of that kind.
    n_samples, seed
        Prompts for the risk, and their seed; a training has its own.
    checkpoint
        A file that lets a killed training go on; see `headflow.numerics.attention.train`.
    progress
        Show a bar on standard error, if that is a terminal (or a notebook) and it takes more than a second.

    Raises what `integrate`, `attention_risk` and `train` raise; a training that ends early has its `Simulation` until
    there as ``partial``.

    Examples
    --------
    >>> problem = Problem(dims=[4, 4], signal_power=[1, 1], noise_variance=0.1, context_length=30, n_heads=2)
    >>> initial = InitialState(mu=[[0.4, 0.2], [0.2, 0.4]], omega=[[0.1, 0.1], [0.1, 0.1]])
    >>> simulate(problem, initial, n_samples=1000).n_samples
    1000
    >>> simulation = simulate(problem, initial, Training(t_final=5, batch=64))
    >>> simulation.deviation("mu").value < 0.3
    True
    """
    checked_parametrisation(parametrisation)
    given = InitialState.random(problem) if initial is None else initial
    if isinstance(given, AttentionWeights):
        given.check(problem)
        weights = given
    elif training is None:
        return sampled_risk(
            problem, given.mu, given.omega, n_samples=n_samples, seed=seed, backend="auto", progress=progress
        )
    else:
        weights = AttentionWeights.of(problem, given, parametrisation)
    if training is None:
        return attention_risk(problem, weights, n_samples, seed, progress=progress)
    if weights.is_split == (parametrisation == "merged"):
        raise InputError(f"weights {', '.join(weights.names)} are not those of the {parametrisation} flow")
    if isinstance(given, AttentionWeights):
        spectrum = given.spectrum()
        start = InitialState(spectrum.mu, spectrum.omega)
    else:
        start = given
    flow = _flow(problem, start, training, parametrisation, closure)  # before the training: what is wrong is said soon
    try:
        return Simulation(start, flow, train(problem, weights, training, checkpoint, progress=progress))
    except (TrainingError, NotWrittenError, IntegrationInterrupted) as stopped:
        if isinstance(stopped.partial, TrainingRun):
            stopped.partial = Simulation(start, flow, stopped.partial)
        raise


@takes(run=TrainingRun, initial=InitialState)
def overlay(
    run: TrainingRun,
    parametrisation: str = "balanced",
    closure: str = "leading",
    initial: InitialState | None = None,
) -> Simulation:
    """A training, from whatever weights, beside the reduced flow from ``initial``.

    By default the flow starts from the spectral variables that the run started from, in balance.  Raises what
    `integrate` raises.
    """
    start = InitialState(run.mu[0], run.omega[0]) if initial is None else initial
    return Simulation(start, _flow(run.problem, start, run.training, parametrisation, closure), run)


def _flow(problem: Problem, start: InitialState, training: Training, parametrisation: str, closure: str) -> Trajectory:
    """The reduced flow over the time of a training, or as much of it as there is; the simulation says its caveats."""
    try:
        return integrate_silently(problem, start, parametrisation, closure, t_final=float(training.times()[-1]))
    except IntegrationError as stopped:  # the training needs no prediction
        if not isinstance(stopped.partial, Trajectory):
            raise
        return stopped.partial
