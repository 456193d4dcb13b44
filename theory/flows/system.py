"""Owns ReducedSystem: the one frozen bridge from symbols to numbers.

Everything numeric (velocity, loss, Jacobian) is generated from a ReducedSystem; nothing else carries formulas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sympy import Add, Eq, Expr, Indexed, IndexedBase, S, Sum, Symbol
from sympy.core.relational import Relational

from .. import notation as n
from ..derivation import Derivation
from ..equations import Equations
from ..indexed import Definition, directional_derivative, free_symbols, gradient, inline, normalise, rule
from ..indexed.nodes import free_indices, indexed_bases, indices_of, name_of


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

    def with_loss(self, added: Expr) -> ReducedSystem:
        """The flow of this loss plus another: weight decay, say; see `headflow.theory.flows.flow.with_added_loss`."""
        from .flow import with_added_loss  # which makes systems

        return with_added_loss(self, added)

    def with_metric(self, metric: Mapping[Indexed | Symbol, Expr]) -> ReducedSystem:
        """The flow in another metric, variable → factor; see `headflow.theory.flows.flow.with_another_metric`."""
        from .flow import with_another_metric

        return with_another_metric(self, metric)

    def with_derivation(self, derivation: Derivation) -> ReducedSystem:
        return replace(self, derivation=derivation)

    @property
    def lines(self) -> Sequence[Eq]:
        """The equations and their definitions."""
        return (*self.equations, *self.definition_equations)
