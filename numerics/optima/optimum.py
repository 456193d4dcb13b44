"""The global numerical search for the least loss over all weights, as a check on the optimum theorem.

μ is eliminated by linear algebra, the search runs over signed ω.  Loss, μ and gradient are generated from the
derivation: the profile loss and the best μ from ``theory.optima.optimum.eliminate_mu``, the gradient of the profile
from the gradient of the loss in ω at the best μ (envelope theorem).

For H ≥ 2 the infimum is approached as ω → 0, where C → 11ᵀ is singular.  Two things keep float64 accurate there:
the radius ``s = √(Σ_i d_i |ω_i|²)`` is bounded below by `SMALLEST_RADIUS`, and the heads are combined so that C becomes
the identity (the formulas hold in every basis of the heads), by way of their common and zero-sum combinations: the
latter see only ``C − 11ᵀ = expm1(log C)``.  The search decides where to look; every loss that is compared or reported
is evaluated at 50 digits, so it is the loss of these very weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import mpmath
import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from sympy import Expr, IndexedBase, Integer, N, S, log

from ...theory import notation as n
from ...theory.brief import Brief
from ...theory.choices import checked_closure
from ...theory.derivation import Derivation
from ...theory.errors import InputError
from ...theory.flows.flow import gradient_flow
from ...theory.flows.system import ReducedSystem
from ...theory.indexed import Definition, normalise, unroll
from ...theory.optima.optimum import eliminate_mu, multi_head_optimum
from ...theory.optima.optimum_proof import expressed, gram
from ...theory.parameters import PARAMETERS
from ...theory.precision import digits
from ..code import compile_system
from ..problem.exact import positive_integer, whole_number
from ..problem.kinds import takes
from ..problem.problem import FloatArray, Problem
from ..runtime.json_object import json_object
from .single_head import single_head_loss

# At radius s the best directions are those of the limit s → 0 but for O(s²), and rounding disturbs the scaled C by
# 1e-16 Σ_i d_i/s² where log C has an error of 1e-16 (in the leading closure its error is relative to itself).
SMALLEST_RADIUS = 1e-3
LARGEST_RADIUS = 4.0
# The directions found are contracted to this radius, where only 50 digits tell: the loss exceeds its limit by O(s²).
CONTRACTED_RADIUS = 1e-6
# Heads that differ by less than the root of this, relative to the largest, count as that far apart, and so do
# combinations in which heads coincide (an eigenvalue of the scaled C).  Such a C is larger: the loss can only grow.
SMALLEST_EIGENVALUE = 1e-8
# Starts that end within this of the best loss, relative to it, count as converged.
AGREEMENT = 1e-6
DIGITS = 50
# The same in the evaluation at 50 digits, added to C: it changes no float of the result.
RIDGE = mpmath.mpf(10) ** -30


@dataclass(frozen=True, repr=False)
class SearchResult(Brief):
    """The least loss that was found over all weights, and where.

    Attributes
    ----------
    problem, closure
        What was searched.
    loss
        The loss of ``omega`` with μ at its best, evaluated at 50 digits and rounded once (no ½).
    infimum
        The theorem's infimum, for comparison.
    omega, mu
        The best weights, (I, H) arrays.
    starts, converged
        Local minimisations, and how many of them ended within 1e-6 of the best, relative to it.
    seed
        Seed of the random starts.
    """

    problem: Problem
    closure: str
    loss: float
    infimum: float
    omega: FloatArray
    mu: FloatArray
    starts: int
    converged: int
    seed: int

    @property
    def excess(self) -> float:
        """(loss − infimum)/infimum: not negative but for rounding, if the theorem holds."""
        return self.loss / self.infimum - 1

    def text(self) -> str:
        """The result in four lines."""
        return (
            f"least loss found    {self.loss:.10g}\n"
            f"infimum (theorem)   {self.infimum:.10g}   (exceeded by {self.excess:.2e})\n"
            f"radius of omega     {_radius(self.problem, self.omega):.3g}   (√(Σ_i d_i |ω_i|²))\n"
            f"converged           {self.converged} of {self.starts} starts (seed {self.seed}, {self.closure} closure)\n"
        )

    def __str__(self) -> str:
        return self.text()

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object."""
        return {
            **json_object(self.problem.to_dict(), self.closure),
            "loss": self.loss,
            "infimum": self.infimum,
            "excess": self.excess,
            "omega": self.omega.tolist(),
            "mu": self.mu.tolist(),
            "starts": self.starts,
            "converged": self.converged,
            "seed": self.seed,
        }


