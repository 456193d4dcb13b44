"""The arithmetic of endpoints: python-flint's balls (arb), or mpmath's intervals where flint is not installed.

A *point* is a ball of radius zero.  What an operation on points gives is a ball that holds the exact result, and
``down`` and ``up`` round it to points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib.util import find_spec
from typing import Any

from ...theory.errors import InputError
from .elementary import exp_ends, log_ends

# Bits of every endpoint unless others are asked for: results are wanted to a float's 53.
PRECISION = 96


@dataclass(frozen=True)
class Arithmetic:
    """Operations on points and balls: ``+ − × ÷`` and integer powers are the ball's own.

    Those of flint round to the precision of the thread: ``working()`` sets it to ``bits`` for a while.  Outside, they
    are as rigorous but as coarse as that precision.
    """

    name: str
    version: str
    bits: int
    working: Callable[[], AbstractContextManager[None]]
    point: Callable[[Fraction], Any]
    down: Callable[[Any], Any]
    up: Callable[[Any], Any]
    sqrt: Callable[[Any], Any]
    exp: Callable[[Any], Any]
    log: Callable[[Any], Any]
    fraction: Callable[[Any], Fraction]
    # The smallest ball around two points.
    hull: Callable[[Any, Any], Any]


def arithmetic(name: str | None = None, bits: int = PRECISION) -> Arithmetic:
    """``"arb"`` (extra ``rigor``) or ``"mpmath"`` with endpoints of so many bits; by default arb where it is installed.

    Raises ``InputError`` for another name and for arb without python-flint.
    """
    return _arithmetic(name or ("arb" if find_spec("flint") else "mpmath"), bits)


@cache
def _arithmetic(name: str, bits: int) -> Arithmetic:
    if name == "mpmath":
        return _mpmath(bits)
    if name != "arb":
        raise InputError(f"arithmetic must be 'arb' or 'mpmath', got {name!r}")
    if not find_spec("flint"):
        raise InputError("arb needs python-flint: pip install headflow[rigor]")
    return _arb(bits)


def _arb(bits: int) -> Arithmetic:
    import flint

    @contextmanager
    def working() -> Iterator[None]:
        before = flint.ctx.prec
        flint.ctx.prec = bits
        try:
            yield
        finally:
            flint.ctx.prec = before

    def fraction(point: Any) -> Fraction:
        mantissa, exponent = point.mid().man_exp()
        mantissa, exponent = int(mantissa), int(exponent)
        return Fraction(mantissa) * (Fraction(2) ** exponent)

    return Arithmetic(
        "arb",
        flint.__version__,
        bits,
        working,
        lambda value: flint.arb(value.numerator) / value.denominator,
        lambda ball: ball.lower(),
        lambda ball: ball.upper(),
        lambda point: point.sqrt(),
        lambda point: point.exp(),
        lambda point: point.log(),
        fraction,
        lambda low, high: low.union(high),
    )


def _mpmath(bits: int) -> Arithmetic:
    import mpmath
    from mpmath.ctx_iv import MPIntervalContext

    context = MPIntervalContext()
    context.prec = bits

    def fraction(point: Any) -> Fraction:
        sign, mantissa, exponent, _ = point._mpi_[0]
        return Fraction((-1) ** sign * int(mantissa)) * Fraction(2) ** int(exponent)

    def ball(ends: tuple[int, int], power: int) -> Any:
        return context.mpf(list(ends)) * context.mpf(2) ** power

    return Arithmetic(
        "mpmath",
        mpmath.__version__,
        bits,
        nullcontext,
        lambda value: context.mpf(value.numerator) / context.mpf(value.denominator),
        lambda ball: ball.a,
        lambda ball: ball.b,
        context.sqrt,
        # mpmath's + − × ÷, √ and powers of intervals round outwards; its e^x and log have no proof of the last bit.
        lambda point: ball(*exp_ends(fraction(point), bits)),
        lambda point: ball(*log_ends(fraction(point), bits)),
        fraction,
        lambda low, high: context.mpf([low.a, high.b]),
    )
