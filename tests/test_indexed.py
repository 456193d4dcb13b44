"""The index calculus against a brute-force evaluator: values, derivatives, capture, the closed node set."""

from __future__ import annotations

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
from headflow.theory.indexed.nodes import NodeError
from index_expressions import DEFINITIONS, HEAD, TASK, A, B, P, X, expressions, numbers
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
    @settings(max_examples=120)
    @given(expressions(), SIZES)
    def test_the_value_is_kept(self, expression, sizes):
        assert_same(expression, normalise(expression), sizes, i=sizes[0], h=sizes[1])
        assert_same(expression, factored(expression), sizes, i=1, h=sizes[1])

    @settings(max_examples=60)
    @given(expressions())
    def test_it_is_a_fixed_point(self, expression):
        once = normalise(expression)
        assert normalise(once) == once

    @settings(max_examples=12)
    @given(expressions(closed=True), expressions(closed=True))
    def test_order_and_distribution_do_not_matter(self, first, second):
        assert normalise(first + second) == normalise(second + first)
        assert difference_is_zero(first * (second + 1), second * first + first)

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

    @settings(max_examples=60)
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


@pytest.mark.parametrize(
    ("expression", "name"),
    [
        (0.5 * A[i], "float"),
        (sp.cos(A[i]), "cos"),
        (sp.Function("f")(A[i]), "f"),
        (sp.Product(A[i], (i, 1, n.n_tasks)), "Product"),
        (sp.Integral(sp.Symbol("z"), (sp.Symbol("z"), 0, 1)), "Integral"),
        (sp.Piecewise((A[i], A[i] > 1), (1, True)), "Piecewise"),
        (A[i] ** sp.Symbol("s"), "exponent"),
        (sp.Sum(A[i], (i, 0, n.n_tasks)), "from 1"),
        (sp.Sum(A[i], (i, 1, j), (j, 1, n.n_tasks)), "constant"),
        (X[i, h + 1], "index"),
        (sp.oo, "finite"),
        (sp.zeros(2, 2), "Matrix"),
    ],
)
def test_the_node_set_is_closed(expression, name):
    with pytest.raises((NodeError, TypeError), match=name):
        check(expression)
