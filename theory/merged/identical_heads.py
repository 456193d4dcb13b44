"""The merged degenerate minimum: a single task on identical heads, its second variation (derived here)."""

from __future__ import annotations

from dataclasses import dataclass

from sympy import Add, Expr, Ge, ImmutableMatrix, KroneckerDelta, S, Sum, Symbol, diff

from .. import notation as n
from ..closed_form import ClosedForm
from ..context.two_heads import ONE_TASK
from ..derivation import Derivation, Recorder
from ..equations import Equations
from ..flows.ansatz import Ansatz
from ..flows.flow import gradient_flow
from ..flows.system import ReducedSystem
from ..grounds import DEFINITION
from ..indexed import difference_is_zero, directional_derivative, factored, normalise, replace_indexed, rule, substitute
from ..indexed.nodes import free_indices
from ..optima.limits import task_allocation_limit
from ..phases.linearised import perturbation
from ..result import builder
from ..scalars import of_one_task, plain_symbols, positive_solution

# Identical heads: their common ω, and the sum of their μ.
common_omega = Symbol("w", positive=True)
total_mu = Symbol("s", positive=True)
second_variation = Symbol("V", real=True)
# Coefficients of the second variation, and the sums over heads that they go with.
form_entries = (Symbol("V_XX", real=True), Symbol("V_XY", real=True), Symbol("V_YY", real=True))
curvature = Symbol("alpha", real=True)
_X, _Y, _Z, _P = (Symbol(name, real=True) for name in ("X", "Y", "Z", "P"))
_MU, _OMEGA = perturbation(n.mu), perturbation(n.omega)


def _sum(summand: Expr) -> Expr:
    return n.over_heads(summand, n.k)


_mu, _moved_mu, _moved_omega = (base[1, n.k] for base in (n.mu, _MU, _OMEGA))
SUMS = {
    _X: _sum(_moved_mu),
    _Y: _sum(_mu * _moved_omega),
    _Z: _sum(_mu * _moved_omega**2),
    _P: _sum(_moved_mu * _moved_omega),
    total_mu: _sum(_mu),
}


@dataclass(frozen=True, repr=False)
class MergedMinimum(Equations):
    """A single task on H identical heads in the merged flow: ω^h = ``omega``, Σ_h μ^h = ``total``.

    Attributes
    ----------
    form
        The 2×2 matrix of the second variation ``D²𝓛`` in X = Σ_h μ̃^h and Y = Σ_h μ^h ω̃^h: positive definite.
    curvature
        The coefficient α > 0 of Z = Σ_h μ^h (ω̃^h)²; there is nothing else.
    second_variation
        ``form`` and ``curvature`` put together, in μ, the direction (μ̃, ω̃) and the problem's parameters.
    """

    omega: ClosedForm
    total: ClosedForm
    form: ImmutableMatrix
    curvature: Expr
    second_variation: Expr
    derivation: Derivation

    @property
    def lines(self) -> list[tuple[Expr, Expr]]:
        """The equilibria and the second variation."""
        return [
            (self.omega.symbol, self.omega.expression),
            (self.total.symbol, self.total.expression),
            (second_variation, self.second_variation),
        ]


