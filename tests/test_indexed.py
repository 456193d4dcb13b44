"""The index calculus against a brute-force evaluator: values, derivatives, capture, the closed node set."""

from __future__ import annotations

import itertools
from typing import ClassVar

import numpy as np
import pytest
import sympy as sp
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from headflow.theory import notation as n
from headflow.theory.indexed import (
    Definition,
    check,
    contract_inverse,
    difference_is_zero,
    directional_derivative,
    factored,
    fold,
    gradient,
    inline,
    normalise,
    replace_indexed,
    substitute,
    unroll,
)
from headflow.theory.indexed.asymptotics import leading_order
from headflow.theory.indexed.nodes import NodeError, delta, exponential, free_indices, rebuild
from index_expressions import DEFINITIONS, HEAD, TASK, A, B, G, P, T, X, expressions, numbers
from oracles import bruteforce

SIZES = st.sampled_from([(1, 1), (2, 3), (3, 2)])
KNOWN = tuple(Definition(head, body) for head, body in DEFINITIONS)
i, j, h, k = n.i, n.j, n.h, n.k


def value(expression, sizes, seed=0, **indices):
    return bruteforce.evaluate(expression, numbers(*sizes, seed), indices or {"i": 1, "h": 1}, DEFINITIONS)


def assert_same(left, right, sizes, **indices):
    first, second = value(left, sizes, **indices), value(right, sizes, **indices)
    assert second == pytest.approx(first, rel=1e-8, abs=1e-9)


class TestNormalForm:
    @settings(max_examples=50)
    @given(expressions(), SIZES)
    def test_the_value_is_kept(self, expression, sizes):
        assert_same(expression, normalise(expression), sizes, i=sizes[0], h=sizes[1])
        assert_same(expression, factored(expression), sizes, i=1, h=sizes[1])

    @settings(max_examples=40)
    @given(expressions())
    def test_it_is_a_fixed_point(self, expression):
        once = normalise(expression)
        assert normalise(once) == once

    @settings(max_examples=12)
    @given(expressions(closed=True), expressions(closed=True))
    def test_order_and_distribution_do_not_matter(self, first, second):
        assert normalise(first + second) == normalise(second + first)
        assert difference_is_zero(first * (second + 1), second * first + first)

    @pytest.mark.slow
    @given(expressions(closed=True))
    def test_a_changed_number_is_noticed(self, expression):
        assume(normalise(expression) != 0)
        assert not difference_is_zero(expression, sp.Rational(7, 5) * expression)

    def test_renamed_bound_indices_are_equal(self):
        p, q = sp.symbols("p q", integer=True)
        left = n.over_heads(X[i, h] * X[i, k] * sp.exp(n.over_tasks(X[j, h] * X[j, k], j)), h, k)
        right = sp.Sum(
            X[i, q] * X[i, p] * sp.exp(n.over_tasks(X[j, p] * X[j, q], j)), (p, 1, n.n_heads), (q, 1, n.n_heads)
        )
        assert normalise(left) == normalise(right)
        assert normalise(left) != normalise(right.func(right.function * X[i, p], *right.limits))

    def test_deltas_collapse_and_constants_count(self):
        assert normalise(n.over_heads(sp.KroneckerDelta(h, k) * X[i, k], k)) == X[i, h]
        assert normalise(n.over_heads(A[i])) == n.n_heads * A[i]
        split = sp.exp(sp.KroneckerDelta(h, k) * A[i])
        assert normalise(split) == normalise(1 + sp.KroneckerDelta(h, k) * (sp.exp(A[i]) - 1))


