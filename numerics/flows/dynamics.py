"""A flow ready for solvers: its generated kernels bound to one problem, in logarithmic time.

Solvers see ``s = log(1 + t/t_unit)`` and ``dy/ds = (t_unit + t) dy/dt``.  After emergence the flow creeps
algebraically (the gap closes like t⁻²), so a solver's step grows in proportion to t: in s it is constant.
``t_unit`` is the time in which the fastest weight changes by a factor e at the start: before it s is
proportional to t, after it to log t, and no other choice of the unit of time changes what the solver sees.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from ...theory.errors import HypothesisError, InputError
from ...theory.flows.system import ReducedSystem
from ..code import BoundKernel, JacobianProduct, compile_system
from ..code.native import native_system
from ..code.unrolled import Kernel, UnrolledKernel, is_small
from ..problem.initial import InitialState
from ..problem.problem import FloatArray, Problem
from .altered import Altered
from .derived import flow
from .domain import violation
from .growth import Growth
from .ties import NO_CODES, IntArray, TiedKernel, TiedProduct, Ties, ties_of

if TYPE_CHECKING:
    from ..steps.native import Integrator

AGREEMENT: Final = 1e-9  # of velocities, relative to the largest: rounding errors are far below


@dataclass(frozen=True, eq=False)
class Chart:
    """One problem and start in the coordinates that solvers use.

    Attributes
    ----------
    system
        The flow in these coordinates.
    values
        Its parameters by name.
    start
        The flat state of length 2IH at time 0.
    log
        Whether errors of the state are relative errors of weights or factors.
    growth
        The constants of the chart of ``split``.
    """

    system: ReducedSystem
    values: dict[str, float | FloatArray]
    start: FloatArray
    log: bool
    growth: Growth | None

    @classmethod
    def of(
        cls,
        problem: Problem,
        initial: InitialState,
        parametrisation: str,
        closure: str,
        altered: Altered | None = None,
    ) -> Chart:
        """(log μ, log ω) for ``balanced``, (μ, ω) for ``merged``, the log growth of the factors for ``split``."""
        weights = np.stack([initial.mu, initial.omega])
        found = cls.of_arrays(problem.float_values(), weights, initial.imbalance, parametrisation, closure)
        if altered is None:
            return found
        own = altered.chart(found.system.coordinates)
        return replace(found, system=own, values={**found.values, **altered.values})

    @classmethod
    def of_arrays(
        cls,
        values: dict[str, float | FloatArray],
        weights: FloatArray,
        imbalance: FloatArray,
        parametrisation: str,
        closure: str,
    ) -> Chart:
        """`of` for many problems at once: all arrays, those of ``values`` too, may begin with an axis of members.

        ``weights`` are μ and ω, ``imbalance`` Δ and Γ, of shape (…, 2, I, H); the start has shape (…, 2IH).
        """
        flat = (*weights.shape[:-3], -1)
        if parametrisation == "split":
            growth = Growth.of_arrays(weights, imbalance, np.sum(values["d"], axis=-1) + values["I"])
            system = flow(parametrisation, closure, "growth")
            return cls(system, {**values, **growth.values()}, growth.start.reshape(flat), True, growth)
        if parametrisation == "merged":
            return cls(flow(parametrisation, closure), values, weights.reshape(flat), False, None)
        with np.errstate(divide="ignore", invalid="ignore"):
            return cls(flow(parametrisation, closure, "log"), values, np.log(weights).reshape(flat), True, None)

    def undone(self, y: FloatArray) -> FloatArray:
        """Flat weights of flat states, of any shape; of ``split`` they are products, which have a kernel."""
        return np.exp(y) if self.log else y.copy()


class Dynamics:
    """A flow of one problem, from one start, in the coordinates that solvers use.

    The flat state ``y`` of length 2IH is (log μ, log ω) for ``balanced``, (μ, ω) for ``merged`` and the log growth
    of the factors (`headflow.numerics.flows.growth`) for ``split``, each row by row.  Time t = learning rate × steps;
    the loss has no ½.  All numbers come from the generated kernels.  Threads may share it.

    ``ties`` are the entries that problem and start leave equal or opposite, None if there are none: velocity,
    Jacobian, weights and loss are those of a state whose tied entries are tied, whatever rounding made of them.
    ``altered`` is what the user has changed of the flow; the loss is that of the model all the same.
    """

    def __init__(
        self,
        problem: Problem,
        initial: InitialState,
        parametrisation: str,
        closure: str,
        altered: Altered | None = None,
    ) -> None:
        self.chart = Chart.of(problem, initial, parametrisation, closure, altered)
        self.log = self.chart.log
        self._initial = np.concatenate([initial.mu.ravel(), initial.omega.ravel()])
        compiled, values = compile_system(self.chart.system), self.chart.values
        self.shape = (problem.n_tasks, problem.n_heads)
        self._values = values
        self._compiled = compiled
        velocity = self._kernel("velocity")
        self.ties = ties_of(problem, initial, parametrisation)
        if altered is not None and self.ties is not None and not self._keeps(velocity, self.ties):
            self.ties = None
        self.velocity: Kernel | TiedKernel = self._tied(velocity)
        self._loss: Kernel = self._kernel("loss", flow(parametrisation, closure, self.chart.system.coordinates))
        self._closure, self._domain = closure, self.chart.system.domain

    def _tied(self, kernel: Kernel) -> Kernel | TiedKernel:
        return kernel if self.ties is None else TiedKernel(kernel, self.ties, self.start)

    def _spread(self, y: FloatArray) -> FloatArray:
        return y if self.ties is None else self.ties.spread(y, self.start)

    def _keeps(self, velocity: Kernel, ties: Ties) -> bool:
        """Whether a changed flow moves tied entries alike: seen at one state, and almost surely so at all."""
        elsewhere = self.start * (1 + 0.1 * np.random.default_rng(0).random(self.size))
        moves = velocity.evaluate(ties.spread(elsewhere, self.start))
        return bool(np.abs(moves - ties.moved(moves)).max() <= AGREEMENT * np.abs(moves).max())

    def _kernel(self, name: str, system: ReducedSystem | None = None) -> Kernel:
        chosen = self.chart.system if system is None else system
        if not is_small(self.size):
            kernel: BoundKernel = getattr(compile_system(chosen), name).bind(self._values)
            return kernel
        return UnrolledKernel(native_system(chosen, I=self.shape[0], H=self.shape[1]), name, self._values)

    @cached_property
    def _pairs(self) -> BoundKernel:
        """C of all pairs of heads, of flat (μ, ω)."""
        return compile_system(flow("merged", self._closure)).named(("C",)).bind(self._values)

    @cached_property
    def jacobian(self) -> Kernel | TiedKernel:
        """∂velocity/∂y; made when first asked for, because explicit methods never need the matrix."""
        return self._tied(self._kernel("jacobian"))

    def integrator(self) -> tuple[Integrator, FloatArray, IntArray]:
        """The compiled integrator of this flow, its parameters, and the codes of its ties."""
        from ..steps.native import integrator  # here, so that others need no compiler

        own = native_system(self.chart.system, I=self.shape[0], H=self.shape[1])
        return integrator(own), own.bound(self._values), NO_CODES if self.ties is None else self.ties.codes

    @cached_property
    def jacobian_product(self) -> JacobianProduct | TiedProduct:
        """∂velocity/∂y as a map of directions."""
        product = JacobianProduct(self._compiled, self._values)
        return product if self.ties is None else TiedProduct(product, self.ties, self.start)

    @property
    def size(self) -> int:
        """Length 2IH of the flat state."""
        return 2 * self.shape[0] * self.shape[1]

    @property
    def start(self) -> FloatArray:
        """The flat state at time 0."""
        return self.chart.start

    def weights(self, y: FloatArray) -> FloatArray:
        """μ and ω of flat states (…, 2IH): shape (2, …, I, H)."""
        states = self._spread(y)
        if self.chart.growth is not None:
            flat = self._products.rows(states.reshape(-1, self.size)).reshape(states.shape)
        else:
            flat = self.chart.undone(states)
        if self.ties is not None:  # equal or opposite to the last bit; −0 becomes 0
            flat = self.ties.moved(flat) + 0.0
        return np.moveaxis(flat.reshape(*y.shape[:-1], 2, *self.shape), -3, 0)

    @cached_property
    def _products(self) -> BoundKernel:
        """μ and ω of the flat state of ``split``."""
        return self._compiled.named(("mu", "omega")).bind(self._values)

    def factors(self, y: FloatArray) -> FloatArray:
        """o, v, k and q of flat states (…, 2IH) of ``split``: shape (4, …, I, H)."""
        if self.chart.growth is None:
            raise InputError("only split weights have the factors o, v, k, q")
        return self.chart.growth.factors(self._spread(y))

    def loss(self, y: FloatArray) -> float:
        """The loss of one flat state."""
        return self._loss.evaluate(self._spread(y)).item()

    def rate(self, y: FloatArray) -> float:
        """The largest relative rate of change at ``y``, per unit of time (0 at a fixed point)."""
        speed = float(np.abs(self.velocity.evaluate(y)).max())
        largest = 1.0 if self.log else float(np.abs(y).max())
        return speed / largest if largest else speed

    def check(self) -> None:
        """Raise `InputError`, naming heads and tasks (counted from 1), where the flow overflows at the start."""
        if outside := violation(self._domain, self._initial[self.size // 2 :].reshape(self.shape)):
            raise HypothesisError(f"the {self._closure} closure", outside[0], outside[1])
        y = self.start
        if math.isfinite(self.loss(y)) and np.isfinite(self.velocity.evaluate(y)).all():
            return
        if where := self.overflow(self._initial):
            raise InputError(f"the initial omega is too large: the exponent {where}")
        raise InputError("the initial mu and omega are too large: the velocity of the flow overflows float64")

    def overflow(self, weights: FloatArray) -> str:
        """Which exponent overflows at flat (μ, ω), how large it is and which tasks make it; else ''."""
        n_tasks, n_heads = self.shape
        if outside := violation(self._domain, weights[self.size // 2 :].reshape(self.shape)):
            return f"{outside[1]}, outside {outside[0]}"
        pairs = self._pairs(weights).reshape(n_heads, n_heads)
        if np.isfinite(pairs).all():
            return ""
        # Exponents are quadratic in ω: at reduced ω the logarithm of the kernel shows them without overflow.
        omega = weights[self.size // 2 :].reshape(self.shape)
        largest, root = float(np.abs(omega).max()), math.sqrt(float(np.sum(self._values["d"])))
        shares = np.empty((n_tasks, n_heads, n_heads))
        for task in range(n_tasks):
            alone = np.zeros((2, *self.shape))
            alone[1, task] = omega[task] / largest / root
            shares[task] = np.log(self._pairs(alone.ravel())).reshape(n_heads, n_heads)
        total = shares.sum(axis=0)
        first, second = (int(index) for index in np.unravel_index(int(total.argmax()), total.shape))
        share = shares[:, first, second]
        tasks = [str(task + 1) for task in np.argsort(-share, kind="stable") if share[task] > 0.1 * share.max()]
        shown = ", ".join(tasks[:5]) + (", …" if len(tasks) > 5 else "")
        heads = f"head {first + 1}" if first == second else f"heads {first + 1} and {second + 1}"
        size = float(total[first, second]) * root * root * largest * largest
        return (
            f"Σ_j d_j ω_j^h ω_j^k of {heads} is {size:.4g} (exp overflows above 709), "
            f"mostly from task{'s' if len(tasks) > 1 else ''} {shown}"
        )

    def distances(self, y: FloatArray, reference: FloatArray) -> tuple[FloatArray, FloatArray]:
        """How far flat states ``y`` are from ``reference``, both (…, 2IH): (error of the loss, of loss and weights).

        The loss counts relative to itself, μ and ω relative to their largest entry; the largest is second.  (So it
        has a meaning too where a split weight changes sign; there its factors are right relative to themselves.)
        """
        return apart(*self._loss_and_weights(y), *self._loss_and_weights(reference))

    def _loss_and_weights(self, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        losses = self._loss.rows(self._spread(y.reshape(-1, self.size)))
        return losses.reshape(y.shape[:-1]), np.moveaxis(self.weights(y), 0, -3)


def apart(
    loss: FloatArray, weights: FloatArray, reference_loss: FloatArray, reference_weights: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """`Dynamics.distances` of many states whose loss, shape (…), and μ and ω, shape (…, 2, I, H), are known."""
    by_loss = np.abs(loss - reference_loss) / reference_loss
    scale = np.abs(reference_weights).max(axis=(-2, -1))
    moved = np.abs(weights - reference_weights).max(axis=(-2, -1))
    by_weights = np.divide(moved, scale, out=np.where(moved > 0, np.inf, 0.0), where=scale > 0)
    return by_loss, np.maximum(by_loss, by_weights.max(axis=-1))
