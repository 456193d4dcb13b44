"""The figures of the reproductions: predicted and measured side by side, one function for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .heat_maps import Snapshot, heat_maps
from .plotting import BLUE, FAINT, GOLD, GREEN, INK, ORANGE, PURPLE, new_figure, power_of_ten, to_svg

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.axes import Axes

    from ..numerics.reproductions import Reproduction

_COLOURS: Final = (BLUE, ORANGE, GREEN, PURPLE, GOLD)
_CLOSURES: Final = {"leading": ORANGE, "finite_d": GREEN, "first_order": BLUE}
_TIME: Final = "time t = learning rate × steps"


def reproduction_figures(found: Reproduction) -> dict[str, str]:
    """File name without ending → SVG."""
    return _FIGURES[found.name](found)


def _zero_sum(found: Reproduction) -> dict[str, str]:
    a = found.arrays
    with new_figure(7.6, 5.6) as figure:
        (top, right), (bottom, profile) = figure.subplots(2, 2)
        for axis, name, symbol in ((top, "omega", "ω"), (bottom, "mu", "μ")):
            for head in range(2):
                axis.plot(a["t"], a[name][:, head], color=BLUE, linewidth=1.6, label=_once("trained", head))
                axis.plot(a["t"], a[f"leading_{name}"][:, head], "--", color=INK, label=_once("leading flow", head))
                axis.plot(
                    a["t"], a[f"first_order_{name}"][:, head], ":", color=FAINT, label=_once("first-order flow", head)
                )
            axis.set(ylabel=symbol, xlabel=_TIME, xlim=(0, a["t"][-1]))
        top.legend(frameon=False, fontsize=8)
        omega = a["pair_omega"]
        _points(right, omega, a["pair_mu"], a["pair_mu_error"], BLUE, "sampled attention")
        right.plot(omega, a["leading_best_mu"], "--", color=INK, label="leading")
        right.plot(omega, a["first_order_best_mu"], ":", color=FAINT, label="first-order")
        right.plot(
            np.abs(a["omega"]).mean(axis=1)[20:], np.abs(a["mu"]).mean(axis=1)[20:], color=GREEN, label="training"
        )
        right.plot([0.13], [3.45], "*", color=ORANGE, markersize=11, label="[H25]: .13, 3.45")
        right.set(ylabel="best μ", xscale="log", yscale="log")
        _points(profile, omega, a["pair_loss"], a["pair_loss_error"], BLUE, "sampled attention")
        profile.plot(omega, a["leading_profile"], "--", color=INK)
        profile.plot(omega, a["first_order_profile"], ":", color=FAINT)
        profile.set(ylabel="least risk at ±ω", xlabel="ω", xscale="log")
        for axis in (right, profile):
            _plain_ticks(axis.xaxis, (0.06, 0.1, 0.2, 0.4))
        _plain_ticks(right.yaxis, (1, 2, 3, 5, 7))
        right.legend(frameon=False, fontsize=8)
        return {
            found.name: to_svg(figure, "Two heads trained to a zero-sum pair: ω and μ over time, and the best pair.")
        }


def _trained(found: Reproduction) -> dict[str, str]:
    a = found.arrays
    with new_figure(6.6, 7.2) as figure:
        top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=[1.2, 1, 1])
        top.plot(a["t"], a["loss"], color=BLUE, linewidth=1.2, label="softmax attention, trained")
        top.fill_between(
            a["t"],
            a["loss"] - 2 * a["loss_error"],
            a["loss"] + 2 * a["loss_error"],
            color=BLUE,
            alpha=0.18,
            linewidth=0,
        )
        top.plot(a["t"], a["leading_loss"], "--", color=INK, label="leading flow")
        top.plot(a["t"], a["first_order_loss"], ":", color=FAINT, label="first-order flow")
        top.set(ylabel="loss", ylim=(0, None))
        top.legend(frameon=False, fontsize=8.5)
        n_tasks, n_heads = a["mu"].shape[1:]
        for axis, name, symbol in ((middle, "mu", "μ"), (bottom, "omega", "ω")):
            for task in range(n_tasks):
                for head in range(n_heads):
                    colour = _COLOURS[(task if n_tasks > 1 else head) % len(_COLOURS)]
                    centre = a[name][:, task, head]
                    axis.plot(a["t"], centre, color=colour, linewidth=1.5)
                    if name == "omega":
                        width = a["spread"][:, task, head]
                        axis.fill_between(a["t"], centre - width, centre + width, color=colour, alpha=0.18, linewidth=0)
                    axis.plot(a["t"], a[f"leading_{name}"][:, task, head], "--", color=INK, linewidth=0.8)
                    axis.plot(a["t"], a[f"first_order_{name}"][:, task, head], ":", color=FAINT, linewidth=0.8)
            axis.set_ylabel(symbol)
        for place in range(n_tasks if n_tasks > 1 else n_heads):
            label = f"{'task' if n_tasks > 1 else 'head'} {place + 1}"
            middle.plot([], [], color=_COLOURS[place % len(_COLOURS)], label=label)
        middle.legend(frameon=False, fontsize=8.5, loc="center right", ncols=2)
        bottom.set(xlabel=_TIME, xlim=(0, a["t"][-1]))
        figure.align_ylabels()
        curves = to_svg(figure, "Loss, μ and ω of trained softmax attention over time, with the reduced flow dashed.")
    maps = {}
    for name, symbol in (("mu", "μ"), ("omega", "ω")):
        shots = [Snapshot(f"t = {a['t'][at]:.3g}", a[name][at]) for at in a["snapshots"]]
        last = Snapshot("leading flow", a[f"leading_{name}"][-1])
        maps[f"{found.name}-{name}"] = heat_maps(symbol, [*shots, last])
    return {found.name: curves, **maps}


def _staircase(found: Reproduction) -> dict[str, str]:
    from matplotlib.ticker import LogLocator

    a = found.arrays
    with new_figure(6.6, 5.0) as figure:
        top, bottom = figure.subplots(2, 1, sharex=True)
        for level in a["predicted_losses"]:
            top.axhline(level, color=FAINT, linewidth=0.7, linestyle="--")
        for place, time in enumerate(a["predicted_times"]):
            for axis in (top, bottom):
                axis.axvline(time, color=INK, linewidth=0.9, linestyle=":", label=_once("predicted", place))
        top.plot(a["t"], a["loss"], color=BLUE, linewidth=1.6, label="linear attention")
        top.set(ylabel="loss", xscale="log", xlim=(a["predicted_times"][0] / 5, a["t"][-1]))
        top.legend(frameon=False, fontsize=8.5)
        for place in range(a["learned"].shape[1]):
            colour = _COLOURS[place % len(_COLOURS)]
            bottom.plot(a["t"], a["learned"][:, place], color=colour, label=f"coordinate {place + 1}")
        bottom.set(ylabel="part learned", xlabel=_TIME)
        bottom.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        bottom.xaxis.set_major_formatter(power_of_ten)
        bottom.xaxis.set_minor_formatter("")
        bottom.legend(*_without(bottom, "predicted"), frameon=False, fontsize=8.5, loc="center left")
        return {found.name: to_svg(figure, "Loss of linear attention over time: a staircase, one step per coordinate.")}


def _estimators(found: Reproduction) -> dict[str, str]:
    from ..numerics.reproductions.estimators import ESTIMATORS

    a = found.arrays
    reference = a["predicted"][ESTIMATORS.index("gradient step")]
    with new_figure(6.2, 6.0) as figure:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1.5, 1])
        for row, (name, colour) in enumerate(zip(ESTIMATORS, _COLOURS, strict=True)):
            _points(top, a["lengths"], a["measured"][row], a["error"][row], colour, name)
            top.plot(a["lengths"], a["predicted"][row], "--", color=colour, linewidth=1.0)
            if name in ("two heads", "gradient step", "debiased step"):  # one curve in the panel above
                apart = a["lengths"] * 1.02 ** (row - 2)
                _points(bottom, apart, a["measured"][row] / reference, a["error"][row] / reference, colour, name)
                bottom.plot(a["lengths"], a["predicted"][row] / reference, "--", color=colour, linewidth=1.0)
        top.plot([], [], "--", color=FAINT, label="predicted")
        _over_lengths(top, a["lengths"], "")
        bottom.set(xlabel="context length L", ylabel="risk / gradient step's")
        return {found.name: to_svg(figure, "Risk of five estimators over the context length, predicted and sampled.")}


def _context_length(found: Reproduction) -> dict[str, str]:
    from ..numerics.reproductions.context_length import MODELS

    a = found.arrays
    with new_figure(6.2, 4.2) as figure:
        axis = figure.subplots()
        for row, (name, colour) in enumerate(zip(MODELS, _COLOURS, strict=False)):
            _points(axis, a["lengths"], a["measured"][row], a["error"][row], colour, name)
            axis.plot(a["lengths"], a["leading"][row], "--", color=colour, linewidth=1.0)
            axis.plot(a["lengths"], a["first_order"][row], ":", color=colour, linewidth=1.0)
        axis.plot(a["lengths"], a["ridge"], color=FAINT, linewidth=1.0, label="ridge, for reference")
        axis.plot([], [], "--", color=FAINT, label="leading")
        axis.plot([], [], ":", color=FAINT, label="first-order")
        _over_lengths(axis, a["lengths"], "context length L′ in use")
        return {found.name: to_svg(figure, "Risk of weights made for one context length at other lengths.")}


def _closures(found: Reproduction) -> dict[str, str]:
    a = found.arrays
    rows, columns = len(a["dims"]), len(a["omegas"])
    with new_figure(2.6 * columns + 1.0, 2.3 * rows + 0.8) as figure:
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for (row, column), axis in np.ndenumerate(axes):
            place = 0.0
            for name, colour in _CLOSURES.items():
                errors = np.abs(a[f"{name}_error"][row, column])
                _points(axis, a["lengths"], errors, a["risk_error"][row, column], colour, name.replace("_", " "))
                # Through the point that says most: the largest L, where noise does not hide it.
                order, anchor = (2, 0) if name == "first_order" else (1, -1)
                guide = errors[anchor] * (a["lengths"][anchor] / a["lengths"]) ** order
                axis.plot(a["lengths"], guide, color=colour, linewidth=0.7, linestyle="--")
                fitted, half_width, _ = a[f"{name}_order"][row, column]
                words = f"{fitted:.2f} ± {half_width:.2f}" if np.isfinite(fitted) else "no power"
                axis.annotate(
                    words,
                    (0.03, 0.05 + place),
                    xycoords="axes fraction",
                    color=colour,
                    fontsize=8,
                )
                place += 0.1
            axis.set_title(f"d = {a['dims'][row]}, |ω| = {a['omegas'][column]:g}", fontsize=9)
            axis.set(xscale="log", yscale="log")
            _plain_ticks(axis.xaxis, a["lengths"])
            axis.yaxis.set_major_formatter(power_of_ten)
            axis.yaxis.set_minor_formatter("")
        axes[0, 0].plot([], [], "--", color=FAINT, linewidth=0.7, label="orders 1 and 2")
        figure.legend(
            *axes[0, 0].get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside upper center", ncols=4
        )
        figure.supxlabel("context length L", fontsize=9.5)
        figure.supylabel("|closure − sampled attention|", fontsize=9.5)
        description = (
            "Errors of the closures over the context length, with fitted orders and their 99 percent intervals; "
            "dashed: the predicted orders 1, 1 and 2."
        )
        return {found.name: to_svg(figure, description)}


def _points(axis: Axes, x: Any, y: Any, error: Any, colour: str, label: str) -> None:
    """Measured values with bars of two standard errors."""
    axis.errorbar(x, y, 2 * error, fmt="o", color=colour, markersize=3.5, linewidth=1.0, label=label)


def _over_lengths(axis: Axes, lengths: Any, label: str) -> None:
    axis.set(xscale="log", yscale="log", xlabel=label, ylabel="risk")
    _plain_ticks(axis.xaxis, lengths)
    axis.yaxis.set_major_formatter(power_of_ten)
    axis.yaxis.set_minor_formatter("")
    axis.legend(frameon=False, fontsize=8.5, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _plain_ticks(axis: Any, places: Iterable[float]) -> None:
    marks = list(places)
    axis.set_ticks(marks, labels=[f"{mark:g}" for mark in marks])
    axis.set_minor_locator(_nowhere())


def _nowhere() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def _once(label: str, place: int) -> str | None:
    """The label for the first curve of a kind only."""
    return label if place == 0 else None


def _without(axis: Axes, label: str) -> tuple[list[Any], list[str]]:
    """Handles and labels of a legend, one left out."""
    handles, labels = axis.get_legend_handles_labels()
    kept = [pair for pair in zip(handles, labels, strict=True) if pair[1] != label]
    return [pair[0] for pair in kept], [pair[1] for pair in kept]


_FIGURES: Final[dict[str, Callable[[Any], dict[str, str]]]] = {
    "allocation": _trained,
    "single-task": _trained,
    "zero-sum-pair": _zero_sum,
    "estimators": _estimators,
    "context-length": _context_length,
    "staircase": _staircase,
    "closures": _closures,
}
