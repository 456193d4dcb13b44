"""Hermite targets: what heads trained on linear regression can do for labels ``He_k(⟨β, x⟩)`` (derived here).

|β| = 1, L → ∞ and no label noise.  A head averages labels under ``N(a_h, Id)``, a_h = ω_h x_q, which turns
He_k(⟨β, x⟩) into the bare power ⟨β, a_h⟩^k: the best multiple of t^k in place of He_k(t), t = ⟨β, x_q⟩.
"""

from __future__ import annotations

from dataclasses import dataclass

from sympy import (
    Dummy,
    Eq,
    Expr,
    Function,
    IndexedBase,
    Integer,
    S,
    Symbol,
    cancel,
    combsimp,
    diff,
    exp,
    expand,
    factorial,
    factorial2,
    gamma,
    hermite_prob,
    log,
    simplify,
    solve,
)

from ..derivation import Derivation, Recorder
from ..equations import Equations
from ..errors import InputError
from ..gaussian import moment_generating_function
from ..model.attention import expectation
from ..printing import Equation
from ..result import builder
from ..scalars import only

degree = Symbol("k", integer=True, positive=True)
# S_k = Σ_h μ_h ω_h^k: all that a target of degree k sees of the heads.
gain = IndexedBase("S", real=True)[degree]
transfer_loss = Symbol("loss_k", positive=True)
transfer_infimum = Symbol("loss_k_star", nonnegative=True)
projection = Symbol("t", real=True)
tilt_overlap = Symbol("m", real=True)
argument = Symbol("u", real=True)
hermite_target = Function("He_k")(projection)
# Coefficients of generating functions are compared up to this degree.
DEGREES = 8


@dataclass(frozen=True, repr=False)
class HermiteTransfer(Equations):
    """The loss on ``He_k(⟨β, x⟩)/√k!`` in degree k and S_k, the best S_k, and what it leaves."""

    loss: Expr
    best_gain: Expr
    least: Expr
    derivation: Derivation

    def at(self, order: int, strength: Expr) -> Expr:
        """The loss at degree ``order`` where S_k is ``strength``; exact."""
        return self.loss.xreplace({gain: strength}).xreplace({degree: _checked_degree(order)}).doit()

    def least_at(self, order: int) -> Expr:
        """The least loss at degree ``order``: 0 for linear targets, 1/3, 3/5, 27/35, …"""
        return self.least.xreplace({degree: _checked_degree(order)}).doit()

    @property
    def lines(self) -> list[Equation]:
        """What is printed."""
        return [(transfer_loss, self.loss), (transfer_infimum, self.least)]


def _checked_degree(order: int) -> Integer:
    if order < 1:
        raise InputError(f"the degree must be at least 1, got {order}")
    return Integer(order)


@builder
def hermite_transfer() -> HermiteTransfer:
    """``1 − 2 S_k + S_k² (2k−1)!!/k!``, from generating functions of Hermite polynomials and Gaussian moments."""
    record = Recorder("Hermite targets", ("unit β, no label noise, L → ∞, heads with a_h = ω_h x_q",))
    _tilted_hermite(record)
    cross, square, power = _second_moments(record)
    strength = Symbol("S", real=True)
    loss = cancel((square - 2 * strength * cross + strength**2 * power) / square)
    shown = 1 - 2 * strength + strength**2 * power / square
    record(
        "transfer loss",
        (transfer_loss, shown.xreplace({strength: gain})),
        "E(He_k(t) − S_k t^k)²/k!: heads give Σ_h μ_h ω_h^k t^k = S_k t^k, t = ⟨β, x_q⟩ standard normal.",
        check=lambda line: cancel(loss - line[1].xreplace({gain: strength})) == 0,
    )
    _antipodal(record)
    best = only(solve(diff(shown, strength), strength), gain)
    record(
        "best gain",
        (gain, best),
        "The minimum of that quadratic.",
        check=lambda line: (
            cancel(diff(shown, strength).subs(strength, line[1])) == 0
            and cancel(diff(shown, strength, 2) / 2 - power / square) == 0
        ),
    )
    least = cancel(shown.xreplace({strength: best}))
    record(
        "transfer bound",
        (transfer_infimum, least),
        "Positive for k ≥ 2, as (2k−1)!! > k! (1/3 at k = 2, 3/5 at k = 3): no number of heads removes it.",
        check=lambda line: cancel(line[1] - shown.subs(strength, best)) == 0 and _is_below_one(1 - line[1]),
    )
    return HermiteTransfer(shown.xreplace({strength: gain}), best, least, record.freeze())