@takes(problem=Problem)
def search_optimum(problem: Problem, starts: int = 12, seed: int = 0, closure: str = "leading") -> SearchResult:
    """Search all weights of the problem's H heads for the least loss, from several random starts.

    Parameters
    ----------
    problem
        The problem.
    starts
        Number of local minimisations (L-BFGS-B in the direction of √d_i ω_i and the logarithm of its length).
    seed
        Seed of the starts.
    closure
        ``"leading"`` or ``"finite_d"``.

    For H ≥ 2 the infimum is not attained: the search then ends at weights of radius 1e-6.  Source: derived here.
    Raises ``InputError`` (or ``InputTypeError``) for an unknown closure, or numbers that are not allowed.
    """
    if checked_closure(closure) == "first_order":
        raise InputError("the loss of first_order has no lower bound, so there is no optimum to search for")
    starts = positive_integer("starts", starts)
    seed = whole_number("seed", seed, least=0)
    profile = Profile(problem, closure)
    rng = np.random.default_rng(seed)
    ends = [min(_descents(profile, rng), key=lambda end: end.loss) for _ in range(starts)]
    best = min(ends, key=lambda end: end.loss)
    return SearchResult(
        problem=problem,
        closure=closure,
        loss=best.loss,
        infimum=_infimum(problem, closure),
        omega=best.omega,
        mu=best.mu,
        starts=starts,
        converged=sum(end.loss <= best.loss * (1 + AGREEMENT) for end in ends),
        seed=int(seed),
    )


