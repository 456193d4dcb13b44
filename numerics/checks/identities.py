"""Symbolic checks: what statements claim, shown by the index calculus for every number of tasks and heads.

Each takes the equations that theory states and shows them again from the loss and from what is trained, by another way
than they were derived.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from sympy import Add, Expr, Indexed, IndexedBase, KroneckerDelta, Matrix, S, Sum, Symbol, expand, sqrt

from ...theory import notation as n
from ...theory.flows.coordinates import to_hyperbolic, to_log
from ...theory.flows.factors import FACTORS, IMBALANCES, PRODUCTS
from ...theory.flows.flow import attention_gradient, gradient_flow
from ...theory.flows.symmetry import STATE, symmetric_reduction, task_dim, task_noise, task_power
from ...theory.flows.system import ReducedSystem
from ...theory.indexed import (
    Definition,
    contract_inverse,
    difference_is_zero,
    directional_derivative,
    fold,
    gradient,
    inline,
    normalise,
    replace_indexed,
    rule,
    substitute,
    unroll,
)
from ...theory.indexed.nodes import bounds, indices_of
from ...theory.merged.merged_zero import merged_at_zero
from ...theory.optima.limits import task_allocation_limit, where_distinct
from ...theory.optima.optimum import eliminate_mu
from ...theory.optima.optimum_proof import expressed
from ...theory.parameters import PARAMETERS
from .finding import NONE_FAILS, Finding, Setting

Rules = Mapping[IndexedBase, Callable[..., Expr]]
# How many trained numbers share one entry: d_i coordinates have the same ω_i^h, k_i^h and q_i^h.
SHARED_BY = {n.mu: S.One, n.o: S.One, n.v: S.One, n.omega: n.dims[n.i], n.key: n.dims[n.i], n.query: n.dims[n.i]}


def merged_flow(setting: Setting) -> Finding:
    """Each velocity, times the trained numbers that share the entry, is minus the derivative of the loss."""
    del setting
    return _counted(_descends(gradient_flow("merged"), ()), "velocities that are not minus the gradient")


def split_flow(setting: Setting) -> Finding:
    """The same for the factors, the loss differentiated through the products."""
    del setting
    return _counted(_descends(gradient_flow("split"), PRODUCTS), "velocities that are not minus the gradient")


def balanced_flow(setting: Setting) -> Finding:
    """The products of factors that follow minus the gradient of the loss, at o = v = √μ and k = q = (√d_e ω)^{1/2}."""
    del setting
    flow, base = gradient_flow("balanced"), attention_gradient()
    definitions = (*PRODUCTS, *base.definitions)
    root_mu, root_omega = sqrt(n.mu[n.i, n.h]), sqrt(sqrt(n.embedding_dim) * n.omega[n.i, n.h])
    roots = (root_mu, root_mu, root_omega, root_omega)
    balanced = {factor.base: rule(factor, root) for factor, root in zip(FACTORS, roots, strict=True)}
    moving = {
        factor: -gradient(base.loss.expression, factor, definitions) / SHARED_BY[factor.base] for factor in FACTORS
    }
    equal = []
    for product, velocity in zip(PRODUCTS, flow.velocity, strict=True):
        moved = Add(*(gradient(product.body, factor) * speed for factor, speed in moving.items()))
        equal.append(difference_is_zero(flow.opened(replace_indexed(moved, balanced)), flow.opened(velocity)))
    return _counted(equal, "products that move otherwise than their factors")


def log_coordinates(setting: Setting) -> Finding:
    """μ = e^u and ω = e^w differentiated along the flow of u and w are the balanced velocities."""
    del setting
    flow = gradient_flow("balanced")
    log = to_log(flow)
    equal = (
        difference_is_zero(log.opened(log.derivative_along(variable)), log.opened(flow.opened(velocity)))
        for variable, velocity in zip(flow.state, flow.velocity, strict=True)
    )
    return _counted(equal, "variables that move otherwise in logarithms")


def split_logarithms(setting: Setting) -> Finding:
    """u = log((o + v)²/4), and w, differentiated along the split flow; and the products at that chart."""
    del setting
    flow = gradient_flow("split")
    log = to_log(flow)
    charts = [log.derivation[f"logarithm in {item.base.label}"].formula[0] for item in PRODUCTS]
    back: Rules = {name.base: rule(name, told) for name, told in charts} | {
        size.base: rule(size, form) for size, form in zip(IMBALANCES, flow.invariants, strict=True)
    }
    opened = log.definitions[: len(PRODUCTS)]
    products = [
        difference_is_zero(replace_indexed(item.body, back), own.body)
        for item, own in zip(opened, PRODUCTS, strict=True)
    ]
    speeds = [
        difference_is_zero(flow.derivative_along(told), replace_indexed(velocity, back))
        for (_, told), velocity in zip(charts, log.velocity, strict=True)
    ]
    return _counted([*products, *speeds], "coordinates that move otherwise than the factors")


def hyperbolic_angles(setting: Setting) -> Finding:
    """The factors in terms of the angles, differentiated along the flow of the angles; for either sign of Δ and Γ."""
    del setting
    flow = gradient_flow("split")
    angles = to_hyperbolic(flow)
    charts = [line for item in PRODUCTS for line in angles.derivation[f"angle in {item.base.label}"].formula]
    velocities = dict(zip(flow.state, flow.velocity, strict=True))
    equal = []
    for other_sign in (False, True):
        pairs = dict(charts)
        if other_sign:
            (o, v), (key, query) = FACTORS[:2], FACTORS[2:]
            pairs = {o: pairs[v], v: pairs[o], key: pairs[query], query: pairs[key]}
        at: Rules = {factor.base: rule(factor, told) for factor, told in pairs.items()}
        equal += [
            difference_is_zero(angles.derivative_along(told), replace_indexed(velocities[factor], at))
            for factor, told in pairs.items()
        ]
        equal += [
            difference_is_zero(replace_indexed(own.body, at), item.body)
            for item, own in zip(angles.definitions[: len(PRODUCTS)], PRODUCTS, strict=True)
        ]
    return _counted(equal, "factors that move otherwise than their angles")


def relabelling(setting: Setting) -> Finding:
    """No equation of the flow tells one task or one head from another.

    Every index that occurs is free or runs over a whole range, stands only in places of its own kind, and never as a
    number: then a permutation of the tasks (with their parameters) or of the heads permutes the equations.
    """
    del setting
    flow = gradient_flow("balanced")
    places: dict[IndexedBase, tuple[Expr, ...]] = {}
    pairs = [
        *((definition.head, definition.body) for definition in (*PARAMETERS, *flow.definitions)),
        *zip(flow.state, flow.velocity, strict=True),
    ]
    equal = []
    for head, body in pairs:
        indices = indices_of(head) if isinstance(head, Indexed) else ()
        kinds = {index: n.n_tasks if index in (n.i, n.j) else n.n_heads for index in indices}
        equal.append(all(_anonymous(side, kinds, places) for side in (head, body)))
    return _counted(equal, "equations that tell one task or one head from another")


def _anonymous(node: Expr, kinds: Mapping[Symbol, Expr], places: dict[IndexedBase, tuple[Expr, ...]]) -> bool:
    """Whether an expression with indices of these kinds (ranges) is the same whatever the labels are.

    ``places`` are the kinds of each name's indices, filled in where a name is met for the first time.
    """
    if isinstance(node, Indexed | KroneckerDelta):
        found = tuple(kinds.get(entry) for entry in indices_of(node))
        if None in found:
            return False
        if isinstance(node, KroneckerDelta):
            return len(set(found)) == 1
        return places.setdefault(node.base, found) == found
    if isinstance(node, Sum):
        ranges = dict(bounds(node))
        whole = all(upper in (n.n_tasks, n.n_heads) for upper in ranges.values())
        return whole and _anonymous(node.function, {**kinds, **ranges}, places)
    if isinstance(node, Symbol):
        return node not in kinds
    return all(_anonymous(argument, kinds, places) for argument in node.args)


def symmetric_set(setting: Setting) -> Finding:
    """The loss on the symmetric set, there the population loss, has I or I (I − 1) gradients as slopes.

    By symmetry of the loss the gradient on the set has the set's own form, so its slopes give it.  The two losses are
    compared for I up to five: coefficients of one exponential are polynomials in I of degree 3, which five values fix.
    """
    del setting
    reduced = symmetric_reduction()
    own = inline(reduced.loss, reduced.definitions)
    tasks = n.n_tasks
    equal = [
        difference_is_zero(own.diff(name), count * inline(entry, reduced.definitions))
        for name, entry, count in zip(reduced.state, reduced.gradient, 2 * (tasks, tasks * (tasks - 1)), strict=True)
    ]
    base = attention_gradient()
    m, off_mu, p, off_omega = STATE
    for size in range(1, 6):
        values = {
            "I": size,
            "H": size,
            "d": [task_dim] * size,
            "lambda": [task_power] * size,
            "phi": [task_noise] * size,
            "mu": [[m if task == head else off_mu for head in range(size)] for task in range(size)],
            "omega": [[p if task == head else off_omega for head in range(size)] for task in range(size)],
        }
        equal.append(expand(unroll(base.loss.expression, values, base.definitions) - unroll(own, {"I": size})) == 0)
    return _counted(equal, "slopes on the symmetric set that are not its gradients")


def best_mu(setting: Setting) -> Finding:
    """μ at its best: no slope there, the second derivative a positive form, and the loss there the one stated.

    The second derivative is ``2 λ_i ((φ_i/L) C_hk + ω_i^h ω_i^k) δ_ij``; C is the Gram matrix of e^⟨·,ω⟩.
    """
    del setting
    base, found = attention_gradient(), eliminate_mu()
    i, j, h, k = n.i, n.j, n.h, n.k
    (residual,) = (item for item in base.definitions if item.base == n.residual)
    share = Definition(expressed[i], found.expressed)
    in_c = n.noise_to_context[i] * n.context_length / n.dims[i]
    ((_, at_best),) = found.derivation["residual"].formula
    of_share: Rules = {n.residual: rule(n.residual[i], at_best)}

    def at_best_mu(expression: Expr) -> Expr:
        opened = inline(expression, (residual,))
        replaced = replace_indexed(opened, {n.mu: rule(n.mu[i, h], found.mu)})
        in_costs = replace_indexed(replaced, {n.noise_factor: rule(n.noise_factor[i], in_c)})
        contracted = contract_inverse(in_costs, n.interaction, n.interaction_inverse)
        return replace_indexed(fold(contracted, share), of_share)

    by_mu = base.partials[0]
    curvature = gradient(gradient(base.loss.expression, n.mu[i, h], base.definitions), n.mu[j, k], base.definitions)
    form = n.noise_factor[i] / n.context_length * n.interaction[h, k] + n.omega[i, h] * n.omega[i, k]
    equal = (
        difference_is_zero(at_best_mu(by_mu), S.Zero),
        difference_is_zero(curvature, 2 * n.signal_power[i] * form * KroneckerDelta(i, j)),
        difference_is_zero(at_best_mu(base.loss.expression), found.loss),
    )
    return _counted(equal, "slope, curvature or loss at the best μ that differ")


def modes_at_zero(setting: Setting) -> Finding:
    """Rates of the merged flow at zero: roots of the characteristic polynomial of both kinds of mode."""
    del setting
    found, one, other = merged_at_zero(), n.index("a"), n.index("b")
    apart = KroneckerDelta(n.h, one) - KroneckerDelta(n.h, other)
    equal: list[bool] = []
    for shape, rates in ((apart, (found.zero_sum,)), (S.One, (found.sum, found.falling))):
        block = Matrix(2, 2, [part for base in (n.mu, n.omega) for part in _along(base, shape, one, equal)]).T
        equal += [difference_is_zero(rate**2 - block.trace() * rate + block.det(), S.Zero) for rate in rates]
    return _counted(equal, "modes that grow at other rates")


def _along(base: IndexedBase, shape: Expr, one: Symbol, equal: list[bool]) -> Iterator[Expr]:
    """How μ and ω of the merged flow at zero move when ``base`` alone has the shape of a mode, in units of the shape.

    Whether they keep that shape is added to ``equal``.
    """
    flow = gradient_flow("merged")
    zero: Rules = dict.fromkeys((n.mu, n.omega), lambda *_: S.Zero)
    mode: Rules = {**zero, base: lambda _, head: substitute(shape, {n.h: head})}
    for velocity in flow.velocity:
        slope = normalise(replace_indexed(directional_derivative(flow.opened(velocity), mode), zero))
        # On the first head of a mode its shape is one.
        entry = where_distinct(substitute(slope, {n.h: one}))
        equal.append(difference_is_zero(slope, shape * entry))
        yield entry


def allocation(setting: Setting) -> Finding:
    """The closed forms put into the gradients: zero on task, no slope in ω off task; and the loss there."""
    del setting
    flow, limit = gradient_flow("balanced"), task_allocation_limit()
    i, h = n.i, n.h

    def at_limit(expression: Expr) -> Expr:
        opened = substitute(flow.opened(expression), {n.n_heads: n.n_tasks})
        return normalise(inline(replace_indexed(opened, values), PARAMETERS))

    values: Rules = {
        variable.base: rule(variable, form.expression * KroneckerDelta(*variable.indices))
        for variable, form in zip(flow.state, (limit.mu, limit.omega), strict=True)
    }
    by_mu, by_omega = map(at_limit, flow.gradient)
    equal = (
        *(difference_is_zero(substitute(partial, {h: i}), S.Zero) for partial in (by_mu, by_omega)),
        difference_is_zero(where_distinct(by_omega), S.Zero),
        difference_is_zero(at_limit(flow.loss), inline(limit.loss.expression, PARAMETERS)),
    )
    return _counted(equal, "gradients that do not vanish at the limit, or another loss")


def _descends(flow: ReducedSystem, products: Sequence[Definition]) -> list[bool]:
    """For each variable whether its velocity is minus the derivative of the population loss over its entries."""
    base = attention_gradient()
    definitions = (*products, *base.definitions)
    return [
        difference_is_zero(
            inline(-gradient(base.loss.expression, variable, definitions), base.definitions),
            inline(velocity * SHARED_BY[variable.base], base.definitions),
        )
        for variable, velocity in zip(flow.state, flow.velocity, strict=True)
    ]


def _counted(equal: Iterable[bool], what: str) -> Finding:
    """Identities as a finding: the number of those that were not shown must be zero."""
    found = tuple(equal)
    if not found:
        raise ValueError(f"no identity to show: {what}")
    return Finding("symbolic", float(sum(not one for one in found)), NONE_FAILS, 0.0, what, problem=None)