class TestSubstitution:
    def test_bound_indices_do_not_capture(self):
        inner = n.over_heads(X[i, h] * B[k], h)
        moved = substitute(inner, {k: h})
        assert_same(n.over_heads(X[i, h]) * B[h], moved, (2, 3), i=2, h=3)

    def test_replacing_a_name_does_not_capture(self):
        outer = n.over_tasks(A[i] * P[i, h])
        opened = replace_indexed(outer, {P: lambda task, head: n.over_tasks(A[i] * P[i, head]) + 0 * task})
        expected = n.over_tasks(A[i]) * n.over_tasks(A[j] * P[j, h], j)
        assert_same(expected, opened, (3, 2), h=2)

    @settings(max_examples=40)
    @given(expressions(), SIZES)
    def test_renaming_free_indices(self, expression, sizes):
        a, b = sp.symbols("k j", integer=True)
        renamed = substitute(expression, {TASK: b, HEAD: a})
        assert value(renamed, sizes, i=0, h=0, j=1, k=sizes[1]) == pytest.approx(
            value(expression, sizes, i=1, h=sizes[1])
        )

    @settings(max_examples=60)
    @given(expressions(), SIZES)
    def test_definitions_open(self, expression, sizes):
        opened = inline(expression, KNOWN)
        assert not {base for base in ("Q", "R") if sp.IndexedBase(base) in opened.atoms(sp.IndexedBase)}
        assert_same(expression, opened, sizes, i=1, h=1)

    @settings(max_examples=60)
    @given(expressions(closed=True), SIZES)
    def test_unrolled_for_concrete_sizes(self, expression, sizes):
        given_numbers = numbers(*sizes, 0)
        plain = {
            name: entry.tolist() if isinstance(entry, np.ndarray) else entry for name, entry in given_numbers.items()
        }
        found = unroll(expression, plain, KNOWN)
        assert float(found) == pytest.approx(float(value(expression, sizes)), rel=1e-9, abs=1e-9)

    def test_unroll_names_what_is_out_of_range(self):
        with pytest.raises(IndexError, match="a has no entry 3"):
            unroll(n.over_tasks(A[i]), {"I": 3, "a": [1, 2]})


class TestDerivatives:
    @settings(max_examples=60)
    @given(expressions(closed=True), st.sampled_from([(1, 2), (2, 2)]))
    def test_gradient_is_the_numerical_derivative(self, expression, sizes):
        partial = gradient(expression, X[i, h], KNOWN)
        numeric = bruteforce.gradient(expression, "x", numbers(*sizes, 1), definitions=DEFINITIONS)
        for task in range(sizes[0]):
            for head in range(sizes[1]):
                found = bruteforce.evaluate(partial, numbers(*sizes, 1), {"i": task + 1, "h": head + 1}, DEFINITIONS)
                expected = float(numeric[task][head])
                assert float(found) == pytest.approx(expected, rel=1e-8, abs=1e-8)

    @settings(max_examples=40)
    @given(expressions(closed=True), SIZES)
    def test_a_direction_is_the_gradient_contracted(self, expression, sizes):
        along = directional_derivative(expression, {X: lambda task, head: A[task] * B[head]}, KNOWN)
        contracted = n.over_heads(n.over_tasks(gradient(expression, X[i, h], KNOWN) * A[i] * B[h]))
        assert_same(along, contracted, sizes)


class TestNames:
    def test_fold_recognises_a_definition(self):
        power = Definition(n.head_power[h, k], n.over_tasks(A[j] * X[j, h] * X[j, k], j))
        long = 3 * A[i] * n.over_heads(n.over_tasks(A[j] * X[j, h] * X[j, k] * X[i, k], j), k)
        folded = fold(long, power)
        assert folded == 3 * A[i] * n.over_heads(n.head_power[h, k] * X[i, k], k)
        assert difference_is_zero(inline(folded, [power]), long)
        other = n.over_tasks(A[j] * X[j, h] * X[j, k] * X[j, h], j)  # one factor more than the body
        assert fold(other, power) == normalise(other)

    def test_contract_inverse(self):
        matrix, inverse = n.interaction, n.interaction_inverse
        product = n.over_heads(
            inverse[h, k] * n.over_heads(matrix[k, n.index("l")] * X[i, n.index("l")], n.index("l")), k
        )
        assert contract_inverse(product, matrix, inverse) == X[i, h]

    def test_a_definition_may_not_refer_to_itself(self):
        with pytest.raises(ValueError, match="refers to itself"):
            Definition(A[i], 1 + A[i])

    def test_leading_order(self):
        weights = {X: sp.Rational(-1, 2), A: sp.S.One}
        expression = A[i] * X[i, h] ** 2 + X[i, h] + 3 / A[i] + sp.log(1 + 2 * X[i, h] ** 2) * A[i]
        assert leading_order(expression, weights) == normalise(3 * A[i] * X[i, h] ** 2)
        with pytest.raises(NodeError, match="grows without bound"):
            leading_order(sp.exp(A[i]), weights)


