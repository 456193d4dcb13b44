"""Enclosures: what statements claim, proved over boxes of parameters from the derived formulas.

Boxes are wide and hold the problem's own parameters; a real number stands for a dimension or a length.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from sympy import Add, E, Expr, Integer, Rational, S, Symbol, factor, sqrt

from ...theory import notation as n
from ...theory.closed_form import parameters_of
from ...theory.indexed import substitute, unroll
from ...theory.merged.identical_heads import merged_minimum
from ...theory.optima.bounds import factor_e, separation, universal_lower_bound
from ...theory.optima.limits import task_allocation_limit
from ...theory.optima.optimum import head_budget, multi_head_optimum
from ...theory.optima.optimum_proof import expressed
from ...theory.optima.shared_heads import idle_head, scaled_weight
from ...theory.parameters import PARAMETERS
from ...theory.phases.linearisation import linearised_flow
from ...theory.scalars import summand
from ..certificates import Certified, bounded_above, positive
from ..certificates.boxes import Range, atoms
from .finding import Finding, Setting, enclosed, proof
from .place import IN_A_BOX

ONE = Integer(1)
# Ranges of the parameters, by name; each is widened to hold the problem at hand.
WIDE = {
    "d": (Fraction(1), Fraction(10**4)),
    "L": (Fraction(1), Fraction(10**6)),
    "lambda": (Fraction(1, 1000), Fraction(1000)),
    "sigma2": (Fraction(1, 10**4), Fraction(100)),
    "phi": (Fraction(1), Fraction(100)),
    "c": (Fraction(1, 1000), Fraction(100)),
    "d_e": (Fraction(2), Fraction(10**6)),
}


def factor_e_in_a_box(setting: Setting) -> Finding:
    """The proof's steps; then 1 < limit/bound < e of each task for all d, L, σ², λ in a box."""
    ratio = unroll(_first(factor_e().ratio), {}, PARAMETERS)
    box = _wide(setting, ratio)
    claims = [bounded_above(ratio, E, box, kit=setting.kit), positive(ratio - 1, box, kit=setting.kit)]
    return _with_proof(factor_e(), claims, "claims not proved: ratio below e for all d, L, σ², λ in a box")


def separation_in_a_box(setting: Setting) -> Finding:
    """The limit is below one head's loss for two tasks, all costs and powers in a box, however the head divides."""
    what = "claims not proved: limit below one head for two tasks, all costs and powers in a box"
    return _with_proof(separation(), [_separated(setting)], what, "a box of parameters of two tasks")


def ordering_in_a_box(setting: Setting) -> Finding:
    """A task's loss falls as its share x_i grows to one; an allocation needs less than an equal part of the budget."""
    claims = [
        *_falls_in_its_share(setting),
        bounded_above(head_budget(1), head_budget(2) / 2, {}, kit=setting.kit),
        _separated(setting),
    ]
    what = "claims not proved: bound (x = 1) ≤ optimum ≤ limit (x = 1/e) ≤ single head in a box"
    return _with_proof(separation(), claims, what, "a box of parameters of two tasks")


def universal_bound_in_a_box(setting: Setting) -> Finding:
    """A task's loss falls as its share grows, and at share one it is the bound's."""
    at_one = _share_term().xreplace({_share(): S.One}) - _first(summand(universal_lower_bound().expression))
    claims = [
        *_falls_in_its_share(setting),
        bounded_above(at_one**2, S.Zero, _wide(setting, at_one), or_equal=True, kit=setting.kit),
    ]
    return _with_proof(
        universal_lower_bound(), claims, "claims not proved: a task's loss falls with its share in a box"
    )


