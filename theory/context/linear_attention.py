"""Linear attention: scores without softmax, divided by L; its exact loss (derived here).

Head h gives task i the output ``(1/L) Σ_l s_l^h y_{l,i}``, so the output sees the weights only through
``A_ij = Σ_h μ_i^h ω_j^h``, of rank at most H.  The loss is exact at finite d and L, for every I and H.
"""

from __future__ import annotations

from dataclasses import dataclass

from sympy import (
    Dummy,
    Expr,
    Function,
    IndexedBase,
    KroneckerDelta,
    S,
    Sum,
    Symbol,
    diff,
    expand,
)

from .. import notation as n
from ..derivation import Derivation, Recorder
from ..gaussian import moment_generating_function
from ..grounds import DEFINITION
from ..indexed import (
    Definition,
    difference_is_zero,
    inline,
    normalise,
    replace_indexed,
    rule,
    substitute,
)
from ..indexed.monomial import Term, to_expression
from ..indexed.normal import terms
from ..model.attention import expectation, score, token_output
from ..model.inner_products import (
    coordinate,
    dimension,
    mean_over,
    mean_over_regressor,
    over_coordinates,
    query,
    regressor,
)
from ..parameters import PARAMETERS
from ..result import Result, builder

variance = Function("Var")
effective = IndexedBase("A", real=True)
prediction = IndexedBase("y_hat", real=True)
overlap = IndexedBase("X", real=True)
effective_norm = IndexedBase("norm2_a", nonnegative=True)
linear_loss_symbol = Symbol("loss_linear", positive=True)

# A_ij: all that the output sees of the weights.
EFFECTIVE = Definition(effective[n.i, n.j], n.over_heads(n.mu[n.i, n.h] * n.omega[n.j, n.h]))


@dataclass(frozen=True, repr=False)
class LinearAttentionLoss(Result):
    """The population loss of linear attention and its ``task`` i part, exact at finite d and L, in A."""

    expression: Expr
    task: Expr
    definitions: tuple[Definition, ...]
    derivation: Derivation


@builder
def linear_attention_loss() -> LinearAttentionLoss:
    """``Σ_i λ_i [(1 − A_ii)² + (φ_i Σ_j d_j A_ij² + A_ii²)/L]``, from moments of one Gaussian token."""
    i, j, length = n.i, n.j, n.context_length
    record = Recorder("Linear attention", ("scores are used without softmax and divided by L",))
    _only_the_product(record)
    mean, spread = output_moments_of_a_token(record)
    risk = (mean - n.beta_query[i]) ** 2 + spread / length
    record(
        "linear risk given query and regressor",
        risk,
        "Squared error of the mean, and the variance of an average of L independent tokens: nothing is left out.",
        check=lambda line: difference_is_zero(line, _error_of_an_average(mean, spread, n.beta_query[i])),
    )
    opened = replace_indexed(
        risk,
        {
            n.beta_head: lambda task, _: effective[task, task] * n.beta_query[task],
            effective_norm: lambda task: n.over_tasks(effective[task, j] ** 2 * n.query_query[j], j),
        },
    )
    averaged = to_expression(_averaged(term) for term in terms(opened))
    in_noise = normalise(substitute(averaged, {n.noise_variance: n.signal_power[i] * (n.noise_factor[i] - 1)}))
    record(
        "average over regressor and query",
        in_noise,
        "a_i = Σ_j A_ij x_q^{(j)}; E⟨β_i, x_q⟩² = E|β_i|² = λ_i and E|x_q^{(j)}|² = d_j; σ² = λ_i (φ_i − 1).",
        check=lambda line: difference_is_zero(inline(line, PARAMETERS[:1]), _mean_over_regressor_and_query(risk)),
    )
    own = effective[i, i]
    task = n.signal_power[i] * (
        (1 - own) ** 2 + (n.noise_factor[i] * n.over_tasks(n.dims[j] * effective[i, j] ** 2, j) + own**2) / length
    )
    total = n.over_tasks(task)
    record(
        "linear loss",
        (linear_loss_symbol, total),
        "Summed over tasks; exact for every d and L.",
        check=lambda line: difference_is_zero(line[1], n.over_tasks(in_noise)),
    )
    return LinearAttentionLoss(total, task, (EFFECTIVE,), record.freeze())


def _error_of_an_average(mean: Expr, spread: Expr, target: Expr) -> Expr:
    """E of the squared distance of an average of L independent numbers to a target: written out in pairs of tokens."""
    l, m, length = n.index("l"), n.index("m"), n.context_length
    pairs = Sum(mean**2 + KroneckerDelta(l, m) * spread, (l, 1, length), (m, 1, length)) / length**2
    return pairs - 2 * target * Sum(mean, (l, 1, length)) / length + target**2


