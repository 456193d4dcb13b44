"""The zero-sum pair of heads of a single task ([H25]): its profile, and the predictor it tends to as ω → 0.

Two heads at ω and −ω, leading closure.  Eliminating μ leaves a function of ω whose infimum lies at ω → 0, where the
difference of the two softmaxes becomes one step of gradient descent on centred tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sympy import Eq, Expr, IndexedBase, S, Sum, Symbol, cancel, cosh, diff, exp, expand, limit, sinh, solve

from .. import notation as n
from ..closed_form import HasValues, Hypothesis, Value, parameters_of, require, to_float
from ..derivation import Derivation, Recorder
from ..indexed import difference_is_zero, inline, normalise, substitute, unroll
from ..model.loss import population_loss
from ..optima.bounds import universal_lower_bound
from ..printing import Equation
from ..result import builder
from ..scalars import only, plain_symbols, positive_solution
from ..series import sinh_over_argument_rises

# The pair: key-query eigenvalues ω and −ω, output-value eigenvalues μ and −μ.
pair_omega = Symbol("omega", positive=True)
pair_mu = Symbol("mu", real=True)
profile_symbol = Symbol("loss_pair", positive=True)
profile_limit_symbol = Symbol("loss_0", positive=True)
prediction = Symbol("y_hat", real=True)
# Score s_l = ⟨x_q, x_l⟩ and label y_l of token l.
token_score = IndexedBase("s", real=True)
token_label = IndexedBase("y", real=True)

ONE_TASK = Hypothesis(
    "a single task (I = 1)",
    lambda values: bool(values["I"] == 1),
    lambda values: f"I = {values['I']}",
)


@dataclass(frozen=True, repr=False)
class ZeroSumPair(Value):
    """Two heads ±ω of one task: ``profile`` with the best μ at each ω, its ``limit`` as ω → 0, the ``predictor`` there.

    ``mu`` is the best μ (of the head at ω; the other has −μ); ``predictor`` is the limit of the pair's output.
    """

    mu: Expr
    profile: Expr
    limit: Expr
    predictor: Expr
    derivation: Derivation

    @property
    def expression(self) -> Expr:
        """The limit, which is the infimum."""
        return self.limit

    def exact(self, problem: HasValues, omega: Any = 0) -> Expr:
        """The profile at ``omega``; at 0 its limit, which is the infimum.  ``HypothesisError`` unless I = 1."""
        return self._at(self.limit if omega == 0 else self.profile, problem, omega)

    def evaluate(self, problem: HasValues, omega: Any = 0) -> float:
        """`exact` as a float, rounded once."""
        return to_float(self.exact(problem, omega))

    def best_mu(self, problem: HasValues, omega: Any) -> float:
        """The best μ at ``omega`` > 0."""
        return to_float(self._at(self.mu, problem, omega))

    def _at(self, expression: Expr, problem: HasValues, omega: Any) -> Expr:
        values = parameters_of(problem)
        require("the zero-sum pair", (ONE_TASK,), values)
        return _with_values(expression, {**values, "omega": omega})

    @property
    def lines(self) -> list[Equation]:
        """What is printed."""
        return [(profile_symbol, self.profile), (profile_limit_symbol, self.limit)]


def _with_values(expression: Expr, values: Mapping[str, Any]) -> Expr:
    """The first task's numbers, L and ω put in (sinh is no node of the index calculus)."""
    numbers = {base[1]: values[str(base.label)][0] for base in _OF_TASK}
    return expression.xreplace(
        {atom: S(value) for atom, value in numbers.items()}
        | {n.context_length: S(values["L"]), pair_omega: S(values["omega"])}
    )


_OF_TASK = (n.signal_power, n.noise_factor, n.dims, n.noise_to_context)


