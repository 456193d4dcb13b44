"""Wrong constants planted in what checks take from theory, of a size that can be chosen: how small a one is refuted?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from sympy import KroneckerDelta, Rational

from headflow import InitialState, Problem
from headflow.numerics.certificates import resolvent
from headflow.numerics.checks import (
    CHECKS,
    Setting,
    closures,
    context,
    dynamics,
    families,
    flow,
    limits,
    losses,
    model,
    optimum,
    parametrisations,
    statics,
)
from headflow.numerics.checks import valley as valley_checks
from headflow.numerics.checks.finding import carried_out
from headflow.numerics.optima import optimum as search
from headflow.numerics.predictions import staircase, valley
from headflow.numerics.verification.verdict import judged
from headflow.theory import notation as n
from headflow.theory.families import linear
from headflow.theory.flows import energy as energies
from headflow.theory.indexed import Definition
from headflow.theory.model import decomposability as reflections
from headflow.theory.optima import closures as closure_theory
from headflow.theory.statements import statement


@dataclass(frozen=True)
class Plant:
    """``module.name``, a function of theory as the check sees it, gives what ``change`` makes of its result."""

    module: Any
    name: str
    change: Callable[[Any], Any]

    def into(self, monkeypatch: pytest.MonkeyPatch) -> None:
        right = getattr(self.module, self.name)
        monkeypatch.setattr(self.module, self.name, lambda *args: self.change(right(*args)))


def changed(**factors: Any) -> Callable[[Any], Any]:
    """A copy with the named fields multiplied: expressions, closed forms, or the first of a tuple of expressions."""

    def times(value: Any, factor: Any) -> Any:
        if isinstance(value, tuple):
            return (times(value[0], factor), *value[1:])
        if hasattr(value, "expression"):
            return dataclasses.replace(value, expression=value.expression * factor)
        return value * factor

    return lambda right: dataclasses.replace(
        right, **{name: times(getattr(right, name), factor) for name, factor in factors.items()}
    )


def multiplied(value: Any, factor: Any) -> Any:
    return value * float(factor) if isinstance(value, float) else value * factor


def evaluated(**factors: Any) -> Callable[[Any], Any]:
    """An object like the right one whose methods give multiples of the right results."""

    def change(right: Any) -> Any:
        class Wrong:
            def __getattr__(self, name: str) -> Any:
                value = getattr(right, name)
                if name not in factors:
                    return value
                return lambda *args, **more: multiplied(value(*args, **more), factors[name])

        return Wrong()

    return change


@dataclass(frozen=True)
class Sized:
    """A plant of any size, a factor near one."""

    planted: str
    of: Callable[[Any], Plant]


def field(planted: str, module: Any, name: str, field: str) -> Sized:
    """``module.name`` gives the right result with this field multiplied."""
    return Sized(planted, lambda factor: Plant(module, name, changed(**{field: factor})))


def method(planted: str, module: Any, name: str, method: str) -> Sized:
    """``module.name`` gives an object whose method gives a multiple of the right result."""
    return Sized(planted, lambda factor: Plant(module, name, evaluated(**{method: factor})))


def result(planted: str, module: Any, name: str) -> Sized:
    """``module.name`` gives a multiple of the right number."""
    return Sized(planted, lambda factor: Plant(module, name, lambda right: right * float(factor)))


@dataclass(frozen=True)
class Spoiled(Plant):
    """A plant that replaces ``module.name`` by a function that is not made from the right result alone."""

    def into(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(self.module, self.name, self.change(monkeypatch))


def louder(factor: Any) -> Callable[[Any], Any]:
    """Laws of a valley with another constant of the gap."""
    return lambda laws: dataclasses.replace(laws, gap=changed(constant=factor)(laws.gap))


def _louder_line(factor: Any) -> Callable[[Any], Any]:
    def change(right: Any) -> Any:
        class Wrong:
            def laws(self, *shape: Any) -> Any:
                return louder(factor)(right.laws(*shape))

        return Wrong()

    return change


def _steeper(factor: Any) -> Callable[[Any], Any]:
    def change(right: Any) -> Any:
        class Wrong:
            def exponents(self, p: int) -> Any:
                powers = right.exponents(p)
                return dataclasses.replace(powers, gap=powers.gap * factor)

        return Wrong()

    return change


def _is_merged(right: Any) -> bool:
    """The merged flow moves μ by the gradient itself: its metric is a number."""
    return bool(right.metric[0].is_number)


def _uneven(factor: float) -> Callable[[Any], Any]:
    """A velocity that knows which entry is the first."""

    def change(right: Any) -> Callable[[Any], Any]:
        def velocity(state: Any) -> Any:
            found = right(state).copy()
            found[0] *= factor
            return found

        return velocity

    return change


def _favoured(factor: float) -> Callable[[pytest.MonkeyPatch], Any]:
    """A competition that the first head enters with more than it has."""
    right = dynamics.cascade

    def wrong(problem: Problem, initial: InitialState) -> Any:
        mu = np.array(initial.mu)
        mu[:, 0] *= factor
        return right(problem, InitialState(mu=mu, omega=initial.omega))

    return lambda _: wrong


def _later(factor: float) -> Callable[[Any], Any]:
    return lambda right: dataclasses.replace(right, times=tuple(t and factor * t for t in right.times))


def _energy(factor: Any) -> Callable[[pytest.MonkeyPatch], Any]:
    def made(monkeypatch: pytest.MonkeyPatch) -> Any:
        wrong = changed(velocity=factor)(energies.gradient_flow("balanced"))
        monkeypatch.setattr(energies, "gradient_flow", lambda _: wrong)
        derivation = energies.energy_identity.__wrapped__("balanced")
        return lambda: derivation

    return made


def _flip(factor: Any) -> Callable[[pytest.MonkeyPatch], Any]:
    """The flip of a task that leaves a part of its label as it was."""

    def made(monkeypatch: pytest.MonkeyPatch) -> Any:
        rules = dict(reflections._TASK_FLIP)
        (label,) = (base for base in rules if base.name == "y")
        rules[label] = lambda i: (1 - 2 * factor * KroneckerDelta(i, reflections._m)) * label[i]
        monkeypatch.setattr(reflections, "_TASK_FLIP", rules)
        wrong = reflections.decomposability.__wrapped__()
        return lambda: wrong

    return made


def _extra_term(share: Any) -> Callable[[pytest.MonkeyPatch], Any]:
    def made(monkeypatch: pytest.MonkeyPatch) -> Any:
        right = closure_theory.population_loss

        def wrong(closure: str) -> Any:
            loss = right(closure)
            if closure != "first_order":
                return loss
            extra = share * n.over_tasks(n.signal_power[n.i] * n.residual[n.i] ** 2)
            return type(loss)(loss.expression + extra, loss.definitions, closure, loss.derivation)

        monkeypatch.setattr(closure_theory, "population_loss", wrong)
        derivation = closure_theory.closure_limits.__wrapped__()
        return lambda: derivation

    return made


def _eliminated(factor: Any) -> Callable[[pytest.MonkeyPatch], Any]:
    def made(monkeypatch: pytest.MonkeyPatch) -> Any:
        Plant(search, "eliminate_mu", changed(loss=factor)).into(monkeypatch)
        return search._systems.__wrapped__

    return made


def _squared(share: Any) -> Callable[[pytest.MonkeyPatch], Any]:
    """Split linear attention whose loss sees a part of the square of the query weights."""

    def made(monkeypatch: pytest.MonkeyPatch) -> Any:
        right, query = linear.SPLIT, linear.query_weight[linear.b, n.h]
        squared = n.over_heads(linear.output_value[n.h] * linear.key[linear.a, n.h] * (query + share * query**2))
        monkeypatch.setattr(linear, "SPLIT", Definition(right.head, squared))
        wrong = linear.linear_attention_flow.__wrapped__("split")
        return lambda _: wrong

    return made


LIMIT = "task_allocation_limit"
SIZED: Mapping[str, Sized] = {
    "softmax-moments": field("the covariance", losses, "output_moments", "covariance"),
    "population-loss": field("the loss", losses, "population_loss", "expression"),
    "finite-d-loss": field("the loss", losses, "population_loss", "expression"),
    "first-order-loss": field("the loss", losses, "population_loss", "expression"),
    "gradient": field("the gradient by μ", flow, "gradient_flow", "gradient"),
    "merged-flow": field("the velocity of μ", flow, "gradient_flow", "velocity"),
    "log-coordinates": field("the velocity of log μ", flow, "to_log", "velocity"),
    "split-flow": field("the velocity of o", parametrisations, "split_flow", "velocity"),
    "split-invariants": field("the velocity of o", parametrisations, "split_flow", "velocity"),
    "split-energy": field("the velocity of o", parametrisations, "split_flow", "velocity"),
    "symmetric-reduction": field("the first gradient", parametrisations, "symmetric_reduction", "gradient"),
    "warm-up": field("the velocity of μ", flow, "warm_up_flow", "velocity"),
    "task-allocation-limit": field("μ", statics, LIMIT, "mu"),
    "finite-d-allocation-limit": field("μ", statics, LIMIT, "mu"),
    "first-order-allocation-limit": field("μ", statics, LIMIT, "mu"),
    "finite-d-bounds": field("the limit loss", closures, LIMIT, "loss"),
    "multi-head-optimum": method("the infimum", statics, "multi_head_optimum", "evaluate"),
    "universal-bound": field("the bound", statics, "universal_lower_bound", "expression"),
    "single-head-optimum": method("the optimum", statics, "single_head_optimum", "evaluate"),
    "balanced-limit-stable": field("the on-task rates", limits, "linearised_flow", "on_task_rates"),
    "split-limit-saddle": field("the off-task rates", limits, "linearised_flow", "off_task_rates"),
    "merged-at-zero": field("the rate of the sum mode", limits, "merged_at_zero", "sum"),
    "merged-degenerate-minimum": field("the second variation", limits, "merged_minimum", "second_variation"),
    "merged-emergence": field("the emergence time", valley_checks, "merged_start", "emergence"),
    "factor-e": field("the limit loss", statics, LIMIT, "loss"),
    "separation": field("the limit loss", statics, LIMIT, "loss"),
    "separation-limit": field("the limit of the ratio", statics, "separation", "limit"),
    "ordering": field("the limit loss", statics, LIMIT, "loss"),
    "equal-tasks-optimum": field("the optimum", optimum, "equal_tasks_optimum", "expression"),
    "single-head-residuals": field("the residual", optimum, "single_head_residuals", "residual"),
    "shared-head": field("μ", optimum, "shared_head", "mu"),
    "split-task": field("the sum of μ", optimum, "split_task", "total_mu"),
    "idle-head": field("the rate", optimum, "idle_head", "rate"),
    "bayes-risk": field("the trace", resolvent, "bayes_risk", "trace"),
    "bayes-limit": field("the limit", model, "bayes_limit", "expression"),
    "linear-attention-loss": field("the loss", context, "linear_attention_loss", "expression"),
    "linear-attention-optimum": method("the optimum", context, "linear_attention_optimum", "evaluate"),
    "normalisation-costs-a-head": method("the optimum", context, "linear_attention_optimum", "exact"),
    "zero-sum-pair": field("the profile", context, "zero_sum_pair", "profile"),
    "debiased-gradient": field("the predictor", context, "zero_sum_pair", "predictor"),
    "context-length-shift": field("the shifted loss", context, "context_shift", "expression"),
    "hermite-transfer": field("the loss", context, "hermite_transfer", "loss"),
    "softmax-regimes": field("the typical exponent", context, "softmax_regimes", "typical"),
    "linear-covariate-loss": field("the loss", families, "linear_covariate_loss", "expression"),
    "linear-staircase": field("the plateaus", staircase, "linear_staircase", "plateau"),
    "linear-drop-times": field("the drop times", staircase, "linear_staircase", "drop_time"),
    "linear-cascade": field("the velocity of small weights", staircase, "small_split_flow", "velocity"),
    "linear-merged-drop": field("the time of the drop", staircase, "linear_staircase", "merged_time"),
    "softmax-covariate-loss": field("the loss", families, "softmax_covariate_flow", "loss"),
    "balanced-flow": Sized(
        "the velocity of μ",
        lambda factor: Plant(
            flow, "gradient_flow", lambda right: right if _is_merged(right) else changed(velocity=factor)(right)
        ),
    ),
    "energy-identity": Sized("the velocity of μ", lambda factor: Spoiled(flow, "energy_identity", _energy(factor))),
    "permutation-equivariance": Sized(
        "an entry of the velocity", lambda factor: Plant(flow, "_velocity", _uneven(float(factor)))
    ),
    "split-logarithms": field("the velocity of the first coordinate", parametrisations, "to_log", "velocity"),
    "hyperbolic-angles": field("the velocity of the first angle", parametrisations, "to_hyperbolic", "velocity"),
    "decomposability": Sized(
        "the sign of a flipped label", lambda factor: Spoiled(parametrisations, "decomposability", _flip(factor))
    ),
    "closure-limits": Sized(
        "a further term, as a share", lambda factor: Spoiled(closures, "closure_limits", _extra_term(factor - 1))
    ),
    "mu-elimination": Sized("the profile loss", lambda factor: Spoiled(search, "_systems", _eliminated(factor))),
    "universal-bound-reached": field("the least number of heads", optimum, "universal_bound_reached", "least_heads"),
    "cascade": result("the power of an occupied head", dynamics, "exact_power"),
    "who-wins": Sized("the μ of one head", lambda factor: Spoiled(dynamics, "cascade", _favoured(float(factor)))),
    "emergence-time": Sized("the times", lambda factor: Plant(dynamics, "cascade", _later(float(factor)))),
    "late-law": result("the constant of the gap", dynamics, "late_constant"),
    "convergence": result("the limit of the loss", flow, "realised_limit"),
    "merged-valley": Sized(
        "the power of the gap", lambda factor: Plant(valley, "merged_valley_order", _steeper(factor))
    ),
    "merged-valley-pairs": Sized(
        "the constant of the gap", lambda factor: Plant(valley, "pairs_valley", louder(factor))
    ),
    "merged-valley-simplex": Sized(
        "the constant of the gap", lambda factor: Plant(valley, "simplex_valley", louder(factor))
    ),
    "merged-valley-one-task": Sized(
        "the constant of the gap", lambda factor: Plant(valley, "line_valley", _louder_line(factor))
    ),
    "merged-race": method("the balance Q", valley_checks, "merged_start", "balance_of"),
    "linear-split-flow": Sized(
        "a further term, as a share", lambda factor: Spoiled(families, "linear_attention_flow", _squared(factor - 1))
    ),
}

SMALLEST = 45  # decades below 1 that are tried: high-precision checks have 50 digits


def refuted(id: str, problem: Problem, quick: bool, decades: int) -> bool:
    """Whether the check of a statement refutes its plant of relative size 10^−decades."""
    known = statement(id)  # made, and kept, of the right theory
    with pytest.MonkeyPatch.context() as patch:
        # A run that is kept would be of the right theory here, and of the wrong one elsewhere.
        patch.setattr(families, "_aligned_runs", families._aligned_runs.__wrapped__)
        SIZED[id].of(1 + Rational(1, 10**decades)).into(patch)
        verdict = judged(known, *carried_out(CHECKS[id], Setting(problem, 0, quick)))
        return verdict.verdict == "fails"


def smallest_refuted(id: str, problem: Problem, quick: bool, begin: int = 0) -> float | None:
    """The smallest power of ten whose plant is refuted, by bisection; None where none of three from ``begin`` on is."""
    # A plant that is far too large may leave a check without what it looks for, and its claim open.
    low = next((decades for decades in range(begin, begin + 3) if refuted(id, problem, quick, decades)), None)
    if low is None:
        return smallest_refuted(id, problem, quick) if begin else None
    high, reach = SMALLEST + 1, low + 1
    while reach < high:  # ever longer strides, since what a full run finds is mostly near what a quick one does
        if not refuted(id, problem, quick, reach):
            high = reach
        else:
            low, reach = reach, min(high, 2 * reach - low + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if refuted(id, problem, quick, middle) else (low, middle)
    return 10.0**-low