def _mean_over_regressor_and_query(risk: Expr) -> Expr:
    """The risk of task i in the coordinates of β_i and x_q, averaged by its curvature in them."""
    i, j, e = n.i, n.j, coordinate
    written = replace_indexed(
        risk,
        {
            n.beta_head: lambda task, _: over_coordinates(regressor[e, task] * effective[task, task] * query[e, task]),
            n.beta_query: lambda task: over_coordinates(regressor[e, task] * query[e, task]),
            n.beta_beta: lambda task: over_coordinates(regressor[e, task] ** 2),
            # E|x_q^{(j)}|² is d_j, as the average over the coordinates of task i shows below.
            effective_norm: lambda task: n.over_tasks(effective[task, j] ** 2 * n.dims[j], j),
        },
    )
    averaged = mean_over(mean_over_regressor(written), query[e, i], S.One, dimension)
    return substitute(normalise(averaged), {dimension: n.dims[i]})


def _only_the_product(record: Recorder) -> None:
    """The output depends on the weights through A alone."""
    i, j, h, length = n.i, n.j, n.h, n.context_length
    l = n.index("l")
    output = n.over_heads(n.mu[i, h] * Sum(score[l, h] * token_output[l, i], (l, 1, length)) / length)
    record(
        "linear head",
        (prediction[i], output),
        "The model: each head averages score times label over the context.",
        scope=DEFINITION,
    )
    scores = n.over_tasks(n.omega[j, h] * overlap[l, j], j)
    through = n.over_tasks(effective[i, j] * overlap[l, j], j)
    record(
        "effective matrix",
        (EFFECTIVE.head, EFFECTIVE.body),
        "s_l^h = Σ_j ω_j^h X_lj, X_lj the overlap of token and query in task j: heads enter by A alone, of rank ≤ H.",
        check=lambda line: difference_is_zero(
            n.over_heads(n.mu[i, h] * scores), replace_indexed(through, {effective: rule(*line)})
        ),
    )


def output_moments_of_a_token(record: Recorder) -> tuple[Expr, Expr]:
    """Mean and variance of ⟨a_i, x⟩ y over one token, from the generating function, recorded.

    In the inner products ``beta_head[i, i]`` = ⟨β_i, a_i⟩, ``effective_norm[i]`` = |a_i|², ``beta_beta[i]``.
    """
    i = n.i
    t, u = Dummy("t", real=True), Dummy("u", real=True)
    products = {("a", "a"): effective_norm[i], ("a", "beta"): n.beta_head[i, i], ("beta", "beta"): n.beta_beta[i]}
    generating = moment_generating_function({"a": t}, u, products, n.noise_variance)

    def moment(power: int) -> Expr:
        return expand(diff(generating, t, power, u, power).subs({t: 0, u: 0}))

    mean = moment(1)
    spread = expand(moment(2) - mean**2)
    one = Symbol("s", real=True) * Symbol("y", real=True)
    record(
        "moments of one token",
        ((expectation(one), mean), (variance(one), spread)),
        "Derivatives of E e^{t s + u y}, s = ⟨a_i, x⟩ and y = ⟨β_i, x⟩ + ε; the same by pairings.",
        check=lambda first, second: (
            difference_is_zero(first[1], products["a", "beta"])
            and difference_is_zero(second[1], _by_pairings(products))
            and (first[0], second[0]) == (expectation(one), variance(one))
        ),
        theorem="Isserlis' theorem",
    )
    return mean, spread


def _by_pairings(products: dict[tuple[str, str], Expr]) -> Expr:
    """Var(s y) by Isserlis' theorem: E s² y² is the sum over the three pairings of s, s, y, y."""
    label_power = products["beta", "beta"] + n.noise_variance
    squared = products["a", "a"] * label_power + 2 * products["a", "beta"] ** 2
    return squared - products["a", "beta"] ** 2


def _averaged(term: Term) -> Term:
    """E over β_i ~ N(0, (λ_i/d_i) Id) and x_q ~ N(0, Id), independent of each other."""
    random = [(atom, power) for atom, power in term.factors if getattr(atom, "base", None) in _RANDOM]
    fixed = [pair for pair in term.factors if pair not in random]
    for atom, power in random:
        (task,) = atom.indices
        alone = atom.base == n.beta_query and power == 2 and len(random) == 1
        if alone or (atom.base == n.beta_beta and power == 1):
            fixed.append((n.signal_power[task], S.One))
        elif atom.base == n.query_query and power == 1 and not any(a.base == n.beta_query for a, _ in random):
            fixed.append((n.dims[task], S.One))
        else:
            raise ValueError(f"no rule averages {random}")
    return Term(term.coefficient, term.bounds, tuple(fixed))


_RANDOM = (n.beta_query, n.beta_beta, n.query_query)
