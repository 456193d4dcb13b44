"""Brute-force values of SymPy index expressions at concrete sizes: plain loops over every sum (hand-derived).

Indices run 1..n on paper and select entry n - 1 of an array. Bound variables are scoped lexically and by
symbol identity, as in SymPy: ``Sum(x[k], (k, 1, n))`` with a dummy ``k`` does not touch a free symbol that is
also printed ``k``. Free symbols are looked up by name, because the same parameter may carry different
assumptions in the code under test and in a test.

If any value is an ``mpmath.mpf`` everything is computed with mpmath at its current precision, otherwise with
Python floats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import mpmath
import numpy as np
import sympy as sp
from sympy.core.function import AppliedUndef

Definition = tuple[sp.Indexed, sp.Expr]
Scope = Mapping[sp.Basic, int]

_FUNCTIONS = frozenset(
    ["exp", "log", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "sin", "cos", "tan", "atan", "erf", "gamma"]
)


def _name(symbol: sp.Basic) -> str:
    return str(symbol.label) if isinstance(symbol, (sp.Idx, sp.IndexedBase)) else str(symbol)


def _holds_mpf(value: Any) -> bool:
    if isinstance(value, mpmath.mpf):
        return True
    array = np.asarray(value)
    return array.dtype == object and any(isinstance(entry, mpmath.mpf) for entry in array.flat)


class _Evaluator:
    def __init__(self, values: Mapping[str, Any], definitions: Sequence[Definition]) -> None:
        self.values = values
        self.definitions: dict[str, Definition] = {}
        for head, body in definitions:
            name = _name(head.base)
            if name in values or name in self.definitions:
                raise ValueError(f"{name} is defined twice")
            symbols = all(isinstance(i, (sp.Symbol, sp.Idx)) for i in head.indices)
            if not symbols or len(set(head.indices)) != len(head.indices):
                raise ValueError(f"the head {head} must have distinct symbols as indices")
            self.definitions[name] = (head, body)
        self.mp = any(_holds_mpf(value) for value in values.values())
        self.number: Callable[[Any], Any] = mpmath.mpf if self.mp else float
        self.library: Any = mpmath if self.mp else math
        self.add: Callable[[list[Any]], Any] = mpmath.fsum if self.mp else math.fsum
        self.memo: dict[tuple[str, tuple[int, ...]], Any] = {}
        self.open: set[tuple[str, tuple[int, ...]]] = set()

    def integer(self, node: sp.Basic, scope: Scope, free: Mapping[str, int]) -> int:
        value = self.node(node, scope, free)
        if value != int(value):
            raise ValueError(f"{node} = {value} must be an integer")
        return int(value)

    def symbol(self, node: sp.Basic, scope: Scope, free: Mapping[str, int]) -> Any:
        if node in scope:
            return self.number(scope[node])
        name = _name(node)
        if name in free:
            return self.number(free[name])
        if name in self.values:
            return self.number(self.values[name])
        clash = "; a bound symbol of that name has other assumptions" if name in map(_name, scope) else ""
        raise KeyError(f"no value for the free symbol {name}{clash}")

    def indexed(self, node: sp.Indexed, scope: Scope, free: Mapping[str, int]) -> Any:
        name = _name(node.base)
        index = tuple(self.integer(i, scope, free) for i in node.indices)
        if name in self.values:
            array = np.asarray(self.values[name])
            if len(index) != array.ndim or not all(1 <= i <= n for i, n in zip(index, array.shape, strict=True)):
                raise IndexError(f"{name}{list(index)} lies outside 1..n of shape {array.shape}")
            return self.number(array[tuple(i - 1 for i in index)])
        if name not in self.definitions:
            raise KeyError(f"no array and no definition for {name}")
        key = (name, index)
        if key not in self.memo:
            if key in self.open:
                raise ValueError(f"the definition of {name} refers to itself")
            head, body = self.definitions[name]
            if len(index) != len(head.indices):
                raise IndexError(f"{node} has {len(index)} indices, its definition {len(head.indices)}")
            self.open.add(key)
            # A definition sees its own indices and the parameters, never the indices of its user.
            self.memo[key] = self.node(body, dict(zip(head.indices, index, strict=True)), {})
            self.open.discard(key)
        return self.memo[key]

    def terms(self, body: sp.Expr, limits: Sequence[sp.Tuple], scope: Scope, free: Mapping[str, int]) -> list[Any]:
        """All terms of a sum; SymPy lists the innermost limits first; they may depend on outer variables."""
        if not limits:
            return [self.node(body, scope, free)]
        variable, lower, upper = limits[-1]
        first, last = self.integer(lower, scope, free), self.integer(upper, scope, free)
        found: list[Any] = []
        for value in range(first, last + 1):
            found += self.terms(body, limits[:-1], {**scope, variable: value}, free)
        return found

    def power(self, node: sp.Pow, scope: Scope, free: Mapping[str, int]) -> Any:
        base = self.node(node.base, scope, free)
        if node.exp.is_Integer:
            return base ** int(node.exp)
        if base < 0:
            raise ValueError(f"{node}: fractional power of the negative number {base}")
        if node.exp == sp.Rational(1, 2):
            return self.library.sqrt(base)
        return base ** self.node(node.exp, scope, free)

    def node(self, node: Any, scope: Scope, free: Mapping[str, int]) -> Any:
        def below(child: Any) -> Any:
            return self.node(child, scope, free)

        if isinstance(node, sp.Rational):
            return self.number(node.p) / self.number(node.q)
        if isinstance(node, (sp.Symbol, sp.Idx)):
            return self.symbol(node, scope, free)
        if isinstance(node, sp.Indexed):
            return self.indexed(node, scope, free)
        if isinstance(node, sp.Add):
            return self.add([below(child) for child in node.args])
        if isinstance(node, sp.Mul):
            result = self.number(1)
            for child in node.args:
                result = result * below(child)
            return result
        if isinstance(node, sp.Pow):
            return self.power(node, scope, free)
        if isinstance(node, sp.Sum):
            return self.add(self.terms(node.function, node.limits, scope, free))
        if isinstance(node, sp.Product):
            result = self.number(1)
            for factor in self.terms(node.function, node.limits, scope, free):
                result = result * factor
            return result
        if isinstance(node, sp.KroneckerDelta):
            return self.number(below(node.args[0]) == below(node.args[1]))
        if isinstance(node, (sp.NumberSymbol, sp.Float)):
            return self.number(str(node.evalf(mpmath.mp.dps + 5)))
        if isinstance(node, sp.Abs):
            return abs(below(node.args[0]))
        if isinstance(node, (sp.Min, sp.Max)):
            return (min if isinstance(node, sp.Min) else max)(below(child) for child in node.args)
        if isinstance(node, sp.Function) and type(node).__name__ in _FUNCTIONS:
            return getattr(self.library, type(node).__name__)(*(below(child) for child in node.args))
        if isinstance(node, AppliedUndef) and callable(self.values.get(type(node).__name__)):
            return self.values[type(node).__name__](*(below(child) for child in node.args))
        raise TypeError(f"no brute-force rule for {type(node).__name__}: {node}")


def evaluate(
    expr: Any,
    values: Mapping[str, Any],
    indices: Mapping[str, int] | None = None,
    definitions: Sequence[Definition] = (),
) -> Any:
    """Value of ``expr``, a float, or an ``mpf`` if any of ``values`` is one.

    ``values`` holds parameters, sizes and arrays by name, ``indices`` the free indices (1-based) by name.
    ``definitions`` are pairs (head, body), e.g. ``(C[h, k], exp(Sum(...)))``, evaluated on demand with their
    own indices bound.
    """
    return _Evaluator(values, definitions).node(sp.sympify(expr), {}, dict(indices or {}))


def evaluate_array(
    expr: Any,
    free_indices: Sequence[tuple[str, int]],
    values: Mapping[str, Any],
    definitions: Sequence[Definition] = (),
    indices: Mapping[str, int] | None = None,
) -> np.ndarray:
    """Values of ``expr`` over ``free_indices`` = [(name, size), ...], axes as given (mpf: dtype object)."""
    evaluator = _Evaluator(values, definitions)
    node = sp.sympify(expr)
    names = [name for name, _ in free_indices]
    result = np.empty([size for _, size in free_indices], dtype=object if evaluator.mp else float)
    for place in product(*(range(size) for _, size in free_indices)):
        free = {**(indices or {}), **{name: k + 1 for name, k in zip(names, place, strict=True)}}
        result[place] = evaluator.node(node, {}, free)
    return result


def to_mpf(value: Any) -> Any:
    """The same number or array with mpf entries (exact conversion of floats)."""
    array = np.asarray(value)
    if array.ndim == 0:
        return mpmath.mpf(value.item() if isinstance(value, np.generic) else value)
    flat = [mpmath.mpf(x.item() if isinstance(x, np.generic) else x) for x in array.flat]
    return np.array(flat, dtype=object).reshape(array.shape)


def gradient(
    expr: Any,
    array: str,
    values: Mapping[str, Any],
    indices: Mapping[str, int] | None = None,
    definitions: Sequence[Definition] = (),
    digits: int = 50,
) -> np.ndarray:
    """Derivative of ``expr`` with respect to every entry of ``values[array]`` (float array of its shape).

    Central differences with step 10^(-digits/3) at ``digits`` digits: relative error about 10^(-2 digits/3),
    far below float64.
    """
    with mpmath.workdps(digits):
        precise = {name: to_mpf(value) for name, value in values.items()}
        step = mpmath.mpf(10) ** (-(digits // 3))
        point = np.asarray(precise[array])
        result = np.empty(point.shape)
        for place in np.ndindex(*point.shape):
            ends = []
            for sign in (1, -1):
                moved = point.copy()
                moved[place] = moved[place] + sign * step
                ends.append(evaluate(expr, {**precise, array: moved}, indices, definitions))
            result[place] = float((ends[0] - ends[1]) / (2 * step))
    return result
