"""The figure of a simulation: measured and predicted loss, μ and ω over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from .plotting import BLUE, FAINT, GOLD, GREEN, INK, ORANGE, PURPLE, new_figure, power_of_ten, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..numerics.comparison.simulate import Simulation
    from ..numerics.problem.problem import FloatArray

_COLOURS: Final = (BLUE, ORANGE, GREEN, PURPLE, GOLD)
_MOST_TASKS: Final = 12  # more curves say nothing more


def simulation_figure(simulation: Simulation) -> str:
    """An SVG: the training as lines with bands, the reduced flow dashed over it.

    The band of the loss is two standard errors of its batch, that of ω one standard deviation of the eigenvalues
    within a task's block.  Tasks have colours; weights off a task's head are thin.
    """
    from matplotlib.ticker import LogLocator

    run, (loss, mu, omega) = simulation.run, simulation.predicted
    with new_figure(6.6, 7.2) as figure:
        top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=[1.2, 1, 1])
        top.plot(run.t, run.loss, color=BLUE, linewidth=1.2, label="softmax attention, trained")
        _band(top, run.t, run.loss, 2 * run.loss_error, BLUE)
        top.plot(run.t, loss, color=INK, linewidth=1.4, linestyle="--", label="reduced flow")
        top.set(ylabel="loss", yscale="log")
        top.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        top.yaxis.set_major_formatter(power_of_ten)
        top.yaxis.set_minor_formatter("")
        top.legend(frameon=False, fontsize=8.5)
        _curves(middle, simulation, run.mu, mu, np.zeros_like(run.mu))
        _curves(bottom, simulation, run.omega, omega, run.spread)
        middle.set_ylabel("μ")
        bottom.set_ylabel("ω")
        bottom.set_xlabel("time t = learning rate × steps")
        bottom.set_xlim(0, float(run.t[-1]))
        figure.align_ylabels()
        beside = "no reduced flow, as that is not reliable"
        if simulation.doubt is None:
            beside = (
                f"the reduced flow dashed; μ deviates by at most {100 * simulation.deviation('mu').value:.2g} percent"
            )
        return to_svg(figure, f"Loss, μ and ω of softmax attention over training, with {beside}.")


def _curves(axis: Axes, simulation: Simulation, measured: FloatArray, predicted: FloatArray, band: FloatArray) -> None:
    t, heads = simulation.run.t, simulation.heads
    for task in range(min(len(heads), _MOST_TASKS)):
        colour = _COLOURS[task % len(_COLOURS)]
        for head in range(measured.shape[2]):
            on_task = head == heads[task]
            axis.plot(t, measured[:, task, head], color=colour, linewidth=1.8 if on_task else 0.7)
            _band(axis, t, measured[:, task, head], band[:, task, head], colour)
            axis.plot(t, predicted[:, task, head], color=INK, linewidth=1.1 if on_task else 0.6, linestyle="--")
        axis.annotate(
            f"task {task + 1}",
            (1.0, float(measured[-1, task, heads[task]])),
            xycoords=("axes fraction", "data"),
            xytext=(5, 3 - 11 * task),
            textcoords="offset points",
            color=colour,
            fontsize=8.5,
            va="center",
        )
    axis.axhline(0.0, color=FAINT, linewidth=0.6)


def _band(axis: Axes, t: FloatArray, centre: FloatArray, width: FloatArray, colour: str) -> None:
    axis.fill_between(t, centre - width, centre + width, color=colour, alpha=0.18, linewidth=0)
