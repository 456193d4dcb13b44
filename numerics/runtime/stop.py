"""Why an integration ended: the reasons, each with a remedy, and the interruption by the user."""

from __future__ import annotations

from enum import Enum
from typing import Final

from .reliability import LARGEST_ERROR, REMEDY

DISAGREEMENT: Final = 1.0  # an error as large as the largest weight: another head, or another basin


class StopReason(Enum):
    """Why an integration ended; the value is the word that files and JSON use.

    Examples
    --------
    >>> print(StopReason.TOO_MANY_EVALUATIONS.sentence)
    The limit on the number of evaluations of the velocity was reached.
    >>> StopReason.named("reached_t_final").completed
    True
    """

    sentence: str
    remedy: str

    REACHED_T_FINAL = ("reached_t_final", "The integration reached t_final.", "")
    STEP_TOO_SMALL = (
        "step_too_small",
        "The solver found no step, however small, that meets the tolerance.",
        "Try another method (BDF or Radau), a larger rtol, or a smaller t_final.",
    )
    OVERFLOW = (
        "overflow",
        "The velocity of the flow overflowed float64, however short the step.",
        "Start from smaller omega or smaller mu.",
    )
    TOO_MANY_EVALUATIONS = (
        "too_many_evaluations",
        "The limit on the number of evaluations of the velocity was reached.",
        "Use an implicit method (LSODA, BDF or Radau), a larger rtol, or a smaller t_final; "
        "late in a flow rounding errors can make every step short.",
    )
    DISAGREEMENT = (
        "disagreement",
        "Two integrations with different tolerances went to different places, so neither can be trusted.",
        "Start farther from a tie between heads or from zero (another scale, jitter or seed), or lower rtol.",
    )
    UNRELIABLE = (
        "unreliable",
        f"The integration reached t_final, with an estimated relative error above {LARGEST_ERROR:g}.",
        REMEDY,
    )
    INTERRUPTED = (
        "interrupted",
        "The integration was interrupted.",
        "The trajectory up to there is kept; run again with a smaller t_final to finish sooner.",
    )

    def __new__(cls, word: str, sentence: str, remedy: str) -> StopReason:
        member = object.__new__(cls)
        member._value_ = word
        member.sentence = sentence
        member.remedy = remedy
        return member

    @classmethod
    def named(cls, word: str) -> StopReason:
        """The reason of that word; `ValueError` if there is none."""
        for reason in cls:
            if reason.value == word:
                return reason
        raise ValueError(f"no stop reason is called {word!r}")

    @property
    def completed(self) -> bool:
        """Whether t_final was reached, with an error that is small by its own estimate."""
        return self is StopReason.REACHED_T_FINAL


class Interrupted(KeyboardInterrupt):
    """The user's interruption (Ctrl-C), with what was done until then.

    A `KeyboardInterrupt`, so that a loop that passes over failed problems does not swallow it.  ``partial`` is what was
    done, of the kind that would have been returned, or None when there is nothing.
    """

    def __init__(self, reason: str, remedy: str = "", partial: object = None) -> None:
        super().__init__(reason, remedy, partial)
        self.reason = reason
        self.remedy = remedy
        self.partial = partial

    def __str__(self) -> str:
        return f"{self.reason} {self.remedy}".rstrip()


class IntegrationInterrupted(Interrupted):
    """That of an integration or a training; ``partial`` ends where it stopped."""
