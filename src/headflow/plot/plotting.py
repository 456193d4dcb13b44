"""How figures look and how they become SVG; matplotlib is imported on first use only."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..theory.visible import visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, FAINT = "#1f2328", "#8b929a"
BLUE, ORANGE, GREEN, PURPLE, GOLD = "#0072b2", "#d55e00", "#009e73", "#b6559c", "#a87800"

# On a page the colours follow its light or dark scheme; the hexadecimal value is that of a file.
_ON_A_PAGE = {
    INK: "--ink",
    FAINT: "--faint",
    BLUE: "--blue",
    ORANGE: "--orange",
    GREEN: "--green",
    PURPLE: "--purple",
    GOLD: "--gold",
}
_STYLE: dict[Any, Any] = {
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "DejaVu Sans",  # shipped with matplotlib, and set as paths: looks the same everywhere
    "font.size": 9.5,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "path",
    "svg.hashsalt": "headflow",
    "text.color": INK,
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
}
_SIZE = re.compile(r'width="(?P<width>[\d.]+)pt" height="[\d.]+pt"')
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@contextmanager
def new_figure(width: float, height: float) -> Iterator[Figure]:
    """An empty figure of that size in inches, in the package's style; it needs no display."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def to_svg(figure: Figure, description: str) -> str:
    """The figure as a complete SVG file; ``description`` is for those who cannot see it."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing, transparent=True)
    svg = re.sub(r"<!DOCTYPE.*?>\s*", "", buffer.getvalue(), flags=re.DOTALL)
    return visible(svg.replace("<svg ", f'<svg role="img" aria-label="{description}" ', 1))


def inline_svg(svg: str, name: str) -> str:
    """An SVG file as an element of a page: no XML header, its own ids, the page's colours."""
    svg = svg[svg.index("<svg") :]
    # Never larger than drawn; on a narrow page a little smaller, and then it scrolls.
    svg = _SIZE.sub(_flexible, svg, count=1)
    svg = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    for colour, variable in _ON_A_PAGE.items():
        svg = svg.replace(colour, f"var({variable}, {colour})")
    return svg


def _flexible(size: re.Match[str]) -> str:
    width = float(size["width"])
    return f'style="width: 100%; min-width: {0.7 * width:.0f}pt; max-width: {width:.0f}pt"'


def on_white(svg: str) -> str:
    """An SVG file with a white ground, for viewers whose own is dark."""
    start = svg.index(">", svg.index("<svg")) + 1
    return f'{svg[:start]}\n <rect width="100%" height="100%" fill="#ffffff"/>{svg[start:]}'


def power_of_ten(value: float, _position: object = None) -> str:
    """A tick label without mathematics: 0.01, 1, 100, 10⁴, 2·10⁵."""
    if value <= 0:
        return f"{value:g}"
    if 1e-3 <= value < 1e4:
        return f"{value:g}"
    mantissa, exponent = f"{value:e}".split("e")
    factor = f"{float(mantissa):g}"
    power = f"10{str(int(exponent)).translate(_SUPERSCRIPT)}"
    return power if factor == "1" else f"{factor}·{power}"
