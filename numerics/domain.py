"""Owns the conditions of a closure on numbers: where the weights leave its domain, or the range where it is valid."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from sympy import Expr, Indexed, lambdify
from sympy.core.relational import Relational, StrictLessThan

from ..theory import notation as n
from ..theory.printing import to_text
from ..theory.system import ReducedSystem
from .problem import FloatArray


def largest_omega(system: ReducedSystem) -> float:
    """Below which every |ω| lies in the domain of a system, and in the range where its closure is valid."""
    bounds = [float(relation.rhs) for relation in _on_omega((*system.domain, *system.validity))]
    return math.sqrt(min(bounds, default=math.inf))


def violation(relations: Iterable[Relational], omega: FloatArray) -> tuple[str, str] | None:
    """The first condition that ω of shape (I, H) violates, and where it is worst (counted from 1); else None."""
    for relation in _on_omega(relations):
        values = _evaluated(relation.lhs, omega)
        # Not-a-number violates every condition.
        if not (values < float(relation.rhs)).all():
            place = np.unravel_index(int(np.nan_to_num(values, nan=np.inf).argmax()), values.shape)
            task, *heads = (int(index) + 1 for index in place)
            among = f"head {heads[0]}" if len(set(heads)) == 1 else f"heads {heads[0]} and {heads[1]}"
            got = f"{to_text(relation.lhs)} = {values[place]:.6g} for task {task} and {among}"
            return to_text(relation), got
    return None


def _on_omega(relations: Iterable[Relational]) -> list[StrictLessThan]:
    """The conditions of the form f(ω) < number (those on signs are the parametrisation's own)."""
    return [relation for relation in relations if isinstance(relation, StrictLessThan) and relation.rhs.is_number]


def _evaluated(expression: Expr, omega: FloatArray) -> FloatArray:
    """``expression`` in ω_i^h and ω_i^k, over all tasks and heads: shape (I, H) or (I, H, H)."""
    atoms = sorted(expression.atoms(Indexed), key=str)
    arrays = [_broadcast(atom, omega, len(atoms)) for atom in atoms]
    found: FloatArray = lambdify(atoms, expression)(*arrays)
    return found


def _broadcast(atom: Indexed, omega: FloatArray, count: int) -> FloatArray:
    if count == 1:
        return omega
    return omega[:, :, None] if atom == n.omega[n.i, n.h] else omega[:, None, :]
