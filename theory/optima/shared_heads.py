"""Limits in which heads and tasks are not one to one: shared heads, split tasks, idle heads (derived here).

All are stationary points of the balanced flow.  The weights of other tasks on the heads at hand vanish, and so do
those of other heads on the tasks at hand: the rest of the problem drops out, each part is solved by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sympy import (
    Expr,
    Ge,
    IndexedBase,
    Integer,
    KroneckerDelta,
    S,
    Sum,
    Symbol,
    cancel,
    diff,
    exp,
    expand,
    factor,
    solve,
    sqrt,
)

from .. import notation as n
from ..choices import checked_closure
from ..closed_form import ENOUGH_HEADS, HasValues, Value, parameters_of, require
from ..derivation import Derivation, Recorder
from ..errors import InputError
from ..flows.ansatz import Ansatz
from ..flows.ansatz import on_mu as hosting_mu
from ..flows.ansatz import on_omega as hosting_omega
from ..flows.flow import gradient_flow
from ..flows.symmetry import task_dim, task_noise, task_power
from ..grounds import DEFINITION
from ..hypothesis import equal_tasks, values_of
from ..indexed import (
    Definition,
    difference_is_zero,
    factored,
    fold,
    inline,
    normalise,
    replace_indexed,
    substitute,
    unroll,
)
from ..indexed.nodes import free_symbols
from ..parameters import PARAMETERS
from ..printing import Equation
from ..result import Result, builder
from ..scalars import is_only_root, is_same_power, plain_symbols, positive_solution, summand
from .bounds import single_head_optimum
from .limits import as_power, task_allocation_limit
from .optimum_proof import expressed

group_size = Symbol("g", integer=True, positive=True)
shared_mu = Symbol("mu_g", positive=True)
shared_omega = Symbol("omega_g", positive=True)
shared_loss = Symbol("loss_g", positive=True)
shared_kappa = Symbol("kappa_g", positive=True)
task_cost = Symbol("c", positive=True)
part_mu = IndexedBase("m", real=True)
part_omega = Symbol("w", positive=True)
total_mu = Symbol("S", positive=True)
idle_omega = IndexedBase("z", real=True)
idle_head_index = n.index("l")
scaled_weight = Symbol("u", real=True)

ONE = Integer(1)
Rule = Callable[[Expr, Expr], Expr]


@dataclass(frozen=True, repr=False)
class SharedHead(Value):
    """A head that hosts g tasks of equal d, λ: its ω and μ on each of them, and the loss of the group.

    ``kappa`` is the closure's C/(g d ω²) there: e in ``leading``, (1 + 2/(g d))^(g d/2 + 1) in ``finite_d``, where μ
    and the loss are written in its symbol ``shared_kappa``.
    """

    omega: Expr
    mu: Expr
    loss: Expr
    kappa: Expr
    derivation: Derivation

    @property
    def expression(self) -> Expr:
        """The loss of the group, in g, d, λ and c."""
        return self.loss

    @property
    def lines(self) -> list[Equation]:
        """ω, μ, the loss and κ."""
        kept = [] if self.kappa.is_number else [(shared_kappa, self.kappa)]
        return [(shared_omega, self.omega), (shared_mu, self.mu), (shared_loss, self.loss), *kept]

    def exact(self, problem: HasValues) -> Expr:
        """The loss of all tasks of a problem on one head; ``HypothesisError`` unless they are equal."""
        values = parameters_of(problem)
        require("the loss of a shared head", (equal_tasks("equal tasks (the same d and λ)"),), values)
        numbers = {task_dim: values["d"][0], task_power: values["lambda"][0], task_cost: values["c"][0]}
        return self.loss.xreplace({shared_kappa: self.kappa}).subs({**numbers, group_size: values["I"]})


def shared_head(closure: str = "leading") -> SharedHead:
    """The limit of a head that hosts ``g`` equal tasks: ω = 1/√(g d), loss g λ e g c/(1 + e g c).

    In ``finite_d`` ω = 1/√(g d + 2), and κ takes the place of e.  In ``leading``, for any group, the exponent
    Σ_i d_i ω_i² is exactly 1 and the head is at the single-head optimum of its group (steps of the derivation).
    Raises ``InputError`` for an unknown closure, and for ``first_order``, which has no closed form.
    """
    if checked_closure(closure) == "first_order":
        raise InputError("a shared head has no closed form in first_order")
    return _shared_head(closure)


@builder
def _shared_head(closure: str) -> SharedHead:
    i, h = n.i, n.h
    flow = gradient_flow("balanced", closure)
    record = Recorder("Shared head", ("one head hosts a group of tasks alone, which have no weight on other heads",))
    record.include(flow.derivation)
    sizes = {n.n_tasks: group_size}

    def hosted(base: IndexedBase) -> Rule:
        return lambda task, head: base[task] * KroneckerDelta(head, ONE)

    hosting = Ansatz(flow, {n.mu: hosted(hosting_mu), n.omega: hosted(hosting_omega)}, sizes)
    record(
        "hosting ansatz",
        hosting.lines(i, h),
        "Tasks 1..g of the group sit on head 1 (renumbered); the weights of the others there vanish.",
        scope=DEFINITION,
    )
    by_mu, by_omega = (hosting(partial) for partial in flow.gradient)
    on_mu, on_omega = (normalise(substitute(partial, {h: ONE})) for partial in (by_mu, by_omega))
    if closure == "leading":
        _record_any_group(record, on_mu, on_omega)
    equal = {
        n.dims: lambda _: task_dim,
        n.signal_power: lambda _: task_power,
        n.noise_factor: lambda _: task_noise,
        hosting_mu: lambda _: shared_mu,
        hosting_omega: lambda _: shared_omega,
    }

    def at_equal(expression: Expr) -> Expr:
        return normalise(replace_indexed(expression, equal))

    def gradient_at(partial: Expr) -> Expr:
        """A gradient on the hosting head with definitions opened first, then the equal weights put in."""
        hosted_equally: dict[IndexedBase, Rule] = {
            n.mu: lambda _, head: shared_mu * KroneckerDelta(head, ONE),
            n.omega: lambda _, head: shared_omega * KroneckerDelta(head, ONE),
        }
        opened = replace_indexed(flow.opened(partial), hosted_equally)
        return normalise(replace_indexed(substitute(opened, {**sizes, h: ONE}), equal))

    equal_mu, equal_omega = at_equal(on_mu), at_equal(on_omega)
    record(
        "stationarity of equal tasks",
        ((S.Zero, equal_mu), (S.Zero, equal_omega)),
        "Both gradients on the hosting head, at g tasks of equal d, λ and equal weights.",
        check=lambda *lines: all(
            difference_is_zero(line[1] - line[0], gradient_at(partial))
            for line, partial in zip(lines, flow.gradient, strict=True)
        ),
    )
    eliminated = factored(equal_mu * shared_mu - equal_omega * shared_omega)
    omega = positive_solution(eliminated, shared_omega)
    record(
        "omega of a shared head",
        (shared_omega, omega),
        "The residual eliminated.",
        check=lambda line: is_only_root(equal_mu * shared_mu - equal_omega * shared_omega, shared_omega, line[1]),
    )
    (interaction,) = (item for item in flow.definitions if item.base == n.interaction)
    spread = at_equal(hosting(interaction.at(ONE, ONE)))
    square = group_size * task_dim * shared_omega**2
    kappa = as_power((spread / square).xreplace({shared_omega: omega}))
    record(
        "kappa of a shared head",
        (shared_kappa, spread / square, kappa),
        "How much the query's spread raises the variance of the head, against g d ω².",
        check=lambda line: (
            difference_is_zero(line[1] * square, spread)
            and is_same_power(line[1].xreplace({shared_omega: omega}), line[2])
        ),
    )
    in_kappa = {spread: shared_kappa * square}
    mu = _in_cost(positive_solution(equal_mu.xreplace(in_kappa), shared_mu).xreplace({shared_omega: omega}))
    record(
        "mu of a shared head",
        (shared_mu, mu),
        "Then the first equation is linear in μ; c = φ d/L.",
        check=lambda line: (
            _in_cost(equal_mu.xreplace(in_kappa).xreplace({shared_mu: line[1], shared_omega: omega})) == 0
        ),
    )
    total = at_equal(hosting(flow.loss)).xreplace(in_kappa)
    loss = _in_cost(total.xreplace({shared_mu: mu}).xreplace({shared_omega: omega}))
    if kappa.is_number:
        mu, loss = (form.xreplace({shared_kappa: kappa}) for form in (mu, loss))
    record(
        "loss of a shared head",
        (shared_loss, loss),
        "Both inserted in the group's part of the loss: g times that of one task of dimension g d"
        + (", and the single-head optimum of the group." if closure == "leading" else "."),
        check=lambda line: (
            difference_is_zero(line[1], group_size * _one_large_task(closure))
            and (closure != "leading" or difference_is_zero(line[1], _single_head_of_equal_tasks()))
        ),
    )
    return SharedHead(omega, mu, loss, kappa, record.freeze())


def _record_any_group(record: Recorder, on_mu: Expr, on_omega: Expr) -> None:
    """Tasks that need not be equal: the exponent of their head, and their water level."""
    i = n.i
    balance = normalise(_over_group(hosting_mu[i] * on_mu - hosting_omega[i] * on_omega))
    exponent = _over_group(n.dims[i] * hosting_omega[i] ** 2)
    weight = _over_group(n.signal_power[i] * n.noise_factor[i] * hosting_mu[i] ** 2) / n.context_length
    record(
        "exponent of a hosting head",
        ((S.Zero, 2 * exp(exponent) * weight * (1 - exponent)), (exponent, S.One)),
        "Σ_i (m_i ∂𝓛/∂m_i − w_i ∂𝓛/∂w_i) = 0: the residuals drop out, the exponent is 1 for any group.",
        check=lambda stationary, one: (
            difference_is_zero(balance, stationary[1] - stationary[0])
            and difference_is_zero(one[0], exponent)
            and difference_is_zero(stationary[1], 2 * exp(exponent) * weight * (one[1] - exponent))
        ),
    )
    _record_water_level(record, on_mu, on_omega, exponent)


def _record_water_level(record: Recorder, on_mu: Expr, on_omega: Expr, exponent: Expr) -> None:
    """The group as a whole: its tasks are at one water level, that of the best single head for them."""
    i = n.i
    at_one = {normalise(exponent): S.One}
    best = positive_solution(on_mu.xreplace(at_one), hosting_mu[i])
    cost, share = n.noise_to_context[i], n.dims[i] * hosting_omega[i] ** 2 / exp(1)
    record(
        "residual on a hosting head",
        ((hosting_mu[i], best), (1 - hosting_mu[i] * hosting_omega[i], cost / (cost + expressed[i]))),
        "∂𝓛/∂m_i = 0 at that exponent; x_i = d_i w_i²/e, so that Σ_i x_i = 1/e, the budget of one head.",
        check=lambda own, residual: (
            _in_costs_of_task(on_mu.xreplace(at_one).xreplace({hosting_mu[i]: own[1]})) == 0
            and difference_is_zero(
                _in_costs_of_task(residual[0].xreplace({hosting_mu[i]: own[1]})),
                _in_costs_of_task(residual[1].xreplace({expressed[i]: share})),
            )
        ),
    )
    (power,) = (total for total in on_omega.xreplace(at_one).atoms(Sum) if total.has(hosting_mu))
    level = positive_solution(on_omega.xreplace(at_one), power).xreplace({hosting_mu[i]: best})
    marginal = n.signal_power[i] * cost / (cost + expressed[i]) ** 2
    record(
        "level of a hosting head",
        (marginal, exp(2) * power / n.context_length),
        "∂𝓛/∂w_i = 0 then says that the marginal gain of x_i is the same for every task of the group: water-filling. "
        "The head is at the single-head optimum of its group.",
        check=lambda line: difference_is_zero(
            _in_costs_of_task(line[1].xreplace({power: level})),
            _in_costs_of_task(line[0].xreplace({expressed[i]: share})),
        ),
    )


def _over_group(body: Expr) -> Expr:
    return substitute(n.over_tasks(body), {n.n_tasks: group_size})


def _in_cost(expression: Expr) -> Expr:
    """φ = c L/d put in, and one fraction in lowest terms."""
    in_c = expression.xreplace({task_noise: task_cost * n.context_length / task_dim})
    return plain_symbols(normalise(in_c)).factored()


def _one_large_task(closure: str) -> Expr:
    """The allocation limit of one task of dimension g d: its c is g times that of each task of the group."""
    limit = task_allocation_limit(closure)
    assert limit.kappa is not None
    own = {n.signal_power: task_power, n.noise_to_context: group_size * task_cost}
    known = {base[n.i]: value for base, value in own.items()} | {limit.kappa.symbol: shared_kappa}
    return summand(limit.loss.expression).xreplace(known)


def _single_head_of_equal_tasks() -> Expr:
    equal = {n.dims: task_dim, n.signal_power: task_power, n.noise_factor: task_noise}
    opened = substitute(single_head_optimum().form.expression, {n.n_tasks: group_size})
    return _in_cost(replace_indexed(opened, {base: (lambda _, value=value: value) for base, value in equal.items()}))


@dataclass(frozen=True, repr=False)
class SplitTask(Value):
    """A task on K heads of the same ω: that ω, the sum of its μ over these heads, and its loss (those of one head)."""

    omega: Expr
    total_mu: Expr
    loss: Expr
    derivation: Derivation

    @property
    def expression(self) -> Expr:
        """The loss of all tasks, each on heads of its own."""
        return n.over_tasks(self.loss)

    @property
    def lines(self) -> list[Equation]:
        """ω, the sum of μ, and the loss of a task."""
        return [(part_omega, self.omega), (total_mu, self.total_mu), *self.derivation.result.formula]

    def exact(self, problem: HasValues) -> Expr:
        """The loss of all tasks, each on one head or several of its own; ``HypothesisError`` for H < I."""
        require("the loss of split tasks", (ENOUGH_HEADS,), values_of(problem))
        return unroll(self.expression, values_of(problem), PARAMETERS)


@builder
def split_task() -> SplitTask:
    """Where task i stays split over heads of equal ω = 1/√d_i: Σ_h μ_i^h = √d_i/(1 + e c_i), a line of equilibria."""
    i, h = n.i, n.h
    flow = gradient_flow("balanced")
    record = Recorder("Split task", ("a task sits on K heads of the same ω, which have no weight for other tasks",))
    record.include(flow.derivation)
    record.include(task_allocation_limit().derivation)
    heads = Symbol("K", integer=True, positive=True)
    sizes = {n.n_tasks: ONE, n.n_heads: heads}
    ansatz = Ansatz(flow, {n.mu: lambda _, head: part_mu[head], n.omega: lambda *_: part_omega}, sizes)
    record(
        "split ansatz",
        ansatz.lines(i, h),
        "Heads 1..K (renumbered) serve task i alone; the weights of other tasks there vanish.",
        scope=DEFINITION,
    )
    total = Definition(total_mu, substitute(n.over_heads(part_mu[h]), {n.n_heads: heads}))
    of_task = {base: (lambda _, own=base[i]: own) for base in (n.dims, n.signal_power, n.noise_factor)}

    def at(expression: Expr) -> Expr:
        """At the ansatz; the sum of all m is one symbol."""
        task = substitute(expression, {i: ONE}) if i in free_symbols(expression) else expression
        return normalise(replace_indexed(fold(ansatz(task), total), of_task))

    def gradient_at(partial: Expr) -> Expr:
        """A gradient with its definitions opened first, then the weights put in; the sum of all m is one symbol."""
        parts: dict[IndexedBase, Rule] = {n.mu: lambda _, head: part_mu[head], n.omega: lambda *_: part_omega}
        opened = substitute(replace_indexed(flow.opened(partial), parts), {**sizes, i: ONE})
        return normalise(replace_indexed(fold(opened, total), of_task))

    by_mu, by_omega = (at(partial) for partial in flow.gradient)
    pull = normalise(by_omega / part_mu[h])
    record(
        "split stationarity",
        ((n.partial_derivative(n.mu[i, h]), by_mu), (n.partial_derivative(n.omega[i, h]), part_mu[h] * pull)),
        "S = Σ_h m_h: the same conditions on w and S for every head, whatever the single m_h.",
        check=lambda *lines: (
            all(
                difference_is_zero(fold(line[1], total), gradient_at(partial))
                for line, partial in zip(lines, flow.gradient, strict=True)
            )
            and not {n.h, part_mu.label}
            & (free_symbols(lines[0][1]) | free_symbols(normalise(lines[1][1] / part_mu[h])))
        ),
    )
    eliminated = factored(by_mu - pull * part_omega)
    omega = positive_solution(eliminated, part_omega)
    record(
        "omega of a split task",
        (part_omega, omega),
        "The first minus w times the second over m_h: d_i w² = 1.",
        check=lambda line: is_only_root(by_mu - pull * part_omega, part_omega, line[1]),
    )
    found = _in_costs_of_task(positive_solution(by_mu.xreplace({part_omega: omega}), total_mu))
    record(
        "mu of a split task",
        (total_mu, found),
        "The μ of one head, shared out in any way among the K: a line of equilibria (of dimension K − 1).",
        check=lambda line: (
            difference_is_zero(line[1], task_allocation_limit().mu.expression)
            and _in_costs_of_task(by_mu.xreplace({total_mu: line[1], part_omega: omega})) == 0
        ),
    )
    loss = _in_costs_of_task(at(_task_part(flow.loss)).xreplace({total_mu: found, part_omega: omega}))
    record(
        "loss of a split task",
        (n.loss, loss),
        "Depends on S alone, and equals the task's part of the allocation limit.",
        check=lambda line: (
            difference_is_zero(line[1], loss)
            and difference_is_zero(loss, summand(task_allocation_limit().loss.expression))
        ),
    )
    return SplitTask(omega, found, loss, record.freeze())


def _task_part(loss: Expr) -> Expr:
    """The loss of one task alone (I = 1)."""
    return substitute(loss, {n.n_tasks: ONE})


def _in_costs_of_task(expression: Expr) -> Expr:
    in_c = expression.xreplace({n.noise_factor[n.i]: n.noise_to_context[n.i] * n.context_length / n.dims[n.i]})
    return plain_symbols(normalise(in_c)).factored()


@dataclass(frozen=True, repr=False)
class IdleHead(Result):
    """A head without a task at the allocation limit: its ω is frozen, ``rate`` = −d(log μ_i^l)/dt in u = √d_i ω_i^l."""

    rate: Expr
    derivation: Derivation


@builder
def idle_head() -> IdleHead:
    """An idle head l at the allocation limit loses μ_i at the rate ``rate`` ≥ 0, and its ω stands still."""
    i = n.i
    flow = gradient_flow("balanced")
    limit = task_allocation_limit()
    record = Recorder("Idle head", ("the other heads are at the task-allocation limit, and the idle head's μ is zero",))
    record.include(limit.derivation)
    sizes = {n.n_heads: n.n_tasks}

    def omega(task: Expr, head: Expr) -> Expr:
        return idle_omega[task] if head == idle_head_index else hosting_omega[task] * KroneckerDelta(task, head)

    def mu(task: Expr, head: Expr) -> Expr:
        return S.Zero if head == idle_head_index else hosting_mu[task] * KroneckerDelta(task, head)

    record(
        "idle ansatz",
        ((n.mu[i, idle_head_index], S.Zero), (n.omega[i, idle_head_index], idle_omega[i])),
        "The idle head l, besides heads 1..I at the limit; its ω is arbitrary.",
        scope=DEFINITION,
    )
    # The ansatz tells head l from the others: definitions, written for any head, have to be opened first.
    opened = (substitute(flow.opened(partial), {**sizes, n.h: idle_head_index}) for partial in flow.gradient)
    by_mu, by_omega = (normalise(replace_indexed(partial, {n.mu: mu, n.omega: omega})) for partial in opened)
    record(
        "idle omega stands still",
        (n.partial_derivative(n.omega[i, idle_head_index]), by_omega),
        "Every term of the ω-gradient carries a μ of its own head.",
        check=lambda line: line[1] == 0 and _carries_own_mu(flow.gradient[1]),
    )
    at_limit = by_mu.xreplace({hosting_omega[i]: limit.omega.expression, hosting_mu[i]: limit.mu.expression})
    scaled = at_limit.xreplace({idle_omega[i]: scaled_weight / sqrt(n.dims[i])})
    pace = flow.metric[0] / n.mu[i, n.h]
    plain = plain_symbols(_in_costs_of_task(normalise(normalise(scaled) * pace)))
    gap = exp(scaled_weight) - exp(1) * scaled_weight
    factor_of_gap = factor(cancel(plain.expression / gap))
    rate = plain.restored(factor_of_gap) * gap
    record(
        "idle mu decays",
        (n.time_derivative(n.mu[i, idle_head_index]) / n.mu[i, idle_head_index], -rate),
        "The μ-gradient there, times the metric over μ; u = √d_i ω_i^l.",
        check=lambda line: (
            line[0] == n.time_derivative(n.mu[i, idle_head_index]) / n.mu[i, idle_head_index]
            and cancel(expand(plain.expression + plain.plain(line[1]))) == 0
        ),
    )
    record(
        "never grows",
        Ge(gap, 0),
        "e^u − e u is convex with its minimum 0 at u = 1, the ω of a serving head.",
        check=lambda relation: (
            relation == Ge(gap, 0)
            and bool(factor_of_gap.is_positive)
            and solve(diff(gap, scaled_weight), scaled_weight) == [1]
            and gap.subs(scaled_weight, 1) == 0
            and bool(diff(gap, scaled_weight, 2).is_positive)
        ),
    )
    return IdleHead(rate, record.freeze())


def _carries_own_mu(partial: Expr) -> bool:
    """Whether the gradient in ω_i^h vanishes with every μ of head h."""
    (power,) = (item for item in gradient_flow("balanced").definitions if item.base == n.head_power)
    others = {n.mu: lambda task, head: n.mu[task, head] * (1 - KroneckerDelta(head, n.h))}
    return difference_is_zero(replace_indexed(inline(partial, (power,)), others), S.Zero)