def _tilted_hermite(record: Recorder) -> None:
    """E_{N(a, Id)} He_k(⟨β, x⟩) = ⟨β, a⟩^k, through E e^{ut − u²/2}."""
    generating = exp(argument * projection - argument**2 / 2)
    record(
        "Hermite generating function",
        generating,
        "He_k(t) is its coefficient of u^k/k!: they are 1 at k = 0, and He_{k+1} = t He_k − k He_{k−1}.",
        check=lambda line: (
            line.subs(argument, 0) == hermite_prob(0, projection)
            and expand(diff(line, argument).subs(argument, 0)) == hermite_prob(1, projection)
            and simplify(diff(line, argument) - (projection - argument) * line) == 0
        ),
    )
    products = {("a", "a"): Symbol("A", positive=True), ("a", "beta"): tilt_overlap, ("beta", "beta"): S.One}

    def log_moment(order: Expr) -> Expr:
        return log(moment_generating_function({"a": S.One}, order, products, S.Zero)).expand(force=True)

    exponent = expand(log_moment(argument) - log_moment(S.Zero) - argument**2 / 2)
    record(
        "tilted generating function",
        (expectation(generating), exp(exponent)),
        "Under N(a, Id), with m = ⟨β, a⟩ and |β| = 1: the tilted moment generating function of ⟨β, x⟩.",
        check=lambda line: (
            line[0] == expectation(generating)
            and expand(log(line[1]).expand(force=True) - _cumulants(log_moment(argument)) + argument**2 / 2) == 0
        ),
    )
    tilted = _coefficient(exponent.coeff(argument, 1), 1, degree)
    record(
        "tilted Hermite polynomial",
        (expectation(hermite_target), tilted),
        "Its coefficient of u^k/k!: a head sees the bare power, so Σ_h μ_h ⟨β, a_h⟩^k = S_k t^k with a_h = ω_h x_q.",
        # e^{um} solves ∂_u f = m f, f = 1 at u = 0: its coefficients c_k solve c_{k+1} = m c_k, c_0 = 1.
        check=lambda line: (
            simplify(line[1].subs(degree, degree + 1) - exponent.coeff(argument, 1) * line[1]) == 0
            and line[1].subs(degree, 0) == 1
            and expand(exponent - argument * exponent.coeff(argument, 1)) == 0
        ),
    )


def _cumulants(log_moment: Expr) -> Expr:
    """A normal variable's: the mean and half the variance are the slopes of the logarithm at zero."""
    mean, spread = (diff(log_moment, argument, order).subs(argument, 0) for order in (1, 2))
    return argument * mean + argument**2 * spread / 2


def _is_below_one(ratio: Expr) -> bool:
    """k!/(2k − 1)!! is 1 at k = 1, and each further k multiplies it by (k + 1)/(2k + 1) < 1."""
    k = Symbol("k", integer=True, positive=True)
    growth = (k + 1) / (2 * k + 1)
    return bool(
        cancel(ratio - factorial(degree) / factorial2(2 * degree - 1)) == 0
        and cancel(1 - growth - k / (2 * k + 1)) == 0
        and (k / (2 * k + 1)).is_positive
    )


def _coefficient(factor: Expr, power: int, order: Expr) -> Expr:
    """The coefficient of ``u^n/n!``, n = power · order, in ``exp(factor · u^power)``."""
    return factor**order * factorial(power * order) / factorial(order)


