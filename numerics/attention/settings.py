"""`Training`: how a model is trained, validated, and as a JSON object that tells two trainings apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, Final, TypeAlias

import numpy as np

from ...theory.choices import unknown
from ...theory.errors import InputError, InputTypeError
from ..problem.exact import as_float, positive_integer, shown, whole_number
from ..problem.initial import checked_seed
from ..problem.problem import FloatArray

OPTIMISERS: Final = ("sgd", "momentum", "adam")
_MOST_STEPS: Final = 10**7

# One learning rate, or knots (step, rate) between which it is linear.
Rate: TypeAlias = float | Sequence[tuple[int, float]]


@dataclass(frozen=True, init=False)
class Training:
    """Gradient descent on fresh prompts.

    Parameters
    ----------
    t_final
        How long to train, > 0.  Time is the sum of the learning rates; with momentum β divided by 1 − β, for that
        is how far the weights go.  (Adam's steps have no such length: its time is not that of the flow.)
    rate
        The learning rate, > 0 — or a schedule: knots (step, rate) with increasing steps, the rate linear between
        them and constant outside.
    batch
        Prompts per step.
    optimiser
        "sgd"; "momentum": ``v ← β v + g``, ``w ← w − rate v``; "adam".
    momentum
        β of "momentum", and of Adam's mean gradient; default 0.9.
    seed
        Of the prompts: the batch of step k is a function of (seed, k).
    averaged
        Average regressors and noise of each prompt exactly.  It needs weights in which no label enters a score and
        no covariate the output, and keeps them so.
    records
        At how many times, evenly spread, the state is recorded besides the start (at most once a step).
    backend, dtype
        As of `attention_risk`.  Weights and optimiser are float64.

    Raises `InputTypeError` or `InputError` for what is not allowed.
    """

    t_final: float
    rate: Rate
    batch: int
    optimiser: str
    momentum: float
    seed: int
    averaged: bool
    records: int
    backend: str
    dtype: str

    def __init__(
        self,
        t_final: float,
        rate: Rate = 0.05,
        batch: int = 512,
        optimiser: str = "sgd",
        *,
        momentum: float = 0.9,
        seed: int = 0,
        averaged: bool = False,
        records: int = 200,
        backend: str = "auto",
        dtype: str = "float64",
    ) -> None:
        if optimiser not in OPTIMISERS:
            raise InputError(unknown("optimiser", str(optimiser), OPTIMISERS))
        share = as_float("momentum", momentum, least=0)
        if share >= 1:
            raise InputError(f"momentum must be below 1, got {shown(momentum)}")
        values: dict[str, Any] = {
            "t_final": as_float("t_final", t_final, positive=True),
            "rate": _rate(rate),
            "batch": positive_integer("batch", batch),
            "optimiser": optimiser,
            "momentum": share,
            "seed": checked_seed(seed),
            "averaged": bool(averaged),
            "records": positive_integer("records", records),
            "backend": backend,
            "dtype": dtype,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def rates(self, first: int, count: int) -> FloatArray:
        """Learning rates of ``count`` steps from step ``first``."""
        if isinstance(self.rate, float):
            return np.full(count, self.rate)
        steps, rates = zip(*self.rate, strict=True)
        return np.asarray(np.interp(np.arange(first, first + count), steps, rates))

    def times(self) -> FloatArray:
        """Time after 0, 1, 2, … steps, until ``t_final`` is reached."""
        gain = 1 / (1 - self.momentum) if self.optimiser == "momentum" else 1.0
        knots = [] if isinstance(self.rate, float) else [step for step, _ in self.rate]
        last = self.rate if isinstance(self.rate, float) else self.rate[-1][1]
        ramp = self.rates(0, knots[-1] if knots else 0).cumsum() * gain
        left = self.t_final - (ramp[-1] if len(ramp) else 0.0)
        # A step more or less from rounding (2000 steps of 0.05 are not 100) is neither wanted nor needed.
        more = max(0, int(np.ceil(left / (last * gain) * (1 - 1e-9))))
        if more + len(ramp) > _MOST_STEPS:
            raise InputError(f"t_final = {self.t_final:g} takes more than {_MOST_STEPS:g} steps: raise the rate")
        times = np.concatenate([[0.0], ramp, (ramp[-1] if len(ramp) else 0.0) + last * gain * np.arange(1, more + 1)])
        return times[: int(np.searchsorted(times, self.t_final * (1 - 1e-9))) + 1]

    def to_dict(self) -> dict[str, Any]:
        """By name; the knots of a schedule as lists."""
        found = {item.name: getattr(self, item.name) for item in fields(self)}
        if not isinstance(self.rate, float):
            found["rate"] = [list(knot) for knot in self.rate]
        return found


def _rate(rate: Rate) -> Rate:
    if not isinstance(rate, Sequence) or isinstance(rate, str):
        return as_float("rate", rate, positive=True)
    knots = []
    for knot in rate:
        if not isinstance(knot, Sequence) or isinstance(knot, str) or len(knot) != 2:
            raise InputTypeError(f"a schedule is a list of knots (step, rate), got {shown(knot)}")
        step, value = knot
        knots.append((whole_number("the step of a knot", step), as_float("rate", value, positive=True)))
    if not knots:
        raise InputError("a schedule needs at least one knot (step, rate)")
    steps = [step for step, _ in knots]
    if steps[0] < 0 or any(later <= earlier for earlier, later in pairwise(steps)):
        raise InputError(f"the steps of a schedule must increase from 0 or more, got {steps}")
    return tuple(knots)
