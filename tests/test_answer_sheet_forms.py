"""THEORY, section 4: what is no index expression (minima, hyperbolic sines, equal tasks): by hand, and at 50 digits."""

from __future__ import annotations

from fractions import Fraction

import pytest
from mpmath import e, exp, mp
from sympy import (
    E,
    Eq,
    Indexed,
    Integer,
    Max,
    Min,
    Piecewise,
    Rational,
    S,
    Sum,
    Symbol,
    factorial,
    factorial2,
    log,
    simplify,
    sinh,
    sqrt,
)
from sympy import exp as sexp

from headflow import Problem
from headflow.theory import (
    equal_tasks_optimum,
    hermite_transfer,
    linear_attention_optimum,
    multi_head_optimum,
    shared_head,
    single_head_residuals,
    softmax_regimes,
    zero_sum_pair,
)
from headflow.theory import notation as n
from headflow.theory.context.hermite import degree, gain
from headflow.theory.context.regimes import ratio
from headflow.theory.context.two_heads import pair_omega, token_label, token_score
from headflow.theory.flows.symmetry import task_dim, task_power
from headflow.theory.indexed import difference_is_zero, unroll
from headflow.theory.optima.corollaries import own_level
from headflow.theory.optima.optimum import head_budget
from headflow.theory.optima.shared_heads import group_size, shared_kappa, task_cost
from headflow.theory.parameters import PARAMETERS
from oracles import answer_sheet_limits as hand
from sheet import SIZES, WORKING, close, numbers, random_values

i, H, L = n.i, n.n_heads, n.context_length
lam, d, phi, c = n.signal_power[i], n.dims[i], n.noise_factor[i], n.noise_to_context[i]


@pytest.fixture(autouse=True)
def digits():
    with mp.workdps(WORKING + 10):
        yield


@pytest.fixture(params=SIZES, ids=str)
def values(request):
    """Exact numbers, φ and c among them."""
    found = random_values(request.param)
    tasks = range(found["I"])
    found["phi"] = [1 + found["sigma2"] / found["lambda"][task] for task in tasks]
    found["c"] = [found["phi"][task] * found["d"][task] / found["L"] for task in tasks]
    return found


def at_task(expression, values, task=0):
    """The numbers of a task put in; sums of theory do not occur here."""
    named = {symbol: values[symbol.name] for symbol in expression.free_symbols if symbol.name in values}
    own = {atom: values[str(atom.base.label)][task] for atom in expression.atoms(Indexed)}
    return expression.xreplace({**named, **own})


def equal(left, right):
    return simplify(left - right) == 0


def test_two_heads():
    p, q, s = (Symbol(name, real=True) for name in "pqs")
    ((gap, _), _) = multi_head_optimum().derivation["two heads"].formula
    assert equal(gap, (p**2 + q**2) / 2 - s**2 + (p**2 * q**2 - s**4) / 4 - (p * q - s**2))
    point = {p: Rational(7, 3), q: Rational(5, 11), s: Rational(-2, 7)}
    assert close(gap.xreplace(point), hand.two_heads(*numbers(list(point.values()))))


def test_one_head():
    (claim,) = multi_head_optimum().derivation["one head"].formula
    (u,) = claim.lhs.free_symbols
    assert (claim.lhs, claim.rhs) == (u * sexp(-u), sexp(-1))


@pytest.mark.parametrize("heads", range(1, 7))
def test_budget(heads):
    theorem = multi_head_optimum().budget
    assert theorem == Piecewise((sexp(-1), Eq(H, 1)), (H - 1, True))
    assert theorem.subs(H, heads) == head_budget(heads)
    assert close(head_budget(heads), hand.budget(heads))


def test_share_is_cut_to_the_unit_interval():
    theorem = multi_head_optimum()
    assert theorem.share == Min(1, Max(0, theorem.interior_share))