@builder
def merged_minimum() -> MergedMinimum:
    """The equilibria of the merged flow at which all heads of a single task are alike, and the loss around them.

    For symbolic H and the leading closure: H − 1 neutral directions along Σ_h μ^h = const; a minimum where every
    μ^h > 0, a saddle where some μ^h < 0.
    """
    flow = gradient_flow("merged")
    record = Recorder("Merged flow at identical heads", ("I = 1", "the heads have one ω"))
    record.include(flow.derivation)
    record(
        "identical heads",
        ((n.omega[1, n.h], common_omega), (SUMS[total_mu], total_mu)),
        "All heads at one ω; their μ^h may differ, also in sign.",
        scope=DEFINITION,
    )
    by_mu, by_omega = (_at_identical_heads(flow.opened(partial)) for partial in flow.gradient)
    per_mu = normalise(by_omega / n.mu[1, n.h])
    record(
        "gradients at identical heads",
        tuple(
            (n.partial_derivative(variable), partial)
            for variable, partial in ((n.mu[1, n.h], by_mu), (n.omega[1, n.h], by_omega))
        ),
        "The first is the same for all heads, the second μ^h times what is the same for all: both depend on s alone.",
        check=lambda mu_line, omega_line: (
            not free_indices(mu_line[1])
            and not free_indices(normalise(omega_line[1] / n.mu[1, n.h]))
            and all(
                difference_is_zero(line[1], _closed_at_identical_heads(flow, partial))
                for line, partial in zip((mu_line, omega_line), flow.gradient, strict=True)
            )
        ),
    )
    omega = positive_solution(factored(by_mu - common_omega * per_mu), common_omega)
    total = _in_context(positive_solution(by_mu.xreplace({common_omega: omega}), total_mu))
    limit = task_allocation_limit()
    record(
        "equilibria of identical heads",
        ((common_omega, omega), (total_mu, total)),
        "Both gradients vanish; together the heads are what one head is alone. The μ^h with this sum are H − 1 neutral "
        "directions.",
        check=lambda at_omega, at_total: (
            all(
                difference_is_zero(line[1], substitute(form.expression, {n.i: S.One}))
                for line, form in ((at_omega, limit.omega), (at_total, limit.mu))
            )
            and all(_in_context(pull.xreplace(dict((at_omega, at_total)))) == 0 for pull in (by_mu, per_mu))
        ),
    )
    form, alpha = _recorded_second_variation(record, {common_omega: omega, total_mu: total})
    together = _assembled(form, alpha)
    _record_signs(record, form, alpha, together)
    derivation = record.freeze()
    return MergedMinimum(
        ClosedForm("omega of identical heads", common_omega, omega, derivation, (ONE_TASK,)),
        ClosedForm("the sum of mu over identical heads", total_mu, total, derivation, (ONE_TASK,)),
        form,
        alpha,
        _with_sums(together),
        derivation,
    )


def _recorded_second_variation(record: Recorder, values: dict[Expr, Expr]) -> tuple[ImmutableMatrix, Expr]:
    flow = gradient_flow("merged")
    varied = flow.loss
    for _ in range(2):
        varied = directional_derivative(
            varied, {n.mu: lambda *at: _MU[at], n.omega: lambda *at: _OMEGA[at]}, flow.definitions
        )
    varied = _at_identical_heads(flow.opened(varied))
    record(
        "sums over identical heads",
        tuple((symbol, SUMS[symbol]) for symbol in (_X, _Y, _Z)),
        "Of a direction: the changes μ̃^h and ω̃^h.",
        scope=DEFINITION,
    )
    record("crossed sum", (_P, SUMS[_P]), "One sum more, which drops out at the equilibria.", scope=DEFINITION)
    record(
        "second variation at identical heads",
        (second_variation, varied),
        "The second derivative of the loss in that direction: it sees the direction through X, Y, Z and P only.",
        check=lambda line: (
            not line[1].has(Sum)
            and not free_indices(line[1])
            and difference_is_zero(line[1], _change_of_gradient(flow))
        ),
    )
    at_rest = _in_context(normalise(varied.xreplace(values)))
    form = ImmutableMatrix(2, 2, lambda a, b: _in_context(diff(at_rest, (_X, _Y)[int(a)], (_X, _Y)[int(b)]) / 2))
    alpha = _in_context(diff(at_rest, _Z))
    record(
        "second variation at the equilibria",
        (
            (second_variation, _assembled(form, alpha, symbolic=True)),
            *zip((*form_entries, curvature), (form[0, 0], form[0, 1], form[1, 1], alpha), strict=True),
        ),
        "With w and s put in: P drops out, by stationarity.",
        check=lambda whole, *parts: difference_is_zero(at_rest, whole[1].xreplace(dict(parts))),
    )
    return form, alpha


