"""Power laws of time: a closed form for the constant, an exact exponent, and the laws of one valley."""

from __future__ import annotations

from dataclasses import dataclass

from sympy import Expr, Rational, Symbol

from ..closed_form import ClosedForm, HasValues
from ..derivation import Derivation
from ..equations import Equations
from ..result import Result

time = Symbol("t", positive=True)


@dataclass(frozen=True, repr=False)
class PowerLaw(Result):
    """``symbol ≃ constant · t^exponent`` for t → ∞, t = learning rate × steps."""

    constant: ClosedForm
    exponent: Rational

    @property
    def expression(self) -> Expr:
        """The law in the problem's parameters and t."""
        return self.constant.expression * time**self.exponent

    def evaluate(self, problem: HasValues, t: float) -> float:
        """The value at time ``t`` > 0; ``HypothesisError`` where a hypothesis of the constant does not hold."""
        return float(self.constant.evaluate(problem) * t ** float(self.exponent))


@dataclass(frozen=True, repr=False)
class ValleyLaws(Equations):
    """How the merged flow creeps down a valley: it has no minimiser there and never converges.

    Attributes
    ----------
    order
        p of the valley (see `headflow.theory.merged.valley_order`).
    gap
        The loss minus its infimum (leading closure, no ½).
    omega, mu
        Lengths of all ω_i^h and of all μ_i^h: the roots of the sums of their squares.
    fastest
        The largest decay rate of the linearised flow, −(its most negative eigenvalue).
    """

    order: int
    gap: PowerLaw
    omega: PowerLaw
    mu: PowerLaw
    fastest: PowerLaw
    derivation: Derivation

    @property
    def lines(self) -> list[tuple[Expr, Expr]]:
        """What is printed: each law with its constant."""
        laws = (self.gap, self.omega, self.mu, self.fastest)
        definitions = {item.head: item.body for law in laws for item in law.constant.definitions}
        return [*((law.constant.symbol, law.expression) for law in laws), *definitions.items()]
