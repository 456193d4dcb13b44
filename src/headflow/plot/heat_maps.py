"""The heat maps: one spectral variable, tasks by heads, at a few times on one colour scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .plotting import new_figure, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_NUMBERS = 100  # cells with numbers in them
_MOST_VECTOR_CELLS = 1024  # more are drawn as an image


@dataclass(frozen=True)
class Snapshot:
    """The variable, shape (I, H), at one time, and what to write above it."""

    title: str
    values: NDArray[np.float64]


def heat_maps(symbol: str, snapshots: Sequence[Snapshot]) -> str:
    """An SVG with one panel per snapshot, tasks downwards, heads to the right, both numbered from 1."""
    from matplotlib.colors import Normalize

    n_tasks, n_heads = snapshots[0].values.shape
    largest = max(float(np.abs(shot.values).max()) for shot in snapshots)
    signed = any((shot.values < 0).any() for shot in snapshots)
    scale = Normalize(-largest if signed else 0.0, largest or 1.0)
    width, height = _panel(n_tasks, n_heads)
    with new_figure(len(snapshots) * (width + 0.25) + 1.2, height + 0.85) as figure:
        axes = figure.subplots(1, len(snapshots), sharey=True, squeeze=False)[0]
        for axis, shot in zip(axes, snapshots, strict=True):
            mesh = _draw(axis, shot, scale, signed)
            axis.set_xticks(*_numbered(n_heads, width))
        axes[0].set_yticks(*_numbered(n_tasks, height))
        axes[0].set_ylabel("task")
        bar = figure.colorbar(mesh, ax=list(axes), fraction=0.04, aspect=18, pad=0.02)
        bar.set_label(symbol, rotation=0, labelpad=8, fontsize=12)
        bar.outline.set_visible(False)
        times = ", ".join(shot.title for shot in snapshots)
        return to_svg(figure, f"Heat maps of {symbol}, tasks by heads: {times}.")


def _panel(n_tasks: int, n_heads: int) -> tuple[float, float]:
    """Width and height of a panel in inches: square cells while they are large enough to hold a number."""
    cell = min(0.62, 2.2 / max(n_heads, 3), 3.2 / n_tasks)
    return max(1.5, n_heads * cell), max(0.6, n_tasks * cell)


def _draw(axis: Axes, shot: Snapshot, scale: Any, signed: bool) -> Any:
    n_tasks, n_heads = shot.values.shape
    mesh = axis.pcolormesh(
        shot.values,
        cmap="PuOr" if signed else "viridis",
        norm=scale,
        rasterized=shot.values.size > _MOST_VECTOR_CELLS,
    )
    axis.set(title=shot.title, aspect="equal", ylim=(n_tasks, 0), xlabel="head")
    axis.title.set_fontsize(9.5)
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)
    if shot.values.size <= _MOST_NUMBERS:
        digits = _decimals(scale.vmax)
        for (task, head), value in np.ndenumerate(shot.values):
            red, green, blue, _ = mesh.cmap(scale(value))
            dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
            axis.text(
                head + 0.5,
                task + 0.5,
                f"{value:.{digits}f}".replace("-", "−"),
                ha="center",
                va="center",
                color="#ffffff" if dark else "#000000",
                fontsize=9 if n_heads <= 4 else 7,
            )
    return mesh


def _decimals(largest: float) -> int:
    """How many decimals give the largest value three digits."""
    return min(4, max(0, 2 - math.floor(math.log10(largest))))


def _numbered(count: int, length: float) -> tuple[list[float], list[str]]:
    """Places and labels of ticks on an axis of that length in inches, thinned so that they stay apart."""
    apart = 0.09 * len(str(count)) + 0.08
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, count) if s * length / count >= apart)
    numbers = sorted({1, *range(step, count + 1, step)} - ({2} if step == 2 else set()))
    return [number - 0.5 for number in numbers], [str(number) for number in numbers]
