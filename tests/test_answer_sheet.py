"""THEORY, sections 1 to 3: every formula derived, equal to the one typed by hand, and to an oracle at 50 digits."""

from __future__ import annotations

from functools import partial

import pytest
from sympy import S, exp, log, sqrt

from headflow.theory import (
    energy_identity,
    gradient_flow,
    output_moments,
    population_loss,
    shift_covariance,
    to_hyperbolic,
    to_log,
)
from headflow.theory import notation as n
from headflow.theory.flows.flow import attention_gradient, split_flow
from headflow.theory.gaussian import chi_square_generating_function
from headflow.theory.indexed import difference_is_zero, inline
from headflow.theory.model.loss import _tilt_growth, tilted_second_moment
from headflow.theory.parameters import PARAMETERS
from oracles import answer_sheet as hand
from sheet import Row

i, j, h, k = n.i, n.j, n.h, n.k
lam, d, phi, L = n.signal_power, n.dims, n.noise_factor, n.context_length
mu, omega, r, C, M, b = n.mu, n.omega, n.residual, n.interaction, n.head_power, n.relative_bias
over_tasks, over_heads = n.over_tasks, n.over_heads
root = sqrt(n.embedding_dim)
# Flows and coordinates are gradients times a factor: the gradients themselves are tried at more sizes.
FEW = ((1, 2), (3, 2))


def body(definitions, base):
    return next(item.body for item in definitions if item.base == base)


def interaction(closure):
    return lambda: body(population_loss(closure).definitions, C)


def loss_row(closure):
    loss = population_loss(closure)
    spread = over_heads(C[h, k] * mu[i, h] * mu[i, k], h, k) * phi[i] / L
    by_hand = over_tasks(lam[i] * (r[i] ** 2 + spread))
    return Row(
        f"loss, {closure}",
        lambda: loss.expression,
        lambda: by_hand,
        partial(hand.loss, closure=closure),
        definitions=lambda: loss.definitions,
    )


def first_order_loss():
    """The sheet's form: 1 − 2 Σ μω(1 − b) + Σ μμ[w(1 − b_h − b_k) + (C/L)(φ + w/(1 − 2w))]."""
    w = omega[i, h] * omega[i, k]
    pair = w * (1 - b[i, h] - b[i, k]) + C[h, k] / L * (phi[i] + w / (1 - 2 * w))
    drift = over_heads(mu[i, h] * omega[i, h] * (1 - b[i, h]))
    return over_tasks(lam[i] * (1 - 2 * drift + over_heads(mu[i, h] * mu[i, k] * pair, h, k)))


def opened_first_order():
    """r put in; C and b stay closed."""
    loss = population_loss("first_order")
    return inline(loss.expression, [item for item in loss.definitions if item.base == r])


def flow_rows(parametrisation, closure, by_hand, oracle):
    flow = gradient_flow(parametrisation, closure)
    products = ("mu", "omega") if parametrisation == "split" else ()
    for place, variable in enumerate(flow.state):
        yield Row(
            f"{parametrisation} flow of {variable.base.label}, {closure}",
            lambda place=place: flow.velocity[place],
            lambda place=place: by_hand[place],
            lambda point, *at, place=place: oracle(point, *at, closure=closure)[place],
            (i, h),
            lambda: flow.definitions,
            products,
            sizes=FEW,
        )


def gradients(closure):
    pole = 1 - 2 * omega[i, h] * omega[i, k] if closure == "finite_d" else S.One
    by_mu = -2 * lam[i] * r[i] * omega[i, h] + 2 * lam[i] * phi[i] / L * over_heads(C[h, k] * mu[i, k], k)
    drag = over_heads(M[h, k] * C[h, k] * omega[i, k] / pole, k)
    return by_mu, -2 * lam[i] * r[i] * mu[i, h] + 2 * d[i] * drag


def gradient_rows(closure):
    base = attention_gradient(closure)
    for place, (name, oracle) in enumerate((("g_mu", hand.g_mu), ("g_omega", hand.g_omega))):
        yield Row(
            f"{name}, {closure}",
            lambda place=place: base.partials[place],
            lambda place=place: gradients(closure)[place],
            partial(oracle, closure=closure),
            (i, h),
            lambda: base.definitions,
        )