def _record_signs(record: Recorder, form: ImmutableMatrix, alpha: Expr, together: Expr) -> None:
    determinant = _in_context(form.det())
    entries = dict(zip(form_entries, (form[0, 0], form[0, 1], form[1, 1]), strict=True))
    record(
        "positive form",
        ((form_entries[0] * form_entries[2] - form_entries[1] ** 2, determinant), Ge(second_variation, curvature * _Z)),
        "V_XX, this determinant and α are positive. So V ≥ 0 where no μ^h is negative; where every μ^h is positive V "
        "vanishes along the equilibria only: a degenerate local minimum.",
        check=lambda line, relation: (
            _in_context(line[0].xreplace(entries) - line[1]) == 0
            and relation == Ge(second_variation, curvature * _Z)
            and bool(form[0, 0].is_positive and line[1].is_positive and alpha.is_positive)
        ),
    )
    head = n.h
    tilt = KroneckerDelta(n.k, head) - n.mu[1, head] / total_mu

    def along(*lines: tuple[Expr, Expr]) -> Expr:
        """V in the direction that the lines say."""
        direction = {base: rule(base[n.i, n.k], told) for base, (_, told) in zip((_MU, _OMEGA), lines, strict=True)}
        return _in_sums(normalise(replace_indexed(_with_sums(together), direction)))

    expected = curvature * n.mu[1, head] * (total_mu - n.mu[1, head]) / total_mu
    record(
        "unstable direction",
        ((_MU[1, n.k], S.Zero), (_OMEGA[1, n.k], tilt), (second_variation, expected)),
        "Along this direction, for a head h, X = Y = 0: where μ^h is negative the loss falls, a saddle.",
        check=lambda on_mu, on_omega, form: difference_is_zero(
            along(on_mu, on_omega), substitute(form[1], {curvature: alpha})
        ),
    )


def _assembled(form: ImmutableMatrix, alpha: Expr, symbolic: bool = False) -> Expr:
    """V in X, Y and Z."""
    first, mixed, second = form_entries if symbolic else (form[0, 0], form[0, 1], form[1, 1])
    last = curvature if symbolic else alpha
    return Add(first * _X**2, 2 * mixed * _X * _Y, second * _Y**2, last * _Z)


def _with_sums(expression: Expr) -> Expr:
    return substitute(expression, SUMS)


def _in_sums(expression: Expr) -> Expr:
    """A normal form with its sums over heads as symbols."""
    known = {normalise(total): symbol for symbol, total in SUMS.items()}
    return expression.xreplace({total: known.get(normalise(total), total) for total in expression.atoms(Sum)})


def _at_identical_heads(expression: Expr) -> Expr:
    """The expression for I = 1 at ω^h = w, with its sums over heads as symbols."""
    single = of_one_task(substitute(expression, {n.i: S.One}))
    return _in_sums(normalise(replace_indexed(single, {n.omega: lambda *_: common_omega})))


def _closed_at_identical_heads(flow: ReducedSystem, partial: Expr) -> Expr:
    """The same by another way: r, C and M are put in at ω^h = w, where they are simple, not opened."""
    closed = Ansatz(flow, {n.omega: lambda *_: common_omega, n.mu: lambda *at: n.mu[at]}, {})
    return _in_sums(normalise(of_one_task(substitute(closed(partial), {n.i: S.One}))))


def _change_of_gradient(flow: ReducedSystem) -> Expr:
    """The second derivative by another way: the change of each gradient times the change of its variable."""
    direction = {n.mu: lambda *at: _MU[at], n.omega: lambda *at: _OMEGA[at]}
    changes = (
        directional_derivative(partial, direction, flow.definitions) * perturbation(variable.base)[variable.indices]
        for partial, variable in zip(flow.gradient, flow.state, strict=True)
    )
    return _at_identical_heads(flow.opened(n.over_tasks(n.over_heads(Add(*changes)))))


def _in_context(expression: Expr) -> Expr:
    """A function of the one task's parameters in c_1 = φ_1 d_1/L, in lowest terms."""
    noise = n.noise_to_context[1] * n.context_length / n.dims[1]
    return plain_symbols(expression.xreplace({n.noise_factor[1]: noise})).factored()
