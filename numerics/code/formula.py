"""Closed forms as functions: an index expression of parameters alone, lambdified like everything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ...theory.derivation import Derivation
from ...theory.flows.system import ReducedSystem
from ...theory.indexed import Definition
from ...theory.parameters import PARAMETERS
from ..runtime.remade import Remade
from .compiled import CompiledSystem

Expr = Any


class Formula(Remade):
    """A generated function of named parameters; ``source`` is its Python text."""

    def __init__(self, expression: Expr, definitions: Sequence[Definition]) -> None:
        # A closed form is the loss of a system without state: all of its code is in the bind stage.
        self._system = ReducedSystem(
            parametrisation="none",
            closure="none",
            state=(),
            loss=expression,
            gradient=(),
            metric=(),
            velocity=(),
            derivation=Derivation("Closed form", ()),
            definitions=tuple(definitions),
            parameter_definitions=PARAMETERS,
        )

    @cached_property
    def _compiled(self) -> CompiledSystem:
        return CompiledSystem(self._system)

    @property
    def source(self) -> str:
        return self._compiled.loss.source

    @property
    def parameters(self) -> dict[str, tuple[str, ...]]:
        """Parameter name → the names of its axes' ranges."""
        return self._compiled.loss.parameters

    def __call__(self, values: Mapping[str, ArrayLike]) -> float:
        """The value; ``values`` maps names to numbers or arrays, sizes (``I``, ``H``) among them.

        Raises ``KeyError`` naming a missing parameter, ``ValueError`` for a wrong shape.
        """
        return float(self._compiled.loss.bind(values)(np.empty(0)))


@lru_cache(maxsize=256)
def formula(expression: Expr, definitions: tuple[Definition, ...] = ()) -> Formula:
    """The generated function of a closed form such as ``task_allocation_limit().loss.expression``."""
    return Formula(expression, definitions)
