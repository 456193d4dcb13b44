"""The stationary point in a box: existence and uniqueness over ranges of parameters, by the Krawczyk test."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from functools import cache

from sympy import Expr, Integer, Mul, N, Rational, S, Symbol, exp, expand, factor, sqrt

from ...theory import notation as n
from ...theory.closed_form import parameters_of
from ...theory.flows.ansatz import on_mu, on_omega
from ...theory.indexed import substitute, unroll
from ...theory.optima.limits import task_allocation_limit
from ...theory.optima.rooted_form import DIGITS as ROOT_DIGITS
from ..certificates import Arithmetic, Certified, Equations, Interval, Tape, unique_solution
from ..certificates.boxes import Range
from ..problem.problem import Problem
from .finding import Finding, Setting, enclosed
from .place import IN_A_BOX

# The scaled unknowns: w = u/√d and m = √d v, both of order one.
u, v = Symbol("u", positive=True), Symbol("v", positive=True)
cost, dim, length = (Symbol(name, positive=True) for name in ("c", "d", "L"))
# Half-widths of the box of u and v, relative; and the first cells of c, each this factor wide.
RADII = {
    "leading": (Fraction(1, 20), Fraction(1, 5)),
    "finite_d": (Fraction(1, 20), Fraction(1, 5)),
    "first_order": (Fraction(1, 50), Fraction(1, 20)),
}
CELL = Fraction(5, 4)
DEEPEST = 4
MOST_TASKS = 6  # each is solved for by itself


def leading_point(setting: Setting) -> Finding:
    """One solution of the on-task equations near the limit for every c in a range, and the closed form is it."""
    return _point("leading", setting, (Fraction(1, 100), Fraction(10)))


def finite_d_point(setting: Setting) -> Finding:
    """The same at the problem's dimensions, in finite_d."""
    return _point("finite_d", setting, None)


def first_order_point(setting: Setting) -> Finding:
    """The same in first_order, for d_i ≥ 8: below, the statement claims no root."""
    return _point("first_order", setting, None)


def _point(closure: str, setting: Setting, costs: Range | None) -> Finding:
    kit, digits = setting.kit, setting.digits
    problem = setting.problem.subset(range(min(setting.problem.n_tasks, MOST_TASKS)), n_heads=setting.problem.n_heads)
    if closure == "first_order":
        digits = min(digits, ROOT_DIGITS)
        dims = [max(value, 8) for value in problem.dims]
        problem = problem.replace(dims=dims, context_length=max(problem.context_length, 50))
    own = [_exact(value) for value in parameters_of(problem)["c"]]
    claims = []
    for value in sorted(set(problem.dims)):
        near = [own_cost for own_cost, other in zip(own, problem.dims, strict=True) if other == value]
        low, high = min(near) * Fraction(9, 10), max(near) * Fraction(11, 10)
        if costs is not None:
            low, high = min(low, costs[0]), max(high, costs[1])
        claims.append(_certified(closure, Fraction(value), Fraction(problem.context_length), (low, high), kit))
        if costs is not None:
            break  # d drops out of the scaled equations
    claims.append(_holds_the_limit(closure, problem, kit, digits))
    what = "ranges of c without one stationary point near the limit, or where the closed form is not it"
    return enclosed(claims, what, problem=IN_A_BOX if problem == setting.problem else problem)


