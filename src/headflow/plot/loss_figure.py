"""The figure of the loss over time: log axes, the levels it can be compared with, and its phases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .plotting import FAINT, INK, new_figure, power_of_ten, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = NDArray[np.float64]

_ROW = 0.165  # inches that a line of small text takes
_LETTER = 0.068  # inches that one of its letters takes
_AXES_WIDTH, _AXES_HEIGHT, _GAP_HEIGHT, _MARGIN = 5.0, 3.0, 1.5, 1.75


@dataclass(frozen=True)
class Level:
    """A loss to compare with, drawn as a horizontal line with its name at the end.

    With an ``error`` it is a number at the end of time, drawn as a point with a bar instead of the line.
    """

    label: str
    value: float
    colour: str
    dashes: str = "--"
    error: float | None = None


@dataclass(frozen=True)
class Mark:
    """A moment of the flow, drawn as a vertical line with its name on top.

    ``span`` is shaded: from when to when it lasts.
    """

    label: str
    t: float
    span: tuple[float, float] | None = None


def loss_figure(
    t: FloatArray,
    loss: FloatArray,
    levels: Sequence[Level],
    marks: Sequence[Mark] = (),
    limit: Level | None = None,
    error: FloatArray | float = 0.0,
    closure: str = "",
) -> str:
    """An SVG with the loss on top and, where there is a ``limit``, the gap to it below.

    Parameters
    ----------
    t, loss
        The flow, in order of time; the log axes show t > 0.
    levels, marks
        What to compare with.
    limit
        What the flow converges to.
    error
        The error estimate of the loss, one for all times or one each: the gap is drawn down to there.
    closure
        Whose loss it is.
    """
    shown = t > 0
    error = np.broadcast_to(error, t.shape)[shown]
    t, loss = t[shown], loss[shown]
    left = _start_of_axis(t, loss)
    gap = loss - limit.value if limit is not None else np.zeros_like(loss)
    visible = gap > np.maximum(error, 1e-14)
    with_gap = int(visible.sum()) > 1
    heights = [_AXES_HEIGHT, _GAP_HEIGHT] if with_gap else [_AXES_HEIGHT]
    with new_figure(_AXES_WIDTH + _MARGIN + 0.75, sum(heights) + 1.1 + 0.15 * len(heights)) as figure:
        column = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
        top: Axes = column[0]
        _draw_loss(top, t, loss, levels, f"loss, {closure} closure" if closure else "population loss")
        top.set_xlim(left, float(t[-1]))
        _draw_marks(top, list(column), marks)
        _draw_levels(top, levels)
        if limit is not None and with_gap:
            _draw_gap(column[1], t[visible], gap[visible], limit.colour)
        column[-1].set_xlabel("time t = learning rate × steps")
        column[-1].xaxis.set_major_formatter(power_of_ten)
        figure.align_ylabels()
        names = ", ".join(f"{level.label} {level.value:.4g}" for level in levels)
        return to_svg(figure, f"Loss over time on log axes, from {loss[0]:.4g} to {loss[-1]:.4g}; {names}.")


def _start_of_axis(t: FloatArray, loss: FloatArray) -> float:
    """Well before the loss begins to fall: logarithmic time has no natural start."""
    falling = t[loss < loss[0] - 0.02 * (loss[0] - loss[-1])]
    return max(float(t[0]), float(falling[0] if len(falling) else t[-1]) / 30)


def _draw_loss(axis: Axes, t: FloatArray, loss: FloatArray, levels: Sequence[Level], name: str) -> None:
    from matplotlib.ticker import LogLocator

    axis.plot(t, loss, color=INK, linewidth=2.2, zorder=3)
    axis.set(xscale="log", yscale="log", ylabel=name)
    values = [*loss.tolist(), *(level.value for level in levels)]
    low, high = np.log(min(values)), np.log(max(values))
    room = max(high - low, 0.2)
    axis.set_ylim(float(np.exp(low - 0.08 * room)), float(np.exp(high + 0.14 * room)))
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5) if room < 5 else (1,)))
    axis.yaxis.set_major_formatter(power_of_ten)
    axis.yaxis.set_minor_formatter("")
    axis.annotate(
        "flow",
        (0.0, float(loss[0])),
        xycoords=("axes fraction", "data"),
        xytext=(5, 4),
        textcoords="offset points",
        color=INK,
        fontweight="bold",
    )


def _draw_marks(top: Axes, column: Sequence[Axes], marks: Sequence[Mark]) -> None:
    """Vertical lines through all axes; labels that would overlap go to a higher row."""
    left, right = np.log(top.get_xlim())
    ends: list[float] = []  # where the last label of each row ends, in inches
    for mark in sorted(marks, key=lambda mark: mark.t):
        if not left <= np.log(mark.t) <= right:
            continue
        for axis in column:
            axis.axvline(mark.t, color=FAINT, linewidth=0.9, linestyle=(0, (1, 2)))
            if mark.span is not None:
                axis.axvspan(*mark.span, color=FAINT, alpha=0.16, linewidth=0)
        width = _LETTER * len(mark.label)
        start = _AXES_WIDTH * (np.log(mark.t) - left) / (right - left)
        start = max(0.0, min(start, _AXES_WIDTH + _MARGIN - width))
        row = next((row for row, end in enumerate(ends) if end < start), len(ends))
        ends[row : row + 1] = [start + width + 0.1]
        top.annotate(
            mark.label,
            (start / _AXES_WIDTH, 1.0),
            xycoords="axes fraction",
            xytext=(0, 4 + 72 * _ROW * row),
            textcoords="offset points",
            fontsize=8.5,
        )


def _draw_levels(axis: Axes, levels: Sequence[Level]) -> None:
    """Horizontal lines with their names beside the axes, moved apart where they would overlap."""
    low, high = np.log(axis.get_ylim())
    ordered = sorted(levels, key=lambda level: level.value)
    places = [float((np.log(level.value) - low) / (high - low)) for level in ordered]
    for level, place, moved in zip(ordered, places, _apart(places, 2 * _ROW / _AXES_HEIGHT), strict=True):
        if level.error is None:
            axis.axhline(level.value, color=level.colour, linewidth=1.3, linestyle=level.dashes)
        else:
            end = axis.get_xlim()[1]
            axis.errorbar(
                end, level.value, level.error, color=level.colour, fmt="o", ms=5, capsize=3, clip_on=False, zorder=4
            )
        axis.annotate(
            f"{level.label}\n{level.value:.5g}",
            (1.0, place),
            xycoords="axes fraction",
            xytext=(1.045, moved),
            textcoords="axes fraction",
            va="center",
            fontsize=8.5,
            linespacing=1.15,
            color=level.colour,
            arrowprops={
                "arrowstyle": "-",
                "color": level.colour,
                "linewidth": 0.8,
                "shrinkA": 1,
                "shrinkB": 0,
            },
        )


def _apart(places: Sequence[float], least: float) -> list[float]:
    """Ascending places in [0, 1], moved as little as needed to lie ``least`` apart.

    >>> _apart([0.5, 0.5, 0.9], 0.2)
    [0.4, 0.6, 0.9]
    """
    groups: list[tuple[float, int]] = []  # centre and size of each run of touching labels
    for place in places:
        groups.append((place, 1))
        while len(groups) > 1:
            (before, n), (after, m) = groups[-2:]
            if after - before >= least * (n + m) / 2 - 1e-12:
                break
            groups[-2:] = [((before * n + after * m) / (n + m), n + m)]
    return [
        round(centre + least * (position - (size - 1) / 2), 6) for centre, size in groups for position in range(size)
    ]


def _draw_gap(axis: Axes, t: FloatArray, gap: FloatArray, colour: str) -> None:
    axis.plot(t, gap, color=colour, linewidth=1.8)
    axis.set(yscale="log", ylabel="gap to limit")
    axis.yaxis.set_major_formatter(power_of_ten)
    axis.minorticks_off()
    _draw_power_law(axis, t, gap)


def _draw_power_law(axis: Axes, t: FloatArray, gap: FloatArray) -> None:
    """A line of slope −2 above the curve, where its last part has about that slope."""
    last = t > t[-1] / 8
    if last.sum() < 3 or abs(np.polyfit(np.log(t[last]), np.log(gap[last]), 1)[0] + 2) > 0.2:
        return
    ends = np.array([t[-1] / 60, t[-1]])
    guide = 3 * gap[-1] * (ends / t[-1]) ** -2
    axis.plot(ends, guide, color=FAINT, linewidth=1.2, linestyle=":")
    axis.annotate("∝ t⁻²", (float(ends[0]), float(guide[0])), xytext=(4, 1), textcoords="offset points")
