"""The step from SymPy to the layout tree; an expression outside the node set is a ``TypeError``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

from sympy import (
    Add,
    Basic,
    Derivative,
    Dummy,
    Expr,
    Idx,
    Indexed,
    IndexedBase,
    Integer,
    Limit,
    Max,
    Min,
    Mul,
    Order,
    Piecewise,
    Pow,
    Product,
    Rational,
    Sum,
    Symbol,
    exp,
    log,
    oo,
)
from sympy import Function as SymPyFunction
from sympy.core.function import AppliedUndef
from sympy.core.numbers import Exp1, Infinity, NegativeInfinity, Pi
from sympy.core.relational import GreaterThan, LessThan, Relational, StrictGreaterThan, StrictLessThan
from sympy.logic.boolalg import And, BooleanTrue, Or

from .functions import LEFT_POWERS, PARTIAL, SPECIAL_FORMS, differential, function_name
from .indices import Scope, index_key, is_conventional, outermost
from .names import indexed, name
from .nodes import (
    Apply,
    BigOperator,
    Cases,
    Factors,
    Fenced,
    Fraction,
    Listing,
    Name,
    Node,
    Number,
    Relation,
    Root,
    Scripts,
    Term,
    Terms,
    closed,
    fenced,
    grouped,
    is_tall,
)
from .order import (
    BRACKET,
    DEFINITION,
    EXPONENTIAL,
    PARAMETER,
    STATE,
    Monomial,
    merged_limits,
    monomial,
    ordered_terms,
    rank,
)

Edges: TypeAlias = tuple[Node, Node]  # what stands below and above a big operator

ONE = Number("1")
_HALF = Rational(1, 2)
_SIGNS = {"==": "=", "!=": "≠", "<": "<", "<=": "≤", ">": ">", ">=": "≥"}
_ASCENDING = {"<": "<", ">": "<", "<=": "≤", ">=": "≤"}
_INEQUALITIES = (StrictLessThan, StrictGreaterThan, LessThan, GreaterThan)
_SIDES = {"+": Name("+", "+", upright=True), "-": Name("−", "-", upright=True)}
_ORDINARY = Name("d", "d", upright=True)


def layout(formula: Basic | int, *, limits: bool = True, beside: Iterable[Basic] = ()) -> Node:
    """The layout of an expression, relation or condition.

    With ``limits=False`` sums over the conventional ranges (tasks 1..I, heads 1..H) show only their index.  A bound
    index whose letter is in use around its sum, or free in the formula or in those ``beside`` it, gets another one.
    """
    formula = Integer(formula) if isinstance(formula, int) else formula
    return _Layout(limits, outermost((formula, *beside))).formula(formula)


class _Layout:
    """One walk over an expression.

    ``inline`` is set in exponents and indices, where bars are too small; ``scope`` knows the letters of indices.
    """

    def __init__(self, limits: bool, scope: Scope) -> None:
        self.limits = limits
        self.scope = scope
        self.inline = False

    def formula(self, formula: Basic) -> Node:
        match formula:
            case Relational():
                return Relation((self.formula(formula.lhs), self.formula(formula.rhs)), (_SIGNS[formula.rel_op],))
            case And() | Or():
                return self._condition(formula)
            case BooleanTrue():
                return Name("true", r"\mathrm{true}", upright=True)
            case Expr():
                return self.expression(formula)
        raise TypeError(f"cannot print a {type(formula).__name__}: {formula!r}")

    def expression(self, expr: Expr) -> Node:
        match expr:
            case Integer() if expr >= 0:
                return Number(str(expr))
            case Pi():
                return Name("π", r"\pi")
            case Exp1():
                return Name("e", "e")
            case Infinity():
                return Name("∞", r"\infty")
            case NegativeInfinity():
                return Terms((Term(True, self.expression(oo)),))
            case Dummy() | Symbol():
                return name(self.scope.show(expr).name)
            case IndexedBase() | Idx():
                return name(str(expr.label))
            case Indexed():
                return self._indexed(expr)
            case Add():
                return Terms(tuple(Term(m.negative, self._term(m)) for m in ordered_terms(expr)))
            case exp() if not expr.exp.is_Rational:
                return self._exponential(expr)
            case Mul() | Pow() | Rational() | Sum() | Product() | exp():
                m = monomial(expr)
                return Terms((Term(True, self._term(m)),)) if m.negative else self._product(m)
            case Limit():
                return self._limit(expr)
            case Derivative():
                return self._derivative(expr)
            case Piecewise():
                return self._cases(expr)
            case Order():
                return Apply(name("O"), fenced(self.expression(expr.expr), call=True))
            case SymPyFunction():
                return self._function(expr)
        if isinstance(expr, Max | Min):
            return self._function(expr)
        raise TypeError(f"cannot print a {type(expr).__name__}: {expr!r}")

    def arguments(self, args: Iterable[Expr]) -> Node:
        """Arguments with commas between them."""
        items = tuple(map(self.formula, args))
        return items[0] if len(items) == 1 else Listing(items)

    # Products and powers

    def _term(self, m: Monomial) -> Node:
        body = self._product(m)
        return grouped(body) if isinstance(body, Terms) else body

    def _product(self, m: Monomial) -> Node:
        above = [(base, exponent) for base, exponent in m.powers if not _is_below(exponent)]
        below = [(base, -exponent) for base, exponent in m.powers if _is_below(exponent)]
        top = [Number(str(m.coefficient.p))] if m.coefficient.p != 1 else []
        bottom = [Number(str(m.coefficient.q))] if m.coefficient.q != 1 else []
        if not bottom and not below:
            return self._row(top + self._powers(above) or [ONE])
        # Parameters belong on the bar; what depends on the state follows, unless the denominator does too.
        highest = PARAMETER if all(rank(*power) <= PARAMETER for power in below) else BRACKET
        on_bar = [power for power in above if rank(*power) <= highest]
        after = above[len(on_bar) :]
        if not on_bar and len(after) == 1 and (_goes_on_bar(*after[0]) or (not top and highest == BRACKET)):
            # A bracket with fractions or sums of its own would crowd the bar beside a coefficient.
            crowded = bool(top) and rank(*after[0]) == BRACKET and is_tall(self._power(*after[0]))
            on_bar, after = ([], after) if crowded else (after, [])
        numerator = self._row(top + self._powers(on_bar) or [ONE])
        denominator = self._row(bottom + self._powers(below))
        fraction = Fraction(numerator, denominator)
        if self.inline and not after and not is_tall(numerator) and not is_tall(denominator):
            fraction = Fraction(
                grouped(numerator) if isinstance(numerator, Terms) else closed(numerator),
                grouped(denominator) if isinstance(denominator, Terms | Factors | Fraction) else denominator,
                inline=True,
            )
        return self._row([fraction, *self._powers(after)])

    def _powers(self, powers: Iterable[tuple[Expr, Expr]]) -> list[Node]:
        return [self._power(base, exponent) for base, exponent in powers]

    def _row(self, factors: list[Node]) -> Node:
        """A product that cannot be misread: factors are closed but for the last, signed sums bracketed."""
        if len(factors) == 1:
            return factors[0]
        *front, last = (grouped(factor) if _falls_apart(factor) else factor for factor in factors)
        return Factors((*map(closed, front), closed(last) if isinstance(last, Cases) else last))

    def _power(self, base: Expr, exponent: Expr) -> Node:
        if exponent == 1:
            return self._big(base) if isinstance(base, Sum | Product) else self.expression(base)
        body = self._power(base, Rational(1))
        if isinstance(base, Symbol) and isinstance(body, Scripts) and isinstance(body.sup, Number):
            # The symbol itself stands for a power, as σ² does.
            total = exponent * int(body.sup.digits)
            return body.base if total == 1 else Scripts(body.base, sup=self._small(total))
        if exponent == _HALF:
            return Root(body, plain=isinstance(body, Number | Name) or _is_name(base, body))
        above = self._small(exponent)
        if isinstance(body, Apply) and type(base).__name__ in LEFT_POWERS and exponent.is_Integer and exponent > 0:
            return Apply(Scripts(body.function, sup=above), body.argument)
        match body:
            case Number() | Name() | Root():
                return Scripts(body, sup=above)
            case Scripts(sup=None):
                return Scripts(body.base, body.sub, above)
            case Apply(argument=Fenced()) if isinstance(base, AppliedUndef) and isinstance(
                body.function, Name | Scripts
            ):
                return Scripts(body, sup=above)
            case Fenced():
                return Scripts(body, sup=above)
        return Scripts(grouped(body), sup=above)

    def _exponential(self, expr: exp) -> Node:
        power = _as_power(expr)
        return Scripts(Name("e", "e"), sup=self._small(expr.exp)) if power is None else self._power(*power)

    def _small(self, expr: Expr) -> Node:
        """An exponent or index: fractions with a slash."""
        before, self.inline = self.inline, True
        node = self.expression(expr)
        self.inline = before
        return node

    # Functions, indices

    def _indexed(self, expr: Indexed) -> Node:
        return indexed(str(expr.base.label), tuple(map(self._small, expr.indices)))

    def _function(self, expr: Expr) -> Node:
        special = SPECIAL_FORMS.get(expr.func.__name__)
        if special is not None:
            return special(*map(self.expression, expr.args))
        function = function_name(expr)
        argument = self.arguments(expr.args)
        if not isinstance(expr, AppliedUndef) and _is_bare(argument):
            return Apply(function, argument)
        return Apply(function, fenced(argument, call=True))

    def _derivative(self, expr: Derivative) -> Node:
        function = expr.expr
        ordinary = isinstance(function, AppliedUndef) and len(function.args) == 1
        mark = _ORDINARY if ordinary else PARTIAL
        order = sum(count for _, count in expr.variable_count)
        top: Node = mark if order == 1 else Scripts(mark, sup=self.expression(order))
        bottom = Listing(
            tuple(differential(mark, self._power(variable, count)) for variable, count in expr.variable_count),
            comma=False,
        )
        body = self.expression(function)
        if isinstance(function, Symbol | Indexed | AppliedUndef):
            return Fraction(differential(top, body), bottom)
        return Factors((Fraction(top, bottom), body if isinstance(body, Fenced) else grouped(body)))

    # Big operators

    def _big(self, expr: Sum | Product) -> Node:
        summand, ranges = merged_limits(expr)
        outside = self.scope
        edges = self._ranges(ranges)
        body = self._body(summand)
        self.scope = outside
        for lower, upper in reversed(edges):
            body = BigOperator("∑" if isinstance(expr, Sum) else "∏", lower, upper, body)
        return body

    def _body(self, expr: Expr) -> Node:
        body = self.expression(expr)
        return grouped(body) if isinstance(body, Terms) else body

    def _ranges(self, ranges: list[Any]) -> list[tuple[Node, Node | None]]:
        """What stands below and above each operator; from here on the indices are in scope."""
        bound = {index for index, *_ in ranges}
        independent = not any(bound & edge.free_symbols for _, *edges in ranges for edge in edges)
        groups: list[tuple[list[Symbol], Expr, Expr, Edges]] = []
        for index, lower, upper in ranges:
            edges = self._small(lower), self._small(upper)
            self.scope = self.scope.bind(index, upper)
            if independent and groups and groups[-1][1:3] == (lower, upper):
                groups[-1][0].append(self.scope.show(index))
            else:
                groups.append(([self.scope.show(index)], lower, upper, edges))
        return [self._range(*group) for group in groups]

    def _range(self, indices: list[Symbol], lower: Expr, upper: Expr, edges: Edges) -> tuple[Node, Node | None]:
        names = tuple(name(index.name) for index in sorted(indices, key=index_key))
        listed = names[0] if len(names) == 1 else Listing(names)
        if not self.limits and all(is_conventional(index, lower, upper) for index in indices):
            return listed, None
        return Relation((listed, edges[0]), ("=",)), edges[1]

    def _limit(self, expr: Limit) -> Node:
        body, variable, point, direction = expr.args
        target = self._small(point)
        side = _SIDES.get(str(direction))
        if side is not None and not point.is_infinite:
            target = Scripts(target if isinstance(target, Number | Name) else grouped(target), sup=side)
        lower = Relation((self._small(variable), target), ("→",))
        return BigOperator("lim", lower, None, self._body(body))

    # Conditions

    def _condition(self, formula: And | Or) -> Node:
        chain = _chain(formula) if isinstance(formula, And) else None
        if chain is not None:
            sides, signs = chain
            return Relation(tuple(map(self.formula, sides)), signs)
        parts = sorted(formula.args, key=str)
        nodes = tuple(fenced(self.formula(p)) if isinstance(p, And | Or) else self.formula(p) for p in parts)
        return Relation(nodes, ("∧" if isinstance(formula, And) else "∨",) * (len(nodes) - 1))

    def _cases(self, expr: Piecewise) -> Node:
        return Cases(
            tuple(
                (self.expression(value), None if condition == True else self.formula(condition))  # noqa: E712
                for value, condition in expr.args
            )
        )


def _as_power(expr: exp) -> tuple[Expr, Expr] | None:
    """Base and exponent of ``e^{a log x}``; for ``e^{Σ a log x}`` a product of such powers, to the first."""
    factors = Mul.make_args(expr.exp)
    logs = [factor for factor in factors if isinstance(factor, log)]
    sums = [factor for factor in factors if isinstance(factor, Sum)]
    rest = Mul(*(factor for factor in factors if factor not in (*logs, *sums)))
    if len(logs) == 1 and not sums and not rest.has(log):
        return logs[0].args[0], rest
    if len(sums) != 1 or logs or rest.has(log):
        return None
    (total,) = sums
    if set(total.variables) & rest.atoms(Symbol):
        return None
    inner = _as_power(exp(rest * total.function)) if isinstance(total.function, Mul) else None
    if inner is None or isinstance(inner[0], Product):
        return None
    return Product(Pow(*inner, evaluate=False), *total.limits), Integer(1)


def _falls_apart(node: Node) -> bool:
    """Whether a factor beside ``node`` would take only a part of it."""
    return isinstance(node, Terms) or (isinstance(node, Fraction) and node.inline)


def _is_name(base: Expr, body: Node) -> bool:
    """Whether what stands above ``body`` is an index, not an exponent."""
    return isinstance(base, Symbol | Indexed) and isinstance(body, Scripts) and not isinstance(body.sup, Number)


def _is_below(exponent: Expr) -> bool:
    return bool(exponent.is_Rational and exponent < 0)


def _goes_on_bar(base: Expr, exponent: Expr) -> bool:
    """Whether a lone factor is better above the bar than behind it: (1 - x)/L, but ½ log x."""
    return rank(base, exponent) in (DEFINITION, STATE, EXPONENTIAL, BRACKET) or type(base).__name__ in SPECIAL_FORMS


def _is_bare(argument: Node) -> bool:
    """Whether a function may take ``argument`` without brackets: θ, μ_i, 2θ."""
    match argument:
        case Number() | Name() | Scripts(base=Name()):
            return True
        case Factors(factors=(Number(), Name() | Scripts(base=Name()))):
            return True
    return False


def _chain(formula: And) -> tuple[tuple[Expr, Expr, Expr], tuple[str, str]] | None:
    """Two inequalities that share their middle as one: a ≤ x ≤ b."""
    if len(formula.args) != 2 or any(arg.func not in _INEQUALITIES for arg in formula.args):
        return None
    first, second = formula.args
    for low, high in ((first, second), (second, first)):
        if low.gts == high.lts:
            return (low.lts, low.gts, high.gts), (_ASCENDING[low.rel_op], _ASCENDING[high.rel_op])
    return None