def moving(closure):
    """Rows of the three flows in one closure."""
    by_mu, by_omega = gradients(closure)
    pull = by_omega / (root * d[i])
    o, v, key, query = (base[i, h] for base in (n.o, n.v, n.key, n.query))
    yield from flow_rows("merged", closure, (-by_mu, -by_omega / d[i]), hand.merged)
    balanced = (-2 * mu[i, h] * by_mu, -2 / root * omega[i, h] * by_omega / d[i])
    yield from flow_rows("balanced", closure, balanced, hand.balanced)
    factors = (-v * by_mu, -o * by_mu, -query * pull, -key * pull)
    yield from flow_rows("split", closure, factors, hand.split)


def coordinate_rows():
    """Logarithms of the balanced flow, hyperbolic angles of the split flow."""
    by_mu, by_omega = gradients("leading")
    logarithmic, angular = to_log(gradient_flow("balanced")), to_hyperbolic(split_flow())
    rates = {
        "log": (logarithmic, (-2 * by_mu, -2 / root * by_omega / d[i]), hand.log_rates, hand.with_logarithms),
        "angle": (angular, (-by_mu, -by_omega / (d[i] * root)), hand.angle_rates, lambda point: point),
    }
    for name, (flow, by_hand, oracle, at_point) in rates.items():
        for place in range(2):
            yield Row(
                f"{name} flow of {flow.state[place].base.label}",
                lambda flow=flow, place=place: flow.velocity[place],
                lambda by_hand=by_hand, place=place: by_hand[place],
                lambda p, *at, oracle=oracle, at_point=at_point, place=place: oracle(at_point(p), *at)[place],
                (i, h),
                lambda flow=flow: flow.definitions,
                ("mu", "omega"),
                sizes=FEW,
            )
    for product, angle, size, scale, oracle in (
        (mu, "theta", "abs_Delta", S.One, hand.mu_of_angle),
        (omega, "vartheta", "abs_Gamma", root, hand.omega_of_angle),
    ):
        theta, own = angular.state[0 if product == mu else 1], _named(angular, size)
        yield Row(
            f"{product.label} of {angle}",
            lambda product=product: body(angular.definitions, product),
            lambda theta=theta, own=own, scale=scale: own / 2 * (exp(2 * theta) - exp(-2 * theta)) / 2 / scale,
            oracle,
            (i, h),
        )


def _named(flow, name):
    return next(base for base in flow.parameters if str(base) == name)[i, h]


def energy_row(name, metric, oracle):
    """d𝓛/dt = −Σ (speed)²/metric, the flow's own velocities put in."""
    flow = gradient_flow(name)
    along = energy_identity(name)["loss along the flow"].formula[0][1]
    speed = -over_tasks(over_heads(sum(v**2 / m for v, m in zip(flow.velocity, metric, strict=True))))
    return Row(
        f"energy identity, {name}",
        lambda: along,
        lambda: speed,
        oracle,
        definitions=lambda: flow.definitions,
        without=("mu", "omega") if name == "split" else (),
        equal=lambda left, right: difference_is_zero(flow.opened(left), flow.opened(right)),
        sizes=FEW,
    )


def token_scores():
    moments = output_moments()
    a, ba, norm = n.head_head, n.beta_head, n.beta_beta[i]
    covariance = exp(a[h, k]) / L * (norm + n.noise_variance + ba[i, h] * ba[i, k])
    yield Row("mean of a head", lambda: moments.mean, lambda: ba[i, h], hand.head_mean, (i, h))
    bias = -exp(a[h, h]) * ba[i, h] / L
    yield Row("bias of a head", lambda: moments.bias, lambda: bias, hand.head_bias, (i, h))
    yield Row("covariance", lambda: moments.covariance, lambda: covariance, hand.head_covariance, (i, h, k))


def section_1():
    own = {item.base: item.body for item in PARAMETERS}
    yield Row("phi", lambda: own[phi], lambda: 1 + n.noise_variance / lam[i], hand.phi, (i,))
    yield Row("c", lambda: own[n.noise_to_context], lambda: phi[i] * d[i] / L, hand.cost, (i,))
    total = over_tasks(d[i]) + n.n_tasks
    yield Row("d_e", lambda: own[n.embedding_dim], lambda: total, hand.embedding)


