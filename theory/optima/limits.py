"""The limit of the balanced flow: task allocation solved from the stationarity equations ([C24], derived here).

In ``leading`` and ``finite_d`` the limit is a closed form.  In ``first_order`` the stationarity equations leave one
transcendental equation per task, whose root is found at high precision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sympy import Expr, Indexed, IndexedBase, KroneckerDelta, Mul, S, Symbol, cancel, exp, expand_log, factor, log, sqrt

from .. import notation as n
from ..choices import checked_closure
from ..closed_form import ENOUGH_HEADS, ClosedForm, HasValues, Value
from ..derivation import Derivation, Recorder
from ..flows.ansatz import allocation, on_mu, on_omega
from ..flows.flow import gradient_flow
from ..flows.system import ReducedSystem
from ..grounds import DEFINITION
from ..indexed import Definition, difference_is_zero, factored, inline, normalise, replace_indexed, rule, substitute
from ..indexed.nodes import indexed_bases, rebuild
from ..parameters import PARAMETERS
from ..printing import Equation
from ..result import builder
from ..scalars import is_only_root, is_same_power, plain_symbols, positive_solution, summand
from .rooted_form import Root, RootedForm

loss_infinity = Symbol("loss_infinity", positive=True)
# C_ii there, where the equation for w is not solved.
head_spread = IndexedBase("C_on", positive=True)
# What takes the place of e where the query's expectation is exact.
kappa = IndexedBase("kappa", positive=True)


@dataclass(frozen=True, repr=False)
class TaskAllocationLimit(Value):
    """Task i on a head of its own: ``omega`` and ``mu`` there (all other μ vanish), and the loss.

    ``kappa`` is the closure's C_ii/(d_i ω_i²) there: e in ``leading``, (1 + 2/d_i)^(d_i/2 + 1) in ``finite_d``; None
    in ``first_order``, where ω is the root of an equation.
    """

    omega: ClosedForm
    mu: ClosedForm
    loss: ClosedForm
    kappa: ClosedForm | None

    @property
    def derivation(self) -> Derivation:
        return self.loss.derivation

    @property
    def expression(self) -> Expr:
        """That of the loss."""
        return self.loss.expression

    def exact(self, problem: HasValues) -> Expr:
        """The loss there, exact; ``HypothesisError`` for H < I."""
        return self.loss.exact(problem)

    @property
    def lines(self) -> list[Equation]:
        """ω, μ, the loss, and what they are written in."""
        parts = [part.lines for part in (self.omega, self.mu, self.loss)]
        return list(dict.fromkeys([lines[0] for lines in parts] + [line for lines in parts for line in lines[1:]]))


@builder
def task_allocation_limit(closure: str = "leading") -> TaskAllocationLimit:
    """The stationary point of the balanced flow at which each task has one head of its own (H ≥ I).

    Raises ``InputError`` for an unknown closure.
    """
    stationary = _stationarity(checked_closure(closure))
    return _rooted(stationary) if closure == "first_order" else _closed(stationary)


@dataclass(frozen=True)
class _Stationarity:
    """The on-task gradients and the loss of task i at the ansatz, C_ii kept closed, and the steps so far."""

    by_mu: Expr
    by_omega: Expr
    task_loss: Expr
    interaction: Expr
    record: Recorder


def _stationarity(closure: str) -> _Stationarity:
    i, h = n.i, n.h
    flow = gradient_flow("balanced", closure)
    record = Recorder("Task-allocation limit", ("H ≥ I and task i ends on a head of its own, numbered i",))
    record.include(flow.derivation)
    at_ansatz = allocation(flow)
    record(
        "allocation ansatz",
        at_ansatz.lines(i, h),
        "Head i serves task i alone; further heads are idle (μ = 0) and drop out.",
        scope=DEFINITION,
    )
    by_mu, by_omega = (at_ansatz(partial) for partial in flow.gradient)
    apart = 1 - KroneckerDelta(i, h)
    on_task_mu, on_task_omega = (normalise(substitute(partial, {h: i})) for partial in (by_mu, by_omega))
    off_task_mu, off_task_omega = (normalise(where_distinct(partial)) for partial in (by_mu, by_omega))
    record(
        "off-task gradients",
        ((n.partial_derivative(n.mu[i, h]), off_task_mu), (n.partial_derivative(n.omega[i, h]), off_task_omega)),
        "For h ≠ i: the μ-gradient is positive, so off-task μ decays; the ω-gradient is zero: off-task ω stands still.",
        check=lambda *lines: (
            all(
                difference_is_zero(apart * line[1], apart * _put_in(flow, partial))
                for line, partial in zip(lines, flow.gradient, strict=True)
            )
            and bool(plain_symbols(lines[0][1]).expression.is_positive)
            and lines[1][1] == 0
        ),
    )
    record(
        "on-task stationarity",
        ((S.Zero, on_task_mu), (S.Zero, on_task_omega)),
        "At h = i both gradients must vanish, since μ and ω are positive there.",
        check=lambda *lines: all(
            difference_is_zero(line[1] - line[0], substitute(_put_in(flow, partial), {h: i}))
            for line, partial in zip(lines, flow.gradient, strict=True)
        ),
    )
    (interaction,) = (item for item in flow.definitions if item.base == n.interaction)
    return _Stationarity(
        on_task_mu, on_task_omega, summand(at_ansatz(flow.loss)), at_ansatz(interaction.at(i, i)), record
    )


def _closed(stationary: _Stationarity) -> TaskAllocationLimit:
    """The closed form, where m times the one gradient and w times the other leave one equation for w alone."""
    i, record = n.i, stationary.record
    eliminated = factored(stationary.by_mu * on_mu[i] - stationary.by_omega * on_omega[i])
    record(
        "eliminate the residual",
        (S.Zero, eliminated),
        "m times the first equation minus w times the second: the residual 1 − m w drops out.",
        check=lambda line: difference_is_zero(
            line[1] - line[0], stationary.by_mu * on_mu[i] - stationary.by_omega * on_omega[i]
        ),
    )
    omega = positive_solution(eliminated, on_omega[i])
    record(
        "on-task omega",
        (on_omega[i], omega),
        "The only positive root.",
        check=lambda line: is_only_root(eliminated, on_omega[i], line[1]),
    )
    value = as_power(stationary.interaction.xreplace({on_omega[i]: omega}) / (n.dims[i] * omega**2))
    record(
        "kappa",
        (kappa[i], stationary.interaction / (n.dims[i] * on_omega[i] ** 2), value),
        "How much the query's spread raises the variance of the head, against d_i w_i².",
        check=lambda line: (
            difference_is_zero(line[1] * n.dims[i] * on_omega[i] ** 2, stationary.interaction)
            and is_same_power(line[1].xreplace({on_omega[i]: omega}), line[2])
        ),
    )
    in_kappa = {stationary.interaction: kappa[i] * n.dims[i] * on_omega[i] ** 2}

    def at_omega(expression: Expr, mu: Expr) -> Expr:
        """An expression at m = ``mu`` and the solved w, its C in κ."""
        return expression.xreplace(in_kappa).xreplace({on_mu[i]: mu, on_omega[i]: omega})

    by_mu = in_noise_to_context(stationary.by_mu.xreplace(in_kappa))
    mu = positive_solution(by_mu, on_mu[i])
    on_task = plain_symbols(mu.xreplace({on_omega[i]: omega})).factored()
    record(
        "on-task mu",
        (on_mu[i], on_task),
        "Then the first equation is linear in m; c_i = φ_i d_i/L.",
        check=lambda line: difference_is_zero(_in_problem(at_omega(stationary.by_mu, line[1])), S.Zero),
    )
    task_loss = in_noise_to_context(stationary.task_loss.xreplace(in_kappa)).xreplace({on_mu[i]: mu})
    total = n.over_tasks(plain_symbols(task_loss).factored())
    known = value.is_number
    on_task, total = ((form.xreplace({kappa[i]: value}) if known else form) for form in (on_task, total))
    record(
        "limit loss",
        (loss_infinity, total),
        "Both values inserted in the loss.",
        check=lambda line: difference_is_zero(
            _in_problem(summand(line[1])),
            _in_problem(at_omega(stationary.task_loss, on_task).xreplace({kappa[i]: value} if known else {})),
        ),
    )
    derivation = record.freeze()
    definitions = () if known else (Definition(kappa[i], value),)

    def form(title: str, symbol: Expr, expression: Expr, given: tuple[Definition, ...] = ()) -> ClosedForm:
        return ClosedForm(title, symbol, expression, derivation, (ENOUGH_HEADS,), given)

    return TaskAllocationLimit(
        form("the allocation limit of omega", n.omega[i, i], omega),
        form("the allocation limit of mu", n.mu[i, i], on_task, definitions),
        form("the task-allocation limit", loss_infinity, total, definitions),
        form("the factor kappa of the allocation limit", kappa[i], value),
    )


def _rooted(stationary: _Stationarity) -> TaskAllocationLimit:
    """The limit as the root of one equation per task: the gradients are linear in m and in C_ii, not in w."""
    i, record = n.i, stationary.record
    spread = Definition(head_spread[i], stationary.interaction)
    closed = {stationary.interaction: spread.head}
    by_mu, by_omega, task_loss = (
        form.xreplace(closed) for form in (stationary.by_mu, stationary.by_omega, stationary.task_loss)
    )
    record("spread", (spread.head, spread.body), "C_ii at the ansatz, kept closed.", scope=DEFINITION)
    eliminated = plain_symbols(by_mu * on_mu[i] - by_omega * on_omega[i])
    solution = positive_solution(eliminated.factored(), on_mu[i])
    mu = Definition(on_mu[i], plain_symbols(solution).collected(n.noise_factor[i]))
    record(
        "on-task mu",
        (mu.head, mu.body),
        "m times the first equation minus w times the second: C_ii is a common factor, and the rest linear in m.",
        check=lambda line: (
            spread.base not in indexed_bases(line[1])
            and factor(eliminated.expression.subs(eliminated.symbol(on_mu[i]), eliminated.plain(line[1]))) == 0
        ),
    )
    equation = normalise(by_mu / (2 * n.signal_power[i]))
    record(
        "equation for omega",
        (S.Zero, equation),
        "The first equation, with that m: one unknown for each task.",
        check=lambda line: difference_is_zero((line[1] - line[0]) * 2 * n.signal_power[i], by_mu),
    )
    at_best = factored(task_loss - on_mu[i] * by_mu / 2)
    total = n.over_tasks(at_best)
    record(
        "limit loss",
        (loss_infinity, total),
        "The loss is quadratic in m with the constant term λ_i: at the stationary m half of the linear term is left.",
        check=lambda line: difference_is_zero(summand(line[1]), _at_stationary(task_loss, by_mu)),
    )
    derivation = record.freeze()
    (valid,) = gradient_flow("balanced", "first_order").validity
    root = Root(on_omega[i], equation, (mu, spread), sqrt(valid.rhs))

    def form(title: str, symbol: Expr, expression: Expr) -> RootedForm:
        return RootedForm(title, symbol, expression, derivation, (ENOUGH_HEADS,), root=root)

    return TaskAllocationLimit(
        form("the allocation limit of omega", n.omega[i, i], on_omega[i]),
        form("the allocation limit of mu", n.mu[i, i], on_mu[i]),
        form("the task-allocation limit", loss_infinity, total),
        None,
    )


def _put_in(flow: ReducedSystem, partial: Expr) -> Expr:
    """A gradient, all definitions but C opened, with m_i δ_ih and w_i δ_ih put in for the state; and C there."""

    def at_ansatz(expression: Expr) -> Expr:
        return normalise(replace_indexed(substitute(expression, {n.n_heads: n.n_tasks}), values))

    values: dict[IndexedBase, Callable[..., Expr]] = {
        n.mu: lambda task, head: on_mu[task] * KroneckerDelta(task, head),
        n.omega: lambda task, head: on_omega[task] * KroneckerDelta(task, head),
    }
    (interaction,) = (item for item in flow.definitions if item.base == n.interaction)
    values[n.interaction] = rule(interaction.head, at_ansatz(interaction.body))
    return at_ansatz(inline(partial, (item for item in flow.definitions if item is not interaction)))


def _in_problem(expression: Expr) -> Expr:
    """c_i in φ_i, d_i and L."""
    return inline(expression, PARAMETERS[1:2])


def _at_stationary(task_loss: Expr, by_mu: Expr) -> Expr:
    """A quadratic in m with the slope ``by_mu``, where that vanishes: its constant and half of the linear term.

    Raises ``ArithmeticError`` where it is no quadratic, or has another slope.
    """
    own, slope = plain_symbols(task_loss), plain_symbols(by_mu)
    m = own.symbol(on_mu[n.i])
    difference = own.restored(own.expression.diff(m)) - slope.restored(slope.expression)
    if not difference_is_zero(difference, S.Zero) or own.expression.diff(m, 3).expand() != 0:
        raise ArithmeticError("the loss is not a quadratic in m with that slope")
    linear = own.expression.diff(m).subs(m, 0)
    return own.restored(own.expression.subs(m, 0) + m * linear / 2)


def where_distinct(expression: Expr) -> Expr:
    """The expression where its two free indices differ: remaining deltas are zero."""
    if isinstance(expression, KroneckerDelta):
        return S.Zero
    if not expression.args or isinstance(expression, Indexed):
        return expression
    return rebuild(expression, [where_distinct(argument) for argument in expression.args])


def as_power(expression: Expr) -> Expr:
    """A product of powers, such as ``x^(−1) e^(a log x)``, as the exponential of one logarithm and a constant."""
    plain = plain_symbols(expression)
    flat = expand_log(log(plain.expression), force=True)
    flat = expand_log(flat.replace(log, lambda inside: log(factor(inside))), force=True).expand()
    logarithms = sorted(flat.atoms(log), key=str)
    constant = flat.xreplace(dict.fromkeys(logarithms, S.Zero))
    if not logarithms:
        return plain.restored(exp(constant))
    powers = [flat.coeff(entry) for entry in logarithms]
    lead = next(power for power in powers if cancel(power).subs(dict.fromkeys(power.free_symbols, 1)) > 0)
    base = Mul(*(entry.args[0] ** cancel(power / lead) for entry, power in zip(logarithms, powers, strict=True)))
    return plain.restored(exp(constant + lead * log(base.expand())))


def in_noise_to_context(expression: Expr) -> Expr:
    """A rational function of task i's parameters, written with c_i = φ_i d_i/L and in lowest terms."""
    i = n.i
    in_c = expression.xreplace({n.noise_factor[i]: n.noise_to_context[i] * n.context_length / n.dims[i]})
    return plain_symbols(in_c).factored()