@pytest.mark.parametrize("heads", range(1, 6))
def test_infimum(values, heads):
    problem = Problem(
        dims=[int(x) for x in values["d"]],
        signal_power=[Fraction(x.p, x.q) for x in values["lambda"]],
        noise_variance=Fraction(values["sigma2"].p, values["sigma2"].q),
        context_length=int(values["L"]),
        n_heads=heads,
    )
    point = numbers({name: values[name] for name in ("I", "H", "L", "sigma2", "d", "lambda")})
    assert close(multi_head_optimum().exact(problem), hand.water_filling(point, hand.budget(heads)))


def test_equal_tasks(values):
    found = equal_tasks_optimum().expression
    share = Min(1, (H - 1) / n.n_tasks)
    assert equal(found, task_power * n.n_tasks * task_cost / (share + task_cost))
    own = {task_power: values["lambda"][0], task_cost: values["c"][0], n.n_tasks: values["I"], H: values["H"] + 1}
    point = {**numbers(values), "H": int(values["H"]) + 1}
    assert close(found.xreplace(own), hand.equal_tasks(point))


def test_equal_tasks_of_linear_attention(values):
    found = linear_attention_optimum().homogeneous
    power, cost = (next(symbol for symbol in found.free_symbols if symbol.name == name) for name in ("lambda", "c"))
    assert equal(found, power * n.n_tasks * cost / (Min(1, H / n.n_tasks) + cost))
    own = {power: values["lambda"][0], cost: values["c"][0], n.n_tasks: values["I"], H: values["H"]}
    assert close(found.xreplace(own), hand.linear_equal_tasks(numbers(values)))


class TestSingleHead:
    def test_residual(self, values):
        found = single_head_residuals().residual
        expected = Min(1, sqrt(phi * d * own_level / lam))
        assert all(equal(*pair) for pair in zip(_ordered(found), _ordered(expected), strict=True))
        for task in range(values["I"]):
            assert close(at_task(found, values, task), hand.single_head_residual(numbers(values), task))

    def test_level(self, values):
        found = single_head_residuals().budget
        (total,) = found.atoms(Sum)
        assert equal(found / total, E / L)
        share = total.function / (phi * d)
        ((zero, inside),) = ((own.args) for own in share.atoms(Max))
        assert (zero, share) == (0, Max(0, inside))
        assert equal(inside, sqrt(lam / (phi * d * own_level)) - 1)
        summed = sum(at_task(total.function, values, task) for task in range(values["I"]))
        assert close(at_task(found.xreplace({total: S.One}), values) * summed, hand.single_head_level(numbers(values)))


def _ordered(minimum):
    return sorted(minimum.args, key=lambda entry: entry.is_number is not True)


@pytest.mark.parametrize("closure", ["leading", "finite_d"])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_shared_heads(closure, size):
    found = shared_head(closure)
    kappa = E if closure == "leading" else shared_kappa
    width = group_size * task_dim + (0 if closure == "leading" else 2)
    load = kappa * group_size * task_cost
    assert equal(found.omega, 1 / sqrt(width))
    assert equal(found.mu, sqrt(width) / (1 + load))
    assert equal(found.loss, group_size * task_power * load / (1 + load))
    if closure == "finite_d":
        together = group_size * task_dim
        assert equal(found.kappa, sexp((together / 2 + 1) * log(1 + 2 / together)))
    own = {group_size: Integer(size), task_power: Rational(7, 3), task_dim: Integer(9), task_cost: Rational(3, 11)}
    g, power, dim, cost = (number.p if number.is_Integer else mp.mpf(number.p) / number.q for number in own.values())
    dim = mp.mpf(dim)
    forms = [form.xreplace({shared_kappa: found.kappa}).xreplace(own) for form in (found.omega, found.mu, found.loss)]
    expected = (
        hand.shared_omega(g, dim, closure),
        hand.shared_mu(g, dim, cost, closure),
        hand.shared_loss(g, power, dim, cost, closure),
    )
    assert all(map(close, forms, expected))