def separation_limit_in_a_box(setting: Setting) -> Finding:
    """The gaps of ρ to one and to I, in the forms that the derivation shows equal, for two and three tasks."""
    at_most, above = (separation().derivation[label].formula[0][1] for label in ("at most I", "more than one"))
    claims = []
    for count in (2, 3):
        for expression, or_zero in ((at_most, True), (above, False)):
            written = unroll(expression, {"I": count})
            claims.append(positive(written, _wide(setting, written), or_zero, kit=setting.kit))
    what = "claims not proved: 1 < ρ ≤ I for two and three tasks in a box"
    return _with_proof(separation(), claims, what, "a box of parameters of two and three tasks")


def optimum_inequality(setting: Setting) -> Finding:
    """The inequality behind R_2 ≤ 1 for all Gram matrices in a box: s = t √(pq) with |t| ≤ 1."""
    ((gap, squares), _) = multi_head_optimum().derivation["two heads"].formula
    p, q, s = (next(a for a in gap.free_symbols if a.name == name) for name in "pqs")
    t = Symbol("t", real=True)
    # Term by term, each as a product: a box then shows the sign at once.
    written = Add(*(factor(term.xreplace({s: t * sqrt(p * q)})) for term in Add.make_args(squares)))
    box = {p: (Fraction(0), Fraction(100)), q: (Fraction(0), Fraction(100)), t: (Fraction(-1), Fraction(1))}
    claim = positive(written, box, or_zero=True, kit=setting.kit)
    what = "claims not proved: the inequality of the proof in a box"
    return _with_proof(multi_head_optimum(), [claim], what, "a box of Gram matrices of two heads")


def balanced_eigenvalues(setting: Setting) -> Finding:
    """Trace negative, determinant positive on task, decay off task: every mode that is not neutral is stable."""
    linear = linearised_flow("balanced")
    trace, determinant = (_first(factor(value)) for value in (linear.on_task.trace(), linear.on_task.det()))
    decay = _first(linear.off_task_rates[0])
    claims = [positive(value, _wide(setting, value), kit=setting.kit) for value in (-trace, determinant, -decay)]
    return _proved(setting, linear, claims, "claims not proved: signs of trace, determinant and decay in a box")


def split_eigenvalues(setting: Setting) -> Finding:
    """One eigenvalue of every pair off task is positive: a saddle."""
    linear = linearised_flow("split")
    escape = _first(max(linear.off_task_rates, key=lambda rate: rate.is_positive is True))
    claims = [positive(escape, _wide(setting, escape), kit=setting.kit)]
    return _proved(setting, linear, claims, "claims not proved: a positive eigenvalue off task in a box")


def degenerate_minimum(setting: Setting) -> Finding:
    """The form in (X, Y) is positive definite, and the coefficient of Σ_h μ^h (ω̃^h)² positive: V ≥ α Z."""
    found = merged_minimum()
    values = (factor(value) for value in (found.form[0, 0], found.form.det(), found.curvature))
    claims = [positive(value, _wide(setting, value), kit=setting.kit) for value in map(_first, values)]
    return _with_proof(found, claims, "claims not proved: a positive form and a positive coefficient in a box")


def kappa_in_a_box(setting: Setting) -> Finding:
    """κ(d) > e and κ falls with d, and the ratio of limit to bound is below κ, in a box."""
    limit = task_allocation_limit("finite_d")
    assert limit.kappa is not None
    exponent = _first(limit.kappa.expression).args[0]
    (dim,) = _atoms_of(exponent)
    dims = [Fraction(value) for value in setting.problem.dims]
    box = {dim: (min(Fraction(1), *dims), max(Fraction(1000), *dims))}
    kappa = Symbol("kappa", positive=True)
    ratio = _first(summand(limit.loss.expression) / summand(universal_lower_bound().expression))
    ratio = factor(ratio.xreplace({_first(limit.kappa.symbol): kappa}))
    ratio_box = {**_wide(setting, ratio), kappa: (Fraction(27, 10), Fraction(6))}
    claims = [
        positive(exponent - 1, box, kit=setting.kit),
        positive(-exponent.diff(dim), box, kit=setting.kit),
        positive(factor(kappa - ratio), ratio_box, kit=setting.kit),
    ]
    return enclosed(claims, "claims not proved: κ(d) > e, falling, and above the ratio of limit to bound in a box")


