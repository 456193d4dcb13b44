"""The valley of a pair ±ω of one task: invariant manifold, its length, transversal rates (derived here).

Exact where `theory.merged.valley` is self-similar: the profile of `theory.context.two_heads` and the metric of the
flow give the slow flow of ω for every ω.  With more than two heads, several may merge on either side of the pair.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sympy import (
    Expr,
    Integer,
    Matrix,
    Rational,
    S,
    Symbol,
    cancel,
    diff,
    factor,
    hessian,
    limit,
    simplify,
    sqrt,
    symbols,
)

from .. import notation as n
from ..closed_form import ClosedForm
from ..context.two_heads import ONE_TASK, pair_mu, pair_omega, zero_sum_pair
from ..derivation import Derivation, Recorder
from ..errors import InputError
from ..flows.flow import gradient_flow
from ..indexed import Definition, substitute, unroll
from ..result import Result, builder
from .power_law import PowerLaw, ValleyLaws, time
from .valley import MU_LENGTH, OMEGA_LENGTH, fastest, pairs_valley
from .valley_order import gap, merged_valley_order

# How many identical heads sit at ω and at −ω.
heads_above = Symbol("H_+", integer=True, positive=True)
heads_below = Symbol("H_-", integer=True, positive=True)
# H_+ H_-/(H_+ + H_-): 1/2 for a pair.
head_balance = Symbol("B", positive=True)
BALANCE = Definition(head_balance, heads_above * heads_below / (heads_above + heads_below))
valley_length = Symbol("s_dot", real=True)
omega_dot = Symbol("omega_dot", real=True)
mu_dot = Symbol("mu_dot", real=True)
_power, _factor, _dim, _length, _cost = symbols("lambda phi d L c", positive=True)


@dataclass(frozen=True, repr=False)
class PairValley(Result):
    """The valley of one task with heads at ω and −ω.

    Attributes
    ----------
    slow_flow
        dω/dt along the valley of a pair, for every ω: ``−𝓛′(ω)/(2 m′(ω)² + 2 d)``.
    rate
        dω^(−6)/dt as ω → 0 of H_+ heads at ω and H_- at −ω.
    omega, gap
        ω itself (not |ω| of all heads) and the gap, as powers of t.
    general
        The laws in H_+ and H_-; `laws` puts numbers of heads in.
    transversal
        The two eigenvalues of the flow across the manifold of pairs, in its even sector, as ω → 0: both negative.
    """

    slow_flow: Expr
    rate: Expr
    omega: PowerLaw
    general: ValleyLaws
    transversal: tuple[Expr, Expr]
    derivation: Derivation

    def laws(self, above: int = 1, below: int = 1) -> ValleyLaws:
        """The laws with so many identical heads at ω and at −ω."""
        if min(above, below) < 1:
            raise InputError(f"a valley of pairs needs heads on both sides, got {above} and {below}")
        counts = _counts(above, below)
        general = self.general
        return ValleyLaws(
            general.order,
            _counted(general.gap, counts),
            _counted(general.omega, counts),
            _counted(general.mu, counts),
            _counted(general.fastest, counts),
            general.derivation,
        )


def _counts(above: int, below: int) -> dict[Symbol, Expr]:
    numbers = {heads_above: Integer(above), heads_below: Integer(below)}
    return {**numbers, head_balance: BALANCE.body.xreplace(numbers)}


def _counted(law: PowerLaw, counts: dict[Symbol, Expr]) -> PowerLaw:
    put = substitute(law.constant.expression, counts)
    return replace(law, constant=replace(law.constant, expression=put, definitions=()))


@builder
def pair_valley() -> PairValley:
    """The valley of a single task: ``ω^(−6) = 8 λ (φ/L) d³ t`` for one head on each side."""
    pair = zero_sum_pair()
    record = Recorder("Valley of a pair of heads", ("I = 1", "H_+ heads at ω and H_- at −ω, μ of zero sum"))
    record.include(merged_valley_order().derivation)
    record.include(pair.derivation)
    _record_invariance(record)
    bottom, profile, infimum = (_plain(form) for form in (pair.mu, pair.profile, pair.limit))
    _record_bottom(record, bottom)
    near_zero = _recorded_profile(record, profile, infimum)
    slow = _recorded_slow_flow(record, bottom, profile)
    rate = _recorded_rate(record, bottom, near_zero)
    transversal = _recorded_transversal(record)
    laws = _recorded_laws(record, rate, near_zero)
    derivation = record.freeze()

    def law(symbol: Symbol, title: str) -> PowerLaw:
        constant, exponent = laws[symbol]
        form = ClosedForm(
            f"{title} in the valley of a pair", symbol, _of_task(constant), derivation, (ONE_TASK,), (BALANCE,)
        )
        return PowerLaw(form, exponent)

    whole = ValleyLaws(
        2,
        law(gap, "the gap"),
        law(OMEGA_LENGTH, "the length of omega"),
        law(MU_LENGTH, "the length of mu"),
        law(fastest, "the fastest rate"),
        derivation,
    )
    single = _counted(law(pair_omega, "omega"), _counts(1, 1))
    even = (_of_task(transversal[0]), _of_task(transversal[1]))
    return PairValley(_of_task(slow), _of_task(rate), single, whole, even, derivation)


def _record_invariance(record: Recorder) -> None:
    above, below = symbols("mu_1 mu_2", real=True)
    first, second = symbols("omega_1 omega_2", real=True)
    sizes = {**_sizes(2), "mu": [[above, below]], "omega": [[first, second]]}
    flow = gradient_flow("merged")
    opposite = {above: pair_mu, below: -pair_mu, first: pair_omega, second: -pair_omega}
    velocities = [
        unroll(substitute(flow.opened(rhs), {n.i: S.One, n.h: Integer(head)}), sizes)
        for rhs in flow.velocity
        for head in (1, 2)
    ]
    record(
        "opposite heads stay opposite",
        ((n.mu[1, 2], -n.mu[1, 1]), (n.omega[1, 2], -n.omega[1, 1])),
        "Put into the flow of H = 2 heads, the velocities are opposite too: pairs ±ω, ±μ are an invariant manifold.",
        check=lambda: all(
            simplify((velocities[place] + velocities[place + 1]).xreplace(opposite)) == 0 for place in (0, 2)
        ),
    )


def _record_bottom(record: Recorder, bottom: Expr) -> None:
    leading = 1 / (2 * pair_omega * (1 + _cost))
    record(
        "bottom of the valley",
        ((pair_mu, _of_task(bottom)), (pair_mu, _of_task(leading))),
        "∂𝓛/∂m = 0, and what it tends to as ω → 0: μ grows without bound.",
        check=lambda: simplify(limit(_in_cost(bottom) / leading, pair_omega, 0)) == 1,
    )


def _recorded_profile(record: Recorder, profile: Expr, infimum: Expr) -> Expr:
    near_zero = _power * _cost * _dim**2 / (6 * (1 + _cost) ** 2) * pair_omega**4
    return record(
        "profile near zero",
        (gap, _of_task(near_zero)),
        "(sinh u)/u = 1 + u²/6 + …, u = d ω²: the gap is of fourth order in ω.",
        check=lambda: simplify(limit((_in_cost(profile) - infimum) / near_zero, pair_omega, 0) - 1) == 0,
    )[1].xreplace(_ATOMS)


def _recorded_slow_flow(record: Recorder, bottom: Expr, profile: Expr) -> Expr:
    counts, across = _weights()
    record(
        "length of the valley",
        (
            (valley_length**2, counts * mu_dot**2 + _of_task(across) * omega_dot**2),
            (head_balance, BALANCE.body),
        ),
        "What the loss falls by per unit of time: Σ_h (μ̇_h² + d ω̇_h²). Identical heads share a change of the sum m of "
        "their μ equally.",
    )
    steep = diff(bottom, pair_omega)
    slow = -diff(profile, pair_omega) / (2 * steep**2 + 2 * _dim)

    def conserves() -> bool:
        """Along this flow the loss of a pair falls by the squared speed of both heads."""
        speed = 2 * (steep * slow) ** 2 + 2 * _dim * slow**2
        at = {pair_omega: Rational(1, 7), _power: Rational(3, 2), _factor: Rational(11, 10), _dim: Integer(10)}
        value = (diff(profile, pair_omega) * slow + speed).xreplace({**at, _length: Integer(90)})
        return bool(abs(value.evalf(40)) < Rational(1, 10**30))

    record(
        "slow flow of a pair",
        (omega_dot, -Symbol("loss_omega", real=True) / (2 * Symbol("m_omega", real=True) ** 2 + 2 * n.dims[1])),
        "For one head on each side, with ∂𝓛/∂ω of the profile and ∂m/∂ω of the bottom: ω relaxes onto the bottom at a "
        "rate that grows like ω^(−2).",
        check=conserves,
    )
    return slow


def _weights() -> tuple[Expr, Expr]:
    """Weights of ṁ² and ω̇² in the squared speed."""
    return 1 / head_balance, _dim * (heads_above + heads_below)


def _recorded_rate(record: Recorder, bottom: Expr, near_zero: Expr) -> Expr:
    """d ω^(−6)/dt as ω → 0."""
    counts, across = _weights()
    steep = diff(1 / (2 * pair_omega * (1 + _cost)), pair_omega)
    leading = -diff(near_zero, pair_omega) / (counts * steep**2)
    rate = cancel(-6 * pair_omega**-7 * leading)
    whole = -diff(near_zero, pair_omega) / (counts * steep**2 + across)
    record(
        "slow flow near zero",
        ((omega_dot, _of_task(cancel(leading))), (pair_omega**-6, _of_task(rate) * time)),
        "As ω → 0 all of the way is made by μ.",
        check=lambda: (
            simplify(limit(whole / leading, pair_omega, 0)) == 1
            and not rate.has(pair_omega)
            and simplify(limit(simplify(diff(_in_cost(bottom), pair_omega) / steep), pair_omega, 0)) == 1
        ),
    )
    return rate


def _recorded_transversal(record: Recorder) -> tuple[Expr, Expr]:
    """Eigenvalues across the manifold, of changes that are the same for both heads."""
    change = symbols("a b", real=True)
    mu, omega = change
    sizes = {
        **_sizes(2),
        "mu": [[pair_mu + mu, -pair_mu + mu]],
        "omega": [[pair_omega + omega, -pair_omega + omega]],
    }
    flow = gradient_flow("merged")
    loss = unroll(flow.opened(flow.loss), sizes)
    second = hessian(loss, change).xreplace({mu: S.Zero, omega: S.Zero})
    # Two heads move alike: half of the gradient for each, over d for ω.
    bottom = 1 / (2 * pair_omega * (1 + _cost))
    block = -(Matrix([[1, 0], [0, 1 / _dim]]) * second / 2).xreplace({_factor: _cost * _length / _dim, pair_mu: bottom})
    trace, determinant = (limit(factor(value), pair_omega, 0) for value in (block.trace(), block.det()))
    first, other = -4 * _power * _cost / _dim, -2 * _power * _cost / (1 + _cost) ** 2
    record(
        "across the manifold",
        (Symbol("gamma_mu", real=True), _of_task(first)),
        "The same change of μ in both heads dies out at this rate as ω → 0.",
    )
    record(
        "across the manifold, omega",
        (Symbol("gamma_omega", real=True), _of_task(other)),
        "The same change of ω in both heads; both are negative, so flows near the manifold come to it.",
        check=lambda: (
            simplify(trace - first - other) == 0 and simplify(determinant - first * other) == 0 and bool(first < 0)
        ),
    )
    return first, other


def _recorded_laws(record: Recorder, rate: Expr, near_zero: Expr) -> dict[Symbol, tuple[Expr, Rational]]:
    counts, across = _weights()
    scale = rate ** Rational(-1, 6)
    reached = 1 / (2 * (1 + _cost) * scale)
    spread = sqrt(counts) * reached
    walls = cancel(2 * _power / _dim * (1 + _cost) * reached**2 / scale**-2) * counts / scale**2
    sixth = Rational(1, 6)
    laws = {
        pair_omega: (scale, -sixth),
        gap: (near_zero.xreplace({pair_omega: scale}), -4 * sixth),
        OMEGA_LENGTH: (sqrt(across / _dim) * scale, -sixth),
        MU_LENGTH: (spread, sixth),
        fastest: (walls, 2 * sixth),
    }
    known = pairs_valley()
    same = _counts(1, 1)

    def agrees() -> bool:
        for symbol, law in {gap: known.gap, OMEGA_LENGTH: known.omega, fastest: known.fastest}.items():
            constant, exponent = laws[symbol]
            other = unroll(law.constant.expression, {"I": 1, "H": 2}, law.constant.definitions)
            ratio = constant.xreplace(same) / other.xreplace(_ATOMS)
            if law.exponent != exponent or simplify(ratio) != 1:
                return False
        return True

    record(
        "laws of the valley of a pair",
        tuple((symbol, _of_task(constant) * time**exponent) for symbol, (constant, exponent) in laws.items()),
        "ω(t) inserted; the walls are those of D²𝓛 for the change of all ω in proportion to μ. For one head on each "
        "side these are the laws of equal tasks at I = 1, H = 2.",
        check=agrees,
    )
    return laws


def _sizes(heads: int) -> dict[str, object]:
    return {"I": 1, "H": heads, "lambda": [_power], "d": [_dim], "phi": [_factor], "L": _length}


_ATOMS = {
    n.signal_power[1]: _power,
    n.noise_factor[1]: _factor,
    n.dims[1]: _dim,
    n.noise_to_context[1]: _cost,
    n.context_length: _length,
}


def _plain(expression: Expr) -> Expr:
    return expression.xreplace(_ATOMS)


def _of_task(expression: Expr) -> Expr:
    return expression.xreplace({own: atom for atom, own in _ATOMS.items()})


def _in_cost(expression: Expr) -> Expr:
    """φ written as c L/d."""
    return expression.xreplace({_factor: _cost * _length / _dim})
