"""THEORY, section 4: optimum, bounds, limits and context derived, equal to the hand formulas, and at 50 digits."""

from __future__ import annotations

import pytest
from mpmath import mp
from sympy import (
    E,
    Expr,
    N,
    S,
    log,
    sqrt,
)
from sympy import exp as sexp

from headflow.theory import (
    bayes_limit,
    context_shift,
    eliminate_mu,
    factor_e,
    idle_head,
    linear_attention_loss,
    linear_attention_optimum,
    multi_head_optimum,
    separation,
    single_head_optimum,
    split_task,
    task_allocation_limit,
    universal_lower_bound,
)
from headflow.theory import notation as n
from headflow.theory.context.context_length import own_gain as trained_gain
from headflow.theory.context.context_length import used_length
from headflow.theory.context.linear_attention import effective
from headflow.theory.context.linear_optimum import own_gain
from headflow.theory.indexed import Definition, inline
from headflow.theory.optima.optimum import water_level
from headflow.theory.optima.optimum_proof import expressed
from headflow.theory.optima.shared_heads import scaled_weight
from oracles import answer_sheet_limits as hand
from sheet import WORKING, Row, c_inverse

i, j, h, k = n.i, n.j, n.h, n.k
lam, d, phi, c, L = n.signal_power, n.dims, n.noise_factor, n.noise_to_context, n.context_length
mu, omega, x = n.mu, n.omega, expressed
over_tasks, over_heads = n.over_tasks, n.over_heads
inverse = n.interaction_inverse
MANY = ((2, 1), (3, 2), (4, 3))


def opened_c(expression: Expr) -> Expr:
    return inline(expression, (Definition(c[i], phi[i] * d[i] / L),))


def optimum_rows():
    found, theorem = eliminate_mu(), multi_head_optimum()
    yield Row(
        "shares",
        lambda: found.expressed,
        lambda: d[i] * over_heads(omega[i, h] * inverse[h, k] * omega[i, k], h, k),
        hand.share,
        (i,),
        more=c_inverse,
    )
    yield Row("loss in shares", lambda: found.loss, lambda: over_tasks(lam[i] * c[i] / (c[i] + x[i])), hand.share_loss)
    yield Row(
        "loss in shares is the least over mu",
        lambda: theorem.objective,
        lambda: over_tasks(lam[i] * c[i] / (c[i] + x[i])),
        hand.least_loss,
        more=lambda p: {"x": [_exact(hand.share(p, at)) for at in hand.tasks(p)]},
    )
    yield Row(
        "best mu",
        lambda: found.mu,
        lambda: L * n.residual[i] / phi[i] * over_heads(inverse[h, k] * omega[i, k], k),
        lambda p, task, head: hand.best_mu(p, task)[head],
        (i, h),
        more=lambda p: {**c_inverse(p), "r": [_exact(_left(p, at)) for at in hand.tasks(p)]},
    )
    (trace,) = theorem.derivation["sum as a trace"].formula
    (gram_body,) = theorem.derivation["gram matrix"].formula
    yield Row(
        "sum of the shares is a trace",
        lambda: inline(trace[1], (Definition(*gram_body),)),
        lambda: over_heads(inverse[h, k] * over_tasks(d[i] * omega[i, h] * omega[i, k]), h, k),
        lambda p: sum(hand.share(p, at) for at in hand.tasks(p)),
        more=c_inverse,
    )
    bound = universal_lower_bound()
    yield Row(
        "universal bound", lambda: bound.expression, lambda: over_tasks(lam[i] * c[i] / (1 + c[i])), hand.universal
    )
    root = over_tasks(sqrt(lam[i] * phi[i] * d[i]))
    yield Row(
        "single head, all tasks served",
        lambda: single_head_optimum().form.expression,
        lambda: E * root**2 / (L + E * over_tasks(phi[i] * d[i])),
        hand.single_head,
    )
    yield Row(
        "separation, long contexts",
        lambda: separation().limit.expression,
        lambda: root**2 / over_tasks(lam[i] * phi[i] * d[i]),
        hand.separation,
    )
    yield Row(
        "separation",
        lambda: separation().ratio,
        lambda: single_head_optimum().form.expression / opened_c(task_allocation_limit().loss.expression),
        lambda p: hand.single_head(p) / hand.limit_loss(p),
    )


def _left(p, task):
    """c/(c + x)."""
    return hand.cost(p, task) / (hand.cost(p, task) + hand.share(p, task))


def _exact(number):
    return N(S(mp.nstr(number, WORKING + 5)), WORKING + 5)


