"""The population loss: the model's in-context risk averaged over regressors and queries, in closures.

``𝓛 = E Σ_i (ŷ_i − ⟨β_i, x_q⟩)²`` with the noise-free query target and no factor ½, at decomposable weights.
Closures: ``first_order`` keeps every term of order 1/L, ``leading`` is its limit d_i → ∞ at fixed d_i ω² and
d_i/L (the papers' loss), ``finite_d`` is the leading one with the query's expectation kept exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sympy import Dummy, Expr, Gt, Lt, Mul, Rational, S, Symbol, cancel, diff, exp, limit, log, solve, symbols
from sympy.core.relational import Relational

from .. import notation as n
from ..choices import checked_closure
from ..derivation import Derivation, Recorder
from ..gaussian import chi_square_generating_function, is_gaussian_integral, moment_generating_function
from ..grounds import FORMAL
from ..indexed import Definition, difference_is_zero, gradient, inline, normalise, replace_indexed, substitute
from ..indexed.asymptotics import leading_order, scaled_limit
from ..indexed.monomial import Term, to_expression
from ..indexed.nodes import indexed_bases
from ..indexed.normal import terms
from ..parameters import PARAMETERS
from ..result import Result, builder
from .attention import expectation, output_moments
from .inner_products import in_task_coordinates, mean_over_regressor

# The scaling of the leading closure: N = d_i, with d_i ω_i², d_i/L and ω_i μ_i kept of order one.
PROPORTIONAL_SCALING: Mapping[Expr, Rational] = {
    n.dims: S.One,
    n.context_length: S.One,
    n.omega: -Rational(1, 2),
    n.mu: Rational(1, 2),
}


@dataclass(frozen=True, repr=False)
class PopulationLoss(Result):
    """A population loss: an expression in the state, with its definitions (r, C) kept closed.

    ``domain`` holds what ω must satisfy for the expectation over the query to be finite; ``validity`` what it must
    satisfy for the error to be of the next order in 1/L.
    """

    expression: Expr
    definitions: tuple[Definition, ...]
    closure: str
    derivation: Derivation
    domain: tuple[Relational, ...] = ()
    validity: tuple[Relational, ...] = ()


@builder
def population_loss(closure: str = "leading") -> PopulationLoss:
    """The population loss in spectral variables mu[i, h], omega[i, h].

    Raises ``InputError`` for an unknown closure.
    """
    assemble = _ASSEMBLE[checked_closure(closure)]
    record = Recorder("Population loss")
    record.include(output_moments().derivation)
    first_order, interaction = _averaged_risk(record)
    task_loss, definitions = assemble(record, first_order, interaction)
    in_state = tuple(item for item in definitions if item.base != n.interaction)
    loss = n.over_tasks(task_loss)
    domain, validity = _range_of(record, closure)
    expected = first_order if closure == "first_order" else leading_order(first_order, PROPORTIONAL_SCALING)
    record(
        "population loss" if closure == "leading" else f"population loss, {closure}",
        (n.loss, loss),
        "Sum over tasks, the square completed with r_i = 1 − Σ_h μ_i^h ω_i^h and φ_i = 1 + σ²/λ_i.",
        check=lambda line: difference_is_zero(inline(line[1], in_state), n.over_tasks(expected)),
    )
    return PopulationLoss(loss, definitions, closure, record.freeze(), domain, validity)


def _range_of(record: Recorder, closure: str) -> tuple[tuple[Relational, ...], tuple[Relational, ...]]:
    """Where the closure's expectations over the query are finite, and where those of the next order are too."""
    i, h, k = n.i, n.h, n.k
    if closure == "leading":
        return (), ()
    w = Dummy("w", real=True)
    (edge,) = solve(chi_square_generating_function(w) ** -2, w)
    domain = Lt(n.omega[i, h] * n.omega[i, k], edge)
    record(
        "domain",
        domain,
        "E e^{w z²} = (1 − 2w)^{−1/2} is finite there.",
        check=lambda line: _same_set(line, n.omega[i, h] * n.omega[i, k], S.One) and is_gaussian_integral(),
    )
    if closure != "first_order":
        return (domain,), ()
    size, score = Symbol("norm2_a", nonnegative=True), Symbol("s", real=True)
    growth = _tilt_growth(3, size)
    validity = Lt(n.omega[i, h] ** 2, edge / growth.coeff(size))
    record(
        "validity",
        ((expectation(exp(3 * score)) / expectation(exp(score)) ** 3, exp(growth)), validity),
        "Order 1/L² holds third moments of the softmax weights, L² E Σ_l p_l³ ≃ E e^{3s}/(E e^s)³ for the score s of a "
        "token: their expectation over the query must be finite, else rare long queries spoil the order.",
        check=lambda third, range_: (
            difference_is_zero(third[1], _normal_means(third[0], score, size))
            and _same_set(range_, n.omega[i, h] ** 2, diff(log(third[1]), size))
        ),
        scope=FORMAL,
    )
    return (domain,), (validity,)


