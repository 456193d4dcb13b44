"""Flows as numbers need them: in solvers' coordinates, without their derivation, kept on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Final

from ...theory.derivation import Derivation
from ...theory.flows.coordinates import to_growth, to_log
from ...theory.flows.flow import gradient_flow
from ...theory.flows.system import ReducedSystem
from ..runtime.progress import stage
from ..runtime.store import remembered

_CHARTS: Final[Mapping[str, Callable[[ReducedSystem], ReducedSystem]]] = {
    "plain": lambda system: system,
    "log": to_log,
    "growth": to_growth,
}


@cache
def flow(parametrisation: str, closure: str, coordinates: str = "plain") -> ReducedSystem:
    """`gradient_flow` in ``"plain"``, ``"log"`` or ``"growth"`` coordinates, with an empty derivation."""

    @stage("derive")
    def derived() -> ReducedSystem:
        return bare(_CHARTS[coordinates](gradient_flow(parametrisation, closure)))

    return remembered(f"flow_{parametrisation}_{closure}_{coordinates}", derived)


@cache
def softmax_covariate_flow(closure: str) -> ReducedSystem:
    """`headflow.theory.families.softmax.softmax_covariate_flow` with an empty derivation."""
    from ...theory.families import softmax  # here, as few need it

    @stage("derive")
    def derived() -> ReducedSystem:
        return bare(softmax.softmax_covariate_flow(closure))

    return remembered(f"flow_softmax_covariates_{closure}", derived)


def bare(system: ReducedSystem) -> ReducedSystem:
    """The system with an empty derivation."""
    return replace(system, derivation=Derivation(system.derivation.title, ()))
