"""ReducedSystem: the one frozen bridge from symbols to numbers.

Everything numeric (velocity, loss, Jacobian) is generated from a ReducedSystem; nothing else carries formulas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

from sympy import Add, Eq, Expr, Gt, Indexed, IndexedBase, S, Sum, Symbol
from sympy.core.relational import Relational

from .. import notation as n
from ..derivation import Derivation, Recorder
from ..equations import Equations
from ..grounds import DEFINITION
from ..indexed import (
    Definition,
    check,
    difference_is_zero,
    directional_derivative,
    free_symbols,
    gradient,
    inline,
    normalise,
    rule,
)
from ..indexed.nodes import free_indices, indexed_bases, indices_of, name_of
from ..indexed.rewriting import plain_indices
from ..result import built
from .descent import check_state, checked_metric, recorded_gradients, recorded_velocity, rests_at_zero
from .invariants import is_invariant


@dataclass(frozen=True, repr=False)
class ReducedSystem(Equations):
    """A gradient flow in reduced coordinates: ``dx/dt = −metric · ∂loss/∂x``, entry by entry.

    Attributes
    ----------
    parametrisation, closure, coordinates
        What the system is: for example "balanced", "leading", "plain" (or "log").
    state
        The state variables as indexed symbols, ``mu[i, h]``, ``omega[i, h]``, each an (I, H) array; a plain symbol is
        one number.
    definitions
        Named sub-expressions, each using only the state, parameters and those before it.
    parameter_definitions
        Derived parameters (φ, c, d_e) in terms of the problem's own.
    loss, gradient, metric, velocity
        The loss without ½, and per state variable its partial derivative, the (diagonal, inverse) metric and the
        time derivative; time = learning rate × steps.
    convention
        How loss and time are scaled; `in_convention` writes the system in another one.
    invariants
        Expressions that are constant along the flow.
    domain
        Conditions on the state under which the system stands for the model.
    validity
        Conditions on the state under which the closure has the accuracy that it claims.
    added
        What `with_loss` has added to the loss of the model; it is part of ``loss``.
    derivation
        The steps from the model to these equations.
    """

    parametrisation: str
    closure: str
    state: tuple[Indexed | Symbol, ...]
    loss: Expr
    gradient: tuple[Expr, ...]
    metric: tuple[Expr, ...]
    velocity: tuple[Expr, ...]
    derivation: Derivation
    definitions: tuple[Definition, ...] = ()
    parameter_definitions: tuple[Definition, ...] = ()
    invariants: tuple[Expr, ...] = ()
    domain: tuple[Relational, ...] = ()
    validity: tuple[Relational, ...] = ()
    added: Expr = S.Zero
    coordinates: str = "plain"
    convention: str = "loss without ½, noise-free query target, time = learning rate × steps"

    def __post_init__(self) -> None:
        lengths = {len(self.state), len(self.gradient), len(self.metric), len(self.velocity)}
        if len(lengths) != 1:
            raise ValueError("state, gradient, metric and velocity need one entry per state variable")
        if extra := (free_symbols(self.loss) & self.indices) | free_indices(self.loss):
            raise ValueError(f"the loss must have no free index, but {sorted(map(str, extra))} occur outside a sum")
        later = [item.base for item in self.definitions]
        for item in self.definitions:
            if early := (indexed_bases(item.body) | free_symbols(item.body)) & set(later):
                raise ValueError(f"the definition of {item.base} uses {early.pop()}, which is not defined before it")
            later.remove(item.base)

    @property
    def in_brief(self) -> str:
        what = f"{self.parametrisation}, {self.closure}, {self.coordinates} coordinates"
        what += ", with an added loss" if self.added != 0 else ""
        named = f"{len(self.definitions)} definition{'' if len(self.definitions) == 1 else 's'}"
        return f"{what}: {', '.join(map(str, self.state))}; {named}, {self.derivation.as_part('')}"

    @property
    def indices(self) -> set[Symbol]:
        """The index symbols of the state variables."""
        return {index for variable in self.state for index in indices_of(variable)}

    @property
    def state_bases(self) -> tuple[IndexedBase | Symbol, ...]:
        """The names of the state variables."""
        return tuple(map(name_of, self.state))

    @property
    def parameters(self) -> tuple[IndexedBase | Symbol, ...]:
        """Names that need a value: what occurs in the equations and is neither state nor defined, by name."""
        defined = {definition.base for definition in self.definitions}
        names: set[IndexedBase | Symbol] = set()
        sizes = {n.n_tasks, n.n_heads}
        for expression in (self.loss, *self.velocity, *(item.body for item in self.definitions)):
            names |= indexed_bases(expression)
            names |= free_symbols(expression) - free_indices(expression)
            sizes |= {limit[2] for total in expression.atoms(Sum) for limit in total.limits}
        return tuple(sorted(names - defined - sizes - self.indices - set(self.state_bases), key=str))

    @property
    def equations(self) -> tuple[Eq, ...]:
        """``dx/dt = velocity`` for each state variable."""
        pairs = zip(self.state, self.velocity, strict=True)
        return tuple(Eq(n.time_derivative(variable), rhs, evaluate=False) for variable, rhs in pairs)

    @property
    def definition_equations(self) -> tuple[Eq, ...]:
        return tuple(Eq(item.head, item.body, evaluate=False) for item in self.definitions)

    def derivative_along(self, expression: Expr) -> Expr:
        """``d expression / dt`` along the flow, in normal form."""
        direction = {
            name_of(variable): rule(variable, rhs) for variable, rhs in zip(self.state, self.velocity, strict=True)
        }
        return normalise(directional_derivative(expression, direction, self.definitions))

    def partial(self, expression: Expr, variable: Indexed | Symbol) -> Expr:
        """``∂ expression / ∂ variable`` in normal form, through the definitions."""
        return gradient(expression, variable, self.definitions)

    def opened(self, expression: Expr) -> Expr:
        """The expression in state and parameters alone, definitions opened."""
        return inline(expression, self.definitions)

    def energy_identity(self) -> tuple[Expr, Expr]:
        """Both sides of ``d𝓛/dt = −Σ velocity²/metric``, each in normal form."""
        ranges = {n.i: n.n_tasks, n.h: n.n_heads}
        speed = Add(
            *(
                n.over_tasks(n.over_heads(rhs**2 / metric))
                for rhs, metric in zip(self.velocity, self.metric, strict=True)
            )
        )
        if self.indices != set(ranges):
            raise ValueError("the energy identity is written for state variables with indices i and h")
        return self.derivative_along(self.loss), normalise(-speed)

    @built
    def with_loss(self, added: Expr) -> ReducedSystem:
        """The gradient flow of this loss plus ``added``, with the same variables, metric, definitions and parameters.

        ``added`` is an index expression in the state and the definitions; other names in it are new parameters.  In the
        ``split`` flow μ and ω stand for the products.  Conditions, invariants and charts are those of this system as
        far as they hold with the added loss.

        Raises ``ValueError`` for a system whose velocity is not minus metric times gradient (in some conventions),
        ``NodeError`` for what is no index expression, and what `gradient_flow` raises for a loss.  Derived here.
        """
        extra = check(added)
        check_state(extra, self.state, self.definitions)
        record = self._recorder_for_another("an added loss")
        what = self._fresh("added loss")
        record(what, (n.loss, self.loss + extra), "As given, beside the loss before.", scope=DEFINITION)
        own = recorded_gradients(record, extra, self.state, self.definitions, of=f" of the {what}")
        partials = tuple(normalise(first + second) for first, second in zip(self.gradient, own, strict=True))
        with_it = replace(self, loss=self.loss + extra, gradient=partials, added=self.added + extra)
        return with_it._moved_anew(record, f"with the {what}")

    @built
    def with_metric(self, metric: Mapping[Indexed | Symbol, Expr]) -> ReducedSystem:
        """The gradient flow of the same loss in another (diagonal, inverse) metric: other learning rates, say.

        ``metric`` is state variable → factor, ``dx/dt = −metric[x] ∂loss/∂x``, an expression with the variable's
        indices; a variable that is not there keeps the one it has.

        Raises ``ValueError`` as `with_loss`, and for what is no state variable.  Derived here.
        """
        record = self._recorder_for_another("another metric")
        chosen = checked_metric({plain_indices(variable): factor for variable, factor in metric.items()}, self.state)
        factors = tuple(chosen.get(variable, own) for variable, own in zip(self.state, self.metric, strict=True))
        return replace(self, metric=factors)._moved_anew(record, f"in the {self._fresh('metric given')}")

    def _fresh(self, words: str) -> str:
        """The words, numbered where earlier changes of the system have them in the labels of their steps."""
        told = " ".join(step.label for step in self.derivation.steps)
        return next(name for place in count(1) if (name := f"{words} ({place})" if place > 1 else words) not in told)

    def _recorder_for_another(self, what: str) -> Recorder:
        """For a flow made of this one, with its steps; ``ValueError`` unless the velocity is −metric × gradient."""
        moves = zip(self.metric, self.gradient, self.velocity, strict=True)
        if any(not difference_is_zero(rhs + metric * partial, S.Zero) for metric, partial, rhs in moves):
            raise ValueError("the velocity of this flow is not minus its metric times its gradient: change it first")
        record = Recorder(f"{self.derivation.title}, {what}")
        record.include(self.derivation)
        return record

    def _moved_anew(self, record: Recorder, what: str) -> ReducedSystem:
        """The system with the velocity of its gradient and metric, and what this one keeps of invariants and signs."""
        name = f"{self.parametrisation}, {what}:"
        velocity = recorded_velocity(record, name, self.state, self.metric, self.gradient)
        moves = zip(self.state, velocity, strict=True)
        crossed = {Gt(variable, 0) for variable, rhs in moves if not rests_at_zero(variable, rhs)}
        domain = tuple(relation for relation in self.domain if relation not in crossed)
        found = replace(self, velocity=velocity, domain=domain, derivation=record.freeze())
        return replace(found, invariants=tuple(one for one in self.invariants if is_invariant(found, one)))

    def with_derivation(self, derivation: Derivation) -> ReducedSystem:
        return replace(self, derivation=derivation)

    @property
    def lines(self) -> Sequence[Eq]:
        """The equations and their definitions."""
        return (*self.equations, *self.definition_equations)