def _tilt_growth(power: int, size: Expr) -> Expr:
    """The exponent of ``E e^{ps}/(E e^s)^p`` for a score s = ⟨a, x⟩, with |a|² = ``size``."""
    gram = {("a", "a"): size, ("a", "beta"): S.Zero, ("beta", "beta"): S.Zero}
    at_once = moment_generating_function({"a": S(power)}, S.Zero, gram, S.Zero)
    one = moment_generating_function({"a": S.One}, S.Zero, gram, S.Zero)
    return cancel(log(at_once).expand(force=True) - power * log(one).expand(force=True))


def _averaged_risk(record: Recorder) -> tuple[Expr, Definition]:
    """Task i's risk to order 1/L, averaged over regressor and query, in φ_i; and the interaction C."""
    i, h, k = n.i, n.h, n.k
    moments = output_moments()

    def at_head(expression: Expr) -> Expr:
        return n.over_heads(n.mu[i, h] * expression)

    error, bias = at_head(moments.mean) - n.beta_query[i], at_head(moments.bias)
    variance = n.over_heads(n.mu[i, h] * n.mu[i, k] * moments.covariance, h, k)
    conditional = error**2 + 2 * error * bias + variance
    record(
        "risk given query and regressor",
        conditional,
        "Squared mean error plus variance of ŷ_i = Σ_h μ_i^h f_i^h, to order 1/L.",
        check=lambda line: difference_is_zero((error + bias) ** 2 + variance - line, bias**2),
        scope=FORMAL,
    )
    decomposed = replace_indexed(
        conditional, {n.beta_head: lambda task, head: n.omega[task, head] * n.beta_query[task]}
    )
    record(
        "decomposable weights",
        normalise(decomposed),
        "W_X = Φ diag(ω) Φᵀ with one ω_i^h for the coordinates of task i: ⟨β_i, a_h⟩ = ω_i^h ⟨β_i, x_q⟩.",
        check=lambda line: difference_is_zero(in_task_coordinates(line), in_task_coordinates(conditional)),
    )
    over_beta = normalise(to_expression(_average_regressor(term) for term in terms(decomposed)))
    record(
        "average over the regressor",
        over_beta,
        "β_i ~ N(0, (λ_i/d_i) Id): E⟨β_i, x_q⟩² = λ_i |x_q^{(i)}|²/d_i and E|β_i|² = λ_i.",
        check=lambda line: difference_is_zero(
            in_task_coordinates(line), mean_over_regressor(in_task_coordinates(decomposed))
        ),
    )
    per_coordinate = chi_square_generating_function(n.omega[n.j, h] * n.omega[n.j, k])
    exponent = normalise(n.over_tasks(n.dims[n.j] * log(per_coordinate), n.j))
    interaction = Definition(n.interaction[h, k], exp(exponent))
    record(
        "expectation over the query",
        (expectation(exp(n.head_head[h, k])), interaction.body),
        "⟨a_h, a_k⟩ = Σ_j ω_j^h ω_j^k |x_q^{(j)}|²: d_j independent chi-square factors (1 − 2ω_j^h ω_j^k)^{−1/2}.",
        check=lambda line: (
            difference_is_zero(line[1], exp(-n.over_tasks(n.dims[n.j] * log(_curvature(h, k)), n.j) / 2))
            and is_gaussian_integral()
        ),
    )
    first_order = to_expression(_average_query(term) for term in terms(over_beta))
    # φ_i = 1 + σ²/λ_i, solved for σ².
    in_noise_factor = normalise(
        substitute(first_order, {n.noise_variance: n.signal_power[i] * (n.noise_factor[i] - 1)})
    )
    record(
        "first-order loss of task i",
        in_noise_factor,
        "C_hk = E e^{⟨a_h, a_k⟩}; a factor |x_q^{(i)}|² brings d_i, or d_i/(1 − 2ω_i^h ω_i^k) under the tilt.",
        check=lambda line: difference_is_zero(inline(line, PARAMETERS[:1]), _mean_over_query(over_beta)),
    )
    return in_noise_factor, interaction


