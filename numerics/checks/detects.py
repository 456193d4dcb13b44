"""The smallest planted error that each statement's checks refute, as measured with planted wrong constants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Detected:
    """The smallest error of a kind that is refuted.

    Attributes
    ----------
    planted
        What was made wrong, in words: "the variance term, by a factor".
    quick, full
        Its smallest relative size that quick and full runs refute on the reference case; None: no size tried is.
    """

    planted: str
    quick: float | None
    full: float | None


DETECTED: Mapping[str, Detected] = {
    "softmax-moments": Detected("the covariance", 1e-06, 1e-06),
    "population-loss": Detected("the loss", 1e-11, 1e-11),
    "gradient": Detected("the gradient by μ", 1e-45, 1e-45),
    "merged-flow": Detected("the velocity of μ", 1e-05, 1e-05),
    "balanced-flow": Detected("the velocity of μ", 1e-08, 1e-08),
    "log-coordinates": Detected("the velocity of log μ", 1e-08, 1e-08),
    "energy-identity": Detected("the velocity of μ", 1e-45, 1e-45),
    "permutation-equivariance": Detected("an entry of the velocity", 1e-08, 1e-08),
    "split-flow": Detected("the velocity of o", 1e-08, 1e-08),
    "split-invariants": Detected("the velocity of o", 1e-45, 1e-45),
    "split-energy": Detected("the velocity of o", 1e-45, 1e-45),
    "split-logarithms": Detected("the velocity of the first coordinate", 1e-08, 1e-08),
    "hyperbolic-angles": Detected("the velocity of the first angle", 1e-08, 1e-08),
    "decomposability": Detected("the sign of a flipped label", 1e-45, 1e-45),
    "symmetric-reduction": Detected("the first gradient", 1e-08, 1e-08),
    "warm-up": Detected("the velocity of μ", 1e-06, 1e-06),
    "finite-d-loss": Detected("the loss", 1e-11, 1e-11),
    "first-order-loss": Detected("the loss", 1e-10, 1e-10),
    "closure-limits": Detected("a further term, as a share", 1e-45, 1e-45),
    "finite-d-allocation-limit": Detected("μ", 1e-35, 1e-35),
    "first-order-allocation-limit": Detected("μ", 1e-35, 1e-35),
    "finite-d-bounds": Detected("the limit loss", 1e-10, 1e-10),
    "mu-elimination": Detected("the profile loss", 1e-07, 1e-07),
    "multi-head-optimum": Detected("the infimum", 1e-05, 1e-05),
    "universal-bound": Detected("the bound", 1e-39, 1e-39),
    "single-head-optimum": Detected("the optimum", 1e-05, 1e-05),
    "task-allocation-limit": Detected("μ", 1e-35, 1e-35),
    "balanced-limit-stable": Detected("the on-task rates", 1e-05, 1e-05),
    "split-limit-saddle": Detected("the off-task rates", 1e-05, 1e-05),
    "merged-at-zero": Detected("the rate of the sum mode", 1e-05, 1e-05),
    "merged-degenerate-minimum": Detected("the second variation", 1e-05, 1e-05),
    "cascade": Detected("the power of an occupied head", 0.0001, 0.0001),
    "who-wins": Detected("the μ of one head", 0.001, 0.001),
    "emergence-time": Detected("the times", 0.01, 0.01),
    "late-law": Detected("the constant of the gap", 0.01, 0.01),
    "convergence": Detected("the limit of the loss", 0.01, 0.01),
    "merged-valley": Detected("the power of the gap", 0.001, 0.001),
    "merged-valley-pairs": Detected("the constant of the gap", 0.01, 0.01),
    "merged-valley-simplex": Detected("the constant of the gap", 0.01, 0.01),
    "merged-valley-one-task": Detected("the constant of the gap", 0.01, 0.01),
    "merged-race": Detected("the balance Q", 0.1, 0.1),
    "merged-emergence": Detected("the emergence time", 0.001, 0.001),
    "factor-e": Detected("the limit loss", 1e-10, 1e-10),
    "separation": Detected("the limit loss", 1e-11, 1e-11),
    "separation-limit": Detected("the limit of the ratio", 1e-06, 1e-06),
    "ordering": Detected("the limit loss", 1e-11, 1e-11),
    "universal-bound-reached": Detected("the least number of heads", 1e-45, 1e-45),
    "equal-tasks-optimum": Detected("the optimum", 1e-06, 1e-06),
    "single-head-residuals": Detected("the residual", 0.001, 0.001),
    "shared-head": Detected("μ", 1e-35, 1e-35),
    "split-task": Detected("the sum of μ", 1e-36, 1e-36),
    "idle-head": Detected("the rate", 1e-35, 1e-35),
    "bayes-risk": Detected("the trace", 1e-07, 1e-07),
    "bayes-limit": Detected("the limit", 0.001, 0.001),
    "linear-attention-loss": Detected("the loss", 1e-09, 1e-09),
    "linear-attention-optimum": Detected("the optimum", 1e-05, 1e-05),
    "normalisation-costs-a-head": Detected("the optimum", 1e-10, 1e-10),
    "zero-sum-pair": Detected("the profile", 1e-11, 1e-11),
    "debiased-gradient": Detected("the predictor", 0.0001, 0.0001),
    "context-length-shift": Detected("the shifted loss", 1e-35, 1e-35),
    "hermite-transfer": Detected("the loss", 1e-07, 1e-07),
    "softmax-regimes": Detected("the typical exponent", 0.01, 0.01),
    "linear-covariate-loss": Detected("the loss", 1e-09, 1e-09),
    "linear-split-flow": Detected("a further term, as a share", 1e-45, 1e-45),
    "linear-staircase": Detected("the plateaus", 0.0001, 0.0001),
    "linear-drop-times": Detected("the drop times", 0.0001, 0.0001),
    "linear-cascade": Detected("the velocity of small weights", 0.01, 0.01),
    "linear-merged-drop": Detected("the time of the drop", 0.001, 0.001),
    "softmax-covariate-loss": Detected("the loss", 1e-10, 1e-10),
}
