"""Decomposability: why the population gradient leaves W_X, U_Y diagonal and the other blocks zero (derived here).

Written in the basis of Φ, for one head and one token: a sum over heads or tokens inherits what holds for each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sympy import Expr, Indexed, IndexedBase, KroneckerDelta, S, Sum, Symbol

from .. import notation as n
from ..derivation import Derivation, Recorder
from ..grounds import DEFINITION
from ..indexed import difference_is_zero, gradient, normalise, replace_indexed, rule, substitute
from ..result import builder

Rules = Mapping[IndexedBase, Callable[..., Expr]]

_total_dim = Symbol("d", integer=True, positive=True)
_a, _b, _e, _f, _i, _j, _m = map(n.index, ("a", "b", "e", "f", "i", "j", "m"))

# A token (x, y) and the query; β_i is zero outside the coordinates of task i, and the query's label is zero.
_token, _label, _noise = (IndexedBase(name, real=True) for name in ("x", "y", "epsilon"))
_query, _regressor = IndexedBase("x_q", real=True), IndexedBase("beta", real=True)
_key_query, _label_query = IndexedBase("W_X", real=True), IndexedBase("W_YX", real=True)
_output_label, _output_token = IndexedBase("U_Y", real=True), IndexedBase("U_X", real=True)
_score, _output, _target = Symbol("s", real=True), IndexedBase("f", real=True), IndexedBase("t", real=True)


_INDICES: Mapping[IndexedBase, tuple[Symbol, ...]] = {
    _token: (_a,),
    _query: (_a,),
    _label: (_i,),
    _noise: (_i,),
    _regressor: (_i, _a),
    _key_query: (_a, _b),
    _label_query: (_i, _b),
    _output_label: (_i, _j),
    _output_token: (_i, _a),
}


def _image(base: IndexedBase) -> IndexedBase:
    """The name of a quantity after a move."""
    return IndexedBase(f"{base.label}_prime", real=True)


def _over_coordinates(summand: Expr, *indices: Symbol) -> Expr:
    return Sum(summand, *((index, 1, _total_dim) for index in indices))


# What the loss is made of.
_SCORE = _over_coordinates(_token[_a] * _key_query[_a, _b] * _query[_b], _a, _b) + n.over_tasks(
    _over_coordinates(_label[_i] * _label_query[_i, _b] * _query[_b], _b), _i
)
_LABEL = _over_coordinates(_regressor[_i, _a] * _token[_a], _a) + _noise[_i]
_OUTPUT = n.over_tasks(_output_label[_i, _j] * _label[_j], _j) + _over_coordinates(
    _output_token[_i, _a] * _token[_a], _a
)
_TARGET = _over_coordinates(_regressor[_i, _a] * _query[_a], _a)


def _coordinate_sign(index: Expr) -> Expr:
    return 1 - 2 * KroneckerDelta(index, _e)


def _task_sign(index: Expr) -> Expr:
    return 1 - 2 * KroneckerDelta(index, _m)


# Coordinate e changes sign, in the data and, to make up for it, in the weights.
_COORDINATE_FLIP: Rules = {
    _token: lambda a: _coordinate_sign(a) * _token[a],
    _query: lambda a: _coordinate_sign(a) * _query[a],
    _regressor: lambda i, a: _coordinate_sign(a) * _regressor[i, a],
    _key_query: lambda a, b: _coordinate_sign(a) * _coordinate_sign(b) * _key_query[a, b],
    _label_query: lambda i, b: _coordinate_sign(b) * _label_query[i, b],
    _output_token: lambda i, a: _coordinate_sign(a) * _output_token[i, a],
}

# Task m changes sign: its regressor, noise and label, and the weights that read or write it.
_TASK_FLIP: Rules = {
    _regressor: lambda i, a: _task_sign(i) * _regressor[i, a],
    _noise: lambda i: _task_sign(i) * _noise[i],
    _label: lambda i: _task_sign(i) * _label[i],
    _label_query: lambda i, b: _task_sign(i) * _label_query[i, b],
    _output_label: lambda i, j: _task_sign(i) * _task_sign(j) * _output_label[i, j],
    _output_token: lambda i, a: _task_sign(i) * _output_token[i, a],
}


def _step(index: Expr) -> Expr:
    """The vector e_e − e_f; exchanging coordinates e and f is x − step (x_e − x_f)."""
    return KroneckerDelta(index, _e) - KroneckerDelta(index, _f)


def _exchanged_matrix(a: Expr, b: Expr) -> Expr:
    rows = _key_query[_e, b] - _key_query[_f, b]
    columns = _key_query[a, _e] - _key_query[a, _f]
    corner = _key_query[_e, _e] - _key_query[_e, _f] - _key_query[_f, _e] + _key_query[_f, _f]
    return _key_query[a, b] - _step(a) * rows - columns * _step(b) + _step(a) * _step(b) * corner


def _exchanged_row(base: IndexedBase) -> Callable[..., Expr]:
    return lambda i, a: base[i, a] - _step(a) * (base[i, _e] - base[i, _f])


# Coordinates e and f of one task change places.
_EXCHANGE: Rules = {
    _token: lambda a: _token[a] - _step(a) * (_token[_e] - _token[_f]),
    _query: lambda a: _query[a] - _step(a) * (_query[_e] - _query[_f]),
    _regressor: _exchanged_row(_regressor),
    _key_query: _exchanged_matrix,
    _label_query: _exchanged_row(_label_query),
    _output_token: _exchanged_row(_output_token),
}


@builder
def decomposability() -> Derivation:
    """The gradient at decomposable weights is decomposable, with one ω for the coordinates of a task."""
    record = Recorder("Decomposability", ("Gaussian tokens, regressors and noise, written in the basis of Φ",))
    record(
        "model in coordinates",
        ((_score, _SCORE), (_label[_i], _LABEL), (_output[_i], _OUTPUT), (_target[_i], _TARGET)),
        "Score, label and output of a token, and the target; softmax and squared error are made of these. The query's "
        "label is zero and only labels are predicted: the other blocks of the weights do not enter.",
        scope=DEFINITION,
    )
    _record_symmetry(
        record, "flip of a coordinate", _COORDINATE_FLIP, S.One, "Coordinate e of tokens and regressors changes sign."
    )
    _record_symmetry(
        record,
        "flip of a task",
        _TASK_FLIP,
        _task_sign(_i),
        "Regressor, noise and label of task m change sign: output and target of task m do, their squared error not.",
    )
    _record_symmetry(record, "exchange of coordinates", _EXCHANGE, S.One, "Two coordinates of one task change places.")
    entry = _key_query[_a, _b]
    _record_vanishing(record, entry, _COORDINATE_FLIP, {_e: _a}, 1 - KroneckerDelta(_a, _b))
    entry = _output_label[_i, _j]
    _record_vanishing(record, entry, _TASK_FLIP, {_m: _i}, 1 - KroneckerDelta(_i, _j))
    _record_vanishing(record, _label_query[_i, _b], _COORDINATE_FLIP, {_e: _b}, S.One)
    _record_vanishing(record, _output_token[_i, _a], _COORDINATE_FLIP, {_e: _a}, S.One)
    first, second = _key_query[_e, _e], _key_query[_f, _f]
    record(
        "equal coordinates",
        (n.partial_derivative(first), n.partial_derivative(second)),
        "The exchange maps one diagonal entry of W_X to the other, and weights with one ω_i^h per task to "
        "themselves: with the rest of the gradient zero, decomposable weights stay decomposable.",
        check=lambda line: (
            difference_is_zero(_image_of(line[0], _EXCHANGE) * _distinct(), line[1] * _distinct())
            and _fixes_decomposable(_EXCHANGE, _alike)
        ),
    )
    return record.freeze()


def _distinct() -> Expr:
    return 1 - KroneckerDelta(_e, _f)


def _record_symmetry(record: Recorder, label: str, rules: Rules, sign: Expr, why: str) -> None:
    """Data and weights moved together: the score stays, label, output and target keep their meaning."""
    expected = (_SCORE, sign * _LABEL, sign * _OUTPUT, sign * _TARGET)
    record(
        label,
        tuple((_image(base)[_INDICES[base]], rule(*_INDICES[base])) for base, rule in rules.items()),
        f"{why} Their law is the same. With the weights moved along, so is every risk: the loss has this symmetry.",
        check=lambda *lines: _is_symmetry(dict(zip(rules, lines, strict=True)), sign, expected),
    )


def _is_symmetry(lines: Mapping[IndexedBase, tuple[Expr, Expr]], sign: Expr, expected: tuple[Expr, ...]) -> bool:
    """Whether the moves keep the law of the data and make of the model what is expected."""
    rules = {base: rule(base[_INDICES[base]], body) for base, (_, body) in lines.items()}
    return (
        difference_is_zero(sign**2, S.One)
        and all(difference_is_zero(ours, theirs) for ours, theirs in zip(_moved_model(rules), expected, strict=True))
        and all(_keeps_its_law(base, rules[base]) for base in rules if base in (_token, _query, _noise, _regressor))
    )


def _keeps_its_law(base: IndexedBase, move: Callable[..., Expr]) -> bool:
    """Whether a linear move R of a Gaussian vector leaves its covariance: R V Rᵀ = V, V diagonal.

    The variance of a regressor's coordinate depends on the task of the coordinate alone: it is the same at e and f.
    """
    *row, last = _INDICES[base]
    other, summed = n.index("b2"), n.index("c2")
    upper = n.n_tasks if base == _noise else _total_dim
    entries = [gradient(move(*row, place), base[(*row, summed)]) for place in (last, other)]
    covariance = Sum(entries[0] * entries[1] * _alike(summed), (summed, 1, upper))
    expected = _alike(last) * KroneckerDelta(last, other)
    return difference_is_zero(covariance * _distinct(), expected * _distinct())


def _alike(place: Expr) -> Expr:
    """A number for each coordinate, the same at e and f, which belong to one task."""
    own, either = IndexedBase("own", real=True), KroneckerDelta(place, _e) + KroneckerDelta(place, _f)
    return own[place] * (1 - either) + own[_e] * either


def _image_of(slope: Expr, rules: Rules) -> Expr:
    """What a symmetry makes of the entry of the gradient in W_X: it moves like the weight."""
    of_weight = rules[_key_query](*slope.indices)
    return replace_indexed(of_weight, {_key_query: lambda *indices: slope.base[indices]})


def _fixes_decomposable(rules: Rules, eigenvalue: Callable[[Expr], Expr]) -> bool:
    """Whether weights with these eigenvalues of W_X, U_Y diagonal and the rest zero, stay as they are."""
    diagonal = IndexedBase("diagonal", real=True)
    decomposable: Rules = {
        _key_query: lambda a, b: eigenvalue(a) * KroneckerDelta(a, b),
        _output_label: lambda i, j: diagonal[i] * KroneckerDelta(i, j),
        _label_query: lambda *_: S.Zero,
        _output_token: lambda *_: S.Zero,
    }
    return all(
        difference_is_zero(
            replace_indexed(rules[base](*_INDICES[base]), decomposable) * _distinct(),
            decomposable[base](*_INDICES[base]) * _distinct(),
        )
        for base in rules
        if base in decomposable
    )


def _record_vanishing(record: Recorder, entry: Indexed, rules: Rules, at: Mapping[Symbol, Expr], factor: Expr) -> None:
    """Where a symmetry that leaves the weights as they are multiplies an entry by another number than 1."""
    moved = substitute(rules[entry.base](*entry.indices), at)
    slope = n.partial_derivative(entry)
    record(
        f"gradient in {entry.base.label}",
        (factor * slope, S.Zero),
        "Decomposable weights are fixed by the flip of this entry's own coordinate or task. There the gradient g "
        "equals its image, (1 − s) g = 0 with the sign s that the entry gets: −1 (on the diagonal 1).",
        check=lambda line: (
            line[1] == 0
            and difference_is_zero(2 * replace_indexed(line[0], {slope.base: rule(slope, entry)}), entry - moved)
            and _fixes_decomposable(rules, lambda a: IndexedBase("own", real=True)[a])
        ),
    )


def _moved_model(rules: Rules) -> tuple[Expr, ...]:
    """Score, label, output and target after the move."""
    return tuple(_moved(expression, rules) for expression in (_SCORE, _LABEL, _OUTPUT, _TARGET))


def _moved(expression: Expr, rules: Rules) -> Expr:
    return normalise(replace_indexed(expression, rules))