def _curvature(h: Symbol, k: Symbol) -> Expr:
    """The factor of −x²/2 in the exponent of e^{⟨a_h, a_k⟩} times the query's density, for a coordinate x of task j."""
    return 1 - 2 * n.omega[n.j, h] * n.omega[n.j, k]


def _normal_means(expression: Expr, score: Symbol, variance: Symbol) -> Expr:
    """``E e^{ps}`` in an expression put in, e^{p² V/2} for a normal score of that variance."""
    return expression.replace(expectation, lambda inner: exp(diff(log(inner), score) ** 2 * variance / 2))


def _same_set(condition: Relational, weight: Expr, times: Expr) -> bool:
    """Whether a condition on ``weight`` says that E e^{times·weight·z²} is finite."""
    w = Dummy("w", real=True)
    claimed = condition.subs(weight, w)
    return bool(claimed.free_symbols == {w} and claimed.as_set() == Gt(1 - 2 * times * w, 0).as_set())


def _mean_over_query(expression: Expr) -> Expr:
    """E over the query of what is linear in |x_q^{(i)}|² and in e^{⟨a_h, a_k⟩}, part by part."""
    i, growth = n.i, n.SymmetricBase("growth", positive=True)
    linear = replace_indexed(expression, {n.head_head: lambda h, k: log(growth[h, k])})

    def at(part: Expr, value: Callable[[Expr, Expr], Expr]) -> Expr:
        return replace_indexed(part, {growth: value, n.query_query: lambda _: S.Zero})

    alone = at(linear, lambda h, k: n.interaction[h, k])
    with_length = at(
        gradient(linear, n.query_query[i]),
        lambda h, k: n.interaction[h, k] / (1 - 2 * n.omega[i, h] * n.omega[i, k]),
    )
    return alone + n.dims[i] * with_length


def _limit_of_interaction(h: Expr, k: Expr) -> Expr:
    """C as d_j → ∞ at fixed d_j ω_j²: the summand of its exponent at d_j = d/ε and ω² = ε w as ε → 0, by SymPy."""
    d, w, e = symbols("d w e", positive=True)
    summand = limit(-d / e * log(1 - 2 * e * w) / 2, e, 0)
    overlap = n.omega[n.j, h] * n.omega[n.j, k]
    return exp(n.over_tasks(substitute(summand, {d: n.dims[n.j], w: overlap}), n.j))


def _residual() -> Definition:
    return Definition(n.residual[n.i], 1 - n.over_heads(n.mu[n.i, n.h] * n.omega[n.i, n.h]))


def _with_interaction(expression: Expr) -> Expr:
    """The terms of a loss of task i that hold C: the variance of the output."""
    return normalise(
        to_expression(
            term for term in terms(expression) if any(n.interaction in indexed_bases(atom) for atom, _ in term.factors)
        )
    )


def _finite_d(record: Recorder, first_order: Expr, interaction: Definition) -> tuple[Expr, tuple[Definition, ...]]:
    """The leading terms, with the query's expectation kept exact."""
    limit = leading_order(first_order, PROPORTIONAL_SCALING)
    record(
        "leading loss of task i",
        limit,
        "d_i → ∞ at fixed d_i ω_i², d_i/L and ω_i μ_i: the bias and the tilt's w/(1 − 2w) are of lower order.",
        check=lambda line: difference_is_zero(line, scaled_limit(first_order, PROPORTIONAL_SCALING)),
    )
    power = n.signal_power[n.i]
    variance = normalise(_with_interaction(limit) / power)
    return power * (n.residual[n.i] ** 2 + variance), (_residual(), interaction)


