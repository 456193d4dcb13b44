"""How the closures hang together: their limits, and what of ``leading`` carries over to ``finite_d``.

Derived here.
"""

from __future__ import annotations

from sympy import E, Expr, Ge, Le, Lt, Symbol, cancel, diff, exp, limit, log, oo, simplify

from .. import notation as n
from ..derivation import Derivation, Recorder
from ..gaussian import chi_square_generating_function
from ..indexed import Definition, difference_is_zero, inline, normalise
from ..indexed.asymptotics import leading_order
from ..model.loss import PROPORTIONAL_SCALING, PopulationLoss, population_loss
from ..result import builder
from ..scalars import plain_symbols, summand
from .bounds import universal, universal_lower_bound
from .limits import kappa, loss_infinity, task_allocation_limit
from .optimum import infimum, multi_head_optimum
from .optimum_proof import LOEWNER, SCHUR

_dim = Symbol("d", positive=True)
infimum_finite_d = Symbol("infimum_finite_d", positive=True)


@builder
def closure_limits() -> Derivation:
    """``finite_d`` and ``first_order`` tend to ``leading`` as d_i → ∞ at fixed d_i ω_i², d_i/L and ω_i μ_i."""
    record = Recorder("Limits between the closures")
    target = _leading_part(population_loss("leading"))
    for closure in ("finite_d", "first_order"):
        loss = population_loss(closure)
        record.include(loss.derivation, given=True)
        kept = _leading_part(loss)
        record(
            f"{closure} tends to leading",
            (n.loss, kept),
            "What is dropped is smaller by a factor of order 1/d.",
            check=lambda line: difference_is_zero(line[1], target),
        )
    omega = task_allocation_limit("finite_d").omega.expression.xreplace({n.dims[n.i]: _dim})
    record(
        "kappa tends to e",
        (Symbol("kappa_infinity"), limit(_kappa(), _dim, oo)),
        "d → ∞ of κ; and d ω² → 1 on task: the values of leading.",
        check=lambda line: limit(_kappa(), _dim, oo) == line[1] == E and limit(_dim * omega**2, _dim, oo) == 1,
    )
    return record.freeze()


def _leading_part(loss: PopulationLoss) -> Expr:
    """The loss to leading order in 1/d, written out (C, of order one, is taken to its own limit)."""
    (spread,) = (item for item in loss.definitions if item.base == n.interaction)
    opened = inline(loss.expression, tuple(item for item in loss.definitions if item is not spread))
    exponent = leading_order(spread.body.args[0], PROPORTIONAL_SCALING)
    return normalise(
        inline(leading_order(opened, PROPORTIONAL_SCALING), (Definition(spread.head, exp(exponent)),)),
    )


def _kappa() -> Expr:
    """κ as a function of a plain dimension d."""
    form = task_allocation_limit("finite_d").kappa
    assert form is not None
    return form.expression.xreplace({n.dims[n.i]: _dim})


@builder
def finite_d_bounds() -> Derivation:
    """The optimum theorem in ``finite_d``: the same infimum for H ≥ 2, and a limit within κ of the universal bound."""
    record = Recorder("Optimum and bounds at finite d")
    record.include(multi_head_optimum().derivation)
    record.include(universal_lower_bound().derivation)
    w = Symbol("w", real=True)
    excess = log(chi_square_generating_function(w)) - w
    record(
        "finite_d dominates leading",
        Ge(excess, 0),
        "As a power series in w = ω_j^h ω_j^k: its coefficients are non-negative and begin at w². So C of finite_d is "
        "C of leading times 1 + (a positive semidefinite kernel), entry by entry, and is the larger matrix.",
        check=lambda relation: isinstance(relation, Ge) and relation.rhs == 0 and _is_positive_from_w2(relation.lhs, w),
        theorem=SCHUR,
    )
    record(
        "same infimum",
        (infimum_finite_d, infimum),
        "For H ≥ 2: at the same weights no loss is below that of leading, and as ω → 0, where the infimum is "
        "approached, the kernels differ at order ω⁴ only.",
        check=lambda line: line == (infimum_finite_d, infimum) and limit(excess / w**2, w, 0) == 1,
        theorem=LOEWNER,
    )
    at_limit, at_bound = (
        plain_symbols(summand(form.expression))
        for form in (task_allocation_limit("finite_d").loss, universal_lower_bound())
    )
    ratio = at_limit.factored() / at_bound.factored()
    margin = plain_symbols(kappa[n.i] - ratio).factored()
    record(
        "factor kappa",
        ((loss_infinity / universal, ratio), (kappa[n.i] - ratio, margin)),
        "For each task; positive as κ_i > 1.",
        check=lambda quotient, below: (
            quotient[0] == loss_infinity / universal
            and difference_is_zero(quotient[1] * at_bound.factored(), at_limit.factored())
            and difference_is_zero(below[0], kappa[n.i] - ratio)
            and difference_is_zero(*below)
            and bool(plain_symbols(below[1].xreplace({kappa[n.i]: 1 + kappa[n.i]})).factored().is_positive)
        ),
    )
    growth = log(_kappa()).expand(force=True).coeff(log(1 + 2 / _dim))
    slope = log(1 + 2 / _dim) * diff(growth, _dim) + cancel(growth * diff(log(1 + 2 / _dim), _dim))
    x = Symbol("x", positive=True)
    bounded = slope.subs(_dim, 2 / x).simplify()
    record(
        "termwise",
        Le(loss_infinity, n.over_tasks(kappa[n.i] * summand(universal_lower_bound().expression))),
        "Summed over tasks.",
        check=lambda relation: (
            isinstance(relation, Le)
            and relation.lhs == loss_infinity
            and difference_is_zero(relation.rhs, n.over_tasks(kappa[n.i] * at_bound.factored()))
        ),
    )
    record(
        "kappa decreases to e",
        (Lt(slope, 0), Lt(E, _kappa())),
        "½ log(1 + x) < x/2 at x = 2/d: from 3√3 at d = 1 to e as d → ∞.",
        check=lambda falls, above: (
            isinstance(falls, Lt)
            and (falls.rhs, above) == (0, Lt(E, _kappa()))
            and simplify(diff(log(_kappa()).expand(force=True), _dim) - falls.lhs) == 0
            and cancel(diff(bounded, x) - (1 / (1 + x) - 1) / 2) == 0
            and limit(bounded, x, 0) == 0
            and limit(_kappa(), _dim, oo) == E
        ),
    )
    return record.freeze()


def _is_positive_from_w2(function: Expr, w: Symbol) -> bool:
    """Whether −½ log(1 − 2w) − w has non-negative Taylor coefficients of every order, none below w².

    Its slope and 1 make 1/(1 − 2w), whose coefficients b_n = 2^n solve b_{n+1} = 2 b_n, b_0 = 1;
    its own are b_n/(n + 1).
    """
    order = Symbol("n", integer=True, nonnegative=True)
    coefficient = 2**order
    return bool(
        cancel(diff(function, w) + 1 - 1 / (1 - 2 * w)) == 0
        and function.subs(w, 0) == 0
        and simplify(coefficient.subs(order, order + 1) - 2 * coefficient) == 0
        and coefficient.subs(order, 0) == 1
        and (coefficient / (order + 1)).is_positive
    )