def renamed(expression, names):
    """The same expression with every sum's indices called by other names."""
    if isinstance(expression, sp.Sum):
        body, limits = renamed(expression.function, names), []
        for index, lower, upper in expression.limits:
            new = sp.Symbol(next(names), integer=True)
            body = substitute(body, {index: new})
            limits.append((new, lower, upper))
        return sp.Sum(body, *limits)
    if not expression.args or isinstance(expression, sp.Indexed | sp.KroneckerDelta):
        return expression
    return expression.func(*(renamed(argument, names) for argument in expression.args))


class TestEquality:
    @pytest.mark.slow
    @settings(max_examples=50)
    @given(expressions())
    def test_copies_with_other_names_have_the_same_normal_form(self, expression):
        copy = renamed(expression, (f"z{number}" for number in itertools.count()))
        assert normalise(copy) == normalise(expression)
        assert difference_is_zero(copy, expression)

    @pytest.mark.parametrize(
        ("left", "right"),
        [
            (A[i] / (A[i] + B[h]) + B[h] / (A[i] + B[h]), 1),
            (n.over_tasks(A[i] / (A[i] + T) + T / (A[i] + T)), n.n_tasks),
            (n.over_tasks(1 / (1 + A[i])) + n.over_tasks(A[j] / (1 + A[j]), j), n.n_tasks),
            (n.over_tasks(n.over_heads(P[i, h] / (P[i, h] + B[h]) + B[h] / (P[i, h] + B[h]))), n.n_tasks * n.n_heads),
            (n.over_heads(P[i, h] / n.over_heads(P[i, k], k)), 1),
            (1 / n.over_tasks(T * A[i]), 1 / (T * n.over_tasks(A[j], j))),
            (n.over_tasks(A[i]) ** 2, n.over_tasks(A[i] * A[j], i, j)),
            (sp.exp(n.over_tasks(A[i] + B[h])), sp.exp(n.over_tasks(A[j], j)) * sp.exp(n.n_tasks * B[h])),
        ],
    )
    def test_fractions(self, left, right):
        assert difference_is_zero(left, right)
        for factor in (sp.Rational(8, 7), T, B[h]):
            assert not difference_is_zero(left * factor, right)
        assert not difference_is_zero(left, right + sp.Rational(1, 10**9))

    def test_what_is_equal_for_positive_numbers_only_is_not_equal(self):
        y = sp.IndexedBase("y")
        assert not difference_is_zero(sp.sqrt(y[i] ** 2), y[i])
        assert difference_is_zero(sp.sqrt(A[i] ** 2), A[i])