@builder
def zero_sum_pair() -> ZeroSumPair:
    """The profile ``λ(1 − ω²/(ω² + (φ/L) sinh dω²))``, its limit as ω → 0, and the predictor there."""
    record = Recorder("Zero-sum pair of heads", ("I = 1, H = 2, key-query eigenvalues ω and −ω",))
    record.include(population_loss().derivation, given=True)
    first, second = n.mu[1, 1], n.mu[1, 2]
    pair_loss = _pair_loss()
    record(
        "loss of a pair",
        (n.loss, pair_loss),
        "The leading loss at ω_1^1 = ω, ω_1^2 = −ω.",
        check=lambda line: expand(line[1] - _pair_loss(opened=False)) == 0,
    )
    plain = plain_symbols(pair_loss)
    slopes = [diff(plain.expression, plain.symbol(atom)) for atom in (first, second)]
    growth = Symbol("E", positive=True)
    solution = solve(
        [_in_growth(slope, plain.symbol(n.dims[1]), growth) for slope in slopes],
        [plain.symbol(first), plain.symbol(second)],
        dict=True,
    )
    best = only(solution, first)
    record(
        "zero sum",
        Eq(first + second, 0),
        "Stationarity in both μ has one solution: equal and opposite.",
        check=lambda relation: relation.rhs == 0 and cancel(plain.plain(relation.lhs).subs(best)) == 0,
    )
    power, factor, dim = (plain.symbol(base[1]) for base in (n.signal_power, n.noise_factor, n.dims))
    zero_sum = plain.expression.xreplace({plain.symbol(first): pair_mu, plain.symbol(second): -pair_mu})
    opposite = _with_sinh(zero_sum, dim)
    length = n.context_length
    spread = 4 * factor * pair_mu**2 * sinh(dim * pair_omega**2) / length
    squared = power * ((1 - 2 * pair_mu * pair_omega) ** 2 + spread)
    record(
        "loss of a zero-sum pair",
        (n.loss, plain.restored(squared)),
        "μ and −μ put in; e^u − e^{−u} = 2 sinh u.",
        check=lambda line: expand(opposite - plain.plain(line[1])) == 0,
    )
    mu = positive_solution(diff(opposite, pair_mu), pair_mu)
    slope = diff(opposite, pair_mu)
    record(
        "best mu of the pair",
        (pair_mu, plain.restored(mu)),
        "The minimum of that quadratic.",
        check=lambda line: bool(
            cancel(slope.xreplace({pair_mu: plain.plain(line[1])})) == 0
            and cancel(diff(slope, pair_mu) - 8 * power * pair_omega**2).is_positive
        ),
    )
    profile = cancel(opposite.xreplace({pair_mu: mu}))
    variance = factor * sinh(dim * pair_omega**2) / length
    shown = power * (1 - pair_omega**2 / (pair_omega**2 + variance))
    record(
        "profile of the pair",
        (profile_symbol, plain.restored(shown)),
        "Inserted; it increases with ω, as (sinh u)/u does.",
        check=lambda line: cancel(profile - plain.plain(line[1])) == 0 and sinh_over_argument_rises(),
    )

    def in_noise_to_context(expression: Expr) -> Expr:
        return plain.restored(cancel(expression.xreplace({factor: n.noise_to_context[1] * length / dim})))

    in_c = in_noise_to_context(limit(profile, pair_omega, 0))
    record(
        "infimum of the pair",
        (profile_limit_symbol, in_c),
        "ω → 0, with c_1 = φ_1 d_1/L: the universal bound of one task.",
        check=lambda line: (
            difference_is_zero(line[1], in_c)
            and difference_is_zero(in_c, unroll(universal_lower_bound().expression, {"I": 1}))
        ),
    )
    gain = in_noise_to_context(limit(2 * pair_omega * mu, pair_omega, 0))
    predictor = _predictor(record, gain)
    return ZeroSumPair(plain.restored(mu), plain.restored(shown), in_c, predictor, record.freeze())


def _pair_loss(opened: bool = True) -> Expr:
    """The loss written out; its definitions are opened before, or entry by entry."""
    loss = population_loss()
    sizes = {"I": 1, "H": 2, "omega": [[pair_omega, -pair_omega]]}
    if opened:
        return unroll(inline(loss.expression, loss.definitions), sizes)
    return unroll(loss.expression, sizes, loss.definitions)


def _in_growth(expression: Expr, dim: Expr, growth: Symbol) -> Expr:
    """e^{±d ω²} written with one symbol, so that the equations are rational."""
    exponent = dim * pair_omega**2
    return expression.xreplace({exp(exponent): growth, exp(-exponent): 1 / growth})


def _with_sinh(expression: Expr, dim: Expr) -> Expr:
    """e^{±d ω²} as hyperbolic functions; the even parts cancel."""
    u = dim * pair_omega**2
    return expand(expand(expression).xreplace({exp(u): cosh(u) + sinh(u), exp(-u): cosh(u) - sinh(u)}))


def _predictor(record: Recorder, gain: Expr) -> Expr:
    """The limit of μ Σ_l (p_l(ω) − p_l(−ω)) y_l as ω → 0, with 2 ω μ → ``gain``."""
    length = n.context_length
    l, m = n.index("l"), n.index("m")
    weight = exp(pair_omega * token_score[l]) / Sum(exp(pair_omega * token_score[m]), (m, 1, length))
    at_rest = normalise(_at_zero(weight))
    slope = normalise(_at_zero(diff(weight, pair_omega)))
    centred = (token_score[l] - Sum(token_score[m], (m, 1, length)) / length) / length
    record(
        "softmax near zero",
        (IndexedBase("p", positive=True)[l], at_rest + pair_omega * centred),
        "Weights of the head at ω to first order in ω: scores enter centred. The head at −ω has the opposite sign.",
        check=lambda line: (
            difference_is_zero(slope, diff(line[1], pair_omega)) and difference_is_zero(at_rest, _at_zero(line[1]))
        ),
    )
    # p_l(ω) − p_l(−ω) = 2 ω (slope) + O(ω³), times μ.
    output = gain * Sum(token_label[l] * centred * length, (l, 1, length)) / length
    record(
        "debiased gradient descent",
        (prediction, output),
        "2 ω μ → 1/(1 + c_1), s_l = ⟨x_q, x_l⟩: ŷ = ⟨(1/L) Σ_l y_l (x_l − m), x_q⟩/(1 + c_1) with m the mean of "
        "the x_l: a step of gradient descent on centred tokens.",
        check=lambda line: difference_is_zero(gain * Sum(token_label[l] * slope, (l, 1, length)), line[1]),
    )
    return output


def _at_zero(expression: Expr) -> Expr:
    """The expression at ω = 0 (an odd factor ω never stands alone in a denominator here)."""
    return substitute(expression, {pair_omega: S.Zero})
