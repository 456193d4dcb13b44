"""The powers of time of a merged flow's valley, measured on a trajectory and predicted.

No flow in a valley ever converges: the loss has an infimum and no minimum, and what is reported is a rate.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from ...theory.brief import Brief
from ...theory.errors import HypothesisError
from ...theory.flows.flow import gradient_flow
from ...theory.merged.line_valley import line_valley
from ...theory.merged.power_law import ValleyLaws
from ...theory.merged.valley import pairs_valley, simplex_valley
from ...theory.merged.valley_order import merged_valley_order
from ..code import compile_system
from ..problem.kinds import takes
from ..problem.problem import Problem
from ..trajectory.merged_end import MergedOutcome, infimum_of, last_trusted, outcome_at, require_merged
from ..trajectory.record import Record
from .fit import Fit, power_law
from .valley_shape import ShapeConstants, resting_line, shape_constants

_POINTS: Final = 21  # per fit


@dataclass(frozen=True, repr=False)
class ValleyReport(Brief):
    """The laws of a valley, measured on a trajectory, beside those of the theory.

    Attributes
    ----------
    outcome
        Which valley.
    infimum
        The loss that is approached and never reached, of as many heads as differ.
    window
        Times of the fit (learning rate × steps); its end is that of the trajectory, or where the gap is no longer
        100 times the error of the loss.
    laws
        Of the gap, |ω|, |μ| and the fastest rate: the largest decay rate of the generated Jacobian among directions
        that move ω more than μ (where the noise is large, others are as fast for long).
    """

    outcome: MergedOutcome
    infimum: float
    window: tuple[float, float]
    laws: tuple[Fit, ...]

    @property
    def converged(self) -> bool:
        """False: a flow in a valley never converges."""
        return False

    def to_json(self) -> dict[str, Any]:
        """Everything by name; heads from 0."""
        return {
            "outcome": asdict(self.outcome),
            "infimum": self.infimum,
            "window": list(self.window),
            "laws": {law.quantity: {k: v for k, v in law.to_row().items() if k != "quantity"} for law in self.laws},
            "converged": False,
        }

    def __str__(self) -> str:
        lines = [
            str(self.outcome),
            f"creeping towards the infimum {self.infimum:.8g}, which no weights reach: not converged",
            f"from t = {self.window[0]:.3g} to {self.window[1]:.3g}, measured (predicted):",
        ]
        for law in self.laws:
            known = "no constant" if law.predicted_constant is None else f"{law.predicted_constant:.5g}"
            power = "no exponent" if law.predicted_exponent is None else f"{law.predicted_exponent:.4f}"
            lines.append(f"  {law.quantity}: {law.constant:.5g} ({known}) × t^{law.exponent:.4f} ({power})")
        return "\n".join(lines)


@takes(trajectory="Trajectory")
def valley_report(trajectory: Record, until: float | None = None) -> ValleyReport:
    """The powers of time of a valley over the last trusted factor of ten in t, with constants where theory has them.

    Where the shape at rest is not known in closed form, constants are those of the shape that the heads have there.
    ``until`` takes an earlier time for the end.

    Raises
    ------
    InputError
        For a trajectory that is not merged and leading, and an ``until`` outside it.
    HypothesisError
        For one that has not come to a valley.
    UnreliableError
        For one that is not reliable.
    """
    require_merged(trajectory, "the laws of a valley", ("leading",))
    until = float(trajectory.t[-1]) if until is None else until
    outcome = outcome_at(trajectory, until)
    if outcome.order is None:
        raise HypothesisError("the laws of a valley", "a merged flow in a valley", str(outcome))
    problem, infimum = trajectory.problem, infimum_of(trajectory.problem, len(outcome.groups))
    end = last_trusted(trajectory, infimum, until)
    assert end is not None
    times = np.geomspace(end / 10, end, _POINTS)
    jacobian = compile_system(gradient_flow("merged")).jacobian.bind(problem.float_values())
    values = np.array([_quantities(trajectory, infimum, jacobian, float(min(t, end))) for t in times])
    shape = shape_constants(outcome.order, times, values)
    powers = merged_valley_order().exponents(outcome.order)
    exponents = (powers.gap, powers.omega if shape.one_scale else None, powers.mu, powers.fastest)
    constants = _constants(problem, trajectory, outcome, shape)
    # ω is small, not zero: the next order is smaller by its square.
    following = 2 * float(powers.omega)
    laws = tuple(
        power_law(
            name,
            "t",
            times,
            values[:, place],
            exponent=None if (power := exponents[place]) is None else float(power),
            constant=constants[place],
            correction=following,
        )
        for place, name in enumerate(_NAMES)
    )
    return ValleyReport(outcome, infimum, (end / 10, end), laws)


_NAMES: Final = ("gap", "omega", "mu", "fastest rate")


def _quantities(trajectory: Record, infimum: float, jacobian: Any, t: float) -> tuple[float, float, float, float]:
    """Gap, |ω|, |μ|, and the fastest rate of the directions that move √d ω more than μ.

    Those are the valley's walls, and outgrow all others in the end; where the noise is large that takes long.
    """
    state = trajectory.at(t)
    matrix = jacobian(np.concatenate([state.mu.ravel(), state.omega.ravel()]))
    units = np.ones((2, *state.omega.shape))
    units[1] *= np.sqrt(np.array(trajectory.problem.dims, float))[:, None]
    # In these units the flow is a gradient flow, and its Jacobian symmetric.
    rates, modes = np.linalg.eigh(units.ravel()[:, None] * matrix / units.ravel())
    walls = (modes[state.mu.size :] ** 2).sum(axis=0) > 0.5
    fastest = -float(rates[walls].min())
    return state.loss - infimum, float(np.linalg.norm(state.omega)), float(np.linalg.norm(state.mu)), fastest


def _constants(
    problem: Problem, trajectory: Record, outcome: MergedOutcome, shape: ShapeConstants
) -> tuple[float | None, ...]:
    """From the shape at rest where theory has it, else from the shape that the heads have."""
    laws = _laws(problem, trajectory, outcome)
    if laws is None:
        return (shape.gap, shape.omega, shape.mu, shape.fastest)
    forms = (laws.gap, laws.omega, laws.mu, laws.fastest)
    return tuple(form.constant.evaluate(problem) for form in forms)


def _laws(problem: Problem, trajectory: Record, outcome: MergedOutcome) -> ValleyLaws | None:
    """The laws with constants, where the theory has the shape at rest for this problem and outcome."""
    groups = [list(group) for group in outcome.groups]
    if problem.n_tasks == 1 and outcome.order == len(groups):
        points = trajectory.omega[-1][0]
        line = resting_line([float(points[group].mean()) for group in groups], [len(group) for group in groups])
        return None if line is None else line_valley().laws(outcome.order, line.g, line.w)
    if problem.n_tasks == 1 or len(groups) < problem.n_heads:
        return None
    laws = pairs_valley() if outcome.kind == "pairs" else simplex_valley()
    try:
        laws.gap.constant.exact(problem)
    except HypothesisError:
        return None
    return laws if laws.order == outcome.order else None