def idle_rate(setting: Setting) -> Finding:
    """The rate is zero with its slope at u = 1, and convex in a box: nowhere negative."""
    found = idle_head()
    rate = _first(found.rate)
    touches = rate.subs(scaled_weight, 1) ** 2 + rate.diff(scaled_weight).subs(scaled_weight, 1) ** 2
    curvature = rate.diff(scaled_weight, 2)
    box = {**_wide(setting, curvature), scaled_weight: (Fraction(-8), Fraction(8))}
    claims = [
        bounded_above(touches, S.Zero, _wide(setting, touches), or_equal=True, kit=setting.kit),
        positive(factor(curvature), box, kit=setting.kit),
    ]
    return _with_proof(found, claims, "claims not proved: e^u ≥ e u, by convexity, in a box")


def _separated(setting: Setting) -> Certified:
    """One head's loss at any division of its budget, 1/e, between two tasks is above the limit's loss.

    Term by term, each difference as a product: it is zero only where its task has the whole budget.
    """
    part = Symbol("t", real=True)
    at_limit, by_share = summand(task_allocation_limit().loss.expression), summand(multi_head_optimum().objective)
    terms = []
    for task, share in ((1, part * head_budget(1)), (2, (1 - part) * head_budget(1))):
        one, many = (unroll(substitute(term, {n.i: Integer(task)}), {}) for term in (by_share, at_limit))
        terms.append(factor(one.xreplace({expressed[task]: share}) - many))
    gap = Add(*terms)
    return positive(gap, {**_wide(setting, gap), part: (Fraction(0), Fraction(1))}, kit=setting.kit)


def _falls_in_its_share(setting: Setting) -> list[Certified]:
    term = _share_term()
    slope = factor(term.diff(_share()))
    return [positive(-slope, {**_wide(setting, slope), _share(): (Fraction(0), Fraction(1))}, kit=setting.kit)]


def _share() -> Expr:
    return _first(expressed[n.i])


def _share_term() -> Expr:
    return _first(summand(multi_head_optimum().objective))


def _first(expression: Expr) -> Expr:
    """The expression of task 1; every task has the same."""
    return unroll(substitute(expression, {n.i: ONE}), {})


def _atoms_of(expression: Expr) -> list[Expr]:
    return sorted(atoms(expression), key=str)


def _wide(setting: Setting, expression: Expr) -> dict[Expr, Range]:
    """The wide range of every parameter in an expression, widened to hold the problem's values."""
    values = parameters_of(setting.problem)
    box: dict[Expr, Range] = {}
    for atom in _atoms_of(expression):
        name = str(getattr(atom, "base", atom))
        if name not in WIDE:
            continue
        own = _own(values, name)
        low, high = WIDE[name]
        box[atom] = (min([low, *own]), max([high, *own]))
    return box


def _own(values: Mapping[str, Any], name: str) -> list[Fraction]:
    found = values.get(name, ())
    entries = found if isinstance(found, list | tuple) else [found]
    return [Fraction(int(Rational(entry).p), int(Rational(entry).q)) for entry in entries]


def _proved(setting: Setting, result: Any, claims: list[Certified], what: str) -> Finding:
    """`_with_proof` where the steps take seconds: a quick run leaves them out."""
    return enclosed(claims, what) if setting.quick else _with_proof(result, claims, what)


def _with_proof(result: Any, claims: list[Certified], what: str, box: str = IN_A_BOX) -> Finding:
    """The claims, and every checked step of the derivation that leads from the model to them."""
    finding = enclosed(claims, what, problem=box)
    failed = proof(result.derivation).measured
    if not failed:
        return finding
    return replace(finding, measured=finding.measured + failed, error=0.0)