class TestCasesThatWentWrong:
    def test_an_outer_and_an_inner_index_of_one_name(self):
        """z_j = Σ_k (g_jk − g_kj) used at k: inside, the outer k and the inner k are two indices."""
        z = sp.IndexedBase("z")
        odd = Definition(z[j], sp.Sum(G[j, k] - G[k, j], (k, 1, n.n_heads)))
        opened = inline(n.over_heads(B[k] * z[k], k), [odd])
        assert normalise(opened) != 0
        assert_same(opened, normalise(opened), (1, 3))

    def test_a_sum_that_a_delta_leaves_idle_counts_its_range(self):
        assert normalise(n.over_heads(sp.KroneckerDelta(h, k) * T, h, k)) == n.n_heads * T
        assert normalise(n.over_heads(sp.KroneckerDelta(h, k) * B[h] / B[k], h, k)) == n.n_heads

    def test_a_shadowed_range_counts(self):
        twice = sp.Sum(sp.Sum(A[i], (i, 1, n.n_tasks)), (i, 1, n.n_heads))
        assert normalise(twice) == n.n_heads * n.over_tasks(A[i])

    def test_denominators_after_a_delta(self):
        delta = sp.KroneckerDelta(h, k)
        assert normalise(delta / (B[h] + B[k])) == normalise(delta / (2 * B[h]))
        assert normalise(n.over_heads(delta * sp.log(B[h] * B[k]), k)) == 2 * sp.log(B[h])

    def test_powers_that_merge_are_multiplied_out(self):
        root = sp.sqrt(n.over_tasks(A[i]) + T)
        other = sp.sqrt(n.over_tasks(A[j], j) + T)  # the same, by another name
        assert normalise(root * other**3) == normalise((n.over_tasks(A[i]) + T) ** 2)
        assert normalise(root * n.over_heads(root * B[h])) == normalise((n.over_tasks(A[i]) + T) * n.over_heads(B[h]))

    @pytest.mark.parametrize("power", [sp.Rational(1, 2), sp.Rational(1, 3), sp.Rational(-2, 3)])
    @pytest.mark.parametrize("number", [sp.Rational(3, 2), sp.Integer(12), sp.Rational(50, 9)])
    def test_surds(self, number, power):
        for expression in ((number * A[i]) ** power, number**power * 6 ** sp.Rational(1, 3) * A[i]):
            assert_same(expression, normalise(expression), (2, 2))
            assert normalise(expression * expression) == normalise(expression**2)

    def test_roots_and_logarithms_of_two_negative_factors(self):
        y, z = sp.IndexedBase("y", real=True), sp.IndexedBase("z", real=True)
        values = {"y": [-2.0], "z": [-3.0]}
        for expression in (
            sp.sqrt(y[i] * z[i]),
            sp.log(y[i] ** 2),
            sp.log(y[i] * z[i]),
            (y[i] * z[i]) ** sp.Rational(-3, 2),
        ):
            found = bruteforce.evaluate(normalise(expression), values, {"i": 1})
            assert found == pytest.approx(bruteforce.evaluate(expression, values, {"i": 1}), rel=1e-14)

    def test_exponentials_of_logarithms(self):
        assert normalise(sp.exp(2 * (sp.log(A[i]) + B[h]))) == normalise(A[i] ** 2 * sp.exp(2 * B[h]))

    def test_what_is_made_without_evaluation_is_what_sympy_makes(self):
        for first, second in ((i, j), (j, i), (i, i), (i, sp.Integer(2)), (sp.Integer(1), sp.Integer(2)), (i, i + 1)):
            assert delta(first, second) == sp.KroneckerDelta(first, second)
        total, size = n.over_tasks(X[i, h] ** 2), n.n_tasks
        for argument in (sp.S.Zero, sp.S.One, total, total + 1, sp.log(size), 2 * sp.log(size), sp.log(size) + total):
            assert exponential(argument) == sp.exp(argument)
        assert rebuild(sp.exp(total), [sp.S.Zero]) == 1
        assert rebuild(sp.KroneckerDelta(i, j), [i, i]) == 1

    def test_division_by_zero(self):
        for bottom in (n.over_heads(B[h]) - n.over_heads(B[k], k), sp.KroneckerDelta(h, k)):
            with pytest.raises(ZeroDivisionError):
                normalise(1 / bottom)


