"""Rows of the answer sheet: a derived expression, the same typed by hand, and an oracle for numbers at 50 digits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from mpmath import inverse, matrix, mp, mpf
from sympy import Expr, Float, Integer, N, Rational, Symbol

from headflow.theory import notation as n
from headflow.theory.indexed import Definition, difference_is_zero, substitute, unroll
from headflow.theory.parameters import PARAMETERS
from oracles import answer_sheet as hand

# Digits at which numbers are made, and to which they must agree.
WORKING, AGREED = 60, mpf(10) ** -50
SIZES = ((1, 1), (1, 4), (3, 2), (4, 3))
RANGES = {n.n_tasks: "I", n.n_heads: "H"}


def rational(draw: np.random.Generator, low: float, high: float) -> Rational:
    return Rational(int(draw.integers(round(low * 10**4), round(high * 10**4))), 10**4)


def random_values(shape: tuple[int, int]) -> dict[str, Any]:
    """Exact numbers for every name of the sheet: any sign where a formula allows it, 2 ω_i^h ω_i^k < 1."""
    count, heads = shape
    draw = np.random.default_rng(shape)

    def vector(size: int, low: float, high: float) -> list[Rational]:
        return [rational(draw, low, high) for _ in range(size)]

    def table(low: float, high: float) -> list[list[Rational]]:
        return [vector(heads, low, high) for _ in range(count)]

    factor = [vector(3, -1, 1) for _ in range(heads)]
    gram = [[sum(a * b for a, b in zip(one, other, strict=True)) for other in factor] for one in factor]
    values: dict[str, Any] = {"I": Integer(count), "H": Integer(heads), "L": Integer(draw.integers(20, 200))}
    values |= {"d": [Integer(x) for x in draw.integers(1, 12, count)], "lambda": vector(count, 0.1, 3)}
    values |= {"sigma2": rational(draw, 0.1, 1), "mu": table(-2, 2), "omega": table(-0.35, 0.35)}
    values |= {"inner_a_a": gram, "inner_beta_a": table(-1, 1), "norm2_beta": vector(count, 0.5, 2)}
    values |= {name: table(-1, 1) for name in ("o", "v", "k", "q", "theta", "vartheta")}
    values |= {name: table(0.1, 1) for name in ("abs_Delta", "abs_Gamma")}
    values |= {"log_mu": table(-1, 1), "log_omega": table(-3, -1)}
    values |= {name: vector(count, 0, 1) for name in ("x", "s")}
    values |= {"nu_1": rational(draw, 0.001, 0.1), "nu": rational(draw, 0.01, 1), "u": rational(draw, -2, 2)}
    values |= {"L_prime": Integer(draw.integers(5, 900)), "pair": rational(draw, 0.01, 0.5)}
    return values


def numbers(entry: Any) -> Any:
    """Nested exact numbers as mpmath's; sizes stay integers."""
    if isinstance(entry, Mapping):
        return {name: int(x) if name in ("I", "H") else numbers(x) for name, x in entry.items()}
    if isinstance(entry, list):
        return [numbers(x) for x in entry]
    return mpf(entry.p) / entry.q


def inverse_of(entry: Callable[[dict[str, Any], int, int], Any], point: dict[str, Any]) -> list[list[Float]]:
    """The inverse of an (H, H) matrix at a point, for a name of the derivation that has no body."""
    size = range(point["H"])
    found = inverse(matrix([[entry(point, h, k) for k in size] for h in size]))
    return [[Float(found[h, k], WORKING) for k in size] for h in size]


def close(found: Any, expected: Any, scale: Any = 1) -> bool:
    """Whether a SymPy number and an mpmath one agree to 50 digits of the larger of the value and ``scale``."""
    number = mpf(str(N(found, WORKING)))
    return bool(abs(number - expected) <= AGREED * max(abs(expected), scale))


def no_definitions() -> tuple[Definition, ...]:
    return ()


@dataclass(frozen=True)
class Row:
    """One formula of the sheet.

    ``derived`` and ``by_hand`` are compared symbolically by ``equal``; then ``derived``, written out at every value
    of its free ``indices``, with ``oracle(point, *places)``.  ``definitions`` are those of the derivation, ``without``
    the names that they define.  ``more`` adds numbers of the derivation's own names to those of a point.
    """

    name: str
    derived: Callable[[], Expr]
    by_hand: Callable[[], Expr]
    oracle: Callable[..., Any]
    indices: tuple[Symbol, ...] = ()
    definitions: Callable[[], Sequence[Definition]] = no_definitions
    without: tuple[str, ...] = ()
    more: Callable[[dict[str, Any]], dict[str, Any]] = lambda point: {}
    sizes: Sequence[tuple[int, int]] = field(default=SIZES)
    equal: Callable[[Expr, Expr], bool] = difference_is_zero

    def agrees_symbolically(self) -> bool:
        return self.equal(self.derived(), self.by_hand())

    def worst_point(self) -> str:
        """Empty where all numbers agree; else the first that does not."""
        with mp.workdps(WORKING + 10):
            for shape in self.sizes:
                values = random_values(shape)
                point = numbers(values)
                own = {key: value for key, value in values.items() if key not in self.without} | self.more(point)
                for places in product(*(range(point[self._range(index)]) for index in self.indices)):
                    at = {index: Integer(place + 1) for index, place in zip(self.indices, places, strict=True)}
                    found = unroll(substitute(self.derived(), at), own, (*PARAMETERS, *self.definitions()))
                    if not close(found, self.oracle(point, *places)):
                        return f"{self.name} at I, H = {shape}, indices {places}: {N(found, 20)}"
        return ""

    @staticmethod
    def _range(index: Symbol) -> str:
        return "I" if str(index) in n.TASK_INDEX_NAMES else "H"


def c_inverse(point: dict[str, Any]) -> dict[str, Any]:
    return {"C_inverse": inverse_of(hand.interaction, point)}