def _leading(record: Recorder, first_order: Expr, interaction: Definition) -> tuple[Expr, tuple[Definition, ...]]:
    """The leading terms, the query's expectation at leading order too."""
    task_loss, (residual, _) = _finite_d(record, first_order, interaction)
    exponent = leading_order(interaction.body.args[0], PROPORTIONAL_SCALING)
    leading = Definition(interaction.head, exp(exponent))
    record(
        "leading interaction",
        (leading.head, leading.body),
        "The same limit of C: −(d_j/2) log(1 − 2ω_j^h ω_j^k) → d_j ω_j^h ω_j^k.",
        check=lambda line: difference_is_zero(line[1], _limit_of_interaction(*line[0].indices)),
    )
    return task_loss, (residual, leading)


def _first_order(record: Recorder, first_order: Expr, interaction: Definition) -> tuple[Expr, tuple[Definition, ...]]:
    """Every term of order 1/L: the bias b of each head besides the variance."""
    del record
    i, h, k = n.i, n.h, n.k
    length, power = n.context_length, n.signal_power[i]
    bias = Definition(n.relative_bias[i, h], n.interaction[h, h] * tilted_second_moment(n.omega[i, h] ** 2) / length)
    overlap = n.omega[i, h] * n.omega[i, k]
    spread = n.noise_factor[i] + overlap * tilted_second_moment(overlap)
    variance = n.over_heads(n.interaction[h, k] * n.mu[i, h] * n.mu[i, k] * spread, h, k) / length
    drift = 2 * n.residual[i] * n.over_heads(n.relative_bias[i, h] * n.mu[i, h] * n.omega[i, h])
    # The equality with the derived ``first_order`` is the check of the step that records the loss.
    return power * (n.residual[i] ** 2 + drift + variance), (_residual(), interaction, bias)


_Assembly = Callable[[Recorder, Expr, Definition], tuple[Expr, tuple[Definition, ...]]]
_ASSEMBLE: Mapping[str, _Assembly] = {"leading": _leading, "finite_d": _finite_d, "first_order": _first_order}


def _average_regressor(term: Term) -> Term:
    """E over β_i ~ N(0, (λ_i/d_i) Id), independent of the query."""
    factors: list[tuple[Expr, Rational]] = []
    for atom, power in term.factors:
        base = getattr(atom, "base", None)
        if base == n.beta_query and power == 2:
            (task,) = atom.indices
            factors += [(n.signal_power[task], S.One), (n.query_query[task], S.One), (n.dims[task], -S.One)]
        elif base == n.beta_beta and power == 1:
            factors.append((n.signal_power[atom.indices[0]], S.One))
        elif base in (n.beta_query, n.beta_beta):
            raise ValueError(f"no rule averages {atom}**{power} over the regressor")
        else:
            factors.append((atom, power))
    return Term(term.coefficient, term.bounds, tuple(factors), term.exponent)


def _average_query(term: Term) -> Term:
    """E over x_q ~ N(0, Id), the exponent being 0 or ⟨a_h, a_k⟩."""
    pair = term.exponent
    factors = [] if pair == 0 else [(n.interaction[pair.indices], S.One)]
    for atom, power in term.factors:
        if getattr(atom, "base", None) != n.query_query:
            factors.append((atom, power))
            continue
        (task,) = atom.indices
        if power != 1:
            raise ValueError(f"no rule averages {atom}**{power} over the query")
        tilt = S.Zero if pair == 0 else Mul(*(n.omega[task, head] for head in pair.indices))
        factors += [(n.dims[task], S.One), (tilted_second_moment(tilt), S.One)]
    return Term(term.coefficient, term.bounds, tuple(factors))


def tilted_second_moment(weight: Expr) -> Expr:
    """``E[z² e^{w z²}] / E[e^{w z²}]``: the logarithmic derivative of the generating function."""
    w = Dummy("w", real=True)
    return diff(log(chi_square_generating_function(w)), w).subs(w, weight)