class TestFolding:
    @pytest.mark.parametrize(
        ("body", "other"),
        [
            (n.over_tasks(A[i] * A[j] * P[i, h] * P[j, k], i, j), n.over_tasks(A[i] ** 2 * P[i, h] * P[i, k])),
            (n.over_tasks(P[i, h] * P[i, k]), n.over_tasks(P[i, h] ** 2 * A[i])),
            (n.over_heads(P[i, h] * B[h]) * sp.log(B[k]) * B[h], sp.log(B[k]) * B[h] ** 2),
            (B[h] * sp.log(B[h]) * B[k], sp.log(B[h]) * B[k] ** 2),
            (n.over_heads(G[h, k] * B[h]), n.over_heads(G[h, h] * B[h])),
        ],
    )
    def test_what_only_looks_like_the_body_stays(self, body, other):
        """One sum for two, an index more, a logarithm at another index: folded or not, the value is the same."""
        d = sp.IndexedBase("D")
        head = d[tuple(sorted(free_indices(body), key=str))]
        definition = Definition(head, body)
        for expression in (other, body * other, 2 * body):
            folded = fold(expression, definition)
            assert difference_is_zero(inline(folded, [definition]), expression)
        assert fold(3 * body, definition) == 3 * head

    def test_scalars_fold_and_numbers_do_not(self):
        total = Definition(sp.Symbol("s", positive=True), n.over_tasks(A[i]))
        assert fold(n.over_tasks(A[j], j) * B[h], total) == total.head * B[h]
        with pytest.raises(ValueError, match="single monomial"):
            fold(A[i], Definition(sp.Symbol("s"), sp.Integer(2)))
        with pytest.raises(ValueError, match="single monomial"):
            fold(A[i], Definition(sp.Symbol("s"), 1 + n.over_tasks(A[i])))

    def test_one_contraction_of_many(self):
        m, inverse = n.interaction, n.interaction_inverse
        product = n.over_heads(m[h, k] * inverse[h, k], h, k)
        assert contract_inverse(product, m, inverse) == n.n_heads
        kept = n.over_heads(m[h, k] * inverse[h, k] * B[h], h)  # three factors at h: no product of matrices
        assert contract_inverse(kept, m, inverse) == normalise(kept)


class TestDefinitions:
    def test_free_indices_must_be_in_the_head(self):
        with pytest.raises(ValueError, match="free indices that its head lacks: k"):
            Definition(sp.IndexedBase("D")[h], G[h, k])

    def test_a_symmetric_name_needs_a_symmetric_body(self):
        with pytest.raises(ValueError, match="symmetric"):
            Definition(n.interaction[h, k], B[h])
        Definition(n.interaction[h, k], B[h] * B[k] + n.over_tasks(P[i, h] * P[i, k]))

    def test_heads(self):
        for head in (G[h, h], G[1, h]):
            with pytest.raises(NodeError, match="distinct symbols"):
                Definition(head, T)
        with pytest.raises(TypeError, match="names a symbol"):
            Definition(A[i] + 1, T)

    def test_entries_of_a_symmetric_name_are_not_independent(self):
        with pytest.raises(NodeError, match="not independent"):
            gradient(n.over_heads(n.interaction[h, k] * B[h], h, k), n.interaction[h, k])


