"""The switches of convention: the factor ½, the noise of the query target, the covariance of the regressors.

The package writes the loss without ½, a noise-free query target and β_i ~ N(0, (λ_i/d_i) Id).  `in_convention`
rewrites a finished result in another convention; nothing is derived twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import TypeAlias, overload

from sympy import Add, Expr, Indexed, Pow, Rational, Sum, Symbol, exp

from .. import notation as n
from ..closed_form import ClosedForm
from ..context.context_length import plateau_symbol
from ..context.linear_optimum import linear_infimum
from ..derivation import Recorder
from ..errors import InputError, InputTypeError
from ..flows.system import ReducedSystem
from ..indexed import Definition, difference_is_zero, factored, inline, replace_indexed, rule, substitute
from ..indexed.naming import name_bounds
from ..indexed.nodes import free_symbols, indexed_bases
from ..model.loss import PopulationLoss
from ..optima.bounds import single_head, universal
from ..optima.limits import loss_infinity
from ..optima.marchenko_pastur import bayes_limit_symbol
from ..parameters import PARAMETERS
from ..result import built
from ..scalars import plain_symbols

HALF = Rational(1, 2)
# What a closed form stands for follows from its symbol: a loss, or a weight.
_LOSSES = frozenset({loss_infinity, universal, single_head, bayes_limit_symbol, linear_infimum, plateau_symbol})
_WEIGHTS = frozenset({n.mu, n.omega})
_SHARED = PARAMETERS[:2]  # φ and c, which hold the signal power
_STEP = "in another convention"
_WHY_HALF = "The factor ½ is a unit of y that is √2 times as large: λ_i/2 and σ²/2 for λ_i and σ²."

Rewritable: TypeAlias = ReducedSystem | PopulationLoss | ClosedForm


@dataclass(frozen=True)
class Convention:
    """How loss and regressors are scaled; the default is the package's own.

    Attributes
    ----------
    half
        The loss carries ½, also over the noise of the target.  Time stays learning rate × steps, so every process
        takes twice as long.
    noisy_target
        The query target is y_q = ⟨β_i, x_q⟩ + ε_i: the loss grows by σ² per task, its gradients stay.
    unit_covariance
        β_i ~ N(0, λ_i Id): λ_i is the variance of a coordinate, the signal power is d_i λ_i, φ_i = 1 + σ²/(d_i λ_i).

    Raises ``InputTypeError`` for a switch that is not a bool.
    """

    half: bool = False
    noisy_target: bool = False
    unit_covariance: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            if not isinstance(value := getattr(self, field.name), bool):
                raise InputTypeError(f"{field.name} must be True or False, got {value!r}")

    def __str__(self) -> str:
        parts = [
            "loss with ½" if self.half else "loss without ½",
            "noisy query target" if self.noisy_target else "noise-free query target",
            *(["β_i ~ N(0, λ_i Id)"] if self.unit_covariance else []),
            "time = learning rate × steps",
        ]
        return ", ".join(parts)


@overload
def in_convention(what: ReducedSystem, convention: Convention) -> ReducedSystem: ...
@overload
def in_convention(what: PopulationLoss, convention: Convention) -> PopulationLoss: ...
@overload
def in_convention(what: ClosedForm, convention: Convention) -> ClosedForm: ...
@built
def in_convention(what: Rewritable, convention: Convention) -> Rewritable:
    """A flow, a population loss or a closed form (of a loss or a weight) in another convention; derived here.

    Symbols keep their names: in ``unit_covariance`` λ_i (`Problem.signal_power`) is the variance of a coordinate of
    β_i.  A flow then brings its own φ_i; elsewhere φ_i and c_i are written out, so that these names mean one thing.

    Raises ``InputTypeError`` for anything else, and for a closed form that is neither a loss nor a weight (a ratio,
    say); ``InputError`` for a result that is not in the package's convention.
    """
    if not isinstance(what, ReducedSystem | PopulationLoss | ClosedForm):
        raise InputTypeError(
            f"in_convention takes a ReducedSystem, a PopulationLoss or a ClosedForm, got {type(what).__name__}"
        )
    if any(step.label.endswith(_STEP) for step in what.derivation):
        raise InputError("in_convention starts from the package's convention; this result has been rewritten before")
    if convention == Convention():
        return what
    record = Recorder(f"{what.derivation.title} {_STEP}")
    record.include(what.derivation)
    if isinstance(what, ReducedSystem):
        return _flow_in(record, convention, what)
    if isinstance(what, PopulationLoss):
        expression = _loss_in(record, convention, f"the {what.closure} loss", n.loss, what.expression)
    elif what.symbol in _LOSSES:
        expression = _loss_in(record, convention, what.title, what.symbol, what.expression)
    elif isinstance(what.symbol, Indexed) and what.symbol.base in _WEIGHTS:
        expression = _weight_in(record, convention, what)
    else:
        raise InputTypeError(f"in_convention knows losses and weights; {what.title} is neither")
    rewritten = replace(what, expression=expression, derivation=record.freeze())
    if convention.unit_covariance and isinstance(rewritten, ClosedForm):
        return rewritten.rewritten(lambda own: _spread(inline(own, _SHARED)))
    return rewritten


def _flow_in(record: Recorder, convention: Convention, system: ReducedSystem) -> ReducedSystem:
    if system.convention != str(Convention()):
        raise InputError(f"in_convention starts from the package's convention, got a flow with: {system.convention}")
    subject = f"the {system.parametrisation} flow in {system.coordinates} coordinates"
    if convention.unit_covariance:
        system = _with_unit_covariance(record, subject, system)
    if convention.noisy_target:
        system = replace(system, loss=_with_target_noise(record, subject, n.loss, system.loss))
    if convention.half:
        system = _halved_flow(record, subject, system)
    return replace(system, convention=str(convention), derivation=record.freeze())


def _loss_in(record: Recorder, convention: Convention, subject: str, symbol: Expr, expression: Expr) -> Expr:
    if convention.unit_covariance:
        expression = _written_out(record, subject, symbol, expression)
    if convention.noisy_target:
        expression = _with_target_noise(record, subject, symbol, expression)
    if convention.half:
        whole, expression = expression, HALF * expression
        record(
            f"half of {subject} {_STEP}",
            (symbol, expression),
            _WHY_HALF,
            check=lambda: difference_is_zero(_in_larger_units(whole), inline(expression, _SHARED)),
        )
    return expression


def _weight_in(record: Recorder, convention: Convention, form: ClosedForm) -> Expr:
    expression = form.expression
    if convention.unit_covariance:
        expression = _written_out(record, form.title, form.symbol, expression)
    if convention.half or convention.noisy_target:
        record(
            f"{form.title} {_STEP}",
            (form.symbol, expression),
            "Where the weights end does not depend on a factor or a constant of the loss.",
            check=lambda: difference_is_zero(_in_larger_units(expression), inline(expression, _SHARED)),
        )
    return expression


def _with_unit_covariance(record: Recorder, subject: str, system: ReducedSystem) -> ReducedSystem:
    new = replace(
        system,
        loss=_spread(system.loss),
        gradient=tuple(factored(_spread(partial)) for partial in system.gradient),
        velocity=tuple(factored(_spread(rhs)) for rhs in system.velocity),
        definitions=_spread_definitions(system.definitions),
        parameter_definitions=_spread_definitions(system.parameter_definitions),
    )
    before, after = _holding_powers(system), _holding_powers(new)
    record(
        f"regressors of {subject} {_STEP}",
        (
            *((item.head, item.body) for item in after),
            (n.loss, new.loss),
            *_flow_lines(new),
        ),
        "β_i ~ N(0, λ_i Id): the signal power E|β_i|² is d_i λ_i, put in for λ_i.",
        check=lambda: all(
            _spreads_back(inline(one, after), inline(other, before))
            for one, other in zip((new.loss, *new.velocity), (system.loss, *system.velocity), strict=True)
        ),
    )
    return new


def _halved_flow(record: Recorder, subject: str, system: ReducedSystem) -> ReducedSystem:
    new = replace(
        system,
        loss=HALF * system.loss,
        gradient=tuple(factored(HALF * partial) for partial in system.gradient),
        velocity=tuple(factored(HALF * rhs) for rhs in system.velocity),
    )
    opened = _holding_powers(system)
    record(
        f"half of {subject} {_STEP}",
        ((n.loss, new.loss), *_flow_lines(new)),
        _WHY_HALF + " Velocities are halved with it.",
        check=lambda: all(
            difference_is_zero(_in_larger_units(whole, opened), inline(half, opened))
            for whole, half in zip((system.loss, *system.velocity), (new.loss, *new.velocity), strict=True)
        ),
    )
    return new


def _with_target_noise(record: Recorder, subject: str, symbol: Expr, expression: Expr) -> Expr:
    error, order = Symbol("x", real=True), Symbol("u", real=True)
    generating = exp(error * order + n.noise_variance * order**2 / 2)
    noisy = expression + n.n_tasks * n.noise_variance
    record(
        f"target noise of {subject} {_STEP}",
        (symbol, noisy),
        "The noise of the query target is independent of the prediction: for every task it adds its variance σ². No "
        "weight enters: gradients and flow stay.",
        check=lambda: difference_is_zero(generating.diff(order, 2).subs(order, 0), error**2 + n.noise_variance),
    )
    return noisy


def _written_out(record: Recorder, subject: str, symbol: Expr, expression: Expr) -> Expr:
    """The expression with φ_i and c_i opened and d_i λ_i for λ_i."""
    opened = inline(expression, _SHARED)
    spread = _as_fractions(_spread(opened))
    record(
        f"regressors of {subject} {_STEP}",
        (symbol, spread),
        "β_i ~ N(0, λ_i Id): the signal power E|β_i|² is d_i λ_i, put in for λ_i, also in φ_i = 1 + σ²/(d_i λ_i).",
        check=lambda: _spreads_back(spread, opened),
    )
    return spread


def _flow_lines(system: ReducedSystem) -> list[tuple[Expr, Expr]]:
    return [(n.time_derivative(variable), rhs) for variable, rhs in zip(system.state, system.velocity, strict=True)]


def _holding_powers(system: ReducedSystem) -> tuple[Definition, ...]:
    """The definitions through which λ and σ² enter: φ, M."""
    names: set[Expr] = {n.signal_power, n.noise_variance}
    chosen = []
    for item in (*system.parameter_definitions, *system.definitions):
        used = indexed_bases(item.body) | free_symbols(item.body)
        if used & names and item.base in {*system.parameters, *(own.base for own in system.definitions)}:
            chosen.append(item)
            names.add(item.base)
    return tuple(chosen)


def _spread(expression: Expr) -> Expr:
    """d_i λ_i for λ_i."""
    power = n.signal_power[n.i]
    return name_bounds(replace_indexed(expression, {n.signal_power: rule(power, n.dims[n.i] * power)}))


def _spread_definitions(definitions: Iterable[Definition]) -> tuple[Definition, ...]:
    return tuple(Definition(item.head, _spread(item.body)) for item in definitions)


def _spreads_back(new: Expr, old: Expr) -> bool:
    """Whether λ_i/d_i for λ_i gives the old expression."""
    power = n.signal_power[n.i]
    return difference_is_zero(replace_indexed(new, {n.signal_power: rule(power, power / n.dims[n.i])}), old)


def _in_larger_units(expression: Expr, definitions: Iterable[Definition] = _SHARED) -> Expr:
    """The expression with y measured in a unit √2 times as large: λ_i/2 and σ²/2 for λ_i and σ²."""
    power = n.signal_power[n.i]
    scaled = replace_indexed(inline(expression, definitions), {n.signal_power: rule(power, HALF * power)})
    return substitute(scaled, {n.noise_variance: HALF * n.noise_variance})


def _as_fractions(expression: Expr) -> Expr:
    """A sum's summand, or what is no sum, as one fraction in lowest terms; what holds further sums or roots stays."""
    body = expression.function if isinstance(expression, Sum) else expression
    if body.has(Sum) or any(isinstance(root.base, Add) and not root.exp.is_Integer for root in body.atoms(Pow)):
        return expression
    fraction = plain_symbols(body).factored()
    return Sum(fraction, *expression.limits) if isinstance(expression, Sum) else fraction
