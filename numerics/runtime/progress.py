"""Progress on standard error: a bar that names what is being done, on a terminal or in a notebook.

It is shown from the second second on and drawn by a thread of its own, so that it moves while one long step is made;
whoever reports a step only counts.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

if TYPE_CHECKING:
    from tqdm import tqdm

_Item = TypeVar("_Item")

_DELAY: Final = 1.0  # seconds without a bar
_EVERY: Final = 0.5  # seconds between two drawings
_LONG: Final = 60.0  # seconds, from which on it is said beforehand how long it takes
_MEASURED: Final = 1.0  # seconds of work from which it is estimated
_UNKNOWN: Final = "{desc} {elapsed}"
_SHARE: Final = "{desc} {percentage:3.0f}% |{bar}| {elapsed} < {remaining}"
_COUNT: Final = "{desc} {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} {unit}, {elapsed} < {remaining}"


class Bar:
    """What is being done, and how much of it is done; shows nothing by itself."""

    def __init__(self, name: str, total: float | None, done: float, unit: str) -> None:
        self._unit = unit
        self.part = ""  # what the step of now is doing, if it is something else
        self.begin(name, total, done)

    def begin(self, name: str, total: float | None = None, done: float = 0) -> None:
        """Start with something of so many steps, ``None``: nobody knows how many."""
        self.name, self.total, self.first, self.done = name, total, done, done
        self.began = time.time()

    def update(self, count: float = 1) -> None:
        """So many steps more are done."""
        self.done += count

    def draw(self, shown: tqdm[NoReturn]) -> None:
        """Show it as it is now."""
        shown.desc = f"{self.name} ({self.part}):" if self.part else f"{self.name}:"
        shown.bar_format = _UNKNOWN if not self.total else _COUNT if self._unit else _SHARE
        if self.total and self.total != shown.total:
            shown.reset(self.total)
        shown.initial, shown.n = self.first, min(self.done, self.total or self.done)
        shown.start_t = self.began
        shown.refresh()
        shown.delay, shown.last_print_t = 0, time.time()  # it has been shown: it is cleared at the end


_open: list[Bar] = []  # of this process; the last one is the innermost


@contextmanager
def progress_bar(
    progress: bool, name: str, total: float | None = None, done: float = 0, unit: str = ""
) -> Iterator[Bar]:
    """A bar in the block, if ``progress``, and there is a terminal or a notebook to show it.

    Parameters
    ----------
    name
        What is being done: "integrate", …
    total, done
        How many steps there are, if that is known, and how many were done before.
    unit
        What is counted, in the plural; "": only the share is shown.
    """
    bar = Bar(name, total, done, unit)
    shown = _made(unit) if progress else None
    if shown is None:
        yield bar
        return
    over = Event()
    drawing = Thread(target=_drawn, args=(bar, shown, over), daemon=True)
    _open.append(bar)
    drawing.start()
    try:
        yield bar
    finally:
        _open.remove(bar)
        over.set()
        drawing.join()
        shown.close()


def steps(items: Sequence[_Item], progress: bool, name: str) -> Iterator[_Item]:
    """The items, with a bar that counts those done if ``progress``."""
    with progress_bar(progress, name, len(items), unit="steps") as bar:
        for item in items:
            yield item
            bar.update()


@contextmanager
def stage(name: str) -> Iterator[None]:
    """In the block (or the function that this decorates) the innermost bar says that its step is doing this."""
    bar = _open[-1] if _open else None
    if bar is None:
        yield
        return
    before, bar.part = bar.part, name
    try:
        yield
    finally:
        bar.part = before


class Estimate:
    """Says once, on standard error, how long something takes, if that is more than a minute.

    ``name`` is what is done, ``steps`` how much is left of it, ``unit`` in the plural.
    """

    def __init__(self, progress: bool, name: str, steps: int, unit: str) -> None:
        self._name, self._steps, self._unit = name, steps, unit
        self._due = progress and sys.stderr is not None
        self._began: float | None = None

    def after(self, count: int) -> None:
        """So many steps are done; the first is not counted, for it may compile."""
        if not self._due:
            return
        if self._began is None:
            self._began, self._first = time.perf_counter(), count
            return
        seconds = time.perf_counter() - self._began
        if count == self._first or seconds < _MEASURED:
            return
        self._due = False
        whole = seconds / (count - self._first) * (self._steps - count)
        if whole > _LONG:
            _say(
                f"headflow: the {self._name} takes about {duration(whole)} ({self._steps} {self._unit}); "
                "Ctrl-C ends it and keeps what is done"
            )


def duration(seconds: float) -> str:
    """A duration as people say it.

    >>> duration(50), duration(100), duration(5000), duration(36_000), duration(400_000)
    ('50 seconds', '2 minutes', '83 minutes', '10 hours', '5 days')
    """
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _made(unit: str) -> tqdm[NoReturn] | None:
    """tqdm's bar for a terminal or a notebook; None where there is neither."""
    terminal = sys.stderr is not None and sys.stderr.isatty()
    if not terminal and "IPython" not in sys.modules:
        return None
    from tqdm.auto import tqdm

    # disable=None: none outside a terminal or a notebook.  Drawn only by `Bar.draw`: nothing here is updated.
    made = tqdm(total=1, delay=_DELAY, leave=False, disable=None, unit=unit, file=sys.stderr)
    return None if made.disable else made


def _drawn(bar: Bar, shown: tqdm[NoReturn], over: Event) -> None:
    """Draw a bar until it is over, from the second second on."""
    if over.wait(_DELAY):
        return
    with suppress(OSError):  # the terminal may have gone
        while True:
            if _open and _open[-1] is bar:  # of several the innermost
                bar.draw(shown)
            if over.wait(_EVERY):
                return


def _say(sentence: str) -> None:
    """A line on standard error, above the bar if there is one."""
    with suppress(OSError):
        if _open:
            from tqdm import tqdm

            tqdm.write(sentence, file=sys.stderr)
        else:
            print(sentence, file=sys.stderr)
