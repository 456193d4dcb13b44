"""The statements about the families: linear and softmax attention on coordinates of any variances."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..printing import Equation
from ..statement import DERIVED, Statement
from .covariates import COVARIATES
from .linear import SPLIT, linear_attention_flow, linear_covariate_loss, linear_loss_symbol
from .softmax import softmax_covariate_loss, softmax_loss_symbol
from .staircase import linear_staircase
from .warm_up import small_split_flow

Z25 = "Zhang, Singh, Latham, Saxe 2025 (arXiv 2501.16265)"
LINEAR = "scores without softmax, divided by L; x ~ N(0, diag(Λ)), β_a ~ N(0, τ_a); any D and L"
ALIGNED = "split weights, head a on coordinate a with v_a = k_a = q_a = ε > 0"
_NAMES: tuple[Equation, ...] = tuple((item.head, item.body) for item in COVARIATES)


def _linear_loss() -> Statement:
    loss = linear_covariate_loss()
    claim = ((linear_loss_symbol, loss.expression), *_NAMES)
    title = "Exact loss of linear attention on coordinates of any variances"
    return Statement("linear-covariate-loss", title, (LINEAR,), claim, DERIVED, loss.derivation)


def _split_flow() -> Statement:
    flow = linear_attention_flow("split")
    claim = (*flow.equations, (SPLIT.head, SPLIT.body), *flow.derivation["invariants of the split flow"].formula)
    title = "Flow and invariants of linear attention with separate keys and queries"
    return Statement("linear-split-flow", title, (LINEAR,), claim, Z25, flow.derivation)


def _staircase() -> Statement:
    found = linear_staircase()
    claim = (*found.derivation["plateau"].formula, *found.derivation["final loss"].formula, *_NAMES)
    title = "Plateaus and final loss of linear attention"
    hypotheses = (LINEAR, "A diagonal; ℓ_a = 1 for a learned coordinate, else 0")
    return Statement("linear-staircase", title, hypotheses, claim, Z25, found.derivation)


def _drop_times() -> Statement:
    found = linear_staircase()
    labels = ("drive", "one coordinate", "drop time for small weights")
    claim = tuple(line for label in labels for line in found.derivation[label].formula)
    title = "Order and times of the drops of split linear attention"
    hypotheses = (LINEAR, ALIGNED, "the time is that of half of the fall, its leading order as ε → 0")
    return Statement("linear-drop-times", title, hypotheses, claim, DERIVED, found.derivation)


def _cascade() -> Statement:
    flow = small_split_flow()
    claim = (*flow.derivation["split flow at small weights"].formula, *flow.derivation["drive"].formula)
    title = "Split linear attention at small weights: each head a competition of coordinates"
    hypotheses = (LINEAR, "v, k and q of one small scale ε", "γ_a = 0 for a learned coordinate")
    return Statement("linear-cascade", title, hypotheses, claim, DERIVED, flow.derivation)


def _merged_drop() -> Statement:
    found = linear_staircase()
    labels = ("rate of the merged drop", "time of the merged drop")
    claim = tuple(line for label in labels for line in found.derivation[label].formula)
    title = "The one drop of merged linear attention"
    hypotheses = (LINEAR, "the time for equal coordinates, from u_a^h = v_h/√D with p_0 = Σ_h v_h²")
    return Statement("linear-merged-drop", title, hypotheses, claim, Z25, found.derivation)


def _softmax_loss() -> Statement:
    loss = softmax_covariate_loss()
    names = tuple((item.head, item.body) for item in (*loss.definitions, *COVARIATES))
    claim = ((softmax_loss_symbol, loss.expression), *names)
    title = "Population loss of softmax attention on coordinates of any variances"
    hypotheses = ("D → ∞ at fixed Λ_a, D τ_a, D/L, √D ω_a^h and μ_h/√D",)
    return Statement("softmax-covariate-loss", title, hypotheses, claim, DERIVED, loss.derivation)


FAMILY_BUILDERS: Mapping[str, Callable[[], Statement]] = {
    "linear-covariate-loss": _linear_loss,
    "linear-split-flow": _split_flow,
    "linear-staircase": _staircase,
    "linear-drop-times": _drop_times,
    "linear-cascade": _cascade,
    "linear-merged-drop": _merged_drop,
    "softmax-covariate-loss": _softmax_loss,
}
