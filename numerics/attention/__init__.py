"""The real softmax attention: full weights, fresh prompts, Monte-Carlo risk, population gradients, training.

``weights`` and ``starts`` make weights, ``prompts`` draws data, ``model`` is the forward and backward pass,
``conditional`` the loss given the scores; ``backends`` runs them on NumPy or JAX, ``risk`` and ``gradient`` estimate,
``quadrature`` is the risk of decomposable weights without sampling, ``off_diagonal`` tests that they stay so,
``training`` with ``optimiser`` and ``checkpoint`` trains.
"""

from .gradient import PopulationGradient, population_gradient
from .off_diagonal import OffDiagonalTest, off_diagonal_test
from .risk import SampledRisk, attention_risk
from .settings import Training
from .spectral import sampled_risk
from .training import TrainingRun, train
from .weights import AttentionWeights, Spectrum

__all__ = [
    "AttentionWeights",
    "OffDiagonalTest",
    "PopulationGradient",
    "SampledRisk",
    "Spectrum",
    "Training",
    "TrainingRun",
    "attention_risk",
    "off_diagonal_test",
    "population_gradient",
    "sampled_risk",
    "train",
]
