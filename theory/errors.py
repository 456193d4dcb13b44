"""The error tree: every error headflow raises on purpose, each also the fitting builtin.

A leaf: it imports nothing, so every other module may import it.
"""

from __future__ import annotations


class HeadflowError(Exception):
    """What headflow raises on purpose.  Its text is one sentence fit to be shown to the user."""


class InputError(HeadflowError, ValueError):
    """A value of the right kind that is not allowed; the message says what must hold and what was got."""


class InputTypeError(HeadflowError, TypeError):
    """A value of the wrong kind; the message says what was expected and what was got."""


class HypothesisError(InputError):
    """A result was asked for where one of its hypotheses does not hold.

    Parameters
    ----------
    what
        The result, as a noun phrase: ``"the task-allocation limit"``.
    hypothesis
        What it needs: ``"at least as many heads as tasks (H >= I)"``.
    got
        What was given instead: ``"H = 2, I = 3"``.

    Examples
    --------
    >>> print(HypothesisError("the task-allocation limit", "H >= I", "H = 2, I = 3"))
    the task-allocation limit requires H >= I; got H = 2, I = 3
    """

    def __init__(self, what: str, hypothesis: str, got: str) -> None:
        super().__init__(what, hypothesis, got)  # all of them in args, so that the error can be pickled
        self.what = what
        self.hypothesis = hypothesis
        self.got = got

    def __str__(self) -> str:
        return f"{self.what} requires {self.hypothesis}; got {self.got}"


class NotWrittenError(InputError):
    """A result is there, but the file that was to hold it cannot be written; ``partial`` is the result."""

    def __init__(self, reason: str, partial: object = None) -> None:
        super().__init__(reason, partial)
        self.reason = reason
        self.partial = partial

    def __str__(self) -> str:
        return self.reason


class ValidityWarning(UserWarning):
    """A result lies where its closure is not as accurate as it claims; the text says where."""


class CacheWarning(UserWarning):
    """The cache on disk is not used, or not all of it; the text says why."""


class ExtraWarning(UserWarning):
    """An extra that is installed does not work on this platform and is not used; the text says why."""


class IntegrationError(HeadflowError, RuntimeError):
    """An integration that could not be finished.

    Parameters
    ----------
    reason
        Why it stopped, as a sentence.
    remedy
        What the user can do about it, as a sentence; may be empty.
    partial
        The trajectory up to where it stopped, or None when there is none.

    Examples
    --------
    >>> print(IntegrationError("The step size fell below 1e-14 at t = 3.2.", "Lower rtol."))
    The step size fell below 1e-14 at t = 3.2. Lower rtol.
    """

    def __init__(self, reason: str, remedy: str = "", partial: object = None) -> None:
        super().__init__(reason, remedy, partial)
        self.reason = reason
        self.remedy = remedy
        self.partial = partial

    def __str__(self) -> str:
        return f"{self.reason} {self.remedy}".rstrip()


class ReliabilityWarning(UserWarning):
    """A result's own error estimate is not small; the text says how large it is."""


class UnreliableError(IntegrationError):
    """A number was asked for that would follow from a result whose own error estimate is not small.

    ``partial`` is that result.
    """


class TrainingError(HeadflowError, RuntimeError):
    """A training that could not be finished; ``partial`` is the run up to there, or None when there is none."""

    def __init__(self, reason: str, remedy: str = "", partial: object = None) -> None:
        super().__init__(reason, remedy, partial)
        self.reason = reason
        self.remedy = remedy
        self.partial = partial

    def __str__(self) -> str:
        return f"{self.reason} {self.remedy}".rstrip()