def section_2():
    yield from token_scores()
    pairs = {
        "leading": exp(over_tasks(d[j] * omega[j, h] * omega[j, k], j)),
        "finite_d": exp(-over_tasks(d[j] * log(1 - 2 * omega[j, h] * omega[j, k]), j) / 2),
    }
    for closure, by_hand in pairs.items():
        oracle = partial(hand.interaction, closure=closure)
        yield Row(f"C, {closure}", interaction(closure), lambda by_hand=by_hand: by_hand, oracle, (h, k))
    w = omega[i, h] * omega[i, k]
    yield Row(
        "query moment under the tilt",
        lambda: d[i] * tilted_second_moment(w),
        lambda: d[i] / (1 - 2 * w),
        hand.query_moment,
        (i, h, k),
    )
    yield loss_row("leading")
    yield loss_row("finite_d")
    first_order = population_loss("first_order")
    yield Row(
        "loss, first_order",
        opened_first_order,
        first_order_loss,
        partial(hand.loss, closure="first_order"),
        definitions=lambda: first_order.definitions,
    )
    yield Row(
        "b of first_order",
        lambda: body(first_order.definitions, b),
        lambda: C[h, h] / ((1 - 2 * omega[i, h] ** 2) * L),
        hand.relative_bias,
        (i, h),
        lambda: first_order.definitions[:2],
    )
    growth = _tilt_growth(3, omega[j, 1] ** 2)
    yield Row(
        "third exponential moment of the query",
        lambda: exp(over_tasks(d[j] * log(chi_square_generating_function(growth)), j)),
        lambda: exp(-over_tasks(d[j] * log(1 - 6 * omega[j, 1] ** 2), j) / 2),
        hand.long_queries,
    )


def section_3():
    definitions = attention_gradient().definitions
    residual = 1 - over_heads(mu[i, h] * omega[i, h])
    yield Row("r", lambda: body(definitions, r), lambda: residual, hand.residual, (i,))
    power = over_tasks(lam[j] * phi[j] / L * mu[j, h] * mu[j, k], j)
    yield Row("M", lambda: body(definitions, M), lambda: power, hand.head_power, (h, k))
    for closure in ("leading", "finite_d"):
        yield from gradient_rows(closure)
        yield from moving(closure)
    yield from coordinate_rows()
    yield from shift_rows()
    yield energy_row("merged", (1, 1 / d[i]), hand.energy_merged)
    balanced = (2 * mu[i, h], 2 * omega[i, h] / (root * d[i]))
    yield energy_row("balanced", balanced, hand.energy_balanced)
    yield energy_row("split", (1, 1, 1 / d[i], 1 / d[i]), hand.energy_split)


def shift_rows():
    """C = D E D, as typed and as derived."""
    own = [over_tasks(d[j] * omega[j, head] ** 2, j) / 2 for head in (h, k)]
    apart = over_tasks(d[j] * (omega[j, h] - omega[j, k]) ** 2, j) / 2
    leading, found = interaction("leading"), shift_covariance()
    yield Row("shift covariance", leading, lambda: exp(own[0] - apart + own[1]), hand.shifted_interaction, (h, k))
    ((_, factors), *_) = found.derivation["scale and difference of heads"].formula
    opened = inline(factors, (found.scale, found.difference))
    yield Row("factors of the shift covariance", lambda: opened, leading, hand.interaction, (h, k))


ROWS = (*section_1(), *section_2(), *section_3())
LONG = "energy identity, split"
each = pytest.mark.parametrize(
    "row", [pytest.param(row, id=row.name, marks=pytest.mark.slow if row.name == LONG else ()) for row in ROWS]
)


@each
def test_derived_is_the_hand_formula(row):
    assert row.agrees_symbolically()


@each
def test_derived_agrees_at_fifty_digits(row):
    assert row.worst_point() == ""


def test_the_domains_are_those_of_the_sheet():
    assert population_loss("leading").domain == ()
    for closure in ("finite_d", "first_order"):
        (domain,) = population_loss(closure).domain
        assert domain.lts - domain.gts == omega[i, h] * omega[i, k] - S.Half
    (validity,) = population_loss("first_order").validity
    assert validity.lts - validity.gts == omega[i, h] ** 2 - S.One / 6


def test_a_wrong_formula_is_told_apart():
    """Neither comparison passes for a formula that is off by one part in 10⁴⁰, or lacks a factor."""
    row = next(row for row in ROWS if row.name == "g_mu, leading")
    off = Row("off", lambda: row.derived() * (1 + S(10) ** -40), row.by_hand, row.oracle, row.indices, row.definitions)
    assert not off.agrees_symbolically()
    assert off.worst_point() != ""
    doubled = Row("double", row.derived, lambda: 2 * row.by_hand(), row.oracle, row.indices, row.definitions)
    assert not doubled.agrees_symbolically()