def _descents(profile: Profile, rng: np.random.Generator) -> Iterator[BestMu]:
    """Where one random start leads, evaluated at 50 digits."""
    low, high = math.log(SMALLEST_RADIUS), math.log(LARGEST_RADIUS)
    n_tasks, n_heads = profile.shape
    bounds: list[Any] = [(low, high)] + [(None, None)] * (n_tasks * n_heads)
    options: Any = {"maxiter": 1000, "maxfun": 10_000, "ftol": 1e-15, "gtol": 1e-9}
    radius = rng.uniform(math.log(0.05), math.log(2.0))
    point = np.concatenate([[radius], rng.standard_normal(n_tasks * n_heads)])
    while not profile.inside(profile.weights(point)):
        point[0] -= math.log(2.0)

    def descent(point: FloatArray) -> FloatArray:
        found = minimize(profile.in_polar, point, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        return np.asarray(found.x, dtype=np.float64)

    def evaluated(point: FloatArray) -> BestMu:
        return best_mu_at(profile.problem, profile.weights(point), profile.closure)

    end = descent(point)
    yield evaluated(end)
    if n_heads > 1:
        # The valley towards ω = 0 is long and flat: go on from its far end, then contract.
        far = descent(np.concatenate([[low], end[1:] / np.linalg.norm(end[1:])]))
        yield evaluated(np.concatenate([[math.log(CONTRACTED_RADIUS)], far[1:]]))


class Profile:
    """The loss of one problem with μ at its best, as a function of ω: value, best μ and gradient, in float64.

    All numbers come from generated kernels, but for the combinations of heads.  Meant for radii of at least
    `SMALLEST_RADIUS`; nearer to ω = 0 use `best_mu_at`.  Not safe to share between threads.
    """

    def __init__(self, problem: Problem, closure: str = "leading") -> None:
        self.problem, self.closure = problem, closure
        self.shape = (problem.n_tasks, problem.n_heads)
        values = problem.float_values()
        profile, merged = (compile_system(system) for system in _systems(closure))
        combined = {**values, "C_inverse": np.eye(problem.n_heads)}
        self._loss = profile.loss.bind(combined)
        self._best_mu = profile.named((str(_BEST_MU.base.label),)).bind(combined)
        self._slope = merged.named((str(_SLOPE.base.label),)).bind(values)
        self._exponent = merged.named((str(gram.label),)).bind(values)
        self._scale = np.sqrt(np.array(problem.dims, dtype=np.float64))[:, None]
        self._worst = float(np.sum(np.array(problem.signal_power, dtype=np.float64)))
        self._basis = _basis(problem.n_heads)

    def weights(self, polar: FloatArray) -> FloatArray:
        """ω, (I, H), of the logarithm of its radius and a direction (of any length) of √d_i ω_i."""
        direction = polar[1:].reshape(self.shape)
        weights: FloatArray = math.exp(polar[0]) / float(np.linalg.norm(direction)) * direction / self._scale
        return weights

    def in_polar(self, polar: FloatArray) -> tuple[float, FloatArray]:
        """log loss with its gradient in the logarithm of the radius and the direction.

        The logarithm makes the search's tolerances relative, whatever the size of the loss.
        """
        omega = self.weights(polar)
        combinations = self._combinations(omega)
        if combinations is None:
            # Outside the domain, or overflow: at its edge C is infinite and its heads are no use, as if 𝓛 = Σ_i λ_i.
            return math.log(self._worst), np.zeros_like(polar)
        slope = self._gradient(omega, combinations) / self._scale
        scaled = omega * self._scale
        by_radius = float(np.sum(slope * scaled))
        radius, length = math.exp(polar[0]), float(np.linalg.norm(polar[1:]))
        across = (slope - by_radius / radius**2 * scaled) * (radius / length)
        loss = float(self._loss((omega @ combinations.T).ravel()))
        return math.log(loss), np.concatenate([[by_radius], across.ravel()]) / loss

    def inside(self, omega: FloatArray) -> bool:
        """Whether C is finite at ``omega``, (I, H)."""
        return self._combinations(omega) is not None

    def loss(self, omega: ArrayLike) -> float:
        """The least loss over μ at ``omega``, (I, H).  ``InputError`` where C is not finite."""
        array, combinations = self._checked(omega)
        return float(self._loss((array @ combinations.T).ravel()))

    def best_mu(self, omega: ArrayLike) -> FloatArray:
        """The μ, (I, H), at which it is least."""
        return self._mu(*self._checked(omega))

    def gradient(self, omega: ArrayLike) -> FloatArray:
        """The derivative of the least loss in ω, (I, H)."""
        return self._gradient(*self._checked(omega))

    def _mu(self, omega: FloatArray, combinations: FloatArray) -> FloatArray:
        return self._best_mu((omega @ combinations.T).ravel()).reshape(self.shape) @ combinations

    def _gradient(self, omega: FloatArray, combinations: FloatArray) -> FloatArray:
        mu = self._mu(omega, combinations)
        return self._slope(np.concatenate([mu.ravel(), omega.ravel()])).reshape(self.shape)

    def _checked(self, omega: ArrayLike) -> tuple[FloatArray, FloatArray]:
        array = np.asarray(omega, dtype=np.float64)
        if array.shape != self.shape:
            raise InputError(f"omega must have shape {self.shape}, got {array.shape}")
        combinations = self._combinations(array)
        if combinations is None:
            raise InputError("the interaction C of the heads is not finite at these omega: they are too large")
        return array, combinations

    def _combinations(self, omega: FloatArray) -> FloatArray | None:
        """T with T C Tᵀ = 1, (H, H), accurate as ω → 0; None where C is not finite."""
        heads = self.shape[1]
        with np.errstate(all="ignore"):
            exponent = self._exponent(np.concatenate([np.zeros(omega.size), omega.ravel()])).reshape(heads, heads)
            growth = np.expm1(exponent)
        if not np.isfinite(growth).all():
            return None
        # C = 11ᵀ + growth, and the zero-sum rows do not see 11ᵀ.
        rotated = self._basis @ growth @ self._basis.T
        rotated[0, 0] += heads
        diagonal = np.diag(rotated)
        least = SMALLEST_EIGENVALUE * max(float(np.abs(growth).max()), SMALLEST_RADIUS**2)
        scale = 1 / np.sqrt(np.maximum(diagonal, least))
        eigenvalues, vectors = np.linalg.eigh(scale[:, None] * rotated * scale)
        within = vectors.T / np.sqrt(np.maximum(eigenvalues, SMALLEST_EIGENVALUE))[:, None]
        combinations: FloatArray = within @ (scale[:, None] * self._basis)
        return combinations


@dataclass(frozen=True, repr=False)
class BestMu(Brief):
    """Weights with μ at its best for given ω: ``loss`` (no ½), and ``omega``, ``mu`` of shape (I, H)."""

    loss: float
    omega: FloatArray
    mu: FloatArray


def best_mu_at(problem: Problem, omega: ArrayLike, closure: str = "leading") -> BestMu:
    """μ at its best for ``omega``, (I, H), evaluated at 50 digits and rounded once.

    Raises ``InputError`` where the interaction of the heads is not finite.
    """
    array = np.asarray(omega, dtype=np.float64)
    tasks, heads = range(array.shape[0]), range(array.shape[1])
    profile, merged = _systems(closure)
    exponent = next(item for item in merged.definitions if item.base == gram)
    values: dict[str, Any] = {**problem.exact_values(), "H": len(heads)}
    with digits(DIGITS):
        values["omega"] = [[mpmath.mpf(float(x)) for x in row] for row in array]
        exponents = [
            [N(unroll(exponent.at(Integer(a + 1), Integer(b + 1)), values), DIGITS) for b in heads] for a in heads
        ]
        if not all(entry.is_real and entry.is_finite for row in exponents for entry in row):
            raise InputError("the interaction C of the heads is not finite at these omega: they are too large")
        interaction = mpmath.matrix([[mpmath.exp(_mp(entry)) for entry in row] for row in exponents])
        inverse = mpmath.inverse(interaction + RIDGE * mpmath.eye(len(heads)))
        values["C_inverse"] = [[inverse[a, b] for b in heads] for a in heads]

        def put_in(definition: Definition) -> None:
            """The values of a definition of one task index, under its own name."""
            values[str(definition.base.label)] = [
                _mp(unroll(definition.at(Integer(task + 1)), values, PARAMETERS)) for task in tasks
            ]

        share, residual, best = profile.definitions
        put_in(share)
        put_in(residual)
        mu = [
            [float(_mp(unroll(best.at(Integer(i + 1), Integer(h + 1)), values, PARAMETERS))) for h in heads]
            for i in tasks
        ]
        return BestMu(float(_mp(unroll(profile.loss, values, PARAMETERS))), array, np.array(mu))


_BEST_MU = IndexedBase("mu_best", real=True)[n.i, n.h]
_SLOPE = n.partial_derivative(n.omega[n.i, n.h])


@lru_cache(maxsize=8)
def _systems(closure: str) -> tuple[ReducedSystem, ReducedSystem]:
    """Formulas as systems without motion: of ω profile and best μ, of (μ, ω) log C and ∂𝓛/∂ω."""
    elimination = eliminate_mu()
    (residual,) = elimination.derivation["residual"].formula
    profile = ReducedSystem(
        parametrisation="none",
        closure=closure,
        state=(n.omega[n.i, n.h],),
        loss=elimination.loss,
        gradient=(S.Zero,),
        metric=(S.Zero,),
        velocity=(S.Zero,),
        derivation=Derivation("Profile loss", ()),
        definitions=(
            Definition(expressed[n.i], elimination.expressed),
            Definition(*residual),
            Definition(_BEST_MU, elimination.mu),
        ),
        parameter_definitions=PARAMETERS,
    )
    flow = gradient_flow("merged", closure)
    interaction = _interaction(closure)
    exponent = normalise(log(interaction.body))
    merged = replace(
        flow,
        definitions=(
            *flow.definitions,
            Definition(gram[interaction.indices], exponent),
            Definition(_SLOPE, flow.gradient[1]),
        ),
    )
    return profile, merged


def _interaction(closure: str) -> Definition:
    return next(item for item in gradient_flow("merged", closure).definitions if item.base == n.interaction)


def _basis(heads: int) -> FloatArray:
    """Orthonormal rows: the common vector first, then zero-sum ones (Helmert)."""
    rows = np.ones((heads, heads)) / math.sqrt(heads)
    for row in range(1, heads):
        rows[row] = np.concatenate([np.ones(row), [-row], np.zeros(heads - row - 1)]) / math.sqrt(row * (row + 1))
    return rows


def _radius(problem: Problem, omega: FloatArray) -> float:
    return float(np.sqrt(np.sum(np.array(problem.dims, dtype=np.float64)[:, None] * omega**2)))


def _mp(number: Expr) -> mpmath.mpf:
    return mpmath.mpf(str(N(number, DIGITS)))


def _infimum(problem: Problem, closure: str) -> float:
    """The theorem's infimum; with one head, where the closures differ, the optimum of that head."""
    if problem.n_heads == 1:
        return single_head_loss(problem, closure).value
    return multi_head_optimum().evaluate(problem)
