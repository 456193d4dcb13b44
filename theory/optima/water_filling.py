"""Water-filling: ``min Σ a_i c_i/(c_i + x_i)`` over ``0 ≤ x_i ≤ 1``, ``Σ x_i ≤ R``, solved exactly.

Lagrange's condition ``a_i c_i/(c_i + x_i)² = ν`` gives ``x_i = clip(√(a_i c_i/ν) − c_i, 0, 1)``.  In ``s = 1/√ν``
every x_i is piecewise linear and increasing: task i enters at ``s = √(c_i/a_i)`` and is full at
``(1 + c_i)/√(a_i c_i)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sympy import Add, Expr, N, S, sqrt

from ..result import Record

DIGITS = 40


@dataclass(frozen=True)
class Arithmetic:
    """Square roots, sums, numbers as what they are compared by, nothing and one."""

    root: Callable[[Any], Any]
    added: Callable[..., Any]
    compared: Callable[[Any], Any]
    nothing: Any
    one: Any


EXACT: Final = Arithmetic(sqrt, Add, lambda value: N(value, DIGITS), S.Zero, S.One)


@dataclass(frozen=True, repr=False)
class WaterFilling(Record):
    """The solution: shares x_i, the minimum, and which tasks are empty, partly filled or full (0-based)."""

    shares: tuple[Expr, ...]
    minimum: Expr
    empty: tuple[int, ...]
    partial: tuple[int, ...]
    full: tuple[int, ...]


def water_filling(
    weights: Sequence[Expr], costs: Sequence[Expr], total: Expr, arithmetic: Arithmetic = EXACT
) -> WaterFilling:
    """Minimise ``Σ a_i c_i/(c_i + x_i)``: ``weights`` a_i > 0, ``costs`` c_i > 0, ``total`` R ≥ 0.

    All are numbers of the arithmetic, exact ones unless another is given, and so is the solution.
    """
    count = len(weights)
    if arithmetic.compared(total) >= count:
        everything = tuple(range(count))
        minimum = arithmetic.added(*(a * c / (c + 1) for a, c in zip(weights, costs, strict=True)))
        return WaterFilling((arithmetic.one,) * count, minimum, (), (), everything)
    if count == 1:
        return WaterFilling((total,), weights[0] * costs[0] / (costs[0] + total), (), (0,), ())
    roots = [arithmetic.root(a * c) for a, c in zip(weights, costs, strict=True)]
    enters = [c / root for c, root in zip(costs, roots, strict=True)]
    fills = [(1 + c) / root for c, root in zip(costs, roots, strict=True)]
    enters_at, fills_at = ([arithmetic.compared(value) for value in values] for values in (enters, fills))
    # The level lies in the first piece at whose end the shares add up to R; exact there, one linear equation.
    for end in sorted({*enters_at, *fills_at}):
        partial = tuple(i for i in range(count) if enters_at[i] < end <= fills_at[i])
        full = tuple(i for i in range(count) if fills_at[i] < end)
        if partial:
            missing = total - len(full) + arithmetic.added(*(costs[i] for i in partial))
            level = missing / arithmetic.added(*(roots[i] for i in partial))
            if arithmetic.compared(level) <= end:
                return _solution(weights, costs, roots, level, partial, full, arithmetic)
        elif arithmetic.compared(total) <= len(full):
            break
    # Only reached when R is exactly a number of full tasks between two pieces.
    return _solution(
        weights, costs, roots, arithmetic.one, (), tuple(i for i in range(count) if fills_at[i] < end), arithmetic
    )


def _solution(
    weights: Sequence[Expr],
    costs: Sequence[Expr],
    roots: Sequence[Expr],
    level: Expr,
    partial: tuple[int, ...],
    full: tuple[int, ...],
    arithmetic: Arithmetic,
) -> WaterFilling:
    shares = [arithmetic.nothing] * len(weights)
    for i in full:
        shares[i] = arithmetic.one
    for i in partial:
        shares[i] = roots[i] * level - costs[i]
    empty = tuple(i for i in range(len(weights)) if i not in partial and i not in full)
    minimum = arithmetic.added(
        *(weights[i] * costs[i] / (1 + costs[i]) for i in full),
        *(roots[i] / level for i in partial),
        *(weights[i] for i in empty),
    )
    return WaterFilling(tuple(shares), minimum, empty, partial, full)