def _holds_the_limit(closure: str, problem: Problem, kit: Arithmetic, digits: int) -> Certified:
    """Whether ω and μ of the statement are the only solution for the problem's own parameters.

    Shown is that the solution lies within two fifths of the digits of them (the arithmetic has three fifths), and that
    none besides is near.
    """
    rounding = Fraction(1, 10 ** (2 * digits // 5))
    limit = task_allocation_limit(closure)
    enough = problem.replace(n_heads=max(problem.n_heads, problem.n_tasks))
    told = zip(limit.omega.at_tasks(enough), limit.mu.at_tasks(enough), strict=True)
    costs = [_exact(value) for value in parameters_of(problem)["c"]]
    holds: bool | None = True
    for own_dim, own_cost, (omega, mu) in zip(problem.dims, costs, told, strict=True):
        at = {dim: Fraction(own_dim), length: Fraction(problem.context_length), cost: own_cost}
        parameters = {atom: (value, value) for atom, value in at.items()}
        image = _image(closure, parameters, kit)
        if image is None:
            holds = holds and None
            continue
        scaled = (_exact(N(omega * sqrt(Integer(own_dim)), digits)), _exact(N(mu / sqrt(Integer(own_dim)), digits)))
        if not all(
            low - rounding <= value <= high + rounding for value, (low, high) in zip(scaled, image, strict=True)
        ):
            holds = False
        near = [(value * (1 - rounding), value * (1 + rounding)) for value in scaled]
        if unique_solution(scaled_equations(closure), parameters, near, kit) is None:
            holds = holds and None
    places = 2 * digits // 5
    claim = (
        f"omega and mu of the {closure} limit are the stationary point at the problem's parameters, to {places} digits"
    )
    return Certified(claim, (), None, None, holds, len(costs), kit.name)


def _exact(value: Expr) -> Fraction:
    number = Rational(value)
    return Fraction(int(number.p), int(number.q))


def _certified(closure: str, own_dim: Fraction, own_length: Fraction, costs: Range, kit: Arithmetic) -> Certified:
    """The test over a range of c, cut into cells until it succeeds in each; the enclosed number is u."""
    dims, lengths = (own_dim, own_dim), (own_length, own_length)
    holds: bool | None = True
    lower, upper, cells = None, None, 0
    todo = list(_cells(*costs))
    while todo:
        cell, depth = todo.pop()
        cells += 1
        found, is_it = _tested(closure, {dim: dims, length: lengths, cost: cell}, kit)
        if found is None:
            if depth == DEEPEST:
                holds = holds and None
                continue
            middle = (cell[0] + cell[1]) / 2
            todo += [((cell[0], middle), depth + 1), ((middle, cell[1]), depth + 1)]
            continue
        lower = found[0] if lower is None else min(lower, found[0])
        upper = found[1] if upper is None else max(upper, found[1])
        if not is_it:
            holds = False
    box = tuple(zip("dLc", (dims, lengths, costs), strict=True))
    within = " and ".join(map(str, RADII[closure]))
    claim = f"one stationary point ({closure}): w = u/sqrt(d), m = v sqrt(d), within {within} of (u, v); u is enclosed"
    return Certified(claim, box, lower, upper, holds, cells, kit.name)


def _cells(low: Fraction, high: Fraction) -> Iterator[tuple[Range, int]]:
    while low < high:
        end = min(low * CELL, high)
        yield (low, end), 0
        low = end


def _tested(closure: str, parameters: dict[Expr, Range], kit: Arithmetic) -> tuple[Range | None, bool]:
    """u of the only solution over a cell (None: not shown), and whether the closed form can be that solution."""
    image = _image(closure, parameters, kit)
    if image is None:
        return None, True
    forms = _closed_forms(closure)
    if forms is None:
        return image[0], True
    given = {atom: Interval.of(kit, *ends) for atom, ends in parameters.items()}
    for form, (low, high) in zip(forms, image, strict=True):
        told = form(given, kit).ends
        if told[1] < low or told[0] > high:
            return image[0], False
    return image[0], True


def _image(closure: str, parameters: dict[Expr, Range], kit: Arithmetic) -> list[Range] | None:
    """Where the only solution near the middle's lies for all parameters of a cell; None where that was not shown."""
    equations = scaled_equations(closure)
    middle = {atom: (low + high) / 2 for atom, (low, high) in parameters.items()}
    start = (1 / math.sqrt(1 + 2 / float(middle[dim])), 1 / (1 + math.e * float(middle[cost])))
    centre = equations.near(middle, start, kit)
    box = [(value * (1 - radius), value * (1 + radius)) for value, radius in zip(centre, RADII[closure], strict=True)]
    return unique_solution(equations, parameters, box, kit)


@cache
def scaled_equations(closure: str) -> Equations:
    """The on-task gradients of the derivation in u and v, brought to a form in which a box shows its solution.

    What is left when the residual is eliminated, over factors that are positive; and the μ-gradient, which is linear
    in v, over the coefficient of v (where that may vanish there is no enclosure, and nothing is claimed).
    """
    (_, by_mu), (_, by_omega) = task_allocation_limit(closure).derivation["on-task stationarity"].formula
    by_mu, by_omega = (expand(_scaled(form)) for form in (by_mu, by_omega))
    spreads = {entry: Symbol(f"S_{place}", positive=True) for place, entry in enumerate(by_mu.atoms(exp))}
    closed, opened = spreads, {symbol: entry for entry, symbol in spreads.items()}
    eliminated = factor(expand(v * dim * by_mu - u * by_omega).xreplace(closed))
    kept = Mul(*(entry for entry in Mul.make_args(eliminated) if not entry.is_positive))
    linear = by_mu.xreplace(closed)
    rest, coefficient = linear.xreplace({v: S.Zero}), linear.coeff(v)
    return Equations([kept.xreplace(opened), v + factor(rest / coefficient).xreplace(opened)], [u, v])


@cache
def _closed_forms(closure: str) -> tuple[Tape, Tape] | None:
    limit = task_allocation_limit(closure)
    if limit.kappa is None:  # the root of an equation
        return None
    omega, mu = (
        unroll(substitute(form.expression, {n.i: Integer(1)}), {}, limit.mu.definitions)
        for form in (limit.omega, limit.mu)
    )
    return Tape(_scaled(omega) * sqrt(dim)), Tape(_scaled(mu) / sqrt(dim))


def _scaled(expression: Expr) -> Expr:
    first = unroll(substitute(expression, {n.i: Integer(1)}), {})
    unknowns = {on_mu[1]: sqrt(dim) * v, on_omega[1]: u / sqrt(dim)}
    atoms = {
        n.noise_factor[1]: cost * length / dim,
        n.dims[1]: dim,
        n.context_length: length,
        n.noise_to_context[1]: cost,
    }
    return first.xreplace({**unknowns, **atoms})
