"""The compiled integrator: the loops of `loops` with their tableaus, made for one flow and size."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from threading import RLock
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..code.native import Loops
from ..compiler import Program
from . import explicit_tableau, tableau

Floats = NDArray[np.float64]
RECORDS: Final = 64  # steps that are recorded before they are looked at
MAKING: Final = RLock()  # held by whoever makes an integrator: threads that need it too wait for it


class Integrator:
    """`loops` for one flow and one size.

    Attributes
    ----------
    loops
        The flow's own.
    advance, follow
        See `loops`; compiled when they are first asked for, separately, as one trajectory does not need both.
    """

    def __init__(self, own: Loops, compiled: bool = True) -> None:
        self.loops, self._compiled = own, compiled
        size = {"N": own.n_state, "WORK": own.n_work}
        self._program = Program(
            f"steps_{own.program.name}",
            [loops_text(), *own.program.texts],
            {**own.program.constants, **size, **tableaus()},
        )

    @property
    def advance(self) -> Callable[..., int]:
        return self.function("advance")

    @property
    def follow(self) -> Callable[..., None]:
        return self.function("follow")

    def function(self, name: str) -> Callable[..., Any]:
        """Any of the loops' functions."""
        if not self._compiled:
            return self._program.plain(name)
        with MAKING:
            return self._program.compiled(name)

    def first_step(self, rtol: float, end: float) -> float:
        """The first step, in log time."""
        return float(self._program.plain("first_step")(rtol, end))

    def empty_records(self, steps: int) -> tuple[Floats, Floats]:
        """Memory for the records of that many steps."""
        return np.empty(steps), np.empty((steps, 5, self.loops.n_state))


@lru_cache(maxsize=256)
def integrator(own: Loops, compiled: bool = True) -> Integrator:
    """The integrator of a flow (made once per session)."""
    return Integrator(own, compiled)


@cache
def loops_text() -> str:
    """The text of `loops`."""
    return (Path(__file__).parent / "loops.py").read_text(encoding="utf-8")


@cache
def tableaus() -> dict[str, Any]:
    """The coefficients, as `loops` names them."""

    def square(rows: tuple[tuple[float, ...], ...]) -> Floats:
        return np.array([[*row, *[0.0] * (len(rows) - len(row))] for row in rows])

    return {
        "STAGES": tableau.STAGES,
        "GAMMA": tableau.GAMMA,
        "A": square(tableau.A),
        "C": square(tableau.C),
        "NODES": np.array(tableau.NODES),
        "SLOPES": np.array(tableau.SLOPES),
        "DENSE": np.array(tableau.DENSE),
        "TSIT_STAGES": explicit_tableau.STAGES,
        "TSIT_A": square(explicit_tableau.A),
        "TSIT_ERROR": np.array(explicit_tableau.ERROR),
        "TSIT_NODES": np.array(explicit_tableau.NODES),
        "TSIT_DENSE": np.array(explicit_tableau.DENSE),
    }