class TestZeroSumPair:
    def test_profile(self, values):
        power, factor, dim, cost = (base[1] for base in (n.signal_power, n.noise_factor, n.dims, n.noise_to_context))
        found = zero_sum_pair()
        squared = pair_omega**2
        assert equal(found.profile, power * (1 - squared / (squared + factor / L * sinh(dim * squared))))
        assert equal(found.limit, power * cost / (1 + cost))
        at_pair = {**values, pair_omega.name: values["pair"]}
        point = numbers(values)
        assert close(at_task(found.profile, at_pair), hand.pair_profile(point))
        alone = {**point, "I": 1}
        assert close(at_task(found.limit, values), hand.universal(alone))

    def test_predictor(self, values):
        l, m = n.index("l"), n.index("m")
        mean = Sum(token_score[m], (m, 1, L)) / L
        by_hand = Sum(token_label[l] * (token_score[l] - mean), (l, 1, L)) / L / (1 + n.noise_to_context[1])
        found = zero_sum_pair().predictor
        assert difference_is_zero(found, by_hand)
        scores, labels = ([Rational(13 * a * a - 7 * b * a, 10) for a in range(1, 8)] for b in (3, 5))
        own = {name: values[name] for name in ("I", "H", "d", "lambda", "sigma2")}
        at = unroll(found, {**own, "L": Integer(7), "s": scores, "y": labels}, PARAMETERS)
        assert close(at, hand.debiased({**numbers(own), "L": 7, "score": numbers(scores), "label": numbers(labels)}))


class TestHermite:
    @pytest.mark.parametrize("order", range(1, 9))
    def test_a_head_sees_the_bare_power(self, order):
        ((_, tilted),) = hermite_transfer().derivation["tilted Hermite polynomial"].formula
        (overlap,) = tilted.free_symbols - {degree}
        assert tilted == overlap**degree
        value = Rational(-13, 10)
        assert close(
            tilted.xreplace({degree: Integer(order), overlap: value}), hand.tilted_hermite(order, numbers(value))
        )

    @pytest.mark.parametrize("order", range(1, 9))
    def test_loss(self, order):
        found = hermite_transfer()
        odd = factorial2(2 * degree - 1)
        assert equal(found.loss, 1 - 2 * gain + gain**2 * odd / factorial(degree))
        assert equal(found.least, 1 - factorial(degree) / odd)
        strength = Rational(17, 10)
        assert close(found.at(order, strength), hand.hermite_loss(order, numbers(strength)))
        assert close(found.least_at(order), hand.hermite_least(order))


@pytest.mark.parametrize("value", [Rational(x, 20) for x in (3, 9, 10, 11, 13, 14, 27, 39, 40, 47)])
def test_regimes(value):
    found = softmax_regimes()
    pieces = [[piece for piece, _ in form.args] for form in (found.typical, found.expected)]
    by_hand = ([ratio - 1, -((sqrt(2) - sqrt(ratio)) ** 2), 0], [ratio - 1, -((1 - ratio / 2) ** 2) / (2 * ratio), 0])
    for ours, theirs in zip(pieces, by_hand, strict=True):
        assert all(equal(*pair) for pair in zip(ours, theirs, strict=True))
    assert close(found.typical_at(value), hand.typical_exponent(numbers(value)))
    assert close(found.expected_at(value), hand.expected_exponent(numbers(value)))


def test_the_oracles_own_numbers():
    """The reference case of the sheet: what the oracle says of it."""
    three = {"I": 3, "H": 3, "L": 100, "sigma2": mp.mpf(1) / 10, "d": [mp.mpf(10)] * 3, "lambda": [mp.mpf(1)] * 3}
    assert abs(hand.limit_loss(three) - 33 * e / (100 + 11 * e)) < mp.mpf(10) ** -55
    assert abs(hand.water_filling(three, hand.budget(1)) - hand.single_head(three)) < mp.mpf(10) ** -50
    assert abs(hand.kappa(mp.mpf(10) ** 30) - exp(1)) < mp.mpf(10) ** -29
    assert [round(float(x), 5) for x in (hand.universal(three), hand.single_head(three), hand.limit_loss(three))] == [
        0.2973,
        1.41858,
        0.69055,
    ]
    assert abs(hand.separation(three) - 3) < mp.mpf(10) ** -55