def limit_rows():
    for closure in ("leading", "finite_d"):
        limit = task_allocation_limit(closure)
        factor = E if closure == "leading" else limit.kappa.symbol
        width = d[i] if closure == "leading" else d[i] + 2
        load = factor * c[i]
        rows = (
            ("omega", limit.omega, 1 / sqrt(width), hand.limit_omega, (i,)),
            ("mu", limit.mu, sqrt(width) / (1 + load), hand.limit_mu, (i,)),
            ("loss", limit.loss, over_tasks(lam[i] * load / (1 + load)), hand.limit_loss, ()),
        )
        for name, form, by_hand, oracle, indices in rows:
            yield Row(
                f"allocation limit of {name}, {closure}",
                lambda form=form: form.expression,
                lambda by_hand=by_hand: by_hand,
                lambda p, *at, oracle=oracle, closure=closure: oracle(p, *at, closure=closure),
                indices,
                lambda form=form: form.definitions,
            )
    kappa = task_allocation_limit("finite_d").kappa.expression
    by_hand = sexp((d[i] / 2 + 1) * log(1 + 2 / d[i]))
    yield Row("kappa", lambda: kappa, lambda: by_hand, lambda p, at: hand.kappa(p["d"][at]), (i,))
    one_head = task_allocation_limit()
    split, width = split_task(), sqrt(d[i])
    yield Row("omega of a split task", lambda: split.omega, lambda: 1 / width, hand.limit_omega, (i,))
    total = width / (1 + E * c[i])
    yield Row("total mu of a split task", lambda: split.total_mu, lambda: total, hand.limit_mu, (i,))
    task = lam[i] * E * c[i] / (1 + E * c[i])
    yield Row("loss of a split task", lambda: split.loss, lambda: task, hand.limit_task, (i,))
    gap = sexp(scaled_weight) - E * scaled_weight
    rate = 4 * lam[i] * c[i] / ((1 + E * c[i]) * width) * gap
    yield Row("rate of an idle head", lambda: idle_head().rate, lambda: rate, hand.idle_rate, (i,))
    ratio_e = E * (1 + c[i]) / (1 + E * c[i])
    yield Row("factor e", lambda: factor_e().ratio, lambda: ratio_e, hand.factor_e, (i,))
    shifted = (1 - trained_gain[i]) ** 2 + E * phi[i] * d[i] / used_length * trained_gain[i] ** 2
    yield Row(
        "context shift",
        lambda: context_shift().expression,
        lambda: substitute_gain(over_tasks(lam[i] * shifted)),
        hand.shifted,
    )
    yield Row(
        "gain of the allocation limit",
        lambda: one_head.mu.expression * one_head.omega.expression,
        lambda: context_shift().gain,
        lambda p, at: hand.limit_mu(p, at) * hand.limit_omega(p, at),
        (i,),
    )


def substitute_gain(expression):
    return inline(expression, (Definition(trained_gain[i], 1 / (1 + E * c[i])),))


def context_rows():
    gamma, z = d[i] / L, n.noise_variance * d[i] / (lam[i] * L)
    across = 1 - gamma + z
    risk = over_tasks(lam[i] * (-across + sqrt(across**2 + 4 * gamma * z)) / (2 * gamma))
    yield Row("Bayes risk in the limit", lambda: bayes_limit().expression, lambda: risk, hand.bayes)
    linear, own = linear_attention_loss(), effective[i, i]
    spread = phi[i] * over_tasks(d[j] * effective[i, j] ** 2, j) + own**2
    by_hand = over_tasks(lam[i] * ((1 - own) ** 2 + spread / L))
    yield Row(
        "loss of linear attention",
        lambda: linear.expression,
        lambda: by_hand,
        hand.linear_loss,
        (),
        lambda: linear.definitions,
    )
    yield Row(
        "effective matrix",
        lambda: linear.definitions[0].body,
        lambda: over_heads(mu[i, h] * omega[j, h]),
        hand.effective,
        (i, j),
    )
    best = linear_attention_optimum()
    single = lam[i] * ((1 - own_gain[i]) ** 2 + own_gain[i] ** 2 * (phi[i] * d[i] + 1) / L)
    yield Row(
        "linear attention, one task",
        lambda: best.separate,
        lambda: over_tasks(single),
        hand.linear_single,
        sizes=((1, 1),),
    )
    interior = sqrt(lam[i] * c[i] / water_level) - c[i]
    theorem = multi_head_optimum()
    yield Row("water level", lambda: theorem.interior_share, lambda: interior, hand.interior_share, (i,))
    weight = phi[i] * d[i] + 1
    yield Row(
        "linear optimum, one task",
        lambda: best.enough_heads.expression,
        lambda: over_tasks(lam[i] * weight / (L + weight)),
        hand.linear_single_optimum,
        sizes=((1, 1),),
    )


ROWS = [*optimum_rows(), *limit_rows(), *context_rows()]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_derived_is_the_hand_formula(row):
    assert row.agrees_symbolically()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_derived_agrees_at_fifty_digits(row):
    assert row.worst_point() == ""
