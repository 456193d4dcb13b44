"""Powers of fractions that are too large to write out, such as (1 + 2/d)^(d/2 + 1) at d = 10⁶.

SymPy works out every power of a fraction with an integer exponent, and searches half-integer ones for perfect roots:
at d = 10⁶ that is a number of ten million bits, at d = 10⁹ it does not end.  A `LargePower` stays as it is written, and
is evaluated to as many digits as are asked for.
"""

from __future__ import annotations

import mpmath
from sympy import Add, Expr, Float, Function, Mul, Pow, Rational, log

from .nodes import exponential

# Above so many bits a power is no longer written out: its evaluation to 30 digits is then the faster by far.
_MOST_BITS = 4096


class LargePower(Function):
    """``LargePower(base, exponent)``, a positive rational to a rational power, never worked out exactly."""

    nargs = 2
    is_real = True
    is_positive = True

    def _eval_evalf(self, prec: int) -> Float:
        base, exponent = self.args
        # The exponent multiplies the logarithm's relative error: so many bits more.
        with mpmath.workprec(prec + _bits(exponent) + 20):
            value = mpmath.exp(_number(exponent) * mpmath.log(_number(base)))
        return Float._new(value._mpf_, prec)

    def _sympystr(self, printer: object) -> str:
        return str(Pow(*self.args, evaluate=False))

    def _latex(self, printer: object) -> str:
        base, exponent = self.args
        return rf"\left({base}\right)^{{{exponent}}}"


def power(base: Expr, exponent: Expr) -> Expr:
    """``base**exponent``, as a `LargePower` where it is too large to be written out."""
    return LargePower(base, exponent) if _is_large(base, exponent) else Pow(base, exponent)


def exponential_at(argument: Expr) -> Expr:
    """e^argument of a number, with large powers of fractions in it left as they are."""
    powers, rest = [], []
    for term in Add.make_args(argument):
        coefficient, factor = term.as_coeff_Mul()
        if isinstance(factor, log) and _is_large(factor.args[0], coefficient):
            powers.append(LargePower(factor.args[0], coefficient))
        else:
            rest.append(term)
    return Mul(*powers, exponential(Add(*rest))) if powers else exponential(argument)


def _is_large(base: Expr, exponent: Expr) -> bool:
    if not (isinstance(base, Rational) and isinstance(exponent, Rational)) or base <= 0 or base == 1:
        return False
    return bool(abs(exponent.p) * _bits(base) > _MOST_BITS)


def _bits(number: Expr) -> int:
    return max(int(number.p).bit_length(), int(number.q).bit_length())


def _number(fraction: Expr) -> mpmath.mpf:
    return mpmath.mpf(int(fraction.p)) / int(fraction.q)
