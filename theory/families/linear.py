"""Linear attention on coordinates of any variances: its exact loss and the flows of its weights ([Z25]).

``ŷ = (1/L) Σ_l Σ_h v_h (x_lᵀ U_h x_q) y_l``.  ``merged`` trains v_h and U_h; ``split`` trains v_h, k_h, q_h with
``U_h = k_h q_hᵀ``; ``aligned`` is ``split`` on the invariant set where head a serves coordinate a alone.
[Z25] = Zhang, Singh, Latham, Saxe (arXiv 2501.16265); the loss with finite context is derived here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sympy import Expr, IndexedBase, KroneckerDelta, Symbol

from .. import notation as n
from ..choices import unknown
from ..context.linear_attention import effective_norm, output_moments_of_a_token
from ..derivation import Derivation, Recorder
from ..errors import InputError
from ..flows.flow import gradient_flow
from ..flows.invariants import is_invariant
from ..flows.system import ReducedSystem
from ..indexed import (
    Definition,
    difference_is_zero,
    gradient,
    inline,
    normalise,
    replace_indexed,
    rule,
    substitute,
)
from ..model.inner_products import mean_over
from ..result import Result, builder
from .covariates import (
    COVARIATES,
    a,
    average,
    b,
    context_noise,
    direction_power,
    in_coordinates,
    n_coordinates,
    over_coordinates,
    query,
    regressor,
    regressor_variance,
    variance,
)

FLOWS = ("merged", "split", "aligned")

effective = IndexedBase("A", real=True)
output_value = IndexedBase("v", real=True)
key_query = IndexedBase("u", real=True)
key, query_weight = IndexedBase("k", real=True), IndexedBase("q", real=True)
linear_loss_symbol = Symbol("loss_linear", positive=True)

_h = n.h
# What the loss sees of the weights, in each parametrisation.
MERGED = Definition(effective[a], n.over_heads(output_value[_h] * key_query[a, _h]))
SPLIT = Definition(effective[a, b], n.over_heads(output_value[_h] * key[a, _h] * query_weight[b, _h]))
ALIGNED = Definition(effective[a], output_value[a] * key[a] * query_weight[a])


@dataclass(frozen=True, repr=False)
class LinearCovariateLoss(Result):
    """The exact population loss of linear attention with a D × D effective matrix A = Σ_h v_h U_h.

    ``expression`` sees all of ``A[a, b]``; ``diagonal`` is its value at ``A_ab = A_a δ_ab``, ``off_diagonal`` says
    that the gradient there is diagonal too.  In w, ρ of ``definitions`` (`COVARIATES`); exact at finite D and L.
    """

    expression: Expr
    diagonal: Expr
    definitions: tuple[Definition, ...]
    derivation: Derivation


@builder
def linear_covariate_loss() -> LinearCovariateLoss:
    """``Σ_a w_a (1 − 2Λ_a A_aa) + Σ_ab w_a Λ_a Λ_b (1 + ρ_a) A_ab²``, from the moments of one Gaussian token."""
    length = n.context_length
    record = Recorder("Linear attention on coordinates of any variances", ("scores are divided by L, not normalised",))
    mean, spread = output_moments_of_a_token(record)
    f = n.index("f")

    def tilt(at: Expr, _: Expr) -> Expr:
        return over_coordinates(effective[at, f] * query[f], f)

    risk = (mean - n.beta_query[n.i]) ** 2 + spread / length
    squared_tilt = replace_indexed(risk, {effective_norm: lambda task: n.head_head[task, task]})
    written = in_coordinates(squared_tilt, tilt)
    record(
        "linear risk in coordinates",
        written,
        "x = Λ^{1/2} z with z standard: the inner products of the moments are ⟨u, w⟩ = Σ_a Λ_a u_a w_a; a = A x_q.",
        check=lambda line: difference_is_zero(line, _risk_of_token()),
    )
    moved = {regressor: lambda at: regressor_variance[at], query: lambda at: variance[at]}
    averaged = average(written, lambda _: moved)
    record(
        "average over regressor and query, in coordinates",
        averaged,
        "E β_a β_b = δ_ab τ_a and E x_a x_b = δ_ab Λ_a, independent of each other.",
        check=lambda line: difference_is_zero(line, _mean_of(written)),
    )
    full = over_coordinates(direction_power[a] * (1 - 2 * variance[a] * effective[a, a])) + over_coordinates(
        direction_power[a] * variance[a] * variance[b] * (1 + context_noise[a]) * effective[a, b] ** 2, a, b
    )
    record(
        "linear covariate loss",
        (linear_loss_symbol, full),
        "w_a = τ_a Λ_a, P = σ² + Σ_a w_a, ρ_a = (1 + P/w_a)/L; exact for every D and L.",
        check=lambda line: difference_is_zero(inline(line[1], COVARIATES), averaged),
    )
    diagonal_set = {effective: lambda first, second: effective[first] * KroneckerDelta(first, second)}
    gain = variance[a] * effective[a]
    diagonal = over_coordinates(direction_power[a] * ((1 - gain) ** 2 + context_noise[a] * gain**2))
    record(
        "diagonal weights",
        (linear_loss_symbol, diagonal),
        "A_ab = A_a δ_ab: the coordinates decouple.",
        check=lambda line: difference_is_zero(replace_indexed(full, diagonal_set), line[1]),
    )
    at_diagonal = normalise(replace_indexed(gradient(full, effective[a, b]), diagonal_set))
    own, slope = gradient(diagonal, effective[a]), n.partial_derivative(effective[a])
    record(
        "diagonal weights stay diagonal",
        (n.partial_derivative(effective[a, b]), KroneckerDelta(a, b) * n.partial_derivative(effective[a])),
        "The gradient in A is diagonal there, so it moves no other entry of U_h = diag(u_h).",
        check=lambda line: difference_is_zero(at_diagonal, replace_indexed(line[1], {slope.base: rule(slope, own)})),
    )
    return LinearCovariateLoss(full, diagonal, COVARIATES, record.freeze())


@builder
def linear_attention_flow(parametrisation: str = "split") -> ReducedSystem:
    """The gradient flow of linear attention on coordinates of any variances, exact at finite D and L.

    Parameters
    ----------
    parametrisation
        ``"merged"``: v[h], u[a, h], key and query in one matrix U_h = diag(u_h); ``"split"``: v[h], k[a, h], q[a, h],
        rank-one heads of any direction, nothing left out; ``"aligned"``: v[a], k[a], q[a], the invariant set of
        ``split`` on which head a serves coordinate a.

    Parameters are ``Lambda``, ``tau`` (D,), ``sigma2``, ``L``; sizes D and H.  Unit learning rate on what is trained,
    loss without ½, time = learning rate × steps.  Raises ``InputError`` for another name.
    """
    if parametrisation not in FLOWS:
        raise InputError(unknown("parametrisation of linear attention", str(parametrisation), FLOWS))
    return {"merged": _merged, "split": _split, "aligned": _aligned}[parametrisation]()


def _merged() -> ReducedSystem:
    loss = linear_covariate_loss()
    system = gradient_flow(loss.diagonal, state=[output_value[_h], key_query[a, _h]], definitions=[MERGED])
    balance = output_value[_h] ** 2 - over_coordinates(key_query[a, _h] ** 2)
    return _finished("merged", system, (balance,))


def _split() -> ReducedSystem:
    loss = linear_covariate_loss()
    state = [output_value[_h], key[a, _h], query_weight[a, _h]]
    system = gradient_flow(loss.expression, state=state, definitions=[SPLIT])
    norms = [over_coordinates(weight[a, _h] ** 2) for weight in (key, query_weight)]
    return _finished("split", system, tuple(output_value[_h] ** 2 - norm for norm in norms))


def _aligned() -> ReducedSystem:
    loss = linear_covariate_loss()
    state = [output_value[a], key[a], query_weight[a]]
    system = gradient_flow(loss.diagonal, state=state, definitions=[ALIGNED])
    invariants = (output_value[a] ** 2 - key[a] ** 2, output_value[a] ** 2 - query_weight[a] ** 2)
    return _finished("aligned", system, invariants, _aligned_set_is_invariant)


def _finished(
    name: str,
    system: ReducedSystem,
    invariants: tuple[Expr, ...],
    reduces: Callable[[ReducedSystem, tuple[Expr, Expr]], bool] | None = None,
) -> ReducedSystem:
    """The system with its parameters, its invariants and the whole derivation."""
    record = Recorder(f"Linear attention, {name} flow")
    record.include(linear_covariate_loss().derivation)
    for step in system.derivation:  # the flows share their labels, and may be used in one derivation
        record(f"{step.label}, linear {name}", step.formula, step.why, step.check, step.scope, step.theorem)
    constant = Symbol("constant")
    if reduces is not None:
        record(
            "aligned set",
            (key[a, _h], KroneckerDelta(a, _h) * key[_h]),
            "One head per coordinate: the split velocity keeps that form, and there it is this one.",
            check=lambda line: reduces(system, line),
        )
    record(
        f"invariants of the {name} flow",
        tuple((form, constant) for form in invariants),
        "The factors of a product gain equally, whatever the loss.",
        check=lambda *lines: all(value == constant and is_invariant(system, form) for form, value in lines),
    )
    return replace(
        system,
        parametrisation=f"linear {name}",
        closure="exact",
        parameter_definitions=COVARIATES,
        invariants=invariants,
        derivation=record.freeze(),
        convention="loss without ½, noise-free query target, time = learning rate × steps",
    )


def _risk_of_token() -> Expr:
    """The risk in coordinates, by pairings in a token: E s y = ⟨β, a⟩, Var(s y) = |a|² E y² + ⟨β, a⟩²."""
    c, f = n.index("c"), n.index("f")
    tilt = over_coordinates(effective[c, f] * query[f], f)
    overlap = over_coordinates(variance[c] * regressor[c] * tilt, c)
    label_power = over_coordinates(variance[c] * regressor[c] ** 2, c) + n.noise_variance
    spread = over_coordinates(variance[c] * tilt**2, c) * label_power + overlap**2
    return (overlap - over_coordinates(regressor[c] * query[c], c)) ** 2 + spread / n.context_length


def _mean_of(risk: Expr) -> Expr:
    """E over regressor and query, by the curvature of the risk in their coordinates."""
    e = n.index("e")
    over_regressor = mean_over(risk, regressor[e], regressor_variance[e], n_coordinates)
    return mean_over(over_regressor, query[e], variance[e], n_coordinates)


def _aligned_set_is_invariant(system: ReducedSystem, line: tuple[Expr, Expr]) -> bool:
    """The split velocity at one head per coordinate, against the aligned one."""
    split = linear_attention_flow("split")
    alike = {n.n_heads: n_coordinates}
    on_set = {
        key: rule(*line),
        query_weight: lambda at, head: KroneckerDelta(at, head) * query_weight[head],
    }
    at_set = [
        normalise(replace_indexed(substitute(inline(rhs, split.definitions), alike), on_set)) for rhs in split.velocity
    ]
    own = [substitute(inline(rhs, system.definitions), {a: _h}) for rhs in system.velocity]
    expected = (own[0], KroneckerDelta(a, _h) * own[1], KroneckerDelta(a, _h) * own[2])
    return all(difference_is_zero(found, wanted) for found, wanted in zip(at_set, expected, strict=True))
