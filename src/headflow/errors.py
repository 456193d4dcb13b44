"""The public name of the error tree; the classes live in ``headflow.theory.errors``."""

from __future__ import annotations

from .theory.errors import CacheWarning as CacheWarning
from .theory.errors import ExtraWarning as ExtraWarning
from .theory.errors import HeadflowError as HeadflowError
from .theory.errors import HypothesisError as HypothesisError
from .theory.errors import InputError as InputError
from .theory.errors import InputTypeError as InputTypeError
from .theory.errors import IntegrationError as IntegrationError
from .theory.errors import NotWrittenError as NotWrittenError
from .theory.errors import ReliabilityWarning as ReliabilityWarning
from .theory.errors import TrainingError as TrainingError
from .theory.errors import UnreliableError as UnreliableError
from .theory.errors import ValidityWarning as ValidityWarning
