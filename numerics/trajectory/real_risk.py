"""The risk of the real softmax attention with the weights of a flow's end, beside what the flow's closure says."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from ...theory.brief import Brief
from ..attention.spectral import affordable_prompts, quick_risk
from ..runtime.word_table import with_error

if TYPE_CHECKING:
    from .record import Record

_STANDARD_ERRORS: Final = 4.0
_APART: Final = 0.05  # relative, from where on a closure's number is warned of


@dataclass(frozen=True, repr=False)
class RealRisk(Brief):
    """What softmax attention loses with a flow's last weights: sampled, no closure.

    Attributes
    ----------
    closure, closure_loss
        The flow's, and its loss with these weights.
    value, standard_error
        Of the sampled risk, without ½; None where it was left out.
    n_samples, seed
        Prompts, and their seed.
    reason
        Why it was left out.
    """

    closure: str
    closure_loss: float
    value: float | None
    standard_error: float | None
    n_samples: int
    seed: int
    reason: str | None

    @property
    def relative_difference(self) -> float | None:
        """By how much the real attention loses more than the closure says, relative to that."""
        return None if self.value is None or self.closure_loss <= 0 else self.value / self.closure_loss - 1

    @property
    def shown(self) -> str:
        """The value with its standard error; a dash where there is none."""
        return "—" if self.value is None or self.standard_error is None else with_error(self.value, self.standard_error)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Four standard errors about the value."""
        if self.value is None or self.standard_error is None:
            return None
        width = _STANDARD_ERRORS * self.standard_error
        return self.value - width, self.value + width

    @property
    def beside_closure(self) -> str:
        """In words how far the closure's number is from the real one."""
        difference, ends = self.relative_difference, self.interval
        if ends is None:
            return self.reason or ""
        if ends[0] <= self.closure_loss <= ends[1]:
            return f"as the {self.closure} closure says, within four standard errors"
        if difference is None:
            return f"where the {self.closure} closure says {self.closure_loss:.4g}"
        how = "more" if difference > 0 else "less"
        return f"{100 * abs(difference):.2g} % {how} than the {self.closure} closure says"

    @property
    def caveat(self) -> str | None:
        """A sentence where the closure's number is off by more than 5 %, beyond the error of sampling."""
        difference, ends = self.relative_difference, self.interval
        if ends is None or ends[0] <= self.closure_loss <= ends[1]:
            return None
        if difference is not None and abs(difference) <= _APART:
            return None
        return (
            f"with the weights at the flow's end real softmax attention loses {self.shown} (sampled), "
            f"{self.beside_closure}" + (f" ({self.closure_loss:.4g})" if difference is not None else "")
        )

    def to_json(self) -> dict[str, Any]:
        """All of it by name, with the relative difference."""
        return {**asdict(self), "relative_difference": self.relative_difference}


def real_risk(trajectory: Record) -> RealRisk:
    """Sample the risk of the real attention with the last weights of a trajectory; it takes about a second."""
    problem, final = trajectory.problem, trajectory.final
    found = quick_risk(problem, final.mu, final.omega)
    told = trajectory.closure, final.loss
    if found is not None:
        return RealRisk(*told, found.value, found.standard_error, found.n_samples, found.seed, None)
    reason = "left out: the weights are too large"
    if not affordable_prompts(problem):
        reason = "left out: sampling it takes longer than a second; `headflow simulate` takes the time"
    return RealRisk(*told, None, None, 0, 0, reason)
