"""The cascade: the small-weight flow of the tasks that still wait while some heads are occupied (derived here).

``warm_up`` is the case without occupied heads.  A head that hosts tasks stands at the optimum of one head for them;
its own interaction and its power are all that the waiting tasks see of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sympy import Expr, Indexed, IndexedBase, KroneckerDelta, S, Symbol, cancel, exp, expand, simplify, sqrt

from .. import notation as n
from ..closed_form import ClosedForm
from ..derivation import Derivation, Recorder
from ..flows.ansatz import on_mu, on_omega
from ..flows.flow import gradient_flow
from ..flows.system import ReducedSystem
from ..grounds import DEFINITION, FORMAL
from ..indexed import Definition, difference_is_zero, factored, inline, normalise, replace_indexed, rule, substitute
from ..indexed.asymptotics import leading_order, scaled_limit
from ..indexed.monomial import Term, to_expression
from ..indexed.nodes import delta
from ..indexed.normal import terms
from ..result import Result, builder
from ..scalars import plain_symbols, positive_solution
from .warm_up import warm_up_flow

# 1 where the head hosts the task, else 0; a task has one host or none.
host = IndexedBase("s", nonnegative=True)
# What waiting tasks see of a head: its interaction with itself, and the power of the tasks it hosts.
own_interaction = IndexedBase("E", positive=True)
own_power = IndexedBase("P", nonnegative=True)

_SMALL = {n.mu: -S.One, n.omega: -S.One}
# Hosted entries opened into their value of order one and the rest.
_SEATED: Mapping[IndexedBase, Callable[..., Expr]] = {
    n.mu: lambda task, head: host[task, head] * on_mu[task] + n.mu[task, head],
    n.omega: lambda task, head: host[task, head] * on_omega[task] + n.omega[task, head],
}
# C and M to leading order; the step that records them proves it.
_WEAKLY_TIED: Mapping[IndexedBase, Callable[..., Expr]] = {
    n.interaction: lambda a, b: 1 + KroneckerDelta(a, b) * (own_interaction[a] - 1),
    n.head_power: lambda a, b: KroneckerDelta(a, b) * own_power[a],
}


@dataclass(frozen=True, repr=False)
class Cascade(Result):
    """The flow of waiting tasks between two emergences.

    Attributes
    ----------
    system
        Velocities of μ_i^h and ω_i^h of waiting tasks to leading (second) order in their common scale; parameters
        E_h and P_h per head: 1 and 0 for a free head, e and ``power`` for an occupied one.
    power
        P_h of an occupied head, from the problem and the indicator s_j^h of the tasks that it hosts.
    exponent
        d_i ω_i² of a hosted task i in P_h; the head keeps the task while it is positive.
    derivation
        The steps, with the ordering of heads and the rescaling of time.
    """

    system: ReducedSystem
    power: ClosedForm
    exponent: Expr
    derivation: Derivation


@builder
def cascade_flow() -> Cascade:
    """The quadratic flow of the waiting tasks, from the balanced flow with some tasks already on their heads."""
    i, h, k = n.i, n.h, n.k
    flow = gradient_flow("balanced")
    warm_up = warm_up_flow()
    record = Recorder(
        "Cascade",
        ("each task is on one head or waits; all entries but those of tasks on their heads are of one small scale ε",),
    )
    record.include(warm_up.derivation)
    record(
        "occupied heads",
        tuple((variable, _SEATED[variable.base](i, h)) for variable in flow.state),
        "s is 1 where the head hosts the task, else 0; what is left is of scale ε.",
        scope=DEFINITION,
    )
    residual, *pairs = flow.definitions
    kept = {item.base: _ofone_host(item) for item in pairs}
    names = {n.interaction: own_interaction, n.head_power: own_power}
    own = [Definition(names[item.base][h], _tidy(substitute(kept[item.base], {k: h}))) for item in pairs]
    record(
        "heads see each other weakly",
        tuple((item.head, _WEAKLY_TIED[item.base](h, k)) for item in pairs)
        + tuple((item.head, item.body) for item in own),
        "To leading order two heads have nothing in common: no task is on both.",
        check=lambda *lines: all(
            difference_is_zero(replace_indexed(tied[1], {own[0].base: rule(*own)}), kept[item.base])
            for item, tied, own in zip(pairs, lines[: len(pairs)], lines[len(pairs) :], strict=True)
        ),
    )

    def at_waiting(rhs: Expr) -> Expr:
        kept = leading_order(inline(rhs, (residual,)), _SMALL)
        return factored(normalise(replace_indexed(kept, _WEAKLY_TIED)))

    velocity = tuple(at_waiting(rhs) for rhs in flow.velocity)
    bare = {own_interaction: lambda _: S.One, own_power: lambda _: S.Zero}
    record(
        "flow of waiting tasks",
        tuple((n.time_derivative(variable), rhs) for variable, rhs in zip(flow.state, velocity, strict=True)),
        "Second order in ε, r_i → 1: an occupied head drags itself more and loses ω in proportion to its power. "
        "Free heads have E_h = 1, P_h = 0, which is the warm-up.",
        check=lambda *lines: all(
            difference_is_zero(
                line[1], scaled_limit(replace_indexed(inline(rhs, (residual,)), _WEAKLY_TIED), _SMALL, 2)
            )
            and difference_is_zero(replace_indexed(line[1], bare), start)
            for line, rhs, start in zip(lines, flow.velocity, warm_up.velocity, strict=True)
        ),
    )
    _hosted_tasks(record, flow)
    occupied_power, exponent = _power_of_a_group(record, flow)
    _ordering(record, velocity)
    _rescaling(record, velocity)
    derivation = record.freeze()
    system = ReducedSystem(
        parametrisation="balanced",
        closure=flow.closure,
        coordinates="waiting",
        state=flow.state,
        loss=flow.loss,
        gradient=flow.gradient,
        metric=flow.metric,
        velocity=velocity,
        definitions=flow.definitions,
        # d_e is that of the whole problem, of which the state may hold the waiting tasks only.
        parameter_definitions=tuple(item for item in flow.parameter_definitions if item.base != n.embedding_dim),
        domain=flow.domain,
        derivation=derivation,
    )
    form = ClosedForm("the power of an occupied head", own_power[h], occupied_power, derivation)
    return Cascade(system, form, exponent, derivation)


def _ofone_host(item: Definition) -> Expr:
    """The body with hosted tasks on their heads, to leading order in ε."""
    return normalise(leading_order(one_host(replace_indexed(item.body, _SEATED)), _SMALL))


def one_host(expression: Expr) -> Expr:
    """Products of indicators of one task: ``s_j^h s_j^k = δ_hk s_j^h``, ``s² = s``."""
    return to_expression(_one_host_term(term) for term in terms(expression))


def _one_host_term(term: Term) -> Term:
    kept: dict[Expr, Expr] = {}
    rest = []
    for atom, power in term.factors:
        if not (isinstance(atom, Indexed) and atom.base == host):
            rest.append((atom, power))
            continue
        task, head = atom.indices
        if task in kept and kept[task] != head:
            rest.append((delta(kept[task], head), S.One))
        kept.setdefault(task, head)
    factors = (*rest, *((host[task, head], S.One) for task, head in kept.items()))
    return Term(term.coefficient, term.bounds, factors, one_host(term.exponent))


def _tidy(expression: Expr) -> Expr:
    return normalise(one_host(expression))


def off_host(expression: Expr, silent: bool) -> Expr:
    """An expression of the balanced flow at a hosted task i and a head h that does not host it, to leading order.

    ``silent`` says that all μ of that task but its host's have died out.
    """
    return factored(leading_order(_off_host(expression, silent), _SMALL))


def _off_host(expression: Expr, silent: bool) -> Expr:
    i, h = n.i, n.h
    opened = inline(expression, gradient_flow("balanced").definitions[:1])
    opened = normalise(replace_indexed(replace_indexed(opened, _WEAKLY_TIED), _SEATED))
    away: dict[IndexedBase, Callable[..., Expr]] = {
        host: lambda task, head: S.Zero if (task, head) == (i, h) else host[task, head],
        n.mu: lambda task, head: S.Zero if silent and task == i else n.mu[task, head],
    }
    return one_host(normalise(replace_indexed(opened, away)))


def off_host_by_scaling(expression: Expr, silent: bool, order: int) -> Expr:
    """`off_host` of what is of that order in ε, its leading order taken as a limit."""
    return scaled_limit(_off_host(expression, silent), _SMALL, order)


def _hosted_tasks(record: Recorder, flow: ReducedSystem) -> None:
    """Record what the other heads do for a hosted task: their μ dies out, then their ω creeps."""
    i, h = n.i, n.h
    by_mu, by_omega = off_host(flow.velocity[0], silent=False), off_host(flow.velocity[1], silent=True)
    record(
        "hosted tasks drop out",
        ((n.time_derivative(n.mu[i, h]), by_mu), (n.time_derivative(n.omega[i, h]), by_omega)),
        "For a hosted task on a head h that is not its host: μ decays exponentially within a time of order one, and "
        "with μ gone ω creeps like the waiting ones; both touch the waiting tasks through C and M at relative order ε "
        "only.",
        check=lambda *lines: all(
            difference_is_zero(line[1], off_host_by_scaling(velocity, silent, order))
            for line, velocity, silent, order in zip(lines, flow.velocity, (False, True), (1, 2), strict=True)
        ),
        scope=FORMAL,
    )


def _power_of_a_group(record: Recorder, flow: ReducedSystem) -> tuple[Expr, Expr]:
    """P_h of a head at rest with the tasks it hosts, and their d_i ω_i² in P_h: stationarity solved, recorded."""
    i, h, j = n.i, n.h, n.j
    alone = {
        n.mu: lambda task, head: on_mu[task],
        n.omega: lambda task, head: on_omega[task],
        n.interaction: lambda a, b: own_interaction[h],
        n.head_power: lambda a, b: own_power[h],
    }
    residual = flow.definitions[0]

    def on_one_head(expression: Expr) -> Expr:
        # One head: every sum over heads has one term.
        opened = substitute(inline(expression, (residual,)), {n.n_heads: S.One})
        return normalise(replace_indexed(normalise(opened), alone))

    by_mu, by_omega = (on_one_head(partial) for partial in flow.gradient)
    record(
        "a hosted task at rest",
        ((S.Zero, by_mu), (S.Zero, by_omega)),
        "Stationarity of a hosted task i on its head h, on which the other hosted tasks act through E_h and P_h.",
        check=lambda *lines: all(
            difference_is_zero(line[1] - line[0], _on_own_head(flow, partial))
            for line, partial in zip(lines, flow.gradient, strict=True)
        ),
    )
    balance = factored(by_mu * on_mu[i] - by_omega * on_omega[i])
    share = n.signal_power[i] * n.noise_factor[i] * on_mu[i] ** 2 / n.context_length
    record(
        "shares of the exponent",
        (n.dims[i] * on_omega[i] ** 2, share / own_power[h]),
        "m times the first less w times the second: the residual drops out. Over the hosted tasks the right sides sum "
        "to one by the definition of P_h, so the exponent is 1 and E_h = e.",
        check=lambda line: difference_is_zero(balance, 2 * own_interaction[h] * own_power[h] * (line[1] - line[0])),
    )
    root = Symbol("p", positive=True)  # √P_h
    mu = positive_solution(share / root**2 - n.dims[i] * on_omega[i] ** 2, on_mu[i])
    omega = positive_solution(by_mu.xreplace({own_interaction[h]: exp(1), on_mu[i]: mu}), on_omega[i])
    in_c = {n.noise_factor[i]: n.noise_to_context[i] * n.context_length / n.dims[i]}
    plain = plain_symbols((n.dims[i] * omega**2).xreplace(in_c))
    own_share = expand(simplify(plain.expression))
    record(
        "exponent of a hosted task",
        (n.dims[i] * on_omega[i] ** 2, plain.restored(own_share)),
        "Both equations solved for m and w at E_h = e, with p² = P_h; a task stays on the head while this is positive.",
        check=lambda line: (
            line[0] == n.dims[i] * on_omega[i] ** 2
            and _solves_at_e(by_mu.xreplace({own_interaction[h]: exp(1), on_mu[i]: mu}).xreplace(in_c), line[1])
        ),
    )
    # The shares sum to one, which is linear in 1/p.
    falling, fixed = (
        normalise(n.over_tasks(host[j, h] * substitute(plain.restored(own_share.coeff(root, order)), {i: j}), j))
        for order in (-1, 0)
    )
    power = positive_solution(falling / root + fixed - 1, root) ** 2
    record(
        "power of an occupied head",
        (own_power[h], power),
        "The shares of the hosted tasks sum to one.",
        check=lambda line: _is_zero_at(falling / root + fixed - 1, root, sqrt(line[1])),
    )
    return power, plain.restored(own_share).xreplace({root: sqrt(own_power[h])})


def _ordering(record: Recorder, velocity: tuple[Expr, ...]) -> None:
    i, h, k = n.i, n.h, n.k
    first, second = n.mu[i, h], n.omega[i, h]

    def lead(rhs: Expr, variable: Indexed) -> Expr:
        rate = normalise(rhs / variable)
        free = normalise(replace_indexed(rate, {own_interaction: lambda _: S.One, own_power: lambda _: S.Zero}))
        return factored(normalise(free - substitute(free, {h: k})))

    by_mu, by_omega = lead(velocity[0], first), lead(velocity[1], second)
    record(
        "who wins",
        (
            (n.time_derivative(first) / first - n.time_derivative(n.mu[i, k]) / n.mu[i, k], by_mu),
            (n.time_derivative(second) / second - n.time_derivative(n.omega[i, k]) / n.omega[i, k], by_omega),
        ),
        "Between free heads the drag is common. A head ahead of another in μ, and not behind in ω, gains on it in "
        "both for ever; at blow-up the integral of μ diverges, so the other falls behind without bound: from a "
        "common ω(0) the head with the largest μ(0) wins.",
        check=lambda *lines: all(
            difference_is_zero(_between_free_heads(line[0], velocity), line[1])
            and bool(cancel(plain_symbols(line[1] / (own - substitute(own, {h: k}))).expression).is_positive)
            for line, own in zip(lines, (second, first), strict=True)
        ),
    )


def _rescaling(record: Recorder, velocity: tuple[Expr, ...]) -> None:
    scale, tau, emergence = Symbol("epsilon", positive=True), Symbol("tau", positive=True), Symbol("T_0", positive=True)
    larger = {
        n.mu: lambda task, head: scale * n.mu[task, head],
        n.omega: lambda task, head: scale * n.omega[task, head],
    }
    record(
        "rescaling",
        (scale * emergence, tau),
        "Homogeneous of degree two: a start of scale ε follows the start of scale 1, slower by ε, to its blow-up at τ. "
        "What is left out grows to order one only when a time of order one remains: T_0 = τ/ε + O(1).",
        check=lambda line: (
            line == (scale * emergence, tau)
            and all(difference_is_zero(replace_indexed(rhs, larger), scale**2 * rhs) for rhs in velocity)
        ),
        scope=FORMAL,
    )


def _on_own_head(flow: ReducedSystem, partial: Expr) -> Expr:
    """A gradient where head h has E_h and P_h, nothing in common with others, and the task i no weight elsewhere."""
    h = n.h
    seated: dict[IndexedBase, Callable[..., Expr]] = {
        n.mu: lambda task, head: on_mu[task] * KroneckerDelta(head, h),
        n.omega: lambda task, head: on_omega[task] * KroneckerDelta(head, h),
    }
    opened = replace_indexed(inline(partial, flow.definitions[:1]), _WEAKLY_TIED)
    return normalise(replace_indexed(opened, seated))


def _solves_at_e(equation: Expr, share: Expr) -> bool:
    """Whether an equation in w, m being a multiple of w, holds at d_i w² = ``share``."""
    plain = plain_symbols(equation)
    w, dim = plain.symbol(on_omega[n.i]), plain.symbol(n.dims[n.i])
    return bool(simplify(expand(plain.expression / w).subs(w, sqrt(plain.plain(share) / dim))) == 0)


def _is_zero_at(equation: Expr, unknown: Symbol, value: Expr) -> bool:
    plain = plain_symbols(equation)
    return bool(simplify(plain.expression.subs(unknown, plain.plain(value))) == 0)


def _between_free_heads(rates: Expr, velocity: tuple[Expr, ...]) -> Expr:
    """Time derivatives put in, for heads that host nothing."""
    state = (n.mu[n.i, n.h], n.omega[n.i, n.h])
    names = [n.time_derivative(variable) for variable in state]
    moving = {name.base: rule(name, rhs) for name, rhs in zip(names, velocity, strict=True)}
    free = {own_interaction: lambda _: S.One, own_power: lambda _: S.Zero}
    return normalise(replace_indexed(replace_indexed(rates, moving), free))
