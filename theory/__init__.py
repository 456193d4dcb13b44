"""SymPy only: derives, for symbolic numbers of tasks and heads, exactly.  No NumPy, no floats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_attributes

if TYPE_CHECKING:
    from . import choices as choices
    from . import errors as errors
    from . import indexed as indexed
    from . import notation as notation
    from . import printing as printing
    from . import statements as statements
    from .attention import output_moments as output_moments
    from .bayes import bayes_risk as bayes_risk
    from .bounds import factor_e as factor_e
    from .bounds import separation as separation
    from .bounds import single_head_optimum as single_head_optimum
    from .bounds import universal_lower_bound as universal_lower_bound
    from .catalogue import derivations as derivations
    from .coordinates import to_log as to_log
    from .derivation import Derivation as Derivation
    from .energy import energy_identity as energy_identity
    from .flow import attention_gradient as attention_gradient
    from .flow import gradient_flow as gradient_flow
    from .indexed import Definition as Definition
    from .limits import task_allocation_limit as task_allocation_limit
    from .loss import population_loss as population_loss
    from .optimum import eliminate_mu as eliminate_mu
    from .optimum import multi_head_optimum as multi_head_optimum
    from .printing import latex_document as latex_document
    from .printing import to_latex as to_latex
    from .printing import to_mathml as to_mathml
    from .printing import to_text as to_text
    from .statement import Statement as Statement
    from .system import ReducedSystem as ReducedSystem
    from .warm_up import warm_up_flow as warm_up_flow

_NAMES = {
    "Definition": ".indexed",
    "Derivation": ".derivation",
    "ReducedSystem": ".system",
    "Statement": ".statement",
    "attention_gradient": ".flow",
    "bayes_risk": ".bayes",
    "choices": ".choices",
    "derivations": ".catalogue",
    "eliminate_mu": ".optimum",
    "energy_identity": ".energy",
    "errors": ".errors",
    "factor_e": ".bounds",
    "gradient_flow": ".flow",
    "indexed": ".indexed",
    "latex_document": ".printing",
    "multi_head_optimum": ".optimum",
    "notation": ".notation",
    "output_moments": ".attention",
    "population_loss": ".loss",
    "printing": ".printing",
    "separation": ".bounds",
    "single_head_optimum": ".bounds",
    "statements": ".statements",
    "task_allocation_limit": ".limits",
    "to_latex": ".printing",
    "to_log": ".coordinates",
    "to_mathml": ".printing",
    "to_text": ".printing",
    "universal_lower_bound": ".bounds",
    "warm_up_flow": ".warm_up",
}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_attributes(__name__, _NAMES)