def _second_moments(record: Recorder) -> tuple[Expr, Expr, Expr]:
    """E He_k(t) t^k, E He_k(t)² and E t^{2k} for a standard normal t."""
    other = Symbol("v", real=True)
    # E e^{ut − u²/2} e^{vt} and E e^{ut − u²/2} e^{vt − v²/2}, from E e^{wt} = e^{w²/2}.
    mixed = expand((argument + other) ** 2 / 2 - argument**2 / 2)
    both = expand(mixed - other**2 / 2)
    by_hermite = _coefficient(both.coeff(argument, 1), 1, degree)
    square = by_hermite.coeff(other**degree) * factorial(degree)
    record(
        "Hermite norm",
        (expectation(hermite_target**2), square),
        "E e^{ut − u²/2} e^{vt − v²/2} = e^{uv}: the coefficient of u^k v^k/(k!)².",
        # e^{uv} solves ∂_u f = v f: with N_k the coefficient of (uv)^k/(k!)², N_{k+1} = (k + 1) N_k and N_0 = 1.
        check=lambda line: both == argument * other and _is_factorial(line[1]),
    )
    # e^{uv + v²/2}: the coefficient of u^k/k! is v^k e^{v²/2}, and of that the one of v^k/k!.
    by_power = _coefficient(mixed.coeff(argument, 1), 1, degree)
    cross = by_power.coeff(other**degree) * factorial(degree)
    record(
        "Hermite and power",
        (expectation(hermite_target * projection**degree), cross),
        "E e^{ut − u²/2} e^{vt} = e^{uv + v²/2}: of u^k/k! the coefficient is v^k e^{v²/2}, whose first power is v^k.",
        check=lambda line: (
            expand(mixed - argument * other - other**2 / 2) == 0
            and _is_factorial(line[1])
            and all(_normal_mean(hermite_prob(k, projection) * projection**k) == factorial(k) for k in _TRIED)
        ),
    )
    power = _coefficient(mixed.coeff(other, 2), 2, degree)
    double = factorial2(2 * degree - 1)
    record(
        "Gaussian moment",
        (expectation(projection ** (2 * degree)), double),
        "The coefficient of v^{2k}/(2k)! in e^{v²/2}, (2k)!/(2^k k!) = (2k−1)!!.",
        # By parts M_{k+1} = (2k + 1) M_k, M_0 = 1, which is what (2k − 1)!! says.
        check=lambda line: (
            combsimp(power.subs(degree, degree + 1) / power) == 2 * degree + 1
            and power.subs(degree, 0) == 1
            and simplify((power - line[1]).rewrite(gamma)) == 0
        ),
    )
    return cross, square, double


_TRIED = range(1, DEGREES + 1)


def _is_factorial(sequence: Expr) -> bool:
    """Whether a sequence in k is 1 at 0 and multiplies by k + 1."""
    return bool(combsimp(sequence.subs(degree, degree + 1) / sequence) == degree + 1 and sequence.subs(degree, 0) == 1)


def _normal_mean(polynomial: Expr) -> Expr:
    """E p(t) for a standard normal t, from derivatives of e^{v²/2} at 0."""
    coefficients = expand(polynomial).as_poly(projection).all_coeffs()[::-1]
    return sum((c * _derivative(order).subs(_v, 0) for order, c in enumerate(coefficients)), S.Zero)


_v = Dummy("v", real=True)


@builder
def _derivative(order: int) -> Expr:
    """The polynomial before e^{v²/2} in its derivative: that of p(v) e^{v²/2} is (p′ + v p) e^{v²/2}."""
    if order == 0:
        return S.One
    before = _derivative(order - 1)
    return expand(diff(before, _v) + _v * before)


def _antipodal(record: Recorder) -> None:
    """The pair (μ, ω), (−μ, −ω) of the linear task cannot see even degrees."""
    omega, mu, half = Symbol("omega", positive=True), Symbol("mu", real=True), Symbol("n", integer=True, positive=True)
    record(
        "antipodal pair",
        Eq(IndexedBase("S", real=True)[2 * half], 0),
        "Heads at ±ω with ±μ: S_k = μ ω^k − μ (−ω)^k vanishes for even k = 2n, so the loss stays at 1.",
        check=lambda relation: (
            relation == Eq(IndexedBase("S", real=True)[2 * half], 0)
            and expand(mu * omega ** (2 * half) - mu * (-omega) ** (2 * half)) == 0
        ),
    )