class TestLeadingOrder:
    WEIGHTS: ClassVar = {A: sp.S.One, T: -sp.S.One, X: sp.Rational(1, 2), P: -sp.Rational(1, 2)}

    @pytest.mark.parametrize(
        ("expression", "weight"),
        [
            (n.over_tasks(sp.exp(T * X[i, h])), 0),
            (n.over_tasks(A[i] * sp.log(1 + T * B[h])), 0),
            (n.over_tasks(A[i] ** 2 + A[i]) / n.over_heads(1 + X[i, h] ** 2), 1),
            (sp.sqrt(n.over_tasks(A[i] ** 2) + A[i] + 1) - X[i, h] * P[i, h], 1),
            ((A[i] + X[i, h] + 1) ** 7 * T**6, 1),
            (sp.log(B[h] + T * B[h] ** 2) * A[i], 1),
            (sp.exp(P[i, h] ** 2 * A[i] + T) * X[i, h] / (1 + T), sp.Rational(1, 2)),
        ],
    )
    def test_the_quotient_tends_to_one(self, expression, weight):
        kept = leading_order(expression, self.WEIGHTS)
        gaps = []
        for grow in (1e4, 1e6):
            scaled = {base: grow ** float(power) for base, power in self.WEIGHTS.items()}
            values = numbers(2, 3, 0)
            for base, factor in scaled.items():
                name = str(getattr(base, "label", base))
                values[name] = values[name] * factor
            full, limit = (bruteforce.evaluate(each, values, {"i": 2, "h": 3}) for each in (expression, kept))
            gaps.append(abs(full / limit - 1))
            assert limit / grow**weight == pytest.approx(kept_value(kept), rel=1e-9)
        assert gaps[1] < 0.2 * gaps[0] < 0.02


def kept_value(expression):
    """The value with all factors of growth at 1: a homogeneous expression scales like its weight."""
    return bruteforce.evaluate(expression, numbers(2, 3, 0), {"i": 2, "h": 3})


@pytest.mark.parametrize(
    ("expression", "name"),
    [
        (0.5 * A[i], "float"),
        (sp.cos(A[i]), "cos"),
        (sp.Function("f")(A[i]), "f"),
        (sp.Product(A[i], (i, 1, n.n_tasks)), "Product"),
        (sp.Integral(sp.Symbol("z"), (sp.Symbol("z"), 0, 1)), "Integral"),
        (sp.Piecewise((A[i], A[i] > 1), (1, True)), "Piecewise"),
        (X[i, h] ** sp.Symbol("s"), "exponent"),
        (sp.Sum(A[i], (i, 0, n.n_tasks)), "from 1"),
        (sp.Sum(A[i], (i, 1, j), (j, 1, n.n_tasks)), "constant"),
        (X[i, h + 1], "index"),
        (sp.Sum(A[i], (i, 1, n.n_tasks - 1)), "upper limit"),
        (sp.Sum(A[i] * sp.Sum(B[h], (h, 1, i)), (i, 1, n.n_tasks)), "not another index"),
        (sp.Sum(A[i], (i, 1, sp.oo)), "upper limit"),
        (sp.Sum(A[sp.Idx("i", 3)], sp.Idx("i", 3)), "Idx"),
        (A[0], "count from 1"),
        (A[A[i]], "index"),
        (sp.IndexedBase("y")[sp.Rational(1, 2)], "index"),
        (sp.KroneckerDelta(i, h + 1), "index"),
        (sp.KroneckerDelta(i, j, (1, 3)), "range"),
        (n.over_tasks(n.over_heads(sp.KroneckerDelta(i, h))), "ties indices"),
        (sp.Symbol("s", commutative=False), "commute"),
        (sp.Abs(X[i, h]), "Abs"),
        (sp.Max(X[i, h], 0), "Max"),
        (sp.Derivative(T**2, T), "Derivative"),
        (sp.I * A[i], "ImaginaryUnit"),
        (2 ** sp.cos(T), "cos"),
        (sp.Pow(-2, sp.Rational(1, 3), evaluate=False), "negative"),
        (sp.nan, "finite"),
        (sp.zoo, "ComplexInfinity"),
        (A[i] > 1, "StrictGreaterThan"),
        ("A[i]", "not an index expression"),
        (None, "not an index expression"),
        (sp.oo, "finite"),
        (sp.zeros(2, 2), "Matrix"),
    ],
)
def test_the_node_set_is_closed(expression, name):
    with pytest.raises((NodeError, TypeError), match=name):
        check(expression)
