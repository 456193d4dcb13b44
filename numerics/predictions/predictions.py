"""The phases of a trajectory beside what the theory predicts for them: times, winners, constants."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...theory.errors import HypothesisError, InputError, IntegrationError
from ..problem.initial import InitialState
from ..runtime.word_table import aligned
from ..trajectory.crossings import emergence_times, sign_changes
from .cascade import Cascade, cascade, cascade_takes_long
from .convergence import late_constant
from .escape import predicted_sign_changes

if TYPE_CHECKING:
    from ..trajectory.trajectory import Trajectory

_BELIEVED: Final = 100.0  # how often the error of the loss fits into a gap whose constant is read off
_SMALL: Final = 0.1  # of a head's Σ_j d_j ω_j² at the start: above, C is no longer 1, as the cascade takes it to be
_NEAR: Final = 10.0  # a limit counts as reached, for what is predicted from there, after this many emergence times


@dataclass(frozen=True)
class Prediction:
    """One quantity: what the theory predicts, what the trajectory shows, and from where the prediction comes.

    Where one of the two is None, ``note`` says why.  Where they are a ``label``, the number of a head from 1, they are
    the same or different: a difference in per cent means nothing.
    """

    quantity: str
    predicted: float | None
    measured: float | None
    note: str
    label: bool = False

    @property
    def relative_difference(self) -> float | None:
        """(measured − predicted)/|predicted|; None where one is missing, and for labels."""
        if self.predicted is None or self.measured is None or not self.predicted or self.label:
            return None
        return (self.measured - self.predicted) / abs(self.predicted)

    @property
    def same(self) -> bool | None:
        """Whether the two labels are the same; None where one is missing, and for what is no label."""
        if self.predicted is None or self.measured is None or not self.label:
            return None
        return self.predicted == self.measured

    @property
    def comparison(self) -> str:
        """The difference in words: in per cent, or "same" or "different"; empty where there is none."""
        if self.same is not None:
            return "same" if self.same else "different"
        return "" if self.relative_difference is None else f"{100 * self.relative_difference:+.2f} %"

    def to_json(self) -> dict[str, Any]:
        """The row by name."""
        return {**asdict(self), "relative_difference": self.relative_difference, "same": self.same}


def predictions(trajectory: Trajectory) -> tuple[Prediction, ...]:
    """What the theory predicts for a trajectory, each beside its measurement.

    ``balanced``: per task its emergence time and head by the cascade (leading order in small weights), and the
    constant K of the late gap K/t².  ``split`` with an imbalance: the cascade, and the first sign change of an
    off-task μ.  ``merged``: the laws of its valley.  All predictions are those of the leading closure; in another
    closure there is none, and none beside a trajectory that is not reliable or whose flow the user has changed.
    """
    if trajectory.closure != "leading" or not trajectory.reliable or trajectory.altered is not None:
        return ()
    if trajectory.parametrisation == "merged":
        return tuple(_valley(trajectory))
    found = [*_emergence(trajectory)]
    escaping = trajectory.parametrisation == "split" and any(np.any(part) for part in trajectory.initial.imbalance)
    found += _escape(trajectory) if escaping else _late(trajectory)
    return tuple(found)


def prediction_lines(rows: Sequence[Prediction]) -> list[str]:
    """The table as lines of text: quantity, predicted, measured, difference, note."""
    head = ("phase", "predicted", "measured", "difference", "")
    cells = [(row.quantity, _shown(row.predicted), _shown(row.measured), row.comparison, row.note) for row in rows]
    return aligned([head, *cells]) if rows else []


def _shown(value: float | None) -> str:
    return "—" if value is None else f"{value:.6g}"


def _emergence(trajectory: Trajectory) -> Iterator[Prediction]:
    """Emergence times and heads by the cascade; a start that is not small and positive has none."""
    if np.any(trajectory.initial.mu <= 0) or np.any(trajectory.initial.omega <= 0):
        return
    if cascade_takes_long(trajectory.problem):
        yield Prediction(
            "emergence", None, trajectory.phases.emergence, "left out: the cascade takes many minutes here"
        )
        return
    start = InitialState(mu=trajectory.initial.mu, omega=trajectory.initial.omega)
    try:
        expected: Cascade = cascade(trajectory.problem, start)
    except (InputError, IntegrationError) as excluded:  # heads that tie, or a task too weak to blow up
        yield Prediction("emergence", None, trajectory.phases.emergence, str(excluded))
        return
    exponent = float((np.array(trajectory.problem.dims)[:, None] * start.omega**2).sum(axis=0).max())
    how = "cascade of the waiting tasks, leading order in small weights"
    if exponent > _SMALL:
        how += f", which the start has not: Σ_j d_j ω_j² is {exponent:.2g}"
    phases = trajectory.phases
    # A flow that has left its allocation is looked at half-way to its escape.
    station = None
    if phases.emergence is not None and phases.escape is not None:
        station = (phases.emergence + phases.escape) / 2
    measured = emergence_times(trajectory, station)
    heads = (trajectory.allocation if station is None else trajectory.at(station).allocation).heads
    for task, (time, seen) in enumerate(zip(expected.times, measured, strict=True)):
        note = how
        if time is None:
            note = expected.reasons.get(task, "no head is predicted to take it")
        elif seen is None:
            note = "the task has not emerged by the end"
        yield Prediction(f"emergence of task {task + 1}", time, seen, note)
    for task, (winner, head) in enumerate(zip(expected.winners, heads, strict=True)):
        yield Prediction(
            f"head of task {task + 1}",
            None if winner is None else float(winner + 1),
            None if head is None else float(head + 1),
            "the first to blow up in the cascade" if head is not None else "no head does 90 % of its work at the end",
            label=True,
        )


def _late(trajectory: Trajectory) -> Iterator[Prediction]:
    """K of the gap K/t², where the trajectory comes to it."""
    phases, groups = trajectory.phases, trajectory.allocation.limit_groups
    if phases.limit is None or phases.emergence is None or groups is None:
        return
    gap = trajectory.loss - phases.limit
    good = np.flatnonzero(gap > _BELIEVED * trajectory.loss_error * trajectory.loss)
    row = int(good[-1]) if len(good) else 0
    t = float(trajectory.t[row])
    try:
        # The state's own: a task that several heads serve has the constant of the weakest of them.
        state = trajectory.at(t)
        constant = late_constant(trajectory.problem, state.mu, state.omega)
    except (HypothesisError, InputError) as excluded:
        yield Prediction("K of the gap K/t²", None, None, str(excluded))
        return
    if not constant:
        return
    if t < _NEAR * phases.emergence:
        yield Prediction("K of the gap K/t²", constant, None, "the trajectory ends before the law sets in")
        return
    # The law counts time from an origin of its own, after emergence, which the gap at a second time removes.
    after, before = float(gap[row]), trajectory.loss_at(t / 2) - phases.limit
    measured = (t / 2 / (after**-0.5 - before**-0.5)) ** 2 if before > after > 0 else None
    note = f"from the gap at t = {t / 2:.4g} and {t:.4g}" + ("" if measured else ", which does not fall")
    yield Prediction("K of the gap K/t²", constant, measured, note)


def _escape(trajectory: Trajectory) -> Iterator[Prediction]:
    """The first sign change of an off-task μ, predicted half-way from emergence to it."""
    phases = trajectory.phases
    seen = sign_changes(trajectory).values
    if phases.emergence is None or np.isnan(seen).all():
        return
    first = float(np.nanmin(seen))
    since = max((phases.emergence + first) / 2, float(trajectory.t[1]))
    try:
        expected = predicted_sign_changes(trajectory, since).values
    except HypothesisError as excluded:
        yield Prediction("first sign change of an off-task μ", None, first, str(excluded))
        return
    task, head = (int(place) for place in np.unravel_index(int(np.nanargmin(seen)), seen.shape))
    value = float(expected[task, head])
    yield Prediction(
        f"sign change of μ of task {task + 1} on head {head + 1}",
        value if np.isfinite(value) else None,
        first,
        f"rate g of the escape, from the state at t = {since:.4g}",
    )


def _valley(trajectory: Trajectory) -> Iterator[Prediction]:
    from .valley import valley_report

    try:
        report = valley_report(trajectory)
    except HypothesisError as excluded:
        yield Prediction("law of the valley", None, None, str(excluded))
        return
    for law in report.laws:
        window = f"fit from t = {report.window[0]:.3g} to {report.window[1]:.3g}; {report.outcome}"
        yield Prediction(f"exponent of {law.quantity}", law.predicted_exponent, law.exponent, window)
        yield Prediction(f"constant of {law.quantity}", law.predicted_constant, law.constant, window)
