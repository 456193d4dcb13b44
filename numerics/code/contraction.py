"""Products with summed indices: the order of pairwise contractions, and how each pair is computed.

The order minimises the total cost over all orders (dynamic programming over subsets): a greedy choice can be
hundreds of times slower.  Vectors are absorbed into matrices before a matrix product rather than after, so that
products shared between equations are found.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from sympy import Symbol

from .graph import Graph, Value, broadcast_axes

# The search over all orders grows like 3^n in the number of factors.
MOST_FACTORS = 8

# Nominal length of an axis, and relative costs of touching one element in each kind of operation.
AXIS = 100.0
CALL = 2_000.0
ELEMENTWISE, MATMUL, VECDOT, EINSUM = 3.0, 1.0, 2.0, 20.0
BIND = 1e-6  # work at bind time counts next to nothing
LATE = 1.0  # tie-break: elementwise work belongs before a contraction


@dataclass(frozen=True)
class _Plan:
    cost: float
    value_labels: frozenset[Symbol]
    contracted: bool
    bind: bool
    split: tuple[int, int] | None


def product(graph: Graph, values: Sequence[Value], wanted: Sequence[Symbol]) -> Value:
    """The product of ``values`` summed over every label that is not ``wanted``."""
    values = _merged(graph, values)
    values = _few(graph, [_reduced(graph, values, place, wanted) for place in range(len(values))])
    full = (1 << len(values)) - 1
    plans: dict[int, _Plan] = {}
    for place, value in enumerate(values):
        plans[1 << place] = _Plan(0.0, value.label_set, False, value.node.stage == "bind", None)
    for mask in sorted(range(1, full + 1), key=lambda subset: (subset.bit_count(), subset)):
        if mask in plans:
            continue
        outside = frozenset(wanted).union(
            *(value.label_set for place, value in enumerate(values) if not mask >> place & 1)
        )
        part = (mask - 1) & mask
        while part:
            rest = mask ^ part
            if part > rest:
                candidate = _joined(plans[part], plans[rest], outside, (part, rest))
                if mask not in plans or candidate.cost < plans[mask].cost:
                    plans[mask] = candidate
            part = (part - 1) & mask

    def build(mask: int) -> Value:
        split = plans[mask].split
        if split is None:
            return values[mask.bit_length() - 1]
        left, right = build(split[0]), build(split[1])
        return pair(graph, left, right, plans[mask].value_labels, wanted)

    return build(full)


def _joined(left: _Plan, right: _Plan, outside: frozenset[Symbol], split: tuple[int, int]) -> _Plan:
    union = left.value_labels | right.value_labels
    kept = union & outside
    bind = left.bind and right.bind
    kind = _kind(left.value_labels, right.value_labels, kept)
    step = AXIS ** len(union) * _COSTS[kind] + CALL
    if kind == "multiply" and (left.contracted or right.contracted):
        step += LATE
    cost = left.cost + right.cost + (BIND if bind else 1.0) * step
    contracted = left.contracted or right.contracted or kind != "multiply"
    return _Plan(cost, kept, contracted, bind, split)


_COSTS = {"multiply": ELEMENTWISE, "matmul": MATMUL, "vecdot": VECDOT, "einsum": EINSUM}


def _kind(left: frozenset[Symbol], right: frozenset[Symbol], kept: frozenset[Symbol]) -> str:
    summed = (left | right) - kept
    if not summed:
        return "multiply"
    if len(summed) > 1 or not summed <= left & right:
        return "einsum"
    if left == right:
        return "vecdot"
    only_left, only_right = left - right, right - left
    if only_left and only_right:
        return "matmul"
    return "matmul" if not left & right & kept else "einsum"  # matrix-vector, without a batch


def pair(graph: Graph, left: Value, right: Value, kept: frozenset[Symbol], wanted: Sequence[Symbol]) -> Value:
    """The product of two values, summed over the labels that are not kept."""
    kind = _kind(left.label_set, right.label_set, kept)
    if kind == "multiply":
        return graph.elementwise("multiply", left, right)
    union = tuple(dict.fromkeys((*left.labels, *right.labels)))
    summed = tuple(label for label in union if label not in kept)
    order = {label: place for place, label in enumerate((*wanted, *(label for label in union if label not in wanted)))}
    if kind == "vecdot":
        batch = tuple(sorted(kept, key=order.__getitem__))
        operands = [left.along((*batch, *summed)), right.along((*batch, *summed))]
        operands.sort(key=lambda operand: (operand.node.number, operand.places))
        return Value(graph.node("vecdot", operands, broadcast_axes(operands)[:-1]), batch)
    if kind == "matmul":
        return _matmul(graph, left, right, summed[0], order)
    letters = dict(zip(union, string.ascii_letters, strict=False))
    out = tuple(sorted(kept, key=order.__getitem__))
    first, second = left.along(tuple(dict.fromkeys(left.labels))), right.along(tuple(dict.fromkeys(right.labels)))
    spelled = [
        "".join(letters[label] for label in labels)
        for labels in (dict.fromkeys(left.labels), dict.fromkeys(right.labels), out)
    ]
    ranges = {
        **dict(zip(left.labels, left.node.axes, strict=True)),
        **dict(zip(right.labels, right.node.axes, strict=True)),
    }
    subscripts = f"{spelled[0]},{spelled[1]}->{spelled[2]}"
    return Value(graph.node("einsum", (first, second), tuple(ranges[label] for label in out), subscripts), out)


def _matmul(graph: Graph, left: Value, right: Value, summed: Symbol, order: dict[Symbol, int]) -> Value:
    """A matrix product over one label; further labels of either side are batch axes."""
    only_left = sorted(left.label_set - right.label_set, key=order.__getitem__)
    only_right = sorted(right.label_set - left.label_set, key=order.__getitem__)
    if (only_right and not only_left) or (only_left and only_right and order[only_right[-1]] < order[only_left[-1]]):
        left, right, only_left, only_right = right, left, only_right, only_left
    rows, columns = only_left[-1:], only_right[-1:]
    shared = sorted((left.label_set & right.label_set) - {summed}, key=order.__getitem__)
    batch = (*shared, *only_left[:-1], *only_right[:-1])
    first = left.along((*batch, *rows, summed))
    second = right.along((*batch, summed, *columns)) if columns else right.along((summed,))
    labels = (*batch, *rows, *columns)
    ranges = {
        **dict(zip(left.labels, left.node.axes, strict=True)),
        **dict(zip(right.labels, right.node.axes, strict=True)),
    }
    axes = tuple(ranges[label] for label in labels)
    if columns and not batch:  # the transpose of a product that is known: (A B)ᵀ = Bᵀ Aᵀ
        swapped = (right.along((*columns, summed)), left.along((summed, *rows)))
        if known := graph.known("matmul", swapped, axes[::-1]):
            return Value(known, labels[::-1])
    return Value(graph.node("matmul", (first, second), axes), labels)


def _reduced(graph: Graph, values: Sequence[Value], place: int, wanted: Sequence[Symbol]) -> Value:
    """Sum a value at once over labels that occur nowhere else."""
    value = values[place]
    elsewhere = set(wanted).union(*(other.label_set for other in (*values[:place], *values[place + 1 :])))
    labels = tuple(dict.fromkeys(value.labels))
    alone = tuple(label for label in labels if label not in elsewhere)
    if not alone:
        return value
    kept = tuple(label for label in labels if label in elsewhere)
    operand = value.along((*kept, *alone))
    axes = broadcast_axes([operand])[: len(kept)]
    return Value(graph.node("sum", (operand,), axes, str(len(alone))), kept)


def _merged(graph: Graph, values: Sequence[Value]) -> list[Value]:
    """Parameters with the same labels multiplied together: that costs nothing at run time."""
    merged: dict[object, Value] = {}
    for place, value in enumerate(values):
        key = value.label_set if value.node.stage == "bind" else place
        merged[key] = graph.elementwise("multiply", merged[key], value) if key in merged else value
    return list(merged.values())


def _few(graph: Graph, values: list[Value]) -> list[Value]:
    """At most ``MOST_FACTORS`` values: those whose product is smallest are multiplied beforehand."""
    while len(values) > MOST_FACTORS:
        pairs = combinations(range(len(values)), 2)
        first, second = min(pairs, key=lambda two: len(values[two[0]].label_set | values[two[1]].label_set))
        joined = graph.elementwise("multiply", values[first], values[second])
        values = [*(value for place, value in enumerate(values) if place not in (first, second)), joined]
    return values
