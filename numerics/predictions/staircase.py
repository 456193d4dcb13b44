"""The loss drops of linear attention in numbers: found on a run, predicted, and both side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from ...theory.brief import Brief
from ...theory.choices import unknown
from ...theory.closed_form import require, to_float
from ...theory.errors import HypothesisError, InputError
from ...theory.families.linear import FLOWS, linear_attention_flow
from ...theory.families.staircase import DISTINCT_DRIVES, ENOUGH_HEADS, linear_staircase
from ...theory.families.warm_up import small_split_flow
from ..integration.system_run import SystemDynamics, SystemRun, integrate_system_reliably
from ..problem.covariates import CovariateProblem
from ..problem.exact import as_float
from ..problem.kinds import takes
from ..problem.problem import FloatArray
from ..runtime.json_object import json_object
from ..runtime.word_table import WordTable, aligned

_STANDS_OUT = 1.0  # a drop is ten times faster than the slow stretches on both sides (decimal logarithm)
_SLOWEST = 1e-10  # rates below this part of the fastest one are rounding errors
_LONGEST = 1e3  # how long a blow-up is waited for, in its unit of time
_GROWN = 1e-4  # the part of its final product at which a head no longer counts as small
_SETTLED = 500.0  # how long a head is followed by itself, in units of its slowest pace


@dataclass(frozen=True)
class Drop:
    """One fall of the loss between two slow stretches: when half of it is made, and the losses before and after."""

    time: float
    before: float
    after: float


@takes(run="SystemRun")
def loss_drops(run: SystemRun) -> tuple[Drop, ...]:
    """The drops of a run: peaks of the rate at which the loss falls, ten times above what lies between them.

    The plateau between two drops is the loss where it falls slowest.  Nothing is taken from a prediction.

    Raises ``UnreliableError`` for a run whose error estimate is not small.
    """
    run.ensure_reliable()
    from scipy.signal import find_peaks  # here, because it takes half a second

    rate = np.log10(np.maximum(-run.loss_rate, _SLOWEST * max(-run.loss_rate.min(), np.finfo(float).tiny)))
    peaks, _ = find_peaks(rate, prominence=_STANDS_OUT)
    valleys = [left + int(np.argmin(rate[left:right])) for left, right in pairwise(peaks)]
    levels = [float(run.loss[0]), *(float(run.loss[at]) for at in valleys), float(run.loss[-1])]
    edges = [0.0, *(float(run.t[at]) for at in valleys), float(run.t[-1])]
    found = []
    for at in range(len(peaks)):
        half = (levels[at] + levels[at + 1]) / 2
        time = brentq(lambda t, half=half: run.loss_at(t) - half, edges[at], edges[at + 1])
        found.append(Drop(float(time), levels[at], levels[at + 1]))
    return tuple(found)


@dataclass(frozen=True, repr=False)
class Learned(Brief):
    """A predicted drop: when, by which head, of which coordinate, and which one the head leaves for it (from 0)."""

    time: float
    head: int
    coordinate: int
    leaves: int | None = None


@takes(problem=CovariateProblem, start=Mapping)
def predicted_cascade(problem: CovariateProblem, start: Mapping[str, ArrayLike]) -> tuple[Learned, ...]:
    """The drops of the split flow from any small start v (H,), k (D, H), q (D, H), one head at a time.

    Heads grow on their own (`small_split_flow`) until one is no longer small.  That head then moves alone among the
    coordinates that are still to be learned: it falls onto the one that won in it, and from there, within a time of
    order ln(1/ε), onto a better one if there is any (a plateau of a coordinate with a smaller fall is unstable in the
    full flow).  Where it ends drives the others no more, and so on.  Times grow like 1/ε, their errors more slowly.

    Raises ``HypothesisError`` where two coordinates have one drive: what is learned is then no coordinate.
    """
    theory = linear_staircase()
    require("the cascade of the split flow", (DISTINCT_DRIVES,), problem.exact_values())
    drives = np.array(theory.drives(problem))
    state = {name: np.array(value, dtype=np.float64) for name, value in start.items()}
    heads = list(range(problem.n_heads))
    free = np.ones(problem.n_coordinates, dtype=bool)
    found: list[Learned] = []
    time = 0.0
    while heads and free.any():
        grown = _until_grown(problem, np.where(free, drives, 0.0), state)
        if grown is None:
            break
        elapsed, state = grown
        place = int(_products(state, free, problem).max(axis=0).argmax())
        own = {name: value[..., [place]] for name, value in state.items()}
        stations = _alone(problem, own, free)
        if not stations:
            break
        head, leaves = heads.pop(place), None
        for after, coordinate in stations:
            found.append(Learned(time + elapsed + after, head, coordinate, leaves))
            leaves = coordinate
        state = {name: np.delete(value, place, axis=-1) for name, value in state.items()}
        time += elapsed
        idle, begun = free.copy(), 0.0  # the others go on meanwhile, driven by what that head does not serve
        for after, coordinate in stations:
            if heads and idle.any():
                elapsed, state = _until_grown(problem, np.where(idle, drives, 0.0), state, after - begun) or (
                    0.0,
                    state,
                )
                time += elapsed
                if elapsed < after - begun:  # one of them has grown
                    break
            idle, begun = free.copy(), after
            idle[coordinate] = False
        free[stations[-1][1]] = False
    return tuple(sorted(found, key=lambda drop: drop.time))


def _products(state: Mapping[str, FloatArray], free: NDArray[np.bool_], problem: CovariateProblem) -> FloatArray:
    """|v k_a q_a|/A*_a of the coordinates to be learned, shape (D, H): what a head has of each."""
    sizes = np.abs(state["v"] * state["k"] * state["q"]) * free[:, None]
    found: FloatArray = sizes / np.array(linear_staircase().levels(problem))[:, None]
    return found


def _until_grown(
    problem: CovariateProblem, gamma: FloatArray, state: dict[str, FloatArray], longest: float | None = None
) -> tuple[float, dict[str, FloatArray]] | None:
    """Time and state at which a head is no longer small, or after ``longest``; None if that never happens."""
    free = gamma > 0
    dynamics = SystemDynamics(small_split_flow(), {"D": len(gamma), "H": len(state["v"]), "gamma": gamma})
    flat = dynamics.flat(state)
    scale = float(np.abs(flat).max())
    level = max(_GROWN, float(_products(state, free, problem).max()) * (1 + 1e-9))

    def reached(_: float, y: FloatArray) -> float:
        return float(_products(dynamics.named(y), free, problem).max()) - level

    reached.terminal = True  # type: ignore[attr-defined]
    last = _LONGEST / (float(gamma[free].min()) * scale) if longest is None else longest
    run = solve_ivp(
        lambda _, y: dynamics.velocity(y), (0.0, last), flat, "DOP853", rtol=1e-9, atol=1e-9 * scale, events=reached
    )
    done = run.status == 1 or (run.status == 0 and longest is not None)
    return (float(run.t[-1]), dynamics.named(run.y[:, -1])) if done else None


def _alone(problem: CovariateProblem, head: dict[str, FloatArray], free: NDArray[np.bool_]) -> list[tuple[float, int]]:
    """The drops of one head by itself among the free coordinates: (time, coordinate that it is on afterwards)."""
    values = problem.float_values()
    power = np.asarray(values["Lambda"]) * np.asarray(values["tau"])
    # What is learned stays in the labels, as noise does.
    left: dict[str, ArrayLike] = {"Lambda": np.asarray(values["Lambda"])[free], "tau": np.asarray(values["tau"])[free]}
    left |= {"sigma2": values["sigma2"] + power[~free].sum(), "L": values["L"], "D": int(free.sum()), "H": 1}
    begin = {"v": head["v"], "k": head["k"][free], "q": head["q"][free]}
    theory = linear_staircase()
    pace = np.array(theory.drives(problem))[free] * np.array(theory.levels(problem))[free] ** (1 / 3)
    run = integrate_system_reliably(linear_attention_flow("split"), left, begin, _SETTLED / float(pace.min()))
    places = np.flatnonzero(free)
    found = []
    for drop in loss_drops(run):
        row = int(np.abs(run.loss - drop.after).argmin())
        sizes = np.abs(run.states["v"][row] * run.states["k"][row] * run.states["q"][row])
        found.append((drop.time, int(places[sizes.argmax()])))
    return found


@dataclass(frozen=True, repr=False)
class StaircaseTable(WordTable, Brief):
    """Predicted and measured drops of one run.

    Attributes
    ----------
    problem, flow, scale, seed
        What was run: the flow "aligned", "split" or "merged", from weights of that scale.
    predicted_times
        Of each predicted drop, in learning rate × steps; None where only the rate is known.
    predicted_losses
        Losses before, between and after the predicted drops, from the closed form.
    coordinates
        What each predicted drop learns, coordinates from 0.
    measured
        The drops found on the run.
    final_loss, error_estimate
        Of the run.
    run
        The run itself.
    """

    problem: CovariateProblem
    flow: str
    scale: float
    seed: int
    predicted_times: tuple[float | None, ...]
    predicted_losses: tuple[float, ...]
    coordinates: tuple[tuple[int, ...], ...]
    measured: tuple[Drop, ...]
    final_loss: float
    error_estimate: float
    run: SystemRun

    @property
    def same_number(self) -> bool:
        """Whether as many drops were measured as predicted."""
        return len(self.measured) == len(self.predicted_times)

    @property
    def final_deviation(self) -> float:
        """Relative deviation of the last loss from the closed form."""
        return abs(self.final_loss / self.predicted_losses[-1] - 1)

    @property
    def time_deviations(self) -> tuple[float, ...]:
        """Relative deviation of the measured times, drop by drop, where a time is predicted."""
        pairs = zip(self.predicted_times, self.measured, strict=False)
        return tuple(abs(drop.time / time - 1) for time, drop in pairs if time is not None)

    def to_json(self) -> dict[str, Any]:
        """The table as a JSON object."""
        return {
            **json_object(self.problem.to_dict(), "exact"),
            "flow": self.flow,
            "scale": self.scale,
            "seed": self.seed,
            "predicted": [
                {"time": time, "coordinates": list(found), "before": before, "after": after}
                for time, found, before, after in zip(
                    self.predicted_times,
                    self.coordinates,
                    self.predicted_losses[:-1],
                    self.predicted_losses[1:],
                    strict=True,
                )
            ],
            "measured": [{"time": drop.time, "before": drop.before, "after": drop.after} for drop in self.measured],
            "final_loss": self.final_loss,
            "final_closed_form": self.predicted_losses[-1],
            "error_estimate": self.error_estimate,
        }

    def rows(self) -> list[list[str]]:
        """The table as words: a heading, one row per drop, the end."""
        found = [["drop", "coordinates", "time predicted", "measured", "loss after predicted", "measured"]]
        for at in range(max(len(self.predicted_times), len(self.measured))):
            row = [str(at + 1), "—", "—", "—", "—", "—"]
            if at < len(self.predicted_times):
                time = self.predicted_times[at]
                row[1] = ", ".join(str(place + 1) for place in self.coordinates[at])
                row[2] = "—" if time is None else f"{time:.6g}"
                row[4] = f"{self.predicted_losses[at + 1]:.6g}"
            if at < len(self.measured):
                row[3], row[5] = f"{self.measured[at].time:.6g}", f"{self.measured[at].after:.6g}"
            found.append(row)
        return [*found, ["end", "", "", "", f"{self.predicted_losses[-1]:.9g}", f"{self.final_loss:.9g}"]]

    def text(self) -> str:
        """The table as text."""
        return "\n".join(aligned(self.rows())) + "\n"


@takes(problem=CovariateProblem)
def compare_staircase(
    problem: CovariateProblem, scale: float, flow: str = "split", seed: int = 0, rtol: float = 1e-8
) -> StaircaseTable:
    """Number, order, losses and times of the loss drops of linear attention, predicted and measured.

    Parameters
    ----------
    problem
        The problem.
    scale
        ε > 0, the scale of the start; predictions get better as it falls.
    flow
        ``"aligned"``: v = k = q = ε, head a on coordinate a; times from the solved flow.  ``"split"``: all weights
        normal with standard deviation ε; times from `predicted_cascade`.  ``"merged"``: the same in v and u; the time
        where all coordinates are equal, otherwise only the number of drops and the losses.
    seed
        Of the random starts.
    rtol
        As in `integrate_system`.

    Raises ``InputError`` for another flow or a scale that is not positive, ``HypothesisError`` for an aligned start
    with fewer heads than coordinates and for a split one where two coordinates have one drive, ``UnreliableError`` for
    a run whose error estimate is not small.
    """
    size = as_float("scale", scale, positive=True)
    if flow not in FLOWS:
        raise InputError(unknown("flow", str(flow), FLOWS))
    theory = linear_staircase()
    dims, heads = problem.n_coordinates, problem.n_heads
    draw = np.random.default_rng(seed)
    plateaus = tuple(map(to_float, theory.plateaus(problem)))
    slowest = 1 / min(theory.drives(problem))
    times: tuple[float | None, ...]
    if flow == "aligned":
        require("the aligned start", (ENOUGH_HEADS,), problem.exact_values())
        start = {name: np.full(dims, size) for name in ("v", "k", "q")}
        times, order = theory.times(problem, size), theory.drops(problem)
        last = 1.3 * theory.times(problem, size)[-1]
    elif flow == "split":
        start = {name: size * draw.standard_normal(shape) for name, shape in _split_shapes(dims, heads).items()}
        cascade = predicted_cascade(problem, start)
        times, order = tuple(drop.time for drop in cascade), tuple((drop.coordinate,) for drop in cascade)
        plateaus = tuple(to_float(theory.loss_at(problem, known)) for known in _known(cascade))
        last = 1.3 * cascade[-1].time if cascade else slowest / size
    else:
        start = {"v": size * draw.standard_normal(heads), "u": size * draw.standard_normal((dims, heads))}
        times, order = (_merged_time(problem, start),), (tuple(range(dims)),)
        plateaus = (plateaus[0], plateaus[-1])
        last = 2 * math.log(1 + 1 / size) / theory.merged_rate.evaluate(problem)
    run = integrate_system_reliably(
        linear_attention_flow(flow), problem.float_values(), start, last + 30 * slowest, rtol=rtol
    )
    return StaircaseTable(
        problem,
        flow,
        size,
        seed,
        times,
        plateaus,
        order,
        loss_drops(run),
        float(run.loss[-1]),
        run.error_estimate,
        run,
    )


def _split_shapes(dims: int, heads: int) -> dict[str, tuple[int, ...]]:
    return {"v": (heads,), "k": (dims, heads), "q": (dims, heads)}


def _known(cascade: tuple[Learned, ...]) -> list[frozenset[int]]:
    """The coordinates that are learned before, between and after the drops."""
    sets = [frozenset[int]()]
    for drop in cascade:
        sets.append(sets[-1] - {drop.leaves} | {drop.coordinate})
    return sets


def _merged_time(problem: CovariateProblem, start: Mapping[str, FloatArray]) -> float | None:
    try:
        growing = (start["v"] + start["u"].sum(0) / math.sqrt(problem.n_coordinates)) / 2
        return linear_staircase().merged_drop(problem, float((growing**2).sum()))
    except HypothesisError:
        return None
