"""Owns attention's flows as numbers need them: in solvers' coordinates, without their derivation, kept on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Final

from ..theory.coordinates import to_growth, to_log
from ..theory.derivation import Derivation
from ..theory.flow import gradient_flow
from ..theory.system import ReducedSystem
from .store import remembered

_CHARTS: Final[Mapping[str, Callable[[ReducedSystem], ReducedSystem]]] = {
    "plain": lambda system: system,
    "log": to_log,
    "growth": to_growth,
}


@cache
def flow(parametrisation: str, closure: str, coordinates: str = "plain") -> ReducedSystem:
    """`gradient_flow` in ``"plain"``, ``"log"`` or ``"growth"`` coordinates, with an empty derivation."""

    def derived() -> ReducedSystem:
        system = _CHARTS[coordinates](gradient_flow(parametrisation, closure))
        return replace(system, derivation=Derivation(system.derivation.title, ()))

    return remembered(f"flow_{parametrisation}_{closure}_{coordinates}", derived)
