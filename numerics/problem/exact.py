"""The way into numbers: what a user wrote becomes an exact, checked value and is written back as it was.

A decimal is kept as it was written: the float 0.1 is 1/10, not the binary fraction nearest to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Set
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from numbers import Rational
from typing import Any, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

from ...theory.errors import InputError, InputTypeError
from ...theory.whole import as_whole
from .labelled import by_labels, without_labels

ExactLike: TypeAlias = int | float | str | Decimal | Fraction | np.integer | np.floating

LARGEST_INTEGER = 2**53  # the largest up to which float64 holds every integer
_ROUNDING = 1e-12  # relative, of sums of some thousand steps


def shown(value: object) -> str:
    """``value`` as an error message shows it: short, and numbers as they were written."""
    try:
        text = str(value).lower() if isinstance(value, Decimal | Fraction | np.generic) else repr(value)
    except ValueError:  # Python refuses to write out integers of thousands of digits
        return "a number of thousands of digits"
    except RecursionError:
        return "a value that is nested too deeply to be shown"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _wrong_kind(name: str, expected: str, value: object) -> InputTypeError:
    return InputTypeError(f"{name} must be {expected}, got {shown(value)} ({type(value).__name__})")


def positive_integer(name: str, value: object) -> int:
    """``value`` as an int ≥ 1; ``name`` is what the error calls it.

    Raises
    ------
    InputTypeError
        For anything but an integer, or a float that is one, such as 100.0 (True is none).
    InputError
        Below 1 or beyond 2**53.
    """
    number = whole_number(name, value)
    if not 1 <= number <= LARGEST_INTEGER:
        raise InputError(f"{name} must be an integer from 1 to 2**53, got {shown(number)}")
    return number


def whole_number(name: str, value: object, least: int | None = None) -> int:
    """``value`` as an int, at least ``least``: an integer, a float that is one, or an array without axes of one.

    Raises ``InputTypeError`` for anything else (True is none), ``InputError`` below ``least``.
    """
    number = as_whole(value)
    if number is None:
        raise _wrong_kind(name, "an integer", value)
    if least is not None and number < least:
        raise InputError(f"{name} must be at least {least}, got {shown(value)}")
    return number


def positive_fraction(name: str, value: object, *, or_zero: bool = False) -> Fraction:
    """``value`` as an exact number > 0 within the range of float64; also 0 where ``or_zero``.

    Raises
    ------
    InputTypeError
        For anything but an int, float, str, Decimal, Fraction or a NumPy or SymPy number of these kinds.
    InputError
        If it is negative, zero where that is not allowed, not finite, not a number (a str), or outside the range of
        float64.
    """
    value = _scalar(value)
    if isinstance(value, bool | np.bool_):
        raise _wrong_kind(name, "a number", value)
    if isinstance(value, Rational):  # int, Fraction, NumPy's integers
        number = Fraction(int(value.numerator), int(value.denominator))
    elif isinstance(value, str | Decimal | float | np.floating):
        number = _parsed(name, value)
    else:
        raise _wrong_kind(name, "a number", value)
    if not number and or_zero:
        return number
    if number <= 0:
        raise InputError(f"{name} must be {'at least 0' if or_zero else 'positive'}, got {shown(value)}")
    try:
        representable = float(number) > 0
    except OverflowError:
        representable = False
    if not representable:
        raise InputError(f"{name} must lie within the range of float64, got {shown(value)}")
    return number


def _scalar(value: object) -> object:
    """What an array without axes holds, and anything else as it is."""
    if isinstance(value, np.generic) or getattr(value, "shape", None) != ():
        return value
    found: object = np.asarray(value)[()]  # not item(), which makes a float of what was written in fewer digits
    return found


def _parsed(name: str, value: str | Decimal | float | np.floating) -> Fraction:
    try:
        if isinstance(value, str) and "/" in value:
            return Fraction(value)
        decimal = Decimal(str(value).strip())
    except (InvalidOperation, ValueError, ZeroDivisionError):
        raise InputError(f"{name} must be a number such as 0.1 or 1/3, got {shown(value)}") from None
    if not decimal.is_finite():
        raise InputError(f"{name} must be finite, got {shown(value)}")
    if decimal and abs(decimal.adjusted()) > 400:  # as a Fraction this could fill the memory
        raise InputError(f"{name} must lie within the range of float64, got {shown(value)}")
    return Fraction(decimal)


def items(name: str, values: object, axis: str = "task") -> list[object]:
    """The elements of a non-empty ordered collection; a str, a mapping, a set or a single number is none.

    Those of an array with labels along ``axis`` in the order of the labels.
    """
    values = by_labels(name, values, (axis,))
    if isinstance(values, str | bytes | Mapping | Set) or not isinstance(values, Iterable):
        raise _wrong_kind(name, f"a list with one entry per {axis}", values)
    try:
        found = list(values)
    except TypeError:  # a 0-dimensional array claims to be iterable
        raise _wrong_kind(name, f"a list with one entry per {axis}", values) from None
    if not found:
        raise InputError(f"{name} must have one entry per {axis}, got an empty list")
    return found


def several(values: object) -> TypeGuard[Iterable[Any]]:
    """Whether ``values`` are some in a row: no text, no mapping, no array without axes."""
    if isinstance(values, str | bytes | Mapping | Set) or getattr(values, "shape", None) == ():
        return False
    return isinstance(values, Iterable)


def named(name: str, values: object) -> list[str]:
    """One name, or several, as a list; ``InputTypeError`` for what is neither."""
    found = [values] if isinstance(values, str) else values
    if isinstance(found, Mapping) or not isinstance(found, Iterable):
        raise _wrong_kind(name, "a name or a list of names", values)
    found = list(found)
    for item in found:
        if not isinstance(item, str):
            raise _wrong_kind(f"each of {name}", "a name", item)
    return found


def as_float(name: str, value: object, *, least: float = -math.inf, positive: bool = False) -> float:
    """``value`` as a finite float, at least ``least`` or positive: for knobs, which need not be exact.

    Raises
    ------
    InputTypeError, InputError
        For the wrong kind and the wrong value.
    """
    value = _scalar(value)
    if isinstance(value, bool | np.bool_) or not isinstance(
        value, int | float | Decimal | Fraction | np.integer | np.floating
    ):
        raise _wrong_kind(name, "a number", value)
    try:
        number = float(value)
    except (OverflowError, ValueError):  # too large, or a signalling NaN
        number = math.inf
    if not math.isfinite(number):
        raise InputError(f"{name} must be finite, got {shown(value)}")
    if positive and number <= 0:
        raise InputError(f"{name} must be positive, got {shown(value)}")
    if number < least:
        raise InputError(f"{name} must be at least {least:g}, got {shown(value)}")
    return number


def real_array(name: str, value: object) -> NDArray[np.float64]:
    """``value``, a number or an array of numbers, as an array of finite floats; ``name`` is what the error calls it.

    Raises
    ------
    InputTypeError
        For anything that does not consist of real numbers: None, complex numbers, strings, rows of different lengths.
    InputError
        If an entry is not finite, or if it is an array with labels.
    """
    value = without_labels(name, value)
    try:
        array = np.asarray(value)
        if array.dtype.kind == "O" and not any(entry is None or isinstance(entry, str) for entry in array.flat):
            array = array.astype(np.float64)  # Fractions, Decimals, numbers of SymPy
        real = array.dtype.kind in "biuf"
    except (TypeError, ValueError):
        real = False
    if not real:
        raise _wrong_kind(name, "a real number or an array of real numbers", value)
    floats: NDArray[np.float64] = array.astype(np.float64)
    if not np.isfinite(floats).all():
        raise InputError(f"{name} must consist of finite numbers, got {shown(floats[~np.isfinite(floats)][0])}")
    return floats


def float_literal(value: float) -> str:
    """``value`` as Python and TOML read it back exactly: positional from 1e-4 to 1e4, scientific elsewhere.

    Examples
    --------
    >>> [float_literal(x) for x in (1.0, 0.03, 1e4, 2.5e-7)]
    ['1.0', '0.03', '1e4', '2.5e-7']
    """
    if value == 0 or 1e-4 <= abs(value) < 1e4:
        return repr(float(value))
    return np.format_float_scientific(value, trim="-", exp_digits=1).replace("e+", "e")


def plain(value: Fraction) -> float | str:
    """``value`` as a float if its shortest decimal is exactly it, else as the string ``"p/q"``.

    Examples
    --------
    >>> plain(Fraction("0.1")), plain(Fraction(1, 3))
    (0.1, '1/3')
    """
    number = float(value)
    return number if Fraction(str(number)) == value else str(value)


def literal(value: Fraction) -> str:
    """`plain` as Python and TOML source.

    Examples
    --------
    >>> print(literal(Fraction("0.1")), literal(Fraction(1, 3)))
    0.1 "1/3"
    """
    written = plain(value)
    return f'"{written}"' if isinstance(written, str) else float_literal(written)


def no_later(name: str, t: float, end: float, what: str) -> float:
    """A time from 0 to ``end``; one that only rounding has put beyond (``3 * 0.1`` is above 0.3) is the end.

    Raises ``InputError`` for any other, with as many digits as tell the two apart.
    """
    if 0 <= t <= end:
        return t
    if end < t <= end * (1 + _ROUNDING):
        return end
    digits = next((count for count in range(6, 17) if f"{t:.{count}g}" != f"{end:.{count}g}"), 17)
    raise InputError(f"{name} must lie between 0 and {what} = {end:.{digits}g}, got {t:.{digits}g}")
