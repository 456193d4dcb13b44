"""Chains of derivations and what they end with, as text: to see whether a planted step changes them."""

from __future__ import annotations

import sys
from collections.abc import Callable

from headflow.theory.context import context_length as context_module
from headflow.theory.context import two_heads
from headflow.theory.flows import coordinates, energy, flow, symmetry
from headflow.theory.indexed import NodeError
from headflow.theory.merged import identical_heads, merged_zero
from headflow.theory.model import attention as attention_module
from headflow.theory.model import loss, shift
from headflow.theory.optima import bounds, limits, optimum, shared_heads
from headflow.theory.phases import escape, linearisation, warm_up

# What is cached there depends on its arguments alone.
PURE = ("headflow.theory.indexed", "headflow.theory.printing")


def clear_caches():
    for name, module in list(sys.modules.items()):
        if name.startswith("headflow.theory.") and not name.startswith(PURE):
            for entry in list(vars(module).values()):
                if hasattr(entry, "cache_clear"):
                    entry.cache_clear()


def written(*parts):
    """What a chain ends with, as text."""
    return " | ".join(map(str, parts))


def failed(derivation, *labels):
    """Which of these steps fail their check."""
    return tuple(label for label in labels if not derivation[label].holds())


def of_loss(closure):
    """The formula of first_order is arranged by hand, and rests on its check."""
    found, label = loss.population_loss(closure), "population loss" + (f", {closure}" if closure != "leading" else "")
    wrong = failed(found.derivation, label) if closure == "first_order" else ()
    return written(found.expression, *(item.body for item in found.definitions), wrong)


def of_system(system):
    return written(*system.velocity, *(item.body for item in system.definitions))


def of_gradient():
    found = flow.attention_gradient()
    return written(*found.partials, *(item.body for item in found.definitions))


def of_moments():
    found = attention_module.output_moments()
    return written(found.mean, found.bias, found.covariance)


def of_symmetric():
    found = symmetry.symmetric_reduction()
    return written(*found.gradient, *(item.body for item in found.definitions))


def of_pair():
    found = two_heads.zero_sum_pair()
    return written(found.profile, failed(found.derivation, "loss of a zero-sum pair"))


def of_elimination():
    found = optimum.eliminate_mu()
    return written(found.mu, found.loss)


def of_optimum():
    found = optimum.multi_head_optimum()
    return written(found.objective, found.share, found.budget, failed(found.derivation, "gram matrix"))


def of_form(form):
    return written(form.expression, *(item.body for item in form.definitions))


def of_separation():
    found = bounds.separation()
    return written(found.ratio, found.limit.expression)


def of_factor_e():
    found = bounds.factor_e()
    return written(found.ratio)


def of_limit(closure):
    found = limits.task_allocation_limit(closure)
    if closure == "first_order":
        roots = (found.loss.root.equation, *(item.body for item in found.loss.root.definitions))
    else:
        roots = (found.kappa.expression,)
    return written(found.omega.expression, found.mu.expression, found.loss.expression, *roots)


def of_zero():
    found = merged_zero.merged_at_zero()
    return written(found.zero_sum, found.sum)


def of_linearised(name):
    found = linearisation.linearised_flow(name)
    return written(found.on_task, found.off_task)


def of_identical():
    found = identical_heads.merged_minimum()
    return written(found.second_variation)


CHAIN: dict[str, Callable[[], str]] = {
    "softmax moments": of_moments,
    "loss, leading": lambda: of_loss("leading"),
    "loss, finite_d": lambda: of_loss("finite_d"),
    "loss, first_order": lambda: of_loss("first_order"),
    "gradient": of_gradient,
    "merged flow": lambda: of_system(flow.gradient_flow("merged")),
    "balanced flow": lambda: of_system(flow.gradient_flow("balanced")),
    "split flow": lambda: of_system(flow.gradient_flow("split")),
    "logarithms": lambda: of_system(coordinates.to_log(flow.gradient_flow("balanced"))),
    "growth": lambda: of_system(coordinates.to_growth(flow.split_flow())),
    "hyperbolic angles": lambda: of_system(coordinates.to_hyperbolic(flow.split_flow())),
    "symmetric reduction": of_symmetric,
    "energy": lambda: written(energy.energy_identity()["loss along the flow"].formula),
    "elimination": of_elimination,
    "optimum": of_optimum,
    "universal bound": lambda: of_form(bounds.universal_lower_bound()),
    "single head": lambda: of_form(bounds.single_head_optimum().form),
    "factor e": of_factor_e,
    "separation": of_separation,
    "allocation limit": lambda: of_limit("leading"),
    "allocation limit, finite_d": lambda: of_limit("finite_d"),
    "allocation limit, first_order": lambda: of_limit("first_order"),
    "shared head": lambda: written(shared_heads.shared_head().loss),
    "warm-up": lambda: written(*warm_up.warm_up_flow().velocity),
    "merged at zero": of_zero,
    "linearised, balanced": lambda: of_linearised("balanced"),
    "linearised, split": lambda: of_linearised("split"),
    "identical heads": of_identical,
    "escape": lambda: written(escape.escape_from_allocation().rate.expression),
    "zero-sum pair": of_pair,
    "context shift": lambda: written(context_module.context_shift().expression),
    "shift covariance": lambda: written(failed(shift.shift_covariance().derivation, "scale and difference of heads")),
}
# What the chains end with when nothing is planted.
RIGHT: dict[str, str] = {}


def keep_right(names):
    RIGHT.update({name: CHAIN[name]() for name in names if name not in RIGHT})


def ended(name):
    """What a chain ends with now; a derivation that cannot go on says so."""
    try:
        return CHAIN[name]()
    except (ArithmeticError, ValueError, LookupError, StopIteration, NodeError) as error:
        return f"stopped: {error}"


def assert_changed(names):
    assert {name for name in names if ended(name) == RIGHT[name]} == set()
